//! `hermes key`: the keys of a server, made, listed, rotated and revoked in their file.
//!
//! No server is asked: whoever may write the file may make keys, and a running server notices within a
//! second. The text of a key goes to stdout once, alone on its line, and is kept nowhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hermes_core::name::Name;
use hermes_core::time::Timestamp;
use hermes_discovery::clock::Clock;
use hermes_server::auth::{
    KEYS_FILE, Key, KeyFileError, NewKey, Over, Prefix, Rights, Role, Scope, Secret, change, read,
};
use serde_json::{Value, json};

use crate::args::duration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  hermes key create admin --role admin
  hermes key create web --role register --prefix web- --owner team-web
  hermes key create dashboard --role read --namespaces default,lab --expires-in 720h
  hermes key rotate web --overlap 1h
  hermes key list
  hermes key revoke web

The key itself goes to stdout, once; nobody can show it again. With the first key the server asks
everybody for one: commands read theirs from HERMES_API_KEY, or from the file that
HERMES_API_KEY_FILE names.";

/// Make, list, rotate and revoke the keys of a server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    place: Place,
}

/// Where the keys are.
#[derive(Debug, clap::Args)]
struct Place {
    /// The file of the keys [default: keys.json in the data directory]
    #[arg(long, global = true, env = "HERMES_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The data directory of the server
    #[arg(
        long,
        global = true,
        env = "HERMES_DATA_DIR",
        default_value = "hermes-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
}

/// What is done with the keys.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key, and show it once
    Create(Create),
    /// Show what every key is for
    List,
    /// Give a key another text; the older one stays valid for a while
    Rotate {
        /// The key
        name: String,
        /// How long the older text stays valid; 0 ends it at once
        #[arg(long, default_value = "24h", value_parser = overlap, value_name = "DURATION")]
        overlap: Duration,
    },
    /// End a key, with all its texts
    Revoke {
        /// The key
        name: String,
    },
    /// Forget keys that were revoked or have expired
    Prune,
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What it is called; the actor of what is changed with it
    name: String,
    /// What it is for: read, register (reads, too) or admin
    #[arg(long, value_parser = role, value_name = "ROLE")]
    role: Role,
    /// Whose it is, and with it what it registers [default: its name]
    #[arg(long)]
    owner: Option<String>,
    /// Only these namespaces; may be repeated, or have commas
    #[arg(long, value_delimiter = ',', value_parser = Name::parse, value_name = "NAME")]
    namespaces: Vec<Name>,
    /// Only names that begin so: those it registers, or for a read key, those it reads; may be
    /// repeated
    #[arg(long, value_delimiter = ',', value_parser = Prefix::parse, value_name = "PREFIX")]
    prefix: Vec<Prefix>,
    /// What a register key reads beside what it registers [default: everything in its namespaces]
    #[arg(long, value_delimiter = ',', value_parser = Prefix::parse, value_name = "PREFIX")]
    read_prefix: Vec<Prefix>,
    /// How long it is valid [default: until it is revoked]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    expires_in: Option<Duration>,
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_word(text).ok_or_else(|| "read, register or admin is expected".into())
}

/// A duration, or none.
fn overlap(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => duration(text),
    }
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    let place = &arguments.place;
    let beside_log = || place.data_dir.join(KEYS_FILE);
    let path = place.keys.clone().unwrap_or_else(beside_log);
    let now = Clock::system().now().time;
    match &arguments.what {
        What::Create(create) => {
            let new = create.new_key()?;
            let (key, secret) = change(&path, |ring| ring.create(new, now)).map_err(refused)?;
            show_once(&key, &secret, output)?;
            let whose = format!("key {} of {}, {}", key.name, key.owner, in_words(&key));
            output.say(&format!("made {whose}, in {}", path.display()));
        }
        What::List => list(&path, now, output)?,
        What::Rotate { name, overlap } => {
            let rotated = change(&path, |ring| ring.rotate(name, *overlap, now));
            let (key, secret) = rotated.map_err(refused)?;
            show_once(&key, &secret, output)?;
            let end = Timestamp(now.0.saturating_add(millis(*overlap)));
            output.say(&format!("the older text of {name} is valid until {end}"));
        }
        What::Revoke { name } => {
            let count = change(&path, |ring| ring.revoke(name, now)).map_err(refused)?;
            let texts = if count == 1 { "text" } else { "texts" };
            output.say(&format!(
                "revoked {name} with {count} {texts}; a running server knows within a second"
            ));
        }
        What::Prune => {
            let count = change(&path, |ring| Ok(ring.prune(now))).map_err(refused)?;
            output.say(&format!("{count} forgotten"));
        }
    }
    Ok(Exit::Done)
}

