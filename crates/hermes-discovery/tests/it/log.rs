//! What every log has to do, whatever it keeps its records in: one suite for all of them.

use std::sync::Arc;

use hermes_core::change::{Cause, Change, ChangeKind, ClusterId, Expected, Planned, Revision};
use hermes_core::endpoint::EndpointState;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_discovery::log::{Appended, Log, LogError, MemoryLog, Record};

use crate::make::{NOON, alarm, id, registration, service};
use crate::rigged::RiggedLog;

/// Everything that a log promises. `make` gives another empty log at every call.
pub(crate) async fn suite<L: Log>(make: impl Fn() -> L) {
    an_empty_log_has_nothing_to_read(make()).await;
    what_was_appended_is_read_in_order(make()).await;
    revisions_only_grow(make()).await;
    a_change_meets_its_precondition_or_conflicts(make()).await;
    a_removed_entity_is_absent_again(make()).await;
    a_conflict_fails_its_own_change_only(make()).await;
    changes_of_one_batch_see_each_other(make()).await;
    entities_do_not_get_in_each_others_way(make()).await;
    pages_join_without_gap_or_overlap(make()).await;
    the_cluster_stays_the_same(make()).await;
}

/// The change that makes `id` what it is, when `expected` holds.
fn put(service: &ServiceKey, id: &EndpointId, expected: Expected) -> Planned {
    let state = EndpointState {
        incarnation: None,
        owner: None,
        registration: Arc::new(registration(None)),
        overrides: Arc::default(),
        drain: None,
        findings: Vec::new(),
        started: true,
        flapping: false,
        registered_at: NOON,
        since: NOON,
    };
    let change = Change {
        id: Some(id.clone()),
        state: Some(Arc::new(state)),
        ..change(service, ChangeKind::Registered)
    };
    Planned {
        change: Arc::new(change),
        expected,
    }
}

/// The change that removes `id`, when `expected` holds.
fn removal(service: &ServiceKey, id: &EndpointId, expected: Expected) -> Planned {
    let change = Change {
        id: Some(id.clone()),
        incarnation: Some(Revision(1)),
        ..change(service, ChangeKind::Deregistered)
    };
    Planned {
        change: Arc::new(change),
        expected,
    }
}

/// The change that forgets the service itself.
fn forgetting(service: &ServiceKey) -> Planned {
    Planned {
        change: Arc::new(change(service, ChangeKind::Forgotten)),
        expected: Expected::Anything,
    }
}

fn change(service: &ServiceKey, kind: ChangeKind) -> Change {
    Change {
        kind,
        service: service.clone(),
        id: None,
        incarnation: None,
        state: None,
        policy: None,
        time: NOON,
        actor: "story".into(),
        cause: Cause::new("story", "its detail"),
    }
}

/// Appends one change.
async fn append_one(log: &mut impl Log, planned: Planned) -> Appended {
    let appended = log.append(&[planned]).await.unwrap();
    assert_eq!(appended.len(), 1);
    appended[0]
}

/// Appends one change whose precondition holds.
async fn append_well(log: &mut impl Log, planned: Planned) -> Revision {
    at(append_one(log, planned).await)
}

fn at(appended: Appended) -> Revision {
    match appended {
        Appended::At(revision) => revision,
        Appended::Conflict => panic!("a conflict, and its precondition holds"),
    }
}

async fn revisions(log: &impl Log) -> Vec<Revision> {
    let records = log.read(Revision(0), usize::MAX).await.unwrap();
    records.iter().map(|record| record.revision).collect()
}

async fn an_empty_log_has_nothing_to_read(mut log: impl Log) {
    assert_eq!(log.read(Revision(0), 10).await, Ok(vec![]));
    assert_eq!(log.append(&[]).await, Ok(vec![]));
    assert_eq!(log.read(Revision(0), 10).await, Ok(vec![]));
}

