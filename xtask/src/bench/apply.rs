//! `bench apply`: 1,000 mixed objects applied and applied again, compared between Myelin, kubectl and bare requests.
//!
//! Every client gets a namespace of its own on the same server, created before its clock starts. Requests are counted
//! by the client: Myelin's at the engine's port to the cluster, kubectl's in a separate run with `-v=6`, which logs
//! each.

use super::table::{Table, cpu, mebibytes, seconds};
use crate::built::Programs;
use crate::measure::{self, Cost};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const OBJECTS: usize = 1_000;
const IN_FLIGHT: usize = 32;

/// Milliseconds that a write takes longer in the second part, as where a store syncs it to disk and copies it to its peers.
const SLOWER: u64 = 20;

/// The fault rule's name.
const RULE: &str = "slower";

const COLUMNS: [&str; 8] = [
    "first",
    "until ready",
    "cpu",
    "peak memory",
    "requests",
    "again",
    "cpu",
    "requests",
];

/// What one client did with the objects, once.
struct Figures {
    /// Seconds of applying: what the client itself measured, or the process's wall time.
    seconds: f64,
    /// Seconds until everything was ready and stayed so, where the client waits for that.
    ready: Option<f64>,
    requests: Option<u64>,
    cost: Cost,
}

struct Bench<'a> {
    workbench: PathBuf,
    kubeconfig: &'a Path,
    folder: PathBuf,
}

/// Prints the figures. The second part slows the server down, so it needs one of our `own`.
pub(crate) fn run(programs: &Programs, kubeconfig: &Path, own: bool) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("myelin-bench-")
        .tempdir()
        .context("make a temporary folder")?;
    let bench = Bench {
        workbench: programs.path("myelin-workbench")?,
        kubeconfig,
        folder: folder.path().to_path_buf(),
    };
    let title =
        format!("apply: {OBJECTS} mixed objects, {IN_FLIGHT} requests in flight where the client lets one choose");
    let mut table = Table::new(title, &COLUMNS);
    let (raw, myelin) = bench.pair(&mut table, "")?;
    let kubectl = bench.twice("kubectl", |namespace| bench.kubectl(namespace, &[]))?;
    table.row("kubectl apply --server-side", figures(&kubectl));
    let lax = bench.twice("kubectl-lax", |namespace| {
        bench.kubectl(namespace, &["--validate=false"])
    })?;
    table.row("kubectl apply --server-side --validate=false", figures(&lax));
    table.print();
    println!(
        "  first apply: myelin takes {:.2} x the bare requests (target 1.15), kubectl {:.2} x",
        myelin.0.seconds / raw.0.seconds,
        kubectl.0.seconds / raw.0.seconds
    );
    if own {
        bench.slowly()?;
    }
    Ok(())
}

