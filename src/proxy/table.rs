//! The snapshot a request reads: pools, placements and the handles of their nodes.

use crate::cluster::membership::Membership;
use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::metrics::load::NodeLoad;
use crate::metrics::load::PoolLoad;
use crate::metrics::load::Refused;
use crate::metrics::stats::NodeStats;
use crate::metrics::stats::PoolStats;
use crate::metrics::vital::NodeVital;
use crate::metrics::vital::PoolVital;
use crate::placement::Fingerprint;
use crate::placement::PlacedNode;
use crate::placement::Placement;
use crate::placement::ratio;
use crate::proxy::leaving::Leaving;
use crate::proxy::node_gate::NodeGate;
use crate::proxy::resolved::Resolved;
use crate::proxy::settings::PoolSettings;
use crate::proxy::settings::ServerSettings;
use crate::routing::pool_match::PoolMatch;
use crate::routing::pool_match::PoolMatcher;
use crate::tls::node::NodeTls;
use crate::tls::server::ServerTls;
use arc_swap::ArcSwapOption;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Everything a request needs to know, immutable. `control` builds the next one and swaps it in.
#[derive(Debug)]
pub struct RoutingTable {
    /// Limits and trusted proxies of the moment.
    pub server: Arc<ServerSettings>,
    /// The certificates of listeners with TLS.
    pub tls: Option<Arc<ServerTls>>,
    pools: Vec<Arc<PoolTable>>,
    matcher: PoolMatcher,
}

impl RoutingTable {
    /// A table of `pools`, in the order of the config.
    pub fn new(server: Arc<ServerSettings>, tls: Option<Arc<ServerTls>>, pools: Vec<Arc<PoolTable>>) -> RoutingTable {
        let rules: Vec<PoolMatch> = pools.iter().map(|pool| pool.settings.matches.clone()).collect();
        RoutingTable { server, tls, pools, matcher: PoolMatcher::new(&rules) }
    }

    /// The same but for its pools.
    pub fn with(&self, pools: Vec<Arc<PoolTable>>) -> RoutingTable {
        RoutingTable::new(Arc::clone(&self.server), self.tls.clone(), pools)
    }

    /// The pools in the order of the config.
    pub fn pools(&self) -> &[Arc<PoolTable>] {
        &self.pools
    }

    /// The pool called `name`.
    pub fn pool(&self, name: &str) -> Option<&Arc<PoolTable>> {
        self.pools.iter().find(|pool| pool.settings.name == name)
    }

    /// Index of the pool that a request to `host` (normalised) and `path` belongs to.
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        self.matcher.find(host, path)
    }
}

/// One pool as requests and operators see it at one epoch.
#[derive(Debug)]
pub struct PoolTable {
    /// What the pool does with its requests.
    pub settings: Arc<PoolSettings>,
    /// The last event applied.
    pub epoch: u64,
    /// Who the nodes are.
    pub membership: Membership,
    /// Where keys belong.
    pub placement: Arc<Placement>,
    /// Digest of the placement and the key rule.
    pub fingerprint: Fingerprint,
    /// Digest of the node addresses.
    pub routes: Fingerprint,
    /// Counters that outlive tables.
    pub stats: Arc<PoolStats>,
    /// How the pool as a whole is doing; outlives tables too.
    pub vital: Arc<PoolVital>,
    /// The requests of the pool, where it bounds its load; outlives tables too.
    pub load: Arc<PoolLoad>,
    /// Share of keys the change to this epoch moved, 0 to 1.
    pub moved_ratio: f64,
    /// How nodes are spoken to, if in TLS.
    pub tls: Option<Arc<NodeTls>>,
    /// Handles of the placed nodes, by their index in the placement.
    placed: Vec<Arc<Upstream>>,
    /// Handles of all nodes by name, draining ones included.
    upstreams: BTreeMap<String, Arc<Upstream>>,
    /// How many positions each placed node owns, by its index in the placement.
    shares: Vec<u128>,
    /// Running sums of the placed nodes' weights, to draw a node by weight.
    weight_sums: Vec<u64>,
}

