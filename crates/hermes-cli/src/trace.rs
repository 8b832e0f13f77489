//! What a server tells on stderr: lines for people on a terminal, JSON for programs elsewhere.

use std::io::IsTerminal;

use hermes_server::{LogFormat, Logging};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, reload};

use crate::output::Output;

/// What is told, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Trace {
    level: reload::Handle<Targets, Registry>,
    /// Whether people read along.
    pub(crate) is_for_people: bool,
}

impl Trace {
    /// Begins to tell.
    pub(crate) fn start(logging: &Logging, output: &Output) -> Self {
        let is_for_people = match logging.format {
            LogFormat::Text => true,
            LogFormat::Json => false,
            LogFormat::Auto => std::io::stderr().is_terminal(),
        };
        let (filter, level) = reload::Layer::new(targets(&logging.level));
        let lines = fmt::layer().with_writer(std::io::stderr);
        let lines = if is_for_people {
            let lines = lines.compact().with_target(false);
            lines.with_ansi(output.is_talk_coloured()).boxed()
        } else {
            let lines = lines.json().flatten_event(true).with_span_list(false);
            lines.with_current_span(true).boxed()
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .init();
        Self {
            level,
            is_for_people,
        }
    }

    /// Tells more, or less, from now on.
    pub(crate) fn set_level(&self, level: &str) {
        if let Err(error) = self.level.reload(targets(level)) {
            tracing::error!(%error, "the log level stays as it was");
        }
    }

    /// Something about the server as a whole, in the form that fits.
    pub(crate) fn say(&self, text: &str, output: &Output) {
        if self.is_for_people {
            output.say(text);
        } else {
            tracing::info!("{text}");
        }
    }
}

/// The filter that a setting means.
fn targets(level: &str) -> Targets {
    let filter = level.replace(' ', "").parse();
    filter.expect("the settings admit only levels and `module=level`")
}
