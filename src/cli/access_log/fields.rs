//! A line of a log that is an object in JSON.
//!
//! Numbers keep the digits that stand there, because those are what another program hashed: 1.10 is not 1.1, and ids
//! may have more digits than a float holds.

use crate::cli::access_log::Column;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The fields of an object, each as it stands there.
#[derive(Debug)]
pub(in crate::cli) struct Fields<'a>(Object<'a>);

type Object<'a> = BTreeMap<String, &'a RawValue>;

impl<'a> Fields<'a> {
    /// Those of a line; `None` where it is no object.
    pub(super) fn parse(line: &'a [u8]) -> Option<Fields<'a>> {
        serde_json::from_slice(line).ok().map(Fields)
    }

    /// What stands in the field of that name, or of that JSON pointer (RFC 6901); `None` where that is a list or an
    /// object.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let Some(pointer) = name.strip_prefix('/') else { return text_of(self.0.get(name)?) };
        let mut tokens = pointer.split('/').map(|token| token.replace("~1", "/").replace("~0", "~"));
        let first = self.0.get(&tokens.next()?).copied();
        text_of(tokens.fold(first, |value, token| within(value?, &token))?)
    }

    /// All that is text, with what stands there.
    pub(super) fn columns(&self) -> Vec<(Column, Cow<'a, [u8]>)> {
        let mut columns = Vec::new();
        for (name, value) in &self.0 {
            list(Column::Name(name.clone()), &pointer_to("", name), value, &mut columns);
        }
        columns
    }
}

/// What a token of a JSON pointer leads to.
fn within<'a>(value: &'a RawValue, token: &str) -> Option<&'a RawValue> {
    match value.get().as_bytes() {
        [b'{', ..] => serde_json::from_str::<Object<'_>>(value.get()).ok()?.remove(token),
        [b'[', ..] => items(value).get(token.parse::<usize>().ok()?).copied(),
        _ => None,
    }
}

fn items(value: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(value.get()).unwrap_or_default()
}

fn pointer_to(outer: &str, token: &str) -> String {
    format!("{outer}/{}", token.replace('~', "~0").replace('/', "~1"))
}

/// Lists a value that is text, or the values in it, each by the pointer to it; of a list only the first.
fn list<'a>(column: Column, pointer: &str, value: &'a RawValue, columns: &mut Vec<(Column, Cow<'a, [u8]>)>) {
    let mut list_inner = |token: &str, value| {
        let pointer = pointer_to(pointer, token);
        list(Column::Name(pointer.clone()), &pointer, value, columns);
    };
    match value.get().as_bytes() {
        [b'{' | b'[', ..] if pointer.matches('/').count() >= DEPTH_MAX => {}
        [b'{', ..] => {
            let inner: Object<'_> = serde_json::from_str(value.get()).unwrap_or_default();
            inner.iter().for_each(|(name, value)| list_inner(name, value));
        }
        [b'[', ..] => items(value).iter().take(1).for_each(|value| list_inner("0", value)),
        _ => columns.extend(text_of(value).map(|text| (column, text))),
    }
}

/// A value that is no list or object as text.
fn text_of(value: &RawValue) -> Option<Cow<'_, [u8]>> {
    match value.get().as_bytes() {
        [b'{' | b'[', ..] => None,
        b"null" => Some(Cow::Borrowed(b"")),
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Some(Cow::Borrowed(inner)),
        [b'"', ..] => serde_json::from_str::<String>(value.get()).ok().map(|text| Cow::Owned(text.into_bytes())),
        plain => Some(Cow::Borrowed(plain)),
    }
}

/// So deep are columns looked for; each level is read once more.
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn get(line: &str, name: &str) -> Option<String> {
        let text = Fields::parse(line.as_bytes()).unwrap().get(name);
        text.map(|text| String::from_utf8(text.into_owned()).unwrap())
    }

    #[test]
    fn fields_go_by_their_names_or_by_pointers() {
        let line = r#"{"room":"4 2","ok":true,"tls":null,"a/b":"\u00e9","request":{"uri":"/a","ids":["7","8"]}}"#;
        for (name, expected) in [
            ("room", Some("4 2")),
            ("ok", Some("true")),
            ("tls", Some("")),
            ("a/b", Some("é")),
            ("/a~1b", Some("é")),
            ("/room", Some("4 2")),
            ("/request/ids/1", Some("8")),
            ("/request/ids/2", None),
            ("/room/0", None),
            ("request", None),
            ("absent", None),
        ] {
            assert_eq!(get(line, name).as_deref(), expected, "{name}");
        }
        let fields = Fields::parse(line.as_bytes()).unwrap();
        let columns: Vec<String> = fields.columns().iter().map(|(column, _)| column.to_string()).collect();
        assert_eq!(columns, ["a/b", "ok", "/request/ids/0", "/request/uri", "room", "tls"]);
        assert!(columns.iter().all(|name| fields.get(name).is_some()), "{columns:?}");
    }

    #[test]
    fn numbers_keep_their_digits() {
        for number in ["1.10", "12345678901234567890123", "-0", "1E3", "0.1e-7"] {
            assert_eq!(get(&format!("{{\"id\": {number} }}"), "id").as_deref(), Some(number));
        }
    }

    #[test]
    fn what_lies_too_deep_is_no_column() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let columns = |depth| Fields::parse(nested(depth).as_bytes()).unwrap().columns().len();
        assert_eq!([1, DEPTH_MAX, DEPTH_MAX + 1, 100_000].map(columns), [1, 1, 0, 0]);
    }

    #[test]
    fn what_is_no_object_has_no_fields() {
        // The last is what nginx makes of a JSON-like format without `escape=json`.
        for line in ["[1]", "{", "{room} x", r#"{"agent":"a \x22b\x22"}"#] {
            assert!(Fields::parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
