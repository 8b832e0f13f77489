//! What the stories are made of: names, registrations, requests, engines, and deadlines.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hermes_core::address::Address;
use hermes_core::catalog::Catalog;
use hermes_core::change::{ClusterId, Revision};
use hermes_core::command::{Claim, Command, Condition, DrainWish, Request};
use hermes_core::endpoint::{Endpoint, InitialHealth, Platform, Registration};
use hermes_core::metadata::Metadata;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::port::{Port, Ports};
use hermes_core::time::{Moment, Timestamp};
use hermes_core::wire::request::Heartbeat;
use hermes_discovery::clock::Clock;
use hermes_discovery::engine::{Config, Engine, Outcome, Refusal};
use hermes_discovery::log::{Log, MemoryLog};

/// When every story begins, by the wall clock.
pub(crate) const NOON: Timestamp = Timestamp(1_795_262_400_000);
/// What an endpoint may outlive its lease by.
pub(crate) const LATE_MAX: Duration = Duration::from_secs(1);
/// How long anything may take that is waited for; far more than it ever takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The machine's time after which a story hangs. A loop without end is not seen by a paused clock.
const STORY_MAX: Duration = Duration::from_secs(600);

/// Ends the process when the story that holds it takes too long.
pub(crate) struct Alarm {
    _over: Sender<()>,
}

/// The first line of every story: see [`Alarm`].
pub(crate) fn alarm() -> Alarm {
    let story = std::thread::current().name().unwrap_or("?").to_owned();
    let (over, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(STORY_MAX) == Err(RecvTimeoutError::Timeout) {
            // Not by a macro, whose text the test harness keeps and the end of the process loses.
            let text = format!("{story} hangs: it has taken {STORY_MAX:?}\n");
            std::io::stderr().write_all(text.as_bytes()).ok();
            std::process::abort();
        }
    });
    Alarm { _over: over }
}

/// What `future` gives, before the patience ends.
#[track_caller]
pub(crate) fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let asked_at = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_elapsed) => panic!("{asked_at}: {what} did not happen within {PATIENCE:?}"),
        }
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn service(text: &str) -> ServiceKey {
    ServiceKey::new(Name::default_namespace(), name(text))
}

pub(crate) fn id(text: &str) -> EndpointId {
    EndpointId::parse(text).unwrap()
}

pub(crate) fn seconds(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count))
}

/// A registration without checks, with this lease.
pub(crate) fn registration(ttl: Option<Duration>) -> Registration {
    let address = Address::parse_url("http://10.0.0.1:8080").unwrap();
    let port = Port {
        port: address.port,
        scheme: address.scheme.clone(),
    };
    Registration {
        address,
        ports: Ports::of(port),
        metadata: Metadata::default(),
        tags: Vec::new(),
        zone: None,
        weight: 100,
        platform: Platform::Local,
        ttl,
        checks: Vec::new(),
        checks_by_default: false,
        initial_health: InitialHealth::Unknown,
    }
}

/// A registration with a lease.
pub(crate) fn leased(ttl: Duration) -> Arc<Registration> {
    Arc::new(registration(Some(ttl)))
}

/// A static registration that can be told from others by its tag.
pub(crate) fn tagged(tag: impl Into<String>) -> Arc<Registration> {
    Arc::new(Registration {
        tags: vec![tag.into()],
        ..registration(None)
    })
}

pub(crate) fn request(command: Command) -> Request {
    Request {
        command,
        actor: "story".into(),
        condition: Condition::Always,
        claim: Claim::Free,
    }
}

pub(crate) fn register(
    service: &ServiceKey,
    id: &EndpointId,
    registration: &Arc<Registration>,
) -> Request {
    request(Command::Register {
        service: service.clone(),
        id: id.clone(),
        registration: Arc::clone(registration),
        new: false,
    })
}

/// The same from a process that says it is new.
pub(crate) fn register_new(
    service: &ServiceKey,
    id: &EndpointId,
    registration: &Arc<Registration>,
) -> Request {
    let mut request = register(service, id, registration);
    if let Command::Register { new, .. } = &mut request.command {
        *new = true;
    }
    request
}

pub(crate) fn deregister(service: &ServiceKey, id: &EndpointId) -> Request {
    request(Command::Deregister {
        service: service.clone(),
        id: id.clone(),
        incarnation: None,
    })
}

pub(crate) fn drain(service: &ServiceKey, id: &EndpointId) -> Request {
    request(Command::Drain {
        service: service.clone(),
        id: id.clone(),
        wish: Some(DrainWish::default()),
    })
}

pub(crate) fn forget(service: &ServiceKey) -> Request {
    request(Command::Forget {
        service: service.clone(),
    })
}

/// An engine on an empty log in memory that has what its feed has, at noon.
pub(crate) async fn engine(config: Config) -> Engine {
    let log = MemoryLog::new(ClusterId(0xc1)).keeping(config.feed_changes_max);
    engine_on(config, log).await
}

/// An engine on `log`, at noon.
pub(crate) async fn engine_on(config: Config, log: impl Log) -> Engine {
    let clock = Clock::starting_at(NOON);
    Engine::start(config, clock, log).await.unwrap()
}

/// The moment that an engine's clock shows.
pub(crate) fn moment(engine: &Engine) -> Moment {
    engine.clock().now().moment
}

/// Waits until `millis` after the engine's start.
pub(crate) async fn until(engine: &Engine, millis: u64) {
    engine.clock().sleep_until(Moment(millis)).await;
}

/// Submits, with a deadline.
#[track_caller]
pub(crate) fn submit(
    engine: &Engine,
    request: Request,
) -> impl Future<Output = Result<Outcome, Refusal>> + use<> {
    let engine = engine.clone();
    within("an answer", async move { engine.submit(request).await })
}

/// Submits in a task of its own, which has asked by the time that this returns (on one thread).
pub(crate) async fn asked(
    engine: &Engine,
    request: Request,
) -> tokio::task::JoinHandle<Result<Outcome, Refusal>> {
    let answer = tokio::spawn(submit(engine, request));
    tokio::task::yield_now().await;
    answer
}

/// A heartbeat that says nothing but that the endpoint lives.
pub(crate) fn beat(engine: &Engine, service: &ServiceKey, id: &EndpointId) -> Result<(), Refusal> {
    engine.beat(service, id, &Heartbeat::default(), &Claim::Free)?;
    Ok(())
}

/// The endpoint as every reader sees it now.
pub(crate) fn seen(
    engine: &Engine,
    service: &ServiceKey,
    id: &EndpointId,
) -> Option<Arc<Endpoint>> {
    engine.catalog().endpoint(service, id).cloned()
}

/// Every endpoint of a catalog with its last revision, in order.
pub(crate) fn listed(catalog: &Catalog) -> Vec<(ServiceKey, EndpointId, Revision)> {
    let mut all: Vec<_> = catalog
        .services()
        .flat_map(|view| &view.endpoints)
        .map(|endpoint| {
            (
                endpoint.service.clone(),
                endpoint.id.clone(),
                endpoint.revision,
            )
        })
        .collect();
    all.sort();
    all
}
