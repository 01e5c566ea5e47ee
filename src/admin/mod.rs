//! The operator's HTTP API.

pub mod settings;
