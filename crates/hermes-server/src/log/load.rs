//! Loading: the newest sound snapshot, and every change after it that counts.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use hermes_core::catalog::Catalog;
use hermes_core::change::{Change, Revision};
use hermes_core::time::Now;
use hermes_discovery::log::Entities;

use super::disk::Disk;
use super::files::{read_whole, segment_name, snapshot_name};
use super::segment::{Damage, Scanned, scan};
use super::{Shared, segment, snapshot};

/// What loading found beside the state.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) entities: Entities,
    /// How many changes came after the snapshot.
    pub(super) changes: u64,
    /// The changes at the end that may be nowhere but in the memory of the machine.
    pub(super) doubtful: Vec<(Revision, Arc<Change>)>,
    /// Snapshots that are of no use.
    pub(super) unsound: Vec<Revision>,
    /// The last change that is missing.
    pub(super) missing_upto: Revision,
    /// What was acknowledged once and cannot be read any more.
    pub(super) damage: Vec<String>,
    /// What was never acknowledged.
    pub(super) unfinished: Vec<String>,
}

/// Puts the state into an empty catalog.
///
/// # Errors
/// When there is nothing to begin with, or a segment cannot be read at all: whoever went on without
/// it would make it void for good, and it may be readable again tomorrow.
pub(super) fn load<D: Disk>(
    shared: &Shared<D>,
    catalog: &mut Catalog,
    now: Now,
) -> Result<Loaded, String> {
    let mut loaded = Loaded::default();
    let (segments, snapshots) = {
        let files = shared.files.lock().unwrap();
        let snapshots: Vec<Revision> = files.snapshots.iter().map(|found| found.at).collect();
        (files.segments.clone(), snapshots)
    };
    load_snapshot(shared, (&segments, &snapshots), catalog, &mut loaded, now)?;
    let base = catalog.revision();
    for (after, upto) in ranges(&segments).filter(|(_, upto)| upto.is_none_or(|upto| upto > base)) {
        load_segment(shared, (after, upto), catalog, &mut loaded, now)
            .map_err(|error| format!("{} cannot be read: {error}", segment_name(after)))?;
    }
    for service in catalog.services() {
        for endpoint in &service.endpoints {
            let entity = (service.key.clone(), Some(endpoint.id.clone()));
            loaded.entities.put(entity, endpoint.revision);
        }
    }
    Ok(loaded)
}

/// Each segment with the last revision that counts in it; the newest goes as far as it goes.
pub(super) fn ranges(segments: &[Revision]) -> impl Iterator<Item = (Revision, Option<Revision>)> {
    let ends = segments.iter().copied().skip(1).map(Some).chain([None]);
    segments.iter().copied().zip(ends)
}

/// Begins with the newest sound snapshot that the segments go on from; with none at all when they go
/// back to the beginning; with what is left of a damaged one when nothing else is there.
fn load_snapshot<D: Disk>(
    shared: &Shared<D>,
    (segments, snapshots): (&[Revision], &[Revision]),
    catalog: &mut Catalog,
    loaded: &mut Loaded,
    now: Now,
) -> Result<(), String> {
    let first = segments.first().copied();
    let goes_on = |at: &&Revision| first.is_none_or(|first| first <= **at);
    for at in snapshots.iter().rev().filter(goes_on) {
        let mut restored = catalog.clone();
        let read = shared.disk.read(&snapshot_name(*at), 0);
        let read = read.map_err(|error| error.to_string());
        match read
            .and_then(|bytes| snapshot::read(bytes, (shared.cluster, *at), &mut restored, now))
        {
            Ok(()) => {
                *catalog = restored;
                return Ok(());
            }
            Err(wrong) => {
                loaded
                    .damage
                    .push(format!("{}: {wrong}", snapshot_name(*at)));
                loaded.unsound.push(*at);
            }
        }
    }
    if first == Some(Revision(0)) || (first.is_none() && snapshots.is_empty()) {
        return Ok(());
    }
    for at in snapshots.iter().rev().filter(goes_on) {
        let Ok(bytes) = read_whole(&shared.disk, &snapshot_name(*at)) else {
            continue;
        };
        let mut restored = catalog.clone();
        let damage = snapshot::rescue(&bytes, (shared.cluster, *at), &mut restored, now);
        if restored.service_count() > 0 {
            loaded.damage.extend(told(&snapshot_name(*at), &damage));
            *catalog = restored;
            return Ok(());
        }
    }
    Err(format!(
        "no snapshot can be read, and the changes up to revision {} are not kept",
        first.or(snapshots.last().copied()).unwrap_or_default()
    ))
}

