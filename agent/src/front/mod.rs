//! The front: a proxy that forwards requests to the local workload, and to a healthy peer while the local one cannot
//! take them.
//!
//! [`rules`] (what may be repeated, which headers stay; pure), [`choose`] (where a request goes; pure), [`body`]
//! (bodies that can be sent again, and bodies that cannot), [`pool`] (connections), [`forward`] (one request),
//! [`serve`] (the listener and its limits), [`stall`] (clients that do not read), [`counters`]. A request that may have
//! had an effect is never retried, and there is no state about a client beyond its connection. Upgrades (WebSocket) are
//! not supported.

pub mod body;
pub mod choose;
pub mod counters;
pub mod forward;
mod places;
pub mod pool;
pub mod rules;
pub mod serve;
pub mod stall;
