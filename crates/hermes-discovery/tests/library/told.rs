//! What is told through `tracing`: the seed's events at its levels, every edge once, no repeats.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermes_core::health::Health;
use hermes_discovery::conformance::Responders;
use hermes_discovery::{Fallback, Required, ServiceDiscovery, wait_for_services};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::make::{config, environment, in_memory, until};

/// Keeps every line of this library, of whatever thread: which events are of interest is decided for
/// the whole process.
#[derive(Clone)]
struct Listener(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hermes_discovery")
    }
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// The only test that listens. Its services have names of their own.
#[tokio::test(start_paused = true)]
async fn the_events_of_the_seed_are_told_once_each_and_no_secret_with_them() {
    let listener = Listener(Arc::default());
    tracing::subscriber::set_global_default(listener.clone()).unwrap();
    let told = |part: &str| -> Vec<String> {
        let lines = listener.0.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect()
    };
    let responders: Arc<Responders> = Arc::default();
    edges(&responders, &told).await;
    lookups(&responders, &told).await;
    ladders(&responders, &told).await;
    starts(&responders, &told).await;
    assert!(told("hunter2").is_empty(), "{:?}", told("hunter2"));
}

async fn edges(responders: &Arc<Responders>, told: &impl Fn(&str) -> Vec<String>) {
    const URL: &str = "http://told-edges:1";
    responders.tell(URL, Health::Unhealthy);
    let discovery = in_memory(responders);
    discovery.register("told-edges", URL).await.unwrap();
    for health in [
        Health::Unhealthy,
        Health::Healthy,
        Health::Unhealthy,
        Health::Healthy,
    ] {
        responders.tell(URL, health);
        until(&discovery, "told-edges", health).await;
        // Ten probes that say the same.
        tokio::time::sleep(Duration::from_secs(300)).await;
    }
    discovery.deregister("told-edges").await.unwrap();
    discovery.deregister("told-edges").await.unwrap();
    discovery.shutdown().await;
    let lines = told("told-edges");
    let edges: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("endpoint is"))
        .collect();
    let expected = [
        "WARN message=endpoint is unhealthy",
        "INFO message=endpoint is now healthy",
        "WARN message=endpoint is now unhealthy",
        "INFO message=endpoint is now healthy",
    ];
    for (line, expected) in edges.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}\n{lines:#?}");
    }
    assert_eq!(edges.len(), expected.len(), "{lines:#?}");
    let registered =
        "INFO message=registered service=told-edges id=default url=http://told-edges:1";
    assert_eq!(told(registered).len(), 1, "{lines:#?}");
    assert_eq!(
        told("INFO message=deregistered service=told-edges").len(),
        2,
        "{lines:#?}"
    );
    assert_eq!(lines.len(), 7, "{lines:#?}");
}

async fn lookups(responders: &Arc<Responders>, told: &impl Fn(&str) -> Vec<String>) {
    let discovery = in_memory(responders);
    discovery.register("told-hit", "http://x:1").await.unwrap();
    discovery.resolve("told-hit").await.unwrap();
    discovery.resolve("told-miss").await.unwrap_err();
    assert_eq!(told("DEBUG message=resolved service=\"told-hit\"").len(), 1);
    let missed = told("told-miss");
    assert!(
        missed.len() == 1 && missed[0].starts_with("WARN message=not resolved"),
        "{missed:?}"
    );
    let names = ["told-absent", "told-hit"];
    wait_for_services(&discovery, &names, Duration::from_secs(60))
        .await
        .unwrap_err();
    let absent = told("told-absent");
    assert_eq!(
        absent.len(),
        2,
        "a minute of waiting, and no warning a second: {absent:?}"
    );
    assert!(
        absent[0].starts_with("INFO message=waiting for services"),
        "{absent:?}"
    );
    assert!(
        absent[1].starts_with("ERROR message=missing services"),
        "{absent:?}"
    );
    discovery.shutdown().await;
}

async fn ladders(responders: &Arc<Responders>, told: &impl Fn(&str) -> Vec<String>) {
    let last = in_memory(responders);
    last.register("told-rung", "http://told-rung:1")
        .await
        .unwrap();
    let registered = told("told-rung").len();
    let ladder = Fallback::new(in_memory(responders)).then(last);
    for _ in 0..2 {
        ServiceDiscovery::resolve(&ladder, "told-rung")
            .await
            .unwrap();
        ServiceDiscovery::is_healthy(&ladder, "told-rung").await;
    }
    let found = told("told-rung").split_off(registered);
    let resolved = "DEBUG message=resolved service=\"told-rung\"";
    assert!(
        found.len() == 2 && found.iter().all(|line| line.starts_with(resolved)),
        "who finds it at the second rung has not missed it: {found:#?}"
    );
    ServiceDiscovery::resolve(&ladder, "told-nowhere")
        .await
        .unwrap_err();
    let missed = told("told-nowhere");
    assert!(
        missed.len() == 1 && missed[0].starts_with("WARN message=not resolved"),
        "once, not once a rung: {missed:?}"
    );
    ServiceDiscovery::shutdown(&ladder).await;
}

async fn starts(responders: &Arc<Responders>, told: &impl Fn(&str) -> Vec<String>) {
    let count = |part: &str| told(part).len();
    let variables = [
        ("SERVICE_TOLD_ENV", "http://x:1"),
        ("SERVICE_TOLD.NAME", "http://x:1"),
        ("SERVICE_TOLD_SECRET", "hunter2"),
        ("SERVICE_TOLD_LOGIN", "http://user:hunter2@host"),
        ("SERVICE_DISCOVERY_API_KEY", "http://hunter2"),
    ];
    let before = count("INFO message=environment service discovery initialized");
    let discovery = Required::warn(environment(responders, &variables), ["told-required"]);
    discovery.initialize().await.unwrap();
    discovery.resolve("told-secret").await.unwrap_err();
    let after = count("INFO message=environment service discovery initialized");
    assert_eq!(after, before + 1);
    assert_eq!(
        count("INFO message=loaded from the environment service=told-env"),
        1
    );
    let secret = told("SERVICE_TOLD_SECRET");
    assert!(
        secret.len() == 1 && secret[0].starts_with("WARN"),
        "{secret:?}"
    );
    let name = told("SERVICE_TOLD.NAME");
    assert!(
        name.len() == 1 && name[0].starts_with("WARN message=it names no service"),
        "{name:?}"
    );
    let required = told("told-required");
    assert!(
        required[0].starts_with("ERROR message=required services are missing"),
        "{required:?}"
    );
    discovery.shutdown().await;
    let discovery = hermes_discovery::InMemory::with(config(responders));
    discovery.initialize().await.unwrap();
    discovery.shutdown().await;
    assert!(count("INFO message=service discovery initialized") >= 1);
    assert!(count("INFO message=service discovery shut down") >= 1);
}
