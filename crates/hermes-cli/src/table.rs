//! Tables for people: columns without lines, which fit the terminal.
//!
//! Away from a terminal a row is a line, whatever its length: a program reads it. On a terminal
//! nothing is lost but what nobody misses:
//!
//! - A cell that is too long for its column ends the line, and the next one stands below, in its own
//!   column. One endless id does not push everything else off the screen.
//! - The last column is the long one: it says why. Where it does not fit beside the others it stands
//!   below them, whole, broken between words. Where all is well (`READY` is `yes`) it is cut instead.
//!
//! Three columns are known by their names: cells of `HEALTH` have its colour, `READY` see above, and
//! a last column `WHY` is a summary that is cut in any case.

use crate::output::Tone;

/// Stands before a last column that did not fit.
const INDENT: &str = "    ";
/// Between two columns.
const GAP: usize = 2;
/// No column is made narrower.
const COLUMN_MIN: usize = 12;
/// A last column is cut only where so much of it is left.
const CUT_MIN: usize = 12;
/// So much of the last column is wished for beside the others.
const LAST_WISHED: usize = 40;
/// Text is broken at no fewer columns.
const BROKEN_MIN: usize = 20;

/// A line in pieces, each in its tone.
pub(crate) type Line = Vec<(Tone, String)>;

/// The lines of a table, at most `width` wide if it can be helped. Every row has as many cells as
/// the header.
pub(crate) fn lines(header: &[&str], rows: &[Vec<String>], width: Option<u16>) -> Vec<Line> {
    let width = width.map_or(usize::MAX, usize::from);
    let table = Table {
        widths: widths(header, rows, width),
        width,
        health: header.iter().position(|name| *name == "HEALTH"),
        ready: header.iter().position(|name| *name == "READY"),
        is_summary: header.last() == Some(&"WHY"),
    };
    let mut lines = Vec::new();
    let mut is_last_beside = rows.is_empty();
    for row in rows {
        is_last_beside |= table.add(row, &mut lines);
    }
    let named = if is_last_beside {
        header
    } else {
        header.split_last().map_or(header, |(_, short)| short)
    };
    let named: Vec<String> = named.iter().map(|&name| name.into()).collect();
    let mut above = Line::new();
    table.add_beside(&named, Tone::Plain, &mut above, &mut Vec::new());
    lines.insert(0, above);
    lines
}

struct Table {
    /// Of every column but the last.
    widths: Vec<usize>,
    width: usize,
    health: Option<usize>,
    ready: Option<usize>,
    is_summary: bool,
}

impl Table {
    /// Where a column begins.
    fn begin(&self, column: usize) -> usize {
        self.widths[..column].iter().map(|width| width + GAP).sum()
    }

    /// Adds the lines of a row; says whether its last cell stands beside the others.
    fn add(&self, row: &[String], lines: &mut Vec<Line>) -> bool {
        let Some((last, short)) = row.split_last() else {
            return false;
        };
        let tone = self.health.and_then(|at| row.get(at));
        let tone = tone.map_or(Tone::Plain, |health| Tone::of_health(health));
        let room = self.width.saturating_sub(self.begin(short.len()));
        let is_well = self.ready.is_some_and(|at| row[at] == "yes");
        let fits = last.chars().count() <= room;
        let mut line = Line::new();
        if fits || (is_well || self.is_summary) && room >= CUT_MIN {
            let shown = if fits {
                last.clone()
            } else {
                let kept: String = last.chars().take(room - 3).collect();
                kept + "..."
            };
            let cells: Vec<String> = short.iter().cloned().chain([shown]).collect();
            self.add_beside(&cells, tone, &mut line, lines);
            lines.push(line);
            return !last.is_empty();
        }
        self.add_beside(short, tone, &mut line, lines);
        lines.push(line);
        let most = self.width.saturating_sub(INDENT.len()).max(BROKEN_MIN);
        let broken = broken(last, most).into_iter();
        lines.extend(broken.map(|part| vec![(Tone::Plain, format!("{INDENT}{part}"))]));
        false
    }

    /// Adds cells to a line, each in its column. Lines that end because a cell is too long go to
    /// `lines`.
    fn add_beside(&self, cells: &[String], tone: Tone, line: &mut Line, lines: &mut Vec<Line>) {
        let mut at = 0;
        for (column, cell) in cells.iter().enumerate() {
            if cell.is_empty() {
                continue;
            }
            let begin = self.begin(column);
            if at > begin {
                lines.push(std::mem::take(line));
                at = 0;
            }
            line.push((Tone::Plain, " ".repeat(begin - at)));
            let tone = if self.health == Some(column) {
                tone
            } else {
                Tone::Plain
            };
            line.push((tone, cell.clone()));
            at = begin + cell.chars().count();
            // A gap belongs to the cell before it.
            if self
                .widths
                .get(column)
                .is_some_and(|width| at > begin + width)
            {
                at += GAP;
            }
        }
    }
}

