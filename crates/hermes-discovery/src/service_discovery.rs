//! The one interface: from a name to where it is served, and what goes with it.
//!
//! The seven calls of the seed (R91 to R98) with what Rust makes better: an answer with its health
//! and its provenance, errors that say which, endpoints one by one, and watching. The trait is
//! object safe, so that a program can hold an `Arc<dyn ServiceDiscovery>` and never know which it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hermes_core::endpoint::Registration;
use hermes_core::select::Criteria;
use tokio::time::{sleep, timeout};

use crate::answer::{ChangeError, ResolveError, Resolved, StartError};
use crate::engine::Event;
use crate::layer::Layer;

/// The id of the endpoint that [`ServiceDiscovery::register`] registers, and so replaces.
pub const DEFAULT_ID: &str = "default";
/// How long to wait before watching is tried again.
pub(crate) const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Finds services by their names.
///
/// Names are folded: `MEMORY_STORE` is `memory-store`.
///
/// ```
/// use hermes_discovery::{InMemory, ServiceDiscovery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery: Box<dyn ServiceDiscovery> = Box::new(InMemory::new());
/// discovery.register("memory", "http://memory-service:9000").await?;
/// assert_eq!(discovery.resolve("memory").await?.url(), "http://memory-service:9000");
/// // Nobody has asked it yet how it is.
/// assert!(!discovery.is_healthy("memory").await);
/// discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ServiceDiscovery: Send + Sync + fmt::Debug {
    /// Starts what runs in the background. Whoever does not call it gets the same on first use; whoever
    /// does hears at once what cannot work.
    ///
    /// # Errors
    /// When it cannot start, with the reason.
    async fn initialize(&self) -> Result<(), StartError>;

    /// Ends everything in the background, and returns when it has ended. May be called twice, and
    /// before [`ServiceDiscovery::initialize`]. What was known stays readable; nothing changes any
    /// more.
    async fn shutdown(&self);

    /// An endpoint of the service. There is always one when one is registered: a ready one if there
    /// is any, else one whose health is not known yet, else one that is unhealthy. The answer says
    /// which.
    ///
    /// # Errors
    /// When the service is not known, has no endpoint at all, or nobody can be asked.
    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError>;

    /// An endpoint of the service that is ready: the next in turn.
    ///
    /// # Errors
    /// When the service is not known, has no endpoint that is ready, or nobody can be asked.
    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError>;

    /// Endpoints of the service that meet the criteria, the best first; never none.
    ///
    /// # Errors
    /// When the service is not known, no endpoint that meets them is ready, or nobody can be asked.
    async fn select(
        &self,
        service: &str,
        criteria: &Criteria,
    ) -> Result<Vec<Resolved>, ResolveError>;

    /// Whether the service has an endpoint that is ready, and healthy rather than degraded. `false`
    /// for what is not known.
    async fn is_healthy(&self, service: &str) -> bool;

    /// For each service that has an endpoint, what [`ServiceDiscovery::resolve`] would answer.
    ///
    /// # Errors
    /// When nobody can be asked.
    async fn get_all(&self) -> Result<BTreeMap<String, Resolved>, ResolveError>;

    /// What is registered for a URL: static, with every default and the check that is usual here. A
    /// struct update makes another of it: `Registration { weight: 10, ..registration }`.
    ///
    /// # Errors
    /// When the URL is none, or may not be registered.
    fn registration(&self, service: &str, url: &str) -> Result<Registration, ChangeError>;

    /// Says where a service is reached; another URL replaces the first. Its health is unknown then,
    /// and found out at once.
    ///
    /// # Errors
    /// When name or URL are wrong, or it cannot be done now.
    async fn register(&self, service: &str, url: &str) -> Result<(), ChangeError> {
        let registration = self.registration(service, url)?;
        self.register_endpoint(service, DEFAULT_ID, registration)
            .await
    }

    /// Registers one of several endpoints of a service, with everything that can be said of it.
    ///
    /// # Errors
    /// When name or id are wrong, or it cannot be done now.
    async fn register_endpoint(
        &self,
        service: &str,
        id: &str,
        registration: Registration,
    ) -> Result<(), ChangeError>;

    /// Removes a service with all its endpoints. What is not there is no error.
    ///
    /// # Errors
    /// When the name is wrong, or it cannot be done now.
    async fn deregister(&self, service: &str) -> Result<(), ChangeError>;

    /// Removes one endpoint of a service. What is not there is no error.
    ///
    /// # Errors
    /// When name or id are wrong, or it cannot be done now.
    async fn deregister_endpoint(&self, service: &str, id: &str) -> Result<(), ChangeError>;

    /// Follows these services, or all when none is named: first what there is, then every change.
    ///
    /// # Errors
    /// When a name is wrong, there are too many watchers, or nobody can be asked.
    async fn watch(&self, services: &[&str]) -> Result<Box<dyn Watch>, ResolveError>;

    /// Waits until the service has an endpoint that is ready, and answers with it. Waits for changes,
    /// not by asking again and again; only while nobody can be asked, once a second.
    ///
    /// # Errors
    /// After `patience`: why it is not ready. At once when the name is wrong, and when the discovery is
    /// shut down meanwhile.
    async fn wait_until_ready(
        &self,
        service: &str,
        patience: Duration,
    ) -> Result<Resolved, ResolveError> {
        wait_until_ready(self, service, patience).await
    }
}

