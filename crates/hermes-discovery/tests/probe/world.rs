//! An engine with a prober, and the changes as somebody sees who watches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hermes_core::change::{Change, ChangeKind, ClusterId, Planned, Revision};
use hermes_core::check::{Check, CheckKind, HttpCheck};
use hermes_core::command::{Claim, Command, Condition, Request};
use hermes_core::endpoint::{Endpoint, Registration};
use hermes_core::health::Health;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::time::Timestamp;
use hermes_core::wire::request::registration_of_url;
use hermes_discovery::clock::Clock;
use hermes_discovery::engine::{self, Engine, Event, Interest, Resume, Watcher};
use hermes_discovery::log::{Appended, Log, LogError, MemoryLog, MemoryReader};
use hermes_discovery::probe::{Config, Prober, ProberHandle};
use tokio::task::JoinSet;

/// How long a test waits for anything before it gives up.
const DEADLINE: Duration = Duration::from_secs(90);

/// Waits for something, and says what did not come when it does not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

pub(crate) fn service() -> ServiceKey {
    ServiceKey::new(Name::default_namespace(), Name::parse("web").unwrap())
}

pub(crate) fn id(id: &str) -> EndpointId {
    EndpointId::parse(id).unwrap()
}

/// A check that is made often: every 20 ms, with a timeout that a busy machine does not reach.
pub(crate) fn often(kind: CheckKind) -> Check {
    Check {
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        ..Check::new(kind)
    }
}

/// A check that is made once within a test: what comes of it, comes of that one probe.
pub(crate) fn once(kind: CheckKind) -> Check {
    Check {
        interval: Duration::from_secs(3_600),
        ..Check::new(kind)
    }
}

pub(crate) fn http_kind() -> CheckKind {
    CheckKind::Http(HttpCheck::default())
}

/// The registration of something at `address` with these checks.
pub(crate) fn at(address: SocketAddr, checks: &[Check]) -> Registration {
    at_url(&format!("http://{address}"), checks)
}

pub(crate) fn at_url(url: &str, checks: &[Check]) -> Registration {
    Registration {
        checks: checks.to_vec(),
        ..registration_of_url(url).unwrap()
    }
}

/// Whether this is what is seen where a process died: while it dies, a connection that it has not
/// accepted yet is reset.
pub(crate) fn nobody_listens(evidence: &str) -> bool {
    ["connection refused", "connection reset"].contains(&evidence)
}

/// A log that can be told to refuse.
#[derive(Debug)]
struct MoodyLog {
    log: MemoryLog,
    refuses: Arc<AtomicBool>,
}

impl Log for MoodyLog {
    type Reader = MemoryReader;

    fn reader(&self) -> MemoryReader {
        self.log.reader()
    }

    fn cluster(&self) -> ClusterId {
        self.log.cluster()
    }

    fn begins_after(&self) -> Revision {
        self.log.begins_after()
    }

    async fn append(&mut self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("it was told so".into()));
        }
        self.log.append(batch).await
    }
}

fn asking(command: Command) -> Request {
    Request {
        command,
        actor: "test".into(),
        condition: Condition::Always,
        claim: Claim::Free,
    }
}

