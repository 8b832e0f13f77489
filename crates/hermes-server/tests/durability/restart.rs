//! Restarts of the engine on a directory: nobody notices.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hermes_core::catalog::Catalog;
use hermes_core::change::{ChangeKind, ClusterId, Planned, Revision};
use hermes_core::command::{Claim, Command, Condition, DrainWish, Report, Request};
use hermes_core::health::Health;
use hermes_core::name::EndpointId;
use hermes_core::rejection::Rejection;
use hermes_core::time::{Now, Timestamp};
use hermes_core::wire::request::{Heartbeat, read_patch};
use hermes_discovery::clock::Clock;
use hermes_discovery::engine::{
    Config, Engine, Event, Interest, Outcome, Refusal, ResetReason, Resume, Watcher,
};
use hermes_discovery::log::{Appended, Log, LogError};
use hermes_server::log::disk::Directory;
use hermes_server::log::{FileLog, OpenError, Options, check};

use crate::disk::{Fault, FaultyDisk};
use crate::model::{Picture, id, registration, service};

const NOON: Timestamp = Timestamp(1_795_262_400_000);

/// The log in a directory; waits until whoever held it has let go of it.
async fn open(path: &Path, options: &Options) -> FileLog<Directory> {
    loop {
        match FileLog::open(path, options.clone(), ClusterId(fastrand::u64(..))) {
            Ok(log) => return log,
            Err(OpenError::Held(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn start(log: impl Log) -> Engine {
    let clock = Clock::starting_at(NOON);
    Engine::start(Config::default(), clock, log).await.unwrap()
}

/// The engine on a directory.
async fn begin(path: &Path) -> Engine {
    start(open(path, &Options::default()).await).await
}

async fn restarted(engine: Engine, path: &Path) -> Engine {
    engine.stop();
    drop(engine);
    begin(path).await
}

fn request(command: Command) -> Request {
    Request {
        command,
        actor: "story".into(),
        condition: Condition::Always,
        claim: Claim::Free,
    }
}

fn register(of: &str, json: &str) -> Request {
    request(Command::Register {
        service: service("web"),
        id: id(of),
        registration: registration(json),
        new: false,
    })
}

fn deregister(of: &str) -> Request {
    request(Command::Deregister {
        service: service("web"),
        id: id(of),
        incarnation: None,
    })
}

const PLAIN: &str = r#"{"url": "http://10.0.0.1:80", "ttl": null, "checks": []}"#;
const LEASED: &str = r#"{"url": "http://10.0.0.1:80", "ttl": 10, "checks": []}"#;

async fn submit(engine: &Engine, request: Request) -> Outcome {
    engine.submit(request).await.unwrap()
}

fn is_there(engine: &Engine, of: &str) -> bool {
    engine
        .catalog()
        .endpoint(&service("web"), &id(of))
        .is_some()
}

/// `hermes.json` as it was before records were binary.
const OLDER: &str = r#"{"format":1,"cluster":"0123456789abcdef","crc":1366299672}"#;

#[tokio::test]
async fn health_incarnations_and_revisions_are_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let engine = begin(dir.path()).await;
    let checked = r#"{"url": "http://10.0.0.2:80", "ttl": null, "checks": [{"type": "tcp"}]}"#;
    submit(&engine, register("plain", PLAIN)).await;
    submit(&engine, register("checked", checked)).await;
    submit(&engine, register("gone", PLAIN)).await;
    let endpoint = Arc::clone(
        engine
            .catalog()
            .endpoint(&service("web"), &id("checked"))
            .unwrap(),
    );
    let report = Report {
        service: service("web"),
        id: id("checked"),
        incarnation: endpoint.incarnation,
        check: Arc::new(endpoint.registration().checks[0].clone()),
        health: Health::Degraded,
        evidence: "slow".into(),
    };
    engine.report(report).await.unwrap();
    let (service, id) = (service("web"), id("plain"));
    let patch = read_patch(br#"{"weight": 3, "metadata": {"a": 0.1}}"#).unwrap();
    let wish = Some(DrainWish {
        reason: "a release".into(),
        sticky: true,
    });
    for command in [
        Command::Override {
            service: service.clone(),
            id: id.clone(),
            patch,
        },
        Command::Drain { service, id, wish },
    ] {
        submit(&engine, request(command)).await;
    }
    submit(&engine, deregister("gone")).await;
    let (cluster, before) = (engine.cluster(), Picture::of(&engine.catalog()));
    let mut engine = engine;
    for _ in 0..3 {
        engine = restarted(engine, dir.path()).await;
        assert_eq!(engine.cluster(), cluster);
        let after = Picture::of(&engine.catalog());
        assert!(after == before, "{}", before.differences(&after));
        let again = submit(&engine, register("checked", checked)).await;
        assert!(
            !again.changed,
            "the same registration is nothing new after a restart"
        );
    }
}

#[tokio::test]
async fn a_registration_with_odd_numbers_is_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = begin(dir.path()).await;
    let odd = r#"{"url": "http://10.0.0.1:80", "ttl": 10.00025,
        "checks": [{"type": "tcp", "interval": 1.2345678, "timeout": 0.0001}],
        "metadata": {"a": 67230550351533.805, "b": 48340569277.88857, "c": 1e23, "d": 3387774754768709600123}}"#;
    submit(&engine, register("odd", odd)).await;
    let before = Picture::of(&engine.catalog());
    let engine = restarted(engine, dir.path()).await;
    let after = Picture::of(&engine.catalog());
    assert!(after == before, "{}", before.differences(&after));
    assert!(!submit(&engine, register("odd", odd)).await.changed);
}

#[tokio::test(start_paused = true)]
async fn no_lease_expires_before_its_ttl_has_passed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let engine = begin(dir.path()).await;
    submit(&engine, register("leased", LEASED)).await;
    let engine = passed(engine, Duration::from_millis(9_900)).await;
    let engine = restarted(engine, dir.path()).await;
    let engine = passed(engine, Duration::from_millis(9_900)).await;
    assert!(
        is_there(&engine, "leased"),
        "its lease begins with the start"
    );
    let engine = passed(engine, Duration::from_millis(1_100)).await;
    assert!(
        !is_there(&engine, "leased"),
        "nobody heard from it for its whole lease"
    );
    let engine = restarted(engine, dir.path()).await;
    let heartbeat = engine
        .heartbeat(
            &service("web"),
            &id("leased"),
            &Heartbeat::default(),
            &Claim::Free,
        )
        .await;
    let gone = Rejection::EndpointGone {
        service: service("web"),
        id: id("leased"),
        by: ChangeKind::Expired,
        at: Timestamp(NOON.0 + 10_000),
    };
    assert_eq!(heartbeat, Err(Refusal::Rejected(gone)));
}

/// Lets time pass, on a clock that is paused.
async fn passed(engine: Engine, time: Duration) -> Engine {
    tokio::time::sleep(time).await;
    engine
}

/// A log that takes its time to be read.
struct SlowLog<L>(L);

impl<L: Log> Log for SlowLog<L> {
    type Reader = L::Reader;

    fn reader(&self) -> L::Reader {
        self.0.reader()
    }

    fn cluster(&self) -> ClusterId {
        self.0.cluster()
    }

    fn begins_after(&self) -> Revision {
        self.0.begins_after()
    }

    async fn restore(&mut self, catalog: &mut Catalog, now: Now) -> Result<(), LogError> {
        self.0.restore(catalog, now).await?;
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(())
    }

    async fn append(&mut self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
        self.0.append(batch).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_not_used_up_by_a_slow_start() {
    let dir = tempfile::tempdir().unwrap();
    let engine = begin(dir.path()).await;
    submit(&engine, register("leased", LEASED)).await;
    engine.stop();
    drop(engine);
    let engine = start(SlowLog(open(dir.path(), &Options::default()).await)).await;
    let engine = passed(engine, Duration::from_millis(9_900)).await;
    assert!(
        is_there(&engine, "leased"),
        "it could not be heard while the log was read"
    );
    let engine = passed(engine, Duration::from_millis(1_100)).await;
    assert!(!is_there(&engine, "leased"));
}

#[tokio::test]
async fn what_was_deregistered_stays_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = begin(dir.path()).await;
    submit(&engine, register("one", LEASED)).await;
    submit(&engine, register("two", LEASED)).await;
    submit(&engine, deregister("one")).await;
    for _ in 0..2 {
        engine = restarted(engine, dir.path()).await;
        assert!(!is_there(&engine, "one") && is_there(&engine, "two"));
        let heartbeat = engine
            .heartbeat(
                &service("web"),
                &id("one"),
                &Heartbeat::default(),
                &Claim::Free,
            )
            .await;
        assert!(
            matches!(
                heartbeat,
                Err(Refusal::Rejected(Rejection::EndpointGone {
                    by: ChangeKind::Deregistered,
                    ..
                }))
            ),
            "{heartbeat:?}"
        );
        // A heartbeat that is late does not bring it back.
        assert!(!is_there(&engine, "one"));
    }
    let forget = Command::Forget {
        service: service("web"),
    };
    submit(&engine, request(forget)).await;
    let engine = restarted(engine, dir.path()).await;
    assert!(engine.catalog().service_at(&service("web")).is_none());
    let again = submit(&engine, register("one", LEASED)).await;
    assert!(again.registered, "what is forgotten may come again");
}

/// The changes that a watcher hears until it has heard this one.
async fn heard_until(watcher: &mut Watcher, last: Revision) -> Vec<Revision> {
    let mut heard = Vec::new();
    loop {
        match watcher.next().await {
            Event::Change(change) => heard.push(change.revision),
            Event::Progress(_) => {}
            other => panic!("{other:?} after {heard:?}"),
        }
        if heard.last().is_some_and(|heard| *heard >= last) {
            return heard;
        }
    }
}

#[tokio::test]
async fn watchers_resume_across_restarts_without_gap_or_duplicate() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 4_000,
        snapshot_changes: 10,
        horizon_changes: 40,
        ..Options::default()
    };
    let mut engine = start(open(dir.path(), &options).await).await;
    let cluster = Some(engine.cluster());
    let (mut heard, mut seen) = (Vec::new(), Revision(0));
    for round in 0..12_u64 {
        let resume = Resume::After {
            revision: seen,
            cluster,
        };
        let mut watcher = engine.watch(Interest::everything(), resume).unwrap();
        for n in 0..7 {
            submit(
                &engine,
                register(&format!("e{}", (round * 5 + n) % 9), &numbered(round)),
            )
            .await;
        }
        let last = engine.catalog().revision();
        // The watcher sees only a part before its server goes.
        let part = Revision(last.0 - round % 3);
        let now_heard = heard_until(&mut watcher, part).await;
        seen = *now_heard.last().unwrap();
        heard.extend(now_heard);
        drop(watcher);
        engine.stop();
        drop(engine);
        engine = start(open(dir.path(), &options).await).await;
        assert_eq!(Some(engine.cluster()), cluster);
        assert_eq!(engine.catalog().revision(), last);
    }
    let all: Vec<Revision> = (1..=heard.len() as u64).map(Revision).collect();
    assert_eq!(heard, all, "every change once, in order");
    for (revision, cluster, reason) in [
        (1, cluster, ResetReason::Compacted),
        (seen.0 + 1_000, cluster, ResetReason::Ahead),
        (seen.0, Some(ClusterId(1)), ResetReason::Cluster),
    ] {
        let revision = Revision(revision);
        let resume = Resume::After { revision, cluster };
        let mut watcher = engine.watch(Interest::everything(), resume).unwrap();
        let told = watcher.next().await;
        assert!(
            matches!(told, Event::Reset(told, _) if told == reason),
            "{told:?}"
        );
    }
}

fn numbered(n: u64) -> String {
    format!(
        r#"{{"url": "http://10.0.0.1:80", "ttl": null, "checks": [], "metadata": {{"n": {n}}}}}"#
    )
}

/// Everything about the files of a directory that could be touched.
fn traces(path: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(path).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let modified = entry.metadata().unwrap().modified().unwrap();
        let bytes = fs::read(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), (bytes, modified))
    });
    let mut traces: BTreeMap<_, _> = entries.collect();
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    traces.insert(".".into(), (Vec::new(), modified));
    traces
}

