//! Tables for people: columns without lines, which fit the terminal.
//!
//! The last column is the long one: it says why. Where it does not fit beside the others, it stands
//! on a line of its own below them, whole, and the terminal breaks it where it likes. A column of
//! words one letter wide helps nobody.

use comfy_table::{ContentArrangement, Table, presets};

/// Stands before a last column that did not fit.
const INDENT: &str = "    ";

/// The lines of a table, at most `width` wide if it can be helped. Every row has as many cells as
/// the header.
pub(crate) fn lines(header: &[&str], rows: &[Vec<String>], width: Option<u16>) -> Vec<String> {
    let whole = columns(header, rows);
    let widest = whole.iter().map(|line| line.chars().count()).max();
    let fits = width.is_none_or(|width| widest.unwrap_or_default() <= usize::from(width));
    let Some((_, short)) = header.split_last().filter(|_| !fits) else {
        return whole;
    };
    let cut = |row: &Vec<String>| row[..row.len().min(short.len())].to_vec();
    let mut lines = Vec::new();
    let beside = columns(short, &rows.iter().map(cut).collect::<Vec<_>>());
    let below = rows
        .iter()
        .map(|row| row.last().filter(|last| !last.is_empty()));
    for (line, last) in beside.into_iter().zip([None].into_iter().chain(below)) {
        lines.push(line);
        lines.extend(last.map(|last| format!("{INDENT}{last}")));
    }
    lines
}

/// One line for the header and one for each row, each column as wide as its widest cell.
fn columns(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let rows = [["web-1", "no", "connection refused"], ["w", "yes", ""]];
        rows.map(|row| row.map(str::to_owned).to_vec()).to_vec()
    }

    #[test]
    fn a_table_that_fits_has_a_line_for_each_row() {
        let expected = [
            "ID     READY  REASON",
            "web-1  no     connection refused",
            "w      yes",
        ];
        for width in [None, Some(80), Some(32)] {
            assert_eq!(
                lines(&["ID", "READY", "REASON"], &rows(), width),
                expected,
                "{width:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_stands_below_its_row() {
        let expected = [
            "ID     READY",
            "web-1  no",
            "    connection refused",
            "w      yes",
        ];
        for width in [31, 1] {
            let lines = lines(&["ID", "READY", "REASON"], &rows(), Some(width));
            assert_eq!(lines, expected, "{width}");
        }
    }
}
