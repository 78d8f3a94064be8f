//! The `myelin` command on the engine: its subcommands, and how each ends.
//!
//! `command` holds one file per subcommand; `documents` and `deployment` turn a tree of files into plans and effects;
//! `source` does so continuously for a branch; `access` finds the cluster.
#![allow(clippy::print_stdout, reason = "what a command prints is its result")]

mod access;
mod chronicle;
mod command;
mod configuration;
mod control;
mod deployment;
mod documents;
mod drift;
mod events;
mod execution;
mod field_index;
mod git;
mod health;
mod hook;
mod identity;
mod lease;
mod notify;
mod origins;
mod output;
mod pause;
mod picture;
mod pools;
mod pulse;
mod report;
mod shared;
mod sops;
mod source;
mod token_watch;
mod traces;
mod tree;
mod waits;
mod web;

use clap::{CommandFactory as _, Parser, Subcommand};
use command::exit;
use myelin_engine::diagnostic::Diagnostics;
use std::process::ExitCode;

/// Memory of an apply of thousands of objects returns to the system within seconds, so that a reconciler that only
/// watches is small again. The C library's allocator would keep it.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Deploys phased stacks to Kubernetes from git.
#[derive(Debug, Parser)]
#[command(
    name = "myelin",
    version,
    about,
    after_help = "Exit codes: 0 done, or nothing to change; 1 failed, or not everything is ready; 2 a plan or a diff has changes. \
                  Wrong arguments end with 1. Colour is for terminals; NO_COLOR turns it off."
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
    /// Keeps the cluster at the branches of its sources.
    Run(Box<command::run::Arguments>),
    /// Shows the difference between the cluster and the documents, line by line.
    Diff(command::diff::Arguments),
    /// Shows sources, stacks, components and objects as a tree, each with its state and reason.
    Status(command::status::Arguments),
    /// Says why an object is as it is: commit, file and line, component, last plan, last writer.
    Why(command::why::Arguments),
    /// Lists what the reconciler did, from the Events that it writes.
    Events(command::events::Arguments),
    /// Lists the commits that a source has had.
    History(command::status::HistoryArguments),
    /// Makes a source poll its branch now.
    Reconcile(command::control::SourceArguments),
    /// Stops a source until it is resumed; what is applied stays.
    Suspend(command::control::SourceArguments),
    /// Lets a suspended source continue.
    Resume(command::control::SourceArguments),
    /// Returns a source to a commit and holds it there.
    Rollback(command::control::RollbackArguments),
    /// Ends a rollback: the source follows its branch again.
    Release(command::control::SourceArguments),
    /// Gives a stack from Terraform to a git source, or back. No object is touched.
    HandOver(command::hand_over::Arguments),
    /// Confirms a plan that removes much.
    Confirm(command::control::ConfirmArguments),
    /// Prints the JSON Schema of the documents, for editors.
    Schema(command::schema::Arguments),
    /// Prints the completion script of a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// A core dump of this process could contain a minted value.
fn write_no_core() {
    #[cfg(unix)]
    {
        let nothing = rustix::process::Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, nothing) {
            eprintln!("core dumps could not be turned off: {error}");
        }
    }
}

fn main() -> ExitCode {
    write_no_core();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // 2 means that a plan has changes; a mistyped argument must not look like that.
            let code = if error.use_stderr() { exit::FAILED } else { exit::OK };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let ended = match arguments.command {
        Command::Render(arguments) => command::render::run(&arguments).map(|()| exit::OK),
        Command::Validate(arguments) => command::validate::run(&arguments).map(|()| exit::OK),
        Command::Schema(arguments) => command::schema::run(&arguments).map(|()| exit::OK),
        Command::Plan(arguments) => wait(command::plan::run(&arguments)),
        Command::Apply(arguments) => wait(command::apply::run(&arguments)),
        Command::Run(arguments) => wait(command::run::run(&arguments)),
        Command::Diff(arguments) => wait(command::diff::run(&arguments)),
        Command::Status(arguments) => wait(command::status::status(&arguments)),
        Command::Why(arguments) => wait(command::why::run(&arguments)),
        Command::Events(arguments) => wait(command::events::run(&arguments)),
        Command::History(arguments) => wait(command::status::history(&arguments)),
        Command::Reconcile(arguments) => wait(command::control::reconcile(&arguments)),
        Command::Suspend(arguments) => wait(command::control::suspend(&arguments)),
        Command::Resume(arguments) => wait(command::control::resume(&arguments)),
        Command::Rollback(arguments) => wait(command::control::rollback(&arguments)),
        Command::Release(arguments) => wait(command::control::release(&arguments)),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "myelin", &mut std::io::stdout());
            Ok(exit::OK)
        }
        Command::HandOver(arguments) => wait(command::hand_over::run(&arguments)),
        Command::Confirm(arguments) => wait(command::control::confirm(&arguments)),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Problems of documents say themselves how bad they are, each with its place.
            if error.is::<Diagnostics>() {
                eprintln!("{error}");
            } else {
                eprintln!("error: {error:#}");
            }
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
