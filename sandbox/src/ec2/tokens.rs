//! Client tokens, exactly: the same token and the same request give the same answer; the same token and another request are a
//! mismatch; a token whose instances are all terminated cannot be used again. Tokens are scoped to the zone of a request that
//! names one, and to the region otherwise: the same token in another zone launches again.

use std::collections::BTreeMap;

use super::error::Ec2Error;

/// What a token stands for.
#[derive(Debug, Clone)]
struct Used {
    fingerprint: String,
    ids: Vec<String>,
}

/// All tokens that were used, by operation, scope and token.
#[derive(Debug, Default)]
pub(crate) struct Tokens(BTreeMap<(&'static str, String, String), Used>);

impl Tokens {
    /// The ids that a request with this token made before; None when the token is new or empty.
    ///
    /// # Errors
    /// When the token was used for another request, or is longer than 64 ASCII characters.
    pub(crate) fn look(
        &self,
        operation: &'static str,
        scope: &str,
        token: &str,
        fingerprint: &str,
    ) -> Result<Option<Vec<String>>, Ec2Error> {
        if token.len() > 64 || !token.is_ascii() {
            return Err(Ec2Error::invalid(
                "The client token must be at most 64 ASCII characters",
            ));
        }
        match self.0.get(&(operation, scope.to_owned(), token.to_owned())) {
            _ if token.is_empty() => Ok(None),
            None => Ok(None),
            Some(used) if used.fingerprint == fingerprint => Ok(Some(used.ids.clone())),
            Some(_) => Err(Ec2Error::new(
                "IdempotentParameterMismatch",
                "The request uses the same client token as a previous, but non-identical request.",
            )),
        }
    }

    /// Remembers what a request with this token made.
    pub(crate) fn remember(
        &mut self,
        operation: &'static str,
        scope: &str,
        token: &str,
        fingerprint: String,
        ids: Vec<String>,
    ) {
        if !token.is_empty() {
            self.0.insert(
                (operation, scope.to_owned(), token.to_owned()),
                Used { fingerprint, ids },
            );
        }
    }
}

/// The error of a token whose instances are all terminated.
pub(crate) fn terminated(token: &str) -> Ec2Error {
    Ec2Error::new(
        "IdempotentInstanceTerminated",
        format!("The instances that were launched with the client token '{token}' are terminated; use another token."),
    )
}
