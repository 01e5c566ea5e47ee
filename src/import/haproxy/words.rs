//! HAProxy's lines: words with quotes, escapes, comments and environment variables (its manual, sections 2.2 and 2.3).

use crate::import::Place;
use crate::import::Unreadable;
use std::collections::BTreeMap;

/// Looks a variable of the environment up.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// At least one.
    pub(super) words: Vec<String>,
}

/// All lines of a file, with what its variables stand for in them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    /// Variables that are not set, each with the line that asks for it; HAProxy reads them as empty.
    pub(super) unset: Vec<(usize, String)>,
}

impl Line {
    /// The word at an index; empty where there are not so many, which HAProxy does not tell apart either.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// What stands behind so many words.
    pub(super) fn after(&self, count: usize) -> &[String] {
        self.words.get(count..).unwrap_or_default()
    }

    /// The line as it is shown to people.
    pub(super) fn text(&self) -> String {
        self.words.join(" ")
    }

    /// Why the whole file cannot be read.
    pub(super) fn unreadable(&self, why: impl Into<String>) -> Unreadable {
        unreadable(self.number, why)
    }
}

/// Splits a file into lines and these into words.
pub(super) fn read(text: &str, environment: &Environment<'_>) -> Result<Lines, Unreadable> {
    let mut variables = Variables { environment, set: BTreeMap::new(), bytes: 0, unset: Vec::new() };
    let mut lines = Vec::new();
    let mut number = 0;
    for line in text.split_inclusive('\n') {
        number += 1;
        if let Some(at) = line.find('\0') {
            return Err(unreadable(number, format!("byte {} is zero; this is no text", at + 1)));
        }
        let Some(line) = line.strip_suffix('\n') else {
            let why = "the last line has no end, so that the file may be cut off; HAProxy refuses it too";
            return Err(unreadable(number, why));
        };
        let words = Reader::new(line, number, &mut variables).words().map_err(|why| unreadable(number, why))?;
        if words.is_empty() {
            continue;
        }
        let mut line = Line { number, words };
        variables.obey(&line);
        variables.fill_in_address(&mut line).map_err(|why| unreadable(number, why))?;
        lines.push(line);
    }
    Ok(Lines { lines, unset: variables.unset })
}

fn unreadable(number: usize, why: impl Into<String>) -> Unreadable {
    Unreadable { place: Place::line(number), why: why.into() }
}

/// The environment, with what the file changes in it.
struct Variables<'a> {
    environment: &'a Environment<'a>,
    /// By `setenv` and its like; `None` is unset.
    set: BTreeMap<String, Option<String>>,
    /// How long all that was filled in is together.
    bytes: usize,
    unset: Vec<(usize, String)>,
}

impl Variables<'_> {
    fn value(&self, name: &str) -> Option<String> {
        self.set.get(name).cloned().unwrap_or_else(|| (self.environment)(name))
    }

    /// What to fill in for a variable.
    fn fill_in(&mut self, name: &str, default: Option<&str>, number: usize) -> Result<String, String> {
        let value = self.value(name).or_else(|| default.map(str::to_owned)).unwrap_or_else(|| {
            self.unset.push((number, name.to_owned()));
            String::new()
        });
        self.bytes += value.len();
        if self.bytes > FILLED_IN_BYTES_MAX {
            return Err(format!("variables of the environment come to more than {FILLED_IN_BYTES_MAX} bytes"));
        }
        Ok(value)
    }

    fn obey(&mut self, line: &Line) {
        let (name, value) = (line.word(1).to_owned(), Some(line.word(2).to_owned()));
        match line.word(0) {
            "setenv" => drop(self.set.insert(name, value)),
            "presetenv" if self.value(&name).is_none() => drop(self.set.insert(name, value)),
            "unsetenv" => self.set.extend(line.after(1).iter().map(|name| (name.clone(), None))),
            _ => {}
        }
    }

    /// In addresses variables are filled in even where they stand in no quotes.
    fn fill_in_address(&mut self, line: &mut Line) -> Result<(), String> {
        let index = match line.word(0) {
            "bind" => 1,
            "server" => 2,
            "server-template" => 3,
            _ => return Ok(()),
        };
        let number = line.number;
        let Some(word) = line.words.get_mut(index).filter(|word| word.contains('$')) else { return Ok(()) };
        let mut filled = String::new();
        let mut rest = word.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            let (name, after) = split_variable(after)?;
            filled.push_str(before);
            filled.push_str(&self.fill_in(name, None, number)?);
            rest = after;
        }
        *word = filled + rest;
        Ok(())
    }
}

