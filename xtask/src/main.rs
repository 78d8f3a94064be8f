//! Tasks of this repository, one file or folder each: `cargo xtask demo|bench|docs|test`.
//!
//! This file reads the command line and calls the task; it decides nothing. The crate stays light (no client library, no
//! runtime) because every task, the test command included, waits for it to compile first.
#![allow(
    clippy::print_stdout,
    reason = "these are command-line tasks; their report goes to stdout"
)]

mod bench;
mod built;
mod demo;
mod docs;
mod examples;
mod house;
mod infrastructure;
mod interrupt;
mod markdown;
mod measure;
mod quoted;
mod repository;
mod sandbox;
mod stage;
mod test;
mod tools;
mod workflows;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  demo    a stack through its life, with the real terraform, against the sandbox; --keep leaves the sandbox up
  bench   what Myelin costs, beside what others cost: provider, apply, terraform, render, sandbox, reconciler, fleet, agent; all if none is named
  docs    the reference pages under docs/, from the schemas
  test    everything that must hold before a change lands: format, house rules, docs, examples, workflows, infrastructure, licences, lints, tests
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((task, rest)) => match (task.as_str(), rest) {
            ("demo", rest) => demo::run(rest),
            ("bench", rest) => bench::run(rest),
            ("docs", rest) => docs::run(rest),
            ("test", rest) => test::run(rest),
            ("help" | "--help" | "-h", _) => {
                print!("{USAGE}");
                Ok(())
            }
            (unknown, _) => Err(anyhow::anyhow!("no task is called {unknown:?}\n\n{USAGE}")),
        },
        None => Err(anyhow::anyhow!("name a task\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
