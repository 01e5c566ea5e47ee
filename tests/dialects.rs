//! Every key where the program of the dialect puts it: placements recorded from the real ones; see
//! `golden/dialects/README.md`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use ringway::placement::PlacedNode;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::placement::plan;
use ringway::routing::key::Extracted;
use ringway::routing::key::KeyRule;
use ringway::routing::key::RequestHead;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;

/// A recorded placement: how it is built here, and how its keys are read.
struct Vector {
    name: &'static str,
    placement: &'static str,
    /// What is hashed for each node, and its weight.
    nodes: Vec<(String, u32)>,
    key: Vec<&'static str>,
    /// Numbers of the recording for the nodes here; others were there but took no part.
    numbers: Vec<usize>,
    /// The node that was placed but could not be reached.
    unreachable: Option<usize>,
}

impl Vector {
    fn new(name: &'static str, placement: &'static str, nodes: Vec<(String, u32)>) -> Vector {
        let numbers = (0..nodes.len()).collect();
        Vector { name, placement, nodes, key: vec!["header:x-key"], numbers, unreachable: None }
    }

    fn key(self, parts: &[&'static str]) -> Vector {
        Vector { key: parts.to_vec(), ..self }
    }

    fn unreachable(self, node: usize) -> Vector {
        Vector { unreachable: Some(node), ..self }
    }

    /// Leaves out a node that the original had switched off.
    fn without(mut self, node: usize) -> Vector {
        self.nodes.remove(node);
        self.numbers.remove(node);
        self
    }

    /// The requests that a node of the recording did not get and should have, or the other way round.
    fn misplaced(&self, recorded: &[Request], places: &str) -> Vec<String> {
        let parts = self.key.iter().map(ToString::to_string).collect();
        let rule = KeyRule::parse(&[parts], None).expect("a key rule");
        let placement = build(self.placement, &self.nodes);
        let expected = places.chars().map(|digit| DIGITS.find(digit).expect("a digit"));
        let wrong = recorded.iter().zip(expected).filter_map(|(request, place)| {
            let position = placement.position(&request.key(&rule));
            let first = placement.candidates(position).find(|node| Some(*node) != self.unreachable);
            let found = self.numbers[first.expect("there are nodes")];
            (found != place).then(|| format!("{request:?} is at {found}, not at {place}"))
        });
        wrong.collect()
    }
}

/// What was sent, as far as a key may come from it.
#[derive(Debug)]
struct Request {
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    client_ip: IpAddr,
}

impl Request {
    fn new() -> Request {
        let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("x"))]);
        Request { path: "/".to_owned(), query: None, headers, client_ip: Ipv4Addr::LOCALHOST.into() }
    }

    fn with_header(key: &str) -> Request {
        let mut request = Request::new();
        request.headers.insert("x-key", HeaderValue::from_bytes(key.as_bytes()).expect("a header's value"));
        request
    }

    fn key(&self, rule: &KeyRule) -> Vec<u8> {
        let head = RequestHead {
            method: &Method::GET,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            host: "x",
            client_ip: self.client_ip,
        };
        match rule.extract(&head) {
            Extracted::Key(key) => key.bytes.into_owned(),
            other => panic!("{self:?} has no key: {other:?}"),
        }
    }
}

fn build(placement: &str, nodes: &[(String, u32)]) -> Placement {
    let node = |(index, (id, weight)): (usize, &(String, u32))| PlacedNode {
        name: format!("n{index}"),
        placement_id: id.clone(),
        weight: *weight,
    };
    let settings = placement.parse().expect(placement);
    Placement::build(settings, nodes.iter().enumerate().map(node).collect()).expect("the original took it")
}

/// Nodes of one weight.
fn equal<T: ToString>(ids: impl IntoIterator<Item = T>, weight: u32) -> Vec<(String, u32)> {
    ids.into_iter().map(|id| (id.to_string(), weight)).collect()
}

fn weighted<T: ToString>(ids: impl IntoIterator<Item = T>, weights: [u32; 5]) -> Vec<(String, u32)> {
    ids.into_iter().map(|id| id.to_string()).zip(weights).collect()
}

fn addresses() -> Vec<String> {
    (1..=5).map(|number| format!("127.0.0.1:1810{number}")).collect()
}

fn nginx_vectors() -> Vec<Vector> {
    let names = ["127.0.0.1:18101", "[::1]:18106", "unix:/run/app/web.sock", "localhost:18108", "127.0.0.77"];
    let pods = (1..=5).map(|number| format!("10.0.1.{number}:8080"));
    vec![
        Vector::new("nginx_equal", "nginx", equal(addresses(), 1)),
        Vector::new("nginx_equal_b3_down", "nginx", equal(addresses(), 1)).unreachable(2),
        Vector::new("nginx_name_forms", "nginx", equal(names, 1)),
        Vector::new("nginx_collide_w200", "nginx", equal(addresses(), 200)),
        Vector::new("nginx_modulo_weighted", "nginx-modulo", weighted(addresses(), SMALL_WEIGHTS)),
        Vector::new("lua-resty-chash_equal", "ingress-nginx", equal(pods, 1)),
    ]
}

