//! The store while another process takes over: it is lent, followed, and taken back when nothing comes of it.

use crate::cluster::log::History;
use crate::control::ControlError;
use crate::control::PoolRecord;
use crate::control::news::News;
use crate::control::state::State;
use crate::proxy::settings::PoolSettings;
use crate::proxy::table::PoolTable;
use crate::store::StoreError;
use std::sync::Arc;
use std::sync::PoisonError;

/// Who may write to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Custody {
    /// This process.
    Held,
    /// The process that takes over, or has.
    Lent,
    /// This process again, as soon as the other one has let go of it.
    Wanted,
}

impl State {
    /// Lets another process open the store, and returns the histories that it cannot read from there.
    pub(super) fn lend(&mut self) -> Result<Vec<History>, ControlError> {
        let lent = self.hold().and_then(|()| {
            let records = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
            let histories = records.values().map(|record| &record.history).chain(self.orphans.values());
            self.store.lend(histories.cloned())
        });
        let histories = lent.map_err(|error| ControlError::Store(Arc::new(error)))?;
        self.custody = Custody::Lent;
        Ok(histories)
    }

    /// Takes the store back, now or with the next write.
    pub(super) fn reclaim(&mut self) {
        if self.custody == Custody::Held {
            return;
        }
        self.custody = Custody::Wanted;
        match self.hold() {
            Ok(()) => tracing::info!("the store is this process's again"),
            Err(error) => tracing::warn!(%error, "the store cannot be had back yet; the next write tries again"),
        }
    }

    /// After a panic, which may have left anything half done: serves what is stored, as a new process would. Where the
    /// store cannot be read, the next write tries again.
    pub(super) fn recover(&mut self) {
        if self.custody == Custody::Lent {
            return;
        }
        self.custody = Custody::Wanted;
        match self.hold() {
            Ok(()) => tracing::warn!("the control plane goes on with what is stored, after a panic"),
            Err(error) => tracing::error!(%error, "the store cannot be read after a panic; the next write tries again"),
        }
    }

    /// Serves what the process that has the store writes there.
    pub(super) fn follow(&mut self) {
        if self.custody == Custody::Held {
            return;
        }
        match self.store.follow() {
            Ok(None) => {}
            Ok(Some(histories)) => self.adopt_histories(histories),
            Err(error) => tracing::warn!(%error, "cannot follow the store"),
        }
    }

    /// Makes sure that this process may write.
    pub(super) fn hold(&mut self) -> Result<(), StoreError> {
        match self.custody {
            Custody::Held => Ok(()),
            Custody::Lent => Err(StoreError::Lent),
            Custody::Wanted => {
                let histories = self.store.reclaim()?;
                self.custody = Custody::Held;
                // What the other process wrote before it failed is as durable as what this one did. What is in memory
                // alone, no other one has.
                let histories = histories.unwrap_or_else(|| self.histories());
                self.adopt_histories(histories);
                Ok(())
            }
        }
    }

    fn histories(&self) -> Vec<History> {
        let records = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
        records.values().map(|record| record.history.clone()).collect()
    }

    /// Serves histories that somebody else has written on. A pool of theirs that is not configured here is kept.
    fn adopt_histories(&mut self, histories: Vec<History>) {
        let served = self.shared.tables.load_full();
        let (mut tables, mut news) = (served.pools().to_vec(), Vec::new());
        for history in histories {
            let Some(table) = tables.iter_mut().find(|table| table.settings.name == history.pool()) else {
                self.orphans.insert(history.pool().to_owned(), history);
                continue;
            };
            if table.epoch == history.epoch() {
                continue;
            }
            match self.pool_table(PoolSettings::clone(&table.settings), &history, Some(table), table.tls.clone()) {
                Ok(next) => {
                    news.extend(history.events().filter(|event| event.epoch > table.epoch).cloned());
                    self.adopt_history(table, next, history);
                }
                Err(error) => tracing::error!(%error, "the store holds what this process cannot serve"),
            }
        }
        self.publish(served.with(tables));
        news.into_iter().for_each(|event| self.shared.teller.tell(|| News::Membership(event)));
    }

    fn adopt_history(&self, table: &mut Arc<PoolTable>, next: PoolTable, history: History) {
        let mut records = self.shared.pools.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(PoolRecord { history: known, .. }) = records.get_mut(&table.settings.name) {
            *known = history;
        }
        *table = Arc::new(next);
    }
}
