//! The front: requests pass to the local workload, and to a healthy peer while the local one cannot take them.
//!
//! [`rules`] (what may be repeated, which headers stay; pure), [`choose`] (where a request goes; pure), [`body`] (bodies that can be
//! sent again, and bodies that cannot), [`pool`] (connections), `places` (what a request holds), [`forward`] (one request), [`serve`]
//! (the listener and its limits), [`stall`] (clients that are too slow), [`counters`]. There is no retry of what may have had an effect, and no state about a
//! client beyond its connection. Upgrades (WebSocket) are not passed.

pub mod body;
pub mod choose;
pub mod counters;
pub mod forward;
mod places;
pub mod pool;
pub mod rules;
pub mod serve;
pub mod stall;
