//! Any request by any key rule: see `checks/keys.rs`, which `tests/fuzz.rs` runs over `seeds/keys`.

#![no_main]

#[path = "../checks/keys.rs"]
mod keys;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| keys::check(data));