/// The name behind `$`, and what follows it.
fn split_variable(text: &str) -> Result<(&str, &str), String> {
    let braced = text.strip_prefix('{');
    let inside = braced.unwrap_or(text);
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, after) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a `$` begins no name of a variable; write `\\$` for the character".to_owned());
    }
    match braced {
        None => Ok((name, after)),
        Some(_) => after.strip_prefix('}').map(|after| (name, after)).ok_or_else(unclosed_brace),
    }
}

fn unclosed_brace() -> String {
    "the brace of a variable is not closed; write `\"${NAME}\"` or `\"${NAME-default}\"`".to_owned()
}

/// One line while it is split.
struct Reader<'a, 'v> {
    rest: &'a str,
    number: usize,
    variables: &'a mut Variables<'v>,
    words: Vec<String>,
    /// The word that has begun; bytes, because escapes make some.
    word: Option<Vec<u8>>,
}

impl<'a, 'v> Reader<'a, 'v> {
    fn new(line: &'a str, number: usize, variables: &'a mut Variables<'v>) -> Reader<'a, 'v> {
        Reader { rest: line, number, variables, words: Vec::new(), word: None }
    }

    fn words(mut self) -> Result<Vec<String>, String> {
        let mut quote = None;
        while let Some(c) = self.rest.chars().next() {
            let here = self.rest;
            self.rest = &here[c.len_utf8()..];
            match (quote, c) {
                (None, '#') => break,
                (None, '"' | '\'') => {
                    quote = Some(c);
                    self.word.get_or_insert_default();
                }
                (Some(open), c) if c == open => quote = None,
                (None | Some('"'), '\\') => self.escape(quote.is_some())?,
                (Some('"'), '$') => self.variable()?,
                (None, c) if is_space(c) => self.end_word(),
                _ => self.push(&here.as_bytes()[..c.len_utf8()]),
            }
        }
        if let Some(open) = quote {
            return Err(format!("the quote {open} is not closed on this line"));
        }
        self.end_word();
        if self.words.len() > WORDS_MAX {
            let words = self.words.len();
            return Err(format!("there are {words} words on this line; HAProxy takes {WORDS_MAX}"));
        }
        Ok(self.words)
    }

