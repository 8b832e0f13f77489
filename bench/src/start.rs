//! The directory of a log that is measured: its files, their sizes, and what a start reads of them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// A directory that goes with the run.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    text: String,
}

/// What is in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    /// Bytes of all segments.
    pub(crate) segments: u64,
    /// Bytes of the newest snapshot, for each endpoint that it holds.
    pub(crate) for_each_endpoint: f64,
    /// Bytes that a start reads.
    pub(crate) read_at_start: u64,
}

impl Scratch {
    /// A directory in the one for temporary files, which should be on a disk.
    pub(crate) fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("hermes-bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(Failure::of("making a directory"))?;
        let text = path.display().to_string();
        Ok(Self { path, text })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The newest snapshot, and the segments with changes after it.
    pub(crate) fn read_at_start(&self) -> Result<Vec<PathBuf>, Failure> {
        let snapshots = self.files("state-", ".snapshot")?;
        let base = snapshots.last().map_or(0, |(at, _)| *at);
        let mut read: Vec<PathBuf> = snapshots.into_iter().map(|(_, path)| path).collect();
        read.drain(..read.len().saturating_sub(1));
        let segments = self.files("changes-", ".log")?;
        let first = segments.partition_point(|(after, _)| *after <= base);
        let segments = segments.into_iter().skip(first.saturating_sub(1));
        read.extend(segments.map(|(_, path)| path));
        Ok(read)
    }

    pub(crate) fn sizes(&self) -> Result<Sizes, Failure> {
        let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let segments = self.files("changes-", ".log")?;
        let snapshot = self.files("state-", ".snapshot")?.pop();
        // No endpoint was ever changed: a snapshot at a revision has as many.
        let for_each_endpoint = |(at, path): (u64, PathBuf)| bytes(&path) as f64 / at as f64;
        Ok(Sizes {
            segments: segments.iter().map(|(_, path)| bytes(path)).sum(),
            for_each_endpoint: snapshot.map_or(0.0, for_each_endpoint),
            read_at_start: self.read_at_start()?.iter().map(|path| bytes(path)).sum(),
        })
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        let files = fs::read_dir(&self.path).into_iter().flatten().flatten();
        files
            .map(|file| file.metadata().map_or(0, |metadata| metadata.len()))
            .sum()
    }

    /// Tells the system to keep nothing of the files in memory. Where that cannot be done, both sides
    /// have them there.
    pub(crate) fn forget_cached(&self) {
        let files = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for file in files {
            Command::new("dd")
                .arg(format!("if={}", file.path().display()))
                .args(["iflag=nocache", "count=0"])
                .stderr(Stdio::null())
                .status()
                .ok();
        }
    }

    fn files(&self, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>, Failure> {
        let entries = fs::read_dir(&self.path).map_err(Failure::of("looking at a directory"))?;
        let mut found: Vec<(u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
                Some((digits.parse().ok()?, entry.path()))
            })
            .collect();
        found.sort();
        Ok(found)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

/// Reads every byte of the files, as the floor of a start; how many there are.
pub(crate) fn read_all(files: &[PathBuf]) -> Result<u64, Failure> {
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    for path in files {
        let mut file = File::open(path).map_err(Failure::of("opening a file"))?;
        loop {
            match file
                .read(&mut buffer)
                .map_err(Failure::of("reading a file"))?
            {
                0 => break,
                read => bytes += read as u64,
            }
        }
    }
    Ok(bytes)
}
