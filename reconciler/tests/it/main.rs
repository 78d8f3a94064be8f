//! Integration tests of the `myelin` command, in one binary: the real program, real git repositories, the sandbox.
#![allow(clippy::unwrap_used, reason = "a test may stop where it is")]

mod advisories;
mod apart;
mod branches;
mod deploys;
mod drift;
mod errors;
mod examples;
mod hooks;
mod house;
mod https;
mod identities;
mod install;
mod kills;
mod kills_in_mint;
mod kms;
mod mistakes;
mod page;
mod people;
mod pools;
mod renamed;
mod replicas;
mod sealed;
mod sealing;
mod signed;
mod ssh;
mod steady;
mod tokens;
mod traces;
