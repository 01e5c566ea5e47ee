//! Any text: reading it as HAProxy's configuration ends, and what is written of it is a config.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::config::Config;
use ringway::import::haproxy;

fuzz_target!(|text: &str| {
    if let Ok(imported) = haproxy::read(text, &|_| None)
        && !imported.pools().is_empty()
    {
        let config = imported.to_toml("Fuzzed.");
        if let Err(errors) = Config::parse("config", &config) {
            panic!("{errors} in\n{config}");
        }
    }
});
