//! The data plane: accepts, finds the node of each request, forwards and streams.

pub mod access_log;
mod alarm;
mod body;
mod client;
pub mod error;
mod exchange;
mod forward;
mod gather;
pub mod headers;
mod inbound;
mod server;
pub mod settings;
pub mod table;
mod tunnel;
mod upstream;
pub mod worker;
