//! An IAM policy document and its evaluation: an explicit deny wins, then any allow; otherwise the request is denied.
//!
//! Only what is evaluated can be read: an operator or a part of a statement that is not modelled is an error when the
//! document is read, never a condition that is ignored.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ec2::filters::like;

/// One action on one resource, with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// `ec2:RunInstances`.
    pub action: String,
    /// ARN, or `*` for actions without resources.
    pub resource: String,
    context: BTreeMap<String, Vec<String>>,
}

impl Ask {
    /// An action on a resource.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            resource: resource.into(),
            context: BTreeMap::new(),
        }
    }

    /// Adds a value of a condition key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        let values = self.context.entry(key.to_ascii_lowercase()).or_default();
        values.push(value.into());
    }

    /// With a value of a condition key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.add(key, value);
        self
    }

    fn values(&self, key: &str) -> &[String] {
        self.context.get(key).map_or(&[], Vec::as_slice)
    }
}

/// What a policy says of an ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it and none denies it.
    Allowed,
    /// This statement denies it.
    Refused(String),
    /// No statement is about it.
    NotAllowed,
}

/// What is wrong with a policy document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no policy that the sandbox can evaluate: {0}")]
pub struct PolicyError(String);

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    sid: String,
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    One,
    All,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equals,
    NotEquals,
    Like,
    NotLike,
    Null,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    quantifier: Quantifier,
    operator: Operator,
    if_exists: bool,
    key: String,
    values: Vec<String>,
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// When it is not a policy, has two statements with the same id, or uses something that is not modelled.
    pub fn read(document: &Value) -> Result<Self, PolicyError> {
        if document["Version"] != "2012-10-17" {
            return Err(PolicyError("its Version is not 2012-10-17".into()));
        }
        let one;
        let list = match &document["Statement"] {
            Value::Array(all) => all.as_slice(),
            Value::Object(_) => {
                one = [document["Statement"].clone()];
                &one
            }
            _ => return Err(PolicyError("it has no Statement".into())),
        };
        let statements = list
            .iter()
            .enumerate()
            .map(|(at, s)| Statement::read(at, s))
            .collect::<Result<Vec<_>, _>>()?;
        for (at, s) in statements.iter().enumerate() {
            if statements[..at].iter().any(|other| other.sid == s.sid) {
                return Err(PolicyError(format!("two statements have the Sid {}", s.sid)));
            }
        }
        Ok(Self { statements })
    }

    /// What it says of an ask.
    #[must_use]
    pub fn judge(&self, ask: &Ask) -> Verdict {
        let mut verdict = Verdict::NotAllowed;
        for statement in self.statements.iter().filter(|s| s.is_about(ask)) {
            if !statement.allows {
                return Verdict::Refused(statement.sid.clone());
            }
            verdict = Verdict::Allowed;
        }
        verdict
    }
}

impl Statement {
    fn read(at: usize, value: &Value) -> Result<Self, PolicyError> {
        let fields = value
            .as_object()
            .ok_or_else(|| PolicyError(format!("statement {at} is no object")))?;
        let sid = fields
            .get("Sid")
            .and_then(Value::as_str)
            .map_or_else(|| format!("#{at}"), str::to_owned);
        let known = ["Sid", "Effect", "Action", "Resource", "Condition"];
        if let Some(other) = fields.keys().find(|k| !known.contains(&k.as_str())) {
            return Err(PolicyError(format!("{other} of statement {sid} is not modelled")));
        }
        let allows = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err(PolicyError(format!("statement {sid} neither allows nor denies"))),
        };
        let list = |name: &str| {
            let texts = fields.get(name).map(texts).unwrap_or_default();
            if texts.is_empty() {
                Err(PolicyError(format!("statement {sid} has no {name}")))
            } else {
                Ok(texts)
            }
        };
        let mut conditions = Vec::new();
        let operators = fields.get("Condition").and_then(Value::as_object);
        for (operator, keys) in operators.into_iter().flatten() {
            let keys = keys
                .as_object()
                .ok_or_else(|| PolicyError(format!("{operator} of statement {sid} names no keys")))?;
            for (key, values) in keys {
                conditions.push(Condition::read(operator, key, values)?);
            }
        }
        Ok(Self {
            actions: list("Action")?,
            resources: list("Resource")?,
            allows,
            conditions,
            sid,
        })
    }

    fn is_about(&self, ask: &Ask) -> bool {
        let action = ask.action.to_ascii_lowercase();
        let named = |a: &String| like(a.to_ascii_lowercase().as_bytes(), action.as_bytes());
        let placed = |r: &String| filled(r, ask).is_some_and(|r| like(r.as_bytes(), ask.resource.as_bytes()));
        self.actions.iter().any(named)
            && self.resources.iter().any(placed)
            && self.conditions.iter().all(|c| c.holds(ask))
    }
}

