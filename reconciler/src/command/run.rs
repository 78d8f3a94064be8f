//! `myelin run`: keeps the cluster at the branches of its sources until it is stopped.

use super::exit;
use super::keys::KeyArguments;
use super::local::told;
use crate::access::ClusterArguments;
use crate::configuration::{self, SourceConfiguration, is_name};
use crate::control::{Board, NAMESPACE, Status};
use crate::git::{Remote, Transport};
use crate::hook::{Hook, Hooks};
use crate::identity::Identities;
use crate::lease::{Lock, Pace, Replica, Seat};
use crate::notify;
use crate::pause::Pause;
use crate::shared::{IN_FLIGHT, Shared};
use crate::source::Source;
use crate::traces;
use crate::web::{self, Face, Shown};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use myelin_engine::cluster::Cluster;
use myelin_engine::cluster::connect::ServiceAccount;
use myelin_engine::document::parse_duration;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterExt as _, FilterFn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use zeroize::Zeroizing;

/// Flags of a single source: beside a configuration they would have no effect, so they are refused.
const OF_ONE: [&str; 11] = [
    "url",
    "name",
    "branch",
    "path",
    "credentials",
    "authorities",
    "identity",
    "known_hosts",
    "signers",
    "service_account",
    "interval",
];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Configuration with the sources. It replaces the flags that describe a single source.
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_ONE)]
    config: Option<PathBuf>,
    /// Repository of a single source: https, ssh (`git@host:path` too) or file URL, or an absolute path.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Name of the single source; records name it as the owner.
    #[arg(long, default_value = "git", value_name = "NAME")]
    name: String,
    /// Branch of the single source.
    #[arg(long, default_value = "main", value_name = "BRANCH")]
    branch: String,
    /// Folder of the documents in the repository.
    #[arg(long, default_value = ".", value_name = "DIR")]
    path: String,
    /// File with the token, or USER:PASSWORD, of a private https repository.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// PEM file with the authorities of an https repository; the system's if not given.
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// File with the private key (without a passphrase) of a repository behind ssh.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// File with the keys that the ssh host may present, as OpenSSH's `known_hosts`.
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
    /// File of signers: allowed signers as `ssh-keygen` reads them, or armored OpenPGP keys. Commits that none of them signed
    /// are refused. May be given several times.
    #[arg(long, value_name = "FILE")]
    signers: Vec<PathBuf>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Service account, NAMESPACE/NAME, that is used for every change; Myelin's own rights if not given.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    service_account: Option<ServiceAccount>,
    /// How often the branch is polled, at least 1s.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    interval: String,
    /// Folder for git objects; a temporary one if not given. Losing it loses nothing.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Namespace of the reconciler's own objects.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    /// Share the sources among replicas by leases in the cluster: one replica works on a source, the others wait.
    #[arg(long)]
    lease: bool,
    /// A replica that is silent for this long is replaced; at least 300ms. Each replica sends one small request per
    /// 0.29 of it.
    #[arg(long, default_value = "700ms", value_name = "DURATION", requires = "lease")]
    fail_over: String,
    /// Format of the log on standard error. The variable MYELIN_LOG sets its level; `info` by default.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    /// Address of the page, the metrics and the health checks; `none` for no page.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9810")]
    listen: String,
    /// File with the token that the page and the metrics need; required where others can reach the address.
    #[arg(long, value_name = "FILE")]
    listen_token: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One JSON object in each line: `timestamp`, `level`, `fields` (with `message`), `target`.
    Json,
    /// Lines for people.
    Text,
}

impl LogFormat {
    /// Starts the log, and the traces if the environment names a collector; answers what sends them.
    fn start(self) -> Option<traces::Exporter> {
        let filter = tracing_subscriber::EnvFilter::try_from_env("MYELIN_LOG").unwrap_or_else(|_| "info".into());
        // Spans are for the traces alone: a line of the log is the same with and without them.
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match self {
            Self::Json => log.json().with_current_span(false).with_span_list(false).boxed(),
            Self::Text => log.with_ansi(std::io::stderr().is_terminal()).boxed(),
        };
        let log = log.with_filter(filter.and(FilterFn::new(|of| !of.is_span())));
        let (target, odd) = traces::Target::from_environment(&|name| std::env::var(name).ok());
        let (gather, exporter) = target.map(traces::start).unzip();
        let gather = gather.map(|gather| gather.with_filter(FilterFn::new(traces::is_ours)));
        tracing_subscriber::registry().with(log).with(gather).init();
        for odd in odd {
            tracing::warn!("{odd}");
        }
        exporter
    }
}

