//! Whether a node has room for one more request, and the queue of the requests for which no node has.

use crate::metrics::vital::PoolVital;
use crate::proxy::error::ProxyError;
use crate::proxy::table::PoolTable;
use crate::proxy::upstream::LocalNode;
use crate::proxy::worker::Worker;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// How long a request that waits for a node waits before it looks again: a node that gets well tells nobody.
const STEP: Duration = Duration::from_millis(50);

/// Counts a request at its node until it is dropped, in pools that bound their load.
pub(crate) struct InFlight {
    node: Rc<LocalNode>,
    /// Whether its end makes room that there was not before.
    makes_room: bool,
}

impl InFlight {
    /// The request did not come to the node after all. Whoever waits is not told: what this one had no use for is of no
    /// use to the next, who would tell the next but one, and so on.
    pub(crate) fn undo(mut self) {
        self.makes_room = false;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.node.upstream.load.leave(self.makes_room);
    }
}

/// Why a node takes no further request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// It has so many that the others come first (`load-bound`).
    Bound {
        /// So many.
        in_flight: u64,
    },
    /// It has as many as it bears (`max-inflight`).
    Limit,
    /// Others have waited for it longer.
    Queue,
}

/// Counts a request at the placed node `index`, if that has room; `Ok(None)` in pools that count none. One that
/// `is_queued` has waited its turn.
pub(crate) fn admit(
    worker: &Worker,
    pool: &PoolTable,
    index: usize,
    is_queued: bool,
) -> Result<Option<InFlight>, Full> {
    let settings = &pool.settings.load;
    if !settings.is_any() {
        return Ok(None);
    }
    if !is_queued && settings.has_limit() && pool.load.is_queued() {
        return Err(Full::Queue);
    }
    let limit = limit_of(pool);
    let cap = pool.cap(index).unwrap_or(u64::MAX);
    enter(worker, pool, index, cap.min(limit)).map(Some).ok_or_else(|| {
        let in_flight = pool.placed(index).load.in_flight();
        if in_flight >= limit { Full::Limit } else { Full::Bound { in_flight } }
    })
}

/// As [`admit`], for a node that takes what is above its bound because all others are above theirs.
pub(crate) fn admit_above_bound(worker: &Worker, pool: &PoolTable, index: usize) -> Option<InFlight> {
    enter(worker, pool, index, limit_of(pool))
}

fn limit_of(pool: &PoolTable) -> u64 {
    pool.settings.load.max_inflight.map_or(u64::MAX, u64::from)
}

fn enter(worker: &Worker, pool: &PoolTable, index: usize, max: u64) -> Option<InFlight> {
    let node = pool.placed(index);
    node.load.try_enter(max).then(|| InFlight { node: worker.node(node), makes_room: true })
}

/// Waits a moment for the node of a key, unless too many wait; who has a place keeps it from one moment to the next.
pub(crate) async fn hold<'a>(
    pool: &'a PoolTable,
    until: Instant,
    place: &mut Option<Waiting<'a>>,
) -> Result<(), ProxyError> {
    if place.is_none() {
        *place = Some(Waiting::enter(pool)?);
    }
    tokio::time::sleep_until(until.min(Instant::now() + STEP)).await;
    Ok(())
}

/// The place of a request in the queue of its pool, until it is dropped.
pub(crate) struct Queued<'a> {
    pool: &'a PoolTable,
    _waiting: Waiting<'a>,
    until: Instant,
    freed: Pin<Box<Notified<'a>>>,
}

impl<'a> Queued<'a> {
    /// Enters the queue in the first round, and waits in each further one until there may be room at some node; whoever
    /// waits has to look for itself after each round.
    pub(crate) async fn wait(queued: &mut Option<Queued<'a>>, pool: &'a PoolTable) -> Result<(), ProxyError> {
        match queued {
            None => *queued = Some(Queued::enter(pool)?),
            Some(queued) => queued.sleep().await?,
        }
        Ok(())
    }

    fn enter(pool: &'a PoolTable) -> Result<Queued<'a>, ProxyError> {
        let _waiting = Waiting::enter(pool)?;
        pool.load.enter_queue();
        let until = Instant::now() + pool.settings.load.queue_timeout;
        Ok(Queued { pool, _waiting, until, freed: Box::pin(pool.load.freed()) })
    }

    async fn sleep(&mut self) -> Result<(), ProxyError> {
        let now = Instant::now();
        if now >= self.until {
            return Err(ProxyError::QueueTimeout { pool: self.pool.settings.name.clone() });
        }
        let step = self.until.min(now + STEP);
        // What did not come keeps its turn.
        if tokio::time::timeout_at(step, self.freed.as_mut()).await.is_ok() {
            self.freed = Box::pin(self.pool.load.freed());
        }
        Ok(())
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.pool.load.leave_queue();
    }
}

/// Counts a request that waits until it is dropped.
pub(crate) struct Waiting<'a>(&'a PoolVital);

impl Waiting<'_> {
    /// One more, unless there are `max-waiting`.
    pub(crate) fn enter(pool: &PoolTable) -> Result<Waiting<'_>, ProxyError> {
        match pool.vital.try_wait(pool.settings.max_waiting) {
            true => Ok(Waiting(&pool.vital)),
            false => Err(ProxyError::TooManyWaiting { pool: pool.settings.name.clone() }),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
