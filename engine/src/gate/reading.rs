//! Reads what the API sends: small total functions on JSON, for objects whose shape cannot be trusted.
//!
//! Nothing here decides anything.

use serde_json::Value;

/// The longest foreign text in a verdict, in characters.
const LONGEST: usize = 600;

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number, limited to what JSON carries exactly, so that sums of a few of them cannot overflow.
pub(super) fn number(value: &Value, pointer: &str) -> Option<i64> {
    const EXACT: i64 = 1 << 53;
    Some(value.pointer(pointer)?.as_i64()?.clamp(-EXACT, EXACT))
}

pub(super) fn count(value: &Value, pointer: &str) -> i64 {
    number(value, pointer).unwrap_or(0)
}

pub(super) fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// One entry of `status.conditions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition<'a> {
    pub(super) kind: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    pub(super) observed_generation: Option<i64>,
}

impl Condition<'_> {
    pub(super) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(super) fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// `Reason: message`, or whichever of the two exists, or the type.
    pub(super) fn words(&self) -> String {
        match (self.reason, tidy(self.message)) {
            ("", message) if message.is_empty() => format!("{} is {}", self.kind, self.status),
            ("", message) => message,
            (reason, message) if message.is_empty() => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

pub(super) fn conditions(value: &Value) -> impl Iterator<Item = Condition<'_>> {
    list(value, "/status/conditions").iter().map(|c| Condition {
        kind: text(c, "/type"),
        status: text(c, "/status"),
        reason: text(c, "/reason"),
        message: text(c, "/message"),
        observed_generation: number(c, "/observedGeneration"),
    })
}

pub(super) fn condition<'a>(value: &'a Value, kind: &str) -> Option<Condition<'a>> {
    conditions(value).find(|c| c.kind == kind)
}

/// Foreign text on one line, without control characters, and not longer than a user would read.
pub(super) fn tidy(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > LONGEST * 4 {
            break;
        }
    }
    match line.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// `1 pod`, `3 pods`.
pub(super) fn counted(n: i64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn foreign_text_is_one_line_and_bounded() {
        assert_eq!(tidy("  fatal:\n\tno\u{1b}[31m url \r\n"), "fatal: no [31m url");
        let long = tidy(&"ß".repeat(5000));
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn shapes_that_are_not_expected_read_as_nothing() {
        let odd = json!({"status": {"conditions": "none", "replicas": "3", "phase": 4}});
        assert_eq!(conditions(&odd).count(), 0);
        assert_eq!(number(&odd, "/status/replicas"), None);
        assert_eq!(text(&odd, "/status/phase"), "");
        assert!(list(&odd, "/status/conditions").is_empty());
    }

    #[test]
    fn a_condition_says_what_it_can() {
        let object = json!({"status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "NoDisk", "message": "disk\nis full"},
            {"type": "Able", "status": "False"},
        ]}});
        assert_eq!(condition(&object, "Ready").unwrap().words(), "NoDisk: disk is full");
        assert_eq!(condition(&object, "Able").unwrap().words(), "Able is False");
    }
}
