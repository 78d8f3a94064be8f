//! `policies`: the stack's own rules about its objects, as written in the document. `desired` evaluates them in CEL.

use super::fields::{Fields, Places};
use crate::diagnostic::Diagnostics;
use std::collections::BTreeMap;

/// The longest rule, in bytes.
const LONGEST: usize = 8192;

/// One rule and the objects that it applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    /// Which objects.
    pub matches: Match,
    /// A CEL expression over `object` and `component` that is true for an object that satisfies the rule.
    pub rule: String,
    /// The message for an object that does not.
    pub message: String,
}

/// Which objects a rule applies to; empty fields match all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// `apiVersion`; its group counts.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels that the object must have.
    pub labels: BTreeMap<String, String>,
}

/// Reads the rules of a stack.
pub(super) fn read_policies(spec: &mut Fields<'_>, places: Places<'_>, p: &mut Diagnostics) -> Vec<PolicyRule> {
    let items = spec.list("policies", p);
    let read = |(value, path), p: &mut Diagnostics| {
        let mut item = Fields::new(value, path, places, p);
        let mut matches = item.nested("match", p);
        let found = Match {
            api_version: matches.text("apiVersion", p).unwrap_or_default(),
            kind: matches.text("kind", p).unwrap_or_default(),
            namespace: matches.text("namespace", p).unwrap_or_default(),
            name: matches.text("name", p).unwrap_or_default(),
            labels: matches.text_map("labels", p).into_iter().collect(),
        };
        matches.end(p);
        let rule = item.required(
            "rule",
            "write a CEL expression, for example object.spec.replicas == 1",
            p,
        );
        if rule.len() > LONGEST {
            item.problem("rule", "the rule is too long", "8192 bytes are the most", p);
        }
        let message = item.required("message", "say what is wrong with an object that breaks the rule", p);
        item.end(p);
        PolicyRule {
            matches: found,
            rule,
            message,
        }
    };
    items.into_iter().map(|item| read(item, p)).collect()
}
