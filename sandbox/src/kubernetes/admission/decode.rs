//! Converts what was sent to what the kind's types can hold. Wrong types are refused with the messages of the real
//! server's decoder, unknown fields are dropped and reported, and quantities and empty values take the form in which
//! the server writes them. Custom resources are decoded by their own schema; see `custom`.

use serde_json::{Map, Value};

use super::custom;
use super::errors::{Errors, Path};
use super::wire::{self, Unset};
use crate::kubernetes::registry::{Failure, FieldValidation, WriteOptions};
use crate::kubernetes::schema::quantity::Quantity;
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::schema::{Scalar, Shape, Type, builtin, versions};

/// A body that fits its kind.
pub(crate) struct Decoded {
    pub(crate) value: Value,
    pub(crate) warnings: Vec<String>,
}

/// Decodes the body of a create or an update.
pub(crate) fn decode(resource: &Resource, body: Value, options: &WriteOptions) -> Result<Decoded, Failure> {
    let (value, unknown) = read(resource, body).map_err(|why| refused(resource, &why))?;
    judge(resource, value, unknown, options)
}

/// Decodes an object after a patch.
pub(crate) fn decode_patched(
    resource: &Resource,
    _live: &Value,
    body: Value,
    options: &WriteOptions,
) -> Result<Decoded, Failure> {
    let shown = super::gojson::text(&body);
    let (value, unknown) = read(resource, body).map_err(|why| {
        let mut errors = Errors::new();
        errors.invalid(&Path::root("patch"), shown.as_str(), &why);
        Failure::invalid("", "", "", &errors.into_faults())
    })?;
    judge(resource, value, unknown, options)
}

fn refused(resource: &Resource, why: &str) -> Failure {
    let (kind, version) = (&resource.kind, &resource.gvr.version);
    Failure::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
    ))
}

fn judge(resource: &Resource, value: Value, unknown: Vec<String>, options: &WriteOptions) -> Result<Decoded, Failure> {
    let mut faults: Vec<String> = options
        .duplicates
        .iter()
        .map(|path| format!("duplicate field \"{path}\""))
        .collect();
    faults.extend(unknown);
    match options.field_validation {
        FieldValidation::Ignore => faults.clear(),
        FieldValidation::Strict if !faults.is_empty() => {
            return Err(refused(
                resource,
                &format!("strict decoding error: {}", faults.join(", ")),
            ));
        }
        FieldValidation::Strict | FieldValidation::Warn => {}
    }
    Ok(Decoded {
        value: versions::to_storage(resource, value),
        warnings: faults,
    })
}

fn read(resource: &Resource, body: Value) -> Result<(Value, Vec<String>), String> {
    let mut reader = Reader::default();
    let value = if let Some(definition) = &resource.custom {
        custom_object(&definition.validation, body, &mut reader)?
    } else {
        match resource.root() {
            Some(root) => reader
                .object(body, root, true)
                .unwrap_or_else(|| Value::Object(Map::new())),
            None if body.is_object() => body,
            None => {
                return Err(format!(
                    "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                    go_kind(&body)
                ));
            }
        }
    };
    match reader.error {
        Some(error) => Err(error),
        None => Ok((value, reader.unknown)),
    }
}

/// The metadata of a custom resource is typed, the rest is judged by its schema.
fn custom_object(schema: &Value, body: Value, reader: &mut Reader) -> Result<Value, String> {
    let Value::Object(mut body) = body else {
        return Err(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go_kind(&body)
        ));
    };
    if let Some(metadata) = body.remove("metadata") {
        let meta = builtin::schema()
            .names
            .get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let typed = meta.map(|id| builtin::schema().at(*id));
        let value = match typed {
            Some(typed) => {
                reader.steps.push(Step::Field("metadata".to_owned()));
                let value = reader.object(metadata, typed, false);
                reader.steps.pop();
                value.unwrap_or_else(|| Value::Object(Map::new()))
            }
            None => metadata,
        };
        body.insert("metadata".to_owned(), value);
    }
    let mut value = Value::Object(body);
    custom::prune::object(schema, &mut value, &mut reader.unknown);
    Ok(value)
}

#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Key(String),
    Index(usize),
}

/// Walks a value along its type.
#[derive(Default)]
struct Reader {
    steps: Vec<Step>,
    unknown: Vec<String>,
    error: Option<String>,
}

