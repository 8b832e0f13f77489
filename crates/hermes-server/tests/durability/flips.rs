//! Bits that flip on the disk: what has rotted is named and never served, and what is whole stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hermes_core::catalog::Catalog;
use hermes_core::change::{ClusterId, Revision};
use hermes_core::endpoint::EndpointState;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_discovery::log::{Log, Record};
use hermes_server::log::{FileLog, OpenError, Options, Report, check_on, export};

use crate::disk::{Crash, FaultyDisk};
use crate::model::{Model, Picture, empty};

const CLUSTER: ClusterId = ClusterId(0x0123_4567_89ab_cdef);

/// A log that is whole, and everything about it.
struct Specimen {
    files: BTreeMap<String, Vec<u8>>,
    model: Model,
    /// The changes that are kept, each with its line in an export.
    kept: Vec<(Record, String)>,
    /// Every state that an endpoint ever had.
    states: BTreeMap<(ServiceKey, EndpointId, Revision), (Revision, EndpointState)>,
    is_compacted: bool,
    is_closed: bool,
}

fn options(horizon_changes: u64) -> Options {
    Options {
        segment_bytes: 6_000,
        snapshot_changes: 20,
        horizon_changes,
        horizon: Duration::from_secs(86_400),
    }
}

/// A log of some sixty changes. Compacted, it begins with a snapshot that is the only one; closed,
/// it was ended in order.
async fn specimen(is_compacted: bool, is_closed: bool) -> Specimen {
    let disk = FaultyDisk::new(0);
    let options = options(if is_compacted { 0 } else { 1_000 });
    let log = FileLog::open_on(disk.clone(), Path::new("disk"), options, CLUSTER);
    let (mut log, mut model) = (log.unwrap(), Model::new(u64::from(is_compacted)));
    let mut states = BTreeMap::new();
    log.restore(&mut empty(), model.now()).await.unwrap();
    while model.history.len() < 55 || disk.files().len() < 4 {
        let batch = model.batch();
        let appended = log.append(&batch.planned).await.unwrap();
        model.acknowledged(&batch, &appended);
        for service in model.catalog.services() {
            for endpoint in &service.endpoints {
                let key = (service.key.clone(), endpoint.id.clone(), endpoint.revision);
                let state = (endpoint.incarnation, EndpointState::clone(&endpoint.state));
                states.insert(key, state);
            }
        }
        if let Some(due) = log.due_snapshot(&Arc::new(model.catalog.clone())) {
            due.write();
        }
    }
    let begins_after = usize::try_from(log.begins_after().0).unwrap();
    assert_eq!(is_compacted, begins_after > 0);
    let disk = if is_closed {
        drop(log);
        disk
    } else {
        disk.crash(Crash::Kill)
    };
    let files = disk.files();
    let snapshots = files
        .keys()
        .filter(|name| name.ends_with(".snapshot"))
        .count();
    assert!(if is_compacted {
        snapshots == 1
    } else {
        snapshots > 1
    });
    let kept = model.history[begins_after..].iter().cloned();
    Specimen {
        kept: kept.zip(exported(&FaultyDisk::holding(&files))).collect(),
        files,
        model,
        states,
        is_compacted,
        is_closed,
    }
}

#[tokio::test]
async fn two_thousand_flipped_bits_are_named_and_never_served() {
    let specimens = [
        specimen(false, true).await,
        specimen(true, true).await,
        specimen(false, false).await,
    ];
    for seed in 0..2_000_u64 {
        let specimen = &specimens[usize::try_from(seed % 3).unwrap()];
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut files = specimen.files.clone();
        let name = rng.choice(files.keys()).unwrap().clone();
        let bytes = files.get_mut(&name).unwrap();
        let (at, bit) = (rng.usize(..bytes.len()), rng.u8(..8));
        bytes[at] ^= 1 << bit;
        let what = format!("seed {seed}: bit {bit} of byte {at} of {name}");
        specimen.look_at_flipped(&files, &name, (seed, &what)).await;
    }
}

fn exported(disk: &FaultyDisk) -> Vec<String> {
    let mut lines = Vec::new();
    let done = export(disk, Path::new("disk"), |line| {
        lines.push(line.to_owned());
        Ok(())
    });
    done.unwrap();
    lines
}

