//! Rules for known values, declared once at the attribute: checked in every validation, and printed in the docs.
//!
//! Unknown values pass: Terraform validates again when they are known. A message never repeats a sensitive value.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::value::{Path, Step, Value};

use super::{Attribute, Kind, Nesting, Schema};

/// A rule for one attribute's value.
#[derive(Debug, Clone)]
pub enum Rule {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A name as Kubernetes wants it (RFC 1123 label): at most 63 of `a-z`, `0-9` and `-`, beginning and ending with a
    /// letter or digit.
    DnsLabel,
    /// A time span such as `30s`, `10m` or `1h30m`, more than nothing.
    Duration,
    /// Not the empty string.
    NotEmpty,
    /// Not together with that other attribute of the same object.
    ConflictsWith(&'static str),
    /// Only together with that other attribute of the same object.
    Needs(&'static str),
    /// The keys of a map must be names as in [`Rule::DnsLabel`].
    KeysAreDnsLabels,
}

impl Rule {
    /// The rule in words, after "must be".
    pub(super) fn words(&self) -> String {
        match self {
            Rule::OneOf(words) => format!("one of `{}`", words.join("`, `")),
            Rule::DnsLabel => "a name of at most 63 lower-case letters, digits and `-`, beginning and ending with a \
                               letter or digit"
                .to_owned(),
            Rule::Duration => "a time span such as `30s`, `10m` or `1h30m`".to_owned(),
            Rule::NotEmpty => "not empty".to_owned(),
            Rule::ConflictsWith(other) => format!("absent when `{other}` is given"),
            Rule::Needs(other) => format!("accompanied by `{other}`"),
            Rule::KeysAreDnsLabels => "keyed by names of at most 63 lower-case letters, digits and `-`".to_owned(),
        }
    }

    fn holds(&self, value: &Value, siblings: &Value) -> bool {
        match self {
            Rule::OneOf(words) => value.as_str().is_none_or(|text| words.contains(&text)),
            Rule::DnsLabel => value.as_str().is_none_or(is_dns_label),
            Rule::Duration => value.as_str().is_none_or(|text| parse_duration(text).is_some()),
            Rule::NotEmpty => value.as_str() != Some(""),
            Rule::ConflictsWith(other) => {
                let other = siblings.attribute(other);
                other.is_null() || other.is_unknown()
            }
            Rule::Needs(other) => !siblings.attribute(other).is_null(),
            Rule::KeysAreDnsLabels => value
                .as_map()
                .is_none_or(|entries| entries.keys().all(|key| is_dns_label(key))),
        }
    }
}

/// Whether Kubernetes would take it as a label-like name (RFC 1123).
pub(crate) fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
        && bytes.first().is_some_and(|byte| alphanumeric(*byte))
        && bytes.last().is_some_and(|byte| alphanumeric(*byte))
}

/// Reads `1h30m`, `10m`, `45s`: whole numbers with units in falling order, together more than nothing and at most a year.
pub(crate) fn parse_duration(text: &str) -> Option<std::time::Duration> {
    let mut rest = text;
    let mut seconds: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        if unit >= last_unit {
            return None;
        }
        last_unit = unit;
        seconds = count.checked_mul(unit)?.checked_add(seconds)?;
        rest = &rest[digits + 1..];
    }
    (1..=365 * 86_400)
        .contains(&seconds)
        .then(|| std::time::Duration::from_secs(seconds))
}

/// Every broken rule of a configuration, all at once.
pub fn check_configuration(schema: &Schema, config: &Value) -> Diagnostics {
    let mut problems = Diagnostics::default();
    check_object(&schema.attributes, config, &Path::root(), &mut problems);
    problems
}

fn check_object(attributes: &[Attribute], object: &Value, path: &Path, problems: &mut Diagnostics) {
    for attribute in attributes {
        let value = object.attribute(attribute.name);
        if value.is_null() || value.is_unknown() {
            continue;
        }
        let path = path.then(Step::Attribute(attribute.name.to_owned()));
        if let Some(instead) = attribute.deprecated {
            problems.push(Diagnostic::warning(format!("{path} is deprecated"), instead).at(path.clone()));
        }
        for rule in attribute.rules.iter().filter(|rule| !rule.holds(value, object)) {
            let found = match value.as_str() {
                Some(text) if !attribute.sensitive => format!(", not {text:?}"),
                _ => String::new(),
            };
            problems.push(
                Diagnostic::error(
                    format!("Invalid {path}"),
                    format!("{path} must be {}{found}.", rule.words()),
                )
                .at(path.clone()),
            );
        }
        let Kind::Nested(nesting, inner) = &attribute.kind else {
            continue;
        };
        match (nesting, value) {
            (Nesting::Single, single) => check_object(inner, single, &path, problems),
            (Nesting::List, Value::List(elements)) => {
                for (index, element) in elements.iter().enumerate() {
                    check_object(inner, element, &path.then(Step::Index(index)), problems);
                }
            }
            (Nesting::Map, Value::Map(elements)) => {
                for (key, element) in elements {
                    check_object(inner, element, &path.then(Step::Key(key.clone())), problems);
                }
            }
            (Nesting::List | Nesting::Map, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Type;

    #[test]
    fn a_duration_is_read_in_falling_units_only() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        for (text, expected) in [
            ("90s", Some(90)),
            ("1h30m", Some(5400)),
            ("10m", Some(600)),
            ("0s", None),
            ("", None),
            ("10", None),
            ("5m1h", None),
            ("1.5h", None),
            ("-1s", None),
            ("9999999999h", None),
            ("1m\u{e9}", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn every_broken_rule_is_told_with_its_place_and_no_unknown_is_blamed() {
        let schema = Schema {
            version: 0,
            description: "",
            attributes: vec![
                Attribute::required("name", Type::String, "").rule(Rule::DnsLabel),
                Attribute::optional("token", Type::String, "")
                    .sensitive()
                    .rule(Rule::Duration),
                Attribute::nested(
                    "parts",
                    Nesting::Map,
                    vec![
                        Attribute::optional("mode", Type::String, "").rule(Rule::OneOf(&["a", "b"])),
                        Attribute::optional("wait", Type::String, "").rule(Rule::Needs("mode")),
                    ],
                    "",
                )
                .rule(Rule::KeysAreDnsLabels),
            ],
        };
        let object = |entries: &[(&str, Value)]| {
            Value::Map(
                entries
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect(),
            )
        };
        let config = object(&[
            ("name", Value::string("No_Good")),
            ("token", Value::string("hunter2")),
            (
                "parts",
                object(&[
                    ("x", object(&[("mode", Value::string("c")), ("wait", Value::Null)])),
                    ("y", object(&[("mode", Value::UNKNOWN), ("wait", Value::string("1"))])),
                    ("z", object(&[("mode", Value::Null), ("wait", Value::string("1"))])),
                ]),
            ),
        ]);
        let problems = check_configuration(&schema, &config);
        let told: Vec<&str> = problems.iter().map(|problem| problem.summary.as_str()).collect();
        assert_eq!(
            told,
            [
                "Invalid name",
                "Invalid token",
                "Invalid parts[\"x\"].mode",
                "Invalid parts[\"z\"].wait"
            ]
        );
        assert!(problems.iter().all(|problem| !problem.detail.contains("hunter2")));
    }
}
