//! Any text as another program's configuration: reading it ends, and what is written of it is a config.

#![allow(dead_code, reason = "each target checks one of them")]

use ringway::config::Config;
use ringway::import::Imported;
use ringway::import::envoy;
use ringway::import::haproxy;
use ringway::import::nginx;

/// As nginx's.
pub(crate) fn check_nginx(data: &[u8]) {
    let nothing = |_: &str| Err("nothing is there to include".to_owned());
    let Ok(text) = std::str::from_utf8(data) else { return };
    nginx::read(text, &nothing).iter().for_each(check);
}

/// As HAProxy's.
pub(crate) fn check_haproxy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    haproxy::read(text, &|_| None).iter().for_each(check);
}

/// As Envoy's.
pub(crate) fn check_envoy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    envoy::read(text).iter().for_each(check);
}

fn check(imported: &Imported) {
    if imported.pools().is_empty() {
        return;
    }
    let config = imported.to_toml("Fuzzed.");
    if let Err(errors) = Config::parse("config", &config) {
        panic!("{errors} in\n{config}");
    }
}
