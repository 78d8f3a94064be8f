//! A peer as the rest of the agent sees it.

use crate::presence::Presence;
use serde::Serialize;
use std::net::IpAddr;

/// Another node of the same cluster and role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Instance id.
    pub instance: String,
    /// Private address.
    pub address: IpAddr,
    /// Port of its front; 0 when it has none.
    pub port: u16,
    /// Its presence.
    pub presence: Presence,
}

impl Peer {
    /// Whether requests may be passed to it.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        self.presence == Presence::Ready && self.port != 0
    }
}
