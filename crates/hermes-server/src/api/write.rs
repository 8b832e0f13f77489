//! The writing routes: each makes one command, and shows what came of it.

use std::sync::Arc;

use bytes::Bytes;
use hermes_core::address::{Address, url_of};
use hermes_core::catalog::Catalog;
use hermes_core::change::{ClusterId, Revision};
use hermes_core::command::{Command, Condition, DrainWish, Request};
use hermes_core::endpoint::{Endpoint, Registration};
use hermes_core::limits::{BodyRules, Limits};
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::wire::answer::{HeartbeatsAnswer, RefusedHeartbeat, Seconds};
use hermes_core::wire::fields::invalid;
use hermes_core::wire::problem::{Problem, code};
use hermes_core::wire::request::{
    Heartbeat, HeartbeatOf, invalid_name, read_drain, read_heartbeat, read_heartbeats,
    read_patch_under, read_registration_under, registration_of_url_under,
};
use hermes_discovery::engine::Outcome;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};
use serde_json::json;

use super::error::Failure;
use super::read::parse_id;
use super::reply::Reply;
use super::{Call, body, parse_name};

/// Heartbeats in a lease: a client that misses two still keeps it.
const HEARTBEATS_PER_LEASE: f64 = 3.0;
/// Bytes around the endpoint in the answer to a registration, roughly.
const ROUND_ENDPOINT: usize = 64;

