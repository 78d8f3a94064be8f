//! Label and field selectors: parsing and matching.

use serde_json::Value;

use super::failure::Failure;
use crate::kubernetes::admission::names;

/// A condition on labels.
#[derive(Debug, Clone, PartialEq)]
enum LabelRule {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

/// A label selector as in a query, or as in an object's `selector`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labels(Vec<LabelRule>);

impl Labels {
    /// Read `a=b,c in (d,e),!f`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let refuse = |why: String| {
            // The parser's own message is used alone if the requirement was complete already.
            let over = why.ends_with("expected: ',' or 'end of string'");
            Failure::bad_request(if over {
                why
            } else {
                format!("unable to parse requirement: {why}")
            })
        };
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let end = clause_end(rest);
            let clause = rest[..end].trim();
            rules.push(parse_clause(clause).map_err(refuse)?);
            rest = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]).trim();
            if rest.is_empty() && text.trim_end().ends_with(',') {
                return Err(refuse("found '', expected: identifier after ','".to_owned()));
            }
        }
        Ok(Self(rules))
    }

    /// Read a `metav1.LabelSelector` (`matchLabels`, `matchExpressions`) or a plain map. Null selects nothing.
    pub fn from_value(selector: &Value) -> Option<Self> {
        let map = selector.as_object()?;
        let mut rules = Vec::new();
        let plain = !map.contains_key("matchLabels") && !map.contains_key("matchExpressions");
        let labels = if plain {
            Some(map)
        } else {
            selector["matchLabels"].as_object()
        };
        for (key, value) in labels.into_iter().flatten() {
            rules.push(LabelRule::In(
                key.clone(),
                vec![value.as_str().unwrap_or_default().to_owned()],
            ));
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|v| v.as_str().map(str::to_owned)).collect();
            rules.push(match expression["operator"].as_str().unwrap_or_default() {
                "In" => LabelRule::In(key, values),
                "NotIn" => LabelRule::NotIn(key, values),
                "Exists" => LabelRule::Exists(key),
                _ => LabelRule::Absent(key),
            });
        }
        Some(Self(rules))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with these labels (a JSON object or null) is selected.
    pub fn matches(&self, labels: &Value) -> bool {
        let get = |key: &str| labels.get(key).and_then(Value::as_str);
        let number = |key: &str| get(key).and_then(|v| v.parse::<i64>().ok());
        self.0.iter().all(|rule| match rule {
            LabelRule::In(key, values) => get(key).is_some_and(|v| values.iter().any(|x| x == v)),
            LabelRule::NotIn(key, values) => get(key).is_none_or(|v| values.iter().all(|x| x != v)),
            LabelRule::Exists(key) => get(key).is_some(),
            LabelRule::Absent(key) => get(key).is_none(),
            LabelRule::Greater(key, than) => number(key).is_some_and(|v| v > *than),
            LabelRule::Less(key, than) => number(key).is_some_and(|v| v < *than),
        })
    }
}

