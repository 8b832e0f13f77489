//! The watch: a stream of server-sent events, `hello` first, `goodbye` last.
//!
//! The engine's watcher decides what is sent and when; this file only gives it its form. A change is
//! encoded once for all watchers together and then only copied. A body is polled only when the
//! socket takes more, so a reader that does not read stops its own watcher and nobody else's.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hermes_core::catalog::ServiceView;
use hermes_core::change::{ClusterId, Committed, Revision};
use hermes_core::name::{Name, ServiceKey};
use hermes_core::wire::answer::Seconds;
use hermes_core::wire::change_json;
use hermes_core::wire::fields::{invalid, too_many};
use hermes_discovery::engine::{Engine, Event, Interest, Resume, Watcher};
use hyper::header::HeaderName;
use serde_json::json;
use tokio::sync::watch as signal;

use super::error::Failure;
use super::listing::write_list;
use super::reply::{Body, Reply};
use super::{Call, parse_name};
use crate::auth::{Caller, Gate};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Bytes of events that are sent in one piece when many wait.
const PIECE: usize = 64 * 1024;
/// The longest time a client is asked to wait before it comes back, in milliseconds.
const RETRY_MILLIS: std::ops::RangeInclusive<u64> = 1_000..=5_000;

impl Call<'_> {
    /// `GET /api/v1/watch`
    pub(super) fn watch(&mut self) -> Result<Reply, Failure> {
        let namespace = self.namespace_or_all()?;
        let services = self.watched_services()?;
        let resume = self.resume()?;
        self.end_of_query(&["service", "namespace", "since", "cluster"])?;
        self.judge_watched(namespace.as_ref(), services.as_ref())?;
        let engine = &self.api.engine;
        let watcher = engine.watch(
            Interest {
                namespace,
                services,
            },
            resume,
        )?;
        let revision = engine.catalog().revision();
        let hello = hello(engine, revision);
        let source = Source {
            watcher,
            stopping: self.api.stopping.clone(),
            gate: Arc::clone(&self.api.gate),
            caller: self.caller.clone(),
            ended: false,
        };
        let body = Body::Events(Box::new(EventStream::new(hello, source)));
        let media_type = "text/event-stream";
        Ok(Reply {
            media_type,
            body,
            ..Reply::json(revision, Vec::new())
        })
    }

    fn watched_services(&mut self) -> Result<Option<BTreeSet<Name>>, Failure> {
        let written = self.query.all("service");
        let max = self.api.limits().watch_services;
        if written.len() > max {
            return Err(too_many("service", written.len(), max).into());
        }
        let names: Result<BTreeSet<Name>, Failure> = written
            .iter()
            .map(|name| parse_name("service", name))
            .collect();
        Ok(Some(names?).filter(|names| !names.is_empty()))
    }

    /// Whether each service that is named may be read. Where none is named, or in every namespace,
    /// each event is judged by itself.
    fn judge_watched(
        &self,
        namespace: Option<&Name>,
        services: Option<&BTreeSet<Name>>,
    ) -> Result<(), Failure> {
        let Some(namespace) = namespace else {
            return Ok(());
        };
        let mut names = services.into_iter().flatten();
        names.try_for_each(|name| self.judge_name(namespace.as_str(), name.as_str(), true))
    }

    /// `Last-Event-ID`, which a browser sends by itself, or `?since=`.
    fn resume(&mut self) -> Result<Resume, Failure> {
        let since = self.query.integer("since", 0, u64::MAX)?;
        let cluster = match self.query.one("cluster")? {
            None => None,
            Some(text) => Some(ClusterId::parse(&text).ok_or_else(|| {
                invalid(
                    "cluster",
                    "it is not the 16 hexadecimal digits that `hello` names",
                )
            })?),
        };
        let last = match self.headers.get(&LAST_EVENT_ID) {
            None => None,
            Some(value) => {
                let id = value
                    .to_str()
                    .ok()
                    .and_then(|text| text.trim().parse().ok());
                Some(id.ok_or_else(|| invalid("Last-Event-ID", "it is not a revision"))?)
            }
        };
        Ok(match last.or(since) {
            None => Resume::Fresh,
            Some(revision) => Resume::After {
                revision: Revision(revision),
                cluster,
            },
        })
    }
}

type Turn = Pin<Box<dyn Future<Output = (Source, Option<Bytes>)> + Send>>;

/// The events of one watcher, as a body.
pub(crate) struct EventStream {
    hello: Option<Bytes>,
    /// The turn that is being waited for; `None` after the last one.
    turn: Option<Turn>,
}

/// Where the events come from.
struct Source {
    watcher: Watcher,
    stopping: signal::Receiver<bool>,
    gate: Arc<Gate>,
    /// Who is watching, with the rights of the last event.
    caller: Caller,
    ended: bool,
}

impl EventStream {
    fn new(hello: Bytes, source: Source) -> Self {
        Self {
            hello: Some(hello),
            turn: Some(Box::pin(source.turn())),
        }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(hello));
        }
        let Some(turn) = &mut self.turn else {
            return Poll::Ready(None);
        };
        let (source, bytes) = std::task::ready!(turn.as_mut().poll(cx));
        self.turn = (!source.ended).then(|| -> Turn { Box::pin(source.turn()) });
        Poll::Ready(bytes)
    }
}

