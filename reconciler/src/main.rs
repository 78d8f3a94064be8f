//! The `myelin` command on the engine. One file per subcommand; here is only which there are, and how one ends.

mod render;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Deploys phased stacks to Kubernetes from git.
#[derive(Debug, Parser)]
#[command(name = "myelin", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the objects of a kustomization as `kubectl kustomize` does.
    Render(render::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Render(arguments) => render::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
