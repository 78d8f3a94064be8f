//! `myelin-workbench`: the clients that `cargo xtask demo` and `cargo xtask bench` need and no user does.
//!
//! xtask has no client libraries, so that it compiles at once. Code that must talk to a cluster, or run the engine in a
//! process of its own where it can be measured, is here. Each subcommand prints one JSON object per line. Not shipped.
#![allow(clippy::print_stdout, reason = "a subcommand's report is its stdout")]

mod counting;
mod deployed;
mod hands;
mod load;
mod objects;
mod raw;
mod render;
mod stack;

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::process::ExitCode;

const USAGE: &str = "\
usage: myelin-workbench <subcommand> [--name value]...   (the cluster is $KUBECONFIG's)

  write-objects --count N --namespace NS --to FOLDER   the bench's manifests, as files and as a stack
  render        --tree FOLDER --paths A,B              the documents of kustomizations in a tree
  raw-apply     --count N --namespace NS --in-flight N the same objects as bare requests
  engine-apply  --source FOLDER --namespace NS --in-flight N   the folder as a stack, requests counted
  load          --objects N --watches N --updates N --namespace NS
  ready         --namespace NS                         a line when a StatefulSet becomes ready or rolls, until killed
  edit          --namespace NS --kind configmaps --name NAME --patch JSON
  get           --namespace NS --kind configmaps --name NAME
  left          --namespace NS                         how many objects a namespace holds
  requests      --after N --agent PREFIX               what a user agent asked the sandbox since request N
  reverts       --count N --namespaces N               change a Service of each bench stack; how long each change stands
  hops          --namespace NS --count N               from one link of a chain being ready to the next being there
  workers                                              how many nodes are EC2 instances, and Ready
  make-namespace --namespace NS
  delete-namespace --namespace NS                      and wait until it is gone
";

/// `--name value` pairs of the command line.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut options = BTreeMap::new();
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let Some(name) = name.strip_prefix("--") else {
                bail!("{name:?} is not an option\n\n{USAGE}")
            };
            let value = rest.next().with_context(|| format!("--{name} needs a value"))?;
            options.insert(name.to_owned(), value.clone());
        }
        Ok(Self(options))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("--{name} is missing\n\n{USAGE}"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<usize> {
        self.text(name)?
            .parse()
            .with_context(|| format!("--{name} is not a number"))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("workbench: a crypto provider was installed before main");
        return ExitCode::FAILURE;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<()> {
    let Some((subcommand, rest)) = arguments.split_first() else {
        bail!("{USAGE}")
    };
    let options = Options::read(rest)?;
    match subcommand.as_str() {
        "write-objects" => objects::write(&options),
        "render" => render::run(&options),
        "raw-apply" => raw::apply(&options).await,
        "engine-apply" => stack::run(&options).await,
        "load" => load::run(&options).await,
        "ready" => hands::ready(&options).await,
        "edit" => hands::edit(&options).await,
        "get" => hands::get(&options).await,
        "left" => hands::left(&options).await,
        "requests" => deployed::requests(&options).await,
        "reverts" => deployed::reverts(&options).await,
        "hops" => deployed::hops(&options).await,
        "workers" => hands::workers().await,
        "make-namespace" => raw::make_namespace(&raw::client().await?, options.text("namespace")?).await,
        "delete-namespace" => hands::delete_namespace(&options).await,
        unknown => bail!("no subcommand is called {unknown:?}\n\n{USAGE}"),
    }
}
