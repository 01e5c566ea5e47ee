//! The figures, each with its definition, of one placement and of the step to another.
//!
//! `p` and `q` are what the nodes own before and after a change, and `t` and `t'` what their weights entitle them to,
//! all as parts of the load that sum to 1.

use crate::placement::PlacedNode;
use crate::placement::Placement;
use crate::placement::indexes_in;
use crate::placement::plan;
use crate::placement::ratio;
use crate::simulation::keys::Keys;
use serde::Serialize;

/// The load of one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeLoad {
    /// The node.
    pub name: String,
    /// Its part of all load, `p`, 0 to 1.
    pub share: f64,
    /// The part that its weight entitles it to, `t`.
    pub entitlement: f64,
}

impl NodeLoad {
    /// `p / t`: 1 is fair.
    pub fn relative(&self) -> f64 {
        self.share / self.entitlement
    }
}

/// How even the load of nodes is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Balance {
    /// Peak-to-average: the largest `p / t`.
    pub peak: f64,
    /// The smallest `p / t`.
    pub least: f64,
    /// The coefficient of variation of `p / t`: the standard deviation, each node counting by its weight, over the
    /// mean, which is 1.
    pub cv: f64,
}

impl Balance {
    /// Of at least one node.
    pub fn of(nodes: &[NodeLoad]) -> Balance {
        let relative = || nodes.iter().map(NodeLoad::relative);
        let variance: f64 = nodes.iter().map(|node| node.entitlement * (node.relative() - 1.0).powi(2)).sum();
        Balance {
            peak: relative().fold(0.0, f64::max),
            least: relative().fold(f64::INFINITY, f64::min),
            cv: variance.sqrt(),
        }
    }
}

/// What a change moves, as parts of the load, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Movement {
    /// What has another node than before.
    pub moved: f64,
    /// The least that has to move between the entitlements: the sum of `max(0, t' - t)`.
    pub optimum: f64,
    /// Structural excess: `moved` over the least that can move between the actual shares, which is the sum of
    /// `max(0, q - p)`. 1, the best, if and only if no node both gains and loses.
    pub excess: f64,
    /// What moves between two nodes that are both there before and after, with the same weight.
    pub collateral: f64,
}

impl Movement {
    /// Movement ratio: `moved / optimum`. Below 1 by luck, where a node that goes has less than its fair share.
    pub fn ratio(&self) -> f64 {
        self.moved / self.optimum
    }

    /// `collateral / optimum`.
    pub fn collateral_ratio(&self) -> f64 {
        self.collateral / self.optimum
    }
}

/// A placement as the load sees it.
pub(super) struct View<'a> {
    placement: &'a Placement,
    keys: &'a Keys,
    /// The index of each listed key's owner.
    owners: Vec<usize>,
}

