//! Request bodies: reading them within limits, and JSON and YAML into values.

use std::fmt;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::kubernetes::registry::Failure;

/// The largest body that the server reads.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024;

/// Read a body.
pub(crate) async fn read(body: Incoming) -> Result<Bytes, Failure> {
    match Limited::new(body, LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let mut failure = Failure::new(
                413,
                "RequestEntityTooLarge",
                format!("Request entity too large: limit is {LIMIT}"),
            );
            failure.details = Some(serde_json::json!({}));
            Err(failure)
        }
        Err(error) => Err(Failure::bad_request(format!(
            "unable to read the request body: {error}"
        ))),
    }
}

/// A parsed body and the paths of the fields that it holds twice.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) value: Value,
    pub(crate) duplicates: Vec<String>,
}

/// Parse JSON; the last of several equal keys wins.
pub(crate) fn json(bytes: &[u8]) -> Result<Parsed, serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed {
        path: String::new(),
        duplicates: &mut duplicates,
    }
    .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Parsed { value, duplicates })
}

struct Seed<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, out.len());
            match seq.next_element_seed(Seed {
                path,
                duplicates: self.duplicates,
            })? {
                Some(value) => out.push(value),
                None => return Ok(out.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            if out.contains_key(&key) && !self.duplicates.contains(&path) {
                self.duplicates.push(path.clone());
            }
            let value = map.next_value_seed(Seed {
                path,
                duplicates: self.duplicates,
            })?;
            out.insert(key, value);
        }
        Ok(out.into())
    }
}

/// Parse the first document of a YAML text as YAML 1.1, the dialect that the API reads.
pub(crate) fn yaml(text: &str) -> Result<Parsed, String> {
    super::super::patch::yaml::parse(text).map(|(value, duplicates)| Parsed { value, duplicates })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_two_equal_keys_wins_and_is_told() {
        let parsed = json(br#"{"a": {"b": 1, "b": 2}, "l": [{"x": 1, "x": 1}]}"#).unwrap();
        assert_eq!(parsed.value, json!({"a": {"b": 2}, "l": [{"x": 1}]}));
        assert_eq!(parsed.duplicates, ["a.b", "l[0].x"]);
    }
}
