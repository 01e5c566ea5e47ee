//! The promises of the `ring` placement, as its users would state them; `placement/` has those of the other kinds.

use proptest::prelude::*;
use ringway::placement::POSITIONS;
use ringway::placement::PlacedNode;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::placement::hash;
use ringway::placement::plan;
use std::collections::BTreeMap;

#[path = "placement/seeded.rs"]
mod seeded;
#[path = "placement/table.rs"]
mod table;

fn node(name: &str, weight: u32) -> PlacedNode {
    PlacedNode { name: name.to_owned(), placement_id: name.to_owned(), weight }
}

fn build(vnodes: u32, nodes: &[PlacedNode]) -> Placement {
    Placement::build(PlacementSettings::Ring { vnodes }, nodes.to_vec()).expect("a ring of this size fits")
}

fn without(nodes: &[PlacedNode], name: &str) -> Vec<PlacedNode> {
    nodes.iter().filter(|node| node.name != name).cloned().collect()
}

fn reweighted(nodes: &[PlacedNode], name: &str, weight: u32) -> Vec<PlacedNode> {
    let mut nodes = nodes.to_vec();
    nodes.iter_mut().filter(|node| node.name == name).for_each(|node| node.weight = weight);
    nodes
}

fn owner(placement: &Placement, position: u64) -> Option<&str> {
    placement.owner(position).map(|index| placement.nodes()[index].name.as_str())
}

fn names(placement: &Placement, position: u64) -> Vec<&str> {
    placement.candidates(position).map(|index| placement.nodes()[index].name.as_str()).collect()
}

/// Two to `count_max` nodes of different names with weights 1 to 10.
fn memberships(count_max: usize) -> impl Strategy<Value = Vec<PlacedNode>> {
    prop::collection::btree_map("[a-z]{1,6}", 1..=10u32, 2..=count_max)
        .prop_map(|nodes| nodes.iter().map(|(name, weight)| node(name, *weight)).collect())
}

/// Memberships of which two often have nodes in common, by name or by placement-id; sometimes without any node.
fn overlapping_memberships() -> impl Strategy<Value = Vec<PlacedNode>> {
    (0..2u32, prop::collection::btree_map(0..12u32, (0..3u32, 1..=3u32), 0..8)).prop_map(|(swap, nodes)| {
        // Where `swap` differs, neighbours have traded their names.
        let node = |(id, (rename, weight)): (&u32, &(u32, u32))| PlacedNode {
            name: format!("name-{}-{}", id ^ swap, rename / 2),
            placement_id: format!("id-{id}"),
            weight: *weight,
        };
        nodes.iter().map(node).collect()
    })
}

/// As [`memberships`], from a seed, so that a long list of them is the same on every machine.
fn seeded_membership(seed: u64, count_max: usize) -> Vec<PlacedNode> {
    let mut random = fastrand::Rng::with_seed(seed);
    let count = random.usize(2..=count_max);
    (0..count).map(|number| node(&format!("n{number}-{seed}"), random.u32(1..=10))).collect()
}

/// The points of every node, from the rule.
fn points(vnodes: u32, nodes: &[PlacedNode]) -> Vec<(u64, &str)> {
    let mut points = Vec::new();
    for node in nodes {
        for number in 0..vnodes * node.weight {
            let bytes = [node.placement_id.as_bytes(), &[0], &number.to_le_bytes()].concat();
            points.push((hash::position(&bytes), node.name.as_str()));
        }
    }
    points.sort_unstable();
    points
}

