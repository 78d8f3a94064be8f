//! Peers: how nodes find each other and what they exchange.
//!
//! [`key`] (the cluster key), [`seal`] (packets that a stranger can neither read nor forge nor replay), [`member`] and
//! [`codec`] (a peer's identity, and its wire form), `heard` (updates that were received already), [`membership`] (SWIM
//! and what surrounds it, without I/O), [`seeds`] (when EC2 is queried), [`net`] (the socket and the clock), [`peer`]
//! (a peer as the rest of the agent sees it).

pub mod codec;
mod greetings;
mod heard;
pub mod key;
mod lists;
pub mod member;
pub mod membership;
pub mod net;
pub mod peer;
pub mod seal;
pub mod seeds;
mod swim;
