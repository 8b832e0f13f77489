//! The files of a log: which there are, which is written to, and which may go.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use hermes_core::change::{ClusterId, Revision};
use hermes_core::time::{Timestamp, whole_millis};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskFile};
use super::segment::HEAD;
use super::stripe::{Stripe, Stripes};
use super::{OpenError, Options, segment, snapshot};

/// The version of the whole directory's format.
const FORMAT: u64 = 2;
/// The file that says which log this is.
pub(super) const IDENTITY: &str = "hermes.json";
/// Follows the name of a file that is not whole yet.
pub(super) const BEING_WRITTEN: &str = ".being-written";

/// What `hermes.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: ClusterId,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredIdentity {
    format: u64,
    cluster: String,
    /// The checksum of the two. Missing in what a newer release may write.
    crc: Option<u32>,
}

impl StoredIdentity {
    fn new(format: u64, cluster: String) -> Self {
        let crc = Some(crc32fast::hash(format!("{format} {cluster}").as_bytes()));
        Self {
            format,
            cluster,
            crc,
        }
    }

    fn is_sound(&self) -> bool {
        self.crc == Self::new(self.format, self.cluster.clone()).crc
    }
}

impl Identity {
    /// The identity of the log on `disk`, with what is wrong with its file when it had to be learnt
    /// from others; `None` when the disk is empty. Touches nothing.
    pub(super) fn find<D: Disk>(
        disk: &D,
        path: &Path,
    ) -> Result<Option<(Self, Option<String>)>, OpenError> {
        let io = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let names = disk.list().map_err(io)?;
        if names.iter().any(|name| name == IDENTITY) {
            let bytes = read_whole(disk, IDENTITY).map_err(io)?;
            return match Self::read(&bytes, path)? {
                Ok(identity) => Ok(Some((identity, None))),
                Err(what) => match Self::of_heads(disk, &names) {
                    Some(identity) => Ok(Some((identity, Some(what)))),
                    None => Err(OpenError::Identity {
                        path: path.to_owned(),
                        what,
                    }),
                },
            };
        }
        // An identity that was being written when the machine stopped is no content yet.
        let is_content = |name: &String| name.strip_suffix(BEING_WRITTEN) != Some(IDENTITY);
        match names.into_iter().find(is_content) {
            None => Ok(None),
            Some(found) => Err(OpenError::NotHermes {
                path: path.to_owned(),
                found,
            }),
        }
    }

    /// Reads `hermes.json`; the inner error is what is wrong with it.
    fn read(bytes: &[u8], path: &Path) -> Result<Result<Self, String>, OpenError> {
        let stored: StoredIdentity = match serde_json::from_slice(bytes) {
            Ok(stored) => stored,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if stored.format > FORMAT && (stored.crc.is_none() || stored.is_sound()) {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                format: stored.format,
                readable: FORMAT,
            });
        }
        if !stored.is_sound() {
            return Ok(Err("its checksum is wrong".into()));
        }
        if stored.format < FORMAT {
            return Err(OpenError::Older {
                path: path.to_owned(),
                format: stored.format,
                readable: FORMAT,
            });
        }
        let cluster = ClusterId::parse(&stored.cluster).map(|cluster| Self { cluster });
        Ok(cluster.ok_or_else(|| "the cluster is not 16 digits".into()))
    }

    /// What the heads of segments and snapshots say, if they agree.
    fn of_heads<D: Disk>(disk: &D, names: &[String]) -> Option<Self> {
        let mut found = names.iter().filter_map(|name| {
            let mut head = [0; HEAD];
            disk.read(name, 0).ok()?.read_exact(&mut head).ok()?;
            segment::cluster_of(&head).or_else(|| snapshot::cluster_of(&head))
        });
        let cluster = found.next()?;
        found
            .all(|other| other == cluster)
            .then_some(Self { cluster })
    }

    /// Writes `hermes.json`.
    pub(super) fn write<D: Disk>(self, disk: &D) -> io::Result<()> {
        let stored = StoredIdentity::new(FORMAT, self.cluster.to_string());
        let json = serde_json::to_vec(&stored)?;
        write_whole(disk, IDENTITY, |file| file.append(&json)).map(drop)
    }
}

/// Writes a file so that it is whole once it has its name.
pub(super) fn write_whole<D: Disk>(
    disk: &D,
    name: &str,
    write: impl FnOnce(&mut D::File) -> io::Result<()>,
) -> io::Result<D::File> {
    let unfinished = format!("{name}{BEING_WRITTEN}");
    let mut file = disk.create(&unfinished)?;
    write(&mut file)?;
    file.sync()?;
    disk.rename(&unfinished, name)?;
    disk.sync_names()?;
    Ok(file)
}

/// Removes what was being written when the machine stopped. Nobody misses it, so a disk that refuses
/// is no reason not to start.
pub(super) fn remove_unfinished<D: Disk>(disk: &D) {
    for name in disk.list().unwrap_or_default() {
        if name.ends_with(BEING_WRITTEN)
            && let Err(error) = disk.remove(&name)
        {
            tracing::warn!(%error, name, "an unfinished file could not be removed");
        }
    }
}

