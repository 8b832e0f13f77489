//! Loading: the newest sound snapshot, and every change after it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use hermes_core::catalog::Catalog;
use hermes_core::change::Revision;
use hermes_core::time::Now;
use hermes_discovery::log::{Entities, LogError, Record};

use super::disk::Disk;
use super::files::{read_whole, segment_name, snapshot_name};
use super::segment::{Scanned, scan};
use super::{Shared, snapshot};

/// What loading found beside the state.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) entities: Entities,
    /// Changes after the snapshot.
    pub(super) changes: u64,
    /// What was acknowledged once and cannot be read any more.
    pub(super) damage: Vec<String>,
    /// What was never acknowledged.
    pub(super) unfinished: Vec<String>,
}

/// Puts the state into an empty catalog.
///
/// # Errors
/// When there is nothing sound to begin with.
pub(super) fn load<D: Disk>(
    shared: &Shared<D>,
    catalog: &mut Catalog,
    now: Now,
) -> Result<Loaded, String> {
    let mut loaded = Loaded::default();
    let (segments, snapshots) = {
        let files = shared.files.lock().unwrap();
        (files.segments.clone(), files.snapshots.clone())
    };
    load_snapshot(shared, &snapshots, catalog, &mut loaded, now);
    let base = catalog.revision();
    for service in catalog.services() {
        for endpoint in &service.endpoints {
            let entity = (service.key.clone(), Some(endpoint.id.clone()));
            loaded.entities.put(entity, endpoint.revision);
        }
    }
    if segments.first().is_some_and(|first| *first > base) {
        return Err(format!(
            "no sound snapshot is left, and the changes before revision {} are not kept",
            segments[0]
        ));
    }
    for (after, upto) in ranges(&segments).filter(|(_, upto)| *upto > base) {
        load_segment(shared, (after, upto), catalog, &mut loaded, now);
    }
    Ok(loaded)
}

/// Each segment with the last revision that counts in it.
fn ranges(segments: &[Revision]) -> impl Iterator<Item = (Revision, Revision)> {
    let ends = segments.iter().copied().skip(1).chain([Revision(u64::MAX)]);
    segments.iter().copied().zip(ends)
}

fn load_snapshot<D: Disk>(
    shared: &Shared<D>,
    snapshots: &[Revision],
    catalog: &mut Catalog,
    loaded: &mut Loaded,
    now: Now,
) {
    for at in snapshots.iter().rev() {
        let name = snapshot_name(*at);
        let mut restored = catalog.clone();
        let read = shared.disk.read(&name).map_err(|error| error.to_string());
        let read = read.and_then(|bytes| snapshot::read(bytes, shared.cluster, &mut restored, now));
        match read {
            Ok(_) => {
                *catalog = restored;
                return;
            }
            Err(wrong) => loaded.damage.push(format!("{name}: {wrong}")),
        }
    }
}

fn load_segment<D: Disk>(
    shared: &Shared<D>,
    (after, upto): (Revision, Revision),
    catalog: &mut Catalog,
    loaded: &mut Loaded,
    now: Now,
) {
    let name = segment_name(after);
    let scanned = match read_segment(shared, &name) {
        Ok(scanned) => scanned,
        Err(error) => {
            loaded
                .damage
                .push(format!("{name} cannot be read: {error}"));
            Scanned::default()
        }
    };
    let told = |damage: &super::Damage| format!("{name}, byte {}: {}", damage.offset, damage.what);
    loaded.damage.extend(scanned.damage.iter().map(told));
    for (revision, change) in scanned.changes {
        let expected = Revision(catalog.revision().0 + 1);
        if revision < expected || revision > upto {
            continue;
        }
        if revision > expected {
            loaded.damage.push(missing(expected.0..=revision.0 - 1));
        }
        loaded.entities.note(&change, revision);
        loaded.changes += 1;
        catalog.apply(revision, &Arc::new(change), now);
    }
    if upto == Revision(u64::MAX) || catalog.revision() == upto {
        // What is wrong behind the last change that counts was never acknowledged.
        loaded
            .unfinished
            .extend(scanned.unfinished.iter().map(told));
    } else {
        loaded.damage.extend(scanned.unfinished.iter().map(told));
        loaded
            .damage
            .push(missing(catalog.revision().0 + 1..=upto.0));
        catalog.restore_revision(upto);
    }
}

fn missing(revisions: RangeInclusive<u64>) -> String {
    format!(
        "the changes {} to {} are missing",
        revisions.start(),
        revisions.end()
    )
}

fn read_segment<D: Disk>(shared: &Shared<D>, name: &str) -> std::io::Result<Scanned> {
    Ok(scan(&read_whole(&shared.disk, name)?, shared.cluster))
}

/// The first changes after `revision` that count, at most `limit`.
///
/// # Errors
/// When they are no longer kept, or cannot be read.
pub(super) fn read<D: Disk>(
    shared: &Shared<D>,
    revision: Revision,
    limit: usize,
) -> Result<Vec<Record>, LogError> {
    let (segments, last) = {
        let files = shared.files.lock().unwrap();
        if revision < files.begins_after() {
            return Err(LogError::Compacted);
        }
        (files.segments.clone(), files.last)
    };
    let mut records = Vec::new();
    for (after, upto) in ranges(&segments).filter(|(_, upto)| *upto > revision) {
        let scanned = read_segment(shared, &segment_name(after)).map_err(|error| {
            match error.kind() {
                // Removed between the look and the read.
                std::io::ErrorKind::NotFound => LogError::Compacted,
                _ => LogError::Unavailable(error.to_string()),
            }
        })?;
        let upto = upto.min(last);
        let counts = |found: &Revision| *found > revision && *found <= upto;
        let found = scanned
            .changes
            .into_iter()
            .filter(|(found, _)| counts(found));
        let record = |(revision, change)| Record {
            revision,
            change: Arc::new(change),
        };
        records.extend(found.map(record).take(limit - records.len()));
        if records.len() == limit {
            break;
        }
    }
    Ok(records)
}
