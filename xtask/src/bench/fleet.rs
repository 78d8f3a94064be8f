//! The fleet under trouble, counted: thousands of seeded runs with lost answers, and a kill at every request.
//!
//! Runs the engine's own scenario (`engine/tests/it/fleet.rs`) with larger numbers; it measures no cloud.

use anyhow::{Context, Result, bail};
use std::process::Command;

/// Seeded runs with lost answers.
const RUNS: u32 = 10_000;

/// Runs it; the scenario prints its counts.
///
/// # Errors
/// When it cannot be built, or a node was lost or doubled.
pub(super) fn run() -> Result<()> {
    println!("\nfleet, against a cloud in memory");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--quiet", "--package", "myelin-engine", "--test", "it", "--"])
        .args(["--exact", "fleet::bench_of_the_fleet", "--nocapture"])
        .env("MYELIN_FLEET_RUNS", RUNS.to_string())
        .status()
        .context("run the engine's fleet scenario")?;
    if !status.success() {
        bail!("the fleet scenario failed");
    }
    Ok(())
}
