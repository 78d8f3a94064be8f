//! A member as gossip knows it. What changes about a node (its presence, its session) is part of who it is: a newer one replaces the
//! older at the same name, and so travels as fast and as surely as membership itself.

use super::peer::Peer;
use super::seal::Session;
use crate::presence::Presence;
use std::net::SocketAddr;

/// Longest name. Instance ids have 19 characters.
const NAME: usize = 32;

/// An instance id, held in place: members are copied all the time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    length: u8,
    bytes: [u8; NAME],
}

impl Name {
    /// Of a text of letters, digits and hyphens.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Self::of(text.as_bytes())
    }

    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= NAME;
        if !fits || !text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') {
            return None;
        }
        let mut bytes = [0; NAME];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self {
            length: u8::try_from(text.len()).ok()?,
            bytes,
        })
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// A member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberId {
    /// Instance id.
    pub name: Name,
    /// Where its gossip listens.
    pub address: SocketAddr,
    /// Port of its front; 0 when it has none.
    pub port: u16,
    /// Orders the runs of the agent on one instance: milliseconds of the wall clock when it started, moved up when it must win.
    pub boot: u64,
    /// Orders what one run says of itself.
    pub version: u32,
    /// How often it had to move up.
    pub renewals: u8,
    /// Its session.
    pub session: Session,
    /// What it is.
    pub presence: Presence,
}

impl MemberId {
    /// As the rest of the agent sees it.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer {
            instance: self.name.text().to_owned(),
            address: self.address.ip(),
            port: self.port,
            presence: self.presence,
        }
    }

    /// The next that this run says of itself.
    #[must_use]
    pub fn with(self, presence: Presence) -> Self {
        Self {
            presence,
            version: self.version.saturating_add(1),
            ..self
        }
    }
}

impl foca::Identity for MemberId {
    type Addr = Name;

    /// After it was called down. Where an earlier run was started by a clock that was ahead, each step is twice as long as the one
    /// before, so that even a year is made up for in minutes.
    fn renew(&self) -> Option<Self> {
        Some(Self {
            boot: self.boot.saturating_add(1 << (10 + u32::from(self.renewals.min(30)))),
            renewals: self.renewals.saturating_add(1),
            ..*self
        })
    }

    fn addr(&self) -> Name {
        self.name
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.boot, self.version) > (adversary.boot, adversary.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    #[test]
    fn a_newer_run_and_a_newer_word_win_and_renewing_makes_up_for_a_clock_that_was_ahead() {
        let old = MemberId {
            name: Name::new("i-1").expect("a name"),
            address: "10.0.0.1:1".parse().expect("an address"),
            port: 0,
            boot: 31_536_000_000,
            version: 7,
            renewals: 0,
            session: [0; 16],
            presence: Presence::Ready,
        };
        assert!(old.with(Presence::Draining).win_addr_conflict(&old));
        assert!(!old.win_addr_conflict(&old));
        let mut new = MemberId { boot: 0, ..old };
        let mut steps = 0;
        while !new.win_addr_conflict(&old) {
            new = new.renew().expect("it always can");
            steps += 1;
        }
        assert!(steps <= 26, "{steps}");
    }

    #[test]
    fn names_are_instance_ids_and_nothing_else() {
        assert_eq!(
            Name::new("i-0abc").map(|n| n.text().to_owned()).as_deref(),
            Some("i-0abc")
        );
        for text in ["", "i 1", "i/1", "ä", &"x".repeat(33)] {
            assert_eq!(Name::new(text), None, "{text}");
        }
    }
}
