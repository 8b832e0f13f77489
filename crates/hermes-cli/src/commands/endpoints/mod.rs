//! `hermes endpoints`: the endpoints of a service, ready or not, and why.

mod one;

use std::time::Duration;

use hermes_core::name::{EndpointId, Name};
use hermes_core::time::Timestamp;
use hermes_core::wire::answer::{ServiceDiscoveryResponse, ServiceEndpoint};
use hermes_discovery::clock::Clock;

use super::{Context, reason, service};
use crate::age::{age, short};
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes endpoints web
  hermes endpoints web --ready
  hermes endpoints web web-1
  hermes endpoints web -o wide
  hermes endpoints web -o json

With an ID it shows everything about that one: its checks, its lease, and what was laid over it.
Exit codes: 3 unknown service or endpoint; with --ready, 7 when nothing is ready.";

/// List the endpoints of a service, with their health and why
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service
    #[arg(value_parser = Name::parse)]
    name: Name,
    /// Only this one, with everything that is known of it
    #[arg(value_parser = EndpointId::parse, conflicts_with_all = ["ready", "all"])]
    id: Option<EndpointId>,
    /// Only those that are ready, which is what clients get
    #[arg(long, conflicts_with = "all")]
    ready: bool,
    /// All of them; this is what happens without it, too
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    if let Some(id) = &arguments.id {
        return one::run(&arguments.name, id, context).await;
    }
    let mut path = context.within(service(&arguments.name).segment("endpoints"));
    if !arguments.ready {
        path = path.query("include_unhealthy", "true");
    }
    let answer = context.client.get(&path).await?;
    let response = answer.read(serde_json::from_slice::<ServiceDiscoveryResponse>)?;
    let output = context.output;
    let is_nothing_ready = arguments.ready && response.ready == 0;
    let exit = if is_nothing_ready {
        Exit::NothingReady
    } else {
        Exit::Done
    };
    if output.json(&answer.body)? {
        return Ok(exit);
    }
    if response.endpoints.is_empty() {
        output.say(&nothing_to_show(&response));
        return Ok(exit);
    }
    let now = Clock::system().now().time;
    let mut header = vec!["ID", "URL", "HEALTH", "READY", "SINCE", "LEASE"];
    if output.is_wide() {
        header.extend([
            "HEARTBEAT",
            "ZONE",
            "WEIGHT",
            "TAGS",
            "PORTS",
            "INCARNATION",
        ]);
    }
    header.push("REASON");
    let rows = response.endpoints.iter();
    let rows = rows.map(|endpoint| row(endpoint, now, output.is_wide()));
    output.table(&header, &rows.collect::<Vec<_>>())?;
    Ok(exit)
}

fn row(endpoint: &ServiceEndpoint, now: Timestamp, is_wide: bool) -> Vec<String> {
    let lease = match endpoint.ttl {
        None => "static".to_owned(),
        Some(ttl) => short(Duration::try_from_secs_f64(ttl.0).unwrap_or_default()),
    };
    let mut row = vec![
        endpoint.id.clone(),
        endpoint.url.clone(),
        endpoint.health_status.clone(),
        if endpoint.ready { "yes" } else { "no" }.to_owned(),
        age(&endpoint.since, now),
        lease,
    ];
    if is_wide {
        let ports = endpoint.ports.iter();
        let ports = ports.map(|(name, port)| format!("{name}={}", port.port));
        row.extend([
            age(&endpoint.last_heartbeat, now),
            endpoint.zone.clone().unwrap_or_else(|| "-".into()),
            endpoint.weight.to_string(),
            or_dash(endpoint.tags.join(",")),
            ports.collect::<Vec<_>>().join(","),
            endpoint.incarnation.to_string(),
        ]);
    }
    row.push(reason(endpoint));
    row
}

/// An empty cell would look like a mistake.
fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

fn nothing_to_show(response: &ServiceDiscoveryResponse) -> String {
    let name = &response.service_name;
    match (&response.emptied, response.total) {
        (Some(emptied), _) => format!("{name} is known, but its last endpoint {}", how(emptied)),
        (None, 0) => format!("{name} is known, but has no endpoints"),
        (None, total) => format!("none of the {total} endpoints of {name} is ready"),
    }
}

/// How the last endpoint left.
pub(crate) fn how(emptied: &str) -> String {
    match emptied {
        "expired" => "has expired".to_owned(),
        "deregistered" => "was deregistered".to_owned(),
        other => format!("is gone ({other})"),
    }
}
