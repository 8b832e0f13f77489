//! Snapshots: the whole state at one revision, so that a start need not read all of history.
//!
//! ```text
//! snapshot = "HERMESS1" cluster:u64 revision:u64 crc:u32 zero:u32 entry*
//! entry    = length:u32 crc:u32 payload        (the frame of a record, salted with the revision)
//! ```
//!
//! The last entry counts the others. Each can be read without those before it, so that a damaged one
//! hides only itself. A snapshot is written under another name, synced, and only then
//! given its own, so one that has its name is whole, or has rotted since, which its checksums show.

use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::Arc;

use hermes_core::catalog::{Catalog, Emptied, Gone, ServiceView};
use hermes_core::change::{ChangeKind, ClusterId, Revision};
use hermes_core::name::Name;
use hermes_core::time::{Now, Timestamp};
use serde::{Deserialize, Serialize};

use super::disk::DiskFile;
use super::policy::StoredPolicy;
use super::record::{StoredState, Wrong, endpoint_id, given_name, service_key};
use super::segment::{
    Damage, FOREIGN, HEAD, framed_head, next_frame, put_frame, read_head, take_frame,
};

const SNAPSHOT_MAGIC: &[u8; 8] = b"HERMESS1";
/// Bytes written to the disk in one piece.
const PIECE: usize = 1024 * 1024;
/// No entry is longer: one endpoint with the largest metadata, several times over.
const ENTRY_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry<'a> {
    Namespace {
        name: Cow<'a, str>,
        revision: u64,
    },
    Service {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        given_name: Option<Cow<'a, str>>,
        revision: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        emptied: Option<(Cow<'a, str>, u64)>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<(Cow<'a, str>, u64, Cow<'a, str>, u64)>,
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<StoredPolicy<'a>>,
    },
    /// Comes after its service, and names it all the same: what is whole must be of use even when
    /// what stands before it is not.
    Endpoint {
        namespace: Cow<'a, str>,
        service: Cow<'a, str>,
        id: Cow<'a, str>,
        revision: u64,
        state: Box<StoredState<'a>>,
    },
    End {
        entries: u64,
    },
}

/// Writes the state of `catalog` to a file; gives back its size.
pub(super) fn write<F: DiskFile>(
    file: &mut F,
    cluster: ClusterId,
    catalog: &Catalog,
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
            name: namespace.name.as_str().into(),
            revision: namespace.revision.0,
        })?;
        for view in namespace.services() {
            writer.put_service(view)?;
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
        let gone = |gone: &'_ Gone| {
            let (id, by) = (gone.id.to_string(), gone.by.word());
            (
                Cow::Owned(id),
                gone.incarnation.0,
                Cow::Borrowed(by),
                gone.at.0,
            )
        };
        self.put(&Entry::Service {
            namespace: view.key.namespace.as_str().into(),
            name: view.key.name.as_str().into(),
            given_name: given_name(&view.key.name),
            revision: view.revision.0,
            emptied: view
                .emptied
                .map(|emptied| (emptied.by.word().into(), emptied.at.0)),
            gone: view.gone.iter().map(gone).collect(),
            policy: (!view.policy.is_empty()).then(|| (&*view.policy).into()),
        })?;
        for endpoint in &view.endpoints {
            self.put(&Entry::Endpoint {
                namespace: view.key.namespace.as_str().into(),
                service: view.key.name.as_str().into(),
                id: endpoint.id.as_str().into(),
                revision: endpoint.revision.0,
                state: Box::new((&*endpoint.state).into()),
            })?;
        }
        Ok(())
    }

    fn put(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        put_frame(&mut self.waiting, &self.salt, &serde_json::to_vec(entry)?);
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
    mut bytes: impl Read,
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
    let mut reader = Reader {
        bytes,
        salt: at.0.to_le_bytes(),
        entries: 0,
    };
    loop {
        let payload = reader.next()?;
        if let Some(others) = restore(&payload, catalog, now)? {
            catalog.restore_revision(at);
            let all = others + 1 == reader.entries;
            return all.then_some(()).ok_or("entries are missing".into());
        }
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
    while !rest.is_empty() {
        if let Some((payload, after)) = take_frame(rest, &at.0.to_le_bytes()) {
            if let Err(wrong) = restore(payload, catalog, now) {
                note(rest, wrong);
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

/// Puts an entry into the catalog; the last one says how many others there are.
fn restore(payload: &[u8], catalog: &mut Catalog, now: Now) -> Result<Option<u64>, Wrong> {
    let entry = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    match entry {
        Entry::Namespace { name, revision } => {
            let name = Name::parse(&name).map_err(|error| error.to_string())?;
            catalog.restore_namespace(&name, Revision(revision));
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
            let key = service_key(&namespace, &name, given_name.as_deref())?;
            let emptied = emptied.map(|(by, at)| emptied_by(&by, at)).transpose()?;
            let gone = gone.into_iter().map(read_gone).collect::<Result<_, _>>()?;
            let policy = policy.map(StoredPolicy::read).transpose()?;
            let policy = policy.unwrap_or_default();
            catalog.restore_service(&key, Revision(revision), (emptied, gone), policy);
        }
        Entry::Endpoint {
            namespace,
            service,
            id,
            revision,
            state,
        } => {
            let (key, id) = (service_key(&namespace, &service, None)?, endpoint_id(&id)?);
            let state = Arc::new(state.read()?);
            catalog.restore_endpoint(&key, (&id, Revision(revision)), &state, now);
        }
        Entry::End { entries } => return Ok(Some(entries)),
    }
    Ok(None)
}

struct Reader<R> {
    bytes: R,
    salt: [u8; 8],
    entries: u64,
}

impl<R: Read> Reader<R> {
    fn next(&mut self) -> Result<Vec<u8>, Wrong> {
        let wrong = |error: io::Error| format!("it breaks off: {error}");
        let mut head = [0; 8];
        self.bytes.read_exact(&mut head).map_err(wrong)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > ENTRY_MAX {
            return Err("an entry is longer than any can be".into());
        }
        let mut frame = head.to_vec();
        frame.resize(8 + length, 0);
        self.bytes.read_exact(&mut frame[8..]).map_err(wrong)?;
        let sound = take_frame(&frame, &self.salt).is_some();
        self.entries += 1;
        frame.drain(..8);
        let at = self.entries;
        sound
            .then_some(frame)
            .ok_or_else(|| format!("the checksum of entry {at} is wrong"))
    }
}

fn emptied_by(by: &str, at: u64) -> Result<Emptied, Wrong> {
    Ok(Emptied {
        by: removal(by)?,
        at: Timestamp(at),
    })
}

fn read_gone(
    (id, incarnation, by, at): (Cow<'_, str>, u64, Cow<'_, str>, u64),
) -> Result<Gone, Wrong> {
    let (incarnation, at) = (Revision(incarnation), Timestamp(at));
    Ok(Gone {
        id: endpoint_id(&id)?,
        incarnation,
        by: removal(&by)?,
        at,
    })
}

fn removal(word: &str) -> Result<ChangeKind, Wrong> {
    let kinds = [ChangeKind::Deregistered, ChangeKind::Expired];
    kinds
        .into_iter()
        .find(|kind| kind.word() == word)
        .ok_or_else(|| format!("unknown removal `{word}`"))
}
