//! Reads the tables of a config file straight into typed values, and collects every mistake with its place.
//!
//! A reader asks a [`Section`] for each setting by name. Asking makes the name known, so the nearest known
//! name for a typo and the list of all settings come from the reader itself. A getter that answers `None` for
//! a setting that is there has reported why, so reading goes on and one run finds all mistakes of a file.

mod mistakes;
mod printable;
mod printer;
mod text;
mod value;

pub use mistakes::Mistake;
pub use mistakes::Mistakes;
pub use mistakes::Report;
pub use mistakes::Span;
pub use printable::is_printable;
pub use printable::printable;
pub use printer::Printer;
pub(crate) use text::format_decimal;
pub(crate) use text::parse_decimal;
pub use text::parse_path;
pub use value::Value;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeTable;

/// What came of reading a file.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What the reader returned; `None` when it could not be put together.
    pub value: Option<T>,
    /// Everything that is wrong, in the order of the file.
    pub mistakes: Vec<Mistake>,
    /// The full name of each setting the reader asked for, such as `limits.max-headers`.
    pub settings: BTreeSet<String>,
}

/// Reads `text` with `read`. `environment` answers for `${VAR}` in string values.
pub fn read<T>(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    read: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Outcome<T> {
    let reading = Reading { environment, findings: RefCell::default() };
    let value = match DeTable::parse(text) {
        Ok(root) => {
            let mut section = Section::new(Some(root.get_ref()), Span::FILE, String::new(), &reading);
            let value = read(&mut section);
            section.finish();
            value
        }
        Err(error) => {
            reading.report(Mistake::syntax(&error, text));
            None
        }
    };
    let mut findings = reading.findings.into_inner();
    let unknown = findings.unknown.iter().map(|key| key.explain(&findings.settings));
    findings.mistakes.extend(unknown);
    findings.mistakes.sort_by_key(Mistake::place);
    Outcome { value, mistakes: findings.mistakes, settings: findings.settings }
}

/// One table being read; an absent table reads as an empty one, so that its defaults stand in one place.
#[derive(Debug)]
pub struct Section<'a> {
    table: Option<&'a DeTable<'a>>,
    place: Span,
    /// What stands before the names of this table's settings, such as `limits.`; empty for the top level.
    prefix: String,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
    reading: &'a Reading<'a>,
}

impl<'a> Section<'a> {
    /// The value of a setting, when the file gives it.
    pub fn value(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.learn(name);
        let value = self.table?.get(name)?;
        let full_name = format!("{}{name}", self.prefix);
        Some(Value { label: format!("`{name}`"), full_name, value, reading: self.reading })
    }

    /// As [`Section::value`], reporting a setting that is not given; `example` shows how to give it.
    pub fn required(&mut self, name: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.value(name);
        if value.is_none() {
            self.report(Mistake::new(self.place, format!("missing key `{name}`; add it, such as `{example}`")));
        }
        value
    }

    /// An optional string.
    pub fn string(&mut self, name: &'static str) -> Option<String> {
        self.value(name)?.string()
    }

