//! The gate: who is asking, and whether they still may.
//!
//! While nobody has made a key the gate is open, which a server only is on loopback. From the first key
//! on it is closed for good, whatever becomes of that key: a file that vanishes or turns bad leaves the
//! keys as they were. The file is looked at once a second, off the path of any request, so that a key
//! that was made, rotated or revoked by a command is known to a running server without a signal.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hermes_core::change::Actor;
use hermes_core::command::Claim;
use hermes_core::time::Timestamp;
use hermes_discovery::clock::Clock;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tokio::sync::watch;

use super::file::{self, KeyFileError};
use super::ring::{Key, Over, Ring};
use super::scope::{Rights, Role, Scope};
use super::secret::{self, HASH_BYTES, KeyId, Sealer, Secret};
use crate::config::AuthConfig;

/// The header that a key comes in (R152); `Authorization: Bearer` is the other.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest wait before an expiry is looked at again: wall clocks step.
const LOOK_AGAIN_MILLIS: u64 = 60_000;
/// The name and the owner that go with the key of the environment (R152).
const SHARED: &str = "service-discovery-api-key";
/// Bytes below which the key of the environment is too easily guessed.
const SHARED_LENGTH_MIN: usize = 16;

/// Everybody who shows no key, where reading without one is allowed.
static ANONYMOUS: Rights = Rights {
    role: Role::Read,
    scope: Scope {
        namespaces: Vec::new(),
        prefixes: Vec::new(),
        read_prefixes: Vec::new(),
    },
};

/// Who is asked for a key, and which there are.
#[derive(Debug)]
pub(crate) struct Gate {
    file: Option<PathBuf>,
    ring: ArcSwap<Ring>,
    shared: Option<Shared>,
    anonymous_read: bool,
    clock: Clock,
    /// Rung when the keys have changed.
    turned: watch::Sender<()>,
}

/// The key of the environment, which is in no file.
#[derive(Debug)]
struct Shared {
    sealer: Sealer,
    hash: [u8; HASH_BYTES],
    key: Arc<Key>,
}

/// Who is asking.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Anybody, while there are no keys.
    Open,
    /// Somebody without a key, who may read.
    Anonymous,
    /// Whoever shows this key.
    Key(Arc<Key>),
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is no key in the request.
    Missing,
    /// No such key is known.
    Unknown,
    /// The key was valid once.
    Over(Over),
    /// There are several keys in the request.
    Several,
}

impl Gate {
    /// The gate that `config` asks for, in front of the keys in `file`.
    ///
    /// # Errors
    /// When there is a file that cannot be used.
    pub(crate) fn new(
        file: Option<PathBuf>,
        config: &AuthConfig,
        clock: Clock,
    ) -> Result<Self, KeyFileError> {
        let read = file.as_deref().map(file::read).transpose()?;
        let read = read.flatten();
        let ring = match read {
            Some(ring) => ring,
            None => Ring::new()?,
        };
        let shared = config.shared_key.as_ref();
        let shared = shared.filter(|secret| !secret.expose().is_empty());
        Ok(Self {
            file,
            ring: ArcSwap::from_pointee(ring),
            shared: shared.map(Shared::new).transpose()?,
            anonymous_read: config.anonymous_read,
            clock,
            turned: watch::Sender::default(),
        })
    }

    /// Whether anybody may do anything.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.is_none() && self.ring.load().is_empty()
    }

    /// Whether anybody can be let in with a key.
    pub(crate) fn has_valid_key(&self) -> bool {
        self.shared.is_some() || self.ring.load().has_valid(self.now())
    }

    /// Who is asking, by the headers of the request.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let ring = self.ring.load();
        if self.shared.is_none() && ring.is_empty() {
            return Ok(Caller::Open);
        }
        let Some(text) = shown(headers)? else {
            return self.without_key();
        };
        if let Some(key) = ring.find(text) {
            return match key.over(self.now()) {
                None => Ok(Caller::Key(Arc::clone(key))),
                Some(over) => Err(Denied::Over(over)),
            };
        }
        let shared = self.shared.as_ref();
        match shared.filter(|shared| shared.sealer.opens(text, &shared.hash)) {
            Some(shared) => Ok(Caller::Key(Arc::clone(&shared.key))),
            None => Err(Denied::Unknown),
        }
    }

    /// Who `caller` is by now: the same with the rights of now, or nobody any more.
    pub(crate) fn again(&self, caller: &Caller) -> Result<Caller, Denied> {
        match caller {
            Caller::Open if self.is_open() => Ok(Caller::Open),
            Caller::Open | Caller::Anonymous => self.without_key(),
            Caller::Key(key) if self.is_shared(key) => Ok(caller.clone()),
            Caller::Key(key) => {
                let ring = self.ring.load();
                let key = ring.get(key.id).ok_or(Denied::Unknown)?;
                match key.over(self.now()) {
                    None => Ok(Caller::Key(Arc::clone(key))),
                    Some(over) => Err(Denied::Over(over)),
                }
            }
        }
    }

    /// Resolves when `caller` may do nothing any more: its key was revoked or has expired, or the
    /// first key was made.
    pub(crate) async fn denied(&self, caller: &Caller) {
        let mut turned = self.turned.subscribe();
        while let Ok(caller) = self.again(caller) {
            let left = caller.expires().map(|at| {
                let left = at.0.saturating_sub(self.now().0);
                Duration::from_millis(left.min(LOOK_AGAIN_MILLIS))
            });
            let over = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender lives as long as `self`.
                _turned = turned.changed() => {}
                () = over => {}
            }
        }
    }

    /// Looks at the file for as long as it is polled.
    pub(crate) async fn follow(self: Arc<Self>) {
        let Some(path) = self.file.clone() else {
            return std::future::pending().await;
        };
        let mut seen = Stamp::of(&path);
        // What was written between the first reading and this look is read now.
        self.read_again().await;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let stamp = Stamp::of(&path);
            if stamp != seen {
                seen = stamp;
                self.read_again().await;
            }
        }
    }

    /// Reads the file again. What cannot be used is told and changes nothing.
    pub(crate) async fn read_again(self: &Arc<Self>) {
        let gate = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || gate.read_now());
        if let Err(error) = read.await {
            tracing::error!(%error, "the keys were not read again");
        }
    }

    fn read_now(&self) {
        let Some(path) = &self.file else { return };
        let had_keys = !self.ring.load().is_empty();
        let ring = match file::read(path) {
            Ok(ring) => ring.filter(|ring| !ring.is_empty()),
            Err(error) => {
                tracing::error!(%error, "the keys stay as they were");
                return;
            }
        };
        match ring {
            Some(ring) => {
                let valid = ring
                    .keys()
                    .iter()
                    .filter(|key| key.over(self.now()).is_none());
                tracing::info!(valid = valid.count(), "the keys were read again");
                self.ring.store(Arc::new(ring));
                self.turned.send_replace(());
            }
            None if had_keys => tracing::error!(
                file = %path.display(),
                "there are no keys in the file any more; those that were there stay valid until the \
                 server stops"
            ),
            None => {}
        }
    }

    fn without_key(&self) -> Result<Caller, Denied> {
        if self.anonymous_read {
            Ok(Caller::Anonymous)
        } else {
            Err(Denied::Missing)
        }
    }

    fn is_shared(&self, key: &Arc<Key>) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| Arc::ptr_eq(&shared.key, key))
    }

    fn now(&self) -> Timestamp {
        self.clock.now().time
    }
}

