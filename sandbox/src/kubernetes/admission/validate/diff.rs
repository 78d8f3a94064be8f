//! The difference that the server shows when a claim's spec may not change: both specs as its own types print them, three
//! lines of context.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::super::access::{Fields, sub};

/// A claim's spec, line by line, with the order and names of fields of the server's own type.
pub(super) fn claim_spec(spec: &Value) -> Vec<String> {
    let mut out = String::from("{");
    let list = |value: &Value| {
        if value.as_array().is_none_or(Vec::is_empty) {
            Value::Null
        } else {
            value.clone()
        }
    };
    let or_null = |value: Option<&Value>| value.cloned().unwrap_or(Value::Null);
    let resources = sub(spec, "resources");
    let fields: [(&str, Value); 9] = [
        ("AccessModes", list(sub(spec, "accessModes"))),
        ("Selector", or_null(spec.at("selector"))),
        ("Resources", Value::Null),
        ("VolumeName", spec.text("volumeName").into()),
        ("StorageClassName", or_null(spec.at("storageClassName"))),
        ("VolumeMode", or_null(spec.at("volumeMode"))),
        ("DataSource", or_null(spec.at("dataSource"))),
        ("DataSourceRef", or_null(spec.at("dataSourceRef"))),
        (
            "VolumeAttributesClassName",
            or_null(spec.at("volumeAttributesClassName")),
        ),
    ];
    let last = fields.len() - 1;
    for (index, (name, value)) in fields.into_iter().enumerate() {
        let _ = write!(out, "\n \"{name}\": ");
        if name == "Resources" {
            out.push('{');
            for (index, part) in ["limits", "requests"].into_iter().enumerate() {
                let label = if index == 0 { "Limits" } else { "Requests" };
                let _ = write!(out, "\n  \"{label}\": ");
                let map: Option<&Map<String, Value>> = resources.map(part).filter(|map| !map.is_empty());
                print(&mut out, &map.map_or(Value::Null, |map| Value::Object(map.clone())), 2);
                if index == 0 {
                    out.push(',');
                }
            }
            out.push_str("\n }");
        } else {
            print(&mut out, &value, 1);
        }
        if index != last {
            out.push(',');
        }
    }
    out.push_str("\n}");
    out.lines().map(str::to_owned).collect()
}

fn print(out: &mut String, value: &Value, depth: usize) {
    let pad = " ".repeat(depth + 1);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                let _ = write!(out, "{}\n{pad}", if index == 0 { "" } else { "," });
                print(out, item, depth + 1);
            }
            let _ = write!(out, "\n{}]", " ".repeat(depth));
        }
        Value::Object(map) if !map.is_empty() => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                let _ = write!(
                    out,
                    "{}\n{pad}{}: ",
                    if index == 0 { "" } else { "," },
                    Value::from(key.as_str())
                );
                print(out, item, depth + 1);
            }
            let _ = write!(out, "\n{}}}", " ".repeat(depth));
        }
        other => out.push_str(&other.to_string()),
    }
}

/// A unified difference without file names. Specs are short; common beginnings and ends are what stays.
pub(super) fn unified(old: &[String], new: &[String]) -> String {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let room = old.len().min(new.len()) - head;
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(room)
        .take_while(|(a, b)| a == b)
        .count();
    let (from, before) = (head.saturating_sub(3), head.min(3));
    let after = tail.min(3);
    let (gone, come) = (old.len() - head - tail, new.len() - head - tail);
    let mut out = format!(
        "@@ -{},{} +{},{} @@\n",
        from + 1,
        before + gone + after,
        from + 1,
        before + come + after
    );
    for line in &old[from..head] {
        let _ = writeln!(out, " {line}");
    }
    for line in &old[head..head + gone] {
        let _ = writeln!(out, "-{line}");
    }
    for line in &new[head..head + come] {
        let _ = writeln!(out, "+{line}");
    }
    for line in &old[head + gone..head + gone + after] {
        let _ = writeln!(out, " {line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_difference_is_printed_as_recorded() {
        let spec = |mode: &str, size: &str| json!({"accessModes": [mode], "resources": {"requests": {"storage": size}}, "storageClassName": "none", "volumeMode": "Filesystem"});
        let old = claim_spec(&spec("ReadWriteOnce", "1Gi"));
        assert_eq!(
            unified(&old, &claim_spec(&spec("ReadWriteMany", "1Gi"))),
            "@@ -1,6 +1,6 @@\n {\n  \"AccessModes\": [\n-  \"ReadWriteOnce\"\n+  \"ReadWriteMany\"\n  ],\n  \"Selector\": null,\n  \"Resources\": {\n"
        );
        assert_eq!(
            unified(&old, &claim_spec(&spec("ReadWriteOnce", "2Gi"))),
            "@@ -6,7 +6,7 @@\n  \"Resources\": {\n   \"Limits\": null,\n   \"Requests\": {\n-   \"storage\": \"1Gi\"\n+   \"storage\": \"2Gi\"\n   }\n  },\n  \"VolumeName\": \"\",\n"
        );
    }
}
