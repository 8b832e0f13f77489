//! `hermes services`: every service with how much of it is ready.

use hermes_core::wire::answer::ServiceSummary;
use hermes_discovery::client::Path;

use super::Context;
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes services
  hermes services --prefix memory --tag eu
  hermes services --namespace '*'
  hermes services -o json";

/// List the services
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only those whose name begins so
    #[arg(long)]
    prefix: Option<String>,
    /// Only those with an endpoint that has this tag
    #[arg(long)]
    tag: Option<String>,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    let mut path = context.within(Path::new("/api/v1/services"));
    let filters = [("prefix", &arguments.prefix), ("tag", &arguments.tag)];
    for (name, value) in filters {
        if let Some(value) = value {
            path = path.query(name, value);
        }
    }
    let output = context.output;
    let mut is_json = false;
    let list = context.services(path, |page| {
        is_json = output.json(&page.body)?;
        Ok(())
    });
    let services = list.await?.services;
    if is_json {
        return Ok(Exit::Done);
    }
    if services.is_empty() {
        output.say("no services; `hermes register NAME URL` makes the first one known");
        return Ok(Exit::Done);
    }
    let is_all = context.namespace == Some("*");
    let header = ["NAMESPACE", "NAME", "READY", "TOTAL", "REVISION", "EMPTIED"];
    let rows = services.iter().map(|service| row(service, is_all));
    output.table(&header[usize::from(!is_all)..], &rows.collect::<Vec<_>>())?;
    Ok(Exit::Done)
}

fn row(service: &ServiceSummary, has_namespace: bool) -> Vec<String> {
    let mut cells = vec![
        service.name.clone(),
        service.ready.to_string(),
        service.total.to_string(),
        service.revision.to_string(),
        service.emptied.clone().unwrap_or_default(),
    ];
    if has_namespace {
        cells.insert(0, service.namespace.clone());
    }
    cells
}
