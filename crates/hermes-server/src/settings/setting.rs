//! A setting: its key, what it is about, and how its value is read and shown.
//!
//! All names that others know it by are made of its key here, so they cannot drift apart.

use super::lens::Lens;
use crate::config::Config;

/// One setting: a row of the table.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the file; a dot stands for a section.
    pub key: &'static str,
    /// Where it stands in the help and in the reference.
    pub group: Group,
    /// When another value begins to count.
    pub takes: Takes,
    /// What it is, in a line.
    pub what: &'static str,
    /// What one should know before changing it; may be empty.
    pub more: &'static str,
    /// A variable of the second seed document that is read, too, below `HERMES_*`.
    pub elder: Option<&'static str>,
    pub(super) lens: Lens,
}

/// What a setting is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The server as a whole.
    Server,
    /// Who may ask, and how that is kept secret.
    Access,
    /// What is kept of the past.
    History,
    /// What strangers may send.
    Requests,
    /// What one registration may hold.
    Registrations,
    /// What the registry may hold.
    Registry,
    /// What watchers may take.
    Watchers,
    /// What the health probes may take.
    Probes,
}

/// When another value begins to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// As soon as the settings are read again (SIGHUP).
    AtOnce,
    /// With the next start.
    Restart,
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Setting {}

impl Group {
    /// Every group, in the order of the reference.
    pub const ALL: [Self; 8] = [
        Self::Server,
        Self::Access,
        Self::History,
        Self::Requests,
        Self::Registrations,
        Self::Registry,
        Self::Watchers,
        Self::Probes,
    ];

    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Access => "Keys and TLS",
            Self::History => "History",
            Self::Requests => "Limits of requests",
            Self::Registrations => "Limits of a registration",
            Self::Registry => "Limits of the registry",
            Self::Watchers => "Limits of watchers",
            Self::Probes => "Health probes",
        }
    }
}

impl Setting {
    /// Its environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("HERMES_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Its flag of `hermes serve`, without the dashes. Limits have none: they belong to a machine,
    /// not to a command.
    #[must_use]
    pub fn flag(&self) -> Option<String> {
        let has_flag = !self.key.starts_with("limits.");
        has_flag.then(|| self.key.replace(['.', '_'], "-"))
    }

    /// The word for its values.
    #[must_use]
    pub fn placeholder(&self) -> &'static str {
        self.lens.placeholder()
    }

    /// Its value in `config`, as every layer would read it.
    #[must_use]
    pub fn value(&self, config: &Config) -> String {
        self.lens.value(&mut config.clone())
    }

    /// What it is when nobody says anything.
    #[must_use]
    pub fn default(&self) -> String {
        self.value(&Config::served())
    }

    /// What its value may be, to stand behind "expected is".
    #[must_use]
    pub fn expects(&self) -> String {
        self.lens.expects(&mut Config::served())
    }

    /// Takes the value that `text` says; `None` when that is not what is expected, and nothing has
    /// changed.
    #[must_use]
    pub fn set(&self, config: &mut Config, text: &str) -> Option<()> {
        self.lens.set(config, text)
    }

    /// Two values that may be set, for tests of every setting.
    #[cfg(test)]
    pub(super) fn samples(&self) -> [String; 2] {
        self.lens.samples(&mut Config::served())
    }

    pub(super) const fn new(
        key: &'static str,
        group: Group,
        lens: Lens,
        what: &'static str,
    ) -> Self {
        Self {
            key,
            group,
            takes: Takes::Restart,
            what,
            more: "",
            elder: None,
            lens,
        }
    }

    pub(super) const fn at_once(mut self) -> Self {
        self.takes = Takes::AtOnce;
        self
    }

    pub(super) const fn elder(mut self, variable: &'static str) -> Self {
        self.elder = Some(variable);
        self
    }

    pub(super) const fn more(mut self, more: &'static str) -> Self {
        self.more = more;
        self
    }
}
