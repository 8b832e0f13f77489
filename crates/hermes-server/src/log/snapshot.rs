//! Snapshots: the whole state at one revision, so that a start need not read all of history.
//!
//! ```text
//! snapshot = "HERMESS2" cluster:u64 revision:u64 crc:u32 zero:u32 entry*
//! entry    = length:u32 crc:u32 payload        (the frame of a record, salted with the revision)
//! ```
//!
//! The last entry counts the others. Each can be read without those before it, so that a damaged one
//! hides only itself. A snapshot is written under another name, synced, and only then
//! given its own, so one that has its name is whole, or has rotted since, which its checksums show.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use hermes_core::catalog::{Catalog, Emptied, Gone, ServiceView};
use hermes_core::change::{ChangeKind, ClusterId, Revision};
use hermes_core::endpoint::EndpointState;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::policy::ServicePolicy;
use hermes_core::time::{Now, Timestamp};
use minicbor::{Decode, Encode};

use super::disk::DiskFile;
use super::in_order::in_order;
use super::record::{Again, StoredPolicy, StoredState, Word, Wrong, endpoint_id, given_name};
use super::segment::{
    Damage, FOREIGN, HEAD, framed_head, next_frame, put_frame, read_head, take_frame, take_stored,
};

const SNAPSHOT_MAGIC: &[u8; 8] = b"HERMESS2";
/// Bytes written to the disk in one piece.
const PIECE: usize = 1024 * 1024;
/// No entry is longer: one endpoint with the largest metadata, several times over.
const ENTRY_MAX: usize = 16 * 1024 * 1024;

/// Its members have numbers as those of records have.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
enum Entry<'a> {
    #[n(0)]
    Namespace {
        #[n(0)]
        name: &'a str,
        #[n(1)]
        revision: u64,
    },
    #[n(1)]
    Service {
        #[n(0)]
        namespace: &'a str,
        #[n(1)]
        name: &'a str,
        #[n(2)]
        given_name: Option<&'a str>,
        #[n(3)]
        revision: u64,
        #[n(4)]
        emptied: Option<StoredEmptied>,
        #[b(5)]
        #[cbor(skip_if = "Vec::is_empty")]
        gone: Vec<StoredGone<'a>>,
        #[b(6)]
        policy: Option<StoredPolicy<'a>>,
    },
    /// Comes after its service, and names it all the same: what is whole must be of use even when
    /// what stands before it is not.
    #[n(2)]
    Endpoint {
        #[n(0)]
        namespace: &'a str,
        #[n(1)]
        service: &'a str,
        #[n(2)]
        id: &'a str,
        #[n(3)]
        revision: u64,
        #[b(4)]
        state: Box<StoredState<'a>>,
    },
    #[n(3)]
    End {
        #[n(0)]
        entries: u64,
    },
}

#[derive(Debug, Encode, Decode)]
struct StoredEmptied {
    #[n(0)]
    by: Word<ChangeKind>,
    #[n(1)]
    at: u64,
}

#[derive(Debug, Encode, Decode)]
struct StoredGone<'a> {
    #[n(0)]
    id: &'a str,
    #[n(1)]
    incarnation: u64,
    #[n(2)]
    by: Word<ChangeKind>,
    #[n(3)]
    at: u64,
}

