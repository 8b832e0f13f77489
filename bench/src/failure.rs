//! Why a measurement could not be made. That something is slow is never a failure.

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is wrong: correct it.
    #[error("{0}. `--help` says what there is")]
    Usage(String),
    /// The system refused something: see what it says, then run it again.
    #[error("{doing} failed, so there are no figures: {source}")]
    System {
        doing: &'static str,
        source: std::io::Error,
    },
    /// What was seen cannot be a measurement: find out why before believing any figure.
    #[error("there are no figures: {0}")]
    Unusable(String),
}

impl Failure {
    /// Makes the failure of `doing` something, for `map_err`.
    pub(crate) fn of(doing: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::System { doing, source }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::System { .. } | Self::Unusable(_) => 1,
        }
    }
}
