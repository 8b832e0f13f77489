//! Discovery in memory: what the program registers (the seed's `SimpleServiceDiscovery`).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hermes_core::address::Address;
use hermes_core::catalog::ServiceView;
use hermes_core::change::ClusterId;
use hermes_core::command::{Claim, Command, Condition, Request};
use hermes_core::endpoint::{Endpoint, Registration};
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::rejection::Rejection;
use hermes_core::select::{Criteria, Policy, Variety, select};
use tokio::sync::OnceCell;

use super::{Config, look, unavailable};
use crate::answer::{ChangeError, ResolveError, Resolved, Source, StartError, tell};
use crate::clock::Clock;
use crate::engine::{self, Engine, Event, Interest, Refusal, Resume, Watcher};
use crate::log::MemoryLog;
use crate::probe::{Prober, ProberHandle};
use crate::service_discovery::{DEFAULT_ID, ServiceDiscovery, Watch};

/// Who made a change, as the changes say it.
const ACTOR: &str = "program";

/// What the program registers, with its health. A clone is the same discovery.
///
/// What runs in the background runs on the tokio runtime of whoever calls first, and ends with it: a
/// discovery that is shared by several runtimes is best started in the one that lives longest. After that
/// it answers with what it knew, and nothing changes any more, as after a shutdown.
///
/// ```
/// use hermes_discovery::{InMemory, ServiceDiscovery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery = InMemory::new();
/// discovery.register("memory", "http://memory-service:9000").await?;
/// // Without waiting, without a lock, without an allocation:
/// let ready = discovery.peek("memory", |view| view.ready_count());
/// assert_eq!(ready, Some(0));
/// discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct InMemory(Arc<Inner>);

struct Inner {
    config: Config,
    /// The services of the configuration.
    configured: HashMap<Name, Address>,
    /// It is there, or not, without anybody having to wait: so that shutting down depends on nobody
    /// who has begun a start and does not go on with it.
    running: OnceCell<Running>,
    /// That what is configured was registered.
    is_configured: OnceCell<()>,
    is_shut_down: AtomicBool,
}

/// What runs in the background.
struct Running {
    engine: Engine,
    _prober: ProberHandle,
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl InMemory {
    /// Nothing registered yet, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    /// The same with these settings.
    #[must_use]
    pub fn with(config: Config) -> Self {
        let by_name = |(name, address): &(Name, Address)| (name.clone(), address.clone());
        Self(Arc::new(Inner {
            configured: config.services.iter().map(by_name).collect(),
            config: config.folded(),
            running: OnceCell::new(),
            is_configured: OnceCell::new(),
            is_shut_down: AtomicBool::new(false),
        }))
    }

    /// A look at a service as it is now: every endpoint at one revision. It takes no lock, allocates
    /// nothing and waits for nobody; `None` when the service is not known.
    pub fn peek<R>(&self, service: &str, look: impl FnOnce(&ServiceView) -> R) -> Option<R> {
        let catalog = self.0.running.get()?.engine.catalog();
        look::find(&catalog, service).map(|view| look(view))
    }

    /// The engine under it, for whoever wants to list, page or watch as a server does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn engine(&self) -> Result<Engine, StartError> {
        Ok(self.running().await?.engine.clone())
    }

    /// Starts what runs in the background, unless it was shut down.
    pub(super) async fn start(&self) -> Result<(), StartError> {
        if self.0.is_shut_down.load(Ordering::SeqCst) {
            return Err(StartError::ShutDown);
        }
        self.running().await?;
        Ok(())
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.config
    }

    /// What runs in the background, started by the first who needs it.
    async fn running(&self) -> Result<&Running, StartError> {
        let inner = &self.0;
        let running = inner.running.get_or_try_init(|| inner.run()).await?;
        let configure = || inner.configure(&running.engine);
        inner.is_configured.get_or_try_init(configure).await?;
        Ok(running)
    }

    /// An answer by `look`, from what is registered now.
    async fn answer<R>(
        &self,
        service: &str,
        look: impl FnOnce(&Arc<ServiceView>) -> Result<R, ResolveError>,
    ) -> Result<R, ResolveError> {
        let running = self.running().await.map_err(|error| unreachable(&error))?;
        let catalog = running.engine.catalog();
        match look::find(&catalog, service) {
            Some(view) => look(view),
            None => Err(look::unknown(&catalog, service)),
        }
    }

    /// The answer, with where the endpoint comes from.
    fn resolved(&self, endpoint: Arc<Endpoint>, view: &ServiceView) -> Resolved {
        let address = &endpoint.registration().address;
        let source = match self.0.configured.get(&view.key.name) {
            Some(configured) if configured == address => Source::Configured,
            _ => Source::Live,
        };
        let mut resolved = Resolved::live(endpoint, view.revision);
        resolved.provenance.source = source;
        resolved
    }

