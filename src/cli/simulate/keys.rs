//! Where the keys of a simulation come from: drawn, or read from a file or an access log.

use crate::cli::access_log::AccessLog;
use crate::cli::access_log::Column;
use crate::cli::failure::Failure;
use crate::cli::input;
use crate::compat::written_rule::is_absent;
use crate::simulation::KEYS_MAX;
use crate::simulation::KeyCounts;
use crate::simulation::Keys;
use std::fmt;
use std::io::BufRead;
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
    pub(super) fn read(&self, column: Option<&Column>) -> Result<Keys, Failure> {
        let is_log = matches!(self, KeySource::Log(_));
        if column.is_some() && !is_log {
            return Err(Failure::Usage("--key-column is for --keys log:PATH".to_owned()));
        }
        match self {
            KeySource::Exact => Ok(Keys::Exact),
            KeySource::File(path) => of_file(path),
            KeySource::Log(path) => {
                let missing =
                    "--keys log:PATH needs --key-column, the column of the key: its number from 1, or its name";
                let column = column.ok_or_else(|| Failure::Usage(missing.to_owned()))?;
                of_log(path, column)
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

/// Each line of a file is a key.
fn of_file(path: &str) -> Result<Keys, Failure> {
    let mut input = input::open(path)?;
    let mut counted = Counted::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let bytes = (&mut input).take(limit).read_until(b'\n', &mut line);
        let bytes = bytes.map_err(|error| input::unreadable(path, &error))?;
        if bytes == 0 {
            return counted.finish(path);
        }
        if bytes > LINE_BYTES_MAX {
            let line = counted.lines + 1;
            return Err(Failure::Failed(format!("line {line} of {path} is longer than {LINE_BYTES_MAX} bytes")));
        }
        counted.add(path, Some(line.trim_ascii_end()))?;
    }
}

/// A column of each line of an access log is a key.
fn of_log(path: &str, column: &Column) -> Result<Keys, Failure> {
    let mut log = AccessLog::open(path)?;
    let mut counted = Counted::default();
    while let Some((_, line)) = log.next_line()? {
        counted.add(path, line.get(column).as_deref().filter(|key| !is_absent(key)))?;
    }
    counted.finish(path)
}

/// The keys of a file, each with how often it comes.
#[derive(Default)]
struct Counted {
    counts: KeyCounts,
    lines: u64,
    without: u64,
}

impl Counted {
    fn add(&mut self, path: &str, key: Option<&[u8]>) -> Result<(), Failure> {
        self.lines += 1;
        match key.filter(|key| !key.is_empty()) {
            Some(key) => self.counts.add(key).map_err(|why| Failure::Failed(format!("{path} has {why}"))),
            None => {
                self.without += 1;
                Ok(())
            }
        }
    }

    /// Lines without a key are told of.
    fn finish(self, path: &str) -> Result<Keys, Failure> {
        if self.counts.is_empty() {
            return Err(Failure::Failed(format!("{path} has no keys: {}", none_of(self.lines))));
        }
        if self.without > 0 {
            eprintln!("{} of {} lines of {path} have no key", self.without, self.lines);
        }
        Ok(self.counts.into())
    }
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

/// Longest line of a file of keys.
const LINE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
