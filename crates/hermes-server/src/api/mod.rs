//! The HTTP API v1: from a request to an answer.
//!
//! [`route`] says where a path leads, [`read`], [`write`], [`watch`], [`targets`], [`metrics`] and [`docs`] hold
//! one handler for each route, [`reply`] makes the answers, and [`error`] is the only place that turns refusals into
//! status codes. Handlers hold no logic of the registry: they read a request, ask the catalog or the
//! engine, and write an answer.

mod access;
mod body;
mod cursor;
mod digits;
mod docs;
mod error;
mod listing;
mod metrics;
mod policy;
mod query;
mod read;
mod reply;
mod route;
mod targets;
mod watch;
mod write;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hermes_core::budget::Budget;
use hermes_core::change::Actor;
use hermes_core::name::Name;
use hermes_core::time::Timestamp;
use hermes_core::wire::problem::{Problem, code};
use hermes_discovery::admission::Admission;
use hermes_discovery::engine::Engine;
use hermes_discovery::probe::ProberHandle;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, VARY};
use hyper::{HeaderMap, Method, Request, Response};
use tokio::sync::watch as signal;

use crate::auth::{Caller, Gate, Limiter, Subject};
use crate::config::{Config, HttpLimits};
use cursor::Cursors;
use error::Failure;
use metrics::{Counters, Open};
pub(crate) use metrics::{Cut, Flight};
use query::Query;
use reply::{Body, Reply};
use route::{Operation, Route};

/// Everything that handlers need.
#[derive(Debug)]
pub(crate) struct Api {
    engine: Engine,
    prober: ProberHandle,
    /// They may change while the server runs.
    limits: ArcSwap<HttpLimits>,
    cursors: Cursors,
    budget: Arc<Budget>,
    counters: Counters,
    started_at: Timestamp,
    gate: Arc<Gate>,
    limiter: Limiter,
    limits_loopback: bool,
    admission: Admission,
    head: reply::Head,
    /// Lent to every request that names no other.
    default_namespace: Name,
    stopping: signal::Receiver<bool>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    actor: Actor,
    subject: Subject,
    is_loopback: bool,
}

/// What every handler gets beside its own part of the path.
struct Call<'a> {
    api: &'a Api,
    peer: &'a Peer,
    caller: Caller,
    headers: &'a HeaderMap,
    query: Query<'a>,
    /// Whether it waited for a change, so that its duration says nothing.
    has_waited: bool,
}

impl Api {
    pub(crate) fn new(
        engine: Engine,
        prober: ProberHandle,
        gate: Arc<Gate>,
        config: &Config,
        stopping: signal::Receiver<bool>,
    ) -> Self {
        Self {
            head: reply::Head::new(engine.cluster()),
            cursors: Cursors::new(config.http.cursors),
            budget: Arc::new(Budget::new(config.http.encoded_bytes)),
            counters: Counters::new(),
            started_at: engine.clock().now().time,
            default_namespace: Name::default_namespace(),
            engine,
            prober,
            gate,
            limiter: Limiter::new(config.auth.requests_per_second),
            limits_loopback: config.auth.limits_loopback,
            admission: config.admission.clone(),
            limits: ArcSwap::from_pointee(config.http.clone()),
            stopping,
        }
    }

    /// The bounds that hold now.
    pub(crate) fn limits(&self) -> Arc<HttpLimits> {
        self.limits.load_full()
    }

    /// Other bounds from now on, for requests and connections that begin later.
    pub(crate) fn set_limits(&self, limits: HttpLimits) {
        self.limits.store(Arc::new(limits));
    }

    /// Resolves when the server is stopping.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.stopping.clone();
        async move {
            // An error means that the server itself is gone, which is stopping too.
            stopping.wait_for(|stopping| *stopping).await.ok();
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// A connection that is open, until what comes back is dropped.
    pub(crate) fn open(&self) -> Open<'_> {
        self.counters.open()
    }

    /// A connection is closed, and by the server.
    pub(crate) fn cut(&self, cut: Cut) {
        self.counters.cut(cut);
    }

