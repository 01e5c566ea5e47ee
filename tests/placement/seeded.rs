//! The promises of a secret seed: where keys are with it, who cannot know that, and what another one moves.

use super::names;
use super::node;
use proptest::prelude::*;
use ringway::placement::PlacedNode;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::placement::plan;
use ringway::placement::seed::Seed;

fn seeded(settings: &str, nodes: &[PlacedNode], seed: Option<Seed>) -> Placement {
    let settings: PlacementSettings = settings.parse().expect("settings");
    let built = Placement::build(settings, nodes.to_vec()).expect("nodes that fit");
    built.seeded(seed).expect("a kind that takes a seed")
}

fn seed(number: u128) -> Seed {
    Seed::parse(&format!("{number:032x}")).expect("32 digits")
}

fn equal_nodes(count: u32) -> Vec<PlacedNode> {
    (0..count).map(|number| node(&format!("node-{number}"), 1)).collect()
}

fn owner(placement: &Placement, key: &str) -> usize {
    placement.owner(placement.position(key.as_bytes())).expect("there are nodes")
}

#[test]
fn placements_with_a_seed_are_frozen_by_the_golden_file() {
    let nodes: Vec<PlacedNode> = (0..6).map(|number| node(&format!("node-{number}"), 1 + number % 2)).collect();
    let (mut placement, mut seen) = (None, [0, 0]);
    for line in include_str!("../golden/seeded.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match (fields.as_slice(), &placement) {
            (["seed", digits, digest, fingerprint], _) => {
                let seed = Seed::parse(digits).unwrap();
                let built = seeded("ring vnodes=64", &nodes, Some(seed));
                assert_eq!(seed.digest().to_string(), *digest, "{digits}");
                assert_eq!(built.fingerprint("header:x-room").to_string(), *fingerprint, "{digits}");
                placement = Some(built);
                seen[0] += 1;
            }
            (["key", key, position, candidates], Some(placement)) => {
                let found = placement.position(key.as_bytes());
                assert_eq!(format!("{found:016x}"), *position, "{key}");
                assert_eq!(names(placement, found).join(","), *candidates, "{key}");
                seen[1] += 1;
            }
            _ => panic!("not a line of the golden file: {line}"),
        }
    }
    assert_eq!(seen, [3, 900]);
}

#[test]
fn keys_that_were_chosen_to_meet_at_a_node_do_not_meet_there_with_a_seed() {
    let nodes = equal_nodes(10);
    for settings in ["ring", "table"] {
        let known = seeded(settings, &nodes, None);
        let aimed: Vec<String> =
            (0..).map(|number| format!("key-{number}")).filter(|key| owner(&known, key) == 0).take(1_000).collect();
        let secret = seeded(settings, &nodes, Some(seed(0x5eed)));
        let mut counts = [0; 10];
        aimed.iter().for_each(|key| counts[owner(&secret, key)] += 1);
        assert!(counts.iter().all(|count| (50..=160).contains(count)), "{settings}: {counts:?}");
    }
}

#[test]
fn a_plan_says_what_another_seed_moves() {
    let nodes: Vec<PlacedNode> = (0..5).map(|number| node(&format!("node-{number}"), 1 + number)).collect();
    for settings in ["ring", "table"] {
        for (before, after) in [(None, Some(seed(1))), (Some(seed(1)), Some(seed(2))), (Some(seed(1)), None)] {
            let (before, after) = (seeded(settings, &nodes, before), seeded(settings, &nodes, after));
            let keys = 0..20_000;
            let moved = keys.clone().map(|number| format!("key-{number}"));
            let moved = moved.filter(|key| owner(&before, key) != owner(&after, key)).count() as f64;
            let (counted, planned) = (moved / keys.len() as f64, plan::movement(&before, &after));
            assert!((counted - planned.moved_ratio).abs() < 0.02, "{settings}: {counted} moved, {planned:?}");
            assert_eq!(planned.moved_ratio, planned.collateral_ratio, "all nodes stay: {planned:?}");
            assert_ne!(before.fingerprint("path"), after.fingerprint("path"));
        }
    }
}

#[test]
fn the_same_seed_moves_nothing_and_another_node_no_more_than_it_gets() {
    let build = |count| seeded("ring", &equal_nodes(count), Some(seed(7)));
    assert_eq!(plan::moved_ratio(&build(5), &build(5)), 0.0);
    let more = plan::movement(&build(5), &build(6));
    assert_eq!((more.collateral_ratio, more.structural_excess), (0.0, 1.0), "{more:?}");
}

#[test]
fn placements_of_other_programs_take_none() {
    let ids = (0..3).map(|number| PlacedNode {
        name: format!("node-{number}"),
        placement_id: format!("10.0.0.{number}:80"),
        weight: 1,
    });
    let nginx = Placement::build(PlacementSettings::Nginx, ids.collect()).unwrap();
    let error = nginx.seeded(Some(seed(1))).unwrap_err().to_string();
    assert!(error.contains("`nginx`") && error.contains("`seed-file`"), "{error}");
}

proptest! {
    #[test]
    fn a_seed_only_decides_where_keys_are(digits in any::<u128>(), key in ".{0,40}", count in 1..8u32) {
        let [plain, secret] = [None, Some(seed(digits))].map(|seed| seeded("ring vnodes=8", &equal_nodes(count), seed));
        prop_assert_eq!(plain.arcs(), secret.arcs());
        let position = secret.position(key.as_bytes());
        prop_assert_eq!(names(&plain, position), names(&secret, position));
        prop_assert_ne!(position, plain.position(key.as_bytes()));
    }
}
