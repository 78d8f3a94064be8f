//! YAML bodies, read as the API server reads them: YAML 1.1 scalars, the first document only, then as JSON would see it.
//!
//! It shares nothing with the engine's reader on purpose: the sandbox must be able to disagree with what it tests.

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// The largest number of nodes that aliases may expand to.
const NODES: usize = 500_000;
const DEPTH: usize = 200;

/// Parse the first document. The second part names keys that occur twice, as `line N: key "k" already set in map`.
pub(crate) fn parse(text: &str) -> Result<(Value, Vec<String>), String> {
    let mut composer = Composer {
        events: Parser::new_from_str(text),
        anchors: Vec::new(),
        duplicates: Vec::new(),
        nodes: 0,
    };
    loop {
        match composer.next()? {
            (Event::DocumentStart(_), _) => {
                let (event, line) = composer.next()?;
                let value = composer.node(event, line, 0)?;
                return Ok((value, composer.duplicates));
            }
            (Event::StreamEnd, _) => return Ok((Value::Null, Vec::new())),
            _ => {}
        }
    }
}

struct Composer<'a, T: saphyr_parser::Input> {
    events: Parser<'a, T>,
    anchors: Vec<(usize, Value)>,
    duplicates: Vec<String>,
    nodes: usize,
}

impl<'a, T: saphyr_parser::Input> Composer<'a, T> {
    fn next(&mut self) -> Result<(Event<'a>, usize), String> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(format!("yaml: line {}: {}", error.marker().line(), error.info())),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn count(&mut self, more: usize) -> Result<(), String> {
        self.nodes += more;
        if self.nodes > NODES {
            Err("yaml: document contains excessive aliasing".to_owned())
        } else {
            Ok(())
        }
    }

    fn keep(&mut self, anchor: usize, value: &Value) {
        if anchor > 0 {
            self.anchors.push((anchor, value.clone()));
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Value, String> {
        self.count(1)?;
        if depth > DEPTH {
            return Err(format!("yaml: line {line}: exceeded max depth"));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                self.keep(anchor, &value);
                Ok(value)
            }
            Event::Alias(anchor) => {
                let found = self
                    .anchors
                    .iter()
                    .rev()
                    .find(|(id, _)| *id == anchor)
                    .map(|(_, value)| value.clone());
                let value = found.ok_or_else(|| format!("yaml: line {line}: unknown anchor"))?;
                self.count(weight(&value))?;
                Ok(value)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, line) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, line, depth + 1)?);
                }
                let value = Value::Array(items);
                self.keep(anchor, &value);
                Ok(value)
            }
            Event::MappingStart(anchor, _) => {
                let mut map = Map::new();
                let mut merged: Vec<Value> = Vec::new();
                loop {
                    let (event, line) = self.next()?;
                    if matches!(event, Event::MappingEnd) {
                        break;
                    }
                    let plain_merge =
                        matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text.as_ref() == "<<");
                    let key = self.node(event, line, depth + 1)?;
                    let (event, value_line) = self.next()?;
                    let value = self.node(event, value_line, depth + 1)?;
                    if plain_merge {
                        match value {
                            Value::Array(values) => merged.extend(values),
                            value => merged.push(value),
                        }
                        continue;
                    }
                    let key = key_text(&key, line)?;
                    if map.insert(key.clone(), value).is_some() {
                        self.duplicates
                            .push(format!("line {line}: key \"{key}\" already set in map"));
                    }
                }
                for source in merged {
                    let Value::Object(source) = source else {
                        return Err(format!(
                            "yaml: line {line}: map merge requires map or sequence of maps as the value"
                        ));
                    };
                    for (key, value) in source {
                        map.entry(key).or_insert(value);
                    }
                }
                let value = Value::Object(map);
                self.keep(anchor, &value);
                Ok(value)
            }
            _ => Ok(Value::Null),
        }
    }
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(weight).sum::<usize>(),
        _ => 1,
    }
}

/// A key as JSON has it: text.
fn key_text(key: &Value, line: usize) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Ok("null".to_owned()),
        _ => Err(format!("yaml: line {line}: invalid map key")),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    if let Some(tag) = tag {
        match tag.suffix.as_str() {
            "str" | "binary" | "timestamp" => return text.into(),
            "null" => return Value::Null,
            _ => {}
        }
    } else if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => false.into(),
        _ => number(text).unwrap_or_else(|| text.into()),
    }
}

fn number(text: &str) -> Option<Value> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes()[0] {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    let radix = |digits: &str, radix: u32| u64::from_str_radix(digits, radix).ok();
    let whole = if let Some(hex) = digits.strip_prefix("0x") {
        radix(hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        radix(binary, 2)
    } else if let Some(octal) = digits.strip_prefix("0o") {
        radix(octal, 8)
    } else if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        // YAML 1.1: a leading zero means octal; digits that are not make it a float.
        radix(digits, 8)
    } else if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    };
    if let Some(whole) = whole {
        return Some(if negative {
            i64::try_from(whole).map_or_else(|_| Value::from(-(whole as f64)), |whole| Value::from(-whole))
        } else {
            Value::from(whole)
        });
    }
    let float_form = digits.bytes().any(|b| b.is_ascii_digit())
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.matches('.').count() <= 1;
    if !float_form {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Some(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_yaml_1_1() {
        for (text, expected) in [
            ("yes", json!(true)),
            ("n", json!(false)),
            ("010", json!(8)),
            ("0x10", json!(16)),
            ("1e3", json!(1000)),
            ("1.5", json!(1.5)),
            ("2024-01-01", json!("2024-01-01")),
            ("1.2.3", json!("1.2.3")),
            ("'1'", json!("1")),
            ("~", Value::Null),
            ("-7", json!(-7)),
            ("1_000", json!(1000)),
            ("10Gi", json!("10Gi")),
            ("!!str 1", json!("1")),
        ] {
            assert_eq!(parse(text).unwrap().0, expected, "{text}");
        }
    }

    #[test]
    fn anchors_merge_keys_and_duplicates() {
        let (value, duplicates) =
            parse("a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n  l: 2\nd: 1\nd: 2\n---\nsecond: 1\n").unwrap();
        assert_eq!(
            value,
            json!({"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "l": 2}, "d": 2})
        );
        assert_eq!(duplicates, ["line 7: key \"d\" already set in map"]);
        assert_eq!(parse("").unwrap().0, Value::Null);
        assert_eq!(parse("n: \"1\"").unwrap().0, json!({"false": "1"}));
    }

    #[test]
    fn hostile_text_is_refused_and_never_a_panic() {
        for text in [
            "a: [",
            "a: b\n c: d",
            "*x",
            "a:\n\tb: 1",
            &"[".repeat(1000),
            "? {a: 1}\n: 2",
        ] {
            assert!(parse(text).is_err(), "{text:.20}");
        }
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..9 {
            let previous = n - 1;
            bomb.push_str(&format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{previous}"); 9].join(",")
            ));
        }
        assert!(parse(&bomb).is_err());
    }
}
