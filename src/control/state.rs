//! What the control thread owns: the store, the histories, and the tables it has published.

use crate::cluster::log::History;
use crate::cluster::networks::Networks;
use crate::cluster::refusal::Reason;
use crate::control::ControlError;
use crate::control::PoolRecord;
use crate::control::Shared;
use crate::control::batch::Batch;
use crate::control::batch::Decided;
use crate::control::batch::Draft;
use crate::control::lending::Custody;
use crate::control::news::News;
use crate::control::now_ms;
use crate::control::settings::PoolConfig;
use crate::control::write::Write;
use crate::control::write::WriteError;
use crate::control::write::Written;
use crate::metrics::Metrics;
use crate::metrics::NodeView;
use crate::metrics::PoolView;
use crate::placement::plan;
use crate::proxy::node_gate;
use crate::proxy::settings::PoolSettings;
use crate::proxy::settings::ServerSettings;
use crate::proxy::table::PoolParts;
use crate::proxy::table::PoolTable;
use crate::proxy::table::RoutingTable;
use crate::store::Store;
use crate::tls::node::NodeTls;
use crate::tls::server::ALPN_CLIENTS;
use crate::tls::server::ServerTls;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::thread;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The control thread's own state.
pub(crate) struct State {
    pub(super) store: Store,
    pub(super) custody: Custody,
    /// Histories of pools that the store knows and the config does not: kept, in case they come back.
    pub(super) orphans: BTreeMap<String, History>,
    workers: usize,
    metrics: Arc<Metrics>,
    pub(super) shared: Arc<Shared>,
    /// Replaced tables that a worker may still hold: they are freed here, never by a worker.
    retired: Vec<Arc<RoutingTable>>,
}

/// A write and whom to answer.
type Pending = (Write, Reply);

type Reply = oneshot::Sender<Result<Written, WriteError>>;

/// What a write came to, and whom to tell.
struct Answer {
    pool: String,
    decided: Result<Decided, WriteError>,
    reply: Reply,
}