impl Reader {
    fn place(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            match step {
                Step::Field(name) | Step::Key(name) => {
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(name);
                }
                Step::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        out
    }

    /// The path of fields that the decoder names in its errors: without keys and indexes.
    fn fields(&self) -> String {
        fn name(step: &Step) -> Option<&str> {
            match step {
                Step::Field(name) => Some(name),
                Step::Key(_) | Step::Index(_) => None,
            }
        }
        self.steps.iter().filter_map(name).collect::<Vec<&str>>().join(".")
    }

    fn fail(&mut self, owner: &str, value: &Value, wanted: &str) {
        if self.error.is_none() {
            let place = self.fields();
            self.error = Some(format!(
                "json: cannot unmarshal {} into Go struct field {owner}.{place} of type {wanted}",
                go_kind(value)
            ));
        }
    }

    fn refuse(&mut self, why: String) {
        self.error.get_or_insert(why);
    }

    /// A value of a struct type; `None` for null.
    fn object(&mut self, value: Value, ty: Type<'_>, is_root: bool) -> Option<Value> {
        self.value(value, ty, "", is_root)
    }

    fn value(&mut self, value: Value, ty: Type<'_>, owner: &str, is_root: bool) -> Option<Value> {
        if value.is_null() {
            return None;
        }
        match ty.shape() {
            Shape::Struct(this) => {
                let kind = ty.short_name().to_owned();
                let Value::Object(given) = value else {
                    self.fail(owner, &value, &format!("{}.{kind}", package(ty)));
                    return None;
                };
                let mut out = Map::new();
                for (name, value) in given {
                    let Some(field) = this.fields.get(&name) else {
                        self.steps.push(Step::Field(name));
                        let place = self.place();
                        self.unknown.push(format!("unknown field \"{place}\""));
                        self.steps.pop();
                        continue;
                    };
                    let typed = ty.to(field.node);
                    self.steps.push(Step::Field(name.clone()));
                    let value = self.value(value, typed, &kind, false);
                    self.steps.pop();
                    let kept = |value: &Value| {
                        wire::keeps_zero(&kind, &name)
                            || wire::unset(&kind, &name, field.required, is_root) != Unset::Absent
                            || !is_empty(value, typed)
                    };
                    if let Some(value) = value.filter(kept) {
                        out.insert(name, value);
                    }
                }
                for (name, field) in &this.fields {
                    if out.contains_key(name) || is_root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata")
                    {
                        continue;
                    }
                    match wire::unset(&kind, name, field.required, is_root) {
                        Unset::Absent => {}
                        Unset::Null => {
                            out.insert(name.clone(), Value::Null);
                        }
                        Unset::Zero => {
                            let zero = self.zero(ty.to(field.node));
                            out.insert(name.clone(), zero);
                        }
                    }
                }
                Some(Value::Object(out))
            }
            Shape::Map { value: item, .. } => {
                let item = ty.to(*item);
                let Value::Object(given) = value else {
                    self.fail(owner, &value, &go_type(ty));
                    return None;
                };
                let mut out = Map::new();
                for (key, value) in given {
                    self.steps.push(Step::Key(key.clone()));
                    let value = self.value(value, item, owner, false);
                    self.steps.pop();
                    let value = value.unwrap_or_else(|| self.zero(item));
                    out.insert(key, value);
                }
                Some(Value::Object(out))
            }
            Shape::List { item, .. } => {
                let item = ty.to(*item);
                let Value::Array(given) = value else {
                    self.fail(owner, &value, &go_type(ty));
                    return None;
                };
                let mut out = Vec::with_capacity(given.len());
                for (index, value) in given.into_iter().enumerate() {
                    self.steps.push(Step::Index(index));
                    let value = self.value(value, item, owner, false);
                    self.steps.pop();
                    out.push(value.unwrap_or_else(|| self.zero(item)));
                }
                Some(Value::Array(out))
            }
            Shape::Scalar(scalar) => self.scalar(value, *scalar, owner),
            Shape::Any => Some(value),
        }
    }

    fn scalar(&mut self, value: Value, scalar: Scalar, owner: &str) -> Option<Value> {
        match (scalar, &value) {
            (Scalar::String, Value::String(_)) | (Scalar::Boolean, Value::Bool(_)) | (Scalar::Opaque, _) => Some(value),
            (Scalar::Number, Value::Number(_)) => Some(value),
            (Scalar::Int32 | Scalar::Int64, Value::Number(number)) => {
                let whole = number.as_i64().or_else(|| {
                    let float = number
                        .as_f64()
                        .filter(|float| float.fract() == 0.0 && float.abs() < 9e15)?;
                    Some(float as i64)
                });
                match whole {
                    Some(whole) if scalar == Scalar::Int64 || i32::try_from(whole).is_ok() => Some(whole.into()),
                    _ => {
                        self.fail(owner, &value, scalar_type(scalar));
                        None
                    }
                }
            }
            (Scalar::IntOrString, Value::String(_)) => Some(value),
            (Scalar::IntOrString, Value::Number(number))
                if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Some(value)
            }
            (Scalar::IntOrString, other) => {
                self.refuse(format!(
                    "json: cannot unmarshal {} into Go value of type int32",
                    go_kind(other)
                ));
                None
            }
            (Scalar::Quantity, Value::String(_) | Value::Number(_)) => {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), |text| text.trim().to_owned());
                match Quantity::parse(&text) {
                    Some(quantity) => Some(quantity.canonical().into()),
                    None => {
                        self.refuse(quantity_error(&text).to_owned());
                        None
                    }
                }
            }
            (Scalar::Quantity, _) => {
                self.refuse(quantity_error("x").to_owned());
                None
            }
            (Scalar::Bytes, Value::String(text)) => match base64_error(text) {
                Some(at) => {
                    self.refuse(format!("illegal base64 data at input byte {at}"));
                    None
                }
                None => Some(value),
            },
            (Scalar::Time | Scalar::MicroTime, Value::String(text)) => {
                if text.parse::<jiff::Timestamp>().is_ok() {
                    Some(time(text, scalar))
                } else {
                    let layout = if scalar == Scalar::Time {
                        "2006-01-02T15:04:05Z07:00"
                    } else {
                        "2006-01-02T15:04:05.000000Z07:00"
                    };
                    self.refuse(format!(
                        "parsing time {0} as {1}: cannot parse {0} as \"2006\"",
                        super::gojson::quote(text),
                        super::gojson::quote(layout)
                    ));
                    None
                }
            }
            (scalar, other) => {
                self.fail(owner, other, scalar_type(scalar));
                None
            }
        }
    }

    /// The empty value of a type, as it is written.
    fn zero(&mut self, ty: Type<'_>) -> Value {
        match ty.shape() {
            Shape::Struct(_) => self
                .value(Value::Object(Map::new()), ty, "", false)
                .unwrap_or(Value::Null),
            Shape::Scalar(Scalar::String) => "".into(),
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number | Scalar::IntOrString) => 0.into(),
            Shape::Scalar(Scalar::Boolean) => false.into(),
            Shape::Scalar(Scalar::Quantity) => "0".into(),
            _ => Value::Null,
        }
    }
}

