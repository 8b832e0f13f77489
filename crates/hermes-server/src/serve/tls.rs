//! TLS of the listener: certificates that are read again when their files change.
//!
//! The files are looked at once a second. What cannot be used is told and changes nothing, so that a
//! certificate that was renewed before its key only waits for the key. Connections that are open go on
//! as they began; the next one begins with the new certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsConfig;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What TLS connections begin with.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    config: ArcSwap<ServerConfig>,
}

/// Why TLS cannot be spoken. It names files and never shows what is in them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// One file is named without the other.
    #[error("TLS needs both a certificate and its key: set tls.cert and tls.key")]
    Half,
    /// A file cannot be used.
    #[error("{what} in {path} cannot be used: {why}")]
    File {
        /// What should be in it.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Debug, Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_optional: bool,
}

impl Tls {
    /// The TLS that `config` asks for; nothing when it asks for none.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(crate) fn new(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let (cert, key) = match (&config.cert, &config.key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            _ => return Err(TlsError::Half),
        };
        let files = Files {
            cert,
            key,
            client_ca: config.client_ca.clone(),
            client_optional: config.client_optional,
        };
        let config = ArcSwap::from_pointee(files.read()?);
        Ok(Some(Self { files, config }))
    }

    /// Looks at the files for as long as it is polled.
    pub(crate) async fn follow(&self) {
        let mut seen = self.files.stamps();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let stamps = self.files.stamps();
            if stamps == seen {
                continue;
            }
            seen = stamps;
            let files = self.files.clone();
            match tokio::task::spawn_blocking(move || files.read()).await {
                Ok(Ok(config)) => {
                    self.config.store(Arc::new(config));
                    tracing::info!("the certificate was read again");
                }
                Ok(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
                Err(error) => tracing::error!(%error, "the certificate was not read again"),
            }
        }
    }

    /// Makes a connection a secure one.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config.load_full())
            .accept(stream)
            .await
    }
}

impl Files {
    fn read(&self) -> Result<ServerConfig, TlsError> {
        let certificates = certificates("the certificate", &self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| wrong("the key", &self.key, pem_in_words(&error)))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("the certificate", &self.cert, error.to_string()))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let what = "the authority of clients";
                let mut roots = RootCertStore::empty();
                for certificate in self::certificates(what, path)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| wrong(what, path, error.to_string()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if self.client_optional {
                    verifier.allow_unauthenticated()
                } else {
                    verifier
                };
                let verifier = verifier.build();
                let verifier = verifier.map_err(|error| wrong(what, path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| wrong("the certificate", &self.cert, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// What tells the contents of the files from the next.
    fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let files = [&self.cert, &self.key].into_iter().chain(&self.client_ca);
        files.map(stamp).collect()
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let all: Vec<_> = all.map_err(|error| wrong(what, path, pem_in_words(&error)))?;
    if all.is_empty() {
        return Err(wrong(what, path, "there is none in it".into()));
    }
    Ok(all)
}

fn wrong(what: &'static str, path: &Path, why: String) -> TlsError {
    TlsError::File {
        what,
        path: path.to_owned(),
        why,
    }
}

/// What is wrong with a file, without a word of what is in it.
fn pem_in_words(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => "there is none in it".into(),
        _ => "it is no PEM".into(),
    }
}
