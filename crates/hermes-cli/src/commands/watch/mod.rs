//! `hermes watch`: the changes as they happen, for people or as JSON.
//!
//! It goes on when the server goes away and comes back (see [`super::follow`]), and ends when whoever
//! reads it has gone away: `hermes watch | head -n 1` must not wait for another change.

mod story;

use hermes_core::name::Name;
use hermes_discovery::client::Event;
use serde_json::Value;

use super::Context;
use super::follow::{Follower, Step};
use crate::exit::Exit;
use crate::failure::Failure;
use story::Story;

const EXAMPLES: &str = "\
Examples:
  hermes watch
  hermes watch web memory-store
  hermes watch web --since 42
  hermes watch -o json --once

-o json: one object a line, {\"event\": ..., \"id\": ..., \"data\": the event's data, unchanged}.
Exit codes: 6 no server can be reached at the start (with --once: ever), 130 Ctrl-C.";

/// Follow the changes, of all services or of some
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The services; none is all
    #[arg(value_parser = Name::parse, value_name = "NAME")]
    names: Vec<Name>,
    /// Begin after this revision instead of with the present state
    #[arg(long, value_name = "REVISION")]
    since: Option<u64>,
    /// End with the stream instead of connecting again
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    tokio::select! {
        exit = follow(arguments, context) => exit,
        () = context.output.unread() => Ok(Exit::Done),
    }
}

async fn follow(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    let output = context.output;
    let mut story = Story::new(context.namespace());
    let mut follower = Follower::new(context, &arguments.names, arguments.since);
    follower.connect().await?;
    output.wait_for("");
    loop {
        match follower.next().await? {
            Step::Event(event, data) => {
                if !output.json(line(&event).as_bytes())? {
                    story.tell(&event, data, output)?;
                }
            }
            Step::Lost(lost) if arguments.once => return Err(lost),
            Step::Lost(lost) => {
                output.say(&format!("{lost}; trying again"));
                follower.again().await?;
                output.say(&match follower.last_id() {
                    Some(id) => format!("back; going on after revision {id}"),
                    None => "back".to_owned(),
                });
            }
        }
    }
}

/// The event as one line of JSON, its data as it came.
fn line(event: &Event) -> String {
    // A revision is a number wherever JSON has one.
    let id = event.id.as_deref().map_or(Value::Null, |id| {
        id.parse::<u64>()
            .map_or_else(|_error| id.into(), Into::into)
    });
    // A line end in JSON can only stand between its parts.
    let data = event.data.replace('\n', " ");
    let name = Value::from(event.event.as_str());
    format!("{{\"event\":{name},\"id\":{id},\"data\":{data}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_with_its_data_unchanged() {
        let event = Event {
            id: Some("42".into()),
            event: "change".into(),
            data: "{\"b\": 1,\n \"a\": 1.0}".into(),
        };
        assert_eq!(
            line(&event),
            r#"{"event":"change","id":42,"data":{"b": 1,  "a": 1.0}}"#
        );
        let event = Event { id: None, ..event };
        assert!(line(&event).starts_with(r#"{"event":"change","id":null,"#));
    }
}