impl Specimen {
    async fn look_at_flipped(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
        name: &str,
        (seed, what): (u64, &str),
    ) {
        let disk = FaultyDisk::holding(files);
        let report = check_on(&disk, Path::new("disk")).unwrap();
        self.is_named(&report, name, what);
        let lost = self.lost_changes(&disk, what);
        let options = options(1_000);
        let log = FileLog::open_on(disk.clone(), Path::new("disk"), options, ClusterId(1));
        let mut log = log.unwrap();
        assert_eq!(log.cluster(), CLUSTER, "{what}");
        let mut found = empty();
        log.restore(&mut found, self.model.now()).await.unwrap();
        let mut count = 0;
        for service in found.services() {
            for endpoint in &service.endpoints {
                let key = (service.key.clone(), endpoint.id.clone(), endpoint.revision);
                let state = (endpoint.incarnation, EndpointState::clone(&endpoint.state));
                assert_eq!(
                    self.states.get(&key),
                    Some(&state),
                    "{what}: {key:?} never was"
                );
                count += 1;
            }
        }
        if self.is_compacted && name.ends_with(".snapshot") {
            let all = self
                .model
                .catalog
                .services()
                .map(|view| view.endpoints.len());
            assert!(
                count + 1 >= all.sum::<usize>(),
                "{what}: more than one endpoint is lost"
            );
        } else {
            self.is_what_is_left(&Picture::of(&found), &lost, name, what);
        }
        if seed.is_multiple_of(5) {
            self.goes_on(log, found, disk, what).await;
        }
    }

    /// Whatever it was, the log goes on, and does not forget that again.
    async fn goes_on(
        &self,
        mut log: FileLog<FaultyDisk>,
        found: Catalog,
        disk: FaultyDisk,
        what: &str,
    ) {
        let mut model = Model::new(7);
        let mut picture = Picture::of(&found);
        model.catalog = found;
        for _ in 0..2 {
            let batch = model.batch();
            let appended = log.append(&batch.planned).await.unwrap();
            model.follow(&batch, &appended);
            picture = Picture::of(&model.catalog);
        }
        drop(log);
        let log = FileLog::open_on(disk, Path::new("disk"), options(1_000), ClusterId(1));
        let mut again = empty();
        log.unwrap().restore(&mut again, model.now()).await.unwrap();
        let differences = picture.differences(&Picture::of(&again));
        assert!(Picture::of(&again) == picture, "{what}: {differences}");
    }

    fn is_named(&self, report: &Report, name: &str, what: &str) {
        let is_about = |line: &&String| line.starts_with(name);
        let mut lines = report.damage.iter().chain(&report.unfinished);
        assert!(
            lines.any(|line| is_about(&line)),
            "{what} is not named:\n{report}"
        );
        if self.is_closed {
            // But for the mark itself that says so.
            let closing = report
                .unfinished
                .iter()
                .all(|line| line.contains("no batch begins"));
            assert!(closing, "{what} looks like a crash:\n{report}");
        }
    }

    /// The revisions of the changes that cannot be read any more: one bit hides one change.
    fn lost_changes(&self, disk: &FaultyDisk, what: &str) -> Vec<Revision> {
        let lines = exported(disk);
        let is_lost = |(_, line): &&(Record, String)| !lines.contains(line);
        let lost = self.kept.iter().filter(is_lost);
        let lost: Vec<Revision> = lost.map(|(record, _)| record.revision).collect();
        let left = self.kept.len() - lost.len();
        assert_eq!(lines.len(), left, "{what}: something is made up");
        // What comes behind a place that was perhaps never durable is not believed.
        let in_doubt = !self.is_closed && lost.last().map(|last| last.0) == Some(self.last());
        assert!(lost.len() <= 1 || in_doubt, "{what} hides {lost:?}");
        lost
    }

    fn last(&self) -> u64 {
        self.model.history.len() as u64
    }

    /// What is found is what was there without the changes that were lost, or, where a snapshot has
    /// them, all of it.
    fn is_what_is_left(&self, found: &Picture, lost: &[Revision], name: &str, what: &str) {
        let mut catalog = empty();
        for record in &self.model.history {
            if !lost.contains(&record.revision) {
                catalog.apply(record.revision, &record.change, self.model.now());
            }
        }
        if self.is_closed {
            catalog.restore_revision(Revision(self.last()));
        }
        let left = Picture::of(&catalog);
        let all = Picture::of(&self.model.catalog);
        assert!(
            *found == left || *found == all,
            "{what}: what is left is not what is found: {}",
            left.differences(found)
        );
        if !name.ends_with(".log") {
            assert!(*found == all, "{what}: {}", all.differences(found));
        }
    }
}

#[tokio::test]
async fn a_directory_without_anything_sound_is_refused() {
    let specimen = specimen(true, true).await;
    let mut files = specimen.files.clone();
    for (name, bytes) in &mut files {
        if name.ends_with(".snapshot") {
            bytes.truncate(20);
        }
    }
    let disk = FaultyDisk::holding(&files);
    let log = FileLog::open_on(disk.clone(), Path::new("disk"), options(1), CLUSTER);
    let refused = log
        .unwrap()
        .restore(&mut empty(), specimen.model.now())
        .await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("no snapshot can be read"), "{text}");
    for bytes in files.values_mut() {
        bytes.clear();
    }
    let log = FileLog::open_on(
        FaultyDisk::holding(&files),
        Path::new("disk"),
        options(1),
        CLUSTER,
    );
    assert!(matches!(log, Err(OpenError::Identity { .. })));
}
