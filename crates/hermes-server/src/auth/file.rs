//! The file that keys are kept in: JSON, mode 0600, replaced whole or not at all.
//!
//! It holds what every key is for and a keyed hash of its text; the text itself is nowhere. A member
//! that this release does not know is an error and not overlooked: it might have been a bound. Whoever
//! changes the file holds a lock beside it, so that two commands never lose each other's keys; a server
//! only reads it, and never waits.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hermes_core::name::Name;
use hermes_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::ring::{KEYS_MAX, Key, KeyError, Ring, is_label};
use super::scope::{Prefix, Rights, Role, SCOPE_MAX, Scope};
use super::secret::{KeyId, NoRandom, bytes_of, hexadecimal};

/// The name of the file in a data directory.
pub const KEYS_FILE: &str = "keys.json";
/// The form that is written, and the only one that is read.
const FORM: u32 = 1;
/// Bytes of the file that are read at most: as many keys as there may be, each with a full scope.
const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error(
        "the keys in {path} cannot be {deed}: {source}; look at who owns the file and its mode"
    )]
    Io {
        /// Which file.
        path: PathBuf,
        /// `read` or `written`.
        deed: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It does not hold keys, or keys of another release.
    #[error(
        "{path} does not hold keys that this release can read ({why}): bring back a copy, or move it \
         away and make new keys with `hermes key create`"
    )]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, without anything that is in it.
        why: String,
    },
    /// Others could write themselves a key.
    #[error("{path} can be written by others, who could make keys of their own: chmod 600 {path}")]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// What was asked of the keys cannot be done.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The machine has no random numbers.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRing {
    version: u32,
    secret: String,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: String,
    name: String,
    owner: String,
    role: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    prefixes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    read_prefixes: Vec<String>,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    hash: String,
}

/// Reads the keys in a file; nothing when there is no such file.
///
/// # Errors
/// When it cannot be read, does not hold keys, or others may write to it.
pub fn read(path: &Path) -> Result<Option<Ring>, KeyFileError> {
    let failed = |source| KeyFileError::Io {
        path: path.to_owned(),
        deed: "read",
        source,
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    refuse_open(path, &file.metadata().map_err(failed)?)?;
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, BYTES_MAX), &mut text).map_err(failed)?;
    let content = |why: String| KeyFileError::Content {
        path: path.to_owned(),
        why,
    };
    let stored: StoredRing = serde_json::from_slice(&text)
        // The position says enough; the words of the parser could hold a piece of a secret.
        .map_err(|error| {
            content(format!(
                "line {}, column {} is odd",
                error.line(),
                error.column()
            ))
        })?;
    stored.read().map(Some).map_err(content)
}

/// Changes the keys in a file, which is made when it is not there.
///
/// # Errors
/// When the file cannot be read or written, or `change` fails; it is as it was then.
pub fn change<T>(
    path: &Path,
    change: impl FnOnce(&mut Ring) -> Result<T, KeyError>,
) -> Result<T, KeyFileError> {
    let failed = |source| KeyFileError::Io {
        path: path.to_owned(),
        deed: "written",
        source,
    };
    if let Some(directory) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let lock = private()
        .append(true)
        .create(true)
        .open(beside(path, "lock"))
        .map_err(failed)?;
    lock.lock().map_err(failed)?;
    let mut ring = match read(path)? {
        Some(ring) => ring,
        None => Ring::new()?,
    };
    let made = change(&mut ring)?;
    write(path, &ring).map_err(failed)?;
    Ok(made)
}

/// Writes a new file beside the old one, makes it durable, and puts it in its place.
fn write(path: &Path, ring: &Ring) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(&StoredRing::from(ring))?;
    text.push(b'\n');
    let new = beside(path, "new");
    // One that a crash has left behind may have another mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private().write(true).create_new(true).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

/// What files with secrets are opened with.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// `keys.json` and `lock` make `keys.json.lock`.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    name.into()
}

