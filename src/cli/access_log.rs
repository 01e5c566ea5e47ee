//! Reads the access logs of other programs, line by line and column by column.
//!
//! A line is an object in JSON, whose columns have names, or text in which white space sets columns apart. There
//! double quotes, the brackets of dates, and the braces of HAProxy's captures keep together what they enclose, and so
//! do the commas and colons in the lists that nginx makes of several upstreams.

mod fields;

use crate::cli::access_log::fields::Fields;
use crate::cli::failure::Failure;
use crate::cli::input;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::io::BufRead;
use std::io::Read;
use std::str::FromStr;

/// A log that is being read. Memory does not grow with its length.
pub(super) struct AccessLog {
    path: String,
    input: Box<dyn BufRead>,
    ahead: VecDeque<Vec<u8>>,
    line: Vec<u8>,
    number: u64,
}

/// One line of a log.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// An object.
    Fields(Fields<'a>),
    /// Longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// Text, with what is escaped in it undone.
    Words(Vec<Cow<'a, [u8]>>),
}

/// A column of a log, as people name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    /// The name of a field, or a JSON pointer to one further in.
    Name(String),
    /// From 1, or from -1 backwards.
    Number(isize),
    /// A word of a column, both from 1: `5.2` is the target of a request in column 5.
    Word(usize, usize),
}

impl AccessLog {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &str) -> Result<AccessLog, Failure> {
        Ok(AccessLog::of(path, input::open(path)?))
    }

    fn of(path: &str, input: Box<dyn BufRead>) -> AccessLog {
        AccessLog { path: path.to_owned(), input, ahead: VecDeque::new(), line: Vec::new(), number: 0 }
    }

    /// What to call it.
    pub(super) fn name(&self) -> &str {
        input::name(&self.path)
    }

    /// The first lines, at most so many; they are still to come from [`AccessLog::next_line`].
    pub(super) fn first(&mut self, lines: usize) -> Result<impl Iterator<Item = Line<'_>>, Failure> {
        while self.ahead.len() < lines {
            let mut line = Vec::new();
            if !self.read(&mut line)? {
                break;
            }
            self.ahead.push_back(line);
        }
        Ok(self.ahead.iter().map(|line| Line::parse(line)))
    }

    /// The next line with its number, from 1; `None` at the end. Empty lines count, but are not given.
    pub(super) fn next_line(&mut self) -> Result<Option<(u64, Line<'_>)>, Failure> {
        loop {
            let mut line = std::mem::take(&mut self.line);
            match self.ahead.pop_front() {
                Some(read_before) => line = read_before,
                None if !self.read(&mut line)? => return Ok(None),
                None => {}
            }
            self.number += 1;
            self.line = line;
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((self.number, Line::parse(&self.line))));
            }
        }
    }

    /// Reads a line, or as much of it as shows that it is too long; whether there was one.
    fn read(&mut self, line: &mut Vec<u8>) -> Result<bool, Failure> {
        line.clear();
        let failed = |error: io::Error| input::unreadable(&self.path, &error);
        let limit = LINE_BYTES_MAX as u64 + 1;
        let bytes = (&mut self.input).take(limit).read_until(b'\n', line).map_err(failed)?;
        if line.len() > LINE_BYTES_MAX && !line.ends_with(b"\n") {
            self.input.skip_until(b'\n').map_err(failed)?;
        }
        Ok(bytes > 0)
    }
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Line<'a> {
        let text = line.trim_ascii();
        if line.len() > LINE_BYTES_MAX {
            return Line::TooLong;
        }
        if text.starts_with(b"{")
            && let Some(fields) = Fields::parse(text)
        {
            return Line::Fields(fields);
        }
        let words = words(text);
        let escapes = if words.iter().any(|word| is_date_of_haproxy(word)) { Escapes::Haproxy } else { Escapes::Nginx };
        Line::Words(words.into_iter().map(|word| escapes.undo(word)).collect())
    }

    /// What stands in a column; `None` when the line has no such column.
    pub(super) fn get(&self, column: &Column) -> Option<Cow<'_, [u8]>> {
        match (self, column) {
            (Line::Fields(fields), Column::Name(name)) => fields.get(name),
            (Line::Words(words), Column::Number(number)) => {
                let index = match number {
                    1.. => number.unsigned_abs() - 1,
                    _ => words.len().checked_sub(number.unsigned_abs())?,
                };
                words.get(index).map(|word| Cow::Borrowed(&**word))
            }
            (Line::Words(words), Column::Word(column, word)) => {
                let mut parts = words.get(column - 1)?.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
                parts.nth(word - 1).map(Cow::Borrowed)
            }
            _ => None,
        }
    }

    /// All columns, with what stands in them.
    pub(super) fn columns(&self) -> Vec<(Column, Cow<'_, [u8]>)> {
        match self {
            Line::Fields(fields) => fields.columns(),
            Line::TooLong => Vec::new(),
            Line::Words(words) => {
                (1..).zip(words).map(|(number, word)| (Column::Number(number), Cow::Borrowed(&**word))).collect()
            }
        }
    }
}

