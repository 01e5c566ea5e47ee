//! Any bytes from a client, through a whole proxy: see `checks/head.rs`, which `tests/fuzz.rs` runs over `seeds/head`.

#![no_main]

#[path = "../checks/head.rs"]
mod head;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| head::check(data));