impl Answer {
    /// Tells it, with the pool as `table` serves it.
    fn send(self, table: &RoutingTable) {
        let written = self.decided.and_then(|Decided { epoch, changed, moved_ratio }| {
            let pool = table.pool(&self.pool).cloned();
            let pool = pool.ok_or(WriteError::UnknownPool { pool: self.pool })?;
            Ok(Written { epoch, changed, moved_ratio, pool })
        });
        // Nobody waits for the answer any more when this fails.
        drop(self.reply.send(written));
    }
}

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
        State { store, custody: Custody::Held, orphans, workers, metrics, shared, retired: Vec::new() }
    }

    /// Brings every pool to what the file and the store say, all of them or none; returns warnings.
    pub(crate) fn configure(
        &mut self,
        server: ServerSettings,
        pools: Vec<PoolConfig>,
    ) -> Result<Vec<String>, ControlError> {
        let served = self.shared.tables.load_full();
        let rules = self.shared.gate.rules_of(server.node_networks.as_deref());
        pools.iter().try_for_each(|pool| check_addresses(&rules, pool))?;
        let tls = ServerTls::load(&server.tls.server, &ALPN_CLIENTS, served.tls.as_ref())?;
        let at_ms = now_ms();
        let (mut events, mut tables, mut records) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut warnings: Vec<String> = pools.iter().filter_map(|pool| pool.settings.warning()).collect();
        for pool in pools {
            let name = pool.settings.name.clone();
            let followed = pool.follow(self.known_history(&name), at_ms);
            let (history, event) = followed.map_err(|why| ControlError::Pool { pool: name.clone(), why })?;
            events.extend(event);
            let drift = drift(&pool, &history);
            let before = served.pool(&name).map(|pool| &**pool);
            let of_before = before.and_then(|pool| pool.tls.as_ref());
            let alpn = pool.settings.protocol.alpn();
            let tls = pool.settings.tls.as_ref().map(|tls| NodeTls::load(tls, alpn, of_before)).transpose()?;
            let table = self.pool_table(pool.settings, &history, before, tls)?;
            tables.push(Arc::new(table));
            records.insert(name, PoolRecord { owner: pool.source.owner, history, drift });
        }
        self.store.append(&events).map_err(|error| ControlError::Store(Arc::new(error)))?;
        self.adopt(&mut records);
        let drifts = records.values().filter_map(|record| record.drift.clone());
        warnings.extend(drifts.chain(records.values().flat_map(|record| unreachable(&rules, record))));
        self.shared.gate.set(rules);
        *self.shared.pools.write().unwrap_or_else(PoisonError::into_inner) = records;
        self.publish(RoutingTable::new(Arc::new(server), tls, tables));
        events.into_iter().for_each(|event| self.shared.teller.tell(|| News::Membership(event)));
        self.compact();
        Ok(warnings)
    }

    /// As [`State::configure`], after reopening a store that had refused writes.
    pub(crate) fn reload(
        &mut self,
        server: ServerSettings,
        pools: Vec<PoolConfig>,
    ) -> Result<Vec<String>, ControlError> {
        let held = self.hold().and_then(|()| self.store.reopen());
        held.map_err(|error| ControlError::Store(Arc::new(error)))?;
        self.configure(server, pools)
    }

    /// Decides, stores, publishes and answers writes that waited together.
    pub(crate) fn write(&mut self, writes: Vec<Pending>) {
        if let Err(error) = self.hold() {
            let error = Arc::new(error);
            // Nobody waits for an answer any more where this fails.
            return writes
                .into_iter()
                .for_each(|(_, reply)| drop(reply.send(Err(WriteError::Store(Arc::clone(&error))))));
        }
        let served = self.shared.tables.load_full();
        let (batch, waiting) = self.decide(writes, &served);
        if batch.events.is_empty() {
            return;
        }
        match self.store.append(&batch.events) {
            Ok(()) => {
                // Where no CPU is to spare, a worker that waits for one goes first: a change is not that urgent.
                thread::yield_now();
                let table = self.fold_and_publish(batch, &served);
                thread::yield_now();
                waiting.into_iter().for_each(|answer| answer.send(&table));
                self.compact();
            }
            Err(error) => {
                tracing::error!(%error, "the store refused a write");
                let error = Arc::new(error);
                let refused = || Err(WriteError::Store(Arc::clone(&error)));
                waiting.into_iter().for_each(|answer| Answer { decided: refused(), ..answer }.send(&served));
            }
        }
    }

    /// Decides writes in order. The answers that rest on the batch, refusals too, wait until it is stored; those that
    /// came before its first event are given at once.
    fn decide(&self, writes: Vec<Pending>, served: &RoutingTable) -> (Batch, Vec<Answer>) {
        let at_ms = now_ms();
        let (mut batch, mut waiting) = (Batch::new(Arc::clone(&self.shared.gate)), Vec::new());
        let records = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
        for (write, reply) in writes {
            let pool = write.pool.clone();
            let table = served.pool(&pool).map(|pool| &**pool);
            let decided = batch.decide(write, table, records.get(&pool), at_ms);
            let answer = Answer { pool, decided, reply };
            match batch.events.is_empty() {
                true => answer.send(served),
                false => waiting.push(answer),
            }
        }
        (batch, waiting)
    }

    /// The table after a stored batch.
    fn fold_and_publish(&mut self, batch: Batch, served: &RoutingTable) -> Arc<RoutingTable> {
        let mut drafts = batch.drafts;
        let next = |pool: &Arc<PoolTable>| match drafts.remove(&pool.settings.name) {
            Some(draft) if draft.epoch != pool.epoch => Arc::new(self.next_table(pool, draft)),
            _ => Arc::clone(pool),
        };
        let pools = served.pools().iter().map(next).collect();
        let events = batch.events.clone();
        let mut records = self.shared.pools.write().unwrap_or_else(PoisonError::into_inner);
        for event in batch.events {
            let Some(record) = records.get_mut(&event.pool) else {
                continue;
            };
            if let Err(why) = record.history.push(event) {
                tracing::error!(%why, "a stored event does not fold into its own history");
            }
        }
        drop(records);
        let table = self.publish(served.with(pools));
        events.into_iter().for_each(|event| self.shared.teller.tell(|| News::Membership(event)));
        table
    }

    /// Drops events beyond retention, in the store before the histories, so that nobody waits for the disk who only
    /// wants to read these.
    fn compact(&mut self) {
        let records = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
        let histories = records.values().map(|record| &record.history).chain(self.orphans.values());
        let longest = histories.map(|history| history.events().len()).max().unwrap_or_default();
        drop(records);
        match self.store.compact_if_due(longest) {
            Ok(None) => {}
            Ok(Some(keep)) => {
                let mut records = self.shared.pools.write().unwrap_or_else(PoisonError::into_inner);
                let known = records.values_mut().map(|record| &mut record.history);
                known.chain(self.orphans.values_mut()).for_each(|history| history.compact(keep));
            }
            Err(error) => tracing::warn!(%error, "the store could not be compacted; it goes on growing until it can"),
        }
    }

    fn next_table(&self, pool: &PoolTable, draft: Draft) -> PoolTable {
        let parts = PoolParts {
            settings: Arc::clone(&pool.settings),
            epoch: draft.epoch,
            membership: draft.membership,
            placement: draft.placement,
            shares: draft.shares,
            fingerprint: draft.fingerprint,
            moved_ratio: draft.moved_ratio,
            gate: Arc::clone(&self.shared.gate),
            tls: pool.tls.clone(),
        };
        PoolTable::next(parts, Some(pool), self.workers)
    }

    pub(super) fn pool_table(
        &self,
        settings: PoolSettings,
        history: &History,
        served: Option<&PoolTable>,
        tls: Option<Arc<NodeTls>>,
    ) -> Result<PoolTable, ControlError> {
        let pool = settings.name.clone();
        let membership = history.membership().clone();
        let built = match served {
            Some(served) => membership.rebuild(&served.placement),
            None => membership.build(),
        };
        let built = built.and_then(|built| built.seeded(settings.key.seed()));
        let placement = Arc::new(built.map_err(|error| ControlError::Pool { pool, why: error.to_string() })?);
        let moved_ratio = served.map_or(0.0, |served| {
            let is_same = served.epoch == history.epoch() && served.placement.seed() == placement.seed();
            if is_same { served.moved_ratio } else { plan::moved_ratio(&served.placement, &placement) }
        });
        let fingerprint = placement.fingerprint(&settings.key.describe());
        let (settings, epoch) = (Arc::new(settings), history.epoch());
        let (shares, gate) = (placement.shares(), Arc::clone(&self.shared.gate));
        let parts = PoolParts { settings, epoch, membership, placement, shares, fingerprint, moved_ratio, gate, tls };
        Ok(PoolTable::next(parts, served, self.workers))
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
    pub(super) fn publish(&mut self, table: RoutingTable) -> Arc<RoutingTable> {
        let table = Arc::new(table);
        for pool in table.pools() {
            // Before the table, so that nobody who goes by it speaks to a node with less protection.
            pool.upstreams().values().for_each(|node| node.speak(pool.tls.as_ref()));
        }
        let before = self.shared.tables.swap(Arc::clone(&table));
        send_off(&before, &table);
        self.shared.changed.notify_one();
        self.metrics.publish(table.pools().iter().map(|pool| view(pool)).collect());
        self.retired.push(before);
        self.retired.retain(|table| Arc::strong_count(table) > 1);
        table
    }
}

