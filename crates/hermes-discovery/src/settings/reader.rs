//! Reads the settings one by one, and collects what is wrong with them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hermes_core::check::{Check, CheckKind};
use hermes_core::name::Name;
use hermes_core::nearest::nearest;
use hermes_core::wire::fields::parse_duration;

use super::fault::{Fault, Faults, Place, Setting};
use super::{
    CONFIG, CONFIG_DEFAULT, ENV_PREFIX, ENVIRONMENT, HTTP_HOSTS, INTERVAL, INTERVAL_MAX,
    INTERVAL_MIN, RESERVED_PREFIX, ServiceSetting, Stage, TIMEOUT, Variables,
};
use crate::admission::{Admission, HttpHost, Refused, shown};

/// The keys of the file.
const KEYS: [&str; 3] = ["services", "health_check", "http_hosts"];
/// The keys of its `health_check`.
const HEALTH_CHECK_KEYS: [&str; 2] = ["interval", "timeout"];
/// Most bytes of a prefix.
const ENV_PREFIX_LENGTH_MAX: usize = 64;
const A_DURATION: &str =
    "seconds, such as 30 or 2.5, or a number with its unit, such as 500ms, 30s, 5m";

/// What stands in a file: paths of keys with their values, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) path: Option<PathBuf>,
    entries: Vec<Entry>,
}

