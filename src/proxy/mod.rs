//! The data plane: accepts, finds the node of each request, forwards and streams.

pub mod access_log;
mod admission;
mod alarm;
mod attempt;
mod body;
mod client;
pub mod error;
mod exchange;
mod forward;
mod gather;
pub mod headers;
pub mod health_report;
mod held_body;
mod inbound;
mod key_body;
pub mod leaving;
mod local;
mod pick;
mod request_body;
pub mod resolved;
mod server;
pub mod settings;
pub mod table;
mod tunnel;
pub(crate) mod upstream;
mod waiting;
pub mod worker;
