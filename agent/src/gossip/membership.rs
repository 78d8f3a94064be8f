//! Who is there: SWIM (foca) and what surrounds it, without a socket and without a clock. Packets and timers go in, packets and
//! timers come out; the same seed and the same input give the same output.
//!
//! Beside SWIM there are greetings (a node that EC2 lists has an address, but its session is not known yet), whole lists (a new
//! node learns everybody at once, and from time to time everybody compares with somebody), and a word to all at once when a node
//! stops taking work: gossip alone would need seconds for that in a large cluster.

use super::codec::{self, Codec, WORD};
use super::greetings::Greetings;
use super::heard::Heard;
use super::lists::{self, LISTED};
use super::member::MemberId;
use super::peer::Peer;
use super::seal::{Dropped, Kind, NOBODY, Sealer, Session};
use super::swim::settings;
use crate::presence::Presence;
use foca::{AccumulatingRuntime, Codec as _, Foca, Member, NoCustomBroadcast, OwnedNotification};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Nodes of one answer of EC2 that are greeted.
const GREETED: usize = 5;

/// How long after a word to all it is said again, for those who missed it.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Send this.
    Send(SocketAddr, Vec<u8>),
    /// Come back with this after a while.
    After(Duration, Token),
}

/// Something to come back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// SWIM's.
    Swim(foca::Timer<MemberId>),
    /// Say what this node is again.
    Tell(u8),
    /// Compare with somebody.
    Compare,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets that strangers sent, or that were changed.
    pub foreign: u64,
    /// Packets that were played again.
    pub replayed: u64,
    /// What members sent, or timers wanted, and SWIM could not take.
    pub unreadable: u64,
}

/// The membership of one node.
pub struct Membership {
    foca: Foca<MemberId, Codec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<MemberId>,
    sealer: Sealer,
    rng: StdRng,
    greetings: Greetings,
    heard: Heard,
    size: u32,
    changed: bool,
    /// What was dropped.
    pub drops: Drops,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("me", self.foca.identity())
            .finish_non_exhaustive()
    }
}

impl Membership {
    /// Of a node that knows nobody yet. `seed` decides all that is chance in it.
    #[must_use]
    pub fn new(me: MemberId, sealer: Sealer, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let own = StdRng::seed_from_u64(rng.random());
        let me = MemberId {
            session: sealer.session(),
            ..me
        };
        Self {
            foca: Foca::new(me, settings(2), own, Codec),
            runtime: AccumulatingRuntime::new(),
            sealer,
            rng,
            greetings: Greetings::default(),
            heard: Heard::default(),
            size: 2,
            changed: false,
            drops: Drops::default(),
        }
    }

    /// Who this node is at the moment.
    #[must_use]
    pub fn me(&self) -> &MemberId {
        self.foca.identity()
    }

