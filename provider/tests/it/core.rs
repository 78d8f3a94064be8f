//! A Terraform core of our own that follows the protocol to the letter and is as strict as the newest one: it enforces
//! ALPN, pins the server's certificate, presents a P-521 CA:TRUE certificate as go-plugin does, and splits the
//! handshake line into exactly six fields.
//!
//! It covers what Terraform 1.11 cannot: identity, and the calls of newer versions.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper_util::rt::TokioIo;
use myelin_proto::health::health_client::HealthClient;
use myelin_proto::plugin::grpc_broker_client::GrpcBrokerClient;
use myelin_proto::plugin::grpc_controller_client::GrpcControllerClient;
use myelin_proto::plugin::grpc_stdio_client::GrpcStdioClient;
use myelin_proto::tfplugin6::provider_client::ProviderClient;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P521_SHA512,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_terraform-provider-myelin");

pub(crate) const COOKIE: (&str, &str) = (
    "TF_PLUGIN_MAGIC_COOKIE",
    "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
);

/// What go-plugin makes for itself: ECDSA on P-521, self-signed, a CA.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pub(crate) pem: String,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.distinguished_name.push(DnType::OrganizationName, "HashiCorp");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyAgreement,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
            pem: certificate.pem(),
        }
    }
}

/// The handshake line, split as the oldest host that is still used does: into at most six, so that anything more would end
/// up in the certificate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) network: String,
    pub(crate) address: String,
    pub(crate) certificate: Vec<u8>,
}

impl Line {
    fn parse(line: &str) -> Line {
        let fields: Vec<&str> = line.trim().splitn(6, '|').collect();
        let [core, app, network, address, protocol, certificate] = fields[..] else {
            panic!("not six fields: {line:?}")
        };
        assert_eq!((core, app, protocol), ("1", "6", "grpc"));
        Line {
            network: network.to_owned(),
            address: address.to_owned(),
            certificate: STANDARD_NO_PAD.decode(certificate).expect("base64 without padding"),
        }
    }
}

/// A provider process that we started.
pub(crate) struct Plugin {
    child: Child,
    // A killed provider leaves its socket behind: here, at least, not for long.
    _temporary: tempfile::TempDir,
    stdout: BufReader<std::process::ChildStdout>,
    pub(crate) line: Line,
}

impl Plugin {
    /// Starts it as Terraform does.
    pub(crate) fn start(identity: Option<&Identity>, environment: &[(&str, &str)]) -> Plugin {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = Command::new(BINARY);
        command
            .env_clear()
            .env("TMPDIR", temporary.path())
            .env(COOKIE.0, COOKIE.1)
            .env("PLUGIN_PROTOCOL_VERSIONS", "5,6");
        command.envs(environment.iter().copied());
        if let Some(identity) = identity {
            command.env("PLUGIN_CLIENT_CERT", &identity.pem);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        Plugin {
            child,
            _temporary: temporary,
            stdout,
            line: Line::parse(&line),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        assert_eq!(self.line.network, "unix");
        PathBuf::from(&self.line.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end. Gives how it ended, and everything that it wrote after the line.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> (ExitStatus, String, String) {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the provider still runs after {limit:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (status, out, err)
    }

    /// Connects as Terraform does, with that certificate or none.
    pub(crate) async fn connect(&self, identity: Option<&Identity>) -> Result<Core, String> {
        let socket = self.socket();
        let channel = if self.line.certificate.is_empty() {
            plain(socket).await?
        } else {
            encrypted(socket, self.line.certificate.clone(), identity).await?
        };
        Ok(Core::new(channel))
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A provider in debug mode, which serves any number of commands.
pub(crate) struct Debugged {
    child: Child,
    _temporary: tempfile::TempDir,
    /// What to set `TF_REATTACH_PROVIDERS` to.
    pub(crate) reattach: String,
}

impl Debugged {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn start() -> Debugged {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = Command::new(BINARY)
            .arg("--debug")
            .env_clear()
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains("TF_REATTACH_PROVIDERS")).unwrap();
        let reattach = line.split('\'').nth(1).unwrap().to_owned();
        Debugged {
            child,
            _temporary: temporary,
            reattach,
        }
    }
}

impl Drop for Debugged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn plain(socket: PathBuf) -> Result<Channel, String> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    endpoint()
        .connect_with_connector(connector)
        .await
        .map_err(|error| format!("{error:?}"))
}

async fn encrypted(socket: PathBuf, certificate: Vec<u8>, identity: Option<&Identity>) -> Result<Channel, String> {
    let config = Arc::new(client_config(certificate, identity));
    let connector = tower::service_fn(move |_| {
        let (socket, config) = (socket.clone(), config.clone());
        async move {
            let stream = UnixStream::connect(socket).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            // As grpc-go from 1.67 on, which Terraform has from 1.12 on.
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(std::io::Error::other("missing selected ALPN property"));
            }
            Ok(TokioIo::new(stream))
        }
    });
    endpoint()
        .connect_with_connector(connector)
        .await
        .map_err(|error| format!("{error:?}"))
}

fn endpoint() -> Endpoint {
    Endpoint::from_static("http://localhost")
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(60))
}

fn client_config(certificate: Vec<u8>, identity: Option<&Identity>) -> ClientConfig {
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(crypto.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(CertificateDer::from(certificate), crypto)));
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(
                vec![identity.certificate.clone()],
                PrivateKeyDer::try_from(identity.key.clone()).unwrap(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Go takes a self-signed CA certificate as the server's own; webpki does not, so we compare it and check its signature.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>, Arc<CryptoProvider>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        assert_eq!(
            end_entity, &self.0,
            "the server shows another certificate than in its line"
        );
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.1.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.1.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

/// A connected core.
pub(crate) struct Core {
    pub(crate) provider: ProviderClient<Channel>,
    pub(crate) controller: GrpcControllerClient<Channel>,
    pub(crate) stdio: GrpcStdioClient<Channel>,
    pub(crate) broker: GrpcBrokerClient<Channel>,
    pub(crate) health: HealthClient<Channel>,
}

impl Core {
    pub(crate) fn new(channel: Channel) -> Core {
        const ANY: usize = i32::MAX as usize;
        Core {
            provider: ProviderClient::new(channel.clone())
                .max_decoding_message_size(ANY)
                .max_encoding_message_size(ANY),
            controller: GrpcControllerClient::new(channel.clone()),
            stdio: GrpcStdioClient::new(channel.clone()),
            broker: GrpcBrokerClient::new(channel.clone()),
            health: HealthClient::new(channel),
        }
    }
}
