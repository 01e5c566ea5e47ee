//! The health thread: checks nodes, hears what live requests learn of them, and is the only one to set their marks. It
//! also resolves the names of nodes.

use crate::cluster::health::Change;
use crate::cluster::health::Flip;
use crate::cluster::health::Mark;
use crate::cluster::health::Note;
use crate::cluster::health::PoolHealth;
use crate::cluster::health::Subject;
use crate::cluster::health::settings::Check;
use crate::control::news::News;
use crate::control::news::Teller;
use crate::control::now_ms;
use crate::control::probe;
use crate::control::probe::Outcome;
use crate::control::resolve::Resolver;
use crate::proxy::health_report::HealthReport;
use crate::proxy::settings::PoolSettings;
use crate::proxy::table::PoolTable;
use crate::proxy::table::RoutingTable;
use crate::proxy::table::Upstream;
use arc_swap::ArcSwap;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::runtime::LocalOptions;
use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often the counters of live requests are looked at for the share that failed.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Checks that may be under way at once, of all pools; more wait.
const CONCURRENT_CHECKS: usize = 256;

/// A node that was ill in the process before this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IllNode {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub node: String,
    /// Where it listens: at another address it is well until shown otherwise.
    pub address: String,
}

/// The nodes of a table that are ill at the moment.
pub(super) fn ill_nodes(table: &RoutingTable) -> Vec<IllNode> {
    let nodes = table.pools().iter().flat_map(|pool| pool.upstreams().values().map(move |node| (pool, node)));
    let ill = nodes.filter(|(_, node)| node.vital.mark() != Mark::Well).map(|(pool, node)| IllNode {
        pool: pool.settings.name.clone(),
        node: node.name.clone(),
        address: node.address.to_string(),
    });
    ill.collect()
}

/// Starts the thread; nodes that `were_ill` are skipped before this returns. It ends when all senders of `reports` are
/// gone. After a panic it begins anew, with the marks that it had set.
///
/// # Errors
/// When the operating system refuses a thread or its runtime.
pub(super) fn start(
    tables: Arc<ArcSwap<RoutingTable>>,
    changed: Arc<Notify>,
    teller: Teller,
    mut reports: mpsc::Receiver<HealthReport>,
    mut were_ill: Vec<IllNode>,
) -> io::Result<()> {
    let (started, failure) = std::sync::mpsc::channel();
    thread::Builder::new().name("health".into()).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return started.send(error).unwrap_or_default(),
        };
        let mut started = Some(started);
        let mut watch = |were_ill: &[IllNode]| {
            let mut health = Health::new(Arc::clone(&tables), Arc::clone(&changed), teller.clone());
            runtime.block_on(async {
                health.follow();
                health.inherit(were_ill);
                drop(started.take());
                health.run(&mut reports).await;
            });
        };
        // Counted and logged already.
        while catch_unwind(AssertUnwindSafe(|| watch(&were_ill))).is_err() {
            thread::sleep(BEGIN_ANEW_AFTER);
            were_ill = ill_nodes(&tables.load());
        }
    })?;
    // Without an error, its sender is dropped.
    failure.recv().map_or(Ok(()), Err)
}

/// How long after a panic the thread begins anew: one that happens every time takes no CPU from the workers.
const BEGIN_ANEW_AFTER: Duration = Duration::from_secs(1);

/// A node that is followed.
struct Followed {
    pool: String,
    upstream: Arc<Upstream>,
    /// Whether a check of it is under way or waits for its time.
    is_checked: bool,
}

/// What a check came to, and what was asked: the pool may have other checks by now.
struct Checked {
    node: u64,
    check: Check,
    outcome: Outcome,
}

/// A pool as far as its health goes.
struct FollowedPool {
    table: Arc<PoolTable>,
    health: PoolHealth,
}

struct Health {
    tables: Arc<ArcSwap<RoutingTable>>,
    changed: Arc<Notify>,
    teller: Teller,
    started: Instant,
    pools: BTreeMap<String, FollowedPool>,
    nodes: BTreeMap<u64, Followed>,
    checks: JoinSet<Checked>,
    slots: Arc<Semaphore>,
    resolver: Resolver,
    random: fastrand::Rng,
}

impl Health {
    fn new(tables: Arc<ArcSwap<RoutingTable>>, changed: Arc<Notify>, teller: Teller) -> Health {
        Health {
            tables,
            changed,
            teller,
            started: Instant::now(),
            pools: BTreeMap::new(),
            nodes: BTreeMap::new(),
            checks: JoinSet::new(),
            slots: Arc::new(Semaphore::new(CONCURRENT_CHECKS)),
            resolver: Resolver::new(),
            random: fastrand::Rng::new(),
        }
    }

