//! Where a key belongs: a pure function from a key to all nodes in order, owner first.

mod build_error;
pub mod dialect;
pub mod fingerprint;
pub mod hash;
pub mod plan;
mod points;
pub mod ring;
pub mod seed;
mod seen;
pub mod settings;
pub mod table;

pub use crate::placement::build_error::BuildError;
pub use crate::placement::fingerprint::Fingerprint;
pub use crate::placement::settings::PlacementSettings;

use crate::placement::dialect::Dialect;
use crate::placement::dialect::Kind;
use crate::placement::fingerprint::Digest;
use crate::placement::ring::Ring;
use crate::placement::seed::Seed;
use crate::placement::settings::Family;
use crate::placement::table::Table;
use std::collections::HashMap;
use std::iter::FusedIterator;
use std::ops::Rem;

/// One node as a placement sees it. Addresses and health are deliberately absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedNode {
    /// The node's identity.
    pub name: String,
    /// What is hashed for the node: what the operator gave, else the name, or the address where another program's
    /// placement hashes that.
    pub placement_id: String,
    /// 1 to [`WEIGHT_MAX`]: the node's share relative to the others.
    pub weight: u32,
}

/// A built placement: immutable, shared by all requests.
#[derive(Debug)]
pub enum Placement {
    /// See [`dialect::Dialect`].
    Dialect(PlacementSettings, Dialect),
    /// See [`ring::Ring`].
    Ring(Ring),
    /// See [`table::Table`].
    Table(Table),
}

/// A maximal stretch of positions that one node owns, from `start` up to the next arc's start (wrapping).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arc {
    /// The first position of the stretch.
    pub start: u64,
    /// Index of the owner.
    pub node: usize,
}

impl Placement {
    /// Builds a placement from nodes in any order; the result of Ringway's own kinds does not depend on it, that of
    /// others does as the original's. Without nodes it owns nothing.
    pub fn build(settings: PlacementSettings, nodes: Vec<PlacedNode>) -> Result<Placement, BuildError> {
        match settings.family() {
            Family::Dialect(kind) => {
                let dialect = Dialect::build(kind, in_given_order(kind, nodes)?)?;
                Ok(Placement::Dialect(settings, dialect))
            }
            Family::Ring { vnodes } => Ring::build(vnodes, in_index_order(nodes)?).map(Placement::Ring),
            Family::Table { slots, cap } => Table::build(slots, cap, in_index_order(nodes)?).map(Placement::Table),
        }
    }

    /// What [`Placement::build`] makes, without a seed, sooner where `self` is much like it already.
    pub fn rebuild(&self, settings: PlacementSettings, nodes: Vec<PlacedNode>) -> Result<Placement, BuildError> {
        match (self, settings.family()) {
            (Placement::Ring(ring), Family::Ring { vnodes }) => {
                ring.rebuild(vnodes, in_index_order(nodes)?).map(Placement::Ring)
            }
            (Placement::Table(table), Family::Table { slots, cap }) => {
                table.rebuild(slots, cap, in_index_order(nodes)?).map(Placement::Table)
            }
            _ => Placement::build(settings, nodes),
        }
    }

    /// Refuses what [`Placement::build`] would refuse, without building anything.
    pub fn check(settings: PlacementSettings, nodes: Vec<PlacedNode>) -> Result<(), BuildError> {
        match settings.family() {
            Family::Dialect(kind) => Ok(kind.check(&in_given_order(kind, nodes)?)?),
            Family::Ring { vnodes } => Ring::point_count(vnodes, &in_index_order(nodes)?).map(drop),
            Family::Table { slots, .. } => Table::check(slots, &in_index_order(nodes)?),
        }
    }

    /// The same nodes, with the keys where `seed` has them rather than where anybody can know.
    ///
    /// # Errors
    /// Where another program's placement is to have one.
    pub fn seeded(mut self, seed: Option<Seed>) -> Result<Placement, BuildError> {
        match &mut self {
            Placement::Dialect(settings, _) if seed.is_some() => {
                return Err(BuildError::Seeded { kind: settings.kind() });
            }
            Placement::Dialect(..) => {}
            Placement::Ring(ring) => ring.seed = seed,
            Placement::Table(table) => table.seed = seed,
        }
        Ok(self)
    }

