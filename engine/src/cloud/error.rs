//! Errors of a request to the cloud, classified by what the engine does next.

/// The class of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No capacity, or a quota: repeating the request is useless, but the next offering may work.
    /// `InsufficientInstanceCapacity` comes with HTTP 500 and belongs here.
    Capacity,
    /// Too many requests: the same request succeeds later. Had no effect.
    Throttled,
    /// The credentials may not do this. Had no effect.
    Denied,
    /// The request is wrong and stays wrong. Had no effect.
    Invalid,
    /// What the request names does not exist, or is not visible yet.
    NotFound,
    /// The client token was used with another request (`IdempotentParameterMismatch`).
    TokenMismatch,
    /// The client token belongs to instances that have ended (`IdempotentInstanceTerminated`).
    TokenSpent,
    /// No answer: whether the request took effect is not known.
    Lost,
    /// Anything else, server faults included. Whether the request took effect is not known.
    Other,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {}{message}", if code.is_empty() { String::new() } else { format!("{code}: ") })]
pub struct CloudError {
    /// The operation as the cloud calls it, `CreateFleet`.
    pub operation: &'static str,
    /// The class.
    pub kind: Kind,
    /// The cloud's error code; empty where no answer came.
    pub code: String,
    /// The cloud's message, or what broke. Holds nothing of the request's user data.
    pub message: String,
}

impl CloudError {
    /// An error with its kind.
    #[must_use]
    pub fn new(operation: &'static str, kind: Kind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            operation,
            kind,
            code: code.into(),
            message: message.into(),
        }
    }

    /// From an error answer of EC2 or SSM; the code determines the kind.
    #[must_use]
    pub fn answered(operation: &'static str, code: impl Into<String>, message: impl Into<String>) -> Self {
        let code = code.into();
        let kind = kind_of(&code);
        Self::new(operation, kind, code, message)
    }

    /// Whether repeating exactly the same request may succeed, if the request is idempotent.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Throttled | Kind::Lost | Kind::Other)
    }
}

/// The kind of an error code of EC2 or SSM (EC2 API reference, "error codes").
#[must_use]
pub fn kind_of(code: &str) -> Kind {
    match code {
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "InsufficientAddressCapacity"
        | "InsufficientVolumeCapacity"
        | "ReservationCapacityExceeded"
        | "UnfulfillableCapacity"
        | "Unsupported"
        | "InstanceLimitExceeded"
        | "VcpuLimitExceeded"
        | "MaxSpotInstanceCountExceeded"
        | "MaxSpotFleetRequestCountExceeded"
        | "MaxFleetCountExceeded"
        | "SpotMaxPriceTooLow" => Kind::Capacity,
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "EC2ThrottledException"
        | "SlowDown" => Kind::Throttled,
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "AuthFailure.ServiceLinkedRoleCreationNotPermitted"
        | "OptInRequired"
        | "Blocked"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Kind::Denied,
        "IdempotentParameterMismatch" | "IdempotentParameterMismatchException" => Kind::TokenMismatch,
        "IdempotentInstanceTerminated" => Kind::TokenSpent,
        "InternalError" | "InternalFailure" | "InternalServerError" | "ServiceUnavailable" | "Unavailable" => {
            Kind::Other
        }
        "ParameterNotFound" | "ParameterVersionNotFound" | "InvocationDoesNotExist" => Kind::NotFound,
        _ if code.ends_with(".NotFound") || code.ends_with(".NotFoundException") => Kind::NotFound,
        _ if code.starts_with("Invalid") || code.starts_with("Missing") || code.ends_with("LimitExceeded") => {
            Kind::Invalid
        }
        "OperationNotPermitted"
        | "UnsupportedOperation"
        | "UnknownParameter"
        | "ValidationError"
        | "ValidationException"
        | "DependencyViolation"
        | "MalformedQueryString" => Kind::Invalid,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_decides_what_happens_next() {
        for (code, kind, transient) in [
            ("InsufficientInstanceCapacity", Kind::Capacity, false),
            ("VcpuLimitExceeded", Kind::Capacity, false),
            ("RequestLimitExceeded", Kind::Throttled, true),
            ("UnauthorizedOperation", Kind::Denied, false),
            ("IdempotentParameterMismatch", Kind::TokenMismatch, false),
            ("IdempotentInstanceTerminated", Kind::TokenSpent, false),
            ("InvalidInstanceID.NotFound", Kind::NotFound, false),
            ("InvalidParameterValue", Kind::Invalid, false),
            ("TagLimitExceeded", Kind::Invalid, false),
            ("InternalError", Kind::Other, true),
            ("SomethingNew", Kind::Other, true),
        ] {
            let error = CloudError::answered("X", code, "m");
            assert_eq!((error.kind, error.is_transient()), (kind, transient), "{code}");
        }
    }
}
