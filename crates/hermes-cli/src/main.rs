//! The command `hermes`: a registry server, and everything one does with it from a prompt.
//!
//! Data goes to stdout and talk to stderr, so that whatever is printed can be piped on. The exit
//! code tells what happened (see [`exit::Exit`]); a script need not read a word of the talk.

mod access;
mod age;
mod args;
mod commands;
mod exit;
mod failure;
mod flags;
mod output;
mod spinner;
mod systemd;
mod table;
mod trace;

use std::process::ExitCode;

use args::{Cli, Command};
use exit::Exit;
use failure::Failure;
use mimalloc::MiMalloc;
use output::Output;

/// The records of a registry are small, many, and of every age; docs/decisions/0017 has the figures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `hermes run` passes exit codes through; this one says that it has failed itself.
const RUN_FAILED: u8 = 125;

fn main() -> ExitCode {
    #[cfg(unix)]
    if let Some(exit) = commands::run::guard::play() {
        return exit;
    }
    let cli = match args::read() {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error),
    };
    let output = Output::new(cli.global.output);
    run(cli, &output).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit().into()
    })
}

fn run(cli: Cli, output: &Output) -> Result<ExitCode, Failure> {
    let exit = match cli.command {
        // The exit code is that of the command that was run.
        #[cfg(unix)]
        Command::Run(arguments) => {
            return Ok(commands::run::run(*arguments, &cli.global, output));
        }
        #[cfg(unix)]
        Command::Up(arguments) => commands::up::run(&arguments, &cli.global, output),
        Command::Serve(arguments) => commands::serve::run(&arguments, output),
        Command::Config(arguments) => commands::config::run(&arguments, output),
        Command::Key(arguments) => commands::key::run(&arguments, output),
        Command::Log(arguments) => commands::log::run(&arguments, output),
        Command::Completions(arguments) => commands::completions::run(&arguments, output),
        Command::Man(arguments) => commands::man::run(&arguments, output),
        Command::Ask(ask) => ask.run(&cli.global, output),
    };
    exit.map(Into::into)
}

/// What clap has to say: help or the version, asked for, or what is wrong about the arguments.
fn explain_usage(error: &clap::Error) -> ExitCode {
    // Whoever closed the pipe does not want to read it.
    error.print().ok();
    match error.use_stderr() {
        true if args::is_to_run() => ExitCode::from(RUN_FAILED),
        true => Exit::Usage.into(),
        false => Exit::Done.into(),
    }
}
