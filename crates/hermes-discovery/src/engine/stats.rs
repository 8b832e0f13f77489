//! Counts of what the writer does, for whoever watches over a server.
//!
//! Only ever added to, and by the writer alone, so that counting costs it next to nothing. A reader
//! may see one count of a commit before another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
    /// How long the log took for the batches that are in it.
    pub commit_times: CommitTimes,
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

    pub(super) fn now(&self) -> Stats {
        let counts = self.times.each_ref().map(|n| n.load(Ordering::Relaxed));
        Stats {
            commits: counts.iter().sum(),
            commit_failures: self.failures.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
            commit_times: CommitTimes {
                counts,
                sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)),
            },
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
