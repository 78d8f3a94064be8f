//! The transformers that write one value into known places: namespace, name prefix and suffix, labels, annotations, images
//! and replica counts. Each works on all resources of a build.

use super::fieldspec::{FieldSpec, Kind, Wrote, set_entry, set_scalar_at, visit};
use super::id::Gvk;
use super::kustomization::{Image, Replica};
use super::resmap::ResMap;
use super::resource::Resource;
use crate::yaml::{At, Content, Node, Scalar, Tag};
use regex::Regex;
use std::collections::BTreeMap;

/// A transformer's failure, and the resource that it is about if it is about one.
pub(super) type Failure = (String, Option<At>);

fn about(resource: &Resource, what: &str) -> impl FnOnce(String) -> Failure {
    let text = format!("{what} of {}", resource.id());
    let at = resource.at();
    move |e| (format!("{text}: {e}"), Some(at))
}

/// Which subjects of role bindings get the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Subjects {
    #[default]
    NamedDefault,
    ServiceAccounts,
    None,
}

pub(super) struct Namespace<'a> {
    pub(super) namespace: &'a str,
    pub(super) fields: &'a [FieldSpec],
    pub(super) unset_only: bool,
    pub(super) subjects: Subjects,
    /// What sets it.
    pub(super) at: At,
}

impl Namespace<'_> {
    pub(super) fn apply(&self, resources: &mut ResMap) -> Result<(), Failure> {
        if self.namespace.is_empty() {
            return Ok(());
        }
        for resource in &mut resources.all {
            resource.remember_name();
            let result = self.one(resource);
            result.map_err(about(resource, "setting the namespace"))?;
        }
        match resources.conflict() {
            None => Ok(()),
            Some((first, second)) => Err((
                format!(
                    "with namespace \"{}\" there would be two resources {}; give one of them another name",
                    self.namespace,
                    first.id()
                ),
                Some(second.at()),
            )),
        }
    }

    fn one(&self, resource: &mut Resource) -> Result<(), String> {
        let gvk = resource.gvk();
        let core_v1 = resource.api_version() == "v1";
        let set = &mut |node: &mut Node| {
            let has_value = node.text().is_some_and(|t| !t.is_empty()) && !node.is_null();
            if self.unset_only && has_value {
                Ok(())
            } else {
                set_scalar_at(node, self.namespace, self.at)
            }
        };
        if !gvk.is_cluster_scoped() {
            let spec = FieldSpec {
                gvk: Gvk::default(),
                path: "metadata/namespace".into(),
                create: true,
            };
            visit(&mut resource.node, &gvk, &spec, Some(Kind::Scalar), set)?;
        }
        let binding = matches!(&*gvk.kind, "RoleBinding" | "ClusterRoleBinding");
        if binding {
            self.set_subjects(&mut resource.node, set)?;
        }
        for spec in self.fields {
            let hard_wired = &*spec.path == "metadata/namespace"
                || (&*spec.path == "metadata/name" && !core_v1)
                || (binding && &*spec.path == "subjects/namespace" && spec.gvk.kind.ends_with("RoleBinding"));
            if !hard_wired {
                visit(&mut resource.node, &gvk, spec, Some(Kind::Scalar), set)?;
            }
        }
        Ok(())
    }

    fn set_subjects(
        &self,
        node: &mut Node,
        set: &mut impl FnMut(&mut Node) -> Result<(), String>,
    ) -> Result<(), String> {
        let (field, wanted) = match self.subjects {
            Subjects::None => return Ok(()),
            Subjects::NamedDefault => ("name", "default"),
            Subjects::ServiceAccounts => ("kind", "ServiceAccount"),
        };
        let Some(subjects) = node.get_mut("subjects").filter(|n| !n.is_null()) else {
            return Ok(());
        };
        let Content::Seq(subjects) = &mut subjects.content else {
            return Err(format!("subjects must be a list, not {}", subjects.kind_name()));
        };
        for subject in subjects {
            if subject.get(field).and_then(Node::text) == Some(wanted) {
                if subject.get("namespace").is_none_or(Node::is_null) {
                    let at = subject.at;
                    subject.set("namespace", Node::string("").at(at));
                }
                set(subject.get_mut("namespace").expect("it was just set"))?;
            }
        }
        Ok(())
    }
}

