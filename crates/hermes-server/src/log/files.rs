//! The files of a log: which there are, which is written to, and which may go.

use std::io;
use std::path::Path;

use hermes_core::change::{ClusterId, Revision};
use hermes_core::time::{Timestamp, whole_millis};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskFile};
use super::segment;
use super::{OpenError, Options};

/// The version of the whole directory's format.
const FORMAT: u64 = 1;
const IDENTITY: &str = "hermes.json";
const BEING_WRITTEN: &str = ".being-written";

/// What `hermes.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: ClusterId,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredIdentity {
    format: u64,
    cluster: String,
}

impl Identity {
    /// The identity of the log on `disk`; a new one with `new_cluster` when the disk is empty.
    pub(super) fn open<D: Disk>(
        disk: &D,
        path: &Path,
        new_cluster: ClusterId,
    ) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let names = disk.list().map_err(io)?;
        if names.iter().any(|name| name == IDENTITY) {
            return Self::read(disk, path);
        }
        // An identity that was being written when the machine stopped is no content yet.
        if let Some(found) = names
            .into_iter()
            .find(|name| !name.ends_with(BEING_WRITTEN))
        {
            return Err(OpenError::NotHermes {
                path: path.to_owned(),
                found,
            });
        }
        let stored = StoredIdentity {
            format: FORMAT,
            cluster: new_cluster.to_string(),
        };
        let json = serde_json::to_vec(&stored).unwrap_or_default();
        write_whole(disk, IDENTITY, |file| file.append(&json)).map_err(io)?;
        Ok(Self {
            cluster: new_cluster,
        })
    }

    /// The identity of a log that is there.
    pub(super) fn read<D: Disk>(disk: &D, path: &Path) -> Result<Self, OpenError> {
        let wrong = |what: String| OpenError::Identity {
            path: path.to_owned(),
            what,
        };
        let bytes = match read_whole(disk, IDENTITY) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let found = "no hermes.json".into();
                return Err(OpenError::NotHermes {
                    path: path.to_owned(),
                    found,
                });
            }
            Err(source) => {
                return Err(OpenError::Io {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let stored: StoredIdentity =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if stored.format != FORMAT {
            let (format, readable) = (stored.format, FORMAT);
            return Err(OpenError::Newer {
                path: path.to_owned(),
                format,
                readable,
            });
        }
        let cluster = ClusterId::parse(&stored.cluster);
        let cluster = cluster.ok_or_else(|| wrong("the cluster is not 16 digits".into()))?;
        Ok(Self { cluster })
    }
}

/// Writes a file so that it is whole once it has its name.
pub(super) fn write_whole<D: Disk, T>(
    disk: &D,
    name: &str,
    write: impl FnOnce(&mut D::File) -> io::Result<T>,
) -> io::Result<T> {
    let unfinished = format!("{name}{BEING_WRITTEN}");
    let mut file = disk.create(&unfinished)?;
    let written = write(&mut file)?;
    file.sync()?;
    disk.rename(&unfinished, name)?;
    disk.sync_names()?;
    Ok(written)
}

/// The bytes of a whole file.
pub(super) fn read_whole<D: Disk>(disk: &D, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.read(name)?.read_to_end(&mut bytes)?;
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

fn revision_in(name: &str, prefix: &str, suffix: &str) -> Option<Revision> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Revision))?
}

/// Which files there are, and which is written to.
#[derive(Debug)]
pub(super) struct Files<D: Disk> {
    /// The revisions after which segments begin, in order.
    pub(super) segments: Vec<Revision>,
    /// The revisions at which snapshots stand, in order.
    pub(super) snapshots: Vec<Revision>,
    /// When the changes at and before a snapshot were over, for those that this process wrote.
    pub(super) times: Vec<(Revision, Timestamp)>,
    /// The last change that counts.
    pub(super) last: Revision,
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
        let sorted = |prefix: &str, suffix: &str| {
            let mut found: Vec<Revision> = names
                .iter()
                .filter_map(|name| revision_in(name, prefix, suffix))
                .collect();
            found.sort_unstable();
            found
        };
        Ok(Self {
            segments: sorted("changes-", ".log"),
            snapshots: sorted("state-", ".snapshot"),
            times: Vec::new(),
            last: Revision(0),
            current: None,
            current_bytes: 0,
            changes_since_snapshot: 0,
            snapshot_is_running: false,
        })
    }

    /// Makes a batch that ends at `last` durable. After an error nothing of it counts.
    pub(super) fn commit(
        &mut self,
        (disk, cluster): (&D, ClusterId),
        batch: &[u8],
        last: Revision,
        segment_bytes: u64,
    ) -> io::Result<()> {
        // Taken out, so that after an error the file is never written to again.
        let mut file = match self
            .current
            .take()
            .filter(|_| self.current_bytes < segment_bytes)
        {
            Some(file) => file,
            None => self.begin_segment(disk, cluster)?,
        };
        file.append(batch)?;
        file.sync()?;
        self.current = Some(file);
        self.current_bytes += batch.len() as u64;
        self.changes_since_snapshot += last.0 - self.last.0;
        self.last = last;
        Ok(())
    }

    fn begin_segment(&mut self, disk: &D, cluster: ClusterId) -> io::Result<D::File> {
        // A segment of this name can only hold what never counted: what counts ends at `last`.
        let mut file = disk.create(&segment_name(self.last))?;
        file.append(&segment::head(cluster, self.last))?;
        file.sync()?;
        disk.sync_names()?;
        if self.segments.last() != Some(&self.last) {
            self.segments.push(self.last);
        }
        self.current_bytes = 0;
        Ok(file)
    }

    /// The next commit begins another segment.
    pub(super) fn end_segment(&mut self) {
        self.current = None;
    }

    /// Every change after this revision is there.
    pub(super) fn begins_after(&self) -> Revision {
        self.segments.first().copied().unwrap_or(self.last)
    }

    /// The next file that is beyond the horizon; it is no longer counted as there.
    pub(super) fn take_obsolete(&mut self, options: &Options, now: Timestamp) -> Option<String> {
        let base = self.base(options, now)?;
        if let Some(at) = self.snapshots.iter().position(|snapshot| *snapshot < base) {
            return Some(snapshot_name(self.snapshots.remove(at)));
        }
        // The oldest first, so that what is left has no gap whenever this is cut short.
        let oldest = *self.segments.first().filter(|after| **after < base)?;
        self.segments.remove(0);
        Some(segment_name(oldest))
    }

    /// The newest snapshot that nothing within the horizon is older than.
    fn base(&self, options: &Options, now: Timestamp) -> Option<Revision> {
        let too_old = |at: Revision| {
            let over = self.times.iter().find(|(snapshot, _)| *snapshot == at);
            over.is_some_and(|(_, time)| time.0 + whole_millis(options.horizon) < now.0)
        };
        let beyond = |at: Revision| {
            self.last.0.saturating_sub(at.0) >= options.horizon_changes || too_old(at)
        };
        self.snapshots.iter().rev().copied().find(|at| beyond(*at))
    }
}
