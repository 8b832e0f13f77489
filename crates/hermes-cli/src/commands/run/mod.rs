//! `hermes run`: a program in any language joins without a change.
//!
//! It starts the command, and is its companion for as long as it lives: others first, then the
//! command, then its registration and its heartbeats; and all of it back when it is told to stop.
//!
//! - [`companion`] is what it begins with, as `hermes up` does.
//! - [`program`] says what is to be run, [`supervise`] is its life, [`restart`] when it begins anew.
//! - [`process`] is the command, [`guard`] what sees to it that it does not outlive us.
//! - [`registration`] is what the server knows of it, [`readiness`] what it knows of others.

pub(crate) mod companion;
pub(crate) mod guard;
pub(crate) mod news;
mod port;
mod process;
pub(crate) mod program;
pub(crate) mod readiness;
mod registration;
pub(crate) mod restart;
pub(crate) mod signals;
pub(crate) mod supervise;

use std::ffi::OsString;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hermes_core::address::{Host, Scheme};
use hermes_core::name::{EndpointId, Name};
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::check::{self, Wish};
use crate::args::{Global, duration, pair};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, talk};
use companion::Company;
use guard::FAILED;
use news::{Audience, News};
use program::{Port, Program, Times, parse_port};
use readiness::Readiness;
use restart::Restart;
use supervise::{End, Order, Supervisor};

const EXAMPLES: &str = "\
Examples:
  hermes run --name web --port 8080 -- node server.js
  hermes run --name web --port auto -- sh -c 'exec python3 -m http.server \"$PORT\"'
  hermes run --name web --port auto --needs db,cache --restart on-failure -- ./web
  hermes run --name coder --port 8010 --resolve rhetor=RHETOR_URL --check http:/ready -- ./coder

The command is registered once it accepts connections on the port, kept alive by heartbeats, and
deregistered when it has ended. It finds the port in $PORT and the server in $HERMES_ADDR.
SIGTERM: drain, wait --drain-time, end the command (SIGTERM, after --stop-timeout SIGKILL); once more
goes to the next step at once. Other signals are handed on; after SIGINT or SIGQUIT it is not restarted.
Messages of Hermes go to stderr and begin with `hermes: `.

Exit codes: the command's own; 128 + the signal that ended it; 125 Hermes itself has failed, 126 the
command cannot be executed, 127 it is not found.";

/// Signals that have come and are not taken up yet; more of the same kind say nothing new.
const ORDERS_MAX: usize = 16;

/// Run a command, registered for as long as it lives
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "hermes run [OPTIONS] --name <NAME> --port <PORT> -- <COMMAND>..."
)]
pub(crate) struct Arguments {
    /// The service
    #[arg(long, value_parser = Name::parse)]
    name: Name,
    /// Where the command listens; auto picks a free port, and $PORT tells the command
    #[arg(long, value_parser = parse_port)]
    port: Port,
    /// The host under which others reach it
    #[arg(long, default_value = "127.0.0.1", value_parser = Host::parse)]
    host: Host,
    /// What is spoken there
    #[arg(long, default_value = "http", value_parser = Scheme::parse)]
    scheme: Scheme,
    /// Who it is within the service [default: NAME-MACHINE-PORT]
    #[arg(long, value_parser = EndpointId::parse)]
    id: Option<EndpointId>,
    /// The lease: how long it stays when nobody sends heartbeats any more
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    ttl: Duration,
    /// For filtering; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Anything worth knowing; may be repeated
    #[arg(long, alias = "meta", value_name = "NAME=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// How health is tested: http:/PATH, tcp or none; may be repeated
    #[arg(long = "check", value_name = "CHECK", value_parser = check::parse)]
    checks: Vec<Wish>,
    /// How often it is probed [default: 30 s]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    check_interval: Option<Duration>,
    /// Services that have to be ready before the command is started
    #[arg(long, value_delimiter = ',', value_parser = Name::parse, value_name = "NAME")]
    needs: Vec<Name>,
    /// How long they are waited for
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    needs_timeout: Duration,
    /// Put the URL of a service into a variable of the command; it is needed, too
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = resolve,
        value_name = "NAME=VARIABLE"
    )]
    resolve: Vec<(Name, String)>,
    /// How long it is drained before it is ended
    #[arg(long, default_value = "5s", value_parser = wait, value_name = "DURATION")]
    drain_time: Duration,
    /// How long it has to end before it is killed
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    stop_timeout: Duration,
    /// Whether it is started again when it has ended
    #[arg(long, value_enum, default_value_t = Restart::Never, value_name = "WHEN")]
    restart: Restart,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// `service=VARIABLE`.
