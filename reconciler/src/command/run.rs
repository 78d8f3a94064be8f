//! `myelin run`: keeps the cluster at the branches of its sources until it is stopped.

use super::exit;
use super::local::told;
use crate::access::ClusterArguments;
use crate::configuration::{self, SourceConfiguration, is_name};
use crate::control::{Board, NAMESPACE, Status};
use crate::git::Transport;
use crate::source::Source;
use anyhow::{Context as _, bail};
use clap::Args;
use myelin_engine::document::parse_duration;
use std::path::PathBuf;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Configuration with the sources.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Repository of a single source: https or file URL, or an absolute path.
    #[arg(long)]
    url: Option<String>,
    /// Name of the single source; records name it as the owner.
    #[arg(long, default_value = "git")]
    name: String,
    /// Branch of the single source.
    #[arg(long, default_value = "main")]
    branch: String,
    /// Folder of the documents in the repository.
    #[arg(long, default_value = ".")]
    path: String,
    /// File with the token, or USER:PASSWORD, of a private https repository.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// PEM file with the authorities of an https repository; the system's if not given.
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// File of allowed signers (as `ssh-keygen` reads it); commits that none of them signed are refused.
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// How often the branch is looked at.
    #[arg(long, default_value = "30s")]
    interval: String,
    /// Folder for the objects of git; a fresh one if not given. Losing it loses nothing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Namespace of the reconciler's own objects.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Arguments {
    fn sources(&self) -> anyhow::Result<Vec<SourceConfiguration>> {
        if let Some(file) = &self.config {
            return configuration::read(file).map_err(told);
        }
        let Some(url) = &self.url else {
            bail!("no source: pass --url, or --config FILE with sources");
        };
        if !is_name(&self.name) {
            bail!("--name {}: at most 40 lower-case letters, digits and dashes", self.name);
        }
        let interval = parse_duration(&self.interval).map_err(|why| anyhow::anyhow!("--interval: {why}"))?;
        Ok(vec![SourceConfiguration {
            branch: self.branch.clone(),
            path: self.path.clone(),
            interval,
            signers: self.signers.clone(),
            transport: Transport {
                credentials: self.credentials.clone(),
                authorities: self.authorities.clone(),
            },
            ..SourceConfiguration::new(&self.name, url)
        }])
    }
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("MYELIN_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let sources = arguments.sources()?;
    let cluster = arguments.cluster.connect().await?;
    let scratch = tempfile::tempdir().context("make a folder for git's objects")?;
    let store = arguments.data.clone().unwrap_or_else(|| scratch.path().to_owned());
    let stop = CancellationToken::new();
    // One task for all sources: what takes long, rendering and git, runs beside it.
    let mut work = Vec::new();
    for configuration in sources {
        let board = Board::new(cluster.clone(), &arguments.namespace, &configuration.name);
        let (shown, _) = watch::channel(Status::default());
        work.push(Source::new(configuration, &store, cluster.clone(), board, shown, stop.clone()).run());
    }
    let ended = async {
        let result = terminated().await;
        stop.cancel();
        result
    };
    let (result, _) = futures::join!(ended, futures::future::join_all(work));
    result.context("wait for the signal to stop")?;
    Ok(exit::OK)
}

/// Waits for Ctrl-C or the signal that service managers send.
async fn terminated() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
