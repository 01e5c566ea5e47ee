//! Any text: reading it as nginx's configuration ends, and what is written of it is a config.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::config::Config;
use ringway::import::nginx;

fuzz_target!(|text: &str| {
    let include = |_: &str| Err("nothing is there to include".to_owned());
    if let Ok(imported) = nginx::read(text, &include)
        && !imported.pools().is_empty()
    {
        let config = imported.to_toml("Fuzzed.");
        if let Err(errors) = Config::parse("config", &config) {
            panic!("{errors} in\n{config}");
        }
    }
});
