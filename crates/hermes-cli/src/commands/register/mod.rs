//! `hermes register`: an endpoint comes.
//!
//! Registered from a prompt, nobody is left to send heartbeats: so the endpoint is static unless
//! `--ttl` is given, and the command says which of the two it is. With `-f` many come at once (see
//! [`mod@file`]).

mod file;
mod many;

use std::path::PathBuf;
use std::time::Duration;

use hermes_core::name::{EndpointId, Name};
use hermes_core::wire::answer::{RegistrationAnswer, Seconds};
use hermes_discovery::client::{Answer, ClientError, Method, Path};
use serde_json::{Map, Value, json};

use super::check::{self, Wish};
use super::{Context, in_words, reason, service};
use crate::args::{duration, pair};
use crate::exit::Exit;
use crate::failure::Failure;
#[cfg(unix)]
pub(crate) use file::judge;

const EXAMPLES: &str = "\
Examples:
  hermes register web http://127.0.0.1:8080
  hermes register web --host 127.0.0.1 --port 8080 --id web-1 --check tcp
  hermes register web http://127.0.0.1:8080 --tag eu --meta version=1.2 --port-name grpc=9090
  hermes register web http://127.0.0.1:8080 --check http:/ready --check-interval 5s
  hermes register web http://127.0.0.1:8080 --ttl 30s
  hermes register -f services.yaml

The id of the endpoint goes to stdout. Without --ttl it is static: it stays until it is
deregistered. Without --check, http(s) is asked for /health and anything else must let connect.

A file for -f (JSON is YAML, too; - is stdin):
  services:
    memory-store: http://127.0.0.1:9001
    web:
      - {id: web-1, url: 'http://127.0.0.1:8081', tags: [eu], weight: 50}
      - {id: web-2, host: 127.0.0.1, port: 8082, checks: [{type: tcp, interval: 5s}], ttl: 30s}

An endpoint may have every member that the API's Registration has, and an id. All faults of a file are told at
once, each with its line, and then nothing is registered.";

/// Register an endpoint, static unless --ttl is given
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "hermes register [OPTIONS] <NAME> <URL>\n       hermes register -f <FILE>",
    group = clap::ArgGroup::new("place").required(true)
)]
pub(crate) struct Arguments {
    /// The service
    #[arg(value_parser = Name::parse, required_unless_present = "file", conflicts_with = "file")]
    name: Option<Name>,
    /// Where the endpoint is: http://HOST:PORT
    #[arg(value_name = "URL", group = "place")]
    positional_url: Option<String>,
    /// The same as an option
    #[arg(long, group = "place", value_name = "URL")]
    url: Option<String>,
    /// Where the endpoint is, in parts
    #[arg(long, group = "place", requires = "port")]
    host: Option<String>,
    /// The port that goes with --host
    #[arg(long, requires = "host", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// What is spoken there [default: http]
    #[arg(long, requires = "host")]
    scheme: Option<String>,
    /// Many at once, from a YAML file; - is stdin
    #[arg(short, long, group = "place", value_name = "FILE",
        conflicts_with_all = ["id", "ttl", "tags", "meta", "zone", "weight", "port_name", "checks",
            "check_interval", "initial_health"])]
    file: Option<PathBuf>,
    /// Who it is within the service [default: HOST:PORT]
    #[arg(long, value_parser = EndpointId::parse)]
    id: Option<EndpointId>,
    /// A lease: without a heartbeat for so long it expires
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    ttl: Option<Duration>,
    /// For filtering; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Anything worth knowing; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Where it runs
    #[arg(long)]
    zone: Option<String>,
    /// Its share of selections [default: 100]
    #[arg(long)]
    weight: Option<u16>,
    /// Another port by name; may be repeated
    #[arg(long, value_name = "NAME=PORT", value_parser = named_port)]
    port_name: Vec<(String, u16)>,
    /// How health is tested: http:/PATH, tcp or none; may be repeated
    #[arg(long = "check", value_name = "CHECK", value_parser = check::parse)]
    checks: Vec<Wish>,
    /// How often it is probed [default: 30 s]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    check_interval: Option<Duration>,
    /// A new process: begin a new incarnation even if nothing else is new
    #[arg(long = "new")]
    is_new: bool,
    /// healthy: hand it out before its first probe
    #[arg(long, value_parser = ["unknown", "healthy"], value_name = "HEALTH")]
    initial_health: Option<String>,
}

