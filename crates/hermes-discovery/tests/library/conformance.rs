//! The suite of `ServiceDiscovery`, on every implementation and layer that there is.

use std::future::{Ready, ready};
use std::sync::Arc;

use hermes_discovery::conformance::{Responders, Subject, suite};
use hermes_discovery::{Balanced, Cached, Fallback, InMemory, Required, ServiceDiscovery};

use crate::make::{config, environment, in_memory};

/// A subject that is made of responders.
fn subject<D: ServiceDiscovery + 'static>(make: impl Fn(&Arc<Responders>) -> D) -> Ready<Subject> {
    let responders = Arc::default();
    ready((Arc::new(make(&responders)), responders))
}

#[tokio::test(start_paused = true)]
async fn in_memory_is_a_discovery() {
    suite(|| subject(in_memory)).await;
}

#[tokio::test(start_paused = true)]
async fn environment_is_a_discovery() {
    suite(|| subject(|responders| environment(responders, &[]))).await;
}

#[tokio::test(start_paused = true)]
async fn balanced_is_a_discovery() {
    suite(|| subject(|responders| Balanced::new(in_memory(responders)))).await;
}

#[tokio::test(start_paused = true)]
async fn cached_is_a_discovery() {
    suite(|| subject(|responders| Cached::new(in_memory(responders)))).await;
}

#[tokio::test(start_paused = true)]
async fn fallback_is_a_discovery() {
    let ladder = |responders: &Arc<Responders>| {
        let last = InMemory::with(config(responders));
        Fallback::new(in_memory(responders)).then(last)
    };
    suite(|| subject(ladder)).await;
}

#[tokio::test(start_paused = true)]
async fn required_is_a_discovery() {
    suite(|| subject(|responders| Required::warn(in_memory(responders), ["memory"]))).await;
}

#[tokio::test(start_paused = true)]
async fn a_stack_of_layers_is_a_discovery() {
    let stack = |responders: &Arc<Responders>| {
        let balanced = Balanced::new(environment(responders, &[]));
        Required::warn(Cached::new(Fallback::new(balanced)), ["memory"])
    };
    suite(|| subject(stack)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discovery_is_one_on_the_clock_of_the_machine_as_well() {
    let real = |responders: &Arc<Responders>| {
        InMemory::with(hermes_discovery::Config {
            clock: None,
            ..config(responders)
        })
    };
    suite(|| subject(real)).await;
}
