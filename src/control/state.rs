//! What the control thread owns: the store, the histories, and the tables it has published.

use crate::cluster::log::History;
use crate::control::ControlError;
use crate::control::PoolRecord;
use crate::control::Shared;
use crate::control::batch::Batch;
use crate::control::batch::Decided;
use crate::control::batch::Draft;
use crate::control::settings::PoolConfig;
use crate::control::write::Write;
use crate::control::write::WriteError;
use crate::control::write::Written;
use crate::metrics::Metrics;
use crate::metrics::NodeView;
use crate::metrics::PoolView;
use crate::placement::plan;
use crate::proxy::settings::PoolSettings;
use crate::proxy::settings::ServerSettings;
use crate::proxy::table::PoolParts;
use crate::proxy::table::PoolTable;
use crate::proxy::table::RoutingTable;
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;
use tokio::sync::oneshot;

/// The control thread's own state.
pub(crate) struct State {
    store: Store,
    /// Histories of pools that the store knows and the config does not: kept, in case they come back.
    orphans: BTreeMap<String, History>,
    workers: usize,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    /// Replaced tables that a worker may still hold: they are freed here, never by a worker.
    retired: Vec<Arc<RoutingTable>>,
}

/// A write and whom to answer.
type Pending = (Write, oneshot::Sender<Result<Written, WriteError>>);

impl State {
    /// Nothing published yet.
    pub(crate) fn new(
        store: Store,
        histories: Vec<History>,
        workers: usize,
        metrics: Arc<Metrics>,
        shared: Arc<Shared>,
    ) -> State {
        let orphans = histories.into_iter().map(|history| (history.pool().to_owned(), history)).collect();
        State { store, orphans, workers, metrics, shared, retired: Vec::new() }
    }

    /// Brings every pool to what the file and the store say, all of them or none; returns warnings.
    pub(crate) fn configure(
        &mut self,
        server: ServerSettings,
        pools: Vec<PoolConfig>,
    ) -> Result<Vec<String>, ControlError> {
        let served = self.shared.tables.load_full();
        let at_ms = now_ms();
        let (mut events, mut tables, mut records) = (Vec::new(), Vec::new(), BTreeMap::new());
        for pool in pools {
            let name = pool.settings.name.clone();
            let followed = pool.follow(self.known_history(&name), at_ms);
            let (history, event) = followed.map_err(|why| ControlError::Pool { pool: name.clone(), why })?;
            events.extend(event);
            let drift = drift(&pool, &history);
            let table = self.pool_table(pool.settings, &history, served.pool(&name).map(|pool| &**pool))?;
            tables.push(Arc::new(table));
            records.insert(name, PoolRecord { owner: pool.source.owner, history, drift });
        }
        self.store.append(&events).map_err(|error| ControlError::Store(Arc::new(error)))?;
        self.adopt(&mut records);
        let warnings = records.values().filter_map(|record| record.drift.clone()).collect();
        *self.shared.pools.write().unwrap_or_else(PoisonError::into_inner) = records;
        self.publish(RoutingTable::new(Arc::new(server), tables));
        Ok(warnings)
    }

    /// As [`State::configure`], after reopening a store that had refused writes.
    pub(crate) fn reload(
        &mut self,
        server: ServerSettings,
        pools: Vec<PoolConfig>,
    ) -> Result<Vec<String>, ControlError> {
        self.store.reopen().map_err(|error| ControlError::Store(Arc::new(error)))?;
        self.configure(server, pools)
    }

