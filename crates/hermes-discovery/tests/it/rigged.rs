//! A log that does what a story asks of it: it waits, fails, conflicts, and survives its engine.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hermes_core::change::{Change, ClusterId, Planned, Revision};
use hermes_discovery::log::{Appended, Log, LogError, MemoryLog, Reader, Record};
use tokio::sync::watch;

use crate::make::within;

/// A log in memory whose copies all write to the same records, and whose next append can be rigged.
#[derive(Clone)]
pub(crate) struct RiggedLog {
    storage: Arc<Mutex<MemoryLog>>,
    rigging: Arc<Rigging>,
}

type Conflicts = Box<dyn FnMut(&Change) -> bool + Send>;

struct Rigging {
    is_open: watch::Sender<bool>,
    /// Appends that stand before the closed gate: none or one.
    at_gate: watch::Sender<usize>,
    is_lost: AtomicBool,
    /// Which changes conflict.
    conflicts: Mutex<Conflicts>,
    appends: AtomicUsize,
    /// How long one read takes.
    read_takes: Mutex<Duration>,
    reads: AtomicUsize,
    is_unreadable: AtomicBool,
    /// Readers get nothing up to this revision, and so many changes at most.
    kept_after: AtomicU64,
    keeps: AtomicU64,
    last: AtomicU64,
}

impl RiggedLog {
    /// An empty log that works.
    pub(crate) fn new() -> Self {
        let rigging = Rigging {
            is_open: watch::Sender::new(true),
            at_gate: watch::Sender::new(0),
            is_lost: AtomicBool::new(false),
            conflicts: Mutex::new(Box::new(|_| false)),
            appends: AtomicUsize::new(0),
            read_takes: Mutex::new(Duration::ZERO),
            reads: AtomicUsize::new(0),
            is_unreadable: AtomicBool::new(false),
            kept_after: AtomicU64::new(0),
            keeps: AtomicU64::new(u64::MAX),
            last: AtomicU64::new(0),
        };
        Self {
            storage: Arc::new(Mutex::new(MemoryLog::new(ClusterId(0x1096)))),
            rigging: Arc::new(rigging),
        }
    }

    /// From now on appends wait.
    pub(crate) fn close_gate(&self) {
        self.rigging.is_open.send_replace(false);
    }

    /// Waiting appends go on, and later ones do not wait.
    pub(crate) fn open_gate(&self) {
        self.rigging.is_open.send_replace(true);
    }

    /// Until an append stands before the closed gate.
    pub(crate) async fn blocked(&self) {
        let mut at_gate = self.rigging.at_gate.subscribe();
        let blocked = at_gate.wait_for(|count| *count > 0);
        within("an append", blocked).await.unwrap();
    }

    /// From now on appends fail, those that wait at the gate too.
    pub(crate) fn lose(&self) {
        self.rigging.is_lost.store(true, Ordering::SeqCst);
    }

    /// Appends work again.
    pub(crate) fn recover(&self) {
        self.rigging.is_lost.store(false, Ordering::SeqCst);
    }

    /// From now on the changes that `conflicts` says meet a conflict.
    pub(crate) fn conflict(&self, conflicts: impl FnMut(&Change) -> bool + Send + 'static) {
        *self.rigging.conflicts.lock().unwrap() = Box::new(conflicts);
    }

    /// How often something was appended, or should have been.
    pub(crate) fn appends(&self) -> usize {
        self.rigging.appends.load(Ordering::SeqCst)
    }

    /// From now on every read takes this long.
    pub(crate) fn read_slowly(&self, each: Duration) {
        *self.rigging.read_takes.lock().unwrap() = each;
    }

    /// How often somebody read.
    pub(crate) fn reads(&self) -> usize {
        self.rigging.reads.load(Ordering::SeqCst)
    }

    /// From now on nobody can read what came up to this revision.
    pub(crate) fn compact(&self, upto: Revision) {
        self.rigging.kept_after.store(upto.0, Ordering::SeqCst);
    }

    /// The same log, of which only the newest changes can be read.
    pub(crate) fn keeping(self, changes: u64) -> Self {
        self.rigging.keeps.store(changes, Ordering::SeqCst);
        self
    }

    /// Up to which revision nothing can be read.
    fn compacted_upto(&self) -> Revision {
        let rigging = &self.rigging;
        let last = rigging.last.load(Ordering::SeqCst);
        let beyond = last.saturating_sub(rigging.keeps.load(Ordering::SeqCst));
        Revision(beyond.max(rigging.kept_after.load(Ordering::SeqCst)))
    }

    /// From now on reading fails.
    pub(crate) fn refuse_to_be_read(&self) {
        self.rigging.is_unreadable.store(true, Ordering::SeqCst);
    }

    /// Everything that is in the log.
    pub(crate) fn records(&self) -> Vec<Record> {
        at_once(self.storage.lock().unwrap().read(Revision(0), usize::MAX)).unwrap()
    }

    fn append_now(&self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
        if self.rigging.is_lost.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("the story says so".into()));
        }
        let mut conflicts = self.rigging.conflicts.lock().unwrap();
        let mut storage = self.storage.lock().unwrap();
        let mut appended = Vec::new();
        for planned in batch {
            if conflicts(&planned.change) {
                appended.push(Appended::Conflict);
            } else {
                appended.extend(at_once(storage.append(std::slice::from_ref(planned)))?);
            }
        }
        if let Some(Appended::At(last)) = appended.last() {
            self.rigging.last.store(last.0, Ordering::SeqCst);
        }
        Ok(appended)
    }
}

impl Log for RiggedLog {
    type Reader = Self;

    fn reader(&self) -> Self {
        self.clone()
    }

    fn cluster(&self) -> ClusterId {
        self.storage.lock().unwrap().cluster()
    }

    fn begins_after(&self) -> Revision {
        self.compacted_upto()
    }

    async fn append(&mut self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
        self.rigging.appends.fetch_add(1, Ordering::SeqCst);
        let mut is_open = self.rigging.is_open.subscribe();
        if !*is_open.borrow() {
            self.rigging.at_gate.send_modify(|count| *count += 1);
            is_open.wait_for(|is_open| *is_open).await.ok();
            self.rigging.at_gate.send_modify(|count| *count -= 1);
        }
        self.append_now(batch)
    }
}

impl Reader for RiggedLog {
    async fn read(&self, revision: Revision, limit: usize) -> Result<Vec<Record>, LogError> {
        self.rigging.reads.fetch_add(1, Ordering::SeqCst);
        let takes = *self.rigging.read_takes.lock().unwrap();
        if takes > Duration::ZERO {
            tokio::time::sleep(takes).await;
        }
        if self.rigging.is_unreadable.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("the story says so".into()));
        }
        if revision < self.compacted_upto() {
            return Err(LogError::Compacted);
        }
        let reader = self.storage.lock().unwrap().reader();
        reader.read(revision, limit).await
    }
}

/// What a future gives that never waits, as those of the log in memory.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the log in memory never waits"),
    }
}