/// The bytes of a whole file.
pub(super) fn read_whole<D: Disk>(disk: &D, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.read(name, 0)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The name of the segment of changes after a revision.
pub(super) fn segment_name(after: Revision) -> String {
    format!("changes-{:020}.log", after.0)
}

/// The name of the snapshot at a revision.
pub(super) fn snapshot_name(at: Revision) -> String {
    format!("state-{:020}.snapshot", at.0)
}

/// The revisions in the names of one kind of file, in order.
pub(super) fn sorted(names: &[String], prefix: &str, suffix: &str) -> Vec<Revision> {
    let mut found: Vec<Revision> = names
        .iter()
        .filter_map(|name| revision_in(name, prefix, suffix))
        .collect();
    found.sort_unstable();
    found
}

fn revision_in(name: &str, prefix: &str, suffix: &str) -> Option<Revision> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Revision))?
}

/// A snapshot that is on the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    /// Its revision.
    pub(super) at: Revision,
    /// When the newest change in it was made; a start does not know, and takes its own time.
    pub(super) over: Timestamp,
    /// False when it was found to be damaged.
    pub(super) is_sound: bool,
}

/// Which files there are, and which is written to.
#[derive(Debug)]
pub(super) struct Files<D: Disk> {
    /// The revisions after which segments begin, in order.
    pub(super) segments: Vec<Revision>,
    /// Where to begin reading in those segments that were written or read by this process.
    stripes: BTreeMap<Revision, Stripes>,
    /// The snapshots, in order.
    pub(super) snapshots: Vec<Snapshot>,
    /// The last change that counts, and when it was made.
    pub(super) last: Revision,
    pub(super) newest: Timestamp,
    /// The last change that should be in a segment and is not.
    pub(super) missing_upto: Revision,
    /// A batch that counts and may never have been durable, with the revision before it. Goes into
    /// the next segment that is begun.
    doubtful: Option<(Revision, Vec<u8>)>,
    /// The segment that is written to; none after a failure, at a start, and at a snapshot.
    current: Option<D::File>,
    current_bytes: u64,
    pub(super) changes_since_snapshot: u64,
    pub(super) snapshot_is_running: bool,
}

impl<D: Disk> Files<D> {
    /// What is on the disk.
    pub(super) fn find(disk: &D) -> io::Result<Self> {
        let names = disk.list()?;
        let snapshot = |at| Snapshot {
            at,
            over: Timestamp(0),
            is_sound: true,
        };
        Ok(Self {
            segments: sorted(&names, "changes-", ".log"),
            stripes: BTreeMap::new(),
            snapshots: sorted(&names, "state-", ".snapshot")
                .into_iter()
                .map(snapshot)
                .collect(),
            last: Revision(0),
            newest: Timestamp(0),
            missing_upto: Revision(0),
            doubtful: None,
            current: None,
            current_bytes: 0,
            changes_since_snapshot: 0,
            snapshot_is_running: false,
        })
    }

    /// Makes a batch durable that ends at `last` and was made at `time`. After an error nothing of
    /// it counts.
    pub(super) fn commit(
        &mut self,
        (disk, cluster): (&D, ClusterId),
        batch: &[u8],
        (last, time): (Revision, Timestamp),
        segment_bytes: u64,
    ) -> io::Result<()> {
        // Taken out, so that after an error the file is never written to again.
        let mut file = match self
            .current
            .take()
            .filter(|_| self.current_bytes < segment_bytes)
        {
            Some(file) => file,
            None => self.begin_segment((disk, cluster))?,
        };
        file.append(batch)?;
        file.sync()?;
        self.current = Some(file);
        let first = Revision(self.last.0 + 1);
        if let Some(mut newest) = self.stripes.last_entry() {
            newest
                .get_mut()
                .note(first, HEAD as u64 + self.current_bytes);
        }
        self.current_bytes += batch.len() as u64;
        self.changes_since_snapshot += last.0 - self.last.0;
        self.last = last;
        self.newest = self.newest.max(time);
        Ok(())
    }

    /// Makes durable what a start has read and may be nowhere but in the memory of the machine: a
    /// process that was killed between a write and its sync leaves such a batch, and so does a sync
    /// that failed, after which no other sync of that file means anything. Until the machine stops
    /// everybody sees it, so it has to be written anew before anybody builds on it.
    pub(super) fn settle(
        &mut self,
        (disk, cluster): (&D, ClusterId),
        doubtful: Option<(Revision, Vec<u8>)>,
    ) -> io::Result<()> {
        self.doubtful = doubtful;
        if self.doubtful.is_some() {
            self.current = Some(self.begin_segment((disk, cluster))?);
        }
        Ok(())
    }

