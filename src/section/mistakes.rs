//! Mistakes in a config file, each shown with its place, the line itself and the way out.

use serde::Serialize;
use std::fmt::Display;
use std::fmt::Formatter;
use std::ops::Range;

/// A byte range of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// The file as a whole, for what is missing at its top level.
    pub const FILE: Span = Span { start: 0, end: 0 };
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Span {
        Span { start: range.start, end: range.end }
    }
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    message: String,
    way_out: Option<String>,
    place: Span,
    note: Option<(Span, &'static str)>,
}

impl Mistake {
    /// `message` says what is wrong and, after the first `; `, what to do instead: the parsers of single
    /// values write such sentences, and here their second half becomes the help line.
    pub fn new(place: Span, message: impl Into<String>) -> Mistake {
        let message = message.into();
        let (message, way_out) = match message.split_once("; ") {
            Some((message, way_out)) => (message.to_owned(), Some(way_out.to_owned())),
            None => (message, None),
        };
        Mistake { message, way_out, place, note: None }
    }

    /// Shows a second place, with what is to be seen there.
    pub fn with_note(self, place: Span, note: &'static str) -> Mistake {
        Mistake { note: Some((place, note)), ..self }
    }

    /// Where it is wrong.
    pub fn place(&self) -> Span {
        self.place
    }

    /// A file that is no TOML: the parser stops at the first such mistake. Its two commonest get a way out.
    pub(super) fn syntax(error: &toml::de::Error, text: &str) -> Mistake {
        let place = error.span().map_or(Span { start: text.len(), end: text.len() }, Span::from);
        let found = text.get(place.start..place.end).unwrap_or_default();
        let (message, expected) = match error.message().split_once(", expected ") {
            Some((message, expected)) => (message, Some(expected)),
            None => (error.message(), None),
        };
        let way_out = match (message, expected) {
            ("duplicate key", _) => Some(format!("`{found}` is given before in this table; remove one of them")),
            ("string values must be quoted", _) => Some(format!("write \"{found}\"")),
            (_, Some(expected)) => Some(format!("expected {expected}")),
            (_, None) => None,
        };
        Mistake { message: format!("not valid TOML: {message}"), way_out, place, note: None }
    }
}

/// One sentence without the place, for settings that did not come from a file.
impl Display for Mistake {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match &self.way_out {
            Some(way_out) => write!(formatter, "{}; {way_out}", self.message),
            None => write!(formatter, "{}", self.message),
        }
    }
}

/// A mistake as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The line it stands on, from 1; absent for what is missing at the top level.
    pub line: Option<usize>,
    /// The column it begins at, in characters from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do instead, where that is known.
    pub help: Option<String>,
}

/// Every mistake of one file, ready to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    file: String,
    text: String,
    list: Vec<Mistake>,
}

impl Mistakes {
    /// `file` is what to call the file, `text` what it holds.
    pub fn new(file: &str, text: &str, list: Vec<Mistake>) -> Mistakes {
        Mistakes { file: file.to_owned(), text: text.to_owned(), list }
    }

    /// The mistakes in the order of the file.
    pub fn list(&self) -> &[Mistake] {
        &self.list
    }

    /// The mistakes for programs, in the order of the file.
    pub fn reports(&self) -> Vec<Report> {
        let report = |mistake: &Mistake| {
            let line = (mistake.place != Span::FILE).then(|| Line::at(&self.text, mistake.place));
            Report {
                line: line.as_ref().map(|line| line.number),
                column: line.as_ref().map(|line| line.column),
                message: mistake.message.clone(),
                help: mistake.way_out.clone(),
            }
        };
        self.list.iter().map(report).collect()
    }

    fn show_place(&self, place: Span, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        if place == Span::FILE {
            return writeln!(formatter, "  --> {}", self.file);
        }
        let line = Line::at(&self.text, place);
        let margin = " ".repeat(line.number.to_string().len());
        writeln!(formatter, "{margin} --> {}:{}:{}", self.file, line.number, line.column)?;
        writeln!(formatter, "{margin} |")?;
        writeln!(formatter, "{} | {}", line.number, line.text)?;
        writeln!(formatter, "{margin} | {}{}", line.indent, "^".repeat(line.width))
    }
}

impl Display for Mistakes {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        for mistake in &self.list {
            writeln!(formatter, "error: {}", mistake.message)?;
            self.show_place(mistake.place, formatter)?;
            if let Some((place, note)) = mistake.note {
                writeln!(formatter, "note: {note}")?;
                self.show_place(place, formatter)?;
            }
            if let Some(way_out) = &mistake.way_out {
                writeln!(formatter, "help: {way_out}")?;
            }
            writeln!(formatter)?;
        }
        match self.list.len() {
            1 => write!(formatter, "1 error in {}", self.file),
            count => write!(formatter, "{count} errors in {}", self.file),
        }
    }
}

impl std::error::Error for Mistakes {}

/// The line of a place, cut so that carets can be put under it.
struct Line<'t> {
    /// From 1.
    number: usize,
    /// In characters, from 1.
    column: usize,
    text: &'t str,
    /// What to write before the carets: blanks, and tabs where the line has tabs.
    indent: String,
    /// How many carets: a place that runs over several lines is marked on its first.
    width: usize,
}

impl<'t> Line<'t> {
    fn at(text: &'t str, place: Span) -> Line<'t> {
        let start = text.floor_char_boundary(place.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let before = &line[..(start - line_start).min(line.len())];
        let marked_end = line.floor_char_boundary(place.end.saturating_sub(line_start)).max(before.len());
        Line {
            number: text[..start].matches('\n').count() + 1,
            column: before.chars().count() + 1,
            text: line,
            indent: before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect(),
            width: line[before.len()..marked_end].chars().count().max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, place: Range<usize>) -> String {
        Mistakes::new("a.toml", text, vec![Mistake::new(place.into(), "wrong; do right")]).to_string()
    }

    #[test]
    fn carets_stand_under_the_place() {
        let expected = "error: wrong\n  --> a.toml:2:3\n  |\n2 | b = 1\n  |   ^\nhelp: do right\n\n1 error in a.toml";
        assert_eq!(shown("a\nb = 1\nc", 4..5), expected);
    }

    #[test]
    fn a_place_over_several_lines_is_marked_on_its_first() {
        let text = "nodes = [\n  1,\n]\n";
        assert!(shown(text, 8..16).contains("1 | nodes = [\n  |         ^\n"), "{}", shown(text, 8..16));
    }

    #[test]
    fn tabs_and_wide_text_before_the_place_keep_the_carets_aligned() {
        let text = "\té = x";
        let start = text.find('x').unwrap();
        assert!(shown(text, start..start + 1).contains("  | \t    ^\n"), "{}", shown(text, start..start + 1));
    }

    #[test]
    fn the_end_of_the_file_and_beyond_is_a_place() {
        for text in ["", "a", "a\n", "é"] {
            for start in 0..4 {
                assert!(shown(text, start..start + 3).contains("error: wrong"), "{text:?} {start}");
            }
        }
    }
}
