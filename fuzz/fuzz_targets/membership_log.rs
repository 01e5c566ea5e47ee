//! Any lines as the log of a store: see `checks/membership_log.rs`, which `tests/fuzz.rs` runs over `seeds/membership_log`.

#![no_main]

#[path = "../checks/membership_log.rs"]
mod membership_log;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| membership_log::check(data));
