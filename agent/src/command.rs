//! The command line of `myelin-agent`.

mod ask;

use crate::config::{self, Config};
use crate::node;
use clap::{Parser, Subcommand};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `run` reads beside its configuration.
const ENVIRONMENT: &str = "Environment:
  MYELIN_LOG                          error, warn, info (the default), debug, or a filter of tracing
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
                                      in place of the keys of the instance's role
  AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_EC2, AWS_ENDPOINT_URL_SSM, AWS_EC2_METADATA_SERVICE_ENDPOINT
                                      in place of AWS's own";

/// Runs one node of a pool: starts the workload, finds peers, serves requests, and drains the node before its capacity
/// goes away.
#[derive(Debug, Parser)]
#[command(name = "myelin-agent", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the node until SIGTERM, then drains it and exits.
    #[command(after_help = ENVIRONMENT)]
    Run {
        /// Configuration [default: /etc/myelin/agent.yaml, if it is there]
        #[arg(long)]
        config: Option<PathBuf>,
        /// Log lines as JSON or as text.
        #[arg(long, default_value = "json", value_parser = ["json", "text"])]
        log: String,
        /// The workload: program and arguments. Overrides `workload.command` of the configuration.
        #[arg(last = true)]
        workload: Vec<String>,
    },
    /// Checks a configuration and reports every problem in it.
    Check {
        /// Configuration [default: /etc/myelin/agent.yaml, if it is there]
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Lists the peers that the node knows.
    Peers(ask::Where),
    /// Shows the node, its workload and its drain.
    Status(ask::Where),
    /// Drains the node; its workload ends within the drain timeout.
    Drain(ask::Where),
    /// Cancels a drain, as long as the workload has not been told to stop.
    Undrain(ask::Where),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { config, log, workload } => return run(config.as_deref(), &log, workload),
        Command::Check { config } => check(config.as_deref()),
        Command::Peers(place) => ask::peers(&place),
        Command::Status(place) => ask::status(&place),
        Command::Drain(place) => ask::change(&place, "/drain"),
        Command::Undrain(place) => ask::change(&place, "/undrain"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("myelin-agent: {why}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "what a command prints is its result")]
fn check(path: Option<&Path>) -> Result<(), String> {
    let config = config::read(path).map_err(|e| e.to_string())?;
    println!("{}", config.summary());
    Ok(())
}

/// Runs the node. What goes wrong is a line of its log like any other, and nothing else.
fn run(path: Option<&Path>, log: &str, workload: Vec<String>) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MYELIN_LOG").unwrap_or_else(|_| "info".into());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if log == "json" {
        builder.json().flatten_event(true).with_target(false).init();
    } else {
        builder.with_target(false).init();
    }
    match keep_node(path, workload) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            for error in why.lines() {
                tracing::error!(error, "the node cannot run");
            }
            ExitCode::FAILURE
        }
    }
}

fn keep_node(path: Option<&Path>, workload: Vec<String>) -> Result<(), String> {
    let mut config: Config = config::read(path).map_err(|e| e.to_string())?;
    if !workload.is_empty() {
        config.workload.command = workload;
    }
    // Two threads: one node's traffic does not fill one, but a health check must not wait for a proxied body.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| format!("start the runtime: {e}"))?;
    let done = runtime.block_on(node::run(config)).map_err(|e| e.to_string());
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}