/// The object that a kind's types write when nothing is set: what the server compares a new object with.
pub(crate) fn empty(resource: &Resource) -> Value {
    match (resource.is_custom(), resource.root()) {
        (false, Some(root)) => Reader::default()
            .object(Value::Object(Map::new()), root, true)
            .unwrap_or_else(|| Value::Object(Map::new())),
        _ => Value::Object(Map::new()),
    }
}

/// Whether an optional field's value is omitted. Structs stay: they are pointers that somebody has set.
fn is_empty(value: &Value, ty: Type<'_>) -> bool {
    match (ty.shape(), value) {
        (Shape::Map { .. }, Value::Object(map)) => map.is_empty(),
        (Shape::List { .. }, Value::Array(items)) => items.is_empty(),
        (Shape::Scalar(Scalar::String | Scalar::Time | Scalar::MicroTime), Value::String(text)) => text.is_empty(),
        (Shape::Scalar(Scalar::Bytes), Value::String(text)) => text.is_empty(),
        (Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number), Value::Number(number)) => {
            number.as_f64() == Some(0.0)
        }
        (Shape::Scalar(Scalar::Boolean), Value::Bool(value)) => !value,
        _ => false,
    }
}

fn time(text: &str, scalar: Scalar) -> Value {
    let Ok(at) = text.parse::<jiff::Timestamp>() else {
        return text.into();
    };
    let form = if scalar == Scalar::Time {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    };
    at.strftime(form).to_string().into()
}

fn quantity_error(text: &str) -> &'static str {
    if text.is_empty() {
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    } else if text
        .trim_start_matches(['+', '-'])
        .starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric())
    {
        "unable to parse quantity's suffix"
    } else {
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    }
}

/// Where base64 goes wrong, in bytes.
fn base64_error(text: &str) -> Option<usize> {
    use base64::Engine as _;
    let clean: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    match base64::engine::general_purpose::STANDARD.decode(&clean) {
        Ok(_) => None,
        Err(base64::DecodeError::InvalidByte(at, _)) => Some(at),
        Err(_) => Some(clean.len() - clean.len() % 4),
    }
}

/// What Go calls a JSON value in its errors.
fn go_kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if number.is_f64() || number.as_i64().is_none_or(|n| i32::try_from(n).is_err()) => {
            format!("number {number}")
        }
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

