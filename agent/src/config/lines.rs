//! Finds the line of a field in the file.

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_saphyr::Spanned;

/// The fields of a map with their positions; anything else has none.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<(Spanned<String>, Spanned<Lines>)>);

impl Lines {
    /// Reads a text; nothing is known about one that cannot be parsed.
    pub(super) fn of(text: &str) -> Self {
        serde_saphyr::from_str(text).unwrap_or_default()
    }

    /// The line of a field (`drain.hook.command`), or else that of the innermost existing map around it.
    pub(super) fn line(&self, field: &str) -> Option<u64> {
        let (mut at, mut line) = (self, None);
        for name in field.split('.') {
            let Some((key, value)) = at.0.iter().find(|(key, _)| key.value == name) else {
                break;
            };
            line = [key.referenced.line(), value.referenced.line()]
                .into_iter()
                .find(|n| *n > 0)
                .or(line);
            at = &value.value;
        }
        line
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Lines;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lines, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Lines(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Lines, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Lines::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Lines, E> {
        Ok(Lines::default())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Lines, E> {
        Ok(Lines::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_line_and_one_that_is_absent_that_of_the_map_around_it() {
        let lines =
            Lines::of("# who\nworkload:\n  command: [a, b]\n  health:\n    tcp: x\npeers: {port: 1,\n  key: {}}\n");
        for (field, line) in [
            ("workload", Some(2)),
            ("workload.command", Some(3)),
            ("workload.health.tcp", Some(5)),
            ("workload.health.failures", Some(4)),
            ("peers.key.file", Some(7)),
            ("front", None),
        ] {
            assert_eq!(lines.line(field), line, "{field}");
        }
        assert_eq!(Lines::of("a: [").line("a"), None);
    }
}
