//! The subcommands, one file each, and their exit codes.

pub(crate) mod apply;
pub(crate) mod control;
pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod hand_over;
mod keys;
mod local;
pub(crate) mod plan;
pub(crate) mod render;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod validate;
pub(crate) mod wait;
pub(crate) mod why;

/// Exit codes, as documented in the reference.
pub(crate) mod exit {
    /// Done; for a plan: nothing to change.
    pub(crate) const OK: u8 = 0;
    /// It failed.
    pub(crate) const FAILED: u8 = 1;
    /// A plan found changes (as `terraform plan -detailed-exitcode` and `kubectl diff` tell apart).
    pub(crate) const CHANGES: u8 = 2;
}
