//! Membership: SWIM (foca) and what surrounds it, without a socket and without a clock. Packets and timers go in,
//! packets and timers come out; the same seed and the same input give the same output.
//!
//! Besides SWIM there are three kinds of messages. Greetings go to a node that EC2 lists but whose session is not known
//! yet. Complete lists teach a new node all members at once, and from time to time each node compares its members with
//! another's. A broadcast tells all nodes at once that a node stops taking work: in a large cluster gossip alone would
//! need seconds for that.

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

/// How many nodes of one EC2 answer are greeted.
const GREETED: usize = 5;

/// When a broadcast is repeated, for nodes that missed it.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Send this packet.
    Send(SocketAddr, Vec<u8>),
    /// Call `timer` with this after a while.
    After(Duration, Token),
}

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// SWIM's own timer.
    Swim(foca::Timer<MemberId>),
    /// Repeat the broadcast of this node's presence.
    Tell(u8),
    /// Compare members with another node.
    Compare,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets from strangers, or modified ones.
    pub foreign: u64,
    /// Replayed packets.
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
    /// A node that knows no other yet. `seed` determines all its random choices.
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

    /// This node's current identity.
    #[must_use]
    pub fn me(&self) -> &MemberId {
        self.foca.identity()
    }

    /// The other live members, by name.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.foca.iter_members().map(|m| m.id().peer()).collect();
        peers.sort_by(|a, b| a.instance.cmp(&b.instance));
        peers
    }

    /// The gossip addresses of the other live members.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.foca.iter_members().map(|m| m.id().address)
    }

    /// Number of other live members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.foca.num_members()
    }

    /// Whether there is no other live member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a live member has this address.
    #[must_use]
    pub fn knows(&self, address: SocketAddr) -> bool {
        self.addresses().any(|known| known == address)
    }

    /// Whether something changed since the last call.
    pub fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Starts.
    pub fn start(&mut self) -> Vec<Out> {
        vec![self.next_compare()]
    }

    fn next_compare(&mut self) -> Out {
        Out::After(
            Duration::from_millis(self.rng.random_range(10_000..30_000)),
            Token::Compare,
        )
    }

    /// Greets some nodes that EC2 lists and this node does not know; they will tell it about the others.
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

    /// Handles a packet.
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
            // A node with the same members needs no list.
            Kind::Ask if text == self.digest() => Some(()),
            Kind::Ask => {
                // Including members that are down: a node that missed that would keep counting on them.
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

    /// Handles a SWIM message, of which only new updates are passed to SWIM.
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
        // SWIM ignores messages for an earlier identity of this node, and from members that count as down.
        if !news.is_empty() && to_me && self.foca.iter_members().any(|m| *m.id() == said.from) {
            news.into_iter().for_each(|word| self.heard.take(word));
        }
        Some(())
    }

    /// Handles a part of a list of members.
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

    /// The updates that were not received before.
    fn news<'t>(&self, words: &'t [u8]) -> Vec<&'t [u8]> {
        let words = words.chunks_exact(WORD);
        words.filter(|word| !self.heard.knows(word)).collect()
    }

    /// A digest of the members: nodes with the same members have the same digest.
    fn digest(&self) -> Vec<u8> {
        lists::digest(self.foca.iter_members().map(Member::id).chain([self.me()]))
    }

    /// Asks a node for all members, unless it has the same members as this node.
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

    /// Handles a timer.
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

    /// Announces this node's new presence.
    pub fn set_presence(&mut self, presence: Presence) -> Vec<Out> {
        if self.me().presence == presence {
            return Vec::new();
        }
        let took_work = self.me().presence == Presence::Ready;
        let next = self.me().with(presence);
        let mut out = Vec::new();
        self.become_(next);
        if took_work {
            // Before gossip spreads it.
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

    /// Announces that this node leaves.
    pub fn leave(&mut self) -> Vec<Out> {
        let mut out = Vec::new();
        let me = Member::down(*self.me());
        self.tell_all(&me, &mut out);
        // Whatever SWIM still wanted to do does not matter for a node that leaves.
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

    /// Turns SWIM's output into packets and timers.
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
        // SWIM stops whenever this node's identity changes, until another node contacts the new identity. A node that
        // is cut off at that moment would count on the others for good. So SWIM continues while this node knows any
        // other.
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
            // Only changeable settings are changed.
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
