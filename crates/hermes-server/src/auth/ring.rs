//! The ring: all keys of a server, as they are in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hermes_core::change::Actor;
use hermes_core::command::{Claim, Owner};
use hermes_core::time::{Timestamp, whole_millis};

use super::scope::{Rights, Role};
use super::secret::{self, HASH_BYTES, KeyId, NoRandom, Sealer, Secret};

/// Most keys of one server, those that were revoked or have expired included.
pub const KEYS_MAX: usize = 10_000;
/// Longest name of a key and of an owner in bytes.
pub const LABEL_LENGTH_MAX: usize = 64;

/// What the server itself is called, as an actor of changes or as an owner of endpoints.
const RESERVED: [&str; 5] = [
    "config",
    "hermes",
    "lease",
    "probe",
    "service-discovery-api-key",
];

/// One key, without its text.
#[derive(Clone)]
pub struct Key {
    /// Which one; every rotation makes another.
    pub id: KeyId,
    /// What it is called; the actor of what is changed with it.
    pub name: Actor,
    /// Whose it is, and with it what it registers.
    pub owner: Owner,
    /// What it is for.
    pub rights: Rights,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is no longer valid.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    pub(super) hash: [u8; HASH_BYTES],
}

/// Why a key that is known is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It was revoked at this time.
    Revoked(Timestamp),
    /// It has expired at this time.
    Expired(Timestamp),
}

impl Key {
    /// Why it is not valid at `now`; nothing when it is.
    #[must_use]
    pub fn over(&self, now: Timestamp) -> Option<Over> {
        let expired = self.expires.filter(|expires| *expires <= now);
        let revoked = self.revoked.map(Over::Revoked);
        revoked.or(expired.map(Over::Expired))
    }

    /// By what right it touches endpoints.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let owner = Arc::clone(&self.owner);
        match self.rights.role {
            Role::Admin => Claim::Admin(owner),
            Role::Read | Role::Register => Claim::Owner(owner),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("owner", &self.owner)
            .field("role", &self.rights.role)
            .finish_non_exhaustive()
    }
}

/// What somebody wants a new key to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it is called: 1 to 64 bytes of `[A-Za-z0-9._@-]`, a letter or digit first.
    pub name: String,
    /// Whose it is, by the same grammar.
    pub owner: String,
    /// What it is for.
    pub rights: Rights,
    /// How long it is valid; for ever when nothing is said.
    pub valid_for: Option<Duration>,
}

/// Why the keys were left as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Another key has the name.
    #[error("there is a key `{0}` already: choose another name, or rotate it")]
    Taken(String),
    /// No valid key has the name.
    #[error("there is no valid key `{0}`: `hermes key list` shows those that there are")]
    Unknown(String),
    /// A name or an owner breaks the grammar.
    #[error(
        "`{0}` is not a name of a key or of an owner: 1 to {LABEL_LENGTH_MAX} bytes of A-Z, a-z, 0-9 \
         and . _ @ - are, a letter or digit first"
    )]
    Label(String),
    /// The server itself goes by this name.
    #[error("`{0}` is what the server itself is called in the log: choose another name or owner")]
    Reserved(String),
    /// There are as many keys as there may be.
    #[error(
        "there are {KEYS_MAX} keys already, which is the limit: revoke some and prune the list"
    )]
    Full,
    /// The machine gives no random numbers.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// All keys of a server, in the order in which they were made.
pub struct Ring {
    pub(super) secret: [u8; HASH_BYTES],
    sealer: Sealer,
    keys: Vec<Arc<Key>>,
    by_id: HashMap<KeyId, usize>,
}

impl Ring {
    /// A ring without a key.
    ///
    /// # Errors
    /// When the machine gives no random numbers.
    pub fn new() -> Result<Self, NoRandom> {
        Ok(Self::of(secret::random()?, Vec::new()))
    }

    pub(super) fn of(secret: [u8; HASH_BYTES], keys: Vec<Key>) -> Self {
        let by_id = keys.iter().enumerate().map(|(at, key)| (key.id, at));
        Self {
            by_id: by_id.collect(),
            sealer: Sealer::new(&secret),
            secret,
            keys: keys.into_iter().map(Arc::new).collect(),
        }
    }

    /// Every key.
    #[must_use]
    pub fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// Whether nobody has made a key yet. A ring whose keys were all revoked is not empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether any key is valid at `now`.
    #[must_use]
    pub fn has_valid(&self, now: Timestamp) -> bool {
        self.keys.iter().any(|key| key.over(now).is_none())
    }

