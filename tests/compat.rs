//! Logs of other programs held against pools: made of placements that were recorded from the real programs, see
//! `golden/dialects/README.md`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

#[path = "dialects/recordings.rs"]
mod recordings;

use recordings::Vector;
use ringway::cluster::membership::Membership;
use ringway::cluster::node::Node;
use ringway::cluster::node::NodeAddress;
use ringway::compat::fit::Fits;
use ringway::compat::tally::Compared;
use ringway::compat::tally::Tally;
use ringway::compat::written_rule::Logged;
use ringway::compat::written_rule::WrittenRule;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::routing::key::KeyRule;

/// A pool with the nodes of a recording.
struct Pool {
    nodes: Vec<Node>,
    placement: Placement,
    rule: WrittenRule,
}

impl Pool {
    /// With this placement; nodes have what the original hashed for them as placement-ids, if so.
    fn new(vector: &Vector, placement: &str, with_ids: bool) -> Pool {
        let settings: PlacementSettings = placement.parse().unwrap();
        let node = |(index, (id, weight)): (usize, &(String, u32))| Node {
            name: format!("n{index}").parse().unwrap(),
            address: address(index, id),
            weight: *weight,
            zone: None,
            placement_id: with_ids.then(|| id.clone()),
            draining: false,
        };
        let nodes: Vec<Node> = vector.nodes.iter().enumerate().map(node).collect();
        let placement = Membership::with_nodes(settings, nodes.clone()).unwrap().build().unwrap();
        let sources = vec![vec!["header:x-key".to_owned()]];
        let rule = WrittenRule { rule: KeyRule::parse(&sources, None).unwrap(), sources, hash_tag: None };
        Pool { nodes, placement, rule }
    }

    fn compared(&self) -> Compared<'_> {
        Compared { nodes: &self.nodes, placement: &self.placement, rule: &self.rule, logged: Logged::Key }
    }

    /// What comes of a log of all that was recorded.
    fn tally(&self, vector: &Vector) -> Tally<'_> {
        let mut tally = Tally::new(self.compared(), 3);
        for (line, (request, node)) in (1..).zip(vector.recorded()) {
            tally.add(line, &request.key(&vector.rule()), format!("n{node}").as_bytes());
        }
        tally
    }
}

/// The address that the original hashed, or one that it did not.
fn address(index: usize, id: &str) -> NodeAddress {
    id.parse().unwrap_or_else(|_| format!("192.0.2.{index}:80").parse().unwrap())
}

#[test]
fn a_log_of_the_original_is_alike_under_its_own_dialect() {
    for vector in recordings::vectors() {
        let pool = Pool::new(&vector, vector.placement, true);
        let tally = pool.tally(&vector);
        let counts = tally.key_counts();
        // Keys of a server that could not be reached went to the next one, and that is told.
        assert_eq!(tally.alike + tally.second, tally.lines, "{}", vector.name);
        assert_eq!(tally.second > 0, vector.unreachable.is_some(), "{}", vector.name);
        assert_eq!(counts.alike == counts.all, vector.unreachable.is_none(), "{}: {counts:?}", vector.name);
        assert_eq!(counts.at_several_nodes, 0, "{}", vector.name);
    }
}

#[test]
fn under_another_placement_the_dialect_of_a_log_is_named() {
    for vector in recordings::vectors().iter().filter(|vector| !CANNOT_BE_TOLD.contains(&vector.name)) {
        let pool = Pool::new(vector, "ring", true);
        let fits = Fits::find(pool.compared(), &pool.tally(vector).sample);
        let best = fits.best().unwrap_or_else(|| panic!("{}: nothing fits: {:?}", vector.name, fits.fits.first()));
        let expected: PlacementSettings = vector.placement.parse().unwrap();
        let as_good = fits.fits.iter().filter(|fit| fit.alike == best.alike).any(|fit| fit.settings == expected);
        assert!(as_good, "{}: {best:?}", vector.name);
        assert_eq!(best.placement_ids(&pool.nodes), [], "{}", vector.name);
        assert!(best.alike == best.keys || vector.unreachable.is_some(), "{}: {best:?}", vector.name);
    }
}

#[test]
fn ids_that_nobody_gave_are_guessed() {
    for name in ["haproxy26_hdr_default_w1", "haproxy30_id_default", "haproxy26_hdr_crc32_avalanche_weighted"] {
        let vector = recordings::vectors().into_iter().find(|vector| vector.name == name).unwrap();
        let pool = Pool::new(&vector, "nginx", false);
        let fits = Fits::find(pool.compared(), &pool.tally(&vector).sample);
        let best = fits.best().unwrap();
        assert_eq!((best.settings.to_string().as_str(), best.alike), (vector.placement, best.keys), "{name}");
        let ids: Vec<_> = (1..=5).map(|number| (format!("n{}", number - 1), Some(number.to_string()))).collect();
        assert_eq!(best.placement_ids(&pool.nodes), ids, "{name}");
    }
}