/// A number is a place, two with a dot between them are a word in a place, and anything else is a name. The error is a
/// sentence for the user.
impl FromStr for Column {
    type Err = String;

    fn from_str(text: &str) -> Result<Column, String> {
        let word = text.split_once('.').and_then(|(column, word)| Some((column.parse().ok()?, word.parse().ok()?)));
        if let Some((column, word)) = word {
            return match (column, word) {
                (0, _) | (_, 0) => Err(format!("`{text}` counts from 0; columns and their words are counted from 1")),
                (column, word) => Ok(Column::Word(column, word)),
            };
        }
        match text.parse() {
            Ok(0) => Err("columns are counted from 1, or from -1 for the last".to_owned()),
            Ok(number) => Ok(Column::Number(number)),
            Err(_) if text.is_empty() => Err("a column has a number or a name".to_owned()),
            Err(_) => Ok(Column::Name(text.to_owned())),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Column::Name(name) => out.write_str(name),
            Column::Number(number) => write!(out, "{number}"),
            Column::Word(column, word) => write!(out, "{column}.{word}"),
        }
    }
}

/// The columns of a line of text, without what encloses them.
fn words(line: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let mut never_closed = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(word_length(rest, &mut never_closed));
        match word {
            [b'"', inner @ .., b'"'] | [b'[', inner @ .., b']'] => words.push(inner),
            // HAProxy writes the headers that it captured between braces, with bars between them.
            [b'{', inner @ .., b'}'] => words.extend(inner.split(|byte| *byte == b'|')),
            plain => words.push(plain),
        }
        rest = after.trim_ascii_start();
    }
    words
}

/// The length of the first column. What opens and is `never_closed` is noted there, so that nobody looks for its end
/// again in the rest of the line.
fn word_length(text: &[u8], never_closed: &mut Vec<u8>) -> usize {
    let opener = text.first().filter(|opener| !never_closed.contains(opener));
    let mut length = opener.map_or(0, |opener| {
        let length = enclosed_length(text);
        if length == 0 && OPENERS.contains(opener) {
            never_closed.push(*opener);
        }
        length
    });
    loop {
        length += plain_length(&text[length..]);
        let rest = &text[length..];
        if rest.starts_with(b" : ") {
            length += 3;
        } else if text[..length].ends_with(b",") && !rest.is_empty() {
            length += rest.len() - rest.trim_ascii_start().len();
        } else {
            return length;
        }
    }
}

fn plain_length(text: &[u8]) -> usize {
    text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len())
}

