//! Gates against recordings of real workloads: every change of every object, replayed on a virtual clock.
//!
//! Each recording carries the verdict that a user would want. A gate sees what a watch would have shown, at the same
//! moment, and sets the timers that its verdicts require. New recordings in the folder are replayed without being named
//! here. If the folder is absent, the tests say so and check nothing.

use myelin_engine::{
    gate::{Applied, Cause, Change, Decision, Gate, Heals, Moment, Patience, Settings, Sights, State, Verdict, Wanted},
    object::ObjectKey,
};
use serde_json::{Value, json};
use std::io::Write as _;
use std::{collections::HashMap, fmt::Write as _, path::PathBuf};

/// The second of the apply in every replay.
const START: i64 = 1_700_000_000_000;
/// How long the clock runs on after a recording, while nothing else happens.
const AFTERWARDS: i64 = 60_000;

fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/kubernetes-api/timelines");
    if folder.is_dir() {
        return Some(folder);
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED: no recordings at {}", folder.display());
    None
}

fn recordings() -> Vec<Value> {
    let Some(folder) = folder() else { return Vec::new() };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the folder of recordings is there and empty");
    files
        .iter()
        .map(|file| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
        .collect()
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ControllerRevision" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        "HorizontalPodAutoscaler" => "autoscaling/v2",
        "PodDisruptionBudget" => "policy/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "StorageClass" => "storage.k8s.io/v1",
        "Ingress" => "networking.k8s.io/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        "APIService" => "apiregistration.k8s.io/v1",
        "Widget" => "{{ns}}.example.test/v1",
        _ => "v1",
    }
}

fn reference(text: &str) -> (String, String) {
    let (kind, name) = text.split_once('/').unwrap();
    (kind.to_owned(), name.to_owned())
}

fn key_of(kind: &str, name: &str) -> ObjectKey {
    let group = api_version(kind).split_once('/').map_or("", |(group, _)| group);
    let cluster = matches!(
        kind,
        "Namespace" | "PersistentVolume" | "StorageClass" | "CustomResourceDefinition" | "Node" | "APIService"
    );
    ObjectKey::new(group, kind, if cluster { "" } else { "ns" }, name)
}

/// `<t+3s>` back to a timestamp.
fn times(value: &mut Value) {
    match value {
        Value::String(text) => {
            let seconds = text.strip_prefix("<t+").and_then(|t| t.strip_suffix("s>"));
            if let Some(seconds) = seconds.and_then(|s| s.parse::<i64>().ok()) {
                let at = jiff::Timestamp::from_second(START / 1000 + seconds).unwrap();
                *text = at.to_string();
            }
        }
        Value::Array(all) => all.iter_mut().for_each(times),
        Value::Object(all) => all.values_mut().for_each(times),
        _ => {}
    }
}

/// The object as the API would have shown it, from a line of a recording and what was known of it before.
fn whole(entry: &Value, before: &mut HashMap<String, Value>) -> Value {
    let (kind, name) = (entry["kind"].as_str().unwrap(), entry["name"].as_str().unwrap());
    let uid = entry["uid"].as_str().unwrap();
    let object = before.entry(uid.to_owned()).or_insert_with(|| json!({}));
    for (field, value) in entry.as_object().unwrap() {
        if !matches!(
            field.as_str(),
            "at_ms" | "type" | "kind" | "name" | "uid" | "metadata" | "status" | "replicas"
        ) {
            object[field] = value.clone();
        }
    }
    let key = key_of(kind, name);
    let mut shown = object.clone();
    shown["apiVersion"] = json!(api_version(kind));
    shown["kind"] = json!(kind);
    let mut metadata = entry["metadata"].clone();
    metadata["name"] = json!(name);
    metadata["uid"] = json!(uid);
    metadata["namespace"] = json!(key.namespace);
    let owners = metadata["ownerReferences"].as_array().cloned().unwrap_or_default();
    metadata["ownerReferences"] = owners
        .iter()
        .map(|owner| {
            let (kind, name) = reference(owner.as_str().unwrap());
            json!({"apiVersion": api_version(&kind), "kind": kind, "name": name, "controller": true})
        })
        .collect();
    for part in ["labels", "annotations"] {
        if let Some(value) = shown.as_object_mut().unwrap().remove(part) {
            metadata[part] = value;
        }
    }
    shown["metadata"] = metadata;
    if !entry["status"].is_null() {
        shown["status"] = entry["status"].clone();
    }
    times(&mut shown);
    shown
}