/// Which end of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Prefix,
    Suffix,
}

/// Adds a prefix or suffix to names, and remembers it for references.
pub(super) fn affix(resources: &mut ResMap, end: End, text: &str, fields: &[FieldSpec], at: At) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    for resource in &mut resources.all {
        let id = resource.original_id();
        let named_by_others = matches!(&*id.gvk.kind, "CustomResourceDefinition" | "Namespace")
            || (&*id.gvk.kind == "APIService" && &*id.gvk.group == "apiregistration.k8s.io");
        if named_by_others {
            continue;
        }
        let gvk = resource.gvk();
        for spec in fields.iter().filter(|s| id.gvk.is_selected_by(&s.gvk)) {
            if &*spec.path == "metadata/name" {
                match end {
                    End::Prefix => resource.prefixes.push(text.into()),
                    End::Suffix => resource.suffixes.push(text.into()),
                }
                resource.remember_name();
            }
            let set = &mut |node: &mut Node| {
                let old = node.text().unwrap_or_default();
                let new = match end {
                    End::Prefix => format!("{text}{old}"),
                    End::Suffix => format!("{old}{text}"),
                };
                set_scalar_at(node, &new, at)
            };
            let result = visit(&mut resource.node, &gvk, spec, Some(Kind::Scalar), set);
            result.map_err(about(resource, "changing the name"))?;
        }
    }
    Ok(())
}

/// Sets labels or annotations wherever the places say.
pub(super) fn set_texts(
    resources: &mut ResMap,
    texts: &BTreeMap<String, String>,
    fields: &[FieldSpec],
    at: At,
) -> Result<(), Failure> {
    if texts.is_empty() {
        return Ok(());
    }
    for resource in &mut resources.all {
        let gvk = resource.gvk();
        // The number of each text's nodes in this resource, and how many of them were made.
        let mut made: Vec<(u32, usize)> = texts.iter().map(|_| (resource.sharing.number(), 0)).collect();
        let mut shared = false;
        for spec in fields {
            let set = &mut |node: &mut Node| {
                for ((key, text), (one, count)) in texts.iter().zip(&mut made) {
                    match set_entry(node, key, text, at, *one)? {
                        Wrote::New => *count += 1,
                        Wrote::Old => {}
                        Wrote::Shared => shared = true,
                    }
                }
                Ok(())
            };
            let result = visit(&mut resource.node, &gvk, spec, Some(Kind::Map), set);
            result.map_err(about(resource, "setting labels or annotations"))?;
        }
        if shared {
            resource.settle();
        }
        for (text, (one, _)) in texts.values().zip(made).filter(|(_, (_, count))| *count > 1) {
            resource.sharing.keep(one, &Node::string(text.as_str()));
        }
    }
    Ok(())
}

/// Changes an image's name, tag or digest in every container list and in the given places.
pub(super) fn image(resources: &mut ResMap, image: &Image, fields: &[FieldSpec]) -> Result<(), Failure> {
    let pattern = format!(r"^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$", image.name);
    let matcher = Regex::new(&pattern).map_err(|_| {
        (
            format!("the name \"{}\" of an image is not a regular expression", image.name),
            Some(image.at),
        )
    })?;
    let set = &mut |node: &mut Node| {
        if node.is_null() {
            return Ok(());
        }
        let Some(old) = node.text() else {
            return Err(format!("expected an image's name, found {}", node.kind_name()));
        };
        if matcher.is_match(old) {
            let new = new_image(old, image);
            set_scalar_at(node, &new, image.at)?;
        }
        Ok(())
    };
    for resource in &mut resources.all {
        let gvk = resource.gvk();
        // The schema in a definition may well have a field called containers.
        if &*gvk.kind == "CustomResourceDefinition" {
            continue;
        }
        let result = in_containers(&mut resource.node, set);
        result.map_err(about(resource, "setting an image"))?;
        for spec in fields {
            let result = visit(&mut resource.node, &gvk, spec, None, set);
            result.map_err(about(resource, "setting an image"))?;
        }
    }
    Ok(())
}

