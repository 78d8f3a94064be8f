//! `/sandbox/…`: control of the sandbox itself, for administrators. It is not Kubernetes.
//!
//! | request | |
//! | --- | --- |
//! | `GET /sandbox` | what this is, the clock, how many objects and requests |
//! | `GET /sandbox/requests?after=N` | the request log after sequence number N |
//! | `GET /sandbox/faults`, `POST /sandbox/faults` | the rules with what they have met; add one |
//! | `DELETE /sandbox/faults`, `DELETE /sandbox/faults/ID` | remove all; remove one, what it holds goes on |
//! | `GET /sandbox/rewrites`, `POST`, `DELETE` | a mutating webhook that sets a field of what is written |
//! | `GET /sandbox/edits`, `POST`, `DELETE` | a user who edits a field over and over |
//! | `POST /sandbox/clock` | `{"speed": 10}` or `{"advanceSeconds": 60}` |
//! | `POST /sandbox/compact` | forget the history: running watches and old lists expire |

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::negotiate::Media;
use super::reply::{self, Reply};
use super::{Api, Call};
use crate::faults::Rule;
use crate::kubernetes::registry::Failure;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClockChange {
    speed: Option<f64>,
    advance_seconds: Option<u64>,
}

/// Answer a request under `/sandbox`.
pub(crate) fn answer(api: &Arc<Api>, call: &Call, path: &str, body: &[u8]) -> Reply {
    control(api, call, path, body).unwrap_or_else(|failure| reply::failure(&failure, &call.accept))
}

fn control(api: &Arc<Api>, call: &Call, path: &str, body: &[u8]) -> Result<Reply, Failure> {
    if !call.user.is_master() {
        return Err(Failure::new(
            403,
            "Forbidden",
            "the sandbox's controls are for its own token",
        ));
    }
    let faults = &api.faults;
    let clock = api.registry.clock();
    let ok = |value: Value| Ok(Reply::value(200, &value, Media::Json));
    match (&call.parts.method, path) {
        (&Method::GET, "") => ok(json!({
            "sandbox": "myelin-sandbox", "version": env!("CARGO_PKG_VERSION"),
            "notice": "This is a test double of a Kubernetes API, not a cluster.",
            "time": clock.timestamp(), "speed": clock.speed(), "revision": api.registry.store().revision(),
            "requests": faults.sequence(), "objects": api.registry.store().counts(),
        })),
        (&Method::GET, "requests") => {
            let after = call.query("after").and_then(|v| v.parse().ok()).unwrap_or(0);
            ok(json!({"sequence": faults.sequence(), "requests": faults.log(after)}))
        }
        (&Method::GET, "faults") => ok(json!({"rules": faults.rules()})),
        (&Method::POST, "faults") => {
            let rule: Rule = parse(body)?;
            ok(json!({"id": faults.add(rule)}))
        }
        (&Method::DELETE, "faults") => {
            faults.clear();
            ok(json!({}))
        }
        (&Method::DELETE, path) if path.starts_with("faults/") => match faults.remove(&path[7..]) {
            true => ok(json!({})),
            false => Err(Failure::no_such_path()),
        },
        (&Method::GET, "rewrites") => ok(json!({"rewrites": api.registry.meddling().rewrites()})),
        (&Method::POST, "rewrites") => {
            api.registry.meddling().add_rewrite(parse(body)?);
            ok(json!({}))
        }
        (&Method::DELETE, "rewrites") => {
            api.registry.meddling().clear_rewrites();
            ok(json!({}))
        }
        (&Method::GET, "edits") => ok(json!({"edits": api.registry.meddling().edits()})),
        (&Method::POST, "edits") => {
            api.registry.meddling().add_edit(parse(body)?);
            ok(json!({}))
        }
        (&Method::DELETE, "edits") => {
            api.registry.meddling().clear_edits();
            ok(json!({}))
        }
        (&Method::POST, "clock") => {
            let change: ClockChange = parse(body)?;
            if let Some(speed) = change.speed {
                clock.set_speed(speed);
            }
            if let Some(seconds) = change.advance_seconds {
                clock.advance(std::time::Duration::from_secs(seconds));
            }
            ok(json!({"time": clock.timestamp(), "speed": clock.speed()}))
        }
        (&Method::POST, "compact") => {
            api.registry.store().compact();
            ok(json!({"revision": api.registry.store().revision()}))
        }
        _ => Err(Failure::no_such_path()),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::bad_request(format!("cannot read the body: {error}")))
}
