//! The only place that prints: data to stdout, talk to stderr.
//!
//! Whatever is shown to a person is cleaned of control characters first: health reasons, ids and
//! URLs come from elsewhere, and a terminal obeys what it is sent. JSON is printed as it came.
//! Colours appear only on a terminal, unless `CLICOLOR_FORCE` says otherwise, and never where
//! `NO_COLOR` is set (no-color.org) or `CLICOLOR` is 0 (bixense.com/clicolors).

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, IsTerminal, Stderr, Stdout, Write};
#[cfg(unix)]
use std::os::fd::AsFd;

use clap::builder::styling::{AnsiColor, Style};
#[cfg(unix)]
use tokio::{io::Interest, net::unix::pipe};

use crate::failure::Failure;
use crate::spinner::Spinner;
use crate::table;

/// How data is written. (Comments that are documentation would become help, and make it long.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    // For people.
    Table,
    // The same with more columns, where there are more.
    Wide,
    // The API's own objects, unchanged, one a line.
    Json,
}

/// What a piece of text says, and so how it is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Quiet,
    Good,
    Fair,
    Bad,
}

impl Tone {
    /// The tone of a health.
    pub(crate) fn of_health(word: &str) -> Self {
        match word {
            "healthy" => Self::Good,
            "degraded" => Self::Fair,
            "unhealthy" => Self::Bad,
            _ => Self::Plain,
        }
    }

    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Quiet => Style::new().dimmed(),
            Self::Good => colour(AnsiColor::Green),
            Self::Fair => colour(AnsiColor::Yellow),
            Self::Bad => colour(AnsiColor::Red),
        }
    }
}

/// Where everything goes that the command says.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    stdout: Stdout,
    stderr: Stderr,
    is_coloured: bool,
    is_talk_coloured: bool,
    is_dumb: bool,
    spinner: RefCell<Spinner>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let (data, talk) = (stdout.is_terminal(), stderr.is_terminal());
        let is_dumb = setting("TERM").is_some_and(|term| term == "dumb");
        let is_coloured = |is_terminal| {
            let forced = setting("CLICOLOR_FORCE").is_some_and(|value| value != "0");
            let switched_off = setting("CLICOLOR").is_some_and(|value| value == "0");
            let wanted = forced || is_terminal && !is_dumb && !switched_off;
            wanted && setting("NO_COLOR").is_none()
        };
        Self {
            format,
            is_coloured: is_coloured(data),
            is_talk_coloured: is_coloured(talk),
            spinner: RefCell::new(Spinner::new(talk && !is_dumb)),
            is_dumb,
            stdout,
            stderr,
        }
    }

    /// Whether talk is coloured; the log of a server stands beside it.
    pub(crate) fn is_talk_coloured(&self) -> bool {
        self.is_talk_coloured
    }

    /// Whether data is coloured.
    #[cfg(unix)]
    pub(crate) fn is_coloured(&self) -> bool {
        self.is_coloured
    }

    /// Whether the terminal cannot move its cursor.
    #[cfg(unix)]
    pub(crate) fn is_dumb(&self) -> bool {
        self.is_dumb
    }

    /// Whether data is written as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a table has all its columns.
    pub(crate) fn is_wide(&self) -> bool {
        self.format == Format::Wide
    }

    /// What is waited for from now on; nothing when it is empty. A person sees it turn, on a
    /// terminal, when it takes long enough to wonder.
    pub(crate) fn wait_for(&self, what: &str) {
        let what = printable(what).into_owned();
        self.spinner.borrow_mut().wait_for(what);
    }

    /// Lets the spinner turn; called a few times a second while something is waited for.
    pub(crate) fn turn(&self) {
        let size = terminal_size::terminal_size_of(&self.stderr);
        let width = size.map_or(80, |(width, _)| usize::from(width.0));
        let frame = self.spinner.borrow_mut().turn(width);
        if let Some(frame) = frame {
            let mut talk = self.stderr.lock();
            talk.write_all(frame.as_bytes()).ok();
            talk.flush().ok();
        }
    }

    /// Wipes the spinner away, if it is there.
    pub(crate) fn wipe(&self) {
        let wiped = self.spinner.borrow_mut().wipe();
        if let Some(wipe) = wiped {
            let mut talk = self.stderr.lock();
            talk.write_all(wipe.as_bytes()).ok();
            talk.flush().ok();
        }
    }

    /// A line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.tinted(&[(Tone::Plain, text)])
    }

    /// A line of data in pieces, each in its tone.
    pub(crate) fn tinted(&self, pieces: &[(Tone, &str)]) -> Result<(), Failure> {
        let line = tint(pieces, self.is_coloured);
        self.bytes(line.trim_end().as_bytes())
    }

    /// An object of the API, exactly as it came, if JSON is what is wanted; says whether it is.
    pub(crate) fn json(&self, body: &[u8]) -> Result<bool, Failure> {
        if self.format == Format::Json {
            self.bytes(body.strip_suffix(b"\n").unwrap_or(body))?;
        }
        Ok(self.format == Format::Json)
    }

    /// Waits until whoever reads the data has gone away. Only a pipe or a socket tells, and only on
    /// Unix; elsewhere this waits for ever.
    pub(crate) async fn unread(&self) {
        #[cfg(unix)]
        if let Ok(stdout) = watched(&self.stdout)
            && stdout.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Something that is neither for people nor an answer: a script for a shell.
    pub(crate) fn script(&self, script: &[u8]) -> Result<(), Failure> {
        self.bytes(script.strip_suffix(b"\n").unwrap_or(script))
    }

    /// A table of data, as wide as the terminal allows; away from a terminal, as wide as it is.
    pub(crate) fn table(&self, header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let clean = |row: &Vec<String>| row.iter().map(|cell| printable(cell).into()).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(clean).collect();
        let size = terminal_size::terminal_size_of(&self.stdout);
        let width = size.map(|(width, _)| width.0);
        for line in table::lines(header, &rows, width) {
            let pieces: Vec<(Tone, &str)> = line
                .iter()
                .map(|(tone, text)| (*tone, text.as_str()))
                .collect();
            self.tinted(&pieces)?;
        }
        Ok(())
    }

    /// A line of talk. That it cannot be written changes nothing about what was done.
    pub(crate) fn say(&self, text: &str) {
        self.talk(&[(Tone::Plain, text)]);
    }

    /// What went wrong, the facts about it, and what to do next.
    pub(crate) fn failure(&self, failure: &Failure) {
        if !failure.is_worth_telling() {
            return;
        }
        let what = failure.to_string();
        self.talk(&[(Tone::Bad, "error: "), (Tone::Plain, &what)]);
        for fact in failure.facts() {
            self.say(&format!("  {fact}"));
        }
        if let Some(hint) = failure.hint() {
            self.talk(&[(Tone::Good, "hint: "), (Tone::Plain, &hint)]);
        }
    }

    fn talk(&self, pieces: &[(Tone, &str)]) {
        self.wipe();
        let line = tint(pieces, self.is_talk_coloured) + "\n";
        // In one piece: other processes may speak on the same terminal.
        self.stderr.lock().write_all(line.as_bytes()).ok();
    }

    /// Writes one line and flushes it: whoever reads along has it at once.
    fn bytes(&self, line: &[u8]) -> Result<(), Failure> {
        self.wipe();
        let whole = [line, b"\n"].concat();
        let mut out = self.stdout.lock();
        out.write_all(&whole)?;
        out.flush()?;
        Ok(())
    }
}

