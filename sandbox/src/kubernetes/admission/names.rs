//! The syntax of names, keys and label values. Each rule returns the server's own messages. The validators decide which
//! rule applies to a field.

use super::access::Fields;
use serde_json::Value;

/// What a rule found wrong; empty if nothing.
pub type Problems = Vec<String>;
/// A rule on a string.
pub type Rule = fn(&str) -> Problems;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";

/// A sentence with examples and a regular expression, in the server's wording.
pub fn pattern(message: &str, regex: &str, examples: &[&str]) -> String {
    let mut out = format!("{message} (");
    for (index, example) in examples.iter().enumerate() {
        out.push_str(if index == 0 { "e.g. " } else { " or " });
        out.push_str(&format!("'{example}', "));
    }
    out.push_str(&format!("regex used for validation is '{regex}')"));
    out
}

/// Too many characters.
pub fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// A number out of a range.
pub fn between(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn is_label(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(|b| edge(b) || *b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// RFC 1123 label: at most 63 of `a-z`, `0-9` and inner `-`.
pub fn label(text: &str) -> Problems {
    let mut out = Vec::new();
    if text.len() > 63 {
        out.push(too_long(63));
    }
    if !is_label(text) {
        out.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            pattern(LABEL_MESSAGE, LABEL, &["my-name", "123-abc"])
        });
    }
    out
}

/// RFC 1123 subdomain: labels with dots between, at most 253 characters.
pub fn subdomain(text: &str) -> Problems {
    let mut out = Vec::new();
    if text.len() > 253 {
        out.push(too_long(253));
    }
    if !is_subdomain(text) {
        out.push(pattern(SUBDOMAIN_MESSAGE, SUBDOMAIN, &["example.com"]));
    }
    out
}

/// RFC 1035 label: as an RFC 1123 label, but starting with a letter.
pub fn label_1035(text: &str) -> Problems {
    let mut out = Vec::new();
    if text.len() > 63 {
        out.push(too_long(63));
    }
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        out.push(pattern(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    out
}

/// A name that appears in a URL's path: RBAC's, and the minimum for every kind.
pub fn path_segment(text: &str) -> Problems {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => ["/", "%"]
            .iter()
            .filter(|bad| text.contains(**bad))
            .map(|bad| format!("may not contain '{bad}'"))
            .collect(),
    }
}

/// A prefix of a name that must be valid in a path, for `generateName` of path segments.
pub fn path_segment_prefix(text: &str) -> Problems {
    ["/", "%"]
        .iter()
        .filter(|bad| text.contains(**bad))
        .map(|bad| format!("may not contain '{bad}'"))
        .collect()
}

fn is_name_part(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || matches!(b, b'-' | b'_' | b'.'))
}

/// A label or annotation key, a finalizer, a resource name: an optional DNS prefix and `/`, then a name.
pub fn qualified_name(text: &str) -> Problems {
    const MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    const REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    const EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];
    let mut out = Vec::new();
    let mut parts = text.split('/');
    let first = parts.next().unwrap_or_default();
    let name = match (parts.next(), parts.next()) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                out.extend(
                    subdomain(first)
                        .into_iter()
                        .map(|problem| format!("prefix part {problem}")),
                );
            }
            name
        }
        (Some(_), Some(_)) => {
            out.push(format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                pattern(MESSAGE, REGEX, &EXAMPLES)
            ));
            return out;
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_name_part(name) {
        out.push(pattern(&format!("name part {MESSAGE}"), REGEX, &EXAMPLES));
    }
    out
}

