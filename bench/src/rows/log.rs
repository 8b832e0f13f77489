//! The log by itself, beside redb: the same number of changes, as many in a commit, each commit synced.
//!
//! redb is handed bytes, as many as a change takes in our log, and keeps them under their revision. The
//! file log is handed changes: it also judges their preconditions, encodes them and sums them up. Both
//! work in one process on one thread, with another for our syncs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hermes_core::change::{Cause, Change, ChangeKind, ClusterId, Expected, Planned};
use hermes_core::endpoint::{EndpointState, Registration};
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::time::Timestamp;
use hermes_core::wire::request::read_registration;
use hermes_discovery::log::Log;
use hermes_server::log::{FileLog, Options};
use redb::{Database, TableDefinition};
use tokio::runtime::{self, Runtime};
use tokio::time::Instant;

use crate::args::Plan;
use crate::failure::Failure;
use crate::rounds::{Spread, Wait};
use crate::rows::{Measured, Row};
use crate::spent;
use crate::start::Scratch;

/// Changes in a commit.
const BATCH: u64 = 64;
/// Commits of one side in one round.
const COMMITS: u64 = 400;
/// What a service says of itself.
const BODY: &str = r#"{"url": "http://10.1.2.3:8080", "ttl": null, "checks": [], "metadata": {"version": "1.42.0", "commit": "0f3c9a1e"}, "tags": ["blue"], "zone": "eu-1"}"#;
const CHANGES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("changes");

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        name: "log",
        about: "400 commits of 64 changes, file log beside redb",
        target: 1.0,
        measure: |plan, _| measure(plan),
    }]
}

/// What one side took.
#[derive(Debug, Clone, Copy)]
struct Took {
    clock: Duration,
    processor: Duration,
    bytes: u64,
}

fn measure(plan: &Plan) -> Result<Measured, Failure> {
    let mut waits = Vec::new();
    let (mut of_processor, mut of_bytes) = (Vec::new(), Vec::new());
    let runtime = runtime::Builder::new_current_thread()
        // The processor time of a thread that has ended is nobody's.
        .thread_keep_alive(Duration::from_secs(3_600))
        .build()
        .map_err(Failure::of("starting a runtime"))?;
    for round in 0..=plan.rounds {
        let ours = in_scratch(|path| of_file_log(&runtime, path))?;
        let length = usize::try_from(ours.bytes / (BATCH * COMMITS)).unwrap_or(0);
        let redb = in_scratch(|path| of_redb(path, length))?;
        // The first round does not count.
        if round > 0 {
            waits.push(Wait {
                floor: redb.clock,
                hermes: ours.clock,
            });
            of_processor.push(ours.processor.as_secs_f64() / redb.processor.as_secs_f64());
            of_bytes.push(ours.bytes as f64 / redb.bytes as f64);
        }
    }
    let fact = |what, ratios: Vec<f64>| {
        let Spread { median, min, max } = Spread::of(ratios.into_iter());
        (what, format!("{median:.2} ({min:.2}..{max:.2})"))
    };
    let facts = vec![
        fact("processor time, for each second of redb's", of_processor),
        fact("bytes on disk, for each of redb's", of_bytes),
    ];
    Ok(Measured::Waited { waits, facts })
}

fn in_scratch(side: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<Took, Failure> {
    let scratch = Scratch::new()?;
    let path = PathBuf::from(scratch.text());
    let (before, began) = (spent::by_process("self")?, Instant::now());
    side(&path)?;
    let (clock, after) = (began.elapsed(), spent::by_process("self")?);
    Ok(Took {
        clock,
        processor: after.saturating_sub(before),
        bytes: scratch.bytes(),
    })
}

fn of_file_log(runtime: &Runtime, path: &Path) -> Result<(), Failure> {
    let batch = batch()?;
    runtime.block_on(async {
        let log = FileLog::open(path, Options::default(), ClusterId(1));
        let mut log = log.map_err(|error| unusable(&error))?;
        for _ in 0..COMMITS {
            let appended = log.append(&batch).await;
            appended.map_err(|error| unusable(&error))?;
        }
        Ok(())
    })
}

fn of_redb(path: &Path, length: usize) -> Result<(), Failure> {
    let change = vec![b'x'; length];
    let database = Database::create(path.join("redb"));
    let database = database.map_err(|error| unusable(&error))?;
    for first in (0..COMMITS).map(|commit| commit * BATCH) {
        let commit = || -> Result<(), redb::Error> {
            let writing = database.begin_write()?;
            let mut changes = writing.open_table(CHANGES)?;
            for revision in first..first + BATCH {
                changes.insert(revision, &*change)?;
            }
            drop(changes);
            Ok(writing.commit()?)
        };
        commit().map_err(|error| unusable(&error))?;
    }
    Ok(())
}

fn unusable(error: &dyn std::fmt::Display) -> Failure {
    Failure::Unusable(error.to_string())
}

/// Registrations of as many endpoints.
fn batch() -> Result<Vec<Planned>, Failure> {
    let registration = read_registration(BODY.as_bytes());
    let registration = Arc::new(registration.map_err(|problem| unusable(&problem.detail))?);
    (0..BATCH).map(|n| planned(n, &registration)).collect()
}

fn planned(n: u64, registration: &Arc<Registration>) -> Result<Planned, Failure> {
    let at = Timestamp(1_795_262_400_000);
    let name = Name::parse(&format!("service-{n}")).map_err(|error| unusable(&error))?;
    let id = EndpointId::parse("one").map_err(|error| unusable(&error))?;
    let state = EndpointState {
        incarnation: None,
        owner: None,
        registration: Arc::clone(registration),
        overrides: Arc::default(),
        drain: None,
        findings: Vec::new(),
        started: true,
        flapping: false,
        registered_at: at,
        since: at,
    };
    let change = Change {
        kind: ChangeKind::Registered,
        service: ServiceKey::new(Name::default_namespace(), name),
        id: Some(id),
        incarnation: None,
        state: Some(Arc::new(state)),
        policy: None,
        time: at,
        actor: "bench".into(),
        cause: Cause::new("registered", ""),
    };
    Ok(Planned {
        change: Arc::new(change),
        expected: Expected::Anything,
    })
}