/// What a pool table is made of.
#[derive(Debug)]
pub struct PoolParts {
    /// What the pool does with its requests.
    pub settings: Arc<PoolSettings>,
    /// The last event applied.
    pub epoch: u64,
    /// The nodes at that epoch.
    pub membership: Membership,
    /// Their placement, built.
    pub placement: Arc<Placement>,
    /// Exact ownership under that placement.
    pub shares: Vec<u128>,
    /// Digest of the placement and of the key rule of the settings.
    pub fingerprint: Fingerprint,
    /// Share of keys that moved since the epoch before.
    pub moved_ratio: f64,
    /// Which addresses may be connected to.
    pub gate: Arc<NodeGate>,
    /// How nodes are spoken to, if in TLS.
    pub tls: Option<Arc<NodeTls>>,
}

impl PoolTable {
    /// Builds the table of one pool, keeping from `previous` the handles of nodes whose address did not change, so that
    /// their connections stay open, and the counters of all nodes that stay. `workers` sizes new counters.
    pub fn next(parts: PoolParts, previous: Option<&PoolTable>, workers: usize) -> PoolTable {
        let placement = parts.placement;
        let load = previous.map_or_else(Arc::default, |pool| Arc::clone(&pool.load));
        let handles = Handles { previous, load: &load, gate: &parts.gate, tls: &parts.tls, workers };
        let upstreams = handles.of(&parts.membership);
        let placed = placement.nodes().iter().map(|node| Arc::clone(&upstreams[&node.name])).collect();
        let mut total = 0;
        let weight_sums = placement.nodes().iter().map(|node| {
            total += u64::from(node.weight);
            total
        });
        PoolTable {
            epoch: parts.epoch,
            fingerprint: parts.fingerprint,
            routes: parts.membership.routes(),
            stats: previous.map_or_else(|| Arc::new(PoolStats::new(workers)), |pool| Arc::clone(&pool.stats)),
            vital: previous.map_or_else(Arc::default, |pool| Arc::clone(&pool.vital)),
            load,
            moved_ratio: parts.moved_ratio,
            tls: parts.tls,
            weight_sums: weight_sums.collect(),
            placed,
            upstreams,
            settings: parts.settings,
            membership: parts.membership,
            placement,
            shares: parts.shares,
        }
    }

    /// The handle of the placed node with this placement index.
    pub fn placed(&self, index: usize) -> &Arc<Upstream> {
        &self.placed[index]
    }

    /// How many requests the placed node with this placement index may have, one more included, before others come
    /// first (`load-bound`). `None` without such a bound.
    pub fn cap(&self, index: usize) -> Option<u64> {
        let bound = self.settings.load.bound?;
        Some(bound.cap(self.load.in_flight(), self.weight(index), self.usable_weight()))
    }

    /// How many requests each placed node may have at the load of this moment, by `load-bound` and `max-inflight`, by
    /// name. Nobody is in it where any number may be.
    pub fn caps(&self) -> HashMap<&str, u64> {
        let (in_flight, usable_weight) = (self.load.in_flight(), self.usable_weight());
        let cap = |node: &PlacedNode| self.settings.load.cap(in_flight, node.weight.into(), usable_weight);
        self.placement.nodes().iter().filter_map(|node| Some((node.name.as_str(), cap(node)?))).collect()
    }

    /// What the nodes that requests are sent to weigh in all.
    fn usable_weight(&self) -> u64 {
        self.vital.usable_weight_of(self.weight_sums.last().copied().unwrap_or_default())
    }

    /// The weight of the placed node with this placement index.
    pub fn weight(&self, index: usize) -> u64 {
        u64::from(self.placement.nodes()[index].weight)
    }

    /// The handles of all nodes, draining ones included, by name.
    pub fn upstreams(&self) -> &BTreeMap<String, Arc<Upstream>> {
        &self.upstreams
    }

    /// Share of the keys that each placed node owns, 0 to 1, by name. Draining nodes are absent.
    pub fn shares(&self) -> HashMap<&str, f64> {
        let names = self.placement.nodes().iter().map(|node| node.name.as_str());
        names.zip(self.shares.iter().map(|positions| ratio(*positions))).collect()
    }

    /// How many positions each placed node owns, by its index in the placement.
    pub fn exact_shares(&self) -> &[u128] {
        &self.shares
    }