    /// Decides, stores, publishes and answers writes that waited together.
    pub(crate) fn write(&mut self, writes: Vec<Pending>) {
        let served = self.shared.tables.load_full();
        let at_ms = now_ms();
        let mut batch = Batch::default();
        let mut accepted = Vec::new();
        let records = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
        for (write, reply) in writes {
            let pool = write.pool.clone();
            let table = served.pool(&pool).map(|pool| &**pool);
            match batch.decide(write, table, records.get(&pool), at_ms) {
                Ok(decided) => accepted.push((pool, decided, reply)),
                // Nobody waits for the answer any more when this fails; so for all replies here.
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        drop(records);
        let stored = if batch.events.is_empty() { Ok(()) } else { self.store.append(&batch.events) };
        match stored {
            Ok(()) => {
                let table = self.fold_and_publish(batch, &served);
                accepted.into_iter().for_each(|accepted| answer(accepted, &table));
            }
            Err(error) => {
                tracing::error!(%error, "the store refused a write");
                let error = Arc::new(error);
                let refuse = |reply: oneshot::Sender<_>| drop(reply.send(Err(WriteError::Store(Arc::clone(&error)))));
                accepted.into_iter().for_each(|(_, _, reply)| refuse(reply));
            }
        }
    }

    /// The table after a stored batch; the same one when nothing changed.
    fn fold_and_publish(&mut self, batch: Batch, served: &Arc<RoutingTable>) -> Arc<RoutingTable> {
        if batch.events.is_empty() {
            return Arc::clone(served);
        }
        let mut drafts = batch.drafts;
        let next = |pool: &Arc<PoolTable>| match drafts.remove(&pool.settings.name) {
            Some(draft) if draft.epoch != pool.epoch => Arc::new(self.next_table(pool, draft)),
            _ => Arc::clone(pool),
        };
        let pools = served.pools().iter().map(next).collect();
        {
            let mut records = self.shared.pools.write().unwrap_or_else(PoisonError::into_inner);
            for event in batch.events {
                let Some(record) = records.get_mut(&event.pool) else {
                    continue;
                };
                if let Err(why) = record.history.push(event) {
                    tracing::error!(%why, "a stored event does not fold into its own history");
                }
            }
            let mut histories: Vec<&mut History> = records.values_mut().map(|record| &mut record.history).collect();
            if let Err(error) = self.store.compact_if_due(&mut histories) {
                tracing::warn!(%error, "the store could not be compacted; it goes on growing until it can");
            }
        }
        self.publish(RoutingTable::new(Arc::clone(&served.server), pools))
    }

    fn next_table(&self, pool: &PoolTable, draft: Draft) -> PoolTable {
        let parts = PoolParts {
            settings: Arc::clone(&pool.settings),
            epoch: draft.epoch,
            membership: draft.membership,
            placement: draft.placement,
            moved_ratio: draft.moved_ratio,
        };
        PoolTable::next(parts, Some(pool), self.workers)
    }

    fn pool_table(
        &self,
        settings: PoolSettings,
        history: &History,
        served: Option<&PoolTable>,
    ) -> Result<PoolTable, ControlError> {
        let pool = settings.name.clone();
        let membership = history.membership().clone();
        let built = membership.build();
        let placement = Arc::new(built.map_err(|error| ControlError::Pool { pool, why: error.to_string() })?);
        let moved_ratio = served.map_or(0.0, |served| match served.epoch == history.epoch() {
            true => served.moved_ratio,
            false => plan::movement(&served.placement, &placement).moved_ratio,
        });
        let (settings, epoch) = (Arc::new(settings), history.epoch());
        Ok(PoolTable::next(PoolParts { settings, epoch, membership, placement, moved_ratio }, served, self.workers))
    }

    fn known_history(&self, pool: &str) -> Option<History> {
        let records = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
        records.get(pool).map(|record| &record.history).or_else(|| self.orphans.get(pool)).cloned()
    }

    /// Keeps the histories of pools that left the config, and forgets those of pools that came back.
    fn adopt(&mut self, records: &mut BTreeMap<String, PoolRecord>) {
        let known = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
        for (name, record) in known.iter().filter(|(name, _)| !records.contains_key(*name)) {
            self.orphans.insert(name.clone(), record.history.clone());
        }
        self.orphans.retain(|name, _| !records.contains_key(name));
    }

    /// Swaps a table in, tells the metrics, and retires the node handles that it no longer names.
    fn publish(&mut self, table: RoutingTable) -> Arc<RoutingTable> {
        let table = Arc::new(table);
        let before = self.shared.tables.swap(Arc::clone(&table));
        for pool in before.pools() {
            let next = table.pool(&pool.settings.name);
            for (name, upstream) in pool.upstreams() {
                let kept = next.and_then(|next| next.upstreams().get(name));
                if kept.is_none_or(|kept| kept.id != upstream.id) {
                    upstream.retire();
                }
            }
        }
        self.metrics.publish(table.pools().iter().map(|pool| view(pool)).collect());
        self.retired.push(before);
        self.retired.retain(|table| Arc::strong_count(table) > 1);
        table
    }
}

/// What is wrong between the file and the store, for people.
fn drift(pool: &PoolConfig, history: &History) -> Option<String> {
    (!pool.drift(history).is_empty()).then(|| {
        format!(
            "pool {}: `initial-nodes` and `placement` in the file differ from the store at epoch {}; the store counts \
             (`ringway status` shows it, the admin API changes it)",
            pool.settings.name,
            history.epoch()
        )
    })
}

fn answer(accepted: (String, Decided, oneshot::Sender<Result<Written, WriteError>>), table: &RoutingTable) {
    let (name, Decided { epoch, changed }, reply) = accepted;
    let pool = table.pool(&name).cloned().ok_or(WriteError::UnknownPool { pool: name });
    drop(reply.send(pool.map(|pool| Written { epoch, changed, pool })));
}

/// A pool as the metrics show it.
fn view(pool: &PoolTable) -> PoolView {
    let shares = pool.shares();
    let nodes = pool.membership.nodes().iter().map(|node| {
        let name = node.name.as_str();
        NodeView {
            name: name.to_owned(),
            state: node.state(),
            ownership_ratio: shares.get(name).copied().unwrap_or_default(),
            stats: Arc::clone(&pool.upstreams()[name].stats),
        }
    });
    PoolView {
        name: pool.settings.name.clone(),
        epoch: pool.epoch,
        fingerprint: pool.fingerprint.to_string(),
        moved_ratio: pool.moved_ratio,
        imbalance_ratio: pool.imbalance_ratio(),
        stats: Arc::clone(&pool.stats),
        nodes: nodes.collect(),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