/// Tells the nodes that leave, and takes it back from those that stay after all: the drained ones of the new table, and
/// those that only the table before names.
fn send_off(before: &RoutingTable, table: &RoutingTable) {
    let (now, now_ms) = (Instant::now(), now_ms());
    for pool in table.pools() {
        for node in pool.membership.nodes() {
            let leaving = &pool.upstreams()[node.name.as_str()].leaving;
            match node.is_placed() {
                true => leaving.cancel(),
                false => leaving.begin(now, now_ms, pool.settings.drain_deadline),
            }
        }
    }
    for pool in before.pools() {
        let next = table.pool(&pool.settings.name);
        for (name, upstream) in pool.upstreams() {
            let kept = next.and_then(|next| next.upstreams().get(name));
            if kept.is_none_or(|kept| kept.id != upstream.id) {
                upstream.leaving.begin(now, now_ms, pool.settings.drain_deadline);
                upstream.retire();
            }
        }
    }
}

/// Refuses a pool of the file that has a node where none may be.
fn check_addresses(rules: &Networks, pool: &PoolConfig) -> Result<(), ControlError> {
    let nodes = pool.source.membership.nodes().iter();
    let mut refused = nodes.filter_map(|node| Some((&node.name, node_gate::check(rules, &node.address).err()?)));
    refused.next().map_or(Ok(()), |(name, why)| {
        let (pool, name) = (pool.settings.name.clone(), name.clone());
        Err(ControlError::Pool { pool, why: Reason::ForbiddenAddress { name, why }.to_string() })
    })
}

