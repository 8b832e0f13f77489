//! Looks that allocate nothing: a million of them, counted by the allocator.

use hermes_discovery::{Environment, InMemory, ServiceDiscovery};

const SERVICES: usize = 1_000;
const LOOKS: usize = 1_000_000;

/// Calls `peek` so many times over all services, in two spellings; how often it found one that is
/// ready.
fn look(names: &[(String, String)], looks: usize, peek: impl Fn(&str) -> Option<bool>) -> usize {
    let turns = names.iter().cycle().take(looks / 2);
    turns
        .flat_map(|(name, spelt)| [name, spelt])
        .filter(|name| peek(name) == Some(true))
        .count()
}

#[tokio::test]
async fn a_million_looks_allocate_nothing() {
    let discovery = InMemory::new();
    for number in 0..SERVICES {
        let mut registration = discovery
            .registration("service", "http://memory:9000")
            .unwrap();
        registration.checks.clear();
        registration.initial_health = hermes_core::endpoint::InitialHealth::Healthy;
        let name = format!("service-{number}");
        discovery
            .register_endpoint(&name, "a", registration)
            .await
            .unwrap();
    }
    let spellings = |number| (format!("service-{number}"), format!("SERVICE_{number}"));
    let names: Vec<_> = (0..SERVICES).map(spellings).collect();
    let peek = |name: &str| discovery.peek(name, |view| view.next_ready().is_some());
    // The first look at a view makes its index of who is ready.
    assert_eq!(look(&names, 2 * SERVICES, peek), 2 * SERVICES);
    let mut found = 0;
    let counted = allocation_counter::measure(|| found = look(&names, LOOKS, peek));
    assert_eq!((found, counted.count_total), (LOOKS, 0), "{counted:?}");

    let nothing = Environment::new();
    let counted = allocation_counter::measure(|| {
        assert_eq!(nothing.peek("memory", |_| ()), None);
        assert_eq!(discovery.peek("not a name at all", |_| ()), None);
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    discovery.shutdown().await;
}
