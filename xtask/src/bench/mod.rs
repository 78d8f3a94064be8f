//! `cargo xtask bench`: what Myelin costs compared with other tools, measured in one run on this machine.
//!
//! Every figure comes from the run that prints it. Release binaries are measured. The cluster is the one that
//! KUBECONFIG names, or a sandbox that the bench starts; a sandbox is a test double, and its own time to answer is part
//! of the wall times.

mod agent;
mod apply;
mod fleet;
mod provider;
mod reconciler;
mod render;
mod sandbox;
mod table;
mod terraform;
mod trees;

use crate::built::{Profile, Programs};
use crate::interrupt::Interrupt;
use crate::sandbox::Sandbox;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// Runs the parts that are named, or all.
///
/// # Errors
/// When a part cannot be run or measured.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let known = [
        "provider",
        "apply",
        "terraform",
        "render",
        "sandbox",
        "reconciler",
        "fleet",
        "agent",
    ];
    if let Some(unknown) = arguments.iter().find(|argument| !known.contains(&argument.as_str())) {
        bail!("`cargo xtask bench` knows {}; not {unknown:?}", known.join(", "));
    }
    let wanted = |part: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == part);
    if wanted("fleet") {
        fleet::run()?;
    }
    if wanted("agent") {
        agent::run()?;
    }
    let rest = |argument: &String| !["fleet", "agent"].contains(&argument.as_str());
    if !arguments.is_empty() && !arguments.iter().any(rest) {
        return Ok(());
    }
    let interrupt = Interrupt::listen()?;
    let programs = Programs::build(Profile::Release)?;
    println!("{}", machine());

    if wanted("provider") {
        provider::run(&programs)?;
    }
    if wanted("render") {
        render::run(&programs)?;
    }
    interrupt.check()?;
    if wanted("apply") || wanted("terraform") {
        let folder = tempfile::Builder::new()
            .prefix("myelin-bench-")
            .tempdir()
            .context("make a temporary folder")?;
        let named = std::env::var_os("KUBECONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let sandbox = if named.is_none() {
            Some(Sandbox::start(&programs, folder.path(), &interrupt)?)
        } else {
            None
        };
        let kubeconfig = match (&named, &sandbox) {
            (Some(path), _) => path.clone(),
            (None, Some(sandbox)) => sandbox.kubeconfig.clone(),
            (None, None) => bail!("no cluster"),
        };
        println!(
            "\ncluster: {}",
            named
                .as_ref()
                .map_or("a sandbox on loopback".to_owned(), |path| format!(
                    "KUBECONFIG={}",
                    path.display()
                ))
        );
        if wanted("apply") {
            apply::run(&programs, &kubeconfig, sandbox.is_some())?;
        }
        interrupt.check()?;
        if wanted("terraform") {
            terraform::run(&programs, &kubeconfig)?;
        }
    }
    interrupt.check()?;
    if wanted("sandbox") {
        sandbox::run(&programs, &interrupt)?;
    }
    interrupt.check()?;
    if wanted("reconciler") {
        reconciler::run(&programs, &interrupt)?;
    }
    Ok(())
}

/// One line about the machine, so that figures are not compared across machines by accident.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown").to_owned();
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches([':', '\t', ' ']);
    format!("machine: {cores} cores {model}; load average before the run {load}")
}
