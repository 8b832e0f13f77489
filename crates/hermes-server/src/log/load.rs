//! Loading: the newest sound snapshot, and every change after it that counts.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use hermes_core::catalog::Catalog;
use hermes_core::change::{Change, ClusterId, Revision};
use hermes_core::time::Now;
use hermes_discovery::log::Entities;

use super::disk::Disk;
use super::files::{read_whole, segment_name, snapshot_name};
use super::in_order::in_order;
use super::record::{Again, Wrong};
use super::segment::{Damage, Scanned, read_change, scan_stored};
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
    let counts = |(_, upto): &(Revision, Option<Revision>)| upto.is_none_or(|upto| upto > base);
    each_whole(
        shared,
        ranges(&segments).filter(counts),
        |name, bytes, (after, upto)| {
            let which = (shared.cluster, after, upto);
            load_segment((name, bytes), which, catalog, &mut loaded, now);
        },
    )?;
    loaded.entities = Entities::of(catalog);
    Ok(loaded)
}

/// Reads one segment after the other, each while the one before it is looked at.
fn each_whole<D: Disk>(
    shared: &Shared<D>,
    segments: impl Iterator<Item = (Revision, Option<Revision>)> + Send,
    mut look: impl FnMut(&str, &[u8], (Revision, Option<Revision>)),
) -> Result<(), String> {
    let read = |(after, upto)| {
        let name = segment_name(after);
        let bytes = read_whole(&shared.disk, &name);
        let bytes = bytes.map_err(|error| format!("{name} cannot be read: {error}"))?;
        Ok::<_, String>((name, bytes, (after, upto)))
    };
    thread::scope(|scope| {
        // None waits: there are two at a time.
        let (reader, read_ahead) = sync_channel(0);
        scope.spawn(move || segments.map(read).try_for_each(|read| reader.send(read)));
        read_ahead.into_iter().try_for_each(|read| {
            let (name, bytes, which) = read?;
            look(&name, &bytes, which);
            Ok(())
        })
    })
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

/// Makes the changes of a segment part of the catalog. They are read on every processor, and applied
/// one after the other.
fn load_segment(
    (name, bytes): (&str, &[u8]),
    (cluster, after, upto): (ClusterId, Revision, Option<Revision>),
    catalog: &mut Catalog,
    loaded: &mut Loaded,
    now: Now,
) {
    /// Changes that are read in one piece.
    const PIECE: usize = 512;
    let counted = count(scan_stored(bytes, cluster, after), catalog.revision(), upto);
    loaded.damage.extend(told(name, &counted.damage));
    loaded
        .damage
        .extend(counted.missing.iter().map(told_missing));
    loaded.unfinished.extend(told(name, &counted.unfinished));
    if let Some(missing) = counted.missing.last() {
        loaded.missing_upto = Revision(*missing.end());
    }
    let certain = counted.changes.len() - counted.doubtful;
    let read = |piece: &[(Revision, &[u8])]| -> Vec<_> {
        let mut again = Again::default();
        let read =
            |(revision, stored): &(Revision, &[u8])| (*revision, read_change(stored, &mut again));
        piece.iter().map(read).collect()
    };
    let mut taken = 0;
    let take = |piece: Vec<(Revision, Result<Change, Wrong>)>| {
        for (revision, change) in piece {
            let is_doubtful = taken >= certain;
            taken += 1;
            match change {
                Ok(change) => loaded.apply(catalog, (revision, change), is_doubtful, now),
                Err(wrong) if is_doubtful => {
                    let what = format!("{name}: revision {revision} cannot be read: {wrong}");
                    loaded.unfinished.push(what);
                    return Err(Revision(revision.0 - 1));
                }
                Err(wrong) => loaded.miss(name, revision, &wrong),
            }
        }
        Ok(())
    };
    let last = match in_order(counted.changes.chunks(PIECE), read, take) {
        Ok(()) => counted.last,
        Err(last) => last,
    };
    catalog.restore_revision(last);
}

impl Loaded {
    fn apply(
        &mut self,
        catalog: &mut Catalog,
        (revision, change): (Revision, Change),
        is_doubtful: bool,
        now: Now,
    ) {
        let change = Arc::new(change);
        catalog.apply(revision, &change, now);
        self.changes += 1;
        if is_doubtful {
            self.doubtful.push((revision, change));
        }
    }

    /// A record that is as it was written, by somebody who writes what is not known here.
    fn miss(&mut self, name: &str, revision: Revision, wrong: &Wrong) {
        let what = format!("{name}: revision {revision} cannot be read: {wrong}");
        self.damage.push(what);
        self.damage.push(told_missing(&(revision.0..=revision.0)));
        self.missing_upto = self.missing_upto.max(revision);
    }
}

/// What counts of a segment.
#[derive(Debug)]
pub(super) struct Counted<C> {
    /// The changes, in order.
    pub(super) changes: Vec<(Revision, C)>,
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
pub(super) fn count<C>(scanned: Scanned<C>, after: Revision, upto: Option<Revision>) -> Counted<C> {
    let Scanned {
        changes,
        proven,
        damage,
        unfinished,
    } = scanned;
    let certain = upto.unwrap_or(proven);
    let mut counted = Counted {
        changes: Vec::with_capacity(changes.len()),
        doubtful: 0,
        missing: Vec::new(),
        last: after,
        damage,
        unfinished: Vec::new(),
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

impl<C> Counted<C> {
    fn take(&mut self, revision: Revision, change: C) {
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
