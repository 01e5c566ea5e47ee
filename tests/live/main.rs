//! The real binary beside real nginx, HAProxy, Envoy, wrk and Prometheus: each module is a story that users or
//! operators live through.
//!
//! `tests/run` installs the programs and builds the release binary. The stories take turns, because they load the
//! whole machine, and print the figures they measure.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

#[path = "../proxy/harness/authority.rs"]
mod authority;
#[path = "../support/frames.rs"]
mod frames;
mod harness;
#[path = "../support/namespaces.rs"]
mod namespaces;

mod alerts;
mod bomb;
mod churn;
mod compat;
mod crash;
mod dashboard;
mod dialects;
mod drains;
mod few_files;
mod full_disk;
mod handover;
mod imports;
mod memory;
mod names;
mod races;
mod readme;
mod reload;
mod restart;
mod scrape;
mod service_manager;
mod stalled;
mod stop;
mod tls;
mod two_processes;