    /// What keys are hashed with, if it is a secret.
    pub fn seed(&self) -> Option<Seed> {
        match self {
            Placement::Dialect(..) => None,
            Placement::Ring(ring) => ring.seed,
            Placement::Table(table) => table.seed,
        }
    }

    /// The nodes in the order of their indexes, which is the byte order of their placement-ids; in placements of other
    /// programs that in which they were given.
    pub fn nodes(&self) -> &[PlacedNode] {
        match self {
            Placement::Dialect(_, dialect) => dialect.nodes(),
            Placement::Ring(ring) => ring.nodes(),
            Placement::Table(table) => table.nodes(),
        }
    }

    /// The settings it was built with.
    pub fn settings(&self) -> PlacementSettings {
        match self {
            Placement::Dialect(settings, _) => *settings,
            Placement::Ring(ring) => PlacementSettings::Ring { vnodes: ring.vnodes() },
            Placement::Table(table) => PlacementSettings::Table { slots: table.slots(), cap: table.cap() },
        }
    }

    /// How many pieces the key space is put together from: the points of a ring, the slots of a table.
    pub fn pieces(&self) -> usize {
        match self {
            Placement::Dialect(_, dialect) => dialect.owners().len(),
            Placement::Ring(ring) => ring.points().len(),
            Placement::Table(table) => table.owners().len(),
        }
    }

    /// The position of a key, of which `key` is what the key rule hashes.
    #[inline]
    pub fn position(&self, key: &[u8]) -> u64 {
        match self {
            Placement::Dialect(_, dialect) => dialect.position(key),
            Placement::Ring(Ring { seed: None, .. }) | Placement::Table(Table { seed: None, .. }) => {
                hash::position(key)
            }
            Placement::Ring(Ring { seed: Some(seed), .. }) | Placement::Table(Table { seed: Some(seed), .. }) => {
                seed.position(key)
            }
        }
    }

    /// Index of the node that owns a position; `None` without nodes.
    #[inline]
    pub fn owner(&self, position: u64) -> Option<usize> {
        match self {
            Placement::Dialect(_, dialect) => dialect.owner(position),
            Placement::Ring(ring) => ring.owner(position),
            Placement::Table(table) => table.owner(position),
        }
    }

    /// All nodes, each once, owner first. Each is the owner after those before it are removed: of a ring always, of a
    /// table mostly (see [`table`]); other programs have orders of their own (see [`dialect`]). Lazy; the first 8
    /// allocate nothing.
    #[inline]
    pub fn candidates(&self, position: u64) -> Candidates<'_> {
        match self {
            Placement::Dialect(_, dialect) => Candidates(Order::Dialect(dialect.candidates(position))),
            Placement::Ring(ring) => Candidates(Order::Ring(ring.candidates(position))),
            Placement::Table(table) => Candidates(Order::Table(table.candidates(position))),
        }
    }

    /// Exact ownership: the number of positions each node owns, by index; sums to 2^64 (unless empty).
    pub fn shares(&self) -> Vec<u128> {
        let mut shares = vec![0; self.nodes().len()];
        let mut start = 0;
        self.stretches(0).for_each(|(last, owner)| {
            shares[owner] += u128::from(last - start) + 1;
            start = last.wrapping_add(1);
        });
        shares
    }

    /// Arcs sorted by start, neighbours (the last and the first too) of different owners; they cover all 2^64
    /// positions. A sole owner has one arc from 0; without nodes there is none.
    pub fn arcs(&self) -> Vec<Arc> {
        let mut arcs: Vec<Arc> = Vec::new();
        let mut start = 0;
        for (last, node) in self.stretches(0) {
            if arcs.last().is_none_or(|arc| arc.node != node) {
                arcs.push(Arc { start, node });
            }
            start = last.wrapping_add(1);
        }
        // What follows zero often belongs to the arc that reaches across it.
        if let [first, .., last] = arcs.as_slice()
            && first.node == last.node
        {
            arcs.remove(0);
        }
        arcs
    }

    /// Who owns what from `start` to the largest position: each stretch's last position and owner, in order.
    pub(crate) fn stretches(&self, start: u64) -> Stretches<'_> {
        match self {
            Placement::Dialect(_, dialect) => Stretches::Dialect(dialect.stretches(start)),
            Placement::Ring(ring) => Stretches::Ring(ring.stretches(start)),
            Placement::Table(table) => Stretches::Table(table.stretches(start)),
        }
    }

    /// What makes positions of keys: a dialect, or else Ringway's own kinds, by a seed or without. Placements of the
    /// same have every key at the same position.
    fn key_space(&self) -> (Option<dialect::KeySpace>, Option<Seed>) {
        match self {
            Placement::Dialect(_, dialect) => (Some(dialect.key_space()), None),
            Placement::Ring(_) | Placement::Table(_) => (None, self.seed()),
        }
    }

    /// Digest of the built placement, the node names and `key_rule`, the canonical text of how keys are read; of a seed
    /// too, where there is one.
    pub fn fingerprint(&self, key_rule: &str) -> Fingerprint {
        let mut digest = Digest::new("ringway placement 1");
        digest.text(key_rule);
        digest.length(self.nodes().len());
        for node in self.nodes() {
            digest.text(&node.name);
        }
        match self {
            Placement::Dialect(settings, dialect) => {
                digest.text(&settings.in_full());
                dialect.digest(&mut digest);
            }
            Placement::Ring(ring) => {
                digest.text("ring");
                digest.number(ring.vnodes());
                digest.positions(ring.points());
                digest.indexes(ring.owners());
            }
            Placement::Table(table) => {
                digest.text("table");
                digest.number(table.slots().count());
                digest.number(table.cap().thousandths());
                digest.indexes(table.owners());
            }
        }
        if let Some(seed) = self.seed() {
            digest.text("seed");
            digest.text(&seed.digest().to_string());
        }
        digest.finish()
    }
}