impl Arguments {
    fn sources(&self) -> anyhow::Result<Vec<SourceConfiguration>> {
        if let Some(file) = &self.config {
            if !self.keys.choice().is_empty() {
                tracing::warn!(
                    "--age-key-file and --kms-key are for a single source; sources of a configuration name their keys under decryption"
                );
            }
            return configuration::read(file).map_err(told);
        }
        let Some(url) = &self.url else {
            bail!("no source: pass --url, or --config FILE with sources");
        };
        if !is_name(&self.name) {
            bail!("--name {}: at most 40 lower-case letters, digits and dashes", self.name);
        }
        let remote = Remote::parse(url).map_err(|why| anyhow::anyhow!("--url {why}"))?;
        let interval = configuration::span(&self.interval).map_err(|why| anyhow::anyhow!("--interval: {why}"))?;
        let transport = Transport {
            credentials: self.credentials.clone(),
            authorities: self.authorities.clone(),
            identity: self.identity.clone(),
            known_hosts: self.known_hosts.clone(),
        };
        let missing: Vec<&str> = transport.missing(&remote).iter().map(|(_, flag)| *flag).collect();
        if !missing.is_empty() {
            bail!(
                "--url {url}: ssh needs {} FILE: the private key, and the keys that the host may show",
                missing.join(" FILE and ")
            );
        }
        Ok(vec![SourceConfiguration {
            branch: self.branch.clone(),
            path: self.path.clone(),
            interval,
            signers: self.signers.clone(),
            keys: self.keys.choice(),
            service_account: self.service_account.clone(),
            transport,
            ..SourceConfiguration::new(&self.name, remote)
        }])
    }
}

/// The heartbeat thread, and how to end it: only after everything is given back.
type Beating = (CancellationToken, std::thread::JoinHandle<()>);

