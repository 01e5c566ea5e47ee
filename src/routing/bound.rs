//! How many requests a node may have at once: its share of the load and somewhat more, and what it can bear at all.
//!
//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): a node that has as many requests as it
//! may passes the next one on along the candidates of its key. HAProxy calls it `hash-balance-factor`, Envoy
//! `hash_balance_factor`; `min-gap` beside the factor keeps a few requests from being spread in a pool that is idle.

use crate::section::Printer;
use crate::section::Section;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What bounds the load of each node of a pool, counted at this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadSettings {
    /// `load-bound`: how far a node may be above its share. Default: as far as it comes.
    pub bound: Option<LoadBound>,
    /// `max-inflight`: requests at a node. Default: any number.
    pub max_inflight: Option<u32>,
    /// `max-connections`: connections to a node, idle ones included. Default: any number.
    pub max_connections: Option<u32>,
    /// `queue-timeout` 5s: how long a request waits while all usable nodes are at one of their limits.
    pub queue_timeout: Duration,
}

/// `load-bound = { factor, min-gap }`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadBound {
    /// `factor` 1.25, in thousandths: what a node may have, as a multiple of its share.
    pub factor_thousandths: u32,
    /// `min-gap` 4: so many requests above its share a node may have in any case.
    pub min_gap: u32,
}

impl LoadSettings {
    /// Reads the settings of one pool.
    pub fn read(section: &mut Section<'_>) -> LoadSettings {
        let is_bounded = section.gives("load-bound");
        let bound = section.section("load-bound", LoadBound::read);
        LoadSettings {
            bound: is_bounded.then_some(bound),
            max_inflight: section.value("max-inflight").and_then(|value| value.integer(LIMITS)),
            max_connections: section.value("max-connections").and_then(|value| value.integer(LIMITS)),
            queue_timeout: section.duration("queue-timeout", Duration::from_secs(5), QUEUE_TIMEOUTS),
        }
    }

    /// Writes those that are no table.
    pub fn print(&self, printer: &mut Printer) {
        printer.set_some("max-inflight", self.max_inflight);
        printer.set_some("max-connections", self.max_connections);
        printer.set_duration("queue-timeout", self.queue_timeout);
    }

    /// Writes `[pool.load-bound]`.
    pub fn print_table(&self, printer: &mut Printer) {
        if let Some(bound) = self.bound {
            printer.table("[pool.load-bound]");
            printer.set_decimal("factor", bound.factor_thousandths);
            printer.set("min-gap", bound.min_gap);
        }
    }

    /// How many requests a node may have before others come first, by `load-bound` and `max-inflight`; the load is that
    /// of [`LoadBound::cap`]. `None` where any number may be.
    pub fn cap(&self, in_flight: u64, weight: u64, usable_weight: u64) -> Option<u64> {
        let bound = self.bound.map(|bound| bound.cap(in_flight, weight, usable_weight));
        bound.into_iter().chain(self.max_inflight.map(u64::from)).min()
    }

    /// Whether the requests of the pool are counted.
    pub fn is_any(&self) -> bool {
        self.bound.is_some() || self.has_limit()
    }

    /// Whether a request may have to wait for room.
    pub fn has_limit(&self) -> bool {
        self.max_inflight.is_some() || self.max_connections.is_some()
    }
}

impl LoadBound {
    fn read(section: &mut Section<'_>) -> LoadBound {
        LoadBound {
            factor_thousandths: section.decimal("factor", 1250, FACTORS),
            min_gap: section.integer("min-gap", 4, 0..=1_000_000),
        }
    }

    /// How many requests a node of `weight` may have once one more has come to `in_flight` in the pool, whose usable
    /// nodes weigh `usable_weight` in all. At most everything, where the node is not among them.
    pub fn cap(self, in_flight: u64, weight: u64, usable_weight: u64) -> u64 {
        let load = (u128::from(in_flight) + 1) * u128::from(weight);
        let all = u128::from(usable_weight.max(weight).max(1));
        let fair = load.div_ceil(all);
        let stretched = (load * u128::from(self.factor_thousandths)).div_ceil(all * 1000);
        u64::try_from(stretched.max(fair + u128::from(self.min_gap))).unwrap_or(u64::MAX)
    }
}

