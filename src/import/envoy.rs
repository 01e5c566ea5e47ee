//! Envoy's configuration.

use crate::import::Imported;
use crate::import::Unreadable;

/// Reads a configuration file.
pub fn read(_text: &str) -> Result<Imported, Unreadable> {
    Ok(Imported::default())
}