    /// An optional string that `parse` turns into a value; its error is shown at the string.
    pub fn parse<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.value(name)?.parse(parse)
    }

    /// A duration such as `"2s"` within `range`.
    pub fn duration(&mut self, name: &'static str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        self.value(name).and_then(|value| value.duration(range)).unwrap_or(default)
    }

    /// A size in bytes such as `"64KiB"` within `range`.
    pub fn size(&mut self, name: &'static str, default: usize, range: RangeInclusive<usize>) -> usize {
        self.value(name).and_then(|value| value.size(range)).unwrap_or(default)
    }

    /// An integer within `range`.
    pub fn integer<T>(&mut self, name: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        self.value(name).and_then(|value| value.integer(range)).unwrap_or(default)
    }

    /// A decimal number such as `1.25`, as thousandths, like its default and range.
    pub fn decimal(&mut self, name: &'static str, default: u32, range: RangeInclusive<u32>) -> u32 {
        self.value(name).and_then(|value| value.decimal(range)).unwrap_or(default)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        self.value(name).and_then(|value| value.boolean()).unwrap_or(default)
    }

    /// A sub-table, `[name]` or inline; an absent one reads as empty.
    pub fn section<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let table = self.value(name).and_then(|value| Some((value.table()?, value.place())));
        let (table, place) = table.map_or((None, self.place), |(table, place)| (Some(table), place));
        let mut section = Section::new(table, place, format!("{}{name}.", self.prefix), self.reading);
        let value = read(&mut section);
        section.finish();
        value
    }

    /// A list of tables, `[[name]]` or inline. Tables for which `read` answers `None` are left out.
    pub fn tables<T>(&mut self, name: &'static str, mut read: impl FnMut(&mut Section<'_>) -> Option<T>) -> Vec<T> {
        let elements = self.value(name).and_then(|value| value.list()).unwrap_or_default();
        elements.iter().filter_map(|element| element.section(&mut read)?).collect()
    }

    /// Refuses `names` with a reason of their own rather than as unknown keys.
    pub fn refuse(&mut self, names: &[&'static str], reason: &str) {
        for name in names {
            self.refused.push(name);
            if self.gives(name) {
                self.report(Mistake::new(self.place_of_key(name), format!("`{name}` {reason}")));
            }
        }
    }

    /// Whether the file gives this setting.
    pub fn gives(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(name))
    }

    /// Where the value of a setting stands; the place of the table when it is not given.
    pub fn place_of(&self, name: &str) -> Span {
        let value = self.table.and_then(|table| table.get(name));
        value.map_or(self.place, |value| Span::from(value.span()))
    }

    /// Where the name of a setting stands; the place of the table when it is not given.
    pub fn place_of_key(&self, name: &str) -> Span {
        let entry = self.table.and_then(|table| table.get_key_value(name));
        entry.map_or(self.place, |(key, _)| Span::from(key.span()))
    }

    /// Reports a mistake that the getters cannot see.
    pub fn report(&self, mistake: Mistake) {
        self.reading.report(mistake);
    }

    /// Reports each item that equals an earlier one, showing the place of the first beside it; whether there
    /// are any.
    pub fn report_repeated<T: Eq + Hash>(&self, items: &[(T, Span)], message: impl Fn(&T) -> String) -> bool {
        let mut first_places: HashMap<&T, Span> = HashMap::new();
        let mut found = false;
        for (item, place) in items {
            let first = *first_places.entry(item).or_insert(*place);
            if first != *place {
                self.report(Mistake::new(*place, message(item)).with_note(first, "first given here"));
                found = true;
            }
        }
        found
    }

    fn new(table: Option<&'a DeTable<'a>>, place: Span, prefix: String, reading: &'a Reading<'a>) -> Self {
        Section { table, place, prefix, known: Vec::new(), refused: Vec::new(), reading }
    }

    fn learn(&mut self, name: &'static str) {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.reading.findings.borrow_mut().settings.insert(format!("{}{name}", self.prefix));
    }

    /// Notes the keys that nobody asked for. They are explained at the end of the file, when all names are
    /// known.
    fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) || self.refused.contains(&name) {
                continue;
            }
            self.reading.findings.borrow_mut().unknown.push(UnknownKey {
                name: name.to_owned(),
                place: Span::from(key.span()),
                known: self.known.clone(),
            });
        }
    }
}

/// What all sections of one file share.
struct Reading<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    findings: RefCell<Findings>,
}

impl Reading<'_> {
    fn report(&self, mistake: Mistake) {
        self.findings.borrow_mut().mistakes.push(mistake);
    }
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reading").field("findings", &self.findings).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Findings {
    mistakes: Vec<Mistake>,
    settings: BTreeSet<String>,
    unknown: Vec<UnknownKey>,
}

#[derive(Debug)]
struct UnknownKey {
    name: String,
    place: Span,
    /// The names known in its table.
    known: Vec<&'static str>,
}

impl UnknownKey {
    /// The way out: the nearest name of this table, else the table that has this name, else all that is known
    /// here.
    fn explain(&self, settings: &BTreeSet<String>) -> Mistake {
        let elsewhere = settings.iter().find(|setting| setting.rsplit('.').next() == Some(&self.name));
        let way_out = match (nearest(&self.name, self.known.iter().copied()), elsewhere) {
            (Some(name), _) => format!("did you mean `{name}`?"),
            (None, Some(setting)) => match setting.rsplit_once('.') {
                Some((table, _)) => format!("it belongs in `{table}`"),
                None => "it belongs at the top of the file, before the first [table]".to_owned(),
            },
            (None, None) => format!("known here: `{}`", self.known.join("`, `")),
        };
        Mistake::new(self.place, format!("unknown key `{}`; {way_out}", self.name))
    }
}

/// The known name that a mistyped one most likely stands for; `None` when none is alike enough (Jaro-Winkler).
pub fn nearest<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let likeness = |name: &str| strsim::jaro_winkler(&wanted.to_ascii_lowercase(), &name.to_ascii_lowercase());
    let scored = names.into_iter().map(|name| (likeness(name), name));
    let (best, name) = scored.min_by(|a, b| b.0.total_cmp(&a.0))?;
    (best >= LIKENESS_MIN).then_some(name)
}

