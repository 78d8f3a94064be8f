//! `policies`: rules of the stack's own about its objects, as a person writes them. What CEL says of them is `desired`'s.

use super::fields::{Fields, Places};
use crate::diagnostic::Diagnostics;
use std::collections::BTreeMap;

/// The longest rule, in bytes.
const LONGEST: usize = 8192;

/// One rule and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    /// Which objects.
    pub matches: Match,
    /// A CEL expression over `object` and `component` that is true for an object that keeps the rule.
    pub rule: String,
    /// What a person is told about an object that does not.
    pub message: String,
}

/// Which objects a rule is about; what is empty matches all.
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