impl<'a> View<'a> {
    /// Of a placement with nodes.
    pub(super) fn of(placement: &'a Placement, keys: &'a Keys) -> View<'a> {
        let owner = |key: &[u8]| placement.owner(placement.position(key)).expect("there are nodes");
        let owners = match keys {
            Keys::Exact => Vec::new(),
            Keys::Listed(keys) => keys.iter().map(|(key, _)| owner(key)).collect(),
        };
        View { placement, keys, owners }
    }

    /// Every node's load, in the order of the indexes.
    pub(super) fn loads(&self) -> Vec<NodeLoad> {
        let weights: u32 = self.placement.nodes().iter().map(|node| node.weight).sum();
        let nodes = self.placement.nodes().iter().zip(self.shares());
        let load = |(node, share): (&PlacedNode, f64)| NodeLoad {
            name: node.name.clone(),
            share,
            entitlement: f64::from(node.weight) / f64::from(weights),
        };
        nodes.map(load).collect()
    }

    /// What the step to `after` moves.
    pub(super) fn movement_to(&self, after: &View<'_>) -> Movement {
        let Keys::Listed(keys) = self.keys else {
            let movement = plan::movement(self.placement, after.placement);
            return Movement {
                moved: movement.moved_ratio,
                optimum: movement.optimal_ratio,
                excess: movement.structural_excess,
                collateral: movement.collateral_ratio,
            };
        };
        let [stay, stayed] = plan::unchanged(self.placement, after.placement);
        let former = indexes_in(self.placement.nodes(), after.placement.nodes());
        let (mut moved, mut collateral) = (0, 0);
        for ((_, requests), (from, to)) in keys.iter().zip(self.owners.iter().zip(&after.owners)) {
            if former[*to] != Some(*from) {
                moved += requests;
                collateral += if stay[*from] && stayed[*to] { *requests } else { 0 };
            }
        }
        let before = self.requests(keys);
        let had = |to: usize| former[to].map_or(0, |from| before[from]);
        let least: u64 = after.requests(keys).iter().zip(0..).map(|(has, to)| has.saturating_sub(had(to))).sum();
        let all = before.iter().sum::<u64>() as f64;
        Movement {
            moved: moved as f64 / all,
            optimum: plan::optimal_ratio(self.placement.nodes(), after.placement.nodes()),
            excess: if moved == 0 { 1.0 } else { moved as f64 / least.max(1) as f64 },
            collateral: collateral as f64 / all,
        }
    }

    /// The part of the load that has another node in `other`.
    pub(super) fn moved_to(&self, other: &View<'_>) -> f64 {
        match self.keys {
            Keys::Exact => plan::moved_ratio(self.placement, other.placement),
            Keys::Listed(_) => self.movement_to(other).moved,
        }
    }

    /// See [`crate::simulation::Trial::failover_spread`]; 1 where nothing is taken over.
    pub(super) fn failover_spread(&self, failed: &str) -> f64 {
        let nodes = self.placement.nodes();
        let failed = nodes.iter().position(|node| node.name == failed).expect("a node of the placement");
        let taken = self.taken_over(failed);
        let others: u32 = nodes.iter().map(|node| node.weight).sum::<u32>() - nodes[failed].weight;
        let all: f64 = taken.iter().sum();
        let spread = |(taken, weight): (&f64, u32)| taken / all * f64::from(others) / f64::from(weight);
        match all > 0.0 {
            true => taken.iter().zip(nodes.iter().map(|node| node.weight)).map(spread).fold(0.0, f64::max),
            false => 1.0,
        }
    }

    /// What each node takes over from one that falls ill, by index.
    fn taken_over(&self, failed: usize) -> Vec<f64> {
        let mut taken = vec![0.0; self.placement.nodes().len()];
        let next = |position| self.placement.candidates(position).find(|node| *node != failed).expect("two nodes");
        match self.keys {
            Keys::Listed(keys) => {
                let lost = keys.iter().zip(&self.owners).filter(|(_, owner)| **owner == failed);
                lost.for_each(|((key, requests), _)| taken[next(self.placement.position(key))] += *requests as f64);
            }
            // Each candidate of a ring is the owner once those before it are gone.
            Keys::Exact if matches!(self.placement, Placement::Ring(_)) => return self.gained_without(failed),
            Keys::Exact => {
                let mut start = 0;
                for (last, owner) in self.placement.stretches(0) {
                    if owner == failed {
                        let part = (last - start) as f64 / PARTS as f64;
                        middles(start, last).for_each(|position| taken[next(position)] += part);
                    }
                    start = last.wrapping_add(1);
                }
            }
        }
        taken
    }

    /// What each node has more when another one is removed, by index.
    fn gained_without(&self, removed: usize) -> Vec<f64> {
        let mut left = self.placement.nodes().to_vec();
        left.remove(removed);
        let after = self.placement.rebuild(self.placement.settings(), left).expect("fewer points fit as well");
        let mut shares = after.shares();
        shares.insert(removed, 0);
        let before = self.placement.shares();
        shares.iter().zip(before).map(|(after, before)| ratio(after.saturating_sub(before))).collect()
    }

    /// The part of the load that each node has, by index.
    fn shares(&self) -> Vec<f64> {
        let Keys::Listed(keys) = self.keys else {
            return self.placement.shares().into_iter().map(ratio).collect();
        };
        let requests = self.requests(keys);
        let all = requests.iter().sum::<u64>() as f64;
        requests.into_iter().map(|requests| requests as f64 / all).collect()
    }

    /// The requests that each node gets, by index.
    fn requests(&self, keys: &[(Box<[u8]>, u64)]) -> Vec<u64> {
        let mut requests = vec![0; self.placement.nodes().len()];
        keys.iter().zip(&self.owners).for_each(|((_, count), owner)| requests[*owner] += count);
        requests
    }
}

/// The middles of the equal parts of a stretch.
fn middles(start: u64, last: u64) -> impl Iterator<Item = u64> {
    let half = (last - start) / (2 * PARTS);
    (0..PARTS).map(move |part| start + half * (2 * part + 1))
}

/// Into so many parts a stretch of the key space is cut to see where its keys go next. Mostly all go to one node, be it
/// a slot or the surroundings of a point; where the hash is mixed again, as by Maglev, they need not.
const PARTS: u64 = 8;
