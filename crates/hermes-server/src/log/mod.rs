//! The file log: every change on disk before it counts.
//!
//! A directory holds three kinds of files:
//!
//! ```text
//! hermes.json                            which cluster this is, and the version of the format
//! changes-00000000000000004711.log       the changes after revision 4711          (segment.rs)
//! state-00000000000000004711.snapshot    the whole state at revision 4711         (snapshot.rs)
//! ```
//!
//! What is in the last two is CBOR, with types of its own (record); people see it as JSON (check.rs).
//!
//! **Commit.** A batch is encoded, appended to the newest segment and synced; only then it counts.
//! Nothing else happens on this path. When a write or sync fails, nobody knows what of it is on the
//! disk, so that segment is never written to again: the next commit begins another one, whose name
//! says after which revision, and that voids whatever came after it in the one before. So a log works
//! again as soon as its disk does.
//!
//! **Start.** The newest sound snapshot, plus every change after it. A torn end is what a crash
//! leaves and is passed over; damage in the middle is named, and what is whole is used. Of the last
//! batch nobody can tell whether it was ever synced: a process that is killed leaves it in the memory
//! of the machine, where it looks as good as any other. Everybody sees it from now on, so it is
//! written and synced anew before anything else, into a segment of its own. A file that a crash has
//! touched is never appended to. A log that was ended in order says so, and knows its end.
//!
//! **Snapshots** are written off the commit path, from a catalog that never changes, whenever as much
//! was logged since the last one, and at the end of a server that has logged more than it holds. A
//! segment is begun at each, so snapshots and segments meet.
//!
//! **Horizon.** Changes are kept for a while (24 hours, at most a million). What is older is removed
//! one file at a time, each for good before the next, and only up to a sound snapshot, so that every
//! moment within the horizon can be rebuilt.
//!
//! **History** is read in pages, beside the writer (history.rs): where in a segment a change stands is
//! noted as it is written, so a page costs what is in it. A file that goes meanwhile makes the next
//! page an answer that says so.
//!
//! **Names.** Segments, snapshots and `hermes.json` are written under another name, synced, and only
//! then given their own: what has its name is whole, or has rotted since.
//!
//! **Damage** hides only itself. Each record has its own checksum and can be found without those
//! before it; a damaged snapshot is passed over for an older one, or used as far as it is whole when
//! there is none; a damaged `hermes.json` is made anew from the heads of the others. Whoever reads
//! history across a hole is told that it begins behind it.

mod check;
pub mod disk;
mod files;
mod history;
mod in_order;
mod load;
mod record;
mod segment;
mod snapshot;
mod stripe;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermes_core::catalog::Catalog;
use hermes_core::change::{ClusterId, Planned, Revision};
use hermes_core::time::{Now, Timestamp};
use hermes_discovery::log::{Appended, Entities, Log, LogError};
use tokio::time::Instant;

pub use check::{FileReport, Report, check, check_on, export};
use disk::{Directory, Disk};
use files::{Files, Identity};
pub use history::FileReader;
pub use segment::Damage;

/// The settings of a file log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Changes that are kept at least while they are young. Default 1,000,000.
    pub horizon_changes: u64,
    /// How long changes are kept at most. Default 24 hours.
    pub horizon: Duration,
    /// Bytes after which another segment is begun. Default 64 MiB.
    pub segment_bytes: u64,
    /// A snapshot is written after so many changes. Raising it makes starts slower and writes fewer.
    /// Default 250,000.
    pub snapshot_changes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            horizon_changes: 1_000_000,
            horizon: Duration::from_secs(24 * 60 * 60),
            segment_bytes: 64 * 1024 * 1024,
            snapshot_changes: 250_000,
        }
    }
}

