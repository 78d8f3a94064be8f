//! `${NAME}` in rendered manifests → values.
//!
//! `${NAME}` must be set, `${NAME:-text}` and `${NAME:=text}` fall back to a text, `$${` stands for `${`. A value is
//! inserted as text. Only if a field that Kubernetes types as a number or boolean consists of one variable does the
//! text become a number or boolean, so that `replicas: ${N}` works. Inserted values are not expanded again.

use super::{DesiredObject, SUBSTITUTE, Variables};
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::document::{Stack, Text};
use crate::object::Object;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Placeholder for a value that is not known yet. Never sent: the object is marked unknown.
const NOT_KNOWN: &str = "(known after apply)";

/// Fields of built-in kinds that are integers or booleans (or integer-or-string, where an integer is meant).
const TYPED: &[&str] = &[
    "activeDeadlineSeconds",
    "allowPrivilegeEscalation",
    "averageUtilization",
    "automountServiceAccountToken",
    "backoffLimit",
    "completions",
    "containerPort",
    "defaultMode",
    "failureThreshold",
    "fsGroup",
    "healthCheckNodePort",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPort",
    "immutable",
    "initialDelaySeconds",
    "maxReplicas",
    "maxSurge",
    "maxUnavailable",
    "minAvailable",
    "minReadySeconds",
    "minReplicas",
    "mode",
    "nodePort",
    "number",
    "optional",
    "parallelism",
    "partition",
    "periodSeconds",
    "port",
    "privileged",
    "progressDeadlineSeconds",
    "publishNotReadyAddresses",
    "readOnly",
    "readOnlyRootFilesystem",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "shareProcessNamespace",
    "stdin",
    "successThreshold",
    "suspend",
    "targetPort",
    "terminationGracePeriodSeconds",
    "timeoutSeconds",
    "ttlSecondsAfterFinished",
    "tty",
];

struct Expander<'a> {
    stack: &'a Stack,
    variables: &'a Variables,
    /// Of the current object.
    write_only: BTreeSet<String>,
    unknown: BTreeSet<String>,
    unset: BTreeSet<String>,
}

/// One text after expansion.
struct Expanded {
    text: String,
    write_only: bool,
    unknown: bool,
    /// Whether the whole text was one variable.
    whole: bool,
}

/// Expands every object. Unset variables are reported once per object and variable.
pub(super) fn substitute(
    stack: &Stack,
    variables: &Variables,
    rendered: Vec<Object>,
    text: &dyn Fn(&str) -> Option<String>,
    problems: &mut Diagnostics,
) -> Vec<DesiredObject> {
    let mut objects = Vec::with_capacity(rendered.len());
    for mut object in rendered {
        let annotation = |name: &str| {
            object
                .value
                .pointer("/metadata/annotations")
                .and_then(|a| a.get(name))
                .and_then(Value::as_str)
        };
        let off = [SUBSTITUTE, "kustomize.toolkit.fluxcd.io/substitute"]
            .into_iter()
            .any(|name| annotation(name) == Some("disabled"));
        let mut expander = Expander {
            stack,
            variables,
            write_only: BTreeSet::new(),
            unknown: BTreeSet::new(),
            unset: BTreeSet::new(),
        };
        if !off {
            let value = std::mem::take(&mut object.value);
            object.value = expander.value(value, &mut String::new(), "");
        }
        let key = object.key();
        for name in &expander.unset {
            problems.push(
                Diagnostic::error(format!("{} uses ${{{name}}}, which is not set", key.human()))
                    .detail(format!(
                        "set substitute.{name}, or write $${{{name}}} if the text should stay, or annotate the object with \
                         {SUBSTITUTE}: disabled"
                    ))
                    .at(find(&object.origin, name, text))
                    .object(key.clone()),
            );
        }
        for pointer in ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"] {
            if expander.unknown.contains(pointer) {
                problems.push(
                    Diagnostic::error(format!(
                        "the {} of a {} is not known before apply",
                        &pointer[1..],
                        key.kind
                    ))
                    .detail("the plan must name every object: use a variable whose value is known at plan")
                    .at(object.origin.clone()),
                );
            }
        }
        objects.push(DesiredObject {
            api_version: object
                .value
                .get("apiVersion")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            key,
            value: object.value,
            component: None,
            origin: object.origin,
            fields: object.fields,
            write_only: expander.write_only,
            unknown: expander.unknown,
            implicit: false,
        });
    }
    objects
}

