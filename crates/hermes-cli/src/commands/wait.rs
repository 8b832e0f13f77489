//! `hermes wait`: until services are ready.
//!
//! It follows a watch, so it ends with the change that it waits for and not at the next look. It may
//! begin before the server does: whoever starts everything at once need not care about the order.

use std::collections::BTreeMap;
use std::time::Duration;

use hermes_core::name::Name;
use hermes_core::wire::answer::{ChangeAnswer, ServiceEndpoint, SnapshotAnswer};
use hermes_discovery::client::ClientError;
use serde_json::Value;
use tokio::time::timeout;

use super::endpoints::how;
use super::follow::{Follower, Step};
use super::{Context, in_words, reason, service};
use crate::exit::Exit;
use crate::failure::{Failure, hint_of};

const EXAMPLES: &str = "\
Examples:
  hermes wait web
  hermes wait memory-store llm-adapter --timeout 60s
  hermes wait web --at-least 3
  hermes wait web && exec ./my-program

A service is ready when one of its endpoints is (--at-least: so many). --timeout (30 s unless said) is for
all of it; a server that is not there yet is waited for, too.
Exit codes: 4 not all are ready in time, 6 no server can be reached all that time.";

/// How long may be asked for names that were meant, when the time is over.
const NEAREST_TIMEOUT: Duration = Duration::from_secs(2);

/// Facts about one service at most; a service of a thousand endpoints must not fill the screen.
const FACTS_MAX: usize = 5;

/// Wait until services are ready
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The services
    #[arg(value_parser = Name::parse, value_name = "NAME", required = true)]
    names: Vec<Name>,
    /// How many endpoints of each have to be ready
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..))]
    at_least: u32,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Exit, Failure> {
    if context.namespace == Some("*") {
        let what = "one cannot wait in all namespaces at once";
        return Err(Failure::told(
            Exit::Usage,
            what,
            "say which: --namespace NAME",
        ));
    }
    let mut names = arguments.names.clone();
    names.sort();
    names.dedup();
    let limit = context.timeout.as_secs_f64();
    let list: Vec<&str> = names.iter().map(Name::as_str).collect();
    let list = list.join(", ");
    context
        .output
        .say(&format!("waiting for {list}, at most {limit} s"));
    context.output.wait_for(&format!("waiting for {list}"));

    let mut follower = Follower::new(context, &names, None);
    let mut wait = Wait::new(context, &names, arguments.at_least as usize);
    if let Ok(ended) = timeout(context.timeout, wait.follow(&mut follower)).await {
        ended?;
        wait.show_answers().await?;
        return Ok(Exit::Done);
    }
    Err(wait.explain(follower.trouble()).await)
}

/// What is known of one service.
#[derive(Debug, Default)]
struct Known {
    /// It has been registered once, and is not forgotten.
    is_known: bool,
    emptied: Option<String>,
    endpoints: BTreeMap<String, Seen>,
    /// Its readiness was told.
    is_told: bool,
}

/// What is known of one endpoint.
#[derive(Debug)]
struct Seen {
    is_ready: bool,
    /// Its health, and why.
    health: String,
    reason: String,
}

impl Seen {
    fn of(endpoint: &ServiceEndpoint) -> Self {
        Self {
            is_ready: endpoint.ready,
            health: endpoint.health_status.clone(),
            reason: reason(endpoint),
        }
    }
}

impl Known {
    fn ready(&self) -> usize {
        self.endpoints.values().filter(|seen| seen.is_ready).count()
    }
}

struct Wait<'a> {
    context: &'a Context<'a>,
    at_least: usize,
    services: BTreeMap<String, Known>,
    /// The state is whole; before that, what is not there says nothing.
    is_synced: bool,
}

impl<'a> Wait<'a> {
    fn new(context: &'a Context<'a>, names: &[Name], at_least: usize) -> Self {
        let nothing = names
            .iter()
            .map(|name| (name.to_string(), Known::default()));
        Self {
            context,
            at_least,
            services: nothing.collect(),
            is_synced: false,
        }
    }

