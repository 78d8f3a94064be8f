//! `restartOnConfigChange`: an annotation on pod templates that changes with the ConfigMaps and Secrets of the stack
//! that the pods read, so that a change of configuration rolls them.
//!
//! Configuration of others is not included: its changes are not the stack's.

use super::masked::template_annotations;
use super::{CONFIG_CHECKSUM, DesiredObject};
use crate::graph::references::{config_of, pod_spec};
use crate::mask::{MaskKey, hex};
use crate::object::ObjectKey;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The content of a configuration object as pods see it, and how much of it may be shown or is known.
struct Content {
    mac: [u8; 32],
    write_only: bool,
    unknown: bool,
}

/// Adds the annotation where a template reads configuration of the set. The checksum is keyed, because people who may
/// not read Secrets can read templates.
pub(super) fn add(key: &MaskKey, objects: &mut [DesiredObject]) {
    let contents: BTreeMap<ObjectKey, Content> = objects
        .iter()
        .filter(|o| o.key.group.is_empty() && matches!(&*o.key.kind, "ConfigMap" | "Secret"))
        .map(|o| {
            let part = |name: &str| o.value.get(name).cloned().unwrap_or(Value::Null);
            let seen = json!([part("data"), part("stringData"), part("binaryData")]).to_string();
            let content = Content {
                mac: key.mac(seen.as_bytes()),
                write_only: !o.write_only.is_empty(),
                unknown: !o.unknown.is_empty(),
            };
            (o.key.clone(), content)
        })
        .collect();
    for object in objects {
        let (Some(pointer), Some(spec)) = (template_annotations(&object.key), pod_spec(&object.key, &object.value))
        else {
            continue;
        };
        let read: BTreeSet<ObjectKey> = config_of(spec)
            .into_iter()
            .map(|(group, kind, name)| ObjectKey::new(group, kind, &*object.key.namespace, name))
            .filter(|k| contents.contains_key(k))
            .collect();
        if read.is_empty() {
            continue;
        }
        let mut all = Vec::new();
        let (mut write_only, mut unknown) = (false, false);
        for k in &read {
            let content = &contents[k];
            all.extend(k.to_string().bytes());
            all.extend(content.mac);
            write_only |= content.write_only;
            unknown |= content.unknown;
        }
        let checksum = hex(&key.mac(&all)[..8]);
        if annotate(&mut object.value, &pointer, checksum) {
            let at = format!("{pointer}/{}", CONFIG_CHECKSUM.replace('/', "~1"));
            if unknown {
                object.unknown.insert(at);
            } else if write_only {
                object.write_only.insert(at);
            }
        }
    }
}

fn annotate(value: &mut Value, pointer: &str, checksum: String) -> bool {
    let Some(template) = pointer
        .strip_suffix("/metadata/annotations")
        .and_then(|p| value.pointer_mut(p))
    else {
        return false;
    };
    let Some(template) = template.as_object_mut() else {
        return false;
    };
    let mut place = template;
    for name in ["metadata", "annotations"] {
        let next = place.entry(name).or_insert_with(|| json!({}));
        if next.is_null() {
            *next = json!({});
        }
        let Some(next) = next.as_object_mut() else { return false };
        place = next;
    }
    place.insert(CONFIG_CHECKSUM.into(), checksum.into());
    true
}
