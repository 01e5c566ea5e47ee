//! Any text as a config: see `checks/config.rs`, which `tests/fuzz.rs` runs over `seeds/config`.

#![no_main]

#[path = "../checks/config.rs"]
mod config;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| config::check(data));
