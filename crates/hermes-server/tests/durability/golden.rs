//! The stored format, as files that are read for ever: what an older release has written is read,
//! and is written the same today.
//!
//! `golden/*.hex` holds the record of one change each, with every form that a state, a check or an
//! override has, and the `.json` beside it is what `hermes log export` says of it. `golden/directory` is
//! a whole data directory. When the format grows, files are added; those that are there never change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hermes_core::catalog::Catalog;
use hermes_core::change::{Cause, Change, ChangeKind, ClusterId, Expected, Planned, Revision};
use hermes_core::check::{Check, CheckKind, HttpCheck, HttpMethod, StatusMatch};
use hermes_core::endpoint::{
    CheckFinding, Drain, EndpointState, InitialHealth, Overrides, Platform, Registration,
};
use hermes_core::health::Health;
use hermes_core::time::{Moment, Now, Timestamp};
use hermes_core::wire::request::read_policy;
use hermes_discovery::log::{Log, Record};
use hermes_server::log::disk::Directory;
use hermes_server::log::{FileLog, Options, check, export};

use crate::disk::FaultyDisk;
use crate::model::{Picture, empty, id, registration, service};

const CLUSTER: ClusterId = ClusterId(0x0123_4567_89ab_cdef);
const NOON: Timestamp = Timestamp(1_795_262_400_000);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/durability/golden")
        .join(name)
}

/// The golden record of a change.
fn record(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(golden(&format!("{name}.hex"))).unwrap();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |two: &[u8]| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Bytes as a golden record shows them.
fn hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.join(" ") + "\n"
    };
    bytes.chunks(32).map(line).collect()
}

fn now() -> Now {
    Now {
        moment: Moment(0),
        time: NOON,
    }
}

/// Every form of a stored change, by the name of its file, in an order in which they make sense.
fn changes() -> Vec<(&'static str, Change)> {
    let smallest = state(registration(
        r#"{"url": "http://10.0.0.1", "ttl": null, "checks": []}"#,
    ));
    let mut largest = state(Arc::new(largest_registration()));
    largest.findings = findings();
    let updated = EndpointState {
        incarnation: Some(Revision(1)),
        overrides: Arc::new(overrides()),
        ..smallest.clone()
    };
    let drained = EndpointState {
        drain: Some(Drain {
            reason: "a new \"release\"".into(),
            sticky: true,
            since: NOON,
        }),
        ..updated.clone()
    };
    let mut sick = EndpointState {
        incarnation: Some(Revision(2)),
        since: Timestamp(NOON.0 + 1),
        ..largest.clone()
    };
    sick.findings[0].health = Health::Unhealthy;
    vec![
        (
            "registered-smallest",
            put("web-1", ChangeKind::Registered, smallest),
        ),
        (
            "registered-largest",
            put("web-2", ChangeKind::Registered, largest),
        ),
        ("updated", put("web-1", ChangeKind::Updated, updated)),
        ("drain", put("web-1", ChangeKind::Drain, drained)),
        ("health", put("web-2", ChangeKind::Health, sick)),
        (
            "deregistered",
            removal("web-1", ChangeKind::Deregistered, 1),
        ),
        ("expired", removal("web-2", ChangeKind::Expired, 2)),
        ("forgotten", change(ChangeKind::Forgotten)),
    ]
}

fn change(kind: ChangeKind) -> Change {
    Change {
        kind,
        service: service("web"),
        id: None,
        incarnation: None,
        state: None,
        policy: None,
        time: NOON,
        actor: "10.0.0.9".into(),
        cause: Cause::new("story", "its \"detail\""),
    }
}

fn put(of: &str, kind: ChangeKind, state: EndpointState) -> Change {
    Change {
        id: Some(id(of)),
        incarnation: state.incarnation,
        state: Some(Arc::new(state)),
        cause: Cause::new("story", ""),
        ..change(kind)
    }
}

fn removal(of: &str, kind: ChangeKind, incarnation: u64) -> Change {
    Change {
        id: Some(id(of)),
        incarnation: Some(Revision(incarnation)),
        ..change(kind)
    }
}

fn state(registration: Arc<Registration>) -> EndpointState {
    EndpointState {
        owner: None,
        incarnation: None,
        registration,
        overrides: Arc::default(),
        drain: None,
        findings: Vec::new(),
        started: true,
        flapping: false,
        registered_at: NOON,
        since: NOON,
    }
}

