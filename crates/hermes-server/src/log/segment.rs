//! Segments: the files that changes are appended to.
//!
//! ```text
//! segment  = head batch*
//! head     = "HERMESL1" cluster:u64 after:u64 crc:u32 zero:u32             (32 bytes)
//! batch    = "HBAT" length:u32 count:u32 zero:u32 first:u64 crc:u32 zero:u32 (32 bytes) record*
//! record   = length:u32 crc:u32 payload
//! ```
//!
//! Numbers are little-endian. A segment holds changes after the revision `after`; its records are
//! numbered from `first` without gaps. A batch is written and synced as one piece before the next one
//! is begun, so whatever is wrong at the very end of a segment was never acknowledged, and a sound
//! batch behind a damaged place proves that the place was sound once. The checksum of a record
//! covers its revision and its payload, which names the key: bytes can neither rot nor move
//! unnoticed. A batch of no records closes a segment that was ended in order.

use hermes_core::change::{Change, ClusterId, Revision};

use super::record::StoredChange;

/// Begins every segment; the digit is the version of this format.
const SEGMENT_MAGIC: &[u8; 8] = b"HERMESL1";
const BATCH_MAGIC: &[u8; 4] = b"HBAT";
const HEAD: usize = 32;

/// What was found in a segment.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// The sound changes, in order.
    pub(super) changes: Vec<(Revision, Change)>,
    /// What is wrong in it, where sound batches follow.
    pub(super) damage: Vec<Damage>,
    /// What is wrong behind the last sound batch: a write that was never finished and never
    /// acknowledged, or damage that looks like one.
    pub(super) unfinished: Vec<Damage>,
    /// Whether it was ended in order.
    pub(super) closed: bool,
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
    let mut bytes = vec![0; HEAD];
    let mut count: u32 = 0;
    for change in changes {
        let revision = Revision(first.0 + u64::from(count));
        // String keys and finite numbers always serialize.
        let payload = serde_json::to_vec(&StoredChange::from(change)).unwrap_or_default();
        put_frame(&mut bytes, &revision.0.to_le_bytes(), &payload);
        count += 1;
    }
    let length = u32::try_from(bytes.len() - HEAD).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(BATCH_MAGIC);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..12].copy_from_slice(&count.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.0.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Length, checksum over `salt` and `payload`, payload. The frame of records and snapshot entries.
pub(super) fn put_frame(out: &mut Vec<u8>, salt: &[u8], payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(salt, payload).to_le_bytes());
    out.extend_from_slice(payload);
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

/// Everything that is sound in a segment of `cluster`, and what is not.
pub(super) fn scan(bytes: &[u8], cluster: ClusterId) -> Scanned {
    let mut scanned = Scanned::default();
    match read_head(bytes, SEGMENT_MAGIC) {
        Some((found, _)) if found == cluster.0 => {}
        Some(_) => scanned.note(0, "the head names another cluster"),
        None => scanned.note(0, "the head of the segment is not sound"),
    }
    let mut at = HEAD.min(bytes.len());
    let mut sound = scanned.damage.len();
    while at < bytes.len() {
        match batch_head(&bytes[at..]) {
            Some(head) if bytes.len() - at - HEAD >= head.length => {
                let body = &bytes[at + HEAD..at + HEAD + head.length];
                if scanned.take_batch(at, &head, body) {
                    sound = scanned.damage.len();
                }
                at += HEAD + head.length;
            }
            broken => {
                let what = if broken.is_some() {
                    "a batch that breaks off"
                } else {
                    "no batch begins"
                };
                scanned.note(at, what);
                at = next_batch(bytes, at + 1);
            }
        }
    }
    scanned.unfinished = scanned.damage.split_off(sound);
    scanned
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

impl Scanned {
    fn note(&mut self, offset: usize, what: impl Into<String>) {
        self.damage.push(Damage {
            offset,
            what: what.into(),
        });
        self.closed = false;
    }

    /// Takes what is sound in a batch; whether all of it is.
    fn take_batch(&mut self, at: usize, head: &BatchHead, body: &[u8]) -> bool {
        let damage_before = self.damage.len();
        self.closed = head.count == 0;
        let mut rest = Some(body);
        for n in 0..u64::from(head.count) {
            let revision = Revision(head.first.saturating_add(n));
            let Some(bytes) = rest else { break };
            let offset = at + HEAD + (body.len() - bytes.len());
            rest = match take_frame(bytes, &revision.0.to_le_bytes()) {
                Some((payload, rest)) => {
                    self.take_change(offset, revision, payload);
                    Some(rest)
                }
                None => {
                    self.note(
                        offset,
                        format!("the checksum of revision {revision} is wrong"),
                    );
                    // A wrong length leads nowhere, a right one to the next record.
                    skip_frame(bytes)
                }
            };
        }
        self.damage.len() == damage_before
    }

    fn take_change(&mut self, offset: usize, revision: Revision, payload: &[u8]) {
        let stored = serde_json::from_slice::<StoredChange<'_>>(payload);
        match stored
            .map_err(|error| error.to_string())
            .and_then(StoredChange::read)
        {
            Ok(change) => self.changes.push((revision, change)),
            Err(wrong) => self.note(
                offset,
                format!("revision {revision} cannot be read: {wrong}"),
            ),
        }
    }
}

fn skip_frame(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    bytes.get(8 + length..)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
