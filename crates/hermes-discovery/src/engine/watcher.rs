//! Watchers: a snapshot of everything of interest, then every change after it, in order.
//!
//! A watcher joins the hub first and looks at the catalog second. Whatever the catalog does not
//! contain yet is therefore in the queue, and what is in both is recognised by its revision: there
//! can be no gap and no duplicate. A watcher that resumes, or whose queue overflowed, catches up from
//! the feed, and from the log where the feed no longer reaches. When the log does not either, it is
//! told to reset and gets a snapshot again.

use std::collections::VecDeque;
use std::sync::Arc;

use hermes_core::catalog::{Catalog, NamespaceView, ServiceView};
use hermes_core::change::{ClusterId, Committed, Revision};
use hermes_core::feed::Compacted;
use hermes_core::time::Now;
use tokio::time::Instant;

use super::Shared;
use super::hub::{Interest, Queue, TooManyWatchers};

/// Changes read from the feed in one go.
const CHUNK: usize = 256;

/// Where a watcher begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resume {
    /// With a snapshot.
    #[default]
    Fresh,
    /// After a revision it has seen, of a cluster it may name.
    After {
        /// Everything up to here has been seen.
        revision: Revision,
        /// The cluster that the revision belongs to; `None` when the caller did not say.
        cluster: Option<ClusterId>,
    },
}

/// What a watcher hears.
#[derive(Debug, Clone)]
pub enum Event {
    /// The state of one service; comes before `Synced`, once for every service of interest.
    Snapshot(Arc<ServiceView>),
    /// The snapshots together are the state at this revision.
    Synced(Revision),
    /// One change.
    Change(Arc<Committed>),
    /// Every change of interest up to this revision has been heard.
    Progress(Revision),
    /// Forget everything; snapshots follow.
    Reset(ResetReason, Revision),
}

/// Why a watcher has to forget everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// The revision to resume after is older than what the log keeps.
    Compacted,
    /// The watcher read too slowly.
    Slow,
    /// The revision to resume after belongs to another cluster.
    Cluster,
    /// The revision to resume after has not happened here.
    Ahead,
}

impl ResetReason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 4] = [Self::Compacted, Self::Slow, Self::Cluster, Self::Ahead];

    /// The word for it in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Compacted => "compacted",
            Self::Slow => "slow",
            Self::Cluster => "cluster",
            Self::Ahead => "ahead",
        }
    }
}

/// Follows the changes of what it is interested in, until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    interest: Arc<Interest>,
    id: u64,
    queue: Arc<Queue>,
    phase: Phase,
    /// Every change of interest up to here has been put into `ready` or is part of a snapshot.
    seen: Revision,
    /// Changes that are about to be heard.
    ready: VecDeque<Arc<Committed>>,
    progress_at: Instant,
}

#[derive(Debug)]
enum Phase {
    /// About to say why everything has to be forgotten.
    Resetting(ResetReason),
    /// Hearing snapshots of one catalog.
    Snapshots(SnapshotCursor),
    /// Reading changes from the feed or the log, before the queue can be trusted again. The reason is
    /// what it means when neither reaches that far.
    CatchingUp(ResetReason),
    /// Hearing changes as they come.
    Live,
}

impl Watcher {
    pub(super) fn new(
        shared: Arc<Shared>,
        interest: Interest,
        resume: Resume,
    ) -> Result<Self, TooManyWatchers> {
        let interest = Arc::new(interest);
        let (id, queue) = shared.hub.join(&interest)?;
        let progress_at = Instant::now() + shared.config.progress_interval;
        let mut watcher = Self {
            shared,
            interest,
            id,
            queue,
            phase: Phase::Live,
            seen: Revision(0),
            ready: VecDeque::new(),
            progress_at,
        };
        watcher.begin(resume);
        Ok(watcher)
    }

    fn begin(&mut self, resume: Resume) {
        let Resume::After { revision, cluster } = resume else {
            self.take_snapshot();
            return;
        };
        self.seen = revision;
        self.phase = if cluster.is_some_and(|cluster| cluster != self.shared.cluster) {
            Phase::Resetting(ResetReason::Cluster)
        } else if revision > self.shared.catalog.load().revision() {
            Phase::Resetting(ResetReason::Ahead)
        } else {
            Phase::CatchingUp(ResetReason::Compacted)
        };
    }

