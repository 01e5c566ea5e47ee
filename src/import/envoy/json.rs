//! JSON that remembers the order of its members, and where in the text something stands.

use crate::import::Place;
use crate::import::Unreadable;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fmt;

/// A value. Numbers are what JavaScript has: whole ones are exact up to 2^53, beyond all that Envoy takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Flag(bool),
    List(Vec<Json>),
    Null,
    Number(f64),
    /// In the order of the text, each name once.
    Object(Vec<(String, Json)>),
    Text(String),
}

/// One step on the way from the whole to a value in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Element(usize),
    Member(&'a str),
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Json, Unreadable> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let why = match error.classify() {
            Category::Eof => "the text ends in the middle of a value; is the file complete?".to_owned(),
            _ if message.starts_with("recursion limit") => "values are nested too deep for Envoy, too".to_owned(),
            _ => format!("this is not JSON: {message}"),
        };
        Unreadable { place: Place::Column { line: error.line(), column: error.column() }, why }
    })
}

/// Line and column of a value, in a text that could be parsed.
pub(super) fn position(text: &str, steps: &[Step<'_>]) -> Place {
    let start = start_of(text, steps).unwrap_or_default();
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Place::Column { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

/// How many bytes stand before a value. Every step reads on from where the one before it led to.
fn start_of(text: &str, steps: &[Step<'_>]) -> Option<usize> {
    let mut found: &RawValue = serde_json::from_str(text).ok()?;
    for step in steps {
        found = match step {
            Step::Element(index) => serde_json::from_str::<Vec<&RawValue>>(found.get()).ok()?.get(*index).copied()?,
            Step::Member(name) => {
                serde_json::from_str::<HashMap<String, &RawValue>>(found.get()).ok()?.get(*name).copied()?
            }
        };
    }
    (found.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "see `Json`")]
    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "see `Json`")]
    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let (mut members, mut names) = (Vec::new(), BTreeSet::new());
        while let Some(name) = entries.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("`{name}` is given twice")));
            }
            members.push((name, entries.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_broken_text_is_answered_with_its_place() {
        for (text, expected) in [
            ("{\"a\": 1,\n \"b\" 2}", "line 2 column 6: this is not JSON: expected `:`"),
            ("{\"a\": [1, 2", "line 1 column 11: the text ends in the middle"),
            ("{\"a\": 1,\n \"a\": 2}", "line 2 column 4: this is not JSON: `a` is given twice"),
            ("{\"a\": \"\\q\"}", "line 1 column 9: this is not JSON: invalid escape"),
            ("{\"a\": 1} x", "line 1 column 10: this is not JSON: trailing characters"),
            ("{\"a\": 1e999}", "line 1 column 11: this is not JSON: number out of range"),
            ("{\"a\": nul}", "line 1 column 10: this is not JSON: expected ident"),
        ] {
            assert!(refusal(text).starts_with(expected), "{text}: {}", refusal(text));
        }
        assert!(refusal(&"[".repeat(1_000_000)).contains("nested too deep"));
    }

    #[test]
    fn a_value_is_found_again_in_the_text() {
        let text = "{\n  \"a\": [1, {\"\\u0062\": \"x\"}],\n  \"c\": 3}";
        let (a, b, c) = (Step::Member("a"), Step::Member("b"), Step::Member("c"));
        assert_eq!(position(text, &[]), Place::Column { line: 1, column: 1 });
        assert_eq!(position(text, &[a, Step::Element(1), b]), Place::Column { line: 2, column: 23 });
        assert_eq!(position(text, &[c]), Place::Column { line: 3, column: 8 });
    }
}
