//! What opens a server: the key that is shown to it, and the TLS that keeps it secret.
//!
//! A key never shows itself: not in `Debug`, not in an error. A server is verified in any case, against
//! the authorities of the system or against one that is named; there is no way to switch that off.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use hermes_core::address::Address;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connection::in_words;
use super::error::ClientError;

/// What opens a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// The key that is sent with every request. Default: none.
    pub key: Option<ApiKey>,
    /// The authority of an https server, in PEM. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate of the client and its key, in PEM, for a server that asks for one. Default:
    /// none.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A key of a server. It never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Arc<str>);

impl ApiKey {
    /// The key with this text, without the white space around it. `None` when nothing is left, or when
    /// no header can hold it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_sendable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        is_sendable.then(|| Self(text.into()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// The TLS of one client, set up when it is first needed: that reads every authority of the system.
#[derive(Debug, Default)]
pub(super) struct Tls(OnceLock<Arc<ClientConfig>>);

impl Tls {
    /// Makes a connection to `address` a secure one.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        address: &Address,
        access: &Access,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let config = match self.0.get() {
            Some(config) => Arc::clone(config),
            None => {
                let config = Arc::new(set_up(access)?);
                Arc::clone(self.0.get_or_init(|| config))
            }
        };
        let unreachable = |why: String| ClientError::Unreachable {
            address: address.url.clone(),
            why,
        };
        let name = ServerName::try_from(address.host.as_str().to_owned())
            .map_err(|_error| unreachable("its name cannot be that of a certificate".into()))?;
        let connecting = TlsConnector::from(config).connect(name, stream).await;
        connecting.map_err(|error| {
            unreachable(format!(
                "TLS failed ({}); the authority of a private certificate is named by HERMES_CA_FILE",
                in_words(&error)
            ))
        })
    }
}

fn set_up(access: &Access) -> Result<ClientConfig, ClientError> {
    let wrong = |why: String| ClientError::Tls { why };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    match &access.ca_file {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            }
        }
    }
    let builder = builder.with_root_certificates(roots);
    let mut config = match &access.certificate {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let own = PrivateKeyDer::from_pem_file(key)
                .map_err(|_error| wrong(format!("{} holds no key in PEM", key.display())))?;
            let with = builder.with_client_auth_cert(certificates(cert)?, own);
            with.map_err(|error| wrong(format!("{}: {error}", cert.display())))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let all: Vec<_> = all.unwrap_or_default();
    if all.is_empty() {
        let why = format!("{} holds no certificate in PEM", path.display());
        return Err(ClientError::Tls { why });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_and_never_shows_itself() {
        let key = ApiKey::new(" hk_0_secret\n").unwrap();
        assert_eq!(key.expose(), "hk_0_secret");
        assert_eq!(format!("{key:?}"), "ApiKey(..)");
        let access = Access {
            key: Some(key),
            ..Access::default()
        };
        assert!(!format!("{access:?}").contains("secret"));
        for wrong in ["", " \n", "a b", "a\nb", "\u{e9}"] {
            assert_eq!(ApiKey::new(wrong), None, "{wrong:?}");
        }
    }
}
