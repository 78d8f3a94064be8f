//! `bench reconciler`: what `myelin run` costs, compared with the targets of its design, in one run on one machine.
//!
//! A thousand stacks of the four objects of fluxcd/flux-benchmark (ServiceAccount, Service, Deployment without
//! replicas, Ingress) come with one commit. Then follow a minute in which nothing happens, drift one change at a time
//! and all at once, a restart, and a chain of components that wait for each other. The cluster is a sandbox: it runs on
//! the same processors, and its time is part of the wall times.

mod repository;

use super::table::{Table, mebibytes, milliseconds, seconds};
use crate::built::Programs;
use crate::interrupt::Interrupt;
use crate::measure;
use crate::sandbox::Sandbox;
use anyhow::{Context, Result, bail, ensure};
use repository::Repository;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const STACKS: usize = 1_000;
/// The stacks share this many namespaces.
const NAMESPACES: usize = 20;
/// Components of the chain.
const LINKS: usize = 10;
/// Foreign changes, each to another stack.
const CHANGES: usize = 200;
/// A minute without any request is one; shorter only for trying the bench itself out.
const IDLE: Duration = Duration::from_secs(60);
/// How long the reconciler may take for anything.
const PATIENCE: Duration = Duration::from_secs(600);

/// Prints the figures.
///
/// # Errors
/// When the reconciler does not do what is measured.
pub(crate) fn run(programs: &Programs, interrupt: &Interrupt) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("myelin-bench-")
        .tempdir()
        .context("make a temporary folder")?;
    let sandbox = Sandbox::start(programs, folder.path(), interrupt)?;
    let repository = Repository::new(folder.path().join("repository"))?;
    let bench = Bench {
        myelin: programs.path("myelin")?,
        workbench: programs.path("myelin-workbench")?,
        kubeconfig: sandbox.kubeconfig.clone(),
        folder: folder.path().to_owned(),
        interrupt,
    };
    let mut table = Table::new(
        format!("reconciler: {STACKS} stacks of 4 objects in {NAMESPACES} namespaces, from git, against a sandbox"),
        &["measured", "target"],
    );
    let mut row = |what: &str, measured: String, target: &str| {
        println!("  {what}: {measured}");
        table.row(what, vec![measured, target.to_owned()]);
    };

    let first = repository.write_chain("links", 1)?;
    let reconciler = bench.reconciler(&repository)?;
    bench.until("ready", &first)?;
    let idle_memory = reconciler.memory("VmRSS");

    let commit = repository.write_stacks(STACKS, NAMESPACES)?;
    let before = bench.requests(0)?.sequence;
    let start = Instant::now();
    bench.reconcile()?;
    let ready = start.elapsed();
    bench.until("ready", &commit)?;
    row("one commit, until all is ready", seconds(ready.as_secs_f64()), "25 s");
    let cost = bench.requests(before)?;
    row("requests for that", cost.count.to_string(), "");
    row("memory before", mebibytes(idle_memory.map(measure::mib)), "");
    row(
        "memory at its highest by then",
        mebibytes(reconciler.memory("VmHWM").map(measure::mib)),
        "",
    );

    bench.silence()?;
    let before = bench.requests(0)?.sequence;
    std::thread::sleep(IDLE);
    let idle = bench.requests(before)?;
    let watches = idle.watches();
    row("requests in an idle minute", (idle.count - watches).to_string(), "0");
    row(
        "  watches taken up again that the server had ended",
        watches.to_string(),
        "",
    );
    if idle.count > watches {
        println!("    {}", idle.by);
    }
    row(
        "memory then, keeping 4,000 objects",
        mebibytes(reconciler.memory("VmRSS").map(measure::mib)),
        "60 MiB",
    );

    let reverts = bench.reverts()?;
    let number = |name: &str| {
        reverts[name]
            .as_f64()
            .with_context(|| format!("the answer has no {name}"))
    };
    row("foreign change reverted, p50", milliseconds(number("p50Ms")?), "");
    row("the same, p99", milliseconds(number("p99Ms")?), "1000 ms");
    row(
        &format!("{CHANGES} at once, p50"),
        milliseconds(number("burstP50Ms")?),
        "",
    );
    row("the same, p99", milliseconds(number("burstP99Ms")?), "");
    bench.until("ready", &commit)?;

    let chain = repository.write_chain("chain", LINKS)?;
    let hops = bench.hops()?;
    bench.until("ready", &chain)?;
    let number = |name: &str| hops[name].as_f64().with_context(|| format!("the answer has no {name}"));
    row(
        "from a component's readiness to the next, p50",
        milliseconds(number("p50Ms")?),
        "",
    );
    row("the same, the longest", milliseconds(number("maxMs")?), "100 ms");
    row(
        "memory at its highest in all",
        mebibytes(reconciler.memory("VmHWM").map(measure::mib)),
        "",
    );

    bench.silence()?;
    drop(reconciler);
    let before = bench.requests(0)?.sequence;
    let start = Instant::now();
    let reconciler = bench.reconciler(&repository)?;
    bench.watching(before)?;
    row(
        "started again, until it watches",
        seconds(start.elapsed().as_secs_f64()),
        "",
    );
    bench.silence()?;
    let cost = bench.requests(before)?;
    row("requests for that", cost.count.to_string(), "");
    println!("    {}", cost.by);
    row(
        "memory at its highest",
        mebibytes(reconciler.memory("VmHWM").map(measure::mib)),
        "",
    );
    table.print();
    Ok(())
}

