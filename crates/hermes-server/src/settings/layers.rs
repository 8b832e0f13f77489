//! The layers, merged: flag over variable over file over default, with the place of each value.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hermes_core::nearest::nearest;
use hermes_core::wire::request::registration_of_url_under;
use hermes_discovery::settings::{
    ENVIRONMENT, Fault, Faults, Place, RESERVED_PREFIX, ServiceSetting, Settings as ElderSettings,
    Stage, Variables, read_file,
};

use super::file::{self, Entry};
use super::setting::Setting;
use super::table::SETTINGS;
use crate::auth::Secret;
use crate::config::Config;

/// Where the file is looked for when nobody names one: in the working directory.
const DEFAULT_FILE: &str = "hermes.yaml";
/// What our variables begin with.
const PREFIX: &str = "HERMES_";
/// Variables that belong to the commands which ask a server, or name the file.
const OTHER_VARIABLES: [&str; 10] = [
    "HERMES_API_KEY",
    "HERMES_API_KEY_FILE",
    "HERMES_CA_FILE",
    "HERMES_CERT_FILE",
    "HERMES_CERT_KEY_FILE",
    "HERMES_ADDR",
    "HERMES_NAMESPACE",
    "HERMES_TIMEOUT",
    "HERMES_CONFIG",
    "HERMES_URL",
];

/// Everything that settings are read from.
#[derive(Clone, Default)]
pub struct Sources {
    /// What the command line says, flag by flag.
    pub flags: Vec<(&'static Setting, String)>,
    /// The environment.
    pub variables: Variables,
    /// The file; `None` looks for `hermes.yaml`, and does without it when there is none.
    pub file: Option<PathBuf>,
}

impl fmt::Debug for Sources {
    /// Without the values of variables: keys are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("flags", &self.flags)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// The settings as they are after all layers.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What is not wrong, but probably not meant.
    pub notes: Vec<String>,
    /// The services of `config/service_discovery.yaml`, and where each stands.
    pub services: Vec<ServiceSetting>,
    places: BTreeMap<&'static str, Place>,
}

impl Loaded {
    /// Where the value of `setting` comes from.
    #[must_use]
    pub fn place(&self, setting: &Setting) -> &Place {
        self.places.get(setting.key).unwrap_or(&Place::Default)
    }
}

/// Reads and merges all layers.
///
/// # Errors
/// Everything that is wrong with any of them. A value is judged even where a higher layer hides it.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let mut merger = Merger {
        loaded: Loaded {
            config: Config::served(),
            file: None,
            notes: Vec::new(),
            services: Vec::new(),
            places: BTreeMap::new(),
        },
        faults: Vec::new(),
    };
    merger.read_elder(&sources.variables);
    merger.read_file(sources.file.as_deref());
    merger.read_variables(&sources.variables);
    for (setting, text) in &sources.flags {
        let flag = setting.flag().unwrap_or_default();
        merger.take(setting, text, Place::Flag(format!("--{flag}")));
    }
    merger.judge_the_whole();
    merger.make_services();
    if merger.faults.is_empty() {
        Ok(merger.loaded)
    } else {
        Err(Faults(merger.faults))
    }
}

struct Merger {
    loaded: Loaded,
    faults: Vec<Fault>,
}

impl Merger {
    /// Takes one value of one layer.
    fn take(&mut self, setting: &'static Setting, text: &str, place: Place) {
        if setting.set(&mut self.loaded.config, text).is_some() {
            self.loaded.places.insert(setting.key, place);
        } else {
            self.faults.push(Fault {
                place,
                key: setting.key.into(),
                value: Some(text.into()),
                expected: setting.expects(),
            });
        }
    }

    /// The file of the second seed document, which is the lowest layer. Its variables win over our
    /// file and are read with ours.
    fn read_elder(&mut self, variables: &Variables) {
        // ENVIRONMENT is set on many machines to words that mean something to others.
        let is_stage = |word: &String| Stage::from_word(word).is_some();
        let is_elder = |(name, value): &(&String, &String)| {
            name.starts_with(RESERVED_PREFIX) || *name == ENVIRONMENT && is_stage(value)
        };
        let elder = variables.iter().filter(is_elder);
        let elder = elder.map(|(name, value)| (name.clone(), value.clone()));
        let elder = match ElderSettings::read(&elder.collect(), read_file) {
            Ok(elder) => elder,
            Err(faults) => return self.faults.extend(faults.0),
        };
        let times = [
            ("health_check.interval", elder.interval),
            ("health_check.timeout", elder.timeout),
        ];
        for (key, time) in times {
            let setting = SETTINGS.iter().find(|setting| setting.key == key);
            if let (Some(setting), Place::File { .. }) = (setting, &time.place) {
                let text = format!("{}ms", time.value.as_millis());
                self.take(setting, &text, time.place);
            }
        }
        self.loaded.services = elder.services;
    }

    /// The registrations of the services, with the checks as all layers have them.
    fn make_services(&mut self) {
        let rules = self.loaded.config.engine.limits.body;
        for service in &self.loaded.services {
            match registration_of_url_under(&service.address.value.url, rules) {
                Ok(registration) => {
                    let services = &mut self.loaded.config.services;
                    services.insert(service.name.clone(), registration);
                }
                Err(problem) => self.faults.push(Fault {
                    key: format!("services.{}", service.name),
                    value: None,
                    place: service.address.place.clone(),
                    expected: format!("a URL that can be registered: {}", problem.detail),
                }),
            }
        }
    }