fn haproxy_26_vectors() -> Vec<Vector> {
    let vector = |name, placement, nodes| Vector::new(name, placement, nodes).key(&["haproxy-hdr:x-key"]);
    let w10 = || equal(1..=5, 10);
    let ids = [7, 1_000, 42, 99_999, 1_048_577];
    let by_weight = || weighted(1..=5, LARGE_WEIGHTS);
    vec![
        vector("haproxy26_hdr_default_w1", "haproxy", equal(1..=5, 1)),
        vector("haproxy26_hdr_default_w100", "haproxy", equal(1..=5, 100)),
        vector("haproxy26_hdr_default_ids", "haproxy", equal(ids, 10)),
        vector("haproxy26_hdr_default_b3_disabled", "haproxy", w10()).without(2),
        vector("haproxy26_redispatch_b3_dead", "haproxy", w10()).unreachable(2),
        vector("haproxy26_hdr_sdbm_w1", "haproxy hash=sdbm", equal(1..=5, 1)),
        vector("haproxy26_hdr_sdbm_avalanche_weighted", "haproxy hash=sdbm avalanche=true", by_weight()),
        vector("haproxy26_hdr_djb2_w1", "haproxy hash=djb2", equal(1..=5, 1)),
        vector("haproxy26_hdr_wt6_w1", "haproxy hash=wt6", equal(1..=5, 1)),
        vector("haproxy26_hdr_crc32_w1", "haproxy hash=crc32", equal(1..=5, 1)),
        vector("haproxy26_hdr_crc32_avalanche_weighted", "haproxy hash=crc32 avalanche=true", by_weight()),
        vector("haproxy26_hdr_mapbased_weighted", "haproxy-map", by_weight()),
        Vector::new("haproxy26_hash_fhdr_default_w10", "haproxy", w10()),
        Vector::new("haproxy26_uri_default_w10", "haproxy", w10()).key(&["path"]),
        Vector::new("haproxy26_uri_depth2_w10", "haproxy", w10()).key(&["path-prefix:2"]),
        Vector::new("haproxy26_source_default_w10", "haproxy hash=source", w10()).key(&["client-ip"]),
        Vector::new("haproxy26_source_crc32_w10", "haproxy hash=source avalanche=false", w10()).key(&["client-ip"]),
    ]
}

fn haproxy_3_vectors() -> Vec<Vector> {
    let vector = |name, placement, nodes| Vector::new(name, placement, nodes).key(&["haproxy-hdr:x-key"]);
    let own_addresses = || equal((1..=5).map(|number| format!("127.0.0.1{number}:1810{number}")), 10);
    let of_ipv6 = (1..=5).map(|number| format!("[::1]:1810{number}"));
    let guids = (1..=5).map(|number| format!("site-a-node-{number}"));
    let by_both = "haproxy hash-key=addr-port";
    vec![
        vector("haproxy30_id_default", "haproxy-3.0", equal(1..=5, 10)),
        vector("haproxy30_addr", "haproxy hash-key=addr", own_addresses()),
        vector("haproxy30_addrport", by_both, own_addresses()),
        vector("haproxy30_addrport_v6", by_both, equal(of_ipv6, 10)),
        vector("haproxy34_id_default", "haproxy", equal(1..=5, 10)),
        vector("haproxy34_addrport", by_both, own_addresses()),
        vector("haproxy34_addr_all_same", "haproxy hash-key=addr", equal(addresses(), 10)),
        vector("haproxy34_guid", "haproxy hash-key=guid", equal(guids, 10)),
    ]
}

fn envoy_vectors() -> Vec<Vector> {
    let host_names = || equal((1..=5).map(|number| format!("node-{number}.example")), 1);
    let shards = (1..=5).map(|number| format!("shard{number}"));
    let same = || equal(addresses(), 1);
    vec![
        Vector::new("envoy140_ring_equal_default", "envoy-ring-hash", same()),
        Vector::new("envoy140_ring_weighted_default", "envoy-ring-hash", weighted(addresses(), SMALL_WEIGHTS)),
        Vector::new("envoy140_ring_equal_max333", "envoy-ring-hash minimum-size=100 maximum-size=333", same()),
        Vector::new("envoy140_ring_equal_max3_lt_hosts", "envoy-ring-hash minimum-size=1 maximum-size=3", same()),
        Vector::new("envoy140_ring_equal_murmur2", "envoy-ring-hash hash=murmur2", same()),
        Vector::new("envoy140_ring_hostname", "envoy-ring-hash", host_names()),
        Vector::new("envoy140_ring_hashkey_metadata", "envoy-ring-hash", equal(shards, 1)),
        Vector::new("envoy140_ring_query_param", "envoy-ring-hash", same()).key(&["query-raw:k"]),
        Vector::new("envoy140_ring_two_policies", "envoy-ring-hash", same()).key(&[
            "envoy-policies",
            "header:x-key",
            "header:host",
        ]),
        Vector::new("envoy140_maglev_equal_default", "envoy-maglev", same()),
        Vector::new("envoy140_maglev_weighted_default", "envoy-maglev", weighted(addresses(), SMALL_WEIGHTS)),
        Vector::new("envoy140_maglev_hostname", "envoy-maglev", host_names()),
    ]
}

