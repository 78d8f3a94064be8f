//! The stack's record: one Secret in its namespace that names everything the stack owns.
//!
//! It is a standard ApplySet parent (KEP-3659), so that other tools can list the members. It also holds what the
//! standard does not cover: UIDs, components, hashes, the owner and the journal. It holds no value of any Secret:
//! hashes are keyed with a key that is stored in the record itself. Only for `onFailure: rollback` it also stores the
//! last good state (`good`). It is written before the effects that it names. `secret` is its form in the cluster;
//! `store` reads and writes it.

mod good;
mod secret;
mod store;

pub(crate) use good::{Good, GoodObject, GoodTerms};
pub use secret::{from_secret, to_secret};
pub(crate) use store::UNKNOWN_CALLER;
pub use store::{RecordError, Stored, Version, delete, hand_over, read, write};

use crate::mask::{MaskKey, hex};
use crate::object::ObjectKey;
use crate::token;
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Which stack: its record's namespace and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StackId {
    /// Namespace of the stack and of its record.
    pub namespace: String,
    /// Name of the stack.
    pub name: String,
}

/// Label of every member of an ApplySet: the set's id.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// What the name of a token's own record begins with. No stack's name holds a dot.
const TOKEN: &str = "token.";

impl StackId {
    /// The record of a standalone token: a set with this token and no objects.
    #[must_use]
    pub fn of_token(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: format!("{TOKEN}{name}"),
        }
    }

    /// The stack or token whose record has that name.
    #[must_use]
    pub fn of_record(namespace: &str, record: &str) -> Option<Self> {
        if let Some(token) = record.strip_prefix("myelin-token-") {
            return Some(Self::of_token(namespace, token));
        }
        record.strip_prefix("myelin-stack-").map(|name| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The token, if this is the record of a token of its own.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.name.strip_prefix(TOKEN)
    }

    /// Its kind and name, for messages: `stack synapse/synapse`, `token synapse/axon`.
    #[must_use]
    pub fn title(&self) -> String {
        match self.token() {
            Some(name) => format!("token {}/{name}", self.namespace),
            None => format!("stack {self}"),
        }
    }

    /// Name of the record's Secret.
    #[must_use]
    pub fn record_name(&self) -> String {
        match self.token() {
            Some(name) => format!("myelin-token-{name}"),
            None => format!("myelin-stack-{}", self.name),
        }
    }

    /// Id of the ApplySet whose parent is the record (KEP-3659): a hash of the parent's name, namespace, kind and group.
    #[must_use]
    pub fn apply_set(&self) -> String {
        apply_set_id(&self.record_name(), &self.namespace, "Secret", "")
    }
}

fn apply_set_id(name: &str, namespace: &str, kind: &str, group: &str) -> String {
    let hash = Sha256::digest(format!("{name}.{namespace}.{kind}.{group}").as_bytes());
    format!(
        "applyset-{}-v1",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash)
    )
}

impl fmt::Display for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl std::str::FromStr for StackId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') && !name.starts_with(TOKEN) =>
            {
                Ok(Self {
                    namespace: namespace.into(),
                    name: name.into(),
                })
            }
            _ => Err(format!(
                "\"{text}\" does not name a stack: write namespace/name, for example synapse/synapse"
            )),
        }
    }
}

/// The owner of the stack. A second owner is refused, never fought.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// `terraform apply`.
    Terraform,
    /// A reconciler's git source, by name.
    Git(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terraform => f.write_str("terraform"),
            Self::Git(source) => write!(f, "git:{source}"),
        }
    }
}

impl std::str::FromStr for Owner {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "terraform" => Ok(Self::Terraform),
            Some(("git", source)) if !source.is_empty() => Ok(Self::Git(source.into())),
            _ => Err(format!("\"{text}\" is no owner: terraform or git:SOURCE")),
        }
    }
}

impl Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One object that the stack owns, or is about to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: ObjectKey,
    /// `apiVersion` that it was applied at.
    pub api_version: String,
    /// UID; None between the intention and the first confirmed apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Its component; None for the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Depth in the order of apply.
    #[serde(default)]
    pub level: u32,
    /// How other entries of the record name it in their `needs`; 0 in a record that was written before there were numbers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub number: u32,
    /// The numbers of what it waited for when it was applied; it is deleted before them. None in a record written
    /// before this field existed: then it is deleted before everything of a lower level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<u32>>,
    /// Keyed hash of the manifest that was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// Keyed hash of the fields that we own, with their values, as the server confirmed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<String>,
    /// Hashes of the paths of the fields that we own, to tell another's grip on our field from a field that was never ours.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owned: String,
    /// Paths of fields that the manifest sets and that were left to others: an autoscaler's replicas, a yielded conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Whether it removes itself when its work is done: a Job with a time to live.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// When others' changes to our fields were reverted (seconds since 1970), the latest few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reverted: Vec<i64>,
}