fn named_port(text: &str) -> Result<(String, u16), String> {
    let (name, port) = pair(text)?;
    match port.parse() {
        Ok(port @ 1..) => Ok((name, port)),
        _ => Err("the port must be a number from 1 to 65535".into()),
    }
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    if let Some(file) = &arguments.file {
        return many::run(file, arguments.is_new, context).await;
    }
    let name = arguments
        .name
        .as_ref()
        .expect("clap wants it where there is no file");
    let body = body(arguments)?;
    let answer = send(
        name,
        arguments.id.as_ref(),
        arguments.is_new,
        &body,
        context,
    )
    .await?;
    let registered = answer.read(serde_json::from_slice::<RegistrationAnswer>)?;
    if !context.output.json(&answer.body)? {
        context.output.line(&registered.endpoint.id)?;
    }
    explain(&registered, context);
    Ok(Exit::Done)
}

/// Sends a registration. By id it is put; without one the server makes the id of the address.
async fn send(
    name: &Name,
    id: Option<&EndpointId>,
    is_new: bool,
    body: &Value,
    context: &Context<'_>,
) -> Result<Answer, ClientError> {
    let endpoints = service(name).segment("endpoints");
    let (method, mut path) = match id {
        Some(id) => (Method::PUT, endpoints.segment(id.as_str())),
        None => (Method::POST, endpoints),
    };
    if is_new {
        path = path.query("new", "true");
    }
    let path = context.within(path);
    let body = body.to_string().into_bytes();
    context
        .client
        .request(method, &path, &[], body.into())
        .await
}

/// The registration: what was said, and the lease in any case.
fn body(arguments: &Arguments) -> Result<Value, Failure> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            body.insert(name.into(), value);
        }
    };
    put(
        "url",
        json!(arguments.positional_url.as_ref().or(arguments.url.as_ref())),
    );
    put("host", json!(arguments.host));
    put("port", json!(arguments.port));
    put("scheme", json!(arguments.scheme));
    put("zone", json!(arguments.zone));
    put("weight", json!(arguments.weight));
    put("initial_health", json!(arguments.initial_health));
    let checks = check::wished(
        &arguments.checks,
        arguments.check_interval,
        arguments.scheme.as_deref(),
    )?;
    put("checks", checks);
    if !arguments.tags.is_empty() {
        put("tags", json!(arguments.tags));
    }
    let pairs = arguments.meta.iter().cloned();
    let metadata: Map<String, Value> = pairs.map(|(name, value)| (name, value.into())).collect();
    if !metadata.is_empty() {
        put("metadata", metadata.into());
    }
    let ports = arguments.port_name.iter().cloned();
    let ports: Map<String, Value> = ports.map(|(name, port)| (name, port.into())).collect();
    if !ports.is_empty() {
        put("ports", ports.into());
    }
    // Null is static; left out it would be the default lease.
    let ttl = arguments.ttl.map(Seconds::from);
    body.insert("ttl".into(), json!(ttl));
    Ok(body.into())
}

/// What became of it, on stderr: a registration is seldom the end of the story.
fn explain(registered: &RegistrationAnswer, context: &Context<'_>) {
    let endpoint = &registered.endpoint;
    let (name, id) = (&endpoint.name, &endpoint.id);
    let say = |text: String| context.output.say(&text);
    if registered.changed {
        say(format!("registered {id} in {name} at {}", endpoint.url));
    } else {
        say(format!(
            "{id} in {name} was registered like this already; nothing changed"
        ));
    }
    if endpoint.ready {
        say(format!("ready: {}", reason(endpoint)));
    } else {
        say(format!(
            "not ready yet: {}; see `hermes endpoints {name}`",
            reason(endpoint)
        ));
    }
    let (Some(ttl), Some(interval)) = (endpoint.ttl, registered.heartbeat_interval) else {
        return say(format!(
            "static: it stays until `hermes deregister {name} {id}`; with --ttl 30s it would expire \
             when heartbeats stop"
        ));
    };
    let path = Path::new("/api/v1/services")
        .segment(name)
        .segment("endpoints");
    let path = context.within(path.segment(id).segment("heartbeat"));
    say(format!(
        "lease: it expires {} s after its last heartbeat; sending one every {} s is up to you:",
        in_words(ttl),
        in_words(interval)
    ));
    say(format!("  PUT {}{path}", context.client.address()));
}
