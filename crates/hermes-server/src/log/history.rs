//! Reading history: pages of changes, beside the writer.
//!
//! A page costs the stripes that it is in, however long the log is. The files are looked up under the
//! lock that the writer takes too, and read without it. A file that compaction removes meanwhile is an
//! answer of its own.

use std::io::{self, Read};
use std::sync::{Arc, Weak};

use hermes_core::change::Revision;
use hermes_core::time::Timestamp;
use hermes_discovery::log::{Extent, LogError, Reader, Record};

use super::Shared;
use super::disk::Disk;
use super::files::{Place, segment_name};
use super::load::count;
use super::segment::scan_stripe;
use super::stripe::{Stripe, Stripes};

/// Reads a file log. It neither holds the directory nor keeps it open.
#[derive(Debug)]
pub struct FileReader<D: Disk>(Weak<Shared<D>>);

impl<D: Disk> FileReader<D> {
    pub(super) fn new(shared: &Arc<Shared<D>>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl<D: Disk> Reader for FileReader<D> {
    async fn read(&self, revision: Revision, limit: usize) -> Result<Vec<Record>, LogError> {
        let Some(shared) = self.0.upgrade() else {
            return Err(LogError::Unavailable("it was closed".into()));
        };
        let read = move || read(&shared, revision, limit);
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or_else(|error| Err(LogError::Unavailable(error.to_string())))
    }

    fn extent(&self) -> Extent {
        let Some(shared) = self.0.upgrade() else {
            return Extent::default();
        };
        Extent {
            bytes: shared.disk.bytes().unwrap_or_default(),
            snapshot: shared.newest_snapshot().map(Timestamp),
        }
    }
}

/// The first changes after `revision` that count, at most `limit`, as far as none between them is
/// missing.
///
/// # Errors
/// When the very next ones are no longer kept or are missing, or when the disk cannot be read.
fn read<D: Disk>(
    shared: &Shared<D>,
    revision: Revision,
    limit: usize,
) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    let mut read = revision;
    loop {
        let (place, begins_after, last) = {
            let files = shared.files.lock().unwrap();
            (files.place(read), files.begins_after(), files.last)
        };
        if read < begins_after {
            return found(records);
        }
        let Some(place) = place.filter(|_| read < last && records.len() < limit) else {
            return Ok(records);
        };
        let page = match read_place(shared, place, read) {
            Ok(page) => page,
            // Removed between the look and the read: the log begins behind it by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                shared.miss_upto(place.upto);
                return found(records);
            }
            Err(error) => return Err(LogError::Unavailable(error.to_string())),
        };
        let Some(page) = page else { continue };
        read = page.last;
        records.extend(page.records.into_iter().take(limit - records.len()));
        if let Some(missing) = page.missing_upto.filter(|_| records.len() < limit) {
            if records.is_empty() {
                shared.miss_upto(missing);
            }
            return found(records);
        }
    }
}

/// What was read before the log turned out to begin later.
fn found(records: Vec<Record>) -> Result<Vec<Record>, LogError> {
    if records.is_empty() {
        Err(LogError::Compacted)
    } else {
        Ok(records)
    }
}

/// What a stripe has.
struct Page {
    /// The changes, up to the first that is missing.
    records: Vec<Record>,
    /// The last change that is missing.
    missing_upto: Option<Revision>,
    /// Everything up to here is in `records` or is missing.
    last: Revision,
}

/// Reads one stripe; `None` when it was looked for only now.
fn read_place<D: Disk>(
    shared: &Shared<D>,
    place: Place,
    after: Revision,
) -> io::Result<Option<Page>> {
    let name = segment_name(place.segment);
    let Some(Stripe {
        offset,
        length,
        upto,
    }) = place.stripe
    else {
        let stripes = Stripes::of(shared.disk.read(&name, 0)?)?;
        let mut files = shared.files.lock().unwrap();
        files.note_stripes(place.segment, stripes);
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let mut file = shared.disk.read(&name, offset)?;
    match length {
        Some(length) => file.take(length).read_to_end(&mut bytes)?,
        None => file.read_to_end(&mut bytes)?,
    };
    let upto = upto.map_or(place.upto, |upto| upto.min(place.upto));
    let counted = count(scan_stripe(&bytes, after), after, Some(upto));
    let first_missing = counted.missing.first().map_or(u64::MAX, |gap| *gap.start());
    let whole = counted.changes.into_iter();
    let whole = whole.take_while(|(found, _)| found.0 < first_missing);
    let record = |(revision, change)| Record {
        revision,
        change: Arc::new(change),
    };
    Ok(Some(Page {
        records: whole.map(record).collect(),
        missing_upto: counted.missing.last().map(|gap| Revision(*gap.end())),
        last: counted.last,
    }))
}
