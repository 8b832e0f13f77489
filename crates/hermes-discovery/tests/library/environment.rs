//! Environment variables as services: loading, appearing later, reloading, and what is never taken.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermes_core::health::Health;
use hermes_discovery::conformance::Responders;
use hermes_discovery::settings::{Settings, Variables};
use hermes_discovery::{
    Config, Environment, ResolveError, ServiceDiscovery, Source, StartError, discovery_of,
};

use crate::make::{config, environment, until, within};

const A: &str = "http://a:1";
const B: &str = "http://b:1";

/// Variables that can be set while somebody reads them.
#[derive(Clone, Default)]
struct Shell(Arc<Mutex<Variables>>);

impl Shell {
    fn set(&self, name: &str, value: &str) {
        self.0
            .lock()
            .unwrap()
            .insert(name.to_owned(), value.to_owned());
    }

    fn unset(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }

    fn discovery(&self, responders: &Arc<Responders>) -> Environment {
        let shell = self.clone();
        let discovery = Environment::with("SERVICE_", config(responders));
        discovery.reading(Arc::new(move || shell.0.lock().unwrap().clone()))
    }
}

async fn urls(discovery: &dyn ServiceDiscovery) -> Vec<String> {
    let all = discovery.get_all().await.unwrap();
    all.iter()
        .map(|(name, resolved)| format!("{name} {resolved}"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn variables_are_loaded_folded_and_checked() {
    let responders: Arc<Responders> = Arc::default();
    responders.tell(A, Health::Healthy);
    let variables = [
        ("SERVICE_MEMORY", A),
        ("SERVICE_COGNITION_SERVICE", "https://cognition"),
        ("SERVICE_EMPTY", ""),
        ("PATH", "/bin"),
        ("MY_SERVICE_OTHER", B),
        ("SERVICE_", B),
        ("SERVICE_memory", B),
    ];
    let discovery = environment(&responders, &variables);
    discovery.initialize().await.unwrap();
    assert_eq!(
        urls(&discovery).await,
        ["cognition-service https://cognition", "memory http://a:1"]
    );
    until(&discovery, "memory", Health::Healthy).await;
    for name in [
        "cognition-service",
        "COGNITION_SERVICE",
        "Cognition-Service",
    ] {
        let resolved = discovery.resolve(name).await.unwrap();
        assert_eq!(resolved.provenance.source, Source::Environment);
    }
    assert_eq!(
        discovery.peek("Memory", |view| view.is_healthy()),
        Some(true)
    );
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_initializing_the_variables_are_loaded_by_the_first_who_asks() {
    let variables = [("SERVICE_MEMORY", A)];
    let discovery = environment(&Arc::default(), &variables);
    assert_eq!(urls(&discovery).await, ["memory http://a:1"]);
    discovery.shutdown().await;
    // Whatever it is that is asked for.
    let responders: Arc<Responders> = Arc::default();
    responders.tell(A, Health::Healthy);
    let discovery = environment(&responders, &variables);
    within("memory to be healthy", async {
        while !discovery.is_healthy("memory").await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_appears_later_is_found_by_whoever_asks_for_it() {
    let (shell, responders) = (Shell::default(), Arc::default());
    let discovery = shell.discovery(&responders);
    discovery.initialize().await.unwrap();
    assert!(discovery.resolve("memory-store").await.is_err());
    shell.set("SERVICE_MEMORY_STORE", A);
    responders.tell(A, Health::Healthy);
    assert_eq!(discovery.resolve("memory-store").await.unwrap().url(), A);
    until(&discovery, "memory-store", Health::Healthy).await;
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn reloading_follows_the_variables_and_leaves_alone_what_the_program_registered() {
    let (shell, responders) = (Shell::default(), Arc::default());
    for name in [
        "SERVICE_STAYS",
        "SERVICE_MOVES",
        "SERVICE_GOES",
        "SERVICE_TAKEN",
    ] {
        shell.set(name, A);
    }
    let discovery = shell.discovery(&responders);
    discovery.initialize().await.unwrap();
    discovery.register("own", A).await.unwrap();
    discovery.register("taken", B).await.unwrap();
    let taken = discovery.resolve("taken").await.unwrap();
    assert_eq!(taken.provenance.source, Source::Live, "the program said so");
    let before = discovery.resolve("stays").await.unwrap();
    shell.set("SERVICE_MOVES", B);
    shell.set("SERVICE_COMES", B);
    shell.unset("SERVICE_GOES");
    shell.unset("SERVICE_TAKEN");
    discovery.reload().await.unwrap();
    let expected = [
        "comes http://b:1",
        "moves http://b:1",
        "own http://a:1",
        "stays http://a:1",
        "taken http://b:1",
    ];
    assert_eq!(urls(&discovery).await, expected);
    let after = discovery.resolve("stays").await.unwrap();
    assert_eq!(
        before.endpoint.incarnation, after.endpoint.incarnation,
        "nothing happened to it"
    );
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_program_says_before_anything_was_loaded_counts_as_well() {
    let variables = [("SERVICE_MEMORY", A), ("SERVICE_VOICE", A)];
    let discovery = environment(&Arc::default(), &variables);
    discovery.register("memory", B).await.unwrap();
    discovery.deregister("voice").await.unwrap();
    assert_eq!(discovery.resolve("memory").await.unwrap().url(), B);
    discovery.initialize().await.unwrap();
    assert_eq!(urls(&discovery).await, ["memory http://b:1"]);
    discovery.shutdown().await;
    assert_eq!(discovery.resolve("memory").await.unwrap().url(), B);
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_goes_takes_only_its_own_endpoint_with_it() {
    let (shell, responders) = (Shell::default(), Arc::default());
    shell.set("SERVICE_MEMORY", A);
    let discovery = shell.discovery(&responders);
    discovery.initialize().await.unwrap();
    let own = discovery.registration("memory", B).unwrap();
    discovery
        .register_endpoint("memory", "own", own)
        .await
        .unwrap();
    shell.unset("SERVICE_MEMORY");
    discovery.reload().await.unwrap();
    assert_eq!(urls(&discovery).await, ["memory http://b:1"]);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_spellings_the_first_that_is_an_address_counts_whenever_it_is_found() {
    let (shell, responders) = (Shell::default(), Arc::default());
    let discovery = shell.discovery(&responders);
    discovery.initialize().await.unwrap();
    shell.set("SERVICE_MEMORY_STORE", "no address");
    shell.set("SERVICE_memory_store", A);
    assert_eq!(discovery.resolve("memory-store").await.unwrap().url(), A);
    discovery.reload().await.unwrap();
    assert_eq!(discovery.resolve("memory-store").await.unwrap().url(), A);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_deregistered_stays_so_until_the_variables_are_read_again() {
    let discovery = environment(&Arc::default(), &[("SERVICE_MEMORY", A)]);
    discovery.initialize().await.unwrap();
    discovery.deregister("memory").await.unwrap();
    let answer = discovery.resolve("memory").await;
    assert!(
        matches!(answer, Err(ResolveError::Unknown { .. })),
        "{answer:?}"
    );
    discovery.reload().await.unwrap();
    assert_eq!(discovery.resolve("memory").await.unwrap().url(), A);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn our_own_variables_and_what_is_no_address_are_never_services() {
    let variables = [
        ("SERVICE_DISCOVERY_API_KEY", "http://looks-like-an-address"),
        ("SERVICE_DISCOVERY_CONFIG", "http://so-does-this"),
        ("SERVICE_Discovery_key", "http://and-this"),
        ("SERVICE_TOKEN", "hunter2"),
        ("SERVICE_MEMORY_PORT", "tcp://10.0.0.1:80"),
        ("SERVICE_LOGIN", "http://user:hunter2@host"),
        ("SERVICE_DISCOVERY", A),
    ];
    let discovery = environment(&Arc::default(), &variables);
    discovery.initialize().await.unwrap();
    assert_eq!(urls(&discovery).await, ["discovery http://a:1"]);
    for name in [
        "discovery-api-key",
        "DISCOVERY_CONFIG",
        "discovery-key",
        "token",
        "memory-port",
        "login",
    ] {
        let answer = discovery.resolve(name).await;
        assert!(
            matches!(answer, Err(ResolveError::Unknown { .. })),
            "{answer:?}"
        );
    }
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_prefix_is_what_it_is_said_to_be_and_a_wrong_one_is_refused() {
    let variables = || Variables::from([("CORTEX_SERVICE_MEMORY".to_owned(), A.to_owned())]);
    let discovery = Environment::with_prefix("CORTEX_SERVICE_").reading(Arc::new(variables));
    assert_eq!(discovery.resolve("memory").await.unwrap().url(), A);
    discovery.shutdown().await;
    for wrong in ["", "SERVICE_DISCOVERY_", "service_discovery_x", "A B"] {
        let error = Environment::with_prefix(wrong)
            .initialize()
            .await
            .unwrap_err();
        assert!(
            matches!(error, StartError::Setting(_)),
            "{wrong:?}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_settings_choose_the_discovery_and_the_variables_win_over_the_file() {
    const FILE: &str = "services: {memory: 'https://file', voice: 'https://voice'}";
    let settings = |variables: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Variables = variables.iter().map(own).collect();
        Settings::read(&variables, |_| Ok(FILE.to_owned())).unwrap()
    };
    for (variables, kind) in [
        (&[][..], "InMemory"),
        (
            &[("ENVIRONMENT", "testing")],
            "Environment { prefix: \"TEST_SERVICE_\"",
        ),
        (
            &[("ENVIRONMENT", "production")],
            "Environment { prefix: \"PROD_SERVICE_\"",
        ),
        (
            &[("SERVICE_DISCOVERY_ENV_PREFIX", "X_")],
            "Environment { prefix: \"X_\"",
        ),
    ] {
        let discovery = discovery_of(&settings(variables));
        assert!(format!("{discovery:?}").starts_with(kind), "{discovery:?}");
        discovery.initialize().await.unwrap();
        let memory = discovery.resolve("memory").await.unwrap();
        assert_eq!(
            (memory.url(), memory.provenance.source),
            ("https://file", Source::Configured)
        );
        discovery.shutdown().await;
    }
    let own = || Variables::from([("SERVICE_MEMORY".to_owned(), "https://own".to_owned())]);
    let config = Config::from(&settings(&[]));
    let discovery = Environment::with("SERVICE_", config).reading(Arc::new(own));
    let found = urls(&discovery).await;
    assert_eq!(found, ["memory https://own", "voice https://voice"]);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn in_production_a_variable_with_plain_http_names_no_service() {
    let variables = Variables::from([("ENVIRONMENT".to_owned(), "production".to_owned())]);
    let no_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let config = Config::from(&Settings::read(&variables, no_file).unwrap());
    let plain = || Variables::from([("PROD_SERVICE_MEMORY".to_owned(), A.to_owned())]);
    let discovery = Environment::with("PROD_SERVICE_", config).reading(Arc::new(plain));
    assert!(discovery.resolve("memory").await.is_err());
    let error = discovery.register("memory", A).await.unwrap_err();
    assert!(error.to_string().contains("https is required"), "{error}");
    discovery.shutdown().await;
}