/// The length of what is enclosed at the beginning; 0 when nothing is.
fn enclosed_length(text: &[u8]) -> usize {
    let end_at = |end: u8| text.iter().position(|byte| *byte == end).map_or(0, |at| at + 1);
    match text.first() {
        Some(b'"') => {
            let mut is_escaped = false;
            let end = text[1..].iter().position(|byte| {
                let was_escaped = std::mem::take(&mut is_escaped);
                is_escaped = !was_escaped && *byte == b'\\';
                !was_escaped && *byte == b'"'
            });
            end.map_or(0, |at| at + 2)
        }
        Some(b'[') => end_at(b']'),
        Some(b'{') => end_at(b'}'),
        _ => 0,
    }
}

/// Whether a column is a date as HAProxy writes it and others do not: `06/Feb/2009:12:14:14.655`.
fn is_date_of_haproxy(word: &[u8]) -> bool {
    let is_like = |(byte, like): (&u8, &u8)| match like {
        b'0' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_alphabetic(),
        other => byte == other,
    };
    word.len() == DATE_OF_HAPROXY.len() && word.iter().zip(DATE_OF_HAPROXY).all(is_like)
}

/// How a program writes bytes that would be hard to read.
#[derive(Clone, Copy)]
enum Escapes {
    /// `#22`.
    Haproxy,
    /// `\x22`, and as Apache does `\"` and `\\`.
    Nginx,
}

impl Escapes {
    fn undo(self, word: &[u8]) -> Cow<'_, [u8]> {
        let mark = match self {
            Escapes::Haproxy => b'#',
            Escapes::Nginx => b'\\',
        };
        if !word.contains(&mark) {
            return Cow::Borrowed(word);
        }
        let mut plain = Vec::with_capacity(word.len());
        let mut rest = word;
        while let [first, after @ ..] = rest {
            let (byte, after) = self.escaped(rest).unwrap_or((*first, after));
            plain.push(byte);
            rest = after;
        }
        Cow::Owned(plain)
    }

    /// The byte that an escape at the beginning stands for, and what follows it.
    fn escaped(self, text: &[u8]) -> Option<(u8, &[u8])> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (self, text) {
            (Escapes::Haproxy, [b'#', high, low, rest @ ..])
            | (Escapes::Nginx, [b'\\', b'x', high, low, rest @ ..]) => Some((digit(*high)? << 4 | digit(*low)?, rest)),
            (Escapes::Nginx, [b'\\', byte @ (b'"' | b'\\'), rest @ ..]) => Some((*byte, rest)),
            _ => None,
        }
    }
}

/// What encloses columns up to its counterpart.
const OPENERS: [u8; 3] = *b"\"[{";

