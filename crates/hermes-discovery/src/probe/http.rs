//! The HTTP check: one HTTP/1.1 request, and how its answer is judged.
//!
//! The connection stays with its target between two probes, because a new one costs both sides a
//! handshake and an ephemeral port. Of the body at most [`BODY_MAX`] bytes are looked at; when it is
//! longer, or has not ended soon after the verdict, the connection is closed instead of being read
//! empty. Redirects are answers like any other and are not followed; there are no cookies.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hermes_core::address::Host;
use hermes_core::check::{HttpCheck, HttpMethod};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::evidence::{Failure, Seen, question, span, statuses};
use super::line::{Line, Stream};

/// Bytes of a body that are looked at.
const BODY_MAX: usize = 4 * 1024;
/// Bytes of an answer's headers, and of what is buffered of its body.
const BUFFER_MAX: usize = 16 * 1024;
/// How long the rest of a body may take after the verdict, for the connection to be kept.
const DRAIN_MAX: Duration = Duration::from_millis(250);

/// What one attempt asks, and of whom.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) check: &'a HttpCheck,
    pub(super) port: u16,
    pub(super) user_agent: &'a HeaderValue,
}

/// A connection over which one request at a time is sent. It is closed, and its driver ends, when it
/// is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    sender: http1::SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

/// Tries once, over the connection that was kept or a new one. With the verdict comes the connection,
/// when it can be used again.
pub(super) async fn attempt(
    ask: &Ask<'_>,
    line: &Line<'_>,
    kept: Option<Connection>,
) -> Result<(Seen, Option<Connection>), Failure> {
    let began = Instant::now();
    let exchange = async {
        let request = ask.request(line)?;
        let is_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(line.open().await?).await?,
        };
        let response = connection.send(request).await?;
        // What servers say when they give a silent connection up; it was not meant for this request.
        if is_kept && response.status() == StatusCode::REQUEST_TIMEOUT {
            return Err(Failure::Broken("connection closed without a whole answer"));
        }
        let (seen, body) = ask.judge(response, began).await?;
        Ok((seen, body, connection))
    };
    let (seen, body, mut connection) = timeout_at(line.deadline, exchange)
        .await
        .map_err(|_elapsed| Failure::Silence)??;
    let reuse = async { body.drained().await && connection.sender.ready().await.is_ok() };
    let is_reusable = timeout(DRAIN_MAX, reuse).await.unwrap_or(false);
    Ok((seen, is_reusable.then_some(connection)))
}

impl Ask<'_> {
    fn request(&self, line: &Line<'_>) -> Result<Request<Empty<Bytes>>, Failure> {
        let method = match self.check.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Head => Method::HEAD,
        };
        Request::builder()
            .method(method)
            .uri(self.check.path.as_str())
            .header(HOST, authority(line, self.port))
            .header(USER_AGENT, self.user_agent)
            .header(ACCEPT, "*/*")
            .body(Empty::new())
            .map_err(|_error| Failure::Nonsense("the path of the check cannot be asked for"))
    }

    /// The verdict on an answer, with the rest of its body.
    async fn judge(
        &self,
        response: Response<Incoming>,
        began: Instant,
    ) -> Result<(Seen, Body), Failure> {
        let status = response.status().as_u16();
        let mut body = Body::of(response.into_body());
        let answered = format!("{} answered {status}", question(self.check));
        let expected = &self.check.expect_status;
        if !expected.iter().any(|expected| expected.matches(status)) {
            let expected = statuses(expected);
            let evidence = format!("{answered}, expected {expected}");
            return Ok((Seen::unhealthy(evidence), body));
        }
        if let Some(text) = &self.check.expect_body
            && !body.holds(text.as_bytes()).await?
        {
            let evidence = format!("{answered} without the expected text in its first 4 KiB");
            return Ok((Seen::unhealthy(evidence), body));
        }
        let took = span(began.elapsed());
        Ok((Seen::healthy(format!("{answered} in {took}")), body))
    }
}

