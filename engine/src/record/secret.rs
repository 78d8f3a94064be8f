//! The record as a Secret: `data.record` (JSON, gzip when large), `data.key`, and the labels and annotations of an ApplySet
//! parent (KEP-3659).

use super::{Record, StackId};
use crate::mask::MaskKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

/// Type of the Secret.
pub(super) const TYPE: &str = "myelin.dev/stack";

/// Above this size the text is compressed; below, it stays readable.
const PLAIN: usize = 16 << 10;

/// The API server takes 1 MiB of data per Secret; the key and the names need some.
const LARGEST: usize = (1 << 20) - 4096;

/// What a compressed text may become. A larger one was not written by us.
const LARGEST_TEXT: u64 = 64 << 20;

/// The Secret that holds a record; without resourceVersion.
///
/// # Errors
/// When it would be too large for the API server; the text says how large.
pub fn to_secret(record: &Record) -> Result<Value, String> {
    let text = serde_json::to_vec(record).map_err(|e| format!("it cannot be written as JSON: {e}"))?;
    let (name, bytes) = if text.len() > PLAIN {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let packed = encoder.write_all(&text).and_then(|()| encoder.finish());
        (
            "record.gz",
            packed.map_err(|e| format!("it cannot be compressed: {e}"))?,
        )
    } else {
        ("record", text)
    };
    if bytes.len() > LARGEST {
        return Err(format!(
            "with {} objects it has {} bytes and a Secret holds {LARGEST}; divide the stack",
            record.entries.len(),
            bytes.len()
        ));
    }
    let mut data = json!({ name: STANDARD.encode(&bytes), "key": STANDARD.encode(record.key.bytes()) });
    match &record.good {
        Some(good) if bytes.len() + good.len() <= LARGEST => data["good.gz"] = STANDARD.encode(good).into(),
        // The inventory is what nothing can do without.
        Some(_) => {
            tracing::warn!(stack = %record.stack, "the record has no room for the last good state; there is no roll-back");
        }
        None => {}
    }
    let kinds: BTreeSet<String> = record
        .entries
        .values()
        .map(|e| {
            if e.key.group.is_empty() {
                e.key.kind.clone()
            } else {
                format!("{}.{}", e.key.kind, e.key.group)
            }
        })
        .collect();
    let namespaces: BTreeSet<&str> = record
        .entries
        .values()
        .map(|e| e.key.namespace.as_str())
        .filter(|n| !n.is_empty() && *n != record.stack.namespace)
        .collect();
    let list = |all: Vec<&str>| all.join(",");
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {
            "name": record.stack.record_name(),
            "namespace": record.stack.namespace,
            "labels": {
                "applyset.kubernetes.io/id": record.stack.apply_set(),
                "app.kubernetes.io/managed-by": "myelin",
            },
            "annotations": {
                "applyset.kubernetes.io/tooling": "myelin/v1",
                "applyset.kubernetes.io/contains-group-kinds": list(kinds.iter().map(String::as_str).collect()),
                "applyset.kubernetes.io/additional-namespaces": list(namespaces.into_iter().collect()),
                "myelin.dev/owner": record.owner.to_string(),
            },
        },
        "data": data,
    }))
}

