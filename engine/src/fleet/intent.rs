//! The intent: what is about to be launched, written into the tags of the launch template before the request.
//!
//! A process that finds an intent repeats exactly that request: the same client token returns what the first request
//! launched, even while EC2 does not list it yet, and even after the document has changed. Pure: text ↔ intent.

use super::identity::PoolId;
use crate::cloud::{LaunchTemplate, Lifecycle, Seat, Tags};
use crate::mask::hex;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Tags `myelin.dev:intent.0`, `.1` … hold the text in pieces.
pub const TAG_INTENT: &str = "myelin.dev:intent.";
/// Number of nodes that the pool had when an apply ended. If the tag is absent, no apply has ended yet.
pub const TAG_TARGET: &str = "myelin.dev:target";
/// Characters of a tag's value.
const PIECE: usize = 256;
/// Pieces at most; with the template's other tags below EC2's 50.
const PIECES: usize = 36;
/// Limit of seats in one request. It keeps an intent within its pieces; more seats bring nothing.
pub(super) const SEATS: usize = 60;

/// One launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intent {
    /// Number of the launch.
    pub(super) slot: u32,
    /// Number of the request within the launch.
    pub(super) attempt: u32,
    /// When the intent was written.
    pub(super) at: Timestamp,
    /// Spot or on-demand.
    pub(super) lifecycle: Lifecycle,
    /// Number of nodes.
    pub(super) count: u32,
    /// Number of nodes that the pool should have in the end.
    pub(super) target: u32,
    /// Offerings, in order.
    pub(super) seats: Vec<Seat>,
}

impl Intent {
    /// As text: `1 slot attempt seconds lifecycle count target type@subnet …`. Subnets are named once.
    fn text(&self) -> String {
        let mut subnets: Vec<&str> = self.seats.iter().map(|s| s.subnet.as_str()).collect();
        subnets.sort_unstable();
        subnets.dedup();
        let mut out = format!(
            "1 {} {} {} {} {} {}",
            self.slot,
            self.attempt,
            self.at.as_second(),
            self.lifecycle.word(),
            self.count,
            self.target
        );
        for subnet in &subnets {
            out.push_str(&format!(" {subnet}"));
        }
        for seat in &self.seats {
            let at = subnets.iter().position(|s| *s == seat.subnet).unwrap_or(0);
            out.push_str(&format!(" {}@{at}", seat.instance_type));
        }
        out
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        if words.next()? != "1" {
            return None;
        }
        let slot = words.next()?.parse().ok()?;
        let attempt = words.next()?.parse().ok()?;
        let at = Timestamp::from_second(words.next()?.parse().ok()?).ok()?;
        let lifecycle = match words.next()? {
            "spot" => Lifecycle::Spot,
            "on-demand" => Lifecycle::OnDemand,
            _ => return None,
        };
        let count = words.next()?.parse().ok()?;
        let target = words.next()?.parse().ok()?;
        let (mut subnets, mut seats) = (Vec::new(), Vec::new());
        for word in words {
            if let Some((instance_type, index)) = word.split_once('@') {
                let subnet: &&str = subnets.get(index.parse::<usize>().ok()?)?;
                seats.push(Seat {
                    instance_type: instance_type.to_owned(),
                    subnet: (*subnet).to_owned(),
                });
            } else {
                subnets.push(word);
            }
        }
        (!seats.is_empty() && count > 0).then_some(Self {
            slot,
            attempt,
            at,
            lifecycle,
            count,
            target,
            seats,
        })
    }

    /// The tags that hold it. None if it is too long, which [`SEATS`] prevents for names of usual length.
    pub(super) fn tags(&self) -> Option<Tags> {
        let text = self.text();
        let pieces: Vec<&str> = text
            .as_bytes()
            .chunks(PIECE - 1)
            .map(|c| std::str::from_utf8(c).unwrap_or_default())
            .collect();
        if pieces.len() > PIECES {
            return None;
        }
        // A mark in each piece, so that pieces of different intents are never combined. EC2 trims blanks, so each piece
        // ends in a full stop.
        let mark = format!("{}/{}", self.slot, self.attempt);
        let mut tags: Tags = pieces
            .iter()
            .enumerate()
            .map(|(at, piece)| (format!("{TAG_INTENT}{at}"), format!("{piece}.")))
            .collect();
        let sum = &hex(&Sha256::digest(text.as_bytes()))[..16];
        tags.insert(format!("{TAG_INTENT}n"), format!("{mark} {} {sum}", pieces.len()));
        Some(tags)
    }

