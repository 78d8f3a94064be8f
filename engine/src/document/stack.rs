//! JSON of a `Stack` document → [`Stack`], all problems at once.

use super::account::read_account;
use super::dependency::read_depends_on;
use super::fields::{Fields, Places, problem};
use super::policy::read_policies;
use super::token::read_token;
use super::verify::read_checks;
use super::{
    API_VERSION, Adopt, Component, Conflicts, DEFAULT_TIMEOUT, Drift, OnFailure, ProtectedKind, ProvisioningToken,
    Requirement, Stack, Text,
};
use crate::diagnostic::Diagnostics;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Reads a whole document: `{apiVersion, kind: Stack, metadata: {name}, spec: {…}}`.
///
/// `places` finds the place of a field in the file that the document came from. A value of `images` or `substitute` may be
/// [`super::UNKNOWN`].
///
/// # Errors
/// Every problem of the document, each with path, place and fix.
pub fn stack_from_value(value: Value, places: Places<'_>) -> Result<Stack, Diagnostics> {
    let mut problems = Diagnostics::new();
    let p = &mut problems;
    let mut top = Fields::new(value, Vec::new(), places, p);
    let api_version = top.required("apiVersion", &format!("write apiVersion: {API_VERSION}"), p);
    if !api_version.is_empty() && api_version != API_VERSION {
        top.problem(
            "apiVersion",
            format!("apiVersion \"{api_version}\" is not known"),
            &format!("write {API_VERSION}"),
            p,
        );
    }
    let kind = top.required("kind", "write kind: Stack", p);
    if !kind.is_empty() && kind != "Stack" {
        top.problem(
            "kind",
            format!("kind \"{kind}\" is not a Stack"),
            "write kind: Stack",
            p,
        );
    }
    let mut metadata = Fields::new(
        top.take("metadata").unwrap_or_default(),
        vec!["metadata".into()],
        places,
        p,
    );
    let name = metadata.required(
        "name",
        "give the stack a name, for example metadata: {name: synapse}",
        p,
    );
    label_name(&metadata, "name", &name, p);
    metadata.end(p);
    let spec = Fields::new(top.take("spec").unwrap_or_default(), vec!["spec".into()], places, p);
    top.end(p);
    let stack = read_spec(name, spec, places, p);
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(stack)
    }
}

fn read_spec(name: String, mut spec: Fields<'_>, places: Places<'_>, p: &mut Diagnostics) -> Stack {
    let namespace = spec.required(
        "namespace",
        "name the namespace that the stack lives in; it is created if absent",
        p,
    );
    label_name(&spec, "namespace", &namespace, p);
    let source = spec.required("source", "name the folder of the kustomization or of the manifests", p);
    let images = spec
        .text_map("images", p)
        .into_iter()
        .map(|(k, v)| (k, Text::from(&*v)))
        .collect();
    let substitute = substitute(&mut spec, p);
    let mut components = BTreeMap::new();
    for (component, value, path) in spec.entries("components", p) {
        if !is_label(&component) {
            let fix = "use at most 63 lower-case letters, digits and dashes";
            p.push(problem(
                &path,
                places,
                format!("\"{component}\" cannot name a component"),
                fix,
            ));
        }
        components.insert(component, read_component(value, path, &namespace, places, p));
    }
    check_components(&components, places, p);
    let requires = read_requires(&mut spec, places, p);
    let timeout = spec.duration("timeout", p).unwrap_or(DEFAULT_TIMEOUT);
    let prune = spec.boolean("prune", p).unwrap_or(true);
    let delete_protected = spec
        .texts("deleteProtected", p)
        .into_iter()
        .filter_map(|kind| {
            let found = ProtectedKind::ALL.into_iter().find(|k| k.kind() == kind);
            if found.is_none() {
                let all = ProtectedKind::ALL.map(ProtectedKind::kind).join(", ");
                let fix = format!("only these kinds are protected: {all}");
                spec.problem(
                    "deleteProtected",
                    format!("\"{kind}\" is not a protected kind"),
                    &fix,
                    p,
                );
            }
            found
        })
        .collect();
    let replace: BTreeSet<String> = spec.texts("replace", p).into_iter().collect();
    for kind in &replace {
        if ProtectedKind::ALL.iter().any(|k| k.kind() == kind) {
            let fix = "replacing it would lose what it holds; do that by hand";
            spec.problem("replace", format!("{kind} cannot be replaced"), fix, p);
        }
    }
    let adopt = [
        ("never", Adopt::Never),
        ("ifUnowned", Adopt::IfUnowned),
        ("always", Adopt::Always),
    ];
    let adopt = spec.word("adopt", &adopt, p).unwrap_or_default();
    let conflicts = [
        ("fail", Conflicts::Fail),
        ("force", Conflicts::Force),
        ("yield", Conflicts::Yield),
    ];
    let conflicts = spec.word("conflicts", &conflicts, p).unwrap_or_default();
    let drift = [("revert", Drift::Revert), ("report", Drift::Report)];
    let drift = spec.word("drift", &drift, p).unwrap_or_default();
    let on_failure = [("stop", OnFailure::Stop), ("rollback", OnFailure::Rollback)];
    let on_failure = spec.word("onFailure", &on_failure, p).unwrap_or_default();
    let restart_on_config_change = spec.boolean("restartOnConfigChange", p).unwrap_or(true);
    let policies = read_policies(&mut spec, places, p);
    let tokens = read_tokens(&mut spec, &namespace, p);
    check_token_names(&components, &tokens, places, p);
    let depends_on = read_depends_on(&mut spec, p);
    let service_account = read_account(&mut spec, &namespace, p);
    spec.end(p);
    Stack {
        name,
        namespace,
        source,
        images,
        substitute,
        components,
        requires,
        timeout,
        prune,
        delete_protected,
        replace,
        adopt,
        conflicts,
        drift,
        on_failure,
        policies,
        restart_on_config_change,
        tokens,
        depends_on,
        service_account,
    }
}

