//! What one sees of a stack: a line of state for each endpoint, and what the commands print.
//!
//! On a terminal the lines of state are a table below everything else, drawn anew with each change.
//! Where the output goes elsewhere, each change is a line. What a command prints has its name before
//! each line, and goes where the command has sent it: to stdout or to stderr.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::commands::run::news::{Audience, News};
use crate::commands::run::readiness::Readiness;
use crate::output::{Tone, put, tint};

/// A longer line of a command is shown in pieces of this many bytes.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// The widest state: `unregistered`.
const STATE_WIDTH: usize = 12;

/// Which endpoint: the place of its service in the file, its number, and how often it was replaced.
pub(super) type Key = (usize, usize, usize);

/// What one sees.
#[derive(Debug)]
pub(super) struct Board {
    rows: Mutex<Rows>,
    readiness: watch::Receiver<Readiness>,
    look: Look,
}

/// How it looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Width and height of the terminal, if all of it goes to one.
    pub(super) size: Option<fn() -> (usize, usize)>,
    pub(super) is_coloured: bool,
    /// The width of the longest label.
    pub(super) label: usize,
}

#[derive(Debug, Default)]
struct Rows {
    all: BTreeMap<Key, Row>,
    /// So many lines of the table are on the screen.
    drawn: usize,
}

#[derive(Debug)]
struct Row {
    label: String,
    service: String,
    state: &'static str,
    detail: String,
    /// Where it is registered: id and URL.
    registered: Option<(String, String)>,
}

impl Board {
    pub(super) fn new(readiness: watch::Receiver<Readiness>, look: Look) -> Self {
        Self {
            rows: Mutex::default(),
            readiness,
            look,
        }
    }

    /// A line for an endpoint that is about to begin.
    pub(super) fn add(&self, key: Key, label: String, service: &str) {
        let row = Row {
            label,
            service: service.into(),
            state: "waiting",
            detail: String::new(),
            registered: None,
        };
        self.rows.lock().unwrap().all.insert(key, row);
    }

    /// The line of one that was replaced.
    pub(super) fn remove(&self, key: Key) {
        let mut rows = self.rows.lock().unwrap();
        rows.all.remove(&key);
        self.show(&mut rows, "", false);
    }

    /// Whether an endpoint is ready.
    pub(super) fn is_ready(&self, key: Key) -> bool {
        let rows = self.rows.lock().unwrap();
        rows.all.get(&key).is_some_and(|row| row.state == "ready")
    }

    /// Something about the whole.
    pub(super) fn say(&self, text: &str) {
        let line = format!("{:1$}  {text}\n", "hermes", self.look.label);
        self.show(&mut self.rows.lock().unwrap(), &line, true);
    }

    /// An endpoint is in this state now.
    pub(super) fn set(&self, key: Key, state: &'static str, detail: &str) {
        let mut rows = self.rows.lock().unwrap();
        if let Some(row) = rows.all.get_mut(&key) {
            row.state = state;
            row.detail = detail.into();
            let line = self.line(row, detail);
            self.show(&mut rows, &line, false);
        }
    }

    fn tell(&self, key: Key, news: &News) {
        let mut rows = self.rows.lock().unwrap();
        let Some(row) = rows.all.get_mut(&key) else {
            return;
        };
        let text = news.to_string();
        match news {
            News::Registered { id, url, .. } => {
                row.registered = Some((id.clone(), url.clone()));
                row.detail.clone_from(url);
            }
            News::Deregistered { .. } | News::Left { .. } => row.registered = None,
            _ => row.detail.clone_from(&text),
        }
        row.state = news.state().unwrap_or(row.state);
        let mut lines = self.line(row, &text);
        lines.push_str(&self.judge(row).unwrap_or_default());
        self.show(&mut rows, &lines, false);
    }

    /// Looks at what is ready now.
    pub(super) fn judge_all(&self) {
        let mut rows = self.rows.lock().unwrap();
        let lines = rows.all.values_mut().filter_map(|row| self.judge(row));
        let lines: String = lines.collect();
        if !lines.is_empty() {
            self.show(&mut rows, &lines, false);
        }
    }

    /// Whether what is registered is ready, as a line if that is new.
    fn judge(&self, row: &mut Row) -> Option<String> {
        let (id, url) = row.registered.as_ref()?;
        if !["registered", "ready", "not ready"].contains(&row.state) {
            return None;
        }
        let known = self.readiness.borrow();
        let seen = known.of(&row.service, id)?;
        let (state, detail) = if seen.is_ready {
            ("ready", format!("{url}  {}", seen.why))
        } else if seen.is_starting {
            ("registered", url.clone())
        } else {
            ("not ready", seen.why.clone())
        };
        if row.state == state && row.detail == detail {
            return None;
        }
        row.state = state;
        row.detail = detail;
        Some(self.line(row, &row.detail))
    }

    /// A line of state, with its end.
    fn line(&self, row: &Row, detail: &str) -> String {
        let label = format!("{:1$}  ", row.label, self.look.label);
        let state = format!("{:<STATE_WIDTH$}", row.state);
        let detail = format!("  {detail}");
        let pieces = [
            (Tone::Plain, &*label),
            (tone(row.state), &*state),
            (Tone::Plain, &*detail),
        ];
        tint(&pieces, self.look.is_coloured).trim_end().to_owned() + "\n"
    }

