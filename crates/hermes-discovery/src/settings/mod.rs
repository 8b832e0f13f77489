//! The seed's configuration: one YAML file and a handful of variables (R155 to R161).
//!
//! ```yaml
//! # config/service_discovery.yaml
//! services:
//!   memory: http://memory-service:9000
//!   cognition: http://cognition-service:9100
//! health_check:
//!   interval: 30
//!   timeout: 5.0
//! # In production https is required, but for these hosts; what begins with *. means all below.
//! http_hosts: [memory-service, '*.svc.cluster.local']
//! ```
//!
//! | variable | means | default |
//! |---|---|---|
//! | `SERVICE_DISCOVERY_CONFIG` | the file | `config/service_discovery.yaml`, if there is one |
//! | `SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL` | time between two probes of a check, 1 s to 24 h | 30 s |
//! | `SERVICE_DISCOVERY_HEALTH_CHECK_TIMEOUT` | how long one attempt may take, at most the interval | 5 s |
//! | `SERVICE_DISCOVERY_ENV_PREFIX` | what variables that name services begin with | by the stage |
//! | `SERVICE_DISCOVERY_HTTP_HOSTS` | in production: hosts that may speak http, with commas between | none |
//! | `ENVIRONMENT` | the [`Stage`] | `development` |
//!
//! A variable that is set, and not empty, wins over the file, and the file over the default. Times
//! are seconds (`30`, `2.5`) or have a unit (`500ms`, `30s`, `5m`). [`Settings::read`] is a pure
//! function of variables and files; [`Settings::of_process`] calls it with those of the process.
//! Everything that is wrong is reported at once, each with its place.
//!
//! ```
//! use hermes_discovery::settings::{Settings, Stage, Variables};
//!
//! let variables = Variables::from([
//!     ("ENVIRONMENT".to_owned(), "testing".to_owned()),
//!     ("SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL".to_owned(), "ten".to_owned()),
//! ]);
//! let no_files = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
//! let faults = Settings::read(&variables, no_files).unwrap_err();
//! assert_eq!(faults.0[0].key, "SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL");
//! assert_eq!(faults.0[0].value.as_deref(), Some("ten"));
//! ```

mod fault;
mod reader;
#[cfg(feature = "yaml")]
pub mod yaml;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hermes_core::address::Address;
use hermes_core::check::Check;
use hermes_core::name::Name;

use crate::admission::{Admission, HttpHost};
use reader::Reader;

pub(crate) use reader::{check_env_prefix, is_reserved};

pub use fault::{Fault, Faults, Place, Setting};

/// The variable that names the file (R158).
pub const CONFIG: &str = "SERVICE_DISCOVERY_CONFIG";
/// The file that is read when none is named, if it is there (R158).
pub const CONFIG_DEFAULT: &str = "config/service_discovery.yaml";
/// The variable with the time between two probes (R155).
pub const INTERVAL: &str = "SERVICE_DISCOVERY_HEALTH_CHECK_INTERVAL";
/// The variable with the time that one attempt may take (R156).
pub const TIMEOUT: &str = "SERVICE_DISCOVERY_HEALTH_CHECK_TIMEOUT";
/// The variable with the prefix of those that name services (R157).
pub const ENV_PREFIX: &str = "SERVICE_DISCOVERY_ENV_PREFIX";
/// The variable with the hosts that may speak http in production (R233).
pub const HTTP_HOSTS: &str = "SERVICE_DISCOVERY_HTTP_HOSTS";
/// The variable with the stage (R161).
pub const ENVIRONMENT: &str = "ENVIRONMENT";
/// What our own variables begin with, in upper or lower case. None of them is ever taken for a service
/// (R240).
pub const RESERVED_PREFIX: &str = "SERVICE_DISCOVERY_";
/// The shortest time between two probes that can be set.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of a file that is read.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Environment variables, by their names.
pub type Variables = BTreeMap<String, String>;

/// What a program is run for: the word in `ENVIRONMENT` (R161).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// On somebody's own machine.
    #[default]
    Development,
    /// In tests.
    Testing,
    /// For real.
    Production,
}

/// One service of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSetting {
    /// Its name, folded.
    pub name: Name,
    /// Where it is reached.
    pub address: Setting<Address>,
}

/// The seed's configuration, whole and right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the program is run for.
    pub stage: Setting<Stage>,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// The services of the file, in its order; no name stands there twice.
    pub services: Vec<ServiceSetting>,
    /// Time from one probe of a check to the next, 1 s to 24 h.
    pub interval: Setting<Duration>,
    /// How long one attempt may take, at most the interval.
    pub timeout: Setting<Duration>,
    /// What variables that name services begin with.
    pub env_prefix: Setting<String>,
    /// The hosts that may speak http in production.
    pub http_hosts: Setting<Vec<HttpHost>>,
}

impl Stage {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Development, Self::Testing, Self::Production];

    /// The word for it in `ENVIRONMENT`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Testing => "testing",
            Self::Production => "production",
        }
    }

    /// The stage that a word means; upper and lower case are the same.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.word().eq_ignore_ascii_case(word))
    }

    /// What variables that name services begin with, unless said otherwise (R161).
    #[must_use]
    pub fn env_prefix(self) -> &'static str {
        match self {
            Self::Development => "SERVICE_",
            Self::Testing => "TEST_SERVICE_",
            Self::Production => "PROD_SERVICE_",
        }
    }
}

impl Settings {
    /// The settings that these variables, and the file that they name, come to. `file` reads one.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the variables and then of the file.
    pub fn read(
        variables: &Variables,
        file: impl FnOnce(&Path) -> io::Result<String>,
    ) -> Result<Self, Faults> {
        let mut reader = Reader::new(variables);
        let document = reader.document(file);
        let stage = reader.stage();
        let http_hosts = reader.http_hosts(&document);
        let admission = admission(stage.value, &http_hosts.value);
        let (interval, timeout) = reader.health_check(&document);
        let settings = Self {
            env_prefix: reader.env_prefix(stage.value),
            services: reader.services(&document, &admission),
            file: document.path.clone(),
            stage,
            interval,
            timeout,
            http_hosts,
        };
        reader.unknown_keys(&document);
        reader.finish(settings)
    }

    /// The settings of this process: its environment variables, and the file that they name.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn of_process() -> Result<Self, Faults> {
        Self::read(&variables_of_process(), read_file)
    }

    /// Which addresses may be registered: in production https only, but for the hosts that are named.
    #[must_use]
    pub fn admission(&self) -> Admission {
        admission(self.stage.value, &self.http_hosts.value)
    }

    /// `check` with the interval and the timeout that are set.
    #[must_use]
    pub fn applied_to(&self, check: Check) -> Check {
        Check {
            interval: self.interval.value,
            timeout: self.timeout.value,
            ..check
        }
    }
}

fn admission(stage: Stage, http_hosts: &[HttpHost]) -> Admission {
    Admission {
        https_only: stage == Stage::Production,
        http_hosts: http_hosts.to_vec(),
    }
}

/// The environment variables of this process. What is not UTF-8 in a value is replaced by U+FFFD,
/// which no setting and no address may hold.
#[must_use]
pub fn variables_of_process() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// The text of a file of at most [`FILE_BYTES_MAX`] bytes of UTF-8.
///
/// # Errors
/// When it cannot be read, or is longer.
pub fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = std::fs::File::open(path)?.take(FILE_BYTES_MAX as u64 + 1);
    file.read_to_string(&mut text)?;
    if text.len() > FILE_BYTES_MAX {
        let what = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
