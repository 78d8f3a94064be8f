//! The cloud port over HTTP: each request against the sandbox's EC2 and, where moto gets it right, against moto; the
//! engine's fleet through the port from create to destroy; and the policies of `infra/`, enforced throughout.

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
