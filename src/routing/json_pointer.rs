//! JSON pointers (RFC 6901): their text form, and the steps it stands for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A JSON pointer (RFC 6901): where in a document a value stands. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer {
    tokens: Arc<[Token]>,
}

/// One step down: the name of a member, or the index of an element.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) name: Box<str>,
    /// The same as an index, where it is one (RFC 6901 section 4: no leading zeros).
    pub(super) index: Option<usize>,
}

impl JsonPointer {
    /// The step down from a depth; `None` at the value itself.
    pub(super) fn token(&self, depth: usize) -> Option<&Token> {
        self.tokens.get(depth)
    }
}

/// Reads the text form (RFC 6901 section 3). The error is a sentence for the user.
impl FromStr for JsonPointer {
    type Err = String;

    fn from_str(text: &str) -> Result<JsonPointer, String> {
        let Some(tokens) = text.strip_prefix('/') else {
            return match text {
                "" => Ok(JsonPointer { tokens: Arc::default() }),
                _ => Err(format!("`{text}` is not a JSON pointer; write `/{text}`")),
            };
        };
        let token = |written: &str| {
            let is_escaped = written.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            is_escaped.then(|| Token::new(written.replace("~1", "/").replace("~0", "~")))
        };
        let tokens: Option<Arc<[Token]>> = tokens.split('/').map(token).collect();
        let tokens = tokens.ok_or_else(|| {
            format!("`{text}` is not a JSON pointer: in one, `~` is written `~0` and a `/` in a name `~1`")
        })?;
        Ok(JsonPointer { tokens })
    }
}

impl Token {
    fn new(name: String) -> Token {
        let is_index = name == "0" || (!name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()));
        let index = if is_index { name.parse().ok() } else { None };
        Token { name: name.into(), index }
    }
}

/// Writes the text form.
impl fmt::Display for JsonPointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.iter().try_for_each(|token| write!(out, "/{}", token.name.replace('~', "~0").replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_read_and_written() {
        for text in ["", "/", "/a", "/a/0/b c", "/~0~1", "//", "/ü\"+,"] {
            assert_eq!(text.parse::<JsonPointer>().unwrap().to_string(), text);
        }
        for (text, answer) in [
            ("a/b", "`a/b` is not a JSON pointer; write `/a/b`"),
            ("/a~b", "`/a~b` is not a JSON pointer: in one, `~` is written `~0` and a `/` in a name `~1`"),
            ("/a~", "`/a~` is not a JSON pointer: in one, `~` is written `~0` and a `/` in a name `~1`"),
        ] {
            assert_eq!(text.parse::<JsonPointer>(), Err(answer.to_owned()));
        }
    }
}