async fn what_was_appended_is_read_in_order(mut log: impl Log) {
    let (web, one, two) = (service("web"), id("one"), id("two"));
    let batches = [
        vec![
            put(&web, &one, Expected::Absent),
            put(&web, &two, Expected::Absent),
        ],
        vec![removal(&web, &one, Expected::Anything)],
        vec![removal(&web, &two, Expected::Anything), forgetting(&web)],
    ];
    let mut expected = Vec::new();
    for batch in &batches {
        let appended = log.append(batch).await.unwrap();
        assert_eq!(appended.len(), batch.len());
        for (planned, appended) in batch.iter().zip(appended) {
            expected.push(Record {
                revision: at(appended),
                change: Arc::clone(&planned.change),
            });
        }
    }
    assert_eq!(log.read(Revision(0), usize::MAX).await, Ok(expected));
}

async fn revisions_only_grow(mut log: impl Log) {
    let web = service("web");
    let mut last = Revision(0);
    for round in 0..20 {
        let of = |n: u32| put(&web, &id(&format!("e{round}-{n}")), Expected::Absent);
        let batch: Vec<Planned> = (0..=round % 4).map(of).collect();
        for appended in log.append(&batch).await.unwrap() {
            assert!(at(appended) > last);
            last = at(appended);
        }
        // Refused changes use up whatever they like, but never lead back.
        let conflict = append_one(&mut log, batch[0].clone()).await;
        assert_eq!(conflict, Appended::Conflict);
    }
    assert!(revisions(&log).await.is_sorted_by(|a, b| a < b));
}

async fn a_change_meets_its_precondition_or_conflicts(mut log: impl Log) {
    let (web, one) = (service("web"), id("one"));
    let conflict = append_one(&mut log, put(&web, &one, Expected::At(Revision(1)))).await;
    assert_eq!(conflict, Appended::Conflict, "nothing is there");
    let first = append_well(&mut log, put(&web, &one, Expected::Absent)).await;
    let conflict = append_one(&mut log, put(&web, &one, Expected::Absent)).await;
    assert_eq!(conflict, Appended::Conflict, "something is there");
    let second = append_well(&mut log, put(&web, &one, Expected::At(first))).await;
    for old in [first, Revision(second.0 + 1), Revision(0)] {
        let conflict = append_one(&mut log, put(&web, &one, Expected::At(old))).await;
        assert_eq!(
            conflict,
            Appended::Conflict,
            "it is at {second}, not at {old}"
        );
    }
    let third = append_well(&mut log, put(&web, &one, Expected::Anything)).await;
    assert_eq!(revisions(&log).await, [first, second, third]);
}

async fn a_removed_entity_is_absent_again(mut log: impl Log) {
    let (web, one) = (service("web"), id("one"));
    let first = append_well(&mut log, put(&web, &one, Expected::Absent)).await;
    let second = append_well(&mut log, removal(&web, &one, Expected::At(first))).await;
    for gone in [first, second] {
        let conflict = append_one(&mut log, put(&web, &one, Expected::At(gone))).await;
        assert_eq!(conflict, Appended::Conflict);
    }
    append_well(&mut log, put(&web, &one, Expected::Absent)).await;
}

async fn a_conflict_fails_its_own_change_only(mut log: impl Log) {
    let (web, one, two, three) = (service("web"), id("one"), id("two"), id("three"));
    let first = append_well(&mut log, put(&web, &two, Expected::Absent)).await;
    let batch = [
        put(&web, &one, Expected::Absent),
        put(&web, &two, Expected::Absent),
        put(&web, &three, Expected::Absent),
    ];
    let appended = log.append(&batch).await.unwrap();
    assert_eq!(appended[1], Appended::Conflict);
    let (before, after) = (at(appended[0]), at(appended[2]));
    assert_eq!(revisions(&log).await, [first, before, after]);
    // And what it would have changed is as it was.
    append_well(&mut log, put(&web, &two, Expected::At(first))).await;
}

