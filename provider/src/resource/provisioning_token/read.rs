//! Reads a token, and imports one: a recorded token, or a value that somebody else stored.

use std::collections::BTreeMap;

use myelin_engine::cluster::Cluster;
use myelin_engine::diagnostic::Diagnostics as EngineDiagnostics;
use myelin_engine::observe::{Refresh, TokenFacts, refresh, value_is_there};
use myelin_engine::record::{Owner, StackId};

use crate::cluster::Absent;
use crate::diagnostic::{Diagnostic, Diagnostics, from_engine};
use crate::resource::stack::state::with;
use crate::resource::{Call, ImportTarget, Read, Resource as _};
use crate::value::{Number, Value};

use super::plan::owned_by_git;
use super::state::{with_facts, without_facts};
use super::{TokenResource, shown, token_id};

/// What is due when the record is gone and the value is there.
const UNRECORDED: &str = "the value in the Secret is taken over; nothing is minted";

/// What the record and the cluster tell of a token; no facts before its first mint.
pub(super) struct Found {
    pub(super) owner: Owner,
    pub(super) facts: Option<TokenFacts>,
}

/// Looks at a token; None when there is no record of it.
pub(super) async fn find(cluster: &dyn Cluster, id: &StackId) -> Result<Option<Found>, EngineDiagnostics> {
    let found: Option<Refresh> = refresh(cluster, id, &BTreeMap::new()).await?;
    Ok(found.map(|mut found| Found {
        facts: id.token().and_then(|name| found.tokens.remove(name)),
        owner: found.owner,
    }))
}

pub(super) async fn read(resource: &TokenResource, call: &Call, state: Value) -> Read {
    let identity = resource.identity_of(&state);
    let answer = |state: Value, diagnostics: Diagnostics| Read {
        state,
        identity: identity.clone(),
        diagnostics,
    };
    let Some(id) = token_id(&state) else {
        return answer(state, Diagnostics::default());
    };
    let cluster = match call.access.cluster().await {
        Ok(cluster) => cluster,
        // The cluster itself is being made or replaced: what is stored is the best that is known.
        Err(Absent::Unknown(names)) => {
            let mut warning = Absent::Unknown(names).error();
            warning.is_error = false;
            warning.detail.push_str(" The token was not refreshed.");
            return answer(state, warning.into());
        }
        Err(absent) => return answer(state, absent.error().into()),
    };
    let found = tokio::select! {
        found = look(&*cluster, &id, &state) => found,
        () = call.cancel.cancelled() => {
            return answer(state, Diagnostic::error("The refresh was interrupted", "Nothing was changed.").into());
        }
    };
    match found {
        Ok((state, warnings)) => answer(state, warnings),
        Err(problems) => {
            let mut told: Diagnostics = problems.iter().map(|problem| from_engine(problem, |_| None)).collect();
            told.push(Diagnostic::warning(
                format!("The token {} could not be refreshed", shown(&id)),
                "To plan from what is stored, without asking the cluster, use -refresh=false.",
            ));
            answer(state, told)
        }
    }
}

async fn look(cluster: &dyn Cluster, id: &StackId, state: &Value) -> Result<(Value, Diagnostics), EngineDiagnostics> {
    let mut warnings = Diagnostics::default();
    let named = with(state, [("id", Value::string(shown(id)))]);
    match find(cluster, id).await? {
        Some(found) => {
            if let Owner::Git(source) = &found.owner {
                return Ok((state.clone(), owned_by_git(source).into()));
            }
            let Some(facts) = found.facts else {
                return Ok((without_facts(&named, Some("the first value is minted")), warnings));
            };
            if facts.foreign {
                let (namespace, name, key) = &facts.secret;
                warnings.push(Diagnostic::warning(
                    format!("The value of token {} was replaced by somebody", shown(id)),
                    format!(
                        "Key {key} of Secret {namespace}/{name} holds another value than was minted. It is left as it is; \
                         change keepers to have a new one minted."
                    ),
                ));
            }
            if !facts.orphans.is_empty() && facts.due.is_some() {
                warnings.push(Diagnostic::warning(
                    format!("A mint of token {} was interrupted", shown(id)),
                    format!(
                        "Before its value was stored: {}. The issuer may hold one that nobody uses.",
                        facts.orphans.join(", ")
                    ),
                ));
            }
            Ok((with_facts(&named, &facts), warnings))
        }
        None => {
            let secret = state.attribute("secret");
            let namespace = secret.attribute("namespace").as_str().unwrap_or(&id.namespace);
            let (name, key) = (secret.attribute("name").as_str(), secret.attribute("key").as_str());
            let there = value_is_there(cluster, namespace, name.unwrap_or_default(), key.unwrap_or_default()).await;
            let there = there.map_err(|e| {
                EngineDiagnostics::from(
                    myelin_engine::diagnostic::Diagnostic::error("reading the token's Secret failed")
                        .detail(e.to_string()),
                )
            })?;
            let Some(uid) = there.filter(|_| !state.attribute("value_hash").is_null() || is_import(state)) else {
                return Ok((Value::Null, warnings));
            };
            let kept = [("secret_uid", Value::string(uid)), ("due", Value::string(UNRECORDED))];
            Ok((with(&named, kept), warnings))
        }
    }
}