fn findings() -> Vec<CheckFinding> {
    let finding = |health: Health| CheckFinding {
        health,
        since: NOON,
        evidence: format!("it is {}", health.word()).into(),
    };
    [
        Health::Healthy,
        Health::Degraded,
        Health::Unknown,
        Health::Unhealthy,
    ]
    .map(finding)
    .to_vec()
}

fn overrides() -> Overrides {
    Overrides {
        metadata: [("hidden", serde_json::Value::Null), ("version", "2".into())]
            .into_iter()
            .collect(),
        tags: Some(vec!["canary".into()]),
        weight: Some(0),
        zone: Some("eu-1b".into()),
    }
}

fn largest_registration() -> Registration {
    let json = r#"{"url": "https://[2001:db8::1]:8443/base", "ports": {"admin": 9000, "rpc": {"port": 9001, "scheme": "grpc"}},
        "metadata": {"a": [1, -2, 0.1, 1e300, true, null, {"b": "\u0000\u2028ß"}]},
        "tags": ["a", "b"], "zone": "eu-1a", "weight": 65535, "environment": "kubernetes", "ttl": "1500ms"}"#;
    let http = HttpCheck {
        path: "/health?deep=1".into(),
        method: HttpMethod::Head,
        expect_status: vec![StatusMatch::Class(2), StatusMatch::Exact(304)],
        expect_body: Some("\"ok\"".into()),
    };
    let http = Check {
        name: "deep".into(),
        port: "admin".into(),
        interval: Duration::from_millis(1_500),
        timeout: Duration::from_millis(250),
        attempts: 1,
        rise: 2,
        fall: 3,
        grace: Duration::from_secs(60),
        dry_run: true,
        ..Check::new(CheckKind::Http(http))
    };
    let kinds = [
        CheckKind::Http(HttpCheck::default()),
        CheckKind::Tcp,
        CheckKind::Heartbeat,
    ];
    Registration {
        checks: std::iter::once(http).chain(kinds.map(Check::new)).collect(),
        checks_by_default: false,
        initial_health: InitialHealth::Healthy,
        platform: Platform::Kubernetes,
        ..Registration::clone(&registration(json))
    }
}

/// The state after all changes but the last three, which remove everything.
fn golden_catalog() -> Catalog {
    let mut catalog = empty();
    for (revision, (_, change)) in (1..).zip(&changes()[..5]) {
        catalog.apply(Revision(revision), &Arc::new(change.clone()), now());
    }
    catalog
}

/// The files of a log: all changes in two batches, and a snapshot between them.
async fn files_written_today() -> BTreeMap<String, Vec<u8>> {
    let disk = FaultyDisk::new(0);
    let options = Options {
        snapshot_changes: 5,
        ..Options::default()
    };
    let log = FileLog::open_on(disk.clone(), Path::new("golden"), options, CLUSTER);
    let mut log = log.unwrap();
    log.restore(&mut empty(), now()).await.unwrap();
    let planned = |(_, change)| Planned {
        change: Arc::new(change),
        expected: Expected::Anything,
    };
    let planned: Vec<Planned> = changes().into_iter().map(planned).collect();
    log.append(&planned[..5]).await.unwrap();
    log.due_snapshot(&Arc::new(golden_catalog()))
        .unwrap()
        .write();
    log.append(&planned[5..]).await.unwrap();
    drop(log);
    disk.files()
}

/// The payloads of the records of a segment, by the description of the format and not by its code.
fn payloads(segment: &[u8]) -> Vec<Vec<u8>> {
    let number = |at: usize| u32::from_le_bytes(segment[at..at + 4].try_into().unwrap()) as usize;
    let (mut payloads, mut at) = (Vec::new(), 32);
    while at < segment.len() {
        assert_eq!(&segment[at..at + 4], b"HBAT");
        let (end, mut record) = (at + 32 + number(at + 4), at + 32);
        while record < end {
            let payload = record + 8..record + 8 + number(record);
            record = payload.end;
            payloads.push(segment[payload].to_vec());
        }
        at = end;
    }
    payloads
}

/// A segment with these payloads, one batch each, by the description of the format.
fn segment_of(payloads: &[Vec<u8>]) -> Vec<u8> {
    let crc = |parts: &[&[u8]]| crc32fast::hash(&parts.concat()).to_le_bytes();
    let mut segment = [&b"HERMESL2"[..], &CLUSTER.0.to_le_bytes(), &[0; 8]].concat();
    segment.extend(crc(&[&segment.clone()]));
    segment.extend([0; 4]);
    for (revision, payload) in (1_u64..).zip(payloads) {
        let length = u32::try_from(payload.len()).unwrap();
        let head = [
            &b"HBAT"[..],
            &(length + 8).to_le_bytes(),
            &1_u32.to_le_bytes(),
            &[0; 4],
            &revision.to_le_bytes(),
        ];
        segment.extend(head.concat());
        segment.extend(crc(&head));
        segment.extend([0; 4]);
        segment.extend(length.to_le_bytes());
        segment.extend(crc(&[&revision.to_le_bytes(), payload]));
        segment.extend(payload);
    }
    segment
}

