//! `hermes status`: one screen on how the registry is, and what is not ready.

use std::collections::BTreeMap;

use hermes_core::name::DEFAULT_NAMESPACE;
use hermes_core::wire::answer::{
    ServiceDiscoveryResponse, ServiceEndpoint, ServiceList, ServiceSummary,
};
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

/// At most so many lines about what is not ready: with those above them they fit on one screen.
const LINES_MAX: usize = 12;
/// At most so many of them about one service: a large one must not hide the others.
const LINES_OF_ONE: usize = 4;
/// At most so many services are asked why.
const SERVICES_MAX: usize = 100;

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
    let unready = Unready::of(context, &list).await?;
    show_server(context, &health, pages.first())?;
    unready.show_counts(context, &list)?;
    unready.show_lines(context)?;
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
) -> Result<(), Failure> {
    let said = health.read(serde_json::from_slice::<Value>)?;
    let header = |name: &str| first.and_then(|page| page.header(name)).unwrap_or("?");
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
    Ok(())
}

/// What is not ready, and why.
#[derive(Default)]
struct Unready {
    /// How many endpoints are not ready, by why.
    counts: BTreeMap<String, usize>,
    /// Services of which nothing is ready.
    dark: usize,
    rows: Vec<Vec<String>>,
    /// Some were not looked at, or not shown.
    is_cut: bool,
}

impl Unready {
    async fn of(context: &Context<'_>, list: &ServiceList) -> Result<Self, Failure> {
        let mut unready = Self::default();
        let wanting =
            |service: &&ServiceSummary| service.ready < service.total || service.total == 0;
        for (number, service) in list.services.iter().filter(wanting).enumerate() {
            unready.dark += usize::from(service.ready == 0);
            if number < SERVICES_MAX {
                unready.look_at(context, service).await?;
            } else {
                unready.is_cut = true;
            }
        }
        Ok(unready)
    }

    async fn look_at(
        &mut self,
        context: &Context<'_>,
        service: &ServiceSummary,
    ) -> Result<(), Failure> {
        let is_home = context.namespace.is_some() || service.namespace == DEFAULT_NAMESPACE;
        let name = if is_home {
            service.name.clone()
        } else {
            format!("{}/{}", service.namespace, service.name)
        };
        if service.total == 0 {
            let emptied = service.emptied.as_deref();
            let why = emptied.map_or_else(
                || "none so far".to_owned(),
                |emptied| format!("the last one {}", how(emptied)),
            );
            self.add(vec![vec![name, "-".into(), "-".into(), why]]);
            return Ok(());
        }
        let path = Path::new("/api/v1/services")
            .segment(&service.name)
            .segment("endpoints")
            .query("namespace", &service.namespace)
            .query("include_unhealthy", "true");
        let answer = match context.client.get(&path).await {
            Ok(answer) => answer,
            // It was deregistered between the two questions.
            Err(ClientError::Problem(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let response = answer.read(serde_json::from_slice::<ServiceDiscoveryResponse>)?;
        let mut rows = Vec::new();
        for endpoint in response.endpoints.iter().filter(|endpoint| !endpoint.ready) {
            *self.counts.entry(kind(endpoint).to_owned()).or_default() += 1;
            let health = endpoint.health_status.clone();
            rows.push(vec![
                name.clone(),
                endpoint.id.clone(),
                health,
                reason(endpoint),
            ]);
        }
        let more = rows.len().saturating_sub(LINES_OF_ONE);
        if more > 0 {
            rows.truncate(LINES_OF_ONE);
            rows.push(vec![
                name,
                "...".into(),
                "-".into(),
                format!("and {more} more"),
            ]);
        }
        self.add(rows);
        Ok(())
    }

    fn add(&mut self, rows: Vec<Vec<String>>) {
        let room = LINES_MAX.saturating_sub(self.rows.len());
        self.is_cut |= rows.len() > room;
        self.rows.extend(rows.into_iter().take(room));
    }

    fn show_counts(&self, context: &Context<'_>, list: &ServiceList) -> Result<(), Failure> {
        let count = |of: fn(&ServiceSummary) -> usize| list.services.iter().map(of).sum::<usize>();
        let (ready, total) = (
            count(|service| service.ready),
            count(|service| service.total),
        );
        let services = match self.dark {
            0 => list.services.len().to_string(),
            dark => format!("{}, {dark} without a ready endpoint", list.services.len()),
        };
        let mut endpoints = format!("{ready} ready of {total}");
        for (kind, count) in &self.counts {
            endpoints.push_str(&format!(", {count} {kind}"));
        }
        context
            .output
            .line(&format!("{:<10} {services}", "services"))?;
        context
            .output
            .line(&format!("{:<10} {endpoints}", "endpoints"))
    }

    fn show_lines(&self, context: &Context<'_>) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        context.output.line("")?;
        let header = ["NOT READY", "ENDPOINT", "HEALTH", "WHY"];
        context.output.table(&header, &self.rows)?;
        if self.is_cut {
            let what = "and more; `hermes services` and `hermes endpoints NAME` show all of it";
            context.output.say(what);
        }
        Ok(())
    }
}

/// Why an endpoint is not ready, in a word.
fn kind(endpoint: &ServiceEndpoint) -> &str {
    let flags = ["draining", "starting"];
    let flag = flags
        .into_iter()
        .find(|flag| endpoint.flags.iter().any(|f| f == flag));
    match endpoint.health_status.as_str() {
        // It starts, but it is known already that it does not work.
        "unhealthy" if flag != Some("draining") => "unhealthy",
        health => flag.unwrap_or(health),
    }
}
