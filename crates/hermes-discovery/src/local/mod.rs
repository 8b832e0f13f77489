//! Discovery within this process: no server, nobody else.
//!
//! - [`InMemory`]: what the program registers.
//! - [`Environment`]: what environment variables say, and what the program registers.
//!
//! Both are an [`engine`] of their own with a memory log under it and
//! [`probe`]s beside it, the very ones that a server runs on. It listens to nobody.

mod environment;
mod in_memory;
mod look;

use std::collections::BTreeMap;
use std::sync::Arc;

use hermes_core::address::Address;
use hermes_core::check::Check;
use hermes_core::name::Name;

use crate::admission::Admission;
use crate::clock::Clock;
use crate::probe::{self, Probe};
use crate::service_discovery::ServiceDiscovery;
use crate::settings::{Place, Settings, Stage};
use crate::{answer, engine};

pub use environment::{Environment, VariableSource};
pub use in_memory::InMemory;

/// The settings of a discovery within this process.
#[derive(Debug, Clone)]
pub struct Config {
    /// The check of what is registered by its URL. Default: HTTP on `/health`, every 30 s, with a
    /// timeout of 5 s and up to three attempts (R108, R111, R169). Its path is taken below the path of
    /// the URL.
    pub check: Check,
    /// The same for single services, by their names (R128).
    pub checks: BTreeMap<String, Check>,
    /// Which addresses may be registered.
    pub admission: Admission,
    /// What is registered from the beginning.
    pub services: Vec<(Name, Address)>,
    /// What probes, when it is not Hermes itself. Default: none.
    pub probe: Option<Arc<dyn Probe>>,
    /// The settings of the prober.
    pub prober: probe::Config,
    /// The settings of the engine. A seed of 0 is replaced by a random one.
    pub engine: engine::Config,
    /// The clock. Default: the machine's.
    pub clock: Option<Clock>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            check: Check::http("/health"),
            checks: BTreeMap::new(),
            admission: Admission::any(),
            services: Vec::new(),
            probe: None,
            prober: probe::Config::default(),
            engine: engine::Config::default(),
            clock: None,
        }
    }
}

impl From<&Settings> for Config {
    /// Interval, timeout, services and admission as they are set; the rest is the default.
    fn from(settings: &Settings) -> Self {
        let of_service = |service: &crate::settings::ServiceSetting| {
            (service.name.clone(), service.address.value.clone())
        };
        Self {
            check: settings.applied_to(Check::http("/health")),
            admission: settings.admission(),
            services: settings.services.iter().map(of_service).collect(),
            ..Self::default()
        }
    }
}

/// The discovery that the settings ask for (R161): in development [`InMemory`] with the services of
/// the file, in testing and production, and wherever a prefix is named, [`Environment`], whose
/// variables win over the file.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use hermes_discovery::{ServiceDiscovery, discovery_of, settings::Settings};
///
/// # let no_files = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
/// # let settings = Settings::read(&Default::default(), no_files)?;
/// # /*
/// let settings = Settings::of_process()?;
/// # */
/// let discovery = discovery_of(&settings);
/// discovery.initialize().await?;
/// # discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn discovery_of(settings: &Settings) -> Arc<dyn ServiceDiscovery> {
    let config = Config::from(settings);
    let is_named = settings.env_prefix.place != Place::Default;
    if settings.stage.value == Stage::Development && !is_named {
        Arc::new(InMemory::with(config))
    } else {
        Arc::new(Environment::with(&settings.env_prefix.value, config))
    }
}

impl Config {
    /// The check of a service that is registered by its URL.
    fn check_of(&self, service: &Name, address: &Address) -> Check {
        let check = self.checks.get(service.as_str()).unwrap_or(&self.check);
        below(address, check.clone())
    }

    /// With the names of services folded; what is no name stays as it is, and names nobody.
    fn folded(mut self) -> Self {
        let fold = |(name, check): (String, Check)| match Name::parse(&name) {
            Ok(folded) => (folded.to_string(), check),
            Err(_wrong) => (name, check),
        };
        self.checks = self.checks.into_iter().map(fold).collect();
        self
    }
}

/// `check` with its path below the path of the URL, as the seed has it: `{endpoint}/health` (R111).
fn below(address: &Address, mut check: Check) -> Check {
    use hermes_core::check::CheckKind;

    let after_scheme = address.url.split_once("://").map_or("", |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    if let CheckKind::Http(http) = &mut check.kind {
        http.path.insert_str(0, path.trim_end_matches('/'));
    }
    check
}

/// The words of an error that means: ask again later.
fn unavailable(reason: &impl ToString) -> answer::ChangeError {
    let reason = reason.to_string();
    answer::ChangeError::Unavailable { reason }
}
