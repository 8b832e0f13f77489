//! The command line. Read by hand: it has six options, and clap is the business of `hermes-cli`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::failure::Failure;
use crate::load::{Ask, Order};

pub(crate) const HELP: &str = "\
Measures Hermes beside a floor, in one run, as requests per second of processor time of the server.

Usage: hermes-bench [OPTIONS]

  --rounds N      rounds that count, after one that does not [7]
  --seconds S     how long each side is asked in a round [2]
  --endpoints N   endpoints that a server starts with, in the rows of starts [1000000]
  --only NAME     only the rows whose name contains NAME
  -o, --output F  table or json [table]
  -h, --help      this

Examples:
  cargo run --release -p hermes-bench
  cargo run --release -p hermes-bench -- --only resolve-url --rounds 3 --seconds 1
  cargo run --release -p hermes-bench -- -o json > figures.json

The figure of a row is the median of the ratios of its rounds; the range beside it says how far to
trust it. The exit code is 0 whatever the figures are, 1 when they could not be taken, 2 when the
command line is wrong.";

/// What this process is to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Job {
    Help,
    Measure(Plan),
    /// Be the Hermes server that is measured, with its log in a directory, or in memory.
    Server {
        directory: Option<PathBuf>,
    },
    /// Read these files, as the floor of a start.
    Read {
        files: Vec<PathBuf>,
    },
    /// Be the floor: answer everything with so many bytes, head included.
    Bare {
        bytes: usize,
    },
    /// Be what is probed.
    Probed,
    /// Be Hermes's prober, for so long.
    Prober {
        port: u16,
        each: Duration,
    },
    /// Be the floor of that.
    BareProber {
        port: u16,
        each: Duration,
    },
    /// Be the load.
    Load(Order),
}

/// How to measure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) each: Duration,
    pub(crate) endpoints: u64,
    pub(crate) only: Option<String>,
    pub(crate) form: Form,
}

/// How figures are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Table,
    Json,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            rounds: 7,
            each: Duration::from_secs(2),
            endpoints: 1_000_000,
            only: None,
            form: Form::Table,
        }
    }
}

impl Plan {
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.only.as_deref().is_none_or(|only| row.contains(only))
    }
}

/// Reads the command line, without the name of the program.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Job, Failure> {
    let mut args = args.peekable();
    match args.peek().map(String::as_str) {
        Some("server") => Ok(Job::Server {
            directory: args.nth(1).map(PathBuf::from),
        }),
        Some("read") => Ok(Job::Read {
            files: args.skip(1).map(PathBuf::from).collect(),
        }),
        Some("probed") => Ok(Job::Probed),
        Some("prober") => {
            let (port, each) = parse_prober(args.skip(1))?;
            Ok(Job::Prober { port, each })
        }
        Some("prober-bare") => {
            let (port, each) = parse_prober(args.skip(1))?;
            Ok(Job::BareProber { port, each })
        }
        Some("bare") => parse_bare(args.skip(1)),
        Some("load") => parse_load(args.skip(1)).map(Job::Load),
        _ => parse_plan(args),
    }
}

fn parse_plan(mut args: impl Iterator<Item = String>) -> Result<Job, Failure> {
    let mut plan = Plan::default();
    while let Some(option) = args.next() {
        match option.as_str() {
            "-h" | "--help" => return Ok(Job::Help),
            "--rounds" => plan.rounds = value(&mut args, &option)?,
            "--seconds" => plan.each = seconds(&mut args, &option)?,
            "--endpoints" => plan.endpoints = value(&mut args, &option)?,
            "--only" => plan.only = Some(value(&mut args, &option)?),
            "-o" | "--output" => plan.form = form(&value::<String>(&mut args, &option)?)?,
            _ => return Err(unknown(&option)),
        }
    }
    if plan.rounds == 0 || plan.each.is_zero() || plan.endpoints < 1_000 {
        let detail =
            "there is nothing to measure in no rounds, in no time, or with so few endpoints";
        return Err(Failure::Usage(detail.into()));
    }
    if let Some(only) = &plan.only {
        let mut names = crate::rows::all().into_iter().map(|row| row.name);
        if !names.any(|name| name.contains(only.as_str())) {
            return Err(Failure::Usage(format!("no row has {only:?} in its name")));
        }
    }
    Ok(Job::Measure(plan))
}

