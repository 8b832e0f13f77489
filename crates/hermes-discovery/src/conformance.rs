//! What every discovery has to do, whatever is behind it: one suite for all of them.
//!
//! Only there with the feature `testing`. A discovery passes when [`suite`] returns. The suite asks for
//! nothing but the trait, and for a discovery that probes with what it is given: [`Responders`], in
//! which the suite decides how an endpoint is. It waits for events, never for a time, so it runs on a
//! paused clock and on one that does not stop. The shortest interval that it asks for is one second.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hermes_core::change::ChangeKind;
use hermes_core::check::Check;
use hermes_core::endpoint::Registration;
use hermes_core::health::Health;
use hermes_core::select::Criteria;
use tokio::time::timeout;

use crate::answer::{ChangeError, ResolveError, Resolved, StartError};
use crate::engine::Event;
use crate::probe::{Asked, Probe, Verdict};
use crate::service_discovery::{ServiceDiscovery, Watch};

/// How long the suite waits for anything; far more than it ever takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A discovery under test, and what answers its probes.
pub type Subject = (Arc<dyn ServiceDiscovery>, Arc<Responders>);

/// Endpoints that answer as they are told, without a socket. Whoever was told nothing does not answer.
#[derive(Debug, Default)]
pub struct Responders(Mutex<HashMap<String, Health>>);

impl Responders {
    /// From now on whoever is at `url` answers that it is so.
    pub fn tell(&self, url: &str, health: Health) {
        self.0.lock().unwrap().insert(url.to_owned(), health);
    }
}

#[async_trait]
impl Probe for Responders {
    async fn probe(&self, asked: Asked) -> Verdict {
        let url = &asked.endpoint.registration().address.url;
        match self.0.lock().unwrap().get(&**url) {
            Some(health) => Verdict::Found(*health, format!("told to be {}", health.word())),
            None => Verdict::no_answer("nobody is there"),
        }
    }
}

/// Everything that a discovery promises. `subject` makes another one, with nothing registered.
///
/// # Panics
/// When the discovery does not keep it.
pub async fn suite<S: Future<Output = Subject>>(subject: impl Fn() -> S) {
    what_was_registered_is_resolved_at_once(subject().await).await;
    names_are_folded(subject().await).await;
    the_reasons_are_told_apart(subject().await).await;
    an_endpoint_that_is_registered_again_is_replaced(subject().await).await;
    deregistering_may_be_repeated(subject().await).await;
    endpoints_are_removed_one_by_one(subject().await).await;
    everything_is_listed_as_a_copy(subject().await).await;
    health_is_found_out_without_being_asked_for(subject().await).await;
    whoever_is_ready_is_handed_out_first(subject().await).await;
    criteria_are_met(subject().await).await;
    failing_checks_remove_nothing(subject().await).await;
    a_watch_hears_what_happens(subject().await).await;
    waiting_ends_with_the_change_that_it_waits_for(subject().await).await;
    waiting_in_vain_says_why(subject().await).await;
    shutting_down_ends_everything(subject().await).await;
    shutting_down_needs_no_start(subject().await).await;
}

const MEMORY: &str = "http://10.0.0.1:9000";
const OTHER: &str = "http://10.0.0.2:9000";

#[expect(clippy::panic, reason = "this is how a suite says what it saw")]
fn fail(what: &str) -> ! {
    panic!("{what}")
}

/// What `future` gives, before the patience ends.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_elapsed) => fail(&format!("{what} did not happen within {PATIENCE:?}")),
    }
}

/// What stands for `url`, probed every second.
fn often(discovery: &dyn ServiceDiscovery, url: &str) -> Registration {
    let registration = discovery
        .registration("memory", url)
        .expect("the suite has good URLs");
    Registration {
        checks_by_default: false,
        checks: vec![Check {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            attempts: 1,
            ..Check::http("/health")
        }],
        ..registration
    }
}

async fn register(discovery: &dyn ServiceDiscovery, id: &str, url: &str) {
    let registration = often(discovery, url);
    let answer = discovery
        .register_endpoint("memory", id, registration)
        .await;
    answer.expect("it can be registered");
}

/// Waits until the endpoint `id` of `memory` is found to be so.
async fn until(discovery: &dyn ServiceDiscovery, id: &str, health: Health) {
    let what = format!("that {id} is {}", health.word());
    let mut watch = discovery
        .watch(&["memory"])
        .await
        .expect("it can be watched");
    within(&what, async {
        loop {
            let endpoints = match watch.next().await {
                Some(Event::Snapshot(view)) => view.endpoints.clone(),
                Some(Event::Change(change)) => change.endpoint.clone().into_iter().collect(),
                Some(_) => continue,
                None => fail("the watch ended"),
            };
            let is_it = |endpoint: &Arc<hermes_core::endpoint::Endpoint>| {
                endpoint.id.as_str() == id && endpoint.state.health() == health
            };
            if endpoints.iter().any(is_it) {
                return;
            }
        }
    })
    .await;
}

