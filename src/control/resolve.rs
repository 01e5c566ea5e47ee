//! Resolves the host names of nodes, at once when they join and then on the period of their pool, off the data plane.
//!
//! A name that cannot be resolved changes nothing: the last good answer stays.

use crate::cluster::node::NodeAddress;
use crate::proxy::contain;
use crate::proxy::dial;
use crate::proxy::resolved::Answer;
use crate::proxy::table::RoutingTable;
use crate::proxy::table::Upstream;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Names that may be looked up at once, each by a thread that waits for the system; more wait.
const CONCURRENT_LOOKUPS: usize = 16;

/// How soon a name that has never been resolved is looked up again.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Periods are longer or shorter by up to this share, so that proxies do not ask in step.
const JITTER: f64 = 0.1;

/// Follows the routing table: one task for each node that is named by a host.
pub(super) struct Resolver {
    names: BTreeMap<u64, Followed>,
    slots: Arc<Semaphore>,
}

/// A name that is looked up again and again, until this is dropped.
struct Followed {
    every: Duration,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Resolver {
    /// Follows nothing yet.
    pub(super) fn new() -> Resolver {
        Resolver { names: BTreeMap::new(), slots: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)) }
    }

    /// Takes over the nodes of a table; must be called within a local runtime.
    pub(super) fn follow(&mut self, table: &RoutingTable) {
        let mut before = std::mem::take(&mut self.names);
        for pool in table.pools() {
            let every = pool.settings.resolve_every;
            for upstream in pool.upstreams().values() {
                let NodeAddress::Host { name, port } = &upstream.address else { continue };
                let known = before.remove(&upstream.id).filter(|known| known.every == every);
                let followed = known.unwrap_or_else(|| {
                    let node = Named {
                        pool: pool.settings.name.clone(),
                        name: name.clone(),
                        port: *port,
                        upstream: Arc::clone(upstream),
                        is_failing: false,
                    };
                    Followed { every, task: tokio::task::spawn_local(node.resolve(every, Arc::clone(&self.slots))) }
                });
                self.names.insert(upstream.id, followed);
            }
        }
    }
}

/// A node that is named by a host.
struct Named {
    pool: String,
    name: String,
    port: u16,
    upstream: Arc<Upstream>,
    /// Whether the last look-up failed, which is told once.
    is_failing: bool,
}

impl Named {
    async fn resolve(mut self, every: Duration, slots: Arc<Semaphore>) {
        loop {
            // The semaphore is never closed; without a slot the look-up would only come too early.
            let slot = slots.acquire().await;
            let found = dial::look_up(&self.name, self.port).await;
            drop(slot);
            // A panic over one answer does not end the look-ups.
            contain::survive(|| match found {
                Ok(addresses) => self.resolved(&addresses),
                Err(why) => self.failed(&why),
            });
            let is_known = self.upstream.resolved.addresses().is_some();
            let wait = if is_known { every } else { every.min(FIRST_RETRY) };
            tokio::time::sleep(wait.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))).await;
        }
    }

    fn resolved(&mut self, addresses: &[SocketAddr]) {
        let (pool, node, host) = (&self.pool, &self.upstream.name, &self.name);
        let answer = self.upstream.resolved.set(addresses);
        if answer != Answer::Same {
            let forbidden = addresses.iter().filter_map(|ip| self.upstream.gate.check(&NodeAddress::Ip(*ip)).err());
            forbidden.for_each(|why| tracing::warn!(pool, node, host, %why, "no request is sent to an address"));
        }
        match answer {
            Answer::Changed => tracing::info!(pool, node, host, ?addresses, "the name of a node leads elsewhere now"),
            Answer::First | Answer::Same if self.is_failing => {
                tracing::info!(pool, node, host, ?addresses, "the name of a node resolves again");
            }
            Answer::First => tracing::debug!(pool, node, host, ?addresses, "the name of a node is resolved"),
            Answer::Same => {}
        }
        self.is_failing = false;
    }

    fn failed(&mut self, why: &str) {
        self.upstream.vital.resolve_failed();
        if !std::mem::replace(&mut self.is_failing, true) {
            let kept = self.upstream.resolved.addresses();
            let (pool, node, host) = (&self.pool, &self.upstream.name, &self.name);
            tracing::warn!(pool, node, host, why, ?kept, "the name of a node does not resolve; the last answer stays");
        }
    }
}
