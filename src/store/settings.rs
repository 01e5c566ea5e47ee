//! `[store]` of the config file.

use crate::section::Printer;
use crate::section::Section;
use crate::section::nearest;
use std::path::PathBuf;

/// Where events live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// `kind`; default file.
    pub kind: StoreKind,
    /// `path`: the directory of kind file. Default `/var/lib/ringway`.
    pub path: PathBuf,
    /// `keep-events` 10000: how much of each pool's past can be asked for.
    pub keep_events: usize,
}

impl StoreSettings {
    /// Reads `[store]`.
    pub fn read(section: &mut Section<'_>) -> StoreSettings {
        section.section("store", |store| {
            store.refuse(&["endpoints"], "is not available yet; remove it");
            StoreSettings {
                kind: store.parse("kind", StoreKind::parse).unwrap_or(StoreKind::File),
                path: store.parse("path", parse_directory).unwrap_or_else(|| PathBuf::from("/var/lib/ringway")),
                keep_events: store.integer("keep-events", 10_000, 1..=1_000_000),
            }
        })
    }

    /// Writes `[store]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[store]");
        printer.set("kind", self.kind.name());
        printer.set("path", self.path.display().to_string());
        printer.set_count("keep-events", self.keep_events);
    }
}

/// How events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In files under `path`: survives a restart.
    File,
    /// In memory: forgotten when the process ends.
    Memory,
}

impl StoreKind {
    fn parse(word: &str) -> Result<StoreKind, String> {
        match word {
            "file" => Ok(StoreKind::File),
            "memory" => Ok(StoreKind::Memory),
            "etcd" => Err("store kind `etcd` is not available yet; use \"file\" or \"memory\"".to_owned()),
            _ => Err(match nearest(word, ["file", "memory"]) {
                Some(name) => format!("unknown store kind `{word}`; did you mean `{name}`?"),
                None => format!("unknown store kind `{word}`; use \"file\" or \"memory\""),
            }),
        }
    }

    /// The word for it in the config file.
    pub fn name(self) -> &'static str {
        match self {
            StoreKind::File => "file",
            StoreKind::Memory => "memory",
        }
    }
}

fn parse_directory(written: &str) -> Result<PathBuf, String> {
    if written.is_empty() {
        return Err("the path is empty; name a directory, such as \"/var/lib/ringway\"".to_owned());
    }
    Ok(PathBuf::from(written))
}
