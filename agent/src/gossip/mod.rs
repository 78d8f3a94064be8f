//! Peers: how they find each other and what they tell each other.

pub mod peer;
