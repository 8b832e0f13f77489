//! `hermes drain` and `hermes undrain`: an endpoint is handed out no more, and again.
//!
//! Draining removes nothing: the endpoint finishes what it has, and is watched as before.

use hermes_core::name::{EndpointId, Name};
use hermes_core::wire::answer::{ServiceDiscoveryResponse, ServiceEndpoint};
use hermes_discovery::client::{Method, Path};
use serde_json::json;

use super::{Context, reason, service};
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes drain web web-1
  hermes drain web web-1 --reason 'kernel update' --sticky

The endpoint stays registered and finishes what it has; `hermes undrain` ends it.
Exit code 3: the service or endpoint is not known.";

const UNDRAIN_EXAMPLES: &str = "\
Examples:
  hermes undrain web web-1

Undraining what does not drain is no failure.
Exit code 3: the service or endpoint is not known.";

/// Hand an endpoint out no more, but let it finish what it has
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service
    #[arg(value_parser = Name::parse)]
    name: Name,
    /// The endpoint
    #[arg(value_parser = EndpointId::parse)]
    id: EndpointId,
    /// Why, for people who look at it later
    #[arg(long)]
    reason: Option<String>,
    /// Until `hermes undrain`, even if the process starts anew meanwhile
    #[arg(long)]
    sticky: bool,
}

/// Hand an endpoint out again
#[derive(Debug, clap::Args)]
#[command(after_help = UNDRAIN_EXAMPLES)]
pub(crate) struct UndrainArguments {
    /// The service
    #[arg(value_parser = Name::parse)]
    name: Name,
    /// The endpoint
    #[arg(value_parser = EndpointId::parse)]
    id: EndpointId,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    let mut wish = json!({"sticky": arguments.sticky});
    if let Some(reason) = &arguments.reason {
        wish["reason"] = json!(reason);
    }
    let path = path(&arguments.name, &arguments.id);
    let body = wish.to_string();
    let endpoint = ask(context, Method::PUT, path, body).await?;
    let (name, id) = (&arguments.name, &endpoint.id);
    let until = if arguments.sticky {
        format!("until `hermes undrain {name} {id}`")
    } else {
        format!("until `hermes undrain {name} {id}`, or until it registers as a new process")
    };
    context
        .output
        .say(&format!("{id} in {name} is draining {until}"));
    tell_of_the_others(&arguments.name, context).await;
    Ok(Exit::Done)
}

pub(crate) async fn run_undrain(
    arguments: &UndrainArguments,
    context: &Context<'_>,
) -> Result<Exit, Failure> {
    let path = path(&arguments.name, &arguments.id);
    let endpoint = ask(context, Method::DELETE, path, String::new()).await?;
    let (name, id) = (&arguments.name, &endpoint.id);
    context.output.say(&if endpoint.ready {
        format!("{id} in {name} is handed out again")
    } else {
        let why = reason(&endpoint);
        format!("{id} in {name} does not drain any more, but is not ready: {why}")
    });
    Ok(Exit::Done)
}

fn path(name: &Name, id: &EndpointId) -> Path {
    let endpoints = service(name).segment("endpoints");
    endpoints.segment(id.as_str()).segment("drain")
}

/// Sends it, and shows the endpoint as it is then.
async fn ask(
    context: &Context<'_>,
    method: Method,
    path: Path,
    body: String,
) -> Result<ServiceEndpoint, Failure> {
    let path = context.within(path);
    let request = context.client.request(method, &path, &[], body.into());
    let answer = request.await?;
    let endpoint = answer.read(serde_json::from_slice::<ServiceEndpoint>)?;
    if !context.output.json(&answer.body)? {
        context.output.line(&endpoint.id)?;
    }
    Ok(endpoint)
}

/// Who drains wants to know what is left. Where it cannot be learnt, nothing is said: the drain
/// itself is done.
async fn tell_of_the_others(name: &Name, context: &Context<'_>) {
    let Ok(answer) = context.client.get(&context.within(service(name))).await else {
        return;
    };
    let Ok(left) = answer.read(serde_json::from_slice::<ServiceDiscoveryResponse>) else {
        return;
    };
    context.output.say(&match left.ready {
        0 => format!("nothing of {name} is ready any more: `hermes resolve {name}` fails now"),
        1 => format!("1 other endpoint of {name} is ready"),
        ready => format!("{ready} other endpoints of {name} are ready"),
    });
}
