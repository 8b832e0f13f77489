//! Looking at a log without opening it: whether it is whole, and all that is in it.
//!
//! Nothing here writes, and nothing is held: a directory may be looked at while a server uses it. What
//! the server writes or removes meanwhile may then be missing from the report.

use std::fmt;
use std::io;
use std::path::Path;

use hermes_core::catalog::Catalog;
use hermes_core::change::{Change, ClusterId, Revision};
use hermes_core::limits::Limits;
use hermes_core::time::Now;

use super::disk::{Directory, Disk};
use super::files::{
    BEING_WRITTEN, IDENTITY, Identity, read_whole, segment_name, snapshot_name, sorted,
};
use super::load::{Counted, count, ranges, told, told_missing};
use super::record::ExportedChange;
use super::segment::scan;
use super::{Damage, OpenError, snapshot};

/// What is in a directory, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which cluster it is.
    pub cluster: ClusterId,
    /// Every file.
    pub files: Vec<FileReport>,
    /// Every change after this revision is kept.
    pub first: Revision,
    /// The last change.
    pub last: Revision,
    /// Where the snapshots stand that are sound.
    pub snapshots: Vec<Revision>,
    /// What was acknowledged once and is not as it was written.
    pub damage: Vec<String>,
    /// What was never finished and never acknowledged: a crash leaves it, and it does no harm.
    pub unfinished: Vec<String>,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Changes that count, or endpoints in a snapshot.
    pub changes: u64,
    /// Where it is not as it was written.
    pub damage: Vec<Damage>,
}

/// Verifies the log in the directory at `path`.
///
/// # Errors
/// When it is not the directory of a log, or cannot be read.
pub fn check(path: &Path) -> Result<Report, OpenError> {
    check_on(&Directory::look_at(path), path)
}

/// Verifies the log on `disk`, which errors call `path`.
///
/// # Errors
/// When it is not the disk of a log, or cannot be read.
pub fn check_on<D: Disk>(disk: &D, path: &Path) -> Result<Report, OpenError> {
    let (cluster, wrong) = identity(disk, path)?;
    let mut report = Report {
        cluster,
        files: Vec::new(),
        first: Revision(0),
        last: Revision(0),
        snapshots: Vec::new(),
        damage: Vec::new(),
        unfinished: Vec::new(),
    };
    let look = || -> io::Result<()> {
        report.look_at_identity(disk, wrong)?;
        let names = disk.list()?;
        let unfinished = names.iter().filter(|name| name.ends_with(BEING_WRITTEN));
        report.unfinished.extend(unfinished.cloned());
        report.look_at_snapshots(disk, &names)?;
        report.look_at_segments(disk, &names)
    };
    look().map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(report)
}

/// Gives every change that is kept to `line`, oldest first, as a line of JSON: the stored form in
/// words, with its revision. Changes that are damaged are left out; [`check`] names them.
///
/// # Errors
/// When it is not the disk of a log, or cannot be read, or `line` fails.
pub fn export<D: Disk>(
    disk: &D,
    path: &Path,
    mut line: impl FnMut(&str) -> io::Result<()>,
) -> Result<(), OpenError> {
    let (cluster, _) = identity(disk, path)?;
    let mut export = || -> io::Result<()> {
        let segments = sorted(&disk.list()?, "changes-", ".log");
        each_segment(disk, cluster, &segments, |_, _, counted| {
            for (revision, change) in &counted.changes {
                line(&serde_json::to_string(&ExportedChange::new(
                    *revision, change,
                ))?)?;
            }
            Ok(())
        })
    };
    export().map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Which log it is, and what is wrong with the file that says so.
fn identity<D: Disk>(disk: &D, path: &Path) -> Result<(ClusterId, Option<String>), OpenError> {
    match Identity::find(disk, path)? {
        Some((Identity { cluster }, wrong)) => Ok((cluster, wrong)),
        None => Err(OpenError::NotHermes {
            path: path.to_owned(),
            found: "nothing".into(),
        }),
    }
}

/// Counts one segment after the other: its name, its bytes, and what counts of it.
fn each_segment<D: Disk>(
    disk: &D,
    cluster: ClusterId,
    segments: &[Revision],
    mut look: impl FnMut(String, usize, Counted<Change>) -> io::Result<()>,
) -> io::Result<()> {
    for (after, upto) in ranges(segments) {
        let name = segment_name(after);
        let bytes = read_whole(disk, &name)?;
        let counted = count(scan(&bytes, cluster, after), after, upto);
        look(name, bytes.len(), counted)?;
    }
    Ok(())
}

impl Report {
    fn look_at_identity<D: Disk>(&mut self, disk: &D, wrong: Option<String>) -> io::Result<()> {
        let bytes = read_whole(disk, IDENTITY)?.len();
        let damage = wrong.map(|what| Damage { offset: 0, what });
        self.add(IDENTITY.into(), bytes, 0, damage.into_iter().collect());
        Ok(())
    }

    fn look_at_snapshots<D: Disk>(&mut self, disk: &D, names: &[String]) -> io::Result<()> {
        for at in sorted(names, "state-", ".snapshot") {
            let name = snapshot_name(at);
            let bytes = read_whole(disk, &name)?;
            let mut catalog = Catalog::new(Limits::default(), 0);
            let read = snapshot::read(&*bytes, (self.cluster, at), &mut catalog, Now::default());
            let damage = if read.is_ok() {
                self.snapshots.push(at);
                self.last = self.last.max(at);
                Vec::new()
            } else {
                catalog = Catalog::new(Limits::default(), 0);
                snapshot::rescue(&bytes, (self.cluster, at), &mut catalog, Now::default())
            };
            let endpoints = catalog.services().map(|view| view.endpoints.len() as u64);
            let endpoints = endpoints.sum();
            self.add(name, bytes.len(), endpoints, damage);
        }
        Ok(())
    }

    fn look_at_segments<D: Disk>(&mut self, disk: &D, names: &[String]) -> io::Result<()> {
        let segments = sorted(names, "changes-", ".log");
        self.first = segments.first().copied().unwrap_or(self.last);
        each_segment(disk, self.cluster, &segments, |name, bytes, counted| {
            self.last = self.last.max(counted.last);
            self.unfinished.extend(told(&name, &counted.unfinished));
            self.damage.extend(counted.missing.iter().map(told_missing));
            self.add(name, bytes, counted.changes.len() as u64, counted.damage);
            Ok(())
        })
    }

    fn add(&mut self, name: String, bytes: usize, changes: u64, damage: Vec<Damage>) {
        self.damage.extend(told(&name, &damage));
        self.files.push(FileReport {
            name,
            bytes: bytes as u64,
            changes,
            damage,
        });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster {}", self.cluster)?;
        writeln!(f, "changes {} to {}", self.first.0 + 1, self.last)?;
        for file in &self.files {
            let FileReport {
                name,
                bytes,
                changes,
                damage,
            } = file;
            let state = if damage.is_empty() {
                "whole"
            } else {
                "DAMAGED"
            };
            writeln!(f, "  {name}  {bytes} bytes  {changes} entries  {state}")?;
        }
        for at in &self.snapshots {
            writeln!(f, "state at {at}")?;
        }
        for (kind, lines) in [("damage", &self.damage), ("unfinished", &self.unfinished)] {
            for line in lines {
                writeln!(f, "{kind}: {line}")?;
            }
        }
        match self.damage.len() {
            0 => write!(f, "everything that was acknowledged is whole"),
            count => write!(f, "{count} places are damaged; what is whole is used"),
        }
    }
}
