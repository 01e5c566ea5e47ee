//! Which node a request goes to next: the candidates of its key in order, past those that are ill or have enough to do.

use crate::cluster::health::Mark;
use crate::cluster::health::settings::OnDown;
use crate::placement::Placement;
use crate::proxy::admission;
use crate::proxy::admission::Full;
use crate::proxy::admission::InFlight;
use crate::proxy::error::ProxyError;
use crate::proxy::table::PoolTable;
use crate::proxy::table::Upstream;
use crate::proxy::worker::Worker;
use crate::routing::attempts::Detour;
use crate::routing::bound;
use std::sync::Arc;
use tokio::time::Instant;

/// Which nodes to try, in which order.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// The candidates of a key's position.
    Key(u64),
    /// A node drawn by weight, then the candidates of a random position.
    Spread { first: usize, position: u64 },
}

impl Order {
    fn candidates(self, placement: &Placement) -> impl Iterator<Item = usize> {
        let (first, position) = match self {
            Order::Key(position) => (None, position),
            Order::Spread { first, position } => (Some(first), position),
        };
        let rest = placement.candidates(position).filter(move |node| Some(*node) != first);
        first.into_iter().chain(rest)
    }
}

/// What a request does next.
pub(crate) enum Pick<'a> {
    /// It goes to a node.
    Node(Chosen<'a>),
    /// It waits for the owner of its key, until then at most.
    Hold { until: Instant },
    /// It waits for room at any node.
    Queue,
    /// There is none for it.
    Nobody(ProxyError),
}

/// The node that a request goes to.
pub(crate) struct Chosen<'a> {
    pub(crate) node: &'a Arc<Upstream>,
    /// Whether the request is to find out if the node is well again.
    pub(crate) is_trial: bool,
    /// Counts it there, in pools that bound their load.
    pub(crate) in_flight: Option<InFlight>,
}

/// How a request came to the node that was picked.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// It is the first candidate.
    Straight,
    /// The first candidate is ill, or failed: this is which.
    Failover { owner_was: &'static str },
    /// The first candidate has enough to do.
    Spill { owner: &'a Arc<Upstream> },
}

/// Goes through the candidates of one request.
pub(crate) struct Picker<'a, C> {
    worker: &'a Worker,
    pool: &'a PoolTable,
    candidates: C,
    current: Option<usize>,
    first: Option<usize>,
    /// Why the first candidate was passed over.
    reason: Option<Reason>,
    has_key: bool,
    /// Whether the request can be sent again elsewhere, so that it may try a node that may still be ill.
    is_repeatable: bool,
    /// Whether it has waited for room, so that it need not wait behind others.
    is_queued: bool,
    /// Since when the owner is down, as far as this request knows.
    down_since: Option<Instant>,
    /// The least loaded of the candidates that were passed over for their bound.
    least: Option<Least>,
    /// Whether a candidate was passed over for one of its limits.
    is_any_at_limit: bool,
}

/// Why a candidate was passed over.
#[derive(Clone, Copy)]
enum Reason {
    /// It failed this request.
    Failed,
    /// It has enough to do.
    Full,
    /// It is ill.
    Ill,
}

/// A node above its bound.
#[derive(Clone, Copy)]
struct Least {
    index: usize,
    /// Its requests and its weight.
    load: (u64, u64),
}

/// Why a candidate is of no use now.
enum Useless {
    Full(Full),
    Ill,
}

/// The picker of a request, at the first of its candidates. `is_repeatable` if it can be sent again elsewhere, and
/// `is_queued` if it has waited for room.
pub(crate) fn picker<'a>(
    worker: &'a Worker,
    pool: &'a PoolTable,
    order: Order,
    is_repeatable: bool,
    is_queued: bool,
) -> Picker<'a, impl Iterator<Item = usize>> {
    let mut candidates = order.candidates(&pool.placement);
    let first = candidates.next();
    Picker {
        worker,
        pool,
        candidates,
        current: first,
        first,
        reason: None,
        has_key: matches!(order, Order::Key(_)),
        is_repeatable,
        is_queued,
        down_since: None,
        least: None,
        is_any_at_limit: false,
    }
}

