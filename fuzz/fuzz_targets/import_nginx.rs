//! Any text as another program's configuration: see `checks/import.rs`, which `tests/fuzz.rs` runs over configurations.

#![no_main]

#[path = "../checks/import.rs"]
mod import;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| import::check_nginx(data));
