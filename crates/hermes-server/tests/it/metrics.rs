//! What the server shows of itself: each number moves as it should, the reference names each, and
//! nothing that somebody has chosen is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client::{Call, Client, DEADLINE, GLANCE};
use crate::events::Events;
use crate::server::TestServer;

/// Everything that was served, taken apart.
#[derive(Debug, Default)]
struct Metrics {
    text: String,
    /// Kind and help of each family.
    families: BTreeMap<String, (String, String)>,
    /// Each sample, as it is written before its value.
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    async fn of(client: &mut Client) -> Self {
        let answer = client.get("/metrics").await.must_be(200);
        let media_type = answer.text("content-type");
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(String::from_utf8(answer.body).expect("the format is UTF-8"))
    }

    fn parse(text: String) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help has a text");
                let family = (String::new(), help.to_owned());
                let before = all.families.insert(name.to_owned(), family);
                assert!(before.is_none(), "{name} stands twice");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type has a kind");
                all.families.get_mut(name).expect("its help comes first").0 = kind.to_owned();
            } else {
                let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
                let value = value.parse().expect("a value is a number");
                let before = all.samples.insert(sample.to_owned(), value);
                assert!(before.is_none(), "{sample} stands twice");
            }
        }
        all.text = text;
        all
    }

    #[track_caller]
    fn value(&self, sample: &str) -> f64 {
        let value = self.samples.get(sample);
        assert!(value.is_some(), "no {sample} in\n{}", self.text);
        value.copied().unwrap_or_default()
    }

    /// The value as a count.
    #[track_caller]
    fn count(&self, sample: &str) -> u64 {
        let value = self.value(sample);
        assert!(value >= 0.0 && value.fract() == 0.0, "{sample} {value}");
        format!("{value}").parse().expect("a whole number")
    }

    /// The labels of a family, without those that belong to its kind.
    fn labels(&self, family: &str) -> BTreeSet<&str> {
        let of_family = |sample: &&String| {
            let name = sample.split('{').next().unwrap_or_default();
            let (kind, _) = &self.families[family];
            let suffix = name.strip_prefix(family);
            suffix == Some("") || kind == "histogram" && suffix == Some("_count")
        };
        let samples = self.samples.keys().filter(of_family);
        let labels = samples.filter_map(|sample| Some(sample.split_once('{')?.1));
        let names = labels.flat_map(|labels| labels.trim_end_matches('}').split("\","));
        names
            .filter_map(|label| Some(label.split_once('=')?.0))
            .collect()
    }
}

/// A file of the repository.
fn file(path: &str) -> (PathBuf, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(path);
    let text = fs::read_to_string(&path).expect("the file is in the repository");
    (path, text)
}

/// What promtool says of `input`; it must be content.
fn promtool(arguments: &[&str], input: &str) {
    let mut tool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(
            "promtool is there: it comes with Debian's prometheus, and scripts/test installs it",
        );
    let mut stdin = tool.stdin.take().expect("it was asked for");
    stdin
        .write_all(input.as_bytes())
        .expect("it reads all of it");
    drop(stdin);
    let output = tool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}\n{input}");
    let is_fine = said.is_empty() || said.contains("SUCCESS");
    assert!(is_fine, "{said}");
}

const QUERIES: &str = "hermes_discovery_queries_total";

/// The count of queries of `route` that ended with `result`.
fn queries(metrics: &Metrics, route: &str, result: &str) -> u64 {
    metrics.count(&format!(
        "{QUERIES}{{route=\"{route}\",result=\"{result}\"}}"
    ))
}

