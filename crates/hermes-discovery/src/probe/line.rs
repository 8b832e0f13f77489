//! Lines: how a probe gets from a registered host to a connection, over TLS where that is spoken.

use std::net::SocketAddr;

use hermes_core::address::Host;
use hermes_core::check::TlsOptions;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::dial::Dialer;
use super::evidence::Failure;
use super::tls::Tls;

/// Everything that is needed for a connection.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) dialer: &'a Dialer,
    /// How TLS is spoken, if it is.
    pub(super) tls: Option<(&'a Tls, &'a TlsOptions)>,
    pub(super) host: &'a Host,
    /// The addresses of the host that were judged.
    pub(super) addresses: &'a [SocketAddr],
    pub(super) deadline: Instant,
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Line<'_> {
    /// Opens a connection.
    pub(super) async fn open(&self) -> Result<Stream, Failure> {
        let stream = self.dialer.dial(self.addresses, self.deadline).await?;
        match self.tls {
            None => Ok(Stream::Plain(stream)),
            Some((tls, options)) => {
                let stream = tls.connect(stream, self.host, options).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }
}

impl Stream {
    /// What lies under it.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// What is spoken over the connection, as evidence says it.
    pub(super) fn over(&self) -> &'static str {
        match self {
            Self::Plain(_) => "",
            Self::Tls(_) => " with TLS",
        }
    }
}
