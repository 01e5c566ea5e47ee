//! Protocol buffers in JSON, with the liberties that their mapping has: names in two spellings, numbers as text, enums
//! by number, wrapped values. What nobody asks for is told in the end.

use crate::import::Imported;
use crate::import::LeftOut;
use crate::import::Place;
use crate::import::Unreadable;
use crate::import::envoy::json;
use crate::import::envoy::json::Json;
use crate::import::envoy::json::Step;
use crate::import::envoy::known::Known;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What all messages of a file share.
pub(super) struct Reading<'a> {
    pub(super) text: &'a str,
    pub(super) imported: RefCell<Imported>,
}

/// Why reading does not go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// What is read is not carried over; the rest of the file may be.
    LeftOut(LeftOut),
    /// The file is wrong.
    Unreadable(Unreadable),
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Field<'a> {
    reading: &'a Reading<'a>,
    steps: Vec<Step<'a>>,
    json: &'a Json,
}

/// An object, of which is known who of its members were asked for.
#[derive(Clone)]
pub(super) struct Message<'a> {
    field: Field<'a>,
    members: &'a [(String, Json)],
    taken: BTreeSet<usize>,
}

impl<'a> Reading<'a> {
    /// The whole file as a message.
    pub(super) fn root(&'a self, json: &'a Json) -> Result<Message<'a>, Stop> {
        Field { reading: self, steps: Vec::new(), json }.message()
    }
}

impl<'a> Message<'a> {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        self.field.place()
    }

    /// What is found out about the file.
    pub(super) fn imported(&self) -> &'a RefCell<Imported> {
        &self.field.reading.imported
    }

    /// The member of that name, which is written in either spelling; `null` is as good as none.
    pub(super) fn field(&mut self, name: &str) -> Result<Option<Field<'a>>, Stop> {
        let mut found = self.members.iter().enumerate().filter(|(_, (written, _))| is_spelt(written, name));
        let Some((index, (written, json))) = found.next() else {
            return Ok(None);
        };
        let field = self.field.at(Step::Member(written), json);
        if found.next().is_some() {
            return Err(field.wrong("is given twice, in both spellings of its name"));
        }
        self.taken.insert(index);
        Ok(Some(field).filter(|field| *field.json != Json::Null))
    }

    /// The member of exactly that name: those of maps are not spelt in two ways.
    pub(super) fn entry(&mut self, name: &str) -> Option<Field<'a>> {
        let (index, (written, json)) = self.members.iter().enumerate().find(|(_, (written, _))| written == name)?;
        self.taken.insert(index);
        Some(self.field.at(Step::Member(written), json))
    }

    /// A message in this one.
    pub(super) fn message(&mut self, name: &str) -> Result<Option<Message<'a>>, Stop> {
        self.field(name)?.map(Field::message).transpose()
    }

    /// A list of messages; an absent one is empty.
    pub(super) fn messages(&mut self, name: &str) -> Result<Vec<Message<'a>>, Stop> {
        self.list(name)?.into_iter().map(Field::message).collect()
    }

    /// A list; an absent one is empty.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Field<'a>>, Stop> {
        Ok(self.field(name)?.map(Field::list).transpose()?.unwrap_or_default())
    }

    /// A text; an empty one is as good as none.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<&'a str>, Stop> {
        let text = self.field(name)?.map(|field| field.text()).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// A whole number.
    pub(super) fn integer(&mut self, name: &str, allowed: RangeInclusive<u32>) -> Result<Option<u32>, Stop> {
        self.field(name)?.map(|field| field.integer(allowed)).transpose()
    }

    /// True or false; false when it is absent.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Stop> {
        Ok(self.field(name)?.map(|field| field.flag()).transpose()?.unwrap_or_default())
    }

    /// One of an enum's names, which stand at the places of their numbers; the first when it is absent.
    pub(super) fn choice(&mut self, name: &str, names: &[&'static str]) -> Result<&'static str, Stop> {
        Ok(self.field(name)?.map(|field| field.choice(names)).transpose()?.unwrap_or(names[0]))
    }

    /// A duration.
    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, Stop> {
        self.field(name)?.map(|field| field.duration()).transpose()
    }

    /// The last part of the type that a `typed_config` or a resource in a dump has, such as `RingHash`.
    pub(super) fn type_name(&mut self) -> Result<&'a str, Stop> {
        let full = self.text("@type")?.unwrap_or_default();
        Ok(full.rsplit(['.', '/']).next().unwrap_or_default())
    }

    /// Notes that a member is not carried over.
    pub(super) fn leave_out(&self, name: &str, why: impl Into<String>) {
        let LeftOut { place, what, why } = self.left_out(name, why);
        self.imported().borrow_mut().leave_out(place, what, why);
    }

    /// That all of what is read is not carried over, because of this member.
    pub(super) fn refuse(&self, name: &str, why: impl Into<String>) -> Stop {
        Stop::LeftOut(self.left_out(name, why))
    }

    /// Tells what becomes of the members that nobody asked for.
    pub(super) fn finish(self, known: &Known) {
        for (index, (written, json)) in self.members.iter().enumerate() {
            let is_empty = matches!(json, Json::Null) || matches!(json, Json::List(list) if list.is_empty());
            let is_named = |name: &&&str| is_spelt(written, name);
            if self.taken.contains(&index) || is_empty || known.needless.iter().any(|name| is_named(&name)) {
                continue;
            }
            let why = known.told.iter().find(|(name, _)| is_named(&name)).map_or(UNKNOWN, |(_, why)| *why);
            self.leave_out(written, why);
        }
    }

    fn left_out(&self, name: &str, why: impl Into<String>) -> LeftOut {
        let found = self.members.iter().find(|(written, _)| is_spelt(written, name));
        let (place, what) = match found {
            Some((written, json)) => (self.field.at(Step::Member(written), json).place(), setting(written, json)),
            None => (self.place(), name.to_owned()),
        };
        LeftOut { place, what, why: why.into() }
    }
}

