//! Whether a request that failed at a node is sent again, and where to.
//!
//! What did not reach a node may always be sent again. What may have reached one is sent again only when that cannot do
//! anything twice (RFC 9110 section 9.2.2) and the whole of it is still held; the budget of the pool bounds how often.

use crate::routing::window::Window;
use crate::section::Printer;
use crate::section::Section;
use std::time::Duration;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing of the request was sent.
    Unsent,
    /// Nothing of it was sent over a kept connection, which turned out closed.
    UnsentOnKept,
    /// A kept connection was closed before anything was answered: most likely the node had closed it as idle.
    LostOnKept,
    /// The request may have been sent, and was not answered.
    Lost,
    /// The node answered with a status that the pool takes for a failure.
    Status,
}

/// Whether a key may leave the node that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detour {
    /// It may.
    Allowed,
    /// Not yet.
    Later,
    /// Never.
    Forbidden,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is sent to the same node over a new connection.
    SameNode,
    /// It waits a little and tries the same node again.
    Wait,
    /// It goes to the next candidate.
    NextNode,
    /// It is answered with what happened.
    GiveUp,
}

/// How a request stands when an attempt at it has failed.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Time since it came.
    pub now: Duration,
    /// Whether the whole of it can be sent again.
    pub is_held: bool,
    /// Whether its key may leave the node.
    pub detour: Detour,
}

/// The attempts at one request.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// Nodes that may still be tried.
    nodes_left: usize,
    deadline: Option<Duration>,
    is_idempotent: bool,
}

impl Attempts {
    /// At most `nodes` distinct nodes, of which the first one is being tried, and none after the `deadline`, counted
    /// from the begin of the request.
    pub fn new(nodes: usize, deadline: Option<Duration>, is_idempotent: bool) -> Attempts {
        Attempts { nodes_left: nodes.saturating_sub(1), deadline, is_idempotent }
    }

    /// Decides after an attempt failed. `may_spend` takes from the budget of the pool, and says whether there was
    /// something left.
    pub fn after(&mut self, failure: Failure, situation: Situation, may_spend: impl FnOnce() -> bool) -> Next {
        let Situation { now, is_held, detour } = situation;
        if !is_held || self.deadline.is_some_and(|deadline| now >= deadline) {
            return Next::GiveUp;
        }
        match failure {
            Failure::UnsentOnKept => return Next::SameNode,
            Failure::LostOnKept | Failure::Lost | Failure::Status if !self.is_idempotent => return Next::GiveUp,
            Failure::LostOnKept => return if may_spend() { Next::SameNode } else { Next::GiveUp },
            Failure::Unsent | Failure::Lost | Failure::Status => {}
        }
        let next = match detour {
            Detour::Forbidden => return Next::GiveUp,
            Detour::Later => Next::Wait,
            Detour::Allowed if self.nodes_left == 0 => return Next::GiveUp,
            Detour::Allowed => Next::NextNode,
        };
        if failure != Failure::Unsent && !may_spend() {
            return Next::GiveUp;
        }
        self.nodes_left -= usize::from(next == Next::NextNode);
        next
    }
}

/// How many requests that may have reached a node are sent again: a share of the live traffic, so that a pool in
/// trouble is not drowned by repetition, and a rate that is allowed even where there is hardly any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// `percent` 20: of the requests of the last ten seconds.
    pub percent: u32,
    /// `min-per-second` 10: allowed in any case, on average over ten seconds.
    pub min_per_second: u32,
}

impl BudgetSettings {
    /// Reads the table `retry-budget`.
    pub fn read(section: &mut Section<'_>) -> BudgetSettings {
        BudgetSettings {
            percent: section.integer("percent", 20, 0..=1000),
            min_per_second: section.integer("min-per-second", 10, 0..=1_000_000),
        }
    }

    /// Writes `[pool.retry-budget]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[pool.retry-budget]");
        printer.set("percent", self.percent);
        printer.set("min-per-second", self.min_per_second);
    }
}

/// What was spent of the budget, and what it grows with. Each worker has its own for each pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    window: Window,
    spent: u64,
}

/// How far back requests and attempts count.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);

impl Budget {
    /// Takes note of how many requests there were since the beginning; called now and then, at least every second.
    pub fn sample(&mut self, now: Duration, requests: u64) {
        self.window.sample(now, BUDGET_WINDOW, requests, self.spent);
    }

