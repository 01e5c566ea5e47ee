//! What one worker keeps of the pools beside the routing table: its stripe of their counters, its retry budgets.

use crate::metrics::stats::PoolStats;
use crate::metrics::stats::PoolStripe;
use crate::proxy::table::PoolTable;
use crate::proxy::table::RoutingTable;
use crate::routing::attempts::Budget;
use crate::routing::attempts::BudgetSettings;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// One worker's counters of a pool; outlives tables without pinning one.
pub(crate) struct LocalPool {
    pub(crate) name: String,
    stats: Arc<PoolStats>,
    budget: RefCell<Budget>,
}

impl LocalPool {
    fn new(pool: &PoolTable) -> LocalPool {
        let (name, stats) = (pool.settings.name.clone(), Arc::clone(&pool.stats));
        LocalPool { name, stats, budget: RefCell::default() }
    }

    /// Whether this is the same pool at another epoch.
    fn is_of(&self, pool: &PoolTable) -> bool {
        self.name == pool.settings.name && Arc::ptr_eq(&self.stats, &pool.stats)
    }

    /// The stripe of worker `worker`.
    pub(crate) fn of(&self, worker: usize) -> &PoolStripe {
        self.stats.of(worker)
    }

    /// Takes one of the attempts that the retry budget allows at `now` of the worker; `false` when none is left.
    pub(crate) fn spend(&self, worker: usize, now: Duration, budget: BudgetSettings, workers: usize) -> bool {
        self.budget.borrow_mut().try_spend(now, self.requests(worker), budget, workers)
    }

    /// Lets the retry budget know how many requests there were; called every second.
    pub(crate) fn sample(&self, worker: usize, now: Duration) {
        self.budget.borrow_mut().sample(now, self.requests(worker));
    }

    /// Requests that worker `worker` has sent to nodes so far.
    fn requests(&self, worker: usize) -> u64 {
        let stats = self.of(worker);
        let elsewhere = stats.decision_failover.get() + stats.decision_spill.get() + stats.decision_no_key.get();
        stats.decision_owner.get() + elsewhere
    }
}

/// A routing table with this worker's own handles beside it.
pub(crate) struct LocalTable {
    pub(crate) table: Arc<RoutingTable>,
    pools: Vec<Rc<LocalPool>>,
}

impl LocalTable {
    /// Keeps what this worker knows of the pools that stay.
    pub(crate) fn new(table: Arc<RoutingTable>, before: &[Rc<LocalPool>]) -> LocalTable {
        let local = |pool: &Arc<PoolTable>| match before.iter().find(|local| local.is_of(pool)) {
            Some(local) => Rc::clone(local),
            None => Rc::new(LocalPool::new(pool)),
        };
        let pools = table.pools().iter().map(local).collect();
        LocalTable { table, pools }
    }

    /// The pools in the order of the table.
    pub(crate) fn pools(&self) -> &[Rc<LocalPool>] {
        &self.pools
    }

    /// The pool with this index in the table.
    pub(crate) fn pool(&self, index: usize) -> &Rc<LocalPool> {
        &self.pools[index]
    }
}