/// Whether a node with so many requests for its weight has less to do than another: each as requests and weight.
pub fn is_less_loaded(one: (u64, u64), other: (u64, u64)) -> bool {
    u128::from(one.0) * u128::from(other.1) < u128::from(other.0) * u128::from(one.1)
}

const FACTORS: RangeInclusive<u32> = 1_000..=100_000;
const LIMITS: RangeInclusive<u32> = 1..=1_000_000;
const QUEUE_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds() -> impl Strategy<Value = LoadBound> {
        (FACTORS, 0_u32..100).prop_map(|(factor_thousandths, min_gap)| LoadBound { factor_thousandths, min_gap })
    }

    #[test]
    fn of_a_bound_and_a_limit_the_lower_one_counts() {
        let bound = Some(LoadBound { factor_thousandths: 1250, min_gap: 4 });
        for (bound, max_inflight, cap) in
            [(None, None, None), (bound, None, Some(32)), (None, Some(7), Some(7)), (bound, Some(7), Some(7))]
        {
            let settings = LoadSettings { bound, max_inflight, max_connections: None, queue_timeout: Duration::ZERO };
            assert_eq!(settings.cap(99, 1, 4), cap, "{settings:?}");
        }
    }

    #[test]
    fn the_cap_is_the_larger_of_factor_and_gap() {
        let bound = LoadBound { factor_thousandths: 1250, min_gap: 4 };
        for (in_flight, weight, usable_weight, cap) in [
            (0, 1, 4, 5),
            (99, 1, 4, 32),
            (100, 1, 4, 32),
            (103, 1, 4, 33),
            (15, 1, 4, 8),
            (99, 2, 4, 63),
            (99, 1, 0, 125),
            (u64::MAX, 1000, 1000, u64::MAX),
        ] {
            assert_eq!(
                bound.cap(in_flight, weight, usable_weight),
                cap,
                "{in_flight} in flight, {weight} of {usable_weight}"
            );
        }
    }

    #[test]
    fn load_is_compared_by_weight() {
        assert!(is_less_loaded((3, 2), (2, 1)), "one and a half for each unit against two");
        assert!(!is_less_loaded((2, 1), (4, 2)), "as much");
        assert!(is_less_loaded((0, 1), (1, 1000)), "nothing is less than anything");
    }

    proptest! {
        #[test]
        fn no_cap_is_below_the_share_and_the_gap(
            bound in bounds(), in_flight in 0_u64..1_000_000, weight in 1_u64..1000, others in 0_u64..100_000,
        ) {
            let fair = ((in_flight + 1) * weight).div_ceil(weight + others);
            prop_assert!(bound.cap(in_flight, weight, weight + others) >= fair + u64::from(bound.min_gap));
        }

        #[test]
        fn a_cap_never_shrinks_when_more_requests_come(
            bound in bounds(), in_flight in 0_u64..1_000_000, more in 0_u64..1000, weight in 1_u64..1000,
            others in 0_u64..100_000,
        ) {
            let (before, after) = (in_flight, in_flight + more);
            prop_assert!(bound.cap(before, weight, weight + others) <= bound.cap(after, weight, weight + others));
        }

        #[test]
        fn there_is_always_room_for_one_more_somewhere(
            bound in bounds(),
            nodes in prop::collection::vec((1_u64..1000, 0_u64..1000), 1..30),
        ) {
            let usable_weight = nodes.iter().map(|node| node.0).sum();
            let in_flight = nodes.iter().map(|node| node.1).sum();
            let has_room = |node: &(u64, u64)| node.1 < bound.cap(in_flight, node.0, usable_weight);
            prop_assert!(nodes.iter().any(has_room), "none of {:?}", nodes);
            let caps: u64 = nodes.iter().map(|node| bound.cap(in_flight, node.0, usable_weight)).sum();
            prop_assert!(caps > in_flight);
        }

        #[test]
        fn a_hot_key_in_an_idle_pool_stays_below_the_gap(
            bound in bounds(), weight in 1_u64..1000, others in 0_u64..100_000,
        ) {
            for in_flight in 0..=u64::from(bound.min_gap) {
                prop_assert!(in_flight < bound.cap(in_flight, weight, weight + others), "with {}", in_flight);
            }
        }
    }
}
