//! The log in memory and the rigged log are logs, and the former keeps exactly as much as it is told.

use hermes_core::change::{ClusterId, Expected, Planned, Revision};
use hermes_discovery::log::conformance::{Shelf, put, suite};
use hermes_discovery::log::{Appended, Log, LogError, MemoryLog};

use crate::make::{alarm, id, service};
use crate::rigged::RiggedLog;

/// Logs in memory.
struct Memory;

impl Shelf for Memory {
    type Log = MemoryLog;

    async fn empty(&self) -> MemoryLog {
        MemoryLog::new(ClusterId(7))
    }

    async fn forgetful(&self) -> MemoryLog {
        MemoryLog::new(ClusterId(7)).keeping(100)
    }

    async fn again(&self, _log: MemoryLog) -> Option<MemoryLog> {
        None
    }
}

/// The logs of these stories. What they hold outlives whoever writes to it.
struct Rigged;

impl Shelf for Rigged {
    type Log = RiggedLog;

    async fn empty(&self) -> RiggedLog {
        RiggedLog::new()
    }

    async fn forgetful(&self) -> RiggedLog {
        RiggedLog::new().keeping(100)
    }

    async fn again(&self, log: RiggedLog) -> Option<RiggedLog> {
        // It has no snapshots: a start needs every change.
        (log.begins_after() == Revision(0)).then_some(log)
    }
}

#[tokio::test]
async fn the_log_in_memory_is_a_log() {
    let _alarm = alarm();
    suite(&Memory).await;
    assert_eq!(MemoryLog::new(ClusterId(7)).cluster(), ClusterId(7));
}

#[tokio::test]
async fn the_log_of_these_stories_is_a_log() {
    let _alarm = alarm();
    suite(&Rigged).await;
}

#[tokio::test]
async fn whoever_asks_for_more_than_is_kept_is_told_so() {
    let _alarm = alarm();
    let mut log = MemoryLog::new(ClusterId(7)).keeping(3);
    let web = service("web");
    let mut all = Vec::new();
    for number in 0..10 {
        let change = put(&web, &id(&format!("e{number}")), Expected::Absent);
        all.push(append(&mut log, change).await.unwrap());
    }
    for old in [Revision(0), all[0], all[5]] {
        for limit in [0, 10] {
            let told = log.read(old, limit).await;
            assert_eq!(told, Err(LogError::Compacted), "after {old}");
        }
    }
    for (after, left) in [(6, 3), (7, 2), (8, 1), (9, 0)] {
        assert_eq!(log.read(all[after], 10).await.unwrap().len(), left);
    }
    // What is no longer read is still known.
    let first = |expected| put(&web, &id("e0"), expected);
    assert_eq!(append(&mut log, first(Expected::Absent)).await, None);
    let again = append(&mut log, first(Expected::At(all[0]))).await;
    assert!(again.is_some());
}

/// Appends one change, and gives its revision; nothing when it met a conflict.
async fn append(log: &mut MemoryLog, planned: Planned) -> Option<Revision> {
    match log.append(&[planned]).await.unwrap()[..] {
        [Appended::At(revision)] => Some(revision),
        [Appended::Conflict] => None,
        ref many => panic!("one change, and {many:?}"),
    }
}
