//! The log in memory: for embedding, for tests, and for servers that may forget.
//!
//! It keeps every promise of a log but durability. The newest changes are kept for reading; the
//! revision of every living entity is kept for preconditions.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hermes_core::change::{ClusterId, Entity, Expected, Planned, Revision};

use super::{Appended, Log, LogError, Record};

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
    entities: HashMap<Entity, Revision>,
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
            entities: HashMap::new(),
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

    fn append_one(&mut self, planned: &Planned) -> Appended {
        let entity = planned.change.entity();
        let found = self.entities.get(&entity).copied();
        let holds = match planned.expected {
            Expected::Anything => true,
            Expected::Absent => found.is_none(),
            Expected::At(revision) => found == Some(revision),
        };
        if !holds {
            return Appended::Conflict;
        }
        self.revision = Revision(self.revision.0 + 1);
        if planned.change.state.is_some() {
            self.entities.insert(entity, self.revision);
        } else {
            self.entities.remove(&entity);
        }
        let change = Arc::clone(&planned.change);
        self.records.push_back(Record {
            revision: self.revision,
            change,
        });
        while self.records.len() > self.records_max {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.complete_after = oldest.revision;
        }
        Appended::At(self.revision)
    }
}

impl Log for MemoryLog {
    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    async fn append(&mut self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
        Ok(batch
            .iter()
            .map(|planned| self.append_one(planned))
            .collect())
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
