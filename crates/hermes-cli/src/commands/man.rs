//! `hermes man`: the manual, one page for each command.

use std::fs;
use std::path::PathBuf;

use crate::args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  hermes man ~/.local/share/man/man1
  hermes man /usr/local/share/man/man1

The directory is made if it is not there; `man hermes` and `man hermes-wait` find the pages in it.";

/// Write the manual pages into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where to
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    let directory = &arguments.directory;
    let written = fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(args::command(), directory));
    if let Err(error) = written {
        let what = format!(
            "the manual cannot be written to {}: {error}",
            directory.display()
        );
        let hint = "say a directory that you may write to, such as ~/.local/share/man/man1";
        return Err(Failure::told(Exit::Failed, what, hint));
    }
    output.say(&format!(
        "the manual is in {}; `man hermes` shows it where man looks there (`manpath`)",
        directory.display()
    ));
    Ok(Exit::Done)
}
