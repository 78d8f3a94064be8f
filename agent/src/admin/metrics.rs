//! The node's metrics in Prometheus' text format. No label has a value that a stranger can choose.

use crate::node::Shared;
use crate::presence::Presence;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// All metrics.
pub(super) fn text(shared: &Shared) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, u64)]| {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "# HELP myelin_agent_{name} {help}\n# TYPE myelin_agent_{name} {kind}"
        );
        for (labels, value) in samples {
            let _ = writeln!(out, "myelin_agent_{name}{labels} {value}");
        }
    };
    let view = shared.view.borrow().clone();
    let presence = *shared.presence.borrow();
    let is = |p: Presence| u64::from(p == presence);
    family(
        "presence",
        "gauge",
        "What the node is to its peers.",
        &[
            ("{is=\"starting\"}", is(Presence::Starting)),
            ("{is=\"ready\"}", is(Presence::Ready)),
            ("{is=\"sick\"}", is(Presence::Sick)),
            ("{is=\"cordoned\"}", is(Presence::Cordoned)),
            ("{is=\"draining\"}", is(Presence::Draining)),
        ],
    );
    family(
        "workload_restarts_total",
        "counter",
        "Starts of the workload after its first.",
        &[("", view.restarts)],
    );
    let peers = shared.peers.borrow().clone();
    let ready = peers.iter().filter(|p| p.takes_work()).count();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    family(
        "peers",
        "gauge",
        "Peers that are known, and those that take work.",
        &[
            ("{of=\"known\"}", count(peers.len())),
            ("{of=\"taking_work\"}", count(ready)),
        ],
    );
    let get = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    family(
        "gossip_dropped_total",
        "counter",
        "Packets that strangers sent, that were played again, and that members sent in vain.",
        &[
            ("{why=\"foreign\"}", get(&shared.dropped.foreign)),
            ("{why=\"replayed\"}", get(&shared.dropped.replayed)),
            ("{why=\"unreadable\"}", get(&shared.dropped.unreadable)),
        ],
    );
    let calls = &shared.ec2.calls;
    family(
        "aws_requests_total",
        "counter",
        "Requests to EC2 and SSM.",
        &[
            ("{operation=\"describe\"}", get(&calls.describe)),
            ("{operation=\"tags\"}", get(&calls.tags)),
            ("{operation=\"parameter\"}", get(&calls.parameter)),
        ],
    );
    family(
        "aws_requests_failed_total",
        "counter",
        "Those of them that failed.",
        &[("", get(&calls.failed))],
    );
    let front = &shared.counters;
    family(
        "front_requests_total",
        "counter",
        "Requests that came to the front.",
        &[("", get(&front.requests))],
    );
    family(
        "front_passed_total",
        "counter",
        "Requests by where they were passed.",
        &[
            ("{to=\"local\"}", get(&front.local)),
            ("{to=\"peer\"}", get(&front.passed)),
        ],
    );
    family(
        "front_retries_total",
        "counter",
        "Tries after the first.",
        &[("", get(&front.retries))],
    );
    family(
        "front_refused_total",
        "counter",
        "Requests answered 503 by the front.",
        &[("", get(&front.refused))],
    );
    family(
        "front_failed_total",
        "counter",
        "Requests answered 502 or 504 by the front.",
        &[("", get(&front.failed))],
    );
    family(
        "front_closed_total",
        "counter",
        "Connections closed for slowness or number.",
        &[("", get(&front.closed))],
    );
    family(
        "front_in_flight",
        "gauge",
        "Requests that the workload works on.",
        &[("", u64::from(front.in_flight.load(Ordering::Relaxed)))],
    );
    out
}