#[tokio::test]
async fn each_query_is_counted_by_its_route_and_by_how_it_ended() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.register("web", "a").await;
    let (of_service, of_url) = ("/api/v1/services/{name}", "/api/v1/services/{name}/url");
    let web = "/api/v1/services/web";
    for _ in 0..3 {
        client.get(web).await.must_be(200);
    }
    let etag = client.get(web).await.etag();
    let again = Call::get(web).header("if-none-match", &etag);
    client.send(again).await.must_be(304);
    client.get("/api/v1/services/other").await.must_be(404);
    client.get("/api/v1/services/no%20name").await.must_be(400);
    client.get(&format!("{web}/url")).await.must_be(200);
    let drain = format!("{web}/endpoints/a/drain");
    client.put(&drain, &json!({})).await.must_be(200);
    client.get(&format!("{web}/url")).await.must_be(503);
    client
        .post(&format!("{web}/url"), &json!({}))
        .await
        .must_be(405);
    let criteria = json!({"fallback": "any"});
    client
        .post(&format!("{web}/select"), &criteria)
        .await
        .must_be(503);

    let metrics = Metrics::of(&mut client).await;
    let results = [
        ("ok", 4),
        ("not_modified", 1),
        ("unknown", 1),
        ("refused", 1),
    ];
    for (result, count) in results {
        assert_eq!(queries(&metrics, of_service, result), count, "{result}");
    }
    assert_eq!(queries(&metrics, of_url, "ok"), 1);
    assert_eq!(queries(&metrics, of_url, "nothing_ready"), 1);
    assert_eq!(
        queries(&metrics, "/api/v1/services/{name}/select", "nothing_ready"),
        1
    );
    let duration = "hermes_discovery_query_duration_seconds";
    for (route, count) in [(of_service, 7), (of_url, 2)] {
        assert_eq!(
            metrics.count(&format!("{duration}_count{{route=\"{route}\"}}")),
            count
        );
        assert!(metrics.value(&format!("{duration}_sum{{route=\"{route}\"}}")) > 0.0);
    }
    for (code, count) in [
        ("service_unknown", 1),
        ("invalid_name", 1),
        ("nothing_ready", 2),
        ("method_not_allowed", 1),
        ("overloaded", 0),
    ] {
        let sample = format!("hermes_errors_total{{code=\"{code}\"}}");
        assert_eq!(metrics.count(&sample), count, "{code}");
    }
}

#[tokio::test]
async fn each_request_is_counted_by_its_route_and_method() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.register("web", "a").await;
    let web = "/api/v1/services/web";
    client.get(web).await.must_be(200);
    client.send(Call::new("HEAD", web)).await.must_be(200);
    client
        .delete(&format!("{web}/endpoints/a"))
        .await
        .must_be(204);
    client
        .post(&format!("{web}/url"), &json!({}))
        .await
        .must_be(405);
    client.get("/nowhere").await.must_be(404);
    let metrics = Metrics::of(&mut client).await;
    let of_service = "/api/v1/services/{name}";
    let requests = |route: &str, method: &str, result: &str| {
        let labels = format!("route=\"{route}\",method=\"{method}\",result=\"{result}\"");
        metrics.count(&format!("hermes_http_requests_total{{{labels}}}"))
    };
    let endpoint = "/api/v1/services/{name}/endpoints/{id}";
    assert_eq!(requests(endpoint, "PUT", "ok"), 1);
    assert_eq!(requests(endpoint, "DELETE", "ok"), 1);
    assert_eq!(requests(of_service, "GET", "ok"), 2);
    assert_eq!(requests(of_service, "DELETE", "ok"), 0);
    assert_eq!(requests("none", "other", "refused"), 2);
    // The one that asks is on its way itself.
    assert_eq!(metrics.count("hermes_http_requests_in_flight"), 1);
    assert_eq!(requests("/metrics", "GET", "ok"), 0);
}

#[tokio::test]
async fn an_answer_is_a_hit_when_nothing_had_to_be_encoded_for_it() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for n in 0..20 {
        client.register("long", &format!("e{n}")).await;
    }
    client.register("short", "a").await;
    let encoded = |metrics: &Metrics| {
        let count = |result: &str| {
            metrics.count(&format!(
                "hermes_encoded_answers_total{{result=\"{result}\"}}"
            ))
        };
        (count("hit"), count("miss"))
    };
    // Registering answers with the endpoint, which encodes it.
    client.get("/api/v1/services/short").await.must_be(200);
    assert_eq!(encoded(&Metrics::of(&mut client).await), (1, 0));
    // A list is put together once, whatever was encoded, and then kept for a second.
    client.get("/api/v1/services/long").await.must_be(200);
    assert_eq!(encoded(&Metrics::of(&mut client).await), (1, 1));
    let (hits, misses) = loop {
        client.get("/api/v1/services/long").await.must_be(200);
        let (hits, misses) = encoded(&Metrics::of(&mut client).await);
        if hits > 1 {
            break (hits, misses);
        }
    };
    assert_eq!(hits, 2, "{misses}");
    let metrics = Metrics::of(&mut client).await;
    assert!(metrics.count("hermes_view_bytes{form=\"endpoints\"}") > 0);
    assert!(metrics.count("hermes_view_bytes{form=\"lists\"}") > 0);
}

#[tokio::test]
async fn a_selection_of_what_is_not_ready_is_a_fallback() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let checks = json!({"checks": [{"type": "heartbeat", "timeout": 600, "interval": 600}]});
    client.register_with("web", "a", &checks).await;
    let select = "/api/v1/services/web/select";
    client
        .post(select, &json!({"fallback": "any"}))
        .await
        .must_be(200);
    let metrics = Metrics::of(&mut client).await;
    assert_eq!(metrics.count("hermes_fallbacks_total{rung=\"any\"}"), 1);
    assert_eq!(metrics.count("hermes_fallbacks_total{rung=\"stale\"}"), 0);
    assert_eq!(
        metrics.count("hermes_endpoints{health=\"unknown\",ready=\"false\"}"),
        1
    );
    assert_eq!(
        metrics.count("hermes_endpoints_flagged{flag=\"starting\"}"),
        1
    );
}

