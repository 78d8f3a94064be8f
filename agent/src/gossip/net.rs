//! The socket, the clock and EC2 for a membership.

use super::key::Ring;
use super::member::{MemberId, Name};
use super::membership::{Membership, Out, Token};
use super::seal::Sealer;
use super::seeds::{Next, Schedule};
use crate::backoff;
use crate::bounded;
use crate::config;
use crate::ec2::Found;
use crate::identity::TAG_STATE;
use crate::node::Shared;
use crate::presence::Presence;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Largest packet that is read.
const PACKET: usize = 2_048;

/// Largest key file.
const KEY: u64 = 4_096;

/// Answers of EC2 in a row that list others of whom none is known here, until that is worth a word: each is greeted anew.
const UNANSWERED: u32 = 3;

/// Which tags name cluster and role.
#[derive(Debug, Clone)]
pub struct Tags {
    /// Cluster.
    pub cluster: String,
    /// Role.
    pub role: String,
}

/// A timer in the heap, ordered by time, then by the order in which they were set.
#[derive(Debug, PartialEq, Eq)]
struct Due(Instant, u64, Token);

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Maintains the peers until `leave`. Without a readable key it retries; until then the node has no peers.
pub async fn run(config: config::Peers, tags: Tags, port: u16, shared: Arc<Shared>, leave: oneshot::Receiver<()>) {
    let mut failures = 0;
    let mut leave = leave;
    loop {
        let why = match open(&config, &shared).await {
            Ok((ring, socket)) => {
                Net::new(&config, tags, port, ring, socket, shared).run(leave).await;
                return;
            }
            Err(why) => why,
        };
        failures += 1;
        let wait = backoff::full_jitter(
            Duration::from_secs(2),
            Duration::from_secs(60),
            failures,
            rand::random(),
        );
        tracing::warn!(why, "the node has no peers yet");
        shared.peers_trouble.send_replace(Some(why));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = &mut leave => return,
        }
    }
}

async fn open(config: &config::Peers, shared: &Shared) -> Result<(Ring, UdpSocket), String> {
    let text = match (&config.key.file, &config.key.parameter) {
        (Some(file), _) => {
            let fail = |e: std::io::Error| format!("read the cluster key {}: {e}", file.display());
            bounded::read(file, KEY).map_err(fail)?
        }
        (None, Some(name)) => shared
            .ec2
            .parameter(name)
            .await
            .map_err(|e| format!("read the cluster key: {e}"))?,
        (None, None) => return Err("peers.key names nothing".into()),
    };
    let ring = Ring::new(&text, &shared.identity.cluster, &shared.identity.role)?;
    let address = SocketAddr::new(config.listen.unwrap_or(shared.identity.address), config.port);
    let socket = UdpSocket::bind(address)
        .await
        .map_err(|e| format!("listen on {address} over UDP (peers.port): {e}"))?;
    Ok((ring, socket))
}

struct Net {
    membership: Membership,
    socket: UdpSocket,
    timers: BinaryHeap<Reverse<Due>>,
    set: u64,
    port: u16,
    interval: Duration,
    schedule: Schedule,
    unanswered: u32,
    tags: Tags,
    shared: Arc<Shared>,
    presence: watch::Receiver<Presence>,
}

impl Net {
    fn new(config: &config::Peers, tags: Tags, front: u16, ring: Ring, socket: UdpSocket, shared: Arc<Shared>) -> Self {
        let identity = &shared.identity;
        let boot = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
        let presence = shared.presence.subscribe();
        let name = Name::new(&identity.instance).expect("who has an identity has an instance id that peers can name");
        let me = MemberId {
            name,
            address: SocketAddr::new(identity.address, config.port),
            port: front,
            boot,
            version: 0,
            renewals: 0,
            session: [0; 16],
            presence: *presence.borrow(),
        };
        Self {
            membership: Membership::new(me, Sealer::new(ring, rand::random()), rand::random()),
            socket,
            timers: BinaryHeap::new(),
            set: 0,
            port: config.port,
            interval: config.interval.0,
            schedule: Schedule::default(),
            unanswered: 0,
            tags,
            presence,
            shared,
        }
    }

