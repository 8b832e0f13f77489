//! From the domain to JSON: an endpoint is encoded once for each change of it, and then only copied.
//!
//! `last_heartbeat` moves without a change. It is 24 bytes long whatever it says, so it is written
//! over the one that was encoded, and an encoded endpoint stays good until its next change.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::{
    CauseAnswer, ChangeAnswer, CheckStatus, EndpointDetail, LeaseAnswer, PortAnswer, Seconds,
    ServiceEndpoint,
};
use super::check::check_json;
use super::writer::{ObjectWriter, write_object};
use crate::address::url_of;
use crate::change::Committed;
use crate::check::Check;
use crate::endpoint::{CheckFinding, Endpoint, EndpointState, Overrides};
use crate::explain::{ProbeTimes, next_action, why_not_ready};
use crate::port::{MAIN_PORT, Port};
use crate::time::{Moment, TIMESTAMP_LENGTH, Timestamp};

/// An endpoint as JSON, with the place where its `last_heartbeat` stands.
#[derive(Debug)]
pub(crate) struct EncodedEndpoint {
    json: Box<[u8]>,
    heartbeat_at: usize,
    /// What stands there.
    heard: Timestamp,
}

impl EncodedEndpoint {
    fn write(&self, out: &mut Vec<u8>, heard: Timestamp) {
        let start = out.len() + self.heartbeat_at;
        out.extend_from_slice(&self.json);
        if heard != self.heard {
            out[start..start + TIMESTAMP_LENGTH].copy_from_slice(&heard.to_text());
        }
    }
}

impl Endpoint {
    /// Appends its JSON form as it is now. It is encoded by the first who asks, and then only
    /// copied, as long as the budget of its catalog has room for it. Gives back whether it was only
    /// copied.
    pub fn write_json(&self, out: &mut Vec<u8>) -> bool {
        let heard = self.pulse.last_heartbeat();
        if let Some((encoded, _)) = self.encoded.get() {
            encoded.write(out, heard);
            return true;
        }
        let start = out.len();
        let heartbeat_at = encode(out, self, heard);
        let json = &out[start..];
        if let Some(share) = self.budget.take(json.len()) {
            let encoded = EncodedEndpoint {
                json: json.into(),
                heartbeat_at,
                heard,
            };
            // Another reader may have been faster; then this one was only for itself.
            self.encoded.set((encoded, share)).ok();
        }
        false
    }

    /// Bytes of its JSON form, roughly while it has not been made.
    #[must_use]
    pub fn json_size_hint(&self) -> usize {
        const TYPICAL: usize = 640;
        self.encoded
            .get()
            .map_or(TYPICAL, |(encoded, _)| encoded.json.len())
    }

    /// The flags of the API.
    #[must_use]
    pub fn flags(&self) -> Vec<&'static str> {
        let state = &self.state;
        let starting = (!state.started).then_some("starting");
        let draining = state.drain.is_some().then_some("draining");
        let flapping = state.flapping.then_some("flapping");
        let flags = [starting, draining, flapping];
        flags.into_iter().flatten().collect()
    }

    /// Why its health is what it is, for people.
    #[must_use]
    pub fn health_reason(&self) -> String {
        match self.state.deciding() {
            None => "not checked".into(),
            Some((check, finding)) if finding.health.may_serve() => {
                format!("{}: {}", check.name, finding.evidence)
            }
            Some((check, finding)) => match why_not_ready(self) {
                Some(reason) if self.state.drain.is_none() => reason.to_string(),
                _ => format!("{}: {}", check.name, finding.evidence),
            },
        }
    }
}

