//! The guarantees of a drain, for chosen and for random sequences of events.

use super::*;
use proptest::prelude::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn rules() -> Rules {
    Rules {
        timeout: secs(120),
        margin: secs(10),
        grace: secs(20),
        hook: Some(secs(30)),
    }
}

fn seen(now: u64, causes: &[(Cause, Option<u64>)]) -> Seen {
    Seen {
        now: secs(now),
        causes: causes.iter().map(|(c, d)| (*c, d.map(secs))).collect(),
        in_flight: 0,
        hook: HookSeen::NotStarted,
        workload_runs: true,
    }
}

#[test]
fn an_idle_node_goes_through_every_step_at_once_but_lets_peers_hear_of_it_first() {
    let mut machine = Machine::new(rules());
    let spot = [(Cause::Spot, Some(220))];
    assert_eq!(machine.look(&seen(90, &[])), Wanted::Serve);
    assert_eq!(machine.look(&seen(100, &spot)), Wanted::Finish);
    assert_eq!(machine.look(&seen(101, &spot)), Wanted::Hook);
    let ended = Seen {
        hook: HookSeen::Ended,
        ..seen(102, &spot)
    };
    assert_eq!(machine.look(&ended), Wanted::Terminate);
    let gone = Seen {
        workload_runs: false,
        ..ended.clone()
    };
    assert_eq!(machine.look(&gone), Wanted::Drained);
    assert_eq!(machine.look(&ended), Wanted::Drained, "what is drained stays so");
}

#[test]
fn requests_that_never_end_get_their_share_and_no_more() {
    let mut machine = Machine::new(rules());
    let at = |now| Seen {
        in_flight: 3,
        ..seen(now, &[(Cause::Spot, Some(220))])
    };
    let course: Vec<Wanted> = [100, 159, 160].map(|now| machine.look(&at(now))).into();
    assert_eq!(
        course,
        [Wanted::Finish, Wanted::Finish, Wanted::Hook],
        "30 s for the hook, 20 s of grace, before 210"
    );
    let running = |now| Seen {
        hook: HookSeen::Running,
        ..at(now)
    };
    let course: Vec<Wanted> = [189, 190, 208, 209].map(|now| machine.look(&running(now))).into();
    assert_eq!(
        course,
        [Wanted::Hook, Wanted::Terminate, Wanted::Terminate, Wanted::Kill]
    );
}

#[test]
fn a_drain_is_called_off_until_the_workload_has_its_sigterm_and_not_after() {
    let mut machine = Machine::new(rules());
    let tag = [(Cause::Tag, None)];
    assert_eq!(machine.look(&seen(0, &tag)), Wanted::Finish);
    assert_eq!(machine.look(&seen(2, &tag)), Wanted::Hook);
    assert_eq!(machine.look(&seen(3, &[])), Wanted::Serve);
    assert_eq!(machine.causes(), []);
    // The next drain starts over, with a new deadline.
    assert_eq!(machine.look(&seen(500, &tag)), Wanted::Finish);
    assert_eq!(machine.end(), Some(secs(500 + 110)));
    let ended = Seen {
        hook: HookSeen::Ended,
        ..seen(503, &tag)
    };
    assert_eq!(machine.look(&ended), Wanted::Terminate);
    assert_eq!(machine.look(&seen(504, &[])), Wanted::Terminate);
    assert_eq!(machine.causes(), [Cause::Tag]);
}

#[test]
fn one_of_two_causes_called_off_leaves_the_other() {
    let mut machine = Machine::new(rules());
    machine.look(&seen(0, &[(Cause::Asked, None)]));
    assert_eq!(
        machine.look(&seen(5, &[(Cause::Asked, None), (Cause::Spot, Some(65))])),
        Wanted::Hook
    );
    assert_eq!(machine.end(), Some(secs(55)), "the nearest deadline counts");
    machine.look(&seen(6, &[(Cause::Asked, None)]));
    assert_eq!((machine.end(), machine.causes()), (Some(secs(110)), vec![Cause::Asked]));
}

#[test]
fn a_deadline_that_is_past_kills_after_one_look() {
    let mut machine = Machine::new(rules());
    let late = |now| seen(now, &[(Cause::Spot, Some(5))]);
    assert_eq!(machine.look(&late(100)), Wanted::Terminate);
    assert_eq!(machine.look(&late(101)), Wanted::Kill);
}

