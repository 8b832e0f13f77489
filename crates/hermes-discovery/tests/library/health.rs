//! Health, on the test clock: when it is found out, what a check's fields mean, and what ends with it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use hermes_core::address::Address;
use hermes_core::check::{Check, CheckKind};
use hermes_core::endpoint::Registration;
use hermes_core::health::Health;
use hermes_core::name::Name;
use hermes_discovery::conformance::Responders;
use hermes_discovery::engine::Event;
use hermes_discovery::probe::{Asked, Verdict};
use hermes_discovery::{Config, InMemory, ServiceDiscovery, StartError};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::make::{alive_tasks, config, in_memory, until, within};

const MEMORY: &str = "http://memory:9000";
const COGNITION: &str = "http://cognition:9100/base/";

/// What was asked of a probe, and when.
type Log = Arc<Mutex<Vec<(String, Duration)>>>;

/// A discovery whose probe writes down what it is asked, and answers with `verdict`.
fn logging(config: Config, verdict: Verdict) -> (InMemory, Log) {
    let (log, began) = (Log::default(), Instant::now());
    let writer = Arc::clone(&log);
    let probe = move |asked: Asked| {
        let CheckKind::Http(http) = &asked.check().kind else {
            panic!("an HTTP check is the default");
        };
        let line = format!("{} {}", asked.endpoint.service, http.path);
        writer.lock().unwrap().push((line, began.elapsed()));
        std::future::ready(verdict.clone())
    };
    let probe = Some(Arc::new(probe) as _);
    (InMemory::with(Config { probe, ..config }), log)
}

