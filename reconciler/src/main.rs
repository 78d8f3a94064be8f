//! The `myelin` command on the engine: what commands there are, and how one ends.
//!
//! `command` holds one file for each; `documents` and `deployment` turn a tree of files into plans and effects; `access` finds
//! the cluster.
#![allow(clippy::print_stdout, reason = "what a command prints is its result")]

mod access;
mod command;
mod deployment;
mod documents;

use clap::{Parser, Subcommand};
use command::exit;
use std::process::ExitCode;

/// Deploys phased stacks to Kubernetes from git.
#[derive(Debug, Parser)]
#[command(
    name = "myelin",
    version,
    about,
    after_help = "Exit codes: 0 done or nothing to change, 1 failed, 2 a plan has changes."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the objects of a kustomization as `kubectl kustomize` does.
    Render(command::render::Arguments),
    /// Checks documents and everything that they render, without a cluster.
    Validate(command::validate::Arguments),
    /// Shows what an apply would change.
    Plan(command::plan::Arguments),
    /// Applies the documents of a folder and waits until they are ready.
    Apply(command::apply::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Command::Render(arguments) => command::render::run(&arguments).map(|()| exit::OK),
        Command::Validate(arguments) => command::validate::run(&arguments).map(|()| exit::OK),
        Command::Plan(arguments) => wait(command::plan::run(&arguments)),
        Command::Apply(arguments) => wait(command::apply::run(&arguments)),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Runs a command that talks to others.
fn wait(work: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
