//! The file log is a log. The log in memory passes the same suite in its own crate.

use std::cell::Cell;
use std::path::PathBuf;

use hermes_core::change::ClusterId;
use hermes_discovery::log::Log;
use hermes_discovery::log::conformance::{Shelf, suite};
use hermes_server::log::disk::Directory;
use hermes_server::log::{FileLog, Options};
use tempfile::TempDir;

/// File logs, each in a directory of its own.
struct Directories {
    above: TempDir,
    made: Cell<u64>,
}

impl Directories {
    fn path(&self) -> PathBuf {
        self.above.path().join(self.made.get().to_string())
    }

    fn make(&self, options: Options) -> FileLog<Directory> {
        self.made.set(self.made.get() + 1);
        FileLog::open(&self.path(), options, ClusterId(self.made.get())).unwrap()
    }
}

fn forgetful() -> Options {
    Options {
        segment_bytes: 4_096,
        snapshot_changes: 50,
        horizon_changes: 100,
        ..Options::default()
    }
}

impl Shelf for Directories {
    type Log = FileLog<Directory>;

    async fn empty(&self) -> FileLog<Directory> {
        self.make(Options::default())
    }

    async fn forgetful(&self) -> FileLog<Directory> {
        self.make(forgetful())
    }

    async fn again(&self, log: FileLog<Directory>) -> Option<FileLog<Directory>> {
        let cluster = log.cluster();
        drop(log);
        // A snapshot that is being written holds the directory until it is done.
        loop {
            match FileLog::open(&self.path(), forgetful(), ClusterId(0)) {
                Ok(log) => {
                    assert_eq!(log.cluster(), cluster);
                    return Some(log);
                }
                Err(hermes_server::log::OpenError::Held(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn the_file_log_is_a_log() {
    let directories = Directories {
        above: tempfile::tempdir().unwrap(),
        made: Cell::new(0),
    };
    suite(&directories).await;
}
