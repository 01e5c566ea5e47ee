//! Words and punctuation of nginx's configuration, as `ngx_conf_read_token` (1.22.1) takes them apart.

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `}`
    Close,
    /// There is no more.
    End,
    /// `{`
    Open,
    /// `;`
    Semicolon,
    /// A name or an argument, without its quotes and escapes.
    Word(String),
}

/// Reads one text from its beginning to its end.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { rest: text, line: 1 }
    }

    /// The line that is being read, from 1: after an error, where it is.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The next token; the error says what is wrong on [`Lexer::line`].
    pub(super) fn next(&mut self) -> Result<Token, String> {
        self.skip_space();
        match self.rest.chars().next() {
            None => Ok(Token::End),
            Some('\0') => Err("there is a zero byte, so this is no text".to_owned()),
            Some('{') => Ok(self.punctuation(Token::Open)),
            Some('}') => Ok(self.punctuation(Token::Close)),
            Some(';') => Ok(self.punctuation(Token::Semicolon)),
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            Some(_) => self.word(),
        }
    }

    /// Passes over Lua code up to the brace that closes its block, whose opening one has been read.
    pub(super) fn skip_lua(&mut self) -> Result<(), String> {
        let begun = self.line;
        let mut depth = 1;
        while depth > 0 {
            match self.rest.as_bytes() {
                [] => return Err(format!("the file ends within the Lua code that begins on line {begun}")),
                [b'-', b'-', b'[', b'[', ..] | [b'[', b'[', ..] => self.skip_past("]]"),
                [b'-', b'-', ..] => self.skip_past("\n"),
                [quote @ (b'"' | b'\''), ..] => self.skip_lua_string(*quote),
                [b'{', ..] => {
                    depth += 1;
                    self.take(1);
                }
                [b'}', ..] => {
                    depth -= 1;
                    self.take(1);
                }
                _ => self.take(self.rest.chars().next().map_or(0, char::len_utf8)),
            }
        }
        Ok(())
    }

    fn skip_past(&mut self, end: &str) {
        self.take(self.rest.find(end).map_or(self.rest.len(), |at| at + end.len()));
    }

    fn skip_lua_string(&mut self, quote: u8) {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        while at < bytes.len() && bytes[at] != quote {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        let mut end = (at + 1).min(bytes.len());
        while !self.rest.is_char_boundary(end) {
            end += 1;
        }
        self.take(end);
    }

    fn skip_space(&mut self) {
        loop {
            let blank = self.rest.find(|c| !is_space(c)).unwrap_or(self.rest.len());
            self.take(blank);
            if !self.rest.starts_with('#') {
                return;
            }
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn punctuation(&mut self, token: Token) -> Token {
        self.take(1);
        token
    }

    /// A text in quotes, behind which something has to set it apart from what follows.
    fn quoted(&mut self, quote: char) -> Result<Token, String> {
        let end = self.end_of(1, |c, _| c == quote);
        let Some(end) = end else {
            return Err(self
                .too_long()
                .unwrap_or_else(|| format!("the quote {quote} that begins here is never closed")));
        };
        let written = self.rest[1..end].to_owned();
        self.checked_length(end)?;
        self.take(end + 1);
        match self.rest.chars().next() {
            Some(c) if !is_space(c) && !matches!(c, ';' | '{' | ')') => {
                Err(format!("unexpected {c:?} right after a closing quote"))
            }
            _ => Ok(Token::Word(unescaped(&written))),
        }
    }

    /// A text without quotes: a brace opens a block unless it belongs to a variable, `${name}`.
    fn word(&mut self) -> Result<Token, String> {
        let ends = |c: char, previous: char| is_space(c) || c == ';' || (c == '{' && previous != '$');
        let end = self.end_of(0, ends).unwrap_or(self.rest.len());
        let written = self.rest[..end].to_owned();
        self.checked_length(end)?;
        self.take(end);
        Ok(Token::Word(unescaped(&written)))
    }

    /// Where the first character from `start` on is for which `ends` says so, given the one before it; what a backslash
    /// precedes never is.
    fn end_of(&self, start: usize, ends: impl Fn(char, char) -> bool) -> Option<usize> {
        let (mut previous, mut is_escaped) = (' ', false);
        for (at, c) in self.rest[start..].char_indices() {
            if is_escaped {
                is_escaped = false;
            } else if c == '\\' {
                is_escaped = true;
            } else if ends(c, previous) {
                return Some(start + at);
            }
            previous = c;
        }
        None
    }

    fn checked_length(&self, bytes: usize) -> Result<(), String> {
        let is_short = bytes <= WORD_BYTES_MAX && !self.rest[..bytes].contains('\0');
        if is_short { Ok(()) } else { Err(self.too_long().unwrap_or_else(|| "there is a zero byte".to_owned())) }
    }

    /// nginx reads files through a buffer of this size.
    fn too_long(&self) -> Option<String> {
        let is_too_long = self.rest.len() > WORD_BYTES_MAX;
        is_too_long.then(|| {
            format!("a word that begins here has over {WORD_BYTES_MAX} bytes; probably its closing quote is missing")
        })
    }

    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Without the backslashes that nginx takes away; those before other characters stay.
fn unescaped(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        let escaped = if c == '\\' { rest.clone().next() } else { None };
        let meant = match escaped {
            Some(quote @ ('"' | '\'' | '\\')) => quote,
            Some('t') => '\t',
            Some('r') => '\r',
            Some('n') => '\n',
            _ => {
                text.push(c);
                continue;
            }
        };
        text.push(meant);
        rest.next();
    }
    text
}

/// Longest word, in bytes: `NGX_CONF_BUFFER`.
const WORD_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text);
        let mut words = Vec::new();
        loop {
            match lexer.next().unwrap_or_else(|why| panic!("{text:?}: {why}")) {
                Token::End => return words,
                Token::Word(word) => words.push(word),
                Token::Open => words.push("{".to_owned()),
                Token::Close => words.push("}".to_owned()),
                Token::Semicolon => words.push(";".to_owned()),
            }
        }
    }

    #[test]
    fn words_are_taken_apart_as_nginx_does() {
        for (text, expected) in [
            ("server a:80 weight=2;", vec!["server", "a:80", "weight=2", ";"]),
            ("a{b;}", vec!["a", "{", "b", ";", "}"]),
            ("a # b;\n c;", vec!["a", "c", ";"]),
            ("a#b;", vec!["a#b", ";"]),
            (r#"a "b;{ c" 'd "e"';"#, vec!["a", "b;{ c", "d \"e\"", ";"]),
            (r#"a b"c d;"#, vec!["a", "b\"c", "d", ";"]),
            (r"a b\ c \; \{;", vec!["a", r"b\ c", r"\;", r"\{", ";"]),
            (r#"a "\"\t\.\\d";"#, vec!["a", "\"\t\\.\\d", ";"]),
            ("hash ${arg_a}x$b{", vec!["hash", "${arg_a}x$b", "{"]),
            ("a x}y;", vec!["a", "x}y", ";"]),
            ("a \"\";", vec!["a", "", ";"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn what_nginx_refuses_is_refused_on_its_line() {
        for (text, line, why) in [
            ("a;\nb \"c\nd", 2, "never closed"),
            ("a;\nb 'c'd;", 2, "unexpected 'd' right after a closing quote"),
            ("\na\0", 2, "zero byte"),
            ("\n\0", 2, "zero byte"),
            (&format!("a;\n\"{}", "x\n".repeat(4096)), 2, "over 4096 bytes"),
            (&"x".repeat(4097), 1, "over 4096 bytes"),
        ] {
            let mut lexer = Lexer::new(text);
            let refused = loop {
                match lexer.next() {
                    Ok(Token::End) => panic!("{text:?} is taken"),
                    Ok(_) => {}
                    Err(why) => break why,
                }
            };
            assert!(refused.contains(why) && lexer.line() == line, "{text:?}: line {}: {refused}", lexer.line());
        }
    }

    #[test]
    fn lua_ends_with_its_block_whatever_stands_in_it() {
        let mut lexer = Lexer::new("local a = {'}', \"\\\"}\", [[}]]} -- }\n--[[ } ]] é\n} b");
        assert_eq!((lexer.skip_lua(), lexer.next()), (Ok(()), Ok(Token::Word("b".to_owned()))));
        assert_eq!(lexer.line(), 3);
        assert!(Lexer::new("a '\\").skip_lua().is_err());
    }
}
