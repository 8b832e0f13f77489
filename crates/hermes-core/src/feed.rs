//! The feed: the newest changes in memory, in order.
//!
//! Watchers that resume, and those that fell behind their own queue, catch up from here. The feed is
//! bounded by count and by bytes; what it has dropped is an answer of its own, never a gap.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::change::{Committed, Revision};

/// The newest changes, oldest first.
#[derive(Debug)]
pub struct Feed {
    changes: VecDeque<Arc<Committed>>,
    bytes: usize,
    /// Every change after this revision is here.
    complete_after: Revision,
    changes_max: usize,
    bytes_max: usize,
}

/// The feed no longer holds every change after the revision that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted;

impl Feed {
    /// An empty feed behind a catalog at `revision`, of at most so many changes and bytes.
    #[must_use]
    pub fn new(revision: Revision, changes_max: usize, bytes_max: usize) -> Self {
        let changes = VecDeque::new();
        Self {
            changes,
            bytes: 0,
            complete_after: revision,
            changes_max,
            bytes_max,
        }
    }

    /// Appends a change, which must be newer than all before, and drops the oldest beyond the bounds.
    pub fn push(&mut self, change: Arc<Committed>) {
        self.bytes += change.weight();
        self.changes.push_back(change);
        while self.changes.len() > self.changes_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            self.bytes -= oldest.weight();
            self.complete_after = oldest.revision;
        }
    }

    /// The first changes after `revision`, at most `limit`, oldest first.
    ///
    /// # Errors
    /// When some change after `revision` is no longer here.
    pub fn after(
        &self,
        revision: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Committed>>, Compacted> {
        if revision < self.complete_after {
            return Err(Compacted);
        }
        let from = self
            .changes
            .partition_point(|change| change.revision <= revision);
        Ok(self
            .changes
            .range(from..)
            .take(limit)
            .map(Arc::clone)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Cause, Change, ChangeKind};
    use crate::name::{Name, ServiceKey};
    use crate::time::Timestamp;

    fn change(revision: u64) -> Arc<Committed> {
        let name = Name::parse("web").unwrap();
        let change = Change {
            kind: ChangeKind::Forgotten,
            service: ServiceKey::new(Name::default_namespace(), name),
            id: None,
            incarnation: None,
            state: None,
            policy: None,
            time: Timestamp(0),
            actor: "test".into(),
            cause: Cause::new("test", ""),
        };
        Arc::new(Committed::new(Revision(revision), Arc::new(change), None))
    }

    fn after(feed: &Feed, revision: u64) -> Result<Vec<u64>, Compacted> {
        let changes = feed.after(Revision(revision), 100)?;
        Ok(changes.iter().map(|change| change.revision.0).collect())
    }

    #[test]
    fn what_was_dropped_is_said() {
        let mut feed = Feed::new(Revision(10), 3, usize::MAX);
        assert_eq!(after(&feed, 10), Ok(vec![]));
        assert_eq!(after(&feed, 9), Err(Compacted));
        for revision in [12, 15, 16, 20] {
            feed.push(change(revision));
        }
        assert_eq!(after(&feed, 11), Err(Compacted));
        assert_eq!(after(&feed, 12), Ok(vec![15, 16, 20]));
        assert_eq!(after(&feed, 13), Ok(vec![15, 16, 20]));
        assert_eq!(after(&feed, 20), Ok(vec![]));
        assert_eq!(feed.after(Revision(12), 2).unwrap().len(), 2);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut feed = Feed::new(Revision(0), usize::MAX, 5 * change(1).weight());
        for revision in 1..=100 {
            feed.push(change(revision));
        }
        assert_eq!(after(&feed, 95).unwrap(), [96, 97, 98, 99, 100]);
        assert_eq!(after(&feed, 94), Err(Compacted));
    }
}
