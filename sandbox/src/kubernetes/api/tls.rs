//! Certificates and the kubeconfig: a certificate authority of our own, made at every start, that vouches for loopback only.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What the server shows and what clients trust.
pub struct Certificates {
    /// The authority's certificate in PEM.
    pub authority: String,
    /// The server's side of TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub server: Arc<ServerConfig>,
}

/// Make an authority and a server certificate for `localhost` and `127.0.0.1`.
pub fn generate() -> Result<Certificates, String> {
    let text = |error: rcgen::Error| error.to_string();
    let authority_key = KeyPair::generate().map_err(text)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(text)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name = named("myelin-sandbox test authority");
    let authority = params.self_signed(&authority_key).map_err(text)?;
    let issuer = Issuer::new(params, authority_key);

    let server_key = KeyPair::generate().map_err(text)?;
    let names = [
        "localhost",
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    ];
    let mut params = CertificateParams::new(names.map(str::to_owned).to_vec()).map_err(text)?;
    params.distinguished_name = named("myelin-sandbox");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&server_key, &issuer).map_err(text)?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(|error| error.to_string())?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificates {
        authority: authority.pem(),
        server: Arc::new(server),
    })
}

fn named(name: &str) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    out.push(DnType::CommonName, name);
    out
}

/// A kubeconfig for a server and a token.
pub fn kubeconfig(url: &str, authority_pem: &str, token: &str) -> String {
    let authority = STANDARD.encode(authority_pem);
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: myelin-sandbox\nclusters:\n- name: myelin-sandbox\n  cluster:\n    \
         server: {url}\n    certificate-authority-data: {authority}\nusers:\n- name: sandbox-admin\n  user:\n    \
         token: {token}\ncontexts:\n- name: myelin-sandbox\n  context:\n    cluster: myelin-sandbox\n    \
         user: sandbox-admin\n"
    )
}