impl Create {
    fn new_key(&self) -> Result<NewKey, Failure> {
        let is_bounded =
            !self.namespaces.is_empty() || !self.prefix.is_empty() || !self.read_prefix.is_empty();
        if self.role == Role::Admin && is_bounded {
            let hint = "make a register key for some names, or leave the bounds out";
            let what = "an admin key has no bounds";
            return Err(Failure::told(Exit::Usage, what, hint));
        }
        if self.role == Role::Read && !self.read_prefix.is_empty() {
            let what = "--read-prefix is for register keys";
            return Err(Failure::told(Exit::Usage, what, "say --prefix"));
        }
        let scope = Scope {
            namespaces: self.namespaces.clone(),
            prefixes: self.prefix.clone(),
            read_prefixes: self.read_prefix.clone(),
        };
        Ok(NewKey {
            name: self.name.clone(),
            owner: self.owner.clone().unwrap_or_else(|| self.name.clone()),
            rights: Rights {
                role: self.role,
                scope,
            },
            valid_for: self.expires_in,
        })
    }
}

/// The text of a new key, on stdout and nowhere else.
fn show_once(key: &Key, secret: &Secret, output: &Output) -> Result<(), Failure> {
    let mut object = object_of(key, None);
    object["key"] = json!(secret.expose());
    if !output.json(object.to_string().as_bytes())? {
        output.line(secret.expose())?;
    }
    Ok(())
}

fn list(path: &Path, now: Timestamp, output: &Output) -> Result<(), Failure> {
    let ring = read(path).map_err(refused)?;
    let keys = ring.as_ref().map(|ring| ring.keys()).unwrap_or_default();
    let objects = keys.iter().map(|key| object_of(key, Some(now)));
    let all = json!({"keys": objects.collect::<Vec<Value>>()});
    if output.json(all.to_string().as_bytes())? {
        return Ok(());
    }
    if keys.is_empty() {
        output.say(&format!("there is no key in {}", path.display()));
        return Ok(());
    }
    let row = |key: &std::sync::Arc<Key>| {
        vec![
            key.name.to_string(),
            key.owner.to_string(),
            key.id.to_string(),
            key.created.to_string(),
            validity(key, now),
            in_words(key),
        ]
    };
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    output.table(&["NAME", "OWNER", "ID", "CREATED", "VALID", "FOR"], &rows)
}

/// What a key is, for programs.
fn object_of(key: &Key, now: Option<Timestamp>) -> Value {
    let Scope {
        namespaces,
        prefixes,
        read_prefixes,
    } = &key.rights.scope;
    let texts = |prefixes: &[Prefix]| -> Vec<String> {
        prefixes.iter().map(|p| p.as_str().to_owned()).collect()
    };
    let names: Vec<String> = namespaces.iter().map(Name::to_string).collect();
    let mut object = json!({
        "id": key.id.to_string(),
        "name": &*key.name,
        "owner": &*key.owner,
        "role": key.rights.role.word(),
        "namespaces": names,
        "prefixes": texts(prefixes),
        "read_prefixes": texts(read_prefixes),
        "created": key.created.to_string(),
        "expires": key.expires.map(|at| at.to_string()),
        "revoked": key.revoked.map(|at| at.to_string()),
    });
    if let Some(now) = now {
        object["valid"] = json!(key.over(now).is_none());
    }
    object
}

/// `register web-* in default, lab`
fn in_words(key: &Key) -> String {
    let Scope {
        namespaces,
        prefixes,
        read_prefixes,
    } = &key.rights.scope;
    let joined = |prefixes: &[Prefix]| {
        let stars = prefixes.iter().map(|p| format!("{}*", p.as_str()));
        stars.collect::<Vec<_>>().join(", ")
    };
    let mut text = key.rights.role.word().to_owned();
    if !prefixes.is_empty() {
        text += &format!(" {}", joined(prefixes));
    }
    if !read_prefixes.is_empty() {
        text += &format!(", read {}", joined(read_prefixes));
    }
    if !namespaces.is_empty() {
        let names: Vec<&str> = namespaces.iter().map(Name::as_str).collect();
        text += &format!(" in {}", names.join(", "));
    }
    text
}

fn validity(key: &Key, now: Timestamp) -> String {
    match (key.over(now), key.expires) {
        (Some(Over::Revoked(at)), _) => format!("revoked {at}"),
        (Some(Over::Expired(at)), _) => format!("expired {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "yes".into(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn refused(error: KeyFileError) -> Failure {
    Failure::Told {
        exit: Exit::Failed,
        what: error.to_string(),
        hint: None,
    }
}
