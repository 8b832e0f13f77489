//! Each example is run, as whoever reads it would run it, and is short.
//!
//! `cargo test` builds the examples before it runs this; where it did not, they are built here.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::make::within;

/// Every example that there is.
const EXAMPLES: [&str; 8] = [
    "application/main",
    "balanced",
    "basic",
    "custom_check",
    "environment",
    "graceful_degradation",
    "required_services",
    "wait_for_services",
];
const LINES_MAX: usize = 60;

/// An example as a program, beside this one; built when nobody has built it.
async fn example(name: &str) -> Command {
    let own = std::env::current_exe().unwrap();
    let profile: PathBuf = own.ancestors().nth(2).unwrap().into();
    let program = profile.join("examples").join(name);
    if !program.exists() {
        let arguments = ["build", "-q", "-p", "hermes-discovery", "--example", name];
        let built = Command::new(env!("CARGO"))
            .args(arguments)
            .status()
            .await
            .unwrap();
        assert!(built.success(), "{name} does not build");
    }
    let mut command = Command::new(program);
    command.env_clear().kill_on_drop(true).stdin(Stdio::null());
    command
}

async fn printed(name: &str, variables: &[(&str, &str)]) -> String {
    let mut command = example(name).await;
    command.envs(variables.iter().copied());
    let output = within(name, command.output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {text}{error}");
    text
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}

#[test]
fn every_example_is_listed_here_short_and_headed_by_the_command_that_runs_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                format!("{name}/main")
            } else {
                name
            }
        })
        .collect();
    found.sort();
    assert_eq!(found, EXAMPLES);
    for name in EXAMPLES {
        let text = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines");
        let head: Vec<&str> = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let name = name.trim_end_matches("/main");
        let command = format!("cargo run -p hermes-discovery --example {name}");
        assert!(
            head.concat().contains(&command),
            "{name} does not say how it is run"
        );
    }
}

/// Every source of the crate, with where it stands.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(self::sources(&path));
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            sources.push((path, text));
        }
    }
    sources
}

/// What stands in them is compiled and run as documentation.
#[test]
fn every_trait_has_an_example_in_its_documentation() {
    let mut traits = 0;
    for (path, text) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        for (at, _) in text.match_indices("\npub trait ") {
            traits += 1;
            let above = text[..at].rsplit("\n\n").next().unwrap();
            let name = text[at + 1..].lines().next().unwrap();
            assert!(above.contains("/// ```"), "{name} in {}", path.display());
        }
    }
    assert!(traits >= 7, "{traits}");
}

#[tokio::test]
async fn basic_runs() {
    let text = printed("basic", &[]).await;
    assert_holds(
        &text,
        &[
            "Memory service at: http://127.0.0.1:9000\n",
            "Memory service is unhealthy\n",
            "\"cognition\": http://127.0.0.1:9100 (",
        ],
    );
}

#[tokio::test]
async fn environment_runs() {
    let variables = [
        ("ENVIRONMENT", "production"),
        ("SERVICE_DISCOVERY_ENV_PREFIX", "SERVICE_"),
        ("SERVICE_DISCOVERY_HTTP_HOSTS", "memory-service"),
        ("SERVICE_MEMORY", "http://memory-service:9000"),
        ("SERVICE_COGNITION", "http://cognition-service:9100"),
    ];
    let text = printed("environment", &variables).await;
    let memory = "memory is at http://memory-service:9000, says the environment\n";
    assert_holds(
        &text,
        &[
            "production ($ENVIRONMENT)",
            "checks every 30s (default)",
            memory,
        ],
    );
    assert!(
        !text.contains("cognition"),
        "plain http, and no exception: {text}"
    );
    let mut wrong = example("environment").await;
    wrong
        .env("ENVIRONMENT", "staging")
        .env("SERVICE_DISCOVERY_HEALTH_CHECK_TIMEOUT", "soon");
    let output = within("an end", wrong.output()).await.unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_holds(
        &text,
        &[
            "$ENVIRONMENT is `staging`",
            "HEALTH_CHECK_TIMEOUT is `soon`",
        ],
    );
}