fn refused(path: &Path) -> OpenError {
    let before = traces(path);
    let error = FileLog::open(path, Options::default(), ClusterId(1)).unwrap_err();
    assert_eq!(traces(path), before, "something was touched: {error}");
    error
}

#[tokio::test]
async fn a_directory_that_is_not_ours_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let engine = begin(dir.path()).await;
    submit(&engine, register("one", PLAIN)).await;
    assert!(matches!(refused(dir.path()), OpenError::Held(_)));
    submit(&engine, register("two", PLAIN)).await;

    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("thesis.tex"), "x").unwrap();
    let error = refused(other.path());
    assert!(matches!(&error, OpenError::NotHermes { found, .. } if found == "thesis.tex"));

    let newer = tempfile::tempdir().unwrap();
    fs::write(
        newer.path().join("hermes.json"),
        r#"{"format":3,"cluster":"x"}"#,
    )
    .unwrap();
    assert!(matches!(
        refused(newer.path()),
        OpenError::Newer { format: 3, .. }
    ));

    let older = tempfile::tempdir().unwrap();
    fs::write(older.path().join("hermes.json"), OLDER).unwrap();
    let error = refused(older.path());
    assert!(matches!(
        &error,
        OpenError::Older {
            format: 1,
            readable: 2,
            ..
        }
    ));
    assert!(error.to_string().contains("Register anew"), "{error}");

    let rotten = tempfile::tempdir().unwrap();
    fs::write(rotten.path().join("hermes.json"), "{").unwrap();
    assert!(matches!(refused(rotten.path()), OpenError::Identity { .. }));

    let file = other.path().join("thesis.tex");
    let error = FileLog::open(&file, Options::default(), ClusterId(1)).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[tokio::test]
