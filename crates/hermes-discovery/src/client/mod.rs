//! The client of a Hermes server: requests, answers, and the stream of a watch.
//!
//! One small HTTP/1.1 client and no more: a server is one address, its answers are JSON, its
//! watches are server-sent events. It follows no redirect and keeps no cookie. To
//! an https address it speaks TLS, and verifies whom it speaks to.
//!
//! What it takes care of, so that nobody above has to:
//!
//! - **Every wait ends**: connecting, an answer, and the silence between two events each have a
//!   limit of their own (see [`Config`]).
//! - **Every answer is bounded**, and so is every event.
//! - **One connection is kept** between requests. When the server has closed it meanwhile, the
//!   request is sent again over a new one: every request of API v1 may be repeated.
//! - **What answers is a Hermes server**, or the answer is [`ClientError::Nonsense`]. A login page
//!   with status 200 is never taken for a success.
//!
//! ```no_run
//! # async fn example() -> Result<(), hermes_discovery::client::ClientError> {
//! use hermes_discovery::client::{Client, Path};
//!
//! let client = Client::new("http://127.0.0.1:8001")?;
//! let answer = client.get(&Path::new("/api/v1/services").segment("web")).await?;
//! println!("{}", String::from_utf8_lossy(&answer.body));
//! # Ok(())
//! # }
//! ```

mod access;
mod answer;
mod backoff;
mod connection;
mod error;
mod events;
mod path;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hermes_core::address::Address;
pub use hyper::Method;
use tokio::time::timeout;

pub use access::{Access, ApiKey};
pub use answer::Answer;
pub use backoff::Backoff;
use connection::{Connection, Request};
pub use error::ClientError;
pub use events::{Event, EventParser, EventTooLarge};
pub use path::Path;
pub use stream::EventStream;

/// Longest value of `Hermes-Client` in bytes.
const CALLER_LENGTH_MAX: usize = 128;

/// How a client behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who is asking, sent as `Hermes-Client` and shown with watchers: a name and a version. At most
    /// 128 visible ASCII characters; others are left out. Empty (the default): not sent.
    pub caller: String,
    /// How long connecting may take, name resolution included. Default 3 s.
    pub connect_timeout: Duration,
    /// How long a request may take until its answer is complete. Default 30 s; a long poll needs
    /// more than it waits.
    pub answer_timeout: Duration,
    /// How long a watch may be silent before it counts as broken. Default 20 s: a server says
    /// something every 5 s.
    pub silence_max: Duration,
    /// Most bytes of an answer, and of a single event. Default 64 MiB: a service with all the
    /// endpoints it may have. It is a bound, not a buffer.
    pub bytes_max: usize,
    /// The key that is shown, and what TLS trusts. Default: no key, and what the system trusts.
    pub access: Access,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            caller: String::new(),
            connect_timeout: Duration::from_secs(3),
            answer_timeout: Duration::from_secs(30),
            silence_max: Duration::from_secs(20),
            bytes_max: 64 * 1024 * 1024,
            access: Access::default(),
        }
    }
}

/// A client of one Hermes server. Requests may run side by side; each then has its own connection.
#[derive(Debug)]
pub struct Client {
    address: Arc<Address>,
    config: Config,
    tls: access::Tls,
    /// The connection that the last answer came over.
    kept: Mutex<Option<Connection>>,
}

impl Client {
    /// A client of the server at `address`: `http://host:port`, `https://host:port`, or
    /// `host:port`. It does not connect
    /// until it is asked something.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`].
    pub fn new(address: &str) -> Result<Self, ClientError> {
        Self::with(address, Config::default())
    }

    /// The same, with limits of one's own.
    ///
    /// # Errors
    /// [`ClientError::InvalidAddress`].
    pub fn with(address: &str, mut config: Config) -> Result<Self, ClientError> {
        let address = connection::parse_address(address)?;
        config.caller.retain(|c| c.is_ascii_graphic() || c == ' ');
        config.caller.truncate(CALLER_LENGTH_MAX);
        Ok(Self {
            address: Arc::new(address),
            config,
            tls: access::Tls::default(),
            kept: Mutex::new(None),
        })
    }

    /// Where the server is, as `http://host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address.url
    }

    /// Sends a request and waits for the whole answer. A body is sent as JSON unless a header says
    /// otherwise.
    ///
    /// # Errors
    /// Every kind but [`ClientError::InvalidAddress`].
    pub async fn request(
        &self,
        method: Method,
        path: &Path,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let request = connection::build(method, path, &self.all(headers), body, &self.address)?;
        let exchange = async {
            let (connection, response) = self.exchange(request).await?;
            let answer = Answer::read_from(response, &self.address, self.config.bytes_max).await?;
            *self.kept.lock().unwrap() = Some(connection);
            Ok(answer)
        };
        match timeout(self.config.answer_timeout, exchange).await {
            Ok(answer) => answer?.checked(path),
            Err(_elapsed) => Err(ClientError::TimedOut {
                address: self.address.url.clone(),
                after: self.config.answer_timeout,
            }),
        }
    }

    /// `GET`.
    ///
    /// # Errors
    /// As for [`Client::request`].
    pub async fn get(&self, path: &Path) -> Result<Answer, ClientError> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    /// Follows a stream of events. It has a connection of its own for as long as it lives.
    ///
    /// # Errors
    /// As for [`Client::request`]; later errors come from [`EventStream::next`].
    pub async fn events(
        &self,
        path: &Path,
        headers: &[(&str, &str)],
    ) -> Result<EventStream, ClientError> {
        let mut headers = self.all(headers);
        headers.push(("accept", "text/event-stream"));
        let request = connection::build(Method::GET, path, &headers, Bytes::new(), &self.address)?;
        let begin = async {
            let mut connection = self.connect().await?;
            let response = connection.send(request).await;
            let response = response.map_err(|error| error.explain(&self.address))?;
            EventStream::begin(response, &self.address, &self.config).await
        };
        match timeout(self.config.answer_timeout, begin).await {
            Ok(stream) => stream,
            Err(_elapsed) => Err(ClientError::TimedOut {
                address: self.address.url.clone(),
                after: self.config.answer_timeout,
            }),
        }
    }

    /// The headers of the caller, with those of every request.
    fn all<'a>(&'a self, headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let caller = ("hermes-client", self.config.caller.as_str());
        let caller = Some(caller).filter(|(_, name)| !name.is_empty());
        let key = self.config.access.key.as_ref();
        let key = key.map(|key| (connection::API_KEY, key.expose()));
        headers.iter().copied().chain(caller).chain(key).collect()
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let limit = self.config.connect_timeout;
        Connection::open(&self.address, limit, (&self.tls, &self.config.access)).await
    }

    /// Sends over the kept connection, or over a new one when there is none or it has gone stale.
    async fn exchange(
        &self,
        request: Request,
    ) -> Result<(Connection, connection::Response), ClientError> {
        let kept = self.kept.lock().unwrap().take();
        if let Some(mut connection) = kept
            && let Ok(response) = connection.send(request.clone()).await
        {
            return Ok((connection, response));
        }
        let mut connection = self.connect().await?;
        let response = connection.send(request).await;
        let response = response.map_err(|error| error.explain(&self.address))?;
        Ok((connection, response))
    }
}
