//! The node agent: what a drain and a death lose, what an agent costs beside a hundred peers, and how often EC2 is
//! queried.
//!
//! Runs the agent's own scenarios (`agent/tests/it/bench.rs`, `clusters.rs`) on release binaries: real processes on
//! loopback addresses and in network namespaces against the sandbox's EC2, and a thousand agents on a simulated
//! network. It measures no cloud.

use anyhow::{Context, Result, bail};
use std::process::Command;

/// Agents on the simulated network.
const AGENTS: u32 = 1_000;

/// Runs them; they print their figures and fail beyond their limits.
///
/// # Errors
/// When they cannot be built, or a limit is not kept.
pub(super) fn run() -> Result<()> {
    println!("\nagent, on loopback against a sandbox");
    // One after the other: they measure each other otherwise.
    for (name, ignored) in [
        ("bench::planned_drain_under_load", true),
        ("bench::death_under_load", true),
        ("bench::cost_beside_a_hundred_peers", true),
        (
            "clusters::nodes_that_boot_together_find_each_other_and_notice_that_a_third_of_them_is_gone",
            false,
        ),
        (
            "clusters::nodes_that_boot_together_leave_a_controller_its_share_of_the_sandboxs_request_rates",
            false,
        ),
        (
            "clusters::a_zone_that_is_cut_off_is_noticed_on_both_sides_and_the_split_heals",
            false,
        ),
        ("clusters::a_zone_that_is_gone_is_noticed_within_a_minute", false),
        (
            "namespaces::nodes_on_real_networks_split_where_a_cable_is_pulled_join_again_and_never_mix",
            false,
        ),
        ("clusters::in_an_hour_a_node_asks_ec2_as_often_as_the_rule_says", false),
    ] {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args([
                "test",
                "--release",
                "--quiet",
                "--package",
                "myelin-agent",
                "--test",
                "it",
                "--",
            ])
            .args(["--exact", name, "--nocapture"])
            .env("MYELIN_AGENTS", AGENTS.to_string());
        if ignored {
            command.arg("--ignored");
        }
        let status = command.status().with_context(|| format!("run the agent's {name}"))?;
        if !status.success() {
            bail!("the agent's {name} failed");
        }
    }
    Ok(())
}
