//! Keeps the state tag as wanted: one request per change, repeated with jitter while EC2 does not accept it. A newer
//! value replaces one that is still waiting.
//!
//! EC2 accepts ten tag writes a second for a whole account and region, after a burst of a hundred (EC2 developer guide,
//! "Request throttling"). If a thousand nodes became ready together, they would keep that bucket empty for minutes, and
//! the controller could not mark a node for its drain. So a node whose `ready` is refused for the rate retries at a
//! random time within the next minutes, so that the pool uses at most half the rate. Tags of a drain are not delayed
//! like that: few nodes drain at a time.

use crate::backoff;
use crate::ec2::Ec2;
use crate::identity::TAG_STATE;
use crate::presence::Tag;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Writes per second of all nodes of a pool together, once the rate was used up.
const SHARE: u32 = 5;

/// The shortest time over which a pool's writes are spread: a thousand nodes that do not know each other yet, minus the
/// burst, at three quarters of the rate.
const CROWD: Duration = Duration::from_secs(120);

/// The longest time over which a pool's writes are spread.
const LONGEST_CROWD: Duration = Duration::from_secs(600);

/// How long to wait after this many refusals in a row, in a pool of this size; `throttled` if the last was for the
/// rate. Pure.
#[must_use]
pub fn wait(tag: Tag, throttled: bool, failures: u32, members: usize, chance: f64) -> Duration {
    if throttled && tag == Tag::Ready {
        let size = u32::try_from(members).unwrap_or(u32::MAX);
        let crowd = CROWD.max(Duration::from_secs(u64::from(size) * 2 / u64::from(SHARE)));
        return backoff::full_jitter(crowd, LONGEST_CROWD.max(crowd), failures, chance);
    }
    backoff::full_jitter(FIRST, LONGEST, failures, chance)
}

/// Runs until the sender is dropped. `told` is what EC2 has accepted. A tag left by an earlier run is unknown at first,
/// so the first value is always sent, also if it is "no tag". `members` is the number of other nodes.
pub async fn keep(
    ec2: Arc<Ec2>,
    instance: String,
    mut wish: watch::Receiver<Option<Tag>>,
    told: watch::Sender<Option<Tag>>,
    members: impl Fn() -> usize,
) {
    let mut failures = 0;
    loop {
        let wanted = *wish.borrow_and_update();
        let Some(tag) = wanted.filter(|_| wanted != *told.borrow()) else {
            if wish.changed().await.is_err() {
                return;
            }
            continue;
        };
        let sent = match tag.value() {
            Some(value) => ec2.set_tag(&instance, TAG_STATE, value).await,
            None => ec2.remove_tag(&instance, TAG_STATE).await,
        };
        match sent {
            Ok(()) => {
                failures = 0;
                told.send_replace(Some(tag));
                tracing::info!(value = tag.value().unwrap_or("none"), "the state tag is set");
            }
            Err(error) => {
                failures += 1;
                let wait = wait(tag, error.is_throttled(), failures, members(), rand::random());
                let seconds = wait.as_secs_f32();
                tracing::warn!(%error, seconds, value = tag.value().unwrap_or("none"), "the state tag cannot be set, trying again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    changed = wish.changed() => match changed {
                        Ok(()) => failures = 0,
                        Err(_) => return,
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_spread_over_minutes_and_a_drain_is_not_put_off() {
        let longest = |tag, throttled, failures, members| wait(tag, throttled, failures, members, 1.0).as_secs();
        for (what, waits, expected) in [
            (
                "ready, the rate is used up",
                [1, 2, 9].map(|n| longest(Tag::Ready, true, n, 0)),
                [120, 240, 600],
            ),
            (
                "ready, among a thousand",
                [1, 2, 9].map(|n| longest(Tag::Ready, true, n, 1_000)),
                [400, 600, 600],
            ),
            (
                "ready, EC2 has an error",
                [1, 2, 9].map(|n| longest(Tag::Ready, false, n, 1_000)),
                [1, 2, 30],
            ),
            (
                "draining",
                [1, 2, 9].map(|n| longest(Tag::Draining, true, n, 1_000)),
                [1, 2, 30],
            ),
            (
                "gone",
                [1, 2, 9].map(|n| longest(Tag::Absent, true, n, 1_000)),
                [1, 2, 30],
            ),
        ] {
            assert_eq!(waits, expected, "{what}");
        }
        assert_eq!(wait(Tag::Ready, true, 1, 0, 0.0), Duration::ZERO);
    }
}
