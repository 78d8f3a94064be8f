//! The type of a plain scalar: the implicit typing of the two tools' YAML readers. Both resolve numbers, null,
//! timestamps and merge keys alike; they differ in booleans.

use super::node::Tag;
use super::number::{Number, parse_number};
use super::timestamp;

/// Whose reading of YAML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// kubectl's: YAML 1.1 booleans, timestamps stay text, keys of any scalar kind become strings.
    Manifest,
    /// How kubectl and kustomize read their own settings (a kustomization, a JSON patch): as [`Self::Manifest`], and of a key
    /// that appears twice the last one counts.
    Settings,
    /// kustomize's: only `true` and `false` are booleans, keys are strings.
    Kustomize,
}

/// The value of a scalar.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolved {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A timestamp, in the one form in which both tools pass it on (RFC 3339).
    Timestamp(String),
    /// None of these.
    Str,
}

/// Reads a plain scalar's text.
pub fn resolve(text: &str, profile: Profile) -> Resolved {
    let Some(&first) = text.as_bytes().first() else {
        return Resolved::Null;
    };
    match first {
        b'~' | b'n' | b'N' if matches!(text, "~" | "null" | "Null" | "NULL") => Resolved::Null,
        b't' | b'T' if matches!(text, "true" | "True" | "TRUE") => Resolved::Bool(true),
        b'f' | b'F' if matches!(text, "false" | "False" | "FALSE") => Resolved::Bool(false),
        b'y' | b'Y' | b'n' | b'N' | b'o' | b'O' if profile != Profile::Kustomize => match yaml11_bool(text) {
            Some(value) => Resolved::Bool(value),
            None => Resolved::Str,
        },
        b'.' | b'+' | b'-' | b'0'..=b'9' => {
            if let Some(time) = timestamp::normalise(text) {
                match profile {
                    Profile::Kustomize => Resolved::Timestamp(time),
                    // kubectl knows timestamps, and hands them on as they were written.
                    Profile::Manifest | Profile::Settings => Resolved::Str,
                }
            } else {
                parse_number(text).map_or(Resolved::Str, Resolved::Number)
            }
        }
        _ => Resolved::Str,
    }
}

/// The tag that a plain scalar's text gets.
pub(super) fn tag_of(text: &str, profile: Profile) -> Tag {
    match resolve(text, profile) {
        Resolved::Null => Tag::Null,
        Resolved::Bool(_) => Tag::Bool,
        Resolved::Number(Number::Float(_)) => Tag::Float,
        Resolved::Number(_) => Tag::Int,
        Resolved::Timestamp(_) => Tag::Timestamp,
        Resolved::Str => Tag::Str,
    }
}

/// YAML 1.1's spellings of true and false that YAML 1.2 dropped.
pub(super) fn yaml11_bool(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_resolve_as_the_two_tools_read_them() {
        use Profile::{Kustomize, Manifest};
        for (text, profile, want) in [
            ("", Kustomize, Resolved::Null),
            ("~", Kustomize, Resolved::Null),
            ("yes", Kustomize, Resolved::Str),
            ("yes", Manifest, Resolved::Bool(true)),
            ("n", Manifest, Resolved::Bool(false)),
            ("null", Manifest, Resolved::Null),
            ("nothing", Manifest, Resolved::Str),
            ("TRUE", Kustomize, Resolved::Bool(true)),
            ("0644", Kustomize, Resolved::Number(Number::Int(420))),
            ("0o17", Kustomize, Resolved::Number(Number::Int(15))),
            ("089", Kustomize, Resolved::Number(Number::Float(89.0))),
            ("0x1F", Kustomize, Resolved::Number(Number::Int(31))),
            ("1_000", Kustomize, Resolved::Number(Number::Int(1000))),
            ("-1.5e3", Kustomize, Resolved::Number(Number::Float(-1500.0))),
            (
                "18446744073709551615",
                Kustomize,
                Resolved::Number(Number::UInt(u64::MAX)),
            ),
            ("1.2.3", Kustomize, Resolved::Str),
            ("1:30", Kustomize, Resolved::Str),
            ("-", Kustomize, Resolved::Str),
            (".", Kustomize, Resolved::Str),
            (
                "2001-01-01",
                Kustomize,
                Resolved::Timestamp("2001-01-01T00:00:00Z".into()),
            ),
            ("2001-01-01", Manifest, Resolved::Str),
            ("2001-13-01", Kustomize, Resolved::Str),
        ] {
            assert_eq!(resolve(text, profile), want, "{text:?} in {profile:?}");
        }
    }
}