/// The first event: which cluster this is, and when to come back if the stream breaks.
fn hello(engine: &Engine, revision: Revision) -> Bytes {
    let data = json!({
        "cluster": engine.cluster().to_string(),
        "revision": revision.0,
        "stream": format!("{:032x}", fastrand::u128(..)),
        "progress_interval": Seconds::from(engine.progress_interval()),
    });
    let retry = fastrand::u64(RETRY_MILLIS);
    format!("retry: {retry}\nevent: hello\ndata: {data}\n\n").into()
}

impl Source {
    /// Waits for the next event that the caller may see, and takes along what can be had without
    /// waiting.
    async fn turn(mut self) -> (Self, Option<Bytes>) {
        let event = loop {
            let event = tokio::select! {
                biased;
                event = self.watcher.next() => Ok(event),
                _stopping = self.stopping.wait_for(|stopping| *stopping) => Err("shutdown"),
                () = self.gate.denied(&self.caller) => Err("denied"),
            };
            let event = match (event, self.gate.again(&self.caller)) {
                (Ok(event), Ok(caller)) => {
                    self.caller = caller;
                    event
                }
                (Err(reason), _) => return self.goodbye(reason),
                (Ok(_), Err(_)) => return self.goodbye("denied"),
            };
            if self.is_visible(&event) {
                break event;
            }
        };
        let bytes = match event {
            Event::Change(change) => self.changes(&change),
            Event::Snapshot(view) => snapshot(&view),
            Event::Synced(revision) => framed(
                "synced",
                Some(revision),
                &json!({"revision": revision.0}).to_string(),
            ),
            Event::Progress(revision) => {
                let time = self.watcher.now().time.to_string();
                let data = json!({"revision": revision.0, "time": time});
                framed("progress", Some(revision), &data.to_string())
            }
            Event::Reset(reason, revision) => {
                let data = json!({"reason": reason.word(), "revision": revision.0});
                framed("reset", None, &data.to_string())
            }
        };
        (self, Some(bytes))
    }

    /// Whether the caller may see an event, by the service that it speaks of.
    fn is_visible(&self, event: &Event) -> bool {
        match event {
            Event::Change(change) => self.reads(&change.change.service),
            Event::Snapshot(view) => self.reads(&view.key),
            Event::Synced(_) | Event::Progress(_) | Event::Reset(..) => true,
        }
    }

    fn reads(&self, service: &ServiceKey) -> bool {
        let (namespace, name) = (&service.namespace, &service.name);
        self.caller.reads(namespace.as_str(), name.as_str())
    }

    /// The next change that needs no waiting and that the caller may see.
    fn next_change(&mut self) -> Option<Arc<Committed>> {
        loop {
            let change = self.watcher.try_next_change()?;
            if self.reads(&change.change.service) {
                return Some(change);
            }
        }
    }

    /// One change as it was encoded for everybody; several in one piece.
    fn changes(&mut self, first: &Committed) -> Bytes {
        let first = first.frame(change_frame).clone();
        let Some(second) = self.next_change() else {
            return first;
        };
        let mut piece = first.to_vec();
        piece.extend_from_slice(second.frame(change_frame));
        while piece.len() < PIECE {
            let Some(next) = self.next_change() else {
                break;
            };
            piece.extend_from_slice(next.frame(change_frame));
        }
        piece.into()
    }

    fn goodbye(mut self, reason: &str) -> (Self, Option<Bytes>) {
        let retry = fastrand::u64(RETRY_MILLIS) / 1_000;
        let data = json!({"reason": reason, "retry": retry});
        self.ended = true;
        (self, Some(framed("goodbye", None, &data.to_string())))
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("ended", &self.turn.is_none())
            .finish_non_exhaustive()
    }
}

fn change_frame(change: &Committed) -> Bytes {
    let json = change_json(change);
    let mut frame = format!("id: {}\nevent: change\ndata: ", change.revision).into_bytes();
    frame.extend_from_slice(&json);
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

fn framed(event: &str, id: Option<Revision>, data: &str) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {event}\ndata: {data}\n\n").into()
}

/// The state of one service, put together from the bytes of its endpoints.
fn snapshot(view: &Arc<ServiceView>) -> Bytes {
    let emptied = match view.emptied {
        Some(emptied) => format!("\"{}\"", emptied.by.word()),
        None => "null".into(),
    };
    let front = format!(
        "event: snapshot\ndata: {{\"service_name\":\"{}\",\"given_name\":\"{}\",\
         \"namespace\":\"{}\",\"revision\":{},\"emptied\":{emptied},\"endpoints\":",
        view.key.name,
        view.key.name.given(),
        view.key.namespace,
        view.revision
    );
    let mut out = front.into_bytes();
    write_list(&mut out, view.endpoints.iter().map(|endpoint| &**endpoint));
    out.extend_from_slice(b"}\n\n");
    out.into()
}
