//! Tables: what `kubectl get` prints. The columns of each kind are the real server's; cells are in `cells`.

mod cells;
mod paths;
mod rows;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::kubernetes::registry::Failure;
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::store::Object;

/// What the rows of a table carry besides their cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

/// Read `includeObject`.
pub(crate) fn include(query: Option<&str>) -> Result<Include, Failure> {
    match query {
        None | Some("" | "Metadata") => Ok(Include::Metadata),
        Some("None") => Ok(Include::None),
        Some("Object") => Ok(Include::Object),
        Some(other) => Err(Failure::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be 'Metadata', \
             'Object', 'None', or empty"
        ))),
    }
}

/// A column: name, type, format, priority (0 is always shown, 1 with `-o wide`).
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) format: &'static str,
    pub(crate) priority: u8,
}

/// A table of objects.
pub(crate) fn render(
    resource: &Resource,
    objects: &[Arc<Object>],
    metadata: &Value,
    include: Include,
    now: Timestamp,
) -> Value {
    let columns = columns(resource);
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells = match &resource.custom {
                Some(custom) => paths::cells(&custom.columns, object.value(), now),
                None => cells::cells(&resource.storage, object.value(), now),
            };
            let mut row = Map::new();
            row.insert("cells".to_owned(), cells.into());
            match include {
                Include::None => {}
                Include::Metadata => {
                    row.insert("object".to_owned(), super::verbs::partial(object));
                }
                Include::Object => {
                    let full = serde_json::from_slice(&super::verbs::rendered(resource, object)).unwrap_or_default();
                    row.insert("object".to_owned(), full);
                }
            }
            Value::Object(row)
        })
        .collect();
    let definitions: Vec<Value> = columns
        .iter()
        .map(|c| json!({"name": c.name, "type": c.kind, "format": c.format, "description": "", "priority": c.priority}))
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn columns(resource: &Resource) -> Vec<Column> {
    if let Some(custom) = &resource.custom {
        return paths::columns(&custom.columns);
    }
    cells::names(&resource.storage)
        .iter()
        .map(|text| {
            // A plus means only with `-o wide`.
            let (name, priority) = text.strip_suffix('+').map_or((*text, 0), |t| (t, 1));
            let format = if name == "Name" { "name" } else { "" };
            Column {
                name: name.to_owned(),
                kind: "string",
                format,
                priority,
            }
        })
        .collect()
}

/// How long ago a time was, in the two largest units that matter: `5s`, `3m10s`, `2d`.
pub(crate) fn age(time: &Value, now: Timestamp) -> String {
    let Some(time) = time.as_str().and_then(|t| t.parse::<Timestamp>().ok()) else {
        return "<unknown>".to_owned();
    };
    duration(now.as_second() - time.as_second())
}

/// A span of seconds as `kubectl` writes it.
pub(crate) fn duration(seconds: i64) -> String {
    let s = seconds.max(if seconds < -1 { i64::MIN } else { 0 });
    if s < 0 {
        return "<invalid>".to_owned();
    }
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    let (m, h, d) = (s / 60, s / 3600, s / 86400);
    match s {
        _ if s < 120 => format!("{s}s"),
        _ if m < 10 => two(m, "m", s % 60, "s"),
        _ if m < 180 => format!("{m}m"),
        _ if h < 8 => two(h, "h", m % 60, "m"),
        _ if h < 48 => format!("{h}h"),
        _ if d < 8 => two(d, "d", h % 24, "h"),
        _ if d < 730 => format!("{d}d"),
        _ if d < 2920 => two(d / 365, "y", d % 365, "d"),
        _ => format!("{}y", d / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (3600, "60m"),
            (4 * 3600 + 300, "4h5m"),
            (90_000, "25h"),
            (3 * 86400, "3d"),
            (100 * 86400, "100d"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