/// The value of a label.
pub fn label_value(text: &str) -> Problems {
    let mut out = Vec::new();
    if text.len() > 63 {
        out.push("must be no more than 63 bytes".to_owned());
    }
    if !text.is_empty() && !is_name_part(text) {
        out.push(pattern(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    out
}

/// A key of a ConfigMap's or a Secret's data.
pub fn config_key(text: &str) -> Problems {
    let mut out = Vec::new();
    if text.len() > 253 {
        out.push(too_long(253));
    }
    if text.is_empty()
        || !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        out.push(pattern(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    out.extend(not_a_dot_name(text));
    out
}

/// `.`, `..` and names that begin with two dots.
fn not_a_dot_name(text: &str) -> Option<String> {
    match text {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ => text.starts_with("..").then(|| "must not start with '..'".to_owned()),
    }
}

/// The name of an environment variable: anything printable but `=`.
pub fn env_name(text: &str) -> Problems {
    if !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// The name of a port that a Service or a probe may refer to.
pub fn port_name(text: &str) -> Problems {
    let mut out = Vec::new();
    if text.len() > 15 {
        out.push(too_long(15));
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

/// A port number.
pub fn port(number: i64) -> Problems {
    if (1..=65535).contains(&number) {
        Vec::new()
    } else {
        vec![between(1, 65535)]
    }
}

/// A percentage such as `25%`.
pub fn percent(text: &str) -> Problems {
    let fine = text
        .strip_suffix('%')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if fine {
        return Vec::new();
    }
    vec![pattern(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// The header name of an HTTP probe.
pub fn http_header(text: &str) -> Problems {
    if !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return Vec::new();
    }
    vec![pattern(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// An IP address in either family.
pub fn ip(text: &str) -> Problems {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// A network in CIDR notation.
pub fn cidr(text: &str) -> Problems {
    let fine = text.split_once('/').is_some_and(|(address, bits)| {
        let max = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        !bits.starts_with('+') && bits.parse::<u8>().is_ok_and(|bits| bits <= max)
    });
    if fine {
        Vec::new()
    } else {
        vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]
    }
}

/// A host name that may begin with `*.`.
pub fn wildcard_subdomain(text: &str) -> Problems {
    let rest = text.strip_prefix("*.").unwrap_or_default();
    let mut out = Vec::new();
    if text.len() > 253 {
        out.push(too_long(253));
    }
    if !is_subdomain(rest) {
        out.push(pattern(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["*.example.com"],
        ));
    }
    out
}

/// A path that stays below its root: no `..`, not absolute.
pub fn escapes(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("must be a relative path");
    }
    backsteps(path)
}

/// A path without `..`.
pub fn backsteps(path: &str) -> Option<&'static str> {
    path.split('/')
        .any(|part| part == "..")
        .then_some("must not contain '..'")
}

/// The number a port field holds, or the name.
pub fn int_or_text(value: &Value, name: &str) -> Option<Result<i64, String>> {
    let field = value.at(name)?;
    field
        .as_i64()
        .map(Ok)
        .or_else(|| field.as_str().map(|text| Err(text.to_owned())))
}

/// `generateName` with its trailing dash made into something that may end a name.
pub fn mask_trailing_dash(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if text.len() > 1 => {
            // the server replaces the last two characters by one letter
            let mut rest = rest.to_owned();
            rest.pop();
            rest.push('a');
            rest
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_server_does() {
        let cases: [(Rule, &str, &[&str]); 14] = [
            (subdomain, "a.b-c.1", &[]),
            (subdomain, "Bad_Name", &["a lowercase RFC 1123 subdomain"]),
            (label, "bad.name", &["must not contain dots"]),
            (label, "Bad", &["a lowercase RFC 1123 label"]),
            (label, "", &["a lowercase RFC 1123 label"]),
            (label_value, "", &[]),
            (label_value, "not ok!", &["a valid label must be"]),
            (qualified_name, "example.com/Name", &[]),
            (qualified_name, "/x", &["prefix part must be non-empty"]),
            (qualified_name, "Bad Key", &["name part must consist of"]),
            (config_key, "..", &["must not be '..'"]),
            (port_name, "http", &[]),
            (
                port_name,
                "-80-",
                &["must contain at least one letter", "must not begin or end"],
            ),
            (percent, "one", &["a valid percent string"]),
        ];
        for (rule, text, wanted) in cases {
            let got = rule(text);
            assert_eq!(got.len(), wanted.len(), "{text}: {got:?}");
            for (got, wanted) in got.iter().zip(wanted) {
                assert!(got.starts_with(wanted), "{got}");
            }
        }
    }

    #[test]
    fn examples_are_listed_with_the_servers_two_spaces() {
        assert_eq!(
            label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
    }
}