#[tokio::test]
async fn every_form_of_a_change_is_written_as_ever() {
    let files = files_written_today().await;
    let segments = files.iter().filter(|(name, _)| name.ends_with(".log"));
    let written: Vec<Vec<u8>> = segments.flat_map(|(_, bytes)| payloads(bytes)).collect();
    assert_eq!(written.len(), changes().len());
    for ((name, _), written) in changes().iter().zip(written) {
        assert_eq!(hex(&written), hex(&record(name)), "{name}");
    }
}

#[tokio::test]
async fn every_form_of_a_change_is_read_as_ever() {
    let payloads: Vec<Vec<u8>> = changes().iter().map(|(name, _)| record(name)).collect();
    let mut files = files_written_today().await;
    files.retain(|name, _| name == "hermes.json");
    files.insert(format!("changes-{:020}.log", 0), segment_of(&payloads));
    let disk = FaultyDisk::holding(&files);
    let log = FileLog::open_on(disk, Path::new("golden"), Options::default(), ClusterId(1));
    let mut log = log.unwrap();
    log.restore(&mut empty(), now()).await.unwrap();
    let records = log.read(Revision(0), 100).await.unwrap();
    let expected = (1..).zip(changes()).map(|(revision, (_, change))| Record {
        revision: Revision(revision),
        change: Arc::new(change),
    });
    assert_eq!(records, expected.collect::<Vec<_>>());
}

/// What people and programs see of a log are lines of JSON, however it is stored.
#[test]
fn every_form_of_a_change_is_exported_as_ever() {
    let changes = [changes(), later_changes()].concat();
    let records: Vec<Vec<u8>> = changes.iter().map(|(name, _)| record(name)).collect();
    let directory = tempfile::tempdir().unwrap();
    let identity = golden("directory").join("hermes.json");
    std::fs::copy(identity, directory.path().join("hermes.json")).unwrap();
    let segment = directory.path().join(format!("changes-{:020}.log", 0));
    std::fs::write(segment, segment_of(&records)).unwrap();
    let mut lines = Vec::new();
    let disk = Directory::look_at(directory.path());
    export(&disk, directory.path(), |line| {
        lines.push(line.to_owned());
        Ok(())
    })
    .unwrap();
    assert_eq!(lines.len(), changes.len());
    for ((revision, line), (name, _)) in (1..).zip(lines).zip(changes) {
        let golden = std::fs::read_to_string(golden(&format!("{name}.json"))).unwrap();
        let golden = golden.replacen('{', &format!("{{\"revision\":{revision},"), 1);
        assert_eq!(line, golden, "{name}");
    }
}

#[tokio::test]
async fn a_directory_is_written_as_ever() {
    let files = files_written_today().await;
    for (name, bytes) in &files {
        let golden = std::fs::read(golden("directory").join(name)).unwrap();
        assert!(golden == *bytes, "{name} is not written as it was");
    }
}

#[tokio::test]
async fn a_directory_is_read_as_ever() {
    let report = check(&golden("directory")).unwrap();
    assert!(
        report.damage.is_empty() && report.unfinished.is_empty(),
        "{report}"
    );
    assert_eq!((report.cluster, report.last), (CLUSTER, Revision(8)));
    // Only the snapshot, and then what comes after it.
    let mut files = files_written_today().await;
    for (name, bytes) in &mut files {
        *bytes = std::fs::read(golden("directory").join(name)).unwrap();
    }
    let after = format!("changes-{:020}.log", 5);
    for (is_kept, expected) in [(false, golden_catalog()), (true, all_applied())] {
        let mut files = files.clone();
        files.retain(|name, _| !name.ends_with(".log") || is_kept && *name == after);
        let disk = FaultyDisk::holding(&files);
        let log = FileLog::open_on(disk, Path::new("golden"), Options::default(), ClusterId(1));
        let (mut log, mut found) = (log.unwrap(), empty());
        log.restore(&mut found, now()).await.unwrap();
        let (expected, found) = (Picture::of(&expected), Picture::of(&found));
        assert!(found == expected, "{}", expected.differences(&found));
    }
}