fn read_tokens(spec: &mut Fields<'_>, namespace: &str, p: &mut Diagnostics) -> BTreeMap<String, ProvisioningToken> {
    let mut all: BTreeMap<String, ProvisioningToken> = BTreeMap::new();
    for (name, value, path) in spec.entries("tokens", p) {
        let fields = spec.at(path, value, p);
        label_name(spec, "tokens", &name, p);
        let token = read_token(name.clone(), namespace, fields, p);
        let same = |t: &&ProvisioningToken| {
            let place =
                |t: &ProvisioningToken| (t.secret.namespace.clone(), t.secret.name.clone(), t.secret.key.clone());
            !token.secret.key.is_empty() && place(t) == place(&token)
        };
        if let Some(other) = all.values().find(same) {
            let summary = format!("tokens {} and {name} go to the same key", other.name);
            spec.problem("tokens", summary, "give each a key of its own", p);
        }
        all.insert(name, token);
    }
    all
}

/// A token that a component names must exist.
fn check_token_names(
    components: &BTreeMap<String, Component>,
    tokens: &BTreeMap<String, ProvisioningToken>,
    places: Places<'_>,
    p: &mut Diagnostics,
) {
    let known: Vec<&str> = tokens.keys().map(String::as_str).collect();
    for (name, component) in components {
        for token in component.tokens.iter().filter(|t| !tokens.contains_key(*t)) {
            let path: Vec<String> = ["spec", "components", name, "tokens"].map(Into::into).into();
            let fix = match known.as_slice() {
                [] => "describe it under spec.tokens".to_owned(),
                some => format!("tokens of this stack: {}", some.join(", ")),
            };
            p.push(problem(
                &path,
                places,
                format!("component {name} names token {token}, which does not exist"),
                &fix,
            ));
        }
    }
}

fn substitute(spec: &mut Fields<'_>, p: &mut Diagnostics) -> BTreeMap<String, Text> {
    let mut all = BTreeMap::new();
    for (name, value) in spec.text_map("substitute", p) {
        if !is_variable(&name) {
            let fix = "use letters, digits and underscores, and no digit first";
            spec.problem("substitute", format!("\"{name}\" cannot name a variable"), fix, p);
        }
        all.insert(name, Text::from(&*value));
    }
    all
}

fn read_component(
    value: Value,
    path: Vec<String>,
    namespace: &str,
    places: Places<'_>,
    p: &mut Diagnostics,
) -> Component {
    let mut fields = Fields::new(value, path, places, p);
    let raw = fields.required("path", "name the component's folder or file under the source", p);
    let folder = clean_path(&raw);
    if folder.is_none() {
        let fix = "write a path relative to the source";
        fields.problem("path", format!("\"{raw}\" is not a relative path"), fix, p);
    }
    let after = fields.texts("after", p).into_iter().collect();
    let requires = read_requires(&mut fields, places, p);
    let timeout = fields.duration("timeout", p);
    let verify = read_checks(&mut fields, namespace, places, p);
    let tokens = fields.texts("tokens", p).into_iter().collect();
    fields.end(p);
    Component {
        path: folder.unwrap_or_default(),
        after,
        requires,
        timeout,
        tokens,
        verify,
    }
}

fn read_requires(fields: &mut Fields<'_>, places: Places<'_>, p: &mut Diagnostics) -> Vec<Requirement> {
    let items = fields.list("requires", p);
    items
        .into_iter()
        .map(|(value, path)| {
            let mut item = Fields::new(value, path, places, p);
            let requirement = Requirement {
                api_version: item.required("apiVersion", "as in a manifest, for example apps/v1", p),
                kind: item.required("kind", "as in a manifest, for example Deployment", p),
                namespace: item.text("namespace", p).unwrap_or_default(),
                name: item.required("name", "the object's name", p),
                fields: item.text_map("fields", p).into_iter().collect(),
                timeout: item.duration("timeout", p),
            };
            item.end(p);
            requirement
        })
        .collect()
}

