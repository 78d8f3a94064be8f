//! The plugin server, from the start of the process to its end.
//!
//! `serve` opens the socket, prints the handshake line and answers calls until the end. The files beside it each answer
//! one family of calls. `resource` decides what a call means.

mod companions;
mod data;
mod ephemeral;
mod managed;
mod provider;
mod translate;

use std::io::{self, Write as _};
use std::sync::Arc;

use tokio::sync::watch;
use tonic::transport::Server;

use myelin_proto::health::health_server::HealthServer;
use myelin_proto::plugin::grpc_broker_server::GrpcBrokerServer;
use myelin_proto::plugin::grpc_controller_server::GrpcControllerServer;
use myelin_proto::plugin::grpc_stdio_server::GrpcStdioServer;
use myelin_proto::tfplugin6::provider_server::ProviderServer;

use crate::handshake::{self, Launch, Listen};
use crate::lifetime::Lifetime;
use crate::listen::{self, Listener};
use crate::streams;
use crate::tls::Tls;

use companions::{Broker, Controller, Health, Stdio};
pub use provider::Provider;

/// A plan carries prior, proposed and configured state: a stack of CRDs passes tonic's 4 MiB easily. Every Go provider
/// allows this much.
const MAX_MESSAGE: usize = 256 << 20;

/// HTTP/2's default window of 64 KiB would make one large message wait for dozens of round trips.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// How we are started.
#[derive(Debug)]
pub enum Mode {
    /// By Terraform, for one walk.
    Plugin(Launch),
    /// Started by a developer, for any number of commands, without TLS.
    Debug,
}

/// Serves until the end.
///
/// # Errors
/// If the socket cannot be opened, the certificate is none, or the handshake line cannot be written.
pub async fn serve(mode: Mode, provider: Provider, lifetime: Arc<Lifetime>) -> io::Result<()> {
    let (listen, client_certificate) = match &mode {
        Mode::Plugin(launch) => (launch.listen.clone(), launch.client_certificate.as_deref()),
        Mode::Debug => (Listen::default(), None),
    };
    let tls = client_certificate
        .map(|pem| Tls::pinned(pem, Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
        .transpose()
        .map_err(io::Error::other)?;
    let listener = Arc::new(Listener::open(&listen).await?);
    announce(&mode, &listener, tls.as_ref())?;

    let open = watch::Sender::new(0);
    let seen = open.subscribe();
    let incoming = listen::accept(listener.clone(), tls, open);
    let router = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(
            ProviderServer::new(provider)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
        )
        .add_service(GrpcControllerServer::new(Controller::new(lifetime.clone())))
        .add_service(GrpcStdioServer::new(Stdio))
        .add_service(GrpcBrokerServer::new(Broker))
        .add_service(HealthServer::new(Health));
    tokio::select! {
        served = router.serve_with_incoming(incoming) => served.map_err(io::Error::other),
        // Open streams are not waited for: Terraform closes them only after we are gone.
        () = lifetime.until_the_end(seen, matches!(mode, Mode::Debug)) => Ok(()),
    }
}

/// Says where we are. Listening already: Terraform connects as soon as it has read the line.
fn announce(mode: &Mode, listener: &Listener, tls: Option<&Tls>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match mode {
        Mode::Plugin(_) => {
            let certificate = tls.map(|tls| tls.certificate.as_ref());
            stdout.write_all(handshake::line(listener.address(), certificate).as_bytes())?;
            stdout.flush()?;
            drop(stdout);
            streams::make_private()
        }
        Mode::Debug => {
            let reattach = handshake::reattach(listener.address(), std::process::id());
            writeln!(
                stdout,
                "Provider started. In another terminal:\n\n\texport TF_REATTACH_PROVIDERS='{reattach}'\n"
            )?;
            stdout.flush()
        }
    }
}
