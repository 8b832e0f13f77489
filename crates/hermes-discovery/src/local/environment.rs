//! Discovery from environment variables (the seed's `EnvironmentServiceDiscovery`, R116 to R122).
//!
//! `SERVICE_MEMORY=http://memory-service:9000` registers `memory`; `SERVICE_MEMORY_STORE` registers
//! `memory-store`, since a shell cannot export a hyphen (R232). A variable that appears later is found
//! when somebody asks for its service; [`Environment::reload`] reads all of them again. The settings
//! of discovery itself, `SERVICE_DISCOVERY_*`, are never taken for services, and a value that is no
//! address is neither registered nor shown (R240, R241).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hermes_core::address::Address;
use hermes_core::catalog::ServiceView;
use hermes_core::endpoint::Registration;
use hermes_core::name::{Name, NameError};
use hermes_core::select::Criteria;
use tokio::sync::OnceCell;

use super::in_memory::InMemory;
use super::{Config, unavailable};
use crate::answer::{ChangeError, ResolveError, Resolved, Source, StartError, tell};
use crate::service_discovery::{DEFAULT_ID, ServiceDiscovery, Watch};
use crate::settings::{
    ENV_PREFIX, Fault, Place, Stage, Variables, check_env_prefix, is_reserved, variables_of_process,
};

/// Where the variables come from: those of the process, or what a test has instead.
pub type VariableSource = Arc<dyn Fn() -> Variables + Send + Sync>;

/// What environment variables say, and what the program registers. A clone is the same discovery.
///
/// ```
/// use std::sync::Arc;
/// use hermes_discovery::{Environment, ServiceDiscovery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let discovery = Environment::new(); // or with_prefix("CORTEX_SERVICE_")
/// # let variables = [("SERVICE_MEMORY_STORE".to_owned(), "http://store:9000".to_owned())];
/// # let discovery = discovery.reading(Arc::new(move || variables.clone().into()));
/// discovery.initialize().await?;
/// // SERVICE_MEMORY_STORE=http://store:9000
/// assert_eq!(discovery.resolve("memory-store").await?.url(), "http://store:9000");
/// discovery.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Environment {
    prefix: Arc<str>,
    variables: VariableSource,
    local: InMemory,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_loaded: OnceCell<()>,
    known: Mutex<Known>,
}

/// What came from variables.
#[derive(Default)]
struct Known {
    loaded: BTreeMap<Name, Address>,
    /// What the program deregistered itself: not found again by asking.
    withdrawn: BTreeSet<Name>,
}

impl Default for Environment {
    fn default() -> Self {
        Self::new()
    }
}

impl Environment {
    /// The variables that begin with `SERVICE_`.
    #[must_use]
    pub fn new() -> Self {
        Self::with_prefix(Stage::Development.env_prefix())
    }

    /// The variables that begin with `prefix`, such as `CORTEX_SERVICE_`. One that cannot serve is
    /// refused by [`ServiceDiscovery::initialize`], with what was expected.
    #[must_use]
    pub fn with_prefix(prefix: &str) -> Self {
        Self::with(prefix, Config::default())
    }

    /// The same with these settings.
    #[must_use]
    pub fn with(prefix: &str, config: Config) -> Self {
        Self {
            prefix: prefix.into(),
            variables: Arc::new(variables_of_process),
            local: InMemory::with(config),
            shared: Arc::default(),
        }
    }

    /// The same, with variables that come from elsewhere than the process.
    #[must_use]
    pub fn reading(self, variables: VariableSource) -> Self {
        Self { variables, ..self }
    }

    /// A look at a service as it is now: see [`InMemory::peek`].
    pub fn peek<R>(&self, service: &str, look: impl FnOnce(&ServiceView) -> R) -> Option<R> {
        self.local.peek(service, look)
    }

    /// Reads the variables again: what is new or has changed is registered, and what came from a
    /// variable that is gone is deregistered. What the program registered itself stays.
    ///
    /// # Errors
    /// When something could not be registered or removed; the rest is.
    pub async fn reload(&self) -> Result<(), StartError> {
        let (before, found) = (self.loaded(), self.find_all());
        self.shared.known.lock().unwrap().withdrawn.clear();
        let mut failed = Ok(());
        for (name, address) in &found {
            if before.get(name) != Some(address)
                && let Err(reason) = self.take(name, address).await
            {
                let service = name.to_string();
                failed = Err(match reason {
                    ChangeError::ShutDown => StartError::ShutDown,
                    reason => StartError::Service { service, reason },
                });
            }
        }
        for (name, address) in &before {
            if !found.contains_key(name) {
                self.forget(name, address).await;
            }
        }
        failed
    }