struct Bench<'a> {
    myelin: PathBuf,
    workbench: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
    interrupt: &'a Interrupt,
}

/// What the reconciler has asked the sandbox.
struct Requests {
    sequence: u64,
    count: u64,
    by: Value,
}

impl Requests {
    /// Watches among them.
    fn watches(&self) -> u64 {
        let by = self.by.as_object().into_iter().flatten();
        by.filter(|(name, _)| name.starts_with("watch "))
            .filter_map(|(_, count)| count.as_u64())
            .sum()
    }
}

impl Bench<'_> {
    /// Starts the reconciler on the repository, with the interval of its default.
    fn reconciler(&self, repository: &Repository) -> Result<Reconciler> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .context("make the reconciler's log")?;
        let child = Command::new(&self.myelin)
            .args(["run", "--url", &repository.url(), "--listen", "127.0.0.1:0"])
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start the reconciler")?;
        Ok(Reconciler(child))
    }

    /// Triggers a look now, as a webhook would, and waits until everything is ready.
    fn reconcile(&self) -> Result<()> {
        let output = self.run(&self.myelin, &["reconcile", "--wait", "--timeout", "10m"])?;
        ensure!(
            output.status.success(),
            "myelin reconcile --wait failed\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn until(&self, state: &str, commit: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.interrupt.check()?;
            let output = self.run(&self.myelin, &["status", "--depth", "source", "-o", "json"])?;
            let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let source = &all["sources"][0];
            if source["state"] == state && source["commit"] == commit {
                return Ok(());
            }
            if Instant::now() > end || source["state"] == "rejected" || source["state"] == "failed" {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                bail!(
                    "the source should be {state} at {commit}: {source:#}\n{}",
                    last.join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn requests(&self, after: u64) -> Result<Requests> {
        let said = self.work("requests", &["--after", &after.to_string(), "--agent", "myelin/"])?;
        let number = |name: &str| said[name].as_u64().with_context(|| format!("the log has no {name}"));
        Ok(Requests {
            sequence: number("sequence")?,
            count: number("requests")?,
            by: said["by"].clone(),
        })
    }

    /// Waits until the reconciler asks nothing for five seconds.
    fn silence(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.interrupt.check()?;
            let before = self.requests(0)?.sequence;
            std::thread::sleep(Duration::from_secs(5));
            if self.requests(before)?.count == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the reconciler never rests");
        }
    }

    /// Waits until the reconciler watches all of its kinds.
    fn watching(&self, since: u64) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.interrupt.check()?;
            let asked = self.requests(since)?.by;
            let kinds = ["serviceaccounts", "services", "deployments", "ingresses", "namespaces"];
            if kinds.iter().all(|kind| asked[format!("watch {kind}")].is_u64()) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the reconciler does not watch: {asked}");
        }
    }

    fn reverts(&self) -> Result<Value> {
        let (count, namespaces) = (CHANGES.to_string(), NAMESPACES.to_string());
        self.work("reverts", &["--count", &count, "--namespaces", &namespaces])
    }

    /// Opens the watch, tells the reconciler about the commit, and returns what the watch saw.
    fn hops(&self) -> Result<Value> {
        let mut child = Command::new(&self.workbench)
            .args(["hops", "--namespace", "chain", "--count", &LINKS.to_string()])
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the workbench")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout is a pipe")?).lines();
        let mut line = || -> Result<Value> {
            let line = lines.next().context("the watch ended")?.context("read the watch")?;
            serde_json::from_str(&line).context("read the watch's answer")
        };
        let watching = line()?;
        ensure!(watching["watching"] == true, "the watch should be open: {watching}");
        let told = self.reconcile();
        let hops = line();
        child.wait().context("wait for the workbench")?;
        told?;
        hops
    }

    fn work(&self, subcommand: &str, arguments: &[&str]) -> Result<Value> {
        let mut all = vec![subcommand];
        all.extend(arguments);
        let output = self.run(&self.workbench, &all)?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout).context("read the workbench's answer")
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Result<Output> {
        Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {}", program.display()))
    }
}

/// A running reconciler, ended when it is dropped.
struct Reconciler(Child);

impl Reconciler {
    fn memory(&self, field: &str) -> Option<u64> {
        measure::memory_kib(self.0.id(), field)
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
