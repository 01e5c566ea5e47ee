//! The admin API of a running proxy, over real sockets: stories of operators, and every documented status.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod audit;
#[path = "../proxy/harness/authority.rs"]
mod authority;
mod client;
mod document;
mod figures;
mod hostile;
mod limits;
mod membership;
mod news;
mod page;
mod process;
mod questions;
mod security;
mod tls;
#[path = "../proxy/harness/tls_client.rs"]
mod tls_client;
mod tour;

/// A pool that the store owns.
pub(crate) const ONE_POOL: &str = r#"
    listen = ["127.0.0.1:0"]
    workers = 1
    [admin]
    listen = "127.0.0.1:0"
    [store]
    kind = "memory"
    [[pool]]
    name = "rooms"
    key = ["query:room", "header:x-room"]
    initial-nodes = [
      { name = "a", address = "10.0.0.1:80" },
      { name = "b", address = "10.0.0.2:80", zone = "z1" },
      { name = "c", address = "10.0.0.3:80", weight = 2 },
    ]
"#;