async fn changes_of_one_batch_see_each_other(mut log: impl Log) {
    let (web, one) = (service("web"), id("one"));
    let batch = [
        put(&web, &one, Expected::Absent),
        put(&web, &one, Expected::Absent),
        removal(&web, &one, Expected::Anything),
        put(&web, &one, Expected::Absent),
    ];
    let appended = log.append(&batch).await.unwrap();
    let conflicts = appended
        .iter()
        .map(|appended| *appended == Appended::Conflict);
    assert_eq!(conflicts.collect::<Vec<_>>(), [false, true, false, false]);
}

async fn entities_do_not_get_in_each_others_way(mut log: impl Log) {
    let (web, api, one) = (service("web"), service("api"), id("one"));
    append_well(&mut log, put(&web, &one, Expected::Absent)).await;
    let same_id = append_well(&mut log, put(&api, &one, Expected::Absent)).await;
    // The service is an entity of its own: forgetting it leaves its endpoints to their changes.
    append_well(&mut log, forgetting(&api)).await;
    append_well(&mut log, removal(&api, &one, Expected::At(same_id))).await;
}

async fn pages_join_without_gap_or_overlap(mut log: impl Log) {
    let web = service("web");
    for number in 0..100 {
        append_well(
            &mut log,
            put(&web, &id(&format!("e{number}")), Expected::Absent),
        )
        .await;
    }
    let all = log.read(Revision(0), usize::MAX).await.unwrap();
    assert_eq!(all.len(), 100);
    for limit in [1, 7, 99, 100, 101] {
        let (mut pages, mut after) = (Vec::new(), Revision(0));
        loop {
            let page = log.read(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = last.revision;
            pages.extend(page);
        }
        assert_eq!(pages, all, "in pages of {limit}");
    }
    for (before, record) in all.iter().enumerate() {
        let after = log.read(record.revision, usize::MAX).await.unwrap();
        assert_eq!(after, all[before + 1..]);
    }
    let ahead = Revision(all[99].revision.0 + 1_000);
    assert_eq!(log.read(ahead, 10).await, Ok(vec![]));
}

async fn the_cluster_stays_the_same(mut log: impl Log) {
    let cluster = log.cluster();
    append_well(&mut log, put(&service("web"), &id("one"), Expected::Absent)).await;
    assert_eq!(log.cluster(), cluster);
}

#[tokio::test]
async fn the_log_in_memory_is_a_log() {
    let _alarm = alarm();
    suite(|| MemoryLog::new(ClusterId(7))).await;
    assert_eq!(MemoryLog::new(ClusterId(7)).cluster(), ClusterId(7));
}

#[tokio::test]
async fn the_log_of_these_stories_is_a_log() {
    let _alarm = alarm();
    suite(RiggedLog::new).await;
}

#[tokio::test]
async fn whoever_asks_for_more_than_is_kept_is_told_so() {
    let _alarm = alarm();
    let mut log = MemoryLog::new(ClusterId(7)).keeping(3);
    let web = service("web");
    let mut all = Vec::new();
    for number in 0..10 {
        all.push(
            append_well(
                &mut log,
                put(&web, &id(&format!("e{number}")), Expected::Absent),
            )
            .await,
        );
    }
    for old in [Revision(0), all[0], all[5]] {
        assert_eq!(
            log.read(old, 10).await,
            Err(LogError::Compacted),
            "after {old}"
        );
        assert_eq!(
            log.read(old, 0).await,
            Err(LogError::Compacted),
            "after {old}"
        );
    }
    for (after, left) in [(6, 3), (7, 2), (8, 1), (9, 0)] {
        assert_eq!(log.read(all[after], 10).await.unwrap().len(), left);
    }
    // What is no longer read is still known.
    let forgotten = put(&web, &id("e0"), Expected::Absent);
    assert_eq!(append_one(&mut log, forgotten).await, Appended::Conflict);
    append_well(&mut log, put(&web, &id("e0"), Expected::At(all[0]))).await;
}