/// One value of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The keys that lead to it.
    pub(super) keys: Vec<String>,
    /// The value, when it is a single one.
    pub(super) text: Option<String>,
    /// The value as it is shown.
    pub(super) shown: String,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    variables: &'a Variables,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variables: &'a Variables) -> Self {
        let faults = Vec::new();
        Self { variables, faults }
    }

    /// The settings, unless something is wrong.
    pub(super) fn finish<T>(mut self, settings: T) -> Result<T, Faults> {
        if self.faults.is_empty() {
            return Ok(settings);
        }
        // Variables as they were read, then the file from its beginning.
        self.faults.sort_by_key(|fault| match fault.place {
            Place::File { line, column, .. } => (1, line, column),
            Place::Default | Place::Flag(_) | Place::Variable(_) => (0, 0, 0),
        });
        Err(Faults(self.faults))
    }

    /// A variable that is set, and not empty.
    fn variable(&self, name: &str) -> Option<Entry> {
        let value = self.variables.get(name).filter(|value| !value.is_empty())?;
        Some(Entry {
            keys: vec![name.to_owned()],
            text: Some(value.clone()),
            shown: shown(value),
            place: Place::Variable(name.to_owned()),
        })
    }

    fn fault(&mut self, entry: &Entry, expected: impl Into<String>) {
        self.faults.push(Fault {
            key: entry.keys.join("."),
            value: Some(entry.shown.clone()),
            place: entry.place.clone(),
            expected: expected.into(),
        });
    }

    /// The file that is named, or the one that is looked for when none is.
    pub(super) fn document(&mut self, file: impl FnOnce(&Path) -> io::Result<String>) -> Document {
        let named = self.variable(CONFIG);
        let path = named.as_ref().and_then(|named| named.text.as_deref());
        let path = PathBuf::from(path.unwrap_or(CONFIG_DEFAULT));
        let text = match (file(&path), named) {
            (Ok(text), _) => text,
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => {
                return Document::default();
            }
            (Err(error), Some(named)) => {
                self.fault(&named, format!("a file that can be read ({error})"));
                return Document::default();
            }
            (Err(error), None) => {
                let expected = format!("a file that can be read ({error}), or none");
                self.fault_of_file(&path, (0, 0), expected);
                return Document::default();
            }
        };
        let entries = self.entries(&path, &text);
        let path = Some(path);
        Document { path, entries }
    }

    fn fault_of_file(&mut self, path: &Path, (line, column): (u64, u64), expected: String) {
        self.faults.push(Fault {
            key: "the file".to_owned(),
            value: None,
            place: Place::File {
                path: path.to_owned(),
                line,
                column,
            },
            expected,
        });
    }

    #[cfg(not(feature = "yaml"))]
    fn entries(&mut self, path: &Path, _text: &str) -> Vec<Entry> {
        let expected = "no file: this program was built without the feature `yaml` of \
                        hermes-discovery, which reads it";
        self.fault_of_file(path, (0, 0), expected.to_owned());
        Vec::new()
    }

    #[cfg(feature = "yaml")]
    fn entries(&mut self, path: &Path, text: &str) -> Vec<Entry> {
        use super::yaml::{Value, parse};

        let node = match parse(text) {
            Ok(node) => node,
            Err(error) => {
                let expected = format!("YAML ({})", error.what);
                self.fault_of_file(path, (error.line, error.column), expected);
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        match &node.value {
            Value::Null => {}
            Value::Map(_) => flatten(path, &mut Vec::new(), &node, &mut entries),
            other => {
                let keys = KEYS.join(", ");
                let expected = format!("a mapping with {keys}, not {}", shown(&other.shown()));
                self.fault_of_file(path, (node.line, node.column), expected);
            }
        }
        entries
    }

    pub(super) fn stage(&mut self) -> Setting<Stage> {
        let Some(entry) = self.variable(ENVIRONMENT) else {
            return Setting::default_of(Stage::default());
        };
        let stage = entry.text.as_deref().and_then(Stage::from_word);
        if stage.is_none() {
            self.fault(&entry, "development, testing or production");
        }
        entry.setting(stage.unwrap_or_default())
    }

    pub(super) fn env_prefix(&mut self, stage: Stage) -> Setting<String> {
        let Some(entry) = self.variable(ENV_PREFIX) else {
            return Setting::default_of(stage.env_prefix().to_owned());
        };
        let prefix = entry.text.clone().unwrap_or_default();
        if let Err(expected) = check_env_prefix(&prefix) {
            self.fault(&entry, expected);
        }
        entry.setting(prefix)
    }

    /// The hosts that may speak http: the variable, or else the list of the file.
    pub(super) fn http_hosts(&mut self, document: &Document) -> Setting<Vec<HttpHost>> {
        let entries = match self.variable(HTTP_HOSTS) {
            Some(entry) => entry.split_at_commas(),
            None => document.children(&["http_hosts"]).cloned().collect(),
        };
        let Some(first) = entries.first() else {
            return Setting::default_of(Vec::new());
        };
        let place = first.place.clone();
        let mut hosts = Vec::new();
        for entry in &entries {
            let text = entry.text.as_deref().filter(|_| entry.keys.len() == 1);
            match text.map(HttpHost::parse) {
                Some(Ok(host)) => hosts.push(host),
                Some(Err(error)) => self.fault(entry, format!("a host ({error})")),
                None => self.fault(
                    entry,
                    "a list of hosts, such as memory or *.svc.cluster.local",
                ),
            }
        }
        Setting {
            value: hosts,
            place,
        }
    }

    /// Interval and timeout. A timeout that nobody set is at most the interval.
    pub(super) fn health_check(
        &mut self,
        document: &Document,
    ) -> (Setting<Duration>, Setting<Duration>) {
        let usual = Check::new(CheckKind::Tcp);
        let mut is_right = true;
        let mut read = |variable, key| {
            let of_file = document.at(&["health_check", key]);
            let of_variable = self.variable(variable);
            // What is overruled is judged all the same: all faults at once.
            let judged = of_file.map(|entry| self.duration(entry, key));
            let winning = match of_variable {
                Some(entry) => Some(self.duration(&entry, key)),
                None => judged,
            };
            is_right &= !matches!(winning, Some(None));
            winning.flatten()
        };
        let interval = read(INTERVAL, "interval");
        let timeout = read(TIMEOUT, "timeout");
        let interval = interval.unwrap_or(Setting::default_of(usual.interval));
        let timeout = match timeout {
            Some(timeout) => timeout,
            None => Setting::default_of(usual.timeout.min(interval.value)),
        };
        if is_right && timeout.value > interval.value {
            self.faults.push(Fault {
                key: "timeout of the health check".to_owned(),
                value: Some(format!("{:?}", timeout.value)),
                place: timeout.place.clone(),
                expected: format!(
                    "at most the interval, which is {:?} ({})",
                    interval.value, interval.place
                ),
            });
        }
        (interval, timeout)
    }

    /// A time; nothing when it is wrong.
    fn duration(&mut self, entry: &Entry, key: &str) -> Option<Setting<Duration>> {
        let (min, min_shown) = match key {
            "interval" => (INTERVAL_MIN, "1 s"),
            _ => (Duration::from_millis(1), "1 ms"),
        };
        let duration = entry.text.as_deref().and_then(parse_duration);
        match duration {
            Some(duration) if (min..=INTERVAL_MAX).contains(&duration) => {
                Some(entry.setting(duration))
            }
            _ => {
                self.fault(entry, format!("{A_DURATION}; from {min_shown} to 24 h"));
                None
            }
        }
    }

    pub(super) fn services(
        &mut self,
        document: &Document,
        admission: &Admission,
    ) -> Vec<ServiceSetting> {
        let (mut services, mut names) = (Vec::new(), HashSet::new());
        for entry in document.children(&["services"]) {
            match self.service(entry, admission) {
                Some(service) if !names.insert(service.name.clone()) => {
                    let expected = format!(
                        "each service once: `{}` stands there already (names are folded: A is a, \
                         _ is -)",
                        service.name
                    );
                    self.fault(entry, expected);
                }
                Some(service) => services.push(service),
                None => {}
            }
        }
        services
    }

    fn service(&mut self, entry: &Entry, admission: &Admission) -> Option<ServiceSetting> {
        let ([_, name], Some(url)) = (&entry.keys[..], entry.text.as_deref()) else {
            self.fault(
                entry,
                "name: URL, such as memory: http://memory-service:9000",
            );
            return None;
        };
        let name = Name::parse(name)
            .map_err(|error| self.fault(entry, format!("a name of a service ({error})")))
            .ok();
        let address = admission
            .admit(url)
            .map_err(|refusal| match refusal {
                Refused::NoAddress { reason, .. } => {
                    self.fault(entry, format!("an http or https URL ({reason})"));
                }
                refusal => self.fault(entry, format!("an https URL ({refusal})")),
            })
            .ok();
        Some(ServiceSetting {
            name: name?,
            address: entry.setting(address?),
        })
    }

    /// Reports what is not known, with what it may have been meant to be.
    pub(super) fn unknown_keys(&mut self, document: &Document) {
        for entry in &document.entries {
            let keys: Vec<&str> = entry.keys.iter().map(String::as_str).collect();
            let (unknown, known) = match keys[..] {
                ["services" | "http_hosts", ..] => continue,
                ["health_check", key] if HEALTH_CHECK_KEYS.contains(&key) => continue,
                ["health_check"] => {
                    self.fault(entry, "a mapping with interval and timeout");
                    continue;
                }
                ["health_check", key, ..] if HEALTH_CHECK_KEYS.contains(&key) => {
                    self.fault(entry, A_DURATION);
                    continue;
                }
                ["health_check", key, ..] => (key, &HEALTH_CHECK_KEYS[..]),
                [key, ..] => (key, &KEYS[..]),
                [] => continue,
            };
            let expected = match nearest(unknown, known.iter().copied())[..] {
                [near, ..] => format!("a key that is known; did you mean `{near}`?"),
                [] => format!("one of the keys {}", known.join(", ")),
            };
            self.fault(entry, expected);
        }
    }
}

impl Document {
    /// The value that these keys lead to.
    fn at(&self, keys: &[&str]) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.keys == keys)
    }

    /// The values below these keys, and the value there, when it is none that holds others.
    fn children(&self, keys: &[&str]) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| {
            let is_below = entry.keys.len() >= keys.len();
            is_below && entry.keys.iter().zip(keys).all(|(a, b)| a == b)
        })
    }
}

