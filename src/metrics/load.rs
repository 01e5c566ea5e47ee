//! How much nodes and pools have to do at this proxy: counts that all workers write, where a pool bounds its load.
//!
//! Each count has cache lines of its own, so that what stands beside it can be read in peace.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The requests of one pool, over all workers; outlives routing tables.
#[repr(align(128))]
#[derive(Debug, Default)]
pub struct PoolLoad {
    in_flight: AtomicU64,
    /// Requests that wait for room at any node.
    queued: AtomicUsize,
    freed: Notify,
}

impl PoolLoad {
    /// Requests at nodes.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Whether requests wait for room.
    pub fn is_queued(&self) -> bool {
        self.queued.load(SeqCst) > 0
    }

    /// One more waits, until [`PoolLoad::leave_queue`]. What gets free from now on is told, so that it has to look for
    /// room once more before it sleeps.
    pub fn enter_queue(&self) {
        self.queued.fetch_add(1, SeqCst);
    }

    /// One waits no longer.
    pub fn leave_queue(&self) {
        self.queued.fetch_sub(1, SeqCst);
    }

    /// Ends when there is room for whoever has waited longest.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Tells whoever has waited longest that there may be room.
    fn free(&self) {
        if self.is_queued() {
            self.freed.notify_one();
        }
    }
}

/// The requests and connections of one node at one address, over all workers.
#[repr(align(128))]
#[derive(Debug)]
pub struct NodeLoad {
    in_flight: AtomicU64,
    connections: AtomicU64,
    pool: Arc<PoolLoad>,
}

impl NodeLoad {
    /// Nothing yet, at a node of `pool`.
    pub fn new(pool: Arc<PoolLoad>) -> NodeLoad {
        NodeLoad { in_flight: AtomicU64::new(0), connections: AtomicU64::new(0), pool }
    }

    /// Counts one more request unless `max` are there; it must leave again by [`NodeLoad::leave`].
    pub fn try_enter(&self, max: u64) -> bool {
        let has_entered = try_add(&self.in_flight, max);
        if has_entered {
            self.pool.in_flight.fetch_add(1, Relaxed);
        }
        has_entered
    }

    /// One request has left; whoever waits is told if that `makes_room`.
    pub fn leave(&self, makes_room: bool) {
        // In this order the pool never seems to have more requests than its nodes have, which would raise their caps.
        self.pool.in_flight.fetch_sub(1, Relaxed);
        self.in_flight.fetch_sub(1, SeqCst);
        if makes_room {
            self.pool.free();
        }
    }

    /// Requests at the node.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Counts one more connection unless `max` are open; it must be given back by [`NodeLoad::disconnect`].
    pub fn try_connect(&self, max: u64) -> bool {
        try_add(&self.connections, max)
    }

    /// One connection is closed.
    pub fn disconnect(&self) {
        self.connections.fetch_sub(1, SeqCst);
        self.pool.free();
    }

    /// Whether requests wait for room in the pool.
    pub fn is_queued(&self) -> bool {
        self.pool.is_queued()
    }
}

/// Adds one unless that makes more than `max`. Of several that try at once for the last place all may fail, for the
/// moment; none ever gets one too many.
fn try_add(count: &AtomicU64, max: u64) -> bool {
    // Looking first spares a full node two writes.
    if count.load(SeqCst) >= max {
        return false;
    }
    let has_room = count.fetch_add(1, SeqCst) < max;
    if !has_room {
        count.fetch_sub(1, SeqCst);
    }
    has_room
}

/// Which workers were refused a connection to a node for its `max-connections`, so that the others give theirs up
/// rather than keep them for later.
#[derive(Debug, Default)]
pub struct Refused(AtomicUsize);

/// More than one worker was refused.
const SEVERAL: usize = usize::MAX;

impl Refused {
    /// Worker `worker` was refused a connection.
    pub fn note(&self, worker: usize) {
        let known = self.0.load(Relaxed);
        let noted = if known == 0 || known == worker + 1 { worker + 1 } else { SEVERAL };
        // Writing what is there already would take the cache line from everybody.
        if noted != known {
            self.0.store(noted, Relaxed);
        }
    }

    /// Whether any worker but `worker` was refused one.
    pub fn is_other(&self, worker: usize) -> bool {
        let known = self.0.load(Relaxed);
        known != 0 && known != worker + 1
    }

    /// They have been helped.
    pub fn clear(&self) {
        self.0.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn no_more_enter_than_may_whoever_else_tries() {
        let pool = Arc::<PoolLoad>::default();
        let node = NodeLoad::new(Arc::clone(&pool));
        let try_often = || {
            for _ in 0..10_000 {
                if node.try_enter(3) {
                    // What is one too many shows at the node for a moment, but never to one that has entered.
                    assert!(pool.in_flight() <= 3, "{node:?}");
                    node.leave(true);
                }
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(try_often))));
        assert_eq!((node.in_flight(), pool.in_flight()), (0, 0));
    }

    #[tokio::test]
    async fn room_that_is_made_before_a_request_sleeps_wakes_it_all_the_same() {
        let pool = Arc::<PoolLoad>::default();
        let node = NodeLoad::new(Arc::clone(&pool));
        assert!(node.try_enter(1));
        pool.enter_queue();
        assert!(!node.try_enter(1));
        node.leave(true);
        pool.freed().await;
        assert!(node.try_enter(1));
        pool.leave_queue();
        assert!(!pool.is_queued());
    }

    #[test]
    fn a_worker_gives_way_to_others_but_not_to_itself() {
        let refused = Refused::default();
        assert!(!refused.is_other(0));
        refused.note(0);
        refused.note(0);
        assert!(!refused.is_other(0) && refused.is_other(1));
        refused.note(1);
        assert!(refused.is_other(0) && refused.is_other(1));
        refused.clear();
        assert!(!refused.is_other(0));
    }
}
