//! One stage of a task: run it, print one line with its name and how long it took, and its output only if it failed.

use crate::repository;
use anyhow::{Context, Result};
use std::process::Command;
use std::time::{Duration, Instant};

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything held.
    Passed,
    /// Something did not; what it was has been printed.
    Failed,
}

/// Runs a check written in Rust; what it returns are the problems it found, one per line.
pub(crate) fn check(name: &str, problems: impl FnOnce() -> Result<Vec<String>>) -> Result<Ended> {
    let start = Instant::now();
    let problems = problems().with_context(|| name.to_owned())?;
    report(name, start.elapsed(), problems.is_empty());
    for problem in &problems {
        println!("    {problem}");
    }
    Ok(if problems.is_empty() {
        Ended::Passed
    } else {
        Ended::Failed
    })
}

/// Runs a program and keeps its output to itself unless it fails.
pub(crate) fn quiet(name: &str, program: &str, arguments: &[&str]) -> Result<Ended> {
    let start = Instant::now();
    let output = command(program, arguments)
        .output()
        .with_context(|| format!("{name}: run {program}"))?;
    report(name, start.elapsed(), output.status.success());
    if output.status.success() {
        return Ok(Ended::Passed);
    }
    print!("{}", String::from_utf8_lossy(&output.stdout));
    print!("{}", String::from_utf8_lossy(&output.stderr));
    println!("    the command was: {program} {}", arguments.join(" "));
    Ok(Ended::Failed)
}

/// Runs a program that speaks for itself: its output goes straight through and the last line is its own.
pub(crate) fn loud(name: &str, program: &str, arguments: &[&str]) -> Result<Ended> {
    println!("{name}: {program} {}", arguments.join(" "));
    let status = command(program, arguments)
        .status()
        .with_context(|| format!("{name}: run {program}"))?;
    Ok(if status.success() { Ended::Passed } else { Ended::Failed })
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository::root());
    command
}

fn report(name: &str, took: Duration, passed: bool) {
    println!(
        "{} {name:<14} {:>7.1} s",
        if passed { "ok  " } else { "FAIL" },
        took.as_secs_f64()
    );
}