/// Another handle to stdout, to hear that its reader has gone; nothing is written to it.
#[cfg(unix)]
fn watched(stdout: &Stdout) -> io::Result<pipe::Sender> {
    // Unchecked: the check would take it out of the blocking mode in which everything is written.
    pipe::Sender::from_file_unchecked(stdout.as_fd().try_clone_to_owned()?.into())
}

/// A variable of the environment; an empty one counts as none.
fn setting(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Text in pieces, each in its tone where there are colours, and without control characters.
pub(crate) fn tint(pieces: &[(Tone, &str)], is_coloured: bool) -> String {
    let mut line = String::new();
    for (tone, text) in pieces {
        let text = printable(text);
        if is_coloured && *tone != Tone::Plain {
            let style = tone.style();
            line.push_str(&format!("{style}{text}{style:#}"));
        } else {
            line.push_str(&text);
        }
    }
    line
}

/// Writes bytes that are made already, in one piece. That nobody reads them any more does not stop
/// what they tell of.
#[cfg(unix)]
pub(crate) fn put(bytes: &[u8], is_talk: bool) {
    if is_talk {
        io::stderr().lock().write_all(bytes).ok();
    } else {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).ok();
    }
}

/// A line of talk of something that runs beside others: `who: text`.
#[cfg(unix)]
pub(crate) fn talk(who: &str, text: &str) {
    let line = format!("{who}: {}\n", printable(text));
    // In one piece, so that what others say does not stand in it.
    io::stderr().lock().write_all(line.as_bytes()).ok();
}

/// The text with every control character replaced, line ends among them.
fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        text.chars().map(shown).collect()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_cannot_command_the_terminal() {
        assert_eq!(printable("caf\u{e9} ok"), "caf\u{e9} ok");
        assert_eq!(
            printable("a\x1b[2Jb\r\nc\u{9b}"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}"
        );
        assert_eq!(tint(&[(Tone::Bad, "x\x1b")], false), "x\u{fffd}");
        assert_eq!(tint(&[(Tone::Bad, "x")], true), "\x1b[31mx\x1b[0m");
    }
}
