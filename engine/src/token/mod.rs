//! Provisioning tokens: one-time secrets that are minted once, stored once, and shown nowhere.
//!
//! These are the pure parts: the value in memory, its issuers, the rule that extracts it, and the decision what to do.
//! The executor of `apply` writes the record, runs a tool in a pod and stores the Secret.

mod decide;
mod extract;
mod issue;
mod shape;
mod tool_error;
mod value;

pub use decide::{
    ADOPTED, Entry, Revoke, Seen, State, Step, Stored, Terms, Why, decide, keepers_mark, mint_annotation,
};
pub use extract::{DEFAULT_MAX_LENGTH, Extract};
pub use issue::{Encoding, Randomness, random_bytes, random_characters, signing_key};
pub use shape::shape;
pub use tool_error::first_error_line;
pub use value::SecretValue;