impl Bench<'_> {
    /// The floor and Myelin, one after the other.
    fn pair(&self, table: &mut Table, suffix: &str) -> Result<((Figures, Figures), (Figures, Figures))> {
        let raw = self.twice(&format!("raw{suffix}"), |namespace| self.raw(namespace))?;
        table.row("bare requests", figures(&raw));
        let myelin = self.twice(&format!("myelin{suffix}"), |namespace| self.myelin(namespace))?;
        table.row("myelin", figures(&myelin));
        Ok((raw, myelin))
    }

    /// Both again, on a server whose writes take as long as a real one's. Without that the sandbox answers faster than any
    /// store on disk, and what is compared is processor time on cores that it shares with its client.
    fn slowly(&self) -> Result<()> {
        let rule = json!({"id": RULE, "verbs": ["create", "update", "patch"], "effect": {"type": "latency", "millis": SLOWER}});
        let file = self.folder.join("slower.json");
        std::fs::write(&file, rule.to_string()).context("write the fault rule")?;
        let raw_call = |verb: &str, path: &str| {
            let mut command = Command::new("kubectl");
            command.args([verb, "--raw", path]).env("KUBECONFIG", self.kubeconfig);
            command
        };
        measure::run(raw_call("create", "/sandbox/faults").arg("-f").arg(&file))?;
        let mut table = Table::new(
            format!("apply: the same where each write takes {SLOWER} ms longer"),
            &COLUMNS,
        );
        let (raw, myelin) = self.pair(&mut table, "-slower")?;
        table.print();
        println!(
            "  first apply: myelin takes {:.2} x the bare requests (target 1.15)",
            myelin.0.seconds / raw.0.seconds
        );
        measure::run(&mut raw_call("delete", &format!("/sandbox/faults/{RULE}")))?;
        Ok(())
    }

    /// A fresh namespace, the first apply and the second, and the namespace gone again.
    fn twice(&self, name: &str, apply: impl Fn(&str) -> Result<Figures>) -> Result<(Figures, Figures)> {
        let namespace = format!("bench-{name}");
        println!("  {name} ...");
        self.work("delete-namespace", &namespace, &[])?;
        self.work("make-namespace", &namespace, &[])?;
        let count = OBJECTS.to_string();
        let to = self.folder.join(&namespace);
        self.work(
            "write-objects",
            &namespace,
            &["--count", &count, "--to", &to.to_string_lossy()],
        )?;
        let figures = (apply(&namespace)?, apply(&namespace)?);
        self.work("delete-namespace", &namespace, &[])?;
        Ok(figures)
    }

    fn raw(&self, namespace: &str) -> Result<Figures> {
        let (count, in_flight) = (OBJECTS.to_string(), IN_FLIGHT.to_string());
        self.work("raw-apply", namespace, &["--count", &count, "--in-flight", &in_flight])
    }

    fn myelin(&self, namespace: &str) -> Result<Figures> {
        let (source, in_flight) = (self.folder.join(namespace), IN_FLIGHT.to_string());
        self.work(
            "engine-apply",
            namespace,
            &["--source", &source.to_string_lossy(), "--in-flight", &in_flight],
        )
    }

    fn kubectl(&self, namespace: &str, flags: &[&str]) -> Result<Figures> {
        let apply = |verbosity: &[&str]| {
            let mut command = Command::new("kubectl");
            command
                .args(["apply", "--server-side", "--field-manager=bench", "-f"])
                .arg(self.folder.join(namespace).join("objects.yaml"))
                .args(flags)
                .args(verbosity)
                .env("KUBECONFIG", self.kubeconfig);
            measure::run(&mut command)
        };
        let timed = apply(&[])?;
        // Counting costs time, so it is not done in the run that is timed. A second apply sends what the first does.
        let requests = requests_logged(&apply(&["-v=6"])?.stderr);
        Ok(Figures {
            seconds: timed.cost.wall.as_secs_f64(),
            ready: None,
            requests: Some(requests),
            cost: timed.cost,
        })
    }

    /// A workbench's subcommand, measured; figures that it prints win over the process's.
    fn work(&self, subcommand: &str, namespace: &str, arguments: &[&str]) -> Result<Figures> {
        let mut command = Command::new(&self.workbench);
        command
            .args([subcommand, "--namespace", namespace])
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig);
        let run = measure::run(&mut command)?;
        let said: Value = run
            .stdout
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_default();
        Ok(Figures {
            seconds: said["seconds"].as_f64().unwrap_or(run.cost.wall.as_secs_f64()),
            ready: said["readySeconds"].as_f64(),
            requests: said["requests"].as_u64(),
            cost: run.cost,
        })
    }
}

/// kubectl -v=6 logs a line for each answered request: `GET https://… 200 OK in 3 milliseconds`.
fn requests_logged(log: &str) -> u64 {
    let verbs = [
        "GET http",
        "PATCH http",
        "POST http",
        "PUT http",
        "DELETE http",
        "verb=\"",
    ];
    log.lines()
        .filter(|line| verbs.iter().any(|verb| line.contains(verb)) && line.contains("milliseconds"))
        .count() as u64
}

fn figures((first, again): &(Figures, Figures)) -> Vec<String> {
    let requests = |figures: &Figures| {
        figures
            .requests
            .map_or_else(|| "-".to_owned(), |requests| requests.to_string())
    };
    vec![
        seconds(first.seconds),
        first.ready.map_or_else(|| "-".to_owned(), seconds),
        cpu(first.cost.cpu),
        mebibytes(first.cost.peak_all_mib()),
        requests(first),
        seconds(again.seconds),
        cpu(again.cost.cpu),
        requests(again),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_from_what_kubectl_logs() {
        let log = "I1120 10:00:00.000001 1 round_trippers.go:560] GET https://127.0.0.1:1/openapi/v3?timeout=32s 200 OK in 3 milliseconds\n\
                   configmap/a serverside-applied\n\
                   I1120 10:00:00.100001 1 round_trippers.go:560] PATCH https://127.0.0.1:1/api/v1/namespaces/a/configmaps/a?x=y 201 Created in 1 milliseconds\n";
        assert_eq!(requests_logged(log), 2);
    }
}
