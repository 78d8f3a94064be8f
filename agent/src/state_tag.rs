//! Keeps the state tag at what is wanted: one request for a change, repeated with jitter while EC2 does not take it. The newest
//! wish wins over one that waits.
//!
//! EC2 takes ten tag writes a second for a whole account and region, after a burst of a hundred (EC2 developer guide, "Request
//! throttling"). A pool of a thousand whose nodes become ready together would hold that bucket empty for minutes, and the controller
//! could not mark a node for its drain. So a node that is refused its `ready` for the rate leaves the field: it tries again some time in
//! the next minutes, so that the pool asks for half the rate at most. A drain is not put off like that: few nodes drain at a time.

use crate::backoff;
use crate::ec2::Ec2;
use crate::identity::TAG_STATE;
use crate::presence::Tag;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Writes a second that all nodes of a pool together allow themselves once the rate was used up.
const SHARE: u32 = 5;

/// The least that a crowd is spread over: a thousand nodes that do not know of each other yet, less the burst, at three quarters of the rate.
const CROWD: Duration = Duration::from_secs(120);

/// The longest that a crowd is spread over.
const LONGEST_CROWD: Duration = Duration::from_secs(600);

/// How long to wait after so many refusals in a row, `throttled` when the last was for the rate, in a pool of so many. Pure.
#[must_use]
pub fn wait(tag: Tag, throttled: bool, failures: u32, members: usize, chance: f64) -> Duration {
    if throttled && tag == Tag::Ready {
        let size = u32::try_from(members).unwrap_or(u32::MAX);
        let crowd = CROWD.max(Duration::from_secs(u64::from(size) * 2 / u64::from(SHARE)));
        return backoff::full_jitter(crowd, LONGEST_CROWD.max(crowd), failures, chance);
    }
    backoff::full_jitter(FIRST, LONGEST, failures, chance)
}

/// Runs until nobody wishes any more. `told` says what EC2 has taken. A tag that an earlier run of the agent left is unknown at
/// first, so that the first wish is always sent, also when it is to have none. `members` says how many others there are.
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
