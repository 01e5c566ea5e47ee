//! Any body of the admin API: see `checks/admin_json.rs`, which `tests/fuzz.rs` runs over `seeds/admin_json`.

#![no_main]

#[path = "../checks/admin_json.rs"]
mod admin_json;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| admin_json::check(data));
