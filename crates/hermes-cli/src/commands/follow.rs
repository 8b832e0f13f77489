//! Following a watch for as long as it takes: over several streams, and over restarts of the server.
//!
//! When the server goes away, it is asked again, each time a little later, and the stream goes on
//! after the last event that came: nothing is missed and nothing comes twice, unless the server
//! itself says that it has to begin anew.

use std::time::Duration;

use hermes_core::name::Name;
use hermes_discovery::client::{Backoff, ClientError, Event, EventStream, Path};
use serde_json::Value;

use super::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// What comes next.
pub(super) enum Step {
    /// An event, and its data.
    Event(Event, Value),
    /// The stream is lost; [`Follower::again`] goes on.
    Lost(Failure),
}

/// What the server says when it ends a stream.
struct Goodbye {
    reason: String,
    retry: Option<Duration>,
}

/// A watch over the streams that it takes.
pub(super) struct Follower<'a> {
    context: &'a Context<'a>,
    names: &'a [Name],
    stream: Option<EventStream>,
    /// Whose revisions these are.
    cluster: Option<String>,
    /// Where to go on.
    last_id: Option<String>,
    backoff: Backoff,
    goodbye: Option<Goodbye>,
    /// Why there is no stream at the moment.
    trouble: Option<ClientError>,
}

impl<'a> Follower<'a> {
    /// Follows services, or all where none is named; from a revision on, or from the present state.
    pub(super) fn new(context: &'a Context<'a>, names: &'a [Name], since: Option<u64>) -> Self {
        Self {
            context,
            names,
            stream: None,
            cluster: None,
            last_id: since.map(|revision| revision.to_string()),
            backoff: Backoff::default(),
            goodbye: None,
            trouble: None,
        }
    }

    /// The revision after which it goes on.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Why the server is not heard at the moment.
    pub(super) fn trouble(&self) -> Option<&ClientError> {
        self.trouble.as_ref()
    }

    /// Connects, once.
    pub(super) async fn connect(&mut self) -> Result<(), ClientError> {
        let mut path = self.context.within(Path::new("/api/v1/watch"));
        for name in self.names {
            path = path.query("service", name.as_str());
        }
        if let Some(cluster) = &self.cluster {
            path = path.query("cluster", cluster);
        }
        let resume = self.last_id.as_deref().map(|id| ("last-event-id", id));
        let stream = self.context.client.events(&path, resume.as_slice()).await;
        match stream {
            Ok(stream) => {
                self.stream = Some(stream);
                self.trouble = None;
                Ok(())
            }
            Err(error) => {
                self.trouble = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Connects until it works, or the server says that it never will.
    pub(super) async fn again(&mut self) -> Result<(), ClientError> {
        // A server that says when to come back spreads its watchers out.
        let said = self.goodbye.take().and_then(|goodbye| goodbye.retry);
        let said = said.or(self.stream.take().and_then(|stream| stream.retry()));
        let mut wait = said.unwrap_or_else(|| self.backoff.wait());
        loop {
            tokio::time::sleep(wait).await;
            wait = self.backoff.wait();
            match self.connect().await {
                Ok(()) => return Ok(()),
                Err(error @ ClientError::Denied { .. }) => return Err(error),
                Err(ClientError::Problem(problem)) if (400..429).contains(&problem.status) => {
                    return Err(ClientError::Problem(problem));
                }
                // Whatever else it is may pass: a proxy, too, talks nonsense while the server
                // behind it starts.
                Err(_) => {}
            }
        }
    }

    /// The next event, or how the stream was lost.
    pub(super) async fn next(&mut self) -> Result<Step, Failure> {
        if self
            .goodbye
            .as_ref()
            .is_some_and(|said| said.reason == "denied")
        {
            let what = "the server ends the watch: it is no longer allowed";
            let hint = "ask whoever runs the server";
            return Err(Failure::told(Exit::Denied, what, hint));
        }
        let Some(stream) = &mut self.stream else {
            return Ok(Step::Lost(self.ended()));
        };
        let failure = match stream.next().await {
            Ok(Some(event)) => return self.take(event),
            Ok(None) => self.ended(),
            Err(error) => {
                self.trouble = Some(error.clone());
                error.into()
            }
        };
        Ok(Step::Lost(failure))
    }

    fn ended(&self) -> Failure {
        let said = self.goodbye.as_ref().map(|goodbye| &*goodbye.reason);
        let goodbye = said.unwrap_or("unsaid");
        let address = self.context.client.address();
        let what = format!("the server at {address} has ended the stream (reason: {goodbye})");
        Failure::told(Exit::Unreachable, what, "without --once it is asked again")
    }

    fn take(&mut self, event: Event) -> Result<Step, Failure> {
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
        Ok(Step::Event(event, data))
    }
}