    /// The others that are there, by name.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.foca.iter_members().map(|m| m.id().peer()).collect();
        peers.sort_by(|a, b| a.instance.cmp(&b.instance));
        peers
    }

    /// Where the others listen that are there.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.foca.iter_members().map(|m| m.id().address)
    }

    /// How many others are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.foca.num_members()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether somebody listens there.
    #[must_use]
    pub fn knows(&self, address: SocketAddr) -> bool {
        self.addresses().any(|known| known == address)
    }

    /// Whether something changed since this was asked last.
    pub fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Begins.
    pub fn start(&mut self) -> Vec<Out> {
        vec![self.next_compare()]
    }

    fn next_compare(&mut self) -> Out {
        Out::After(
            Duration::from_millis(self.rng.random_range(10_000..30_000)),
            Token::Compare,
        )
    }

    /// Greets some of those that EC2 lists and nobody here knows; whom they know, they will tell.
    pub fn found(&mut self, listed: impl IntoIterator<Item = SocketAddr>) -> Vec<Out> {
        let known: HashSet<SocketAddr> = self.addresses().collect();
        let own = self.me().address;
        let mut strangers: Vec<SocketAddr> = listed
            .into_iter()
            .filter(|address| *address != own && !known.contains(address))
            .collect();
        let mut out = Vec::new();
        for _ in 0..GREETED.min(strangers.len()) {
            let at = self.rng.random_range(0..strangers.len());
            out.extend(self.greet(strangers.swap_remove(at)));
        }
        out
    }

    /// Greets a node that EC2 lists.
    pub fn greet(&mut self, address: SocketAddr) -> Vec<Out> {
        if address == self.me().address || self.knows(address) {
            return Vec::new();
        }
        let text = lists::word(&Member::alive(*self.me()));
        let (packet, counter) = self.sealer.seal(Kind::Greeting, &NOBODY, &text);
        self.greetings.sent(counter);
        vec![Out::Send(address, packet)]
    }

    /// Takes a packet.
    pub fn packet(&mut self, from: SocketAddr, packet: &[u8]) -> Vec<Out> {
        let opened = match self.sealer.open(packet) {
            Ok(opened) => opened,
            Err(Dropped::Replayed) => {
                self.drops.replayed += 1;
                return Vec::new();
            }
            Err(Dropped::Foreign | Dropped::Shape) => {
                self.drops.foreign += 1;
                return Vec::new();
            }
        };
        let mut text = &opened.text[..];
        let mut out = Vec::new();
        let read = match opened.kind {
            Kind::Greeting => {
                let mut answer = opened.counter.to_be_bytes().to_vec();
                answer.extend(lists::word(&Member::alive(*self.me())));
                let (packet, _) = self.sealer.seal(Kind::Welcome, &opened.session, &answer);
                out.push(Out::Send(from, packet));
                Some(())
            }
            Kind::Welcome => self.welcomed(&mut text, &opened.session, &mut out),
            Kind::Swim => self.swim(text),
            // Who sees the same needs no list of it.
            Kind::Ask if text == self.digest() => Some(()),
            Kind::Ask => {
                // Those that are down as well: who missed that would go on to count on them.
                let members: Vec<Member<MemberId>> = self.foca.iter_membership_state().cloned().collect();
                let me = Member::new(*self.me(), 0, foca::State::Alive);
                let all: Vec<Member<MemberId>> = members.into_iter().chain([me]).collect();
                for some in all.chunks(LISTED) {
                    let packet = self.list(some, false, &opened.session);
                    out.push(Out::Send(from, packet));
                }
                Some(())
            }
            Kind::Members => self.listed(text),
        };
        if read.is_none() {
            self.drops.unreadable += 1;
        }
        self.settle(out)
    }

    /// A message of SWIM, of which it gets no more to see than what is new.
    fn swim(&mut self, text: &[u8]) -> Option<()> {
        let Some(said) = codec::said(text) else {
            return self.foca.handle_data(text, &mut self.runtime).ok();
        };
        let news = self.news(said.words);
        let mut shorter = said.head.to_vec();
        shorter.extend_from_slice(&u16::try_from(news.len()).ok()?.to_be_bytes());
        news.iter().for_each(|word| shorter.extend_from_slice(word));
        let to_me = said.to == *self.me();
        self.foca.handle_data(&shorter, &mut self.runtime).ok()?;
        // What is for somebody that this node was a moment ago, or is from one that counts as down, SWIM does not take.
        if !news.is_empty() && to_me && self.foca.iter_members().any(|m| *m.id() == said.from) {
            news.into_iter().for_each(|word| self.heard.take(word));
        }
        Some(())
    }

    /// Some members of a list.
    fn listed(&mut self, text: &[u8]) -> Option<()> {
        let (pass_on, words) = lists::read(text)?;
        let news = self.news(words);
        let read = |mut word: &[u8]| Codec.decode_member(&mut word);
        let members: Vec<Member<MemberId>> = news.iter().map(|word| read(word)).collect::<Result<_, _>>().ok()?;
        self.foca
            .apply_many(members.into_iter(), pass_on, &mut self.runtime)
            .ok()?;
        news.into_iter().for_each(|word| self.heard.take(word));
        Some(())
    }

    /// The words that were not taken before.
    fn news<'t>(&self, words: &'t [u8]) -> Vec<&'t [u8]> {
        let words = words.chunks_exact(WORD);
        words.filter(|word| !self.heard.knows(word)).collect()
    }

    /// Sums up who is there: nodes that see the same have the same.
    fn digest(&self) -> Vec<u8> {
        lists::digest(self.foca.iter_members().map(Member::id).chain([self.me()]))
    }

    /// Asks somebody for all members, unless they are those that this node knows.
    fn ask(&mut self, them: &MemberId) -> Out {
        let digest = self.digest();
        let (packet, _) = self.sealer.seal(Kind::Ask, &them.session, &digest);
        Out::Send(them.address, packet)
    }

    fn welcomed(&mut self, text: &mut &[u8], session: &Session, out: &mut Vec<Out>) -> Option<()> {
        let (counter, rest) = text.split_first_chunk::<8>()?;
        let counter = u64::from_be_bytes(*counter);
        if !self.greetings.welcomed(counter) {
            return None;
        }
        let them = *Codec.decode_member(rest).ok()?.id();
        if them.session != *session || them.name == self.me().name {
            return None;
        }
        self.foca.announce(them, &mut self.runtime).ok()?;
        out.push(self.ask(&them));
        Some(())
    }

    fn list(&mut self, members: &[Member<MemberId>], pass_on: bool, to: &Session) -> Vec<u8> {
        self.sealer.seal(Kind::Members, to, &lists::write(members, pass_on)).0
    }

    /// Takes a timer.
    pub fn timer(&mut self, token: Token) -> Vec<Out> {
        let mut out = Vec::new();
        match token {
            Token::Swim(timer) => {
                if self.foca.handle_timer(timer, &mut self.runtime).is_err() {
                    self.drops.unreadable += 1;
                }
            }
            Token::Tell(times) => {
                let me = Member::alive(*self.me());
                self.tell_all(&me, &mut out);
                if let Some(wait) = AGAIN.get(usize::from(times) + 1) {
                    out.push(Out::After(*wait, Token::Tell(times + 1)));
                }
            }
            Token::Compare => {
                self.heard.forget();
                let some = self.rng.random_range(0..self.len().max(1));
                let them = self.foca.iter_members().nth(some).map(|m| *m.id());
                if let Some(them) = them {
                    out.push(self.ask(&them));
                }
                let next = self.next_compare();
                out.push(next);
            }
        }
        self.settle(out)
    }

    /// Says what this node is now.
    pub fn set_presence(&mut self, presence: Presence) -> Vec<Out> {
        if self.me().presence == presence {
            return Vec::new();
        }
        let took_work = self.me().presence == Presence::Ready;
        let next = self.me().with(presence);
        let mut out = Vec::new();
        self.become_(next);
        if took_work {
            // Before anything that gossip says of it.
            self.tell_all(&Member::alive(next), &mut out);
            out.push(Out::After(AGAIN[0], Token::Tell(0)));
        }
        self.settle(out)
    }

    fn become_(&mut self, next: MemberId) {
        if self.foca.change_identity(next, &mut self.runtime).is_err() {
            self.drops.unreadable += 1;
        }
        self.changed = true;
    }

    /// Says good-bye.
    pub fn leave(&mut self) -> Vec<Out> {
        let mut out = Vec::new();
        let me = Member::down(*self.me());
        self.tell_all(&me, &mut out);
        // Whatever SWIM still wanted to do is of no use to one that leaves.
        if self.foca.leave_cluster(&mut self.runtime).is_err() {
            self.drops.unreadable += 1;
        }
        self.settle(out)
    }

    fn tell_all(&mut self, word: &Member<MemberId>, out: &mut Vec<Out>) {
        let all: Vec<(SocketAddr, Session)> = self
            .foca
            .iter_members()
            .map(|m| (m.id().address, m.id().session))
            .collect();
        for (address, session) in all {
            let packet = self.list(std::slice::from_ref(word), true, &session);
            out.push(Out::Send(address, packet));
        }
    }

    /// Turns what SWIM wants into packets and timers.
    fn settle(&mut self, mut out: Vec<Out>) -> Vec<Out> {
        if self.sealer.is_full() {
            let session = self.rng.random();
            self.sealer.renew(session);
            let me = *self.me();
            self.become_(MemberId {
                session,
                ..me.with(me.presence)
            });
        }
        // SWIM stops whenever this node becomes somebody new, until somebody speaks to the new one: a node that is cut off at that
        // moment would count on the others for good. It goes on while it knows anybody.
        if self
            .foca
            .apply_many(std::iter::empty(), false, &mut self.runtime)
            .is_err()
        {
            self.drops.unreadable += 1;
        }
        while let Some(note) = self.runtime.to_notify() {
            self.changed |= !matches!(note, OwnedNotification::Active | OwnedNotification::Idle);
        }
        let size = u32::try_from(self.len() + 1).unwrap_or(u32::MAX);
        if size.ilog2() != self.size.ilog2() {
            self.size = size;
            // Only what may be changed is changed.
            let _ = self.foca.set_config(settings(size));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            out.push(Out::After(after, Token::Swim(timer)));
        }
        while let Some((to, text)) = self.runtime.to_send() {
            let (packet, _) = self.sealer.seal(Kind::Swim, &to.session, &text);
            out.push(Out::Send(to.address, packet));
        }
        out
    }
}

#[cfg(test)]
mod tests;
