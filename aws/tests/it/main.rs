//! The cloud port over HTTP: each request against the sandbox's EC2 and, where it gets them right, against moto; the engine's fleet
//! through it from create to destroy; and the policies of `infra/`, enforced meanwhile.

mod agents;
mod conversation;
mod fleet;
mod hooks;
mod moto;
mod nodes;
mod port;
mod rights;
mod tokens;
mod world;