fn parse_prober(mut args: impl Iterator<Item = String>) -> Result<(u16, Duration), Failure> {
    let port = value(&mut args, "port")?;
    Ok((port, seconds(&mut args, "seconds")?))
}

fn parse_bare(mut args: impl Iterator<Item = String>) -> Result<Job, Failure> {
    let bytes = value(&mut args, "bare")?;
    Ok(Job::Bare { bytes })
}

/// The order of [`Order::to_args`].
fn parse_load(mut args: impl Iterator<Item = String>) -> Result<Order, Failure> {
    let mut next = |what| args.next().ok_or_else(|| missing(what));
    Ok(Order {
        address: read::<SocketAddr>(&next("address")?)?,
        ask: Ask {
            method: next("method")?,
            path: next("path")?,
            body: next("body")?,
            numbers: read(&next("numbers")?)?,
        },
        connections: read(&next("connections")?)?,
        each: Duration::from_secs_f64(read(&next("seconds")?)?),
        server: read(&next("process")?)?,
    })
}

fn form(text: &str) -> Result<Form, Failure> {
    match text {
        "table" => Ok(Form::Table),
        "json" => Ok(Form::Json),
        _ => Err(Failure::Usage(format!(
            "{text:?} is neither table nor json"
        ))),
    }
}

fn seconds(args: &mut impl Iterator<Item = String>, option: &str) -> Result<Duration, Failure> {
    let seconds: f64 = value(args, option)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| Failure::Usage(format!("{seconds} is no time to measure for: {error}")))
}

fn value<T: FromStr>(args: &mut impl Iterator<Item = String>, option: &str) -> Result<T, Failure> {
    read(&args.next().ok_or_else(|| missing(option))?)
}

fn read<T: FromStr>(text: &str) -> Result<T, Failure> {
    let wrong = |_| Failure::Usage(format!("{text:?} cannot be read"));
    text.parse().map_err(wrong)
}

fn missing(what: &str) -> Failure {
    Failure::Usage(format!("{what} needs a value"))
}

fn unknown(option: &str) -> Failure {
    Failure::Usage(format!("there is no {option:?} here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(line: &str) -> Result<Job, Failure> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_option_is_read() {
        let plan = Plan {
            rounds: 3,
            each: Duration::from_millis(500),
            endpoints: 5_000,
            only: Some("url".into()),
            form: Form::Json,
        };
        let line = "--rounds 3 --endpoints 5000 --seconds 0.5 --only url -o json";
        assert_eq!(job(line).unwrap(), Job::Measure(plan));
        assert_eq!(job("").unwrap(), Job::Measure(Plan::default()));
        assert_eq!(job("--rounds 3 --help").unwrap(), Job::Help);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for line in [
            "--rounds",
            "--rounds 0",
            "--seconds -1",
            "--endpoints 0",
            "--seconds x",
            "--only nothing-like-it",
            "-o yaml",
            "--fast",
        ] {
            assert_eq!(job(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn an_order_reaches_the_load_as_it_was_given() {
        let order = Order {
            address: SocketAddr::from(([127, 0, 0, 1], 8001)),
            ask: Ask {
                method: "PUT".into(),
                path: "/x/{n}".into(),
                body: String::new(),
                numbers: 10,
            },
            connections: 64,
            each: Duration::from_millis(1_500),
            server: 42,
        };
        let args = std::iter::once("load".to_owned()).chain(order.to_args());
        assert_eq!(parse(args).unwrap(), Job::Load(order));
    }
}
