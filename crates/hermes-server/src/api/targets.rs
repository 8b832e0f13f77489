//! Service discovery for Prometheus: what to scrape, as its `http_sd` reads it.
//!
//! Every endpoint that has the port is a target, ready or not: what is ill is what one wants to
//! measure. Whoever does not want to drops it by a label (`__meta_hermes_ready`). Labels follow the
//! habits of Prometheus: `__meta_` is gone after relabelling, lists begin and end with their comma.

use std::collections::BTreeMap;
use std::sync::Arc;

use hermes_core::catalog::{NamespaceView, ServiceView};
use hermes_core::endpoint::Endpoint;
use hermes_core::name::Name;
use hermes_core::port::MAIN_PORT;
use hermes_core::wire::answer::TargetGroup;
use hermes_core::wire::fields::too_many;
use serde_json::Value;

use super::error::Failure;
use super::read::revision_of;
use super::reply::Reply;
use super::{Call, parse_name};
use crate::auth::Caller;

/// What every label of ours begins with.
const PREFIX: &str = "__meta_hermes_";

/// Which endpoints are wanted.
struct Wanted {
    /// Of these services; of all when there are none.
    services: Vec<Name>,
    /// With all of these tags.
    tags: Vec<String>,
    /// With this port.
    port: Name,
}

impl Call<'_> {
    /// `GET /api/v1/sd/prometheus`
    pub(super) fn targets(&mut self) -> Result<Reply, Failure> {
        let namespace = self.namespace()?;
        let wanted = self.wanted()?;
        self.end_of_query(&["namespace", "service", "tag", "port"])?;
        let catalog = self.api.engine.catalog();
        let etag = self.api.head.etag(revision_of(&catalog, Some(&namespace)));
        if self.is_current(&etag) {
            return Ok(Reply::not_modified(catalog.revision(), etag));
        }
        let view = catalog.namespace(namespace.as_str());
        let groups: Vec<TargetGroup> = view
            .into_iter()
            .flat_map(|view| wanted.groups(view, &self.caller))
            .collect();
        Ok(Reply {
            etag: Some(etag),
            ..Reply::of(catalog.revision(), &groups)
        })
    }

    fn wanted(&mut self) -> Result<Wanted, Failure> {
        let services = self.query.all("service");
        let max = self.api.limits().watch_services;
        if services.len() > max {
            return Err(too_many("service", services.len(), max).into());
        }
        let parsed = services.iter().map(|name| parse_name("service", name));
        let port = self.query.one("port")?;
        Ok(Wanted {
            services: parsed.collect::<Result<_, _>>()?,
            tags: self
                .query
                .all("tag")
                .into_iter()
                .map(std::borrow::Cow::into_owned)
                .collect(),
            port: parse_name("port", port.as_deref().unwrap_or(MAIN_PORT))?,
        })
    }
}

impl Wanted {
    /// The targets in a namespace, of the services that the caller may read.
    fn groups<'a>(
        &'a self,
        view: &'a NamespaceView,
        caller: &'a Caller,
    ) -> impl Iterator<Item = TargetGroup> + 'a {
        let is_wanted = |name: &&Name| {
            (self.services.is_empty() || self.services.contains(name))
                && caller.reads(view.name.as_str(), name.as_str())
        };
        let names = view.names().iter().filter(is_wanted);
        names
            .filter_map(|name| view.service(name.as_str()))
            .flat_map(|service| self.groups_of(service))
    }

    /// One group for each endpoint, because each has labels of its own.
    fn groups_of<'a>(&'a self, service: &'a ServiceView) -> impl Iterator<Item = TargetGroup> + 'a {
        let has_tags = |endpoint: &&Arc<Endpoint>| {
            let tags = endpoint.tags();
            self.tags.iter().all(|tag| tags.contains(tag))
        };
        let endpoints = service.endpoints.iter().filter(has_tags);
        endpoints.filter_map(|endpoint| group(endpoint, &self.port))
    }
}

/// The endpoint as a target; `None` when it has no such port.
fn group(endpoint: &Endpoint, name: &Name) -> Option<TargetGroup> {
    let registration = endpoint.registration();
    let port = registration.ports.get(name.as_str())?;
    let mut labels = BTreeMap::new();
    for (key, value) in endpoint.metadata().iter() {
        if let Some(text) = label_value(value) {
            let label = format!("{PREFIX}metadata_{}", label_name(key));
            // Two keys may come to the same label; the first in order has it.
            labels.entry(label).or_insert(text);
        }
    }
    let tags = endpoint.tags().join(",");
    let of_endpoint = [
        ("service", endpoint.service.name.to_string()),
        ("namespace", endpoint.service.namespace.to_string()),
        ("id", endpoint.id.to_string()),
        ("health", endpoint.state.health().word().into()),
        ("ready", endpoint.is_ready().to_string()),
        ("zone", endpoint.zone().unwrap_or_default().into()),
        ("environment", registration.platform.word().into()),
        ("port_name", name.to_string()),
        (
            "tags",
            if tags.is_empty() {
                tags
            } else {
                format!(",{tags},")
            },
        ),
    ];
    let named = of_endpoint.map(|(name, value)| (format!("{PREFIX}{name}"), value));
    labels.extend(named);
    if port.scheme.is_http() {
        labels.insert("__scheme__".into(), port.scheme.as_str().into());
    }
    Some(TargetGroup {
        targets: vec![registration.address.host.with_port(port.port)],
        labels,
    })
}

/// A key of metadata as a part of a label: what Prometheus does not take becomes `_`.
fn label_name(key: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    key.chars().map(allowed).collect()
}

/// A value of metadata as text; lists and objects are none.
fn label_value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
