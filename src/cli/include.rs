//! The files that an `include` of another program's configuration names.

use crate::import::nginx::PATTERN_RULES;
use crate::import::nginx::is_pattern;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Each file with its name, in the order of the names; `folder` is where names that begin with no `/` are looked for.
///
/// # Errors
/// When a file cannot be read, or one without `*`, `?` or `[` in its name is not there.
pub(super) fn files(folder: &Path, pattern: &str) -> Result<Vec<(String, String)>, String> {
    let full = folder.join(pattern);
    let full = full.to_str().ok_or("its folder has a name that is not UTF-8")?;
    let found = if is_pattern(pattern) { find(folder, pattern)? } else { vec![PathBuf::from(full)] };
    let read = |file: PathBuf| {
        let shown = file.display().to_string();
        let text = fs::read(&file).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let text = String::from_utf8(text).map_err(|_| format!("{shown} is not UTF-8 text"))?;
        Ok((shown, text))
    };
    found.into_iter().map(read).collect()
}

/// The files, and not the folders, that a pattern stands for.
fn find(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    // Only the pattern is one: the folder may have such characters in its name.
    let folder = folder.to_str().map(glob::Pattern::escape).ok_or("its folder has a name that is not UTF-8")?;
    let full = Path::new(&folder).join(pattern).display().to_string();
    let paths = glob::glob_with(&full, PATTERN_RULES).map_err(|error| format!("{pattern} is no pattern: {error}"))?;
    let found: Result<Vec<PathBuf>, glob::GlobError> = paths.collect();
    let mut found = found.map_err(|error| error.to_string())?;
    found.retain(|file| file.is_file());
    Ok(found)
}
