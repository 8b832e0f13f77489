//! `hermes patch`: what an operator lays over a registration.
//!
//! An override wins over what the endpoint registers, and stays when it registers again; `--reset`
//! lets the registered value show again.

use hermes_core::name::{EndpointId, Name};
use hermes_core::wire::answer::ServiceEndpoint;
use hermes_discovery::client::Method;
use serde_json::{Map, Value, json};

use super::{Context, service};
use crate::args::pair;
use crate::exit::Exit;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  hermes patch web web-1 --weight 0
  hermes patch web web-1 --meta version=1.2 --hide-meta canary
  hermes patch web web-1 --tag eu --tag slow --zone eu-1
  hermes patch web web-1 --reset weight --reset metadata
  hermes patch web web-1 --merge '{\"metadata\":{\"retries\":3}}'

An override wins over the registration and survives a new one; --reset takes it away.
Exit code 3: the service or endpoint is not known.";

/// Override the metadata, tags, weight or zone of an endpoint
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Arguments {
    /// The service
    #[arg(value_parser = Name::parse)]
    name: Name,
    /// The endpoint
    #[arg(value_parser = EndpointId::parse)]
    id: EndpointId,
    /// Set a member of the metadata; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, group = "what")]
    meta: Vec<(String, String)>,
    /// Hide a member of the metadata, registered or set; may be repeated
    #[arg(long, value_name = "NAME", group = "what")]
    hide_meta: Vec<String>,
    /// All its tags from now on; may be repeated
    #[arg(long = "tag", value_name = "TAG", group = "what")]
    tags: Vec<String>,
    /// Have no tags
    #[arg(long, conflicts_with = "tags", group = "what")]
    no_tags: bool,
    /// Its share of selections; 0: only when nothing else is ready
    #[arg(long, group = "what")]
    weight: Option<u16>,
    /// Where it runs
    #[arg(long, group = "what")]
    zone: Option<String>,
    /// Let what was registered show again; may be repeated
    #[arg(long, value_name = "FIELD", group = "what",
        value_parser = ["metadata", "tags", "weight", "zone"])]
    reset: Vec<String>,
    /// A merge patch as the API takes it (RFC 7396), for values that are not text
    #[arg(long, value_name = "JSON", value_parser = object, group = "what",
        conflicts_with_all = ["meta", "hide_meta", "tags", "no_tags", "weight", "zone", "reset"])]
    merge: Option<Map<String, Value>>,
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("an object of JSON is expected: {error}"))
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    let patch = patch(arguments)?;
    let endpoints = service(&arguments.name).segment("endpoints");
    let path = context.within(endpoints.segment(arguments.id.as_str()));
    let media_type = [("content-type", "application/merge-patch+json")];
    let body = patch.to_string().into_bytes();
    let request = context
        .client
        .request(Method::PATCH, &path, &media_type, body.into());
    let answer = request.await?;
    let endpoint = answer.read(serde_json::from_slice::<ServiceEndpoint>)?;
    if !context.output.json(&answer.body)? {
        context.output.line(&endpoint.id)?;
    }
    let (name, id) = (&arguments.name, &endpoint.id);
    let now = now(&patch, &endpoint).join(", ");
    context.output.say(&format!("{id} in {name} has now {now}"));
    Ok(Exit::Done)
}

/// What was patched, as it is now.
fn now(patch: &Value, endpoint: &ServiceEndpoint) -> Vec<String> {
    let fields = patch.as_object().into_iter().flat_map(Map::keys);
    let tell = |field: &String| match field.as_str() {
        "weight" => format!("weight {}", endpoint.weight),
        "tags" if endpoint.tags.is_empty() => "no tags".to_owned(),
        "tags" => format!("tags {}", endpoint.tags.join(", ")),
        "metadata" => format!("metadata {}", Value::from(endpoint.metadata.clone())),
        "zone" => match &endpoint.zone {
            None => "no zone".to_owned(),
            Some(zone) => format!("zone {zone}"),
        },
        other => other.to_owned(),
    };
    fields.map(tell).collect()
}

/// The merge patch that was asked for.
fn patch(arguments: &Arguments) -> Result<Value, Failure> {
    if let Some(patch) = &arguments.merge {
        return Ok(patch.clone().into());
    }
    let mut patch = Map::new();
    let set = arguments
        .meta
        .iter()
        .map(|(name, value)| (name, json!(value)));
    let hidden = arguments.hide_meta.iter().map(|name| (name, Value::Null));
    let metadata: Map<String, Value> = set
        .chain(hidden)
        .map(|(name, value)| (name.clone(), value))
        .collect();
    if !metadata.is_empty() {
        patch.insert("metadata".into(), metadata.into());
    }
    if arguments.no_tags || !arguments.tags.is_empty() {
        patch.insert("tags".into(), json!(arguments.tags));
    }
    if let Some(weight) = arguments.weight {
        patch.insert("weight".into(), json!(weight));
    }
    if let Some(zone) = &arguments.zone {
        patch.insert("zone".into(), json!(zone));
    }
    for field in &arguments.reset {
        if patch.insert(field.clone(), Value::Null).is_some() {
            let what = format!("{field} is to be overridden and reset at once");
            let hint = "reset it first, and override it with another `hermes patch`";
            return Err(Failure::told(Exit::Usage, what, hint));
        }
    }
    Ok(patch.into())
}
