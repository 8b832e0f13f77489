//! What the stories are made of: discoveries, responders, and deadlines.

use std::sync::Arc;

use hermes_discovery::clock::Clock;
use hermes_discovery::conformance::Responders;
use hermes_discovery::settings::Variables;
use hermes_discovery::{Config, Environment, InMemory};

/// When every story begins, by the wall clock.
const NOON: hermes_core::time::Timestamp = hermes_core::time::Timestamp(1_795_262_400_000);

/// The settings of a story on the test clock: the responders probe, and wall time moves with it.
pub(crate) fn config(responders: &Arc<Responders>) -> Config {
    Config {
        probe: Some(Arc::clone(responders) as _),
        clock: Some(Clock::starting_at(NOON)),
        ..Config::default()
    }
}

pub(crate) fn in_memory(responders: &Arc<Responders>) -> InMemory {
    InMemory::with(config(responders))
}

/// A discovery whose variables are these.
pub(crate) fn environment(responders: &Arc<Responders>, variables: &[(&str, &str)]) -> Environment {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let variables: Variables = variables.iter().map(own).collect();
    let discovery = Environment::with("SERVICE_", config(responders));
    discovery.reading(Arc::new(move || variables.clone()))
}
