//! One value of a config file, turned into what its reader asks for or refused with its place.

use crate::section::Mistake;
use crate::section::Reading;
use crate::section::Section;
use crate::section::Span;
use crate::section::text;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

/// One value of the file, with its name and place.
#[derive(Debug)]
pub struct Value<'a> {
    /// What to call it in a message: `` `weight` `` or `` each of `listen` ``.
    pub(super) label: String,
    pub(super) full_name: String,
    pub(super) value: &'a Spanned<DeValue<'a>>,
    pub(super) reading: &'a Reading<'a>,
}

impl<'a> Value<'a> {
    /// Where the value stands.
    pub fn place(&self) -> Span {
        Span::from(self.value.span())
    }

    /// Reports a mistake at this value.
    pub fn refuse(&self, message: impl Into<String>) {
        self.reading.report(Mistake::new(self.place(), message));
    }

    /// The string with its `${VAR}` filled in.
    pub fn string(&self) -> Option<String> {
        let DeValue::String(written) = self.value.get_ref() else {
            return self.refuse_type("a string", "write it in quotes");
        };
        self.accept(text::expand(written, self.reading.environment))
    }

    /// The string turned into a value by `parse`, whose error is shown here.
    pub fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.accept(parse(&self.string()?))
    }

    /// A duration such as `"500ms"`.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        if !self.value.get_ref().is_str() {
            return self.refuse_type("a duration", "write it in quotes with a unit, such as \"2s\" or \"500ms\"");
        }
        let duration = self.parse(text::parse_duration)?;
        self.within(duration, &range, |duration| humantime::format_duration(*duration).to_string())
    }

    /// A size in bytes: `"64KiB"`, or a plain number.
    pub fn size(&self, range: RangeInclusive<usize>) -> Option<usize> {
        let size = match self.value.get_ref() {
            DeValue::Integer(_) => return self.integer(range),
            DeValue::String(_) => self.parse(text::parse_size)?,
            _ => return self.refuse_type("a size", "write it such as \"64KiB\""),
        };
        self.within(size, &range, |size| text::format_size(*size))
    }

    /// A whole number.
    pub fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        let DeValue::Integer(written) = self.value.get_ref() else {
            return self.refuse_type("an integer", "write a whole number without quotes");
        };
        let number = u64::from_str_radix(written.as_str(), written.radix()).ok();
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => self.within(number, &range, T::to_string),
            None => self.refuse_range(&written.to_string(), &range, T::to_string),
        }
    }

    /// A decimal number such as `1.25`, as thousandths, like the range.
    pub fn decimal(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let written = match self.value.get_ref() {
            DeValue::Float(written) => written.as_str(),
            DeValue::Integer(written) if written.radix() == 10 => written.as_str(),
            _ => return self.refuse_type("a decimal number", "write it without quotes, such as 1.25"),
        };
        let number = self.accept(text::parse_decimal(written))?;
        match u32::try_from(number) {
            Ok(number) => self.within(number, &range, |number| text::format_decimal(u64::from(*number))),
            Err(_) => self.refuse_range(written, &range, |number| text::format_decimal(u64::from(*number))),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.refuse_type("true or false", "write it without quotes"),
        }
    }

    /// The elements of a list.
    pub fn list(&self) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(elements) = self.value.get_ref() else {
            return self.refuse_type("a list", "put it in brackets: [...]");
        };
        let element = |value| Value {
            label: format!("each of {}", self.label),
            full_name: self.full_name.clone(),
            value,
            ..*self
        };
        Some(elements.iter().map(element).collect())
    }

    /// The elements of a list, or the value itself where one value may stand for a list of one.
    pub fn one_or_more(self) -> Vec<Value<'a>> {
        match self.value.get_ref() {
            DeValue::Array(_) => self.list().unwrap_or_default(),
            _ => vec![self],
        }
    }

    /// Reads a table.
    pub fn section<T>(&self, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        let table = Some(self.table()?);
        let mut section = Section::new(table, self.place(), format!("{}.", self.full_name), self.reading);
        let value = read(&mut section);
        section.finish();
        Some(value)
    }

    /// Whether a string stands here, for settings that take a word or a table.
    pub fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Whether a table stands here, likewise.
    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(super) fn table(&self) -> Option<&'a DeTable<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => self.refuse_type("a table", "put its settings in braces: { ... }"),
        }
    }

    fn accept<T>(&self, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.refuse(message)).ok()
    }

    fn within<T: PartialOrd>(&self, value: T, range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> Option<T> {
        if range.contains(&value) { Some(value) } else { self.refuse_range(&show(&value), range, show) }
    }

    fn refuse_range<T>(&self, given: &str, range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> Option<T> {
        let (least, most) = (show(range.start()), show(range.end()));
        self.refuse(format!("{} must be between {least} and {most}, not {given}", self.label));
        None
    }

    fn refuse_type<T>(&self, wanted: &str, way_out: &str) -> Option<T> {
        let given = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.refuse(format!("{} must be {wanted}, not {given}; {way_out}", self.label));
        None
    }
}
