//! Recorded behaviour of a real API server, replayed against the sandbox.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use myelin_sandbox::{Options, Sandbox};
use serde_json::Value;
use tokio::process::Command;

/// Where the recordings are, beside the repository.
fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kubernetes-api");
    folder.join("replay.py").is_file().then_some(folder)
}

/// Recordings that the sandbox does not match yet, each with a line in `sandbox/README.md`. One that passes must leave the list.
const NOT_YET: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_scenario_of_the_real_server_is_answered_alike() {
    let Some(corpus) = corpus() else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: ../shared/kubernetes-api is not beside this repository, so nothing was replayed"
        );
        return;
    };
    if Command::new("python3").arg("--version").output().await.is_err() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no python3 to run replay.py with");
        return;
    }
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let mut scenarios: Vec<PathBuf> = std::fs::read_dir(corpus.join("scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scenarios.sort();
    // Scenarios may run in parallel; most of their time is spent in watches that wait for their end.
    let mut runs = tokio::task::JoinSet::new();
    for part in 0..4 {
        let mut command = Command::new("python3");
        command
            .arg(corpus.join("replay.py"))
            .args(["--server", sandbox.url(), "--token", sandbox.token()]);
        command
            .args(["--insecure", "--json"])
            .args(scenarios.iter().skip(part).step_by(4))
            .kill_on_drop(true);
        runs.spawn(async move { command.output().await });
    }
    let (mut count, mut failed) = (0, Vec::new());
    while let Some(output) = runs.join_next().await {
        let output = output.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let report: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        for scenario in report["scenarios"].as_array().unwrap() {
            count += 1;
            let known = NOT_YET.iter().any(|name| scenario["name"] == *name);
            match (scenario["passed"] == true, known) {
                (false, false) => failed.push(format!("{scenario:#}")),
                (true, true) => failed.push(format!("{} passes now: take it off the list", scenario["name"])),
                _ => {}
            }
        }
    }
    assert_eq!(count, scenarios.len());
    assert!(
        failed.is_empty(),
        "{} of {count} scenarios failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    sandbox.stop().await;
}