    /// Reads a template's tags; None if there is no intent or it was written partly.
    pub(super) fn of(template: &LaunchTemplate) -> Option<Self> {
        let head = template.tags.get(&format!("{TAG_INTENT}n"))?;
        let mut words = head.split(' ').skip(1);
        let count: usize = words.next()?.parse().ok()?;
        let mut text = String::new();
        for at in 0..count.min(PIECES) {
            text.push_str(template.tags.get(&format!("{TAG_INTENT}{at}"))?.strip_suffix('.')?);
        }
        (hex(&Sha256::digest(text.as_bytes()))[..16] == *words.next()?).then(|| Self::parse(&text))?
    }

    /// The client token of its request through this template.
    pub(super) fn token(&self, id: &PoolId, template: &str) -> String {
        super::identity::client_token(id, self.slot, self.attempt, &format!("{template} {}", self.text()))
    }
}

/// The tags that close a template's intent, and keep its number.
pub(super) fn closed(slot: u32, attempt: u32, nodes: usize) -> Tags {
    Tags::from([
        (format!("{TAG_INTENT}n"), format!("{slot}/{attempt} 0 closed")),
        (TAG_TARGET.to_owned(), nodes.to_string()),
    ])
}

/// The highest number of any launch that a template knows of.
pub(super) fn last_slot(template: &LaunchTemplate) -> Option<u32> {
    let head = template.tags.get(&format!("{TAG_INTENT}n"))?;
    head.split('/').next()?.parse().ok()
}

/// Number of nodes that the pool had when an apply last ended.
pub(super) fn target(template: &LaunchTemplate) -> Option<u32> {
    template.tags.get(TAG_TARGET)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn template(tags: Tags) -> LaunchTemplate {
        LaunchTemplate {
            id: "lt-1".into(),
            name: "x".into(),
            latest_version: 1,
            tags,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    proptest! {
        #[test]
        fn an_intent_survives_the_tags_and_never_passes_ec2s_limits(
            slot in 0u32..9999, attempt in 0u32..99, at in 0i64..4_000_000_000, count in 1u32..1000,
            kinds in prop::collection::vec("[a-z]{1,3}[0-9][a-z]{0,5}\\.[0-9a-z]{5,12}", 1..20), subnets in 1usize..=3,
        ) {
            let seats: Vec<Seat> = kinds.iter().flat_map(|k| (0..subnets).map(move |s| Seat {
                instance_type: k.clone(), subnet: format!("subnet-{s:017x}"),
            })).take(SEATS).collect();
            let intent = Intent {
                slot, attempt, at: Timestamp::from_second(at).unwrap(), lifecycle: Lifecycle::Spot, count, target: count, seats,
            };
            let tags = intent.tags().unwrap();
            prop_assert!(tags.len() <= 40 && tags.iter().all(|(k, v)| k.len() <= 128 && v.len() <= 256));
            let found = template(tags.clone());
            prop_assert_eq!(Intent::of(&found), Some(intent.clone()));
            prop_assert_eq!(last_slot(&found), Some(slot));
            // Another template, attempt or place is another request and has another token.
            let id = PoolId { cluster: "c".into(), name: "p".into() };
            let other = Intent { attempt: attempt + 1, ..intent.clone() };
            prop_assert_ne!(intent.token(&id, "lt-1"), other.token(&id, "lt-1"));
            prop_assert_ne!(intent.token(&id, "lt-1"), intent.token(&id, "lt-2"));
            prop_assert!(intent.token(&id, "lt-1").len() <= 64);
            let mut torn = tags;
            torn.insert(format!("{TAG_INTENT}0"), "1 0 0.".into());
            prop_assert_eq!(Intent::of(&template(torn)), None);
        }
    }
}