/// All nodes of a placement in the order in which a position prefers them; see [`Placement::candidates`].
#[derive(Clone, Debug)]
pub struct Candidates<'a>(Order<'a>);

/// How each kind finds them.
#[derive(Clone, Debug)]
enum Order<'a> {
    Dialect(dialect::Candidates<'a>),
    Ring(ring::Candidates<'a>),
    Table(table::Candidates<'a>),
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        match &mut self.0 {
            Order::Dialect(candidates) => candidates.next(),
            Order::Ring(candidates) => candidates.next(),
            Order::Table(candidates) => candidates.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Order::Dialect(candidates) => candidates.size_hint(),
            Order::Ring(candidates) => candidates.size_hint(),
            Order::Table(candidates) => candidates.size_hint(),
        }
    }
}

impl ExactSizeIterator for Candidates<'_> {}

impl FusedIterator for Candidates<'_> {}

/// The key space in pieces, in order, each with its last position and its owner; neighbours may have the same owner.
/// They end with the largest position.
#[derive(Debug)]
pub(crate) enum Stretches<'a> {
    /// See [`dialect::Stretches`].
    Dialect(dialect::Stretches<'a>),
    /// See [`ring::Stretches`].
    Ring(ring::Stretches<'a>),
    /// See [`table::Stretches`].
    Table(table::Stretches<'a>),
}

impl Iterator for Stretches<'_> {
    type Item = (u64, usize);

    #[inline]
    fn next(&mut self) -> Option<(u64, usize)> {
        match self {
            Stretches::Dialect(stretches) => stretches.next(),
            Stretches::Ring(stretches) => stretches.next(),
            Stretches::Table(stretches) => stretches.next(),
        }
    }

    /// Asks once which kind it is, and not for every piece.
    fn fold<B, F: FnMut(B, (u64, usize)) -> B>(self, first: B, add: F) -> B {
        match self {
            Stretches::Dialect(stretches) => stretches.fold(first, add),
            Stretches::Ring(stretches) => stretches.fold(first, add),
            Stretches::Table(stretches) => stretches.fold(first, add),
        }
    }
}

impl FusedIterator for Stretches<'_> {}

/// Sorts nodes into the order of their indexes, and refuses what Ringway's own kinds of placement cannot take.
fn in_index_order(mut nodes: Vec<PlacedNode>) -> Result<Box<[PlacedNode]>, BuildError> {
    check_nodes(&nodes)?;
    nodes.sort_by(|a, b| (&a.placement_id, &a.name).cmp(&(&b.placement_id, &b.name)));
    check_placement_ids(nodes.iter())?;
    Ok(nodes.into_boxed_slice())
}

/// Leaves nodes in their order, and refuses what a placement of another program cannot take.
fn in_given_order(kind: Kind, nodes: Vec<PlacedNode>) -> Result<Box<[PlacedNode]>, BuildError> {
    check_nodes(&nodes)?;
    if !kind.ids_may_repeat() {
        let mut by_id: Vec<&PlacedNode> = nodes.iter().filter(|node| !node.placement_id.is_empty()).collect();
        by_id.sort_by_key(|node| (&node.placement_id, &node.name));
        check_placement_ids(by_id.into_iter())?;
    }
    Ok(nodes.into_boxed_slice())
}

/// Refuses what no kind of placement can take.
fn check_nodes(nodes: &[PlacedNode]) -> Result<(), BuildError> {
    if nodes.len() > MAX_NODES {
        return Err(BuildError::TooManyNodes { nodes: nodes.len() });
    }
    if let Some(node) = nodes.iter().find(|node| !(1..=WEIGHT_MAX).contains(&node.weight)) {
        return Err(BuildError::BadWeight { name: node.name.clone(), weight: node.weight });
    }
    let indexes = indexes_by_name(nodes);
    match nodes.iter().enumerate().find(|(index, node)| indexes[node.name.as_str()] != *index) {
        Some((_, node)) => Err(BuildError::DuplicateName { name: node.name.clone() }),
        None => Ok(()),
    }
}

/// Refuses nodes of one placement-id; they are sorted by it, and then by their names.
fn check_placement_ids<'a>(nodes: impl Iterator<Item = &'a PlacedNode> + Clone) -> Result<(), BuildError> {
    match nodes.clone().zip(nodes.skip(1)).find(|(first, second)| first.placement_id == second.placement_id) {
        Some((first, second)) => Err(BuildError::DuplicatePlacementId {
            placement_id: first.placement_id.clone(),
            first: first.name.clone(),
            second: second.name.clone(),
        }),
        None => Ok(()),
    }
}

/// The largest whole number that divides both; the other one where one is 0.
fn greatest_common_divisor<N: Copy + Default + PartialEq + Rem<Output = N>>(a: N, b: N) -> N {
    if b == N::default() { a } else { greatest_common_divisor(b, a % b) }
}

/// So many positions as a part of all, 0 to 1.
pub fn ratio(positions: u128) -> f64 {
    positions as f64 / POSITIONS as f64
}

/// Where each name stands in `nodes`.
fn indexes_by_name(nodes: &[PlacedNode]) -> HashMap<&str, usize> {
    nodes.iter().enumerate().map(|(index, node)| (node.name.as_str(), index)).collect()
}

/// The index in `others` of each of `nodes`, by its name.
pub(crate) fn indexes_in(others: &[PlacedNode], nodes: &[PlacedNode]) -> Vec<Option<usize>> {
    let indexes = indexes_by_name(others);
    nodes.iter().map(|node| indexes.get(node.name.as_str()).copied()).collect()
}

/// The largest weight of a node.
pub const WEIGHT_MAX: u32 = 1_000;

/// The most nodes of one placement.
pub const MAX_NODES: usize = 10_000;

/// The most points of one ring; it then takes about 60 MB.
pub const MAX_POINTS: u64 = 4_194_304;

/// The number of positions a key can have.
pub const POSITIONS: u128 = 1 << 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, placement_id: &str, weight: u32) -> PlacedNode {
        PlacedNode { name: name.to_owned(), placement_id: placement_id.to_owned(), weight }
    }

    fn refusal(vnodes: u32, nodes: Vec<PlacedNode>) -> String {
        Placement::build(PlacementSettings::Ring { vnodes }, nodes).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_placement_owns_nothing() {
        let empty = Placement::build(PlacementSettings::default(), Vec::new()).unwrap();
        assert_eq!(empty.owner(7), None);
        assert_eq!(empty.candidates(7).next(), None);
        assert_eq!(empty.arcs(), []);
        assert_eq!(empty.shares(), []);
    }

    #[test]
    fn a_sole_node_owns_everything() {
        let sole = Placement::build(PlacementSettings::default(), vec![node("a", "a", 3)]).unwrap();
        assert_eq!(sole.owner(u64::MAX), Some(0));
        assert_eq!(sole.candidates(0).collect::<Vec<_>>(), [0]);
        assert_eq!(sole.arcs(), [Arc { start: 0, node: 0 }]);
        assert_eq!(sole.shares(), [POSITIONS]);
    }

    #[test]
    fn refusals_name_the_node_and_the_way_out() {
        assert_eq!(refusal(0, vec![]), "`vnodes` is 0; it must be 1 to 65536");
        assert_eq!(refusal(65_537, vec![]), "`vnodes` is 65537; it must be 1 to 65536");
        assert_eq!(refusal(8, vec![node("a", "a", 0)]), "node `a` has weight 0; a placed node has 1 to 1000");
        assert_eq!(refusal(8, vec![node("a", "a", 1_001)]), "node `a` has weight 1001; a placed node has 1 to 1000");
        assert_eq!(
            refusal(8, vec![node("a", "x", 1), node("a", "y", 1)]),
            "two nodes are named `a`; give each a name of its own"
        );
        assert_eq!(
            refusal(8, vec![node("b", "x", 1), node("c", "c", 1), node("a", "x", 1)]),
            "nodes `a` and `b` have the same placement-id `x` (a node's name, or its address where the \
             placement hashes that, unless set); give one of them another"
        );
    }

    #[test]
    fn too_many_points_name_the_vnodes_that_fit() {
        let nodes = |count: usize| (0..count).map(|i| node(&i.to_string(), &i.to_string(), 1_000)).collect();
        assert_eq!(
            refusal(512, nodes(10)),
            "`vnodes` times the sum of the weights is 5120000 points, more than 4194304; \
             `vnodes = 419` would fit"
        );
        assert_eq!(
            refusal(1, nodes(4_195)),
            "`vnodes` times the sum of the weights is 4195000 points, more than 4194304; \
             no `vnodes` fits: divide all weights by a common factor"
        );
        assert_eq!(refusal(1, nodes(10_001)), "10001 nodes are too many for one pool; the limit is 10000");
    }

    #[test]
    fn slots_that_do_not_suit_the_nodes_name_those_that_do() {
        let table = |slots: u32, nodes: Vec<PlacedNode>| {
            let settings = PlacementSettings::Table { slots: slots.try_into().unwrap(), cap: Default::default() };
            Placement::check(settings, nodes).map_err(|error| error.to_string())
        };
        let nodes = |weights: &[u32]| -> Vec<PlacedNode> {
            let node = |(index, weight): (usize, &u32)| node(&format!("n{index}"), &index.to_string(), *weight);
            weights.iter().enumerate().map(node).collect()
        };
        let refused = |message: &str| Err(message.to_owned());
        assert_eq!(table(65_536, nodes(&[1; 1_000])), Ok(()));
        assert_eq!(
            table(32_768, nodes(&[1; 1_000])),
            refused("`slots` is 32768, of which node `n0` is entitled to 32, fewer than 50; `slots = 65536` would fit")
        );
        assert_eq!(
            table(256, nodes(&[10, 1, 10])),
            refused("`slots` is 256, of which node `n1` is entitled to 12, fewer than 50; `slots = 2048` would fit")
        );
        assert_eq!(
            table(65_536, nodes(&[&[1_000; 100][..], &[1]].concat())),
            refused(
                "`slots` is 65536, of which node `n100` is entitled to 0, fewer than 50; \
                 no `slots` fits: make the weights less different, or use `ring`"
            )
        );
        assert_eq!(table(524_288, nodes(&[1; 10_000])), Ok(()));
        assert_eq!(
            table(1 << 22, nodes(&[1; 10_000])),
            refused("`slots` times the nodes is 41943040000, more than 8589934592; `slots = 524288` would fit")
        );
    }

    #[test]
    fn the_vnodes_that_fit_do_fit() {
        let nodes: Vec<_> = (0..10).map(|i| node(&i.to_string(), &i.to_string(), 1_000)).collect();
        let fitting = Placement::build(PlacementSettings::Ring { vnodes: 419 }, nodes).unwrap();
        assert_eq!(fitting.shares().iter().sum::<u128>(), POSITIONS);
    }
}
