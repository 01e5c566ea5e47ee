//! Writes settings as the text of a config file that reads back to the same values.

use crate::section::text;
use std::time::Duration;

/// The text of a config file in the making.
#[derive(Debug, Default)]
pub struct Printer {
    text: String,
}

impl Printer {
    /// Begins a table: `header` is written in full, such as `[store]` or `[[pool]]`.
    pub fn table(&mut self, header: &str) {
        let blank = if self.text.is_empty() { "" } else { "\n" };
        self.text.push_str(&format!("{blank}{header}\n"));
    }

    /// One setting. Dollar signs are doubled, because the reader takes `${VAR}` for a variable.
    pub fn set(&mut self, name: &str, value: impl Into<toml::Value>) {
        let value = literal(value.into());
        self.text.push_str(&format!("{name} = {value}\n"));
    }

    /// As [`Printer::set`], leaving out what is not given.
    pub fn set_some(&mut self, name: &str, value: Option<impl Into<toml::Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// A duration as the reader takes it.
    pub fn set_duration(&mut self, name: &str, duration: Duration) {
        self.set(name, humantime::format_duration(duration).to_string());
    }

    /// A size in bytes as the reader takes it.
    pub fn set_size(&mut self, name: &str, bytes: usize) {
        self.set(name, text::format_size(bytes));
    }

    /// A decimal number, given as thousandths.
    pub fn set_decimal(&mut self, name: &str, thousandths: u32) {
        let number = text::format_decimal(u64::from(thousandths));
        self.text.push_str(&format!("{name} = {number}\n"));
    }

    /// A count; one that TOML cannot write is written as the largest it can.
    pub fn set_count(&mut self, name: &str, count: usize) {
        self.set(name, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A table on one line, its settings in the order given.
    pub fn set_inline(&mut self, name: &str, settings: Vec<(&'static str, toml::Value)>) {
        self.text.push_str(&format!("{name} = {}\n", inline(settings)));
    }

    /// A list of tables, one a line.
    pub fn set_tables(&mut self, name: &str, tables: impl Iterator<Item = Vec<(&'static str, toml::Value)>>) {
        self.text.push_str(&format!("{name} = [\n"));
        for settings in tables {
            self.text.push_str(&format!("  {},\n", inline(settings)));
        }
        self.text.push_str("]\n");
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }
}

fn inline(settings: Vec<(&'static str, toml::Value)>) -> String {
    let settings = settings.into_iter().map(|(name, value)| format!("{name} = {}", literal(value)));
    format!("{{ {} }}", settings.collect::<Vec<_>>().join(", "))
}

fn literal(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::String(text) => toml::Value::String(text.replace('$', "$$")),
        toml::Value::Array(elements) => elements.into_iter().map(literal).collect::<Vec<_>>().into(),
        other => other,
    }
}