    /// The key whose text this is, whether it is still valid or not.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<&Arc<Key>> {
        let key = self.get(secret::id_of(text)?)?;
        self.sealer.opens(text, &key.hash).then_some(key)
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(*self.by_id.get(&id)?)
    }

    /// Makes a key. Its text is given out here and nowhere else.
    ///
    /// # Errors
    /// When the name is taken or wrong, or there are too many keys.
    pub fn create(&mut self, new: NewKey, now: Timestamp) -> Result<(Arc<Key>, Secret), KeyError> {
        let NewKey {
            name,
            owner,
            rights,
            valid_for,
        } = new;
        if let Some(wrong) = [&name, &owner].into_iter().find(|text| !is_label(text)) {
            return Err(KeyError::Label(wrong.clone()));
        }
        let is_reserved = |text: &&String| RESERVED.contains(&text.as_str());
        if let Some(own) = [&name, &owner].into_iter().find(is_reserved) {
            return Err(KeyError::Reserved(own.clone()));
        }
        if self.valid(&name, now).next().is_some() {
            return Err(KeyError::Taken(name));
        }
        let expires = valid_for.map(|time| after(now, time));
        self.add((&*name, &*owner), rights, (now, expires))
    }

    /// Makes another text for the key `name`. Those it has had are valid for `overlap` yet, so that
    /// whoever uses them can be given the new one meanwhile.
    ///
    /// # Errors
    /// When no valid key has the name, or there are too many keys.
    pub fn rotate(
        &mut self,
        name: &str,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<(Arc<Key>, Secret), KeyError> {
        let newest = self.valid(name, now).last();
        let newest = newest.ok_or_else(|| KeyError::Unknown(name.into()))?;
        let newest = Key::clone(&self.keys[newest]);
        // The time that was granted once is granted again.
        let valid_for = newest
            .expires
            .map(|at| at.0.saturating_sub(newest.created.0));
        let expires = valid_for.map(|millis| Timestamp(now.0.saturating_add(millis)));
        let made = self.add((&newest.name, &newest.owner), newest.rights, (now, expires))?;
        let end = after(now, overlap);
        let older: Vec<usize> = self.valid(name, now).collect();
        for at in older {
            let key = Arc::make_mut(&mut self.keys[at]);
            if key.id != made.0.id {
                key.expires = Some(key.expires.map_or(end, |expires| expires.min(end)));
            }
        }
        Ok(made)
    }

    /// Revokes every text of the key `name`, and says how many there were.
    ///
    /// # Errors
    /// When no valid key has the name.
    pub fn revoke(&mut self, name: &str, now: Timestamp) -> Result<usize, KeyError> {
        let valid: Vec<usize> = self.valid(name, now).collect();
        for at in &valid {
            Arc::make_mut(&mut self.keys[*at]).revoked = Some(now);
        }
        match valid.len() {
            0 => Err(KeyError::Unknown(name.into())),
            count => Ok(count),
        }
    }

    /// Forgets the keys that are not valid any more, and says how many there were. The last one
    /// stays, valid or not: a ring that has held keys never becomes one that holds none.
    pub fn prune(&mut self, now: Timestamp) -> usize {
        let before = self.keys.len();
        let last = self.keys.last().map(|key| key.id);
        let none_valid = !self.has_valid(now);
        self.keys
            .retain(|key| key.over(now).is_none() || none_valid && Some(key.id) == last);
        let positions = self.keys.iter().enumerate().map(|(at, key)| (key.id, at));
        self.by_id = positions.collect();
        before - self.keys.len()
    }

    /// Where the valid keys of a name are, oldest first.
    fn valid<'a>(&'a self, name: &'a str, now: Timestamp) -> impl Iterator<Item = usize> + 'a {
        let is_it = move |key: &Key| &*key.name == name && key.over(now).is_none();
        (0..self.keys.len()).filter(move |at| is_it(&self.keys[*at]))
    }

    fn add(
        &mut self,
        (name, owner): (&str, &str),
        rights: Rights,
        (created, expires): (Timestamp, Option<Timestamp>),
    ) -> Result<(Arc<Key>, Secret), KeyError> {
        if self.keys.len() >= KEYS_MAX {
            return Err(KeyError::Full);
        }
        let (id, secret) = loop {
            let made = secret::make()?;
            if !self.by_id.contains_key(&made.0) {
                break made;
            }
        };
        let key = Arc::new(Key {
            id,
            name: name.into(),
            owner: owner.into(),
            rights,
            created,
            expires,
            revoked: None,
            hash: self.sealer.seal(secret.expose().as_bytes()),
        });
        self.by_id.insert(id, self.keys.len());
        self.keys.push(Arc::clone(&key));
        Ok((key, secret))
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

fn after(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(whole_millis(time)))
}

/// Whether a text may be the name of a key or of an owner.
pub(super) fn is_label(text: &str) -> bool {
    let fits = (1..=LABEL_LENGTH_MAX).contains(&text.len());
    let is_known = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    fits && text.bytes().all(is_known) && text.as_bytes()[0].is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_795_262_400_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn new(name: &str) -> NewKey {
        NewKey {
            name: name.into(),
            owner: "team".into(),
            rights: Rights::everywhere(Role::Register),
            valid_for: None,
        }
    }

    fn later(hours: u64) -> Timestamp {
        Timestamp(NOON.0 + hours * 3_600_000)
    }

    /// Whether the text opens a key that is valid at `now`.
    fn opens(ring: &Ring, secret: &Secret, now: Timestamp) -> bool {
        let key = ring.find(secret.expose().as_bytes());
        key.is_some_and(|key| key.over(now).is_none())
    }

    #[test]
    fn after_a_rotation_both_texts_open_until_the_overlap_is_over() {
        let mut ring = Ring::new().unwrap();
        let (old, first) = ring.create(new("web"), NOON).unwrap();
        let (key, second) = ring.rotate("web", HOUR, NOON).unwrap();
        assert_eq!((&key.name, &key.owner), (&old.name, &old.owner));
        assert_ne!(first.expose(), second.expose());
        assert!(opens(&ring, &first, NOON) && opens(&ring, &second, NOON));
        assert!(!opens(&ring, &first, later(1)) && opens(&ring, &second, later(1)));
        // Without an overlap the older ones end at once.
        let (_, third) = ring.rotate("web", Duration::ZERO, later(1)).unwrap();
        assert!(!opens(&ring, &second, later(1)) && opens(&ring, &third, later(1)));
    }

    #[test]
    fn a_rotation_never_lengthens_what_an_older_text_had_left() {
        let mut ring = Ring::new().unwrap();
        let short = NewKey {
            valid_for: Some(HOUR),
            ..new("web")
        };
        let (_, first) = ring.create(short, NOON).unwrap();
        let (key, _) = ring.rotate("web", 24 * HOUR, NOON).unwrap();
        assert_eq!(
            key.expires,
            Some(later(1)),
            "it is valid as long as the first was"
        );
        assert!(!opens(&ring, &first, later(1)));
    }

    #[test]
    fn revoking_ends_every_text_of_a_name_and_frees_it() {
        let mut ring = Ring::new().unwrap();
        let (_, first) = ring.create(new("web"), NOON).unwrap();
        assert!(matches!(
            ring.create(new("web"), NOON),
            Err(KeyError::Taken(_))
        ));
        let (_, second) = ring.rotate("web", HOUR, NOON).unwrap();
        assert_eq!(ring.revoke("web", NOON), Ok(2));
        assert!(!opens(&ring, &first, NOON) && !opens(&ring, &second, NOON));
        assert!(matches!(
            ring.revoke("web", NOON),
            Err(KeyError::Unknown(_))
        ));
        assert!(matches!(
            ring.rotate("web", HOUR, NOON),
            Err(KeyError::Unknown(_))
        ));
        assert!(!ring.is_empty() && !ring.has_valid(NOON));
        let (_, third) = ring.create(new("web"), NOON).unwrap();
        assert!(opens(&ring, &third, NOON));
    }

    #[test]
    fn pruning_forgets_what_is_over_but_never_that_there_were_keys() {
        let mut ring = Ring::new().unwrap();
        for name in ["a", "b", "c"] {
            ring.create(new(name), NOON).unwrap();
        }
        ring.revoke("a", NOON).unwrap();
        assert_eq!((ring.prune(NOON), ring.keys().len()), (1, 2));
        ring.revoke("b", NOON).unwrap();
        ring.revoke("c", NOON).unwrap();
        assert_eq!((ring.prune(NOON), ring.keys().len()), (1, 1));
        assert!(!ring.is_empty() && ring.get(ring.keys()[0].id).is_some());
        assert_eq!(ring.prune(NOON), 0);
    }

    #[test]
    fn names_are_held_to_a_grammar() {
        let mut ring = Ring::new().unwrap();
        for wrong in ["", "-a", "a b", "a\n", "\u{e9}", &"a".repeat(65)] {
            let refused = ring.create(new(wrong), NOON);
            assert!(matches!(refused, Err(KeyError::Label(_))), "{wrong:?}");
            let owner = wrong.to_owned();
            let refused = ring.create(NewKey { owner, ..new("a") }, NOON);
            assert!(matches!(refused, Err(KeyError::Label(_))), "{wrong:?}");
        }
        assert!(ring.create(new("ci.deploy@web-1_x"), NOON).is_ok());
    }

    #[test]
    fn nobody_is_called_what_the_server_is_called() {
        let mut ring = Ring::new().unwrap();
        for own in RESERVED {
            let refused = ring.create(new(own), NOON);
            assert!(matches!(refused, Err(KeyError::Reserved(_))), "{own}");
            let owner = own.to_owned();
            let refused = ring.create(NewKey { owner, ..new("a") }, NOON);
            assert!(matches!(refused, Err(KeyError::Reserved(_))), "{own}");
        }
    }

    #[test]
    fn there_are_no_more_keys_than_there_may_be() {
        let mut ring = Ring::new().unwrap();
        let rights = Rights::everywhere(Role::Read);
        for _ in 0..KEYS_MAX {
            let made = ring.add(("a", "team"), rights.clone(), (NOON, Some(later(1))));
            made.unwrap();
        }
        assert!(matches!(
            ring.create(new("one-more"), NOON),
            Err(KeyError::Full)
        ));
        assert!(ring.prune(later(1)) > 0);
        assert!(ring.create(new("one-more"), later(1)).is_ok());
    }
}
