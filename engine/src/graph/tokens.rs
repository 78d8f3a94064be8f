//! Tokens in the graph: after the workload that issues them, before those that read them.

use super::references::{config_of, pod_spec};
use super::{Graph, Member, Need, TokenMember, Until};
use crate::object::ObjectKey;
use std::collections::{BTreeMap, BTreeSet};

/// Adds the tokens and their edges.
pub(super) fn add(
    members: &[Member<'_>],
    tokens: &[TokenMember<'_>],
    after: &BTreeMap<String, BTreeSet<String>>,
    graph: &mut Graph,
) {
    let known: BTreeSet<&ObjectKey> = members.iter().map(|m| m.key).collect();
    for token in tokens {
        let mut needs: BTreeMap<ObjectKey, Need> = BTreeMap::new();
        let mut add = |key: &ObjectKey, until: Until, why: &'static str| {
            if known.contains(key) {
                needs.insert(key.clone(), Need { until, why });
            }
        };
        add(
            &ObjectKey::new("", "Namespace", "", &*token.secret.namespace),
            Until::Applied,
            "is stored in",
        );
        // A Secret that the source also renders is created first: the token only adds its key.
        add(&token.secret, Until::Applied, "is stored in");
        for issuer in &token.issuers {
            add(issuer, Until::Ready, "is issued by");
        }
        graph.needs.insert(token.key.clone(), needs);
        // Whatever its component waits for comes first; a token that no component names waits only for its issuer.
        let waits: BTreeSet<String> = token
            .components
            .iter()
            .filter_map(|c| after.get(*c))
            .flatten()
            .cloned()
            .collect();
        graph.after.insert(token.key.clone(), waits);
    }
    for member in members {
        let reads = config_of_member(member);
        for token in tokens {
            let named = member.component.is_some_and(|c| token.components.contains(c));
            let issues = token.issuers.contains(member.key);
            if (named || reads.contains(&token.secret)) && !issues && *member.key != token.secret {
                let need = Need {
                    until: Until::Ready,
                    why: "reads",
                };
                graph
                    .needs
                    .entry(member.key.clone())
                    .or_default()
                    .insert(token.key.clone(), need);
            }
        }
    }
}

/// The Secrets that a workload's pods read.
fn config_of_member(member: &Member<'_>) -> BTreeSet<ObjectKey> {
    let spec = pod_spec(member.key, member.value);
    let reads = spec.map(config_of).unwrap_or_default();
    reads
        .into_iter()
        .map(|(group, kind, name)| ObjectKey::new(group, kind, &*member.key.namespace, name))
        .collect()
}
