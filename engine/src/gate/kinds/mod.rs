//! One rule for each kind with a meaningful state; `custom` for all that are not built in.

pub(super) mod autoscaler;
pub(super) mod claim;
pub(super) mod custom;
pub(super) mod daemonset;
pub(super) mod definition;
pub(super) mod deletion;
pub(super) mod deployment;
pub(super) mod job;
pub(super) mod network;
pub(super) mod pod;
pub(super) mod replicaset;
pub(super) mod statefulset;