/// The nodes of the store that are where none may be: a rule that came after them is no reason not to serve the others.
fn unreachable(rules: &Networks, record: &PoolRecord) -> Vec<String> {
    let nodes = record.history.membership().nodes().iter();
    let refused = nodes.filter_map(|node| Some((&node.name, node_gate::check(rules, &node.address).err()?)));
    let pool = record.history.pool();
    refused.map(|(name, why)| format!("pool {pool}: node {name} gets no requests: {why}")).collect()
}

/// What is wrong between the file and the store, for people.
fn drift(pool: &PoolConfig, history: &History) -> Option<String> {
    (!pool.drift(history).is_empty()).then(|| {
        format!(
            "pool {}: `initial-nodes` and `placement` in the file differ from the store at epoch {}; the store counts \
             (`ringway check` shows the difference, `ringway apply` changes the store)",
            pool.settings.name,
            history.epoch()
        )
    })
}

/// A pool as the metrics show it.
fn view(pool: &PoolTable) -> PoolView {
    let shares = pool.shares();
    let nodes = pool.membership.nodes().iter().map(|node| {
        let name = node.name.as_str();
        NodeView {
            name: name.to_owned(),
            state: node.state(),
            weight: if node.is_placed() { node.weight.into() } else { 0 },
            ownership_ratio: shares.get(name).copied().unwrap_or_default(),
            stats: Arc::clone(&pool.upstreams()[name].stats),
            vital: Arc::clone(&pool.upstreams()[name].vital),
        }
    });
    PoolView {
        name: pool.settings.name.clone(),
        epoch: pool.epoch,
        fingerprint: pool.fingerprint.to_string(),
        moved_ratio: pool.moved_ratio,
        imbalance_ratio: pool.imbalance_ratio(),
        key_sources: pool.settings.key.source_names().map(str::to_owned).collect(),
        bounds: pool.settings.load,
        load: Arc::clone(&pool.load),
        stats: Arc::clone(&pool.stats),
        vital: Arc::clone(&pool.vital),
        nodes: nodes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::membership::Change;
    use crate::control::settings::MembershipSource;
    use crate::control::write::Guard;
    use crate::control::write::WriteAction;
    use crate::metrics::stats::ServerStats;
    use crate::section;
    use crate::section::Section;
    use crate::store::settings::StoreKind;
    use crate::store::settings::StoreSettings;
    use std::path::PathBuf;

    const ROOMS: &str = r#"
        name = "rooms"
        key = "path"
        initial-nodes = [{ name = "a", address = "a:80" }, { name = "b", address = "b:80" }]"#;

    fn read<T>(text: &str, reader: impl FnOnce(&mut Section<'_>) -> Option<T>) -> T {
        let outcome = section::read(text, &|_| None, reader);
        assert!(outcome.mistakes.is_empty(), "{:?}", outcome.mistakes);
        outcome.value.unwrap()
    }

    fn server() -> ServerSettings {
        read("listen = [\"127.0.0.1:0\"]", ServerSettings::read)
    }

    fn pool(text: &str) -> PoolConfig {
        read(text, |section| {
            let settings = PoolSettings::read(section)?;
            Some(PoolConfig { settings, source: MembershipSource::read(section)? })
        })
    }

    fn docs(weight: u64) -> PoolConfig {
        pool(&format!("name = 'docs'\nkey = 'path'\nnodes = [{{ name = 'x', address = 'x:80', weight = {weight} }}]"))
    }

    /// A control plane of `pools` without its thread, on a store that keeps 5 events.
    fn state(kind: StoreKind, path: PathBuf, pools: Vec<PoolConfig>) -> State {
        let (store, histories) = Store::open(&StoreSettings { kind, path, keep_events: 5 }).unwrap();
        let table = RoutingTable::new(Arc::new(server()), None, Vec::new());
        let tables = Arc::new(arc_swap::ArcSwap::from_pointee(table));
        let shared = Arc::new(Shared {
            tables,
            changed: Arc::default(),
            teller: crate::control::news::Teller::new(),
            gate: Arc::default(),
            pools: std::sync::RwLock::default(),
        });
        let metrics = Arc::new(Metrics::new(Arc::new(ServerStats::new(1))));
        let mut state = State::new(store, histories, 1, metrics, shared);
        state.configure(server(), pools).unwrap();
        state
    }

    fn in_memory(pools: Vec<PoolConfig>) -> State {
        state(StoreKind::Memory, PathBuf::new(), pools)
    }

    /// A write of one change in JSON, which must find the pool at `epoch` where one is given.
    fn write(pool: &str, change: &str, epoch: Option<u64>) -> Write {
        let change: Change = serde_json::from_str(change).unwrap();
        Write {
            pool: pool.to_owned(),
            action: WriteAction::Changes(vec![change]),
            guard: epoch.map(|epoch| Guard { epoch, fingerprint: None }),
            force: false,
            actor: "test".to_owned(),
            reason: None,
        }
    }

    fn weight(weight: u32) -> String {
        format!(r#"{{"weight":{{"name":"a","weight":{weight}}}}}"#)
    }

    /// Makes the writes as one batch and returns their answers.
    fn make(state: &mut State, writes: Vec<Write>) -> Vec<Result<Written, WriteError>> {
        let (pending, answers): (Vec<_>, Vec<_>) = writes
            .into_iter()
            .map(|write| {
                let (reply, answer) = oneshot::channel();
                ((write, reply), answer)
            })
            .unzip();
        state.write(pending);
        answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
    }

    fn history_length(state: &State, pool: &str) -> usize {
        state.known_history(pool).unwrap().events().len()
    }

    #[test]
    fn writes_of_a_batch_build_on_each_other_and_are_answered_one_by_one() {
        let mut state = in_memory(vec![pool(ROOMS)]);
        let unknown = r#"{"remove":{"name":"nobody"}}"#;
        let writes =
            [(weight(3), None), (weight(3), None), (unknown.into(), None), (weight(4), Some(1)), (weight(4), Some(2))];
        let writes = writes.iter().map(|(change, epoch)| write("rooms", change, *epoch)).collect();
        let answers = make(&mut state, writes);
        let [first, same, refused, stale, last] = answers.as_slice() else { panic!("{answers:?}") };
        let (first, same, last) = (first.as_ref().unwrap(), same.as_ref().unwrap(), last.as_ref().unwrap());
        assert!(first.changed && first.moved_ratio > 0.1, "{first:?}");
        assert_eq!((first.epoch, first.pool.epoch), (2, 3), "one table serves both");
        assert_eq!((same.epoch, same.changed, same.moved_ratio), (2, false, 0.0));
        assert!(matches!(refused, Err(WriteError::Refused(_))), "{refused:?}");
        assert!(matches!(stale, Err(WriteError::Stale { epoch: 2, .. })), "{stale:?}");
        assert_eq!((last.epoch, last.moved_ratio), (3, last.pool.moved_ratio));
        assert!(last.moved_ratio < first.moved_ratio, "{} after {}", last.moved_ratio, first.moved_ratio);
    }

    #[test]
    fn nobody_hears_of_a_state_that_was_not_stored() {
        let scratch = std::env::temp_dir().join(format!("ringway-control-{}", std::process::id()));
        let mut state = state(StoreKind::File, scratch.clone(), vec![pool(ROOMS)]);
        match &mut state.store {
            Store::File(store) => store.break_syncs(),
            Store::Memory(_) => unreachable!("the store is a file"),
        }
        let writes = [(weight(3), Some(9)), (weight(3), Some(1)), (weight(4), Some(1)), (weight(3), None)];
        let writes = writes.iter().map(|(change, epoch)| write("rooms", change, *epoch)).collect();
        let answers = make(&mut state, writes);
        assert!(matches!(answers[0], Err(WriteError::Stale { epoch: 1, .. })), "{:?}", answers[0]);
        for answer in &answers[1..] {
            assert!(matches!(answer, Err(WriteError::Store(_))), "{answer:?}");
        }
        let table = state.shared.tables.load();
        assert_eq!((table.pools()[0].epoch, history_length(&state, "rooms")), (1, 1));
        std::fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn after_a_panic_what_is_stored_is_served_and_written_on() {
        let scratch = std::env::temp_dir().join(format!("ringway-control-panic-{}", std::process::id()));
        let mut state = state(StoreKind::File, scratch.clone(), vec![pool(ROOMS)]);
        let before = state.shared.tables.load_full();
        let known = state.shared.pools.read().unwrap().clone();
        make(&mut state, vec![write("rooms", &weight(3), None)]).pop().unwrap().unwrap();
        // As if the panic had come between the store and the table.
        state.shared.tables.store(before);
        *state.shared.pools.write().unwrap() = known;
        state.recover();
        assert_eq!((state.shared.tables.load().pools()[0].epoch, history_length(&state, "rooms")), (2, 2));
        let next = make(&mut state, vec![write("rooms", &weight(4), Some(2))]).pop().unwrap().unwrap();
        assert_eq!((next.epoch, next.pool.epoch), (3, 3));
        std::fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_pool_of_the_file_says_so_also_to_a_stale_write() {
        let mut state = in_memory(vec![docs(1)]);
        let answers = make(&mut state, vec![write("docs", r#"{"drain":{"name":"x"}}"#, Some(7))]);
        assert!(matches!(answers[0], Err(WriteError::OwnedByFile { .. })), "{:?}", answers[0]);
    }

    #[test]
    fn histories_stay_short_over_many_reloads_and_writes() {
        let mut state = in_memory(vec![pool(ROOMS), docs(1)]);
        for round in 1..=50 {
            state.reload(server(), vec![pool(ROOMS), docs(1 + round % 2)]).unwrap();
            assert!(history_length(&state, "docs") <= 10, "round {round}");
        }
        state.reload(server(), vec![pool(ROOMS)]).unwrap();
        for round in 1..=50 {
            make(&mut state, vec![write("rooms", &weight(1 + round % 2), None)]);
            assert!(history_length(&state, "rooms") <= 10, "round {round}");
        }
        assert!(history_length(&state, "docs") <= 5, "the past of a pool that left is cut as well");
        state.reload(server(), vec![pool(ROOMS), docs(9)]).unwrap();
        assert_eq!(state.shared.tables.load().pool("docs").unwrap().epoch, 52, "its epochs go on when it returns");
    }

    #[test]
    fn a_reload_that_fails_for_one_pool_changes_none() {
        let mut state = in_memory(vec![pool(ROOMS), docs(1)]);
        let before = state.shared.tables.load_full();
        let huge = (0..20).map(|i| format!("{{ name = 'n{i}', address = 'n:80', weight = 1000 }}"));
        let huge = huge.collect::<Vec<_>>().join(", ");
        let mut other = docs(2);
        other.settings.name = "other".to_owned();
        let text =
            format!("name = 'rooms'\nkey = 'path'\nplacement = {{ kind = 'ring', vnodes = 1 }}\nnodes = [{huge}]");
        let mut broken = pool(&text);
        broken.source.membership.placement = crate::placement::PlacementSettings::Ring { vnodes: 512 };
        let error = state.reload(server(), vec![docs(2), other, broken]).unwrap_err();
        assert!(matches!(&error, ControlError::Pool { pool, .. } if pool == "rooms"), "{error}");
        assert!(Arc::ptr_eq(&before, &state.shared.tables.load_full()));
        assert_eq!((history_length(&state, "docs"), state.known_history("other").is_none()), (1, true));
    }
}