fn load_segment<D: Disk>(
    shared: &Shared<D>,
    (after, upto): (Revision, Option<Revision>),
    catalog: &mut Catalog,
    loaded: &mut Loaded,
    now: Now,
) -> io::Result<()> {
    let name = segment_name(after);
    let scanned = read_segment(shared, after)?;
    let counted = count(scanned, catalog.revision(), upto);
    loaded.damage.extend(told(&name, &counted.damage));
    loaded
        .damage
        .extend(counted.missing.iter().map(told_missing));
    loaded.unfinished.extend(told(&name, &counted.unfinished));
    if let Some(missing) = counted.missing.last() {
        loaded.missing_upto = Revision(*missing.end());
    }
    let certain = counted.changes.len() - counted.doubtful;
    for (n, (revision, change)) in counted.changes.into_iter().enumerate() {
        let change = Arc::new(change);
        catalog.apply(revision, &change, now);
        loaded.changes += 1;
        if n >= certain {
            loaded.doubtful.push((revision, change));
        }
    }
    catalog.restore_revision(counted.last);
    Ok(())
}

fn read_segment<D: Disk>(shared: &Shared<D>, after: Revision) -> io::Result<Scanned> {
    let bytes = read_whole(&shared.disk, &segment_name(after))?;
    Ok(scan(&bytes, shared.cluster, after))
}

/// What counts of a segment.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// The changes, in order.
    pub(super) changes: Vec<(Revision, Change)>,
    /// How many of them, at the end, may never have been durable.
    pub(super) doubtful: usize,
    /// What should be between them and is not.
    pub(super) missing: Vec<RangeInclusive<u64>>,
    /// Everything up to here is in `changes` or is missing.
    pub(super) last: Revision,
    /// What was acknowledged once and cannot be read any more.
    pub(super) damage: Vec<Damage>,
    /// What was never acknowledged.
    pub(super) unfinished: Vec<Damage>,
}

/// What counts of a segment after the revision `after`, up to `upto` or as far as it goes.
///
/// Whatever was durable once counts, with gaps where it is damaged. What may never have been counts
/// only as far as it has none: a write that was not finished leaves a beginning.
pub(super) fn count(scanned: Scanned, after: Revision, upto: Option<Revision>) -> Counted {
    let Scanned {
        changes,
        proven,
        damage,
        unfinished,
    } = scanned;
    let certain = upto.unwrap_or(proven);
    let mut counted = Counted {
        last: after,
        damage,
        ..Counted::default()
    };
    let mut changes = changes.into_iter().peekable();
    while let Some((revision, change)) = changes.next_if(|(revision, _)| *revision <= certain) {
        if revision > counted.last {
            counted.miss_before(revision);
            counted.take(revision, change);
        }
    }
    counted.miss_before(Revision(certain.0.saturating_add(1)));
    if upto.is_none() {
        let goes_on = |last: Revision, found: Revision| found.0 <= last.0.saturating_add(1);
        while let Some((revision, change)) =
            changes.next_if(|(revision, _)| goes_on(counted.last, *revision))
        {
            if revision > counted.last {
                counted.take(revision, change);
                counted.doubtful += 1;
            }
        }
    }
    // A write that failed is followed by another segment, which goes on from before it.
    if counted.missing.is_empty() || upto.is_none() {
        counted.unfinished = unfinished;
    } else {
        counted.damage.extend(unfinished);
    }
    counted
}

impl Counted {
    fn take(&mut self, revision: Revision, change: Change) {
        self.changes.push((revision, change));
        self.last = revision;
    }

    fn miss_before(&mut self, revision: Revision) {
        if self.last.0 + 1 < revision.0 {
            self.missing.push(self.last.0 + 1..=revision.0 - 1);
            self.last = Revision(revision.0 - 1);
        }
    }
}

/// Changes without a gap as one batch, with the revision before them.
pub(super) fn in_one_batch(changes: &[(Revision, Arc<Change>)]) -> Option<(Revision, Vec<u8>)> {
    let first = changes.first()?.0;
    let batch = segment::batch(first, changes.iter().map(|(_, change)| &**change));
    Some((Revision(first.0 - 1), batch))
}

/// Damage of a file, in words.
pub(super) fn told(name: &str, damage: &[Damage]) -> Vec<String> {
    let tell = |Damage { offset, what }: &Damage| format!("{name}, byte {offset}: {what}");
    damage.iter().map(tell).collect()
}

/// Missing changes, in words.
pub(super) fn told_missing(revisions: &RangeInclusive<u64>) -> String {
    let (first, last) = (revisions.start(), revisions.end());
    if first == last {
        format!("the change {first} is missing")
    } else {
        format!("the changes {first} to {last} are missing")
    }
}
