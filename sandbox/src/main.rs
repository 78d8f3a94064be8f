//! `myelin-sandbox`: the sandbox as a process.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use myelin_sandbox::faults::Rule;
use myelin_sandbox::{Options, Sandbox};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// An embedded Kubernetes API and EC2 API on loopback: a test double, neither a cluster nor a cloud.
#[derive(Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (a sandbox, not a cluster)"))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run until SIGINT or SIGTERM; prints where the kubeconfig is and the environment that uses it.
    Up(Up),
}

#[derive(clap::Args)]
struct Up {
    /// Where to write the kubeconfig; in a fresh temporary folder if not given.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// TCP port on 127.0.0.1; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// TCP port on 127.0.0.1 of EC2, SSM and the instance metadata services; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    aws_port: u16,
    /// How many virtual seconds pass in a real one.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Leave out controllers, scheduler and model kubelet.
    #[arg(long)]
    no_controllers: bool,
    /// A JSON file with a list of fault rules to start with.
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Seed of everything random in faults.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("MYELIN_SANDBOX_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let Command::Up(up) = Arguments::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(run(up)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failed(&message),
    }
}

fn failed(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "myelin-sandbox: {message}");
    ExitCode::FAILURE
}

async fn run(up: Up) -> Result<(), String> {
    let rules: Vec<Rule> = match &up.faults {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?
        }
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let options = Options {
        port: up.port,
        aws_port: up.aws_port,
        speed: up.speed,
        controllers: !up.no_controllers,
        seed: up.seed,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.map_err(|e| e.to_string())?;
    for rule in rules {
        sandbox.faults().add(rule);
    }
    let (path, temporary) = match up.kubeconfig {
        Some(path) => (path, None),
        None => {
            let folder = std::env::temp_dir().join(format!("myelin-sandbox-{}", std::process::id()));
            std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
            (folder.join("kubeconfig"), Some(folder))
        }
    };
    write_private(&path, &sandbox.kubeconfig()).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let aws: String = sandbox
        .aws_environment()
        .iter()
        .map(|(name, value)| format!("export {name}={value}\n"))
        .collect();
    let text = format!(
        "# myelin-sandbox {}: an embedded Kubernetes API and EC2 API for demos and tests. It is no cluster and no cloud.\n\
         # server {} (loopback only), clock speed {}\n\
         export KUBECONFIG={}\n\
         unset AWS_PROFILE AWS_SESSION_TOKEN\n\
         {aws}\
         export MYELIN_SANDBOX_URL={}\n\
         export MYELIN_SANDBOX_TOKEN={}\n",
        env!("CARGO_PKG_VERSION"),
        sandbox.url(),
        up.speed,
        path.display(),
        sandbox.url(),
        sandbox.token(),
    );
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| e.to_string())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    sandbox.stop().await;
    if let Some(folder) = temporary {
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(())
}

/// Write a file that only its owner can read: it holds a token.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
