//! Integration tests of the engine, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop where it is, and says what it skips"
)]

mod beside_kubectl;
mod faults;
mod fleet;
mod fleet_agent;
mod fleet_cloud;
mod kustomize_cases;
mod leaving;
mod lone_tokens;
mod promises;
mod render_hostile;
mod replacement;
mod stacks;
mod stage;
mod systems;
mod timelines;
mod tokens;
mod way_back;
mod workloads;
mod world;