/// Reads a record from its Secret.
///
/// # Errors
/// When it is not a record of this stack, or cannot be read. The text holds no values.
pub fn from_secret(stack: &StackId, secret: &Value) -> Result<Record, String> {
    let text = |p: &str| secret.pointer(p).and_then(Value::as_str).unwrap_or_default();
    if text("/type") != TYPE {
        return Err(format!("it is of type \"{}\", not {TYPE}", text("/type")));
    }
    let id = secret
        .pointer("/metadata/labels")
        .and_then(|l| l.get("applyset.kubernetes.io/id"))
        .and_then(Value::as_str);
    if id != Some(&stack.apply_set()) {
        return Err("its ApplySet id is not that of the stack: it was copied or renamed".into());
    }
    let decode = |name: &str| {
        let value = secret.get("data").and_then(|d| d.get(name)).and_then(Value::as_str);
        value
            .map(|v| STANDARD.decode(v).map_err(|_| format!("data.{name} is no base64")))
            .transpose()
    };
    let json = match (decode("record")?, decode("record.gz")?) {
        (Some(plain), _) => plain,
        (None, Some(packed)) => {
            let mut text = Vec::new();
            GzDecoder::new(&*packed)
                .take(LARGEST_TEXT)
                .read_to_end(&mut text)
                .map_err(|e| format!("data.record.gz cannot be unpacked: {e}"))?;
            text
        }
        (None, None) => return Err("it has neither data.record nor data.record.gz".into()),
    };
    let key: [u8; 32] = decode("key")?
        .and_then(|k| k.try_into().ok())
        .ok_or("data.key does not have 32 bytes")?;
    // A serde_json error names fields and types, not the values around them.
    let mut record: Record = serde_json::from_slice(&json).map_err(|e| format!("its text cannot be read: {e}"))?;
    record.key = MaskKey::new(key);
    record.good = decode("good.gz")?.map(Into::into);
    if record.stack != *stack {
        return Err(format!("it is the record of {}", record.stack));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectKey;
    use crate::record::{Entry, Owner};
    use proptest::prelude::*;

    fn record(n: usize) -> Record {
        let stack = StackId {
            namespace: "n".into(),
            name: "s".into(),
        };
        let mut record = Record::new(stack, Owner::Terraform, [7; 32]);
        record.entries = (0..n)
            .map(|i| Entry {
                key: ObjectKey::new(
                    if i % 2 == 0 { "apps" } else { "" },
                    "Kind",
                    format!("ns{}", i % 3),
                    format!("o{i}"),
                ),
                api_version: "v1".into(),
                uid: Some(format!("{i:08x}-0000-4000-8000-{:012x}", i * 7919)),
                component: Some("c".into()),
                level: 3,
                number: i as u32 + 1,
                needs: (i % 5 != 0).then(|| vec![1, (i as u32) / 2]),
                desired: Some(format!(
                    "{:032x}",
                    (i as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
                )),
                attested: Some(format!(
                    "{:032x}",
                    (i as u128 + 1).wrapping_mul(0xC2B2_AE3D_27D4_EB4F_1656_67B1_9E37_79F9)
                )),
                owned: "abcd".repeat(30),
                left: Vec::new(),
                ends: false,
                reverted: Vec::new(),
            })
            .map(|e| (e.key.clone(), e))
            .collect();
        record
    }

    #[test]
    fn a_record_is_an_apply_set_parent() {
        let secret = to_secret(&record(5)).unwrap();
        let annotations = &secret["metadata"]["annotations"];
        assert_eq!(
            annotations["applyset.kubernetes.io/contains-group-kinds"],
            "Kind,Kind.apps"
        );
        assert_eq!(
            annotations["applyset.kubernetes.io/additional-namespaces"],
            "ns0,ns1,ns2"
        );
        assert_eq!(
            secret["metadata"]["labels"]["applyset.kubernetes.io/id"],
            record(0).stack.apply_set()
        );
    }

    #[test]
    fn a_thousand_objects_fit_and_too_many_are_refused_with_a_reason() {
        let secret = to_secret(&record(1000)).unwrap();
        assert!(secret["data"].get("record.gz").is_some());
        let stack = record(0).stack;
        assert_eq!(from_secret(&stack, &secret).unwrap().entries, record(1000).entries);
        assert!(to_secret(&record(20_000)).unwrap_err().contains("divide the stack"));
    }

    #[test]
    fn what_is_not_the_stacks_record_is_refused() {
        let good = to_secret(&record(1)).unwrap();
        let stack = record(0).stack;
        let spoil = |pointer: &str, value: Value| {
            let mut secret = good.clone();
            *secret.pointer_mut(pointer).unwrap() = value;
            from_secret(&stack, &secret).unwrap_err()
        };
        assert!(spoil("/type", json!("Opaque")).contains("Opaque"));
        assert!(spoil("/metadata/labels", json!({})).contains("ApplySet"));
        assert!(spoil("/data/key", json!("AAAA")).contains("32 bytes"));
        assert!(spoil("/data/record", json!("!!")).contains("base64"));
        assert!(spoil("/data/record", json!("e30=")).contains("cannot be read"));
    }

    proptest! {
        #[test]
        fn any_record_survives_its_secret(n in 0usize..300, reverted in proptest::collection::vec(any::<i64>(), 0..4)) {
            let mut one = record(n);
            for e in one.entries.values_mut() {
                e.reverted.clone_from(&reverted);
                e.uid = e.uid.take().filter(|_| n % 2 == 0);
            }
            let back = from_secret(&one.stack, &to_secret(&one).unwrap()).unwrap();
            prop_assert_eq!(back.entries, one.entries);
            prop_assert_eq!(back.key.bytes(), one.key.bytes());
        }
    }
}
