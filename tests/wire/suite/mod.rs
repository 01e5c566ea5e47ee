//! Hostile clients and hostile nodes as a table: what is sent byte by byte, and what is right. `tests/wire` holds
//! Ringway to it, `benches/wire` shows other programs beside it.

pub(crate) mod client;
pub(crate) mod finding;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod judge;
pub(crate) mod message;
pub(crate) mod node;
pub(crate) mod report;
pub(crate) mod row;
pub(crate) mod run;

/// The rows, a file for each part of a message.
pub(crate) mod rows {
    pub(crate) mod bodies;
    pub(crate) mod framing;
    pub(crate) mod heads;
    pub(crate) mod http2;
    pub(crate) mod own;
    pub(crate) mod responses;
    pub(crate) mod targets;
}
