//! What every log has to do, whatever it keeps its changes in: one suite for all of them.
//!
//! Only there with the feature `testing`. A log passes when [`suite`] returns. It asks for nothing but
//! the trait, does not expect revisions to follow each other without gaps, and needs as many logs as
//! it has stories, so it can be run on a log that strangers use too.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use hermes_core::catalog::{Catalog, Emptied, Gone};
use hermes_core::change::{Cause, Change, ChangeKind, Expected, Planned, Revision};
use hermes_core::endpoint::{EndpointState, Registration};
use hermes_core::limits::Limits;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::time::{Moment, Now, Timestamp};
use hermes_core::wire::request::registration_of_url;

use super::{Appended, Log, LogError, Reader, Record};

/// Where the suite gets its logs from.
///
/// ```
/// use hermes_core::change::ClusterId;
/// use hermes_discovery::log::{MemoryLog, conformance::{Shelf, suite}};
///
/// struct Memory;
///
/// impl Shelf for Memory {
///     type Log = MemoryLog;
///
///     async fn empty(&self) -> MemoryLog {
///         MemoryLog::new(ClusterId(7))
///     }
///
///     async fn forgetful(&self) -> MemoryLog {
///         MemoryLog::new(ClusterId(7)).keeping(100)
///     }
///
///     async fn again(&self, _log: MemoryLog) -> Option<MemoryLog> {
///         None
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// suite(&Memory).await;
/// # }
/// ```
pub trait Shelf {
    /// The kind of log.
    type Log: Log;

    /// Another log, with nothing in it.
    fn empty(&self) -> impl Future<Output = Self::Log>;

    /// Another log, with nothing in it, that keeps no more than some hundred changes.
    fn forgetful(&self) -> impl Future<Output = Self::Log>;

    /// The same log as after a restart; `None` for one that does not outlive its process.
    fn again(&self, log: Self::Log) -> impl Future<Output = Option<Self::Log>>;
}

/// Everything that a log promises.
///
/// # Panics
/// When the log does not keep it.
pub async fn suite<S: Shelf>(shelf: &S) {
    an_empty_log_has_nothing_to_read(shelf.empty().await).await;
    what_was_appended_is_read_in_order(shelf.empty().await).await;
    revisions_only_grow(shelf.empty().await).await;
    a_change_meets_its_precondition_or_conflicts(shelf.empty().await).await;
    a_removed_entity_is_absent_again(shelf.empty().await).await;
    a_conflict_fails_its_own_change_only(shelf.empty().await).await;
    changes_of_one_batch_see_each_other(shelf.empty().await).await;
    entities_do_not_get_in_each_others_way(shelf.empty().await).await;
    pages_join_without_gap_or_overlap(shelf.empty().await).await;
    the_cluster_stays_the_same(shelf.empty().await).await;
    whoever_asks_for_more_than_is_kept_is_told_so(shelf.forgetful().await).await;
    what_is_restored_is_what_was_replayed(shelf, shelf.empty().await).await;
    what_is_restored_is_what_was_replayed(shelf, shelf.forgetful().await).await;
    a_log_goes_on_after_a_restart(shelf).await;
}

const NOON: Timestamp = Timestamp(1_795_262_400_000);

fn now() -> Now {
    Now {
        moment: Moment(0),
        time: NOON,
    }
}

fn service(name: &str) -> ServiceKey {
    let name = Name::parse(name).expect("the suite names its services well");
    ServiceKey::new(Name::default_namespace(), name)
}

fn id(text: &str) -> EndpointId {
    EndpointId::parse(text).expect("the suite names its endpoints well")
}

