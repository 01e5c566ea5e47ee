//! Every key where the program of the dialect puts it: placements recorded from the real ones; see
//! `golden/dialects/README.md`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

#[path = "dialects/recordings.rs"]
mod recordings;

use recordings::Vector;
use recordings::addresses;
use recordings::equal;
use ringway::placement::PlacedNode;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::placement::plan;
use std::collections::BTreeSet;

fn build(placement: &str, nodes: &[(String, u32)]) -> Placement {
    let node = |(index, (id, weight)): (usize, &(String, u32))| PlacedNode {
        name: format!("n{index}"),
        placement_id: id.clone(),
        weight: *weight,
    };
    let settings = placement.parse().expect(placement);
    Placement::build(settings, nodes.iter().enumerate().map(node).collect()).expect("the original took it")
}

/// The requests that a node of the recording did not get and should have, or the other way round.
fn misplaced(vector: &Vector) -> Vec<String> {
    let (rule, placement) = (vector.rule(), build(vector.placement, &vector.nodes));
    let wrong = vector.recorded().into_iter().filter_map(|(request, place)| {
        let position = placement.position(&request.key(&rule));
        let first = placement.candidates(position).find(|node| Some(*node) != vector.unreachable);
        let found = first.expect("there are nodes");
        (found != place).then(|| format!("{request:?} is at {found}, not at {place}"))
    });
    wrong.collect()
}

