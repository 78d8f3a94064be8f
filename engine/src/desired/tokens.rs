//! The stack's tokens: their keys, their issuers, and their canonical text. No value is known here.

use super::{Desired, DesiredObject, Policy};
use crate::diagnostic::Diagnostics;
use crate::document::{Adopt, Conflicts, Drift, Issuer, OnFailure, PodChoice, ProvisioningToken, Stack};
use crate::graph::references::{pod_labels, selects};
use crate::graph::{self, TokenMember};
use crate::object::ObjectKey;
use crate::record::StackId;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Group of the documents' own kinds.
const GROUP: &str = "myelin.dev";

/// A token as the plan and the executor handle it.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedToken {
    /// Its key: group `myelin.dev`, kind `ProvisioningToken`, the stack's namespace, its name.
    pub key: ObjectKey,
    /// What was asked for.
    pub token: ProvisioningToken,
    /// The first component that names it.
    pub component: Option<String>,
}

/// Whether a key is a token's.
#[must_use]
pub fn is_token(key: &ObjectKey) -> bool {
    key.group == GROUP && key.kind == "ProvisioningToken"
}

/// The key of a token of a stack.
#[must_use]
pub fn token_key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(GROUP, "ProvisioningToken", namespace, name)
}

/// A token that is a document of its own, as the desired state of a set with this one token and no objects. It is
/// observed, planned, applied, recorded and destroyed by the same code as a stack's, under a record of its own
/// ([`StackId::of_token`]). `timeout` limits every wait.
#[must_use]
pub fn lone_token(token: &ProvisioningToken, timeout: Duration) -> Desired {
    let wanted = WantedToken {
        key: token_key(&token.namespace, &token.name),
        token: token.clone(),
        component: None,
    };
    let member = TokenMember {
        key: &wanted.key,
        secret: ObjectKey::new("", "Secret", &*token.secret.namespace, &*token.secret.name),
        components: BTreeSet::new(),
        issuers: Vec::new(),
    };
    let graph = graph::build(&[], &[member], &BTreeMap::new()).expect("one node has no cycle");
    Desired {
        stack: StackId::of_token(&token.namespace, &token.name),
        objects: Vec::new(),
        tokens: vec![wanted],
        components: BTreeMap::new(),
        requires: Vec::new(),
        graph,
        going_back: false,
        policy: Policy {
            on_failure: OnFailure::Stop,
            prune: true,
            delete_protected: BTreeSet::new(),
            replace: BTreeSet::new(),
            adopt: Adopt::Never,
            conflicts: Conflicts::Fail,
            drift: Drift::Revert,
            timeout,
        },
        warnings: Diagnostics::new(),
    }
}

pub(super) fn wanted(stack: &Stack) -> Vec<WantedToken> {
    let named = |name: &str| {
        stack
            .components
            .iter()
            .find(|(_, c)| c.tokens.contains(name))
            .map(|(n, _)| n.clone())
    };
    let wanted = |(name, token): (&String, &ProvisioningToken)| WantedToken {
        key: token_key(&stack.namespace, name),
        token: token.clone(),
        component: named(name),
    };
    stack.tokens.iter().map(wanted).collect()
}

/// The tokens as nodes of the graph.
pub(super) fn members<'a>(
    stack: &'a Stack,
    tokens: &'a [WantedToken],
    objects: &[DesiredObject],
) -> Vec<TokenMember<'a>> {
    let member = |wanted: &'a WantedToken| TokenMember {
        key: &wanted.key,
        secret: ObjectKey::new(
            "",
            "Secret",
            &*wanted.token.secret.namespace,
            &*wanted.token.secret.name,
        ),
        components: stack
            .components
            .iter()
            .filter(|(_, c)| c.tokens.contains(&wanted.token.name))
            .map(|(name, _)| name.as_str())
            .collect(),
        issuers: objects
            .iter()
            .filter(|o| issues(&wanted.token.issuer, o))
            .map(|o| o.key.clone())
            .collect(),
    };
    tokens.iter().map(member).collect()
}

/// Whether an object of the stack creates the pod that issues.
fn issues(issuer: &Issuer, object: &DesiredObject) -> bool {
    let Issuer::Exec(exec) = issuer else { return false };
    if object.key.namespace != exec.namespace {
        return false;
    }
    match (&exec.pod, object.key.kind.as_str()) {
        (PodChoice::Named(name), "Pod") => object.key.name == *name,
        (PodChoice::Named(name), "StatefulSet") => name
            .strip_prefix(&object.key.name)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())),
        (PodChoice::Named(_), _) => false,
        (PodChoice::Selected(labels), _) => selects(Some(&json!(labels)), pod_labels(&object.key, &object.value)),
    }
}

/// What the document asks for, as canonical JSON. Keepers and commands are configuration; a minted value is not
/// included.
pub(crate) fn token_text(token: &ProvisioningToken) -> String {
    let issuer = match &token.issuer {
        Issuer::Exec(exec) => json!({"exec": {
            "namespace": exec.namespace,
            "pod": match &exec.pod { PodChoice::Named(name) => json!(name), PodChoice::Selected(labels) => json!(labels) },
            "container": exec.container, "command": exec.command,
        }}),
        Issuer::RandomBytes { bytes, encoding } => {
            json!({"random": {"bytes": bytes, "encoding": format!("{encoding:?}")}})
        }
        Issuer::RandomCharacters { length, alphabet } => {
            json!({"random": {"length": length, "characters": alphabet.iter().collect::<String>()}})
        }
        Issuer::SigningKey => json!({"signingKey": {}}),
    };
    let names = |all: &[crate::document::ObjectName]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "issuer": issuer,
        "extract": token.extract.to_string(),
        "secret": {"namespace": token.secret.namespace, "name": token.secret.name, "key": token.secret.key,
                   "labels": token.secret.labels, "immutable": token.secret.immutable},
        "keepers": token.keepers,
        "expiresAfter": token.expires_after,
        "rotateWith": names(&token.rotate_with),
        "restart": names(&token.restart),
        "revoke": token.revoke,
    })
    .to_string()
}
