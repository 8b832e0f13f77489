//! The log: the ordered, durable truth that the engine writes and everything else is derived from.
//!
//! A log numbers changes. Each change comes with its own precondition, so a conflict fails that
//! change and no other, and whoever shares a log with strangers runs the same path as one who does
//! not. What a log is asked for is little: append a batch as one commit, and read it back in order,
//! also beside the writer.

#[cfg(feature = "testing")]
pub mod conformance;
mod entities;
mod memory;

use std::future::Future;
use std::sync::Arc;

use hermes_core::catalog::Catalog;
use hermes_core::change::{Change, ClusterId, Planned, Revision};
use hermes_core::time::{Now, Timestamp};

pub use entities::{Entities, Numbered};
pub use memory::{MemoryLog, MemoryReader};

/// What became of one change of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log, at this revision.
    At(Revision),
    /// Its precondition did not hold; it is not in the log.
    Conflict,
}

/// A change as the log keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its revision.
    pub revision: Revision,
    /// The change.
    pub change: Arc<Change>,
}

/// Why a log did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Nothing of the batch is in the log. It may work again later.
    #[error("the log cannot be used: {0}")]
    Unavailable(String),
    /// The log no longer has every change after the revision that was asked for.
    #[error("the log begins after the revision that was asked for")]
    Compacted,
}

/// Whoever reads a log beside its writer, without either waiting for the other for long.
///
/// ```
/// use hermes_core::change::{ClusterId, Revision};
/// use hermes_discovery::clock::Clock;
/// use hermes_discovery::engine::{Config, Engine};
/// use hermes_discovery::log::{Log, MemoryLog, Reader};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = MemoryLog::new(ClusterId(7));
/// let reader = log.reader();
/// // An engine owns its log, and writes to it what changes; the reader goes on beside it.
/// let engine = Engine::start(Config::default(), Clock::system(), log).await?;
/// let records = reader.read(Revision(0), 100).await?;
/// assert!(records.is_empty(), "nothing has changed yet");
/// # engine.stop();
/// # Ok(())
/// # }
/// ```
pub trait Reader: Send + Sync + 'static {
    /// The first changes after `revision`, at most `limit`, oldest first. Fewer are not yet the end;
    /// none is. `limit` bounds what is held in memory at once, too, and not only what comes back.
    ///
    /// # Errors
    /// [`LogError::Compacted`] when some of them are no longer kept; [`LogError::Unavailable`] when
    /// they cannot be read, or the log was closed.
    fn read(
        &self,
        revision: Revision,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, LogError>> + Send;

    /// What the log takes up. Asked for now and then, by those who watch over a server.
    fn extent(&self) -> Extent {
        Extent::default()
    }
}

/// What a log takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Bytes on a disk; none for a log that is not on one.
    pub bytes: u64,
    /// When the newest change in the newest snapshot was made; `None` while there is no snapshot.
    pub snapshot: Option<Timestamp>,
}

/// An ordered, durable list of changes with one writer.
///
/// ```
/// use hermes_core::change::{ClusterId, Planned, Revision};
/// use hermes_discovery::log::{Appended, Log, LogError, MemoryLog, MemoryReader};
///
/// /// A log that counts its commits.
/// struct Counting {
///     log: MemoryLog,
///     commits: usize,
/// }
///
/// impl Log for Counting {
///     type Reader = MemoryReader;
///
///     fn reader(&self) -> MemoryReader {
///         self.log.reader()
///     }
///
///     fn cluster(&self) -> ClusterId {
///         self.log.cluster()
///     }
///
///     fn begins_after(&self) -> Revision {
///         self.log.begins_after()
///     }
///
///     async fn append(&mut self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
///         self.commits += 1;
///         self.log.append(batch).await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), LogError> {
/// let mut log = Counting { log: MemoryLog::new(ClusterId(7)), commits: 0 };
/// assert!(log.append(&[]).await?.is_empty());
/// assert_eq!(log.commits, 1);
/// # Ok(())
/// # }
/// ```
///
/// A new one passes the suite in `log::conformance`, which is there with the feature `testing`.
pub trait Log: Send + Sync + 'static {
    /// Who reads it while it is written.
    type Reader: Reader;

    /// Another reader. It does not keep the log open.
    fn reader(&self) -> Self::Reader;

    /// Which log this is.
    fn cluster(&self) -> ClusterId;

    /// Every change after this revision can be read. Only grows.
    fn begins_after(&self) -> Revision;

    /// Puts everything that the log holds into an empty catalog, with leases that begin at `now`.
    /// Called once, before anything is appended.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn restore(
        &mut self,
        catalog: &mut Catalog,
        now: Now,
    ) -> impl Future<Output = Result<(), LogError>> + Send {
        async move {
            const PAGE: usize = 4_096;
            loop {
                let records = self.read(catalog.revision(), PAGE).await?;
                if records.is_empty() {
                    return Ok(());
                }
                for record in records {
                    catalog.apply(record.revision, &record.change, now);
                }
            }
        }
    }

    /// Shows the log a catalog that has just been published, in case it wants to write the state
    /// down. Must not take long.
    fn published(&mut self, _catalog: &Arc<Catalog>) {}

    /// Shows the log the last state, when nothing will be appended any more, in case it wants to write
    /// it down for the sake of the next start. The end of a server waits for it, so it must not take
    /// long.
    fn finish(&mut self, _catalog: &Arc<Catalog>) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Appends the changes in order, as one commit: when this returns, those that are
    /// [`Appended::At`] a revision are durable, and revisions only grow. An empty batch only finds
    /// out whether the log can be written.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]: none of them counts. Those who share the log never see them; only
    /// when the machine stops before the next commit may a restart find that some had been written.
    fn append(
        &mut self,
        batch: &[Planned],
    ) -> impl Future<Output = Result<Vec<Appended>, LogError>> + Send;

    /// As [`Reader::read`].
    ///
    /// # Errors
    /// As [`Reader::read`].
    fn read(
        &self,
        revision: Revision,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, LogError>> + Send {
        let reader = self.reader();
        async move { reader.read(revision, limit).await }
    }
}
