//! The past: what the feed has dropped and the log still has, for watchers that are that far behind.
//!
//! It is read in pages, a few at a time over all watchers, beside the writer and never by it. A page
//! is bounded by count and by bytes, so a watcher on its way through a day of history costs no more
//! memory than one that is live.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hermes_core::change::{Committed, Revision};
use tokio::sync::Semaphore;

use crate::log::{Extent, LogError, Reader, Record};

/// Changes of a page.
const PAGE: usize = 256;
/// Bytes of a page after its first change, by the weight of changes.
const PAGE_BYTES: usize = 1024 * 1024;
/// Pages that are read at the same time. More would only wait for the same disk.
const READS_MAX: usize = 4;

/// Reads the log for watchers.
pub(super) struct Past {
    reader: Box<dyn AnyReader>,
    turns: Semaphore,
}

/// A [`Reader`] of whatever kind.
trait AnyReader: Send + Sync {
    fn read(&self, after: Revision, limit: usize) -> Pin<Box<dyn Page + '_>>;
    fn extent(&self) -> Extent;
}

/// A page that is being read.
trait Page: Future<Output = Result<Vec<Record>, LogError>> + Send {}

impl<F: Future<Output = Result<Vec<Record>, LogError>> + Send> Page for F {}

impl<R: Reader> AnyReader for R {
    fn read(&self, after: Revision, limit: usize) -> Pin<Box<dyn Page + '_>> {
        Box::pin(Reader::read(self, after, limit))
    }

    fn extent(&self) -> Extent {
        Reader::extent(self)
    }
}

impl Past {
    pub(super) fn new(reader: impl Reader) -> Self {
        Self {
            reader: Box::new(reader),
            turns: Semaphore::new(READS_MAX),
        }
    }

    /// The first changes after `after` and up to `upto`. Nothing newer is given out: what the log has
    /// and the catalog has not yet, nobody may hear of.
    ///
    /// # Errors
    /// When the log does not have them any more, or cannot be read.
    pub(super) async fn page(
        &self,
        after: Revision,
        upto: Revision,
    ) -> Result<Vec<Arc<Committed>>, LogError> {
        // The semaphore is never closed.
        let turn = self.turns.acquire().await;
        let records = self.reader.read(after, PAGE).await?;
        drop(turn);
        let mut bytes = 0;
        let fits = |change: &Arc<Committed>| {
            let is_first = bytes == 0;
            bytes += change.weight();
            is_first || bytes <= PAGE_BYTES
        };
        Ok(records
            .into_iter()
            .take_while(|record| record.revision <= upto)
            .map(|record| Arc::new(Committed::restored(record.revision, record.change)))
            .take_while(fits)
            .collect())
    }

    pub(super) fn extent(&self) -> Extent {
        self.reader.extent()
    }
}

impl fmt::Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Past").finish_non_exhaustive()
    }
}