/// Whether a state was made by importing a value that no token minted, and nothing was applied since.
fn is_import(state: &Value) -> bool {
    *state.attribute("mints") == Value::Number(Number::from(0u64))
}

pub(super) async fn import(resource: &TokenResource, call: &Call, target: ImportTarget) -> Result<Value, Diagnostic> {
    let (namespace, name, place) = parts(&target)?;
    let id = StackId::of_token(&namespace, &name);
    let cluster = call.access.cluster().await.map_err(Absent::error)?;
    let failed = |said: String| Diagnostic::error(format!("The token {} cannot be imported", shown(&id)), said);
    let found = find(&*cluster, &id).await.map_err(|problems| {
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        failed(said.join("\n\n"))
    })?;
    let secret = |namespace: Value, name: &str, key: &str| {
        let parts = [
            ("namespace", namespace),
            ("name", Value::string(name)),
            ("key", Value::string(key)),
            ("labels", Value::Null),
            ("immutable", Value::Null),
        ];
        with(&Value::Null, parts)
    };
    let nothing = resource
        .schema()
        .attributes
        .iter()
        .map(|attribute| (attribute.name, Value::Null));
    let named = [
        ("id", Value::string(shown(&id))),
        ("namespace", Value::string(namespace.as_str())),
        ("name", Value::string(name.as_str())),
    ];
    let state = with(&with(&Value::Null, nothing), named);
    if let Some(facts) = found.and_then(|found| found.facts) {
        let (at, name, key) = &facts.secret;
        let at = if *at == namespace {
            Value::Null
        } else {
            Value::string(at.as_str())
        };
        return Ok(with(&with_facts(&state, &facts), [("secret", secret(at, name, key))]));
    }
    let Some((name, key)) = place else {
        return Err(failed(
            "No record of it is in that namespace. To take over a value that is in a Secret already, name the Secret and \
             its key, too: namespace/name/secret/key."
                .to_owned(),
        ));
    };
    let there = value_is_there(&*cluster, &namespace, &name, &key).await;
    let uid = there.map_err(|error| failed(error.to_string()))?.ok_or_else(|| {
        failed(format!(
            "There is no key {key} in a Secret {name} of namespace {namespace}, or it is empty."
        ))
    })?;
    let found = [
        ("secret", secret(Value::Null, &name, &key)),
        ("secret_uid", Value::string(uid)),
        ("mints", Value::Number(Number::from(0u64))),
        ("due", Value::string(UNRECORDED)),
    ];
    Ok(with(&state, found))
}

/// Namespace, name, and Secret and key if they are given.
type Parts = (String, String, Option<(String, String)>);

fn parts(target: &ImportTarget) -> Result<Parts, Diagnostic> {
    let wrong = |what: &str| {
        Diagnostic::error(
            "Invalid import id",
            format!(
                "{what} Write namespace/name, for example synapse/axon; for a value that no token made, \
                 namespace/name/secret/key."
            ),
        )
    };
    match target {
        ImportTarget::Id(id) => {
            let parts: Vec<&str> = id.split('/').collect();
            if parts.iter().any(|part| part.is_empty()) {
                return Err(wrong(&format!("\"{id}\" has an empty part.")));
            }
            match parts.as_slice() {
                [namespace, name] => Ok(((*namespace).to_owned(), (*name).to_owned(), None)),
                [namespace, name, secret, key] => Ok((
                    (*namespace).to_owned(),
                    (*name).to_owned(),
                    Some(((*secret).to_owned(), (*key).to_owned())),
                )),
                _ => Err(wrong(&format!("\"{id}\" does not name a token."))),
            }
        }
        ImportTarget::Identity(identity) => {
            let text = |name| identity.attribute(name).as_str().map(str::to_owned);
            let (Some(namespace), Some(name)) = (text("namespace"), text("name")) else {
                return Err(wrong("Both `namespace` and `name` must be given."));
            };
            Ok((namespace, name, text("secret").zip(text("key"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_id_names_a_token_or_a_value_too() {
        let id = |text: &str| parts(&ImportTarget::Id(text.to_owned())).ok();
        let (namespace, name) = ("ns".to_owned(), "axon".to_owned());
        assert_eq!(id("ns/axon"), Some((namespace.clone(), name.clone(), None)));
        let place = Some(("s".to_owned(), "k".to_owned()));
        assert_eq!(id("ns/axon/s/k"), Some((namespace, name, place)));
        for wrong in ["", "axon", "ns/", "ns/axon/s", "ns/axon//k", "ns/axon/s/k/x"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }
}
