//! Standard output: results for people or as JSON, plain unless a terminal shows them.

use crate::cli::failure::Failure;
use crate::cli::paint;
use crate::cli::paint::ColorChoice;
use crate::cli::paint::Colours;
use crate::cli::paint::Line;
use crate::cli::paint::Paint;
use crate::cli::table::Table;
use crate::cli::terminal;
use serde::Serialize;
use std::fmt::Display;
use std::io;
use std::io::BufWriter;
use std::io::IsTerminal;
use std::io::StdoutLock;
use std::io::Write;

/// Where results go.
pub(super) struct Output {
    writer: BufWriter<StdoutLock<'static>>,
    colours: Colours,
    is_terminal: bool,
}

impl Output {
    /// Standard output, with colours and bold text where they are wanted.
    pub(super) fn new(wanted: ColorChoice) -> Output {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Output { writer: BufWriter::new(stdout.lock()), colours: wanted.colours(is_terminal), is_terminal }
    }

    /// Which colours there are.
    pub(super) fn colours(&self) -> Colours {
        self.colours
    }

    /// How many columns the terminal has; `None` where it is none.
    pub(super) fn columns(&self) -> Option<usize> {
        self.is_terminal.then(|| terminal::size().columns)
    }

    /// One line of text. Control characters are escaped, as in every [`Line`].
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        self.paint(&Line::new(text, Paint::Plain))
    }

    /// One line that stands out.
    pub(super) fn bold(&mut self, text: impl Display) -> Result<(), Failure> {
        self.paint(&Line::new(text, Paint::Bold))
    }

    /// One line that stays back.
    pub(super) fn dim(&mut self, text: impl Display) -> Result<(), Failure> {
        self.paint(&Line::new(text, Paint::Dim))
    }

    /// One line as it is painted.
    pub(super) fn paint(&mut self, line: &Line) -> Result<(), Failure> {
        Ok(writeln!(self.writer, "{}", line.painted(self.colours))?)
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

    /// A table below its bold header, no wider than the terminal.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        table.lines(self.columns()).iter().try_for_each(|line| self.paint(line))
    }

    /// Hands everything written so far to the reader.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
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

/// Items behind a label, as many to a line of [`LINE_WIDTH`] as fit.
pub(super) fn wrapped(label: &str, items: impl IntoIterator<Item = String>) -> Vec<String> {
    wrapped_at(LINE_WIDTH, label, items)
}

/// Items behind a label, as many to a line of so many columns as fit.
pub(super) fn wrapped_at(columns: usize, label: &str, items: impl IntoIterator<Item = String>) -> Vec<String> {
    let indent = paint::width(label);
    let mut lines: Vec<String> = Vec::new();
    let mut line = label.to_owned();
    let mut is_first = true;
    for item in items {
        if !is_first && paint::width(&line) + GAP.len() + paint::width(&item) > columns {
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

const GAP: &str = "   ";

/// Columns of a narrow terminal.
pub(super) const LINE_WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

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
