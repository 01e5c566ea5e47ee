//! Where the keys of a simulation come from: drawn, or read from a file or an access log.

use crate::cli::failure::Failure;
use crate::simulation::KEYS_MAX;
use crate::simulation::KeyCounts;
use crate::simulation::Keys;
use std::fmt;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::str::FromStr;

/// What `--keys` says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum KeySource {
    /// No keys, but exact shares.
    Exact,
    /// A file with a key a line; `-` is standard input.
    File(String),
    /// A file with a request a line, of which one column is the key; `-` is standard input.
    Log(String),
    /// So many keys, each with one request.
    Uniform(usize),
    /// So many keys, the r-th of which has `r^-exponent` as many requests as the first.
    Zipf { exponent: f64, keys: usize, requests: Option<u64> },
}

impl KeySource {
    /// Makes or reads them; `column` is that of a log.
    pub(super) fn read(&self, column: Option<Column>) -> Result<Keys, Failure> {
        let is_log = matches!(self, KeySource::Log(_));
        if column.is_some() && !is_log {
            return Err(Failure::Usage("--key-column is for --keys log:PATH".to_owned()));
        }
        match self {
            KeySource::Exact => Ok(Keys::Exact),
            KeySource::File(path) => counted(path, &|line| Some(line)),
            KeySource::Log(path) => {
                let missing = "--keys log:PATH needs --key-column N, the column of the key from 1";
                let column = column.ok_or_else(|| Failure::Usage(missing.to_owned()))?;
                counted(path, &|line| column.of(line))
            }
            KeySource::Uniform(keys) => Ok(Keys::uniform(*keys)),
            KeySource::Zipf { exponent, keys, requests } => Ok(Keys::zipf(*exponent, *keys, *requests)),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Exact => out.write_str("exact"),
            KeySource::File(path) => write!(out, "file:{path}"),
            KeySource::Log(path) => write!(out, "log:{path}"),
            KeySource::Uniform(keys) => write!(out, "uniform:{keys}"),
            KeySource::Zipf { exponent, keys, requests: None } => write!(out, "zipf:{exponent},{keys}"),
            KeySource::Zipf { exponent, keys, requests: Some(requests) } => {
                write!(out, "zipf:{exponent},{keys},{requests}")
            }
        }
    }
}

/// The error is a sentence for the user.
impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<KeySource, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match (kind, rest) {
            ("exact", "") => Ok(KeySource::Exact),
            ("file", path) if !path.is_empty() => Ok(KeySource::File(path.to_owned())),
            ("log", path) if !path.is_empty() => Ok(KeySource::Log(path.to_owned())),
            ("uniform", count) => Ok(KeySource::Uniform(key_count(count)?)),
            ("zipf", settings) => zipf(settings),
            _ => Err(format!("`{text}` are no keys; write exact, uniform:N, zipf:S,N[,R], file:PATH or log:PATH")),
        }
    }
}

fn zipf(settings: &str) -> Result<KeySource, String> {
    let parts: Vec<&str> = settings.split(',').collect();
    let (exponent, keys, requests) = match parts[..] {
        [exponent, keys] => (exponent, keys, None),
        [exponent, keys, requests] => (exponent, keys, Some(requests)),
        _ => {
            return Err("write zipf:S,N, such as zipf:1.1,100000: the exponent, and how many keys there are".to_owned());
        }
    };
    let exponents = exponent.parse().ok().filter(|exponent| (0.0..=EXPONENT_MAX).contains(exponent));
    let exponent =
        exponents.ok_or_else(|| format!("the exponent `{exponent}` is no number from 0 to {EXPONENT_MAX}"))?;
    let number = |requests: &str| {
        let number = requests.parse().ok().filter(|requests| (1..=REQUESTS_MAX).contains(requests));
        number.ok_or_else(|| format!("`{requests}` is no number of requests from 1 to {REQUESTS_MAX}"))
    };
    Ok(KeySource::Zipf { exponent, keys: key_count(keys)?, requests: requests.map(number).transpose()? })
}

fn key_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=KEYS_MAX).contains(count));
    count.ok_or_else(|| format!("`{text}` is no number of keys from 1 to {KEYS_MAX}"))
}

/// A column of a log: words between white space, of which one in quotes or brackets counts as one; or a word of such a
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// From 1.
    column: usize,
    /// From 1, within the column; all of it where there is none.
    word: Option<usize>,
}

impl Column {
    /// What stands there; none where the line has no such column, or nothing in it.
    fn of(self, line: &[u8]) -> Option<&[u8]> {
        let column = columns(line).nth(self.column - 1)?;
        let found = match self.word {
            Some(word) => column.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(word - 1)?,
            None => column,
        };
        (!found.is_empty()).then_some(found)
    }
}

impl fmt::Display for Column {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.word {
            Some(word) => write!(out, "{}.{word}", self.column),
            None => write!(out, "{}", self.column),
        }
    }
}

/// The error is a sentence for the user.
impl FromStr for Column {
    type Err = String;

    fn from_str(text: &str) -> Result<Column, String> {
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let column = match text.split_once('.') {
            Some((column, word)) => number(column).zip(number(word)).map(|(column, word)| (column, Some(word))),
            None => number(text).map(|column| (column, None)),
        };
        let (column, word) = column.ok_or_else(|| {
            format!("`{text}` is no column; write its number from 1, or 5.2 for the second word of the fifth")
        })?;
        Ok(Column { column, word })
    }
}