fn ketama_vectors() -> Vec<Vector> {
    let servers = (1..=5).map(|number| format!("10.0.1.{number}:11211"));
    let named = || equal((0..5).map(|number| format!("cache{number}")), 1);
    let unnamed = weighted((0..5).map(|number| format!("127.0.0.1:2320{number}")), SMALL_WEIGHTS);
    let default_port = equal((2..7).map(|number| format!("127.0.0.{number}")), 1);
    let many = equal((0..61).map(|number| format!("n{number}")), 1);
    vec![
        Vector::new("libketama_equal", "ketama", equal(servers, 100)),
        Vector::new("twemproxy_crc16", "twemproxy hash=crc16", named()),
        Vector::new("twemproxy_crc32", "twemproxy hash=crc32", named()),
        Vector::new("twemproxy_crc32a", "twemproxy hash=crc32a", named()),
        Vector::new("twemproxy_fnv1_32", "twemproxy hash=fnv1_32", named()),
        Vector::new("twemproxy_fnv1_64", "twemproxy hash=fnv1_64", named()),
        Vector::new("twemproxy_fnv1a_32", "twemproxy hash=fnv1a_32", named()),
        Vector::new("twemproxy_fnv1a_64", "twemproxy hash=fnv1a_64", named()),
        Vector::new("twemproxy_hsieh", "twemproxy hash=hsieh", named()),
        Vector::new("twemproxy_jenkins", "twemproxy hash=jenkins", named()),
        Vector::new("twemproxy_md5", "twemproxy hash=md5", named()),
        Vector::new("twemproxy_murmur", "twemproxy hash=murmur", named()),
        Vector::new("twemproxy_one_at_a_time", "twemproxy hash=one_at_a_time", named()),
        Vector::new("twemproxy_weighted_without_names", "twemproxy", unnamed),
        Vector::new("twemproxy_default_port", "twemproxy", default_port),
        Vector::new("twemproxy_61_servers", "twemproxy hash=md5", many),
    ]
}

/// The requests that were sent for a list of keys.
fn requests(list: &str) -> Vec<Request> {
    let keys = || include_str!("golden/dialects/keys.txt").lines();
    let encoded = |key: &str| Request { query: Some(format!("k={}", percent_encoded(key, "_.-~"))), ..Request::new() };
    let path = |key: &str| {
        let path = percent_encoded(&format!("/{}", key.trim_start_matches('/')), "_.-/");
        Request { path, ..Request::new() }
    };
    match list {
        "keys" => keys().map(Request::with_header).collect(),
        "memcached" => keys().map(|key| Request::with_header(&key.replace(' ', "_"))).collect(),
        "percent-encoded" => keys().map(encoded).collect(),
        "paths" => keys().map(path).collect(),
        "addresses" => {
            (0..2_000).map(|number| Request { client_ip: client_address(number), ..Request::new() }).collect()
        }
        "collisions" => include_str!("golden/dialects/collisions.txt").lines().map(Request::with_header).collect(),
        _ => panic!("no list of keys is named {list}"),
    }
}

fn percent_encoded(text: &str, plain: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let character = char::from(byte);
        match character.is_ascii_alphanumeric() || plain.contains(character) {
            true => encoded.push(character),
            false => write!(encoded, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    encoded
}

/// The loopback address that a connection of the recording came from.
fn client_address(number: u32) -> IpAddr {
    let octets = [127, 1 + number % 200, 7 * number % 251, 1 + 13 * number % 250];
    Ipv4Addr::from(octets.map(|octet| u8::try_from(octet).expect("an octet"))).into()
}

#[test]
fn every_recorded_placement_comes_out_key_by_key() {
    let vectors = [nginx_vectors(), haproxy_26_vectors(), haproxy_3_vectors(), envoy_vectors(), ketama_vectors()];
    let recordings = || include_str!("golden/dialects/placements.tsv").lines().map(|line| line.split('\t').collect());
    let mut wrong = Vec::new();
    for vector in vectors.iter().flatten() {
        let recording: Vec<&str> = recordings().find(|fields: &Vec<&str>| fields[0] == vector.name).expect(vector.name);
        let requests = requests(recording[1]);
        assert_eq!(requests.len(), recording[2].len(), "{}", vector.name);
        let misplaced = vector.misplaced(&requests, recording[2]);
        if let Some(first) = misplaced.first() {
            wrong.push(format!("{}: {} requests, such as {first}", vector.name, misplaced.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let tested: BTreeSet<&str> = vectors.iter().flatten().map(|vector| vector.name).collect();
    assert_eq!(tested, recordings().map(|fields: Vec<&str>| fields[0]).collect());
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

const DIGITS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

const SMALL_WEIGHTS: [u32; 5] = [1, 2, 3, 5, 10];

const LARGE_WEIGHTS: [u32; 5] = [10, 20, 30, 50, 100];
