//! The msgpack form of a value: what Terraform sends, and the only form that we send.
//!
//! Decoding is driven by the type and reads the bytes once. It allocates no more than it has read, so a length that
//! promises more than there is costs nothing. The rules come from Terraform's
//! docs/plugin-protocol/object-wire-format.md.

use std::collections::BTreeMap;

use super::number::Wire;
use super::{DecodeError, MAX_BYTES, MAX_DEPTH, Number, Path, Refinements, Step, Type, Value, normal};

/// Reads a value of that type.
///
/// # Errors
/// If the bytes are not msgpack, are not of the type (an object needs exactly its attributes), nest deeper than
/// [`MAX_DEPTH`], or if anything is left over.
pub fn decode_msgpack(ty: &Type, bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader {
        bytes,
        at: 0,
        path: Path::root(),
    };
    if bytes.len() > MAX_BYTES {
        return Err(reader.refuse(format!("{} bytes are more than the limit of {MAX_BYTES}", bytes.len())));
    }
    let value = reader.value(ty, 0)?;
    if reader.at != bytes.len() {
        return Err(reader.refuse(format!("{} bytes are left over", bytes.len() - reader.at)));
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    path: Path,
}

/// What one marker announces.
enum Token<'a> {
    Nil,
    Bool(bool),
    Number(Number),
    Text(&'a [u8]),
    Array(usize),
    Map(usize),
    Extension(i8, &'a [u8]),
}

impl Token<'_> {
    fn name(&self) -> &'static str {
        match self {
            Token::Nil => "null",
            Token::Bool(_) => "a bool",
            Token::Number(_) => "a number",
            Token::Text(_) => "a string",
            Token::Array(_) => "an array",
            Token::Map(_) => "a map",
            Token::Extension(..) => "an extension",
        }
    }
}

impl<'a> Reader<'a> {
    fn refuse(&self, problem: impl Into<String>) -> DecodeError {
        DecodeError {
            path: self.path.clone(),
            problem: problem.into(),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        if count > rest.len() {
            return Err(self.refuse(format!("ends after {} of {count} bytes", rest.len())));
        }
        self.at += count;
        Ok(&rest[..count])
    }

    fn unsigned(&mut self, width: usize) -> Result<u64, DecodeError> {
        Ok(self
            .take(width)?
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, width: usize) -> Result<i64, DecodeError> {
        let shift = 64 - 8 * width as u32;
        Ok((self.unsigned(width)? << shift) as i64 >> shift)
    }

    fn length(&mut self, width: usize) -> Result<usize, DecodeError> {
        Ok(self.unsigned(width)? as usize)
    }

    fn float(&self, value: f64) -> Result<Token<'a>, DecodeError> {
        Number::from_f64(value)
            .map(Token::Number)
            .map_err(|error| self.refuse(error.to_string()))
    }

    fn extension(&mut self, length: usize) -> Result<Token<'a>, DecodeError> {
        let kind = self.signed(1)? as i8;
        Ok(Token::Extension(kind, self.take(length)?))
    }

    fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        let marker = self.take(1)?[0];
        Ok(match marker {
            0x00..=0x7f => Token::Number(Number::from(i64::from(marker))),
            0xe0..=0xff => Token::Number(Number::from(i64::from(marker as i8))),
            0x80..=0x8f => Token::Map(usize::from(marker & 0x0f)),
            0x90..=0x9f => Token::Array(usize::from(marker & 0x0f)),
            0xa0..=0xbf => Token::Text(self.take(usize::from(marker & 0x1f))?),
            0xc0 => Token::Nil,
            0xc1 => return Err(self.refuse("0xc1 is no msgpack marker")),
            0xc2 | 0xc3 => Token::Bool(marker == 0xc3),
            // A type of a dynamic value comes as binary; elsewhere some encoders write text as binary.
            0xc4..=0xc6 => {
                let length = self.length(1 << (marker - 0xc4))?;
                Token::Text(self.take(length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(1 << (marker - 0xc7))?;
                self.extension(length)?
            }
            0xca => {
                let bits = self.unsigned(4)? as u32;
                self.float(f64::from(f32::from_bits(bits)))?
            }
            0xcb => {
                let bits = self.unsigned(8)?;
                self.float(f64::from_bits(bits))?
            }
            0xcc..=0xcf => Token::Number(Number::from(self.unsigned(1 << (marker - 0xcc))?)),
            0xd0..=0xd3 => Token::Number(Number::from(self.signed(1 << (marker - 0xd0))?)),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4))?,
            0xd9..=0xdb => {
                let length = self.length(1 << (marker - 0xd9))?;
                Token::Text(self.take(length)?)
            }
            0xdc | 0xdd => Token::Array(self.length(2 << (marker - 0xdc))?),
            0xde | 0xdf => Token::Map(self.length(2 << (marker - 0xde))?),
        })
    }

    fn text(&self, bytes: &[u8]) -> Result<String, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| self.refuse("a string that is not UTF-8"))?;
        Ok(normal(text.to_owned()))
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Result<Value, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(format!("nested deeper than {MAX_DEPTH}")));
        }
        let token = self.token()?;
        match (&token, ty) {
            (Token::Nil, _) => return Ok(Value::Null),
            // Type 12 carries refinements; every other extension is a plain unknown, as in Terraform.
            (Token::Extension(12, body), _) => return Ok(Value::Unknown(Refinements::from_wire(body))),
            (Token::Extension(..), _) => return Ok(Value::UNKNOWN),
            _ => {}
        }
        match (token, ty) {
            (Token::Bool(truth), Type::Bool) => Ok(Value::Bool(truth)),
            (Token::Number(number), Type::Number) => Ok(Value::Number(number)),
            (Token::Text(bytes), Type::Number) => {
                let number = Number::from_text(&self.text(bytes)?).map_err(|error| self.refuse(error.to_string()))?;
                Ok(Value::Number(number))
            }
            (Token::Text(bytes), Type::String) => Ok(Value::String(self.text(bytes)?)),
            (Token::Array(length), Type::List(element) | Type::Set(element)) => {
                self.elements(length, |_| Ok(element), depth)
            }
            (Token::Array(length), Type::Tuple(elements)) => {
                if length != elements.len() {
                    return Err(self.refuse(format!("a tuple of {} is required, not of {length}", elements.len())));
                }
                self.elements(length, |index| Ok(&elements[index]), depth)
            }
            (Token::Map(length), Type::Map(element)) => self.entries(length, depth, |reader, key| {
                reader.path.push(Step::Key(key.to_owned()));
                Ok(element)
            }),
            (Token::Map(length), Type::Object(attributes)) => {
                let value = self.entries(length, depth, |reader, name| match attributes.get(name) {
                    Some(ty) => {
                        reader.path.push(Step::Attribute(name.to_owned()));
                        Ok(ty)
                    }
                    None => Err(reader.refuse(format!("there is no attribute {name:?}"))),
                })?;
                if length != attributes.len() {
                    let missing: Vec<&str> = attributes
                        .keys()
                        .filter(|name| value.attribute_missing(name))
                        .map(String::as_str)
                        .collect();
                    return Err(self.refuse(format!("attributes are missing: {}", missing.join(", "))));
                }
                Ok(value)
            }
            (Token::Array(2), Type::Dynamic) => {
                let Token::Text(bytes) = self.token()? else {
                    return Err(self.refuse("a dynamic value must begin with its type"));
                };
                let inner = Type::from_bytes(bytes).map_err(|error| self.refuse(error.to_string()))?;
                let value = self.value(&inner, depth + 1)?;
                Ok(Value::Dynamic(Box::new((inner, value))))
            }
            (token, ty) => Err(self.refuse(format!("{} where {} is required", token.name(), ty.to_json()))),
        }
    }

    fn elements<'t>(
        &mut self,
        length: usize,
        element: impl Fn(usize) -> Result<&'t Type, DecodeError>,
        depth: usize,
    ) -> Result<Value, DecodeError> {
        let mut elements = Vec::new();
        for index in 0..length {
            self.path.push(Step::Index(index));
            elements.push(self.value(element(index)?, depth + 1)?);
            self.path.pop();
        }
        Ok(Value::List(elements))
    }

    /// `enter` gives the type of a key's value and pushes the step to it.
    fn entries<'t>(
        &mut self,
        length: usize,
        depth: usize,
        enter: impl Fn(&mut Self, &str) -> Result<&'t Type, DecodeError>,
    ) -> Result<Value, DecodeError> {
        let mut entries = BTreeMap::new();
        for _ in 0..length {
            let Token::Text(bytes) = self.token()? else {
                return Err(self.refuse("a map key must be a string"));
            };
            let key = self.text(bytes)?;
            let ty = enter(self, &key)?;
            let value = self.value(ty, depth + 1)?;
            if entries.insert(key, value).is_some() {
                return Err(self.refuse("the same key twice"));
            }
            self.path.pop();
        }
        Ok(Value::Map(entries))
    }
}

