//! What a membership does with packets and timers, without a network.

use super::*;
use crate::gossip::key::Ring;
use crate::gossip::member::Name;
use std::collections::VecDeque;

fn node(n: u8, cluster: &str) -> Membership {
    let ring = Ring::new("0123456789abcdef0123456789abcdef", cluster, "w").expect("a key");
    let me = MemberId {
        name: Name::new(&format!("i-{n}")).expect("a name"),
        address: SocketAddr::from(([10, 0, 0, n], 7946)),
        port: 80,
        boot: 1,
        version: 0,
        renewals: 0,
        session: NOBODY,
        presence: Presence::Ready,
    };
    Membership::new(me, Sealer::new(ring, [n; 16]), u64::from(n))
}

/// Delivers all packets until none is in flight.
fn deliver(nodes: &mut [Membership], from: usize, out: Vec<Out>) {
    let mut way: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)> = VecDeque::new();
    let put = |way: &mut VecDeque<_>, from: SocketAddr, out: Vec<Out>| {
        for o in out {
            if let Out::Send(to, packet) = o {
                way.push_back((from, to, packet));
            }
        }
    };
    put(&mut way, nodes[from].me().address, out);
    while let Some((from, to, packet)) = way.pop_front() {
        if let Some(node) = nodes.iter_mut().find(|n| n.me().address == to) {
            let out = node.packet(from, &packet);
            put(&mut way, to, out);
        }
    }
}

#[test]
fn a_greeting_makes_two_nodes_know_each_other_and_a_third_learns_both() {
    let mut nodes = [node(1, "x"), node(2, "x"), node(3, "x")];
    for at in [0, 2] {
        let out = nodes[at].greet(SocketAddr::from(([10, 0, 0, 2], 7946)));
        deliver(&mut nodes, at, out);
    }
    let known: Vec<usize> = nodes.iter().map(Membership::len).collect();
    assert_eq!(known[1..], [2, 2], "who was greeted and who asked for the list");
    assert_eq!(nodes[2].peers()[0].instance, "i-1");
    assert!(
        nodes[2].greet(SocketAddr::from(([10, 0, 0, 1], 7946))).is_empty(),
        "who is known is not greeted"
    );
}

#[test]
fn who_stops_taking_work_is_known_to_all_after_one_packet_each() {
    let mut nodes = [node(1, "x"), node(2, "x"), node(3, "x")];
    for at in [0, 2] {
        let out = nodes[at].greet(SocketAddr::from(([10, 0, 0, 2], 7946)));
        deliver(&mut nodes, at, out);
    }
    let out = nodes[1].set_presence(Presence::Draining);
    deliver(&mut nodes, 1, out);
    for at in [0, 2] {
        let seen = nodes[at]
            .peers()
            .into_iter()
            .find(|p| p.instance == "i-2")
            .expect("it is there");
        assert_eq!(seen.presence, Presence::Draining, "{at}");
    }
    let out = nodes[1].leave();
    deliver(&mut nodes, 1, out);
    assert!(nodes[0].peers().iter().all(|p| p.instance != "i-2"));
}

#[test]
fn who_stops_taking_work_says_so_itself_to_everybody_three_times() {
    let mut nodes: Vec<Membership> = (1..=12).map(|n| node(n, "x")).collect();
    for at in 1..nodes.len() {
        let out = nodes[at].greet(SocketAddr::from(([10, 0, 0, 1], 7946)));
        deliver(&mut nodes, at, out);
    }
    let others: Vec<SocketAddr> = nodes[1..].iter().map(|n| n.me().address).collect();
    let mut out = nodes[0].set_presence(Presence::Draining);
    let word = lists::write(&[Member::alive(*nodes[0].me())], true);
    for times in [Some(Token::Tell(0)), Some(Token::Tell(1)), None] {
        let mut told = Vec::new();
        let mut next = None;
        for one in out {
            match one {
                Out::Send(to, packet) => {
                    let node = nodes.iter_mut().find(|n| n.me().address == to).expect("it is there");
                    if node.sealer.open(&packet).expect("it is for it").text == word {
                        told.push(to);
                    }
                }
                Out::After(_, token @ Token::Tell(_)) => next = Some(token),
                Out::After(..) => {}
            }
        }
        told.sort_unstable();
        assert_eq!(told, others, "before {times:?}");
        assert_eq!(next, times);
        out = next.map_or_else(Vec::new, |token| nodes[0].timer(token));
    }
}

#[test]
fn a_stranger_learns_nothing_and_changes_nothing() {
    let mut nodes = [node(1, "x"), node(2, "y")];
    let out = nodes[1].greet(SocketAddr::from(([10, 0, 0, 1], 7946)));
    let Out::Send(to, packet) = &out[0] else {
        panic!("{out:?}")
    };
    assert_eq!(nodes[0].packet(*to, packet), [], "not even an answer");
    assert_eq!((nodes[0].len(), nodes[0].drops.foreign), (0, 1));
}

#[test]
fn a_welcome_that_nobody_waits_for_is_dropped() {
    let (mut a, mut b) = (node(1, "x"), node(2, "x"));
    let mut text = 77u64.to_be_bytes().to_vec();
    text.extend(lists::word(&Member::alive(*b.me())));
    let (packet, _) = b.sealer.seal(Kind::Welcome, &a.sealer.session(), &text);
    assert_eq!(a.packet(b.me().address, &packet), []);
    assert_eq!((a.len(), a.drops.unreadable), (0, 1));
}

