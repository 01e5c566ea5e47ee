//! Plans against counted keys, over 200 random memberships: `cargo bench --bench plan_accuracy`.
//!
//! For each membership of 2 to 100 nodes with weights 1 to 10 one node is added, one removed and one
//! reweighted. The moved share that the plan predicts is compared with that of 1,000,000 keys located before
//! and after, and the movement with the least possible. Prints the worst of each and fails when a promise is
//! broken.

use ringway::placement::PlacedNode;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::placement::hash;
use ringway::placement::plan;

const MEMBERSHIPS: u64 = 200;
const KEYS: u32 = 1_000_000;

/// The largest difference between the predicted and the counted share: four standard deviations of the count.
const ERROR_MAX: f64 = 0.002;

fn main() {
    let positions: Vec<u64> = (0..KEYS).map(|key| hash::position(format!("key-{key}").as_bytes())).collect();
    let (mut plans, mut worst_error, mut broken) = (0, 0.0_f64, 0);
    for seed in 0..MEMBERSHIPS {
        let nodes = membership(seed);
        let before = build(&nodes);
        for (change, nodes) in changes(seed, &nodes) {
            let after = build(&nodes);
            let exact = plan::exact(&before, &after);
            if exact.collateral != 0 || exact.moved() != exact.least() {
                println!("seed {seed}, {change}: moved {}, least {}", exact.moved(), exact.least());
                broken += 1;
            }
            let predicted = plan::movement(&before, &after).moved_ratio;
            worst_error = worst_error.max((predicted - counted(&before, &after, &positions)).abs());
            plans += 1;
        }
    }
    println!("{plans} plans, {KEYS} keys each: worst error {:.4} points", worst_error * 100.0);
    println!("{broken} plans with collateral or more than the least movement");
    assert!(worst_error < ERROR_MAX && broken == 0, "a promise is broken");
}

fn membership(seed: u64) -> Vec<PlacedNode> {
    let mut random = fastrand::Rng::with_seed(seed);
    let count = random.usize(2..=100);
    (0..count).map(|number| node(&format!("n{number}-{seed}"), random.u32(1..=10))).collect()
}

fn changes(seed: u64, nodes: &[PlacedNode]) -> [(&'static str, Vec<PlacedNode>); 3] {
    let mut random = fastrand::Rng::with_seed(!seed);
    let chosen = random.usize(..nodes.len());
    let added = [nodes, &[node("new", random.u32(1..=10))]].concat();
    let mut removed = nodes.to_vec();
    removed.remove(chosen);
    let mut reweighted = nodes.to_vec();
    reweighted[chosen].weight = 1 + (nodes[chosen].weight + random.u32(0..9)) % 10;
    [("add", added), ("remove", removed), ("reweight", reweighted)]
}

/// The share of the keys whose owner differs.
fn counted(before: &Placement, after: &Placement, positions: &[u64]) -> f64 {
    let name = |placement: &Placement, node: Option<usize>| node.map(|node| placement.nodes()[node].name.clone());
    // Names are compared once per pair of indexes, not once per key.
    let same: Vec<Option<usize>> = (0..before.nodes().len())
        .map(|node| (0..after.nodes().len()).find(|other| name(after, Some(*other)) == name(before, Some(node))))
        .collect();
    let moves = |position: u64| before.owner(position).map(|node| same[node]) != Some(after.owner(position));
    positions.iter().filter(|position| moves(**position)).count() as f64 / f64::from(KEYS)
}

fn node(name: &str, weight: u32) -> PlacedNode {
    PlacedNode { name: name.to_owned(), placement_id: name.to_owned(), weight }
}

fn build(nodes: &[PlacedNode]) -> Placement {
    Placement::build(PlacementSettings::default(), nodes.to_vec()).expect("a ring of this size fits")
}
