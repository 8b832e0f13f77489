//! Answers that are kept for a while.
//!
//! An answer is kept until something happens to its service, which is heard by watching, and never
//! for longer than the TTL, which is only the ceiling (R230). Any number of callers that miss the same
//! answer at the same time ask once. When the discovery behind cannot be reached, an answer that is
//! too old is better than none: it is handed out and says that it is stale, and how old it is.
//!
//! Only what was found is kept, never that something was not. At most [`CacheConfig::answers_max`]
//! answers are kept; what would be one more is answered and not kept, and what is too old makes room.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use hermes_core::endpoint::Registration;
use hermes_core::name::Name;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Layer;
use crate::answer::{ChangeError, Provenance, ResolveError, Resolved, Source, StartError};
use crate::engine::Event;
use crate::service_discovery::{ServiceDiscovery, WATCH_PAUSE};

/// Between two sweeps of a full cache.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// The settings of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// For how long an answer is kept at most. Raising it helps only where watching is not possible,
    /// and makes answers older there. Default 300 s, as the first seed has it.
    pub ttl: Duration,
    /// For how long an answer may be handed out as stale while nobody can be reached. Default 24 h.
    pub stale_max: Duration,
    /// Answers that are kept. Default 10,000.
    pub answers_max: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            stale_max: Duration::from_secs(24 * 60 * 60),
            answers_max: 10_000,
        }
    }
}

/// Keeps answers of [`ServiceDiscovery::resolve`] and [`ServiceDiscovery::resolve_ready`]; a selection is
/// made each time. So over [`Balanced`](super::Balanced) it keeps the endpoint whose turn it was, and
/// below it nothing: it is for services of one endpoint, and for what is far away.
///
/// ```
/// use hermes_discovery::{Cached, InMemory, ServiceDiscovery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery = Cached::new(InMemory::new());
/// discovery.register("memory", "http://memory-service:9000").await?;
/// discovery.resolve("memory").await?;
/// // The second time it is most likely kept; the answer says so, and how old it is.
/// println!("{}", discovery.resolve("memory").await?.provenance);
/// # discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Cached<D> {
    inner: Arc<D>,
    config: CacheConfig,
    answers: Arc<Mutex<Answers>>,
    /// What forgets answers about which something has happened.
    watching: Mutex<Watching>,
}

/// The task that watches.
#[derive(Debug, Default)]
enum Watching {
    #[default]
    NotYet,
    Now(JoinHandle<()>),
    NoMore,
}

/// Which call an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Call {
    Resolve,
    ResolveReady,
}

type Answer = Result<Resolved, ResolveError>;

#[derive(Default)]
struct Answers {
    entries: HashMap<(Name, Call), Entry>,
    /// When those were looked for that are of no use any more.
    swept_at: Option<Instant>,
}

#[derive(Default)]
struct Entry {
    kept: Option<(Resolved, Instant)>,
    /// Whoever is asking at the moment, and what it will have heard.
    asking: Option<watch::Receiver<Option<Answer>>>,
}

/// What to do about a call.
enum Turn {
    /// The answer is there.
    Kept(Resolved),
    /// Somebody is asking: wait for what they hear.
    Follow(watch::Receiver<Option<Answer>>),
    /// Ask, and tell those who wait.
    Lead(watch::Sender<Option<Answer>>),
}

impl<D: ServiceDiscovery + 'static> Cached<D> {
    /// Keeps answers with every default.
    pub fn new(inner: D) -> Self {
        Self::with(CacheConfig::default(), inner)
    }

    /// Keeps answers as these settings say.
    pub fn with(config: CacheConfig, inner: D) -> Self {
        Self {
            inner: Arc::new(inner),
            config,
            answers: Arc::default(),
            watching: Mutex::default(),
        }
    }

    async fn answer(&self, service: &str, call: Call) -> Answer {
        let Ok(name) = Name::parse(service) else {
            return self.ask(service, call).await;
        };
        self.watch_once();
        let key = (name, call);
        loop {
            let turn = self.answers.lock().unwrap().turn(&key, &self.config);
            match turn {
                Turn::Kept(resolved) => return Ok(resolved),
                Turn::Follow(mut heard) => {
                    let answer = heard.wait_for(Option::is_some).await.ok();
                    // Whoever was asking may have given up; then it is somebody else's turn.
                    if let Some(answer) = answer.and_then(|answer| answer.clone()) {
                        return answer;
                    }
                }
                Turn::Lead(teller) => {
                    let answer = self.ask(service, call).await;
                    let mut answers = self.answers.lock().unwrap();
                    let answer = answers.take(&key, &teller, answer, &self.config);
                    drop(answers);
                    teller.send_replace(Some(answer.clone()));
                    return answer;
                }
            }
        }
    }

    async fn ask(&self, service: &str, call: Call) -> Answer {
        match call {
            Call::Resolve => self.inner().resolve(service).await,
            Call::ResolveReady => self.inner().resolve_ready(service).await,
        }
    }

    /// Forgets what was answered about a service.
    fn forget(&self, service: &str) {
        if let Ok(name) = Name::parse(service) {
            self.answers.lock().unwrap().forget(&name);
        }
    }

    /// Begins to watch, unless that has begun.
    fn watch_once(&self) {
        let mut watching = self.watching.lock().unwrap();
        if matches!(*watching, Watching::NotYet) {
            let (inner, answers) = (Arc::clone(&self.inner), Arc::downgrade(&self.answers));
            *watching = Watching::Now(tokio::spawn(follow(inner, answers)));
        }
    }
}

