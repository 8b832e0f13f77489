//! The log in memory: for embedding, for tests, and for servers that may forget.
//!
//! It keeps every promise of a log but durability. The newest changes are kept for reading; the
//! revision of every living entity is kept for preconditions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use hermes_core::change::{ClusterId, Planned, Revision};

use super::{Appended, Entities, Log, LogError, Reader, Record};

/// Changes that are kept for reading, unless said otherwise.
const RECORDS_MAX: usize = 65_536;

/// A log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    cluster: ClusterId,
    revision: Revision,
    records_max: usize,
    kept: Arc<Mutex<Kept>>,
    entities: Entities,
}

/// Reads a [`MemoryLog`].
#[derive(Debug, Clone)]
pub struct MemoryReader(Arc<Mutex<Kept>>);

/// What can be read.
#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Record>,
    /// Every change after this revision is in `records`.
    complete_after: Revision,
}

impl MemoryLog {
    /// An empty log that belongs to `cluster`, which should be random.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            revision: Revision(0),
            records_max: RECORDS_MAX,
            kept: Arc::default(),
            entities: Entities::default(),
        }
    }

    /// The same log, keeping only so many changes for reading.
    #[must_use]
    pub fn keeping(self, records_max: usize) -> Self {
        Self {
            records_max,
            ..self
        }
    }
}

impl Log for MemoryLog {
    type Reader = MemoryReader;

    fn reader(&self) -> MemoryReader {
        MemoryReader(Arc::clone(&self.kept))
    }

    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn begins_after(&self) -> Revision {
        self.kept.lock().unwrap().complete_after
    }

    async fn append(&mut self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
        let numbered = self.entities.number(batch, self.revision);
        self.revision = numbered.last;
        let mut kept = self.kept.lock().unwrap();
        for (planned, appended) in batch.iter().zip(&numbered.appended) {
            if let Appended::At(revision) = *appended {
                let change = Arc::clone(&planned.change);
                kept.records.push_back(Record { revision, change });
            }
        }
        while kept.records.len() > self.records_max {
            let Some(oldest) = kept.records.pop_front() else {
                break;
            };
            kept.complete_after = oldest.revision;
        }
        Ok(numbered.appended)
    }
}

impl Reader for MemoryReader {
    async fn read(&self, revision: Revision, limit: usize) -> Result<Vec<Record>, LogError> {
        let kept = self.0.lock().unwrap();
        if revision < kept.complete_after {
            return Err(LogError::Compacted);
        }
        let from = kept
            .records
            .partition_point(|record| record.revision <= revision);
        Ok(kept.records.range(from..).take(limit).cloned().collect())
    }
}
