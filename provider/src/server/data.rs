//! The lifecycle of a data source: validate and read.

use myelin_proto::tfplugin6 as tf;

use crate::data::DataSource;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::Call;
use crate::schema::check_configuration;

use super::translate::{decode, encode};

pub(super) fn validate(
    source: &dyn DataSource,
    request: &tf::validate_data_resource_config::Request,
) -> Result<Diagnostics, Diagnostic> {
    let schema = source.schema();
    let config = decode(&schema.ty(), request.config.as_ref(), "configuration")?;
    let mut problems = check_configuration(schema, &config);
    if !problems.has_errors() {
        problems.extend(source.validate(&config));
    }
    Ok(problems)
}

pub(super) async fn read(
    source: &dyn DataSource,
    call: &Call,
    request: tf::read_data_source::Request,
) -> Result<tf::read_data_source::Response, Diagnostic> {
    let config = decode(&source.schema().ty(), request.config.as_ref(), "configuration")?;
    Ok(match source.read(call, config).await {
        Ok(state) => tf::read_data_source::Response {
            state: encode(&state),
            ..Default::default()
        },
        Err(problems) => tf::read_data_source::Response {
            diagnostics: problems.to_wire(),
            ..Default::default()
        },
    })
}
