//! `take-over-socket` of the config file.

use crate::section::Printer;
use crate::section::Section;
use crate::section::parse_path;
use std::path::PathBuf;

/// How another process may take over from this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandoverSettings {
    /// `take-over-socket`: where `ringway serve --take-over` asks. Default: nowhere, so that nothing can take over.
    pub socket: Option<PathBuf>,
}

impl HandoverSettings {
    /// Reads the top level of the file.
    pub fn read(section: &mut Section<'_>) -> HandoverSettings {
        HandoverSettings { socket: section.parse("take-over-socket", parse_path).map(PathBuf::from) }
    }

    /// Writes the setting of the top level.
    pub fn print(&self, printer: &mut Printer) {
        printer.set_some("take-over-socket", self.socket.as_deref().map(|path| path.display().to_string()));
    }
}
