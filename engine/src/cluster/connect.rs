//! Access to a cluster → a [`KubeCluster`]. Opens no connection: the first request does.
//!
//! Nothing is used that was not named: no kubeconfig from the environment and no service account, unless asked for.

use super::{KubeCluster, client, credentials};
use crate::diagnostic::Diagnostic;
use http::Uri;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig};
use std::fmt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Whether a kubeconfig's `exec` credential plugin may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecPlugins {
    /// The user's own configuration names them: run.
    Run,
    /// The kubeconfig comes from somewhere else: refuse it.
    Refuse,
}

/// How to reach a cluster.
#[derive(Clone)]
pub enum Access {
    /// A kubeconfig file.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context; the file's current one when absent.
        context: Option<String>,
        /// Whether credential plugins may run.
        exec: ExecPlugins,
    },
    /// A URL and credentials.
    Direct {
        /// `https://host:port`.
        host: String,
        /// Bearer token.
        token: Option<String>,
        /// PEM of the authority that signs the server's certificate; the system's authorities when absent.
        ca_pem: Option<String>,
        /// PEM of the client certificate and of its key.
        client: Option<(String, String)>,
        /// Name that the server's certificate must have, where it is not the host.
        tls_server_name: Option<String>,
        /// Accept any certificate. Only for experiments.
        insecure: bool,
    },
    /// The service account of the pod that this runs in.
    InCluster,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig { path, context, .. } => write!(f, "Kubeconfig({}, {context:?})", path.display()),
            Self::Direct { host, .. } => write!(f, "Direct({host}, …)"),
            Self::InCluster => f.write_str("InCluster"),
        }
    }
}

/// A service account that requests impersonate instead of using our own identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAccount {
    namespace: String,
    name: String,
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl std::str::FromStr for ServiceAccount {
    type Err = String;
    /// `namespace/name`. Never empty: an empty impersonation header means none, and the request would use our own
    /// rights.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_label = |part: &str| {
            !part.is_empty()
                && part.len() <= 253
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_label(namespace) && is_label(name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(format!(
                "\"{text}\" is no service account: write namespace/name, for example shop/deployer"
            )),
        }
    }
}

/// Creates a client. Reads the kubeconfig, sends nothing.
///
/// # Errors
/// A kubeconfig that cannot be read or names what does not exist; a host that is no URL; a credential plugin that is
/// refused.
pub async fn connect(access: &Access) -> Result<KubeCluster, Diagnostic> {
    connect_as(access, None).await
}

/// The same, with every request made as a service account: the API server checks that we may, and then its rights.
///
/// # Errors
/// As [`connect`].
pub async fn connect_as(access: &Access, account: Option<&ServiceAccount>) -> Result<KubeCluster, Diagnostic> {
    let mut config = match access {
        Access::Kubeconfig { path, context, exec } => kubeconfig(path, context.as_deref(), *exec).await?,
        Access::Direct {
            host,
            token,
            ca_pem,
            client,
            tls_server_name,
            insecure,
        } => {
            let uri: Uri = host
                .parse()
                .ok()
                .filter(|u: &Uri| u.scheme().is_some() && u.host().is_some())
                .ok_or_else(|| {
                    Diagnostic::error(format!("\"{host}\" is not the URL of an API server"))
                        .detail("write for example https://10.0.0.1:6443")
                })?;
            let mut config = Config::new(uri);
            let encode = |pem: &str| {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(pem)
            };
            let mut auth = serde_json::Map::new();
            if let Some(token) = token {
                auth.insert("token".into(), token.as_str().into());
            }
            if let Some((certificate, key)) = client {
                auth.insert("client-certificate-data".into(), encode(certificate).into());
                auth.insert("client-key-data".into(), encode(key).into());
            }
            config.auth_info = serde_json::from_value::<AuthInfo>(auth.into())
                .map_err(|_| Diagnostic::error("the cluster's credentials cannot be used"))?;
            if let Some(pem) = ca_pem {
                config.root_cert = Some(certificates(pem)?);
            }
            config.tls_server_name.clone_from(tls_server_name);
            config.accept_invalid_certs = *insecure;
            config
        }
        Access::InCluster => Config::incluster().map_err(|e| {
            Diagnostic::error("the in-cluster service account cannot be used").detail(format!("{e}: is this a pod?"))
        })?,
    };
    // Identifies us in the API server's audit log and flow control.
    config.headers.push((
        http::header::USER_AGENT,
        http::HeaderValue::from_static(concat!("myelin/", env!("CARGO_PKG_VERSION"))),
    ));
    if let Some(account) = account {
        let user = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
        // The API server adds the groups of a service account; naming any here would replace them.
        let value = http::HeaderValue::from_str(&user)
            .map_err(|_| Diagnostic::error(format!("service account {account} cannot be named in a header")))?;
        config
            .headers
            .push((http::HeaderName::from_static("impersonate-user"), value));
    }
    let server = config.cluster_url.to_string();
    let wrong = |why: String| Diagnostic::error("the cluster's configuration cannot be used").detail(why);
    if let Some(token) = bearer(&config.auth_info) {
        credentials::fits_a_header(&token).map_err(|why| wrong(why.to_owned()))?;
    }
    let client = client::client(config).await.map_err(wrong)?;
    Ok(KubeCluster::new(client).at(server.trim_end_matches('/')))
}

/// The token that credentials spell out.
fn bearer(auth: &AuthInfo) -> Option<Zeroizing<String>> {
    match serde_json::to_value(auth).ok()?.get_mut("token")?.take() {
        serde_json::Value::String(token) => Some(Zeroizing::new(token)),
        _ => None,
    }
}

async fn kubeconfig(path: &std::path::Path, context: Option<&str>, exec: ExecPlugins) -> Result<Config, Diagnostic> {
    let wrong =
        |why: String| Diagnostic::error(format!("the kubeconfig {} cannot be used", path.display())).detail(why);
    let read = Kubeconfig::read_from(path).map_err(|e| wrong(credentials::of_kubeconfig(&e)))?;
    let name = context.map(str::to_owned).or_else(|| read.current_context.clone());
    let user = read
        .contexts
        .iter()
        .find(|c| Some(&c.name) == name.as_ref())
        .and_then(|c| c.context.as_ref())
        .and_then(|c| c.user.clone());
    let auth = read
        .auth_infos
        .iter()
        .find(|a| Some(&a.name) == user.as_ref())
        .and_then(|a| a.auth_info.as_ref());
    if exec == ExecPlugins::Refuse && auth.is_some_and(|a| a.exec.is_some() || a.auth_provider.is_some()) {
        return Err(wrong(
            "it names a credential plugin, and this kubeconfig is not trusted to run programs".into(),
        ));
    }
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(read, &options)
        .await
        .map_err(|e| wrong(credentials::of_kubeconfig(&e)))
}

/// The DER of every certificate of a PEM text.
fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, Diagnostic> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|c| c.map(|c| c.to_vec()))
        .collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(Diagnostic::error("the cluster's CA certificate is no PEM certificate")
            .detail("write the text between and with BEGIN CERTIFICATE and END CERTIFICATE")),
    }
}
