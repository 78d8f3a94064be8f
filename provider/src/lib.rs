//! The Terraform provider: between Terraform's plugin protocol and the engine. It decides nothing that the engine
//! decides.
//!
//! In the order in which a call flows:
//!
//! | module | what it is for |
//! |---|---|
//! | `handshake` | how Terraform starts us, and the one line that we answer |
//! | `tls`, `listen` | who may connect, and where |
//! | `lifetime`, `panics`, `log`, `streams` | when we stop, what happens on a panic, and where output goes |
//! | `server` | each call: decode, ask the resource, check, encode |
//! | `value`, `schema`, `diagnostic` | Terraform's values, what a configuration may contain, messages for the user |
//! | `consistency` | Terraform's rules for answers, checked before they are sent |
//! | `configuration`, `cluster`, `cloud` | the provider block, and lazy connections to the cluster and to EC2 |
//! | `resource`, `ephemeral`, `data` | one folder or file per resource type and data source |
//! | `reference` | the reference docs, from the schemas |

pub mod cloud;
pub mod cluster;
pub mod configuration;
pub mod consistency;
pub mod data;
pub mod diagnostic;
pub mod ephemeral;
pub mod handshake;
#[cfg(unix)]
pub mod leftover;
pub mod lifetime;
pub mod listen;
pub mod log;
pub mod panics;
pub mod reference;
pub mod resource;
pub mod schema;
pub mod server;
pub mod spelling;
pub mod streams;
pub mod tls;
pub mod value;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use handshake::Launch;
use lifetime::Lifetime;
use server::{Mode, Provider};

/// Runs the provider until Terraform, or the developer who debugs it, ends it. `variable` reads the environment.
pub fn run(arguments: &[String], variable: impl Fn(&str) -> Option<String>) -> ExitCode {
    panics::install_hook();
    // A core of this process could hold a minted value.
    #[cfg(unix)]
    let no_core = rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    log::start(log::Threshold::from_environment(&variable));
    #[cfg(unix)]
    if let Err(error) = no_core {
        tracing::warn!(%error, "core dumps could not be turned off");
    }
    // The one provider of the whole process: only aws-lc-rs verifies Terraform's P-521 certificates.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mode = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => match Launch::from_environment(&variable) {
            Ok(launch) => Mode::Plugin(launch),
            Err(refusal) => return fail(&refusal.to_string()),
        },
        ["--debug" | "-debug"] => Mode::Debug,
        ["--version" | "-version"] => return fail(concat!("terraform-provider-myelin ", env!("CARGO_PKG_VERSION"))),
        ["--docs", folder] => {
            return match reference::write(std::path::Path::new(folder)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&format!("writing the reference docs into {folder} failed: {error}")),
            };
        }
        _ => return fail("usage: terraform-provider-myelin [--debug | --version | --docs FOLDER]"),
    };
    let environment = configuration::Environment::read(&variable);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Waiting is most of what we do, and a command starts several of us.
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("starting failed: {error}")),
    };
    let served = runtime.block_on(async {
        let lifetime = Arc::new(Lifetime::default());
        listen_to_signals(&lifetime, matches!(mode, Mode::Debug))?;
        let resources: Vec<Box<dyn resource::Resource>> = vec![
            Box::new(resource::stack::StackResource::default()),
            Box::new(resource::provisioning_token::TokenResource::default()),
            Box::new(resource::node_pool::PoolResource::default()),
        ];
        let data: Vec<Box<dyn data::DataSource>> = vec![Box::new(data::nodes::Nodes::default())];
        let ephemerals: Vec<Box<dyn ephemeral::Ephemeral>> = vec![Box::new(ephemeral::secret::SecretValue::default())];
        let provider = Provider::new(resources, ephemerals, data, environment, lifetime.clone());
        server::serve(mode, provider, lifetime).await
    });
    // What still runs has had its time.
    runtime.shutdown_timeout(Duration::from_millis(50));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("the provider cannot serve: {error}")),
    }
}

fn fail(message: &str) -> ExitCode {
    log::write_raw(&format!("{message}\n"));
    ExitCode::FAILURE
}

/// Ctrl-C reaches the whole process group. Terraform decides what it means and calls StopProvider, so we ignore it. In
/// debug mode it ends us.
#[cfg(unix)]
fn listen_to_signals(lifetime: &Arc<Lifetime>, interrupt_ends: bool) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let lifetime = lifetime.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = interrupt.recv() => {
                    if interrupt_ends {
                        lifetime.end();
                    } else {
                        tracing::debug!("ignored an interrupt; Terraform says when to stop");
                    }
                }
                Some(()) = terminate.recv() => lifetime.end(),
                else => return,
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn listen_to_signals(lifetime: &Arc<Lifetime>, interrupt_ends: bool) -> std::io::Result<()> {
    let lifetime = lifetime.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if interrupt_ends {
                lifetime.end();
            }
        }
    });
    Ok(())
}