#[tokio::test]
async fn the_registry_is_tallied() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.register("web", "a").await;
    client.register_with("web", "b", &json!({"ttl": 60})).await;
    client
        .register_with("other", "a", &json!({"ttl": 60}))
        .await;
    client
        .put("/api/v1/services/web/endpoints/a/drain", &json!({}))
        .await;
    client.delete("/api/v1/services/other/endpoints/a").await;
    let beats = json!({"heartbeats": {"web": ["b", "nobody"]}});
    client.post("/api/v1/heartbeats", &beats).await.must_be(200);
    client
        .put("/api/v1/services/web/endpoints/b/heartbeat", &json!({}))
        .await;
    let metrics = Metrics::of(&mut client).await;
    for (sample, count) in [
        ("hermes_services", 2),
        ("hermes_services_empty", 1),
        ("hermes_endpoints{health=\"healthy\",ready=\"true\"}", 1),
        ("hermes_endpoints{health=\"healthy\",ready=\"false\"}", 1),
        ("hermes_leases", 1),
        ("hermes_endpoints_flagged{flag=\"draining\"}", 1),
        ("hermes_changes_total{type=\"registered\"}", 3),
        ("hermes_changes_total{type=\"drain\"}", 1),
        ("hermes_changes_total{type=\"deregistered\"}", 1),
        ("hermes_heartbeats_total{result=\"accepted\"}", 2),
        ("hermes_heartbeats_total{result=\"refused\"}", 1),
        ("hermes_commit_failures_total", 0),
        ("hermes_lane_waiting{lane=\"requests\"}", 0),
        ("hermes_requests_refused_total", 0),
        ("hermes_protection_active{protection=\"read_only\"}", 0),
        ("hermes_log_lost_seconds", 0),
        ("hermes_limit{setting=\"limits.inbox\"}", 8_192),
    ] {
        assert_eq!(metrics.count(sample), count, "{sample}");
    }
    assert_eq!(metrics.count("hermes_revision"), client.revision().await);
    assert!(metrics.count("hermes_commit_duration_seconds_count") >= 1);
    assert!(metrics.value("process_start_time_seconds") > 1.7e9);
    assert!(metrics.count("process_resident_memory_bytes") > 1_000_000);
    assert!(metrics.value("process_cpu_seconds_total") >= 0.0);
}

#[tokio::test]
async fn watchers_and_connections_are_counted_while_they_are_there() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    // The probes follow the changes, too.
    let alone = Metrics::of(&mut client).await;
    assert_eq!(alone.count("hermes_watchers"), 1);
    assert_eq!(alone.count("hermes_http_connections"), 1);
    let mut events = Events::open(server.address, "since=999&service=web").await;
    events.hello().await;
    events.expect("reset").await;
    let mut poller = server.client().await;
    poller
        .write(&Call::get("/api/v1/services/web?wait=300").to_bytes())
        .await;
    let wanted = [
        ("hermes_watchers", 3),
        ("hermes_http_connections", 3),
        // This one, and the long poll; a watch has been answered.
        ("hermes_http_requests_in_flight", 2),
        ("hermes_watcher_resets_total{reason=\"ahead\"}", 1),
    ];
    settles(&mut client, &wanted).await;
    drop((events, poller));
    let wanted = [("hermes_watchers", 1), ("hermes_http_connections", 1)];
    settles(&mut client, &wanted).await;
    let route = "/api/v1/services/{name}";
    let metrics = Metrics::of(&mut client).await;
    assert_eq!(queries(&metrics, route, "abandoned"), 1);
    let timed = format!("hermes_discovery_query_duration_seconds_count{{route=\"{route}\"}}");
    assert_eq!(metrics.count(&timed), 0, "who waits is not timed");
}

/// Waits until the counts are these.
async fn settles(client: &mut Client, wanted: &[(&str, u64)]) {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let metrics = Metrics::of(client).await;
        if wanted
            .iter()
            .all(|(sample, count)| metrics.count(sample) == *count)
        {
            return;
        }
        assert!(Instant::now() < give_up, "{wanted:?}:\n{}", metrics.text);
        sleep(GLANCE / 10).await;
    }
}

