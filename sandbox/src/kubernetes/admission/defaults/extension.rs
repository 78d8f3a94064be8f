//! Defaults of the kinds that extend the API: definitions, webhooks, policies, API services.

use serde_json::{Value, json};

use super::super::access::{Fields, default, default_int, default_text, struct_mut};
use super::for_each;

pub(super) fn definition(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    if let Some(names) = struct_mut(spec, "names") {
        let kind = names.text("kind").to_owned();
        if !kind.is_empty() {
            default_text(names, "singular", &kind.to_lowercase());
            default_text(names, "listKind", &format!("{kind}List"));
        }
    }
    default(spec, "conversion", json!({"strategy": "None"}));
    if let Some(service) = spec
        .get_mut("conversion")
        .and_then(|conversion| conversion.get_mut("webhook"))
        .and_then(|webhook| webhook.get_mut("clientConfig"))
        .and_then(|config| config.get_mut("service"))
    {
        default(service, "port", 443);
    }
}

pub(super) fn webhooks(object: &mut Value, mutating: bool) {
    for_each(object, "webhooks", |webhook| {
        default(webhook, "failurePolicy", "Fail");
        default(webhook, "matchPolicy", "Equivalent");
        default(webhook, "namespaceSelector", json!({}));
        default(webhook, "objectSelector", json!({}));
        default(webhook, "timeoutSeconds", 10);
        if mutating {
            default(webhook, "reinvocationPolicy", "Never");
        }
        for_each(webhook, "rules", |rule| default(rule, "scope", "*"));
        if let Some(service) = webhook
            .get_mut("clientConfig")
            .and_then(|config| config.get_mut("service"))
        {
            default(service, "port", 443);
        }
    });
}

pub(super) fn policy(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default(spec, "failurePolicy", "Fail");
    if let Some(constraints) = spec.get_mut("matchConstraints") {
        match_resources(constraints);
    }
}

pub(super) fn policy_binding(object: &mut Value) {
    if let Some(resources) = object.get_mut("spec").and_then(|spec| spec.get_mut("matchResources")) {
        match_resources(resources);
    }
}

fn match_resources(value: &mut Value) {
    if !value.is_object() {
        return;
    }
    default(value, "matchPolicy", "Equivalent");
    default(value, "namespaceSelector", json!({}));
    default(value, "objectSelector", json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        for_each(value, list, |rule| default(rule, "scope", "*"));
    }
}

pub(super) fn api_service(object: &mut Value) {
    if let Some(service) = object
        .get_mut("spec")
        .and_then(|spec| spec.get_mut("service"))
        .filter(|service| service.is_object())
    {
        default_int(service, "port", 443);
    }
}