    /// Spends one attempt if there is one left. `workers` share the minimum rate.
    pub fn try_spend(&mut self, now: Duration, requests: u64, settings: BudgetSettings, workers: usize) -> bool {
        let (recent, spent) = self.window.sample(now, BUDGET_WINDOW, requests, self.spent);
        let workers = u64::try_from(workers.max(1)).unwrap_or(u64::MAX);
        let least = (u64::from(settings.min_per_second) * BUDGET_WINDOW.as_secs()).div_ceil(workers);
        let is_left = spent < least.max(recent.saturating_mul(u64::from(settings.percent)) / 100);
        self.spent += u64::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failures() -> impl Strategy<Value = Failure> {
        prop_oneof![
            Just(Failure::Unsent),
            Just(Failure::UnsentOnKept),
            Just(Failure::LostOnKept),
            Just(Failure::Lost),
            Just(Failure::Status),
        ]
    }

    fn detours() -> impl Strategy<Value = Detour> {
        prop_oneof![Just(Detour::Allowed), Just(Detour::Later), Just(Detour::Forbidden)]
    }

    proptest! {
        #[test]
        fn what_may_have_been_sent_is_never_repeated_unless_it_is_idempotent_and_held(
            steps in proptest::collection::vec((failures(), detours(), any::<bool>()), 1..20),
            is_idempotent: bool,
            nodes in 1_usize..5,
        ) {
            let mut attempts = Attempts::new(nodes, None, is_idempotent);
            for (failure, detour, is_held) in steps {
                let next = attempts.after(failure, Situation { now: Duration::ZERO, is_held, detour }, || true);
                let may_have_been_sent = matches!(failure, Failure::LostOnKept | Failure::Lost | Failure::Status);
                if (may_have_been_sent && !is_idempotent) || !is_held {
                    prop_assert_eq!(next, Next::GiveUp);
                }
            }
        }

        #[test]
        fn no_more_nodes_are_tried_than_allowed_and_none_against_the_rule_for_its_key(
            steps in proptest::collection::vec((failures(), detours()), 1..20),
            nodes in 1_usize..5,
        ) {
            let mut attempts = Attempts::new(nodes, None, true);
            let mut tried = 1;
            for (failure, detour) in steps {
                let next = attempts.after(failure, Situation { now: Duration::ZERO, is_held: true, detour }, || true);
                tried += usize::from(next == Next::NextNode);
                prop_assert!(next != Next::NextNode || detour == Detour::Allowed);
            }
            prop_assert!(tried <= nodes, "{} of {}", tried, nodes);
        }

        #[test]
        fn nothing_is_tried_after_the_deadline(failure in failures(), detour in detours(), late_ms in 0_u64..1000) {
            let deadline = Duration::from_secs(1);
            let mut attempts = Attempts::new(3, Some(deadline), true);
            let now = deadline + Duration::from_millis(late_ms);
            prop_assert_eq!(attempts.after(failure, Situation { now, is_held: true, detour }, || true), Next::GiveUp);
        }

        #[test]
        fn only_what_may_have_been_sent_takes_from_the_budget(failure in failures(), detour in detours()) {
            let mut asked = false;
            let mut attempts = Attempts::new(2, None, true);
            let next = attempts.after(failure, Situation { now: Duration::ZERO, is_held: true, detour }, || {
                asked = true;
                false
            });
            let may_have_been_sent = matches!(failure, Failure::LostOnKept | Failure::Lost | Failure::Status);
            let is_at_same_node = failure == Failure::LostOnKept;
            prop_assert_eq!(asked, may_have_been_sent && (is_at_same_node || detour != Detour::Forbidden));
            prop_assert!(!asked || next == Next::GiveUp);
        }

        #[test]
        fn a_budget_is_never_overdrawn(
            steps in proptest::collection::vec((0_u64..3000, 0_u64..50), 1..200),
            percent in 0_u32..=100,
            min_per_second in 0_u32..20,
        ) {
            let (mut budget, mut now, mut requests, mut spent) = (Budget::default(), Duration::ZERO, 0, 0);
            budget.sample(now, requests);
            for (wait_ms, more) in steps {
                now += Duration::from_millis(wait_ms);
                requests += more;
                spent += u64::from(budget.try_spend(now, requests, BudgetSettings { percent, min_per_second }, 1));
                let most = requests * u64::from(percent) / 100 + u64::from(min_per_second) * (now.as_secs() + 10);
                prop_assert!(spent <= most.max(1), "{} of {} at {:?}", spent, most, now);
            }
        }
    }

    #[test]
    fn a_burst_of_failures_spends_the_budget_and_it_comes_back_with_time() {
        let settings = BudgetSettings { percent: 20, min_per_second: 1 };
        let mut budget = Budget::default();
        budget.sample(Duration::ZERO, 0);
        let mut spend = |now| (0..1000).filter(|_| budget.try_spend(now, 100, settings, 1)).count();
        assert_eq!(spend(Duration::from_secs(1)), 20, "a fifth of a hundred requests");
        assert_eq!(spend(Duration::from_secs(9)), 0);
        assert_eq!(spend(Duration::from_secs(12)), 10, "the requests are long past, the rate remains");
    }
}
