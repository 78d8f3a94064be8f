//! `myelin why OBJECT --field PATH`, `--fields`: for each field that git sets, the file and line, and its owner on the
//! server.

use super::Writer;
use crate::field_index::FieldPlaces;
use serde::Serialize;
use serde_json::Value;

/// One field.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    /// A readable path: `spec.template.spec.containers[name=web].image`.
    pub(super) field: String,
    /// `file:line` at the commit.
    pub(super) origin: String,
    /// Managers that own it, the last writer first.
    pub(super) writers: Vec<String>,
}

/// The fields that git sets, those below `wanted` only if that is given.
pub(super) fn fields(
    places: &FieldPlaces,
    live: Option<&Value>,
    writers: &[Writer],
    wanted: Option<&str>,
) -> Vec<Field> {
    let wanted = wanted.map(normal);
    let fields = places.fields.iter().filter_map(|(pointer, origin)| {
        let field = shown(pointer);
        let below = |wanted: &String| {
            let rest = field.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !wanted.as_ref().is_none_or(below) {
            return None;
        }
        let steps: Vec<String> = pointer
            .split('/')
            .skip(1)
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        let owns = |writer: &&Writer| covers(&writer.set, live.unwrap_or(&Value::Null), &steps);
        Some(Field {
            writers: writers
                .iter()
                .filter(owns)
                .map(|writer| writer.manager.clone())
                .collect(),
            field,
            origin: origin.clone(),
        })
    });
    fields.collect()
}

/// The owner of a field that git does not set.
pub(super) fn owners(live: &Value, writers: &[Writer], wanted: &str) -> Vec<String> {
    let wanted = normal(wanted);
    let steps: Vec<String> = wanted
        .replace('[', ".")
        .replace(']', "")
        .split('.')
        .map(str::to_owned)
        .collect();
    let owns = |writer: &&Writer| covers(&writer.set, live, &steps);
    writers
        .iter()
        .filter(owns)
        .map(|writer| writer.manager.clone())
        .collect()
}

/// A pointer, or a path with a dot in front, as a path.
fn normal(wanted: &str) -> String {
    if wanted.starts_with('/') {
        shown(wanted)
    } else {
        wanted.trim_start_matches('.').to_owned()
    }
}

/// A JSON pointer as a readable path. A name with a dot is in brackets.
fn shown(pointer: &str) -> String {
    let mut out = String::new();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if step.contains(['.', '/', '=']) || (!step.is_empty() && step.bytes().all(|b| b.is_ascii_digit())) {
            out.push_str(&format!("[{step}]"));
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&step);
        }
    }
    out
}

/// Whether a set of managedFields holds a field. Items of lists are found by their keys or values in the live object; a list or map
/// without anything below it in the set is owned as a whole.
fn covers(set: &Value, live: &Value, steps: &[String]) -> bool {
    let Some(map) = set.as_object() else {
        return false;
    };
    let below = |name: &&String| **name != ".";
    let Some((step, rest)) = steps.split_first() else {
        return true;
    };
    if !map.keys().any(|name| below(&name)) {
        return true;
    }
    if let Some(found) = map.get(&format!("f:{step}")) {
        return covers(found, live.get(step.as_str()).unwrap_or(&Value::Null), rest);
    }
    let named = |name: &str| {
        let items = live.as_array()?.iter();
        items
            .into_iter()
            .find(|item| item.get("name").and_then(Value::as_str) == Some(name))
    };
    let item = match step.strip_prefix("name=") {
        Some(name) => named(name),
        None => step.parse::<usize>().ok().and_then(|i| live.get(i)),
    };
    let Some(item) = item else {
        return false;
    };
    map.iter().any(|(name, found)| match name.split_once(':') {
        Some(("k", keys)) => {
            let keys: Value = serde_json::from_str(keys).unwrap_or_default();
            let same = |(key, value): (&String, &Value)| item.get(key) == Some(value);
            keys.as_object().is_some_and(|keys| keys.iter().all(same)) && covers(found, item, rest)
        }
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_is_found_in_the_set_of_its_owner_and_in_no_other() {
        let live = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "image": "x"}]}},
                                   "finalizers": ["one", "two"], "atomic": {"x": 1}}});
        let set = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"b\"}": {".": {}, "f:image": {}}}}},
                                    "f:finalizers": {"v:\"two\"": {}}, "f:atomic": {}}});
        let covered = |pointer: &str| {
            let steps: Vec<String> = pointer.split('/').skip(1).map(str::to_owned).collect();
            covers(&set, &live, &steps)
        };
        for (pointer, want) in [
            ("/spec/template/spec/containers/1/image", true),
            ("/spec/template/spec/containers/name=b/image", true),
            ("/spec/template/spec/containers/name=a/image", false),
            ("/spec/template/spec/containers/0/image", false),
            ("/spec/template/spec/containers/7/image", false),
            ("/spec/finalizers/1", true),
            ("/spec/finalizers/0", false),
            ("/spec/atomic/x", true),
            ("/spec/replicas", false),
        ] {
            assert_eq!(covered(pointer), want, "{pointer}");
        }
        assert_eq!(
            shown("/spec/template/spec/containers/1/image"),
            "spec.template.spec.containers[1].image"
        );
        assert_eq!(
            shown("/metadata/labels/app.kubernetes.io~1name"),
            "metadata.labels[app.kubernetes.io/name]"
        );
        assert_eq!(normal("/spec/replicas"), normal(".spec.replicas"));
    }
}