    /// The next event. Waits at most the progress interval. Nothing is lost when the future is
    /// dropped before it is ready.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Event::Change(change);
            }
            match &mut self.phase {
                Phase::Resetting(reason) => {
                    let reason = *reason;
                    self.take_snapshot();
                    self.shared.counters.reset(reason);
                    return Event::Reset(reason, self.seen);
                }
                Phase::Snapshots(cursor) => {
                    if let Some(view) = cursor.next(&self.interest) {
                        return Event::Snapshot(view);
                    }
                    self.phase = Phase::Live;
                    return Event::Synced(self.seen);
                }
                Phase::CatchingUp(reason) => {
                    let reason = *reason;
                    if let Some(progress) = self.catch_up(reason).await {
                        return progress;
                    }
                }
                Phase::Live => {
                    if let Some(progress) = self.listen().await {
                        return progress;
                    }
                }
            }
        }
    }

    /// A change that can be heard without waiting, if there is one.
    pub fn try_next_change(&mut self) -> Option<Arc<Committed>> {
        self.ready.pop_front()
    }

    /// What time it is by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    fn take_snapshot(&mut self) {
        // What is in the queue already is in the catalog too, or comes after it.
        let catalog = self.shared.catalog.load_full();
        self.seen = catalog.revision();
        let cursor = SnapshotCursor::new(&catalog, &self.interest);
        self.phase = Phase::Snapshots(cursor);
    }

    /// Takes the next changes from the feed, or else from the log. What comes back is the progress,
    /// when it is time to say it: on a long way there may be nothing of interest.
    async fn catch_up(&mut self, reason: ResetReason) -> Option<Event> {
        let changes = match self.shared.hub.after(self.seen, CHUNK) {
            Ok(changes) if changes.is_empty() => {
                // The queue has held everything since before the feed was looked at.
                self.phase = Phase::Live;
                return None;
            }
            Ok(changes) => changes,
            Err(Compacted) => self.read_past().await,
        };
        let Some(last) = changes.last().map(|change| change.revision) else {
            self.phase = Phase::Resetting(reason);
            return None;
        };
        self.get_ready(changes);
        self.seen = last;
        let is_due = self.ready.is_empty() && Instant::now() >= self.progress_at;
        is_due.then(|| self.progress(last))
    }

    /// The next changes in the log; none when they are not there any more.
    async fn read_past(&self) -> Vec<Arc<Committed>> {
        // After the feed, which has dropped changes up to here at most, and before the log: what is
        // in the log only just may not be in the catalog yet.
        let appended = self.shared.hub.appended();
        let page = self.shared.past.page(self.seen, appended).await;
        page.unwrap_or_else(|error| {
            tracing::debug!(%error, "a watcher cannot catch up");
            Vec::new()
        })
    }

    /// Waits for changes. What comes back is the progress, when it is time to say it.
    async fn listen(&mut self) -> Option<Event> {
        let progress_is_due = Instant::now() >= self.progress_at;
        // Read before the queue: whatever is handed out up to here is in the queue by then.
        let handed_out = self.shared.hub.handed_out();
        let waiting = self.queue.take();
        if waiting.overflown {
            self.phase = Phase::CatchingUp(ResetReason::Slow);
            return None;
        }
        let heard = match waiting.changes.back() {
            Some(last) => {
                let (heard, last) = (self.seen, last.revision);
                self.get_ready(waiting.changes);
                self.seen = heard.max(last);
                heard
            }
            None if progress_is_due => {
                self.seen = self.seen.max(handed_out);
                self.seen
            }
            None => {
                tokio::select! {
                    () = self.queue.bell.notified() => {}
                    () = tokio::time::sleep_until(self.progress_at) => {}
                }
                return None;
            }
        };
        if !progress_is_due {
            return None;
        }
        Some(self.progress(heard))
    }

    fn progress(&mut self, heard: Revision) -> Event {
        self.progress_at = Instant::now() + self.shared.config.progress_interval;
        Event::Progress(heard)
    }

    /// Makes the changes that are of interest and were not heard yet ready to be heard.
    fn get_ready(&mut self, changes: impl IntoIterator<Item = Arc<Committed>>) {
        let (seen, interest) = (self.seen, &self.interest);
        let news = |change: &Arc<Committed>| {
            change.revision > seen && interest.covers(&change.change.service)
        };
        self.ready.extend(changes.into_iter().filter(news));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.hub.leave(self.id, &self.interest);
    }
}

/// Where a watcher is within a catalog: namespaces and names in order.
#[derive(Debug)]
struct SnapshotCursor {
    namespaces: VecDeque<NamespaceView>,
    at: usize,
}

impl SnapshotCursor {
    fn new(catalog: &Catalog, interest: &Interest) -> Self {
        let namespaces = match &interest.namespace {
            Some(name) => catalog
                .namespace(name.as_str())
                .cloned()
                .into_iter()
                .collect(),
            None => catalog.namespaces().into_iter().cloned().collect(),
        };
        Self { namespaces, at: 0 }
    }

    fn next(&mut self, interest: &Interest) -> Option<Arc<ServiceView>> {
        loop {
            let namespace = self.namespaces.front()?;
            let at = self.at;
            self.at += 1;
            // Named services are looked up one by one; nobody walks a whole registry for two names.
            let name = match &interest.services {
                Some(services) => services.iter().nth(at),
                None => namespace.names().get(at),
            };
            match name {
                Some(name) => {
                    if let Some(view) = namespace.service(name.as_str()) {
                        return Some(Arc::clone(view));
                    }
                }
                None => {
                    self.namespaces.pop_front();
                    self.at = 0;
                }
            }
        }
    }
}
