//! The settings: where a server's [`Config`] comes from.
//!
//! One [table](SETTINGS) is the only truth about them. The keys of the file, the variables, the flags
//! of `hermes serve` and their help, `hermes config check` and the reference page all come from it.
//!
//! ```text
//!  default  <  file (YAML)  <  SERVICE_DISCOVERY_*  <  HERMES_*  <  flag
//! ```
//!
//! The layers are merged once, at the edge, and nothing below this module looks at a file or a
//! variable. Whatever is wrong is reported [all at once](Faults), each with its key, its value, its
//! place and what was expected; nothing falls back to a default in silence.

mod file;
mod layers;
mod lens;
mod reference;
mod setting;
mod table;

pub use hermes_discovery::settings::{Fault, Faults, Place};
pub use layers::{Loaded, Sources, load};
pub use reference::reference;
pub use setting::{Group, Setting, Takes};
pub use table::SETTINGS;

use crate::config::Config;

/// A setting that another configuration has another value for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which one.
    pub setting: &'static Setting,
    /// What it was.
    pub before: String,
    /// What it is to be.
    pub after: String,
}

/// What is different in `after`, in the order of the table.
#[must_use]
pub fn differences(before: &Config, after: &Config) -> Vec<Difference> {
    let differs = |setting: &'static Setting| {
        let (before, after) = (setting.value(before), setting.value(after));
        (before != after).then_some(Difference {
            setting,
            before,
            after,
        })
    };
    SETTINGS.iter().filter_map(differs).collect()
}