    /// Follows until everything is ready.
    async fn follow(&mut self, follower: &mut Follower<'_>) -> Result<(), Failure> {
        let output = self.context.output;
        match follower.connect().await {
            Ok(()) => {}
            Err(error) if error.is_passing() => {
                output.say(&format!("{error}; trying again"));
                follower.again().await?;
            }
            Err(error) => return Err(error.into()),
        }
        loop {
            match follower.next().await? {
                Step::Event(event, data) => self.take(&event.event, data)?,
                Step::Lost(lost) => {
                    output.say(&format!("{lost}; trying again"));
                    follower.again().await?;
                }
            }
            if self.is_synced && self.unready().next().is_none() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, event: &str, data: Value) -> Result<(), Failure> {
        match event {
            "snapshot" => {
                if let Ok(snapshot) = serde_json::from_value::<SnapshotAnswer>(data) {
                    self.take_snapshot(&snapshot);
                }
            }
            "synced" => self.is_synced = true,
            "change" => {
                if let Ok(change) = serde_json::from_value::<ChangeAnswer>(data) {
                    self.take_change(&change);
                }
            }
            "reset" => {
                self.is_synced = false;
                for known in self.services.values_mut() {
                    *known = Known {
                        is_told: known.is_told,
                        ..Known::default()
                    };
                }
            }
            _ => return Ok(()),
        }
        if self.is_synced {
            self.tell()?;
        }
        Ok(())
    }

    fn take_snapshot(&mut self, snapshot: &SnapshotAnswer) {
        let Some(known) = self.services.get_mut(&snapshot.service_name) else {
            return;
        };
        known.is_known = true;
        known.emptied.clone_from(&snapshot.emptied);
        let endpoints = snapshot.endpoints.iter();
        known.endpoints = endpoints
            .map(|endpoint| (endpoint.id.clone(), Seen::of(endpoint)))
            .collect();
    }

    fn take_change(&mut self, change: &ChangeAnswer) {
        let Some(known) = self.services.get_mut(&change.service_name) else {
            return;
        };
        known.is_known = change.kind != "forgotten";
        let Some(id) = &change.id else {
            return;
        };
        match &change.endpoint {
            Some(endpoint) => {
                known.endpoints.insert(id.clone(), Seen::of(endpoint));
            }
            None => {
                known.endpoints.remove(id);
                known.emptied = known.endpoints.is_empty().then(|| change.kind.clone());
            }
        }
    }

    /// The services that are not ready.
    fn unready(&self) -> impl Iterator<Item = (&String, &Known)> {
        let at_least = self.at_least;
        self.services
            .iter()
            .filter(move |(_, known)| known.ready() < at_least)
    }

    /// Says what has become ready or is ready no more, and what is waited for now.
    fn tell(&mut self) -> Result<(), Failure> {
        let output = self.context.output;
        for (name, known) in &mut self.services {
            let (ready, total) = (known.ready(), known.endpoints.len());
            let is_ready = ready >= self.at_least;
            if is_ready && !known.is_told && !output.is_json() {
                output.line(&format!("{name} is ready: {ready} of {total}"))?;
            }
            if !is_ready && known.is_told {
                output.say(&format!("{name} is not ready any more: {ready} of {total}"));
            }
            known.is_told = is_ready;
        }
        let brief = |(name, known): (&String, &Known)| match (known.is_known, known.endpoints.len())
        {
            (false, _) => format!("{name} (not registered)"),
            (true, 0) => format!("{name} (no endpoint)"),
            (true, total) => format!("{name} ({} of {total} ready)", known.ready()),
        };
        let waited: Vec<String> = self.unready().map(brief).collect();
        output.wait_for(&format!("waiting for {}", waited.join(", ")));
        Ok(())
    }

    /// As JSON: the services as the API shows them, now that they are ready.
    async fn show_answers(&self) -> Result<(), Failure> {
        if !self.context.output.is_json() {
            return Ok(());
        }
        for name in self.services.keys() {
            let name = Name::parse(name).expect("it was made of a name");
            let path = self.context.within(service(&name));
            let answer = self.context.client.get(&path).await?;
            self.context.output.json(&answer.body)?;
        }
        Ok(())
    }

    /// What is missing, and what is not ready and why.
    async fn explain(&self, trouble: Option<&ClientError>) -> Failure {
        let limit = in_words(self.context.timeout.into());
        let mut facts = Vec::new();
        if let Some(trouble) = trouble.filter(|_| !self.is_synced) {
            let names: Vec<&str> = self.services.keys().map(String::as_str).collect();
            facts.push(format!(
                "it was waited for {} for {limit} s",
                names.join(", ")
            ));
            return Failure::Listed {
                exit: Exit::from(trouble),
                what: trouble.to_string(),
                facts,
                hint: hint_of(trouble),
            };
        }
        if let Some(trouble) = trouble {
            facts.push(format!("what follows is what was known last: {trouble}"));
        }
        let mut count = 0;
        for (name, known) in self.unready() {
            count += 1;
            facts.extend(self.facts_of(name, known).await);
        }
        let total = self.services.len();
        let what = if total == 1 {
            format!(
                "{} is not ready after {limit} s",
                self.services.keys().next().map_or("", |n| n)
            )
        } else {
            format!("{count} of {total} services are not ready after {limit} s")
        };
        Failure::Listed {
            exit: Exit::TimedOut,
            what,
            facts,
            hint: Some("`hermes watch NAME` shows what happens; --timeout waits longer".into()),
        }
    }

    async fn facts_of(&self, name: &str, known: &Known) -> Vec<String> {
        if !known.is_known {
            let near = self.nearest(name).await;
            return vec![format!("{name}: nobody has registered it{near}")];
        }
        if known.endpoints.is_empty() {
            let emptied = known.emptied.as_deref().map_or_else(
                || "has no endpoint".to_owned(),
                |emptied| format!("is known, but its last endpoint {}", how(emptied)),
            );
            return vec![format!("{name}: {emptied}")];
        }
        let (ready, total) = (known.ready(), known.endpoints.len());
        let mut facts = vec![format!(
            "{name}: {ready} of {total} ready, {} wanted",
            self.at_least
        )];
        let unready = known.endpoints.iter().filter(|(_, seen)| !seen.is_ready);
        let count = unready.clone().count();
        facts.extend(unready.take(FACTS_MAX).map(|(id, seen)| {
            let (health, reason) = (&seen.health, &seen.reason);
            format!("  {id}  {health}: {reason}")
        }));
        if count > FACTS_MAX {
            facts.push(format!("  and {} more", count - FACTS_MAX));
        }
        facts
    }

    /// What may have been meant by a name that nobody knows.
    async fn nearest(&self, name: &str) -> String {
        let name = Name::parse(name).expect("it was made of a name");
        let path = self.context.within(service(&name));
        // The time is over; a server that answers at once may still help.
        let asked = timeout(NEAREST_TIMEOUT, self.context.client.get(&path)).await;
        match asked {
            Ok(Err(ClientError::Problem(problem))) if !problem.nearest.is_empty() => {
                format!("; did you mean {}?", problem.nearest.join(" or "))
            }
            _ => String::new(),
        }
    }
}
