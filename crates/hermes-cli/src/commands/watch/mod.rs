//! `hermes watch`: the changes as they happen, for people or as JSON.
//!
//! When the server goes away, it is asked again, each time a little later, and the stream goes on
//! after the last event that came: nothing is missed and nothing is told twice, unless the server
//! itself says that it has to begin anew.

mod story;

use std::time::Duration;

use hermes_core::name::Name;
use hermes_discovery::client::{Backoff, ClientError, Event, EventStream, Path};
use serde_json::Value;

use super::Context;
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
    let mut watch = Watch {
        context,
        arguments,
        story: Story::new(context.namespace()),
        cluster: None,
        last_id: arguments.since.map(|revision| revision.to_string()),
        backoff: Backoff::default(),
        goodbye: None,
    };
    let mut stream = watch.connect().await?;
    loop {
        let lost = watch.follow(&mut stream).await?;
        if arguments.once {
            return Err(lost);
        }
        context.output.say(&format!("{lost}; trying again"));
        // A server that says when to come back spreads its watchers out.
        let goodbye = watch.goodbye.take();
        let wait = goodbye.and_then(|goodbye| goodbye.retry).or(stream.retry());
        stream = watch.connect_again(wait).await?;
        context.output.say(&match &watch.last_id {
            Some(id) => format!("back; going on after revision {id}"),
            None => "back".to_owned(),
        });
    }
}

/// What the server says when it ends a stream.
struct Goodbye {
    reason: String,
    retry: Option<Duration>,
}

/// A watch over the streams that it takes.
struct Watch<'a> {
    context: &'a Context<'a>,
    arguments: &'a Arguments,
    story: Story,
    /// Whose revisions these are.
    cluster: Option<String>,
    /// Where to go on.
    last_id: Option<String>,
    backoff: Backoff,
    goodbye: Option<Goodbye>,
}

impl Watch<'_> {
    async fn connect(&self) -> Result<EventStream, ClientError> {
        let mut path = self.context.within(Path::new("/api/v1/watch"));
        for name in &self.arguments.names {
            path = path.query("service", name.as_str());
        }
        if let Some(cluster) = &self.cluster {
            path = path.query("cluster", cluster);
        }
        let resume = self.last_id.as_deref().map(|id| ("last-event-id", id));
        self.context.client.events(&path, resume.as_slice()).await
    }

    /// Connects until it works, or the server says that it never will.
    async fn connect_again(&mut self, first: Option<Duration>) -> Result<EventStream, ClientError> {
        let mut wait = first.unwrap_or_else(|| self.backoff.wait());
        loop {
            tokio::time::sleep(wait).await;
            wait = self.backoff.wait();
            match self.connect().await {
                Err(ClientError::Problem(problem)) if (400..429).contains(&problem.status) => {
                    return Err(ClientError::Problem(problem));
                }
                // Whatever else it is may pass: a proxy, too, talks nonsense while the server
                // behind it starts.
                Err(_) => {}
                Ok(stream) => return Ok(stream),
            }
        }
    }

    /// Follows one stream until it is lost, and says how.
    async fn follow(&mut self, stream: &mut EventStream) -> Result<Failure, Failure> {
        loop {
            match stream.next().await {
                Ok(Some(event)) => self.take(&event)?,
                Ok(None) => return Ok(self.ended()),
                Err(error) => return Ok(error.into()),
            }
            let is_denied = |goodbye: &Goodbye| goodbye.reason == "denied";
            if self.goodbye.as_ref().is_some_and(is_denied) {
                let what = "the server ends the watch: it is no longer allowed";
                let hint = "ask whoever runs the server";
                return Err(Failure::told(Exit::Denied, what, hint));
            }
        }
    }

    fn ended(&self) -> Failure {
        let said = self.goodbye.as_ref().map(|goodbye| &*goodbye.reason);
        let goodbye = said.unwrap_or("unsaid");
        let address = self.context.client.address();
        let what = format!("the server at {address} has ended the stream (reason: {goodbye})");
        Failure::told(Exit::Unreachable, what, "without --once it is asked again")
    }

    fn take(&mut self, event: &Event) -> Result<(), Failure> {
        let data = serde_json::from_str::<Value>(&event.data);
        let data = data.map_err(|error| ClientError::Nonsense {
            address: self.context.client.address().into(),
            what: format!("the data of the event `{}` is odd ({error})", event.event),
        })?;
        match event.event.as_str() {
            "hello" => self.cluster = data["cluster"].as_str().map(Into::into),
            // What was known counts no more, and neither does the place to go on.
            "reset" => self.last_id = None,
            "goodbye" => {
                let retry = data["retry"].as_f64();
                let retry = retry.and_then(|wait| Duration::try_from_secs_f64(wait).ok());
                let reason = data["reason"].as_str().unwrap_or("unsaid").to_owned();
                self.goodbye = Some(Goodbye { reason, retry });
            }
            // Only what is more than a greeting shows that it works again.
            _ => self.backoff.reset(),
        }
        if let Some(id) = &event.id {
            self.last_id = Some(id.clone());
        }
        let output = self.context.output;
        if output.json(line(event).as_bytes())? {
            return Ok(());
        }
        self.story.tell(event, data, output)
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