/// An answer once it is right; a layer may hear of a change a moment later.
async fn soon(
    what: &str,
    discovery: &dyn ServiceDiscovery,
    is_right: impl Fn(&Result<Resolved, ResolveError>) -> bool,
) {
    within(what, async {
        while !is_right(&discovery.resolve("memory").await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn what_was_registered_is_resolved_at_once((discovery, _): Subject) {
    discovery
        .register("test-service", MEMORY)
        .await
        .expect("it can be registered");
    let resolved = discovery
        .resolve("test-service")
        .await
        .expect("it is resolved");
    assert_eq!(resolved.url(), MEMORY);
    assert_eq!(resolved.endpoint.service.name.as_str(), "test-service");
    assert!(resolved.revision.0 > 0, "{resolved:?}");
    assert_eq!(resolved.to_string(), MEMORY);
    discovery.shutdown().await;
}

async fn names_are_folded((discovery, _): Subject) {
    discovery
        .register("Memory_Store", MEMORY)
        .await
        .expect("it can be registered");
    for name in [
        "memory-store",
        "MEMORY_STORE",
        "memory_store",
        "Memory-Store",
    ] {
        let resolved = discovery.resolve(name).await;
        assert_eq!(resolved.expect(name).url(), MEMORY);
    }
    let all = discovery.get_all().await.expect("it can be listed");
    assert_eq!(all.keys().collect::<Vec<_>>(), ["memory-store"]);
    discovery
        .deregister("MEMORY_store")
        .await
        .expect("it can be deregistered");
    assert!(discovery.resolve("memory-store").await.is_err());
    discovery.shutdown().await;
}

async fn the_reasons_are_told_apart((discovery, responders): Subject) {
    responders.tell(MEMORY, Health::Unhealthy);
    register(&*discovery, "a", MEMORY).await;
    until(&*discovery, "a", Health::Unhealthy).await;
    let unknown = discovery.resolve("memroy").await;
    let Err(ResolveError::Unknown { service, similar }) = unknown else {
        fail(&format!("unknown was expected: {unknown:?}"))
    };
    assert_eq!(
        (service.as_str(), &similar[..]),
        ("memroy", &["memory".to_owned()][..])
    );
    let nothing = discovery.resolve_ready("memory").await;
    let Err(ResolveError::NothingReady {
        endpoints: 1, why, ..
    }) = nothing
    else {
        fail(&format!("nothing ready was expected: {nothing:?}"))
    };
    assert!(why.contains("told to be unhealthy"), "{why}");
    let wrong = discovery.resolve("mem ory").await;
    assert!(matches!(wrong, Err(ResolveError::Name { .. })), "{wrong:?}");
    let wrong = discovery.register("mem ory", MEMORY).await;
    assert!(matches!(wrong, Err(ChangeError::Name { .. })), "{wrong:?}");
    let wrong = discovery.register("memory", "http://memory:99999").await;
    assert!(matches!(wrong, Err(ChangeError::Address(_))), "{wrong:?}");
    assert!(!discovery.is_healthy("memroy").await);
    assert!(!discovery.is_healthy("mem ory").await);
    discovery.shutdown().await;
}

async fn an_endpoint_that_is_registered_again_is_replaced((discovery, _): Subject) {
    register(&*discovery, "a", MEMORY).await;
    let first = discovery.resolve("memory").await.expect("it is resolved");
    register(&*discovery, "a", OTHER).await;
    let second = discovery.resolve("memory").await.expect("it is resolved");
    assert_eq!(second.url(), OTHER);
    assert!(second.revision > first.revision, "{first:?} {second:?}");
    assert_ne!(first.endpoint.incarnation, second.endpoint.incarnation);
    discovery.shutdown().await;
}

async fn deregistering_may_be_repeated((discovery, _): Subject) {
    register(&*discovery, "a", MEMORY).await;
    for _ in 0..2 {
        discovery
            .deregister("memory")
            .await
            .expect("it can be deregistered");
        let answer = discovery.resolve("memory").await;
        assert!(
            matches!(answer, Err(ResolveError::Unknown { .. })),
            "{answer:?}"
        );
        assert!(!discovery.is_healthy("memory").await);
    }
    discovery
        .deregister("never-seen")
        .await
        .expect("what is not there is no error");
    register(&*discovery, "a", OTHER).await;
    assert_eq!(
        discovery.resolve("memory").await.expect("it is back").url(),
        OTHER
    );
    discovery.shutdown().await;
}

async fn endpoints_are_removed_one_by_one((discovery, _): Subject) {
    register(&*discovery, "a", MEMORY).await;
    register(&*discovery, "b", OTHER).await;
    for _ in 0..2 {
        discovery
            .deregister_endpoint("memory", "a")
            .await
            .expect("it can be deregistered");
        assert_eq!(
            discovery
                .resolve("memory")
                .await
                .expect("one is left")
                .url(),
            OTHER
        );
    }
    discovery
        .deregister_endpoint("memory", "never-seen")
        .await
        .expect("it is no error");
    discovery
        .deregister_endpoint("memory", "b")
        .await
        .expect("it can be deregistered");
    let answer = discovery.resolve("memory").await;
    let is_empty = matches!(
        &answer,
        Err(ResolveError::NothingReady { endpoints: 0, .. })
    );
    assert!(
        is_empty,
        "the service is known, and has no endpoint: {answer:?}"
    );
    assert!(
        discovery
            .get_all()
            .await
            .expect("it can be listed")
            .is_empty()
    );
    discovery.shutdown().await;
}

async fn everything_is_listed_as_a_copy((discovery, _): Subject) {
    discovery
        .register("memory", MEMORY)
        .await
        .expect("it can be registered");
    discovery
        .register("cognition", OTHER)
        .await
        .expect("it can be registered");
    let mut all = discovery.get_all().await.expect("it can be listed");
    let urls: Vec<(&str, &str)> = all.iter().map(|(name, at)| (&**name, at.url())).collect();
    assert_eq!(urls, [("cognition", OTHER), ("memory", MEMORY)]);
    all.clear();
    assert_eq!(
        discovery.get_all().await.expect("it can be listed").len(),
        2
    );
    discovery.shutdown().await;
}

async fn health_is_found_out_without_being_asked_for((discovery, responders): Subject) {
    discovery.initialize().await.expect("it starts");
    discovery
        .initialize()
        .await
        .expect("starting twice is once");
    responders.tell(MEMORY, Health::Healthy);
    discovery
        .register("memory", MEMORY)
        .await
        .expect("it can be registered");
    let ready = discovery.wait_until_ready("memory", PATIENCE).await;
    assert!(ready.expect("it gets ready").is_healthy());
    assert!(discovery.is_healthy("memory").await);
    discovery.shutdown().await;
}

async fn whoever_is_ready_is_handed_out_first((discovery, responders): Subject) {
    // Nobody has found out anything about the first: it has no probe that ends.
    responders.tell(OTHER, Health::Unhealthy);
    register(&*discovery, "b", OTHER).await;
    until(&*discovery, "b", Health::Unhealthy).await;
    let is_at = |url: &'static str, health: Health| {
        move |answer: &Result<Resolved, ResolveError>| {
            let resolved = answer.as_ref().ok();
            resolved.is_some_and(|found| (found.url(), found.health()) == (url, health))
        }
    };
    soon(
        "the unhealthy one",
        &*discovery,
        is_at(OTHER, Health::Unhealthy),
    )
    .await;
    let unknown = Registration {
        checks_by_default: false,
        checks: vec![Check {
            grace: Duration::from_secs(3_600),
            ..Check::http("/health")
        }],
        ..often(&*discovery, "http://10.0.0.3:9000")
    };
    let answer = discovery.register_endpoint("memory", "c", unknown).await;
    answer.expect("it can be registered");
    soon(
        "the unknown one",
        &*discovery,
        is_at("http://10.0.0.3:9000", Health::Unknown),
    )
    .await;
    responders.tell(MEMORY, Health::Degraded);
    register(&*discovery, "a", MEMORY).await;
    until(&*discovery, "a", Health::Degraded).await;
    soon(
        "the degraded one",
        &*discovery,
        is_at(MEMORY, Health::Degraded),
    )
    .await;
    let ready = discovery
        .resolve_ready("memory")
        .await
        .expect("one is ready");
    assert!(
        ready.is_ready() && !ready.is_healthy() && ready.url() == MEMORY,
        "{ready:?}"
    );
    assert!(
        !discovery.is_healthy("memory").await,
        "degraded is not healthy"
    );
    discovery.shutdown().await;
}

async fn criteria_are_met((discovery, responders): Subject) {
    for (id, url, tag) in [("a", MEMORY, "blue"), ("b", OTHER, "green")] {
        responders.tell(url, Health::Healthy);
        let registration = Registration {
            tags: vec![tag.to_owned()],
            ..often(&*discovery, url)
        };
        let answer = discovery
            .register_endpoint("memory", id, registration)
            .await;
        answer.expect("it can be registered");
        until(&*discovery, id, Health::Healthy).await;
    }
    let tagged = |tag: &str| Criteria {
        tags: vec![tag.to_owned()],
        limit: 10,
        ..Criteria::default()
    };
    let chosen = discovery
        .select("memory", &tagged("green"))
        .await
        .expect("one is green");
    assert_eq!(
        chosen.iter().map(Resolved::url).collect::<Vec<_>>(),
        [OTHER]
    );
    let red = discovery.select("memory", &tagged("red")).await;
    assert!(
        matches!(red, Err(ResolveError::NothingReady { endpoints: 2, .. })),
        "{red:?}"
    );
    let unknown = discovery.select("nobody", &Criteria::default()).await;
    assert!(
        matches!(unknown, Err(ResolveError::Unknown { .. })),
        "{unknown:?}"
    );
    discovery.shutdown().await;
}

async fn failing_checks_remove_nothing((discovery, _): Subject) {
    register(&*discovery, "a", MEMORY).await;
    until(&*discovery, "a", Health::Unhealthy).await;
    soon("the unhealthy one", &*discovery, |answer| {
        answer
            .as_ref()
            .is_ok_and(|found| found.health() == Health::Unhealthy)
    })
    .await;
    assert_eq!(
        discovery.get_all().await.expect("it can be listed").len(),
        1
    );
    discovery.shutdown().await;
}

async fn a_watch_hears_what_happens((discovery, responders): Subject) {
    responders.tell(MEMORY, Health::Healthy);
    let mut watch = discovery
        .watch(&["memory"])
        .await
        .expect("it can be watched");
    discovery
        .register("cognition", OTHER)
        .await
        .expect("it can be registered");
    register(&*discovery, "a", MEMORY).await;
    until(&*discovery, "a", Health::Healthy).await;
    discovery
        .deregister("memory")
        .await
        .expect("it can be deregistered");
    let mut heard = Vec::new();
    while heard.last() != Some(&ChangeKind::Forgotten) {
        if let Event::Change(change) = next(&mut *watch).await {
            assert_eq!(change.change.service.name.as_str(), "memory");
            heard.push(change.change.kind);
        }
    }
    assert_eq!(heard[..2], [ChangeKind::Registered, ChangeKind::Health]);
    discovery.shutdown().await;
    within("the end of the watch", async {
        while watch.next().await.is_some() {}
    })
    .await;
}

async fn next(watch: &mut dyn Watch) -> Event {
    match within("an event", watch.next()).await {
        Some(event) => event,
        None => fail("the watch ended"),
    }
}

async fn waiting_ends_with_the_change_that_it_waits_for((discovery, responders): Subject) {
    let waiting = {
        let discovery = Arc::clone(&discovery);
        tokio::spawn(async move { discovery.wait_until_ready("memory", PATIENCE).await })
    };
    responders.tell(MEMORY, Health::Unhealthy);
    register(&*discovery, "a", MEMORY).await;
    until(&*discovery, "a", Health::Unhealthy).await;
    assert!(!waiting.is_finished(), "it is there, and not ready");
    responders.tell(MEMORY, Health::Healthy);
    let ready = within("the end of waiting", waiting)
        .await
        .expect("it did not panic");
    assert_eq!(ready.expect("it gets ready").url(), MEMORY);
    discovery.shutdown().await;
}

async fn waiting_in_vain_says_why((discovery, _): Subject) {
    let short = Duration::from_millis(50);
    let unknown = discovery.wait_until_ready("memory", short).await;
    assert!(
        matches!(unknown, Err(ResolveError::Unknown { .. })),
        "{unknown:?}"
    );
    register(&*discovery, "a", MEMORY).await;
    let nothing = discovery.wait_until_ready("memory", short).await;
    assert!(
        matches!(nothing, Err(ResolveError::NothingReady { .. })),
        "{nothing:?}"
    );
    let wrong = discovery.wait_until_ready("mem ory", short).await;
    assert!(matches!(wrong, Err(ResolveError::Name { .. })), "{wrong:?}");
    discovery.shutdown().await;
}

async fn shutting_down_ends_everything((discovery, _): Subject) {
    discovery.initialize().await.expect("it starts");
    discovery
        .register("memory", MEMORY)
        .await
        .expect("it can be registered");
    for _ in 0..2 {
        within("the end", discovery.shutdown()).await;
    }
    let late = discovery.register("memory", OTHER).await;
    assert!(matches!(late, Err(ChangeError::ShutDown)), "{late:?}");
    let again = discovery.initialize().await;
    assert!(matches!(again, Err(StartError::ShutDown)), "{again:?}");
    within("an answer", discovery.wait_until_ready("memory", PATIENCE))
        .await
        .ok();
}

async fn shutting_down_needs_no_start((discovery, _): Subject) {
    within("the end", discovery.shutdown()).await;
    let late = discovery.register("memory", MEMORY).await;
    assert!(matches!(late, Err(ChangeError::ShutDown)), "{late:?}");
    let late = discovery.resolve("memory").await;
    assert!(
        matches!(late, Err(ResolveError::Unreachable { .. })),
        "{late:?}"
    );
}
