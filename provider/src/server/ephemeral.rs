//! The lifecycle of an ephemeral resource: validate, open, and forget. There is nothing to renew and nothing to close:
//! only Terraform holds a value that was read.

use myelin_proto::tfplugin6 as tf;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::ephemeral::Ephemeral;
use crate::resource::Call;
use crate::schema::check_configuration;

use super::translate::{decode, encode};

pub(super) fn validate(
    ephemeral: &dyn Ephemeral,
    request: &tf::validate_ephemeral_resource_config::Request,
) -> Result<Diagnostics, Diagnostic> {
    let schema = ephemeral.schema();
    let config = decode(&schema.ty(), request.config.as_ref(), "configuration")?;
    Ok(check_configuration(schema, &config))
}

pub(super) async fn open(
    ephemeral: &dyn Ephemeral,
    call: &Call,
    request: tf::open_ephemeral_resource::Request,
) -> Result<tf::open_ephemeral_resource::Response, Diagnostic> {
    let config = decode(&ephemeral.schema().ty(), request.config.as_ref(), "configuration")?;
    if !config.is_wholly_known() {
        return Err(Diagnostic::error(
            format!("{} was opened too early", ephemeral.type_name()),
            "Terraform opens an ephemeral resource once its configuration is known; this one is not. This is a problem of \
             Terraform, not of the configuration.",
        ));
    }
    Ok(match ephemeral.open(call, config).await {
        Ok(result) => tf::open_ephemeral_resource::Response {
            result: encode(&result),
            ..Default::default()
        },
        Err(problems) => tf::open_ephemeral_resource::Response {
            diagnostics: problems.to_wire(),
            ..Default::default()
        },
    })
}