fn event(entry: &Value, number: usize) -> Value {
    let (kind, name) = reference(entry["involvedObject"].as_str().unwrap());
    let key = key_of(&kind, &name);
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": key.namespace, "name": format!("e{number}")},
        "type": entry["type"], "reason": entry["reason"], "message": entry["message"], "count": entry["count"],
        "involvedObject": {"apiVersion": api_version(&kind), "kind": kind, "namespace": key.namespace, "name": name,
                           "fieldPath": entry["fieldPath"]}})
}

enum Line<'a> {
    Object(&'a Value),
    Event(&'a Value),
    Step(&'a Value),
}

struct Replay {
    name: String,
    expect: Value,
    /// Every change of mind: when (milliseconds since the apply), verdict, what to do.
    trail: Vec<(i64, Verdict, Decision)>,
    at_end: Verdict,
    /// Where it settles when nothing else happens after the recording.
    settled: Verdict,
    /// When the recording stopped.
    ended: i64,
    /// When the gate was put up for the last apply of the subject.
    last_apply: i64,
    /// Later steps that other people took.
    others_acted: Vec<i64>,
    /// First end of a run of any container after the last apply, and whether all containers have probes.
    first_crash: Option<i64>,
    probed: bool,
}

/// What is done to a recording before a gate sees it.
#[derive(Clone, Copy)]
struct Twist<'a> {
    /// The watch on this kind lags behind the others by this many milliseconds.
    lag: (&'a str, i64),
    /// At this share of the recording the process dies and another begins: it sees lists, and knows nothing.
    restart_at: Option<f64>,
}

const STRAIGHT: Twist<'static> = Twist {
    lag: ("", 0),
    restart_at: None,
};

fn replay(recording: &Value, twist: Twist<'_>) -> Replay {
    let (kind, name) = reference(recording["expect"]["subject"].as_str().unwrap());
    let key = key_of(&kind, &name);
    let mut lines: Vec<(i64, Line<'_>)> = Vec::new();
    let mut clock = i64::MIN;
    for entry in recording["events"].as_array().unwrap() {
        // Lines are in the order of the writes; the time of reading may be a few milliseconds off.
        clock = clock.max(entry["at_ms"].as_i64().unwrap());
        let lag = if entry["kind"] == twist.lag.0 { twist.lag.1 } else { 0 };
        lines.push((clock + lag, Line::Object(entry)));
    }
    for entry in recording["kubernetesEvents"].as_array().unwrap() {
        let lag = if twist.lag.0 == "Event" { twist.lag.1 } else { 0 };
        lines.push((entry["at_ms"].as_i64().unwrap() + lag, Line::Event(entry)));
    }
    for entry in recording["steps"].as_array().unwrap() {
        lines.push((entry["at_ms"].as_i64().unwrap(), Line::Step(entry)));
    }
    lines.sort_by_key(|(at, line)| (*at, !matches!(line, Line::Step(_))));
    let end = recording["ended"]["at_ms"].as_i64().unwrap() + twist.lag.1;
    let restart_at = twist.restart_at.map(|share| (end as f64 * share) as i64);
    let mut restarted = false;
    let mut shown: HashMap<ObjectKey, Value> = HashMap::new();
    let mut said: Vec<Value> = Vec::new();

    let settings = Settings::default();
    let patience = Patience::default();
    let mut sights = Sights::default();
    let mut objects = HashMap::new();
    let applied = |at: i64, generation: Option<i64>| Applied {
        at: Moment(START + at),
        generation,
        has_status: None,
    };
    let mut gate = Gate::new(key.clone(), applied(0, None));
    let mut done = Replay {
        name: recording["name"].as_str().unwrap().to_owned(),
        expect: recording["expect"].clone(),
        trail: Vec::new(),
        at_end: gate.look(&sights, &settings, Moment(START)),
        settled: gate.look(&sights, &settings, Moment(START)),
        ended: end,
        last_apply: 0,
        others_acted: Vec::new(),
        first_crash: None,
        probed: true,
    };
    let mut timer: Option<Moment> = None;
    let look = |gate: &mut Gate, sights: &Sights, done: &mut Replay, at: i64| {
        let verdict = gate.look(sights, &settings, Moment(START + at));
        let decision = patience.decide(Wanted::Ready, &verdict, Moment(START + at));
        assert!(
            verdict.check_again_at.is_none_or(|again| again > Moment(START + at)),
            "{}: a timer that has already run out: {verdict:?}",
            done.name
        );
        done.trail.push((at, verdict.clone(), decision));
        done.settled = verdict.clone();
        match decision {
            Decision::Wait(until) => until,
            _ => verdict.check_again_at,
        }
    };
    for (number, (at, line)) in lines.iter().enumerate() {
        while let Some(due) = timer.filter(|due| due.0 - START <= *at) {
            timer = look(&mut gate, &sights, &mut done, due.0 - START);
        }
        if let Some(restart) = restart_at.filter(|restart| !restarted && restart <= at) {
            restarted = true;
            sights = Sights::default();
            for object in shown.values().chain(&said) {
                sights.see(Change::Listed(object), Moment(START + restart));
            }
            let generation = shown.get(&key).and_then(|o| o["metadata"]["generation"].as_i64());
            gate = Gate::new(key.clone(), applied(restart, generation));
            timer = look(&mut gate, &sights, &mut done, restart);
        }
        let concerned = match line {
            Line::Object(entry) => {
                let object = whole(entry, &mut objects);
                match entry["type"].as_str() {
                    _ if restarted || restart_at.is_none() => None,
                    Some("DELETED") => shown.remove(&ObjectKey::of(&object)),
                    _ => shown.insert(ObjectKey::of(&object), object.clone()),
                };
                note_crashes(&object, *at, &mut done);
                let change = match (entry["type"].as_str().unwrap(), *at < 0) {
                    ("DELETED", _) => Change::Gone(&object),
                    (_, true) => Change::Listed(&object),
                    _ => Change::Set(&object),
                };
                sights.see(change, Moment(START + at))
            }
            Line::Event(entry) => {
                let event = event(entry, number);
                let stamp = |at: i64| jiff::Timestamp::from_millisecond(START + at).unwrap().to_string();
                let mut stamped = event.clone();
                stamped["lastTimestamp"] = json!(stamp(*at));
                said.push(stamped);
                sights.see(Change::Set(&event), Moment(START + at))
            }
            Line::Step(step) => {
                let code = step["reply"]["code"].as_i64().unwrap_or(0);
                let applied_to = step["apply"]["kind"].as_str().map(|kind| {
                    format!(
                        "{kind}/{}",
                        step["apply"]["metadata"]["name"].as_str().unwrap_or_default()
                    )
                });
                let about = applied_to.or_else(|| step["patch"].as_str().map(str::to_owned));
                if code >= 300 || step.get("logs").is_some() {
                    continue;
                }
                if about.as_deref() == recording["expect"]["subject"].as_str() && step.get("subresource").is_none() {
                    let next = recording["events"].as_array().unwrap().iter().find(|e| {
                        e["kind"] == kind.as_str() && e["name"] == name.as_str() && e["at_ms"].as_i64().unwrap() >= *at
                    });
                    let generation = next.and_then(|e| e["metadata"]["generation"].as_i64());
                    gate.applied_again(applied(*at, generation));
                    done.last_apply = *at;
                    done.first_crash = None;
                } else {
                    done.others_acted.push(*at);
                }
                continue;
            }
        };
        if concerned.contains(&key) {
            timer = look(&mut gate, &sights, &mut done, *at);
        }
    }
    let mut finished = false;
    for _ in 0..1000 {
        let due = timer.map_or(i64::MAX, |due| due.0 - START);
        if due > end && !finished {
            finished = true;
            look(&mut gate, &sights, &mut done, end);
            done.at_end = done.settled.clone();
        }
        if due > end + AFTERWARDS {
            break;
        }
        timer = look(&mut gate, &sights, &mut done, due);
    }
    assert!(finished, "{}: timers without end", done.name);
    done
}

fn note_crashes(object: &Value, at: i64, done: &mut Replay) {
    if object["kind"] != "Pod" || !object["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let unprobed = |c: &Value| c.get("readinessProbe").is_none() && c.get("startupProbe").is_none();
    let containers = object["spec"]["containers"].as_array();
    if containers.is_some_and(|all| all.iter().any(unprobed)) {
        done.probed = false;
    }
    for list in ["initContainerStatuses", "containerStatuses"] {
        for status in object["status"][list].as_array().into_iter().flatten() {
            let ended = !status["state"]["terminated"].is_null() && status["state"]["terminated"]["exitCode"] != 0;
            if ended || status["restartCount"].as_i64().unwrap_or(0) > 0 {
                done.first_crash.get_or_insert(at);
            }
        }
    }
}

fn state(text: &str) -> State {
    match text {
        "Current" => State::Current,
        "InProgress" => State::InProgress,
        "Failed" => State::Failed,
        "Terminating" => State::Terminating,
        "Gone" => State::Gone,
        other => panic!("unknown outcome {other}"),
    }
}

fn heals(text: &str) -> Heals {
    match text {
        "itself" => Heals::Itself,
        "others" => Heals::Others,
        "spec" => Heals::Spec,
        "ended" => Heals::Ended,
        other => panic!("unknown heals {other}"),
    }
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything in which a replay falls short of what a user would want.
fn complaints(replay: &Replay) -> Vec<String> {
    let mut all = Vec::new();
    let expect = |field: &str| replay.expect[field].as_str();
    let outcome = state(expect("outcome").unwrap());
    let end = &replay.at_end;
    let came_true = end.state == outcome
        // Nothing else happened: what only waits for time to pass has come true.
        || (outcome == State::Current && end.state == State::InProgress && replay.settled.state == State::Current);
    if !came_true {
        all.push(format!("ends {:?}, should end {outcome:?}: {}", end.state, end.why()));
    }
    if let Some(wanted) = expect("heals") {
        if end.heals != Some(heals(wanted)) {
            all.push(format!("heals by {:?}, should by {wanted}: {}", end.heals, end.why()));
        }
    } else if let Some(odd) = replay.settled.heals {
        all.push(format!(
            "ends well and still heals by {odd:?}: {}",
            replay.settled.why()
        ));
    }
    for field in ["reason", "because"] {
        for part in expect(field).unwrap_or_default().split("; ") {
            if !squeezed(&end.why()).contains(&squeezed(part)) {
                all.push(format!("does not say \"{part}\", but: {}", end.why()));
            }
        }
    }
    let since_apply = || {
        replay
            .trail
            .iter()
            .filter(|(at, ..)| (replay.last_apply..=replay.ended).contains(at))
    };
    for (at, verdict, decision) in since_apply() {
        let line = format!("at {:.2} s {:?} {}", *at as f64 / 1000.0, verdict.state, verdict.why());
        let hopeless = matches!(verdict.heals, Some(Heals::Spec | Heals::Ended));
        match outcome {
            State::Current => {
                if verdict.state == State::Failed && hopeless {
                    all.push(format!("calls a success hopeless {line}"));
                }
                let others_will_act = replay.others_acted.iter().any(|step| step > at);
                let past_its_deadline = verdict.why().contains("ProgressDeadlineExceeded");
                if verdict.state == State::Failed && !others_will_act && !past_its_deadline {
                    all.push(format!("calls a slow success a failure {line}"));
                }
                if *decision == Decision::GiveUp {
                    all.push(format!("gives up a slow success {line}"));
                }
            }
            State::Failed | State::InProgress => {
                let crashed = replay.first_crash.is_some_and(|crash| crash <= *at);
                // Without a probe only time can tell; a probe is trusted until the first crash.
                let believed = !crashed && (replay.probed || *at - replay.last_apply >= 7_000);
                if *decision == Decision::Open && verdict.blocking && !believed {
                    all.push(format!("opens for a moment {line}"));
                }
                if outcome == State::InProgress && *decision == Decision::GiveUp && !verdict.proved {
                    all.push(format!("gives up what only takes long {line}"));
                }
            }
            State::Terminating | State::Gone => {}
        }
    }
    all
}

/// What the reasons of a status are, one by one, as a reader of recordings would list them.
fn signals(recording: &Value) -> Vec<(i64, bool, String)> {
    let mut all = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for entry in recording["events"].as_array().unwrap() {
        let at = entry["at_ms"].as_i64().unwrap();
        let status = &entry["status"];
        if entry["type"] == "DELETED" {
            continue;
        }
        all.push((
            at,
            false,
            format!("{}: {}", text(&status["reason"]), text(&status["message"])),
        ));
        for c in status["conditions"].as_array().into_iter().flatten() {
            let kind = text(&c["type"]);
            let wrong = if kind.contains("Fail") || kind.contains("Remaining") {
                "True"
            } else {
                "False"
            };
            if c["status"] == wrong || c["status"] == "Unknown" {
                all.push((at, false, format!("{}: {}", text(&c["reason"]), text(&c["message"]))));
            }
        }
        for list in ["initContainerStatuses", "containerStatuses"] {
            for c in status[list].as_array().into_iter().flatten() {
                let waiting = &c["state"]["waiting"];
                all.push((
                    at,
                    false,
                    format!("{}: {}", text(&waiting["reason"]), text(&waiting["message"])),
                ));
                for form in ["state", "lastState"] {
                    let ended = &c[form]["terminated"];
                    if ended["exitCode"].as_i64().is_some_and(|code| code != 0) {
                        let words = format!(
                            "{}; exit code {}: {}",
                            text(&ended["reason"]),
                            ended["exitCode"],
                            text(&ended["message"])
                        );
                        all.push((at, false, words));
                    }
                }
            }
        }
    }
    for entry in recording["kubernetesEvents"].as_array().unwrap() {
        let words = format!("{}: {}", text(&entry["reason"]), text(&entry["message"]));
        all.push((entry["at_ms"].as_i64().unwrap(), true, words));
    }
    all.sort_by_key(|(at, ..)| *at);
    all
}

fn seconds(ms: Option<i64>) -> String {
    ms.map_or_else(String::new, |ms| format!("{:.2}", ms as f64 / 1000.0))
}

/// By how much a gate may be later than the first place where the reason can be read, in milliseconds, and why.
fn allowance(cause: Cause) -> i64 {
    match cause {
        // Said at once.
        Cause::Image | Cause::Config | Cause::Start | Cause::Condition | Cause::Held => 50,
        // Ordinary for a moment in healthy runs.
        Cause::Mount | Cause::Refused => 2_050,
        Cause::Schedule => 3_050,
        // Volumes are looked for every 10 to 15 s.
        Cause::Volume => 11_050,
        // The second end proves nothing if it says nothing: the third does, or a whole back-off after the second.
        Cause::Crash => 12_050,
        // A slow start looks the same until the deadline (eight to ten seconds here), or until the probe has killed twice.
        Cause::Probe | Cause::Deadline => 12_000,
        // A Job may try as often as it is allowed to.
        Cause::Ended => 31_000,
        Cause::Finalizer | Cause::Unanswered => 0,
    }
}

/// When a container was first seen to have ended for the second time.
fn second_end(recording: &Value) -> Option<i64> {
    let mut lines = recording["events"].as_array().unwrap().iter();
    let ended_twice = |c: &Value| {
        let down = i64::from(
            c["state"]["running"].is_null()
                && (!c["state"]["terminated"].is_null() || !c["lastState"]["terminated"].is_null()),
        );
        c["restartCount"].as_i64().unwrap_or(0) + down >= 2
    };
    let line = lines.find(|entry| {
        let all = ["initContainerStatuses", "containerStatuses"].into_iter();
        let mut statuses = all.flat_map(|list| entry["status"][list].as_array().into_iter().flatten());
        statuses.any(ended_twice)
    })?;
    line["at_ms"].as_i64()
}

#[test]
fn failures_are_told_about_as_soon_as_they_can_be_known() {
    let mut table = String::from("case | outcome | heals | in a status | in an event | we say | we give up | words\n");
    let mut late = Vec::new();
    for recording in recordings() {
        let replay = replay(&recording, STRAIGHT);
        let outcome = replay.expect["outcome"].as_str().unwrap();
        let Some(reason) = replay.expect["reason"].as_str() else {
            continue;
        };
        let found = signals(&recording);
        let first = |event: bool| {
            found
                .iter()
                .find(|(_, e, text)| {
                    *e == event && reason.split("; ").all(|part| squeezed(text).contains(&squeezed(part)))
                })
                .map(|(at, ..)| *at)
        };
        let known = [first(false), first(true)].into_iter().flatten().min();
        let said = |test: &dyn Fn(&Verdict, Decision) -> bool| {
            let mut trail = replay
                .trail
                .iter()
                .filter(|(at, ..)| (replay.last_apply..=replay.ended).contains(at));
            trail.find(|(_, v, d)| test(v, *d)).map(|(at, ..)| *at)
        };
        let we_say = match outcome {
            "Failed" => said(&|v, _| v.state == State::Failed),
            // Nothing is wrong enough: it is the word that counts.
            _ => said(&|v, _| {
                reason
                    .split("; ")
                    .all(|part| squeezed(&v.why()).contains(&squeezed(part)))
            }),
        };
        let give_up = said(&|_, d| d == Decision::GiveUp);
        writeln!(
            table,
            "{} | {outcome} | {} | {} | {} | {} | {} | {}",
            replay.name,
            replay.expect["heals"].as_str().unwrap_or_default(),
            seconds(first(false)),
            seconds(first(true)),
            seconds(we_say),
            seconds(give_up),
            replay.at_end.why()
        )
        .unwrap();
        let cause = replay.at_end.cause.unwrap_or(Cause::Unanswered);
        let known = match cause {
            Cause::Crash => second_end(&recording).or(known),
            _ => known,
        };
        let known = known.map(|at| at.max(replay.last_apply));
        let allowed = if outcome == "Failed" { allowance(cause) } else { 50 };
        match (known, we_say) {
            (Some(known), Some(said)) if said <= known + allowed => {}
            _ => late.push(format!(
                "{}: known at {known:?}, said at {we_say:?} ({cause:?})",
                replay.name
            )),
        }
    }
    println!("{table}");
    assert!(late.is_empty(), "late:\n{}", late.join("\n"));
}

#[test]
fn watches_that_lag_behind_each_other_change_nothing_but_times() {
    let mut report = String::new();
    for recording in recordings() {
        for kind in [
            "Pod",
            "ReplicaSet",
            "Event",
            "Deployment",
            "StatefulSet",
            "DaemonSet",
            "Job",
            "PersistentVolumeClaim",
        ] {
            let replay = replay(
                &recording,
                Twist {
                    lag: (kind, 400),
                    ..STRAIGHT
                },
            );
            for complaint in complaints(&replay) {
                writeln!(report, "{} with {kind} late: {complaint}", replay.name).unwrap();
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn a_gate_that_begins_in_the_middle_comes_to_the_same_end() {
    let mut report = String::new();
    for recording in recordings() {
        for share in [0.3, 0.7] {
            let replay = replay(
                &recording,
                Twist {
                    restart_at: Some(share),
                    ..STRAIGHT
                },
            );
            let wanted = state(replay.expect["outcome"].as_str().unwrap());
            let (end, later) = (&replay.at_end, &replay.settled);
            // What was gone before is not seen at all, and a crash loop that is found in a moment of readiness has to crash
            // again to be known; it must not be believed meanwhile.
            let unseen = wanted == State::Gone && end.why() == "it has not been seen yet";
            let suspected = wanted == State::Failed && end.cause == Some(Cause::Crash);
            if end.state != wanted && later.state != wanted && !unseen && !suspected {
                writeln!(report, "{} from {share}: {:?} {}", replay.name, end.state, end.why()).unwrap();
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn every_recording_ends_as_a_person_would_say() {
    let mut report = String::new();
    let mut bad = 0;
    for recording in recordings() {
        let replay = replay(&recording, STRAIGHT);
        let complaints = complaints(&replay);
        if !complaints.is_empty() {
            bad += 1;
            writeln!(
                report,
                "{} ({}):",
                replay.name,
                recording["why"].as_str().unwrap_or_default()
            )
            .unwrap();
            for complaint in complaints.iter().take(4) {
                writeln!(report, "    {complaint}").unwrap();
            }
        }
    }
    assert!(bad == 0, "{bad} recordings:\n{report}");
}
