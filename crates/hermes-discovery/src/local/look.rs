//! One look at a view: which endpoint answers, and why none does.

use std::sync::Arc;

use hermes_core::catalog::{Catalog, ServiceView};
use hermes_core::endpoint::Endpoint;
use hermes_core::explain::why_not_ready;
use hermes_core::health::Health;
use hermes_core::name::{DEFAULT_NAMESPACE, NAME_LENGTH_MAX, Name};
use hermes_core::nearest::nearest;

use crate::answer::ResolveError;

/// A service by what its caller calls it. Does not allocate: folding takes place on the stack.
pub(super) fn find<'a>(catalog: &'a Catalog, service: &str) -> Option<&'a Arc<ServiceView>> {
    let of_namespace = catalog.namespace(DEFAULT_NAMESPACE)?;
    if let Some(view) = of_namespace.service(service) {
        return Some(view);
    }
    let mut folded = [0; NAME_LENGTH_MAX];
    let folded = folded.get_mut(..service.len())?;
    for (to, from) in folded.iter_mut().zip(service.bytes()) {
        *to = if from == b'_' {
            b'-'
        } else {
            from.to_ascii_lowercase()
        };
    }
    of_namespace.service(std::str::from_utf8(folded).ok()?)
}

/// The endpoint that answers: the next that is ready, else the one that is the least bad.
pub(super) fn best(view: &ServiceView) -> Option<&Arc<Endpoint>> {
    let worst_last = || {
        view.endpoints
            .iter()
            .min_by_key(|endpoint| badness(endpoint))
    };
    view.next_ready().or_else(worst_last)
}

/// How bad it is to hand out an endpoint that is not ready: not knowing is better than draining, and
/// draining better than not working.
fn badness(endpoint: &Endpoint) -> u8 {
    let is_unhealthy = endpoint.state.health() == Health::Unhealthy;
    let is_draining = endpoint.state.drain.is_some();
    2 * u8::from(is_unhealthy) + u8::from(is_draining)
}

/// That the service is not known, with names that look like it.
pub(super) fn unknown(catalog: &Catalog, service: &str) -> ResolveError {
    let service = match Name::parse(service) {
        Ok(name) => name,
        Err(reason) => {
            let text = crate::admission::shown(service);
            return ResolveError::Name { text, reason };
        }
    };
    let namespace = catalog.namespace(DEFAULT_NAMESPACE);
    let names = namespace.map(|namespace| namespace.names());
    let names = names.unwrap_or_default().iter().map(Name::as_str);
    let similar = nearest(service.as_str(), names);
    ResolveError::Unknown {
        service: service.to_string(),
        similar: similar.into_iter().map(str::to_owned).collect(),
    }
}

/// That no endpoint of the service is ready, and why.
pub(super) fn nothing_ready(view: &ServiceView) -> ResolveError {
    let first = view.endpoints.first();
    let why = first.and_then(|endpoint| why_not_ready(endpoint));
    ResolveError::NothingReady {
        service: view.key.name.to_string(),
        endpoints: view.endpoints.len(),
        why: match (first, why) {
            (None, _) => "nobody is registered".to_owned(),
            (Some(_), None) => "none meets the criteria".to_owned(),
            (Some(endpoint), Some(why)) => format!("`{}` is {why}", endpoint.id),
        },
    }
}
