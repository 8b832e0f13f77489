//! `hermes log`: what is in a data directory, without a server.
//!
//! Nothing is written and nothing is held, so a directory may be looked at while a server uses it.

use std::io;
use std::path::{Path, PathBuf};

use hermes_server::log::disk::Directory;
use hermes_server::log::{OpenError, check, export};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  hermes log check hermes-data
  hermes log export hermes-data
  hermes log export hermes-data | grep '\"service\":\"web\"'

`check` ends with exit code 1 when something that was acknowledged is damaged.";

/// Look into a data directory, without a server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// What is done with the directory.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Verify every file, and say what was found
    #[command(after_help = "Examples:\n  hermes log check hermes-data\n\n\
        Exit code 1: something that was acknowledged is damaged.")]
    Check {
        /// The data directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Write the history, oldest change first, one JSON object a line
    #[command(after_help = "Examples:\n  hermes log export hermes-data\n  \
        hermes log export hermes-data | grep '\"service\":\"web\"'")]
    Export {
        /// The data directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    match &arguments.what {
        What::Check { directory } => run_check(directory, output),
        What::Export { directory } => run_export(directory, output),
    }
}

fn run_check(directory: &Path, output: &Output) -> Result<Exit, Failure> {
    let report = check(directory).map_err(|error| refused(&error))?;
    for line in report.to_string().lines() {
        output.line(line)?;
    }
    if report.damage.is_empty() {
        return Ok(Exit::Done);
    }
    let hint = "a server starts all the same and uses what is whole; to keep the evidence, copy the \
                directory first";
    Err(Failure::told(Exit::Failed, "the log is damaged", hint))
}

fn run_export(directory: &Path, output: &Output) -> Result<Exit, Failure> {
    // What cannot be written any more ends the export, and is told as what it is.
    let mut failed = None;
    let exported = export(&Directory::look_at(directory), directory, |line| {
        output.line(line).map_err(|failure| {
            failed = Some(failure);
            io::Error::other("the output ended")
        })
    });
    match (failed, exported) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(refused(&error)),
        (None, Ok(())) => Ok(Exit::Done),
    }
}

fn refused(error: &OpenError) -> Failure {
    Failure::Told {
        exit: Exit::Failed,
        what: error.to_string(),
        hint: None,
    }
}