impl Arguments {
    /// This replica, if there are several. It sends heartbeats from now on in a thread of its own, so that no work
    /// delays them.
    fn replica(&self) -> anyhow::Result<Option<(Replica, Beating)>> {
        if !self.lease {
            return Ok(None);
        }
        let silence = parse_duration(&self.fail_over).map_err(|why| anyhow::anyhow!("--fail-over: {why}"))?;
        let pace = Pace::new(silence).context("--fail-over: between 300ms and 60s")?;
        let replica = Replica::new(&self.namespace, pace);
        let farewell = CancellationToken::new();
        let (beating, stop, access) = (replica.clone(), farewell.clone(), self.cluster.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("make a runtime")?;
        let live = move || {
            runtime.block_on(async move {
                // Its own connection: it waits behind no list of a thousand objects.
                match access.connect().await {
                    Ok(cluster) => beating.live(cluster, stop).await,
                    Err(error) => tracing::error!("the leases cannot be used: {error:#}"),
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("beat".to_owned())
            .spawn(live)
            .context("start a thread")?;
        Ok(Some((replica, (farewell, thread))))
    }

    /// Serves the page; pends forever if none is wanted.
    fn page(
        &self,
        seen: BTreeMap<String, Face>,
        replica: Option<Replica>,
        hooks: Vec<(String, Hook, Board)>,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let address: Option<SocketAddr> = match self.listen.as_str() {
            "none" => None,
            text => Some(
                text.parse()
                    .with_context(|| format!("--listen {text} is no address and port"))?,
            ),
        };
        let token = match &self.listen_token {
            None => None,
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                anyhow::ensure!(!text.trim().is_empty(), "{} is empty", file.display());
                Some(Zeroizing::new(text))
            }
        };
        let shown = Shown::new(seen, replica, token);
        Ok(async move {
            match address {
                Some(address) => web::serve(address, shown, Hooks::new(hooks)).await,
                None => std::future::pending().await,
            }
        })
    }
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let exporter = arguments.log_format.start();
    let sources = arguments.sources()?;
    // Of all sources, as whomever they ask.
    let all = Arc::new(Semaphore::new(IN_FLIGHT));
    let cluster: Arc<dyn Cluster> = Arc::new(Shared::among(arguments.cluster.connect().await?, &all));
    let scratch = tempfile::tempdir().context("make a folder for git's objects")?;
    let store = arguments.data.clone().unwrap_or_else(|| scratch.path().to_owned());
    let stop = CancellationToken::new();
    // The last thing that ends: the sources' last spans are to be sent.
    let traced = CancellationToken::new();
    let exporting = exporter.map(|exporter| tokio::spawn(exporter.run(traced.clone())));
    // One task for all turns; the work of each source goes on in a thread of its own.
    let mut work = Vec::new();
    let replica = arguments.replica()?;
    let mut seen = BTreeMap::new();
    let mut hooks = Vec::new();
    for configuration in sources {
        let board = Board::new(cluster.clone(), &arguments.namespace, &configuration.name);
        let (shown, reader) = watch::channel(Status::default());
        let face = Face {
            status: reader.clone(),
            ..Face::default()
        };
        seen.insert(configuration.name.clone(), face.clone());
        if let Some(hook) = &configuration.hook {
            hooks.push((configuration.name.clone(), hook.clone(), board.clone()));
        }
        let targets = configuration.report.clone();
        tokio::spawn(notify::follow(
            configuration.name.clone(),
            targets,
            reader,
            stop.clone(),
        ));
        let seat = replica
            .as_ref()
            .map(|(replica, _)| Seat::new(cluster.clone(), replica.clone(), &configuration.name));
        let lock = Lock::new(&store, &configuration.name);
        let start = {
            // For this source, under every account that it uses.
            let permits = Arc::new(Semaphore::new(configuration.concurrency));
            let as_account = async |account: &ServiceAccount| -> anyhow::Result<Arc<dyn Cluster>> {
                let inner = Arc::new(Shared::among(arguments.cluster.connect_as(Some(account)).await?, &all));
                let shared: Arc<dyn Cluster> = Arc::new(Shared::among(inner, &permits));
                Ok(shared)
            };
            let cluster: Arc<dyn Cluster> = Arc::new(Shared::among(cluster.clone(), &permits));
            let usual = match &configuration.service_account {
                None => cluster.clone(),
                Some(account) => as_account(account).await?,
            };
            let mut allowed = BTreeMap::new();
            for account in &configuration.service_accounts {
                allowed.insert(account.clone(), as_account(account).await?);
            }
            let acting = Identities::Source { usual, allowed };
            let (store, cluster, namespace) = (store.clone(), cluster.clone(), arguments.namespace.clone());
            move |stop| {
                let source = Source::new(
                    configuration.clone(),
                    &store,
                    (cluster.clone(), acting.clone()),
                    board.clone(),
                    &namespace,
                    (shown.clone(), face.picture.clone(), face.pulse.clone()),
                    stop,
                );
                let runtime = tokio::runtime::Handle::current();
                let pulse = face.pulse.clone();
                async move {
                    // A thread of its own, beside the runtime's: what one source computes delays no other.
                    let run = tokio::task::spawn_blocking(move || runtime.block_on(source.run()));
                    if let Err(panicked) = run.await {
                        tracing::error!(error = %panicked, "a source ended; it starts again");
                    }
                    pulse.ended();
                }
            }
        };
        work.push(in_turn(seat, lock, start, stop.clone()));
    }
    let page = arguments.page(seen, replica.as_ref().map(|(replica, _)| replica.clone()), hooks)?;
    let ended = async {
        let result = tokio::select! {
            result = terminated() => result.context("wait for the signal to stop"),
            result = page => result,
        };
        stop.cancel();
        result
    };
    let (result, _) = futures::join!(ended, futures::future::join_all(work));
    if let Some((_, (farewell, thread))) = replica {
        farewell.cancel();
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
    traced.cancel();
    if let Some(exporting) = exporting {
        let _ = exporting.await;
    }
    result.map(|()| exit::OK)
}

/// Works on a source whenever it is this replica's turn; where there are no leases, whenever no other process on this machine
/// works on it with the same folder.
async fn in_turn<F: Future<Output = ()>>(
    seat: Option<Seat>,
    lock: Lock,
    start: impl Fn(CancellationToken) -> F,
    stop: CancellationToken,
) {
    let mut pause = Pause::default();
    let Some(seat) = seat else {
        let Some(_held) = lock.acquire(&stop).await else {
            return;
        };
        // It ends by itself only when it fails; then it starts again, and not in a circle.
        loop {
            start(stop.clone()).await;
            if stop.run_until_cancelled(pause.rest()).await.is_none() {
                return;
            }
        }
    };
    while seat.acquire(&stop).await {
        let turn = stop.child_token();
        let kept = async {
            seat.keep(&turn).await;
            turn.cancel();
        };
        let worked = async {
            start(turn.clone()).await;
            if !turn.is_cancelled() {
                stop.run_until_cancelled(pause.rest()).await;
                turn.cancel();
            }
        };
        futures::join!(worked, kept);
        seat.release().await;
    }
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
