//! One server-side apply under the stack's policy: which fields are taken, which are left, and what an error means.
//!
//! Sent with [`Mode::DryRun`] to plan and with [`Mode::Real`] to apply, so that both follow the same rules. A conflict
//! over a field that the record says was ours is drift, and the field is taken back. A field of a manager that an
//! adoption replaces is taken. Any other conflict is decided by the policy.

use super::owned::{remove, was_owned};
use crate::cluster::{Cluster, ClusterError, FIELD_MANAGER, Mode, Target, retrying};
use crate::document::Conflicts;
use crate::mask::MaskKey;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Field managers of `kubectl apply`, of Terraform's `kubernetes_manifest` (it writes as `Terraform`) and of objects older than
/// server-side apply, which an adoption replaces.
pub(crate) const REPLACED_MANAGERS: &[&str] = &[
    "kubectl-client-side-apply",
    "kubectl",
    "before-first-apply",
    "Terraform",
];

/// What decides about conflicts.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    pub(crate) policy: Conflicts,
    /// The object was not ours: fields of [`REPLACED_MANAGERS`] are taken.
    pub(crate) adopting: bool,
    /// Hashes of the paths that were ours, and their key.
    pub(crate) owned: String,
    pub(crate) key: MaskKey,
}

/// The result.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// The resulting object, actual or predicted by the dry run.
    pub(crate) result: Result<Value, ClusterError>,
    /// Whether an answer was lost, so that an earlier attempt may have taken effect.
    pub(crate) resent: bool,
    /// Fields taken from others: manager and path.
    pub(crate) taken: Vec<(String, String)>,
    /// Fields of others that the policy does not take: manager and path. With [`Conflicts::Fail`] the result is the
    /// conflict; with [`Conflicts::Yield`] the object was applied without them.
    pub(crate) foreign: Vec<(String, String)>,
    /// Items of others in lists to which ours could not return: manager and path.
    pub(crate) beside: Vec<(String, String)>,
}

/// Applies, and on conflicts applies again as the policy says.
pub(crate) async fn settle(
    cluster: &dyn Cluster,
    target: &Target,
    body: &Value,
    manners: &Manners,
    mode: Mode,
    cancel: &CancellationToken,
) -> Trial {
    let mut force = manners.policy == Conflicts::Force;
    let mut body = std::borrow::Cow::Borrowed(body);
    let mut trial = Trial {
        result: Ok(Value::Null),
        resent: false,
        taken: Vec::new(),
        foreign: Vec::new(),
        beside: Vec::new(),
    };
    // Two rounds are enough if nobody else writes; the third is for a manager that writes in between.
    for _ in 0..3 {
        let mut attempts = 0;
        let sent = retrying(cancel, || {
            attempts += 1;
            cluster.apply(target, &body, force, mode)
        })
        .await;
        trial.resent |= attempts > 1;
        let conflicts = sent
            .as_ref()
            .err()
            .map(ClusterError::field_conflicts)
            .unwrap_or_default();
        trial.result = sent;
        if conflicts.is_empty() {
            break;
        }
        let (taken, foreign): (Vec<_>, Vec<_>) = conflicts.into_iter().partition(|(manager, path)| {
            was_owned(&manners.key, &manners.owned, path)
                || manners.adopting && REPLACED_MANAGERS.contains(&manager.as_str())
                // Our own plain write, from clearing a default: another entry under the same name.
                || manager == FIELD_MANAGER
        });
        trial.taken = taken;
        force = !trial.taken.is_empty();
        if foreign.is_empty() {
            continue;
        }
        if manners.policy != Conflicts::Yield {
            trial.foreign = foreign;
            break;
        }
        let mut gave_way = false;
        for (manager, path) in foreign {
            gave_way |= remove(body.to_mut(), &path);
            trial.foreign.push((manager, path));
        }
        if !gave_way {
            break;
        }
    }
    trial
}