#[cfg(unix)]
fn refuse_open(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode();
    if mode & 0o022 != 0 {
        let path = path.to_owned();
        return Err(KeyFileError::Open { path });
    }
    if mode & 0o044 != 0 {
        tracing::warn!(file = %path.display(), "the keys can be read by others; chmod 600");
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn refuse_open(_path: &Path, _metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

impl From<&Ring> for StoredRing {
    fn from(ring: &Ring) -> Self {
        Self {
            version: FORM,
            secret: hexadecimal(&ring.secret),
            keys: ring
                .keys()
                .iter()
                .map(|key| StoredKey::from(&**key))
                .collect(),
        }
    }
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> Self {
        let Rights { role, scope } = &key.rights;
        let texts = |prefixes: &[Prefix]| prefixes.iter().map(|p| p.as_str().into()).collect();
        Self {
            id: key.id.to_string(),
            name: key.name.to_string(),
            owner: key.owner.to_string(),
            role: role.word().into(),
            namespaces: scope.namespaces.iter().map(Name::to_string).collect(),
            prefixes: texts(&scope.prefixes),
            read_prefixes: texts(&scope.read_prefixes),
            created: key.created.to_string(),
            expires: key.expires.map(|at| at.to_string()),
            revoked: key.revoked.map(|at| at.to_string()),
            hash: hexadecimal(&key.hash),
        }
    }
}

impl StoredRing {
    fn read(self) -> Result<Ring, String> {
        if self.version != FORM {
            return Err(format!("it has the form {}", self.version));
        }
        if self.keys.len() > KEYS_MAX {
            return Err(format!("it has more than {KEYS_MAX} keys"));
        }
        let secret = bytes_of(&self.secret).ok_or("its secret is odd")?;
        let mut keys = Vec::new();
        for (at, key) in self.keys.into_iter().enumerate() {
            let key = key.read().map_err(|what| format!("{what} of key {at}"))?;
            keys.push(key);
        }
        let mut ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|two| two[0] == two[1]) {
            return Err("two keys have one id".into());
        }
        Ok(Ring::of(secret, keys))
    }
}

impl StoredKey {
    fn read(self) -> Result<Key, &'static str> {
        let time = |text: &str| Timestamp::from_text(text).ok_or("a time");
        let names = self.namespaces.iter().map(|name| Name::parse(name));
        let namespaces: Result<Vec<Name>, _> = names.collect();
        let prefixes = |texts: &[String]| -> Result<Vec<Prefix>, &'static str> {
            let parsed = texts.iter().map(|text| Prefix::parse(text));
            let parsed: Result<Vec<_>, _> = parsed.collect();
            let parsed = parsed.map_err(|_error| "a prefix")?;
            Some(parsed)
                .filter(|all| all.len() <= SCOPE_MAX)
                .ok_or("the number of prefixes")
        };
        let scope = Scope {
            namespaces: namespaces.map_err(|_error| "a namespace")?,
            prefixes: prefixes(&self.prefixes)?,
            read_prefixes: prefixes(&self.read_prefixes)?,
        };
        if scope.namespaces.len() > SCOPE_MAX {
            return Err("the number of namespaces");
        }
        let is_named = is_label(&self.name) && is_label(&self.owner);
        Ok(Key {
            id: KeyId::parse(&self.id).ok_or("the id")?,
            name: Some(self.name.into())
                .filter(|_| is_named)
                .ok_or("a name")?,
            owner: self.owner.into(),
            rights: Rights {
                role: Role::from_word(&self.role).ok_or("the role")?,
                scope,
            },
            created: time(&self.created)?,
            expires: self.expires.as_deref().map(time).transpose()?,
            revoked: self.revoked.as_deref().map(time).transpose()?,
            hash: bytes_of(&self.hash).ok_or("the hash")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::ring::NewKey;
    use super::*;

    const NOON: Timestamp = Timestamp(1_795_262_400_000);

    fn new(name: &str) -> NewKey {
        let prefixes = vec![Prefix::parse("web-").unwrap()];
        let namespaces = vec![Name::parse("lab").unwrap()];
        let scope = Scope {
            namespaces,
            read_prefixes: prefixes.clone(),
            prefixes,
        };
        NewKey {
            name: name.into(),
            owner: "team".into(),
            rights: Rights {
                role: Role::Register,
                scope,
            },
            valid_for: Some(Duration::from_secs(60)),
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_the_text_of_a_key_is_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er").join(KEYS_FILE);
        assert!(read(&path).unwrap().is_none());
        let (made, secret) = change(&path, |ring| ring.create(new("a"), NOON)).unwrap();
        change(&path, |ring| ring.create(new("b"), NOON)).unwrap();
        change(&path, |ring| ring.revoke("b", NOON)).unwrap();
        let ring = read(&path).unwrap().unwrap();
        let found = ring.find(secret.expose().as_bytes()).unwrap();
        assert_eq!(found.id, made.id);
        assert_eq!((&found.rights, found.expires), (&made.rights, made.expires));
        assert_eq!(ring.keys()[1].revoked, Some(NOON));
        let random = secret.expose().rsplit('_').next().unwrap();
        for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains(random));
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone_and_one_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(KEYS_FILE);
        change(&path, |ring| ring.create(new("a"), NOON)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for open in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            assert!(matches!(read(&path), Err(KeyFileError::Open { .. })));
            let refused = change(&path, |ring| ring.create(new("b"), NOON));
            assert!(matches!(refused, Err(KeyFileError::Open { .. })));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap().is_some());
    }

    #[test]
    fn what_this_release_does_not_understand_is_refused_and_not_overlooked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(KEYS_FILE);
        change(&path, |ring| ring.create(new("a"), NOON)).unwrap();
        change(&path, |ring| ring.create(new("b"), NOON)).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("\"version\": 1", "\"version\": 2"),
            (
                "\"role\": \"register\"",
                "\"role\": \"register\", \"only_on\": \"monday\"",
            ),
            ("\"role\": \"register\"", "\"role\": \"Admin\""),
            ("\"web-\"", "\"\""),
            ("\"lab\"", "\"*\""),
            ("\"name\": \"a\"", "\"name\": \"\""),
            ("\"hash\": \"", "\"hash\": \"0"),
            ("\"secret\": \"", "\"secret\": \"0"),
            ("2026-", "26-"),
            ("]\n}", ""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(good, bad, "{from}");
            fs::write(&path, bad).unwrap();
            let Err(error) = read(&path) else {
                panic!("{to} was read");
            };
            assert!(matches!(error, KeyFileError::Content { .. }), "{error}");
            // A command does not repair by forgetting.
            assert!(change(&path, |ring| ring.create(new("c"), NOON)).is_err());
        }
        let ids = good.matches("\"id\": \"").count();
        assert_eq!(ids, 2);
        let first = good.split("\"id\": \"").nth(1).unwrap()[..16].to_owned();
        let second = good.split("\"id\": \"").nth(2).unwrap()[..16].to_owned();
        fs::write(&path, good.replace(&second, &first)).unwrap();
        assert!(read(&path).is_err(), "two keys have one id");
    }
}
