//! Every recorded case is played against a sandbox, and the sequence of states of every object is compared with the recording.

mod case;
mod deviations;
mod play;
mod states;

use std::fmt::Write;
use std::io::Write as _;

use deviations::{DEVIATIONS, OPEN_ENDED};
use states::Sequences;

/// Where two lists differ, line by line.
fn difference(expected: &[String], got: &[String]) -> String {
    let mut table = vec![vec![0_usize; got.len() + 1]; expected.len() + 1];
    for i in (0..expected.len()).rev() {
        for j in (0..got.len()).rev() {
            table[i][j] = if expected[i] == got[j] {
                table[i + 1][j + 1] + 1
            } else {
                table[i + 1][j].max(table[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < expected.len() || j < got.len() {
        if i < expected.len() && j < got.len() && expected[i] == got[j] {
            writeln!(out, "      {}", expected[i]).unwrap();
            (i, j) = (i + 1, j + 1);
        } else if j >= got.len() || (i < expected.len() && table[i + 1][j] >= table[i][j + 1]) {
            writeln!(out, "    - {}", expected[i]).unwrap();
            i += 1;
        } else {
            writeln!(out, "    + {}", got[j]).unwrap();
            j += 1;
        }
    }
    out
}

/// How many states at the end of a sequence may be missing on either side: a recording ends at some moment of a back-off whose length
/// the real kubelet draws by lot.
const TAIL: usize = 2;

/// Whether two sequences are the same but for their ends, and, for kinds that the recorder began to watch only after the apply, the
/// beginning that it missed.
fn alike(key: &str, expected: &[String], got: &[String]) -> bool {
    let missed = if states::is_watched(key) {
        0
    } else {
        got.iter()
            .position(|state| Some(state) == expected.first())
            .unwrap_or(0)
    };
    let got = &got[missed..];
    let common = expected.len().min(got.len());
    expected[..common] == got[..common] && expected.len().max(got.len()) - common <= TAIL
}

/// Compare two sets of sequences; deviations that are used are crossed off.
fn compare(case: &str, what: &str, expected: &Sequences, got: &Sequences, used: &mut Vec<usize>, report: &mut String) {
    let none = Vec::new();
    let keys: std::collections::BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
    for key in keys {
        let (left, right) = (expected.get(key).unwrap_or(&none), got.get(key).unwrap_or(&none));
        if left == right || (what.starts_with("states") && alike(key, left, right)) {
            continue;
        }
        let named = format!("{what} {key}");
        let known = DEVIATIONS
            .iter()
            .position(|(name, object, _)| *name == case && named.starts_with(object));
        let same_end = left.last() == right.last() || OPEN_ENDED.iter().any(|object| named.starts_with(object));
        match known {
            Some(known) if same_end => used.push(known),
            _ => writeln!(report, "  {named}\n{}", difference(left, right)).unwrap(),
        }
    }
}

/// Whether every apply and every step was answered as recorded: code, reason and, of a log, its text.
fn replies(what: &str, recorded: &serde_json::Value, got: &[serde_json::Value], report: &mut String) {
    for (i, recorded) in recorded.as_array().unwrap().iter().enumerate() {
        let expected = recorded.get("reply").unwrap_or(recorded);
        let Some(got) = got.get(i) else { continue };
        for field in ["code", "reason", "log"] {
            if expected.get(field) != got.get(field) {
                writeln!(
                    report,
                    "  {what} {i}: {field} is {} and was recorded as {}: {got}",
                    got[field], expected[field]
                )
                .unwrap();
            }
        }
    }
}

#[test]
fn the_states_of_every_recorded_case_come_in_the_recorded_order() {
    let Some(folder) = case::folder() else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: the recordings are not here (../shared/kubernetes-api/timelines)"
        );
        return;
    };
    let only = std::env::var("TIMELINES").unwrap_or_default();
    let mut failed = Vec::new();
    let names: Vec<String> = case::names(&folder)
        .into_iter()
        .filter(|name| only.is_empty() || only.split(',').any(|o| o == name))
        .collect();
    for name in &names {
        let case = case::Case::read(&folder, name);
        let outcome = std::panic::catch_unwind(|| {
            let played = play::play(&case);
            let (expected, expected_events) = states::recorded(&case.recording);
            let (got, got_events) = states::played(&played, &case.recording);
            let (mut report, mut used) = (String::new(), Vec::new());
            replies("applied", &case.recording["applied"], &played.applied, &mut report);
            replies("step", &case.recording["steps"], &played.steps, &mut report);
            for problem in &played.problems {
                writeln!(report, "  {problem}").unwrap();
            }
            compare(name, "states of", &expected, &got, &mut used, &mut report);
            compare(
                name,
                "events about",
                &expected_events,
                &got_events,
                &mut used,
                &mut report,
            );
            for (i, (_, object, why)) in DEVIATIONS.iter().enumerate().filter(|(_, (case, ..))| case == name) {
                if !used.contains(&i) && !why.contains("luck") {
                    writeln!(report, "  {object} is as recorded: take it off the list of deviations").unwrap();
                }
            }
            report
        });
        let report = outcome.unwrap_or_else(|_| "  panicked\n".to_owned());
        if !report.is_empty() {
            failed.push(name.clone());
            eprintln!("==== {name}\n{report}");
        }
    }
    eprintln!(
        "{} of {} cases as recorded; not: {failed:?}",
        names.len() - failed.len(),
        names.len()
    );
    assert!(failed.is_empty());
}
