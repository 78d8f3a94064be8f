//! What the node shows to others: to its peers by gossip, to the pool by its state tag. Pure.

use crate::drain::machine::{Moment, Wanted};
use crate::workload::supervise::Health;
use serde::Serialize;
use std::time::Duration;

/// How long the workload may be unhealthy before the tag stops saying `ready`. Peers know at once; tag writes share a
/// rate of ten per second with the whole account, and a restart is usually faster.
const TAG_PATIENCE: Duration = Duration::from_secs(60);

/// The presence of a node, as peers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Its workload has not been healthy yet.
    Starting,
    /// It takes work.
    Ready,
    /// Its workload is not healthy.
    Sick,
    /// It takes no new work, and may come back.
    Cordoned,
    /// It takes no new work, and ends.
    Draining,
}

impl Presence {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Sick => "sick",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

/// Derives the node's presence.
#[must_use]
pub fn presence(wanted: Wanted, cordoned: bool, health: &Health) -> Presence {
    if wanted.is_draining() {
        return Presence::Draining;
    }
    match health {
        Health::Healthy if cordoned => Presence::Cordoned,
        Health::Healthy => Presence::Ready,
        Health::Starting(_) => Presence::Starting,
        Health::Sick(_) | Health::Waiting(_) | Health::Failed(_) | Health::Stopped => Presence::Sick,
    }
}

/// Values of the state tag, as the pool reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// It can be relied on.
    Ready,
    /// It leaves, or is held.
    Draining,
    /// Its workload is given up.
    Failed,
    /// There is none: not ready yet, or drained.
    Absent,
}

impl Tag {
    /// The value; None for no tag.
    #[must_use]
    pub fn value(self) -> Option<&'static str> {
        match self {
            Self::Ready => Some("ready"),
            Self::Draining => Some("draining"),
            Self::Failed => Some("failed"),
            Self::Absent => None,
        }
    }
}

/// Chooses the tag; remembers since when the workload is unhealthy.
#[derive(Debug, Clone, Default)]
pub struct TagRule {
    was_ready: bool,
    sick_since: Option<Moment>,
}

impl TagRule {
    /// The tag for now.
    pub fn tag(&mut self, wanted: Wanted, cordoned: bool, health: &Health, now: Moment) -> Tag {
        if wanted == Wanted::Drained {
            return Tag::Absent;
        }
        if wanted.is_draining() || cordoned {
            return Tag::Draining;
        }
        if *health == Health::Healthy {
            (self.was_ready, self.sick_since) = (true, None);
            return Tag::Ready;
        }
        if matches!(health, Health::Failed(_)) {
            return Tag::Failed;
        }
        let since = *self.sick_since.get_or_insert(now);
        if self.was_ready && now.saturating_sub(since) < TAG_PATIENCE {
            Tag::Ready
        } else {
            self.was_ready = false;
            Tag::Absent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_follows_health_slowly_and_drains_at_once() {
        let sick = Health::Sick("x".into());
        let failed = Health::Failed("x".into());
        let mut rule = TagRule::default();
        let course = [
            (0, Wanted::Serve, &Health::Starting(None), Tag::Absent),
            (5, Wanted::Serve, &Health::Healthy, Tag::Ready),
            (10, Wanted::Serve, &sick, Tag::Ready),
            (69, Wanted::Serve, &sick, Tag::Ready),
            (70, Wanted::Serve, &sick, Tag::Absent),
            (75, Wanted::Serve, &Health::Starting(None), Tag::Absent),
            (80, Wanted::Serve, &Health::Healthy, Tag::Ready),
            (81, Wanted::Finish, &Health::Healthy, Tag::Draining),
            (82, Wanted::Terminate, &Health::Healthy, Tag::Draining),
            (83, Wanted::Drained, &Health::Stopped, Tag::Absent),
            (84, Wanted::Serve, &failed, Tag::Failed),
        ];
        for (now, wanted, health, expected) in course {
            assert_eq!(
                rule.tag(wanted, false, health, Duration::from_secs(now)),
                expected,
                "at {now}"
            );
        }
        assert_eq!(
            rule.tag(Wanted::Serve, true, &Health::Healthy, Duration::ZERO),
            Tag::Draining
        );
    }

    #[test]
    fn peers_hear_of_a_drain_before_anything_else() {
        assert_eq!(
            presence(Wanted::Finish, true, &Health::Starting(None)),
            Presence::Draining
        );
        assert_eq!(presence(Wanted::Serve, true, &Health::Healthy), Presence::Cordoned);
        assert_eq!(
            presence(Wanted::Serve, true, &Health::Waiting(String::new())),
            Presence::Sick
        );
        assert_eq!(presence(Wanted::Serve, false, &Health::Healthy), Presence::Ready);
    }
}
