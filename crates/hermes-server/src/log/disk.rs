//! The disk beneath the log: the few operations that it is built from, and nothing else.
//!
//! Everything the log does to files goes through [`Disk`], so that tests can put a disk beneath it
//! that loses what was not synced, tears and reorders writes, and fails at any call.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One directory on a disk.
pub trait Disk: std::fmt::Debug + Send + Sync + 'static {
    /// A file that is being appended to.
    type File: DiskFile;

    /// The names of all files.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file, empty; one of that name is replaced. It is only sure to exist after a crash once
    /// [`Disk::sync_names`] has returned.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// The bytes of a file, from an offset on; none when it ends before that.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn read(&self, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>>;

    /// Gives a file another name, replacing one that has it.
    ///
    /// # Errors
    /// When it cannot be done.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When it cannot be done.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// How many bytes all files have together.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn bytes(&self) -> io::Result<u64>;

    /// Makes what was created, renamed and removed durable.
    ///
    /// # Errors
    /// When it cannot be done.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that is being appended to.
pub trait DiskFile: std::fmt::Debug + Send + 'static {
    /// Appends bytes. They are durable only after [`DiskFile::sync`].
    ///
    /// # Errors
    /// When they cannot all be written; some of them may have been.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// When it cannot be done. What was appended since the last success may be durable or not, and
    /// the file must not be appended to again.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the file system, held by one process at a time.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Locked for as long as this lives.
    _lock: Option<File>,
}

/// The file whose lock says who holds a directory. It is never written to.
const LOCK: &str = "lock";
/// What a directory may hold without holding anything: the lock, the keys of the server, and what file
/// systems put into the directory that they are mounted on.
const NOT_CONTENT: [&str; 5] = [
    LOCK,
    "keys.json",
    "keys.json.lock",
    "keys.json.new",
    "lost+found",
];

impl Directory {
    /// The directory at `path`, made when it is not there, and held.
    ///
    /// # Errors
    /// When it cannot be made, or somebody else holds it (`WouldBlock`).
    pub fn hold(path: &Path) -> io::Result<Self> {
        make_durably(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: Some(lock),
            }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The directory at `path`, only to be looked at: whoever holds it goes on holding it.
    #[must_use]
    pub fn look_at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
        }
    }
}

/// Makes a directory with those above it. What is in a directory can only be as durable as itself.
fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if above == Path::new("") => Path::new("."),
        Some(above) => above,
        None => return std::fs::create_dir(path),
    };
    make_durably(above)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}

impl Disk for Directory {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !NOT_CONTENT.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        File::create(self.path.join(name))
    }

    fn read(&self, name: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        const BUFFER: usize = 256 * 1024;
        let mut file = File::open(self.path.join(name))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn bytes(&self) -> io::Result<u64> {
        let mut sum = 0;
        for entry in std::fs::read_dir(&self.path)? {
            // One that is removed meanwhile has none.
            sum += entry?.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(sum)
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