impl Entry {
    fn setting<T>(&self, value: T) -> Setting<T> {
        let place = self.place.clone();
        Setting { value, place }
    }

    fn split_at_commas(&self) -> Vec<Self> {
        let text = self.text.as_deref().unwrap_or_default();
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts
            .map(|part| Self {
                text: Some(part.to_owned()),
                shown: shown(part),
                ..self.clone()
            })
            .collect()
    }
}

/// Every single value below `node`, each with the keys that lead to it. Items of a list have the keys
/// of the list.
#[cfg(feature = "yaml")]
fn flatten(
    path: &Path,
    keys: &mut Vec<String>,
    node: &super::yaml::Node,
    entries: &mut Vec<Entry>,
) {
    use super::yaml::Value;

    match &node.value {
        Value::Map(members) => {
            for (key, value) in members {
                keys.push(key.text.clone());
                flatten(path, keys, value, entries);
                keys.pop();
            }
        }
        // A key that is there and says nothing, as in a file that is being written.
        Value::Null if keys.len() < 2 => {}
        Value::List(items) if keys.len() == 1 && keys[0] == "http_hosts" => {
            for item in items {
                flatten(path, keys, item, entries);
            }
        }
        value => entries.push(Entry {
            keys: keys.clone(),
            text: match value {
                Value::Text(_) | Value::Number(_) => Some(value.shown()),
                Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
            },
            shown: shown(&value.shown()),
            place: Place::File {
                path: path.to_owned(),
                line: node.line,
                column: node.column,
            },
        }),
    }
}

/// Whether variables that begin with `prefix` can name services.
///
/// # Errors
/// What was expected instead.
pub(crate) fn check_env_prefix(prefix: &str) -> Result<(), String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if prefix.is_empty() || prefix.len() > ENV_PREFIX_LENGTH_MAX || !prefix.bytes().all(is_plain) {
        return Err(format!(
            "1 to {ENV_PREFIX_LENGTH_MAX} letters, digits and _, such as SERVICE_ or CORTEX_SERVICE_"
        ));
    }
    if is_reserved(prefix) {
        return Err(format!(
            "another prefix: {RESERVED_PREFIX} is that of the settings, which are never taken for \
             services"
        ));
    }
    Ok(())
}

/// Whether a variable is one of our own, or would be if we had one of that name.
pub(crate) fn is_reserved(variable: &str) -> bool {
    let begin = variable.get(..RESERVED_PREFIX.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(RESERVED_PREFIX))
}