impl Condition {
    fn read(operator: &str, key: &str, values: &Value) -> Result<Self, PolicyError> {
        let (quantifier, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(_) => return Err(PolicyError(format!("{operator} is not modelled"))),
            None => (Quantifier::One, operator),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let operator = match name {
            "StringEquals" | "ArnEquals" | "Bool" => Operator::Equals,
            "StringNotEquals" | "ArnNotEquals" => Operator::NotEquals,
            "StringLike" | "ArnLike" => Operator::Like,
            "StringNotLike" | "ArnNotLike" => Operator::NotLike,
            "Null" => Operator::Null,
            other => return Err(PolicyError(format!("the operator {other} is not modelled"))),
        };
        Ok(Self {
            quantifier,
            operator,
            if_exists,
            key: key.to_ascii_lowercase(),
            values: texts(values),
        })
    }

    fn holds(&self, ask: &Ask) -> bool {
        let found = ask.values(&self.key);
        if self.operator == Operator::Null {
            return self.values.iter().any(|v| (v == "true") == found.is_empty());
        }
        if self.if_exists && found.is_empty() {
            return true;
        }
        // A variable that has no value makes the condition fail.
        let Some(wanted) = self
            .values
            .iter()
            .map(|v| filled(v, ask))
            .collect::<Option<Vec<String>>>()
        else {
            return false;
        };
        let negated = matches!(self.operator, Operator::NotEquals | Operator::NotLike);
        let fits = |value: &String| {
            let hit = wanted.iter().any(|w| match self.operator {
                Operator::Like | Operator::NotLike => like(w.as_bytes(), value.as_bytes()),
                _ => w == value,
            });
            hit != negated
        };
        match self.quantifier {
            Quantifier::One if found.is_empty() => negated,
            Quantifier::One | Quantifier::All => found.iter().all(fits),
            Quantifier::Any => found.iter().any(fits),
        }
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Bool(one) => vec![one.to_string()],
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// A text with its policy variables (`${aws:…}`) replaced; None when one has no value.
fn filled(text: &str, ask: &Ask) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}')?;
        out.push_str(before);
        out.push_str(ask.values(&name.to_ascii_lowercase()).first()?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(statements: Value) -> Result<Policy, PolicyError> {
        Policy::read(&json!({"Version": "2012-10-17", "Statement": statements}))
    }

    fn tag(keys: &[&str]) -> Ask {
        let mut ask = Ask::new("ec2:CreateTags", "arn:aws:ec2:r:1:instance/i-1")
            .with("aws:ResourceTag/cluster", "prod")
            .with("ec2:SourceInstanceARN", "arn:aws:ec2:r:1:instance/i-1")
            .with("aws:ARN", "arn:aws:ec2:r:1:instance/i-1");
        for key in keys {
            ask.add("aws:TagKeys", *key);
        }
        ask
    }

    #[test]
    fn conditions_hold_as_iam_documents_them() {
        let table = [
            (
                json!({"StringEquals": {"aws:ResourceTag/cluster": "prod"}}),
                &["a"][..],
                true,
            ),
            (
                json!({"StringEquals": {"aws:ResourceTag/cluster": ["test", "dev"]}}),
                &["a"],
                false,
            ),
            (json!({"StringNotEquals": {"aws:ResourceTag/other": "x"}}), &["a"], true),
            (json!({"StringEquals": {"aws:ResourceTag/other": "x"}}), &["a"], false),
            (
                json!({"StringEqualsIfExists": {"aws:ResourceTag/other": "x"}}),
                &["a"],
                true,
            ),
            (
                json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}),
                &["a", "b"],
                true,
            ),
            (
                json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}),
                &["a", "b"],
                false,
            ),
            (json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}), &[], true),
            (json!({"Null": {"aws:TagKeys": "false"}}), &[], false),
            (json!({"Null": {"aws:TagKeys": "true"}}), &[], true),
            (
                json!({"ForAllValues:StringLike": {"aws:TagKeys": ["x.*"]}}),
                &["x.1", "x.2"],
                true,
            ),
            (
                json!({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["a"]}}),
                &["a", "b"],
                true,
            ),
            (
                json!({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["a"]}}),
                &["a"],
                false,
            ),
            (
                json!({"StringEquals": {"aws:ARN": "${ec2:SourceInstanceARN}"}}),
                &["a"],
                true,
            ),
            (json!({"StringEquals": {"aws:ARN": "${ec2:Unheard}"}}), &["a"], false),
        ];
        for (condition, keys, holds) in table {
            let statement =
                json!([{"Effect": "Allow", "Action": "ec2:Create*", "Resource": "*", "Condition": condition}]);
            let verdict = policy(statement).expect("modelled").judge(&tag(keys));
            assert_eq!(verdict == Verdict::Allowed, holds, "{condition} with {keys:?}");
        }
    }

    #[test]
    fn a_deny_wins_and_silence_is_no_allowance() {
        let both = json!([
            {"Sid": "A", "Effect": "Allow", "Action": ["ec2:CreateTags"], "Resource": "arn:aws:ec2:r:1:instance/*"},
            {"Sid": "D", "Effect": "Deny", "Action": "ec2:*", "Resource": "*",
             "Condition": {"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["state"]}}},
        ]);
        let policy = policy(both).expect("modelled");
        assert_eq!(policy.judge(&tag(&["state"])), Verdict::Allowed);
        assert_eq!(policy.judge(&tag(&["state", "role"])), Verdict::Refused("D".into()));
        assert_eq!(policy.judge(&Ask::new("ec2:RunInstances", "*")), Verdict::NotAllowed);
    }

    #[test]
    fn what_is_not_modelled_is_refused_when_it_is_read() {
        let statement = |more: Value| {
            let mut s = json!({"Sid": "S", "Effect": "Allow", "Action": "*", "Resource": "*"});
            for (k, v) in more.as_object().cloned().unwrap_or_default() {
                s[k] = v;
            }
            s
        };
        for bad in [
            json!([statement(json!({"NotAction": "x"}))]),
            json!([statement(
                json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})
            )]),
            json!([statement(json!({"Effect": "Maybe"}))]),
            json!([statement(json!({})), statement(json!({}))]),
            json!("x"),
        ] {
            assert!(policy(bad.clone()).is_err(), "{bad}");
        }
    }
}
