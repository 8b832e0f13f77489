//! `hermes completions`: a script that teaches a shell the command.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  hermes completions bash > ~/.local/share/bash-completion/completions/hermes
  hermes completions zsh > ~/.zfunc/_hermes
  hermes completions fish > ~/.config/fish/completions/hermes.fish";

/// Print a script that completes `hermes` commands in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    // The generator panics where it cannot write; memory it always can.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "hermes", &mut script);
    output.script(&script)?;
    Ok(Exit::Done)
}
