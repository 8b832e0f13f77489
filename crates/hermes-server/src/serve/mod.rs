//! Serving: from a listening socket to requests, within bounds that no client can move.
//!
//! The accept loop never ends on an error. Each connection is one task; a watchdog beside it closes
//! connections that send a head too slowly or do nothing for too long. The watchdog looks every few
//! seconds at two words that the connection writes as it goes, which costs a request next to nothing.

mod watched;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{Instrument, debug_span};

use crate::api::{Api, Peer};
use crate::config::HttpLimits;
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
}

impl Connections {
    pub(crate) fn new(limits: &HttpLimits) -> Self {
        let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(most)),
            most,
            are_late: false,
        }
    }

    /// Those that come while the server is stopping: each has one request answered.
    pub(crate) fn late(limits: &HttpLimits) -> Self {
        Self {
            are_late: true,
            ..Self::new(limits)
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
            let (api, limits) = (Arc::clone(api), api.limits());
            let connection = serve_one(stream, peer, api, limits, self.are_late);
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

/// Serves one connection to its end: the client's, the watchdog's, or a graceful one when the server
/// stops.
async fn serve_one(
    stream: TcpStream,
    peer: Peer,
    api: Arc<Api>,
    limits: Arc<HttpLimits>,
    is_late: bool,
) {
    // Answers are written in one piece, so there is nothing to wait for.
    stream.set_nodelay(true).ok();
    let activity = Arc::new(Activity::new());
    let (api, peer, notes) = (&*api, &peer, &*activity);
    let service = service_fn(|request| async move {
        notes.request_began();
        let span = debug_span!("request", method = %request.method(), path = request.uri().path());
        let response = api.answer(request, peer).instrument(span.clone()).await;
        span.in_scope(|| {
            let request_id = response.headers().get("x-request-id");
            let request_id = request_id.and_then(|id| id.to_str().ok());
            tracing::debug!(status = response.status().as_u16(), request_id, "answered");
        });
        notes.response_begins();
        Ok::<_, Infallible>(response)
    });
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let connection = http1::Builder::new()
        .max_header_size(limits.head_bytes)
        .keep_alive(!is_late)
        .header_read_timeout(None)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut stopping = pin!(api.stopping());
    let mut watchdog = pin!(watch(&activity, &limits));
    // Whatever ends a connection is the client's affair: it went away, or sent what is not HTTP and
    // has been answered so. It is asked first, because it is what has nearly always woken us.
    tokio::select! {
        biased;
        _ended = connection.as_mut() => return,
        () = watchdog.as_mut() => return,
        () = stopping.as_mut(), if !is_late => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ended = connection => {}
        () = watchdog => {}
    }
}

/// Resolves when the connection has been too slow, or idle for too long.
async fn watch(activity: &Activity, limits: &HttpLimits) {
    loop {
        // Heads that are late are noticed at most one look later.
        tokio::time::sleep(limits.head_within.min(limits.idle)).await;
        if activity.is_over(limits.head_within, limits.idle) {
            return;
        }
    }
}
