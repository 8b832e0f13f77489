//! `hermes resolve`: from a name to a URL that works, and nothing else on stdout.

use hermes_core::name::Name;
use hermes_core::wire::answer::UrlAnswer;

use super::{Context, service};
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes resolve web
  hermes resolve web --addr http://127.0.0.1:8001
  curl \"$(hermes resolve web)/health\"

Exit codes: 3 unknown service, 7 known but nothing is ready, 6 no server can be reached.";

/// Print the URL of a ready endpoint
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service
    #[arg(value_parser = Name::parse)]
    name: Name,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    let path = context.within(service(&arguments.name).segment("url"));
    let answer = context.client.get(&path).await?;
    let url = answer.read(serde_json::from_slice::<UrlAnswer>)?;
    if !context.output.json(&answer.body)? {
        context.output.line(&url.selected_url)?;
    }
    Ok(Exit::Done)
}
