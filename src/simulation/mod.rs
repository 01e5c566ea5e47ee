//! What placements do to keys, in figures that can stand side by side: balance, movement, failover, reversibility,
//! agreement.
//!
//! Nothing here is sampled unless keys are given: shares are arcs and slots. Only who takes over from a node that falls
//! ill is asked at 8 places of each of its stretches, because other placements than a ring may spread one stretch over
//! several nodes. What is left to chance is who the nodes are, so everything is worked out for several *seeds*, each of
//! which makes up other names, addresses and ids. The same seeds give the same figures on every machine.

mod changes;
mod fleet;
mod keys;
mod measure;
mod report;
mod zipf;

pub use crate::simulation::changes::ChangeKind;
pub use crate::simulation::fleet::Fleet;
pub use crate::simulation::keys::KEYS_MAX;
pub use crate::simulation::keys::KeyCounts;
pub use crate::simulation::keys::Keys;
pub use crate::simulation::measure::Balance;
pub use crate::simulation::measure::Movement;
pub use crate::simulation::measure::NodeLoad;
pub use crate::simulation::report::ChangeReport;
pub use crate::simulation::report::Report;
pub use crate::simulation::report::Summary;
pub use crate::simulation::zipf::Zipf;

use crate::cluster::membership::Change;
use crate::cluster::membership::Membership;
use crate::cluster::membership::Refused;
use crate::cluster::node::Node;
use crate::placement::Placement;
use crate::placement::PlacementSettings;
use crate::placement::WEIGHT_MAX;
use crate::placement::dialect::DefaultId;
use crate::placement::seed::Seed;
use crate::simulation::measure::View;
use std::fmt;
use std::str::FromStr;

/// A placement that takes part. As text it is what [`PlacementSettings`] reads, with an optional word `weights=x10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// How it places keys.
    pub placement: PlacementSettings,
    /// What the weights of all nodes are multiplied by, for this placement only. HAProxy has 16 points for each unit of
    /// weight, and is often run with higher weights for that reason.
    pub weights_times: u32,
    /// The secret seed of a pool that has one (`seed-file`). It is no part of the text that this is read from; that
    /// there is one shows.
    pub seed: Option<Seed>,
}

impl Contender {
    /// Those that are compared unless others are asked for: Ringway's own, and what nginx, HAProxy and Envoy have.
    /// HAProxy stands there twice, with the 16 points of its usual weight and with the 160 that nginx has.
    pub const USUAL: [&'static str; 7] =
        ["ring", "table", "nginx", "haproxy", "haproxy weights=x10", "envoy-ring-hash", "envoy-maglev"];

    /// A node as this placement has it. `id` is for those that hash a number of the operator's, as HAProxy does.
    fn fitted(&self, mut node: Node, id: String) -> Node {
        node.weight = node.weight.saturating_mul(self.weights_times);
        let default_id = self.placement.dialect().map(|kind| kind.default_id(&node.address.to_string()));
        if node.placement_id.is_none() && default_id == Some(DefaultId::Missing) {
            node.placement_id = Some(id);
        }
        node
    }
}

impl From<PlacementSettings> for Contender {
    fn from(placement: PlacementSettings) -> Contender {
        Contender { placement, weights_times: 1, seed: None }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.placement)?;
        if self.weights_times != 1 {
            write!(out, " {WEIGHTS}{}", self.weights_times)?;
        }
        if self.seed.is_some() { write!(out, " seeded") } else { Ok(()) }
    }
}

/// The error is a sentence for the user.
impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Contender, String> {
        let is_factor = |word: &&str| word.starts_with("weights=");
        let (factors, settings): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(is_factor);
        let placement = settings.join(" ").parse()?;
        let Some(factor) = factors.last() else { return Ok(Contender::from(placement)) };
        let times = factor.strip_prefix(WEIGHTS).and_then(|times| times.parse().ok());
        let times = times.filter(|times| (1..=WEIGHT_MAX).contains(times));
        let weights_times = times
            .ok_or_else(|| format!("`{factor}` is no factor of weights; write {WEIGHTS}1 to {WEIGHTS}{WEIGHT_MAX}"))?;
        Ok(Contender { placement, weights_times, seed: None })
    }
}