/// Writes the state of `catalog` to a file; gives back its size. Gives up when it `is_late`.
pub(super) fn write<F: DiskFile>(
    file: &mut F,
    cluster: ClusterId,
    catalog: &Catalog,
    is_late: impl Fn() -> bool,
) -> io::Result<u64> {
    let revision = catalog.revision();
    let mut writer = Writer {
        file,
        salt: revision.0.to_le_bytes(),
        waiting: framed_head(SNAPSHOT_MAGIC, cluster.0, revision.0),
        written: 0,
        entries: 0,
    };
    for namespace in catalog.namespaces() {
        writer.put(&Entry::Namespace {
            name: namespace.name.as_str(),
            revision: namespace.revision.0,
        })?;
        for view in namespace.services() {
            writer.put_service(view)?;
            if is_late() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
    writer.put(&Entry::End {
        entries: writer.entries,
    })?;
    writer.flush()?;
    Ok(writer.written)
}

struct Writer<'a, F> {
    file: &'a mut F,
    salt: [u8; 8],
    waiting: Vec<u8>,
    written: u64,
    entries: u64,
}

impl<F: DiskFile> Writer<'_, F> {
    fn put_service(&mut self, view: &ServiceView) -> io::Result<()> {
        fn stored(gone: &Gone) -> StoredGone<'_> {
            StoredGone {
                id: gone.id.as_str(),
                incarnation: gone.incarnation.0,
                by: Word(gone.by),
                at: gone.at.0,
            }
        }
        self.put(&Entry::Service {
            namespace: view.key.namespace.as_str(),
            name: view.key.name.as_str(),
            given_name: given_name(&view.key.name),
            revision: view.revision.0,
            emptied: view.emptied.map(|emptied| StoredEmptied {
                by: Word(emptied.by),
                at: emptied.at.0,
            }),
            gone: view.gone.iter().map(stored).collect(),
            policy: (!view.policy.is_empty()).then(|| (&*view.policy).into()),
        })?;
        for endpoint in &view.endpoints {
            self.put(&Entry::Endpoint {
                namespace: view.key.namespace.as_str(),
                service: view.key.name.as_str(),
                id: endpoint.id.as_str(),
                revision: endpoint.revision.0,
                state: Box::new((&*endpoint.state).into()),
            })?;
        }
        Ok(())
    }

    fn put(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        put_frame(&mut self.waiting, &self.salt, entry);
        self.entries += 1;
        if self.waiting.len() >= PIECE {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.append(&self.waiting)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// The cluster that the head of a snapshot names.
pub(super) fn cluster_of(head: &[u8]) -> Option<ClusterId> {
    read_head(head, SNAPSHOT_MAGIC).map(|(cluster, _)| ClusterId(cluster))
}

/// Puts the state of the snapshot of `cluster` at a revision into an empty `catalog`. Leases begin at
/// `now`.
///
/// # Errors
/// What is wrong with the snapshot; the catalog is of no use then.
pub(super) fn read(
    mut bytes: impl Read + Send,
    (cluster, at): (ClusterId, Revision),
    catalog: &mut Catalog,
    now: Now,
) -> Result<(), Wrong> {
    let mut head = [0; HEAD];
    bytes
        .read_exact(&mut head)
        .map_err(|error| format!("its head cannot be read: {error}"))?;
    let found = read_head(&head, SNAPSHOT_MAGIC).ok_or("its head is not sound")?;
    if found != (cluster.0, at.0) {
        return Err(FOREIGN.into());
    }
    let salt = at.0.to_le_bytes();
    let mut entries = 0;
    let mut end = None;
    in_order(
        Pieces { bytes },
        |piece| read_piece(&piece?, &salt),
        |piece: Result<Vec<Restored>, Wrong>| {
            for restored in piece? {
                if end.is_some() {
                    return Err(Wrong::from("it goes on after its end"));
                }
                entries += 1;
                end = restored.put(catalog, now);
            }
            Ok(())
        },
    )?;
    catalog.restore_revision(at);
    match end {
        Some(others) if others + 1 == entries => Ok(()),
        Some(_) => Err("entries are missing".into()),
        None => Err("it breaks off".into()),
    }
}

/// Puts what is sound of a damaged snapshot into an empty `catalog`, and says what is not.
pub(super) fn rescue(
    bytes: &[u8],
    (cluster, at): (ClusterId, Revision),
    catalog: &mut Catalog,
    now: Now,
) -> Vec<Damage> {
    let mut damage = Vec::new();
    let mut note = |rest: &[u8], what: String| {
        let offset = bytes.len() - rest.len();
        damage.push(Damage { offset, what });
    };
    match read_head(bytes, SNAPSHOT_MAGIC) {
        Some(head) if head == (cluster.0, at.0) => {}
        Some(_) => {
            note(bytes, FOREIGN.into());
            return damage;
        }
        None => note(bytes, "its head is not sound".into()),
    }
    let mut rest = bytes.get(HEAD..).unwrap_or_default();
    let mut again = Again::default();
    while !rest.is_empty() {
        if let Some((payload, after)) = take_frame(rest, &at.0.to_le_bytes()) {
            match read_entry(payload, &mut again) {
                Ok(restored) => drop(restored.put(catalog, now)),
                Err(wrong) => note(rest, wrong),
            }
            rest = after;
        } else {
            note(rest, "an entry is not as it was written".into());
            let next = next_frame(rest, at.0..at.0 + 1);
            rest = next.map_or(&[], |(skipped, _)| &rest[skipped..]);
        }
    }
    catalog.restore_revision(at);
    damage
}

/// How a service came to have no endpoint, and what was removed of it.
type Past = (Option<Emptied>, VecDeque<Gone>);

/// An entry as the catalog takes it.
enum Restored {
    Namespace(Name, Revision),
    Service(ServiceKey, Revision, Past, Box<ServicePolicy>),
    Endpoint(ServiceKey, EndpointId, Revision, Arc<EndpointState>),
    End { entries: u64 },
}

impl Restored {
    /// Puts it into the catalog; the last one says how many others there are.
    fn put(self, catalog: &mut Catalog, now: Now) -> Option<u64> {
        match self {
            Self::Namespace(name, revision) => catalog.restore_namespace(&name, revision),
            Self::Service(key, revision, past, policy) => {
                catalog.restore_service(&key, revision, past, *policy);
            }
            Self::Endpoint(key, id, revision, state) => {
                catalog.restore_endpoint(&key, (&id, revision), &state, now);
            }
            Self::End { entries } => return Some(entries),
        }
        None
    }
}

fn read_entry(payload: &[u8], again: &mut Again) -> Result<Restored, Wrong> {
    Ok(match take_stored(payload)? {
        Entry::Namespace { name, revision } => {
            let name = Name::parse(name).map_err(|error| error.to_string())?;
            Restored::Namespace(name, Revision(revision))
        }
        Entry::Service {
            namespace,
            name,
            given_name,
            revision,
            emptied,
            gone,
            policy,
        } => {
            let key = again.service_key(namespace, name, given_name)?;
            let emptied = emptied.as_ref().map(read_emptied).transpose()?;
            let gone = gone.iter().map(read_gone).collect::<Result<_, _>>()?;
            let policy = policy.map(StoredPolicy::read).transpose()?;
            let policy = policy.unwrap_or_default();
            Restored::Service(key, Revision(revision), (emptied, gone), Box::new(policy))
        }
        Entry::Endpoint {
            namespace,
            service,
            id,
            revision,
            state,
        } => {
            let key = again.service_key(namespace, service, None)?;
            let (id, state) = (endpoint_id(id)?, state.read(again)?);
            Restored::Endpoint(key, id, Revision(revision), Arc::new(state))
        }
        Entry::End { entries } => Restored::End { entries },
    })
}

/// The entries of a piece. It ends where a frame does.
fn read_piece(piece: &[u8], salt: &[u8]) -> Result<Vec<Restored>, Wrong> {
    let (mut restored, mut again) = (Vec::new(), Again::default());
    let mut rest = piece;
    while !rest.is_empty() {
        let sound = take_frame(rest, salt);
        let (payload, after) = sound.ok_or("the checksum of an entry is wrong")?;
        restored.push(read_entry(payload, &mut again)?);
        rest = after;
    }
    Ok(restored)
}

/// The frames of a snapshot, many in a piece; after an error there is nothing more.
struct Pieces<R> {
    bytes: R,
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = Result<Vec<u8>, Wrong>;

    fn next(&mut self) -> Option<Self::Item> {
        const PIECE_READ: usize = 128 * 1024;
        let mut piece = Vec::with_capacity(PIECE_READ);
        while piece.len() < PIECE_READ {
            match self.add_frame(&mut piece) {
                Ok(true) => {}
                Ok(false) if piece.is_empty() => return None,
                Ok(false) => break,
                Err(wrong) => return Some(Err(wrong)),
            }
        }
        Some(Ok(piece))
    }
}

impl<R: Read> Pieces<R> {
    /// Adds the next frame to a piece; `false` at the end of the file.
    fn add_frame(&mut self, piece: &mut Vec<u8>) -> Result<bool, Wrong> {
        let broken = |error: io::Error| format!("it breaks off: {error}");
        let begin = piece.len();
        let head = self.bytes.by_ref().take(8).read_to_end(piece);
        if head.map_err(broken)? == 0 {
            return Ok(false);
        }
        let length = piece
            .get(begin..begin + 4)
            .and_then(|head| head.try_into().ok());
        let length = length.ok_or("it breaks off")?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > ENTRY_MAX {
            return Err("an entry is longer than any can be".into());
        }
        let body = self.bytes.by_ref().take(length as u64).read_to_end(piece);
        let is_whole = body.map_err(broken)? == length && piece.len() >= begin + 8;
        is_whole.then_some(true).ok_or("it breaks off".into())
    }
}

fn read_emptied(emptied: &StoredEmptied) -> Result<Emptied, Wrong> {
    Ok(Emptied {
        by: removal(emptied.by)?,
        at: Timestamp(emptied.at),
    })
}

fn read_gone(gone: &StoredGone<'_>) -> Result<Gone, Wrong> {
    Ok(Gone {
        id: endpoint_id(gone.id)?,
        incarnation: Revision(gone.incarnation),
        by: removal(gone.by)?,
        at: Timestamp(gone.at),
    })
}

fn removal(by: Word<ChangeKind>) -> Result<ChangeKind, Wrong> {
    match by.0 {
        kind @ (ChangeKind::Deregistered | ChangeKind::Expired) => Ok(kind),
        other => Err(format!("nothing is removed by `{}`", other.word())),
    }
}