    /// A segment that holds nothing, or the batch in doubt. It replaces one of the same name, which
    /// holds that very batch, or what never counted: what counts ends at `last`.
    fn begin_segment(&mut self, (disk, cluster): (&D, ClusterId)) -> io::Result<D::File> {
        let nothing = (self.last, Vec::new());
        let (after, batch) = self.doubtful.as_ref().unwrap_or(&nothing);
        let mut bytes = segment::head(cluster, *after);
        bytes.extend_from_slice(batch);
        let file = write_whole(disk, &segment_name(*after), |file| file.append(&bytes))?;
        if self.segments.last() != Some(after) {
            self.segments.push(*after);
        }
        let mut stripes = Stripes::default();
        if !batch.is_empty() {
            stripes.note(Revision(after.0 + 1), HEAD as u64);
        }
        self.stripes.insert(*after, stripes);
        self.current_bytes = batch.len() as u64;
        self.doubtful = None;
        Ok(file)
    }

    /// The next commit begins another segment.
    pub(super) fn end_segment(&mut self) {
        self.current = None;
    }

    /// Says in the segment that it was ended in order, and where.
    pub(super) fn close_segment(&mut self) -> io::Result<()> {
        let Some(mut file) = self.current.take() else {
            return Ok(());
        };
        let next = Revision(self.last.0 + 1);
        file.append(&segment::batch(next, std::iter::empty()))?;
        file.sync()
    }

    /// Begins a segment that nobody will write to, because a snapshot stands where it begins.
    pub(super) fn begin_last(&mut self, (disk, cluster): (&D, ClusterId)) -> io::Result<()> {
        self.begin_segment((disk, cluster)).map(drop)
    }

    /// Every change after this revision is there, as far as is known.
    pub(super) fn begins_after(&self) -> Revision {
        let first = self.segments.first().copied().unwrap_or(self.last);
        first.max(self.missing_upto)
    }

    /// The next file that is beyond the horizon. Whenever this is cut short, what is left has no
    /// gap, and no snapshot is gone whose changes are there: segments go first, the oldest before the
    /// others.
    pub(super) fn obsolete(&self, options: &Options) -> Option<Obsolete> {
        let base = self.base(options)?;
        // A segment goes as far as the next one begins, which is not always where a snapshot stands.
        let is_over = self.segments.get(1).is_some_and(|next| *next <= base);
        let segment = self.segments.first().copied().filter(|_| is_over);
        let mut snapshots = self.snapshots.iter().map(|found| found.at);
        segment
            .map(Obsolete::Segment)
            .or_else(|| snapshots.find(|at| *at < base).map(Obsolete::Snapshot))
    }

    /// Takes note that a file is no longer there.
    pub(super) fn forget(&mut self, obsolete: Obsolete) {
        match obsolete {
            Obsolete::Snapshot(gone) => self.snapshots.retain(|found| found.at != gone),
            Obsolete::Segment(gone) => {
                self.segments.retain(|after| *after != gone);
                self.stripes.remove(&gone);
            }
        }
    }

    /// The segment that should have the change after `revision`, with the last revision that counts in
    /// it, and where in it that is; `None` for the latter when nobody has looked into it yet.
    pub(super) fn place(&self, revision: Revision) -> Option<Place> {
        let next = self.segments.partition_point(|after| *after <= revision);
        let segment = *self.segments.get(next.checked_sub(1)?)?;
        let upto = self.segments.get(next).map_or(self.last, |upto| *upto);
        let stripe = self.stripes.get(&segment);
        Some(Place {
            segment,
            upto: upto.min(self.last),
            stripe: stripe.map(|stripes| stripes.find(revision)),
        })
    }

    /// Takes note of where the stripes of a segment are, unless that is known better by now.
    pub(super) fn note_stripes(&mut self, segment: Revision, stripes: Stripes) {
        if self.segments.contains(&segment) {
            self.stripes.entry(segment).or_insert(stripes);
        }
    }

    /// The newest snapshot that nothing within the horizon is older than.
    fn base(&self, options: &Options) -> Option<Revision> {
        let horizon = whole_millis(options.horizon);
        let beyond = |found: &&Snapshot| {
            let changes = self.last.0.saturating_sub(found.at.0);
            let age = self.newest.0.saturating_sub(found.over.0);
            changes >= options.horizon_changes || age > horizon
        };
        let mut sound = self.snapshots.iter().rev().filter(|found| found.is_sound);
        sound.find(beyond).map(|found| found.at)
    }
}

/// Where a change should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The revision after which its segment begins.
    pub(super) segment: Revision,
    /// The last revision that counts in that segment.
    pub(super) upto: Revision,
    pub(super) stripe: Option<Stripe>,
}

/// A file that is beyond the horizon.
#[derive(Debug, Clone, Copy)]
pub(super) enum Obsolete {
    Snapshot(Revision),
    Segment(Revision),
}

impl Obsolete {
    /// The name of the file.
    pub(super) fn name(self) -> String {
        match self {
            Self::Snapshot(at) => snapshot_name(at),
            Self::Segment(after) => segment_name(after),
        }
    }
}
