//! What may be written behind `hermes`.
//!
//! The arguments of a command stand in its own file; here is what they share.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use hermes_core::name::Name;
use hermes_core::wire::fields::parse_duration;

use crate::commands::{Ask, completions, config, key, log, man, serve};
#[cfg(unix)]
use crate::commands::{run, up};
use crate::exit::EXIT_CODES;
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  hermes serve
  hermes register web http://127.0.0.1:8080
  hermes resolve web
  hermes watch";

/// Service discovery that keeps answering, and can say why
#[derive(Debug, Parser)]
#[command(
    name = "hermes",
    version,
    arg_required_else_help = true,
    after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}")
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The Hermes server to ask
    #[arg(
        long,
        global = true,
        env = "HERMES_ADDR",
        default_value = "http://127.0.0.1:8001",
        value_name = "URL"
    )]
    pub(crate) addr: String,
    /// Where the names are [default: default]; * is all of them, for lists and watches
    #[arg(
        long,
        global = true,
        env = "HERMES_NAMESPACE",
        value_parser = namespace,
        value_name = "NAME",
        hide_env_values = true
    )]
    pub(crate) namespace: Option<String>,
    /// How long an answer is waited for
    #[arg(
        long,
        global = true,
        env = "HERMES_TIMEOUT",
        default_value = "30s",
        value_parser = duration,
        value_name = "DURATION",
        hide_env_values = true
    )]
    pub(crate) timeout: Duration,
    /// How data is written; wide: more columns, for endpoints; json: the API's own objects, unchanged, one a line
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t = Format::Table,
        value_name = "FORMAT"
    )]
    pub(crate) output: Format,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Arguments),
    #[cfg(unix)]
    Run(Box<run::Arguments>),
    #[cfg(unix)]
    Up(up::Arguments),
    #[command(flatten)]
    Ask(Box<Ask>),
    Config(config::Arguments),
    Key(key::Arguments),
    Log(log::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// The commands with their arguments. What is said about asking a server is hidden where none is
/// asked.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    let shared = command
        .get_arguments()
        .filter(|argument| argument.is_global_set());
    let hidden: Vec<clap::Arg> = shared.map(|argument| argument.clone().hide(true)).collect();
    for name in ["serve", "config", "key", "log", "completions", "man"] {
        let hidden = hidden.clone();
        command = command.mut_subcommand(name, |command| command.args(hidden));
    }
    command
}

/// Reads the command line.
pub(crate) fn read() -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    // Both are addresses, and a wrong guess would be ignored without a word.
    let serve = matches.subcommand_matches("serve");
    if serve.is_some_and(|serve| serve.value_source("addr") == Some(ValueSource::CommandLine)) {
        let what = "--addr says which server to ask; where to listen is said by --listen HOST:PORT";
        return Err(command.error(ErrorKind::ArgumentConflict, what));
    }
    Cli::from_arg_matches(&matches)
}

/// Whether `hermes run` is meant, however wrong the rest is.
pub(crate) fn is_to_run() -> bool {
    let command = command().ignore_errors(true);
    let matches = command.try_get_matches_from(std::env::args_os());
    matches.is_ok_and(|matches| matches.subcommand_name() == Some("run"))
}

/// A namespace, or `*` for all.
fn namespace(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.into());
    }
    let name = Name::parse(text).map_err(|error| error.to_string())?;
    Ok(name.to_string())
}

/// A duration as the API reads it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is expected, such as 500ms, 10s, 5m, 24h".to_owned();
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(wrong)
}

/// `name=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("NAME=VALUE is expected".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_free_of_contradictions() {
        command().debug_assert();
    }

    #[test]
    fn every_help_has_examples_and_every_example_can_be_read() {
        let mut command = command();
        command.build();
        let help_of = |command: &clap::Command| {
            command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default()
        };
        let mut helps = vec![("hermes", help_of(&command))];
        let subcommands = command
            .get_subcommands()
            .filter(|sub| sub.get_name() != "help");
        helps.extend(subcommands.map(|sub| (sub.get_name(), help_of(sub))));
        assert!(helps.len() > 15);
        for (name, help) in helps {
            assert!(help.starts_with("Examples:\n"), "{name}: {help}");
            let examples = help.lines().filter(|line| line.starts_with("  hermes "));
            let examples: Vec<&str> = examples.collect();
            assert!(!examples.is_empty(), "{name}");
            for example in examples {
                let words = words(example);
                let words = words
                    .iter()
                    .take_while(|word| !["|", ">", "&&"].contains(&word.as_str()));
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }

    /// The words of a line as a shell would read them, as far as examples go.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (number, part) in line.split('\'').enumerate() {
            if number % 2 == 1 {
                words.last_mut().unwrap().push_str(part);
                continue;
            }
            let mut pieces = part.split(' ');
            words.last_mut().unwrap().push_str(pieces.next().unwrap());
            words.extend(pieces.map(str::to_owned));
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn durations_and_pairs_are_read_at_the_edge() {
        assert_eq!(duration("1.5").unwrap(), Duration::from_millis(1_500));
        assert!(duration("0s").is_err() && duration("soon").is_err());
        assert_eq!(pair("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(pair("=b").is_err() && pair("a").is_err());
        assert_eq!(namespace("My_Space").unwrap(), "my-space");
        assert!(namespace("*").is_ok() && namespace("a b").is_err());
    }
}
