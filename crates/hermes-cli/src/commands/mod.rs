//! The commands, one file each: its arguments, what it asks, and what it shows.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod deregister;
pub(crate) mod drain;
pub(crate) mod endpoints;
mod follow;
pub(crate) mod heartbeat;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod patch;
pub(crate) mod register;
pub(crate) mod resolve;
#[cfg(unix)]
pub(crate) mod run;
pub(crate) mod select;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod status;
#[cfg(unix)]
pub(crate) mod up;
pub(crate) mod wait;
pub(crate) mod watch;

use std::pin::pin;
use std::time::Duration;

use clap::Subcommand;
use hermes_core::name::{DEFAULT_NAMESPACE, Name};
use hermes_core::wire::answer::{Seconds, ServiceEndpoint, ServiceList};
use hermes_discovery::client::{Answer, Client, Config, Path};
use tokio::runtime;

use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(125);

/// What a command that asks a server has at hand.
pub(crate) struct Context<'a> {
    client: Client,
    /// Nothing when none was said.
    namespace: Option<&'a str>,
    /// How long an answer is waited for.
    timeout: Duration,
    output: &'a Output,
}

impl Context<'_> {
    /// The namespace that is meant.
    fn namespace(&self) -> &str {
        self.namespace.unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The path with the namespace, if one was said.
    fn within(&self, path: Path) -> Path {
        match self.namespace {
            Some(namespace) => path.query("namespace", namespace),
            None => path,
        }
    }

    /// The whole list of services. Each page is shown to `look` as it comes.
    async fn services(
        &self,
        path: Path,
        mut look: impl FnMut(&Answer) -> Result<(), Failure>,
    ) -> Result<ServiceList, Failure> {
        let answer = self.client.get(&path).await?;
        let mut list = answer.read(serde_json::from_slice::<ServiceList>)?;
        look(&answer)?;
        while let Some(cursor) = list.next.take() {
            let answer = self
                .client
                .get(&path.clone().query("cursor", &cursor))
                .await?;
            let page = answer.read(serde_json::from_slice::<ServiceList>)?;
            look(&answer)?;
            list.services.extend(page.services);
            list.next = page.next;
        }
        Ok(list)
    }
}

/// `/api/v1/services/{name}`.
fn service(name: &Name) -> Path {
    Path::new("/api/v1/services").segment(name.as_str())
}

/// Why an endpoint is in the state it is in: its flags, unless the reason names them, and the
/// reason.
fn reason(endpoint: &ServiceEndpoint) -> String {
    let reason = &endpoint.health_reason;
    let unsaid = endpoint.flags.iter().filter(|flag| !reason.contains(*flag));
    let mut parts: Vec<&str> = unsaid.map(String::as_str).collect();
    parts.push(reason);
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// Seconds as people say them: `30`, `0.7`.
fn in_words(seconds: Seconds) -> String {
    if seconds.0.fract() == 0.0 {
        seconds.0.to_string()
    } else {
        format!("{:.1}", seconds.0)
    }
}

/// A client of the server that is meant. It waits `limit` for an answer.
fn client(global: &Global, limit: Duration) -> Result<Client, Failure> {
    let config = Config {
        caller: concat!("hermes-cli/", env!("CARGO_PKG_VERSION")).into(),
        answer_timeout: limit,
        access: crate::access::of_process()?,
        ..Config::default()
    };
    Ok(Client::with(&global.addr, config)?)
}

/// The commands that ask a server.
#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    Register(register::Arguments),
    Deregister(deregister::Arguments),
    Heartbeat(heartbeat::Arguments),
    Drain(drain::Arguments),
    Undrain(drain::UndrainArguments),
    Patch(patch::Arguments),
    Services(services::Arguments),
    Endpoints(endpoints::Arguments),
    Resolve(resolve::Arguments),
    Select(select::Arguments),
    Wait(wait::Arguments),
    Watch(watch::Arguments),
    Status(status::Arguments),
}

impl Ask {
    /// Runs the command. Ctrl-C ends it.
    pub(crate) fn run(self, global: &Global, output: &Output) -> Result<Exit, Failure> {
        let context = Context {
            client: client(global, global.timeout)?,
            namespace: global.namespace.as_deref(),
            timeout: global.timeout,
            output,
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let exit = runtime.block_on(self.attended(&context));
        // A name that is still being resolved is nobody's business any more.
        runtime.shutdown_background();
        exit
    }

    /// Runs it with an eye on the person before the terminal: what takes long turns, and Ctrl-C
    /// ends it.
    async fn attended(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let output = context.output;
        output.wait_for(&format!("waiting for {}", context.client.address()));
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut asked = pin!(self.dispatch(context));
        let exit = loop {
            tokio::select! {
                // First, so that it is listened to before anything is said: who reads that may
                // answer with Ctrl-C.
                biased;
                _ = tokio::signal::ctrl_c() => break Ok(Exit::Interrupted),
                exit = &mut asked => break exit,
                _ = turns.tick() => output.turn(),
            }
        };
        output.wipe();
        exit
    }

    async fn dispatch(self, context: &Context<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Register(arguments) => register::run(&arguments, context).await,
            Self::Deregister(arguments) => deregister::run(&arguments, context).await,
            Self::Heartbeat(arguments) => heartbeat::run(&arguments, context).await,
            Self::Drain(arguments) => drain::run(&arguments, context).await,
            Self::Undrain(arguments) => drain::run_undrain(&arguments, context).await,
            Self::Patch(arguments) => patch::run(&arguments, context).await,
            Self::Services(arguments) => services::run(&arguments, context).await,
            Self::Endpoints(arguments) => endpoints::run(&arguments, context).await,
            Self::Resolve(arguments) => resolve::run(&arguments, context).await,
            Self::Select(arguments) => select::run(&arguments, context).await,
            Self::Wait(arguments) => wait::run(&arguments, context).await,
            Self::Watch(arguments) => watch::run(&arguments, context).await,
            Self::Status(_) => status::run(context).await,
        }
    }
}