pub(crate) fn resolve(text: &str) -> Result<(Name, String), String> {
    let (name, variable) = pair(text)?;
    let name = Name::parse(&name).map_err(|error| error.to_string())?;
    check_variable(&variable)?;
    Ok((name, variable))
}

/// What may be the name of a variable; that it is common is not asked for.
pub(crate) fn check_variable(name: &str) -> Result<(), String> {
    let is_right = !name.is_empty() && !name.contains(['=', '\0']);
    let wrong = || format!("`{name}` cannot be the name of a variable");
    is_right.then_some(()).ok_or_else(wrong)
}

/// A duration that may be nothing.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

/// Runs the command, and gives the exit code that is to be passed on.
pub(crate) fn run(arguments: Arguments, global: &Global, output: &Output) -> ExitCode {
    match start(arguments, global, output) {
        Ok(End::Failed { code, what, hint }) => {
            talk("hermes", &format!("error: {what}"));
            talk("hermes", &format!("hint: {hint}"));
            ExitCode::from(code)
        }
        Ok(end) => ExitCode::from(end.code()),
        Err(failure) => {
            talk("hermes", &format!("error: {failure}"));
            if let Some(hint) = failure.hint() {
                talk("hermes", &format!("hint: {hint}"));
            }
            ExitCode::from(FAILED)
        }
    }
}

fn start(arguments: Arguments, global: &Global, output: &Output) -> Result<End, Failure> {
    let program = arguments.program()?;
    companion::live(global, output, async |company| {
        let Company {
            mut signals,
            context,
            around,
        } = company;
        let needs = program.all_needs();
        let (known, readiness) = watch::channel(Readiness::default());
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let supervisor = Supervisor {
            around,
            audience: Arc::new(Voice),
            readiness: Some(readiness),
            orders: received,
            program,
        };
        let mut ended = pin!(supervisor.run());
        let mut followed = pin!(readiness::follow(&context, &needs, &known));
        let mut is_following = !needs.is_empty();
        loop {
            tokio::select! {
                end = &mut ended => return Ok(end),
                signal = signals.next() => {
                    // What does not fit is a repetition.
                    orders.try_send(order(signal)).ok();
                }
                () = &mut followed, if is_following => is_following = false,
            }
        }
    })
}

fn order(signal: Signal) -> Order {
    if signal == Signal::TERM {
        Order::Stop
    } else {
        Order::HandOn(signal)
    }
}

impl Arguments {
    fn program(self) -> Result<Program, Failure> {
        let scheme = Some(self.scheme.as_str());
        let checks = check::wished(&self.checks, self.check_interval, scheme)?;
        let metadata = self.metadata.into_iter();
        let program = Program {
            name: self.name,
            id: self.id,
            scheme: self.scheme,
            host: self.host,
            port: self.port,
            times: Times {
                ttl: self.ttl,
                needs_timeout: self.needs_timeout,
                drain_time: self.drain_time,
                stop_timeout: self.stop_timeout,
            },
            checks,
            tags: self.tags,
            metadata: metadata
                .map(|(name, value)| (name, Value::from(value)))
                .collect(),
            needs: self.needs,
            resolve: self.resolve,
            restart: self.restart,
            command: self.command,
            environment: Vec::new(),
            directory: None,
        };
        let refused = |problem: hermes_core::wire::problem::Problem| {
            let hint = "see `hermes run --help`";
            Failure::told(Exit::Usage, problem.detail, hint)
        };
        program.check().map_err(refused)?;
        Ok(program)
    }
}

/// Tells it on stderr, beside what the command says there.
#[derive(Debug)]
struct Voice;

impl Audience for Voice {
    fn tell(&self, news: &News) {
        talk("hermes", &news.to_string());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Arguments,
    }

    fn program(line: &str) -> Program {
        let line = Line::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        line.run.program().unwrap()
    }

    #[test]
    fn what_is_not_said_is_the_same_for_run_and_up() {
        let said = program("run --name web --port auto -- true");
        assert_eq!(said.times, Times::DEFAULT);
        assert_eq!(said.restart, Restart::default());
        assert_eq!(said.host.as_str(), "127.0.0.1");
        assert_eq!(said.scheme, Scheme::http());
    }

    #[test]
    fn what_stands_behind_the_command_is_its_own() {
        let said = program("run --name web --port 1 --needs a,b true --port 2 -- -x");
        assert_eq!(said.port, Port::Fixed(1));
        assert_eq!(said.command, ["true", "--port", "2", "--", "-x"]);
        let resolved = program("run --name web --port 1 --resolve A_b=URL,c=C -- true").resolve;
        assert_eq!(resolved[0].0.as_str(), "a-b");
        assert_eq!(resolved[1].1, "C");
    }
}
