//! A configuration → the HTTP client for the cluster. Opens no connection.
//!
//! With the library's own client, a connection whose other side is gone looks alive forever, and a credential plugin
//! runs again without a time limit. Hence TCP keep-alive, and [`Plugin`].

use super::credentials;
use super::plugin::{Given, Plugin};
use futures::future::BoxFuture;
use http::Request;
use http::header::AUTHORIZATION;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::Config;
use std::sync::Arc;
use std::time::Duration;
use tower::filter::{AsyncFilterLayer, AsyncPredicate};
use tower::{BoxError, ServiceBuilder};

/// Time limit of a connection attempt, including TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that is silent for this long is probed, at this interval and this number of times. A watch is silent
/// for minutes, and must not outlive a dead machine or route by more than this, about a minute.
const SILENT: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASK: u32 = 3;

/// Creates a client. A plugin that the configuration names runs now, and again in requests whenever its credentials are
/// about to expire.
///
/// # Errors
/// What cannot be used, as a message for the user.
pub(super) async fn client(mut config: Config) -> Result<kube::Client, String> {
    if config.proxy_url.is_some() {
        return Err(
            "it names a proxy (proxy-url), which is not supported: the API server is reached directly".to_owned(),
        );
    }
    let plugin = match Plugin::of(&mut config.auth_info) {
        None => None,
        Some(mut plugin) => match plugin.first().await? {
            Given::Token => Some(plugin),
            Given::Certificate(auth) => {
                config.auth_info = *auth;
                None
            }
        },
    };
    beside(move || assemble(&config, plugin)).await
}

/// Outside the runtime: the library runs the program of an old `auth-provider` synchronously, and may panic on its
/// output.
async fn beside(
    work: impl FnOnce() -> Result<kube::Client, kube::Error> + Send + 'static,
) -> Result<kube::Client, String> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let made = std::thread::Builder::new().name("credentials".into()).spawn(move || {
        let _entered = runtime.enter();
        let client = work().map_err(|e| credentials::in_causes(&e).unwrap_or_else(|| e.to_string()));
        // Nobody receives this once the deadline is over.
        drop(tell.send(client));
    });
    made.map_err(|e| format!("no thread can be started: {e}"))?;
    match tokio::time::timeout(super::plugin::FIRST, told).await {
        Ok(Ok(client)) => client,
        Ok(Err(_)) => Err("the credentials are not of a form that HTTP can carry".to_owned()),
        Err(_) => Err(super::plugin::late(super::plugin::FIRST)),
    }
}

fn assemble(config: &Config, plugin: Option<Plugin>) -> Result<kube::Client, kube::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster; then it is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(SILENT));
    tcp.set_keepalive_interval(Some(ASK_EVERY));
    tcp.set_keepalive_retries(Some(ASK));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(Some(CONNECT));
    let http: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .option_layer(plugin.map(|plugin| AsyncFilterLayer::new(Authorize(Arc::new(plugin)))))
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// Adds the plugin's token to each request.
#[derive(Clone)]
struct Authorize(Arc<Plugin>);

impl AsyncPredicate<Request<Body>> for Authorize {
    type Future = BoxFuture<'static, Result<Request<Body>, BoxError>>;
    type Request = Request<Body>;

    fn check(&mut self, mut request: Request<Body>) -> Self::Future {
        let plugin = Arc::clone(&self.0);
        Box::pin(async move {
            let header = plugin.header().await?;
            request.headers_mut().insert(AUTHORIZATION, header);
            Ok(request)
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::connect::{Access, connect};
    use super::super::{Cluster as _, kinds};
    use super::*;

    /// A connection with no data in flight has one timer, that of keep-alive (`man 5 proc`, net/tcp: timer 2, and its
    /// expiry in hundredths of a second).
    #[tokio::test]
    async fn a_connection_asks_by_itself_whether_its_other_side_is_there() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let access = Access::Direct {
            host: format!("http://127.0.0.1:{port}"),
            token: None,
            ca_pem: None,
            client: None,
            tls_server_name: None,
            insecure: false,
        };
        let cluster = connect(&access).await.unwrap();
        let (selection, resource) = (super::super::Selection::default(), kinds::known("v1", "Pod"));
        let mut asking = cluster.list(&resource, &selection);
        let peer = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().1.port(),
            _ = &mut asking => panic!("nobody has answered"),
        };
        // Until the first request is acknowledged, the timer is that of retransmission.
        let ends = [format!(":{peer:04X}"), format!(":{port:04X}")];
        let timer = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let fields = table
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .find(|fields| fields[1].ends_with(&ends[0]) && fields[2].ends_with(&ends[1]));
            let timer = fields.expect("the connection").get(5).expect("a timer").to_string();
            let (kind, due) = timer.split_once(':').expect("two numbers");
            (kind.to_owned(), u64::from_str_radix(due, 16).expect("a number"))
        };
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let (kind, due) = timer();
            if kind == "02" {
                assert!(due <= SILENT.as_secs() * 100 + 100, "due in {due}");
                break;
            }
            assert!(tokio::time::Instant::now() < end, "timer {kind}");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                _ = &mut asking => panic!("nobody has answered"),
            }
        }
    }
}