/// Every `image` of the maps in every list called `containers` or `initContainers`, however deep.
fn in_containers(node: &mut Node, set: &mut dyn FnMut(&mut Node) -> Result<(), String>) -> Result<(), String> {
    match &mut node.content {
        Content::Scalar(_) => Ok(()),
        Content::Seq(items) => items.iter_mut().try_for_each(|item| in_containers(item, set)),
        Content::Map(entries) => entries.iter_mut().try_for_each(|entry| {
            in_containers(&mut entry.value, set)?;
            if let ("containers" | "initContainers", Content::Seq(items)) = (&*entry.key, &mut entry.value.content) {
                for item in items {
                    if let Some(image) = item.get_mut("image") {
                        set(image)?;
                    }
                }
            }
            Ok(())
        }),
    }
}

fn new_image(old: &str, change: &Image) -> String {
    let (mut name, mut tag, mut digest) = split_image(old);
    if !change.new_name.is_empty() {
        name = &change.new_name;
    }
    let suffixed;
    match (change.new_tag.as_str(), change.digest.as_str()) {
        ("", "") if change.tag_suffix.is_empty() => {}
        ("", "") => {
            suffixed = format!("{tag}{}", change.tag_suffix);
            (tag, digest) = (&suffixed, "");
        }
        (new_tag, new_digest) => (tag, digest) = (new_tag, new_digest),
    }
    let mut new = name.to_owned();
    for (sign, part) in [(':', tag), ('@', digest)] {
        if !part.is_empty() {
            new.push(sign);
            new.push_str(part);
        }
    }
    new
}

/// Name, tag and digest. A colon before the first slash belongs to the registry's port.
fn split_image(image: &str) -> (&str, &str, &str) {
    let from = image.find('/').filter(|i| *i > 0).unwrap_or(0);
    let at = image[from..].find('@').map(|i| i + from);
    let colon = image[from..].find(':').map(|i| i + from);
    match (colon, at) {
        (None, None) => (image, "", ""),
        (Some(colon), None) => (&image[..colon], &image[colon + 1..], ""),
        (Some(colon), Some(at)) if colon < at => (&image[..colon], &image[colon + 1..at], &image[at + 1..]),
        (_, Some(at)) => (&image[..at], "", &image[at + 1..]),
    }
}

/// Sets the number of replicas of what has, or had, a name.
pub(super) fn replicas(resources: &mut ResMap, replica: &Replica, fields: &[FieldSpec]) -> Result<(), Failure> {
    let mut found = false;
    for spec in fields {
        for resource in &mut resources.all {
            let named = |name: &str, gvk: &Gvk| name == replica.name && gvk.is_selected_by(&spec.gvk);
            let gvk = resource.gvk();
            if !named(resource.name(), &gvk) && !resource.previous_ids().any(|id| named(&id.name, &id.gvk)) {
                continue;
            }
            found = true;
            let set = &mut |node: &mut Node| match &mut node.content {
                Content::Scalar(scalar) => {
                    let count = Scalar {
                        text: replica.count.to_string().into(),
                        tag: Tag::Int,
                        quoted: false,
                    };
                    *scalar = count.over(scalar);
                    node.moved_to(replica.at);
                    Ok(())
                }
                _ => Err(format!("expected a number, found {}", node.kind_name())),
            };
            let result = visit(&mut resource.node, &gvk, spec, Some(Kind::Scalar), set);
            result.map_err(about(resource, "setting the replicas"))?;
        }
    }
    if found {
        Ok(())
    } else {
        let kinds: Vec<String> = fields.iter().map(|f| f.gvk.kind.to_string()).collect();
        Err((
            format!("replicas: there is no {} named \"{}\"", kinds.join(", "), replica.name),
            Some(replica.at),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_split_into_name_tag_and_digest() {
        for (image, want) in [
            ("nginx", ("nginx", "", "")),
            ("nginx:1.2", ("nginx", "1.2", "")),
            ("host:5000/nginx", ("host:5000/nginx", "", "")),
            ("host:5000/nginx:1@sha256:a", ("host:5000/nginx", "1", "sha256:a")),
            ("nginx@sha256:a", ("nginx", "", "sha256:a")),
        ] {
            assert_eq!(split_image(image), want, "{image}");
        }
    }
}
