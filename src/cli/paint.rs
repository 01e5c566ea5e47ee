//! Lines of text with colours, measured and cut in the columns that a terminal shows them in.

use crate::section;
use crate::section::is_printable;
use clap::ValueEnum;
use std::borrow::Cow;
use std::fmt::Display;
use std::fmt::Write;
use unicode_width::UnicodeWidthChar;

/// When there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    Always,
    Never,
}

impl ColorChoice {
    /// Which colours there are on standard output. `NO_COLOR` is that of no-color.org; terminals that show 16 million
    /// colours say so in `COLORTERM`.
    pub(super) fn colours(self, is_terminal: bool) -> Colours {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_dumb = variable("TERM").is_some_and(|term| term == "dumb");
        let wanted = match self {
            ColorChoice::Auto => is_terminal && !is_dumb && variable("NO_COLOR").is_none(),
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        match variable("COLORTERM") {
            _ if !wanted => Colours::None,
            Some(term) if term == "truecolor" || term == "24bit" => Colours::All,
            _ => Colours::Cube,
        }
    }
}

/// Which colours can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    /// None, and no bold text either.
    None,
    /// Those of xterm's 6 x 6 x 6 cube.
    Cube,
    /// Each of 16 million.
    All,
}

/// Red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rgb(pub(super) u8, pub(super) u8, pub(super) u8);

impl Rgb {
    /// A colour as `#rrggbb`.
    pub(super) fn parse(text: &str) -> Option<Rgb> {
        let number = u32::from_str_radix(text.strip_prefix('#')?, 16).ok()?;
        let [_, red, green, blue] = number.to_be_bytes();
        Some(Rgb(red, green, blue))
    }

    /// The same halfway to grey, which stands out less on dark and on light ground.
    pub(super) fn faint(self) -> Rgb {
        let faint = |part: u8| part / 2 + 0x40;
        Rgb(faint(self.0), faint(self.1), faint(self.2))
    }

    /// What an escape sequence says for it.
    fn code(self, colours: Colours) -> String {
        let Rgb(red, green, blue) = self;
        match colours {
            Colours::All => format!("2;{red};{green};{blue}"),
            Colours::Cube | Colours::None => {
                format!("5;{}", 16 + 36 * cube_level(red) + 6 * cube_level(green) + cube_level(blue))
            }
        }
    }
}

/// The nearest of the six levels that xterm's cube has for each part of a colour.
fn cube_level(part: u8) -> usize {
    let distance = |level: &usize| CUBE_LEVELS[*level].abs_diff(part);
    (0..CUBE_LEVELS.len()).min_by_key(distance).unwrap_or_default()
}

/// What a piece of text looks like. What it says never depends on that alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Paint {
    #[default]
    Plain,
    Bold,
    Dim,
    Warn,
    Bad,
    /// A colour, before another one.
    Ink(Rgb, Option<Rgb>),
}

impl Paint {
    /// The parameters of the escape sequence (ECMA-48, select graphic rendition).
    fn code(self, colours: Colours) -> Option<Cow<'static, str>> {
        match self {
            _ if colours == Colours::None => None,
            Paint::Plain => None,
            Paint::Bold => Some("1".into()),
            Paint::Dim => Some("2".into()),
            Paint::Warn => Some("33".into()),
            Paint::Bad => Some("1;31".into()),
            Paint::Ink(ink, None) => Some(format!("38;{}", ink.code(colours)).into()),
            Paint::Ink(ink, Some(ground)) => {
                Some(format!("38;{};48;{}", ink.code(colours), ground.code(colours)).into())
            }
        }
    }
}

/// A line of text in pieces of one look each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(String, Paint)>);

impl Line {
    /// A line that looks alike all over. Control characters are escaped: keys and reasons come from strangers, who must
    /// not be able to drive the terminal.
    pub(super) fn new(text: impl Display, paint: Paint) -> Line {
        Line::default().with(text, paint)
    }

