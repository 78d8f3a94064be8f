//! Request bodies in Kubernetes' protobuf form, which typed clients such as `kubectl create` send → JSON.
//!
//! Types come from the schema, field numbers from `facts/protobuf.txt`. Answers are never in this form: every client that sends it
//! also reads JSON.
//!
//! Generated clients write fields that JSON would omit (an empty text, a zero that is no pointer), so those are dropped here; a zero
//! survives only in fields that are pointers in the API's Go types.

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::kubernetes::schema::builtin;
use crate::kubernetes::schema::{NodeId, Scalar, Schema, Shape};

/// Four bytes before every body (apimachinery, `runtime/serializer/protobuf`).
pub(crate) const MAGIC: &[u8] = b"k8s\0";
/// Messages inside messages; deeper ones are refused.
const DEPTH: usize = 64;
/// Fields whose zero or false differs from their absence.
const POINTERS: [&str; 27] = [
    "replicas",
    "parallelism",
    "completions",
    "backoffLimit",
    "backoffLimitPerIndex",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "suspend",
    "gracePeriodSeconds",
    "terminationGracePeriodSeconds",
    "orphanDependents",
    "automountServiceAccountToken",
    "allowPrivilegeEscalation",
    "readOnlyRootFilesystem",
    "runAsNonRoot",
    "runAsUser",
    "runAsGroup",
    "fsGroup",
    "privileged",
    "immutable",
    "enableServiceLinks",
    "minReplicas",
    "successfulJobsHistoryLimit",
    "failedJobsHistoryLimit",
    "revisionHistoryLimit",
    "progressDeadlineSeconds",
    "optional",
];

/// Field numbers of a type.
type Row = HashMap<u64, Place>;

/// Where a field goes.
enum Place {
    /// Under this name.
    Field(&'static str),
    /// It is a message whose fields stand in the outer object.
    Inline(HashMap<u64, &'static str>),
}

fn rows() -> &'static HashMap<&'static str, Row> {
    static ROWS: OnceLock<HashMap<&'static str, Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let lines = include_str!("../../../facts/protobuf.txt")
            .lines()
            .filter(|l| !l.starts_with('#'));
        lines
            .filter_map(|line| line.split_once(' '))
            .map(|(name, fields)| (name, row(fields)))
            .collect()
    })
}

fn row(fields: &'static str) -> Row {
    let place = |text: &'static str| match text.strip_prefix('^') {
        None => Place::Field(text),
        Some(inner) => {
            let pair = |p: &'static str| p.split_once('=').and_then(|(name, n)| Some((n.parse().ok()?, name)));
            Place::Inline(inner.split(',').filter_map(pair).collect())
        }
    };
    let pair = |p: &'static str| {
        p.split_once('=')
            .and_then(|(n, name)| Some((n.parse().ok()?, place(name))))
    };
    fields.split(' ').filter_map(pair).collect()
}