impl Value {
    fn attribute_missing(&self, name: &str) -> bool {
        self.as_map().is_none_or(|attributes| !attributes.contains_key(name))
    }
}

/// Writes a value. The type decides nothing but where a dynamic value must carry its own.
pub fn encode_msgpack(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Unknown(refinements) => match refinements.as_wire() {
            None => out.extend([0xd4, 0, 0]),
            Some(body) => {
                match u8::try_from(body.len()) {
                    Ok(length) => out.extend([0xc7, length]),
                    Err(_) => {
                        out.push(0xc8);
                        out.extend((body.len() as u16).to_be_bytes());
                    }
                }
                out.push(12);
                out.extend(body);
            }
        },
        Value::Bool(truth) => out.push(if *truth { 0xc3 } else { 0xc2 }),
        Value::Number(number) => match number.wire() {
            // As text, although there are integers on the wire: Terraform reads those with 64 bits of precision and its own
            // state with 512, takes the two for different, and calls an empty refresh-only plan a change.
            Wire::Signed(value) => write_text(&value.to_string(), out),
            Wire::Unsigned(value) => write_text(&value.to_string(), out),
            Wire::Float(value) => {
                out.push(0xcb);
                out.extend(value.to_be_bytes());
            }
            Wire::Text(text) => write_text(&text, out),
        },
        Value::String(text) => write_text(text, out),
        Value::List(elements) => {
            write_length(elements.len(), 0x90, 0xdc, out);
            for element in elements {
                write(element, out);
            }
        }
        Value::Map(entries) => {
            write_length(entries.len(), 0x80, 0xde, out);
            for (key, value) in entries {
                write_text(key, out);
                write(value, out);
            }
        }
        Value::Dynamic(inner) => {
            let ty = inner.0.to_bytes();
            out.extend([0x92, 0xc6]);
            out.extend((ty.len() as u32).to_be_bytes());
            out.extend(ty);
            write(&inner.1, out);
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=0xff => out.extend([0xd9, length as u8]),
        length @ 0x100..=0xffff => {
            out.push(0xda);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0xdb);
            out.extend((length as u32).to_be_bytes());
        }
    }
    out.extend(text.as_bytes());
}

/// `short` holds up to 15 in its low bits; `long` is the marker with 16 bits, the next one has 32.
fn write_length(length: usize, short: u8, long: u8, out: &mut Vec<u8>) {
    match length {
        0..=15 => out.push(short | length as u8),
        16..=0xffff => {
            out.push(long);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(long + 1);
            out.extend((length as u32).to_be_bytes());
        }
    }
}
