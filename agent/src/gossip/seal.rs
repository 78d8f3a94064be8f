//! The envelope of a packet: AES-256-GCM under a key of the sender's session, bound to the receiver's.
//!
//! ```text
//! version 1 │ kind 1 │ key id 4 │ sender's session 16 │ counter 8 │ ciphertext … │ tag 16
//! ```
//!
//! A session is 16 random bytes that a node chooses when it starts. The key is derived from the cluster key and the
//! sender's session, and the nonce is a counter, so that no nonce is used twice. The head and the receiver's session are
//! authenticated too, so a recorded packet can be opened nowhere else, and not after the receiver was restarted; a window
//! of counters prevents the same receiver from opening it twice. Nothing depends on clocks. A greeting to a node whose
//! session is not known yet is bound to zeros: if it is replayed, it gets a welcome that only the first sender's session
//! can open.

use super::key::{ID, Ring};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::collections::HashMap;

/// Version of the envelope.
const VERSION: u8 = 1;

/// Bytes of a session.
pub const SESSION: usize = 16;

const HEAD: usize = 2 + ID + SESSION + 8;
const TAG: usize = 16;

/// What an envelope adds to a payload.
pub const OVERHEAD: usize = HEAD + TAG;

/// Limit of remembered sessions. Beyond it the node takes a new session, which makes everything that was recorded
/// worthless.
const MOST: usize = 16_384;

/// A session.
pub type Session = [u8; SESSION];

/// The session of a receiver that is not known yet.
pub const NOBODY: Session = [0; SESSION];

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asks a node for its session.
    Greeting = 0,
    /// The answer to a greeting.
    Welcome = 1,
    /// SWIM.
    Swim = 2,
    /// Asks for all members.
    Ask = 3,
    /// Some members.
    Members = 4,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Greeting, Self::Welcome, Self::Swim, Self::Ask, Self::Members]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }
}

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It is not one of our envelopes.
    Shape,
    /// It was encrypted with another key or for another session, or was modified.
    Foreign,
    /// It was opened before.
    Replayed,
}

/// A packet that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its purpose.
    pub kind: Kind,
    /// The sender's session.
    pub session: Session,
    /// The sender's counter.
    pub counter: u64,
    /// The payload.
    pub text: Vec<u8>,
}

/// The counters seen from one sender: the highest, and which of the 127 below it.
#[derive(Debug, Clone, Copy)]
struct Window {
    highest: u64,
    seen: u128,
}

impl Window {
    /// Accepts a counter once.
    fn take(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let ahead = counter - self.highest;
            self.seen = if ahead < 128 { self.seen << ahead } else { 0 } | 1;
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        if behind >= 128 || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

/// A sender of authentic packets: its derived key, so that it is not derived for each packet, and its counters.
struct Sender {
    ring: [u8; ID],
    key: [u8; 32],
    window: Window,
}

/// Encrypts and decrypts for one node.
pub struct Sealer {
    ring: Ring,
    session: Session,
    sealing: LessSafeKey,
    counter: u64,
    senders: HashMap<Session, Sender>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("senders", &self.senders.len())
            .finish_non_exhaustive()
    }
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes a key of 32 bytes"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl Sealer {
    /// With a fresh session, which must be random.
    #[must_use]
    pub fn new(ring: Ring, session: Session) -> Self {
        let sealing = cipher(&ring.seals().session(&session));
        Self {
            ring,
            session,
            sealing,
            counter: 0,
            senders: HashMap::new(),
        }
    }

    /// The node's session.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// Whether it is time for a new session.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.senders.len() >= MOST
    }

    /// Takes a new session: packets for the old one can no longer be opened.
    pub fn renew(&mut self, session: Session) {
        self.sealing = cipher(&self.ring.seals().session(&session));
        self.session = session;
        self.counter = 0;
        self.senders.clear();
    }

    /// Encrypts a payload for a receiver; returns it with its counter.
    pub fn seal(&mut self, kind: Kind, to: &Session, text: &[u8]) -> (Vec<u8>, u64) {
        self.counter += 1;
        let mut packet = Vec::with_capacity(text.len() + OVERHEAD);
        packet.extend_from_slice(&[VERSION, kind as u8]);
        packet.extend_from_slice(&self.ring.seals().id);
        packet.extend_from_slice(&self.session);
        packet.extend_from_slice(&self.counter.to_be_bytes());
        let bound = [&packet[..], to].concat();
        packet.extend_from_slice(text);
        let tag = self
            .sealing
            .seal_in_place_separate_tag(nonce(self.counter), Aad::from(bound), &mut packet[HEAD..])
            .expect("packets are far shorter than what AES-GCM can seal");
        packet.extend_from_slice(tag.as_ref());
        (packet, self.counter)
    }

