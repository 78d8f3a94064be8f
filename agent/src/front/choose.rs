//! Chooses where a request goes. Pure; randomness is an argument.
//!
//! The choice is the local workload if it takes work and has room, and otherwise the healthy peer with the fewest
//! requests from this node. A request that a peer passed here is served here or refused, so that nothing goes in
//! circles.

use crate::gossip::peer::Peer;
use crate::presence::Presence;
use std::net::SocketAddr;

/// A target for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The workload on this machine.
    Local,
    /// A peer's front.
    Peer {
        /// Instance id.
        instance: String,
        /// Its front.
        address: SocketAddr,
    },
}

/// What is known when a target is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// This node's presence.
    pub presence: Presence,
    /// Whether the local workload has room for one more.
    pub has_room: bool,
    /// Whether a peer passed the request here.
    pub passed: bool,
    /// Targets that were tried already.
    pub tried: &'a [Target],
    /// The peers.
    pub peers: &'a [Peer],
}

/// Chooses; None if no target can take it. `outstanding` is how many requests of ours a peer has, `ejected` whether it
/// failed recently.
#[must_use]
pub fn choose(
    known: &Known<'_>,
    outstanding: impl Fn(&Peer) -> u32,
    ejected: impl Fn(&Peer) -> bool,
    chance: f64,
) -> Option<Target> {
    let untried = !known.tried.contains(&Target::Local);
    if untried && known.presence == Presence::Ready && known.has_room {
        return Some(Target::Local);
    }
    if !known.passed
        && let Some(peer) = best(known, outstanding, ejected, chance)
    {
        return Some(peer);
    }
    // It should take no new work, but it can, and no other node does.
    (untried && known.presence == Presence::Cordoned && known.has_room && !known.passed).then_some(Target::Local)
}

fn target(peer: &Peer) -> Target {
    Target::Peer {
        instance: peer.instance.clone(),
        address: SocketAddr::new(peer.address, peer.port),
    }
}

fn best(
    known: &Known<'_>,
    outstanding: impl Fn(&Peer) -> u32,
    ejected: impl Fn(&Peer) -> bool,
    chance: f64,
) -> Option<Target> {
    let tried = |peer: &&Peer| {
        known
            .tried
            .iter()
            .any(|t| matches!(t, Target::Peer { instance, .. } if *instance == peer.instance))
    };
    let scored: Vec<((bool, u32), &Peer)> = known
        .peers
        .iter()
        .filter(|p| p.takes_work() && !tried(p))
        // A peer that failed recently is the last resort.
        .map(|p| ((ejected(p), outstanding(p)), p))
        .collect();
    let least = scored.iter().map(|(score, _)| *score).min()?;
    let equal: Vec<&Peer> = scored
        .iter()
        .filter(|(score, _)| *score == least)
        .map(|(_, p)| *p)
        .collect();
    // Equal candidates are chosen at random: a fixed order would send all nodes to the same peer.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a short list"
    )]
    let at = ((equal.len() as f64 * chance.clamp(0.0, 1.0)) as usize).min(equal.len() - 1);
    Some(target(equal[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8, presence: Presence) -> Peer {
        Peer {
            instance: format!("i-{n}"),
            address: [10, 0, 0, n].into(),
            port: 80,
            presence,
        }
    }

    fn name(target: Option<Target>) -> String {
        match target {
            None => "nobody".into(),
            Some(Target::Local) => "local".into(),
            Some(Target::Peer { instance, .. }) => instance,
        }
    }

    #[test]
    fn requests_go_to_the_local_workload_then_to_the_idlest_healthy_peer_and_never_twice() {
        let peers = [
            peer(1, Presence::Ready),
            peer(2, Presence::Ready),
            peer(3, Presence::Draining),
            peer(4, Presence::Ready),
        ];
        let load = |p: &Peer| if p.instance == "i-1" { 5 } else { 1 };
        type Case = (Presence, bool, bool, &'static [u8], f64, &'static str);
        let cases: [Case; 11] = [
            (Presence::Ready, true, false, &[], 0.0, "local"),
            (Presence::Ready, false, false, &[], 0.0, "i-2"),
            (Presence::Ready, false, false, &[], 0.99, "i-4"),
            (Presence::Ready, true, false, &[0], 1.0, "i-4"),
            (Presence::Starting, true, false, &[], 0.0, "i-2"),
            (Presence::Sick, true, false, &[2, 4], 0.0, "i-1"),
            (Presence::Draining, true, false, &[1, 2, 4], 0.0, "nobody"),
            (Presence::Cordoned, true, false, &[], 0.0, "i-2"),
            (Presence::Cordoned, true, false, &[1, 2, 4], 0.0, "local"),
            (Presence::Ready, true, true, &[], 0.0, "local"),
            (Presence::Draining, true, true, &[], 0.0, "nobody"),
        ];
        for (presence, has_room, passed, tried, chance, expected) in cases {
            let tried: Vec<Target> = tried
                .iter()
                .map(|n| {
                    if *n == 0 {
                        Target::Local
                    } else {
                        target(&peer(*n, Presence::Ready))
                    }
                })
                .collect();
            let known = Known {
                presence,
                has_room,
                passed,
                tried: &tried,
                peers: &peers,
            };
            let chosen = name(choose(&known, load, |_| false, chance));
            assert_eq!(
                chosen, expected,
                "{presence:?} room {has_room} passed {passed} tried {tried:?}"
            );
        }
    }

    #[test]
    fn a_peer_that_failed_just_now_is_the_last_resort() {
        let peers = [peer(1, Presence::Ready), peer(2, Presence::Ready)];
        let known = Known {
            presence: Presence::Sick,
            has_room: true,
            passed: false,
            tried: &[],
            peers: &peers,
        };
        let load = |p: &Peer| if p.instance == "i-2" { 9 } else { 0 };
        assert_eq!(name(choose(&known, load, |p| p.instance == "i-1", 0.0)), "i-2");
        assert_eq!(name(choose(&known, load, |_| true, 0.0)), "i-1");
    }
}
