//! Segments: the files that changes are appended to.
//!
//! ```text
//! segment  = head batch*
//! head     = "HERMESL2" cluster:u64 after:u64 crc:u32 zero:u32             (32 bytes)
//! batch    = "HBAT" length:u32 count:u32 zero:u32 first:u64 crc:u32 zero:u32 (32 bytes) record*
//! record   = length:u32 crc:u32 payload
//! ```
//!
//! Numbers are little-endian. A segment holds changes after the revision `after`; the records of a
//! batch are numbered from `first` without gaps. A batch is written and synced as one piece before
//! the next one is begun, so the head of a batch proves that everything before it was durable once:
//! what is wrong there is damage. Whether the last batch was ever durable nobody can tell; what is
//! wrong in it was never acknowledged. A batch of no records closes a segment that was ended in order
//! and takes that doubt away.
//!
//! The checksum of a record covers its revision and its payload, which names the key: bytes can
//! neither rot nor move unnoticed, and a record is found by its checksum even when what leads to it
//! has rotted.

use std::ops::Range;

use hermes_core::change::{Change, ClusterId, Revision};
use minicbor::{Decode, Decoder, Encode};

use super::record::{Again, StoredChange, Wrong};

/// Begins every segment; the digit is the version of this format.
const SEGMENT_MAGIC: &[u8; 8] = b"HERMESL2";
const BATCH_MAGIC: &[u8; 4] = b"HBAT";
/// Bytes of the head of a segment, of a batch and of a snapshot.
pub(super) const HEAD: usize = 32;

/// What is wrong with a file whose sound head does not go with its name and its directory.
pub(super) const FOREIGN: &str = "it belongs to another log, or to another place in this one";

/// What was found in a segment, with its changes as `C`.
#[derive(Debug)]
pub(super) struct Scanned<C> {
    /// The sound changes, in order.
    pub(super) changes: Vec<(Revision, C)>,
    /// Everything up to this revision was durable once.
    pub(super) proven: Revision,
    /// What is wrong in that.
    pub(super) damage: Vec<Damage>,
    /// What is wrong behind it: a write that was never finished and never acknowledged, or damage
    /// that looks like one.
    pub(super) unfinished: Vec<Damage>,
}

/// A place that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Bytes from the beginning of the file.
    pub offset: usize,
    /// What is wrong there.
    pub what: String,
}

/// The head of a segment that begins after a revision.
pub(super) fn head(cluster: ClusterId, after: Revision) -> Vec<u8> {
    framed_head(SEGMENT_MAGIC, cluster.0, after.0)
}

/// The cluster that the head of a segment names.
pub(super) fn cluster_of(head: &[u8]) -> Option<ClusterId> {
    read_head(head, SEGMENT_MAGIC).map(|(cluster, _)| ClusterId(cluster))
}

/// Magic, two numbers and their checksum, in 32 bytes. Snapshots begin the same way.
pub(super) fn framed_head(magic: &[u8; 8], first: u64, second: u64) -> Vec<u8> {
    let mut head = magic.to_vec();
    head.extend_from_slice(&first.to_le_bytes());
    head.extend_from_slice(&second.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head.resize(HEAD, 0);
    head
}

/// The two numbers of a head; `None` when it is not a sound head with this magic.
pub(super) fn read_head(bytes: &[u8], magic: &[u8; 8]) -> Option<(u64, u64)> {
    let head = bytes.get(..HEAD)?;
    let sound = head.starts_with(magic)
        && u32_at(head, 24)? == crc32fast::hash(&head[..24])
        && head[28..].iter().all(|byte| *byte == 0);
    sound.then_some(())?;
    Some((u64_at(head, 8)?, u64_at(head, 16)?))
}

/// A batch of changes numbered from `first`.
pub(super) fn batch<'a>(first: Revision, changes: impl Iterator<Item = &'a Change>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_batch(&mut bytes, first, changes);
    bytes
}

/// The same in `bytes`, in place of what was there.
pub(super) fn write_batch<'a>(
    bytes: &mut Vec<u8>,
    first: Revision,
    changes: impl Iterator<Item = &'a Change>,
) {
    bytes.clear();
    bytes.resize(HEAD, 0);
    let mut count: u32 = 0;
    for change in changes {
        let revision = Revision(first.0 + u64::from(count));
        put_frame(
            bytes,
            &revision.0.to_le_bytes(),
            &StoredChange::from(change),
        );
        count += 1;
    }
    let length = u32::try_from(bytes.len() - HEAD).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(BATCH_MAGIC);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..12].copy_from_slice(&count.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.0.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
}