/// One placement over one pool of nodes, and what is asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Simulation<'a> {
    /// Who the nodes are; two at least, or there is nobody to take over.
    pub fleet: &'a Fleet,
    /// How keys are placed on them.
    pub contender: Contender,
    /// What counts as load.
    pub keys: &'a Keys,
    /// What happens to the nodes.
    pub changes: &'a [ChangeKind],
}

/// What one seed came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// How even the load is before anything changes.
    pub balance: Balance,
    /// The load of each node before anything changes.
    pub nodes: Vec<NodeLoad>,
    /// What each change moves, in the order in which they were asked for.
    pub movements: Vec<(ChangeKind, Movement)>,
    /// What the busiest of the others takes over from a node that falls ill, over its fair part of that; 1 is even. The
    /// node stays a member, and each of its keys goes to its next candidate. With other programs' placements that is
    /// where they try again; where they rebuild without a node that checks found ill, they may spread it more.
    pub failover_spread: f64,
    /// The part of the load, 0 to 1, that is where it was after a node is added and removed again.
    pub reversibility: f64,
    /// The part of the load, 0 to 1, that has the same node when the members come in another order.
    pub agreement: f64,
}

impl Simulation<'_> {
    /// Works everything out for the nodes of a seed, from 1.
    ///
    /// # Errors
    /// When the placement cannot be built from them, or from what a change leaves of them.
    pub fn trial(&self, seed: u32) -> Result<Trial, Refused> {
        let chosen = changes::in_random_order(seed, self.fleet.len());
        let membership = Membership::with_nodes(self.contender.placement, self.nodes(seed))?;
        let secret = self.contender.seed;
        let placement = membership.build()?.seeded(secret)?;
        let before = View::of(&placement, self.keys);
        let newcomer = self.newcomer(seed, &membership.nodes()[chosen[0]]);
        let changed = |changes: &[Change]| -> Result<Placement, Refused> {
            Ok(membership.apply(changes)?.rebuild(&placement)?.seeded(secret)?)
        };
        let mut movements = Vec::new();
        for change in self.changes {
            let after = changed(&change.of(&membership, &chosen, &newcomer));
            let after = after.or_else(|refused| match change.instead(&membership, &chosen) {
                Some(changes) => changed(&changes),
                None => Err(refused),
            })?;
            movements.push((*change, before.movement_to(&View::of(&after, self.keys))));
        }
        let more = membership.apply(&[Change::Add(newcomer.clone())])?;
        let during = more.rebuild(&placement)?.seeded(secret)?;
        let restored = more.apply(&[Change::Remove { name: newcomer.name }])?.rebuild(&during)?.seeded(secret)?;
        let reordered = chosen.iter().map(|index| membership.nodes()[*index].clone()).collect();
        let reordered = Membership::with_nodes(self.contender.placement, reordered)?.build()?.seeded(secret)?;
        let nodes = before.loads();
        Ok(Trial {
            balance: Balance::of(&nodes),
            failover_spread: before.failover_spread(membership.nodes()[chosen[0]].name.as_str()),
            reversibility: 1.0 - before.moved_to(&View::of(&restored, self.keys)),
            agreement: 1.0 - before.moved_to(&View::of(&reordered, self.keys)),
            nodes,
            movements,
        })
    }

    fn nodes(&self, seed: u32) -> Vec<Node> {
        let nodes = self.fleet.nodes(seed).into_iter().zip(self.fleet.ids(seed));
        nodes.map(|(node, id)| self.contender.fitted(node, id)).collect()
    }

    /// A node that is none of them, as heavy as `like`.
    fn newcomer(&self, seed: u32, like: &Node) -> Node {
        let id = self.fleet.ids(seed).pop().unwrap_or_default();
        let newcomer = self.contender.fitted(self.fleet.newcomer(seed), id);
        Node { weight: like.weight, ..newcomer }
    }
}