/// The fields that a refusal calls immutable, with the server's text; empty if the object is invalid for another
/// reason.
pub(crate) fn immutable_fields(error: &ClusterError) -> Vec<(String, String)> {
    let ClusterError::Refused {
        code: 422,
        causes,
        message,
        ..
    } = error
    else {
        return Vec::new();
    };
    const WORDS: &[&str] = &[
        "field is immutable",
        "is immutable",
        "updates to statefulset spec for fields other than",
        "cannot change roleRef",
        "may not change once set",
        "pod updates may not change fields other than",
        "may not be changed",
    ];
    let says = |text: &str| WORDS.iter().any(|w| text.contains(w));
    let mut found: Vec<(String, String)> = causes
        .iter()
        .filter(|c| says(&c.message))
        .map(|c| (c.field.clone(), c.message.clone()))
        .collect();
    // Some refusals give their reason only in the message.
    if found.is_empty() && causes.is_empty() && says(message) {
        found.push((String::new(), message.clone()));
    }
    // If there is another cause as well, the object is invalid too. Then nothing is certainly immutable, and replacing
    // would only lose the old object.
    if found.len() < causes.len() { Vec::new() } else { found }
}

/// Defaults of an earlier state that the manifest cannot remove: the refusal is about fields that the live object has,
/// that the manifest does not name, and that no apply removes because nobody owns them (the `rollingUpdate` of a
/// Deployment that becomes `Recreate`). Returns JSON pointers of the surrounding values, which the manifest does name;
/// None if the refusal has another cause.
pub(crate) fn leftover_defaults(error: &ClusterError, live: &Value, body: &Value) -> Option<Vec<String>> {
    let ClusterError::Refused { code: 422, causes, .. } = error else {
        return None;
    };
    let mut around = Vec::new();
    for cause in causes {
        let refused = matches!(cause.reason.as_str(), "FieldValueForbidden" | "FieldValueInvalid");
        let pointer = format!("/{}", cause.field.replace('.', "/"));
        let (outer, _) = pointer.rsplit_once('/')?;
        let leftover = live.pointer(&pointer).is_some() && body.pointer(&pointer).is_none();
        if !refused || !leftover || !body.pointer(outer).is_some_and(Value::is_object) {
            return None;
        }
        around.push(outer.to_owned());
    }
    (!around.is_empty()).then_some(around)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cause;

    fn refused(causes: &[(&str, &str)], message: &str) -> ClusterError {
        ClusterError::Refused {
            code: 422,
            reason: "Invalid".into(),
            message: message.into(),
            causes: causes
                .iter()
                .map(|(field, message)| Cause {
                    reason: "x".into(),
                    message: (*message).into(),
                    field: (*field).into(),
                })
                .collect(),
            retry_after: None,
        }
    }

    #[test]
    fn only_fields_that_the_manifest_does_not_name_are_leftover_defaults() {
        let live =
            serde_json::json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}, "replicas": 1}});
        let body = serde_json::json!({"spec": {"strategy": {"type": "Recreate"}, "replicas": -1}});
        let with = |causes: &[(&str, &str)]| {
            let mut error = refused(causes, "");
            if let ClusterError::Refused { causes, .. } = &mut error {
                causes.iter_mut().for_each(|c| c.reason = "FieldValueForbidden".into());
            }
            leftover_defaults(&error, &live, &body)
        };
        let leftover = ("spec.strategy.rollingUpdate", "may not be specified");
        assert_eq!(with(&[leftover]), Some(vec!["/spec/strategy".to_owned()]));
        assert_eq!(with(&[leftover, ("spec.replicas", "negative")]), None);
        assert_eq!(with(&[("spec.template", "missing")]), None);
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn a_manifest_that_is_simply_wrong_is_not_taken_for_immutable() {
        let immutable = ("spec.selector", "Invalid value: {}: field is immutable");
        let wrong = ("spec.replicas", "must be greater than or equal to 0");
        assert_eq!(immutable_fields(&refused(&[immutable], "")).len(), 1);
        assert!(immutable_fields(&refused(&[wrong], "")).is_empty());
        assert!(immutable_fields(&refused(&[immutable, wrong], "")).is_empty());
        assert_eq!(
            immutable_fields(&refused(&[], "roleRef: Invalid value: cannot change roleRef")).len(),
            1
        );
    }
}
