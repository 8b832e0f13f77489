//! Waiting for services, on the test clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hermes_core::health::Health;
use hermes_discovery::conformance::Responders;
use hermes_discovery::{NotReady, ServiceDiscovery, wait_for_services};
use tokio::time::Instant;

use crate::make::{in_memory, within};
use crate::moody::Moody;

const A: &str = "http://a:1";
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_moment_when_the_last_one_is_ready() {
    let responders: Arc<Responders> = Arc::default();
    let discovery = in_memory(&responders);
    discovery.register("memory", A).await.unwrap();
    responders.tell(A, Health::Healthy);
    let waiting = {
        let discovery = discovery.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let answer = wait_for_services(&discovery, &["memory", "cognition"], MINUTE).await;
            (answer, began.elapsed())
        })
    };
    tokio::time::sleep(Duration::from_millis(12_345)).await;
    assert!(!waiting.is_finished());
    discovery.register("cognition", A).await.unwrap();
    let (answer, took) = within("the end of waiting", waiting).await.unwrap();
    assert_eq!(answer, Ok(()));
    let late = took.abs_diff(Duration::from_millis(12_345));
    assert!(
        late < Duration::from_millis(100),
        "it was asked for when it changed: {took:?}"
    );
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_in_vain_names_what_is_missing_and_what_is_unhealthy() {
    let discovery = in_memory(&Arc::default());
    discovery.register("memory", A).await.unwrap();
    let began = Instant::now();
    let names = ["memory", "cognition", "voice"];
    let not_ready = wait_for_services(&discovery, &names, MINUTE)
        .await
        .unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 60);
    let expected = NotReady {
        missing: vec!["cognition".to_owned(), "voice".to_owned()],
        unhealthy: vec!["memory".to_owned()],
    };
    assert_eq!(not_ready, expected);
    let text = not_ready.to_string();
    assert_eq!(
        text,
        "Missing services: cognition, voice; Unhealthy services: memory"
    );
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_to_wait_for_is_there_at_once() {
    let discovery = in_memory(&Arc::default());
    wait_for_services(&discovery, &[], Duration::ZERO)
        .await
        .unwrap();
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_is_named_once_however_often_it_is_asked_for() {
    let discovery = in_memory(&Arc::default());
    discovery.register("memory", A).await.unwrap();
    let names = ["voice", "memory", "Voice", "memory", "voice"];
    let not_ready = wait_for_services(&discovery, &names, Duration::ZERO)
        .await
        .unwrap_err();
    let text = not_ready.to_string();
    assert_eq!(text, "Missing services: voice; Unhealthy services: memory");
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_cannot_come() {
    let discovery = in_memory(&Arc::default());
    let began = Instant::now();
    let not_ready = wait_for_services(&discovery, &["memory", "no name"], MINUTE)
        .await
        .unwrap_err();
    assert_eq!(not_ready.missing, ["memory", "no name"]);
    assert_eq!(
        began.elapsed(),
        Duration::ZERO,
        "it is no name of a service"
    );
    let waiting = {
        let discovery = discovery.clone();
        tokio::spawn(async move { wait_for_services(&discovery, &["memory"], MINUTE).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    discovery.shutdown().await;
    let answer = within("the end of waiting", waiting).await.unwrap();
    assert_eq!(answer.unwrap_err().missing, ["memory"]);
    let late = began.elapsed();
    assert!(late < Duration::from_secs(2), "it was shut down: {late:?}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_asked_yet_is_asked_again() {
    let moody = Moody::new(&[A]);
    moody.is_away.store(true, Ordering::SeqCst);
    moody.register(A).await;
    let waiting = {
        let moody = moody.clone();
        tokio::spawn(async move { wait_for_services(&moody, &["memory"], MINUTE).await })
    };
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!waiting.is_finished());
    moody.is_away.store(false, Ordering::SeqCst);
    let began = Instant::now();
    within("the end of waiting", waiting)
        .await
        .unwrap()
        .unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    ServiceDiscovery::shutdown(&moody).await;
}