/// How the factor of [`Contender::weights_times`] is written.
const WEIGHTS: &str = "weights=x";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trial(contender: &str, fleet: &Fleet, keys: &Keys, seed: u32) -> Trial {
        let contender = contender.parse().unwrap();
        let trial = Simulation { fleet, contender, keys, changes: &ChangeKind::ALL }.trial(seed);
        trial.unwrap_or_else(|refused| panic!("{contender} at seed {seed}: {refused}"))
    }

    fn equal(count: u32) -> Fleet {
        Fleet::MadeUp { count, weights: 1..=1 }
    }

    fn movement(trial: &Trial, asked: ChangeKind) -> Movement {
        trial.movements.iter().find(|(change, _)| *change == asked).map(|(_, movement)| *movement).unwrap()
    }

    #[test]
    fn contenders_read_back_as_they_are_written() {
        for text in Contender::USUAL.into_iter().chain(["table slots=262144 cap=1.05 weights=x3"]) {
            assert_eq!(text.parse::<Contender>().map(|contender| contender.to_string()), Ok(text.to_owned()));
        }
        for (text, answer) in [
            ("rign", "did you mean `ring`?"),
            ("ring weights=10", "`weights=10` is no factor of weights; write weights=x1 to weights=x1000"),
            ("ring weights=x0", "write weights=x1 to"),
            ("", "unknown placement ``"),
        ] {
            let refused = text.parse::<Contender>().unwrap_err();
            assert!(refused.contains(answer), "{text}: {refused}");
        }
    }

    #[test]
    fn a_ring_moves_only_what_it_must() {
        for seed in 1..=5 {
            for fleet in [equal(10), equal(100), Fleet::MadeUp { count: 20, weights: 1..=10 }] {
                let trial = trial("ring vnodes=64", &fleet, &Keys::Exact, seed);
                // In a replacement the others gain from one node and lose to another.
                for (change, movement) in trial.movements.iter().filter(|(change, _)| *change != ChangeKind::Replace) {
                    let collateral_and_excess = (movement.collateral, movement.excess);
                    assert_eq!(collateral_and_excess, (0.0, 1.0), "{change} of {fleet:?} at seed {seed}");
                }
                let replaced = movement(&trial, ChangeKind::Replace);
                assert_eq!(replaced.collateral, 0.0, "{fleet:?} at seed {seed}");
                assert!(replaced.ratio() < 2.5 && replaced.excess > 1.0, "{replaced:?} of {fleet:?} at seed {seed}");
                assert_eq!((trial.reversibility, trial.agreement), (1.0, 1.0), "{fleet:?} at seed {seed}");
            }
        }
    }

    #[test]
    fn a_table_keeps_what_it_promises() {
        for count in [10, 50, 100] {
            let trial = trial("table", &equal(count), &Keys::Exact, 1);
            let rounding = f64::from(count) / 65_536.0;
            assert!(trial.balance.peak <= 1.02 + rounding, "{count} nodes: {:?}", trial.balance);
            assert_eq!((trial.reversibility, trial.agreement), (1.0, 1.0), "{count} nodes");
        }
    }

    #[test]
    fn a_table_of_100_nodes_moves_hardly_more_than_it_must() {
        let ratios: Vec<f64> = (1..=3)
            .flat_map(|seed| {
                let trial = trial("table", &equal(100), &Keys::Exact, seed);
                [ChangeKind::Add, ChangeKind::Remove].map(|change| movement(&trial, change).ratio())
            })
            .collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        assert!(mean <= 1.15, "{mean}: {ratios:?}");
    }

    #[test]
    fn optima_are_what_the_weights_say() {
        let trial = trial("ring vnodes=8", &equal(20), &Keys::Exact, 1);
        for (change, optimum) in [
            (ChangeKind::Add, 1.0 / 21.0),
            (ChangeKind::Remove, 1.0 / 20.0),
            (ChangeKind::Reweight, 2.0 / 21.0 - 1.0 / 20.0),
            (ChangeKind::Replace, 1.0 / 20.0),
            (ChangeKind::RemoveTenth, 2.0 / 20.0),
        ] {
            assert!((movement(&trial, change).optimum - optimum).abs() < 1e-12, "{change}: {trial:?}");
        }
    }

    /// What nginx without `consistent` is known for: with a server more, 10 of 11 keys move.
    #[test]
    fn a_modulo_moves_nearly_everything() {
        let trial = trial("nginx-modulo", &equal(10), &Keys::Exact, 1);
        let moved = movement(&trial, ChangeKind::Add).moved;
        assert!((moved - 10.0 / 11.0).abs() < 0.01, "{moved}");
        assert!(trial.agreement < 0.5, "the order of the servers counts: {}", trial.agreement);
        assert_eq!(trial.reversibility, 1.0);
    }

    #[test]
    fn many_keys_find_what_exact_shares_say() {
        let fleet = equal(10);
        for contender in ["ring", "nginx", "haproxy", "envoy-maglev table-size=5003"] {
            let exact = trial(contender, &fleet, &Keys::Exact, 1);
            let counted = trial(contender, &fleet, &Keys::uniform(200_000), 1);
            let close = |what: &str, exact: f64, counted: f64, by: f64| {
                assert!((exact - counted).abs() < by, "{contender}: {what} is {exact}, counted {counted}");
            };
            close("peak", exact.balance.peak, counted.balance.peak, 0.03);
            close("cv", exact.balance.cv, counted.balance.cv, 0.01);
            close("failover", exact.failover_spread, counted.failover_spread, 0.1);
            for ((change, exact), (_, counted)) in exact.movements.iter().zip(&counted.movements) {
                close(&format!("{change} moved"), exact.moved, counted.moved, 0.005);
                close(&format!("{change} collateral"), exact.collateral, counted.collateral, 0.005);
                close(&format!("{change} excess"), exact.excess, counted.excess, 0.1);
            }
        }
    }

    #[test]
    fn a_few_hot_keys_make_any_placement_uneven() {
        let balance = trial("table", &equal(10), &Keys::zipf(1.1, 1_000, None), 1).balance;
        assert!(balance.peak > 1.3 && balance.least < 0.9, "{balance:?}");
    }

    #[test]
    fn a_node_is_made_lighter_where_the_placement_takes_none_heavier() {
        for (contender, weight) in [("haproxy", 200), ("haproxy weights=x10", 20), ("ring vnodes=1", WEIGHT_MAX)] {
            let trial = trial(contender, &Fleet::MadeUp { count: 3, weights: weight..=weight }, &Keys::Exact, 1);
            let optimum = movement(&trial, ChangeKind::Reweight).optimum;
            // From a third to a fifth.
            assert!((optimum - 2.0 / 15.0).abs() < 1e-9, "{contender}, {weight}: {optimum}");
        }
    }

    #[test]
    fn a_refusal_names_the_node_and_the_way_out() {
        let contender = "haproxy weights=x300".parse().unwrap();
        let fleet = equal(3);
        let simulation = Simulation { fleet: &fleet, contender, keys: &Keys::Exact, changes: &[] };
        let refused = simulation.trial(1).unwrap_err().to_string();
        assert!(refused.contains("`node-0001` has weight 300; those of HAProxy go up to 256"), "{refused}");
    }

    fn contender() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "ring vnodes=8",
            "table slots=8192",
            "nginx",
            "nginx-modulo",
            "ingress-nginx",
            "haproxy",
            "haproxy-3.0",
            "haproxy-map",
            "envoy-ring-hash minimum-size=128",
            "envoy-maglev table-size=1009",
            "ketama",
            "twemproxy",
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn figures_keep_to_their_definitions(
            contender in contender(),
            count in 2..14u32,
            heaviest in 1..6u32,
            seed in 1..1_000u32,
            is_exact: bool,
        ) {
            let keys = if is_exact { Keys::Exact } else { Keys::uniform(500) };
            let fleet = Fleet::MadeUp { count, weights: 1..=heaviest };
            let trial = trial(contender, &fleet, &keys, seed);
            prop_assert!((trial.nodes.iter().map(|node| node.share).sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(trial.balance.peak >= 1.0 - 1e-9 && trial.balance.least <= 1.0 + 1e-9);
            prop_assert!(trial.failover_spread >= 1.0 - 1e-9, "{}", trial.failover_spread);
            prop_assert_eq!(trial.reversibility, 1.0);
            for (change, movement) in &trial.movements {
                prop_assert!(movement.excess >= 1.0 - 1e-9, "{}: {:?}", change, movement);
                prop_assert!(movement.collateral <= movement.moved && movement.moved <= 1.0, "{movement:?}");
                prop_assert!(movement.optimum > 0.0, "{}: {:?}", change, movement);
            }
            prop_assert_eq!(trial.movements.len(), ChangeKind::ALL.len());
        }
    }
}
