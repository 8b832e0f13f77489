//! The log in memory: for embedding, for tests, and for servers that may forget.
//!
//! It keeps every promise of a log but durability. The newest changes are kept for reading; the
//! revision of every living entity is kept for preconditions.

use std::collections::VecDeque;
use std::sync::Arc;

use hermes_core::change::{ClusterId, Planned, Revision};

use super::{Appended, Entities, Log, LogError, Record};

/// Changes that are kept for reading, unless said otherwise.
const RECORDS_MAX: usize = 65_536;

/// A log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    cluster: ClusterId,
    revision: Revision,
    records: VecDeque<Record>,
    records_max: usize,
    /// Every change after this revision is in `records`.
    complete_after: Revision,
    entities: Entities,
}

impl MemoryLog {
    /// An empty log that belongs to `cluster`, which should be random.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            revision: Revision(0),
            records: VecDeque::new(),
            records_max: RECORDS_MAX,
            complete_after: Revision(0),
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
    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn begins_after(&self) -> Revision {
        self.complete_after
    }

    async fn append(&mut self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
        let numbered = self.entities.number(batch, self.revision);
        self.revision = numbered.last;
        for (planned, appended) in batch.iter().zip(&numbered.appended) {
            if let Appended::At(revision) = *appended {
                let change = Arc::clone(&planned.change);
                self.records.push_back(Record { revision, change });
            }
        }
        while self.records.len() > self.records_max {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.complete_after = oldest.revision;
        }
        Ok(numbered.appended)
    }

    async fn read(&self, revision: Revision, limit: usize) -> Result<Vec<Record>, LogError> {
        if revision < self.complete_after {
            return Err(LogError::Compacted);
        }
        let from = self
            .records
            .partition_point(|record| record.revision <= revision);
        Ok(self.records.range(from..).take(limit).cloned().collect())
    }
}
