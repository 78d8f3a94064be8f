//! Mutual TLS with exactly one peer: the Terraform process that started us.
//!
//! Its certificate is pinned byte for byte. The usual chain to a root cannot work here: go-plugin's client certificate
//! is marked as a CA, which no verifier accepts as an end entity, and it is on curve P-521, which only the aws-lc-rs
//! provider verifies. No other process can connect, not even one of the same user.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName as Subject, Error, ServerConfig, SignatureScheme,
};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What Terraform gave as its certificate is none.
    #[error("PLUGIN_CLIENT_CERT holds no PEM certificate")]
    ClientCertificate(#[source] rustls::pki_types::pem::Error),
    /// Our own certificate could not be made.
    #[error("making the server certificate failed")]
    ServerCertificate(#[source] rcgen::Error),
    /// The configuration was refused.
    #[error("configuring TLS failed")]
    Configuration(#[source] Error),
}

/// A server that proves itself with a fresh certificate and takes one client only.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For accepting connections.
    pub config: Arc<ServerConfig>,
    /// Our certificate, which Terraform trusts because it is in the handshake line.
    pub certificate: CertificateDer<'static>,
}

impl Tls {
    /// Pins that client certificate and makes one of our own.
    ///
    /// # Errors
    /// If the text holds no certificate, or if making our own fails.
    pub fn pinned(client_certificate: &str, crypto: Arc<CryptoProvider>) -> Result<Tls, TlsError> {
        let pinned =
            CertificateDer::from_pem_slice(client_certificate.as_bytes()).map_err(TlsError::ClientCertificate)?;
        let (certificate, key) = server_certificate().map_err(TlsError::ServerCertificate)?;
        let verifier = Pinned {
            certificate: pinned,
            algorithms: crypto.signature_verification_algorithms,
        };
        let mut config = ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Configuration)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(vec![certificate.clone()], key)
            .map_err(TlsError::Configuration)?;
        // gRPC clients refuse a server that does not choose HTTP/2 (enforced by Terraform from 1.12 on).
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Tls {
            config: Arc::new(config),
            certificate,
        })
    }
}

/// Shaped as go-plugin's own: self-signed, its own root, for `localhost`. Only this process ever has the key.
fn server_certificate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyAgreement,
        KeyUsagePurpose::KeyCertSign,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok((certificate.der().clone(), key))
}

/// Takes exactly one certificate, whose key the peer must have.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Pinned {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[Subject] {
        // No hint: a client with one certificate sends it.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if end_entity.as_ref() == self.certificate.as_ref() {
            return Ok(ClientCertVerified::assertion());
        }
        tracing::warn!("refused a client with another certificate than Terraform's");
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