#[tokio::test]
async fn balanced_runs() {
    let text = printed("balanced", &[]).await;
    let next = |port: u16| {
        text.matches(&format!("next: http://127.0.0.1:{port}\n"))
            .count()
    };
    assert_eq!((next(9001), next(9002), next(9003)), (2, 0, 2), "{text}");
    assert_holds(&text, &["sticky: http://127.0.0.1:"]);
}

#[tokio::test]
async fn required_services_runs() {
    let text = printed("required_services", &[]).await;
    let lines = "not started, for want of [\"cognition\"]\nstarted\nstarted without\n";
    assert_eq!(text, lines);
}

#[tokio::test]
async fn wait_for_services_runs() {
    let text = printed("wait_for_services", &[]).await;
    let lines = "memory and cognition are ready\ngoing on without: Missing services: voice\n";
    assert_eq!(text, lines);
}

#[tokio::test]
async fn custom_check_runs() {
    let text = printed("custom_check", &[]).await;
    let lines = [
        "healthy: http: 0 in the queue\n",
        "degraded: http: 3 in the queue\n",
        "unhealthy: it no longer answers\n",
    ];
    assert_eq!(text, lines.concat());
}

#[tokio::test]
async fn graceful_degradation_runs() {
    let text = printed("graceful_degradation", &[]).await;
    let parts = [
        "Cognition service not available\n{\"context\":[],\"fallback\":true}\n",
        "Cognition service unhealthy (",
        "{\"context\":[\"ada at http://127.0.0.1:9100\"],\"fallback\":false}\n",
        "reporting: Ok({\"cognition\": http://127.0.0.1:9100 (healthy, ready, live, revision ",
    ];
    assert_holds(&text, &parts);
}

/// A service that is well and whose tools answer with what they were asked.
async fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    url
}

async fn answer(stream: TcpStream) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let begin = head.len();
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
        let line = head[begin..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let body = json!({"context": [asked]}).to_string();
    let head = format!(
        "HTTP/1.1 200 x\r\ncontent-length: {}\r\nconnection: close",
        body.len()
    );
    stream
        .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
        .await
        .ok()
}

/// Asks the application; status and body.
async fn ask(address: &str, question: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{question} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}",
        body.len()
    );
    let request = format!("{head}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

async fn application(variables: &[(&str, &str)]) -> (Child, String) {
    let mut command = example("application").await;
    command
        .envs(variables.iter().copied())
        .env("PORT", "0")
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    within("its address", stdout.read_line(&mut line))
        .await
        .unwrap();
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .unwrap()
        .to_owned();
    (child, address)
}

#[tokio::test]
async fn the_application_runs_with_its_services_and_without() {
    let memory = service().await;
    let (_child, address) = application(&[("SERVICE_MEMORY", &memory)]).await;
    let all =
        format!("{{\"services\":{{\"memory\":{{\"endpoint\":\"{memory}\",\"healthy\":true}}}}}}");
    within("memory to be healthy", async {
        while ask(&address, "GET /services", "").await != (200, all.clone()) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let (status, body) = ask(&address, "POST /input", "{\"text\":\"hello\"}").await;
    assert_eq!(status, 200, "{body}");
    assert_holds(
        &body,
        &[
            "\"status\":\"success\"",
            "\"user_id\":\"anonymous\"",
            "hello",
        ],
    );
    let fallback = (200, "{\"context\":[],\"status\":\"fallback\"}".to_owned());
    assert_eq!(ask(&address, "GET /context/ada", "").await, fallback);

    let cognition = service().await;
    let (mut child, address) = application(&[("SERVICE_COGNITION", &cognition)]).await;
    within("cognition to be healthy", async {
        while ask(&address, "GET /context/ada", "").await == fallback {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let (_, body) = ask(&address, "GET /context/ada", "").await;
    assert_eq!(
        body,
        "{\"context\":[{\"user_id\":\"ada\"}],\"status\":\"success\"}"
    );
    let away = (503, "Memory service is currently unavailable".to_owned());
    assert_eq!(ask(&address, "POST /input", "{}").await, away);
    // Ctrl-C lets it finish what it has, and shut its discovery down.
    let interrupt = format!("kill -INT {}", child.id().unwrap());
    let sent = Command::new("sh").args(["-c", &interrupt]).status().await;
    assert!(sent.unwrap().success());
    let status = within("its end", child.wait()).await.unwrap();
    assert!(status.success(), "{status}");
}
