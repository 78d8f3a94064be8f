//! The provider as a process: driven by our own implementation of a core, and by the real `terraform`.

// An unwrap in a test is its failure; clippy's own exception ends at functions without #[test].
#![allow(clippy::unwrap_used)]

mod cluster;
mod core;
mod crash;
mod examples;
mod lifecycle;
mod moved;
mod newer;
mod others;
mod pool_faults;
mod pools;
mod protocol;
mod reference;
mod release;
mod same_plan;
mod several;
mod stack;
mod stand;
mod synapse;
mod terraform;
mod token;
mod workload;
