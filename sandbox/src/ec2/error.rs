//! Errors as EC2 answers them: a code, a message and an HTTP status.

use super::xml::escape;

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Error {
    /// HTTP status.
    pub status: u16,
    /// The code that clients decide by.
    pub code: String,
    /// The message for people.
    pub message: String,
}

impl Ec2Error {
    /// A client error (HTTP 400).
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: code.into(),
            message: message.into(),
        }
    }

    /// With another HTTP status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// A parameter's value cannot be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    /// A parameter is missing.
    pub fn missing(parameter: &str) -> Self {
        Self::new(
            "MissingParameter",
            format!("The request must contain the parameter {parameter}"),
        )
    }

    /// Instances that do not exist.
    pub fn no_instances(ids: &[String]) -> Self {
        let message = match ids {
            [one] => format!("The instance ID '{one}' does not exist"),
            many => format!("The instance IDs '{}' do not exist", many.join(", ")),
        };
        Self::new("InvalidInstanceID.NotFound", message)
    }

    /// No capacity: an HTTP 500, which is why a client must not take the status for its guide.
    pub fn no_capacity(instance_type: &str, zone: &str) -> Self {
        Self::new(
            "InsufficientInstanceCapacity",
            format!("We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested ({zone})."),
        )
        .status(500)
    }

    /// The request rate is over the limit.
    pub fn throttled() -> Self {
        Self::new("RequestLimitExceeded", "Request limit exceeded.").status(503)
    }

    /// The body of the answer.
    pub fn body(&self, request_id: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors><RequestID>{request_id}</RequestID></Response>",
            escape(&self.code),
            escape(&self.message)
        )
    }
}
