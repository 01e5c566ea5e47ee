//! What the fuzz targets check, over the seeds that they begin with: small, and without a fuzzer.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

#[path = "../fuzz/checks/admin_json.rs"]
mod admin_json;
#[path = "../fuzz/checks/config.rs"]
mod config;
#[path = "../fuzz/checks/head.rs"]
mod head;
#[path = "../fuzz/checks/import.rs"]
mod import;
#[path = "../fuzz/checks/keys.rs"]
mod keys;
#[path = "../fuzz/checks/membership_log.rs"]
mod membership_log;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Checks every seed of a target, and the same with its end and its beginning cut off.
fn replay(target: &str, check: fn(&[u8])) {
    for (seed, data) in seeds(target) {
        for (from, to) in (0..=data.len()).map(|cut| (0, cut)).chain((1..data.len()).map(|cut| (cut, data.len()))) {
            let ran = catch_unwind(|| check(&data[from..to]));
            assert!(ran.is_ok(), "bytes {from} to {to} of {seed}");
        }
    }
}

/// Checks configurations of another program, and the same with their ends cut off here and there: they are long.
fn replay_imports(program: &str, check: fn(&[u8])) {
    for (file, data) in files(&format!("tests/live/imports/{program}")) {
        for end in (0..=data.len()).rev().step_by(29) {
            let ran = catch_unwind(|| check(&data[..end]));
            assert!(ran.is_ok(), "the first {end} bytes of {file}");
        }
    }
}

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    files(&format!("fuzz/seeds/{target}"))
}

fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut seeds: Vec<_> = paths.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
    seeds.sort();
    assert!(seeds.len() >= 5, "{seeds:?}");
    seeds
}

#[test]
fn bodies_of_the_admin_api() {
    replay("admin_json", admin_json::check);
}

#[test]
fn configurations_of_nginx() {
    replay_imports("nginx", import::check_nginx);
}

#[test]
fn configurations_of_haproxy() {
    replay_imports("haproxy", import::check_haproxy);
}

#[test]
fn configurations_of_envoy() {
    replay_imports("envoy", import::check_envoy);
}

#[test]
fn config_files() {
    replay("config", config::check);
}

/// Whole and cut in the middle only: each goes over real sockets.
#[test]
fn what_nodes_get_of_clients() {
    for (seed, data) in seeds("head") {
        for data in [&data[..], &data[..data.len() / 2], &data[data.len() / 2..]] {
            let ran = catch_unwind(|| head::check(data));
            assert!(ran.is_ok(), "{seed}: {:?}", String::from_utf8_lossy(data));
        }
    }
}

#[test]
fn keys_of_requests() {
    replay("keys", keys::check);
}

#[test]
fn logs_of_memberships() {
    replay("membership_log", membership_log::check);
}