    async fn run(mut self, reports: &mut mpsc::Receiver<HealthReport>) {
        let changed = Arc::clone(&self.changed);
        let mut samples = tokio::time::interval(SAMPLE_EVERY);
        loop {
            let next_tick = self.next_tick();
            tokio::select! {
                report = reports.recv() => match report {
                    Some(HealthReport { node, note }) => self.note(node, note),
                    None => return,
                },
                Some(checked) = self.checks.join_next() => match checked {
                    Ok(checked) => self.checked(&checked),
                    // The thread begins anew, so that the node is checked again.
                    Err(error) => if let Ok(panic) = error.try_into_panic() { resume_unwind(panic) },
                },
                () = changed.notified() => self.follow(),
                () = until(next_tick) => self.tick(),
                _ = samples.tick() => self.sample(),
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes over the pools and nodes of the table of the moment.
    fn follow(&mut self) {
        let (table, now) = (self.tables.load_full(), self.now());
        self.resolver.follow(&table);
        let mut before = std::mem::take(&mut self.nodes);
        let mut pools = std::mem::take(&mut self.pools);
        for pool in table.pools() {
            let name = &pool.settings.name;
            let mut followed = match pools.remove(name) {
                Some(followed) => FollowedPool { table: Arc::clone(pool), ..followed },
                None => FollowedPool { table: Arc::clone(pool), health: new_health(&pool.settings) },
            };
            let settings = &pool.settings;
            followed.health.follow(now, &subjects(pool));
            let changes = followed.health.set(now, settings.health.clone(), settings.ejection.clone());
            for upstream in pool.upstreams().values() {
                let known = before.remove(&upstream.id);
                if known.is_none() {
                    upstream.vital.sample(&upstream.stats);
                }
                let is_checked = known.is_some_and(|node| node.is_checked);
                let node = Followed { pool: name.clone(), upstream: Arc::clone(upstream), is_checked };
                self.nodes.insert(upstream.id, node);
            }
            self.pools.insert(name.clone(), followed);
            self.apply(name, changes);
        }
        let unchecked = self.nodes.iter().filter(|(_, node)| !node.is_checked).map(|(id, _)| *id);
        for id in unchecked.collect::<Vec<_>>() {
            // At the start all nodes would be checked in the same moment.
            let wait = Duration::from_millis(self.random.u64(..FIRST_CHECKS_MS));
            self.check_after(id, wait);
        }
    }

    /// Takes nodes for ill that another process found so.
    fn inherit(&mut self, were_ill: &[IllNode]) {
        let is_ill = |node: &Followed| {
            let upstream = &node.upstream;
            were_ill.iter().any(|ill| {
                (&ill.pool, &ill.node) == (&node.pool, &upstream.name) && ill.address == upstream.address.to_string()
            })
        };
        let ids: Vec<u64> = self.nodes.iter().filter(|(_, node)| is_ill(node)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.note(id, Note::WasIll));
    }

    /// Plans the next check of a node, if its pool has checks.
    fn check_after(&mut self, id: u64, wait: Duration) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let settings = &self.pools[&node.pool].table.settings.health;
        node.is_checked = settings.check.is_some();
        let Some(check) = settings.check.clone() else { return };
        let protocol = self.pools[&node.pool].table.settings.protocol;
        let (upstream, timeout, slots) = (Arc::clone(&node.upstream), settings.timeout, Arc::clone(&self.slots));
        self.checks.spawn_local(async move {
            tokio::time::sleep(wait).await;
            // The semaphore is never closed; without a slot the check would only come too early.
            let _slot = slots.acquire().await;
            let outcome = probe::probe(&upstream, &check, protocol, timeout).await;
            Checked { node: id, check, outcome }
        });
    }

    fn checked(&mut self, checked: &Checked) {
        let id = checked.node;
        let Some(node) = self.nodes.get(&id) else { return };
        if self.pools[&node.pool].table.settings.health.check.as_ref() != Some(&checked.check) {
            return self.check_after(id, Duration::ZERO);
        }
        match checked.outcome {
            Some(Ok(())) => self.note(id, Note::CheckPassed),
            Some(Err(failure)) => self.note(id, Note::CheckFailed(failure)),
            None => tracing::debug!("a health check could not be made, by no fault of its node"),
        }
        let Some(node) = self.nodes.get(&id) else { return };
        let pool = &self.pools[&node.pool];
        let wait = pool.health.next_check_after(id);
        let jitter = f64::from(pool.table.settings.health.jitter_percent) / 100.0;
        let wait = wait.mul_f64(1.0 + jitter * (2.0 * self.random.f64() - 1.0));
        self.check_after(id, wait);
    }

    fn note(&mut self, id: u64, note: Note) {
        let now = self.now();
        let Some(node) = self.nodes.get(&id) else { return };
        let name = node.pool.clone();
        let change = self.pools.get_mut(&name).and_then(|pool| pool.health.note(now, id, note));
        self.apply(&name, change.into_iter().collect());
    }

    fn next_tick(&self) -> Option<Instant> {
        let next = self.pools.values().filter_map(|pool| pool.health.next_tick()).min()?;
        Some(self.started + next)
    }

    fn tick(&mut self) {
        let now = self.now();
        for name in self.pools.keys().cloned().collect::<Vec<_>>() {
            let changes = self.pools.get_mut(&name).map(|pool| pool.health.tick(now)).unwrap_or_default();
            self.apply(&name, changes);
        }
    }

    fn sample(&mut self) {
        let now = self.now();
        self.pools.values().for_each(|pool| pool.table.vital.sample(&pool.table.stats));
        let mut changes = Vec::new();
        for (id, node) in &self.nodes {
            let stats = &node.upstream.stats;
            node.upstream.vital.sample(stats);
            let failures = stats.sum(|stripe| &stripe.failures);
            let requests = failures + stats.sum(|stripe| &stripe.successes);
            let pool = self.pools.get_mut(&node.pool);
            if let Some(change) = pool.and_then(|pool| pool.health.sample(now, *id, requests, failures)) {
                changes.push((node.pool.clone(), change));
            }
        }
        changes.into_iter().for_each(|(pool, change)| self.apply(&pool, vec![change]));
    }

    /// Sets the marks that changed, and tells of nodes that went from well to ill or back.
    fn apply(&self, pool: &str, changes: Vec<Change>) {
        let Some(followed) = self.pools.get(pool) else { return };
        for Change { id, mark, flip } in changes {
            let Some(node) = self.nodes.get(&id) else { continue };
            let cause = followed.health.state(id).and_then(|(_, cause)| cause);
            node.upstream.vital.set(mark, cause);
            if let Some(flip) = flip {
                self.flipped(pool, &node.upstream, flip);
            }
        }
        let (well, all) = (followed.health.well_weight(), followed.health.weight());
        let is_panicking = followed.health.is_panicking();
        followed.table.vital.set_usable_weight(if is_panicking { all } else { well });
        if followed.table.vital.set_panicking(is_panicking) {
            let at_ms = now_ms();
            self.teller.tell(|| News::Panic { pool: pool.to_owned(), on: is_panicking, at_ms });
            match is_panicking {
                true => tracing::warn!(pool, well, all, "too few nodes are well: requests are sent to all"),
                false => tracing::info!(pool, well, all, "enough nodes are well: ill ones are skipped again"),
            }
        }
    }

    /// Tells that a node went from well to ill or back.
    fn flipped(&self, pool: &str, upstream: &Upstream, flip: Flip) {
        let (name, at_ms) = (&upstream.name, now_ms());
        upstream.vital.flipped(at_ms, matches!(flip, Flip::Down(_)));
        let (pool_name, node) = (pool.to_owned(), name.clone());
        match flip {
            Flip::Down(cause) => {
                tracing::warn!(pool, node = %name, %cause, "node is down");
                let cause = cause.to_string();
                self.teller.tell(|| News::NodeDown { pool: pool_name, node, cause, at_ms });
            }
            Flip::Up(after) => {
                let after = Duration::from_millis(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                let after = humantime::format_duration(after);
                tracing::info!(pool, node = %name, %after, "node is up");
                let cause = format!("well after {after}");
                self.teller.tell(|| News::NodeUp { pool: pool_name, node, cause, at_ms });
            }
        }
    }
}

/// First checks are spread over so many milliseconds.
const FIRST_CHECKS_MS: u64 = 100;

fn new_health(settings: &PoolSettings) -> PoolHealth {
    PoolHealth::new(settings.health.clone(), settings.ejection.clone())
}

fn subjects(pool: &PoolTable) -> Vec<Subject> {
    let nodes = pool.membership.nodes().iter().map(|node| Subject {
        id: pool.upstreams()[node.name.as_str()].id,
        weight: if node.is_placed() { u64::from(node.weight) } else { 0 },
    });
    nodes.collect()
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}