/// What may happen between two looks.
#[derive(Debug, Clone)]
struct Event {
    millis: u64,
    cause: Option<(Cause, Option<u64>)>,
    called_off: Option<Cause>,
    in_flight: u32,
    hook_ends: bool,
    workload_ends: bool,
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::Spot),
        Just(Cause::Rebalance),
        Just(Cause::Tag),
        Just(Cause::Asked),
        Just(Cause::Stop)
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let given = prop::option::weighted(0.15, (cause(), prop::option::of(20u64..200)));
    let off = prop::option::weighted(0.1, cause());
    (
        50u64..4_000,
        given,
        off,
        0u32..3,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(millis, cause, called_off, in_flight, hook_ends, workload_ends)| Event {
                millis,
                cause,
                called_off,
                in_flight,
                hook_ends,
                workload_ends,
            },
        )
}

proptest! {
    #[test]
    fn the_promises_hold_for_any_course(
        events in prop::collection::vec(event(), 1..200),
        grace in 0u64..60, hook in prop::option::of(0u64..90), timeout in 11u64..300,
    ) {
        let rules = Rules { timeout: secs(timeout), margin: secs(10), grace: secs(grace), hook: hook.map(secs) };
        let mut machine = Machine::new(rules.clone());
        let mut seen = seen(0, &[]);
        let mut last = Wanted::Serve;
        for e in events {
            seen.now += Duration::from_millis(e.millis);
            seen.in_flight = e.in_flight;
            if let Some((cause, deadline)) = e.cause {
                let deadline = deadline.filter(|_| cause == Cause::Spot).map(|d| seen.now + secs(d));
                seen.causes.entry(cause).or_insert(deadline);
            }
            if let Some(cause) = e.called_off.filter(|c| *c != Cause::Stop) {
                seen.causes.remove(&cause);
            }
            if last == Wanted::Hook && seen.hook == HookSeen::NotStarted {
                seen.hook = HookSeen::Running;
            }
            if e.hook_ends && seen.hook == HookSeen::Running {
                seen.hook = HookSeen::Ended;
            }
            if (last == Wanted::Terminate && e.workload_ends) || last == Wanted::Kill {
                seen.workload_runs = false;
            }
            let wanted = machine.look(&seen);
            if wanted == Wanted::Serve {
                seen.hook = HookSeen::NotStarted;
            }

            // Never back once the workload has its SIGTERM, and never from SIGKILL to SIGTERM.
            prop_assert!(!last.is_final() || wanted.is_final());
            prop_assert!(last != Wanted::Kill || wanted != Wanted::Terminate);
            prop_assert!(last != Wanted::Drained || wanted == Wanted::Drained);
            // Work is accepted exactly while there is no cause for a drain.
            prop_assert!(wanted.is_final() || wanted.is_draining() != seen.causes.is_empty());
            // A hook runs only if there is one, and never after it ended.
            prop_assert!(wanted != Wanted::Hook || (rules.hook.is_some() && seen.hook != HookSeen::Ended));
            // The node is never drained while the workload runs.
            prop_assert!(wanted != Wanted::Drained || last == Wanted::Drained || !seen.workload_runs);
            // At the end nothing runs that did not get SIGKILL, unless the drain was first seen at this very look.
            if let Some(end) = machine.end()
                && seen.now >= end && last.is_final() && seen.workload_runs && last != Wanted::Drained {
                prop_assert_eq!(wanted, Wanted::Kill);
            }
            last = wanted;
        }
    }

    #[test]
    fn looked_at_often_enough_everything_has_ended_by_the_margin(
        in_flight in 0u32..2, hook_runs in any::<bool>(), heeds in any::<bool>(), notice in 25u64..121, grace in 0u64..90, hook in 0u64..90,
    ) {
        let rules = Rules { timeout: secs(120), margin: secs(10), grace: secs(grace), hook: Some(secs(hook)) };
        let mut machine = Machine::new(rules);
        let mut now = seen(1000, &[(Cause::Spot, Some(1000 + notice))]);
        now.in_flight = in_flight;
        let end = secs(1000 + notice - 10);
        let mut tries = 0;
        let ended = loop {
            let wanted = machine.look(&now);
            match wanted {
                Wanted::Hook => now.hook = if hook_runs { HookSeen::Running } else { HookSeen::Ended },
                Wanted::Terminate if heeds => now.workload_runs = false,
                Wanted::Kill => now.workload_runs = false,
                Wanted::Drained => break now.now,
                _ => {}
            }
            now.now += Duration::from_millis(200);
            tries += 1;
            prop_assert!(tries < 2_000);
        };
        prop_assert!(ended <= end, "{ended:?} is after {end:?}");
    }
}