    /// The largest share of a node over what its weight entitles it to; 1 is perfect, 0 without nodes.
    pub fn imbalance_ratio(&self) -> f64 {
        let total = self.weight_sums.last().copied().unwrap_or_default() as f64;
        let ratios = self.placement.nodes().iter().zip(&self.shares);
        ratios.map(|(node, share)| ratio(*share) * total / f64::from(node.weight)).fold(0.0, f64::max)
    }

    /// A placed node drawn by weight; `random` is uniform over all of `u64`. `None` without nodes.
    pub fn draw(&self, random: u64) -> Option<usize> {
        let total = *self.weight_sums.last()?;
        // Multiply-shift maps the random number onto 0..total without the bias of a remainder.
        let ticket = (u128::from(random) * u128::from(total)) >> 64;
        Some(self.weight_sums.partition_point(|sum| u128::from(*sum) <= ticket))
    }
}

/// What the handles of a pool's nodes are made from.
struct Handles<'a> {
    previous: Option<&'a PoolTable>,
    load: &'a Arc<PoolLoad>,
    gate: &'a Arc<NodeGate>,
    tls: &'a Option<Arc<NodeTls>>,
    workers: usize,
}

impl Handles<'_> {
    /// The handles for `membership`: kept where name and address are as before.
    fn of(&self, membership: &Membership) -> BTreeMap<String, Arc<Upstream>> {
        let known = |name: &str| self.previous.and_then(|pool| pool.upstreams.get(name));
        let handles = membership.nodes().iter().map(|node| {
            let load = || NodeLoad::new(Arc::clone(self.load));
            let new = |stats| Arc::new(Upstream::new(node, stats, load(), Arc::clone(self.gate), self.tls.clone()));
            let handle = match known(node.name.as_str()) {
                Some(known) if known.address == node.address => Arc::clone(known),
                Some(known) => new(Arc::clone(&known.stats)),
                None => new(Arc::new(NodeStats::new(self.workers))),
            };
            (node.name.as_str().to_owned(), handle)
        });
        handles.collect()
    }
}

/// One node at one address: the identity that connections are kept under.
#[derive(Debug)]
pub struct Upstream {
    /// Unique in the process; a changed address is a new id, so old connections are never used for it.
    pub id: u64,
    /// The node's name.
    pub name: String,
    /// Where it listens.
    pub address: NodeAddress,
    /// Where that leads, if it is a host name.
    pub resolved: Resolved,
    /// Whether it is on its way out: drained, removed, or replaced by another address.
    pub leaving: Leaving,
    /// The node's counters, kept when its address changes.
    pub stats: Arc<NodeStats>,
    /// Whether the node is well, at this address.
    pub vital: Arc<NodeVital>,
    /// What the node has to do, at this address.
    pub load: NodeLoad,
    /// Who had to do without a connection to it.
    pub refused: Refused,
    /// Which addresses may be connected to.
    pub gate: Arc<NodeGate>,
    tls: ArcSwapOption<NodeTls>,
    retired: AtomicBool,
}

impl Upstream {
    fn new(
        node: &Node,
        stats: Arc<NodeStats>,
        load: NodeLoad,
        gate: Arc<NodeGate>,
        tls: Option<Arc<NodeTls>>,
    ) -> Upstream {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Upstream {
            id: NEXT_ID.fetch_add(1, Relaxed),
            name: node.name.as_str().to_owned(),
            address: node.address.clone(),
            resolved: Resolved::default(),
            leaving: Leaving::default(),
            stats,
            vital: Arc::default(),
            load,
            refused: Refused::default(),
            gate,
            tls: ArcSwapOption::new(tls),
            retired: AtomicBool::new(false),
        }
    }

    /// How the node is spoken to at the moment, if in TLS; to be asked after the generation of its address.
    pub fn tls(&self) -> Option<Arc<NodeTls>> {
        self.tls.load_full()
    }

    /// From now on the node is spoken to in this way; connections of another are not used again.
    pub fn speak(&self, tls: Option<&Arc<NodeTls>>) {
        if self.tls.load().as_ref().map(Arc::as_ptr) != tls.map(Arc::as_ptr) {
            self.tls.store(tls.cloned());
            self.resolved.renew();
        }
    }

    /// Marks a handle that no table refers to any more: workers drop its idle connections.
    pub fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// Whether the node left, or left this address.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }
}