/// The change as the one line of JSON that watchers get.
#[must_use]
pub fn change_json(committed: &Committed) -> Vec<u8> {
    let change = &committed.change;
    let mut json = to_json(&ChangeAnswer {
        revision: committed.revision.0,
        time: change.time.to_string(),
        kind: change.kind.word().into(),
        service_name: change.service.name.to_string(),
        namespace: change.service.namespace.to_string(),
        id: change.id.as_ref().map(ToString::to_string),
        incarnation: committed.incarnation().map(|incarnation| incarnation.0),
        endpoint: None,
        service_revision: committed.revision.0,
        actor: change.actor.to_string(),
        cause: CauseAnswer {
            code: change.cause.code.to_string(),
            detail: change.cause.detail.clone(),
        },
    });
    if let Some(endpoint) = &committed.endpoint {
        // The endpoint's own bytes take the place of the null. Nothing that a caller chose stands
        // before it unescaped, so the first match is the member itself.
        const NULL: &[u8] = b"\"endpoint\":null";
        if let Some(at) = json.windows(NULL.len()).position(|window| window == NULL) {
            let mut bytes = Vec::with_capacity(endpoint.json_size_hint());
            endpoint.write_json(&mut bytes);
            json.splice(at + NULL.len() - 4..at + NULL.len(), bytes);
        }
    }
    json
}

/// The endpoint with all that `GET …/endpoints/{id}` adds, at `now`; `probed` says when the check of
/// a name was and will be probed.
#[must_use]
pub fn endpoint_detail(
    endpoint: &Endpoint,
    probed: impl Fn(&str) -> ProbeTimes,
    now: Moment,
) -> EndpointDetail {
    let deadline = endpoint.pulse.lease.deadline();
    let remaining = deadline.map(|at| at.since(now).into());
    EndpointDetail {
        endpoint: answer_of(endpoint, endpoint.pulse.last_heartbeat()),
        checks: checks_of(endpoint, probed, now),
        overrides: overrides_json(&endpoint.state),
        lease: remaining.map(|remaining| LeaseAnswer { remaining }),
        owner: endpoint.state.owner.as_deref().map(Into::into),
    }
}

/// JSON bytes of a type of this module's.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    const TYPICAL: usize = 1_024;
    let mut json = Vec::with_capacity(TYPICAL);
    let written = serde_json::to_writer(&mut json, value);
    written.expect("string keys and finite numbers always serialize");
    json
}

/// Writes the endpoint as [`ServiceEndpoint`] is encoded, member by member and without a copy of it;
/// gives back where in that its last heartbeat stands.
fn encode(out: &mut Vec<u8>, endpoint: &Endpoint, heard: Timestamp) -> usize {
    let start = out.len();
    let (state, registration) = (&endpoint.state, endpoint.registration());
    let mut form = ObjectWriter::begin(out);
    form.text("name", endpoint.service.name.as_str());
    form.text("namespace", endpoint.service.namespace.as_str());
    form.text("id", endpoint.id.as_str());
    form.value("incarnation", &endpoint.incarnation.0);
    form.text("host", registration.address.host.as_str());
    form.value("port", &registration.address.port);
    form.text("url", &registration.address.url);
    write_ports(form.member("ports"), endpoint);
    form.text("environment", registration.platform.word());
    form.text("health_status", state.health().word());
    form.text("health_reason", &bounded(endpoint.health_reason()));
    form.value("ready", &endpoint.is_ready());
    form.value("flags", &endpoint.flags());
    let heartbeat_at = form.time("last_heartbeat", heard);
    form.time("registered_at", state.registered_at);
    form.time("since", state.since);
    form.value("ttl", &registration.ttl.map(Seconds::from));
    write_object(form.member("metadata"), &*endpoint.metadata());
    form.value("tags", &endpoint.tags());
    match endpoint.zone() {
        Some(zone) => form.text("zone", zone),
        None => form.value("zone", &()),
    }
    form.value("weight", &endpoint.weight());
    form.value("revision", &endpoint.revision.0);
    form.end();
    heartbeat_at - start
}