/// The `Host` header of a request over `line`.
fn authority(line: &Line<'_>, port: u16) -> String {
    let meant_anyway = if line.tls.is_some() { 443 } else { 80 };
    host_header(line.host, port, meant_anyway)
}

/// IPv6 in brackets, and no port when it is the one that is meant anyway.
fn host_header(host: &Host, port: u16, meant_anyway: u16) -> String {
    let with_port = host.with_port(port);
    match with_port.rsplit_once(':') {
        Some((host, _)) if port == meant_anyway => host.to_owned(),
        _ => with_port,
    }
}

impl Connection {
    async fn open(stream: Stream) -> Result<Self, Failure> {
        let peer = stream.tcp().peer_addr();
        let peer = peer.map_err(|error| Failure::of_io(&error))?;
        match stream {
            Stream::Plain(stream) => Self::over(stream, peer).await,
            Stream::Tls(stream) => Self::over(stream, peer).await,
        }
    }

    async fn over<S>(stream: S, peer: SocketAddr) -> Result<Self, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::of_hyper(&error))?;
        let driver = tokio::spawn(async move {
            // Whoever asks over this connection is told what went wrong with it.
            connection.await.ok();
        });
        Ok(Self {
            peer,
            sender,
            driver,
        })
    }

    async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        let failed = |error| Failure::of_hyper(&error);
        self.sender.ready().await.map_err(failed)?;
        self.sender.send_request(request).await.map_err(failed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The body of an answer, as far as it was read.
#[derive(Debug)]
struct Body {
    incoming: Incoming,
    begin: Vec<u8>,
    is_whole: bool,
}

impl Body {
    fn of(incoming: Incoming) -> Self {
        Self {
            is_whole: incoming.is_end_stream(),
            incoming,
            begin: Vec::new(),
        }
    }

    /// Whether `text` occurs in the part that is looked at. Reads no further than it has to.
    async fn holds(&mut self, text: &[u8]) -> Result<bool, Failure> {
        let mut from = 0;
        loop {
            if contains(&self.begin[from..], text) {
                return Ok(true);
            }
            from = (self.begin.len() + 1).saturating_sub(text.len());
            if !self.read_on().await? {
                return Ok(false);
            }
        }
    }

    /// Reads the rest, if there is not too much of it. Says whether the body ended.
    async fn drained(mut self) -> bool {
        while matches!(self.read_on().await, Ok(true)) {}
        self.is_whole
    }

    /// Reads a little more; `false` when there is no more, or no more that is looked at.
    async fn read_on(&mut self) -> Result<bool, Failure> {
        let room = BODY_MAX - self.begin.len();
        if self.is_whole || room == 0 {
            return Ok(false);
        }
        match self.incoming.frame().await {
            None => {
                self.is_whole = true;
                return Ok(false);
            }
            Some(Err(error)) => return Err(Failure::of_hyper(&error)),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                self.begin.extend(data.iter().take(room));
                self.is_whole = data.len() <= room && self.incoming.is_end_stream();
            }
        }
        Ok(true)
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_is_written_as_http_wants_it() {
        let cases = [
            ("web", 8080, "web:8080"),
            ("web", 80, "web"),
            ("10.0.0.1", 80, "10.0.0.1"),
            ("::1", 8080, "[::1]:8080"),
            ("::1", 80, "[::1]"),
            ("fe80::80", 8080, "[fe80::80]:8080"),
            ("web", 180, "web:180"),
        ];
        for (host, port, header) in cases {
            assert_eq!(host_header(&Host::parse(host).unwrap(), port, 80), header);
        }
        let with_tls = |port| host_header(&Host::parse("::1").unwrap(), port, 443);
        assert_eq!(
            (with_tls(443), with_tls(80)),
            ("[::1]".into(), "[::1]:80".into())
        );
    }

    #[test]
    fn every_text_holds_nothing() {
        assert!(contains(b"", b"") && contains(b"abc", b"bc"));
        assert!(!contains(b"ab", b"abc"));
    }
}
