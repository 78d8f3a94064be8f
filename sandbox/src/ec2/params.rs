//! Parameters of the query protocol: `TagSpecification.1.Tag.2.Key=a` as a tree.

use std::collections::BTreeMap;

/// One level of parameters: a value of its own, and fields or numbered items below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params {
    value: Option<String>,
    fields: BTreeMap<String, Params>,
}

impl Params {
    /// Reads a form-encoded body. Pairs over the limit are ignored: no operation takes that many.
    pub(crate) fn from_form(body: &[u8]) -> Self {
        let mut root = Self::default();
        for pair in body.split(|b| *b == b'&').take(50_000) {
            let mut parts = pair.splitn(2, |b| *b == b'=');
            let name = decode(parts.next().unwrap_or_default());
            let value = decode(parts.next().unwrap_or_default());
            let mut at = &mut root;
            for part in name.split('.').take(16) {
                at = at.fields.entry(part.to_owned()).or_default();
            }
            at.value = Some(value);
        }
        root
    }

    /// The text at a dotted path.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?.value.as_deref()
    }

    /// The text at a dotted path, owned; empty when absent.
    pub(crate) fn owned(&self, path: &str) -> String {
        self.text(path).unwrap_or_default().to_owned()
    }

    /// The whole number at a dotted path.
    pub(crate) fn number(&self, path: &str) -> Option<i64> {
        self.text(path)?.parse().ok()
    }

    /// Whether the text at a dotted path says true.
    pub(crate) fn flag(&self, path: &str) -> bool {
        self.text(path).is_some_and(|t| t.eq_ignore_ascii_case("true"))
    }

    /// The level at a dotted path.
    pub(crate) fn at(&self, path: &str) -> Option<&Params> {
        path.split('.').try_fold(self, |at, part| at.fields.get(part))
    }

    /// The numbered items at a dotted path, in the order of their numbers.
    pub(crate) fn items(&self, path: &str) -> Vec<&Params> {
        let Some(level) = self.at(path) else { return Vec::new() };
        let mut items: Vec<(u32, &Params)> = level
            .fields
            .iter()
            .filter_map(|(k, v)| Some((k.parse().ok()?, v)))
            .collect();
        items.sort_by_key(|(n, _)| *n);
        items.into_iter().map(|(_, p)| p).collect()
    }

    /// The texts of the numbered items at a dotted path.
    pub(crate) fn texts(&self, path: &str) -> Vec<String> {
        self.items(path).into_iter().filter_map(|p| p.value.clone()).collect()
    }

    /// All of it as one text, without the named parameters: equal requests have equal texts.
    pub(crate) fn fingerprint(&self, without: &[&str]) -> String {
        let mut out = String::new();
        for (name, level) in &self.fields {
            if !without.contains(&name.as_str()) {
                level.write(name, &mut out);
            }
        }
        out
    }

    fn write(&self, path: &str, out: &mut String) {
        if let Some(value) = &self.value {
            out.push_str(&format!("{path}={value:?};"));
        }
        for (name, level) in &self.fields {
            level.write(&format!("{path}.{name}"), out);
        }
    }
}

/// Percent-decodes one part of a form.
fn decode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (byte, escaped.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Params;

    #[test]
    fn a_form_becomes_a_tree() {
        let p =
            Params::from_form(b"Action=RunInstances&Tag.2.Key=b&Tag.1.Key=a%20b+c&Tag.10.Key=z&MinCount=3&DryRun=true");
        assert_eq!(p.text("Action"), Some("RunInstances"));
        let keys: Vec<_> = p.items("Tag").iter().map(|t| t.owned("Key")).collect();
        assert_eq!(keys, ["a b c", "b", "z"]);
        assert_eq!(p.number("MinCount"), Some(3));
        assert!(p.flag("DryRun"));
        assert_eq!(Params::from_form(b"a=%zz%4").text("a"), Some("%zz%4"));
    }

    #[test]
    fn a_fingerprint_leaves_out_what_it_is_told_to() {
        let one = Params::from_form(b"ClientToken=a&MinCount=3");
        let two = Params::from_form(b"MinCount=3&ClientToken=b");
        assert_eq!(one.fingerprint(&["ClientToken"]), two.fingerprint(&["ClientToken"]));
        assert_ne!(one.fingerprint(&[]), two.fingerprint(&[]));
    }
}