#[tokio::test]
async fn nothing_that_somebody_has_chosen_is_in_the_metrics_and_their_form_is_right() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let named = json!({
        "host": "okapi.test", "tags": ["quokka"], "zone": "numbat", "metadata": {"wombat": "dugong"},
        "checks": [{"type": "tcp", "name": "axolotl"}],
    });
    client.register_with("zorilla", "quagga-77", &named).await;
    let elsewhere = "/api/v1/services/zorilla/endpoints/quagga-77?namespace=capybara";
    let body = json!({"url": "http://okapi.test:4711", "checks": []});
    client.put(elsewhere, &body).await.must_be(201);
    for target in [
        "/api/v1/services/zorilla",
        "/api/v1/services/tapir",
        "/api/v1/services/zorilla/endpoints/tapir",
        "/tapir",
        "/services/tapir",
    ] {
        let call = Call::get(target)
            .header("hermes-client", "tapir")
            .header("x-request-id", "tapir");
        client.send(call).await;
    }
    let metrics = Metrics::of(&mut client).await;
    for name in [
        "okapi",
        "quokka",
        "numbat",
        "wombat",
        "dugong",
        "axolotl",
        "zorilla",
        "quagga",
        "capybara",
        "4711",
        "tapir",
        "127.0.0.1",
    ] {
        assert!(!metrics.text.contains(name), "{name} in\n{}", metrics.text);
    }
    promtool(&["check", "metrics"], &metrics.text);
}

/// The rows of the reference: name, kind, labels and meaning.
fn reference() -> BTreeMap<String, (String, String, String)> {
    let (_, text) = file("docs/reference/metrics.md");
    let cells = |line: &str| {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let name = cells
            .get(1)?
            .strip_prefix('`')?
            .strip_suffix('`')?
            .to_owned();
        (cells.len() == 6).then(|| (name, (cells[2].clone(), cells[3].clone(), cells[4].clone())))
    };
    text.lines().filter_map(cells).collect()
}

#[tokio::test]
async fn the_reference_has_every_metric_as_it_is_served_and_no_other() {
    let server = TestServer::start().await;
    let metrics = Metrics::of(&mut server.client().await).await;
    let served = metrics.families.iter().map(|(name, (kind, help))| {
        let labels = metrics
            .labels(name)
            .into_iter()
            .map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(" ");
        (name.clone(), (kind.clone(), labels, help.clone()))
    });
    assert_eq!(reference(), served.collect());
}

/// The metrics that an expression speaks of.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !is_name(c));
    words
        .filter(|word| word.starts_with("hermes_") || word.starts_with("process_"))
        .collect()
}

/// Asserts that every metric of an expression is one that is served, and that there is one.
#[track_caller]
fn assert_exists(expression: &str, known: &BTreeMap<String, (String, String, String)>) {
    let names = metrics_in(expression);
    assert!(!names.is_empty(), "{expression} asks for nothing of ours");
    for name in names {
        let family = known.get(name).or_else(|| {
            let suffixes = ["_bucket", "_sum", "_count"];
            let stem = suffixes
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))?;
            known.get(stem).filter(|(kind, ..)| kind == "histogram")
        });
        assert!(family.is_some(), "there is no {name}: {expression}");
    }
}

#[test]
fn the_dashboard_asks_only_for_what_is_there() {
    let (_, text) = file("deploy/grafana/hermes.json");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let known = reference();
    let (mut ids, mut expressions, mut all) = (BTreeSet::new(), 0, BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("a target has an expression");
            assert_exists(expression, &known);
            all.extend(metrics_in(expression).into_iter().map(str::to_owned));
            expressions += 1;
        }
    }
    assert!(expressions > 20, "{expressions}");
    for name in [
        "hermes_discovery_queries_total",
        "hermes_encoded_answers_total",
        "hermes_discovery_query_duration_seconds_bucket",
        "hermes_fallbacks_total",
        "hermes_errors_total",
    ] {
        assert!(all.contains(name), "the dashboard does not show {name}");
    }
}

#[test]
fn the_alerts_are_rules_that_prometheus_takes_and_ask_only_for_what_is_there() {
    let (path, text) = file("deploy/prometheus/hermes.rules.yml");
    promtool(&["check", "rules", &path.to_string_lossy()], "");
    let known = reference();
    let mut alerts = 0;
    let (_, page) = file("docs/reference/metrics.md");
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            assert!(
                page.contains(&format!("`{name}`")),
                "{name} is not in the reference"
            );
            alerts += 1;
        }
        let Some(first) = line.trim_start().strip_prefix("expr: ") else {
            continue;
        };
        assert!(
            !matches!(first, "|" | ">" | ">-"),
            "an expression stands on one line"
        );
        assert_exists(first, &known);
    }
    assert!(alerts >= 5, "{alerts}");
}