/// The columns of a line, without their quotes or brackets. A quote within quotes stands behind a backslash.
fn columns(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let (column, after) = match rest.first()? {
            b'"' => up_to(&rest[1..], b'"'),
            b'[' => up_to(&rest[1..], b']'),
            _ => rest.split_at(rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len())),
        };
        rest = after;
        Some(column)
    })
}

/// What stands before the first `end` that has no backslash before it, and what behind it.
fn up_to(text: &[u8], end: u8) -> (&[u8], &[u8]) {
    let mut is_escaped = false;
    let place = text.iter().position(|&byte| {
        let is_end = byte == end && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    match place {
        Some(place) => (&text[..place], &text[place + 1..]),
        None => (text, &[]),
    }
}

/// The keys that `key_of` finds in the lines of a file, each with how often it comes. Lines without one are told of.
fn counted(path: &str, key_of: &dyn Fn(&[u8]) -> Option<&[u8]>) -> Result<Keys, Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("cannot read the keys from {path}: {error}"));
    let input: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path).map_err(failed)?),
    };
    let mut input = BufReader::new(input);
    let (mut counts, mut lines, mut without) = (KeyCounts::default(), 0u64, 0u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = (&mut input).take(LINE_BYTES_READ).read_until(b'\n', &mut line).map_err(failed)?;
        if bytes == 0 {
            break;
        }
        lines += 1;
        if bytes > LINE_BYTES_MAX {
            return Err(Failure::Failed(format!("line {lines} of {path} is longer than {LINE_BYTES_MAX} bytes")));
        }
        match key_of(line.trim_ascii_end()).filter(|key| !key.is_empty()) {
            Some(key) => counts.add(key).map_err(|why| Failure::Failed(format!("{path} has {why}")))?,
            None => without += 1,
        }
    }
    if counts.is_empty() {
        return Err(Failure::Failed(format!("{path} has no keys: {}", none_of(lines))));
    }
    if without > 0 {
        eprintln!("{without} of {lines} lines of {path} have no key");
    }
    Ok(counts.into())
}

fn none_of(lines: u64) -> String {
    match lines {
        0 => "it is empty".to_owned(),
        lines => format!("none of its {lines} lines has one"),
    }
}

/// How to write keys, for `--help`.
pub(super) const HELP: &str = "\
What counts as load:
  exact         every position alike, free of the noise of sampling
  uniform:N     N keys with a request each
  zipf:S,N      N keys, the r-th with r^-S as many requests as the first
  zipf:S,N,R    so many requests drawn from these
  file:PATH     a key a line, a request each time it comes; - is standard input
  log:PATH      the same, of the column --key-column of an access log
Of keys, the load of a node is the requests it gets, and movement is counted in requests.";

const EXPONENT_MAX: f64 = 10.0;

/// The most requests that are drawn.
const REQUESTS_MAX: u64 = 1_000_000_000;

/// Longest line of a file.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// One byte more than a line may have.
const LINE_BYTES_READ: u64 = 64 * 1024 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// As nginx writes it under `combined`.
    const LINE: &[u8] =
        br#"10.0.0.9 - - [27/Nov/2026:06:47:40 +0000] "GET /a/b?c=1 HTTP/1.1" 200 17 "-" "curl \"7\" x" 0.004"#;

    fn column(text: &str) -> Option<&'static str> {
        let column: Column = text.parse().unwrap();
        column.of(LINE).map(|found| std::str::from_utf8(found).unwrap())
    }

    #[test]
    fn columns_of_an_access_log_are_found() {
        for (text, found) in [
            ("1", Some("10.0.0.9")),
            ("2", Some("-")),
            ("4", Some("27/Nov/2026:06:47:40 +0000")),
            ("5", Some("GET /a/b?c=1 HTTP/1.1")),
            ("5.2", Some("/a/b?c=1")),
            ("5.4", None),
            ("9", Some(r#"curl \"7\" x"#)),
            ("10", Some("0.004")),
            ("11", None),
        ] {
            assert_eq!(column(text), found, "{text}");
        }
    }

    #[test]
    fn a_quote_that_never_ends_goes_to_the_end_of_the_line() {
        assert_eq!(columns(br#"a "b c"#).collect::<Vec<_>>(), [&b"a"[..], b"b c"]);
        assert_eq!(columns(b"  ").count(), 0);
    }

    #[test]
    fn sources_read_back_as_they_are_written() {
        for text in
            ["exact", "file:keys.txt", "file:-", "log:a:b.log", "uniform:1000", "zipf:1.1,100", "zipf:0.9,10,20"]
        {
            assert_eq!(text.parse::<KeySource>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, answer) in [
            ("unifrom:5", "write exact, uniform:N"),
            ("file:", "write exact, uniform:N"),
            ("exact:1", "write exact, uniform:N"),
            ("uniform:0", "`0` is no number of keys from 1 to"),
            ("uniform:99999999", "`99999999` is no number of keys from 1 to"),
            ("zipf:1.1", "write zipf:S,N, such as zipf:1.1,100000"),
            ("zipf:x,10", "the exponent `x` is no number from 0 to 10"),
            ("zipf:NaN,10", "the exponent `NaN` is no number from 0 to 10"),
            ("zipf:1,10,0", "`0` is no number of requests from 1 to"),
        ] {
            let refused = text.parse::<KeySource>().unwrap_err();
            assert!(refused.contains(answer), "{text}: {refused}");
        }
        for text in ["0", "5.0", "x", "1.2.3", ""] {
            assert!(text.parse::<Column>().unwrap_err().contains("write its number from 1"), "{text}");
        }
    }
}