    async fn run(mut self, mut leave: oneshot::Receiver<()>) {
        self.shared.peers_trouble.send_replace(None);
        let out = self.membership.start();
        self.act(out).await;
        let mut packet = vec![0; PACKET];
        let (found, mut answers) = tokio::sync::mpsc::channel::<Option<Vec<Found>>>(1);
        let mut look_at = Instant::now() + self.schedule.wait(self.interval, 0, rand::random());
        loop {
            let timer = self.timers.peek().map(|Reverse(due)| due.0);
            let out = tokio::select! {
                received = self.socket.recv_from(&mut packet) => match received {
                    Ok((length, from)) => self.membership.packet(from, &packet[..length]),
                    // An earlier packet could not be delivered; SWIM detects that by itself.
                    Err(_) => Vec::new(),
                },
                () = tokio::time::sleep_until(timer.unwrap_or(look_at)), if timer.is_some() => match self.timers.pop() {
                    Some(Reverse(due)) => self.membership.timer(due.2),
                    None => Vec::new(),
                },
                () = tokio::time::sleep_until(look_at) => {
                    match self.schedule.next(self.interval, self.membership.len(), rand::random()) {
                        Next::Ask => {
                            // Until the answer arrives; either it or an error always does.
                            look_at += Duration::from_secs(3_600);
                            self.look(found.clone());
                        }
                        Next::Wait(longer) => look_at = Instant::now() + longer,
                    }
                    Vec::new()
                }
                Some(answer) = answers.recv() => {
                    let out = self.found(answer);
                    look_at = Instant::now() + self.schedule.wait(self.interval, self.membership.len(), rand::random());
                    out
                }
                Ok(()) = self.presence.changed() => {
                    let presence = *self.presence.borrow_and_update();
                    self.membership.set_presence(presence)
                }
                _ = &mut leave => {
                    let out = self.membership.leave();
                    self.act(out).await;
                    return;
                }
            };
            self.act(out).await;
        }
    }

    async fn act(&mut self, out: Vec<Out>) {
        for one in out {
            match one {
                // A packet that cannot be sent counts as lost.
                Out::Send(to, packet) => drop(self.socket.send_to(&packet, to).await),
                Out::After(wait, token) => {
                    self.set += 1;
                    self.timers.push(Reverse(Due(Instant::now() + wait, self.set, token)));
                }
            }
        }
        if self.membership.changed() {
            let peers = Arc::new(self.membership.peers());
            if !peers.is_empty() && self.shared.peers_trouble.send_replace(None).is_some() {
                tracing::info!("peers answer");
            }
            self.shared.peers.send_replace(peers);
        }
        let drops = self.membership.drops;
        self.shared.dropped.foreign.store(drops.foreign, Ordering::Relaxed);
        self.shared.dropped.replayed.store(drops.replayed, Ordering::Relaxed);
        self.shared
            .dropped
            .unreadable
            .store(drops.unreadable, Ordering::Relaxed);
    }

    /// Queries EC2 concurrently with everything else.
    fn look(&self, answer: tokio::sync::mpsc::Sender<Option<Vec<Found>>>) {
        let (shared, tags) = (Arc::clone(&self.shared), self.tags.clone());
        tokio::spawn(async move {
            let identity = &shared.identity;
            let asked = shared
                .ec2
                .running(&[
                    (&tags.cluster, &[&identity.cluster]),
                    (&tags.role, &[&identity.role]),
                    (TAG_STATE, &["ready", "draining"]),
                ])
                .await;
            if let Err(error) = &asked {
                tracing::warn!(%error, "EC2 cannot be asked for peers; those that are known stay");
            }
            // The loop may have ended.
            let _ = answer.send(asked.ok()).await;
        });
    }

    fn found(&mut self, answer: Option<Vec<Found>>) -> Vec<Out> {
        let Some(found) = answer else {
            self.schedule.refused();
            return Vec::new();
        };
        self.schedule.answered(found.len());
        let own = &self.shared.identity.instance;
        let others = found.iter().filter(|f| f.instance != *own);
        let listed: Vec<SocketAddr> = others.map(|f| SocketAddr::new(f.address, self.port)).collect();
        self.count_unanswered(listed.len());
        self.membership.found(listed)
    }

    /// Says it once when EC2 lists others again and again and none of them is there: nobody else would ever tell.
    fn count_unanswered(&mut self, listed: usize) {
        if listed == 0 || !self.membership.is_empty() {
            self.unanswered = 0;
            return;
        }
        self.unanswered += 1;
        if self.unanswered == UNANSWERED {
            let why = format!(
                "EC2 lists {listed} of this cluster and role, and none answers: is UDP port {} open between them, and is the cluster key the same?",
                self.port
            );
            tracing::warn!(why, "the node has no peers yet");
            self.shared.peers_trouble.send_replace(Some(why));
        }
    }
}