/// How often it was asked after `service`, and how far apart.
fn asked(log: &Log, service: &str) -> Vec<u64> {
    let log = log.lock().unwrap();
    let mine = log.iter().filter(|(line, _)| line.starts_with(service));
    let at: Vec<Duration> = mine.map(|(_, at)| *at).collect();
    let apart = at.windows(2).map(|pair| pair[1] - pair[0]);
    apart
        .map(|apart| u64::try_from(apart.as_millis()).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_check_does_not_wait_for_its_interval() {
    let responders: Arc<Responders> = Arc::default();
    responders.tell(MEMORY, Health::Healthy);
    let discovery = in_memory(&responders);
    let began = Instant::now();
    discovery.register("memory", MEMORY).await.unwrap();
    let ready = discovery
        .wait_until_ready("memory", Duration::from_secs(60))
        .await;
    assert!(ready.unwrap().is_healthy());
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn paths_belong_to_services_and_stand_below_the_path_of_the_url() {
    // Their names are folded as everywhere.
    let checks = [("Memory", "/system/health"), ("status", "/status")];
    let own = |(name, path): (&str, &str)| (name.to_owned(), Check::http(path));
    let config = Config {
        checks: checks.into_iter().map(own).collect(),
        ..Config::default()
    };
    let (discovery, log) = logging(config, Verdict::healthy("ok"));
    discovery.register("memory", MEMORY).await.unwrap();
    discovery.register("cognition", COGNITION).await.unwrap();
    for name in ["memory", "cognition"] {
        until(&discovery, name, Health::Healthy).await;
    }
    let mut lines: Vec<String> = log
        .lock()
        .unwrap()
        .iter()
        .map(|(line, _)| line.clone())
        .collect();
    lines.sort();
    assert_eq!(lines, ["cognition /base/health", "memory /system/health"]);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_check_is_made_once_in_each_interval_and_its_interval_is_a_field() {
    let (discovery, log) = logging(Config::default(), Verdict::healthy("ok"));
    let often = Check {
        interval: Duration::from_secs(7),
        ..Check::http("/health")
    };
    let registration = Registration {
        checks: vec![often],
        ..discovery.registration("often", MEMORY).unwrap()
    };
    discovery
        .register_endpoint("often", "a", registration)
        .await
        .unwrap();
    discovery.register("usual", MEMORY).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    // The first follows at once; after it comes the rhythm.
    for (service, interval) in [("often", 7_000), ("usual", 30_000)] {
        let apart = asked(&log, service);
        assert!(
            apart.len() as u64 >= 300_000 / interval - 1,
            "{service}: {apart:?}"
        );
        let is_right = |apart: &u64| apart.abs_diff(interval) <= 20;
        assert!(apart[1..].iter().all(is_right), "{service}: {apart:?}");
    }
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_answer_is_asked_three_times_a_second_apart() {
    let (discovery, log) = logging(Config::default(), Verdict::no_answer("nobody"));
    discovery.register("memory", MEMORY).await.unwrap();
    until(&discovery, "memory", Health::Unhealthy).await;
    assert_eq!(asked(&log, "memory"), [1_000, 1_000]);
    let evidence = discovery.peek("memory", |view| {
        view.endpoints[0].state.findings[0].evidence.to_string()
    });
    assert_eq!(evidence.as_deref(), Some("nobody (3 attempts)"));
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_no_is_not_asked_again() {
    let (discovery, log) = logging(Config::default(), Verdict::from(false));
    discovery.register("memory", MEMORY).await.unwrap();
    until(&discovery, "memory", Health::Unhealthy).await;
    assert!(asked(&log, "memory").is_empty(), "once");
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_with_its_timeout() {
    let probe = |_: Asked| std::future::pending::<bool>();
    let discovery = InMemory::with(Config {
        check: Check {
            timeout: Duration::from_secs(2),
            attempts: 1,
            ..Check::http("/health")
        },
        probe: Some(Arc::new(probe)),
        ..Config::default()
    });
    let began = Instant::now();
    discovery.register("memory", MEMORY).await.unwrap();
    until(&discovery, "memory", Health::Unhealthy).await;
    assert_eq!(began.elapsed().as_secs(), 2);
    let error = discovery
        .resolve_ready("memory")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no answer within 2 s"), "{error}");
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_has_no_answer() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let breaks = Arc::clone(&is_broken);
    let probe = move |_: Asked| {
        let is_broken = breaks.load(Ordering::SeqCst);
        async move {
            assert!(!is_broken, "a fault of the application");
            true
        }
    };
    let discovery = InMemory::with(Config {
        probe: Some(Arc::new(probe)),
        ..Config::default()
    });
    discovery.register("memory", MEMORY).await.unwrap();
    until(&discovery, "memory", Health::Unhealthy).await;
    let why = discovery.resolve_ready("memory").await.unwrap_err();
    assert!(
        why.to_string().contains("the check panicked (3 attempts)"),
        "{why}"
    );
    is_broken.store(false, Ordering::SeqCst);
    until(&discovery, "memory", Health::Healthy).await;
    is_broken.store(true, Ordering::SeqCst);
    until(&discovery, "memory", Health::Unhealthy).await;
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_verdict_on_an_endpoint_is_not_that_on_its_successor() {
    let (release, asked) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (gate, count) = (Arc::clone(&release), Arc::clone(&asked));
    let probe = move |asked: Asked| {
        let (gate, turn) = (Arc::clone(&gate), count.fetch_add(1, Ordering::SeqCst));
        async move {
            if turn == 0 {
                gate.notified().await;
            }
            asked.endpoint.registration().address.url.contains("good")
        }
    };
    let discovery = InMemory::with(Config {
        probe: Some(Arc::new(probe)),
        ..Config::default()
    });
    discovery.register("memory", "http://bad:1").await.unwrap();
    within("the first probe", async {
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    discovery.register("memory", "http://good:1").await.unwrap();
    release.notify_one();
    until(&discovery, "memory", Health::Healthy).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(discovery.is_healthy("memory").await);
    discovery.deregister("memory").await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(
        discovery.resolve("memory").await.is_err(),
        "no late verdict brings it back"
    );
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_hears_each_change_of_health_once_the_first_result_among_them() {
    let responders: Arc<Responders> = Arc::default();
    responders.tell(MEMORY, Health::Unhealthy);
    let discovery = in_memory(&responders);
    let mut watch = discovery.watch(&["memory"]).await.unwrap();
    discovery.register("memory", MEMORY).await.unwrap();
    let edges = [Health::Unhealthy, Health::Healthy, Health::Degraded];
    for health in edges {
        responders.tell(MEMORY, health);
        until(&discovery, "memory", health).await;
        // Ten probes that say the same. Meanwhile nobody takes what is told.
        tokio::time::sleep(Duration::from_secs(300)).await;
    }
    discovery.shutdown().await;
    let mut heard = Vec::new();
    // Whoever is late hears what was told before the end.
    while let Some(event) = watch.next().await {
        if let Event::Change(change) = event {
            heard.extend(
                change
                    .endpoint
                    .as_ref()
                    .map(|endpoint| endpoint.state.health()),
            );
        }
    }
    assert_eq!(heard, [&[Health::Unknown][..], &edges].concat());
}

#[tokio::test(start_paused = true)]
async fn slow_endpoints_do_not_hold_up_the_others() {
    let probe = |asked: Asked| async move {
        if asked.endpoint.id.as_str().starts_with("slow") {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        true
    };
    let discovery = InMemory::with(Config {
        probe: Some(Arc::new(probe)),
        ..Config::default()
    });
    let registration = discovery.registration("memory", MEMORY).unwrap();
    for number in 0..100 {
        let (id, registration) = (format!("slow-{number}"), registration.clone());
        discovery
            .register_endpoint("memory", &id, registration)
            .await
            .unwrap();
    }
    let began = Instant::now();
    discovery
        .register_endpoint("memory", "quick", registration)
        .await
        .unwrap();
    discovery
        .wait_until_ready("memory", Duration::from_secs(60))
        .await
        .unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_every_task_even_those_in_the_middle_of_a_probe() {
    let before = alive_tasks();
    let discovery = InMemory::with(Config {
        probe: Some(Arc::new(|_: Asked| std::future::pending::<bool>())),
        ..Config::default()
    });
    discovery.initialize().await.unwrap();
    for number in 0..20 {
        discovery
            .register(&format!("memory-{number}"), MEMORY)
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(alive_tasks() >= before + 20);
    let began = Instant::now();
    discovery.shutdown().await;
    assert!(
        began.elapsed() < Duration::from_millis(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(alive_tasks(), before);
    discovery.shutdown().await;
    // What was known stays readable.
    assert_eq!(discovery.resolve("memory-7").await.unwrap().url(), MEMORY);
}

/// A discovery whose start takes some turns, because several services are configured.
fn slow_to_start() -> InMemory {
    let url = Address::parse_url(MEMORY).unwrap();
    let service = |number| Name::parse(&format!("memory-{number}")).unwrap();
    InMemory::with(Config {
        services: (0..5)
            .map(|number| (service(number), url.clone()))
            .collect(),
        ..config(&Arc::default())
    })
}

#[tokio::test(start_paused = true)]
async fn shutting_down_does_not_depend_on_whoever_has_begun_to_start() {
    let discovery = slow_to_start();
    let mut start = discovery.initialize();
    std::future::poll_fn(|context| {
        assert!(start.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    // Nobody goes on with the start meanwhile.
    within("the end", discovery.shutdown()).await;
    assert_eq!(start.await, Err(StartError::ShutDown));
    assert_eq!(alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutting_down_in_the_middle_of_a_start_leaves_no_task_behind() {
    let before = alive_tasks();
    for turns in 0..12 {
        let discovery = slow_to_start();
        let starting = {
            let discovery = discovery.clone();
            tokio::spawn(async move { drop(discovery.resolve("memory-0").await) })
        };
        // Each time it has come a little further.
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let ends = [discovery.clone(), discovery].map(|discovery| {
            tokio::spawn(async move {
                discovery.shutdown().await;
                discovery.initialize().await
            })
        });
        for end in ends {
            let late = within("the end", end).await.unwrap();
            assert_eq!(late, Err(StartError::ShutDown), "after {turns} turns");
        }
        let left = alive_tasks() - usize::from(!starting.is_finished());
        assert_eq!(left, before, "after {turns} turns");
        starting.await.unwrap();
        assert_eq!(alive_tasks(), before, "after {turns} turns");
    }
}

#[tokio::test(start_paused = true)]
async fn a_discovery_that_is_dropped_leaves_no_task_behind() {
    let before = alive_tasks();
    let discovery = in_memory(&Arc::default());
    discovery.register("memory", MEMORY).await.unwrap();
    assert!(alive_tasks() > before);
    drop(discovery);
    within("the end of its tasks", async {
        while alive_tasks() > before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_url_replaces_the_first_and_its_health_is_unknown_again() {
    let responders: Arc<Responders> = Arc::default();
    responders.tell(MEMORY, Health::Healthy);
    let discovery = InMemory::with(config(&responders));
    discovery.register("memory", MEMORY).await.unwrap();
    until(&discovery, "memory", Health::Healthy).await;
    discovery
        .register("memory", "http://elsewhere:1")
        .await
        .unwrap();
    let resolved = discovery.resolve("memory").await.unwrap();
    assert_eq!(
        (resolved.url(), resolved.health()),
        ("http://elsewhere:1", Health::Unknown)
    );
    assert_eq!(
        discovery.peek("memory", |view| view.endpoints.len()),
        Some(1)
    );
    discovery.shutdown().await;
}