#[test]
fn every_recorded_placement_comes_out_key_by_key() {
    let vectors = recordings::vectors();
    let mut wrong = Vec::new();
    for vector in &vectors {
        let misplaced = misplaced(vector);
        if let Some(first) = misplaced.first() {
            wrong.push(format!("{}: {} requests, such as {first}", vector.name, misplaced.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let tested: BTreeSet<&str> = vectors.iter().map(|vector| vector.name).collect();
    assert_eq!(tested, recordings::recordings().map(|fields| fields[0]).collect());
}

#[test]
fn nginx_tries_its_servers_in_the_recorded_order() {
    let addresses = (1..=5).map(|number| format!("127.0.0.1:1811{number}"));
    let placement = build("nginx", &equal(addresses, 1));
    let keys = include_str!("golden/dialects/keys.txt").lines();
    for (key, order) in keys.zip(include_str!("golden/dialects/nginx_preferences.txt").lines()) {
        let candidates = placement.candidates(placement.position(key.as_bytes()));
        let found: String = candidates.map(|node| node.to_string()).collect();
        assert!(found.starts_with(order), "{key}: {found} instead of {order}");
    }
}

#[test]
fn of_colliding_points_the_first_in_the_configuration_wins() {
    let forth = equal(addresses(), 200);
    let back: Vec<_> = forth.iter().rev().cloned().collect();
    let owner = |nodes: &[(String, u32)], key: &str| {
        let placement = build("nginx", nodes);
        let owner = placement.owner(placement.position(key.as_bytes())).expect("there are nodes");
        placement.nodes()[owner].placement_id.clone()
    };
    for key in include_str!("golden/dialects/collisions.txt").lines() {
        assert_ne!(owner(&forth, key), owner(&back, key), "{key}");
    }
}

/// Nodes `n0`, `n1` ... of these weights, whose ids suit every placement.
fn numbered(weights: &[u32]) -> Vec<(String, u32)> {
    weights.iter().enumerate().map(|(index, weight)| ((index + 1).to_string(), *weight)).collect()
}

/// How many of many keys have another owner, by name.
fn counted_ratio(before: &Placement, after: &Placement) -> f64 {
    const KEYS: u32 = 100_000;
    let owner = |placement: &Placement, key: &str| {
        let owner = placement.owner(placement.position(key.as_bytes())).expect("there are nodes");
        placement.nodes()[owner].name.clone()
    };
    let moved = (0..KEYS).map(|key| format!("user:{key}")).filter(|key| owner(before, key) != owner(after, key));
    moved.count() as f64 / f64::from(KEYS)
}

#[test]
fn a_plan_predicts_what_locating_keys_finds() {
    for (before, weights_before, after, weights_after) in [
        // Both hash keys alike, so that it is exact.
        ("nginx", &[1, 1, 1][..], "nginx", &[1, 1, 1, 1][..]),
        ("nginx", &[1, 2], "ingress-nginx", &[1, 2]),
        ("nginx", &[1, 2], "nginx-modulo", &[1, 2]),
        ("nginx-modulo", &[1, 1, 1, 1, 1], "nginx-modulo", &[1, 1, 1, 1, 1, 1]),
        ("nginx-modulo", &[1, 1, 1, 1, 1], "nginx-modulo", &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("haproxy", &[10, 10, 10], "haproxy hash-key=id32", &[10, 10, 10]),
        ("envoy-ring-hash", &[1, 1, 1], "envoy-ring-hash", &[1, 1, 1, 1]),
        ("envoy-maglev table-size=503", &[1, 1, 1], "envoy-maglev table-size=503", &[1, 1, 1, 1]),
        ("ketama", &[1, 1, 1], "twemproxy hash=md5", &[1, 1, 1]),
        // Both divide the same hash.
        ("haproxy-map avalanche=true", &[1, 1, 1, 1, 1], "haproxy-map avalanche=true", &[1, 1, 1, 1, 1, 1]),
        ("haproxy-map avalanche=true", &[1, 1, 1, 1, 1], "haproxy-map avalanche=true", &[1; 10]),
        ("haproxy-map avalanche=true", &[1, 2, 3], "haproxy-map avalanche=true", &[1, 2, 6]),
        ("envoy-maglev table-size=503", &[1, 1, 1], "envoy-maglev table-size=509", &[1, 1, 1]),
        // One has nothing to do with the other.
        ("nginx", &[1, 1, 1, 1, 1], "table", &[1, 1, 1, 1, 1]),
        ("ring", &[1, 2, 3], "haproxy", &[1, 2, 3]),
        ("haproxy-map avalanche=true", &[1, 1, 1], "haproxy", &[40, 40, 40]),
        ("envoy-maglev", &[1, 1, 1], "envoy-ring-hash", &[1, 1, 1]),
    ] {
        let sides = [(before, weights_before), (after, weights_after)];
        let [before, after] = sides.map(|(placement, weights)| build(placement, &numbered(weights)));
        let plan = plan::movement(&before, &after);
        let counted = counted_ratio(&before, &after);
        assert!((plan.moved_ratio - counted).abs() < 0.01, "{sides:?}: {} planned, {counted} found", plan.moved_ratio);
        let listed: f64 = plan.flows.iter().map(|flow| flow.ratio).sum();
        assert!((listed - plan.moved_ratio).abs() < 1e-6, "{sides:?}: {plan:?}");
        let shift = plan::shift(&before, &before.shares(), &after);
        assert!((shift.moved_ratio - plan.moved_ratio).abs() < 1e-6, "{sides:?}: {shift:?}");
        assert_eq!(shift.shares, after.shares(), "{sides:?}");
    }
}

#[test]
fn between_unchanged_nodes_all_moves_when_only_the_placement_changes() {
    let named = |id: fn(usize) -> String| {
        let node = |index: usize| PlacedNode { name: format!("n{index}"), placement_id: id(index), weight: 1 };
        (0..5).map(node).collect::<Vec<_>>()
    };
    let before = Placement::build(PlacementSettings::Nginx, named(|index| format!("10.0.0.{index}:80"))).unwrap();
    let after = Placement::build(PlacementSettings::default(), named(|index| format!("n{index}"))).unwrap();
    let plan = plan::movement(&before, &after);
    assert!((plan.collateral_ratio - plan.moved_ratio).abs() < 1e-6, "{plan:?}");
    assert_eq!(plan.optimal_ratio, 0.0);
}

#[test]
fn a_plan_for_thousands_of_nodes_lists_what_moves_between_the_largest() {
    let weights: Vec<u32> = (0..1_100).map(|index| 1 + index % 2).collect();
    let sides = ["nginx", "ring vnodes=16"].map(|placement| build(placement, &numbered(&weights)));
    let plan = plan::exact(&sides[0], &sides[1]);
    assert!((990_000..=1_000_000).contains(&plan.flows.len()), "{}", plan.flows.len());
    assert!(plan.unlisted > 0 && plan.unlisted < plan.moved() / 4, "{} of {}", plan.unlisted, plan.moved());
}
