//! `hermes select`: from the endpoints of a service to those that suit, best first.

use clap::builder::{PossibleValue, PossibleValuesParser};
use hermes_core::name::Name;
use hermes_core::select::Policy;
use hermes_core::wire::answer::{ServiceDiscoveryResponse, ServiceEndpoint};
use hermes_discovery::client::Method;
use serde_json::{Map, Value, json};

use super::{Context, service};
use crate::args::pair;
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes select web
  hermes select web --policy rendezvous --key user-42
  hermes select web --zone eu-1 --tag canary --limit 3
  hermes select web --port grpc --exclude web-1 --fallback any

Exit codes: 3 unknown service, 7 known but nothing ready suits.";

/// Choose endpoints by a policy and print their URLs, best first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service
    #[arg(value_parser = Name::parse)]
    name: Name,
    /// How to choose [default: round_robin]
    #[arg(long, value_parser = policies())]
    policy: Option<String>,
    /// What rendezvous goes by: the same key gets the same endpoint
    #[arg(long, required_if_eq("policy", "rendezvous"))]
    key: Option<String>,
    /// Only those with this tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Rather those in this zone
    #[arg(long)]
    zone: Option<String>,
    /// Only those in the zone
    #[arg(long, requires = "zone")]
    zone_strict: bool,
    /// Only those with this metadata; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Not this id or URL; may be repeated
    #[arg(long, value_name = "ID|URL")]
    exclude: Vec<String>,
    /// The named port whose URL is wanted
    #[arg(long, value_parser = Name::parse)]
    port: Option<Name>,
    /// What to do when nothing is ready; any: hand out one that is not
    #[arg(long, value_parser = ["none", "any"])]
    fallback: Option<String>,
    /// How many, at most
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: Option<u8>,
}

fn policies() -> PossibleValuesParser {
    let value = |policy: Policy| {
        // Who types a hyphen means the same.
        let habit = match policy {
            Policy::RoundRobin => Some("round-robin"),
            Policy::LeastLoaded => Some("least-loaded"),
            Policy::Random | Policy::Weighted | Policy::Rendezvous => None,
        };
        PossibleValue::new(policy.word()).aliases(habit)
    };
    PossibleValuesParser::new(Policy::ALL.map(value))
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    let path = context.within(service(&arguments.name).segment("select"));
    let body = criteria(arguments).to_string().into_bytes();
    let request = context
        .client
        .request(Method::POST, &path, &[], body.into());
    let answer = request.await?;
    let response = answer.read(serde_json::from_slice::<ServiceDiscoveryResponse>)?;
    let flags = answer.header("hermes-flags").unwrap_or_default();
    if flags.split(',').any(|flag| flag.trim() == "panic") {
        context
            .output
            .say("nothing is ready; this is handed out all the same (--fallback any)");
    }
    if context.output.json(&answer.body)? {
        return Ok(Exit::Done);
    }
    for endpoint in &response.endpoints {
        context
            .output
            .line(url(endpoint, arguments.port.as_ref()))?;
    }
    Ok(Exit::Done)
}

/// The URL of the named port, or of the main one.
fn url<'a>(endpoint: &'a ServiceEndpoint, port: Option<&Name>) -> &'a str {
    let named = port.and_then(|port| endpoint.ports.get(port.as_str()));
    named.map_or(&endpoint.url, |port| &port.url)
}

/// What was said, and nothing of what was not: the server knows the defaults.
fn criteria(arguments: &Arguments) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        let is_said = match &value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(items) => !items.is_empty(),
            Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
        };
        if is_said {
            members.insert(name.into(), value);
        }
    };
    let metadata = arguments.meta.iter().cloned();
    let metadata: Map<String, Value> = metadata.map(|(name, value)| (name, value.into())).collect();
    let policy = arguments.policy.as_ref().map(|word| word.replace('-', "_"));
    put("policy", json!(policy));
    put("key", json!(arguments.key));
    put("tags", json!(arguments.tags));
    put("zone", json!(arguments.zone));
    put("zone_strict", json!(arguments.zone_strict));
    put("metadata", metadata.into());
    put("exclude", json!(arguments.exclude));
    put("port", json!(arguments.port.as_ref().map(Name::as_str)));
    put("fallback", json!(arguments.fallback));
    put("limit", json!(arguments.limit));
    members.into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn body(words: &str) -> Value {
        let words = format!("select {words}");
        criteria(&Probe::parse_from(words.split_whitespace()).arguments)
    }

    #[test]
    fn only_what_was_said_is_sent() {
        assert_eq!(body("web"), json!({}));
        assert_eq!(
            body("web --policy rendezvous --key a --tag x --tag y --zone eu --zone-strict"),
            json!({"policy": "rendezvous", "key": "a", "tags": ["x", "y"], "zone": "eu",
                "zone_strict": true})
        );
        assert_eq!(
            body("web --meta v=1 --exclude a --port gRPC --fallback any --limit 3"),
            json!({"metadata": {"v": "1"}, "exclude": ["a"], "port": "grpc", "fallback": "any",
                "limit": 3})
        );
    }

    #[test]
    fn the_server_reads_what_is_sent() {
        let said = body("web --policy least-loaded --tag x --zone eu --zone-strict --limit 100");
        let read = hermes_core::wire::request::read_criteria(said.to_string().as_bytes()).unwrap();
        assert_eq!(read.policy, Some(Policy::LeastLoaded));
        assert_eq!(read.limit, 100);
    }
}
