//! Peers: how they find each other and what they tell each other.
//!
//! [`key`] (the cluster key), [`seal`] (packets that a stranger can neither read, make nor play again), [`member`] and [`codec`] (who
//! a peer is, on the wire), `swim` (its settings), `greetings` (who was asked to answer), `lists` (all members, or one word for all),
//! `heard` (what need not be heard again), [`membership`] (SWIM and what surrounds it, without I/O), [`seeds`] (when EC2 is asked),
//! [`net`] (the socket and the clock), [`peer`] (a peer as the rest of the agent sees it).

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
