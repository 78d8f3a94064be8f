//! The document's `images`: tags, digests or whole references set in every container.

use super::DesiredObject;
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::document::Text;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Sets images by name in every list called `containers`, `initContainers` or `ephemeralContainers`, of custom resources too.
/// A name that no container uses is a warning: most often a typing error.
pub(super) fn set_images(images: &BTreeMap<String, Text>, objects: &mut [DesiredObject], problems: &mut Diagnostics) {
    if images.is_empty() {
        return;
    }
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for object in objects {
        let DesiredObject {
            value, unknown, fields, ..
        } = object;
        walk(value, &mut String::new(), &mut |image, pointer| {
            let name = name_of(image).to_owned();
            if let Some((key, new)) = images.get_key_value(&name) {
                used.insert(key);
                match new {
                    Text::Known(new) => {
                        *image = reference(&name, new);
                        fields.moved(pointer, &FilePlace::file(format!("spec.images[{name}]")));
                    }
                    Text::Unknown => {
                        unknown.insert(pointer.to_owned());
                    }
                }
            }
            seen.insert(name);
        });
    }
    for name in images.keys().filter(|n| !used.contains(n.as_str())) {
        let all: Vec<_> = seen.iter().cloned().collect();
        problems.push(
            Diagnostic::warning(format!("images names {name}, which no container uses"))
                .detail(match all[..] {
                    [] => "no container of the stack names an image".to_owned(),
                    _ => format!("images of the stack: {}", all.join(", ")),
                })
                .attribute(["spec", "images", name]),
        );
    }
}

fn walk(value: &mut Value, path: &mut String, set: &mut dyn FnMut(&mut String, &str)) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                let length = path.len();
                path.push_str(&format!("/{i}"));
                walk(item, path, set);
                path.truncate(length);
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                let length = path.len();
                path.push('/');
                path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                if matches!(&**name, "containers" | "initContainers" | "ephemeralContainers") {
                    for (i, container) in item.as_array_mut().into_iter().flatten().enumerate() {
                        if let Some(Value::String(image)) = container.get_mut("image") {
                            set(image, &format!("{path}/{i}/image"));
                        }
                    }
                } else {
                    walk(item, path, set);
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// `registry:5000/a/b:tag@sha256:…` → `registry:5000/a/b`.
fn name_of(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn reference(name: &str, new: &str) -> String {
    if new.starts_with("sha256:") {
        format!("{name}@{new}")
    } else if new.contains(['/', ':', '@']) {
        new.to_owned()
    } else {
        format!("{name}:{new}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart_and_put_together() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("nginx:1", "nginx"),
            ("r:5000/a/b", "r:5000/a/b"),
            ("r:5000/a/b:t", "r:5000/a/b"),
            ("a/b:t@sha256:00", "a/b"),
        ] {
            assert_eq!(name_of(image), name, "{image}");
        }
        assert_eq!(reference("a/b", "v2"), "a/b:v2");
        assert_eq!(reference("a/b", "sha256:00"), "a/b@sha256:00");
        assert_eq!(reference("a/b", "mirror/b:v2"), "mirror/b:v2");
    }
}
