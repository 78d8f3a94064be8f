//! The sandbox from outside: one binary for all of its integration tests.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod faults;
mod kubectl;
mod replay;
mod timelines;
mod workloads;
