//! The front: requests pass to the local workload, and to a healthy peer while the local one cannot take them.

pub mod counters;
