//! Other writers: a mutating webhook that sets a field, and a user who edits one over and over.
//!
//! They exist to show what an apply does when it is not alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kubernetes::registry::{Actor, Registry};

/// A field that is set on everything that is written, as a mutating webhook would.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rewrite {
    /// `plural.group`.
    pub resource: String,
    /// Only this object, if not empty.
    #[serde(default)]
    pub name: String,
    /// JSON pointer of the field; maps on the way are made.
    pub pointer: String,
    /// What it is set to; null removes it.
    pub value: Value,
}

/// A field that somebody edits again and again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edit {
    /// `plural.group`.
    pub resource: String,
    /// The object's namespace.
    #[serde(default)]
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// JSON pointer of the field.
    pub pointer: String,
    /// The values that it is set to, in turn.
    pub values: Vec<Value>,
    /// Virtual milliseconds between two edits.
    #[serde(default = "one_second")]
    pub every_millis: u64,
    /// The editor's field manager.
    #[serde(default = "kubectl_edit")]
    pub manager: String,
}

fn one_second() -> u64 {
    1000
}

fn kubectl_edit() -> String {
    "kubectl-edit".to_owned()
}

/// All webhooks and editors.
#[derive(Debug, Default)]
pub struct Meddling {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rewrites: Vec<Rewrite>,
    edits: Vec<(Edit, u64)>,
}

impl Meddling {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Set a field of everything that is written from now on.
    pub fn add_rewrite(&self, rewrite: Rewrite) {
        self.state().rewrites.push(rewrite);
    }

    /// No more rewrites.
    pub fn clear_rewrites(&self) {
        self.state().rewrites.clear();
    }

    /// The rewrites.
    pub fn rewrites(&self) -> Vec<Rewrite> {
        self.state().rewrites.clone()
    }

    /// Edit a field from now on.
    pub fn add_edit(&self, edit: Edit) {
        self.state().edits.push((edit, 0));
    }

    /// No more edits.
    pub fn clear_edits(&self) {
        self.state().edits.clear();
    }

    /// The edits.
    pub fn edits(&self) -> Vec<Edit> {
        self.state().edits.iter().map(|(edit, _)| edit.clone()).collect()
    }

    /// Rewrite an object that is about to be stored; says whether anything changed.
    pub(crate) fn rewrite(&self, resource: &str, object: &mut Value) -> bool {
        let state = self.state();
        let mut changed = false;
        for rewrite in &state.rewrites {
            let named = rewrite.name.is_empty() || object["metadata"]["name"] == rewrite.name.as_str();
            if rewrite.resource == resource && named {
                changed |= set(object, &rewrite.pointer, &rewrite.value);
            }
        }
        changed
    }
}

/// Set the field that a JSON pointer names; says whether it changed. Lists are entered but not made.
fn set(object: &mut Value, pointer: &str, value: &Value) -> bool {
    let parts: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect();
    let Some((last, path)) = parts.split_last() else {
        return false;
    };
    let mut at = object;
    for part in path {
        at = match at {
            Value::Array(items) => match part.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                Some(item) => item,
                None => return false,
            },
            Value::Object(map) => map.entry(part.clone()).or_insert_with(|| serde_json::json!({})),
            _ => return false,
        };
    }
    match at {
        Value::Object(map) if value.is_null() => map.remove(last).is_some(),
        Value::Object(map) => map.insert(last.clone(), value.clone()).as_ref() != Some(value),
        Value::Array(items) => match last.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
            Some(item) if item != value => {
                *item = value.clone();
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Make the edits that are due, forever.
pub(crate) async fn run(registry: Arc<Registry>) {
    let mut waited: u64 = 0;
    let step: u64 = 100;
    loop {
        registry.clock().sleep(Duration::from_millis(step)).await;
        waited += step;
        let due: Vec<(Edit, u64)> = {
            let mut state = registry.meddling().state();
            let due = state
                .edits
                .iter_mut()
                .filter(|(edit, _)| waited.is_multiple_of(edit.every_millis.max(step).next_multiple_of(step)));
            due.map(|(edit, turn)| {
                *turn += 1;
                (edit.clone(), *turn)
            })
            .collect()
        };
        for (edit, turn) in due {
            let Some(value) = edit
                .values
                .get(usize::try_from(turn).unwrap_or(0) % edit.values.len().max(1))
            else {
                continue;
            };
            let actor = Actor::admin(&edit.manager);
            let outcome = registry.modify(&actor, &edit.resource, &edit.namespace, &edit.name, |object| {
                set(object, &edit.pointer, value);
            });
            if let Err(failure) = outcome {
                tracing::debug!(%failure, name = edit.name, "an edit was refused");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_makes_maps_and_enters_lists() {
        let mut object = json!({"spec": {"containers": [{"image": "a"}]}});
        assert!(set(&mut object, "/spec/containers/0/image", &json!("b")));
        assert!(set(&mut object, "/metadata/annotations/x~1y", &json!("1")));
        assert!(!set(&mut object, "/spec/containers/7/image", &json!("b")));
        assert!(!set(&mut object, "/metadata/annotations/x~1y", &json!("1")));
        assert_eq!(object["metadata"]["annotations"]["x/y"], "1");
        assert!(set(&mut object, "/spec/containers", &Value::Null));
    }
}