/// Why a directory cannot be used. Nothing in it was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds it.
    #[error("{0} is used by another Hermes server. Stop it, or choose another --data-dir")]
    Held(PathBuf),
    /// It holds something else.
    #[error(
        "{path} is not a Hermes data directory: it holds `{found}`. Choose an empty --data-dir"
    )]
    NotHermes {
        /// The directory.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// A newer release wrote it.
    #[error(
        "{path} was written by a newer release of Hermes (format {format}, this one reads \
             {readable}). Use that release, or choose another --data-dir"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// What it is written in.
        format: u64,
        /// What can be read.
        readable: u64,
    },
    /// It was written before this format, which no release has done.
    #[error(
        "{path} is written in format {format}, from before the first release of Hermes; this one reads \
             {readable}. Register anew in an empty --data-dir"
    )]
    Older {
        /// The directory.
        path: PathBuf,
        /// What it is written in.
        format: u64,
        /// What can be read.
        readable: u64,
    },
    /// Its identity cannot be read.
    #[error(
        "{path}: hermes.json, which says what cluster this is, is damaged: {what}. Restore that \
             file, or move the directory away and begin with an empty one"
    )]
    Identity {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The system refuses.
    #[error("{path} cannot be used: {source}. Check that it exists and that its rights allow it")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Fewer changes than this are read so fast that the end of a server need not write down the state.
const LAST_SNAPSHOT_CHANGES: u64 = 10_000;
/// How long that may take.
const LAST_SNAPSHOT_WITHIN: Duration = Duration::from_secs(5);

/// A log in a directory.
#[derive(Debug)]
pub struct FileLog<D: Disk> {
    shared: Arc<Shared<D>>,
    cluster: ClusterId,
    entities: Entities,
    last: Revision,
    /// Where batches are put together, one after the other.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Shared<D: Disk> {
    disk: D,
    cluster: ClusterId,
    options: Options,
    files: Mutex<Files<D>>,
    /// When the newest change in the newest snapshot was made; zero when there is none. Beside the
    /// lock, which is held for as long as a sync takes.
    newest_snapshot: AtomicU64,
}

impl FileLog<Directory> {
    /// The log in the directory at `path`, which is made when it is not there. `new_cluster` becomes
    /// its cluster if it is new.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: &Path, options: Options, new_cluster: ClusterId) -> Result<Self, OpenError> {
        // Before it is held: in a directory of somebody else not even a lock may be left.
        if path.exists() {
            Identity::find(&Directory::look_at(path), path)?;
        }
        let disk = Directory::hold(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::Held(path.to_owned()),
            _ => OpenError::Io {
                path: path.to_owned(),
                source,
            },
        })?;
        Self::open_on(disk, path, options, new_cluster)
    }
}

impl<D: Disk> FileLog<D> {
    /// The log on `disk`, which errors call `path`.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open_on(
        disk: D,
        path: &Path,
        options: Options,
        new_cluster: ClusterId,
    ) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let cluster = match Identity::find(&disk, path)? {
            Some((Identity { cluster }, None)) => cluster,
            Some((identity, Some(damage))) => {
                tracing::error!(%damage, "hermes.json is damaged; it is made anew from the other files");
                identity.write(&disk).map_err(io)?;
                identity.cluster
            }
            None => {
                let identity = Identity {
                    cluster: new_cluster,
                };
                identity.write(&disk).map_err(io)?;
                new_cluster
            }
        };
        // What a process that was killed has renamed may be gone after the next crash: from here on
        // somebody builds on it.
        disk.sync_names().map_err(io)?;
        files::remove_unfinished(&disk);
        let files = Mutex::new(Files::find(&disk).map_err(io)?);
        let shared = Arc::new(Shared {
            disk,
            cluster,
            options,
            files,
            newest_snapshot: AtomicU64::new(0),
        });
        Ok(Self {
            shared,
            cluster,
            entities: Entities::default(),
            last: Revision(0),
            bytes: Vec::new(),
        })
    }

    /// Keeps the room of a batch for the next one, unless it was an exceptionally large one.
    fn keep(&mut self, bytes: Vec<u8>) {
        const KEPT_MAX: usize = 1024 * 1024;
        if bytes.capacity() <= KEPT_MAX {
            self.bytes = bytes;
        }
    }

    /// The snapshot of `catalog`, the newest state, if it is time for one. Nothing else is written
    /// down until it is written or dropped.
    pub fn due_snapshot(&self, catalog: &Arc<Catalog>) -> Option<DueSnapshot<D>> {
        let mut files = self.shared.files.lock().unwrap();
        let due = files.changes_since_snapshot >= self.shared.options.snapshot_changes;
        if !due || files.snapshot_is_running {
            return None;
        }
        files.snapshot_is_running = true;
        files.changes_since_snapshot = 0;
        files.end_segment();
        Some(DueSnapshot {
            shared: Arc::clone(&self.shared),
            catalog: Arc::clone(catalog),
            over: files.newest,
            until: None,
        })
    }

    /// The snapshot of `catalog`, the last state, if the next start has less to read of it than of the
    /// changes since the one before.
    fn last_snapshot(&self, catalog: &Arc<Catalog>) -> Option<DueSnapshot<D>> {
        let entries = self.entities.count() + catalog.service_count();
        let mut files = self.shared.files.lock().unwrap();
        let is_less = files.changes_since_snapshot >= LAST_SNAPSHOT_CHANGES.max(entries as u64);
        if !is_less || files.snapshot_is_running {
            return None;
        }
        files.snapshot_is_running = true;
        Some(DueSnapshot {
            shared: Arc::clone(&self.shared),
            catalog: Arc::clone(catalog),
            over: files.newest,
            until: Some(Instant::now() + LAST_SNAPSHOT_WITHIN),
        })
    }
}

