//! SOPS metadata in formats without nesting: `age__list_0__map_enc`, `kms__list_0__map_context__map_app`.

use super::layout::{KINDS, Metadata, SealedByKms, is_true};
use std::collections::BTreeMap;

/// Limit of entries in one list; no real file has more.
const MOST: usize = 64;

/// Collects one name after the other.
#[derive(Default)]
pub(super) struct Flat {
    metadata: Metadata,
    age: BTreeMap<usize, (String, String)>,
    kms: BTreeMap<usize, SealedByKms>,
}

impl Flat {
    /// Takes one name and its value.
    pub(super) fn take(&mut self, name: &str, value: &str, line: u32) {
        let value = value.replace("\\n", "\n");
        let metadata = &mut self.metadata;
        if metadata.line == 0 {
            metadata.line = line;
        }
        match (name, item(name, "age"), item(name, "kms")) {
            ("mac", ..) => metadata.mac = value,
            ("lastmodified", ..) => metadata.last_modified = value,
            ("mac_only_encrypted", ..) => metadata.mac_only_encrypted = is_true(&value),
            (_, Some((number, "recipient")), _) => self.age.entry(number).or_default().0 = value,
            (_, Some((number, "enc")), _) => self.age.entry(number).or_default().1 = value,
            (_, _, Some((number, field))) => {
                let key = self.kms.entry(number).or_default();
                match (field, field.strip_prefix("context__map_")) {
                    ("arn", _) => key.arn = value,
                    ("enc", _) => key.sealed = value,
                    (_, Some(name)) => {
                        key.context.insert(name.to_owned(), value);
                    }
                    _ => {}
                }
            }
            _ if name.starts_with("key_groups__list_1") => metadata.needs_several = true,
            _ => {
                let kind = KINDS
                    .into_iter()
                    .find(|(kind, _)| name.starts_with(&format!("{kind}__list_")));
                if let Some((_, human)) = kind.filter(|(_, human)| !metadata.others.contains(human)) {
                    metadata.others.push(human);
                }
            }
        }
    }

    /// All of it.
    pub(super) fn done(self) -> Metadata {
        Metadata {
            age: self.age.into_values().collect(),
            kms: self.kms.into_values().collect(),
            ..self.metadata
        }
    }
}

/// Number and field of `KIND__list_NUMBER__map_FIELD`.
fn item<'a>(name: &'a str, kind: &str) -> Option<(usize, &'a str)> {
    let rest = name.strip_prefix(kind)?.strip_prefix("__list_")?;
    let (number, field) = rest.split_once("__map_")?;
    let number: usize = number.parse().ok()?;
    (number < MOST).then_some((number, field))
}
