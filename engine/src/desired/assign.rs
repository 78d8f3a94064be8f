//! Assigns objects to components, by where their manifests come from.

use super::DesiredObject;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Stack;
use std::collections::{BTreeMap, BTreeSet};

/// An object whose origin lies under a component's path belongs to that component; the longest path wins. An object
/// under no path belongs to the stack's base. A component without objects is an error: its path is most likely
/// misspelt, and its dependants would start as if it were ready. (A component may be empty if another one's path lies
/// inside its own and takes everything.)
pub(super) fn assign(stack: &Stack, objects: &mut [DesiredObject], problems: &mut Diagnostics) {
    if stack.components.is_empty() {
        for object in objects {
            object.component = Some(stack.name.clone());
        }
        return;
    }
    let mut filled: BTreeSet<&str> = BTreeSet::new();
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for object in objects.iter_mut() {
        let origin = clean(&object.origin.file);
        let best = stack
            .components
            .iter()
            .filter(|(_, c)| lies_under(&origin, &c.path))
            .max_by_key(|(_, c)| c.path.len());
        if let Some((name, _)) = best {
            object.component = Some(name.clone());
            filled.insert(name);
        }
        let folder = origin.rsplit_once('/').map_or(".", |(folder, _)| folder);
        *folders.entry(folder.to_owned()).or_default() += 1;
    }
    for (name, component) in &stack.components {
        let holds_another = || {
            let inside = |other: &str| other != component.path && lies_under(other, &component.path);
            stack
                .components
                .iter()
                .any(|(n, c)| filled.contains(n.as_str()) && inside(&c.path))
        };
        if !filled.contains(name.as_str()) && !holds_another() {
            let all: Vec<_> = folders.keys().cloned().collect();
            let found = match all[..] {
                [] => "No object comes from anywhere".to_owned(),
                _ => format!("Folders that objects come from: {}", all.join(", ")),
            };
            problems.push(
                Diagnostic::error(format!("component {name}: no object comes from {}", component.path))
                    .detail(format!(
                        "components take objects by the folder of their manifests, relative to the source {}. {found}. \
                         Correct spec.components.{name}.path, or list the folder in the kustomization's resources",
                        stack.source
                    ))
                    .attribute(["spec", "components", name, "path"]),
            );
        }
    }
}

fn lies_under(origin: &str, path: &str) -> bool {
    if path.is_empty() {
        return !origin.starts_with("../");
    }
    origin
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    parts.join("/")
}
