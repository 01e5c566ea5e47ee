//! The data plane over real sockets: each test is a story of clients, the proxy and nodes, seen from the wire.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod access_log;
mod bodies;
mod body_keys;
mod bounds;
mod connections;
mod containment;
mod draining;
mod failover;
mod forwarding;
#[path = "../support/frames.rs"]
mod frames;
mod framing;
mod grpc;
mod harness;
mod hostile_h2_nodes;
mod leftovers;
mod limits;
mod malformed_h2;
mod names;
mod nodes_h2;
mod nodes_h2_refusals;
mod overload;
mod pressure;
mod proxy_protocol;
mod relayed;
mod resets;
mod routing;
mod sent_ahead;
mod series;
mod slow_clients;
mod stalled_clients;
mod stopping;
mod tls_hello;
mod tls_in;
mod tls_out;
mod upgrades;