fn all_applied() -> Catalog {
    let mut catalog = golden_catalog();
    for (revision, (_, change)) in (6..).zip(changes().split_off(5)) {
        catalog.apply(Revision(revision), &Arc::new(change), now());
    }
    catalog
}

/// Members that came later, each in a file of its own; what has none of them is read as ever.
#[tokio::test]
async fn what_came_later_is_written_and_read_as_ever() {
    for (name, change) in later_changes() {
        is_written_and_read(name, change).await;
    }
}

async fn is_written_and_read(name: &str, change: Change) {
    let golden = record(name);
    let mut files = files_written_today().await;
    files.retain(|name, _| name == "hermes.json");
    files.insert(
        format!("changes-{:020}.log", 0),
        segment_of(std::slice::from_ref(&golden)),
    );
    let disk = FaultyDisk::holding(&files);
    let log = FileLog::open_on(disk, Path::new("golden"), Options::default(), ClusterId(1));
    let mut log = log.unwrap();
    log.restore(&mut empty(), now()).await.unwrap();
    let records = log.read(Revision(0), 100).await.unwrap();
    assert_eq!(*records[0].change, change);
    assert_eq!(hex(&written_today(change).await), hex(&golden), "{name}");
}

/// The bytes that are written for a change.
async fn written_today(change: Change) -> Vec<u8> {
    let disk = FaultyDisk::new(0);
    let options = Options::default();
    let log = FileLog::open_on(disk.clone(), Path::new("golden"), options, CLUSTER);
    let (mut log, mut catalog) = (log.unwrap(), empty());
    log.restore(&mut catalog, now()).await.unwrap();
    let planned = Planned {
        change: Arc::new(change),
        expected: Expected::Anything,
    };
    log.append(&[planned]).await.unwrap();
    let files = disk.files();
    let mut segments = files.iter().filter(|(name, _)| name.ends_with(".log"));
    let payload = segments.find_map(|(_, bytes)| payloads(bytes).into_iter().next());
    payload.expect("it was written")
}

/// Every form that came after the first release of the format, by the name of its file.
fn later_changes() -> Vec<(&'static str, Change)> {
    let tls = r#"{"url": "https://10.0.0.1", "checks": [{"type": "http", "tls":
        {"server_name": "web", "ca": "-----BEGIN CERTIFICATE-----", "verify": false}}]}"#;
    let mut flapping = state(registration(tls));
    flapping.findings = findings().split_off(3);
    flapping.flapping = true;
    let mut by_default = state(registration(r#"{"url": "http://10.0.0.1"}"#));
    by_default.findings = findings().split_off(3);
    vec![
        owned(),
        ("policy", policy_change()),
        (
            "registered-checks-by-default",
            put("web-1", ChangeKind::Registered, by_default),
        ),
        (
            "health-flapping-tls",
            put("web-1", ChangeKind::Health, flapping),
        ),
    ]
}

fn policy_change() -> Change {
    let body = br#"{"checks": [{"type": "tcp"}], "cache_ttl": 60, "selection": "weighted"}"#;
    Change {
        policy: Some(Arc::new(read_policy(body).unwrap())),
        ..change(ChangeKind::Policy)
    }
}

fn owned() -> (&'static str, Change) {
    let registered = state(registration(
        r#"{"url": "http://10.0.0.1", "ttl": null, "checks": []}"#,
    ));
    let owned = EndpointState {
        owner: Some("team \"web\"".into()),
        ..registered
    };
    (
        "registered-owned",
        put("web-1", ChangeKind::Registered, owned),
    )
}

/// Writes what is not there yet, for a format that has grown. Never touches a file that is there.
#[tokio::test]
#[ignore = "writes golden files"]
async fn write_golden_files() {
    std::fs::create_dir_all(golden("directory")).unwrap();
    let files = files_written_today().await;
    let segments = files.iter().filter(|(name, _)| name.ends_with(".log"));
    let written = segments.flat_map(|(_, bytes)| payloads(bytes));
    let names = changes();
    let changes = names
        .iter()
        .map(|(name, _)| golden(&format!("{name}.hex")))
        .zip(written.map(|record| hex(&record).into_bytes()));
    let directory = files
        .iter()
        .map(|(name, bytes)| (golden("directory").join(name), bytes.clone()));
    let mut all: Vec<_> = changes.chain(directory).collect();
    for (name, change) in later_changes() {
        let record = hex(&written_today(change).await).into_bytes();
        all.push((golden(&format!("{name}.hex")), record));
    }
    for (path, bytes) in all {
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
        }
    }
}
