//! What the stories are made of: discoveries, responders, and deadlines.

use std::sync::Arc;
use std::time::Duration;

use hermes_core::health::Health;
use hermes_discovery::clock::Clock;
use hermes_discovery::conformance::Responders;
use hermes_discovery::engine::Event;
use hermes_discovery::settings::Variables;
use hermes_discovery::{Config, Environment, InMemory, ServiceDiscovery};

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

/// Responders of which these are well.
pub(crate) fn responders(healthy: &[&str]) -> Arc<Responders> {
    let responders: Arc<Responders> = Arc::default();
    healthy
        .iter()
        .for_each(|url| responders.tell(url, Health::Healthy));
    responders
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

/// What `future` gives, before far more time has passed than it ever takes.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(120);
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Waits until an endpoint of the service is found to be so.
pub(crate) async fn until(discovery: &dyn ServiceDiscovery, service: &str, health: Health) {
    let mut watch = discovery.watch(&[service]).await.unwrap();
    let what = format!("{service} to be {}", health.word());
    within(&what, async {
        loop {
            let endpoints = match watch.next().await {
                Some(Event::Snapshot(view)) => view.endpoints.clone(),
                Some(Event::Change(change)) => change.endpoint.clone().into_iter().collect(),
                Some(_) => continue,
                None => panic!("the watch on {service} ended"),
            };
            if endpoints
                .iter()
                .any(|endpoint| endpoint.state.health() == health)
            {
                return;
            }
        }
    })
    .await;
}

/// How many tasks the runtime of this test has.
pub(crate) fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}