/// All nodes by the distance of their closest point, every point looked at.
fn by_the_rule<'a>(points: &[(u64, &'a str)], position: u64) -> Vec<&'a str> {
    let mut closest = BTreeMap::new();
    for (point, name) in points {
        let (left, right) = (position.wrapping_sub(*point), point.wrapping_sub(position));
        let rank = (left.min(right), right < left);
        let best = closest.entry(*name).or_insert(rank);
        *best = rank.min(*best);
    }
    let mut order: Vec<_> = closest.into_iter().map(|(name, rank)| (rank, name)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, name)| name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_candidate_is_the_owner_once_those_before_it_are_removed(
        nodes in memberships(12),
        vnodes in 1..24u32,
        key in any::<u64>(),
    ) {
        let full = build(vnodes, &nodes);
        let candidates = names(&full, key);
        prop_assert_eq!(candidates.len(), nodes.len());
        let mut left = nodes.clone();
        for (gone, candidate) in candidates.iter().enumerate() {
            let smaller = build(vnodes, &left);
            prop_assert_eq!(owner(&smaller, key), Some(*candidate), "without {:?}", &candidates[..gone]);
            prop_assert_eq!(names(&smaller, key), &candidates[gone..]);
            left = without(&left, candidate);
        }
    }

    #[test]
    fn lookup_agrees_with_looking_at_every_point(
        nodes in memberships(20),
        vnodes in 1..40u32,
        keys in prop::collection::vec(any::<u64>(), 20),
    ) {
        let placement = build(vnodes, &nodes);
        let points = points(vnodes, &nodes);
        let near = |point: u64| [-1, 0, 1].map(|by| point.wrapping_add_signed(by));
        let near_points = points.iter().step_by(97).flat_map(|(point, _)| near(*point));
        for key in keys.into_iter().chain([0, u64::MAX]).chain(near_points) {
            let expected = by_the_rule(&points, key);
            prop_assert_eq!(names(&placement, key), expected.clone(), "{:016x}", key);
            prop_assert_eq!(owner(&placement, key), Some(expected[0]));
        }
    }

    #[test]
    fn any_member_order_gives_the_same_placement(
        nodes in memberships(20),
        seed in any::<u64>(),
    ) {
        let mut shuffled = nodes.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let (one, other) = (build(32, &nodes), build(32, &shuffled));
        prop_assert_eq!(one.fingerprint("path"), other.fingerprint("path"));
        prop_assert_eq!(one.arcs(), other.arcs());
        prop_assert_eq!(one.nodes(), other.nodes());
    }

    #[test]
    fn a_ring_rebuilt_from_another_is_the_one_built_anew(
        (former, nodes) in (overlapping_memberships(), overlapping_memberships()),
        (former_vnodes, vnodes) in (1..3u32, 1..3u32),
        keys in prop::collection::vec(any::<u64>(), 20),
    ) {
        let anew = build(vnodes * 8, &nodes);
        let former = build(former_vnodes * 8, &former);
        let rebuilt = former.rebuild(PlacementSettings::Ring { vnodes: vnodes * 8 }, nodes).expect("it fits");
        prop_assert_eq!(rebuilt.fingerprint("path"), anew.fingerprint("path"));
        prop_assert_eq!(rebuilt.arcs(), anew.arcs());
        for key in keys {
            prop_assert_eq!(names(&rebuilt, key), names(&anew, key), "{:016x}", key);
        }
    }

    #[test]
    fn exact_movement_is_what_comparing_every_arc_finds(
        (before, after) in (overlapping_memberships(), overlapping_memberships()),
        (vnodes_before, vnodes_after) in (1..3u32, 1..3u32),
    ) {
        let (before, after) = (build(vnodes_before * 4, &before), build(vnodes_after * 4, &after));
        let mut cuts: Vec<u64> = before.arcs().iter().chain(&after.arcs()).map(|arc| arc.start).chain([0]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let ends = cuts.iter().skip(1).map(|end| u128::from(*end)).chain([POSITIONS]);
        let mut flows = BTreeMap::new();
        for (start, end) in cuts.iter().zip(ends) {
            if let (Some(from), Some(to)) = (owner(&before, *start), owner(&after, *start))
                && from != to
            {
                *flows.entry((from.to_owned(), to.to_owned())).or_insert(0) += end - u128::from(*start);
            }
        }
        let moved = flows.values().sum::<u128>() as f64 / POSITIONS as f64;
        prop_assert_eq!(plan::exact(&before, &after).flows, flows);
        prop_assert_eq!(plan::moved_ratio(&before, &after), moved);
        let shift = plan::shift(&before, &before.shares(), &after);
        prop_assert_eq!((shift.moved_ratio, shift.shares), (moved, after.shares()));
    }

    #[test]
    fn a_weight_change_only_gives_to_or_takes_from_that_node(
        nodes in memberships(20),
        chosen in any::<prop::sample::Index>(),
        weight in 1..=10u32,
    ) {
        let chosen = &nodes[chosen.index(nodes.len())];
        let changed = reweighted(&nodes, &chosen.name, weight);
        let flows = plan::exact(&build(32, &nodes), &build(32, &changed)).flows;
        for (from, to) in flows.keys() {
            let side = if weight > chosen.weight { to } else { from };
            prop_assert_eq!(side, &chosen.name, "{} {} -> {}", chosen.name, chosen.weight, weight);
        }
        prop_assert_eq!(flows.is_empty(), weight == chosen.weight);
    }

    #[test]
    fn shares_are_the_halves_of_the_gaps_between_points(nodes in memberships(20), vnodes in 1..40u32) {
        let placement = build(vnodes, &nodes);
        let mut expected = BTreeMap::<&str, u128>::new();
        let points = points(vnodes, &nodes);
        for (index, (point, name)) in points.iter().enumerate() {
            let (next, next_name) = points[(index + 1) % points.len()];
            let gap = u128::from(next.wrapping_sub(*point));
            *expected.entry(name).or_default() += gap / 2 + 1;
            *expected.entry(next_name).or_default() += gap - gap / 2 - 1;
        }
        let shares = placement.shares();
        prop_assert_eq!(shares.iter().sum::<u128>(), POSITIONS);
        for (node, share) in placement.nodes().iter().zip(shares) {
            prop_assert_eq!(share, expected[node.name.as_str()], "{}", node.name);
        }
    }

    #[test]
    fn arcs_tell_the_owner_of_every_position(
        nodes in memberships(20),
        keys in prop::collection::vec(any::<u64>(), 50),
    ) {
        let placement = build(32, &nodes);
        let arcs = placement.arcs();
        prop_assert!(arcs.is_sorted_by(|a, b| a.start < b.start && a.node != b.node), "{:?}", arcs);
        let edges = arcs.iter().flat_map(|arc| [arc.start, arc.start.wrapping_sub(1)]);
        for key in keys.into_iter().chain(edges) {
            let arc = arcs.iter().rfind(|arc| arc.start <= key).or(arcs.last());
            prop_assert_eq!(placement.owner(key), arc.map(|arc| arc.node), "{:016x}", key);
        }
    }
}