impl<D: Disk> Log for FileLog<D> {
    type Reader = FileReader<D>;

    fn reader(&self) -> FileReader<D> {
        FileReader::new(&self.shared)
    }

    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn begins_after(&self) -> Revision {
        self.shared.files.lock().unwrap().begins_after()
    }

    async fn restore(&mut self, catalog: &mut Catalog, now: Now) -> Result<(), LogError> {
        let loaded = load::load(&self.shared, catalog, now).map_err(LogError::Unavailable)?;
        for damage in &loaded.damage {
            tracing::error!(%damage, "the log is damaged; what is whole is used");
        }
        for unfinished in &loaded.unfinished {
            tracing::info!(%unfinished, "a write was not finished when the server last stopped");
        }
        self.entities = loaded.entities;
        self.last = catalog.revision();
        let mut files = self.shared.files.lock().unwrap();
        files.last = self.last;
        files.newest = now.time;
        files.missing_upto = loaded.missing_upto;
        files.changes_since_snapshot = loaded.changes;
        for snapshot in &mut files.snapshots {
            // How old they are is not known; they are kept as if they were new.
            snapshot.over = now.time;
            snapshot.is_sound = !loaded.unsound.contains(&snapshot.at);
        }
        let sound = files.snapshots.iter().rev().find(|found| found.is_sound);
        self.shared
            .note_snapshot(sound.map_or(0, |found| found.over.0));
        let doubtful = load::in_one_batch(&loaded.doubtful);
        let target = (&self.shared.disk, self.cluster);
        if let Err(error) = files.settle(target, doubtful) {
            tracing::warn!(%error, "the log cannot be written; what it says is used");
        }
        Ok(())
    }

    fn published(&mut self, catalog: &Arc<Catalog>) {
        if let Some(snapshot) = self.due_snapshot(catalog) {
            tokio::task::spawn_blocking(move || snapshot.write());
        }
    }

    async fn finish(&mut self, catalog: &Arc<Catalog>) {
        if let Some(snapshot) = self.last_snapshot(catalog) {
            let written = tokio::task::spawn_blocking(move || snapshot.write_last()).await;
            if let Ok(Err(error)) = written {
                tracing::info!(%error, "the state was not written down; the next start reads changes instead");
            }
        }
    }

