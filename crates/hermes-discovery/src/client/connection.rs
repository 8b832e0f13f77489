//! One connection to a server: opening it, and sending a request over it.
//!
//! The driver of the connection is a task of its own, and ends when the connection is dropped.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use hermes_core::address::Address;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::access::{Access, Tls};
use super::error::ClientError;
use super::path::Path;

pub(super) type Request = hyper::Request<Full<Bytes>>;
pub(super) type Response = hyper::Response<Incoming>;

/// The header that a key is sent in (R152).
pub(super) const API_KEY: &str = "x-api-key";
/// Most bytes of the head of an answer, and of what is read from the socket at once.
const BUFFER_MAX: usize = 64 * 1024;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects within `limit`.
    pub(super) async fn open(
        address: &Address,
        limit: Duration,
        (tls, access): (&Tls, &Access),
    ) -> Result<Self, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable {
            address: address.url.clone(),
            why,
        };
        let connect = TcpStream::connect((address.host.as_str(), address.port));
        let stream = match timeout(limit, connect).await {
            Ok(stream) => stream.map_err(|error| unreachable(in_words(&error)))?,
            Err(_elapsed) => {
                let why = format!("no connection within {} s", limit.as_secs_f64());
                return Err(unreachable(why));
            }
        };
        // Requests are small and wait for their answer; without this they would wait for an
        // acknowledgement, too.
        stream
            .set_nodelay(true)
            .map_err(|error| unreachable(in_words(&error)))?;
        let begun = if address.scheme.as_str() == "https" {
            let connect = tls.connect(stream, address, access);
            let Ok(stream) = timeout(limit, connect).await else {
                let why = format!("no TLS within {} s", limit.as_secs_f64());
                return Err(unreachable(why));
            };
            Self::begin(stream?).await
        } else {
            Self::begin(stream).await
        };
        begun.map_err(|error| unreachable(in_words(&error)))
    }

    /// Speaks HTTP over a stream.
    async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> hyper::Result<Self> {
        let handshake = Builder::new()
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, driver) = handshake?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection to a Hermes server broke");
            }
        });
        Ok(Self { sender })
    }

    /// Sends `request`, and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request) -> Result<Response, SendError> {
        self.sender.ready().await.map_err(SendError)?;
        self.sender.send_request(request).await.map_err(SendError)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct SendError(hyper::Error);

impl SendError {
    /// The same, for those who asked.
    pub(super) fn explain(&self, address: &Address) -> ClientError {
        let address = address.url.clone();
        if self.0.is_parse() {
            let what = "what it says is not HTTP/1.1".into();
            return ClientError::Nonsense { address, what };
        }
        let why = in_words(&self.0);
        ClientError::Unreachable { address, why }
    }
}

/// Reads the address of a server.
pub(super) fn parse_address(text: &str) -> Result<Address, ClientError> {
    let wrong = |why: String| ClientError::InvalidAddress {
        text: text.into(),
        why,
    };
    let has_scheme = text.contains("://");
    let url = if has_scheme {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let address = Address::parse_url(&url).map_err(|error| wrong(error.to_string()))?;
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.trim_end_matches('/');
    if authority.contains('/') {
        return Err(wrong(
            "it has a path; only host and port belong there".into(),
        ));
    }
    // A URL without a port means 80. A mere host means nobody knows what: that is asked for.
    if !has_scheme && !ends_in_port(authority) {
        return Err(wrong("it has no port".into()));
    }
    Ok(Address::of_parts(
        address.scheme,
        address.host,
        address.port,
    ))
}

/// Whether an authority ends in `:` and digits, those of an IPv6 address not counted.
fn ends_in_port(authority: &str) -> bool {
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    let is_whole = !host.starts_with('[') || host.ends_with(']');
    is_whole && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Puts a request together.
pub(super) fn build(
    method: Method,
    path: &Path,
    headers: &[(&str, &str)],
    body: Bytes,
    address: &Address,
) -> Result<Request, ClientError> {
    let unsendable = |what: String| ClientError::Unsendable { what };
    let uri: Uri = path
        .as_str()
        .parse()
        .map_err(|error| unsendable(format!("its path is wrong: {error}")))?;
    let has_body = !body.is_empty();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let host = HeaderValue::from_str(&address.host.with_port(address.port))
        .expect("the parser of addresses admits only visible ASCII");
    request.headers_mut().insert(HOST, host);
    if has_body {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
    }
    for (name, value) in headers {
        let wrong = || unsendable(format!("the header `{name}` holds what no header may"));
        let mut value = HeaderValue::from_str(value).map_err(|_error| wrong())?;
        // It does not show itself in `Debug` then.
        value.set_sensitive(*name == API_KEY);
        let name = HeaderName::try_from(*name).map_err(|_error| wrong())?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// An error with what is behind it, in one line and without the numbers of the system.
pub(super) fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        if words.last().is_none_or(|last| !last.contains(text)) {
            words.push(text.to_owned());
        }
        next = error.source();
    }
    let mut line = words.join(": ");
    if let Some(first) = line.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_the_scheme_out_but_not_the_port() {
        let cases = [
            ("127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("http://127.0.0.1:8001/", "http://127.0.0.1:8001"),
            ("HTTP://Hermes.Example:80", "http://hermes.example:80"),
            ("http://hermes", "http://hermes:80"),
            ("https://hermes", "https://hermes:443"),
            ("https://hermes:8001/", "https://hermes:8001"),
            ("[::1]:8001", "http://[::1]:8001"),
            ("[0:0::1]:8001", "http://[::1]:8001"),
        ];
        for (text, url) in cases {
            assert_eq!(&*parse_address(text).expect(text).url, url);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let cases = [
            ("", "host is missing"),
            ("hermes", "no port"),
            ("[::1]", "no port"),
            ("::1:8001", "stands in []"),
            ("http://hermes:8001/api", "path"),
            ("hermes:99999", "port"),
            ("http://me:secret@hermes:1", "user-info"),
            ("ftp://hermes:1", "scheme"),
        ];
        for (text, part) in cases {
            let message = parse_address(text).expect_err(text).to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_error_of_the_system_is_told_in_words() {
        let refused = std::io::Error::from_raw_os_error(111);
        assert_eq!(in_words(&refused), "connection refused");
    }
}