    /// Opens a packet, once.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn open(&mut self, packet: &[u8]) -> Result<Opened, Dropped> {
        if packet.len() < OVERHEAD || packet[0] != VERSION {
            return Err(Dropped::Shape);
        }
        let kind = Kind::of(packet[1]).ok_or(Dropped::Shape)?;
        let key = self.ring.opens(&packet[2..2 + ID]).ok_or(Dropped::Foreign)?;
        let mut session = NOBODY;
        session.copy_from_slice(&packet[2 + ID..2 + ID + SESSION]);
        let mut counter = [0; 8];
        counter.copy_from_slice(&packet[HEAD - 8..HEAD]);
        let counter = u64::from_be_bytes(counter);
        if session == self.session {
            // Our own packet, sent back.
            return Err(Dropped::Replayed);
        }
        let to = if kind == Kind::Greeting { &NOBODY } else { &self.session };
        let bound = [&packet[..HEAD], to].concat();
        let mut text = packet[HEAD..].to_vec();
        let known = self.senders.get(&session).filter(|sender| sender.ring == key.id);
        let secret = known.map_or_else(|| key.session(&session), |sender| sender.key);
        let length = cipher(&secret)
            .open_in_place(nonce(counter), Aad::from(bound), &mut text)
            .map_err(|_| Dropped::Foreign)?
            .len();
        text.truncate(length);
        // Only authentic senders are remembered: a forger cannot fill the memory.
        let sender = self.senders.entry(session).or_insert(Sender {
            ring: key.id,
            key: secret,
            window: Window { highest: 0, seen: 1 },
        });
        if !sender.window.take(counter) {
            return Err(Dropped::Replayed);
        }
        Ok(Opened {
            kind,
            session,
            counter,
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealer(cluster: &str, session: u8) -> Sealer {
        let ring = Ring::new("0123456789abcdef0123456789abcdef", cluster, "worker").expect("a key");
        Sealer::new(ring, [session; SESSION])
    }

    #[test]
    fn a_packet_opens_once_for_whom_it_was_sealed_and_nowhere_else() {
        let (mut a, mut b, mut c) = (sealer("x", 1), sealer("x", 2), sealer("x", 3));
        let (packet, _) = a.seal(Kind::Swim, &b.session(), b"hello");
        assert_eq!(c.open(&packet), Err(Dropped::Foreign));
        assert_eq!(a.open(&packet), Err(Dropped::Replayed), "sent back");
        let opened = b.open(&packet).expect("for b");
        assert_eq!(
            (opened.kind, opened.text.as_slice(), opened.session),
            (Kind::Swim, &b"hello"[..], a.session())
        );
        assert_eq!(b.open(&packet), Err(Dropped::Replayed));
        b.renew([4; SESSION]);
        assert_eq!(b.open(&packet), Err(Dropped::Foreign), "not after a new start");
    }

    #[test]
    fn clusters_with_the_same_key_stay_strangers() {
        let (mut a, mut b) = (sealer("x", 1), sealer("y", 2));
        let (packet, _) = a.seal(Kind::Greeting, &NOBODY, b"hello");
        assert_eq!(b.open(&packet), Err(Dropped::Foreign));
    }

    #[test]
    fn both_keys_open_while_a_key_is_replaced() {
        let old = "0123456789abcdef0123456789abcdef";
        let new = "fedcba9876543210fedcba9876543210";
        let ring = |text: &str| Ring::new(text, "x", "w").expect("a key");
        let mut first = Sealer::new(ring(old), [1; SESSION]);
        let mut both = Sealer::new(ring(&format!("{new}\n{old}")), [2; SESSION]);
        let mut last = Sealer::new(ring(new), [3; SESSION]);
        let (packet, _) = first.seal(Kind::Swim, &both.session(), b"1");
        assert!(both.open(&packet).is_ok());
        let (packet, _) = both.seal(Kind::Swim, &last.session(), b"2");
        assert!(last.open(&packet).is_ok());
        let (packet, _) = both.seal(Kind::Swim, &first.session(), b"3");
        assert_eq!(
            first.open(&packet),
            Err(Dropped::Foreign),
            "so all get both before any gets the new one alone"
        );
    }

    #[test]
    fn packets_may_come_out_of_order_but_not_from_long_ago() {
        let (mut a, mut b) = (sealer("x", 1), sealer("x", 2));
        let packets: Vec<Vec<u8>> = (0..200).map(|_| a.seal(Kind::Swim, &[2; SESSION], b"").0).collect();
        for at in [5, 3, 4, 150] {
            assert!(b.open(&packets[at]).is_ok(), "{at}");
        }
        for at in [3, 4, 5, 150, 10] {
            assert_eq!(b.open(&packets[at]), Err(Dropped::Replayed), "{at}");
        }
        assert!(b.open(&packets[100]).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_changed_on_the_way_is_dropped(at in 0usize..80, bit in 0u8..8, text in prop::collection::vec(any::<u8>(), 0..40)) {
            let (mut a, mut b) = (sealer("x", 1), sealer("x", 2));
            let (mut packet, _) = a.seal(Kind::Swim, &b.session(), &text);
            let at = at % packet.len();
            packet[at] ^= 1 << bit;
            prop_assert!(b.open(&packet).is_err());
        }

        #[test]
        fn noise_is_dropped(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(sealer("x", 1).open(&noise).is_err());
        }
    }
}