/// Length, checksum over `salt` and payload, and as payload the CBOR of `stored`. The frame of records
/// and snapshot entries.
pub(super) fn put_frame(out: &mut Vec<u8>, salt: &[u8], stored: &impl Encode<()>) {
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    let written = minicbor::encode(stored, &mut *out);
    written.expect("a vector takes everything, and every word is in its table");
    let payload = &out[at + 8..];
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let checksum = checksum(salt, payload);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    out[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// The payload of the frame at the beginning of `bytes`, and what follows it; `None` when it is not
/// sound.
pub(super) fn take_frame<'a>(bytes: &'a [u8], salt: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let payload = bytes.get(8..)?.get(..length)?;
    let rest = &bytes[8 + length..];
    (u32_at(bytes, 4)? == checksum(salt, payload)).then_some((payload, rest))
}

fn checksum(salt: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(salt);
    hasher.update(payload);
    hasher.finalize()
}

/// Everything that is sound in the segment of `cluster` that begins after a revision, and what is
/// not.
pub(super) fn scan(bytes: &[u8], cluster: ClusterId, after: Revision) -> Scanned<Change> {
    scan_as(read_one, bytes, cluster, after)
}

/// The same with the changes as they are stored, to be read later with [`read_change`].
pub(super) fn scan_stored(bytes: &[u8], cluster: ClusterId, after: Revision) -> Scanned<&[u8]> {
    scan_as(Ok, bytes, cluster, after)
}

/// The change that a record holds, which comes after those that are in `again`.
pub(super) fn read_change(payload: &[u8], again: &mut Again) -> Result<Change, Wrong> {
    take_stored::<StoredChange<'_>>(payload)?.read(again)
}

fn read_one(payload: &[u8]) -> Result<Change, Wrong> {
    read_change(payload, &mut Again::default())
}

/// What was stored, and nothing behind it.
pub(super) fn take_stored<'a, T: Decode<'a, ()>>(payload: &'a [u8]) -> Result<T, Wrong> {
    let mut decoder = Decoder::new(payload);
    let stored = decoder.decode().map_err(|error| error.to_string())?;
    let is_all = decoder.position() == payload.len();
    is_all
        .then_some(stored)
        .ok_or("something stands behind it".into())
}

fn scan_as<'a, C>(
    read: fn(&'a [u8]) -> Result<C, Wrong>,
    bytes: &'a [u8],
    cluster: ClusterId,
    after: Revision,
) -> Scanned<C> {
    let mut scan = Scan::new(after, read);
    match read_head(bytes, SEGMENT_MAGIC) {
        Some(head) if head == (cluster.0, after.0) => {}
        Some(_) => {
            scan.note(0, FOREIGN);
            return scan.finish(true);
        }
        None => scan.note(0, "its head is not sound"),
    }
    // A segment gets its name with its head in it.
    scan.certain = scan.found.damage.len();
    scan.take_batches(bytes, HEAD.min(bytes.len()));
    scan.finish(false)
}

/// Everything that is sound in a stripe of a segment, of which the first change should be the one
/// after a revision.
pub(super) fn scan_stripe(bytes: &[u8], after: Revision) -> Scanned<Change> {
    let mut scan = Scan::new(after, read_one);
    scan.take_batches(bytes, 0);
    scan.finish(false)
}

/// The first change of the batch that a head begins, and how many bytes follow the head; `None` when
/// it is not sound.
pub(super) fn batch_extent(head: &[u8]) -> Option<(Revision, u64)> {
    let head = batch_head(head)?;
    Some((Revision(head.first), head.length as u64))
}

struct BatchHead {
    length: usize,
    count: u32,
    first: u64,
}

fn batch_head(bytes: &[u8]) -> Option<BatchHead> {
    let head = bytes.get(..HEAD)?;
    let sound = head.starts_with(BATCH_MAGIC)
        && u32_at(head, 24)? == crc32fast::hash(&head[..24])
        && head[28..].iter().all(|byte| *byte == 0);
    sound.then_some(())?;
    let length = usize::try_from(u32_at(head, 4)?).ok()?;
    Some(BatchHead {
        length,
        count: u32_at(head, 8)?,
        first: u64_at(head, 16)?,
    })
}

/// Where the next sound batch head begins, from `from` on; the end when there is none.
fn next_batch(bytes: &[u8], from: usize) -> usize {
    let candidates = from..bytes.len().saturating_sub(HEAD - 1);
    candidates
        .filter(|at| bytes[*at..].starts_with(BATCH_MAGIC))
        .find(|at| batch_head(&bytes[*at..]).is_some())
        .unwrap_or(bytes.len())
}

/// A segment that is being scanned.
struct Scan<'a, C> {
    found: Scanned<C>,
    /// What is made of a record.
    read: fn(&'a [u8]) -> Result<C, Wrong>,
    /// How much of the damage lies in what was durable once.
    certain: usize,
    /// The revision that the next record should have.
    next: u64,
}

impl<'a, C> Scan<'a, C> {
    fn new(after: Revision, read: fn(&'a [u8]) -> Result<C, Wrong>) -> Self {
        Self {
            found: Scanned {
                changes: Vec::new(),
                proven: after,
                damage: Vec::new(),
                unfinished: Vec::new(),
            },
            read,
            certain: 0,
            next: after.0 + 1,
        }
    }

    fn note(&mut self, offset: usize, what: impl Into<String>) {
        self.found.damage.push(Damage {
            offset,
            what: what.into(),
        });
    }

    /// Takes what is sound from `at` on.
    fn take_batches(&mut self, bytes: &'a [u8], mut at: usize) {
        while at < bytes.len() {
            let begin = at + HEAD;
            if let Some(head) = batch_head(&bytes[at..]) {
                self.begin_batch(&head);
                at = begin.saturating_add(head.length);
                let body = &bytes[begin..at.min(bytes.len())];
                self.take_batch(begin, &head, body);
            } else {
                self.note(at, "no batch begins");
                at = next_batch(bytes, at + 1);
                self.take_headless(begin, bytes.get(begin..at).unwrap_or_default());
            }
        }
    }

    /// A batch is only begun when everything before it is durable.
    fn begin_batch(&mut self, head: &BatchHead) {
        self.certain = self.found.damage.len();
        self.found.proven = Revision(head.first.saturating_sub(1));
        self.next = head.first.saturating_add(u64::from(head.count));
    }

    /// Takes what is sound in a batch whose body begins at `begin`.
    fn take_batch(&mut self, begin: usize, head: &BatchHead, body: &'a [u8]) {
        let end = self.next;
        let mut rest = body;
        let mut revision = head.first;
        while revision < end {
            let offset = begin + (body.len() - rest.len());
            if let Some((payload, after)) = take_frame(rest, &revision.to_le_bytes()) {
                self.take_change(offset, Revision(revision), payload);
                rest = after;
                revision += 1;
                continue;
            }
            let (skipped, found) = next_frame(rest, revision + 1..end).unwrap_or((rest.len(), end));
            let what = if revision + 1 == found {
                format!("revision {revision} is not as it was written")
            } else {
                format!(
                    "the revisions {revision} to {} are not as they were written",
                    found - 1
                )
            };
            self.note(offset, what);
            rest = &rest[skipped..];
            revision = found;
        }
    }

    /// Takes the records behind a place where the head of a batch should be. Their own checksums
    /// say which revisions they are.
    fn take_headless(&mut self, begin: usize, body: &'a [u8]) {
        let mut rest = body;
        while let Some((payload, after)) = take_frame(rest, &self.next.to_le_bytes()) {
            let offset = begin + (body.len() - rest.len());
            self.take_change(offset, Revision(self.next), payload);
            self.next += 1;
            rest = after;
        }
    }

    fn take_change(&mut self, offset: usize, revision: Revision, payload: &'a [u8]) {
        match (self.read)(payload) {
            Ok(change) => self.found.changes.push((revision, change)),
            Err(wrong) => self.note(
                offset,
                format!("revision {revision} cannot be read: {wrong}"),
            ),
        }
    }

    fn finish(mut self, is_certain: bool) -> Scanned<C> {
        if !is_certain {
            self.found.unfinished = self.found.damage.split_off(self.certain);
        }
        self.found
    }
}

/// Where the first sound frame of one of `revisions` begins, and which one it is. Not at the very
/// beginning, where one was looked for already.
pub(super) fn next_frame(bytes: &[u8], revisions: Range<u64>) -> Option<(usize, u64)> {
    // Shorter than any payload: it keeps zeros from being looked at for every revision.
    const PAYLOAD_MIN: u32 = 2;
    let fits = |at: &usize| {
        let length = u32_at(bytes, *at).unwrap_or_default();
        let room = bytes.len().saturating_sub(*at + 8);
        length >= PAYLOAD_MIN && usize::try_from(length).is_ok_and(|length| length <= room)
    };
    (1..bytes.len()).filter(fits).find_map(|at| {
        let is_at = |revision: &u64| take_frame(&bytes[at..], &revision.to_le_bytes()).is_some();
        Some((at, revisions.clone().find(is_at)?))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
