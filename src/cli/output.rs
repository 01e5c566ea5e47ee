//! Standard output: results for people or as JSON, plain unless a terminal shows them.

use crate::cli::failure::Failure;
use crate::section;
use crate::section::is_printable;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::io::BufWriter;
use std::io::IsTerminal;
use std::io::StdoutLock;
use std::io::Write;

/// Where results go.
pub(super) struct Output {
    writer: BufWriter<StdoutLock<'static>>,
    styled: bool,
}

impl Output {
    /// Standard output, with bold and dim text when it is a terminal and `NO_COLOR` (no-color.org) is not set.
    pub(super) fn new() -> Output {
        let stdout = io::stdout();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let styled = stdout.is_terminal() && !no_color;
        Output { writer: BufWriter::new(stdout.lock()), styled }
    }

    /// One line of text. Control characters are escaped: keys and reasons come from strangers, who must not be able to
    /// drive the terminal.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.writer, "{}", printable(&text.to_string()))?)
    }

    /// One line that stands out.
    pub(super) fn bold(&mut self, text: impl Display) -> Result<(), Failure> {
        self.styled_line("\x1b[1m", text)
    }

    /// One line that stays back.
    pub(super) fn dim(&mut self, text: impl Display) -> Result<(), Failure> {
        self.styled_line("\x1b[2m", text)
    }

    /// A value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(value);
        let json = json.map_err(|error| Failure::Failed(format!("cannot write the answer as JSON: {error}")))?;
        Ok(writeln!(self.writer, "{json}")?)
    }

    /// Text that ends its own lines.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.writer.write_all(text.as_bytes())?)
    }

    /// A table below its bold header.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let mut lines = table.lines().into_iter();
        if let Some(header) = lines.next() {
            self.bold(header)?;
        }
        lines.try_for_each(|line| self.line(line))
    }

    /// Hands everything written so far to the reader.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }

    fn styled_line(&mut self, style: &str, text: impl Display) -> Result<(), Failure> {
        match self.styled {
            true => Ok(writeln!(self.writer, "{style}{}\x1b[0m", printable(&text.to_string()))?),
            false => self.line(text),
        }
    }
}

impl Default for Output {
    fn default() -> Output {
        Output::new()
    }
}

/// Rows of columns that line up.
pub(super) struct Table {
    right_from: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this header; the columns from index `right_from` on hold numbers and are aligned to the right.
    pub(super) fn new(header: &[&str], right_from: usize) -> Table {
        let header = header.iter().map(ToString::to_string).collect();
        Table { right_from, rows: vec![header] }
    }

    /// One more row.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The same, at most `width` characters wide as far as shortening the columns `flexible` allows: the longest of
    /// them first, and none below what still tells cells apart.
    pub(super) fn fitting(mut self, width: usize, flexible: &[usize]) -> Table {
        let mut widths = self.widths();
        let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        while total(&widths) > width {
            let longest = flexible.iter().copied().max_by_key(|column| widths[*column]);
            let Some(longest) = longest.filter(|column| widths[*column] > SHORTEST) else { break };
            widths[longest] -= 1;
        }
        for row in &mut self.rows {
            flexible.iter().for_each(|column| shorten(&mut row[*column], widths[*column]));
        }
        self
    }

    /// The table as text, the header first.
    pub(super) fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        self.rows.iter().map(|row| self.aligned(row, &widths)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        (0..columns).map(width).collect()
    }

    fn aligned(&self, row: &[String], widths: &[usize]) -> String {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column >= self.right_from {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

/// Cuts a text that is longer than `width` characters.
fn shorten(text: &mut String, width: usize) {
    if text.chars().count() > width {
        *text = text.chars().take(width.saturating_sub(1)).chain(['…']).collect();
    }
}

/// A ratio, 0 to 1, as people read it: `33.1 %`; what is not quite nothing is not shown as nothing.
pub(super) fn percent(ratio: f64) -> String {
    match ratio {
        0.0 => "0 %".to_owned(),
        ratio if ratio > 0.0 && ratio < 0.000_5 => "< 0.1 %".to_owned(),
        ratio => format!("{:.1} %", ratio * 100.0),
    }
}

/// `1 node`, `2 nodes`.
pub(super) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Items behind a label, as many to a line as fit.
pub(super) fn wrapped(label: &str, items: impl IntoIterator<Item = String>) -> Vec<String> {
    let indent = label.chars().count();
    let mut lines: Vec<String> = Vec::new();
    let mut line = label.to_owned();
    let mut is_first = true;
    for item in items {
        if !is_first && line.chars().count() + GAP.len() + item.chars().count() > LINE_WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            is_first = true;
        }
        if !is_first {
            line.push_str(GAP);
        }
        line.push_str(&item);
        is_first = false;
    }
    lines.push(line);
    lines
}

fn printable(text: &str) -> Cow<'_, str> {
    match text.chars().all(is_printable) {
        true => text.into(),
        false => section::printable(text, usize::MAX).into(),
    }
}

const GAP: &str = "   ";

/// No column is made shorter than so many characters.
const SHORTEST: usize = 6;

/// Columns of a narrow terminal.
const LINE_WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["node", "state", "weight"], 2);
        table.row(vec!["chat-0".to_owned(), "up".to_owned(), "1".to_owned()]);
        table.row(vec!["b".to_owned(), "draining".to_owned(), "1000".to_owned()]);
        let lines = ["node    state     weight", "chat-0  up             1", "b       draining    1000"];
        assert_eq!(table.lines(), lines);
    }

    #[test]
    fn a_key_cannot_drive_the_terminal() {
        for (text, shown) in [("room-42 é", "room-42 é"), ("a\x1b[2Jb\nc", r"a\u{1b}[2Jb\nc")] {
            assert_eq!(printable(text), shown, "{text:?}");
        }
    }

    #[test]
    fn shares_are_shown_as_people_read_them() {
        for (ratio, text) in [(0.0, "0 %"), (0.000_1, "< 0.1 %"), (0.331_4, "33.1 %"), (1.0, "100.0 %")] {
            assert_eq!(percent(ratio), text, "{ratio}");
        }
    }

    #[test]
    fn long_lists_wrap_below_their_label() {
        let items = (0..12).map(|item| format!("node-{item} 8.3 %"));
        let lines = wrapped("after: ", items);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= LINE_WIDTH), "{lines:#?}");
        assert!(lines[1].starts_with("       node-5"), "{lines:#?}");
        assert_eq!(wrapped("none:", []), ["none:"]);
    }
}
