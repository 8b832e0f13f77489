//! Answers: what a server sends and a client reads.
//!
//! A client ignores members and words that it does not know, so health, flags and kinds are strings
//! here. The order of the members is the order of the contract.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One running instance of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceEndpoint {
    /// The service.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Who it is within the service.
    pub id: String,
    /// The revision at which this incarnation was registered.
    pub incarnation: u64,
    /// IP literal without brackets, or DNS name.
    pub host: String,
    /// The main port.
    pub port: u16,
    /// As registered, else `scheme://host:port`.
    pub url: String,
    /// Named ports, `main` always among them.
    pub ports: BTreeMap<String, PortAnswer>,
    /// `local`, `docker` or `kubernetes`.
    pub environment: String,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub health_status: String,
    /// Why, for people; not to be parsed.
    pub health_reason: String,
    /// The server's verdict; what clients go by.
    pub ready: bool,
    /// Of `starting`, `draining`, `suspect`, `flapping`, `panic`.
    pub flags: Vec<String>,
    /// Later of registration and last accepted heartbeat.
    pub last_heartbeat: String,
    /// Of this incarnation.
    pub registered_at: String,
    /// The last change of health or readiness.
    pub since: String,
    /// Lease in seconds; null is static.
    pub ttl: Option<Seconds>,
    /// Any JSON values.
    pub metadata: Map<String, Value>,
    /// For filtering.
    pub tags: Vec<String>,
    /// Where it runs.
    pub zone: Option<String>,
    /// Its share of selections.
    pub weight: u16,
    /// The last change of this endpoint.
    pub revision: u64,
}

/// One named port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAnswer {
    /// The port.
    pub port: u16,
    /// What is spoken there.
    pub scheme: String,
    /// Where.
    pub url: String,
}

/// What one `GET …/endpoints/{id}` adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointDetail {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: ServiceEndpoint,
    /// Every check with what it finds.
    pub checks: Vec<CheckStatus>,
    /// What an operator laid over the registration.
    pub overrides: Map<String, Value>,
    /// What is left of the lease; null when it is static.
    pub lease: Option<LeaseAnswer>,
    /// Whose it is: the owner of the key that registered it; null when nobody owns it.
    pub owner: Option<String>,
}

/// What is left of a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// Seconds.
    pub remaining: Seconds,
}

/// A check with what it finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// The definition, as a registration would write it.
    #[serde(flatten)]
    pub check: Map<String, Value>,
    /// What it finds.
    pub health_status: String,
    /// Since when.
    pub since: String,
    /// When it was last executed; null when never by this server.
    pub last_probe: Option<String>,
    /// What it saw.
    pub evidence: String,
    /// What happens next, for people.
    pub next_action: Option<String>,
}

/// The answer to questions about one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceDiscoveryResponse {
    /// The service.
    pub service_name: String,
    /// The service as it was spelt when it became known; empty from a server that does not say.
    #[serde(default)]
    pub given_name: String,
    /// Its namespace.
    pub namespace: String,
    /// Chosen for this very request; null when nothing is ready.
    pub selected_url: Option<String>,
    /// The id of the same.
    pub selected_id: Option<String>,
    /// How long a client may use this answer, in seconds.
    pub cache_ttl: u64,
    /// The ready ones, or all.
    pub endpoints: Vec<ServiceEndpoint>,
    /// How many are ready.
    pub ready: usize,
    /// How many there are.
    pub total: usize,
    /// `deregistered` or `expired` when there are none.
    pub emptied: Option<String>,
    /// The service revision.
    pub revision: u64,
}

/// The answer of `GET …/url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UrlAnswer {
    /// The service.
    pub service_name: String,
    /// Chosen for this very request.
    pub selected_url: String,
    /// How long a client may use this answer, in seconds.
    pub cache_ttl: u64,
}

/// One line of the list of services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// The service.
    pub name: String,
    /// The service as it was spelt when it became known; empty from a server that does not say.
    #[serde(default)]
    pub given_name: String,
    /// Its namespace.
    pub namespace: String,
    /// How many endpoints are ready.
    pub ready: usize,
    /// How many there are.
    pub total: usize,
    /// The service revision.
    pub revision: u64,
    /// `deregistered` or `expired` when there are none.
    pub emptied: Option<String>,
}

/// The list of services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceList {
    /// In the order of their names.
    pub services: Vec<ServiceSummary>,
    /// The cursor of the next page; null on the last one.
    pub next: Option<String>,
    /// The revision that the list shows.
    pub revision: u64,
}

/// The answer to a registration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistrationAnswer {
    /// The endpoint as it is now.
    pub endpoint: ServiceEndpoint,
    /// How often to send heartbeats, in seconds; null when static.
    pub heartbeat_interval: Option<Seconds>,
    /// Whether anything changed.
    pub changed: bool,
}

/// The answer to many heartbeats at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatsAnswer {
    /// How many were accepted.
    pub accepted: usize,
    /// Those that were not.
    pub refused: Vec<RefusedHeartbeat>,
}

/// One heartbeat that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedHeartbeat {
    /// The service.
    pub service_name: String,
    /// The endpoint.
    pub id: String,
    /// As in a problem document.
    pub code: String,
    /// As in a problem document.
    pub detail: String,
}

/// One change, as watchers get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeAnswer {
    /// Its revision.
    pub revision: u64,
    /// When.
    pub time: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// The service.
    pub service_name: String,
    /// Its namespace.
    pub namespace: String,
    /// The endpoint; null when the service itself was touched.
    pub id: Option<String>,
    /// Its incarnation.
    pub incarnation: Option<u64>,
    /// The endpoint after it; null when it is no longer there.
    pub endpoint: Option<ServiceEndpoint>,
    /// The service revision after it.
    pub service_revision: u64,
    /// Who.
    pub actor: String,
    /// Why.
    pub cause: CauseAnswer,
}

/// Why a change happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseAnswer {
    /// For programs.
    pub code: String,
    /// For people.
    pub detail: String,
}

/// The state of one service at the beginning of a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotAnswer {
    /// The service.
    pub service_name: String,
    /// The service as it was spelt when it became known; empty from a server that does not say.
    #[serde(default)]
    pub given_name: String,
    /// Its namespace.
    pub namespace: String,
    /// The service revision.
    pub revision: u64,
    /// `deregistered` or `expired` when it has no endpoints.
    pub emptied: Option<String>,
    /// All of them, ready or not.
    pub endpoints: Vec<ServiceEndpoint>,
}

/// What Prometheus scrapes together, as its `http_sd` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// `host:port`, one of them.
    pub targets: Vec<String>,
    /// What is known of it.
    pub labels: BTreeMap<String, String>,
}

/// Seconds, written without a fraction when there is none.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl From<std::time::Duration> for Seconds {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the range is checked beside it"
        )]
        #[expect(clippy::cast_sign_loss, reason = "the range is checked beside it")]
        if self.0.fract() == 0.0 && (0.0..9e15).contains(&self.0) {
            serializer.serialize_u64(self.0 as u64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