impl<'a> Field<'a> {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        let mut path = String::new();
        for step in &self.steps {
            path.push_str(&match step {
                Step::Element(index) => format!("[{index}]"),
                Step::Member(name) if path.is_empty() => (*name).to_owned(),
                Step::Member(name) => format!(".{name}"),
            });
        }
        Place::Member(path)
    }

    /// It as an object.
    pub(super) fn message(self) -> Result<Message<'a>, Stop> {
        match self.json {
            Json::Object(members) => Ok(Message { members, field: self, taken: BTreeSet::new() }),
            _ => Err(self.wrong("must be an object")),
        }
    }

    /// Its elements.
    pub(super) fn list(self) -> Result<Vec<Field<'a>>, Stop> {
        match self.json {
            Json::List(list) => {
                let elements = list.iter().enumerate();
                Ok(elements.map(|(index, element)| self.at(Step::Element(index), element)).collect())
            }
            _ => Err(self.wrong("must be a list")),
        }
    }

    /// It as text.
    pub(super) fn text(&self) -> Result<&'a str, Stop> {
        match self.unwrapped() {
            Json::Text(text) => Ok(text),
            _ => Err(self.wrong("must be a text")),
        }
    }

    fn flag(&self) -> Result<bool, Stop> {
        match self.unwrapped() {
            Json::Flag(flag) => Ok(*flag),
            _ => Err(self.wrong("must be true or false")),
        }
    }

    /// It as a number.
    pub(super) fn number(&self) -> Result<f64, Stop> {
        let number = match self.unwrapped() {
            Json::Number(number) => Some(*number),
            Json::Text(text) => text.parse::<f64>().ok().filter(|number| number.is_finite()),
            _ => None,
        };
        number.ok_or_else(|| self.wrong("must be a number"))
    }

    fn integer(&self, allowed: RangeInclusive<u32>) -> Result<u32, Stop> {
        let number = self.number()?;
        let is_fine =
            number.fract() == 0.0 && (f64::from(*allowed.start())..=f64::from(*allowed.end())).contains(&number);
        let (low, high) = allowed.into_inner();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in the range")]
        let whole = is_fine.then_some(number as u32);
        whole.ok_or_else(|| self.wrong(&format!("must be a whole number from {low} to {high}")))
    }

    fn choice(&self, names: &[&'static str]) -> Result<&'static str, Stop> {
        let known = || names.iter().copied().filter(|name| !name.is_empty());
        let found = match self.unwrapped() {
            Json::Text(text) => known().find(|name| name == text),
            Json::Number(_) => {
                let number = self.integer(0..=u32::MAX)?;
                usize::try_from(number).ok().and_then(|number| names.get(number)).copied()
            }
            _ => None,
        };
        let found = found.filter(|name| !name.is_empty());
        found.ok_or_else(|| self.wrong(&format!("must be one of {}", known().collect::<Vec<_>>().join(", "))))
    }

    fn duration(&self) -> Result<Duration, Stop> {
        let seconds = match self.json {
            Json::Text(text) => text.strip_suffix('s').filter(|seconds| is_decimal(seconds)),
            _ => None,
        };
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.parse().ok()?).ok());
        duration.ok_or_else(|| self.wrong("must be a duration, such as \"0.25s\""))
    }

    /// What stands in the wrapper that protocol buffers have for values which may be absent. Their JSON leaves it out,
    /// but old configurations have it.
    fn unwrapped(&self) -> &'a Json {
        match self.json {
            Json::Object(members) => match members.as_slice() {
                [(name, value)] if name == "value" => value,
                _ => self.json,
            },
            json => json,
        }
    }

    fn at(&self, step: Step<'a>, json: &'a Json) -> Field<'a> {
        let steps = self.steps.iter().copied().chain([step]).collect();
        Field { reading: self.reading, steps, json }
    }

    /// That the file is wrong here.
    pub(super) fn wrong(&self, what: &str) -> Stop {
        let place = json::position(self.reading.text, &self.steps);
        let shown = shown(self.json).map(|value| format!(" is {value}; it")).unwrap_or_default();
        Stop::Unreadable(Unreadable { place, why: format!("`{}`{shown} {what}", self.place()) })
    }
}

impl From<Unreadable> for Stop {
    fn from(unreadable: Unreadable) -> Stop {
        Stop::Unreadable(unreadable)
    }
}

