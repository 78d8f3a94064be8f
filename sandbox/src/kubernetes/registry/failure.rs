//! Errors of the API: the `Status` object, with the real server's messages.

use serde_json::{Value, json};

/// A refusal, ready to be sent as a `Status`.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason; empty where the real server gives none.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
    /// `details`: name, group, kind, uid, causes, retryAfterSeconds.
    pub details: Option<Value>,
    /// What to tell the client in `Warning` headers besides.
    pub warnings: Vec<String>,
}

/// One fault of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldFault {
    /// Machine-readable: `FieldValueInvalid` and its like.
    pub reason: &'static str,
    /// The path of the field.
    pub field: String,
    /// What is wrong, without the path.
    pub message: String,
}

/// A value as faults quote it.
fn quoted(value: &Value) -> String {
    value.to_string()
}

impl FieldFault {
    /// The value breaks a rule.
    pub fn invalid(field: impl Into<String>, value: &Value, rule: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: {}: {}", quoted(value), rule.as_ref());
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message: message.trim_end_matches(": ").to_owned(),
        }
    }

    /// The value is missing.
    pub fn required(field: impl Into<String>, rule: impl AsRef<str>) -> Self {
        let rule = rule.as_ref();
        let message = if rule.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {rule}")
        };
        Self {
            reason: "FieldValueRequired",
            field: field.into(),
            message,
        }
    }

    /// The value is none of those that are supported.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        let message = format!(
            "Unsupported value: {}: supported values: {}",
            quoted(value),
            supported.join(", ")
        );
        Self {
            reason: "FieldValueNotSupported",
            field: field.into(),
            message,
        }
    }

    /// The field may not be set or changed here.
    pub fn forbidden(field: impl Into<String>, rule: impl AsRef<str>) -> Self {
        Self {
            reason: "FieldValueForbidden",
            field: field.into(),
            message: format!("Forbidden: {}", rule.as_ref()),
        }
    }

    /// The value occurs twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", quoted(value));
        Self {
            reason: "FieldValueDuplicate",
            field: field.into(),
            message,
        }
    }

    /// The value names something that is not there.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueNotFound",
            field: field.into(),
            message: format!("Not found: {}", quoted(value)),
        }
    }

    /// The value has more items, letters or digits than it may.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        let message = format!("Too long: may not be more than {max} {unit}");
        Self {
            reason: "FieldValueTooLong",
            field: field.into(),
            message,
        }
    }

    /// The list has more items than it may.
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        let message = format!("Too many: {actual}: must have at most {max} items");
        Self {
            reason: "FieldValueTooMany",
            field: field.into(),
            message,
        }
    }

    /// The value is of another type.
    pub fn wrong_type(field: impl Into<String>, value: &Value, rule: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: {}: {}", quoted(value), rule.as_ref());
        Self {
            reason: "FieldValueTypeInvalid",
            field: field.into(),
            message,
        }
    }
}

impl Failure {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            warnings: Vec::new(),
        }
    }

    fn detailed(code: u16, reason: &'static str, message: String, group: &str, kind: &str, name: &str) -> Self {
        let mut details = serde_json::Map::new();
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                details.insert(key.to_owned(), value.into());
            }
        }
        Self {
            code,
            reason,
            message,
            details: Some(Value::Object(details)),
            warnings: Vec::new(),
        }
    }

    /// 404 for an object. `resource` is the plural name.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(group, resource));
        Self::detailed(404, "NotFound", message, group, resource, name)
    }

    /// 404 for a path.
    pub fn no_such_path() -> Self {
        let mut failure = Self::new(404, "NotFound", "the server could not find the requested resource");
        failure.details = Some(json!({}));
        failure
    }

    /// 409 for a name that is taken.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(group, resource));
        Self::detailed(409, "AlreadyExists", message, group, resource, name)
    }

    /// 409 for a precondition that does not hold.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            qualified(group, resource)
        );
        Self::detailed(409, "Conflict", message, group, resource, name)
    }

    /// 409 for a stale resourceVersion.
    pub fn stale(group: &str, resource: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, resource, name, why)
    }

    /// 422 with one cause per fault.
    pub fn invalid(group: &str, kind: &str, name: &str, faults: &[FieldFault]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut texts: Vec<String> = Vec::new();
        for fault in faults {
            let text = format!("{}: {}", fault.field, fault.message);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let all = if texts.len() == 1 {
            texts.remove(0)
        } else {
            format!("[{}]", texts.join(", "))
        };
        let message = format!("{qualified} \"{name}\" is invalid: {all}");
        let mut failure = Self::detailed(422, "Invalid", message, group, kind, name);
        let causes: Vec<Value> = faults
            .iter()
            .map(|fault| json!({"reason": fault.reason, "message": fault.message, "field": fault.field}))
            .collect();
        if let Some(details) = &mut failure.details {
            details["causes"] = causes.into();
        }
        failure
    }

    /// 403 for an object.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", qualified(group, resource))
        } else {
            format!("{} \"{name}\" is forbidden: {why}", qualified(group, resource))
        };
        Self::detailed(403, "Forbidden", message, group, resource, name)
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 405.
    pub fn method_not_supported(group: &str, resource: &str, verb: &str) -> Self {
        let name = qualified(group, resource);
        let message = format!("{verb} is not supported on resources of kind \"{name}\"");
        Self::detailed(405, "MethodNotAllowed", message, group, resource, "")
    }

    /// 500 with the reason that the server gives for its own faults.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let mut failure = Self::new(500, "InternalError", format!("Internal error occurred: {message}"));
        failure.details = Some(json!({"causes": [{"message": message}]}));
        failure
    }

    /// 500 without a reason: what the server says to several faults of an apply body.
    pub fn unreasoned(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 410 for a revision that history does not reach.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 501 for what the sandbox does not model. A real cluster would have answered.
    pub fn unmodelled(what: &str) -> Self {
        Self::new(
            501,
            "NotImplemented",
            format!("the sandbox does not model {what}; see the ledger in sandbox/README.md"),
        )
    }

    /// 429 with a pause.
    pub fn too_many_requests(message: impl Into<String>, retry_after: u32) -> Self {
        let mut failure = Self::new(429, "TooManyRequests", message);
        failure.details = Some(json!({"retryAfterSeconds": retry_after}));
        failure
    }

    /// Seconds after which the client should try again.
    pub fn retry_after(&self) -> Option<u64> {
        self.details
            .as_ref()
            .and_then(|d| d["retryAfterSeconds"].as_u64())
            .filter(|s| *s > 0)
    }

    /// Whether the object or path is not there.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// Whether somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        self.code == 409 && self.reason == "Conflict"
    }

    /// Whether the name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.code == 409 && self.reason == "AlreadyExists"
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Failure {}

/// `deployments.apps`, `pods`.
fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_faults_are_listed_in_brackets_with_a_cause_each() {
        let faults = [
            FieldFault::required("spec.selector", ""),
            FieldFault::invalid("spec.replicas", &json!(-1), "must be more"),
        ];
        let failure = Failure::invalid("apps", "Deployment", "web", &faults);
        assert_eq!(
            failure.message,
            "Deployment.apps \"web\" is invalid: [spec.selector: Required value, \
             spec.replicas: Invalid value: -1: must be more]"
        );
        assert_eq!(failure.status()["details"]["causes"].as_array().unwrap().len(), 2);
    }
}