    /// The same with a piece more at its end.
    pub(super) fn with(mut self, text: impl Display, paint: Paint) -> Line {
        let text = text.to_string();
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some((last, same)) if *same == paint => last.push_str(&printable(&text)),
            _ => self.0.push((printable(&text).into_owned(), paint)),
        }
        self
    }

    /// The same with another line behind it.
    pub(super) fn beside(mut self, gap: &str, other: Line) -> Line {
        self.0.push((gap.to_owned(), Paint::Plain));
        self.0.extend(other.0);
        self
    }

    /// How many columns it takes.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| width(text)).sum()
    }

    /// The same, cut where it is wider than so many columns.
    pub(super) fn cut(self, columns: usize) -> Line {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns;
        let mut pieces = Vec::new();
        for (text, paint) in self.0 {
            let wide = width(&text);
            if wide < left {
                pieces.push((text, paint));
                left -= wide;
            } else {
                // Something of the line is left out even where this piece fits.
                pieces.push((cut(&text, left), paint));
                break;
            }
        }
        Line(pieces)
    }

    /// The same without blanks at its end.
    pub(super) fn trimmed(mut self) -> Line {
        while let Some((text, _)) = self.0.last_mut() {
            text.truncate(text.trim_end().len());
            if !text.is_empty() {
                break;
            }
            self.0.pop();
        }
        self
    }

    /// The text, with escape sequences where there are colours.
    pub(super) fn painted(&self, colours: Colours) -> String {
        let mut painted = String::new();
        for (text, paint) in &self.0 {
            match paint.code(colours) {
                Some(code) => write!(painted, "\x1b[{code}m{text}\x1b[0m").expect("a String takes any text"),
                None => painted.push_str(text),
            }
        }
        painted
    }
}

/// Text that shows as it is.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    match text.chars().all(is_printable) {
        true => text.into(),
        false => section::printable(text, usize::MAX).into(),
    }
}

/// How many columns a text takes: two for each wide character of East Asia and most emoji (Unicode, UAX 11).
///
/// Character by character, as terminals count that know nothing of emoji which join.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(wide).sum()
}

/// A text that is wider than so many columns, cut and with a mark of that.
pub(super) fn shortened(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) > columns { cut(text, columns).into() } else { text.into() }
}

/// The beginning of a text and a mark that there is more, in so many columns.
fn cut(text: &str, columns: usize) -> String {
    let Some(mut left) = columns.checked_sub(1) else { return String::new() };
    let fits = |character: &char| {
        let fits = wide(*character) <= left;
        left = left.saturating_sub(wide(*character));
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

fn wide(character: char) -> usize {
    character.width().unwrap_or_default()
}

/// The six values of a part of a colour in xterm's cube (`xterm-256color`).
const CUBE_LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_drive_the_terminal() {
        for (text, shown) in [("room-42 é", "room-42 é"), ("a\x1b[2Jb\nc", r"a\u{1b}[2Jb\nc")] {
            assert_eq!(Line::new(text, Paint::Plain).painted(Colours::All), shown, "{text:?}");
        }
    }

    #[test]
    fn a_line_is_cut_in_columns_and_not_in_bytes_or_characters() {
        for (text, columns, shown) in [
            ("chat-0", 6, "chat-0"),
            ("chat-0", 5, "chat…"),
            ("größer", 5, "größ…"),
            ("東京の部屋", 10, "東京の部屋"),
            ("東京の部屋", 9, "東京の部…"),
            ("東京の部屋", 8, "東京の…"),
            ("a🦀b", 3, "a…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            let line = Line::new(text, Paint::Plain).cut(columns);
            assert!(line.width() <= columns, "{text:?} in {columns}: {line:?}");
            assert_eq!(line.painted(Colours::None), shown, "{text:?} in {columns}");
        }
    }

    #[test]
    fn a_cut_goes_through_pieces_that_look_different() {
        let line = || Line::new("ab", Paint::Bold).with("cd", Paint::Plain).with("ef", Paint::Dim);
        for (columns, shown) in [(6, "abcdef"), (5, "abcd…"), (4, "abc…"), (3, "ab…"), (2, "a…"), (1, "…")] {
            assert_eq!(line().cut(columns).painted(Colours::None), shown, "{columns}");
        }
        assert_eq!(line().cut(3).painted(Colours::Cube), "\x1b[1mab\x1b[0m…");
        assert_eq!(Line::new("a  ", Paint::Bold).with("  ", Paint::Plain).trimmed(), Line::new("a", Paint::Bold));
    }

    #[test]
    fn colours_become_what_the_terminal_has() {
        let blue = Rgb::parse("#0072b2").unwrap();
        assert_eq!(blue, Rgb(0, 114, 178));
        let line = Line::new("#", Paint::Ink(blue, Some(Rgb(255, 255, 255))));
        assert_eq!(line.painted(Colours::All), "\x1b[38;2;0;114;178;48;2;255;255;255m#\x1b[0m");
        assert_eq!(line.painted(Colours::Cube), "\x1b[38;5;25;48;5;231m#\x1b[0m");
        assert_eq!(line.painted(Colours::None), "#");
        assert_eq!([Rgb::parse("0072b2"), Rgb::parse("#red")], [None, None]);
    }

    #[test]
    fn what_is_asked_for_goes_before_what_the_terminal_can() {
        assert_eq!(ColorChoice::Never.colours(true), Colours::None);
        assert_eq!(ColorChoice::Auto.colours(false), Colours::None);
        assert_ne!(ColorChoice::Always.colours(false), Colours::None);
    }
}