#[test]
fn whatever_decides_placement_changes_the_fingerprint() {
    let nodes = [node("a", 1), node("b", 1)];
    let base = build(32, &nodes).fingerprint("path");
    let with_id =
        |name: &str, placement_id: &str| PlacedNode { placement_id: placement_id.to_owned(), ..node(name, 1) };
    let others = [
        build(32, &nodes).fingerprint("host"),
        build(33, &nodes).fingerprint("path"),
        build(32, &[node("a", 1), node("c", 1)]).fingerprint("path"),
        build(32, &[node("a", 1), node("b", 2)]).fingerprint("path"),
        build(32, &[node("a", 1), with_id("b", "c")]).fingerprint("path"),
        build(32, &[with_id("b", "a"), with_id("a", "b")]).fingerprint("path"),
        build(32, &[]).fingerprint("path"),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(*other, base, "change {index}");
    }
}

/// Adding, removing and reweighting one node, on both sides of the step.
fn changes(seed: u64, nodes: &[PlacedNode]) -> [(&'static str, Vec<PlacedNode>); 3] {
    let mut random = fastrand::Rng::with_seed(!seed);
    let chosen = &nodes[random.usize(..nodes.len())];
    let added = [nodes, &[node("new", random.u32(1..=10))]].concat();
    let weight = 1 + (chosen.weight + random.u32(0..9)) % 10;
    [("add", added), ("remove", without(nodes, &chosen.name)), ("reweight", reweighted(nodes, &chosen.name, weight))]
}

#[test]
fn changing_one_node_moves_exactly_what_it_must() {
    for seed in 0..200 {
        let nodes = seeded_membership(seed, 100);
        // Exactness does not depend on the number of points: the default for some, fewer for speed.
        let vnodes = if seed % 5 == 0 { 512 } else { 32 };
        let before = build(vnodes, &nodes);
        for (change, nodes) in changes(seed, &nodes) {
            let exact = plan::exact(&before, &build(vnodes, &nodes));
            assert!(exact.moved() > 0, "{change} at seed {seed}");
            assert_eq!(exact.collateral, 0, "{change} at seed {seed}");
            assert_eq!(exact.moved(), exact.least(), "{change} at seed {seed}");
        }
    }
}

#[test]
fn a_plan_predicts_what_locating_keys_finds() {
    const KEYS: u32 = 1_000_000;
    for seed in [3, 5] {
        let nodes = seeded_membership(seed, 20);
        let before = build(512, &nodes);
        for (change, nodes) in changes(seed, &nodes) {
            let after = build(512, &nodes);
            let positions = (0..KEYS).map(|key| hash::position(format!("key-{key}").as_bytes()));
            let moved = positions.filter(|key| owner(&before, *key) != owner(&after, *key)).count();
            let found = moved as f64 / f64::from(KEYS);
            let predicted = plan::movement(&before, &after).moved_ratio;
            assert!((found - predicted).abs() < 0.002, "{change} at seed {seed}: {predicted} predicted, {found} found");
        }
    }
}

/// The largest share over the average one, for 30 sets of equal nodes, ascending.
fn peaks(count: u32) -> Vec<f64> {
    let peak = |set: u32| {
        let nodes: Vec<_> = (0..count).map(|number| node(&format!("set{set}-node{number}"), 1)).collect();
        let largest = build(512, &nodes).shares().into_iter().max().expect("there are nodes");
        largest as f64 / POSITIONS as f64 * f64::from(count)
    };
    let mut peaks: Vec<f64> = (0..30).map(peak).collect();
    peaks.sort_by(f64::total_cmp);
    peaks
}

#[test]
fn the_busiest_of_equal_nodes_stays_near_the_average() {
    for (count, limit) in [(10, 1.06), (100, 1.10)] {
        let peaks = peaks(count);
        let mean = peaks.iter().sum::<f64>() / 30.0;
        println!(
            "{count} nodes: least {:.4}, median {:.4}, mean {mean:.4}, most {:.4}",
            peaks[0], peaks[15], peaks[29]
        );
        assert!(mean <= limit, "{count} nodes: mean {mean}, all {peaks:?}");
    }
}

/// One block of the golden file.
struct Golden<'a> {
    head: Vec<&'a str>,
    nodes: Vec<PlacedNode>,
    /// How many slots each node owns, where the kind has slots.
    owned: BTreeMap<String, u64>,
    keys: Vec<Vec<&'a str>>,
}

