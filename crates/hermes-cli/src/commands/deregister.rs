//! `hermes deregister`: an endpoint leaves, or a whole service.

use hermes_core::name::{EndpointId, Name};
use hermes_discovery::client::Method;

use super::{Context, service};
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes deregister web 127.0.0.1:8080
  hermes deregister web --all

Deregistering what is already gone is no failure, as long as the server remembers it.
Exit code 3: the service or endpoint was never known.";

/// Deregister an endpoint, or a whole service with --all
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "hermes deregister [OPTIONS] <NAME> <ID|--all>",
    group = clap::ArgGroup::new("what").required(true)
)]
pub(crate) struct Arguments {
    /// The service
    #[arg(value_parser = Name::parse)]
    name: Name,
    /// The endpoint
    #[arg(value_parser = EndpointId::parse, group = "what")]
    id: Option<EndpointId>,
    /// Deregister every endpoint and forget the name
    #[arg(long, group = "what")]
    all: bool,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    let mut path = service(&arguments.name);
    if let Some(id) = &arguments.id {
        path = path.segment("endpoints").segment(id.as_str());
    }
    let path = context.within(path);
    let request = context
        .client
        .request(Method::DELETE, &path, &[], Vec::new().into());
    request.await?.confirm()?;
    let name = &arguments.name;
    context.output.say(&match &arguments.id {
        Some(id) => format!("deregistered {id} from {name}"),
        None => format!("deregistered every endpoint of {name} and forgot the name"),
    });
    Ok(Exit::Done)
}