    /// As [`ServiceDiscovery::resolve`], and nothing is said in the log.
    pub(super) async fn resolve_silently(&self, service: &str) -> Result<Resolved, ResolveError> {
        let best = |view: &Arc<ServiceView>| match look::best(view) {
            Some(endpoint) => Ok(self.resolved(Arc::clone(endpoint), view)),
            None => Err(look::nothing_ready(view)),
        };
        self.answer(service, best).await
    }

    pub(super) async fn submit(&self, command: Command) -> Result<(), ChangeError> {
        let running = self.running().await.map_err(|error| match error {
            StartError::ShutDown => ChangeError::ShutDown,
            error => unavailable(&error),
        })?;
        submit(&running.engine, command).await
    }
}

impl Inner {
    /// Starts an engine with a prober, unless it was shut down.
    async fn run(&self) -> Result<Running, StartError> {
        if self.is_shut_down.load(Ordering::SeqCst) {
            return Err(StartError::ShutDown);
        }
        run(&self.config).await
    }

    /// Registers what is configured.
    async fn configure(&self, engine: &Engine) -> Result<(), StartError> {
        for (name, address) in &self.config.services {
            let mut registration = Registration::at(address.clone());
            registration.checks_by_default = false;
            registration.checks = vec![self.config.check_of(name, address)];
            let command = registering(name.clone(), default_id(), registration);
            match submit(engine, command).await {
                Ok(()) => {}
                Err(ChangeError::ShutDown) => return Err(StartError::ShutDown),
                Err(reason) => {
                    let service = name.to_string();
                    return Err(StartError::Service { service, reason });
                }
            }
        }
        Ok(())
    }
}

/// An engine with a prober.
async fn run(config: &Config) -> Result<Running, StartError> {
    let failed = |reason: String| StartError::Unavailable { reason };
    let engine_config = engine::Config {
        seed: match config.engine.seed {
            0 => fastrand::u64(..),
            seed => seed,
        },
        ..config.engine.clone()
    };
    let clock = config.clock.unwrap_or_else(Clock::system);
    let log = MemoryLog::new(ClusterId(fastrand::u64(..)));
    let engine = Engine::start(engine_config, clock, log).await;
    let engine = engine.map_err(|error| failed(error.to_string()))?;
    let prober = Prober::start_with(engine.clone(), config.prober.clone(), config.probe.clone());
    Ok(Running {
        _prober: prober.map_err(|error| failed(error.to_string()))?,
        engine,
    })
}

async fn submit(engine: &Engine, command: Command) -> Result<(), ChangeError> {
    let request = Request {
        command,
        actor: ACTOR.into(),
        condition: Condition::Always,
        claim: Claim::default(),
    };
    match engine.submit(request).await {
        Ok(_outcome) => Ok(()),
        Err(Refusal::Rejected(rejection)) => Err(rejection.into()),
        Err(Refusal::Stopping) => Err(ChangeError::ShutDown),
        Err(refusal) => Err(unavailable(&refusal)),
    }
}

pub(super) fn registering(service: Name, id: EndpointId, registration: Registration) -> Command {
    Command::Register {
        service: key(service),
        id,
        registration: Arc::new(registration),
        new: false,
    }
}

/// A service of the one namespace that there is in a process.
pub(super) fn key(service: Name) -> ServiceKey {
    ServiceKey::new(Name::default_namespace(), service)
}

pub(super) fn default_id() -> EndpointId {
    EndpointId::parse(DEFAULT_ID).expect("the id is made of letters")
}

pub(super) fn name_of(service: &str) -> Result<Name, ChangeError> {
    Name::parse(service).map_err(|reason| ChangeError::Name {
        text: crate::admission::shown(service),
        reason,
    })
}

fn id_of(id: &str) -> Result<EndpointId, ChangeError> {
    EndpointId::parse(id).map_err(|reason| ChangeError::Name {
        text: crate::admission::shown(id),
        reason,
    })
}

fn unreachable(reason: &impl ToString) -> ResolveError {
    let reason = reason.to_string();
    ResolveError::Unreachable { reason }
}

#[async_trait]
impl ServiceDiscovery for InMemory {
    async fn initialize(&self) -> Result<(), StartError> {
        self.start().await?;
        tracing::info!("service discovery initialized");
        Ok(())
    }