    /// What a command has printed, one line of it without its end.
    fn print(&self, key: Key, line: &[u8], is_talk: bool) {
        let mut rows = self.rows.lock().unwrap();
        let label = rows.all.get(&key).map_or("", |row| &row.label);
        let before = format!("{label:width$} | ", width = self.look.label);
        let before = tint(&[(Tone::Quiet, &before)], self.look.is_coloured);
        let line = [before.as_bytes(), line, b"\n"].concat();
        if self.look.size.is_none() {
            return put(&line, is_talk);
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        self.show(&mut rows, &text, true);
    }

    /// Shows whole lines. On a terminal only what was printed, and what is about all, stays above
    /// the table; what is told of a state stands in the table.
    fn show(&self, rows: &mut Rows, lines: &str, stays: bool) {
        match self.look.size {
            None => put(lines.as_bytes(), false),
            Some(size) => {
                let above = if stays { lines } else { "" };
                put(self.frame(rows, above, size()).as_bytes(), false);
            }
        }
    }

    /// Wipes the table, writes lines where it was, and draws it below them.
    fn frame(&self, rows: &mut Rows, above: &str, (width, height): (usize, usize)) -> String {
        let mut frame = String::new();
        if rows.drawn > 0 {
            frame.push_str(&format!("\x1b[{}A\r\x1b[J", rows.drawn));
        }
        frame.push_str(above);
        rows.drawn = 0;
        // One column stays free, as a full line would wrap on some terminals, and the last line.
        let room = width.saturating_sub(self.look.label + 2 + STATE_WIDTH + 2 + 1);
        for row in rows.all.values().take(height.saturating_sub(1)) {
            let detail: String = row.detail.chars().take(room).collect();
            frame.push_str(&self.line(row, &detail));
            rows.drawn += 1;
        }
        frame
    }
}

fn tone(state: &str) -> Tone {
    match state {
        "ready" => Tone::Good,
        "not ready" | "failed" | "unregistered" | "replaced" => Tone::Bad,
        "draining" | "stopping" | "restarting" => Tone::Fair,
        "waiting" | "ended" => Tone::Quiet,
        _ => Tone::Plain,
    }
}

/// The line of one endpoint, as those see it who make it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) board: Arc<Board>,
    pub(super) key: Key,
    /// Rung when something has happened.
    pub(super) bell: Arc<Notify>,
}

impl Audience for Line {
    fn tell(&self, news: &News) {
        self.board.tell(self.key, news);
        self.bell.notify_one();
    }

    fn is_reading(&self) -> bool {
        true
    }

    fn read(&self, output: ChildStdout, errors: ChildStderr) -> Option<JoinHandle<()>> {
        let (board, key) = (Arc::clone(&self.board), self.key);
        Some(tokio::spawn(async move {
            let output = relay(BufReader::new(output), |line| board.print(key, line, false));
            let errors = relay(BufReader::new(errors), |line| board.print(key, line, true));
            tokio::join!(output, errors);
        }))
    }
}

/// Hands on what is read, line by line, and what is left at the end.
async fn relay(mut from: impl AsyncBufRead + Unpin, print: impl Fn(&[u8])) {
    let mut line = Vec::new();
    loop {
        // A pipe that breaks has ended.
        let chunk = from.fill_buf().await.unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        let room = LINE_BYTES_MAX - line.len();
        let end = chunk.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(chunk.len().min(room));
        line.extend_from_slice(&chunk[..taken]);
        from.consume(taken + usize::from(end.is_some()));
        if end.is_some() || line.len() == LINE_BYTES_MAX {
            print(line.strip_suffix(b"\r").unwrap_or(&line));
            line.clear();
        }
    }
    if !line.is_empty() {
        print(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_handed_on_whole_and_long_ones_in_pieces() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("one\n\r\ntwo\r\n{long}\nend");
        let lines = Mutex::new(Vec::new());
        let keep = |line: &[u8]| lines.lock().unwrap().push(line.to_vec());
        relay(BufReader::with_capacity(7, text.as_bytes()), keep).await;
        let lines = lines.into_inner().unwrap();
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 0, 3, LINE_BYTES_MAX, 1, 3]);
    }

    #[test]
    fn on_a_terminal_the_table_is_drawn_anew_below_what_is_printed() {
        let (_known, readiness) = watch::channel(Readiness::default());
        let look = Look {
            size: None,
            is_coloured: false,
            label: 6,
        };
        let board = Board::new(readiness, look);
        board.add((0, 0, 0), "db".into(), "db");
        board.add((1, 0, 0), "web".into(), "web");
        let mut rows = board.rows.lock().unwrap();
        let first = board.frame(&mut rows, "", (80, 24));
        assert_eq!(first, "db      waiting\nweb     waiting\n");
        let db = rows.all.get_mut(&(0, 0, 0)).unwrap();
        db.state = "ready";
        db.detail = "http://127.0.0.1:1  healthy \x1b[2J".into();
        let second = board.frame(&mut rows, "web    | hello\n", (40, 24));
        let expected = "\x1b[2A\r\x1b[Jweb    | hello\n\
                        db      ready         http://127.0.0.1:\nweb     waiting\n";
        assert_eq!(second, expected);
        // What does not fit on the screen is not drawn, so that it can be wiped again.
        let third = board.frame(&mut rows, "", (200, 2));
        let expected =
            "\x1b[2A\r\x1b[Jdb      ready         http://127.0.0.1:1  healthy \u{fffd}[2J\n";
        assert_eq!(third, expected);
        assert_eq!(rows.drawn, 1);
    }
}
