//! Where a setting comes from, and what is wrong with those that cannot be used.
//!
//! Faults are collected, never thrown one by one: whoever mends a configuration wants to see all of
//! them at once.

use std::fmt;
use std::path::PathBuf;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Nowhere: it is the default.
    Default,
    /// In a flag of the command line, as it is written: `--interval`.
    Flag(String),
    /// In an environment variable of this name.
    Variable(String),
    /// In a file.
    File {
        /// Which one, as it was named.
        path: PathBuf,
        /// The line, from 1; 0 when it is about the file as a whole.
        line: u64,
        /// The column, from 1; 0 when it is about the file as a whole.
        column: u64,
    },
}

/// A value with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is set there, as it is written: `health_check.interval`, or the name of the variable.
    pub key: String,
    /// The value, as far as it may be shown; `None` when there is none, or when it cannot be.
    pub value: Option<String>,
    /// Where it stands.
    pub place: Place,
    /// What was expected instead.
    pub expected: String,
}

/// Everything that is wrong, in the order of the places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl<T> Setting<T> {
    /// The default.
    #[must_use]
    pub fn default_of(value: T) -> Self {
        let place = Place::Default;
        Self { value, place }
    }
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn whole_file(path: impl Into<PathBuf>) -> Self {
        Self::File {
            path: path.into(),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => write!(f, "${name}"),
            Self::File {
                path,
                line: 0,
                column: _,
            } => write!(f, "{}", path.display()),
            Self::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Variable(name) if *name == self.key => write!(f, "{}", self.place)?,
            _ => write!(f, "{}: {}", self.place, self.key)?,
        }
        if let Some(value) = &self.value {
            write!(f, " is `{value}`")?;
        }
        write!(f, "; expected {}", self.expected)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