    /// Loads the variables, once.
    async fn load(&self) -> Result<(), StartError> {
        let load = || async {
            check_env_prefix(&self.prefix).map_err(|expected| {
                StartError::Setting(Fault {
                    key: "env_prefix".to_owned(),
                    value: Some(self.prefix.to_string()),
                    place: Place::Variable(ENV_PREFIX.to_owned()),
                    expected,
                })
            })?;
            self.local.engine().await?;
            self.reload().await
        };
        self.shared.is_loaded.get_or_try_init(load).await.copied()
    }

    /// Every service that the variables name. Of two variables for one service the first in the order
    /// of their names counts, which is the one in capitals, if its value is an address.
    fn find_all(&self) -> BTreeMap<Name, Address> {
        let mut found = BTreeMap::new();
        for (variable, value) in (self.variables)() {
            let name = match self.name_of(&variable, &value) {
                Some(Ok(name)) => name,
                Some(Err(reason)) => {
                    tracing::warn!(variable, %reason, "it names no service");
                    continue;
                }
                None => continue,
            };
            match self.local.config().admission.admit(&value) {
                Ok(address) => drop(found.entry(name).or_insert(address)),
                // Neither the value nor anything made of it: it may be a secret.
                Err(_refused) => tracing::warn!(
                    variable,
                    "its value is no address that may be registered, so it names no service"
                ),
            }
        }
        found
    }

    /// The service that a variable names; nothing when it is none of ours.
    fn name_of(&self, variable: &str, value: &str) -> Option<Result<Name, NameError>> {
        if value.is_empty() || is_reserved(variable) {
            return None;
        }
        Some(Name::parse(variable.strip_prefix(&*self.prefix)?))
    }

    async fn take(&self, name: &Name, address: &Address) -> Result<(), ChangeError> {
        let mut registration = Registration::at(address.clone());
        registration.checks_by_default = false;
        registration.checks = vec![self.local.config().check_of(name, address)];
        let command = super::in_memory::registering(
            name.clone(),
            super::in_memory::default_id(),
            registration,
        );
        self.local.submit(command).await?;
        let mut known = self.shared.known.lock().unwrap();
        known.loaded.insert(name.clone(), address.clone());
        tracing::info!(service = %name, url = %address.url, "loaded from the environment");
        Ok(())
    }

    /// The variable of a service is gone; so is its endpoint, unless the program put another address in
    /// its place, and the service, unless the program registered other endpoints of it.
    async fn forget(&self, name: &Name, address: &Address) {
        self.shared.known.lock().unwrap().loaded.remove(name);
        let service = name.as_str();
        let is_its = |view: &ServiceView| is_at(view, address).then_some(view.endpoints.len());
        let forgotten = match self.local.peek(service, is_its).flatten() {
            Some(1) => self.local.deregister(service).await,
            Some(_) => self.local.deregister_endpoint(service, DEFAULT_ID).await,
            None => Ok(()),
        };
        // It can only be gone already.
        forgotten.ok();
    }

    fn loaded(&self) -> BTreeMap<Name, Address> {
        self.shared.known.lock().unwrap().loaded.clone()
    }

    /// Looks for a variable that has appeared since, and says whether there is one.
    async fn find_later(&self, service: &str) -> bool {
        let Ok(name) = Name::parse(service) else {
            return false;
        };
        if self.shared.known.lock().unwrap().withdrawn.contains(&name) {
            return false;
        }
        let admitted = |(variable, value): (String, String)| {
            let is_its = self.name_of(&variable, &value) == Some(Ok(name.clone()));
            let admission = &self.local.config().admission;
            is_its.then(|| admission.admit(&value).ok()).flatten()
        };
        match (self.variables)().into_iter().find_map(admitted) {
            Some(address) => self.take(&name, &address).await.is_ok(),
            None => false,
        }
    }

