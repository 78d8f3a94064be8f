//! The formats that a string may have to have, and the patterns that it may have to match.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use regex::Regex;

use super::super::names;

/// Patterns that are kept compiled; more are compiled each time.
const KEPT: usize = 512;

/// Whether a text matches a pattern; `None` if the pattern is invalid.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    static CACHE: OnceLock<Mutex<HashMap<String, Regex>>> = OnceLock::new();
    let mut cache = CACHE
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = cache.get(pattern) {
        return Some(regex.is_match(text));
    }
    let regex = Regex::new(pattern).ok()?;
    let found = regex.is_match(text);
    if cache.len() < KEPT {
        cache.insert(pattern.to_owned(), regex);
    }
    Some(found)
}

/// Whether a text has a format. Formats that the server does not know constrain nothing.
pub(super) fn has(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => names::cidr(text).is_empty(),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => {
            matches(
                "^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$",
                text,
            ) == Some(true)
        }
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        "email" => text
            .split_once('@')
            .is_some_and(|(who, place)| !who.is_empty() && !place.is_empty()),
        "hostname" => !text.is_empty() && names::subdomain(&text.to_lowercase()).is_empty(),
        "uri" => {
            text.split_once(':')
                .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
                || text.starts_with('/')
        }
        "mac" => matches("^(?i)([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$", text) == Some(true),
        "duration" => matches(r"^[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$|^0$", text) == Some(true),
        "k8s-short-name" => names::label(text).is_empty(),
        "k8s-long-name" => names::subdomain(text).is_empty(),
        _ => true,
    }
}
