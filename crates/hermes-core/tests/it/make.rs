//! Short builders: names, times and registrations, as the tests write them.

use std::sync::Arc;

use hermes_core::check::Check;
use hermes_core::command::{Command, Report};
use hermes_core::endpoint::{Endpoint, Registration};
use hermes_core::health::Health;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::time::{Moment, Now, Timestamp};
use hermes_core::wire::request::read_registration;
use serde_json::{Map, Value};

/// The wall clock at moment 0: 2026-11-21T18:05:03.000Z.
const BEGINNING: u64 = 1_795_284_303_000;

/// A service; `namespace/name` when it is not in the default namespace.
pub(crate) fn service(text: &str) -> ServiceKey {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    let parse = |text| Name::parse(text).expect("tests write names that are right");
    ServiceKey::new(parse(namespace), parse(name))
}

/// An endpoint's id.
pub(crate) fn id(text: &str) -> EndpointId {
    EndpointId::parse(text).expect("tests write ids that are right")
}

/// So many milliseconds after the beginning, by both clocks.
pub(crate) fn at(millis: u64) -> Now {
    Now {
        moment: Moment(millis),
        time: Timestamp(BEGINNING + millis),
    }
}

/// A registration, read as a server would read it.
pub(crate) fn registration(body: &Value) -> Registration {
    read_registration(body.to_string().as_bytes()).expect("tests write bodies that are right")
}

/// The members of a JSON object.
pub(crate) fn members(value: &Value) -> Map<String, Value> {
    value.as_object().expect("it is an object").clone()
}

/// `id` says what it is.
pub(crate) fn register(service: &ServiceKey, id: &EndpointId, body: &Value) -> Command {
    Command::Register {
        service: service.clone(),
        id: id.clone(),
        registration: Arc::new(registration(body)),
        new: false,
    }
}

/// What the check number `check` of `endpoint` found.
pub(crate) fn report(endpoint: &Endpoint, check: usize, health: Health, evidence: &str) -> Command {
    Command::Report(Report {
        service: endpoint.service.clone(),
        id: endpoint.id.clone(),
        incarnation: endpoint.incarnation,
        check: Arc::new(Check::clone(&endpoint.registration().checks[check])),
        health,
        evidence: evidence.into(),
    })
}