/// Components that `after` names must exist, and a component must not wait for itself. The graph finds longer cycles.
fn check_components(components: &BTreeMap<String, Component>, places: Places<'_>, p: &mut Diagnostics) {
    let known: Vec<&str> = components.keys().map(String::as_str).collect();
    let mut paths: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, component) in components {
        let path: Vec<String> = ["spec", "components", name, "after"].map(Into::into).into();
        for after in &component.after {
            if after == name {
                p.push(problem(
                    &path,
                    places,
                    format!("component {name} waits for itself"),
                    "remove it from after",
                ));
            } else if !components.contains_key(after) {
                let fix = format!("components of this stack: {}", known.join(", "));
                p.push(problem(
                    &path,
                    places,
                    format!("component {name} waits for {after}, which does not exist"),
                    &fix,
                ));
            }
        }
        if let Some(other) = paths.insert(&component.path, name) {
            let path: Vec<String> = ["spec", "components", name, "path"].map(Into::into).into();
            let fix = "each object belongs to one component; give them different folders";
            p.push(problem(
                &path,
                places,
                format!("components {other} and {name} have the same path"),
                fix,
            ));
        }
    }
}

pub(super) fn label_name(fields: &Fields<'_>, field: &str, text: &str, p: &mut Diagnostics) {
    if !text.is_empty() && !is_label(text) {
        let fix = "use at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends";
        fields.problem(field, format!("\"{text}\" is not a valid {field}"), fix, p);
    }
}

/// RFC 1123 label, as Kubernetes wants it for namespaces.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A name that `${…}` can hold.
pub(crate) fn is_variable(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `./a//b/` → `a/b`; `.` → empty. Leading `..` are kept, because a base beside an overlay can be a component's folder.
/// None if it is not a relative path.
fn clean_path(path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\\') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::UNKNOWN;
    use serde_json::json;
    use std::time::Duration;

    #[allow(clippy::needless_pass_by_value, reason = "a test writes its inputs in place")]
    fn read(spec: Value) -> Result<Stack, Diagnostics> {
        let document = json!({"apiVersion": API_VERSION, "kind": "Stack", "metadata": {"name": "s"}, "spec": spec});
        stack_from_value(document, &|_| None)
    }

    #[test]
    fn the_document_of_the_design_is_read() {
        let stack = read(json!({
            "namespace": "synapse", "source": "./k8s/base",
            "images": {"vertexproject/synapse-aha": "v2.256.0"},
            "substitute": {"OPTIC_NETLOC": UNKNOWN},
            "components": {"aha": {"path": "./aha/"}, "axon": {"path": "axon", "after": ["aha"], "timeout": "90s"}},
            "requires": [{"apiVersion": "v1", "kind": "Secret", "name": "x"}],
            "adopt": "ifUnowned", "conflicts": "yield", "timeout": "10m", "replace": ["Job"],
        }))
        .unwrap();
        assert_eq!(stack.components["aha"].path, "aha");
        assert_eq!(stack.components["axon"].timeout, Some(Duration::from_secs(90)));
        assert_eq!(stack.substitute["OPTIC_NETLOC"], Text::Unknown);
        assert_eq!((stack.adopt, stack.conflicts), (Adopt::IfUnowned, Conflicts::Yield));
        assert!(stack.prune && stack.restart_on_config_change);
    }

    #[test]
    fn all_problems_come_at_once_each_with_its_path() {
        let problems = read(json!({
            "source": 7, "namspace": "x",
            "components": {"a": {"path": "/b", "after": ["a", "zz"], "tokens": ["u"], "verify": [{"http": {"path": "/../x"}}, {}]}},
            "adopt": "maybe", "onFailure": "retry", "tokens": {"t": {}}, "dependsOn": [1], "replace": ["Namespace"],
            "substitute": {"1X": "v", "Y": 1.1},
        }))
        .unwrap_err();
        let text = problems.to_string();
        for part in [
            "spec.namespace is missing",
            "spec.source must be a text, not a number",
            "spec.namspace is not a field\n  did you mean namespace?",
            "\"/b\" is not a relative path",
            "component a waits for itself",
            "component a waits for zz, which does not exist",
            "spec.components.a.verify.0.http.service is missing",
            "\"/../x\" is not a path",
            "a check is either http or exec",
            "spec.adopt cannot be \"maybe\"\n  write one of: never, ifUnowned, always",
            "spec.onFailure cannot be \"retry\"
  write one of: stop, rollback",
            "spec.dependsOn.0 must be a map, not a number",
            "a token needs one issuer, not 0",
            "spec.tokens.t.secret.name is missing",
            "component a names token u, which does not exist\n  tokens of this stack: t",
            "Namespace cannot be replaced",
            "\"1X\" cannot name a variable",
            "spec.substitute.Y must be a text, not a number",
        ] {
            assert!(text.contains(part), "missing {part:?} in:\n{text}");
        }
        assert!(problems.iter().all(|d| !d.attribute.is_empty()));
    }
}
