//! Errors of the SDK → the port's errors. Request bodies and raw answers never get into a message.

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use myelin_engine::cloud::{CloudError, Kind};
use std::error::Error;

/// An error of one operation.
pub(crate) fn fail<E, R>(operation: &'static str, error: &SdkError<E, R>) -> CloudError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let error = answer.err();
            let message = error.message().unwrap_or("no message came with it");
            CloudError::answered(operation, error.code().unwrap_or_default(), message)
        }
        SdkError::ConstructionFailure(_) => CloudError::new(operation, Kind::Invalid, "", chain(error)),
        // Without credentials nothing was sent, and a retry is useless.
        _ if chain(error).contains("credential") => CloudError::new(operation, Kind::Denied, "", chain(error)),
        // No connection, no answer, an incomplete answer, or none in time: it may have taken effect.
        _ => CloudError::new(operation, Kind::Lost, "", chain(error)),
    }
}

/// The chain of causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