/// Waits for changes until the service is ready.
pub(crate) async fn wait_until_ready<D: ServiceDiscovery + ?Sized>(
    discovery: &D,
    service: &str,
    patience: Duration,
) -> Result<Resolved, ResolveError> {
    let ready = async {
        let services = [service];
        let mut attention = Attention::to(discovery, &services).await;
        loop {
            let answer = discovery.resolve_ready(service).await;
            let is_final = matches!(answer, Ok(_) | Err(ResolveError::Name { .. }));
            if is_final || !attention.is_called().await {
                return answer;
            }
        }
    };
    match timeout(patience, ready).await {
        Ok(answer) => answer,
        Err(_elapsed) => discovery.resolve_ready(service).await,
    }
}

/// Says when to look at some services again.
pub(crate) struct Attention<'a, D: ?Sized> {
    discovery: &'a D,
    services: &'a [&'a str],
    /// Nothing while nobody tells of changes.
    watch: Option<Box<dyn Watch>>,
}

impl<'a, D: ServiceDiscovery + ?Sized> Attention<'a, D> {
    /// Whatever happens to these services after this is not missed.
    pub(crate) async fn to(discovery: &'a D, services: &'a [&'a str]) -> Self {
        Self {
            discovery,
            services,
            watch: discovery.watch(services).await.ok(),
        }
    }

    /// Waits until it is time to look again; `false` when nothing will happen any more.
    pub(crate) async fn is_called(&mut self) -> bool {
        if let Some(watch) = &mut self.watch {
            return watch.next().await.is_some();
        }
        sleep(WATCH_PAUSE).await;
        self.watch = self.discovery.watch(self.services).await.ok();
        true
    }
}

/// Hears what happens to services, until it is dropped.
///
/// ```
/// use hermes_discovery::engine::Event;
/// use hermes_discovery::{InMemory, ServiceDiscovery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery = InMemory::new();
/// discovery.register("memory", "http://memory-service:9000").await?;
/// let mut watch = discovery.watch(&["memory"]).await?;
/// // First what there is, and that this was all; every change from then on.
/// while let Some(event) = watch.next().await {
///     match event {
///         Event::Snapshot(view) => println!("{} has {}", view.key, view.endpoints.len()),
///         Event::Change(change) => println!("{}", change.change.kind.word()),
///         _ => break,
///     }
/// }
/// discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Watch: Send + fmt::Debug {
    /// The next event; `None` when there will be no more, because the discovery was shut down.
    /// Nothing is lost when the future is dropped before it is ready.
    async fn next(&mut self) -> Option<Event>;
}

impl<D: ServiceDiscovery + ?Sized> Layer for Arc<D> {
    type Inner = D;

    fn inner(&self) -> &D {
        self
    }
}
