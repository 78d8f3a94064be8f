//! Access reviews, self reviews and token reviews: questions that are answered and not stored.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::auth::{self, User, Wish};
use super::negotiate::Media;
use super::reply::Reply;
use super::route::Target;
use super::{Api, Call, bodies};
use crate::kubernetes::registry::{Failure, FieldFault};
use crate::kubernetes::schema::resources::Resource;

/// Whether a resource is a question.
pub(crate) fn is_review(resource: &Resource) -> bool {
    matches!(resource.gvr.group.as_str(), "authorization.k8s.io")
        || (resource.gvr.group == "authentication.k8s.io"
            && matches!(resource.gvr.plural.as_str(), "selfsubjectreviews" | "tokenreviews"))
}

/// Answer a question.
pub(crate) fn answer(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    bytes: &Bytes,
    media: Media,
) -> Result<Reply, Failure> {
    let resource = &target.resource;
    let mut review = bodies::parse(resource, call, bytes)?.value;
    review["apiVersion"] = resource.api_version().into();
    review["kind"] = resource.kind.clone().into();
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    review["metadata"]["creationTimestamp"] = Value::Null;
    review["status"] = match resource.gvr.plural.as_str() {
        "selfsubjectaccessreviews" => access(api, &review, &call.user, target)?,
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            let groups = review["spec"]["groups"].as_array().into_iter().flatten();
            let user = User {
                name: review["spec"]["user"].as_str().unwrap_or_default().to_owned(),
                groups: groups.filter_map(|g| g.as_str().map(str::to_owned)).collect(),
            };
            if user.name.is_empty() && user.groups.is_empty() {
                let rule = "at least one of user or group must be specified";
                let fault = FieldFault::invalid("spec.user", &"".into(), rule);
                return Err(Failure::invalid(&resource.gvr.group, "", "", &[fault]));
            }
            access(api, &review, &user, target)?
        }
        "selfsubjectrulesreviews" => rules(&call.user),
        "selfsubjectreviews" => json!({"userInfo": {"username": call.user.name, "groups": call.user.groups}}),
        _ => token(api, &review),
    };
    Ok(Reply::value(201, &review, media))
}

fn access(api: &Api, review: &Value, user: &User, target: &Target) -> Result<Value, Failure> {
    let spec = &review["spec"];
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() == path.is_object() {
        let rule = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        let mut faults = vec![FieldFault::invalid("spec.resourceAttributes", &Value::Null, rule)];
        if resource.is_object() {
            faults = vec![FieldFault::invalid(
                "spec.nonResourceAttributes",
                path,
                "cannot be specified in combination with resourceAttributes",
            )];
        }
        return Err(Failure::invalid("authorization.k8s.io", "", "", &faults));
    }
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let (verb, group, plural) = (
        text(resource, "verb"),
        text(resource, "group"),
        text(resource, "resource"),
    );
    let (sub, namespace, name) = (
        text(resource, "subresource"),
        text(resource, "namespace"),
        text(resource, "name"),
    );
    let (path_verb, path) = (text(path, "verb"), text(path, "path"));
    if target.resource.gvr.plural == "localsubjectaccessreviews" && namespace != target.namespace {
        let rule = "must match metadata.namespace";
        let fault = FieldFault::invalid("spec.resourceAttributes.namespace", &namespace.into(), rule);
        return Err(Failure::invalid("authorization.k8s.io", "", "", &[fault]));
    }
    let wish = Wish {
        verb: if path.is_empty() { &verb } else { &path_verb },
        group: &group,
        resource: &plural,
        subresource: &sub,
        namespace: &namespace,
        name: &name,
        path: &path,
    };
    Ok(json!({"allowed": auth::allowed(&api.registry, user, &wish)}))
}

/// Only what is certain: masters may do everything; for others no list is computed.
fn rules(user: &User) -> Value {
    let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let all_paths = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    if user.is_master() {
        return json!({"resourceRules": everything, "nonResourceRules": all_paths, "incomplete": false});
    }
    json!({"resourceRules": [], "nonResourceRules": [], "incomplete": true, "evaluationError": "the sandbox lists no rules"})
}

fn token(api: &Api, review: &Value) -> Value {
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    match api.auth.claims(&api.registry, token) {
        Some(claims) => json!({
            "authenticated": true, "audiences": claims["aud"],
            "user": {"username": claims["sub"], "groups": ["system:serviceaccounts", "system:authenticated"]},
        }),
        None => json!({"authenticated": false, "user": {}, "error": "invalid bearer token"}),
    }
}