/// Likeness, 0 to 1, from which a name is suggested: `addr` for `address` (0.91) is in, `tls` for `total` (0.75) is
/// out.
const LIKENESS_MIN: f64 = 0.82;

#[cfg(test)]
mod tests {
    use super::*;

    /// What `read` returned, and each mistake as one sentence.
    fn outcome<T>(text: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> (Option<T>, Vec<String>) {
        let outcome = super::read(text, &|_| None, |section| Some(read(section)));
        (outcome.value, outcome.mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let read = |section: &mut Section<'_>| {
            let limits = section.section("limits", |limits| limits.size("max-header-bytes", 7, 1..=9));
            (section.integer("workers", 3, 0..=4), section.boolean("on", true), limits)
        };
        assert_eq!(outcome("", read), (Some((3, true, 7)), vec![]));
        assert_eq!(outcome("workers = 4\nlimits.max-header-bytes = '8'", read), (Some((4, true, 8)), vec![]));
    }

    #[test]
    fn numbers_are_read_in_every_form_of_toml() {
        for (written, number) in [("1_000", 1_000), ("0x1f", 31), ("0b101", 5), ("+7", 7)] {
            let read = |section: &mut Section<'_>| section.integer("n", 0_u32, 0..=1_000);
            assert_eq!(outcome(&format!("n = {written}"), read), (Some(number), vec![]), "{written}");
        }
        for written in ["-1", "1001", "99999999999999999999999"] {
            let (_, mistakes) = outcome(&format!("n = {written}"), |section| section.integer("n", 0_u32, 0..=1_000));
            assert_eq!(mistakes, [format!("`n` must be between 0 and 1000, not {written}")]);
        }
    }

    #[test]
    fn decimal_numbers_are_read_exactly_and_refused_with_the_way_out() {
        let read = |section: &mut Section<'_>| section.decimal("f", 1250, 1_000..=2_500);
        for (text, thousandths) in [("", 1250), ("f = 1.125", 1125), ("f = 2", 2000), ("f = 2.5", 2500)] {
            assert_eq!(outcome(text, read), (Some(thousandths), vec![]), "{text}");
        }
        for (text, expected) in [
            ("f = 2.501", "`f` must be between 1 and 2.5, not 2.501"),
            ("f = 9999999.0", "`f` must be between 1 and 2.5, not 9999999.0"),
            ("f = 5_000_000_000", "`f` must be between 1 and 2.5, not 5000000000"),
            ("f = '1.5'", "`f` must be a decimal number, not a string; write it without quotes, such as 1.25"),
            (
                "f = 1.0625",
                "1.0625 is not a decimal number that can be taken; write it such as 1.25, with at most three digits \
                 after the point",
            ),
        ] {
            assert_eq!(outcome(text, read).1, [expected], "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_name_or_its_table() {
        let read = |section: &mut Section<'_>| {
            section.string("listen");
            section.section("limits", |limits| limits.integer("max-streams", 1, 1..=2));
            // Once more, as where a setting has two forms.
            section.string("listen");
        };
        for (text, expected) in [
            ("lisen = ''", "unknown key `lisen`; did you mean `listen`?"),
            ("limits.max_streams = 2", "unknown key `max_streams`; did you mean `max-streams`?"),
            ("max-streams = 2", "unknown key `max-streams`; it belongs in `limits`"),
            (
                "[limits]\nlisten = ''",
                "unknown key `listen`; it belongs at the top of the file, before the first [table]",
            ),
            ("zebra = 1", "unknown key `zebra`; known here: `listen`, `limits`"),
        ] {
            assert_eq!(outcome(text, read).1, [expected], "{text}");
        }
    }

    #[test]
    fn mistakes_come_in_the_order_of_the_file() {
        let (_, mistakes) = outcome("c = 1\na = 1\nb = 1", |section| (section.string("b"), section.string("a")));
        let names: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.split('`').nth(1)).collect();
        assert_eq!(names, ["c", "a", "b"]);
    }

    #[test]
    fn a_refused_name_is_not_unknown_too() {
        let (_, mistakes) = outcome("tls = 1", |section| {
            section.refuse(&["tls"], "is not available yet; remove it");
        });
        assert_eq!(mistakes, ["`tls` is not available yet; remove it"]);
    }

    #[test]
    fn items_given_again_are_reported_with_the_first() {
        let (found, mistakes) = outcome("", |section| {
            let place = |start| Span { start, end: start + 1 };
            section
                .report_repeated(&[("a", place(0)), ("b", place(1)), ("a", place(2))], |item| format!("{item} again"))
        });
        assert_eq!((found, mistakes), (Some(true), vec!["a again".to_owned()]));
    }
}
