//! The file log on a real directory: what was committed is there again, exactly.

use std::sync::Arc;

use hermes_core::catalog::Catalog;
use hermes_core::change::{Cause, ChangeKind, ClusterId, Expected, Planned, Revision};
use hermes_core::command::{Claim, Command, Condition, Request};
use hermes_core::limits::Limits;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::plan::plan;
use hermes_core::time::Now;
use hermes_core::wire::request::read_registration;
use hermes_discovery::log::{Log, LogError};

use super::{FileLog, OpenError, Options};

fn service(name: &str) -> ServiceKey {
    ServiceKey::new(Name::default_namespace(), Name::parse(name).unwrap())
}

fn register(catalog: &Catalog, name: &str, id: &str) -> Planned {
    let body = format!(r#"{{"url": "http://10.0.0.1:80", "metadata": {{"id": "{id}"}}}}"#);
    let command = Command::Register {
        service: service(name),
        id: EndpointId::parse(id).unwrap(),
        registration: Arc::new(read_registration(body.as_bytes()).unwrap()),
        new: false,
    };
    let request = Request {
        command,
        actor: "test".into(),
        condition: Condition::Always,
        claim: Claim::Free,
    };
    plan(catalog, &request, Now::default())
        .unwrap()
        .changes
        .remove(0)
}

fn empty() -> Catalog {
    Catalog::new(Limits::default(), 1)
}

async fn restored<D: super::disk::Disk>(log: &mut FileLog<D>) -> Catalog {
    let mut catalog = empty();
    log.restore(&mut catalog, Now::default()).await.unwrap();
    catalog
}

#[tokio::test]
async fn what_was_committed_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let open = || FileLog::open(dir.path(), Options::default(), ClusterId(7));
    let mut log = open().unwrap();
    let mut catalog = restored(&mut log).await;
    for n in 0..100_u64 {
        let planned = register(&catalog, "web", &format!("web-{n}"));
        let appended = log.append(std::slice::from_ref(&planned)).await.unwrap();
        assert_eq!(
            appended,
            [hermes_discovery::log::Appended::At(Revision(n + 1))]
        );
        catalog.apply(Revision(n + 1), &planned.change, Now::default());
    }
    assert!(matches!(open(), Err(OpenError::Held(_))));
    drop(log);
    let mut log = open().unwrap();
    let again = restored(&mut log).await;
    assert_eq!(again.revision(), Revision(100));
    for (a, b) in again
        .service("default", "web")
        .unwrap()
        .endpoints
        .iter()
        .zip(&catalog.service("default", "web").unwrap().endpoints)
    {
        assert_eq!(
            (&a.id, a.revision, a.incarnation, &a.state),
            (&b.id, b.revision, b.incarnation, &b.state)
        );
    }
    assert_eq!(log.cluster(), ClusterId(7));
    let records = log.read(Revision(40), 10).await.unwrap();
    let revisions: Vec<u64> = records.iter().map(|record| record.revision.0).collect();
    assert_eq!(revisions, (41..=50).collect::<Vec<u64>>());
    let conflict = Planned {
        expected: Expected::Absent,
        ..register(&empty(), "web", "web-1")
    };
    let appended = log.append(&[conflict]).await.unwrap();
    assert_eq!(appended, [hermes_discovery::log::Appended::Conflict]);
}

#[tokio::test]
async fn snapshots_carry_the_state_and_let_the_past_go() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        snapshot_changes: 50,
        horizon_changes: 100,
        ..Options::default()
    };
    let open = || FileLog::open(dir.path(), options.clone(), ClusterId(7)).unwrap();
    let mut log = open();
    let mut catalog = restored(&mut log).await;
    for n in 0..400_u64 {
        let planned = if n % 3 == 2 {
            let mut planned = register(&empty(), "web", &format!("{}", n - 1));
            let mut change = (*planned.change).clone();
            change.kind = ChangeKind::Deregistered;
            change.state = None;
            change.cause = Cause::new("test", "");
            planned.expected = Expected::At(Revision(n));
            Planned {
                change: Arc::new(change),
                ..planned
            }
        } else {
            register(&catalog, "web", &format!("{n}"))
        };
        log.append(std::slice::from_ref(&planned)).await.unwrap();
        catalog.apply(Revision(n + 1), &planned.change, Now::default());
        log.published(&Arc::new(catalog.clone()));
        while Arc::strong_count(&log.shared) > 1 {
            tokio::task::yield_now().await;
        }
    }
    let kept = log.begins_after();
    assert!(kept >= Revision(200) && kept <= Revision(300), "{kept}");
    assert_eq!(log.read(Revision(0), 1).await, Err(LogError::Compacted));
    drop(log);
    let mut log = open();
    let again = restored(&mut log).await;
    assert_eq!(log.begins_after(), kept);
    let view = |catalog: &Catalog| {
        let view = catalog.service("default", "web").unwrap();
        let states: Vec<_> = view
            .endpoints
            .iter()
            .map(|e| (e.id.clone(), e.revision, e.incarnation, e.state.clone()))
            .collect();
        (states, view.revision, view.gone.clone(), catalog.revision())
    };
    assert_eq!(view(&again), view(&catalog));
}

#[tokio::test]
async fn an_end_in_order_writes_the_state_down_when_that_is_less_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let open = || FileLog::open(dir.path(), Options::default(), ClusterId(7)).unwrap();
    let again = |n| Planned {
        expected: Expected::Anything,
        ..register(&empty(), "web", &format!("web-{n}"))
    };
    let changes: Vec<Planned> = (0..10).map(again).cycle().take(9_999).collect();
    let mut revisions = 1..;
    for (changes, to_be_read) in [(&changes[..], 9_999), (&changes[..1], 0)] {
        let mut log = open();
        let mut catalog = restored(&mut log).await;
        log.append(changes).await.unwrap();
        for (planned, revision) in changes.iter().zip(&mut revisions) {
            catalog.apply(Revision(revision), &planned.change, Now::default());
        }
        log.finish(&Arc::new(catalog.clone())).await;
        drop(log);
        let mut log = open();
        let again = restored(&mut log).await;
        assert_eq!(again.revision(), catalog.revision());
        let endpoints = |catalog: &Catalog| {
            let view = catalog.service("default", "web").unwrap();
            let states = view.endpoints.iter().map(|e| (e.revision, e.state.clone()));
            states.collect::<Vec<_>>()
        };
        assert_eq!(endpoints(&again), endpoints(&catalog));
        let files = log.shared.files.lock().unwrap();
        assert_eq!(files.changes_since_snapshot, to_be_read);
    }
}

#[tokio::test]
async fn a_directory_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    let open = || FileLog::open(dir.path(), Options::default(), ClusterId(7));
    assert!(matches!(open(), Err(OpenError::NotHermes { found, .. }) if found == "thesis.tex"));
    std::fs::remove_file(dir.path().join("thesis.tex")).unwrap();
    std::fs::write(
        dir.path().join("hermes.json"),
        r#"{"format":3,"cluster":"00"}"#,
    )
    .unwrap();
    assert!(matches!(open(), Err(OpenError::Newer { format: 3, .. })));
    std::fs::write(
        dir.path().join("hermes.json"),
        r#"{"format":2,"cluster":"00"}"#,
    )
    .unwrap();
    assert!(matches!(open(), Err(OpenError::Identity { .. })));
}
