//! The flags of `hermes serve`: one for each setting of the table that has one.
//!
//! They are only collected here. What they mean is judged together with the file and the variables,
//! so that everything that is wrong is told at once.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use hermes_discovery::settings::variables_of_process;
use hermes_server::settings::{Group, SETTINGS, Setting, Sources};

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(Vec<(&'static Setting, String)>);

impl Flags {
    /// Everything that settings are read from. `file` wins over `HERMES_CONFIG`.
    pub(crate) fn sources(&self, file: Option<PathBuf>) -> Sources {
        let variables = variables_of_process();
        let named = variables.get("HERMES_CONFIG");
        let named = named.filter(|path| !path.is_empty()).map(PathBuf::from);
        Sources {
            flags: self.0.clone(),
            file: file.or(named),
            variables,
        }
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        SETTINGS
            .iter()
            .filter_map(flag_of)
            .fold(command, Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let said = |setting: &'static Setting| {
            setting.flag()?;
            let text = matches.get_one::<String>(setting.key)?;
            Some((setting, text.clone()))
        };
        self.0 = SETTINGS.iter().filter_map(said).collect();
        Ok(())
    }
}

fn flag_of(setting: &'static Setting) -> Option<Arg> {
    let help = format!("{} [default: {}]", setting.what, setting.default());
    let argument = Arg::new(setting.key)
        .long(setting.flag()?)
        .value_name(setting.placeholder())
        .action(ArgAction::Set)
        .help(help);
    Some(match setting.group {
        Group::Server => argument,
        group => argument.help_heading(group.title()),
    })
}
