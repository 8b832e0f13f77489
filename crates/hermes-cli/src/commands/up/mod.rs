//! `hermes up`: several programs that belong together, in the order of their needs.
//!
//! Each is run as `hermes run` runs one. [`stack`] is the file that names them, [`order`] finds the
//! circles in it, [`crew`] stops and replaces them, and [`board`] is what one sees.

mod board;
mod crew;
mod order;
mod stack;

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr, stdout};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use hermes_core::name::Name;
use hermes_core::nearest::nearest;
use hermes_core::time::Moment;
use hermes_discovery::clock::Clock;
use rustix::process::Signal;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::run::companion::{self, Company};
use super::run::readiness::{self, Readiness};
use super::run::supervise::Order;
use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use board::{Board, Look};
use crew::{Crew, Roll, label};
use stack::Stack;

const EXAMPLES: &str = "\
Examples:
  hermes up
  hermes up -f stack.yaml
  hermes up --only web,db

stack.yaml:
  services:
    db:
      command: [python3, db.py]       # as it is; a text is for the shell
    web:
      command: node server.js --port \"$PORT\"
      port: 8080                      # auto unless said
      needs: [db]
      resolve: {db: DB_URL}           # the URL of db, in a variable
      env: {MODE: test}
      restart: on-failure             # never (unless said), on-failure, always
      check: http:/ready              # or a list; tcp, none
      endpoints: 1                    # so many processes, with port auto
Also: id, host, scheme, ttl, tags, metadata, check_interval, needs_timeout, drain_time, stop_timeout,
directory; and beside services: external, a list of what is needed and runs elsewhere.

SIGTERM or SIGHUP stops all, those first that nobody needs; SIGINT (Ctrl-C) does not wait for --drain-time.
The same signal once more goes to the next step at once. SIGUSR2 restarts one after the other: with port
auto and no id the new one is ready before the old one leaves.

Exit codes: 0 all have ended well or were stopped, 1 one has failed, 2 the file is wrong.";

/// Run the programs of a stack file, in the order of their needs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The file
    #[arg(short, long, default_value = "stack.yaml", value_name = "FILE")]
    file: PathBuf,
    /// Only these services; what else they need is waited for
    #[arg(long, value_delimiter = ',', value_parser = Name::parse, value_name = "NAME")]
    only: Vec<Name>,
}

pub(crate) fn run(
    arguments: &Arguments,
    global: &Global,
    output: &Output,
) -> Result<Exit, Failure> {
    let stack = read(arguments)?;
    companion::live(global, output, async |company| {
        let Company {
            mut signals,
            context,
            around,
        } = company;
        let names = names(&stack);
        let (known, readiness) = watch::channel(Readiness::default());
        let mut followed = pin!(readiness::follow(&context, &names, &known));
        let mut is_following = true;
        let look = look(&stack, output);
        let mut crew = Crew {
            entries: stack.entries,
            around,
            board: Arc::new(Board::new(readiness.clone(), look)),
            readiness: readiness.clone(),
            bell: Arc::new(Notify::new()),
            members: BTreeMap::new(),
            tasks: JoinSet::new(),
            stop: None,
            roll: Roll::default(),
            has_failed: false,
        };
        crew.start();
        let clock = crew.around.clock;
        let mut changes = readiness;
        loop {
            let bell = Arc::clone(&crew.bell);
            let deadline = crew.deadline();
            tokio::select! {
                ended = crew.tasks.join_next() => match ended {
                    Some(Ok((key, end))) => crew.take(key, &end),
                    Some(Err(error)) => {
                        let what = format!("a program is lost: {error}");
                        return Err(Failure::told(Exit::Failed, what, "all were ended; start again"));
                    }
                    None => break,
                },
                signal = signals.next() => take(signal, &mut crew),
                Ok(()) = changes.changed() => crew.board.judge_all(),
                () = bell.notified() => {}
                () = &mut followed, if is_following => is_following = false,
                () = until(clock, deadline) => {}
            }
            crew.advance();
        }
        Ok(if crew.has_failed {
            Exit::Failed
        } else {
            Exit::Done
        })
    })
}

async fn until(clock: Clock, moment: Option<Moment>) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn take(signal: Signal, crew: &mut Crew) {
    match signal {
        Signal::TERM | Signal::HUP => crew.stop(Order::Stop),
        Signal::INT | Signal::QUIT => crew.stop(Order::StopSoon),
        Signal::USR2 => crew.restart(),
        // A terminal has another size now.
        Signal::WINCH => crew.board.judge_all(),
        _ => {}
    }
}

/// Reads the file, and leaves out what is not wanted.
fn read(arguments: &Arguments) -> Result<Stack, Failure> {
    let path = &arguments.file;
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = "say which file: -f FILE; `hermes up --help` shows what is in one";
        Failure::told(
            Exit::Usage,
            format!("{shown} cannot be read: {error}"),
            hint,
        )
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let wrong = |facts: Vec<String>| Failure::Listed {
        exit: Exit::Usage,
        what: format!("{shown} cannot be used; nothing was started"),
        facts,
        hint: Some("`hermes up --help` shows what a stack file holds".into()),
    };
    let mut stack = stack::read(&text, folder).map_err(wrong)?;
    if arguments.only.is_empty() {
        return Ok(stack);
    }
    let there: Vec<&str> = stack
        .entries
        .iter()
        .map(|entry| entry.program.name.as_str())
        .collect();
    let unknown = arguments
        .only
        .iter()
        .filter(|name| !there.contains(&name.as_str()));
    let facts: Vec<String> = unknown
        .map(
            |name| match nearest(name.as_str(), there.iter().copied())[..] {
                [] => format!("--only {name}: it is not in {shown}"),
                [near, ..] => format!("--only {name}: it is not in {shown}; did you mean {near}?"),
            },
        )
        .collect();
    if !facts.is_empty() {
        return Err(wrong(facts));
    }
    stack
        .entries
        .retain(|entry| arguments.only.contains(&entry.program.name));
    Ok(stack)
}

/// The services of a stack, and those they need.
fn names(stack: &Stack) -> Vec<Name> {
    let programs = stack.entries.iter().map(|entry| &entry.program);
    let mut names: Vec<Name> = programs
        .flat_map(|program| [program.all_needs(), vec![program.name.clone()]].concat())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn look(stack: &Stack, output: &Output) -> Look {
    let is_terminal = stdout().is_terminal() && stderr().is_terminal() && !output.is_dumb();
    let labels = stack
        .entries
        .iter()
        .map(|entry| label(entry, entry.endpoints));
    let longest = labels.map(|label| label.len()).max().unwrap_or_default();
    let size: fn() -> (usize, usize) = || {
        let size = terminal_size::terminal_size_of(stdout());
        size.map_or((80, 24), |(width, height)| {
            (width.0.into(), height.0.into())
        })
    };
    Look {
        size: is_terminal.then_some(size),
        is_coloured: output.is_coloured(),
        label: longest.max("hermes".len()),
    }
}