impl Answers {
    fn turn(&mut self, key: &(Name, Call), config: &CacheConfig) -> Turn {
        self.sweep(config);
        let entry = self.entries.entry(key.clone()).or_default();
        if let Some((resolved, since)) = &entry.kept
            && since.elapsed() < config.ttl
        {
            return Turn::Kept(aged(resolved, *since, Source::Cache));
        }
        if let Some(asking) = &entry.asking
            && asking.has_changed().is_ok()
        {
            return Turn::Follow(asking.clone());
        }
        let (teller, heard) = watch::channel(None);
        entry.asking = Some(heard);
        Turn::Lead(teller)
    }

    /// Takes what was heard, and says what to answer.
    fn take(
        &mut self,
        key: &(Name, Call),
        teller: &watch::Sender<Option<Answer>>,
        answer: Answer,
        config: &CacheConfig,
    ) -> Answer {
        let is_full = self.entries.len() > config.answers_max;
        // Something has happened since this was asked: it is answered, and not kept.
        let is_its = |entry: &&mut Entry| {
            let asking = entry.asking.as_ref();
            asking.is_some_and(|asking| asking.same_channel(&teller.subscribe()))
        };
        let Some(entry) = self.entries.get_mut(key).filter(is_its) else {
            return answer;
        };
        entry.asking = None;
        let stale = entry
            .kept
            .as_ref()
            .filter(|(_, since)| since.elapsed() < config.stale_max);
        let stale = stale.map(|(resolved, since)| aged(resolved, *since, Source::Stale));
        match (answer, stale) {
            (Err(ResolveError::Unreachable { .. }), Some(stale)) => Ok(stale),
            (Ok(resolved), _) if !is_full => {
                entry.kept = Some((resolved.clone(), Instant::now()));
                Ok(resolved)
            }
            (answer, _) => {
                self.entries.remove(key);
                answer
            }
        }
    }

    /// When there are too many entries, drops those that are too old, and those of whoever gave up.
    /// Once a second at most: looking at all of them takes time.
    fn sweep(&mut self, config: &CacheConfig) {
        let is_due = self.swept_at.is_none_or(|at| at.elapsed() >= SWEEP_PAUSE);
        if self.entries.len() < config.answers_max || !is_due {
            return;
        }
        self.swept_at = Some(Instant::now());
        self.entries.retain(|_, entry| {
            let kept = entry.kept.as_ref();
            let is_young = kept.is_some_and(|(_, since)| since.elapsed() < config.ttl);
            let asking = entry.asking.as_ref();
            is_young || asking.is_some_and(|asking| asking.has_changed().is_ok())
        });
    }

    fn forget(&mut self, service: &Name) {
        for call in [Call::Resolve, Call::ResolveReady] {
            self.entries.remove(&(service.clone(), call));
        }
    }
}

/// The answer as one that was kept.
fn aged(resolved: &Resolved, since: Instant, source: Source) -> Resolved {
    let before = resolved.provenance;
    Resolved {
        provenance: Provenance {
            source,
            age: before.age + since.elapsed(),
            rung: before.rung,
        },
        ..resolved.clone()
    }
}

/// Forgets every answer about which something has happened, until nobody needs the answers any longer.
/// What watching begins with is forgotten as well: an answer may be from before that.
async fn follow<D: ServiceDiscovery>(inner: Arc<D>, answers: Weak<Mutex<Answers>>) {
    let inner = &*inner;
    loop {
        if let Ok(mut watch) = inner.watch(&[]).await {
            while let Some(event) = watch.next().await {
                let Some(answers) = answers.upgrade() else {
                    return;
                };
                let mut answers = answers.lock().unwrap();
                match event {
                    Event::Change(change) => answers.forget(&change.change.service.name),
                    Event::Snapshot(view) => answers.forget(&view.key.name),
                    Event::Reset(..) => answers.entries.clear(),
                    Event::Synced(_) | Event::Progress(_) => {}
                }
            }
        }
        if answers.strong_count() == 0 {
            return;
        }
        sleep(WATCH_PAUSE).await;
    }
}

#[async_trait]
impl<D: ServiceDiscovery + 'static> Layer for Cached<D> {
    type Inner = D;

    fn inner(&self) -> &D {
        &self.inner
    }

    async fn initialize(&self) -> Result<(), StartError> {
        self.inner().initialize().await?;
        self.watch_once();
        Ok(())
    }

    async fn shutdown(&self) {
        let watching = std::mem::replace(&mut *self.watching.lock().unwrap(), Watching::NoMore);
        if let Watching::Now(task) = watching {
            task.abort();
            // It was aborted; there is nothing else that it could say.
            task.await.ok();
        }
        self.inner().shutdown().await;
    }

    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
        self.answer(service, Call::Resolve).await
    }

    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError> {
        self.answer(service, Call::ResolveReady).await
    }

    async fn register(&self, service: &str, url: &str) -> Result<(), ChangeError> {
        let answer = self.inner().register(service, url).await;
        self.forget(service);
        answer
    }

    async fn register_endpoint(
        &self,
        service: &str,
        id: &str,
        registration: Registration,
    ) -> Result<(), ChangeError> {
        let inner = self.inner();
        let answer = inner.register_endpoint(service, id, registration).await;
        self.forget(service);
        answer
    }

    async fn deregister(&self, service: &str) -> Result<(), ChangeError> {
        let answer = self.inner().deregister(service).await;
        self.forget(service);
        answer
    }

    async fn deregister_endpoint(&self, service: &str, id: &str) -> Result<(), ChangeError> {
        let answer = self.inner().deregister_endpoint(service, id).await;
        self.forget(service);
        answer
    }
}

impl<D> Drop for Cached<D> {
    fn drop(&mut self) {
        if let Watching::Now(task) = &*self.watching.lock().unwrap() {
            task.abort();
        }
    }
}

impl<D: fmt::Debug> fmt::Debug for Cached<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