impl Entry {
    /// An object that is named before it is made.
    #[must_use]
    pub fn intended(key: ObjectKey) -> Self {
        Self {
            key,
            api_version: String::new(),
            uid: None,
            component: None,
            level: 0,
            number: 0,
            needs: None,
            desired: None,
            attested: None,
            owned: String::new(),
            left: Vec::new(),
            ends: false,
            reverted: Vec::new(),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What was about to be done when the record was written. Emptied when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Intent {
    /// Make or change it.
    Apply,
    /// Delete it and make it again.
    Replace,
    /// Delete it.
    Delete,
}

/// Everything a stack owns, and what is being done to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Which stack.
    pub stack: StackId,
    /// Who drives it.
    pub owner: Owner,
    /// The inventory.
    #[serde(with = "listed")]
    pub entries: BTreeMap<ObjectKey, Entry>,
    /// For each component of the inventory: the components that came before it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub after: BTreeMap<String, BTreeSet<String>>,
    /// What is under way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub journal: BTreeMap<ObjectKey, Intent>,
    /// The tokens by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, token::Entry>,
    /// Status of each component at the end of the last apply.
    #[serde(default)]
    pub components: BTreeMap<String, String>,
    /// Whether the last apply ended with everything ready.
    #[serde(default)]
    pub ready: bool,
    /// Keyed hash of the checks of each component that were answered as wanted when everything was last ready.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verified: BTreeMap<String, String>,
    /// Hash of the last plan that was started.
    #[serde(default)]
    pub plan: String,
    /// Counts writes.
    #[serde(default)]
    pub serial: u64,
    /// The last state in which everything was ready, compressed; only for stacks with rollback. Stored beside the text.
    #[serde(skip)]
    pub(crate) good: Option<std::sync::Arc<[u8]>>,
    /// Names the run that wrote last, so that a writer whose answer was lost knows its own hand.
    #[serde(default)]
    pub run: String,
    /// Key of all hashes and marks. Kept beside the text, never in it.
    #[serde(skip, default = "no_key")]
    pub key: MaskKey,
}

fn no_key() -> MaskKey {
    MaskKey::new([0; 32])
}

impl Record {
    /// An empty record with a new random key.
    #[must_use]
    pub fn new(stack: StackId, owner: Owner, key: [u8; 32]) -> Self {
        Self {
            stack,
            owner,
            entries: BTreeMap::new(),
            after: BTreeMap::new(),
            journal: BTreeMap::new(),
            tokens: BTreeMap::new(),
            components: BTreeMap::new(),
            ready: false,
            verified: BTreeMap::new(),
            plan: String::new(),
            serial: 0,
            good: None,
            run: String::new(),
            key: MaskKey::new(key),
        }
    }

    /// The entry of an object.
    #[must_use]
    pub fn entry(&self, key: &ObjectKey) -> Option<&Entry> {
        self.entries.get(key)
    }
}

/// The inventory as a list: each key once.
mod listed {
    use super::{BTreeMap, Deserialize, Entry, ObjectKey};

    pub(super) fn serialize<S: serde::Serializer>(
        entries: &BTreeMap<ObjectKey, Entry>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(entries.values())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ObjectKey, Entry>, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        Ok(entries.into_iter().map(|e| (e.key.clone(), e)).collect())
    }
}

/// Keyed hash of a manifest, as the record keeps it.
#[must_use]
pub fn desired_hash(key: &MaskKey, value: &Value) -> String {
    hex(&key.mac(value.to_string().as_bytes())[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_its_own_shares_no_record_with_any_stack() {
        let token = StackId::of_token("synapse", "axon");
        assert_eq!(token.token(), Some("axon"));
        assert_eq!(token.title(), "token synapse/axon");
        assert_eq!(token.record_name(), "myelin-token-axon");
        assert_eq!(StackId::of_record("synapse", "myelin-token-axon"), Some(token.clone()));
        assert_eq!(StackId::of_record("synapse", "other"), None);
        assert!(
            token.to_string().parse::<StackId>().is_err(),
            "nobody can name it as a stack"
        );
        let stack: StackId = "synapse/axon".parse().unwrap();
        assert_eq!((stack.token(), &*stack.title()), (None, "stack synapse/axon"));
        assert_eq!(StackId::of_record("synapse", &stack.record_name()), Some(stack.clone()));
        assert_ne!(stack.apply_set(), token.apply_set());
    }

    #[test]
    fn the_apply_set_id_is_that_of_the_proposal() {
        // The vector that kro publishes for KEP-3659.
        assert_eq!(
            apply_set_id("test-foo", "test-ns", "Foo", "foo.bar"),
            "applyset-f9Rk5tKHoB72oV1tU2iFKxDwL8MBZTjMHFQ8V9WNNlA-v1"
        );
    }
}
