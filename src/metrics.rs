//! Everything the process exports: counters the data plane writes per worker, and their sum at scrape.

mod collector;
pub mod limit;
pub mod load;
pub mod panics;
mod process;
pub mod pulse;
pub mod recent;
pub mod stats;
pub mod vital;

use crate::metrics::load::PoolLoad;
use crate::routing::bound::LoadSettings;
use arc_swap::ArcSwap;
use prometheus::Encoder;
use prometheus::Registry;
use prometheus::TextEncoder;
use stats::NodeStats;
use stats::PoolStats;
use stats::ServerStats;
use std::sync::Arc;
use vital::NodeVital;
use vital::PoolVital;

/// What is known of one pool at scrape time. `control` publishes a new list with every routing table, so that a
/// node's series leave with the node.
#[derive(Debug)]
pub struct PoolView {
    /// The pool's name.
    pub name: String,
    /// The last event applied.
    pub epoch: u64,
    /// The placement's fingerprint, as 16 hex digits.
    pub fingerprint: String,
    /// Share of keys that the last change moved, 0 to 1.
    pub moved_ratio: f64,
    /// Largest share over entitlement among the placed nodes; 1 is perfect, 0 without nodes.
    pub imbalance_ratio: f64,
    /// The sources of its keys by name, in the order in which they are looked at.
    pub key_sources: Vec<String>,
    /// What bounds the load of its nodes.
    pub bounds: LoadSettings,
    /// The requests of the pool, where it bounds its load.
    pub load: Arc<PoolLoad>,
    /// The pool's own counters.
    pub stats: Arc<PoolStats>,
    /// Whether enough of its nodes are well.
    pub vital: Arc<PoolVital>,
    /// Its nodes, placed or draining.
    pub nodes: Vec<NodeView>,
}

/// What is known of one node at scrape time.
#[derive(Debug)]
pub struct NodeView {
    /// The node's name.
    pub name: String,
    /// `active` or `draining`.
    pub state: &'static str,
    /// What it weighs; 0 when it is not placed.
    pub weight: u64,
    /// Share of the keys it owns, 0 to 1.
    pub ownership_ratio: f64,
    /// The node's own counters.
    pub stats: Arc<NodeStats>,
    /// Whether it is well.
    pub vital: Arc<NodeVital>,
}

/// The registry of the process.
pub struct Metrics {
    registry: Registry,
    shared: Arc<Shared>,
}

/// What the collector reads at scrape.
pub(crate) struct Shared {
    pub(crate) pools: ArcSwap<Vec<PoolView>>,
    pub(crate) server: Arc<ServerStats>,
}

impl Metrics {
    /// Registers every metric. Panics of the process count from now on.
    pub fn new(server: Arc<ServerStats>) -> Metrics {
        panics::watch();
        let shared = Arc::new(Shared { pools: ArcSwap::default(), server });
        let registry = Registry::new();
        registry
            .register(Box::new(collector::Collector::new(Arc::clone(&shared))))
            .expect("the only collector cannot collide with another");
        Metrics { registry, shared }
    }

    /// Replaces what is known of the pools.
    pub fn publish(&self, pools: Vec<PoolView>) {
        self.shared.pools.store(Arc::new(pools));
    }

    /// Counters that belong to no pool.
    pub fn server(&self) -> &Arc<ServerStats> {
        &self.shared.server
    }

    /// All metrics in the Prometheus text format 0.0.4, with its content type.
    pub fn render(&self) -> (String, &'static str) {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        (String::from_utf8_lossy(&text).into_owned(), prometheus::TEXT_FORMAT)
    }
}
