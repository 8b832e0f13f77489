//! Layers, on the test clock: each in turn, what is required, what is kept, and who is asked next.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hermes_core::health::Health;
use hermes_core::select::Policy;
use hermes_discovery::{
    Balanced, CacheConfig, Cached, Fallback, InMemory, Required, ResolveError, Resolved,
    ServiceDiscovery, Source, StartError,
};
use tokio::sync::Semaphore;

use crate::make::{alive_tasks, environment, in_memory, responders, until, within};
use crate::moody::Moody;

const A: &str = "http://a:1";
const B: &str = "http://b:1";
const C: &str = "http://c:1";

/// Waits until so many endpoints of memory are ready.
async fn ready(discovery: &InMemory, count: usize) {
    within("so many to be ready", async {
        while discovery.peek("memory", |view| view.ready_count()) != Some(count) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// How often each of so many answers was which.
async fn counted(discovery: &dyn ServiceDiscovery, answers: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for _ in 0..answers {
        let url = discovery.resolve("memory").await.unwrap().url().to_owned();
        *counts.entry(url).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn balanced_gives_each_its_turn_and_skips_who_is_not_ready() {
    let responders = responders(&[A, B, C]);
    let inner = in_memory(&responders);
    let discovery = Balanced::new(inner.clone());
    for url in [A, B, C, A] {
        discovery.register("memory", url).await.unwrap();
    }
    assert_eq!(
        inner.peek("memory", |view| view.endpoints.len()),
        Some(3),
        "the same is one"
    );
    ready(&inner, 3).await;
    for turn in 0..5 {
        let counts = counted(&discovery, 30).await;
        assert_eq!(counts.len(), 3, "{counts:?}");
        assert!(
            counts.values().all(|count| *count == 10),
            "{turn}: {counts:?}"
        );
    }
    responders.tell(B, Health::Unhealthy);
    ready(&inner, 2).await;
    let two = counted(&discovery, 30).await;
    assert_eq!((two[A], two[C], two.get(B)), (15, 15, None));
    responders.tell(B, Health::Healthy);
    ready(&inner, 3).await;
    assert_eq!(counted(&discovery, 30).await[B], 10);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn balanced_knows_the_other_policies() {
    let responders = responders(&[A, B]);
    let inner = in_memory(&responders);
    for url in [A, B] {
        Balanced::new(inner.clone())
            .register("memory", url)
            .await
            .unwrap();
    }
    ready(&inner, 2).await;
    let always = counted(&Balanced::by(Policy::Rendezvous, inner.clone()), 20).await;
    assert_eq!(
        always.len(),
        1,
        "the same key, the same endpoint: {always:?}"
    );
    for policy in [Policy::Random, Policy::Weighted] {
        let any = counted(&Balanced::by(policy, inner.clone()), 200).await;
        assert!(any.values().all(|count| *count > 20), "{policy:?}: {any:?}");
    }
    let even = counted(&Balanced::by(Policy::LeastLoaded, inner.clone()), 20).await;
    assert_eq!((even[A], even[B]), (10, 10));
    inner.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn balanced_answers_with_what_there_is_when_nothing_is_ready() {
    let discovery = Balanced::new(in_memory(&responders(&[])));
    discovery.register("memory", A).await.unwrap();
    until(&discovery, "memory", Health::Unhealthy).await;
    let resolved = discovery.resolve("memory").await.unwrap();
    assert!(!resolved.is_ready() && resolved.health() == Health::Unhealthy);
    assert!(discovery.resolve_ready("memory").await.is_err());
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn required_names_everything_that_is_missing_and_fails_only_when_it_is_strict() {
    let names = ["memory", "cognition", "voice", "Memory"];
    let discovery = Required::strict(in_memory(&responders(&[])), names);
    discovery.register("cognition", A).await.unwrap();
    let error = discovery.initialize().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Missing required services: memory, voice"
    );
    assert!(matches!(error, StartError::Missing { services } if services == ["memory", "voice"]));
    discovery.register("memory", A).await.unwrap();
    discovery.register("voice", A).await.unwrap();
    discovery.initialize().await.unwrap();
    discovery.shutdown().await;
    let discovery = Required::warn(in_memory(&responders(&[])), names);
    discovery.initialize().await.unwrap();
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn required_sees_what_is_loaded_when_it_starts() {
    let variables = [("SERVICE_MEMORY", A), ("SERVICE_COGNITION", B)];
    let inner = environment(&responders(&[]), &variables);
    let discovery = Required::strict(inner, ["memory", "cognition"]);
    discovery.initialize().await.unwrap();
    discovery.shutdown().await;
}

async fn resolve(discovery: &dyn ServiceDiscovery) -> Resolved {
    discovery.resolve("memory").await.unwrap()
}

/// A cache that has heard everything that has happened, and holds an answer.
async fn warm(moody: &Moody) -> Arc<Cached<Moody>> {
    let cached = Cached::with(
        CacheConfig {
            ttl: Duration::from_secs(10),
            stale_max: Duration::from_secs(100),
            answers_max: 10,
        },
        moody.clone(),
    );
    ServiceDiscovery::initialize(&cached).await.unwrap();
    moody.register(A).await;
    until(&moody.inner, "memory", Health::Unhealthy).await;
    within("an answer that is kept", async {
        while resolve(&cached).await.provenance.source != Source::Cache {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    Arc::new(cached)
}

#[tokio::test(start_paused = true)]
async fn cached_asks_once_until_the_ttl_has_passed() {
    let moody = Moody::new(&[]);
    let cached = warm(&moody).await;
    let asked = moody.asked();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let kept = resolve(&*cached).await;
    assert_eq!(
        (
            kept.url(),
            kept.provenance.source,
            kept.provenance.age.as_secs()
        ),
        (A, Source::Cache, 3)
    );
    assert_eq!(moody.asked(), asked);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(resolve(&*cached).await.provenance.source, Source::Live);
    assert_eq!(moody.asked(), asked + 1);
    ServiceDiscovery::shutdown(&cached).await;
}

#[tokio::test(start_paused = true)]
async fn cached_forgets_what_has_changed_whoever_changed_it() {
    let moody = Moody::new(&[]);
    let cached = warm(&moody).await;
    moody.register(B).await;
    within("the other address", async {
        while resolve(&*cached).await.url() != B {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // By its own hand it is seen at once.
    ServiceDiscovery::register(&cached, "memory", C)
        .await
        .unwrap();
    assert_eq!(resolve(&*cached).await.url(), C);
    ServiceDiscovery::deregister(&cached, "memory")
        .await
        .unwrap();
    assert!(ServiceDiscovery::resolve(&cached, "memory").await.is_err());
    ServiceDiscovery::shutdown(&cached).await;
}

#[tokio::test(start_paused = true)]
async fn cached_asks_once_for_everybody_who_asks_at_the_same_time() {
    let mut moody = Moody::new(&[]);
    moody.gate = Arc::new(Semaphore::new(0));
    moody.register(A).await;
    let cached = Arc::new(Cached::new(moody.clone()));
    let asking = |_| {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { resolve(&*cached).await.url().to_owned() })
    };
    let (first, rest) = (asking(0), (1..100).map(asking).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(moody.asked(), 1);
    // Whoever asks for all of them gives up: another one takes over.
    first.abort();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(moody.asked(), 2);
    moody.gate.add_permits(1);
    for answer in rest {
        assert_eq!(within("an answer", answer).await.unwrap(), A);
    }
    assert_eq!(moody.asked(), 2);
    ServiceDiscovery::shutdown(&cached).await;
}

#[tokio::test(start_paused = true)]
async fn cached_hands_out_the_stale_when_nobody_can_be_reached_and_says_so() {
    let moody = Moody::new(&[]);
    let cached = warm(&moody).await;
    moody.is_away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let stale = resolve(&*cached).await;
    assert_eq!((stale.url(), stale.provenance.source), (A, Source::Stale));
    assert!(stale.provenance.age >= Duration::from_secs(20), "{stale:?}");
    tokio::time::sleep(Duration::from_secs(100)).await;
    let error = ServiceDiscovery::resolve(&cached, "memory")
        .await
        .unwrap_err();
    assert!(matches!(error, ResolveError::Unreachable { .. }), "{error}");
    moody.is_away.store(false, Ordering::SeqCst);
    assert_eq!(resolve(&*cached).await.provenance.source, Source::Live);
    ServiceDiscovery::shutdown(&cached).await;
}

#[tokio::test(start_paused = true)]
async fn cached_keeps_so_many_answers_and_no_task() {
    let before = alive_tasks();
    let moody = Moody::new(&[]);
    let cached = warm(&moody).await;
    for number in 0..50 {
        let name = format!("other-{number}");
        moody.inner.register(&name, A).await.unwrap();
        ServiceDiscovery::resolve(&cached, &name).await.unwrap();
    }
    let asked = moody.asked();
    ServiceDiscovery::resolve(&cached, "other-49")
        .await
        .unwrap();
    assert_eq!(
        moody.asked(),
        asked + 1,
        "one too many is answered, and not kept"
    );
    ServiceDiscovery::shutdown(&cached).await;
    ServiceDiscovery::resolve(&cached, "memory").await.unwrap();
    assert_eq!(alive_tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn fallback_goes_down_rung_by_rung_and_says_where_it_found_the_answer() {
    let (first, second) = (Moody::new(&[]), Moody::new(&[]));
    let last = in_memory(&responders(&[]));
    let ladder = Fallback::new(first.clone())
        .then(second.clone())
        .then(last.clone());
    last.register("memory", C).await.unwrap();
    let at = |resolved: Resolved| (resolved.url().to_owned(), resolved.provenance.rung);
    assert_eq!(at(resolve(&ladder).await), (C.to_owned(), 2));
    second.register(B).await;
    assert_eq!(at(resolve(&ladder).await), (B.to_owned(), 1));
    first.register(A).await;
    assert_eq!(at(resolve(&ladder).await), (A.to_owned(), 0));
    first.is_away.store(true, Ordering::SeqCst);
    assert_eq!(at(resolve(&ladder).await), (B.to_owned(), 1));
    assert_eq!(
        ladder.get_all_urls().await,
        [A],
        "a list is not a question about one service"
    );
    ServiceDiscovery::shutdown(&ladder).await;
}

#[tokio::test(start_paused = true)]
async fn fallback_does_not_call_unknown_what_somebody_could_not_be_asked_about() {
    let (first, second) = (Moody::new(&[]), Moody::new(&[]));
    let ladder = Fallback::new(first.clone()).then(second.clone());
    let error = ServiceDiscovery::resolve(&ladder, "memory")
        .await
        .unwrap_err();
    assert!(matches!(error, ResolveError::Unknown { .. }), "{error}");
    first.is_away.store(true, Ordering::SeqCst);
    let error = ServiceDiscovery::resolve(&ladder, "memory")
        .await
        .unwrap_err();
    assert!(matches!(error, ResolveError::Unreachable { .. }), "{error}");
    ServiceDiscovery::shutdown(&ladder).await;
}

#[tokio::test(start_paused = true)]
async fn fallback_believes_that_nothing_is_ready_unless_it_is_told_not_to() {
    let first = in_memory(&responders(&[]));
    let second = in_memory(&responders(&[B]));
    first.register("memory", A).await.unwrap();
    second.register("memory", B).await.unwrap();
    until(&second, "memory", Health::Healthy).await;
    let ladder = Fallback::new(first).then(second.clone());
    let error = ServiceDiscovery::resolve_ready(&ladder, "memory")
        .await
        .unwrap_err();
    assert!(
        matches!(error, ResolveError::NothingReady { .. }),
        "{error}"
    );
    assert_eq!(resolve(&ladder).await.url(), A);
    assert!(!ServiceDiscovery::is_healthy(&ladder, "memory").await);
    let ladder = ladder.also_when_nothing_is_ready();
    let ready = ServiceDiscovery::resolve_ready(&ladder, "memory")
        .await
        .unwrap();
    assert_eq!((ready.url(), ready.provenance.rung), (B, 1));
    // The same for every question, and the first rung answers where nobody is ready at all.
    let resolved = resolve(&ladder).await;
    assert_eq!((resolved.url(), resolved.provenance.rung), (B, 1));
    assert!(ServiceDiscovery::is_healthy(&ladder, "memory").await);
    second.deregister("memory").await.unwrap();
    assert_eq!(resolve(&ladder).await.url(), A);
    ServiceDiscovery::shutdown(&ladder).await;
}

#[tokio::test(start_paused = true)]
async fn fallback_waits_for_every_rung() {
    let (first, second) = (in_memory(&responders(&[])), in_memory(&responders(&[B])));
    let ladder = Fallback::new(first).then(second.clone());
    let waiting = tokio::spawn(async move {
        ServiceDiscovery::wait_until_ready(&ladder, "memory", Duration::from_secs(60)).await
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.register("memory", B).await.unwrap();
    let ready = within("the end of waiting", waiting)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((ready.url(), ready.provenance.rung), (B, 1));
    second.shutdown().await;
}

/// The URLs of everything that is known, for short.
trait Urls {
    async fn get_all_urls(&self) -> Vec<String>;
}

impl<D: ServiceDiscovery> Urls for D {
    async fn get_all_urls(&self) -> Vec<String> {
        let all = ServiceDiscovery::get_all(self).await.unwrap();
        all.values().map(ToString::to_string).collect()
    }
}
