//! What the server itself keeps registered: the services of its configuration, and Hermes.
//!
//! Each endpoint has its owner, which goes through the log with it. So after a restart, or when the
//! file was read again, it is known which endpoints were declared and are no longer: those are
//! deregistered. Whatever anybody else has registered is never touched, not even under the same id.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hermes_core::change::Revision;
use hermes_core::command::{Claim, Command, Condition, Request};
use hermes_core::endpoint::{Endpoint, Registration};
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::rejection::Rejection;
use hermes_core::wire::request::registration_of_url;
use hermes_discovery::engine::{Engine, Refusal};

/// Who registers the services of the configuration.
const CONFIG: &str = "config";
/// Who registers Hermes; also the name of the service.
const HERMES: &str = "hermes";
/// The id of a service that has one endpoint, as in the second seed document.
const ONLY: &str = "default";
/// How often a change is planned anew when somebody else was faster.
const TRIES: usize = 8;

/// Endpoints that are to be registered, for one owner.
#[derive(Debug)]
struct Declared {
    owner: &'static str,
    endpoints: BTreeMap<(ServiceKey, EndpointId), Arc<Registration>>,
}

/// Registers the services of the configuration, and deregisters those that are in it no more.
pub(crate) async fn declare_services(engine: &Engine, services: &BTreeMap<Name, Registration>) {
    let id = EndpointId::parse(ONLY).expect("the word `default` is an id");
    let endpoint = |(name, registration): (&Name, &Registration)| {
        let key = ServiceKey::new(Name::default_namespace(), name.clone());
        ((key, id.clone()), Arc::new(registration.clone()))
    };
    let endpoints = services.iter().map(endpoint).collect();
    Declared::new(CONFIG, endpoints).keep(engine).await;
}

/// Registers Hermes at a place, by scheme and address, or nowhere. Where it was before is deregistered.
pub(crate) async fn declare_self(engine: &Engine, place: Option<(&str, SocketAddr)>) {
    let mut endpoints = BTreeMap::new();
    if let Some((scheme, address)) = place {
        let url = format!("{scheme}://{address}");
        let id = EndpointId::of_address(&address.ip().to_string(), address.port());
        match (registration_of_url(&url), id) {
            (Ok(registration), Ok(id)) => {
                // Whoever asks this server about itself has its answer already: no check is needed.
                let registration = Registration {
                    checks_by_default: false,
                    checks: Vec::new(),
                    metadata: [("version".to_owned(), env!("CARGO_PKG_VERSION").into())]
                        .into_iter()
                        .collect(),
                    ..registration
                };
                let name = Name::parse(HERMES).expect("the word `hermes` is a name");
                let key = ServiceKey::new(Name::default_namespace(), name);
                endpoints.insert((key, id), Arc::new(registration));
            }
            _ => {
                tracing::warn!(%url, "Hermes cannot be registered: its own address is no endpoint");
            }
        }
    }
    Declared::new(HERMES, endpoints).keep(engine).await;
}

impl Declared {
    fn new(
        owner: &'static str,
        endpoints: BTreeMap<(ServiceKey, EndpointId), Arc<Registration>>,
    ) -> Self {
        Self { owner, endpoints }
    }

    /// Makes the registry hold these endpoints of the owner and no others. What is new comes first,
    /// so that a service whose endpoint moves is never without one.
    async fn keep(&self, engine: &Engine) {
        for ((service, id), registration) in &self.endpoints {
            self.register(engine, service, id, registration).await;
        }
        for (service, id) in self.left_over(engine) {
            self.deregister(engine, &service, &id).await;
        }
    }

    /// What the owner has registered and no longer declares.
    fn left_over(&self, engine: &Engine) -> Vec<(ServiceKey, EndpointId)> {
        let catalog = engine.catalog();
        let endpoints = catalog.services().flat_map(|view| &view.endpoints);
        endpoints
            .filter(|endpoint| self.owns(endpoint))
            .map(|endpoint| (endpoint.service.clone(), endpoint.id.clone()))
            .filter(|place| !self.endpoints.contains_key(place))
            .collect()
    }

    fn owns(&self, endpoint: &Endpoint) -> bool {
        endpoint.state.owner.as_deref() == Some(self.owner)
    }

    async fn register(
        &self,
        engine: &Engine,
        service: &ServiceKey,
        id: &EndpointId,
        registration: &Arc<Registration>,
    ) {
        let told = self
            .submit(engine, service, |engine| {
                let (before, revision) = found(engine, service, id);
                let condition = match before {
                    None => Condition::Absent,
                    Some(before) if self.owns(&before) => {
                        if before.registration() == &**registration {
                            return None;
                        }
                        Condition::ServiceAt(revision)
                    }
                    Some(before) => {
                        tracing::warn!(
                            %service, %id, url = %before.registration().address.url,
                            "it is declared, but somebody else has registered it, and that stays"
                        );
                        return None;
                    }
                };
                let command = Command::Register {
                    service: service.clone(),
                    id: id.clone(),
                    registration: Arc::clone(registration),
                    new: false,
                };
                Some((command, condition))
            })
            .await;
        if told {
            tracing::info!(%service, %id, owner = self.owner, "registered");
        }
    }

    async fn deregister(&self, engine: &Engine, service: &ServiceKey, id: &EndpointId) {
        let told = self
            .submit(engine, service, |engine| {
                let (before, revision) = found(engine, service, id);
                before.filter(|before| self.owns(before))?;
                let command = Command::Deregister {
                    service: service.clone(),
                    id: id.clone(),
                    incarnation: None,
                };
                Some((command, Condition::ServiceAt(revision)))
            })
            .await;
        if told {
            tracing::info!(%service, %id, owner = self.owner, "deregistered: it is declared no more");
        }
    }

    /// Asks for the change that `plan` makes of what it finds, again while others are faster. Says
    /// whether it was made.
    async fn submit(
        &self,
        engine: &Engine,
        service: &ServiceKey,
        plan: impl Fn(&Engine) -> Option<(Command, Condition)>,
    ) -> bool {
        for _ in 0..TRIES {
            let Some((command, condition)) = plan(engine) else {
                return false;
            };
            let request = Request {
                command,
                actor: self.owner.into(),
                condition,
                claim: Claim::Owner(self.owner.into()),
            };
            match engine.submit(request).await {
                Ok(_) => return true,
                Err(Refusal::Rejected(Rejection::ConditionFailed { .. })) => {}
                Err(refusal) => {
                    tracing::warn!(%service, %refusal, "what is declared could not be taken over");
                    return false;
                }
            }
        }
        tracing::warn!(%service, "what is declared could not be taken over: others change it all the time");
        false
    }
}

/// The endpoint as it is, and the revision of its service.
fn found(
    engine: &Engine,
    service: &ServiceKey,
    id: &EndpointId,
) -> (Option<Arc<Endpoint>>, Revision) {
    let catalog = engine.catalog();
    let view = catalog.service_at(service);
    let endpoint = view.and_then(|view| view.endpoint(id)).cloned();
    (endpoint, view.map_or(Revision(0), |view| view.revision))
}
