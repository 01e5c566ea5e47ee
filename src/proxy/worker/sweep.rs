//! What a worker looks at once a second, and what it closes when files are short.

use crate::metrics::limit::Limit;
use crate::proxy::client;
use crate::proxy::client::ClientState;
use crate::proxy::client::Order;
use crate::proxy::limits::Limits;
use crate::proxy::memory;
use crate::proxy::upstream::READ_BYTES_MAX;
use crate::proxy::worker::ACCEPT_PAUSE;
use crate::proxy::worker::Worker;
use std::cmp::Reverse;
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

    /// When there is no memory left, cuts the clients that take nothing of what is held for them; and then, until that
    /// is enough, those for whom most is held, if that is very much or nodes take little of what they sent.
    fn free_memory(&self, max: usize) {
        let mut excess = memory::excess(self, max);
        if excess == 0 {
            return;
        }
        let clients = self.clients.borrow();
        let mut large = Vec::new();
        for (_, client) in clients.iter() {
            // Asked of all, so that it is known of the last second when it is asked again.
            let is_stuck = client.is_stuck();
            if client.is_stalled_for(STALLED) && client.held() > 0 {
                excess = excess.saturating_sub(self.cut(client));
            } else if is_stuck || client.held() > HELD_MAX {
                large.push(client);
            }
        }
        large.sort_unstable_by_key(|client| Reverse(client.held()));
        for client in large {
            if excess == 0 {
                return;
            }
            excess = excess.saturating_sub(self.cut(client));
        }
    }

    /// Cuts a client for want of memory. Returns how much of that it gives back.
    fn cut(&self, client: &ClientState) -> usize {
        if client.order(Order::Abort) {
            self.stats().limit_hits.hit(Limit::MaxRequestMemory);
        }
        client.held()
    }

    /// Does its part when clients were not admitted since the last time, files that they have been lent are needed, or
    /// files were short.
    pub(super) fn sweep_files(&self) {
        let files = &self.spread.files;
        if self.refusals.replace(files.refusals()) != files.refusals() {
            self.close_idle_clients();
        }
        let recalled = files.recalled();
        if recalled > 0 {
            self.make_room(recalled.div_ceil(self.spread.workers()));
        }
        if self.shortages.replace(files.shortages()) == files.shortages() {
            return;
        }
        if files.is_full() {
            self.close_idle_clients();
        }
        if !files.is_full() || files.waiting_requests() > 0 {
            self.make_room(CLOSE_AT_ONCE.max(files.waiting_requests()));
        }
    }

    fn sweep_clients(&self, limits: &Limits) {
        self.free_memory(limits.max_request_memory);
        for (_, client) in self.clients.borrow().iter() {
            client.settle();
            if let Some((order, limit)) = client.overstayed(limits, self.phase())
                && client.order(order)
                && let Some(limit) = limit
            {
                self.stats().limit_hits.hit(limit);
            }
        }
    }

    /// Closes so many connections to nodes that are idle, those first that would be kept no longer anyway; if there are
    /// none, the clients that were so for longest. Returns whether any were to nodes, whose files are free at once.
    pub(crate) fn make_room(&self, most: usize) -> bool {
        let nodes = self.nodes.borrow();
        let closes_one =
            || nodes.values().filter_map(|node| Some((node.idle_until()?, node))).min_by_key(|(at, _)| *at);
        let closed = (0..most).map_while(|_| closes_one().map(|(_, node)| node.close_one_idle())).count();
        if closed == 0 {
            self.close_idle_clients();
        }
        closed > 0
    }

    /// Closes those clients that have been idle for longest, unless that has just been done: there may be very many to
    /// look at. Where too few are idle for what clients have been lent, those of HTTP/2 are told to go; those of HTTP/1
    /// are, with their next response.
    pub(super) fn close_idle_clients(&self) {
        let now = Instant::now();
        if self.idle_closed.get().is_some_and(|last| now.saturating_duration_since(last) < ACCEPT_PAUSE) {
            return;
        }
        self.idle_closed.set(Some(now));
        let (clients, files) = (self.clients.borrow(), &self.spread.files);
        let all = || clients.iter().map(|(_, client)| &**client);
        let leaving = all().filter(|client| client.is_leaving()).count();
        let due = files.recalled().div_ceil(self.spread.workers()).saturating_sub(leaving);
        let mut closed = client::close_longest_idle(all(), IDLE_AT_LEAST, CLOSE_AT_ONCE.max(due));
        if files.is_awaited() {
            closed += client::close_longest_idle(all(), Duration::ZERO, due.saturating_sub(closed));
        }
        client::finish_http2(all(), due.saturating_sub(closed));
    }
}

/// How many idle connections are closed at a time, at least, when files are short: to nodes, or else of clients.
const CLOSE_AT_ONCE: usize = 16;

/// Clients that are idle for less may be about to ask, so that these are closed only where requests wait.
const IDLE_AT_LEAST: Duration = Duration::from_secs(1);

/// A client that takes nothing for so long is likely to take nothing for longer.
const STALLED: Duration = Duration::from_secs(1);

/// More than is ever held of the responses to a client of HTTP/1, where one comes after the other: two pieces as large
/// as what is read from a node at once.
const HELD_MAX: usize = 2 * READ_BYTES_MAX;
