//! Serving: from a listening socket to requests, within bounds that no client can move.
//!
//! The accept loop never ends on an error. Each connection is one task; a watchdog beside it closes
//! connections that send a head too slowly or do nothing for too long. The watchdog looks every few
//! seconds at two words that the connection writes as it goes, which costs a request next to nothing.

pub(crate) mod tls;
mod watched;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::field::Empty;
use tracing::{Instrument, debug_span};

use crate::api::{Api, Cut, Peer};
use crate::config::HttpLimits;
use tls::Tls;
use watched::{Activity, Watched};

/// How long accepting rests after an error that a new connection would only repeat.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The connections of one server.
#[derive(Debug)]
pub(crate) struct Connections {
    permits: Arc<Semaphore>,
    most: usize,
    /// Whether the server is stopping already, so that one request is all that is answered.
    are_late: bool,
    /// What they begin with where they have to be secure.
    tls: Option<Arc<Tls>>,
}

impl Connections {
    pub(crate) fn new(limits: &HttpLimits, tls: Option<Arc<Tls>>) -> Self {
        let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(most)),
            most,
            are_late: false,
            tls,
        }
    }

    /// Those that come while the server is stopping: each has one request answered.
    pub(crate) fn late(limits: &HttpLimits, tls: Option<Arc<Tls>>) -> Self {
        Self {
            are_late: true,
            ..Self::new(limits, tls)
        }
    }

    /// Accepts connections for as long as it is polled. Beyond the limit they wait in the backlog.
    pub(crate) async fn accept(&self, listener: &TcpListener, api: &Arc<Api>) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return;
            };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                }
            };
            let peer = Peer::at(peer);
            let terms = Terms {
                limits: api.limits(),
                is_late: self.are_late,
                tls: self.tls.clone(),
            };
            let connection = serve_one(stream, peer, Arc::clone(api), terms);
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
    }

    /// Resolves when every connection has ended.
    pub(crate) async fn finished(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this only ever ends with every permit back.
        drop(self.permits.acquire_many(all).await);
    }
}

/// What one connection is held to.
#[derive(Debug)]
struct Terms {
    limits: Arc<HttpLimits>,
    is_late: bool,
    tls: Option<Arc<Tls>>,
}

/// Serves one connection, after its handshake where there is one. That has as long as a head has.
async fn serve_one(stream: TcpStream, peer: Peer, api: Arc<Api>, terms: Terms) {
    // Answers are written in one piece, so there is nothing to wait for.
    stream.set_nodelay(true).ok();
    let activity = Arc::new(Activity::new());
    let _open = api.open();
    let Some(tls) = &terms.tls else {
        let stream = Watched::new(stream, Arc::clone(&activity));
        return converse(stream, &activity, (&api, &peer), &terms).await;
    };
    let handshake = async {
        if !begins_with_tls(&stream).await? {
            explain_tls(stream).await?;
            return Ok(None);
        }
        let stream = Watched::new(stream, Arc::clone(&activity));
        tls.accept(stream).await.map(Some)
    };
    match tokio::time::timeout(terms.limits.head_within, handshake).await {
        Ok(Ok(Some(stream))) => {
            activity.response_begins();
            converse(stream, &activity, (&api, &peer), &terms).await;
        }
        Ok(Ok(None)) => tracing::debug!("somebody spoke plain HTTP where TLS is spoken"),
        Ok(Err(error)) => {
            api.cut(Cut::Handshake);
            tracing::debug!(%error, "a handshake failed");
        }
        Err(_elapsed) => {
            api.cut(Cut::Handshake);
            tracing::debug!("a handshake took too long");
        }
    }
}

/// Whether what comes looks like TLS, and not like the letter that every HTTP request begins with.
async fn begins_with_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 0 || !first[0].is_ascii_uppercase())
}

/// Says to somebody who speaks plain HTTP what is wrong, which a handshake could not.
async fn explain_tls(mut stream: TcpStream) -> io::Result<()> {
    let text = "This port speaks TLS: ask again with https://\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What was sent is read, or the answer would be lost with a reset.
    let mut rest = [0; 4_096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Serves one connection to its end: the client's, the watchdog's, or a graceful one when the server
/// stops.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    activity: &Activity,
    (api, peer): (&Api, &Peer),
    Terms {
        limits, is_late, ..
    }: &Terms,
) {
    let notes = activity;
    let service = service_fn(|request| async move {
        notes.request_began();
        let span = debug_span!(
            "request",
            method = %request.method(), path = request.uri().path(), request_id = Empty
        );
        let (response, flight) = api.answer(request, peer).instrument(span.clone()).await;
        span.in_scope(|| {
            let request_id = response.headers().get("x-request-id");
            let request_id = request_id.and_then(|id| id.to_str().ok());
            span.record("request_id", request_id);
            tracing::debug!(status = response.status().as_u16(), request_id, "answered");
        });
        flight.land(notes.response_begins());
        Ok::<_, Infallible>(response)
    });
    let io = TokioIo::new(stream);
    let connection = http1::Builder::new()
        .max_header_size(limits.head_bytes)
        .keep_alive(!*is_late)
        .header_read_timeout(None)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut stopping = pin!(api.stopping());
    let mut watchdog = pin!(watch(activity, limits));
    // Whatever ends a connection is the client's affair: it went away, or sent what is not HTTP and
    // has been answered so. It is asked first, because it is what has nearly always woken us.
    tokio::select! {
        biased;
        _ended = connection.as_mut() => return,
        cut = watchdog.as_mut() => return api.cut(cut),
        () = stopping.as_mut(), if !*is_late => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ended = connection => {}
        cut = watchdog => api.cut(cut),
    }
}

/// Resolves when the connection has been too slow, or idle for too long.
async fn watch(activity: &Activity, limits: &HttpLimits) -> Cut {
    loop {
        // Heads that are late are noticed at most one look later.
        tokio::time::sleep(limits.head_within.min(limits.idle)).await;
        if let Some(cut) = activity.overdue(limits.head_within, limits.idle) {
            return cut;
        }
    }
}
