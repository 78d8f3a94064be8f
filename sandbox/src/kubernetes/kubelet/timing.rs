//! How long things take on a node, in milliseconds: what the recordings show on an idle machine, rounded.
//!
//! Orders depend on these, never correctness: a reader of the sandbox must not count on any of them.

use super::shell::Millis;

/// From the first look at a pod until its volumes are mounted.
pub(super) const MOUNT: Millis = 250;
/// From there until its sandbox is there.
pub(super) const SANDBOX: Millis = 200;
/// Making a container.
pub(super) const CREATE: Millis = 15;
/// Starting it.
pub(super) const START: Millis = 60;
/// From the start of a process to its first effect: longer than the look that sees it running, as a real one takes.
pub(super) const SPAWN: Millis = 20;
/// By how much pods that come up in parallel hold each other up.
pub(super) const STAGGER: Millis = 45;
/// From a start to the look that sees it running.
pub(super) const RELIST: Millis = 10;
/// The runtime is checked for dead containers once a second, at this offset.
pub(super) const TICK: Millis = 1000;
/// Offset of that look within the second.
pub(super) const TICK_PHASE: Millis = 300;
/// From a container's end to the end of its pod, which the runtime confirms.
pub(super) const CONFIRM: Millis = 1200;
/// A kill takes at least two seconds of grace, and then some.
pub(super) const LEAST_GRACE: Millis = 2000;
/// What a kill takes beyond the grace.
pub(super) const KILL: Millis = 60;
/// From the last exit to the last status of a deleted pod.
pub(super) const CLEAN: Millis = 100;
/// From there to the deletion.
pub(super) const REMOVE: Millis = 430;
/// A failed start is tried again after this.
pub(super) const AGAIN: Millis = 12_000;
/// The first pause before a crashed container is restarted for the second time; it doubles.
pub(super) const BACKOFF: Millis = 10_000;
/// The longest pause.
pub(super) const LONGEST_BACKOFF: Millis = 300_000;
/// A pause after which a container is as good as new.
pub(super) const FORGIVEN: Millis = 600_000;
/// From a container's start to the probe that its readiness calls for at once.
pub(super) const PROMPT_PROBE: Millis = 30;
/// How often the node looks at the size of volumes.
pub(super) const EVICTION: Millis = 10_000;

/// The next look at the runtime, at or after a time.
pub(super) fn next_tick(now: Millis) -> Millis {
    now + (TICK_PHASE - now).rem_euclid(TICK)
}