impl Shared {
    fn new(text: &Secret) -> Result<Self, secret::NoRandom> {
        let text = text.expose().as_bytes();
        if text.len() < SHARED_LENGTH_MIN {
            tracing::warn!(
                "SERVICE_DISCOVERY_API_KEY is shorter than {SHARED_LENGTH_MIN} bytes and easily guessed"
            );
        }
        let sealer = Sealer::new(&secret::random()?);
        let hash = sealer.seal(text);
        let key = Key {
            id: KeyId(0),
            name: SHARED.into(),
            owner: SHARED.into(),
            rights: Rights::everywhere(Role::Register),
            created: Timestamp(0),
            expires: None,
            revoked: None,
            hash,
        };
        Ok(Self {
            sealer,
            hash,
            key: Arc::new(key),
        })
    }
}

impl Caller {
    /// Whether nothing has to be judged.
    pub(crate) fn may_everything(&self) -> bool {
        self.rights()
            .is_none_or(|rights| rights.role == Role::Admin)
    }

    /// Whether it may do what needs `role`, at least somewhere.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.rights().is_none_or(|rights| rights.role >= role)
    }

    /// Whether anything of a namespace is its affair.
    pub(crate) fn reaches(&self, namespace: &str) -> bool {
        self.rights().is_none_or(|rights| rights.reach(namespace))
    }

    /// Whether it may read a service.
    pub(crate) fn reads(&self, namespace: &str, name: &str) -> bool {
        self.rights()
            .is_none_or(|rights| rights.read(namespace, name))
    }

    /// Whether it may register, renew, change and remove endpoints of a service.
    pub(crate) fn writes(&self, namespace: &str, name: &str) -> bool {
        self.rights()
            .is_none_or(|rights| rights.write(namespace, name))
    }

    /// Whether there is a service that it may not read.
    pub(crate) fn is_bounded(&self) -> bool {
        self.rights().is_some_and(Rights::is_bounded)
    }

    /// By what right it touches endpoints.
    pub(crate) fn claim(&self) -> Claim {
        match self {
            Self::Open | Self::Anonymous => Claim::Free,
            Self::Key(key) => key.claim(),
        }
    }

    /// When its key is no longer valid, if that is known.
    fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::Open | Self::Anonymous => None,
            Self::Key(key) => key.expires,
        }
    }

    /// The name that goes with what it changes; nothing when only its address is known.
    pub(crate) fn actor(&self) -> Option<&Actor> {
        match self {
            Self::Open | Self::Anonymous => None,
            Self::Key(key) => Some(&key.name),
        }
    }

    fn rights(&self) -> Option<&Rights> {
        match self {
            Self::Open => None,
            Self::Anonymous => Some(&ANONYMOUS),
            Self::Key(key) => Some(&key.rights),
        }
    }
}

/// The key that a request shows, if any. One key may stand in both headers.
fn shown(headers: &HeaderMap) -> Result<Option<&[u8]>, Denied> {
    let plain = headers.get_all(API_KEY).iter().map(HeaderValue::as_bytes);
    let bearer = headers.get_all(AUTHORIZATION).iter();
    let bearer = bearer.filter_map(|value| bearer_of(value.as_bytes()));
    let mut keys = plain.chain(bearer).map(<[u8]>::trim_ascii);
    let Some(first) = keys.next() else {
        return Ok(None);
    };
    if keys.all(|other| other == first) {
        Ok(Some(first))
    } else {
        Err(Denied::Several)
    }
}

/// The token of `Bearer`; other schemes are for whoever stands in front of Hermes.
fn bearer_of(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(token)
}

/// What tells one content of a file from the next.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            inode: inode_of(&metadata),
        })
    }
}

#[cfg(unix)]
fn inode_of(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode_of(_metadata: &Metadata) -> u64 {
    0
}