async fn an_empty_volume_is_empty_whatever_its_file_system_puts_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    let engine = begin(dir.path()).await;
    submit(&engine, register("one", PLAIN)).await;
    let deep = dir.path().join("a/b/c");
    begin(&deep).await;
    assert!(deep.join("hermes.json").exists());
}

#[tokio::test]
async fn what_was_being_written_is_named_and_then_removed() {
    let dir = tempfile::tempdir().unwrap();
    let engine = begin(dir.path()).await;
    submit(&engine, register("one", PLAIN)).await;
    let unfinished = "state-00000000000000000001.snapshot.being-written";
    fs::write(dir.path().join(unfinished), "HERMESS1").unwrap();
    let report = check(dir.path()).unwrap();
    assert_eq!(report.unfinished, [unfinished], "{report}");
    assert!(report.damage.is_empty(), "{report}");
    let engine = restarted(engine, dir.path()).await;
    assert!(is_there(&engine, "one") && !dir.path().join(unfinished).exists());
}

#[tokio::test]
async fn a_change_that_has_rotted_is_a_reset_for_those_who_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = begin(dir.path()).await;
    for n in 0..30 {
        submit(&engine, register(&format!("e{n}"), &numbered(n))).await;
    }
    let (cluster, last) = (Some(engine.cluster()), engine.catalog().revision());
    engine.stop();
    drop(engine);
    // The state is in a snapshot, so that only history is damaged.
    let options = Options {
        snapshot_changes: 1,
        ..Options::default()
    };
    let engine = start(open(dir.path(), &options).await).await;
    submit(&engine, register("last", PLAIN)).await;
    engine.stop();
    drop(engine);
    drop(open(dir.path(), &options).await);
    let path = dir.path().join(format!("changes-{:020}.log", 0));
    let mut bytes = fs::read(&path).unwrap();
    // The id: a text of two bytes, as CBOR begins it.
    let at = bytes.windows(3).position(|found| found == b"\x62e9");
    let at = at.unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();

    let engine = begin(dir.path()).await;
    assert_eq!(engine.catalog().revision(), Revision(last.0 + 1));
    for n in 0..30 {
        assert!(is_there(&engine, &format!("e{n}")), "the state is whole");
    }
    for (revision, is_whole) in [(3, false), (9, false), (10, true), (25, true)] {
        let resume = Resume::After {
            revision: Revision(revision),
            cluster,
        };
        let mut watcher = engine.watch(Interest::everything(), resume).unwrap();
        let first = watcher.next().await;
        if is_whole {
            assert!(matches!(&first, Event::Change(first) if first.revision.0 == revision + 1));
        } else {
            assert!(
                matches!(first, Event::Reset(ResetReason::Compacted, _)),
                "{first:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_changes_and_expiries_and_nothing_else() {
    let disk = FaultyDisk::new(1);
    let options = Options::default();
    let log = FileLog::open_on(disk.clone(), Path::new("disk"), options, ClusterId(7));
    let engine = start(log.unwrap()).await;
    submit(&engine, register("leased", LEASED)).await;
    disk.fail_at(1, Fault::Full);
    let refused = engine.submit(register("two", PLAIN)).await;
    assert!(
        matches!(refused, Err(Refusal::LogUnavailable(_))),
        "{refused:?}"
    );
    assert!(engine.log_lost_at().is_some());
    assert!(is_there(&engine, "leased") && !is_there(&engine, "two"));
    let engine = passed(engine, Duration::from_secs(60)).await;
    assert!(
        is_there(&engine, "leased"),
        "nothing expires that cannot be written down"
    );
    let heartbeat = engine
        .heartbeat(
            &service("web"),
            &id("leased"),
            &Heartbeat::default(),
            &Claim::Free,
        )
        .await;
    assert_eq!(heartbeat, Ok(()), "its lease is open again");
    disk.heal();
    let engine = passed(engine, Duration::from_secs(9)).await;
    assert!(is_there(&engine, "leased"));
    let engine = passed(engine, Duration::from_secs(3)).await;
    assert!(
        !is_there(&engine, "leased"),
        "the log works again, and so do leases"
    );
    assert_eq!(engine.log_lost_at(), None);
    submit(&engine, register("two", PLAIN)).await;
    let disk = disk.crash(crate::disk::Crash::Power);
    let log = FileLog::open_on(disk, Path::new("disk"), Options::default(), ClusterId(1));
    let engine = start(log.unwrap()).await;
    let there: Vec<EndpointId> = engine
        .catalog()
        .service_at(&service("web"))
        .unwrap()
        .endpoints
        .iter()
        .map(|endpoint| endpoint.id.clone())
        .collect();
    assert_eq!(there, [id("two")]);
}