impl<'a, C: Iterator<Item = usize>> Picker<'a, C> {
    /// The candidate that is current, or the first one after it that may be used.
    pub(crate) fn pick(&mut self) -> Pick<'a> {
        while let Some(index) = self.current {
            match self.try_use(index) {
                Ok(chosen) => return Pick::Node(chosen),
                Err(Useless::Full(Full::Queue)) => return Pick::Queue,
                Err(Useless::Full(Full::Limit)) => self.pass_limited(),
                Err(Useless::Full(Full::Bound { in_flight })) => {
                    self.remember(Least { index, load: (in_flight, self.pool.weight(index)) });
                    self.pass(Reason::Full);
                }
                Err(Useless::Ill) => match self.detour() {
                    Detour::Allowed => self.pass(Reason::Ill),
                    Detour::Later => return Pick::Hold { until: self.held_until() },
                    Detour::Forbidden => {
                        return Pick::Nobody(ProxyError::NodeDown { node: self.pool.placed(index).name.clone() });
                    }
                },
            }
        }
        self.pick_least()
    }

    /// The first candidate after the one that is current, which failed, that may be used.
    pub(crate) fn pick_next(&mut self) -> Pick<'a> {
        self.pass(Reason::Failed);
        self.pick()
    }

    /// As [`Picker::pick_next`], after a node that has as many connections as may be.
    pub(crate) fn pick_past_limit(&mut self) -> Pick<'a> {
        self.pass_limited();
        self.pick()
    }

    /// How the request comes to the node picked.
    pub(crate) fn way(&self) -> Way<'a> {
        match (self.reason, self.first) {
            (Some(reason), Some(first)) if self.current != self.first => match reason {
                Reason::Full => Way::Spill { owner: self.pool.placed(first) },
                Reason::Failed => Way::Failover { owner_was: "failed" },
                Reason::Ill => Way::Failover { owner_was: "ill" },
            },
            _ => Way::Straight,
        }
    }

    /// Whether the request may leave the node that is current, which is of no use now.
    pub(crate) fn detour(&mut self) -> Detour {
        match self.pool.settings.on_down {
            _ if self.reason.is_some() || !self.has_key => Detour::Allowed,
            OnDown::Spill => Detour::Allowed,
            OnDown::Fail => Detour::Forbidden,
            // A node that left, or left its address, does not come back.
            OnDown::Hold(_) if self.current.is_some_and(|owner| self.pool.placed(owner).is_retired()) => {
                Detour::Allowed
            }
            OnDown::Hold(_) if Instant::now() < self.held_until() => Detour::Later,
            OnDown::Hold(_) => Detour::Allowed,
        }
    }

    /// Until when the keys of the owner wait for it.
    pub(crate) fn held_until(&mut self) -> Instant {
        let ill_since = || self.current.and_then(|owner| self.pool.placed(owner).vital.ill_since());
        let since = *self.down_since.get_or_insert_with(|| ill_since().unwrap_or_else(Instant::now));
        match self.pool.settings.on_down {
            OnDown::Hold(time) => since + time,
            OnDown::Spill | OnDown::Fail => since,
        }
    }

    fn pass(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
        self.current = self.candidates.next();
    }

    fn pass_limited(&mut self) {
        self.is_any_at_limit = true;
        self.pass(Reason::Full);
    }

    fn remember(&mut self, node: Least) {
        if self.least.is_none_or(|least| bound::is_less_loaded(node.load, least.load)) {
            self.least = Some(node);
        }
    }

    /// No candidate is left: the least loaded one takes what is above its bound.
    fn pick_least(&mut self) -> Pick<'a> {
        if let Some(Least { index, .. }) = self.least.take() {
            match admission::admit_above_bound(self.worker, self.pool, index) {
                None => self.is_any_at_limit = true,
                in_flight => {
                    self.current = Some(index);
                    return Pick::Node(Chosen { node: self.pool.placed(index), is_trial: false, in_flight });
                }
            }
        }
        let pool = || self.pool.settings.name.clone();
        match self.reason {
            _ if self.is_any_at_limit => Pick::Queue,
            None => Pick::Nobody(ProxyError::NoNode { pool: pool() }),
            Some(_) => Pick::Nobody(ProxyError::NodesDown { pool: pool() }),
        }
    }

    /// Takes a node for the request, if it may be used.
    fn try_use(&self, index: usize) -> Result<Chosen<'a>, Useless> {
        let node = self.pool.placed(index);
        let is_panicking = || self.pool.vital.is_panicking();
        let trial = match node.vital.mark() {
            Mark::Well => None,
            Mark::OpenTrial => Some(Mark::OpenTrial),
            Mark::Trial if self.is_repeatable => Some(Mark::Trial),
            Mark::Trial | Mark::Ill if is_panicking() => None,
            Mark::Trial | Mark::Ill => return Err(Useless::Ill),
        };
        let in_flight = admission::admit(self.worker, self.pool, index, self.is_queued).map_err(Useless::Full)?;
        // Trials go on in a panic, which would have no end without them.
        let is_trial = trial.is_some_and(|trial| node.vital.take_trial(trial));
        match is_trial || trial.is_none() || is_panicking() {
            true => Ok(Chosen { node, is_trial, in_flight }),
            false => {
                in_flight.into_iter().for_each(InFlight::undo);
                Err(Useless::Ill)
            }
        }
    }
}
