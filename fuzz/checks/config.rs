//! Any text as a config file: reading it ends, and what is read is written as a file that reads back to the same.

use ringway::config::Config;

/// Files that the text names are not opened, so texts with a seed file are left out.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains("seed-file") {
        return;
    }
    let nothing = |_: &str| None;
    match Config::parse_with("fuzzed.toml", text, &nothing) {
        Err(errors) => assert!(!errors.to_string().is_empty()),
        Ok(config) => {
            let written = config.to_toml();
            // What is in it may hold `$`, which is an escape in what is written.
            let again = Config::parse_with("written.toml", &written, &nothing);
            let again = again.unwrap_or_else(|errors| panic!("{errors} in\n{written}"));
            assert_eq!(again.to_toml(), written);
        }
    }
}
