//! The JSON form of a value: stored state, and the second form in which Terraform may send a value.
//!
//! Numbers are read from their text, so a large one loses nothing. JSON cannot say unknown.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{DecodeError, MAX_BYTES, MAX_DEPTH, Number, Path, Step, Type, Value, normal};

/// What an object without exactly its attributes means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    /// A value of the current schema: an attribute too few or too many is an error.
    Exact,
    /// State that another version of the schema wrote: what is missing is null, what is unknown is dropped.
    Lenient,
}

/// Reads a value of that type.
///
/// # Errors
/// If the bytes are not JSON, are not of the type, or nest deeper than [`MAX_DEPTH`].
pub fn decode_json(ty: &Type, bytes: &[u8], attributes: Attributes) -> Result<Value, DecodeError> {
    let mut reader = Reader {
        path: Path::root(),
        attributes,
    };
    if bytes.len() > MAX_BYTES {
        return Err(reader.refuse(format!("{} bytes are more than the limit of {MAX_BYTES}", bytes.len())));
    }
    let raw: &RawValue = reader.parse(bytes)?;
    reader.value(ty, raw.get(), 0)
}

struct Reader {
    path: Path,
    attributes: Attributes,
}

impl Reader {
    fn refuse(&self, problem: impl Into<String>) -> DecodeError {
        DecodeError {
            path: self.path.clone(),
            problem: problem.into(),
        }
    }

    fn parse<'a, T: serde::Deserialize<'a>>(&self, bytes: &'a [u8]) -> Result<T, DecodeError> {
        // The error names a position and a kind, never the text that it found: that may be a secret.
        serde_json::from_slice(bytes).map_err(|error| {
            self.refuse(format!(
                "not the JSON that is required, at line {} column {}",
                error.line(),
                error.column()
            ))
        })
    }

    fn value(&mut self, ty: &Type, raw: &str, depth: usize) -> Result<Value, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(format!("nested deeper than {MAX_DEPTH}")));
        }
        let raw = raw.trim();
        if raw == "null" {
            return Ok(Value::Null);
        }
        match ty {
            Type::Bool => Ok(Value::Bool(self.parse(raw.as_bytes())?)),
            Type::String => self.text(raw).map(Value::String),
            Type::Number => {
                // A large number is stored as a string.
                let text = if raw.starts_with('"') {
                    self.text(raw)?
                } else {
                    raw.to_owned()
                };
                Number::from_text(&text)
                    .map(Value::Number)
                    .map_err(|error| self.refuse(error.to_string()))
            }
            Type::List(element) | Type::Set(element) => {
                let parts: Vec<&RawValue> = self.parse(raw.as_bytes())?;
                self.elements(&parts, |_| element, depth)
            }
            Type::Tuple(elements) => {
                let parts: Vec<&RawValue> = self.parse(raw.as_bytes())?;
                if parts.len() != elements.len() {
                    let problem = format!("a tuple of {} is required, not of {}", elements.len(), parts.len());
                    return Err(self.refuse(problem));
                }
                self.elements(&parts, |index| &elements[index], depth)
            }
            Type::Map(element) => {
                let mut entries = BTreeMap::new();
                for (key, part) in self.parse::<BTreeMap<String, &RawValue>>(raw.as_bytes())? {
                    self.path.push(Step::Key(key.clone()));
                    entries.insert(normal(key), self.value(element, part.get(), depth + 1)?);
                    self.path.pop();
                }
                Ok(Value::Map(entries))
            }
            Type::Object(attributes) => self.object(attributes, raw, depth),
            Type::Dynamic => {
                let mut parts: BTreeMap<String, &RawValue> = self.parse(raw.as_bytes())?;
                let (Some(ty), Some(value), true) = (parts.remove("type"), parts.remove("value"), parts.is_empty())
                else {
                    return Err(self.refuse("a dynamic value must have a type and a value"));
                };
                let ty = Type::from_bytes(ty.get().as_bytes()).map_err(|error| self.refuse(error.to_string()))?;
                let value = self.value(&ty, value.get(), depth + 1)?;
                Ok(Value::Dynamic(Box::new((ty, value))))
            }
        }
    }

    fn text(&self, raw: &str) -> Result<String, DecodeError> {
        Ok(normal(self.parse(raw.as_bytes())?))
    }

    fn elements<'t>(
        &mut self,
        parts: &[&RawValue],
        element: impl Fn(usize) -> &'t Type,
        depth: usize,
    ) -> Result<Value, DecodeError> {
        let mut elements = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            self.path.push(Step::Index(index));
            elements.push(self.value(element(index), part.get(), depth + 1)?);
            self.path.pop();
        }
        Ok(Value::List(elements))
    }

    fn object(&mut self, attributes: &BTreeMap<String, Type>, raw: &str, depth: usize) -> Result<Value, DecodeError> {
        let mut parts: BTreeMap<String, &RawValue> = self.parse(raw.as_bytes())?;
        let mut object = BTreeMap::new();
        for (name, ty) in attributes {
            let value = match (parts.remove(name), self.attributes) {
                (Some(part), _) => {
                    self.path.push(Step::Attribute(name.clone()));
                    let value = self.value(ty, part.get(), depth + 1)?;
                    self.path.pop();
                    value
                }
                (None, Attributes::Lenient) => Value::Null,
                (None, Attributes::Exact) => return Err(self.refuse(format!("attribute {name:?} is missing"))),
            };
            object.insert(name.clone(), value);
        }
        match (parts.into_keys().next(), self.attributes) {
            (Some(name), Attributes::Exact) => Err(self.refuse(format!("there is no attribute {name:?}"))),
            _ => Ok(Value::Map(object)),
        }
    }
}