/// How wide every column but the last is: as its widest cell, unless all together are too wide.
/// Then the widest give way.
fn widths(header: &[&str], rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let columns = header.len().saturating_sub(1);
    let mut widths: Vec<usize> = header[..columns].iter().map(|name| name.len()).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = cell.chars().count().max(*widest);
        }
    }
    let last = rows.iter().filter_map(|row| row.last());
    let last = last.map(|cell| cell.chars().count()).max();
    let wished = last.unwrap_or_default().min(LAST_WISHED);
    let gaps = GAP * columns.saturating_sub(1);
    loop {
        let used = widths.iter().sum::<usize>().saturating_add(gaps);
        let mut sorted = widths.clone();
        sorted.sort_unstable();
        let second = sorted.iter().rev().nth(1).copied().unwrap_or_default();
        let Some(widest) = widths
            .iter_mut()
            .max()
            .filter(|widest| **widest > COLUMN_MIN)
        else {
            break;
        };
        // What is far longer than all others gives way at once, or it would leave them no room.
        let is_outlier = *widest > 2 * second.max(COLUMN_MIN);
        let is_cramped = used.saturating_add(GAP + wished) > width;
        if used <= width && !(is_cramped && is_outlier) {
            break;
        }
        *widest = second.clamp(COLUMN_MIN, *widest - 1);
    }
    widths
}

/// A text in lines of at most `most` characters, broken between words. A longer word stays whole.
fn broken(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [&str; 4] = ["ID", "HEALTH", "READY", "REASON"];

    fn table(rows: &[[&str; 4]], width: Option<u16>) -> Vec<String> {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.map(str::to_owned).to_vec())
            .collect();
        let whole = |line: Line| line.into_iter().map(|(_, text)| text).collect::<String>();
        let lines = lines(&HEADER, &rows, width).into_iter().map(whole);
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    const ROWS: [[&str; 4]; 2] = [
        [
            "web-1",
            "unhealthy",
            "no",
            "check `http` fails: connection refused",
        ],
        [
            "w",
            "healthy",
            "yes",
            "http: GET /health answered 200 in 7 ms",
        ],
    ];

    #[test]
    fn a_table_that_fits_has_a_line_for_each_row() {
        let expected = [
            "ID     HEALTH     READY  REASON",
            "web-1  unhealthy  no     check `http` fails: connection refused",
            "w      healthy    yes    http: GET /health answered 200 in 7 ms",
        ];
        for width in [None, Some(80), Some(63)] {
            assert_eq!(table(&ROWS, width), expected, "{width:?}");
        }
    }

    #[test]
    fn a_reason_that_does_not_fit_stands_below_or_is_cut_where_all_is_well() {
        assert_eq!(
            table(&ROWS, Some(40)),
            [
                "ID     HEALTH     READY  REASON",
                "web-1  unhealthy  no",
                "    check `http` fails: connection",
                "    refused",
                "w      healthy    yes    http: GET /h...",
            ]
        );
        assert_eq!(
            table(&ROWS, Some(30)),
            [
                "ID     HEALTH     READY",
                "web-1  unhealthy  no",
                "    check `http` fails:",
                "    connection refused",
                "w      healthy    yes",
                "    http: GET /health answered",
                "    200 in 7 ms",
            ]
        );
    }

    #[test]
    fn a_cell_that_is_too_long_ends_the_line_and_nothing_else() {
        let long = "web-7d4b9c6f5-x2x9z-and-so-on-and-so-on";
        let rows = [
            [long, "healthy", "yes", "ok"],
            ["w", "healthy", "yes", "ok"],
        ];
        assert_eq!(
            table(&rows, Some(40)),
            [
                "ID            HEALTH   READY  REASON",
                long,
                "              healthy  yes    ok",
                "w             healthy  yes    ok",
            ]
        );
        // Away from a terminal a row is a line.
        assert_eq!(table(&rows, None).len(), 3);
        assert!(
            table(&rows, Some(1)).concat().contains(long),
            "nothing is lost"
        );
    }

    #[test]
    fn health_has_its_colour() {
        let row = ROWS[0].map(str::to_owned).to_vec();
        let lines = lines(&HEADER, &[row], None);
        let bad: Vec<&str> = lines[1]
            .iter()
            .filter(|(tone, _)| *tone == Tone::Bad)
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(bad, ["unhealthy"]);
    }
}
