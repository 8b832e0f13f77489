//! `hermes status`: one screen on how the registry is, and what is not ready.

use hermes_core::name::DEFAULT_NAMESPACE;
use hermes_core::wire::answer::{ServiceDiscoveryResponse, ServiceList, ServiceSummary};
use hermes_discovery::client::{Answer, ClientError, Path};
use serde_json::Value;

use super::endpoints::how;
use super::{Context, reason};
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes status
  hermes status --namespace default
  hermes status -o json

It looks at every namespace unless one is said. Exit code 0 says that the server answers, not that
everything is ready. -o json: {\"health\": the object of /health, \"services\": [the pages of the list]}.";

/// At most so many lines about what is not ready.
const LINES_MAX: usize = 20;

/// Show the server, and what is not ready
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {}

pub(crate) async fn run(context: &Context<'_>) -> Result<Exit, Failure> {
    let health = context.client.get(&Path::new("/health")).await?;
    let namespace = context.namespace.unwrap_or("*");
    let path = Path::new("/api/v1/services").query("namespace", namespace);
    let mut pages: Vec<Answer> = Vec::new();
    let collect = |page: &Answer| {
        pages.push(page.clone());
        Ok(())
    };
    let list = context.services(path, collect).await?;
    if context.output.json(&as_json(&health, &pages))? {
        return Ok(Exit::Done);
    }
    show_server(context, &health, pages.first(), &list)?;
    show_not_ready(context, &list).await?;
    Ok(Exit::Done)
}

/// Both answers unchanged, in one object.
fn as_json(health: &Answer, pages: &[Answer]) -> Vec<u8> {
    let pages: Vec<&[u8]> = pages.iter().map(|page| page.body.trim_ascii()).collect();
    let parts: [&[u8]; 5] = [
        b"{\"health\":",
        health.body.trim_ascii(),
        b",\"services\":[",
        &pages.join(&b","[..]),
        b"]}",
    ];
    parts.concat()
}

fn show_server(
    context: &Context<'_>,
    health: &Answer,
    first: Option<&Answer>,
    list: &ServiceList,
) -> Result<(), Failure> {
    let said = health.read(serde_json::from_slice::<Value>)?;
    let header = |name: &str| first.and_then(|page| page.header(name)).unwrap_or("?");
    let ready: usize = list.services.iter().map(|service| service.ready).sum();
    let total: usize = list.services.iter().map(|service| service.total).sum();
    let version = said["version"].as_str().unwrap_or("?");
    let line = |name: &str, value: &str| context.output.line(&format!("{name:<10} {value}"));
    line("server", context.client.address())?;
    line("version", version)?;
    line("cluster", header("hermes-cluster"))?;
    line("revision", header("hermes-revision"))?;
    // Only while it matters: an old view, or a protection that acts.
    if header("hermes-source") != "live" {
        let stale = format!(
            "{}, {} s old",
            header("hermes-source"),
            header("hermes-age")
        );
        line("source", &stale)?;
    }
    if let Some(flags) = first.and_then(|page| page.header("hermes-flags")) {
        line("flags", flags)?;
    }
    line("services", &list.services.len().to_string())?;
    line("endpoints", &format!("{ready} ready of {total}"))
}

/// Which endpoints are not ready, and why; services without any, too.
async fn show_not_ready(context: &Context<'_>, list: &ServiceList) -> Result<(), Failure> {
    let wanting = |service: &&ServiceSummary| service.ready < service.total || service.total == 0;
    let mut rows = Vec::new();
    for service in list.services.iter().filter(wanting) {
        if rows.len() > LINES_MAX {
            break;
        }
        rows.extend(rows_of(context, service).await?);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let is_cut = rows.len() > LINES_MAX;
    rows.truncate(LINES_MAX);
    context.output.line("")?;
    let header = ["NOT READY", "ENDPOINT", "HEALTH", "REASON"];
    context.output.table(&header, &rows)?;
    if is_cut {
        context
            .output
            .say("and more; `hermes services` shows where");
    }
    Ok(())
}

async fn rows_of(
    context: &Context<'_>,
    service: &ServiceSummary,
) -> Result<Vec<Vec<String>>, Failure> {
    let is_home = context.namespace.is_some() || service.namespace == DEFAULT_NAMESPACE;
    let name = if is_home {
        service.name.clone()
    } else {
        format!("{}/{}", service.namespace, service.name)
    };
    if service.total == 0 {
        let why = service
            .emptied
            .as_deref()
            .map_or("none so far".to_owned(), |emptied| {
                format!("the last one {}", how(emptied))
            });
        return Ok(vec![vec![name, "-".into(), "-".into(), why]]);
    }
    let path = Path::new("/api/v1/services")
        .segment(&service.name)
        .segment("endpoints")
        .query("namespace", &service.namespace)
        .query("include_unhealthy", "true");
    let answer = match context.client.get(&path).await {
        Ok(answer) => answer,
        // It was deregistered between the two questions.
        Err(ClientError::Problem(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let response = answer.read(serde_json::from_slice::<ServiceDiscoveryResponse>)?;
    let not_ready = response.endpoints.iter().filter(|endpoint| !endpoint.ready);
    let rows = not_ready.map(|endpoint| {
        let health = endpoint.health_status.clone();
        vec![name.clone(), endpoint.id.clone(), health, reason(endpoint)]
    });
    Ok(rows.collect())
}