/// The line of the origin's file where a variable is used; the origin itself if it is not found there (a patch may have
/// added it).
fn find(origin: &FilePlace, name: &str, text: &dyn Fn(&str) -> Option<String>) -> FilePlace {
    let Some(text) = text(&origin.file) else {
        return origin.clone();
    };
    let start = origin.line.unwrap_or(1).max(1) as usize - 1;
    let wanted = format!("${{{name}");
    for (i, line) in text.lines().enumerate().skip(start) {
        let at = line.match_indices(&wanted).find(|(at, _)| {
            let next = line[at + wanted.len()..].chars().next();
            matches!(next, Some('}' | ':')) && !line[..*at].ends_with('$')
        });
        if let Some((at, _)) = at {
            let column = line[..at].chars().count() + 1;
            return FilePlace {
                file: origin.file.clone(),
                line: u32::try_from(i + 1).ok(),
                column: u32::try_from(column).ok(),
            };
        }
    }
    origin.clone()
}

impl Expander<'_> {
    fn value(&mut self, value: Value, path: &mut String, field: &str) -> Value {
        match value {
            Value::String(text) if text.contains("${") => {
                let expanded = self.text(&text);
                if expanded.unknown {
                    self.unknown.insert(path.clone());
                    return NOT_KNOWN.into();
                }
                if expanded.write_only {
                    self.write_only.insert(path.clone());
                }
                if expanded.whole && TYPED.contains(&field) {
                    if let Ok(number) = expanded.text.parse::<i64>() {
                        return number.into();
                    }
                    if let Ok(boolean) = expanded.text.parse::<bool>() {
                        return boolean.into();
                    }
                }
                expanded.text.into()
            }
            Value::Array(items) => {
                let mut out = Vec::with_capacity(items.len());
                for (i, item) in items.into_iter().enumerate() {
                    let length = path.len();
                    path.push_str(&format!("/{i}"));
                    out.push(self.value(item, path, field));
                    path.truncate(length);
                }
                Value::Array(out)
            }
            Value::Object(map) => {
                let mut out = Map::new();
                // A ConfigMap or annotation key named `port` holds text, whatever its name.
                let texts = matches!(
                    field,
                    "data" | "stringData" | "binaryData" | "annotations" | "labels" | "matchLabels"
                );
                for (name, item) in map {
                    let name = if name.contains("${") {
                        self.text(&name).text
                    } else {
                        name
                    };
                    let length = path.len();
                    path.push('/');
                    path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    let item = self.value(item, path, if texts { "" } else { &name });
                    path.truncate(length);
                    out.insert(name, item);
                }
                Value::Object(out)
            }
            other => other,
        }
    }

    fn text(&mut self, text: &str) -> Expanded {
        let mut out = Expanded {
            text: String::with_capacity(text.len()),
            write_only: false,
            unknown: false,
            whole: false,
        };
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.text.push_str(&rest[..at]);
                out.text.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            out.text.push_str(&rest[..at]);
            let after = &rest[at + 2..];
            let Some((name, fallback, length)) = variable(after) else {
                // `${1}`, `${#a}`, `${a.b}` belong to another language and are left alone.
                out.text.push_str("${");
                rest = after;
                continue;
            };
            out.whole = at == 0 && rest.len() == text.len() && after.len() == length;
            rest = &after[length..];
            let value = match self.variables.write_only.get(name) {
                Some(value) => {
                    out.write_only = true;
                    Some(value)
                }
                None => self.stack.substitute.get(name),
            };
            match (value, fallback) {
                (Some(Text::Known(value)), _) => out.text.push_str(value),
                (Some(Text::Unknown), _) => out.unknown = true,
                (None, Some(fallback)) => out.text.push_str(fallback),
                (None, None) => {
                    self.unset.insert(name.to_owned());
                }
            }
        }
        out.text.push_str(rest);
        out
    }
}

/// `NAME}…`, `NAME:-text}…` → the name, the fallback, and the length up to and including the brace.
fn variable(text: &str) -> Option<(&str, Option<&str>, usize)> {
    let end = text.find('}')?;
    let inner = &text[..end];
    let (name, fallback) = match inner.split_once(':') {
        None => (inner, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix('-').or_else(|| rest.strip_prefix('='))?)),
    };
    crate::document::is_variable(name).then_some((name, fallback, end + 1))
}