fn scalar_type(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::String | Scalar::Time | Scalar::MicroTime => "string",
        Scalar::Int32 => "int32",
        Scalar::Int64 => "int64",
        Scalar::Number => "float64",
        Scalar::Boolean => "bool",
        Scalar::Bytes => "[]uint8",
        Scalar::Quantity => "resource.Quantity",
        Scalar::IntOrString => "intstr.IntOrString",
        Scalar::Opaque => "interface {}",
    }
}

/// The Go package of a type: the version in its name.
fn package(ty: Type<'_>) -> &str {
    let name = ty.name().unwrap_or_default();
    name.rsplit('.').nth(1).unwrap_or("v1")
}

fn go_type(ty: Type<'_>) -> String {
    match ty.shape() {
        Shape::Struct(_) => format!("{}.{}", package(ty), ty.short_name()),
        Shape::Map { value, .. } => format!("map[string]{}", go_type(ty.to(*value))),
        Shape::List { item, .. } => format!("[]{}", go_type(ty.to(*item))),
        Shape::Scalar(scalar) => scalar_type(*scalar).to_owned(),
        Shape::Any => "interface {}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::schema::resources::Catalog;

    fn try_decode(storage: &str, body: Value, field_validation: FieldValidation) -> Result<Decoded, Failure> {
        let resource = Catalog::new()
            .served()
            .by_storage(storage)
            .expect("a built-in resource");
        decode(
            &resource,
            body,
            &WriteOptions {
                field_validation,
                ..WriteOptions::default()
            },
        )
    }

    #[test]
    fn wrong_types_are_refused_in_the_decoders_words() {
        for (storage, body, wanted) in [
            (
                "configmaps",
                json!({"data": {"k": 1}}),
                "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
            ),
            (
                "deployments.apps",
                json!({"spec": {"replicas": "two"}}),
                "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                "secrets",
                json!({"data": {"k": "***"}}),
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0",
            ),
            (
                "pods",
                json!({"spec": {"containers": [{"image": 5}]}}),
                "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
            ),
            (
                "pods",
                json!({"spec": {"containers": {}}}),
                "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
        ] {
            let failure = try_decode(storage, body, FieldValidation::Warn)
                .err()
                .expect("a wrong type");
            assert_eq!((failure.code, failure.message.as_str()), (400, wanted));
        }
    }

    #[test]
    fn unknown_fields_are_dropped_and_told() {
        let body = json!({"spec": {"replicaz": 1, "template": {"spec": {"containers": [{"name": "a", "imagePullPolice": "x"}]}}}});
        let wanted = [
            "unknown field \"spec.replicaz\"",
            "unknown field \"spec.template.spec.containers[0].imagePullPolice\"",
        ];
        let mut warned = try_decode("deployments.apps", body.clone(), FieldValidation::Warn)
            .expect("warned")
            .warnings;
        warned.sort();
        assert_eq!(warned, wanted);
        let strict = try_decode("deployments.apps", body.clone(), FieldValidation::Strict)
            .err()
            .expect("refused");
        assert!(
            strict.message.contains("strict decoding error: unknown field"),
            "{}",
            strict.message
        );
        let quiet = try_decode("deployments.apps", body, FieldValidation::Ignore).expect("ignored");
        assert!(quiet.warnings.is_empty() && quiet.value["spec"].get("replicaz").is_none());
    }

    #[test]
    fn empty_values_are_written_as_the_servers_types_write_them() {
        let body = json!({
            "metadata": {"name": "w", "labels": {}, "annotations": null},
            "spec": {"replicas": 0, "paused": false, "selector": {}, "template": {"spec": {"hostNetwork": false, "containers": [
                {"name": "a", "stdin": false, "resources": {"limits": {"cpu": "1000m", "memory": 1024}},
                 "securityContext": {"privileged": false}}]}}},
        });
        let value = try_decode("deployments.apps", body, FieldValidation::Strict)
            .expect("fits")
            .value;
        assert_eq!(value["metadata"], json!({"name": "w"}));
        assert_eq!(
            value["spec"],
            json!({"replicas": 0, "selector": {}, "strategy": {}, "template": {"metadata": {}, "spec": {"containers": [
                {"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1024"}}, "securityContext": {"privileged": false}}]}}})
        );
        assert_eq!(value["status"], json!({}));
        let map = try_decode("configmaps", json!({"data": {"k": null}}), FieldValidation::Strict)
            .expect("fits")
            .value;
        assert_eq!(map["data"], json!({"k": ""}));
    }

    #[test]
    fn the_empty_event_has_the_fields_that_are_never_left_out() {
        let event = Catalog::new().served().get("", "v1", "events").expect("events");
        assert_eq!(
            empty(&event),
            json!({"involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null, "eventTime": null,
                "reportingComponent": "", "reportingInstance": ""})
        );
    }
}