/// Longest line of a log.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// The form of a date of HAProxy: `0` is a digit, `a` a letter.
const DATE_OF_HAPROXY: &[u8] = b"00/aaa/0000:00:00:00.000";

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns of a line as text.
    fn columns(line: &str) -> Vec<String> {
        let line = Line::parse(line.as_bytes());
        line.columns().iter().map(|(_, text)| String::from_utf8_lossy(text).into_owned()).collect()
    }

    fn get(line: &str, column: &str) -> Option<String> {
        let line = Line::parse(line.as_bytes());
        line.get(&column.parse().unwrap()).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn quotes_and_brackets_keep_columns_together() {
        let line = concat!(
            r#"10.1.2.3 - ann [27/Nov/2026:06:00:00 +0000] "GET /a?b=c d HTTP/1.1" 200 5 "-" "#,
            r#""Mozilla/5.0 (X11)" 10.0.0.1:80"#
        );
        assert_eq!(
            columns(line),
            [
                "10.1.2.3",
                "-",
                "ann",
                "27/Nov/2026:06:00:00 +0000",
                "GET /a?b=c d HTTP/1.1",
                "200",
                "5",
                "-",
                "Mozilla/5.0 (X11)",
                "10.0.0.1:80"
            ]
        );
    }

    #[test]
    fn a_list_of_upstreams_is_one_column() {
        let line = "a 10.0.0.1:80, 10.0.0.2:80 : unix:/run/b.sock, [::1]:80 502, 200 : 0.1 z";
        assert_eq!(
            columns(line),
            ["a", "10.0.0.1:80, 10.0.0.2:80 : unix:/run/b.sock, [::1]:80", "502, 200 : 0.1", "z"]
        );
        assert_eq!(columns("[::1]:80, [::2]:80 b"), ["[::1]:80, [::2]:80", "b"]);
    }

    #[test]
    fn lines_of_haproxy_have_captures_and_escapes_of_their_own() {
        let line = "Nov 27 06:00:00 lb haproxy[7]: 10.1.2.3:33317 [27/Nov/2026:06:00:00.655] http-in static/srv1 \
                    10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {room#2342|Mozilla 5} {} \"GET /a\\x#22b HTTP/1.1\"";
        let columns = columns(line);
        assert_eq!(columns[5..9], ["10.1.2.3:33317", "27/Nov/2026:06:00:00.655", "http-in", "static/srv1"]);
        assert_eq!(columns[columns.len() - 4..], ["room#42", "Mozilla 5", "", r#"GET /a\x"b HTTP/1.1"#]);
    }

    #[test]
    fn what_nginx_escapes_is_undone() {
        for (written, meant) in [
            (r#""a\x22b\x5Cc""#, "a\"b\\c"),
            (r#""\xC3\xA9""#, "é"),
            (r#""a\"b\\""#, "a\"b\\"),
            (r"\x4 \xzz a\", r"\x4"),
            ("a#22", "a#22"),
        ] {
            assert_eq!(columns(written)[0], meant, "{written}");
        }
    }

    #[test]
    fn what_is_never_closed_encloses_nothing() {
        assert_eq!(columns(r#""a b [c {d"#), ["\"a", "b", "[c", "{d"]);
        assert_eq!(columns(r#""" "" ["#), ["", "", "["]);
        // The end of each is looked for once, so that a line takes as long as it is long.
        assert_eq!(columns(&"[ { ".repeat(100_000)).len(), 200_000);
    }

    #[test]
    fn columns_are_counted_from_both_ends() {
        for (column, expected) in
            [("1", Some("a")), ("3", Some("c")), ("4", None), ("-1", Some("c")), ("-3", Some("a")), ("-4", None)]
        {
            assert_eq!(get("a b c", column).as_deref(), expected, "{column}");
        }
        assert_eq!(get("a b c", "name"), None);
        let line = r#"a "GET  /b HTTP/1.1""#;
        assert_eq!(get(line, "2.2").as_deref(), Some("/b"));
        assert_eq!((get(line, "2.4"), get(line, "3.1")), (None, None));
        assert!("2.0".parse::<Column>().unwrap_err().contains("from 1"));
        assert!("0".parse::<Column>().unwrap_err().contains("from 1"));
    }

    #[test]
    fn fields_of_json_have_names_and_words_have_numbers() {
        assert_eq!(get(r#"{"room":42}"#, "room").as_deref(), Some("42"));
        assert_eq!(get(r#"{"room":42}"#, "1"), None);
        assert_eq!(get("{room|42} b", "2").as_deref(), Some("42"));
    }

    #[test]
    fn lines_are_numbered_and_the_first_ones_come_twice() {
        let mut log = AccessLog::of("log", Box::new(&b"a\n\nb\r\nc"[..]));
        assert_eq!(log.first(2).unwrap().count(), 2);
        let mut read = Vec::new();
        while let Some((number, line)) = log.next_line().unwrap() {
            read.push((number, String::from_utf8(line.get(&Column::Number(1)).unwrap().into_owned()).unwrap()));
        }
        assert_eq!(read, [(1, "a".to_owned()), (3, "b".to_owned()), (4, "c".to_owned())]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_whole() {
        let text = format!("{}\nb\n", "a ".repeat(LINE_BYTES_MAX));
        let mut log = AccessLog::of("log", Box::new(io::Cursor::new(text)));
        assert!(matches!(log.next_line().unwrap(), Some((1, Line::TooLong))));
        let second = log.next_line().unwrap();
        assert_eq!(second.map(|(number, line)| (number, line.columns().len())), Some((2, 1)));
    }
}