    async fn shutdown(&self) {
        let is_first = !self.0.is_shut_down.swap(true, Ordering::SeqCst);
        // Whoever is about to run is waited for; whoever comes later sees that it is shut down.
        let running = self.0.running.get_or_try_init(async || Err(()));
        if let Ok(running) = running.await {
            running.engine.stop();
            running.engine.ended().await;
        }
        if is_first {
            tracing::info!("service discovery shut down");
        }
    }

    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
        let answer = self.resolve_silently(service).await;
        tell(service, &answer);
        answer
    }

    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError> {
        let next = |view: &Arc<ServiceView>| match view.next_ready() {
            Some(endpoint) => Ok(self.resolved(Arc::clone(endpoint), view)),
            None => Err(look::nothing_ready(view)),
        };
        self.answer(service, next).await
    }

    async fn select(
        &self,
        service: &str,
        criteria: &Criteria,
    ) -> Result<Vec<Resolved>, ResolveError> {
        let now = self
            .running()
            .await
            .map_err(|error| unreachable(&error))?
            .engine
            .clock()
            .now();
        let choose = |view: &Arc<ServiceView>| {
            let variety = Variety {
                turn: view.next_turn(),
                seed: fastrand::u64(..),
            };
            let chosen = select(view, criteria, variety, now).chosen;
            if chosen.is_empty() {
                return Err(look::nothing_ready(view));
            }
            if criteria.policy == Some(Policy::LeastLoaded) {
                chosen[0].pulse.count_selection(now.moment);
            }
            let answer = |endpoint| self.resolved(endpoint, view);
            Ok(chosen.into_iter().map(answer).collect())
        };
        self.answer(service, choose).await
    }

    async fn is_healthy(&self, service: &str) -> bool {
        // Where nothing runs, nothing is found out.
        self.running().await.ok();
        self.peek(service, ServiceView::is_healthy).unwrap_or(false)
    }

    async fn get_all(&self) -> Result<BTreeMap<String, Resolved>, ResolveError> {
        let running = self.running().await.map_err(|error| unreachable(&error))?;
        let catalog = running.engine.catalog_kept();
        let resolved = |view: &Arc<ServiceView>| {
            let endpoint = look::best(view)?;
            let name = view.key.name.to_string();
            Some((name, self.resolved(Arc::clone(endpoint), view)))
        };
        Ok(catalog.services().filter_map(resolved).collect())
    }

    fn registration(&self, service: &str, url: &str) -> Result<Registration, ChangeError> {
        let (service, address) = (name_of(service)?, self.0.config.admission.admit(url)?);
        let check = self.0.config.check_of(&service, &address);
        let mut registration = Registration::at(address);
        registration.checks_by_default = false;
        registration.checks = vec![check];
        Ok(registration)
    }

    async fn register_endpoint(
        &self,
        service: &str,
        id: &str,
        registration: Registration,
    ) -> Result<(), ChangeError> {
        let (service, id) = (name_of(service)?, id_of(id)?);
        let url = Arc::clone(&registration.address.url);
        self.0
            .config
            .admission
            .admit_address(&registration.address)?;
        let command = registering(service.clone(), id.clone(), registration);
        self.submit(command).await?;
        tracing::info!(%service, %id, %url, "registered");
        Ok(())
    }

    async fn deregister(&self, service: &str) -> Result<(), ChangeError> {
        let service = name_of(service)?;
        let command = Command::Forget {
            service: key(service.clone()),
        };
        idempotent(self.submit(command).await)?;
        tracing::info!(%service, "deregistered");
        Ok(())
    }

    async fn deregister_endpoint(&self, service: &str, id: &str) -> Result<(), ChangeError> {
        let (service, id) = (name_of(service)?, id_of(id)?);
        let command = Command::Deregister {
            service: key(service.clone()),
            id: id.clone(),
            incarnation: None,
        };
        idempotent(self.submit(command).await)?;
        tracing::info!(%service, %id, "deregistered");
        Ok(())
    }

    async fn watch(&self, services: &[&str]) -> Result<Box<dyn Watch>, ResolveError> {
        let parse = |service: &&str| {
            Name::parse(service).map_err(|reason| ResolveError::Name {
                text: crate::admission::shown(service),
                reason,
            })
        };
        let named = services.iter().map(parse).collect::<Result<_, _>>()?;
        let interest = Interest {
            namespace: Some(Name::default_namespace()),
            services: (!services.is_empty()).then_some(named),
        };
        let engine = self.engine().await.map_err(|error| unreachable(&error))?;
        let watcher = engine
            .watch(interest, Resume::Fresh)
            .map_err(|error| unreachable(&error))?;
        Ok(Box::new(LocalWatch { engine, watcher }))
    }
}

/// What is not there need not be removed.
fn idempotent(answer: Result<(), ChangeError>) -> Result<(), ChangeError> {
    match answer {
        Err(ChangeError::Rejected(
            Rejection::ServiceUnknown { .. }
            | Rejection::EndpointUnknown { .. }
            | Rejection::EndpointGone { .. },
        )) => Ok(()),
        answer => answer,
    }
}

/// Follows the changes of an engine until it is stopped, and what was told before that is heard.
#[derive(Debug)]
struct LocalWatch {
    engine: Engine,
    watcher: Watcher,
}

#[async_trait]
impl Watch for LocalWatch {
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            biased;
            event = self.watcher.next() => Some(event),
            () = self.engine.stopped() => None,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(running) = self.running.get() {
            running.engine.stop();
        }
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = self.0.running.get().map(|running| &running.engine);
        f.debug_struct("InMemory")
            .field("engine", &engine)
            .finish_non_exhaustive()
    }
}
