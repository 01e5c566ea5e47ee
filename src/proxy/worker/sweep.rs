//! What a worker looks at once a second, and what it closes when files are short.

use crate::metrics::limit::Limit;
use crate::proxy::client;
use crate::proxy::client::Order;
use crate::proxy::limits::Limits;
use crate::proxy::memory;
use crate::proxy::worker::Worker;
use std::time::Duration;
use tokio::time::Instant;

impl Worker {
    /// Looks for clients that overstayed, nodes that leave and files that are short.
    pub(super) fn sweep(&self) {
        let table = self.table();
        self.sweep_clients(&table.table.server.limits);
        table.pools().iter().for_each(|pool| pool.sample(self.id, self.started.elapsed()));
        let mut nodes = self.nodes.borrow_mut();
        nodes.values().for_each(|node| node.sweep());
        nodes.retain(|_, node| !node.upstream.is_retired() || node.is_connected());
        drop(nodes);
        self.sweep_files();
    }

    /// Cuts the clients that take nothing of what is held for them: there is no memory left to wait for them.
    fn cut_stalled_clients(&self) {
        for (_, client) in self.clients.borrow().iter() {
            if client.is_stalled_for(STALLED) && client.order(Order::Abort) {
                self.stats().limit_hits.hit(Limit::MaxRequestMemory);
            }
        }
    }

    /// Does its part when files were short since the last time.
    fn sweep_files(&self) {
        let files = &self.spread.files;
        if self.shortages.replace(files.shortages()) == files.shortages() {
            return;
        }
        if files.is_full() {
            self.close_idle_clients();
        } else {
            self.make_room();
        }
    }

    fn sweep_clients(&self, limits: &Limits) {
        if !memory::has_room(self, limits.max_request_memory) {
            self.cut_stalled_clients();
        }
        for (_, client) in self.clients.borrow().iter() {
            if let Some((order, limit)) = client.overstayed(limits, self.phase())
                && client.order(order)
                && let Some(limit) = limit
            {
                self.stats().limit_hits.hit(limit);
            }
        }
    }

    /// Closes connections to nodes that are idle, and if there are none, those to clients that were so for longest.
    /// Returns whether any were to nodes, whose files are free at once.
    pub(crate) fn make_room(&self) -> bool {
        let closed: usize = self.nodes.borrow().values().map(|node| node.close_idle()).sum();
        if closed == 0 {
            self.close_idle_clients();
        }
        closed > 0
    }

    /// Closes those clients that have been idle for longest.
    pub(super) fn close_idle_clients(&self) {
        client::close_longest_idle(self.clients.borrow().iter().map(|(_, client)| &**client), Instant::now());
    }
}

/// A client that takes nothing for so long is likely to take nothing for longer.
const STALLED: Duration = Duration::from_secs(1);
