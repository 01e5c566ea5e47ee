//! nginx's configuration.

use crate::import::Imported;
use crate::import::Unreadable;

/// What stands in the files that a pattern names, each with its name, in their order.
pub type Include<'a> = dyn Fn(&str) -> Result<Vec<(String, String)>, String> + 'a;

/// Reads a configuration file; `include` gives what an `include` names.
pub fn read(_text: &str, _include: &Include<'_>) -> Result<Imported, Unreadable> {
    Ok(Imported::default())
}