impl Call<'_> {
    /// `PUT …/endpoints/{id}`
    pub(super) async fn put(
        &mut self,
        name: &str,
        id: &str,
        body: Incoming,
    ) -> Result<Reply, Failure> {
        let (service, id) = (self.service_key(name)?, parse_id(id)?);
        let new = self.query.switch("new")?;
        self.end_of_query(&["namespace", "new"])?;
        let registration = self.registration(body).await?;
        self.register(service, id, registration, new).await
    }

    /// `POST …/endpoints`
    pub(super) async fn post(&mut self, name: &str, body: Incoming) -> Result<Reply, Failure> {
        let service = self.service_key(name)?;
        let new = self.query.switch("new")?;
        self.end_of_query(&["namespace", "new"])?;
        let registration = self.registration(body).await?;
        let address = &registration.address;
        let id = EndpointId::of_address(address.host.as_str(), address.port).map_err(|error| {
            let what = format!("no id can be made of it ({error}); use PUT with an id of your own");
            invalid("/host", &what)
        })?;
        self.register(service, id, registration, new).await
    }

    /// `POST /services/{name}?endpoint=URL` of the second seed document (R153).
    pub(super) async fn plain_register(&mut self, name: &str) -> Result<Reply, Failure> {
        let service = ServiceKey::new(Name::default_namespace(), parse_name("name", name)?);
        let endpoint = self
            .query
            .one("endpoint")?
            .map(std::borrow::Cow::into_owned);
        self.end_of_query(&["endpoint"])?;
        let endpoint = endpoint.ok_or_else(|| {
            invalid(
                "endpoint",
                "it is missing; add ?endpoint=http://host:port to the path",
            )
        })?;
        let registration = registration_of_url_under(&endpoint, self.rules())?;
        self.check_admission(&registration)?;
        let registration = Arc::new(registration);
        let id = parse_id("default")?;
        let outcome = self
            .submit(Command::Register {
                service,
                id,
                registration,
                new: false,
            })
            .await?;
        Ok(Reply::of(
            outcome.catalog.revision(),
            &json!({"status": "registered"}),
        ))
    }

    async fn registration(&self, body: Incoming) -> Result<Registration, Failure> {
        let body = self.body(body, body::JSON).await?;
        Ok(read_registration_under(&body, self.rules())?)
    }

    /// Whether an address may be registered here, by each of its ports.
    fn check_admission(&self, registration: &Registration) -> Result<(), Failure> {
        let admission = &self.api.admission;
        if !admission.https_only {
            return Ok(());
        }
        let Address { host, url, .. } = &registration.address;
        let ports = registration.ports.values();
        let others = ports.filter(|port| port.scheme.as_str() == "http");
        let urls = others.map(|port| url_of(&port.scheme, host, port.port));
        for url in std::iter::once(url.to_string()).chain(urls) {
            let is_web = url.starts_with("http://") || url.starts_with("https://");
            let admitted = if is_web {
                admission.admit(&url).map(drop)
            } else {
                Ok(())
            };
            admitted.map_err(|refused| {
                Problem::new(code::INVALID_FIELD, format!("{refused}.")).at("/url")
            })?;
        }
        Ok(())
    }

    async fn register(
        &self,
        service: ServiceKey,
        id: EndpointId,
        registration: Registration,
        new: bool,
    ) -> Result<Reply, Failure> {
        self.check_admission(&registration)?;
        let ttl = registration.ttl;
        let registration = Arc::new(registration);
        let command = Command::Register {
            service: service.clone(),
            id: id.clone(),
            registration,
            new,
        };
        let outcome = self.submit(command).await?;
        let interval = ttl.map(|ttl| Seconds(ttl.as_secs_f64() / HEARTBEATS_PER_LEASE));
        let endpoint = endpoint_of(&outcome, &service, &id)?;
        let mut json = Vec::with_capacity(ROUND_ENDPOINT + endpoint.json_size_hint());
        json.extend_from_slice(b"{\"endpoint\":");
        endpoint.write_json(&mut json);
        json.extend_from_slice(b",\"heartbeat_interval\":");
        // A finite number or null; writing into memory does not fail.
        serde_json::to_writer(&mut json, &interval).ok();
        json.extend_from_slice(b",\"changed\":");
        json.extend_from_slice(if outcome.changed { b"true}" } else { b"false}" });
        let status = if outcome.registered {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok(Reply {
            status,
            ..Reply::json(outcome.catalog.revision(), json)
        })
    }

    /// `PATCH …/endpoints/{id}`
    pub(super) async fn patch(
        &mut self,
        name: &str,
        id: &str,
        body: Incoming,
    ) -> Result<Reply, Failure> {
        let (service, id) = (self.service_key(name)?, parse_id(id)?);
        self.end_of_query(&["namespace"])?;
        let body = self.body(body, body::MERGE_PATCH).await?;
        let patch = read_patch_under(&body, self.rules())?;
        let command = Command::Override {
            service: service.clone(),
            id: id.clone(),
            patch,
        };
        let outcome = self.submit(command).await?;
        endpoint_reply(&outcome, &service, &id)
    }

    /// `PUT …/endpoints/{id}/drain`
    pub(super) async fn drain(
        &mut self,
        name: &str,
        id: &str,
        body: Incoming,
    ) -> Result<Reply, Failure> {
        let body = self.body(body, body::JSON).await?;
        self.set_drain(name, id, Some(read_drain(&body)?)).await
    }

    /// `DELETE …/endpoints/{id}/drain`
    pub(super) async fn undrain(&mut self, name: &str, id: &str) -> Result<Reply, Failure> {
        self.set_drain(name, id, None).await
    }

    async fn set_drain(
        &mut self,
        name: &str,
        id: &str,
        wish: Option<DrainWish>,
    ) -> Result<Reply, Failure> {
        let (service, id) = (self.service_key(name)?, parse_id(id)?);
        self.end_of_query(&["namespace"])?;
        let command = Command::Drain {
            service: service.clone(),
            id: id.clone(),
            wish,
        };
        let outcome = self.submit(command).await?;
        endpoint_reply(&outcome, &service, &id)
    }

    /// `DELETE …/endpoints/{id}`
    pub(super) async fn deregister(&mut self, name: &str, id: &str) -> Result<Reply, Failure> {
        let (service, id) = (self.service_key(name)?, parse_id(id)?);
        let incarnation = self
            .query
            .integer("incarnation", 1, u64::MAX)?
            .map(Revision);
        self.end_of_query(&["namespace", "incarnation"])?;
        let outcome = self
            .submit(Command::Deregister {
                service,
                id,
                incarnation,
            })
            .await?;
        Ok(Reply::no_content(outcome.catalog.revision()))
    }

    /// `DELETE /api/v1/services/{name}`
    pub(super) async fn forget(&mut self, name: &str) -> Result<Reply, Failure> {
        let service = self.service_key(name)?;
        self.end_of_query(&["namespace"])?;
        let outcome = self.submit(Command::Forget { service }).await?;
        Ok(Reply::no_content(outcome.catalog.revision()))
    }

    /// `PUT …/endpoints/{id}/heartbeat`
    pub(super) async fn heartbeat(
        &mut self,
        name: &str,
        id: &str,
        body: Incoming,
    ) -> Result<Reply, Failure> {
        let (service, id) = (self.service_key(name)?, parse_id(id)?);
        self.end_of_query(&["namespace"])?;
        let heartbeat = read_heartbeat(&self.body(body, body::JSON).await?)?;
        let engine = &self.api.engine;
        let claim = self.caller.claim();
        let beaten = engine.heartbeat(&service, &id, &heartbeat, &claim).await;
        let accepted = usize::from(beaten.is_ok());
        self.api.counters.heartbeats(accepted, 1 - accepted);
        let catalog = engine.catalog();
        beaten.map_err(|refusal| Failure::of_refusal(refusal, &catalog))?;
        Ok(Reply::no_content(catalog.revision()))
    }

    /// `POST /api/v1/heartbeats`
    pub(super) async fn heartbeats(&mut self, body: Incoming) -> Result<Reply, Failure> {
        let namespace = self.namespace()?;
        self.end_of_query(&["namespace"])?;
        let limits = self.api.limits();
        let bounds = (limits.heartbeats_bytes, limits.body_within);
        let body = body::read(self.headers, body, body::JSON, bounds).await?;
        let all = read_heartbeats(&body, self.rules())?;
        let count = all.len();
        let mut refused = Vec::new();
        // Near names are not shown here, and to look for ten thousand times as many takes minutes.
        let nothing_near = Catalog::new(Limits::default(), 0);
        for of in all {
            let beaten = self.heartbeat_of(&namespace, &of, &nothing_near).await;
            if let Err(failure) = beaten {
                let (code, detail) = (failure.problem.code.clone(), failure.problem.detail.clone());
                refused.push(RefusedHeartbeat {
                    service_name: of.service,
                    id: of.id,
                    code,
                    detail,
                });
            }
        }
        let accepted = count - refused.len();
        self.api.counters.heartbeats(accepted, refused.len());
        let answer = HeartbeatsAnswer { accepted, refused };
        Ok(Reply::of(self.api.engine.catalog().revision(), &answer))
    }

    async fn heartbeat_of(
        &self,
        namespace: &Name,
        of: &HeartbeatOf,
        nothing_near: &Catalog,
    ) -> Result<(), Failure> {
        let service = ServiceKey::new(namespace.clone(), parse_name("service", &of.service)?);
        let id = EndpointId::parse(&of.id).map_err(|error| invalid_name("id", &of.id, &error))?;
        let heartbeat = Heartbeat {
            incarnation: of.incarnation,
            ..Heartbeat::default()
        };
        let engine = &self.api.engine;
        self.judge_name(namespace.as_str(), service.name.as_str(), false)?;
        let claim = self.caller.claim();
        let beaten = engine.heartbeat(&service, &id, &heartbeat, &claim).await;
        beaten.map_err(|refusal| Failure::of_refusal(refusal, nothing_near))
    }

    /// Asks the engine for a change, under the caller's condition.
    pub(super) async fn submit(&self, command: Command) -> Result<Outcome, Failure> {
        let condition = self.condition()?;
        let actor = Arc::clone(self.caller.actor().unwrap_or(&self.peer.actor));
        let submitted = self
            .api
            .engine
            .submit(Request {
                command,
                actor,
                condition,
                claim: self.caller.claim(),
            })
            .await;
        submitted.map_err(|refusal| Failure::of_refusal(refusal, &self.api.engine.catalog()))
    }

    /// `If-Match` and `If-None-Match` of a writing request.
    fn condition(&self) -> Result<Condition, Failure> {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().trim().to_owned();
        let if_match = self.headers.get(IF_MATCH).map(text);
        let must_be_absent = match self.headers.get(IF_NONE_MATCH).map(text).as_deref() {
            None => false,
            Some("*") => true,
            Some(_) => {
                let detail = "On a writing request, If-None-Match is understood as `*` only: the \
                              endpoint must not be there. For a revision of the service there is \
                              If-Match with its ETag.";
                let problem = Problem::new(code::INVALID_FIELD, detail);
                return Err(problem.at("If-None-Match").into());
            }
        };
        Ok(match (if_match.as_deref(), must_be_absent) {
            (None, false) => Condition::Always,
            (None, true) => Condition::Absent,
            (Some("*"), false) => Condition::Present,
            (Some(tag), false) => Condition::ServiceAt(self.revision_of_own(tag)),
            // `*` as well: there is no endpoint that is there and is not.
            (Some(tag), true) => Condition::AbsentAt(self.revision_of_own(tag)),
        })
    }

    /// The revision that a tag names. A tag of another cluster, or one that was never given out, names
    /// one that no service ever has.
    fn revision_of_own(&self, tag: &str) -> Revision {
        match revision_of_tag(tag) {
            Some((cluster, revision)) if cluster == self.api.engine.cluster() => revision,
            _ => Revision(u64::MAX),
        }
    }

    /// What a body may hold.
    pub(super) fn rules(&self) -> BodyRules {
        self.api.engine.catalog().limits().body
    }

    pub(super) async fn body(&self, body: Incoming, media_type: &str) -> Result<Bytes, Failure> {
        let limits = self.api.limits();
        let bounds = (limits.body_bytes, limits.body_within);
        body::read(self.headers, body, media_type, bounds).await
    }

    pub(super) fn service_key(&mut self, name: &str) -> Result<ServiceKey, Failure> {
        Ok(ServiceKey::new(
            self.namespace()?.into_owned(),
            parse_name("name", name)?,
        ))
    }
}

/// Takes apart what `Head::etag` made.
fn revision_of_tag(tag: &str) -> Option<(ClusterId, Revision)> {
    let inner = tag.strip_prefix("W/\"")?.strip_suffix('"')?;
    let (cluster, revision) = inner.split_once('-')?;
    Some((ClusterId::parse(cluster)?, Revision(revision.parse().ok()?)))
}

/// The endpoint as the change left it.
fn endpoint_of<'a>(
    outcome: &'a Outcome,
    service: &ServiceKey,
    id: &EndpointId,
) -> Result<&'a Arc<Endpoint>, Failure> {
    hermes_core::plan::find_endpoint(&outcome.catalog, service, id)
        .map_err(|rejection| Failure::of_rejection(rejection, &outcome.catalog))
}

fn endpoint_reply(
    outcome: &Outcome,
    service: &ServiceKey,
    id: &EndpointId,
) -> Result<Reply, Failure> {
    let mut json = Vec::new();
    endpoint_of(outcome, service, id)?.write_json(&mut json);
    Ok(Reply::json(outcome.catalog.revision(), json))
}
