//! `bench sandbox`: the sandbox under load: many objects, many watches.

use super::table::{Table, mebibytes, milliseconds, seconds};
use crate::built::Programs;
use crate::interrupt::Interrupt;
use crate::measure;
use crate::sandbox::Sandbox;
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Command;

const OBJECTS: usize = 5_000;
const WATCHES: usize = 200;
const UPDATES: usize = 50;

/// Prints the figures.
pub(crate) fn run(programs: &Programs, interrupt: &Interrupt) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("myelin-bench-")
        .tempdir()
        .context("make a temporary folder")?;
    let sandbox = Sandbox::start(programs, folder.path(), interrupt)?;
    let idle = measure::memory_kib(sandbox.pid(), "VmRSS");
    let mut command = Command::new(programs.path("myelin-workbench")?);
    command.arg("load").env("KUBECONFIG", &sandbox.kubeconfig);
    for (name, value) in [("objects", OBJECTS), ("watches", WATCHES), ("updates", UPDATES)] {
        command.arg(format!("--{name}")).arg(value.to_string());
    }
    let run = measure::run(command.args(["--namespace", "bench-load"]))?;
    let load: Value = serde_json::from_str(run.stdout.trim()).context("read the workbench's answer")?;
    let number = |name: &str| load[name].as_f64().with_context(|| format!("the answer has no {name}"));
    let made_in = number("seconds")?;
    let mut table = Table::new(
        format!(
            "sandbox: {OBJECTS} ConfigMaps applied at 32 in flight, then {WATCHES} watches on them and {UPDATES} changes"
        ),
        &[
            "applies",
            "list of all",
            "watch p50",
            "watch p99",
            "memory idle",
            "at its highest",
        ],
    );
    table.row(
        "myelin-sandbox",
        vec![
            format!("{:.0}/s", number("objects")? / made_in),
            seconds(number("listSeconds")?),
            milliseconds(number("p50Ms")?),
            milliseconds(number("p99Ms")?),
            mebibytes(idle.map(measure::mib)),
            mebibytes(measure::memory_kib(sandbox.pid(), "VmHWM").map(measure::mib)),
        ],
    );
    table.print();
    println!(
        "  latency: from before the request to the event read, over {} events",
        number("events")?
    );
    Ok(())
}
