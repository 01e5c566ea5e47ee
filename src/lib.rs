//! Ringway: a consistent-hashing sharding proxy for HTTP.
//!
//! The modules stand in dependency order: each may use only the ones above it. `tests/tidy.rs` enforces the
//! order, the purity of the first six and the size of every file. `ARCHITECTURE.md` is the guided tour.

pub mod section;

pub mod placement;

pub mod routing;

pub mod cluster;

pub mod compat;

pub mod simulation;

pub mod build_info;

pub mod metrics;

pub mod store;

pub mod tls;

pub mod proxy;

pub mod control;

pub mod sockets;

pub mod admin;

pub mod handover;

pub mod config;

pub mod import;

pub mod app;

pub mod cli;
