//! TLS of probes: what is trusted, and what is said when the other side is not.
//!
//! A probe verifies by default, against what the system trusts. A check may bring its own authority,
//! ask for another name, or turn verification off; that only says whether the endpoint works, and no
//! secret is ever sent. Configurations are kept: making one reads every certificate of the system.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hermes_core::address::Host;
use hermes_core::check::TlsOptions;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::evidence::Failure;

/// Configurations with an authority of their own that are kept; beyond that all are made anew.
const KEPT_MAX: usize = 256;

/// What the TLS connections of all probes share.
#[derive(Debug, Default)]
pub(super) struct Tls {
    configs: Mutex<HashMap<Trust, Arc<ClientConfig>>>,
}

/// Whom a probe trusts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Trust {
    /// Instead of the system's authorities.
    ca: Option<String>,
    verify: bool,
}

impl Tls {
    /// The TLS connection over `stream`, to what `host` is called.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &Host,
        options: &TlsOptions,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let name = options.server_name.as_deref().unwrap_or(host.as_str());
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_error| Failure::Nonsense("its name cannot be that of a certificate"))?;
        let config = self.config(options)?;
        let connecting = TlsConnector::from(config).connect(name, stream).await;
        connecting.map_err(|error| failure_of(&error))
    }

    fn config(&self, options: &TlsOptions) -> Result<Arc<ClientConfig>, Failure> {
        let trust = Trust {
            ca: options.ca.clone(),
            verify: options.verify,
        };
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&trust) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(config_of(&trust)?);
        if configs.len() >= KEPT_MAX {
            configs.clear();
        }
        configs.insert(trust, Arc::clone(&config));
        Ok(config)
    }
}

fn config_of(trust: &Trust) -> Result<ClientConfig, Failure> {
    const UNUSABLE: Failure = Failure::Nonsense("TLS cannot be set up as the check asks");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_error| UNUSABLE)?;
    let mut config = if trust.verify {
        let roots = roots(trust.ca.as_deref())?;
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let unverified = Arc::new(Unverified(provider));
        let builder = builder.dangerous();
        let builder = builder.with_custom_certificate_verifier(unverified);
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What is trusted: the authority of the check, or else the system's.
fn roots(ca: Option<&str>) -> Result<RootCertStore, Failure> {
    const NO_CERTIFICATE: Failure = Failure::Nonsense("the ca of the check holds no certificate");
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|_error| NO_CERTIFICATE)?;
        roots.add(certificate).map_err(|_error| NO_CERTIFICATE)?;
    }
    if roots.is_empty() {
        return Err(NO_CERTIFICATE);
    }
    Ok(roots)
}

/// What a failed handshake means, in words that are the same on every machine.
fn failure_of(error: &std::io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(error) = tls else {
        return Failure::of_io(error);
    };
    Failure::Nonsense(match error {
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired",
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "its certificate is not valid yet",
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is of an authority that is not trusted"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name",
        Error::InvalidCertificate(_) => "its certificate is not valid",
        Error::AlertReceived(_) => "it refused the TLS handshake",
        _ => "no TLS is spoken there",
    })
}

/// Takes any certificate, because the check says so.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
