//! A member as gossip knows it. What changes about a node (its presence, its session) is part of its identity: a newer
//! identity replaces the older one of the same name, and so spreads as fast and as reliably as membership itself.

use super::peer::Peer;
use super::seal::Session;
use crate::presence::Presence;
use std::net::SocketAddr;

/// Longest name. Instance ids have 19 characters.
const NAME: u32 = 21;

/// The characters of names, in byte order. With the end marker these are 64: six bits each.
const LETTERS: &[u8; 63] = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Bits of a letter.
const LETTER: u32 = 6;

/// An instance id, six bits per character, in two integers: SWIM scans all members for each update and compares only
/// this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name([u64; 2]);

impl Name {
    /// From a text of letters, digits and hyphens.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > NAME as usize {
            return None;
        }
        let mut bits = 0_u128;
        for byte in text.bytes() {
            let at = LETTERS.iter().position(|l| *l == byte)?;
            bits = bits << LETTER | (at as u128 + 1);
        }
        let unused = NAME - u32::try_from(text.len()).ok()?;
        Some(Self::of(bits << (LETTER * unused)))
    }

    fn of(bits: u128) -> Self {
        let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)];
        Self([high, low].map(|word| u64::try_from(word).unwrap_or(u64::MAX)))
    }

    fn bits(self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }

    /// The wire form.
    pub(super) fn bytes(self) -> [u8; 16] {
        self.bits().to_be_bytes()
    }

    /// Reads the wire form; None if it is not a name.
    pub(super) fn read(bytes: [u8; 16]) -> Option<Self> {
        let read = Self::of(u128::from_be_bytes(bytes));
        (Self::new(&read.text()) == Some(read)).then_some(read)
    }

    /// The payload.
    #[must_use]
    pub fn text(self) -> String {
        let letter = |at: u32| (self.bits() >> (LETTER * (NAME - 1 - at)) & 63) as usize;
        let letters = (0..NAME).map(letter).take_while(|letter| *letter > 0);
        letters.map(|letter| char::from(LETTERS[letter - 1])).collect()
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

/// A member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberId {
    /// Instance id.
    pub name: Name,
    /// Address of its gossip.
    pub address: SocketAddr,
    /// Port of its front; 0 when it has none.
    pub port: u16,
    /// Orders the runs of the agent on one instance: milliseconds of the wall clock at its start, increased when it
    /// must win.
    pub boot: u64,
    /// Orders the changes of one run.
    pub version: u32,
    /// How often `boot` was increased.
    pub renewals: u8,
    /// Its session.
    pub session: Session,
    /// Its presence.
    pub presence: Presence,
}

impl MemberId {
    /// As the rest of the agent sees it.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer {
            instance: self.name.text(),
            address: self.address.ip(),
            port: self.port,
            presence: self.presence,
        }
    }

    /// The next identity of this run.
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

    /// The identity after it was declared down. If an earlier run was started by a clock that was ahead, each step is
    /// twice as long as the one before, so that even a year is made up for in minutes.
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
            assert!(steps <= 26, "the year is not made up for");
        }
    }

    #[test]
    fn names_are_instance_ids_and_nothing_else() {
        let name = |text: &str| Name::new(text).expect("a name");
        for text in ["i-0abc", "i-0123456789abcdef0", "z", "-", &"Z".repeat(21)] {
            assert_eq!(name(text).text(), text);
            assert_eq!(Name::read(name(text).bytes()), Some(name(text)), "{text}");
        }
        assert!(
            name("i-0a") < name("i-0ab") && name("i-0ab") < name("i-0b"),
            "as their texts"
        );
        for text in ["", "i 1", "i/1", "ä", &"x".repeat(22)] {
            assert_eq!(Name::new(text), None, "{text}");
        }
        // Empty, a character after the end, and more than fits.
        for bits in [0, 1, 1 << 127] {
            assert_eq!(Name::read(u128::to_be_bytes(bits)), None, "{bits}");
        }
    }
}