/// The change that makes `id` what it is, when `expected` holds. For stories about one kind of log, too.
///
/// # Panics
/// Never: its URL is one.
#[must_use]
pub fn put(service: &ServiceKey, id: &EndpointId, expected: Expected) -> Planned {
    let registration = registration_of_url("http://10.0.0.1:8080").expect("this is a URL");
    let state = EndpointState {
        incarnation: None,
        owner: None,
        registration: Arc::new(Registration {
            checks: Vec::new(),
            ..registration
        }),
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

async fn append(log: &mut impl Log, batch: &[Planned]) -> Vec<Appended> {
    let appended = log.append(batch).await.expect("the log can be written");
    assert_eq!(appended.len(), batch.len(), "an answer for each change");
    appended
}

/// Appends one change.
async fn append_one(log: &mut impl Log, planned: Planned) -> Appended {
    append(log, &[planned]).await[0]
}

/// Appends one change whose precondition holds.
async fn append_well(log: &mut impl Log, planned: Planned) -> Revision {
    at(append_one(log, planned).await).expect("no conflict: the precondition holds")
}

fn at(appended: Appended) -> Option<Revision> {
    match appended {
        Appended::At(revision) => Some(revision),
        Appended::Conflict => None,
    }
}

/// Everything that is kept. While it is being read the log may let go of some: then a page has fewer
/// than there are, or the reading begins anew.
async fn read_all(log: &impl Log) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    let mut after = log.begins_after();
    loop {
        match log.read(after, usize::MAX).await {
            Err(LogError::Compacted) if log.begins_after() > after => {
                all.clear();
                after = log.begins_after();
            }
            page => {
                all.extend(page.expect("what is kept can be read"));
                match all.last() {
                    Some(last) if last.revision > after => after = last.revision,
                    _ => return all,
                }
            }
        }
    }
}

/// What of `all` is not older than the first of `kept`.
fn since_first_of(kept: &[Record], all: &[Record]) -> Vec<Record> {
    let is_kept = |record: &&Record| {
        kept.first()
            .is_some_and(|first| record.revision >= first.revision)
    };
    all.iter().filter(is_kept).cloned().collect()
}

async fn revisions(log: &impl Log) -> Vec<Revision> {
    let records = read_all(log).await;
    records.iter().map(|record| record.revision).collect()
}

async fn an_empty_log_has_nothing_to_read(mut log: impl Log) {
    assert_eq!(log.read(Revision(0), 10).await, Ok(vec![]));
    assert_eq!(log.append(&[]).await, Ok(vec![]));
    assert_eq!(log.read(Revision(0), 10).await, Ok(vec![]));
    let mut catalog = empty_catalog();
    let restored = log.restore(&mut catalog, now()).await;
    assert_eq!(restored, Ok(()));
    assert_eq!(Picture::of(&catalog), Picture::of(&empty_catalog()));
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
        for (planned, appended) in batch.iter().zip(append(&mut log, batch).await) {
            expected.push(Record {
                revision: at(appended).expect("no conflict"),
                change: Arc::clone(&planned.change),
            });
        }
    }
    assert_eq!(read_all(&log).await, expected);
}

