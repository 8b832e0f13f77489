//! Which endpoints of some services are ready, followed over one watch and shown to whoever waits.

use std::collections::BTreeMap;

use hermes_core::name::Name;
use hermes_core::wire::answer::{ChangeAnswer, ServiceEndpoint, SnapshotAnswer};
use hermes_discovery::client::ClientError;
use serde_json::Value;
use tokio::sync::watch;

use crate::commands::follow::{Follower, Step};
use crate::commands::{Context, reason};
use crate::failure::Failure;

/// What is known of some services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// The state was whole once. Before that, what is not there says nothing.
    pub(crate) is_synced: bool,
    /// Why it may be out of date.
    pub(crate) trouble: Option<String>,
    /// The server will never tell.
    pub(crate) is_refused: bool,
    services: BTreeMap<String, BTreeMap<String, Seen>>,
}

/// What is known of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) is_ready: bool,
    /// It has not been ready yet.
    pub(crate) is_starting: bool,
    /// Its health and why.
    pub(crate) why: String,
}

impl Seen {
    fn of(endpoint: &ServiceEndpoint) -> Self {
        let (health, why) = (&endpoint.health_status, reason(endpoint));
        Self {
            is_ready: endpoint.ready,
            is_starting: endpoint.flags.iter().any(|flag| flag == "starting"),
            why: if why.starts_with(&**health) || why.is_empty() {
                health.clone()
            } else {
                format!("{health}: {why}")
            },
        }
    }
}

impl Readiness {
    /// Those of `needs` that have no ready endpoint.
    pub(crate) fn missing<'a>(&self, needs: &'a [Name]) -> Vec<&'a str> {
        let is_ready = |name: &&Name| {
            let endpoints = self.services.get(name.as_str());
            endpoints.is_some_and(|all| all.values().any(|seen| seen.is_ready))
        };
        let missing = needs.iter().filter(|name| !is_ready(name));
        missing.map(Name::as_str).collect()
    }

    /// What is known of one endpoint.
    pub(crate) fn of(&self, service: &str, id: &str) -> Option<&Seen> {
        self.services.get(service)?.get(id)
    }

    fn take(&mut self, event: &str, data: Value) {
        match event {
            "snapshot" => {
                if let Ok(snapshot) = serde_json::from_value::<SnapshotAnswer>(data) {
                    let endpoints = snapshot.endpoints.iter();
                    let endpoints = endpoints.map(|one| (one.id.clone(), Seen::of(one)));
                    self.services
                        .insert(snapshot.service_name, endpoints.collect());
                }
            }
            "synced" => self.is_synced = true,
            "change" => {
                if let Ok(change) = serde_json::from_value::<ChangeAnswer>(data) {
                    self.take_change(change);
                }
            }
            // Snapshots follow; until then nothing is known.
            "reset" => {
                self.is_synced = false;
                self.services.clear();
            }
            _ => {}
        }
    }

    fn take_change(&mut self, change: ChangeAnswer) {
        let endpoints = self.services.entry(change.service_name).or_default();
        match (change.id, change.endpoint) {
            (Some(id), Some(endpoint)) => {
                endpoints.insert(id, Seen::of(&endpoint));
            }
            (Some(id), None) => {
                endpoints.remove(&id);
            }
            (None, _) => {}
        }
    }
}

/// Follows `names` until nobody wants to know any more.
pub(crate) async fn follow(
    context: &Context<'_>,
    names: &[Name],
    readiness: &watch::Sender<Readiness>,
) {
    let mut follower = Follower::new(context, names, None);
    let followed = async {
        if let Err(error) = follower.connect().await {
            tell_trouble(readiness, &error);
            follower.again().await?;
        }
        loop {
            match follower.next().await? {
                Step::Event(event, data) => readiness.send_modify(|known| {
                    known.trouble = None;
                    known.take(&event.event, data);
                }),
                Step::Lost(failure) => {
                    tell_trouble(readiness, &failure);
                    follower.again().await?;
                }
            }
        }
    };
    let refused: Failure = tokio::select! {
        () = readiness.closed() => return,
        ended = followed => {
            let ended: Result<std::convert::Infallible, Failure> = ended;
            match ended {
                Err(failure) => failure,
                Ok(never) => match never {},
            }
        }
    };
    readiness.send_modify(|known| {
        known.trouble = Some(refused.to_string());
        known.is_refused = true;
    });
}

fn tell_trouble(readiness: &watch::Sender<Readiness>, trouble: &impl ToString) {
    readiness.send_modify(|known| known.trouble = Some(trouble.to_string()));
}

/// A URL of a service that is ready.
///
/// # Errors
/// When none is, or nobody can be asked.
pub(super) async fn url(
    client: &hermes_discovery::client::Client,
    namespace: Option<&Name>,
    service: &Name,
) -> Result<String, ClientError> {
    use hermes_core::wire::answer::UrlAnswer;
    let mut path = crate::commands::service(service).segment("url");
    if let Some(namespace) = namespace {
        path = path.query("namespace", namespace.as_str());
    }
    let answer = client.get(&path).await?;
    let url = answer.read(serde_json::from_slice::<UrlAnswer>)?;
    Ok(url.selected_url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(id: &str, is_ready: bool) -> Value {
        json!({"name": "web", "namespace": "default", "id": id, "incarnation": 1,
            "host": "h", "port": 1, "url": "http://h:1", "ports": {}, "environment": "local",
            "health_status": "unhealthy", "health_reason": "because", "ready": is_ready,
            "flags": [], "last_heartbeat": "", "registered_at": "",
            "since": "2026-11-21T18:05:03.123Z", "ttl": null, "metadata": {}, "tags": [],
            "zone": null, "weight": 100, "revision": 1})
    }

    fn change(id: &str, endpoint: &Value) -> Value {
        json!({"revision": 2, "time": "2026-11-21T18:06:00.000Z", "type": "health",
            "service_name": "web", "namespace": "default", "id": id, "incarnation": 1,
            "endpoint": endpoint, "service_revision": 2, "actor": "probe",
            "cause": {"code": "x", "detail": ""}})
    }

    #[test]
    fn a_service_is_ready_while_one_of_its_endpoints_is() {
        let names = ["web", "db"].map(|name| Name::parse(name).unwrap());
        let mut known = Readiness::default();
        assert_eq!(known.missing(&names), ["web", "db"]);
        let snapshot = json!({"service_name": "web", "namespace": "default", "revision": 1,
            "emptied": null, "endpoints": [endpoint("a", true), endpoint("b", false)]});
        known.take("snapshot", snapshot);
        known.take("synced", json!({"revision": 1}));
        assert!(known.is_synced);
        assert_eq!(known.missing(&names), ["db"]);
        assert_eq!(known.of("web", "b").unwrap().why, "unhealthy: because");
        known.take("change", change("a", &Value::Null));
        assert_eq!(known.missing(&names), ["web", "db"]);
        assert_eq!(known.of("web", "a"), None);
        known.take("change", change("b", &endpoint("b", true)));
        assert_eq!(known.missing(&names), ["db"]);
        known.take("reset", json!({"reason": "compacted", "revision": 3}));
        assert_eq!(known.missing(&names), ["web", "db"]);
    }
}
