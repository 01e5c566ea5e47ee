//! Which node a request goes to next: the candidates of its key in order, past those that are ill.

use crate::cluster::health::Mark;
use crate::cluster::health::settings::OnDown;
use crate::placement::Placement;
use crate::proxy::error::ProxyError;
use crate::proxy::table::PoolTable;
use crate::proxy::table::Upstream;
use crate::routing::attempts::Detour;
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
    /// It goes to a node, which may be on trial.
    Node { node: &'a Arc<Upstream>, is_trial: bool },
    /// It waits for the owner of its key, until then at most.
    Hold { until: Instant },
    /// There is none for it.
    Nobody(ProxyError),
}

/// Goes through the candidates of one request.
pub(crate) struct Picker<'a, C> {
    pool: &'a PoolTable,
    candidates: C,
    current: Option<&'a Arc<Upstream>>,
    /// How many candidates have been passed over for the one that is current.
    passed: usize,
    has_key: bool,
    /// Whether the request can be sent again elsewhere, so that it may try a node that may still be ill.
    is_repeatable: bool,
    /// Since when the owner is down, as far as this request knows.
    down_since: Option<Instant>,
}

/// The picker of a request, at the first of its candidates.
pub(crate) fn picker(pool: &PoolTable, order: Order, is_repeatable: bool) -> Picker<'_, impl Iterator<Item = usize>> {
    let mut candidates = order.candidates(&pool.placement);
    let current = candidates.next().map(|index| pool.placed(index));
    let has_key = matches!(order, Order::Key(_));
    Picker { pool, candidates, current, passed: 0, has_key, is_repeatable, down_since: None }
}

impl<'a, C: Iterator<Item = usize>> Picker<'a, C> {
    /// The candidate that is current, or the first one after it that may be used.
    pub(crate) fn pick(&mut self) -> Pick<'a> {
        while let Some(node) = self.current {
            if let Some(is_trial) = self.may_use(node) {
                return Pick::Node { node, is_trial };
            }
            match self.detour() {
                Detour::Allowed => self.pass(),
                Detour::Later => return Pick::Hold { until: self.held_until() },
                Detour::Forbidden => return Pick::Nobody(ProxyError::NodeDown { node: node.name.clone() }),
            }
        }
        let pool = self.pool.settings.name.clone();
        Pick::Nobody(match self.passed {
            0 => ProxyError::NoNode { pool },
            _ => ProxyError::NodesDown { pool },
        })
    }

    /// The first candidate after the one that is current that may be used.
    pub(crate) fn pick_next(&mut self) -> Pick<'a> {
        self.pass();
        self.pick()
    }

    /// Whether the node picked is not the first candidate.
    pub(crate) fn has_passed(&self) -> bool {
        self.passed > 0
    }

    /// Whether the request may leave the node that is current, which is of no use now.
    pub(crate) fn detour(&mut self) -> Detour {
        match self.pool.settings.on_down {
            _ if self.passed > 0 || !self.has_key => Detour::Allowed,
            OnDown::Spill => Detour::Allowed,
            OnDown::Fail => Detour::Forbidden,
            OnDown::Hold(_) if Instant::now() < self.held_until() => Detour::Later,
            OnDown::Hold(_) => Detour::Allowed,
        }
    }

    /// Until when the keys of the owner wait for it.
    pub(crate) fn held_until(&mut self) -> Instant {
        let ill_since = || self.current.and_then(|owner| owner.vital.ill_since());
        let since = *self.down_since.get_or_insert_with(|| ill_since().unwrap_or_else(Instant::now));
        match self.pool.settings.on_down {
            OnDown::Hold(time) => since + time,
            OnDown::Spill | OnDown::Fail => since,
        }
    }

    fn pass(&mut self) {
        self.passed += 1;
        self.current = self.candidates.next().map(|index| self.pool.placed(index));
    }

    /// Whether the request may go to `node`, and if so, whether on trial.
    fn may_use(&self, node: &Upstream) -> Option<bool> {
        match node.vital.mark() {
            Mark::Well => Some(false),
            _ if self.pool.vital.is_panicking() => Some(false),
            Mark::Trial if !self.is_repeatable => None,
            trial @ (Mark::Trial | Mark::OpenTrial) => node.vital.take_trial(trial).then_some(true),
            Mark::Ill => None,
        }
    }
}