fn write_ports(out: &mut Vec<u8>, endpoint: &Endpoint) {
    let address = &endpoint.registration().address;
    let mut all = ObjectWriter::begin(out);
    for (name, port) in endpoint.registration().ports.iter() {
        let mut one = ObjectWriter::begin(all.member(name));
        one.value("port", &port.port);
        one.text("scheme", port.scheme.as_str());
        if name == MAIN_PORT {
            one.text("url", &address.url);
        } else {
            one.text("url", &url_of(&port.scheme, &address.host, port.port));
        }
        one.end();
    }
    all.end();
}

fn answer_of(endpoint: &Endpoint, heard: Timestamp) -> ServiceEndpoint {
    let (state, registration) = (&endpoint.state, endpoint.registration());
    let port_of = |(name, port): (&str, &Port)| {
        let url = endpoint.url_of_port(name).unwrap_or_default();
        let scheme = port.scheme.as_str().into();
        (
            name.to_string(),
            PortAnswer {
                port: port.port,
                scheme,
                url,
            },
        )
    };
    ServiceEndpoint {
        name: endpoint.service.name.to_string(),
        namespace: endpoint.service.namespace.to_string(),
        id: endpoint.id.to_string(),
        incarnation: endpoint.incarnation.0,
        host: registration.address.host.as_str().into(),
        port: registration.address.port,
        url: registration.address.url.to_string(),
        ports: registration.ports.iter().map(port_of).collect(),
        environment: registration.platform.word().into(),
        health_status: state.health().word().into(),
        health_reason: bounded(endpoint.health_reason()),
        ready: endpoint.is_ready(),
        flags: endpoint.flags().into_iter().map(Into::into).collect(),
        last_heartbeat: heard.to_string(),
        registered_at: state.registered_at.to_string(),
        since: state.since.to_string(),
        ttl: registration.ttl.map(Into::into),
        metadata: endpoint.metadata().to_object(),
        tags: endpoint.tags().to_vec(),
        zone: endpoint.zone().map(Into::into),
        weight: endpoint.weight(),
        revision: endpoint.revision.0,
    }
}

/// At most the 256 bytes that a reason may have, cut between characters.
fn bounded(mut text: String) -> String {
    let end = (0..=crate::check::EVIDENCE_LENGTH_MAX)
        .rev()
        .find(|at| text.is_char_boundary(*at));
    if text.len() > crate::check::EVIDENCE_LENGTH_MAX {
        text.truncate(end.unwrap_or(0));
    }
    text
}

fn checks_of(
    endpoint: &Endpoint,
    probed: impl Fn(&str) -> ProbeTimes,
    now: Moment,
) -> Vec<CheckStatus> {
    let status = |(check, finding): (&Check, &CheckFinding)| {
        let times = probed(&check.name);
        CheckStatus {
            check: check_json(check),
            health_status: finding.health.word().into(),
            since: finding.since.to_string(),
            last_probe: times.last.map(|time| time.to_string()),
            evidence: finding.evidence.to_string(),
            next_action: next_action(endpoint, check, finding.health, times, now),
        }
    };
    endpoint.state.checks().map(status).collect()
}

fn overrides_json(state: &EndpointState) -> Map<String, Value> {
    let Overrides {
        metadata,
        tags,
        weight,
        zone,
    } = &*state.overrides;
    let members = [
        ("metadata", (!metadata.is_empty()).then(|| json!(metadata))),
        ("tags", tags.as_ref().map(|tags| json!(tags))),
        ("weight", weight.map(|weight| json!(weight))),
        ("zone", zone.as_ref().map(|zone| json!(zone))),
        ("drain", state.drain.as_ref().map(|drain| {
            json!({"reason": drain.reason, "sticky": drain.sticky, "since": drain.since.to_string()})
        })),
    ];
    members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// How deeply a JSON text is nested, at most; strings are skipped. Looked at before parsing, so that
/// depth costs nothing.
#[must_use]
pub fn depth_of(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