/// Reads a body.
///
/// # Errors
/// When it is not in the form, its kind is not a built-in one, or a field has another type than the schema says.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, String> {
    let body = bytes
        .strip_prefix(MAGIC)
        .ok_or("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(body) {
        match field? {
            (1, Wire::Bytes(meta)) => {
                for part in Fields(meta) {
                    match part? {
                        (1, Wire::Bytes(b)) => api_version = text(b)?,
                        (2, Wire::Bytes(b)) => kind = text(b)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(b)) => raw = b,
            (3, Wire::Bytes(b)) if !b.is_empty() => return Err("encoded contents are not supported".into()),
            _ => {}
        }
    }
    let schema = builtin::schema();
    let node = schema
        .kinds
        .get(&format!("{api_version}/{kind}"))
        .ok_or_else(|| format!("no kind \"{kind}\" is registered for version \"{api_version}\""))?;
    let mut value = message(schema, *node, raw, 0)?;
    value.insert("apiVersion".into(), api_version.into());
    value.insert("kind".into(), kind.into());
    Ok(value.into())
}

/// One message of a struct type.
fn message(schema: &Schema, node: NodeId, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, String> {
    if depth > DEPTH {
        return Err("the message is nested too deeply".into());
    }
    let entry = schema.nodes.get(node).ok_or("a type is missing from the schema")?;
    let name = entry.name.as_deref().unwrap_or_default();
    let Some(row) = rows().get(name) else {
        return Err(format!("the sandbox has no protobuf form of {name}"));
    };
    let mut out = Map::new();
    for field in Fields(bytes) {
        let (number, wire) = field?;
        match row.get(&number) {
            Some(Place::Field(field)) => put(schema, node, field, &wire, &mut out, depth)?,
            Some(Place::Inline(names)) => {
                let Wire::Bytes(inner) = wire else {
                    return Err(format!("field {number} of {name} is no message"));
                };
                for field in Fields(inner) {
                    let (number, wire) = field?;
                    if let Some(field) = names.get(&number) {
                        put(schema, node, field, &wire, &mut out, depth)?;
                    }
                }
            }
            None => {}
        }
    }
    Ok(out)
}

/// Puts one field of a struct where it belongs.
fn put(
    schema: &Schema,
    owner: NodeId,
    name: &str,
    wire: &Wire<'_>,
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    let Some(Shape::Struct(fields)) = schema.nodes.get(owner).map(|n| &n.shape) else {
        return Err(format!("{name} stands in something that has no fields"));
    };
    let Some(node) = fields.fields.get(name).map(|f| f.node) else {
        return Ok(());
    };
    match &schema.nodes[node].shape {
        Shape::List { item, .. } => {
            let value = single(schema, *item, wire, depth)?;
            let list = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(value);
            }
        }
        Shape::Map { value: values, .. } => {
            let Wire::Bytes(bytes) = wire else {
                return Err(format!("{name} is no map"));
            };
            let (mut key, mut value) = (String::new(), None);
            for part in Fields(bytes) {
                match part? {
                    (1, Wire::Bytes(b)) => key = text(b)?,
                    (2, wire) => value = Some(single(schema, *values, &wire, depth)?),
                    _ => {}
                }
            }
            let value = value.unwrap_or_else(|| Value::String(String::new()));
            if let Value::Object(map) = out.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                map.insert(key, value);
            }
        }
        _ => {
            let value = single(schema, node, wire, depth)?;
            if !omitted(name, &value) {
                out.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// Whether JSON would leave a field out.
fn omitted(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(b) => !b && !POINTERS.contains(&name),
        Value::Number(n) => n.as_i64() == Some(0) && !POINTERS.contains(&name),
        Value::Object(map) => {
            map.is_empty()
                && matches!(
                    name,
                    "status" | "metadata" | "resources" | "strategy" | "updateStrategy"
                )
        }
        Value::Array(_) => false,
    }
}

/// One value of a type that is no list and no map.
fn single(schema: &Schema, node: NodeId, wire: &Wire<'_>, depth: usize) -> Result<Value, String> {
    let shape = &schema.nodes.get(node).ok_or("a type is missing from the schema")?.shape;
    Ok(match (shape, wire) {
        (Shape::Struct(_), Wire::Bytes(bytes)) => message(schema, node, bytes, depth + 1)?.into(),
        (Shape::Any, Wire::Bytes(bytes)) => raw(bytes)?,
        (Shape::Scalar(scalar), wire) => leaf(*scalar, wire)?,
        _ => return Err("a field has a form that its type cannot have".into()),
    })
}

fn leaf(scalar: Scalar, wire: &Wire<'_>) -> Result<Value, String> {
    Ok(match (scalar, wire) {
        (Scalar::String, Wire::Bytes(b)) => text(b)?.into(),
        (Scalar::Bytes, Wire::Bytes(b)) => BASE64_STANDARD.encode(b).into(),
        (Scalar::Boolean, Wire::Varint(n)) => (*n != 0).into(),
        // Negative numbers of 32 bits are written as 64 bits, too.
        (Scalar::Int32 | Scalar::Int64 | Scalar::Number, Wire::Varint(n)) => n.cast_signed().into(),
        (Scalar::Number, Wire::Fixed64(n)) => f64::from_bits(*n).into(),
        (Scalar::Quantity, Wire::Bytes(b)) => match Fields(b).next() {
            Some(field) => match field? {
                (1, Wire::Bytes(b)) => text(b)?.into(),
                _ => return Err("a quantity is malformed".into()),
            },
            None => "0".into(),
        },
        (Scalar::IntOrString, Wire::Bytes(b)) => int_or_string(b)?,
        (Scalar::Time | Scalar::MicroTime, Wire::Bytes(b)) => time(scalar, b)?,
        (Scalar::Opaque, Wire::Bytes(b)) => raw(b)?,
        _ => return Err("a field has a form that its type cannot have".into()),
    })
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut string) = (false, 0i64, String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Varint(n)) => is_text = n == 1,
            (2, Wire::Varint(n)) => number = n.cast_signed(),
            (3, Wire::Bytes(b)) => string = text(b)?,
            _ => {}
        }
    }
    Ok(if is_text { string.into() } else { number.into() })
}

