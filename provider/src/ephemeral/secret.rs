//! `myelin_secret`: one key of a Kubernetes Secret, for another provider's configuration. It mints nothing and changes nothing.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use myelin_engine::observe::read_value;

use super::Ephemeral;
use crate::cluster::Absent;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::Call;
use crate::schema::{Attribute, Rule, Schema};
use crate::value::{Path, Type, Value};

/// The ephemeral resource type.
#[derive(Debug)]
pub struct SecretValue {
    schema: Schema,
}

impl Default for SecretValue {
    fn default() -> SecretValue {
        SecretValue { schema: schema() }
    }
}

fn schema() -> Schema {
    Schema {
        version: 0,
        description: "One key of a Kubernetes Secret, for the configuration of another provider or a write-only \
                      attribute. The value exists only in Terraform's memory: it is in no plan, no state and no \
                      log.\n\nIt is read whenever Terraform needs it, also while planning, and nothing is ever minted \
                      for it. A Secret that the same configuration fills is read after that if `after` says so. Needs \
                      Terraform 1.10 or OpenTofu 1.11.",
        attributes: vec![
            Attribute::required("namespace", Type::String, "Namespace of the Secret.").rule(Rule::NotEmpty),
            Attribute::required("name", Type::String, "Name of the Secret.").rule(Rule::NotEmpty),
            Attribute::required("key", Type::String, "Key of its data.").rule(Rule::NotEmpty),
            Attribute::optional(
                "after",
                Type::String,
                "Anything that is known only once the Secret exists, for example the `secret_uid` of the \
                 `myelin_provisioning_token` that fills it: Terraform waits for it. `depends_on` alone does not make \
                 it wait while planning.",
            ),
            Attribute::computed("value", Type::String, "The value as text; null if it is not UTF-8.").sensitive(),
            Attribute::computed("value_base64", Type::String, "The value in base64.").sensitive(),
        ],
    }
}

impl Ephemeral for SecretValue {
    fn type_name(&self) -> &'static str {
        "myelin_secret"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn open<'a>(&'a self, call: &'a Call, config: Value) -> BoxFuture<'a, Result<Value, Diagnostics>> {
        open(call, config).boxed()
    }
}

async fn open(call: &Call, config: Value) -> Result<Value, Diagnostics> {
    let text = |name: &str| config.attribute(name).as_str().unwrap_or_default().to_owned();
    let (namespace, name, key) = (text("namespace"), text("name"), text("key"));
    let cluster = call
        .access
        .cluster()
        .await
        .map_err(|absent: Absent| Diagnostics::from(absent.error()))?;
    let read = tokio::select! {
        read = read_value(&*cluster, &namespace, &name, &key) => read,
        () = call.cancel.cancelled() => {
            return Err(Diagnostic::error("Reading the Secret was interrupted", "Nothing was changed.").into());
        }
    };
    let place = format!("key {key} of Secret {namespace}/{name}");
    let value = read.map_err(|error| {
        let fix = if error.is_denied() {
            format!("\n\nAllow get of secrets in namespace {namespace}.")
        } else {
            String::new()
        };
        Diagnostics::from(Diagnostic::error(
            format!("The {place} could not be read"),
            format!("{error}{fix}"),
        ))
    })?;
    let Some(value) = value else {
        return Err(Diagnostic::error(
            format!("There is no {place}"),
            "The Secret or the key is absent, or it is empty. If a resource of this configuration makes it, set after to \
             what is only known once it did, such as the secret_uid of a myelin_provisioning_token: then it is read after \
             that.",
        )
        .at(Path::attribute("key"))
        .into());
    };
    let plain = std::str::from_utf8(value.expose()).ok();
    let mut result = config.as_map().cloned().unwrap_or_default();
    result.insert("value".to_owned(), plain.map_or(Value::Null, Value::string));
    result.insert(
        "value_base64".to_owned(),
        Value::string(BASE64_STANDARD.encode(value.expose())),
    );
    Ok(Value::Map(result))
}
