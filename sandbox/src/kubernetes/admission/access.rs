//! Reading JSON as the server's types would: an absent field, `null` and the zero value are the same unless a rule says otherwise.
//! It judges nothing.

use serde_json::{Map, Value};

/// Reads fields of an object; every method returns the zero value for a field that is absent or of another type.
pub(crate) trait Fields {
    /// The value of a field, unless it is absent or null.
    fn at(&self, name: &str) -> Option<&Value>;

    /// The value at a path of fields.
    fn dig(&self, path: &[&str]) -> Option<&Value>;

    /// A string, or "".
    fn text(&self, name: &str) -> &str {
        self.at(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// An integer if there is one.
    fn int(&self, name: &str) -> Option<i64> {
        self.at(name).and_then(Value::as_i64)
    }

    /// Whether a boolean is set and true.
    fn yes(&self, name: &str) -> bool {
        self.at(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The items of a list, or none.
    fn items(&self, name: &str) -> &[Value] {
        self.at(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The strings of a list.
    fn texts(&self, name: &str) -> Vec<&str> {
        self.items(name)
            .iter()
            .map(|item| item.as_str().unwrap_or_default())
            .collect()
    }

    /// An object if there is one.
    fn map(&self, name: &str) -> Option<&Map<String, Value>> {
        self.at(name).and_then(Value::as_object)
    }

    /// Whether the field is present and not null, whatever its value.
    fn has(&self, name: &str) -> bool {
        self.at(name).is_some()
    }
}

impl Fields for Value {
    fn at(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| !value.is_null())
    }

    fn dig(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, name| value.at(name))
    }
}

static NULL: Value = Value::Null;

/// The field, or null: for descending without an `Option` at every step.
pub(crate) fn sub<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&NULL)
}

/// The field as an object, made if it is absent, null or of another type; `None` if the value itself is no object.
pub(crate) fn object_mut<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    let field = value.as_object_mut()?.entry(name).or_insert(Value::Null);
    if !field.is_object() {
        *field = Value::Object(Map::new());
    }
    field.as_object_mut()
}

/// The field as a value that is an object, made if need be.
pub(crate) fn struct_mut<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    object_mut(value, name)?;
    value.get_mut(name)
}

/// The items of a list, to be changed; none if it is no list.
pub(crate) fn items_mut<'a>(value: &'a mut Value, name: &str) -> &'a mut [Value] {
    value
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .map_or(&mut [], Vec::as_mut_slice)
}

/// Sets a field that is absent or null.
pub(crate) fn default(value: &mut Value, name: &str, default: impl Into<Value>) {
    if let Some(map) = value.as_object_mut()
        && map.get(name).is_none_or(Value::is_null)
    {
        map.insert(name.to_owned(), default.into());
    }
}

/// Sets a field that is absent, null or the empty string, as for types whose zero means "not said".
pub(crate) fn default_text(value: &mut Value, name: &str, text: &str) {
    if value.is_object() && value.text(name).is_empty() {
        set(value, name, text);
    }
}

/// Sets an integer field that is absent, null or zero.
pub(crate) fn default_int(value: &mut Value, name: &str, number: i64) {
    if value.is_object() && value.int(name).unwrap_or_default() == 0 {
        set(value, name, number);
    }
}

/// Sets a field.
pub(crate) fn set(value: &mut Value, name: &str, new: impl Into<Value>) {
    if let Some(map) = value.as_object_mut() {
        map.insert(name.to_owned(), new.into());
    }
}

/// Removes a field and answers what it was.
pub(crate) fn remove(value: &mut Value, name: &str) -> Option<Value> {
    value.as_object_mut().and_then(|map| map.remove(name))
}

/// Makes a field of `to` what it is in `from`, absence included.
pub(crate) fn copy(to: &mut Value, from: &Value, name: &str) {
    match from.get(name) {
        Some(value) => set(to, name, value.clone()),
        None => {
            remove(to, name);
        }
    }
}

/// Whether two values mean the same to the server: null, absent and empty are equal, at any depth.
pub(crate) fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    fn empty(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.values().all(Value::is_null),
            _ => false,
        }
    }
    match (a, b) {
        (None, None) => true,
        (Some(one), None) | (None, Some(one)) => empty(one),
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.iter().all(|(key, value)| same(Some(value), b.get(key)))
                && b.iter().all(|(key, value)| a.contains_key(key) || empty(value))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(a), Some(b)) => a == b || empty(a) && empty(b),
    }
}