    fn push(&mut self, bytes: &[u8]) {
        self.word.get_or_insert_default().extend_from_slice(bytes);
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take().map(|word| String::from_utf8_lossy(&word).into_owned()));
    }

    /// What stands behind a backslash. Where that is nothing special, the backslash stands for itself.
    fn escape(&mut self, is_quoted: bool) -> Result<(), String> {
        let escaped: &[u8] = match self.rest.as_bytes().first() {
            Some(b' ') => b" ",
            Some(b'\\') => b"\\",
            Some(b'#') => b"#",
            Some(b'\'') => b"'",
            Some(b'"') => b"\"",
            Some(b'n') => b"\n",
            Some(b'r') => b"\r",
            Some(b't') => b"\t",
            Some(b'$') if is_quoted => b"$",
            Some(b'x') => return self.escape_byte(),
            _ => {
                self.push(b"\\");
                return Ok(());
            }
        };
        self.rest = &self.rest[1..];
        self.push(escaped);
        Ok(())
    }

    fn escape_byte(&mut self) -> Result<(), String> {
        let digits = self.rest.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let byte = byte.ok_or("behind `\\x` there are not two hexadecimal digits; write `\\\\x` for the characters")?;
        self.rest = &self.rest[3..];
        self.push(&[byte]);
        Ok(())
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}`, or `${NAME[*]}`, which makes a word of each of its own.
    fn variable(&mut self) -> Result<(), String> {
        let Some(inside) = self.rest.strip_prefix('{') else {
            let (name, after) = split_variable(self.rest)?;
            self.rest = after;
            let value = self.variables.fill_in(name, None, self.number)?;
            self.push(value.as_bytes());
            return Ok(());
        };
        let (inside, after) = inside.split_once('}').ok_or_else(unclosed_brace)?;
        let (name, default) = match inside.split_once('-') {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let list = name.strip_suffix("[*]");
        let (name, nothing) = split_variable(list.unwrap_or(name))?;
        if !nothing.is_empty() {
            return Err(unclosed_brace());
        }
        self.rest = after;
        let value = self.variables.fill_in(name, default, self.number)?;
        if list.is_none() {
            self.push(value.as_bytes());
            return Ok(());
        }
        for (index, word) in value.split_ascii_whitespace().enumerate() {
            if index > 0 {
                self.end_word();
            }
            self.push(word.as_bytes());
        }
        Ok(())
    }
}

/// As `isspace` has it.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

/// As many words as HAProxy takes on a line.
const WORDS_MAX: usize = 64;

/// A file may set variables to each other, and so double them with every line.
const FILLED_IN_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "HOST" => "10.0.0.1",
            "LIST" => " a  b ",
            "EMPTY" => "",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn words(line: &str) -> Vec<String> {
        let lines = read(&format!("{line}\n"), &environment).unwrap_or_else(|error| panic!("{line}: {error}"));
        lines.lines.into_iter().flat_map(|line| line.words).collect()
    }

    fn refusal(text: &str) -> String {
        read(text, &environment).expect_err(text).to_string()
    }

    #[test]
    fn quotes_join_words_and_parts_of_words() {
        for (line, expected) in [
            ("server a  10.0.0.1:80\t# comment", vec!["server", "a", "10.0.0.1:80"]),
            ("a'b c'\"d\"e\\ f", vec!["ab cde f"]),
            ("a#b", vec!["a"]),
            ("'#' \"#\" \\#", vec!["#", "#", "#"]),
            ("'' \"\"", vec!["", ""]),
            ("log 'it\"s' \"it's\"", vec!["log", "it\"s", "it's"]),
            ("  # nothing", vec![]),
            ("crlf line\r", vec!["crlf", "line"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn backslashes_are_taken_as_haproxy_takes_them() {
        for (line, expected) in [
            (r"a\ b \\ \' \t.", vec!["a b", "\\", "'", "\t."]),
            (r"\x41\x62", vec!["Ab"]),
            (r"^/\d+\.js$", vec![r"^/\d+\.js$"]),
            (r"'\x41\ '", vec![r"\x41\ "]),
            (r#""\$HOST" \$HOST"#, vec!["$HOST", r"\$HOST"]),
            (r"end\", vec![r"end\"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn variables_are_filled_in_within_weak_quotes_and_in_addresses() {
        for (line, expected) in [
            ("log \"$HOST\" $HOST '$HOST'", vec!["log", "10.0.0.1", "$HOST", "$HOST"]),
            ("\"${HOST}:80\" \"${NONE-80}\" \"<${EMPTY-80}>\"", vec!["10.0.0.1:80", "80", "<>"]),
            ("\"-${LIST[*]}-\"", vec!["-a", "b-"]),
            ("server $HOST ${HOST}:80", vec!["server", "$HOST", "10.0.0.1:80"]),
            ("bind $HOST:80", vec!["bind", "10.0.0.1:80"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn the_file_sets_variables_for_the_lines_below() {
        let text =
            "setenv HOST b\npresetenv HOST c\npresetenv NEW d\nlog \"$HOST$NEW\"\nunsetenv HOST\nlog \"$HOST.\"\n";
        let read = read(text, &environment).unwrap();
        assert_eq!(read.lines[3].words, ["log", "bd"]);
        assert_eq!(read.lines[5].words, ["log", "."]);
        assert_eq!(read.unset, [(6, "HOST".to_owned())]);
    }

    #[test]
    fn what_haproxy_cannot_read_is_refused_with_its_line() {
        let many = format!("a\n{}\n", "w ".repeat(65));
        for (text, expected) in [
            ("a\nlog \"b\n", "line 2: the quote \" is not closed"),
            ("log 'b\n", "line 1: the quote ' is not closed"),
            ("a\nb", "line 2: the last line has no end"),
            ("a\nb\0c\n", "line 2: byte 2 is zero"),
            ("\\x4\n", "two hexadecimal digits"),
            ("\\xé\n", "two hexadecimal digits"),
            ("\"${HOST\"\n", "the brace of a variable is not closed"),
            ("\"${HOST:-80}\"\n", "the brace of a variable is not closed"),
            ("\"$1\"\n", "begins no name"),
            (&many, "line 2: there are 65 words"),
        ] {
            assert!(refusal(text).contains(expected), "{text:?}: {}", refusal(text));
        }
    }

    #[test]
    fn variables_that_double_do_not_fill_the_memory() {
        let text = "setenv A aaaaaaaaaaaaaaaa\n".to_owned() + &"setenv A \"$A$A\"\n".repeat(60);
        assert!(refusal(&text).contains("more than 1048576 bytes"), "{}", refusal(&text));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "([a ${}\\[\\]*'\"#\\\\xA-]|\\PC|\n){0,60}\n") {
            if let Ok(read) = read(&text, &environment) {
                prop_assert!(read.lines.iter().all(|line| !line.words.is_empty()));
            }
        }
    }
}