async fn revisions_only_grow(mut log: impl Log) {
    let web = service("web");
    let mut last = Revision(0);
    for round in 0..20 {
        let of = |n: u32| put(&web, &id(&format!("e{round}-{n}")), Expected::Absent);
        let batch: Vec<Planned> = (0..=round % 4).map(of).collect();
        for appended in append(&mut log, &batch).await {
            let revision = at(appended).expect("no conflict");
            assert!(revision > last, "{revision} after {last}");
            last = revision;
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
        let why = format!("it is at {second}, not at {old}");
        assert_eq!(conflict, Appended::Conflict, "{why}");
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
    let appended = append(&mut log, &batch).await;
    assert_eq!(appended[1], Appended::Conflict);
    let others = [at(appended[0]), at(appended[2])].map(|at| at.expect("no conflict"));
    assert_eq!(revisions(&log).await, [first, others[0], others[1]]);
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
    let appended = append(&mut log, &batch).await;
    let conflicts = appended.iter().map(|appended| at(*appended).is_none());
    assert_eq!(conflicts.collect::<Vec<_>>(), [false, true, false, false]);
}

async fn entities_do_not_get_in_each_others_way(mut log: impl Log) {
    let (web, api, one) = (service("web"), service("api"), id("one"));
    let first = append_well(&mut log, put(&web, &one, Expected::Absent)).await;
    let same_id = append_well(&mut log, put(&api, &one, Expected::Absent)).await;
    // The service is an entity of its own: forgetting it leaves its endpoints to their changes.
    append_well(&mut log, forgetting(&api)).await;
    append_well(&mut log, removal(&api, &one, Expected::At(same_id))).await;
    append_well(&mut log, removal(&web, &one, Expected::At(first))).await;
}

async fn pages_join_without_gap_or_overlap(mut log: impl Log) {
    let web = service("web");
    for number in 0..100 {
        let id = id(&format!("e{number}"));
        append_well(&mut log, put(&web, &id, Expected::Absent)).await;
    }
    let all = read_all(&log).await;
    assert_eq!(all.len(), 100);
    for limit in [1, 7, 99, 100, 101] {
        let (mut pages, mut after) = (Vec::new(), Revision(0));
        loop {
            let page = log.read(after, limit).await.expect("it can be read");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = last.revision;
            pages.extend(page);
        }
        assert_eq!(pages, all, "in pages of {limit}");
    }
    for (before, record) in all.iter().enumerate() {
        let after = log.read(record.revision, usize::MAX).await;
        assert_eq!(after.expect("it can be read"), all[before + 1..]);
    }
    let ahead = Revision(all[99].revision.0 + 1_000);
    assert_eq!(log.read(ahead, 10).await, Ok(vec![]));
}

async fn the_cluster_stays_the_same(mut log: impl Log) {
    let cluster = log.cluster();
    append_well(&mut log, put(&service("web"), &id("one"), Expected::Absent)).await;
    assert_eq!(log.cluster(), cluster);
}

async fn whoever_asks_for_more_than_is_kept_is_told_so(mut log: impl Log) {
    let mut writer = Writer::new();
    let mut all = Vec::new();
    // What is let go of is let go of beside the writing, so there is no saying when.
    for _ in 0..10_000 {
        all.extend(writer.write_some(&mut log).await);
        if log.begins_after() > Revision(0) {
            break;
        }
        tokio::task::yield_now().await;
    }
    let begins_after = log.begins_after();
    assert!(begins_after > Revision(0), "everything is kept for ever");
    for old in [Revision(0), Revision(begins_after.0 - 1)] {
        for limit in [0, 10] {
            let told = log.read(old, limit).await;
            assert_eq!(told, Err(LogError::Compacted), "after {old}");
        }
    }
    let kept = read_all(&log).await;
    assert_eq!(kept, since_first_of(&kept, &all));
    assert_eq!(kept.last(), all.last());
    // What is no longer read is still known.
    let still = writer.catalog.service_at(&service("web"));
    let endpoint = still.and_then(|view| view.endpoints.first());
    let id = endpoint.expect("the writer leaves some").id.clone();
    let conflict = append_one(&mut log, put(&service("web"), &id, Expected::Absent)).await;
    assert_eq!(conflict, Appended::Conflict);
}

async fn what_is_restored_is_what_was_replayed<S: Shelf>(shelf: &S, mut log: S::Log) {
    let cluster = log.cluster();
    let mut writer = Writer::new();
    for _ in 0..20 {
        writer.write_some(&mut log).await;
    }
    let (gone, one) = (service("gone"), id("one"));
    writer
        .write(&mut log, &[put(&gone, &one, Expected::Absent)])
        .await;
    let removal = removal(&gone, &one, Expected::At(writer.catalog.revision()));
    writer.write(&mut log, &[removal, forgetting(&gone)]).await;
    writer.write_some(&mut log).await;
    let all = read_all(&log).await;
    let Some(mut log) = shelf.again(log).await else {
        return;
    };
    assert_eq!(log.cluster(), cluster, "it is the same log");
    let mut catalog = empty_catalog();
    let restored = log.restore(&mut catalog, now()).await;
    assert_eq!(restored, Ok(()));
    assert_eq!(Picture::of(&catalog), Picture::of(&writer.catalog));
    let kept = read_all(&log).await;
    assert_eq!(kept, since_first_of(&kept, &all));
    assert_eq!(kept.last(), all.last());
}

async fn a_log_goes_on_after_a_restart<S: Shelf>(shelf: &S) {
    let (web, one) = (service("web"), id("one"));
    let mut log = shelf.empty().await;
    let first = append_well(&mut log, put(&web, &one, Expected::Absent)).await;
    let reader = log.reader();
    let read = reader.read(Revision(0), 10).await.expect("it can be read");
    assert_eq!(
        read[0].revision, first,
        "a reader sees what the writer wrote"
    );
    // Also while somebody still holds a reader.
    let Some(mut log) = shelf.again(log).await else {
        return;
    };
    drop(reader);
    let restored = log.restore(&mut empty_catalog(), now()).await;
    assert_eq!(restored, Ok(()));
    let conflict = append_one(&mut log, put(&web, &one, Expected::Absent)).await;
    assert_eq!(conflict, Appended::Conflict, "it is there since before");
    let second = append_well(&mut log, put(&web, &one, Expected::At(first))).await;
    assert!(second > first, "{second} after {first}");
    assert_eq!(revisions(&log).await, [first, second]);
}

/// Writes changes, and knows what they come to.
struct Writer {
    catalog: Catalog,
    round: usize,
}

impl Writer {
    fn new() -> Self {
        Self {
            catalog: empty_catalog(),
            round: 0,
        }
    }

    /// A batch of changes as an engine makes them: endpoints come, change and go.
    async fn write_some(&mut self, log: &mut impl Log) -> Vec<Record> {
        let web = service("web");
        self.round += 1;
        let mut batch = Vec::new();
        for n in 0..10 {
            let id = id(&format!("e{}", (self.round * 3 + n) % 15));
            let there = self.catalog.endpoint(&web, &id).map(|found| found.revision);
            batch.push(match there {
                None => put(&web, &id, Expected::Absent),
                Some(at) if n % 3 == 0 => removal(&web, &id, Expected::At(at)),
                Some(at) => put(&web, &id, Expected::At(at)),
            });
        }
        self.write(log, &batch).await
    }

    async fn write(&mut self, log: &mut impl Log, batch: &[Planned]) -> Vec<Record> {
        let mut records = Vec::new();
        for (planned, appended) in batch.iter().zip(append(log, batch).await) {
            let revision = at(appended).expect("no conflict");
            let change = Arc::clone(&planned.change);
            self.catalog.apply(revision, &change, now());
            records.push(Record { revision, change });
        }
        log.published(&Arc::new(self.catalog.clone()));
        records
    }
}

fn empty_catalog() -> Catalog {
    Catalog::new(Limits::default(), 1)
}

/// Everything that a log has to bring back.
#[derive(Debug, PartialEq)]
struct Picture {
    revision: Revision,
    namespaces: BTreeMap<Name, Revision>,
    services: BTreeMap<ServiceKey, (Revision, Option<Emptied>, Vec<Gone>)>,
    endpoints: Vec<(ServiceKey, EndpointId, Revision, Revision, EndpointState)>,
}

impl Picture {
    fn of(catalog: &Catalog) -> Self {
        let namespaces = catalog.namespaces().into_iter();
        let services: BTreeMap<_, _> = catalog
            .services()
            .map(|view| (view.key.clone(), view))
            .collect();
        let endpoints = services.values().flat_map(|view| &view.endpoints);
        let endpoints = endpoints.map(|endpoint| {
            let (service, id) = (endpoint.service.clone(), endpoint.id.clone());
            let state = EndpointState::clone(&endpoint.state);
            (service, id, endpoint.revision, endpoint.incarnation, state)
        });
        Self {
            revision: catalog.revision(),
            namespaces: namespaces
                .map(|view| (view.name.clone(), view.revision))
                .collect(),
            endpoints: endpoints.collect(),
            services: services
                .iter()
                .map(|(key, view)| {
                    let gone = view.gone.iter().cloned().collect();
                    (key.clone(), (view.revision, view.emptied, gone))
                })
                .collect(),
        }
    }
}