    async fn append(&mut self, batch: &[Planned]) -> Result<Vec<Appended>, LogError> {
        let numbered = self.entities.number(batch, self.last);
        let last = numbered.last;
        if last == self.last && !batch.is_empty() {
            return Ok(numbered.appended);
        }
        let holds = batch.iter().zip(&numbered.appended);
        let changes = holds
            .filter(|(_, appended)| matches!(appended, Appended::At(_)))
            .map(|(planned, _)| &*planned.change);
        let time = changes.clone().map(|change| change.time).max();
        let end = (last, time.unwrap_or_default());
        let mut bytes = std::mem::take(&mut self.bytes);
        segment::write_batch(&mut bytes, Revision(self.last.0 + 1), changes);
        let shared = Arc::clone(&self.shared);
        let commit = move || (shared.commit(&bytes, end), bytes);
        let failed = match tokio::task::spawn_blocking(commit).await {
            Ok((Ok(()), bytes)) => {
                self.last = last;
                self.keep(bytes);
                return Ok(numbered.appended);
            }
            Ok((Err(error), _)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.entities.take_back(numbered);
        Err(LogError::Unavailable(failed))
    }
}

impl<D: Disk> Drop for FileLog<D> {
    /// Ends the segment in order. A log that cannot be written any more ends without it, as in a
    /// crash.
    fn drop(&mut self) {
        if let Ok(mut files) = self.shared.files.lock()
            && let Err(error) = files.close_segment()
        {
            tracing::info!(%error, "the log was not ended in order");
        }
    }
}

/// A snapshot that is to be written, off the commit path.
#[derive(Debug)]
pub struct DueSnapshot<D: Disk> {
    shared: Arc<Shared<D>>,
    catalog: Arc<Catalog>,
    over: Timestamp,
    /// When it is given up; `None` for one that nobody waits for.
    until: Option<Instant>,
}

impl<D: Disk> DueSnapshot<D> {
    /// Writes it, and removes what is beyond the horizon then. What goes wrong is told and tried
    /// again later.
    pub fn write(self) {
        if let Err(error) = self.write_state() {
            tracing::warn!(%error, "the state could not be written down; it is tried again later");
        } else if let Err(error) = self.shared.remove_obsolete() {
            tracing::warn!(%error, "what is beyond the horizon could not be removed; it is tried again later");
        }
    }

    /// Writes it where nothing comes after it, and begins a segment there, so that no other has to
    /// be read.
    fn write_last(&self) -> std::io::Result<()> {
        self.write_state()?;
        let mut files = self.shared.files.lock().unwrap();
        files.close_segment()?;
        files.begin_last((&self.shared.disk, self.shared.cluster))
    }

    fn write_state(&self) -> std::io::Result<()> {
        let (at, mut bytes) = (self.catalog.revision(), 0);
        files::write_whole(&self.shared.disk, &files::snapshot_name(at), |file| {
            let is_late = || self.until.is_some_and(|until| Instant::now() > until);
            bytes = snapshot::write(file, self.shared.cluster, &self.catalog, is_late)?;
            Ok(())
        })?;
        tracing::debug!(revision = at.0, bytes, "wrote a snapshot of the state");
        let mut files = self.shared.files.lock().unwrap();
        files.snapshots.push(files::Snapshot {
            at,
            over: self.over,
            is_sound: true,
        });
        self.shared.note_snapshot(self.over.0);
        Ok(())
    }
}

impl<D: Disk> Drop for DueSnapshot<D> {
    fn drop(&mut self) {
        if let Ok(mut files) = self.shared.files.lock() {
            files.snapshot_is_running = false;
        }
    }
}

impl<D: Disk> Shared<D> {
    fn commit(&self, batch: &[u8], end: (Revision, Timestamp)) -> std::io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let segment_bytes = self.options.segment_bytes;
        files.commit((&self.disk, self.cluster), batch, end, segment_bytes)
    }

    /// The changes up to this revision turned out not to be there.
    fn miss_upto(&self, revision: Revision) {
        let mut files = self.files.lock().unwrap();
        files.missing_upto = files.missing_upto.max(revision);
    }

    fn note_snapshot(&self, over: u64) {
        self.newest_snapshot.store(over, Ordering::Relaxed);
    }

    fn newest_snapshot(&self) -> Option<u64> {
        let over = self.newest_snapshot.load(Ordering::Relaxed);
        (over > 0).then_some(over)
    }

    /// Removes files beyond the horizon, one at a time, each for good before the next; writers go on
    /// between.
    fn remove_obsolete(&self) -> std::io::Result<()> {
        loop {
            self.disk.sync_names()?;
            let obsolete = self.files.lock().unwrap().obsolete(&self.options);
            let Some(obsolete) = obsolete else {
                return Ok(());
            };
            match self.disk.remove(&obsolete.name()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => self.files.lock().unwrap().forget(obsolete),
            }
        }
    }
}
