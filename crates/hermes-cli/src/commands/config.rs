//! `hermes config`: what a server would be told by its file and its variables, without starting one.

use std::path::PathBuf;

use hermes_server::settings::{Loaded, Place, SETTINGS, Setting, load};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  hermes config check
  hermes config check hermes.yaml --show
  hermes config check --show -o json

It reads what `hermes serve` would read: the file, or hermes.yaml if there is one, and the variables
HERMES_*. Everything that is wrong is told at once, with its place; exit code 2 says that something is.";

/// Check the settings of a server, without starting one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// What is done with the settings.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say what is wrong with the settings, if anything is
    Check {
        /// The file of settings [default: HERMES_CONFIG, else hermes.yaml if there is one]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print every value, and where it comes from
        #[arg(long)]
        show: bool,
    },
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    let What::Check { file, show } = &arguments.what;
    let loaded = load(&Flags::default().sources(file.clone()))?;
    for note in &loaded.notes {
        output.say(&format!("note: {note}"));
    }
    let said = |setting: &&Setting| *loaded.place(setting) != Place::Default;
    let count = SETTINGS.iter().filter(said).count();
    let from = match &loaded.file {
        None => "no file".to_owned(),
        Some(path) => path.display().to_string(),
    };
    output.say(&format!(
        "the settings are right ({from}; {count} of {} are said)",
        SETTINGS.len()
    ));
    if *show {
        show_all(&loaded, output)?;
    }
    Ok(Exit::Done)
}

fn show_all(loaded: &Loaded, output: &Output) -> Result<(), Failure> {
    let settings = SETTINGS.iter().map(|setting| {
        let (value, place) = (setting.value(&loaded.config), loaded.place(setting));
        [setting.key.to_owned(), value, place.to_string()]
    });
    let services = loaded.services.iter().map(|service| {
        let address = &service.address;
        let key = format!("services.{}", service.name);
        [
            key,
            address.value.url.to_string(),
            address.place.to_string(),
        ]
    });
    let rows: Vec<[String; 3]> = settings.chain(services).collect();
    let member =
        |[key, value, from]: &[String; 3]| json!({"key": key, "value": value, "from": from});
    let members: Vec<_> = rows.iter().map(member).collect();
    if output.json(json!({"settings": members}).to_string().as_bytes())? {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    output.table(&["KEY", "VALUE", "FROM"], &rows)
}
