//! `hermes heartbeat`: a lease is renewed, once or again and again.

use std::time::Duration;

use hermes_core::name::{EndpointId, Name};
use hermes_discovery::client::{ClientError, Method, Path};
use serde_json::{Map, Value, json};

use super::{Context, service};
use crate::args::duration;
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes heartbeat web web-1
  hermes heartbeat web web-1 --every 10s
  hermes heartbeat web web-1 --health degraded --note 'cache is cold' --load 0.7

--every goes on until Ctrl-C, also while no server can be reached, and ends when the server says that
the endpoint is gone or that another incarnation lives.
Exit codes: 1 a newer incarnation lives, 3 unknown or gone: register it again.";

/// Renew the lease of an endpoint
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service
    #[arg(value_parser = Name::parse)]
    name: Name,
    /// The endpoint
    #[arg(value_parser = EndpointId::parse)]
    id: EndpointId,
    /// Only if it is this incarnation
    #[arg(long, value_name = "REVISION")]
    incarnation: Option<u64>,
    /// What it says about itself; counts where a check of type heartbeat asks for it
    #[arg(long, value_parser = ["unknown", "healthy", "degraded", "unhealthy"])]
    health: Option<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How busy it is, in any unit that is the same for all endpoints of the service
    #[arg(long, value_name = "NUMBER")]
    load: Option<f64>,
    /// Send one so often, and go on
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    every: Option<Duration>,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    let endpoints = service(&arguments.name).segment("endpoints");
    let path = endpoints.segment(arguments.id.as_str());
    let path = context.within(path.segment("heartbeat"));
    let body = body(arguments);
    let (name, id) = (&arguments.name, &arguments.id);
    let Some(every) = arguments.every else {
        send(context, &path, &body).await?;
        context
            .output
            .say(&format!("the heartbeat of {id} in {name} was accepted"));
        return Ok(Exit::Done);
    };
    send(context, &path, &body).await?;
    context.output.wait_for("");
    context.output.say(&format!(
        "the heartbeat of {id} in {name} was accepted; one every {} s follows until Ctrl-C",
        every.as_secs_f64()
    ));
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_heard = true;
    loop {
        ticks.tick().await;
        match send(context, &path, &body).await {
            Ok(()) if is_heard => {}
            Ok(()) => {
                is_heard = true;
                context.output.say("heartbeats are accepted again");
            }
            Err(error) if error.is_passing() => {
                // Once is enough: the lease does not run out faster by complaining.
                if std::mem::take(&mut is_heard) {
                    context.output.say(&format!("{error}; going on"));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn send(context: &Context<'_>, path: &Path, body: &str) -> Result<(), ClientError> {
    let body = body.to_owned().into();
    let request = context.client.request(Method::PUT, path, &[], body);
    request.await?.confirm()
}

/// What is said beside that it lives; nothing where nothing is.
fn body(arguments: &Arguments) -> String {
    let mut body = Map::new();
    let said = [
        ("incarnation", json!(arguments.incarnation)),
        ("health_status", json!(arguments.health)),
        ("note", json!(arguments.note)),
        ("load", json!(arguments.load)),
    ];
    for (name, value) in said {
        if !value.is_null() {
            body.insert(name.into(), value);
        }
    }
    if body.is_empty() {
        return String::new();
    }
    Value::from(body).to_string()
}
