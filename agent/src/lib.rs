//! The node agent: what runs on each node of a pool that has no control plane, with or without Kubernetes.
//!
//! Reading order: [`config`] (the file), [`wire`] and [`metadata`] (IMDSv2), [`identity`] (who the node is), [`sign`],
//! [`xml`], [`credentials`] and [`ec2`] (the few requests to AWS), [`workload`] (start it, check its health, restart
//! it), [`drain`] (a pure state machine, and its inputs), [`presence`] and [`state_tag`] (what the node shows to
//! others), [`gossip`] (peers), [`front`] (requests), [`node`] (the loop that connects them), [`admin`] and [`command`]
//! (for users). Deciding is pure; the clock and randomness are arguments.

pub mod admin;
pub mod backoff;
mod bounded;
pub mod command;
pub mod config;
pub mod credentials;
pub mod drain;
pub mod ec2;
pub mod front;
pub mod gossip;
pub mod identity;
pub mod metadata;
pub mod node;
pub mod presence;
pub mod sign;
pub mod state_tag;
pub mod wire;
pub mod workload;
pub mod xml;