#[test]
fn the_element_of_a_header_that_haproxy_takes_is_found() {
    let vector = recordings::vectors().into_iter().find(|vector| vector.name == "haproxy26_hdr_crc32_w1").unwrap();
    let pool = Pool::new(&vector, "haproxy hash=crc32", true);
    let mut tally = Tally::new(pool.compared(), 3);
    for (line, (request, node)) in (1..).zip(vector.recorded()) {
        // The whole field, of which HAProxy hashed the first element.
        tally.add(line, &request.key(&pool.rule.rule), format!("n{node}").as_bytes());
    }
    let fits = Fits::find(pool.compared(), &tally.sample);
    let best = fits.best().unwrap();
    assert_eq!((best.rule.setting().as_str(), best.alike), (r#"key = "haproxy-hdr:x-key""#, best.keys));
    assert!(tally.alike < tally.lines);
}

#[test]
fn what_no_placement_explains_is_not_called_a_fit() {
    let vector = recordings::vectors().into_iter().find(|vector| vector.name == "nginx_equal").unwrap();
    let pool = Pool::new(&vector, "nginx", true);
    let mut tally = Tally::new(pool.compared(), 3);
    for line in 1..=5_000_u64 {
        // The servers take turns.
        tally.add(line, format!("user:{line}").as_bytes(), format!("n{}", line % 5).as_bytes());
    }
    let fits = Fits::find(pool.compared(), &tally.sample);
    assert!(fits.best().is_none(), "{:?}", fits.best());
    let closest = &fits.fits[0];
    assert!((closest.chance - 0.2).abs() < 0.05 && closest.ratio() < 0.3, "{closest:?}");
}

#[test]
fn a_few_keys_tell_nothing() {
    let vector = recordings::vectors().into_iter().find(|vector| vector.name == "nginx_equal").unwrap();
    let pool = Pool::new(&vector, "ring", true);
    let mut tally = Tally::new(pool.compared(), 3);
    for (line, (request, node)) in (1..).zip(vector.recorded()).take(4) {
        tally.add(line, &request.key(&vector.rule()), format!("n{node}").as_bytes());
    }
    let fits = Fits::find(pool.compared(), &tally.sample);
    assert_eq!((fits.fits[0].alike, fits.fits[0].keys), (4, 4));
    assert!(fits.best().is_none());
}

#[test]
fn with_a_node_too_few_the_dialect_is_named_all_the_same() {
    let vector = recordings::vectors().into_iter().find(|vector| vector.name == "nginx_equal").unwrap();
    let mut pool = Pool::new(&vector, "ring", true);
    pool.nodes.pop();
    pool.placement = Membership::with_nodes(pool.placement.settings(), pool.nodes.clone()).unwrap().build().unwrap();
    let tally = pool.tally(&vector);
    let (elsewhere, keys) = (tally.elsewhere.as_ref().unwrap(), tally.key_counts());
    assert!(elsewhere.lines > 300 && tally.compared() == tally.lines, "{elsewhere:?}");
    assert!((keys.all - keys.alike) as u64 >= elsewhere.lines, "{keys:?}");
    let fits = Fits::find(pool.compared(), &tally.sample);
    let best = fits.best().unwrap();
    // Those of the missing node fit nothing, and the others are where they were.
    assert_eq!((best.settings, best.alike), (PlacementSettings::Nginx, best.keys));
}

#[test]
fn kinds_that_refuse_the_nodes_are_left_out_with_the_reason() {
    let vector = recordings::vectors().into_iter().find(|vector| vector.name == "nginx_modulo_weighted").unwrap();
    let pool = Pool::new(&vector, "nginx-modulo", true);
    let fits = Fits::find(pool.compared(), &pool.tally(&vector).sample);
    assert_eq!(fits.best().unwrap().settings, PlacementSettings::NginxModulo);
    let mut heavy = Pool::new(&vector, "ring", true);
    heavy.nodes[0].weight = 1_000;
    let tally = heavy.tally(&vector);
    let fits = Fits::find(heavy.compared(), &tally.sample);
    let left_out = fits.left_out.iter().find(|left_out| left_out.settings.kind() == "haproxy").unwrap();
    assert!(left_out.why.to_string().contains("weight 1000"), "{}", left_out.why);
}

/// Recordings in which all keys or nearly all are at one node, where everything that does that fits, and those of sizes
/// that are not guessed.
const CANNOT_BE_TOLD: [&str; 4] =
    ["nginx_collide_w200", "envoy140_ring_equal_max333", "envoy140_ring_equal_max3_lt_hosts", "twemproxy_crc32"];