    /// Answers one request, whatever it is. With the answer comes its flight, to be landed when it is
    /// on its way.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> (Response<Body>, Flight<'_>) {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let route = route::route(path);
        let operation = route.as_ref().map(|route| route.operation(&parts.method));
        let operation = operation.unwrap_or(Operation::NONE);
        let mut flight = self.counters.begin(operation);
        let mut has_waited = false;
        let result = match (self.admit(route.as_ref(), &parts, peer), route) {
            (Err(failure), _) => Err(failure),
            (Ok(_), None) => Err(Failure::route_unknown(path)),
            (Ok(_), Some(route)) if operation == Operation::NONE => {
                Err(Failure::method_not_allowed(&parts.method, route.methods()))
            }
            (Ok(caller), Some(route)) => {
                let mut call = Call {
                    api: self,
                    peer,
                    caller,
                    headers: &parts.headers,
                    query: Query::new(parts.uri.query()),
                    has_waited: false,
                };
                let result = match call.judge(&route, &parts.method) {
                    Ok(()) => call
                        .dispatch(&parts.method, route, body)
                        .await
                        .map_err(|failure| failure.shown_to(&call.caller)),
                    Err(failure) => Err(failure),
                };
                has_waited = call.has_waited;
                result
            }
        };
        let reply = result.unwrap_or_else(Reply::failure);
        flight.answered(&reply, has_waited, self.engine.log_lost_at().is_some());
        let mut response = self.head.finish(reply, &self.engine, parts.headers);
        if !self.gate.is_open() {
            // What one key is shown is not for another that asks through the same cache.
            let by_key = HeaderValue::from_static("authorization, x-api-key");
            response.headers_mut().insert(VARY, by_key);
        }
        (response, flight)
    }
}

impl Peer {
    /// Whoever connects from `address`.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            actor: address.to_string().into(),
            subject: Subject::at(address.ip()),
            is_loopback: address.ip().to_canonical().is_loopback(),
        }
    }
}

impl<'a> Call<'a> {
    async fn dispatch(
        &mut self,
        method: &Method,
        route: Route<'_>,
        body: Incoming,
    ) -> Result<Reply, Failure> {
        match route {
            Route::Services => self.list_services().await,
            Route::Service { name } if *method == Method::DELETE => self.forget(&name).await,
            Route::Service { name } => self.service(&name).await,
            Route::ServiceUrl { name } => self.url(&name).await,
            Route::Select { name } => self.select(&name, body).await,
            Route::Endpoints { name } if *method == Method::POST => self.post(&name, body).await,
            Route::Endpoints { name } => self.service(&name).await,
            Route::Endpoint { name, id } => match method.as_str() {
                "PUT" => self.put(&name, &id, body).await,
                "PATCH" => self.patch(&name, &id, body).await,
                "DELETE" => self.deregister(&name, &id).await,
                _ => self.endpoint(&name, &id).await,
            },
            Route::Heartbeat { name, id } => self.heartbeat(&name, &id, body).await,
            Route::Drain { name, id } if *method == Method::PUT => {
                self.drain(&name, &id, body).await
            }
            Route::Drain { name, id } => self.undrain(&name, &id).await,
            Route::Policy { name } if *method == Method::PUT => self.put_policy(&name, body).await,
            Route::Policy { name } => self.policy(&name).await,
            Route::Heartbeats => self.heartbeats(body).await,
            Route::Watch => self.watch(),
            Route::Targets => self.targets(),
            Route::PlainServices => self.plain_services(),
            Route::PlainService { name } => self.plain_register(&name).await,
            Route::Health | Route::Live => self.health(),
            Route::Ready => self.ready(),
            Route::Metrics => self.metrics(),
            Route::OpenApi => self.document(docs::OPENAPI, "application/json"),
            Route::Docs => self.document(docs::PAGE, "text/html; charset=utf-8"),
            Route::DocsScript => self.document(docs::SCRIPT, "text/javascript; charset=utf-8"),
            Route::DocsStyle => self.document(docs::STYLE, "text/css; charset=utf-8"),
        }
    }

    /// The namespace that the request speaks of.
    fn namespace(&mut self) -> Result<Cow<'a, Name>, Failure> {
        match self.query.one("namespace")? {
            None => Ok(Cow::Borrowed(&self.api.default_namespace)),
            Some(text) if text == "*" => {
                let detail = "`namespace=*` is only understood by the list of services and by the \
                              watch. Name one namespace here.";
                Err(Problem::new(code::INVALID_FIELD, detail)
                    .at("namespace")
                    .into())
            }
            Some(text) => parse_name("namespace", &text).map(Cow::Owned),
        }
    }

    /// The same, where `*` (`None`) means all of them.
    fn namespace_or_all(&mut self) -> Result<Option<Name>, Failure> {
        match self.query.one("namespace")? {
            None => Ok(Some(self.api.default_namespace.clone())),
            Some(text) if text == "*" => Ok(None),
            Some(text) => parse_name("namespace", &text).map(Some),
        }
    }

    /// Nothing may be left of the query.
    fn end_of_query(&mut self, known: &[&str]) -> Result<(), Failure> {
        Ok(std::mem::take(&mut self.query).finish(known)?)
    }
}

/// A name from outside, folded and checked. `what` says which one, for the error.
fn parse_name(what: &str, text: &str) -> Result<Name, Failure> {
    let wrong = |error| hermes_core::wire::request::invalid_name(what, text, &error);
    Ok(Name::parse(text).map_err(wrong)?)
}