fn golden_blocks(text: &str) -> Vec<Golden<'_>> {
    let mut blocks: Vec<Golden> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match (fields[0], blocks.last_mut()) {
            ("membership", _) => {
                blocks.push(Golden { head: fields, nodes: Vec::new(), owned: BTreeMap::new(), keys: Vec::new() });
            }
            ("node", Some(block)) => {
                block.nodes.push(PlacedNode {
                    name: fields[1].to_owned(),
                    placement_id: fields[2].to_owned(),
                    weight: fields[3].parse().expect("a weight"),
                });
                let owned = fields.get(4).map(|owned| owned.parse().expect("a number of slots"));
                block.owned.extend(owned.map(|owned| (fields[1].to_owned(), owned)));
            }
            ("key", Some(block)) => block.keys.push(fields),
            _ => panic!("not a line of the golden file: {line}"),
        }
    }
    blocks
}

#[test]
fn placements_are_frozen_by_the_golden_file() {
    let blocks = golden_blocks(include_str!("golden/ring.tsv"));
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let placement = build(block.head[2].parse().unwrap(), &block.nodes);
        assert_eq!(placement.fingerprint(block.head[3]).to_string(), block.head[4], "{}", block.head[1]);
        assert_eq!(block.keys.len(), 300);
        for key in block.keys {
            let position = hash::position(key[1].as_bytes());
            assert_eq!(format!("{position:016x}"), key[2], "{}", key[1]);
            let candidates = names(&placement, position);
            let first = candidates[..candidates.len().min(10)].join(",");
            assert_eq!(first, key[3], "{} in {}", key[1], block.head[1]);
            assert_eq!(owner(&placement, position), Some(candidates[0]), "{} in {}", key[1], block.head[1]);
        }
    }
}