    /// What `ask` answers, and what it answers once a variable that has appeared since is loaded.
    async fn asking<R, A>(&self, service: &str, ask: impl Fn() -> A) -> Result<R, ResolveError>
    where
        A: Future<Output = Result<R, ResolveError>>,
    {
        self.load()
            .await
            .map_err(|error| ResolveError::Unreachable {
                reason: error.to_string(),
            })?;
        match ask().await {
            Err(ResolveError::Unknown { .. }) if self.find_later(service).await => ask().await,
            answer => answer,
        }
    }

    /// What the variables say comes first, whoever is the first to call: so that what the program
    /// changes is not undone when they are loaded.
    async fn load_before_change(&self) -> Result<(), ChangeError> {
        self.load().await.map_err(|error| match error {
            StartError::ShutDown => ChangeError::ShutDown,
            error => unavailable(&error),
        })
    }

    /// The answer with where it comes from.
    fn sourced(&self, mut resolved: Resolved) -> Resolved {
        let address = &resolved.endpoint.registration().address;
        let known = self.shared.known.lock().unwrap();
        if known.loaded.get(&resolved.endpoint.service.name) == Some(address) {
            resolved.provenance.source = Source::Environment;
        }
        resolved
    }
}

/// Whether the one endpoint of a service is at this address.
fn is_at(view: &ServiceView, address: &Address) -> bool {
    let endpoint = view
        .endpoints
        .iter()
        .find(|endpoint| endpoint.id.as_str() == DEFAULT_ID);
    endpoint.is_some_and(|endpoint| endpoint.registration().address == *address)
}

#[async_trait]
impl ServiceDiscovery for Environment {
    async fn initialize(&self) -> Result<(), StartError> {
        self.load().await?;
        self.local.start().await?;
        tracing::info!("environment service discovery initialized");
        Ok(())
    }

    async fn shutdown(&self) {
        self.local.shutdown().await;
    }

    async fn resolve(&self, service: &str) -> Result<Resolved, ResolveError> {
        let answer = self
            .asking(service, || self.local.resolve_silently(service))
            .await;
        tell(service, &answer);
        answer.map(|resolved| self.sourced(resolved))
    }

    async fn resolve_ready(&self, service: &str) -> Result<Resolved, ResolveError> {
        let answer = self
            .asking(service, || self.local.resolve_ready(service))
            .await;
        answer.map(|resolved| self.sourced(resolved))
    }

    async fn select(
        &self,
        service: &str,
        criteria: &Criteria,
    ) -> Result<Vec<Resolved>, ResolveError> {
        let chosen = self
            .asking(service, || self.local.select(service, criteria))
            .await?;
        Ok(chosen
            .into_iter()
            .map(|resolved| self.sourced(resolved))
            .collect())
    }

    async fn is_healthy(&self, service: &str) -> bool {
        // Without the variables it is not known.
        self.load().await.ok();
        self.local.is_healthy(service).await
    }

    async fn get_all(&self) -> Result<BTreeMap<String, Resolved>, ResolveError> {
        let all = self.asking("", || self.local.get_all()).await?;
        let sourced = |(name, resolved)| (name, self.sourced(resolved));
        Ok(all.into_iter().map(sourced).collect())
    }

    fn registration(&self, service: &str, url: &str) -> Result<Registration, ChangeError> {
        self.local.registration(service, url)
    }

    async fn register_endpoint(
        &self,
        service: &str,
        id: &str,
        registration: Registration,
    ) -> Result<(), ChangeError> {
        self.load_before_change().await?;
        let answer = self
            .local
            .register_endpoint(service, id, registration)
            .await;
        if let Ok(name) = Name::parse(service) {
            self.shared.known.lock().unwrap().withdrawn.remove(&name);
        }
        answer
    }

    async fn deregister(&self, service: &str) -> Result<(), ChangeError> {
        self.load_before_change().await?;
        if let Ok(name) = Name::parse(service) {
            let mut known = self.shared.known.lock().unwrap();
            if known.loaded.remove(&name).is_some() {
                known.withdrawn.insert(name);
            }
        }
        self.local.deregister(service).await
    }

    async fn deregister_endpoint(&self, service: &str, id: &str) -> Result<(), ChangeError> {
        self.load_before_change().await?;
        self.local.deregister_endpoint(service, id).await
    }

    async fn watch(&self, services: &[&str]) -> Result<Box<dyn Watch>, ResolveError> {
        self.asking("", || self.local.watch(services)).await
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("prefix", &self.prefix)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