/// Where the first clause ends: at a comma outside parentheses.
fn clause_end(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

fn parse_clause(clause: &str) -> Result<LabelRule, String> {
    let key_of = |key: &str| -> Result<String, String> {
        let key = key.trim();
        if key.is_empty() {
            return Err("found '', expected: identifier".to_owned());
        }
        if let Some(why) = names::qualified_name(key).into_iter().next() {
            return Err(format!("<nil>: Invalid value: \"{key}\": {why}"));
        }
        Ok(key.to_owned())
    };
    let value_of = |value: &str| -> Result<String, String> {
        let value = value.trim();
        let ends = |c: char| c.is_whitespace() || "!=<>()".contains(c);
        if let Some(at) = value.find(ends) {
            // A second token where the requirement should have ended.
            let rest = value[at..].trim_start();
            let length = rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| ends(*c))
                .map_or(rest.len(), |(at, _)| at);
            let token = if rest.starts_with(ends) {
                &rest[..1]
            } else {
                &rest[..length]
            };
            return Err(format!("found '{token}', expected: ',' or 'end of string'"));
        }
        if let Some(why) = names::label_value(value).into_iter().next() {
            return Err(format!("<nil>: Invalid value: \"{value}\": {why}"));
        }
        Ok(value.to_owned())
    };
    if let Some(key) = clause.strip_prefix('!')
        && !key.contains('=')
    {
        return Ok(LabelRule::Absent(key_of(key)?));
    }
    for (operator, negative) in [(" notin ", true), (" in ", false), (" notin(", true), (" in(", false)] {
        if let Some(at) = clause.find(operator) {
            let key = key_of(&clause[..at])?;
            let list = clause[at + operator.trim_end_matches('(').len()..].trim();
            let inner = list
                .strip_prefix('(')
                .and_then(|l| l.strip_suffix(')'))
                .ok_or_else(|| format!("found '{list}', expected: '('"))?;
            let values = inner.split(',').map(value_of).collect::<Result<Vec<_>, _>>()?;
            return Ok(if negative {
                LabelRule::NotIn(key, values)
            } else {
                LabelRule::In(key, values)
            });
        }
    }
    if let Some((key, value)) = clause.split_once("!=") {
        return Ok(LabelRule::NotIn(key_of(key)?, vec![value_of(value)?]));
    }
    if let Some((key, value)) = clause.split_once("==").or_else(|| clause.split_once('=')) {
        return Ok(LabelRule::In(key_of(key)?, vec![value_of(value)?]));
    }
    if let Some((key, value)) = clause.split_once('>') {
        let than = value
            .trim()
            .parse()
            .map_err(|_| "for 'Gt', 'Lt' operators, the value must be an integer".to_owned())?;
        return Ok(LabelRule::Greater(key_of(key)?, than));
    }
    if let Some((key, value)) = clause.split_once('<') {
        let than = value
            .trim()
            .parse()
            .map_err(|_| "for 'Gt', 'Lt' operators, the value must be an integer".to_owned())?;
        return Ok(LabelRule::Less(key_of(key)?, than));
    }
    Ok(LabelRule::Exists(key_of(clause)?))
}

/// A field selector: `metadata.name=x,status.phase!=Running`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(Vec<(String, bool, String)>);

impl Fields {
    /// Read it; which fields may be named is the resource's business.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut terms = Vec::new();
        for term in text.split(',').filter(|t| !t.is_empty()) {
            let (key, equal, value) = if let Some((key, value)) = term.split_once("!=") {
                (key, false, value)
            } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (key, true, value)
            } else {
                return Err(Failure::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                )));
            };
            terms.push((
                key.trim().to_owned(),
                equal,
                value.trim().replace("\\,", ",").replace("\\=", "="),
            ));
        }
        Ok(Self(terms))
    }

    /// An equality on one field.
    pub fn equal(field: &str, value: &str) -> Self {
        Self(vec![(field.to_owned(), true, value.to_owned())])
    }

    /// The fields that are named.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _, _)| name.as_str())
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that `metadata.name` must equal, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, equal, _)| key == "metadata.name" && *equal)
            .map(|(_, _, value)| value.as_str())
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|(key, equal, wanted)| (field_text(object, key) == *wanted) == *equal)
    }

    /// Rename fields, for kinds that two API groups call differently.
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        for (key, _, _) in &mut self.0 {
            if key == from {
                to.clone_into(key);
            }
        }
        self
    }
}

/// A field's value as selectors compare it: absent fields are empty, or the zero of their type.
fn field_text(object: &Value, path: &str) -> String {
    let mut value = object;
    for part in path.trim_start_matches('.').split('.') {
        value = &value[part];
    }
    match value {
        Value::String(text) => text.clone(),
        Value::Null => match path {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.replicas" | "status.successful" => "0".to_owned(),
            _ => String::new(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_match_as_the_api_says() {
        let labels = json!({"app": "web", "tier": "2"});
        for (selector, expected) in [
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (web, api),tier", true),
            ("app notin (web)", false),
            ("other notin (web)", true),
            ("!app", false),
            ("!other", true),
            ("tier>1", true),
            ("tier<2", false),
            ("", true),
            ("app in (api)", false),
        ] {
            assert_eq!(
                Labels::parse(selector).unwrap().matches(&labels),
                expected,
                "{selector}"
            );
        }
    }

    #[test]
    fn malformed_label_selectors_are_bad_requests() {
        for selector in ["a=b,", "a in b", "=x", "a=b c", "-a=b", "a>x"] {
            assert_eq!(Labels::parse(selector).unwrap_err().code, 400, "{selector}");
        }
    }

    #[test]
    fn field_selectors_compare_text() {
        let pod = json!({"metadata": {"name": "p"}, "status": {"phase": "Pending"}});
        assert!(
            Fields::parse("metadata.name=p,status.phase!=Running")
                .unwrap()
                .matches(&pod)
        );
        assert!(Fields::parse("spec.nodeName=").unwrap().matches(&pod));
        assert!(Fields::parse("metadata.name").is_err());
    }
}