fn registering(endpoint: &str, registration: Registration) -> Command {
    Command::Register {
        service: service(),
        id: id(endpoint),
        registration: Arc::new(registration),
        new: false,
    }
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) prober: Option<ProberHandle>,
    watcher: Watcher,
    /// Every change that was heard.
    pub(crate) heard: Vec<Arc<Change>>,
    log_refuses: Arc<AtomicBool>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let log_refuses = Arc::new(AtomicBool::new(false));
        let log = MoodyLog {
            log: MemoryLog::new(ClusterId(1)),
            refuses: Arc::clone(&log_refuses),
        };
        // Its wall time moves with tokio's, which may be paused.
        let clock = Clock::starting_at(Timestamp(1_700_000_000_000));
        let engine = Engine::start(engine::Config::default(), clock, log);
        let engine = engine.await.unwrap();
        let prober = Prober::start(engine.clone(), config).unwrap();
        Self {
            watcher: engine.watch(Interest::everything(), Resume::Fresh).unwrap(),
            prober: Some(prober),
            engine,
            heard: Vec::new(),
            log_refuses,
        }
    }

    pub(crate) fn prober(&self) -> &ProberHandle {
        self.prober.as_ref().unwrap()
    }

    pub(crate) fn log_refuses(&self, refuses: bool) {
        self.log_refuses.store(refuses, Ordering::SeqCst);
    }

    pub(crate) async fn submit(&self, command: Command) {
        self.engine.submit(asking(command)).await.unwrap();
    }

    pub(crate) async fn register(&self, endpoint: &str, registration: Registration) {
        self.submit(registering(endpoint, registration)).await;
    }

    /// Registers many, all at the same time.
    pub(crate) async fn register_all(
        &self,
        endpoints: impl IntoIterator<Item = (String, Registration)>,
    ) {
        let mut submits = JoinSet::new();
        for (endpoint, registration) in endpoints {
            let engine = self.engine.clone();
            let request = asking(registering(&endpoint, registration));
            submits.spawn(async move { engine.submit(request).await });
        }
        for outcome in submits.join_all().await {
            outcome.unwrap();
        }
    }

    pub(crate) fn endpoint(&self, endpoint: &str) -> Arc<Endpoint> {
        let catalog = self.engine.catalog_kept();
        Arc::clone(catalog.endpoint(&service(), &id(endpoint)).unwrap())
    }

    /// Waits for the next change of kind `health` of this endpoint; its health and evidence.
    pub(crate) async fn verdict(&mut self, endpoint: &str) -> (Health, String) {
        let what = format!("a verdict on {endpoint}");
        let heard = &mut self.heard;
        let change = tokio::time::timeout(DEADLINE, async {
            loop {
                let Event::Change(committed) = self.watcher.next().await else {
                    continue;
                };
                let change = Arc::clone(&committed.change);
                heard.push(Arc::clone(&change));
                let is_its = change.id.as_ref().is_some_and(|id| id.as_str() == endpoint);
                if is_its && change.kind == ChangeKind::Health {
                    return change;
                }
            }
        });
        let Ok(change) = change.await else {
            panic!(
                "waited {DEADLINE:?} for {what}; heard {:?}, {:?}",
                self.heard,
                self.prober()
            );
        };
        let state = change.state.as_ref().unwrap();
        let finding = &state.findings[0];
        (finding.health, finding.evidence.to_string())
    }

    /// Waits until the endpoint is found healthy, and nothing else before that; the evidence.
    pub(crate) async fn healthy(&mut self, endpoint: &str) -> String {
        let (health, evidence) = self.verdict(endpoint).await;
        assert_eq!(health, Health::Healthy, "{evidence}");
        evidence
    }

    /// Waits until the endpoint is found unhealthy, and nothing else before that; the evidence.
    pub(crate) async fn unhealthy(&mut self, endpoint: &str) -> String {
        let (health, evidence) = self.verdict(endpoint).await;
        assert_eq!(health, Health::Unhealthy, "{evidence}");
        evidence
    }

    /// Hears everything that has happened up to now, and says how many verdicts there ever were.
    pub(crate) async fn verdict_count(&mut self) -> usize {
        // The log is in memory and was empty: its revisions count the changes.
        let revision = self.engine.catalog().revision();
        while (self.heard.len() as u64) < revision.0 {
            let event = within("the latest changes", self.watcher.next()).await;
            if let Event::Change(committed) = event {
                self.heard.push(Arc::clone(&committed.change));
            }
        }
        let verdicts = self.heard.iter().filter(|c| c.kind == ChangeKind::Health);
        verdicts.count()
    }

    /// Waits until so many probes have been started.
    pub(crate) async fn probed(&self, count: u64) {
        within(&format!("{count} probes"), async {
            while self.prober().stats().started < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}