/// Whether a member has this name, which is given in the first of its two spellings: `hash_key`, `hashKey`.
fn is_spelt(written: &str, name: &str) -> bool {
    let letters = written.chars().flat_map(|letter| {
        let underscore = letter.is_ascii_uppercase().then_some('_');
        underscore.into_iter().chain([letter.to_ascii_lowercase()])
    });
    written == name || letters.eq(name.chars())
}

fn is_decimal(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
}

/// A member as people would write it, without what is long.
fn setting(name: &str, json: &Json) -> String {
    shown(json).map_or_else(|| name.to_owned(), |value| format!("{name}: {value}"))
}

/// A simple value that is not long.
fn shown(json: &Json) -> Option<String> {
    match json {
        Json::Flag(flag) => Some(flag.to_string()),
        Json::Number(number) => Some(number.to_string()),
        Json::Text(text) if text.len() <= SHOWN_BYTES_MAX => Some(text.clone()),
        Json::List(_) | Json::Null | Json::Object(_) | Json::Text(_) => None,
    }
}

const SHOWN_BYTES_MAX: usize = 64;

const UNKNOWN: &str = "this import does not know the setting and carries nothing of it over";

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the object in `text` with `read`; the error as it is shown.
    fn read<T>(text: &str, read: impl Fn(&mut Message<'_>) -> Result<T, Stop>) -> Result<T, String> {
        let json = json::parse(text).unwrap();
        let reading = Reading { text, imported: RefCell::default() };
        let mut message = reading.root(&json).map_err(|_| "no object".to_owned())?;
        read(&mut message).map_err(|stop| match stop {
            Stop::LeftOut(left_out) => left_out.to_string(),
            Stop::Unreadable(unreadable) => unreadable.to_string(),
        })
    }

    #[test]
    fn a_name_has_two_spellings() {
        for text in
            [r#"{"ring_size": 7}"#, r#"{"ringSize": 7}"#, r#"{"ringSize": "7"}"#, r#"{"ringSize": {"value": 7}}"#]
        {
            assert_eq!(read(text, |message| message.integer("ring_size", 1..=9)), Ok(Some(7)), "{text}");
        }
        let both = read(r#"{"ringSize": 7, "ring_size": 7}"#, |message| message.integer("ring_size", 1..=9));
        assert_eq!(
            both,
            Err("line 1 column 14: `ringSize` is 7; it is given twice, in both spellings of its name".into())
        );
    }

    #[test]
    fn a_number_out_of_its_range_is_refused_with_its_place() {
        for number in ["0", "10", "1.5", "-1", "1e300", "\"x\"", "true", "[]"] {
            let text = format!("{{\n \"size\": {number}}}");
            let refused = read(&text, |message| message.integer("size", 1..=9)).unwrap_err();
            assert!(refused.starts_with("line 2 column 10: `size`"), "{number}: {refused}");
            assert!(refused.contains("must be a"), "{number}: {refused}");
        }
    }

    #[test]
    fn an_enum_goes_by_name_or_number() {
        let names = ["A", "", "C"];
        for (text, expected) in [("{}", "A"), (r#"{"e": "C"}"#, "C"), (r#"{"e": 2}"#, "C"), (r#"{"e": null}"#, "A")] {
            assert_eq!(read(text, |message| message.choice("e", &names)), Ok(expected), "{text}");
        }
        for text in [r#"{"e": "B"}"#, r#"{"e": 1}"#, r#"{"e": 3}"#, r#"{"e": ""}"#, r#"{"e": {}}"#] {
            let refused = read(text, |message| message.choice("e", &names)).unwrap_err();
            assert!(refused.contains("must be one of A, C"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_duration_is_in_seconds() {
        for (text, milliseconds) in [("0.25s", 250), ("15s", 15_000), ("0s", 0), ("1.000000001s", 1_000)] {
            let read = read(&format!(r#"{{"d": "{text}"}}"#), |message| message.duration("d"));
            assert_eq!(read.map(|read| read.unwrap().as_millis()), Ok(milliseconds), "{text}");
        }
        for text in ["15", "15ms", "-1s", "s", ".5s", "1e3s", "1.2.3s", "99999999999999999999999s"] {
            let refused = read(&format!(r#"{{"d": "{text}"}}"#), |message| message.duration("d")).unwrap_err();
            assert!(refused.contains("must be a duration"), "{text}: {refused}");
        }
    }

    #[test]
    fn what_nobody_asks_for_is_told() {
        let text = r#"{"name": "a", "altName": "b", "slow": {"x": 1}, "odd": true, "none": [], "nil": null}"#;
        let json = json::parse(text).unwrap();
        let reading = Reading { text, imported: RefCell::default() };
        let mut message = reading.root(&json).unwrap();
        assert_eq!(message.text("name").unwrap(), Some("a"));
        message.finish(&Known { needless: &["alt_name"], told: &[("slow", "it is slow")] });
        let told = reading.imported.borrow().left_out().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told, ["slow: `slow`: it is slow".to_owned(), format!("odd: `odd: true`: {UNKNOWN}")]);
    }
}