fn time(scalar: Scalar, bytes: &[u8]) -> Result<Value, String> {
    let (mut seconds, mut nanoseconds) = (0i64, 0i64);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Varint(n)) => seconds = n.cast_signed(),
            (2, Wire::Varint(n)) => nanoseconds = n.cast_signed(),
            _ => {}
        }
    }
    // Go's zero time, and no field at all, are null in JSON.
    if (seconds, nanoseconds) == (0, 0) || seconds == -62_135_596_800 {
        return Ok(Value::Null);
    }
    let nanoseconds = i32::try_from(nanoseconds).map_err(|_| "a time is malformed")?;
    let at = Timestamp::new(seconds, nanoseconds).map_err(|_| "a time is out of range")?;
    Ok(match scalar {
        Scalar::MicroTime => at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into(),
        _ => crate::clock::seconds(at).into(),
    })
}

/// `RawExtension`, `FieldsV1`, `JSON`: bytes of JSON in field 1.
fn raw(bytes: &[u8]) -> Result<Value, String> {
    match Fields(bytes).next() {
        None => Ok(Value::Null),
        Some(field) => match field? {
            (1, Wire::Bytes(json)) => {
                serde_json::from_slice(json).map_err(|e| format!("embedded JSON is malformed: {e}"))
            }
            _ => Err("an embedded object is malformed".into()),
        },
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".into())
}

/// One value on the wire.
#[derive(Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            // Nothing after a broken field means anything.
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "unexpected end of the protobuf message".into()))
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Fixed32)?,
            _ => return None,
        };
        Some((tag >> 3, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn bytes(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(inner.len()).expect("short")];
        out.extend_from_slice(inner);
        out
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [
            MAGIC.to_vec(),
            bytes(1, &meta),
            bytes(2, raw),
            bytes(3, b""),
            bytes(4, b""),
        ]
        .concat()
    }

    #[test]
    fn a_config_map_is_read_without_the_zeros_that_json_omits() {
        // metadata {name: a, generateName: "", creationTimestamp: {}, generation: 0}, data {x: "1", empty: ""}
        let metadata = [bytes(1, b"a"), bytes(2, b""), vec![7 << 3, 0], bytes(8, b"")].concat();
        let pair = |k: &[u8], v: &[u8]| bytes(2, &[bytes(1, k), bytes(2, v)].concat());
        let raw = [bytes(1, &metadata), pair(b"x", b"1"), pair(b"empty", b"")].concat();
        let want = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1", "empty": ""}});
        assert_eq!(decode(&body("v1", "ConfigMap", &raw)), Ok(want));
    }

    #[test]
    fn secrets_are_base64_and_inline_messages_stand_in_the_outer_object() {
        let raw = bytes(2, &[bytes(1, b"k"), bytes(2, b"\x00\xff")].concat());
        let secret = decode(&body("v1", "Secret", &raw)).expect("a secret");
        assert_eq!(secret["data"]["k"], "AP8=");
        // Pod.spec (2) .volumes (1): name (1) and, inline (2), emptyDir (2).
        let volume = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
        let pod = decode(&body("v1", "Pod", &bytes(2, &bytes(1, &volume)))).expect("a pod");
        assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    }

    #[test]
    fn what_is_not_the_form_is_refused() {
        for (bytes, want) in [
            (b"{}".to_vec(), "does not appear"),
            (body("v1", "Nope", b""), "no kind"),
            ([MAGIC, &[0x0a, 0x7f]].concat(), "unexpected end"),
        ] {
            assert!(decode(&bytes).expect_err(want).contains(want));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(noise in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&body("apps/v1", "Deployment", &noise));
            let _ = decode(&[MAGIC, &noise].concat());
        }
    }
}
