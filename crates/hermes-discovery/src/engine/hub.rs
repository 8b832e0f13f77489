//! The hub: from one feed to many watchers.
//!
//! The writer appends to the feed and is done. A task of its own follows the feed and hands every
//! change to the queues of those who are interested, found by an index, so that a change costs
//! nothing to watchers of other services. Queues are bounded; one that overflows is emptied and
//! marked, and its watcher catches up from the feed when it next asks. So a watcher that never reads
//! costs a bounded amount of memory and nobody's time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hermes_core::change::{Committed, Revision};
use hermes_core::feed::{Compacted, Feed};
use hermes_core::name::{Name, ServiceKey};
use tokio::sync::Notify;

use super::{Config, Shared};
use crate::log::{Log, LogError, Record};

/// Changes handed out in one go.
const CHUNK: usize = 4_096;
/// Changes that a feed begins with after a start. Whoever reconnects then mostly lacks the last few,
/// and all of them at once, so these are worth being shared; older ones are read from the log.
const BEGIN_WITH: usize = 4_096;

/// What a watcher wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// One namespace, or all of them.
    pub namespace: Option<Name>,
    /// These services, or all of them.
    pub services: Option<BTreeSet<Name>>,
}

impl Interest {
    /// Everything.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            namespace: None,
            services: None,
        }
    }

    /// One service.
    #[must_use]
    pub fn service(key: &ServiceKey) -> Self {
        let services = Some(BTreeSet::from([key.name.clone()]));
        Self {
            namespace: Some(key.namespace.clone()),
            services,
        }
    }

    /// Whether a change of this service is of interest.
    #[must_use]
    pub fn covers(&self, key: &ServiceKey) -> bool {
        self.namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == key.namespace)
            && self
                .services
                .as_ref()
                .is_none_or(|services| services.contains(&key.name))
    }
}

/// There are as many watchers as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {max} watchers already, which is the limit")]
pub struct TooManyWatchers {
    /// The limit.
    pub max: usize,
}

/// Feed and watchers.
#[derive(Debug)]
pub(super) struct Hub {
    feed: Mutex<Feed>,
    /// The last change that was appended to the feed, which is behind the catalog for a moment.
    appended: AtomicU64,
    /// Rung by the writer after it appended to the feed.
    bell: Notify,
    watchers: Mutex<Watchers>,
    /// Every change up to this revision is in the queues of those who are interested.
    handed_out: AtomicU64,
    /// How often a queue overflowed.
    overflows: AtomicU64,
    config: Bounds,
}

#[derive(Debug)]
struct Bounds {
    watchers_max: usize,
    changes_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Watchers {
    next_id: u64,
    count: usize,
    /// Those who named their services.
    by_service: HashMap<ServiceKey, Vec<Listener>>,
    /// Those who want everything of a namespace, or of all.
    others: Vec<Listener>,
}

#[derive(Debug, Clone)]
struct Listener {
    id: u64,
    interest: Arc<Interest>,
    queue: Arc<Queue>,
}

/// The changes that wait for one watcher.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Rung when something was put in.
    pub(super) bell: Notify,
}

/// What is in a queue.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) changes: VecDeque<Arc<Committed>>,
    bytes: usize,
    /// Something did not fit, and the queue was emptied.
    pub(super) overflown: bool,
}

impl Queue {
    /// Takes out everything that waits.
    pub(super) fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting.lock().unwrap())
    }

    /// Puts a change in. `true` when that was one too many.
    fn put(&self, change: &Arc<Committed>, bounds: &Bounds) -> bool {
        let mut waiting = self.waiting.lock().unwrap();
        if waiting.overflown {
            return false;
        }
        waiting.bytes += change.weight();
        waiting.changes.push_back(Arc::clone(change));
        if waiting.changes.len() > bounds.changes_max || waiting.bytes > bounds.bytes_max {
            *waiting = Waiting {
                overflown: true,
                ..Waiting::default()
            };
        }
        let overflown = waiting.overflown;
        drop(waiting);
        self.bell.notify_one();
        overflown
    }
}

/// A hub whose feed holds the newest changes of `log` up to `revision`, so that watchers can resume
/// across a restart.
pub(super) async fn filled(
    log: &impl Log,
    revision: Revision,
    config: &Config,
) -> Result<Hub, LogError> {
    let most = config.feed_changes_max.clamp(1, BEGIN_WITH);
    let newest = revision.0.saturating_sub(most as u64);
    let mut after = log.begins_after().max(Revision(newest)).min(revision);
    let mut hub = Hub::new(after, revision, config);
    while after < revision {
        let records = match log.read(after, most).await {
            // A log that has rotted finds out when it is read. The feed begins behind that.
            Err(LogError::Compacted) if log.begins_after() > after => {
                after = log.begins_after().min(revision);
                hub = Hub::new(after, revision, config);
                continue;
            }
            read => read?,
        };
        let Some(last) = records.last() else { break };
        after = last.revision;
        let restored = |record: Record| Committed::restored(record.revision, record.change);
        hub.push(records.into_iter().map(restored).map(Arc::new).collect());
    }
    hub.appended.store(revision.0, Ordering::Release);
    Ok(hub)
}