fn two_that_know_each_other() -> [Membership; 2] {
    let mut nodes = [node(1, "x"), node(2, "x")];
    let out = nodes[0].greet(SocketAddr::from(([10, 0, 0, 2], 7946)));
    deliver(&mut nodes, 0, out);
    nodes
}

/// Lets time pass for a node that receives no packet.
fn alone(node: &mut Membership, out: Vec<Out>, time: Duration) {
    let mut timers: Vec<(Duration, Token)> = Vec::new();
    let mut out = out;
    let mut now = Duration::ZERO;
    while now < time {
        for o in std::mem::take(&mut out) {
            if let Out::After(wait, token) = o {
                timers.push((now + wait, token));
            }
        }
        timers.sort_by_key(|(due, _)| *due);
        let Some((due, _)) = timers.first() else { return };
        now = *due;
        out = node.timer(timers.remove(0).1);
    }
}

#[test]
fn who_is_cut_off_at_the_moment_in_which_it_changes_counts_on_nobody_before_long() {
    let minute = Duration::from_secs(60);
    let mut nodes = two_that_know_each_other();
    let out = nodes[0].set_presence(Presence::Sick);
    assert_eq!(nodes[0].len(), 1);
    alone(&mut nodes[0], out, minute);
    assert_eq!(nodes[0].len(), 0, "after a word of its own");
    // The same if the change is a refutation of being declared down.
    let mut nodes = two_that_know_each_other();
    let down = [&[0, 1][..], &lists::word(&Member::down(*nodes[0].me()))].concat();
    let was = *nodes[0].me();
    let (packet, _) = nodes[1].sealer.seal(Kind::Members, &was.session, &down);
    let out = nodes[0].packet(nodes[1].me().address, &packet);
    assert_ne!(*nodes[0].me(), was);
    alone(&mut nodes[0], out, minute);
    assert_eq!(nodes[0].len(), 0, "after a word of another");
}

#[test]
fn who_sees_the_same_sends_no_list_and_who_sees_something_else_does() {
    let mut nodes = two_that_know_each_other();
    let answers = |nodes: &mut [Membership; 2]| {
        let asked = nodes[0].timer(Token::Compare);
        let sent = asked.iter().find_map(|o| match o {
            Out::Send(_, packet) => Some(packet.clone()),
            Out::After(..) => None,
        });
        let from = nodes[0].me().address;
        nodes[1].packet(from, &sent.expect("it asks")).len()
    };
    assert_eq!(answers(&mut nodes), 0);
    // The second learns of a third member, and the first does not.
    let third = MemberId {
        name: Name::new("i-3").expect("a name"),
        ..*nodes[0].me()
    };
    let text = [&[0, 1][..], &lists::word(&Member::alive(third))].concat();
    assert_eq!(nodes[1].listed(&text), Some(()));
    assert!(answers(&mut nodes) >= 1);
    // A member with a changed presence makes a difference too, although the same members are there.
    let mut nodes = two_that_know_each_other();
    let _ = nodes[1].set_presence(Presence::Sick);
    assert!(answers(&mut nodes) >= 1);
}

#[test]
fn who_compares_hears_everything_anew() {
    let mut nodes = two_that_know_each_other();
    nodes[0].heard.take(b"a word");
    let _ = nodes[0].timer(Token::Compare);
    assert!(!nodes[0].heard.knows(b"a word"));
}

/// A SWIM message with one update in it.
fn gossip(from: MemberId, to: MemberId, word: &Member<MemberId>) -> Vec<u8> {
    let header = foca::Header {
        src: from,
        src_incarnation: 0,
        dst: to,
        message: foca::Message::Gossip,
    };
    let mut text = Vec::new();
    Codec.encode_header(&header, &mut text).expect("there is room");
    [&text[..], &[0, 1], &lists::word(word)].concat()
}

#[test]
fn a_word_that_swim_did_not_take_is_heard_when_it_comes_again() {
    let mut nodes = two_that_know_each_other();
    let (own, other) = (*nodes[0].me(), *nodes[1].me());
    let third = MemberId {
        name: Name::new("i-3").expect("a name"),
        ..other
    };
    let word = Member::alive(third);
    // It is for this node's identity before it was sick.
    let _ = nodes[0].set_presence(Presence::Sick);
    assert_eq!(nodes[0].swim(&gossip(other, own, &word)), Some(()));
    assert_eq!(nodes[0].len(), 1, "SWIM does not take it");
    let own = *nodes[0].me();
    assert_eq!(nodes[0].swim(&gossip(other, own, &word)), Some(()));
    assert_eq!(nodes[0].len(), 2);
    // Nothing is accepted either from a node that is not known as a live member.
    let down = [&[0, 1][..], &lists::word(&Member::down(other))].concat();
    assert_eq!(nodes[0].listed(&down), Some(()));
    let fourth = Member::alive(MemberId {
        name: Name::new("i-4").expect("a name"),
        ..other
    });
    assert_eq!(nodes[0].swim(&gossip(other, own, &fourth)), Some(()));
    assert_eq!(nodes[0].len(), 1);
    let again = gossip(third, own, &fourth);
    assert_eq!(nodes[0].swim(&again), Some(()));
    assert_eq!(nodes[0].len(), 2, "from one that is there it is");
}