    fn read_file(&mut self, named: Option<&Path>) {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match read_file(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let expected = format!("one that can be read: {error}");
                return self.faults.push(in_file(path, (0, 0), expected));
            }
        };
        self.loaded.file = Some(path.to_owned());
        match file::read(&text, &sections()) {
            Ok(entries) => self.take_entries(path, entries),
            Err(error) => {
                let expected = format!("settings in YAML: {}", error.what);
                let at = (error.line, error.column);
                self.faults.push(in_file(path, at, expected));
            }
        }
    }

    fn take_entries(&mut self, path: &Path, entries: Vec<Entry>) {
        for entry in entries {
            let place = Place::File {
                path: path.to_owned(),
                line: entry.line,
                column: entry.column,
            };
            let setting = SETTINGS.iter().find(|setting| setting.key == entry.key);
            let expected = match (setting, entry.text) {
                (Some(setting), Some(text)) => {
                    self.take(setting, &text, place);
                    continue;
                }
                (Some(setting), None) => setting.expects(),
                (None, _) => known_instead(&entry.key),
            };
            self.faults.push(Fault {
                key: entry.key,
                value: None,
                place,
                expected,
            });
        }
    }

    /// An empty variable counts as none, as a Compose file leaves it where nothing is set.
    fn read_variables(&mut self, variables: &Variables) {
        let said = |name: &str| variables.get(name).filter(|text| !text.is_empty());
        for setting in SETTINGS {
            let elder = setting.elder.map(str::to_owned);
            for name in elder.into_iter().chain([setting.variable()]) {
                let place = Place::Variable(name.clone());
                // Those of the second seed document were judged with its file.
                let is_told = self.faults.iter().any(|fault| fault.place == place);
                if let Some(text) = said(&name).filter(|_| !is_told) {
                    self.take(setting, text, place);
                }
            }
        }
        let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        for name in variables.keys().filter(|name| is_unknown(name, &known)) {
            // Kubernetes sets HERMES_SERVICE_HOST, HERMES_PORT and more beside a service of our
            // name, and nobody can help it; so what is unknown is only told where it is nearly known.
            let rest = name.trim_start_matches(PREFIX);
            let near = nearest(
                rest,
                known.iter().map(|known| known.trim_start_matches(PREFIX)),
            );
            let near = near
                .first()
                .filter(|near| near.len().abs_diff(rest.len()) <= 2);
            if let Some(near) = near {
                self.loaded.notes.push(format!(
                    "the variable {name} is not known and does nothing; is {PREFIX}{near} meant?"
                ));
            }
        }
        let shared = said("SERVICE_DISCOVERY_API_KEY").cloned();
        self.loaded.config.auth.shared_key = shared.map(Secret::new);
    }

    /// What is only wrong about values together, or in this release.
    fn judge_the_whole(&mut self) {
        let rules = &mut self.loaded.config.engine.limits.body;
        let (interval, timeout) = (rules.check_interval, &mut rules.check_timeout);
        if !self.loaded.places.contains_key("health_check.timeout") {
            *timeout = interval.min(*timeout);
        }
        if *timeout > interval {
            let timeout = *timeout;
            let expected = format!("at most the interval, which is {interval:?}");
            self.push_whole("health_check.timeout", &format!("{timeout:?}"), expected);
        }
        let Config {
            listen,
            tls,
            plain_http,
            ..
        } = self.loaded.config.clone();
        let is_reachable = !listen.ip().to_canonical().is_loopback();
        if is_reachable && tls.cert.is_none() && !plain_http {
            let expected = format!(
                "a loopback address such as 127.0.0.1:{}. Another one needs keys (`hermes key create`), \
                 and TLS with tls.cert and tls.key, so that nobody reads them on their way; where the \
                 network itself is trusted, or a proxy adds TLS, set plain_http",
                listen.port()
            );
            self.push_whole("listen", &listen.to_string(), expected);
        }
        let half = match (&tls.cert, &tls.key) {
            (Some(_), None) => Some(("tls.key", "the file of the key that goes with tls.cert")),
            (None, Some(_)) => Some(("tls.cert", "the file of the certificate of tls.key")),
            (None, None) if tls.client_ca.is_some() => Some((
                "tls.cert",
                "a certificate, where those of clients are asked for",
            )),
            _ => None,
        };
        if let Some((key, expected)) = half {
            self.push_whole(key, "auto", expected.into());
        }
    }

    fn push_whole(&mut self, key: &'static str, value: &str, expected: String) {
        let place = self.loaded.places.get(key);
        self.faults.push(Fault {
            place: place.cloned().unwrap_or(Place::Default),
            key: key.into(),
            value: Some(value.into()),
            expected,
        });
    }
}

fn is_unknown(name: &str, known: &[String]) -> bool {
    name.starts_with(PREFIX)
        && !known.iter().any(|known| known == name)
        && !OTHER_VARIABLES.contains(&name)
}

/// What to expect instead of a key that is not known.
fn known_instead(key: &str) -> String {
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    let mut near = nearest(key, keys());
    if near.is_empty() {
        // Perhaps only the section is wrong, or missing.
        let last = |key| str::rsplit(key, '.').next();
        near = keys().filter(|known| last(known) == last(key)).collect();
    }
    match near[..] {
        [] => "a key that is known; `hermes config check --show` lists them".into(),
        _ => format!("a key that is known; is `{}` meant?", near[0]),
    }
}

/// The sections of the file.
fn sections() -> Vec<&'static str> {
    let section = |setting: &Setting| setting.key.split_once('.').map(|(section, _)| section);
    let mut sections: Vec<&str> = SETTINGS.iter().filter_map(section).collect();
    sections.dedup();
    sections
}

/// A fault of the file, at a line and column; both 0 when it is about the whole.
fn in_file(path: &Path, (line, column): (u64, u64), expected: String) -> Fault {
    let place = Place::File {
        path: path.to_owned(),
        line,
        column,
    };
    Fault {
        key: "the file".into(),
        value: None,
        place,
        expected,
    }
}