impl Hub {
    /// A hub whose feed begins after one revision, and whose watchers begin at another.
    fn new(after: Revision, at: Revision, config: &Config) -> Self {
        let (changes_max, bytes_max) = (config.feed_changes_max, config.feed_bytes_max);
        Self {
            feed: Mutex::new(Feed::new(after, changes_max, bytes_max)),
            appended: AtomicU64::new(at.0),
            bell: Notify::new(),
            watchers: Mutex::default(),
            handed_out: AtomicU64::new(at.0),
            overflows: AtomicU64::new(0),
            config: Bounds {
                watchers_max: config.watchers_max,
                changes_max: config.watcher_changes_max,
                bytes_max: config.watcher_bytes_max,
            },
        }
    }

    /// Appends committed changes. Called by the writer after it published them.
    pub(super) fn push(&self, changes: Vec<Arc<Committed>>) {
        let Some(last) = changes.last().map(|change| change.revision) else {
            return;
        };
        let mut feed = self.feed.lock().unwrap();
        changes.into_iter().for_each(|change| feed.push(change));
        self.appended.store(last.0, Ordering::Release);
        drop(feed);
        self.bell.notify_one();
    }

    /// The last change that was appended. Whoever sees it in the catalog does not see it here yet.
    pub(super) fn appended(&self) -> Revision {
        Revision(self.appended.load(Ordering::Acquire))
    }

    /// The first changes after `revision`.
    pub(super) fn after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Committed>>, Compacted> {
        self.feed.lock().unwrap().after(revision, limit)
    }

    /// Every change up to this revision is in the queues of those who are interested.
    pub(super) fn handed_out(&self) -> Revision {
        Revision(self.handed_out.load(Ordering::Acquire))
    }

    /// A queue that gets every change of `interest` that is handed out from now on.
    pub(super) fn join(
        &self,
        interest: &Arc<Interest>,
    ) -> Result<(u64, Arc<Queue>), TooManyWatchers> {
        let mut watchers = self.watchers.lock().unwrap();
        let max = self.config.watchers_max;
        if watchers.count >= max {
            return Err(TooManyWatchers { max });
        }
        let id = watchers.next_id;
        watchers.next_id += 1;
        watchers.count += 1;
        let queue = Arc::new(Queue::default());
        let listener = Listener {
            id,
            interest: Arc::clone(interest),
            queue: Arc::clone(&queue),
        };
        match keys_of(interest) {
            None => watchers.others.push(listener),
            Some(keys) => {
                for key in keys {
                    watchers
                        .by_service
                        .entry(key)
                        .or_default()
                        .push(listener.clone());
                }
            }
        }
        Ok((id, queue))
    }

    /// How many watchers there are, and how often the queue of one overflowed.
    pub(super) fn counts(&self) -> (usize, u64) {
        let watchers = self.watchers.lock().unwrap().count;
        (watchers, self.overflows.load(Ordering::Relaxed))
    }

    /// The end of a watcher.
    pub(super) fn leave(&self, id: u64, interest: &Interest) {
        let mut watchers = self.watchers.lock().unwrap();
        watchers.count -= 1;
        for key in keys_of(interest).into_iter().flatten() {
            if let Some(listeners) = watchers.by_service.get_mut(&key) {
                listeners.retain(|listener| listener.id != id);
                if listeners.is_empty() {
                    watchers.by_service.remove(&key);
                }
            }
        }
        watchers.others.retain(|listener| listener.id != id);
    }

    /// Puts changes into the queues of those who are interested.
    fn hand_out(&self, changes: &[Arc<Committed>]) {
        let watchers = self.watchers.lock().unwrap();
        let mut overflows = 0;
        for change in changes {
            let service = &change.change.service;
            let named = watchers.by_service.get(service).into_iter().flatten();
            let others = watchers.others.iter();
            let others = others.filter(|listener| listener.interest.covers(service));
            for listener in named.chain(others) {
                overflows += u64::from(listener.queue.put(change, &self.config));
            }
        }
        self.overflows.fetch_add(overflows, Ordering::Relaxed);
        if let Some(last) = changes.last() {
            self.handed_out.store(last.revision.0, Ordering::Release);
        }
    }

    /// The feed has dropped changes that were not handed out: every watcher has to catch up itself.
    fn all_overflow(&self) {
        // Not what the catalog holds: a change that is yet to be appended is yet to be handed out.
        let appended = self.appended.load(Ordering::Acquire);
        let watchers = self.watchers.lock().unwrap();
        for listener in watchers
            .by_service
            .values()
            .flatten()
            .chain(&watchers.others)
        {
            let overflown = Waiting {
                overflown: true,
                ..Waiting::default()
            };
            let before = std::mem::replace(&mut *listener.queue.waiting.lock().unwrap(), overflown);
            let is_news = u64::from(!before.overflown);
            self.overflows.fetch_add(is_news, Ordering::Relaxed);
            listener.queue.bell.notify_one();
        }
        self.handed_out.store(appended, Ordering::Release);
    }
}

/// The services that an interest names; `None` when it does not name them one by one.
fn keys_of(interest: &Interest) -> Option<Vec<ServiceKey>> {
    let (namespace, services) = (interest.namespace.as_ref()?, interest.services.as_ref()?);
    let key = |name: &Name| ServiceKey::new(namespace.clone(), name.clone());
    Some(services.iter().map(key).collect())
}

/// Follows the feed until the engine is stopped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut stopped = shared.stop.subscribe();
    loop {
        tokio::select! {
            () = shared.hub.bell.notified() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        loop {
            match shared.hub.after(shared.hub.handed_out(), CHUNK) {
                Ok(changes) if changes.is_empty() => break,
                Ok(changes) => shared.hub.hand_out(&changes),
                Err(Compacted) => shared.hub.all_overflow(),
            }
            tokio::task::yield_now().await;
        }
    }
}
