//! Between the protocol's values and ours.

use myelin_proto::tfplugin6 as tf;

use crate::diagnostic::Diagnostic;
use crate::schema::{IdentitySchema, Schema};
use crate::value::{Attributes, Type, Value, decode_json, decode_msgpack, encode_msgpack};

/// Reads a value of that type; an absent value is null. `what` names it in messages.
///
/// # Errors
/// The diagnostic that says what is wrong with it.
pub(super) fn decode(ty: &Type, value: Option<&tf::DynamicValue>, what: &str) -> Result<Value, Diagnostic> {
    let decoded = match value {
        None => return Ok(Value::Null),
        Some(value) if !value.msgpack.is_empty() => decode_msgpack(ty, &value.msgpack),
        Some(value) if !value.json.is_empty() => decode_json(ty, &value.json, Attributes::Exact),
        Some(_) => return Ok(Value::Null),
    };
    decoded.map_err(|error| {
        Diagnostic::error(
            format!("The {what} that Terraform sent cannot be read"),
            format!(
                "{error}. The provider that made it and the one that reads it may be of different versions: run \
                 `terraform init -upgrade`, and report it if that does not help."
            ),
        )
    })
}

/// Reads an identity; an absent one is none.
///
/// # Errors
/// The diagnostic that says what is wrong with it.
pub(super) fn decode_identity(
    schema: &IdentitySchema,
    identity: Option<&tf::ResourceIdentityData>,
) -> Result<Option<Value>, Diagnostic> {
    let value = identity.and_then(|identity| identity.identity_data.as_ref());
    decode(&schema.ty(), value, "identity").map(|value| (!value.is_null()).then_some(value))
}

/// Reads stored state that any earlier version of the schema may have written.
///
/// # Errors
/// The diagnostic that says what is wrong with it.
pub(super) fn decode_stored(schema: &Schema, version: i64, raw: Option<&tf::RawState>) -> Result<Value, Diagnostic> {
    if version > schema.version {
        return Err(Diagnostic::error(
            "The state was written by a newer version of the provider",
            format!(
                "Its schema version is {version}, this provider knows {}. Upgrade the provider with `terraform init \
                 -upgrade`.",
                schema.version
            ),
        ));
    }
    let raw = raw.filter(|raw| !raw.json.is_empty()).ok_or_else(|| {
        Diagnostic::error(
            "The state cannot be read",
            "It is not JSON: Terraform 0.12 or later must have written it.",
        )
    })?;
    let state = decode_json(&schema.ty(), &raw.json, Attributes::Lenient)
        .map_err(|error| Diagnostic::error("The state cannot be read", format!("{error}.")))?;
    Ok(schema.without_write_only(&state))
}

/// The protocol's form of a value.
pub(super) fn encode(value: &Value) -> Option<tf::DynamicValue> {
    Some(tf::DynamicValue {
        msgpack: encode_msgpack(value),
        json: Vec::new(),
    })
}

/// The protocol's form of an identity.
pub(super) fn encode_identity(identity: Option<&Value>) -> Option<tf::ResourceIdentityData> {
    identity.map(|identity| tf::ResourceIdentityData {
        identity_data: encode(identity),
    })
}
