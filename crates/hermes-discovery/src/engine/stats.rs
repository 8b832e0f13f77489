//! Counts of what the engine does, for whoever watches over a server.
//!
//! Nearly all are only ever added to, and by one task, so that counting costs it next to nothing. A
//! reader may see one count of a commit before another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hermes_core::change::{ChangeKind, Committed};

use super::watcher::ResetReason;

/// The upper bounds of the classes of [`CommitTimes`]; one class more holds what takes longer.
pub const COMMIT_TIME_BOUNDS: [Duration; 12] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// What the engine has done since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Batches that are in the log.
    pub commits: u64,
    /// Batches that the log refused.
    pub commit_failures: u64,
    /// Changes in the batches that are in the log.
    pub changes: u64,
    /// The changes that were applied, in the order of [`ChangeKind::ALL`].
    pub changes_of_kind: [u64; ChangeKind::ALL.len()],
    /// How long the log took for the batches that are in it.
    pub commit_times: CommitTimes,
    /// Requests in their lane.
    pub requests_waiting: usize,
    /// Results of probes in theirs.
    pub reports_waiting: usize,
    /// Asks that the writer holds for a later batch.
    pub asks_held: usize,
    /// Requests that found their lane full.
    pub requests_refused: u64,
    /// Those who follow the changes now, the probes among them.
    pub watchers: usize,
    /// How often the queue of a watcher overflowed.
    pub overflows: u64,
    /// How often a watcher had to forget everything, in the order of [`ResetReason::ALL`].
    pub resets: [u64; ResetReason::ALL.len()],
}

/// A histogram of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitTimes {
    /// How many took no longer than the bound of the same place in [`COMMIT_TIME_BOUNDS`], and longer
    /// than the one before it; the last one, how many took longer than all of them.
    pub counts: [u64; COMMIT_TIME_BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    failures: AtomicU64,
    changes: AtomicU64,
    changes_of_kind: [AtomicU64; ChangeKind::ALL.len()],
    refused: AtomicU64,
    held: AtomicUsize,
    resets: [AtomicU64; ResetReason::ALL.len()],
    times: [AtomicU64; COMMIT_TIME_BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Counters {
    pub(super) fn committed(&self, changes: usize, took: Duration) {
        let class = COMMIT_TIME_BOUNDS.partition_point(|bound| *bound < took);
        self.times[class].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn applied(&self, changes: &[Arc<Committed>]) {
        for change in changes {
            let kind = change.change.kind;
            let place = ChangeKind::ALL.iter().position(|other| *other == kind);
            if let Some(place) = place {
                self.changes_of_kind[place].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hold(&self, asks: usize) {
        self.held.store(asks, Ordering::Relaxed);
    }

    pub(super) fn reset(&self, reason: ResetReason) {
        let place = ResetReason::ALL.iter().position(|other| *other == reason);
        if let Some(place) = place {
            self.resets[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is counted here; lanes and watchers know the rest.
    pub(super) fn now(&self) -> Stats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = self.times.each_ref().map(load);
        Stats {
            changes_of_kind: self.changes_of_kind.each_ref().map(load),
            requests_refused: load(&self.refused),
            asks_held: self.held.load(Ordering::Relaxed),
            resets: self.resets.each_ref().map(load),
            commits: counts.iter().sum(),
            commit_failures: load(&self.failures),
            changes: load(&self.changes),
            commit_times: CommitTimes {
                counts,
                sum: Duration::from_nanos(load(&self.sum_nanos)),
            },
            ..Stats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_belongs_to_the_first_bound_that_it_does_not_exceed() {
        let counters = Counters::default();
        for micros in [1, 50, 51, 1_000, 3_000_000] {
            counters.committed(2, Duration::from_micros(micros));
        }
        counters.failed();
        let stats = counters.now();
        assert_eq!(
            (stats.commits, stats.changes, stats.commit_failures),
            (5, 10, 1)
        );
        let mut expected = [0; COMMIT_TIME_BOUNDS.len() + 1];
        for (class, count) in [(0, 2), (1, 1), (4, 1), (12, 1)] {
            expected[class] = count;
        }
        assert_eq!(stats.commit_times.counts, expected);
        assert_eq!(stats.commit_times.sum, Duration::from_micros(3_001_102));
    }
}
