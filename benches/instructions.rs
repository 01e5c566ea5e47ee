//! How many instructions placing a key, changing a ring or table and the pure parts of a request's way take: counts by
//! callgrind, which a noisy machine cannot blur. `benches/check` runs them and compares with `baseline.tsv`.
//!
//! What takes a few microseconds at most is repeated a thousand times, so that a count is about the work and not about
//! the call.

#![expect(missing_docs, reason = "the macros of gungraun write public items without documentation")]

use gungraun::Callgrind;
use gungraun::LibraryBenchmarkConfig;
use gungraun::library_benchmark;
use gungraun::library_benchmark_group;
use gungraun::main;
use http::HeaderMap;
use http::Request;
use ringway::placement::Fingerprint;
use ringway::placement::PlacedNode;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::placement::plan;
use ringway::placement::plan::Movement;
use ringway::routing::key::KeyRule;
use ringway::routing::pool_match::PoolMatcher;
use std::hint::black_box;
use tikv_jemallocator::Jemalloc;

#[path = "workload/requests.rs"]
mod requests;
#[path = "workload/rings.rs"]
mod rings;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const REPETITIONS: usize = 1_000;

/// What a lookup needs. Benches hand it back, so that its destruction is not counted.
struct Lookup {
    placement: Placement,
    keys: Vec<[u8; 25]>,
}

impl Lookup {
    fn new(nodes: usize) -> Lookup {
        Lookup { placement: rings::ring(nodes), keys: rings::keys(REPETITIONS) }
    }
}

#[library_benchmark(setup = Lookup::new)]
#[bench::nodes_10(10)]
#[bench::nodes_100(100)]
#[bench::nodes_1000(1_000)]
fn owner(lookup: Lookup) -> Lookup {
    for key in &lookup.keys {
        black_box(lookup.placement.owner(lookup.placement.position(key)));
    }
    lookup
}

#[library_benchmark(setup = Lookup::new)]
#[bench::nodes_10(10)]
#[bench::nodes_100(100)]
#[bench::nodes_1000(1_000)]
fn three_candidates(lookup: Lookup) -> Lookup {
    for key in &lookup.keys {
        black_box(lookup.placement.candidates(lookup.placement.position(key)).take(3).sum::<usize>());
    }
    lookup
}

#[library_benchmark(setup = rings::nodes)]
#[bench::nodes_100(100)]
fn build(nodes: Vec<PlacedNode>) -> Placement {
    Placement::build(PlacementSettings::default(), nodes).expect("a ring of this size fits")
}

/// What a lookup in a table needs.
fn table_lookup(nodes: usize) -> Lookup {
    Lookup { placement: rings::table(nodes), keys: rings::keys(REPETITIONS) }
}

#[library_benchmark(setup = table_lookup)]
#[bench::nodes_100(100)]
fn table_owner(lookup: Lookup) -> Lookup {
    for key in &lookup.keys {
        black_box(lookup.placement.owner(lookup.placement.position(key)));
    }
    lookup
}

#[library_benchmark(setup = rings::nodes)]
#[bench::nodes_100(100)]
fn table_build(nodes: Vec<PlacedNode>) -> Placement {
    Placement::build(rings::table_settings(65_536), nodes).expect("a table of this size fits")
}

fn table_and_nodes(count: usize) -> (Placement, Vec<PlacedNode>) {
    (rings::table(count), rings::nodes(count + 1))
}

#[library_benchmark(setup = table_and_nodes)]
#[bench::nodes_100(100)]
fn table_rebuild_one_node_more((before, nodes): (Placement, Vec<PlacedNode>)) -> (Placement, Placement) {
    let after = before.rebuild(rings::table_settings(65_536), nodes).expect("a table of this size fits");
    (before, after)
}

fn ring_and_nodes(count: usize) -> (Placement, Vec<PlacedNode>) {
    (rings::ring(count), rings::nodes(count + 1))
}

#[library_benchmark(setup = ring_and_nodes)]
#[bench::nodes_100(100)]
fn rebuild_one_node_more((before, nodes): (Placement, Vec<PlacedNode>)) -> (Placement, Placement) {
    let after = before.rebuild(PlacementSettings::default(), nodes).expect("a ring of this size fits");
    (before, after)
}

fn before_and_after(nodes: usize) -> [Placement; 2] {
    [rings::ring(nodes), rings::ring(nodes + 1)]
}

#[library_benchmark(setup = before_and_after)]
#[bench::nodes_100(100)]
fn plan_one_node_more(sides: [Placement; 2]) -> ([Placement; 2], Movement) {
    let movement = plan::movement(&sides[0], &sides[1]);
    (sides, movement)
}

#[library_benchmark(setup = rings::ring)]
#[bench::nodes_100(100)]
fn fingerprint(ring: Placement) -> (Placement, Fingerprint) {
    let fingerprint = ring.fingerprint("header:x-room");
    (ring, fingerprint)
}

fn rule_and_request(source: &str) -> (KeyRule, Request<()>) {
    (requests::key_rule(source), requests::request())
}

#[library_benchmark(setup = rule_and_request)]
#[bench::header(requests::KEY_SOURCES[0])]
#[bench::cookie(requests::KEY_SOURCES[1])]
#[bench::query(requests::KEY_SOURCES[2])]
#[bench::path_segment(requests::KEY_SOURCES[3])]
#[bench::composite(requests::KEY_SOURCES[4])]
fn extract_key((rule, request): (KeyRule, Request<()>)) -> (KeyRule, Request<()>) {
    for _ in 0..REPETITIONS {
        black_box(requests::key_length(black_box(&rule), black_box(&request)));
    }
    (rule, request)
}

fn pools_and_way(way: usize) -> (PoolMatcher, (&'static str, &'static str)) {
    (requests::pools(), requests::POOL_MATCHES[way])
}

#[library_benchmark(setup = pools_and_way)]
#[bench::exact_host(0)]
#[bench::wildcard(1)]
#[bench::any_host(2)]
fn match_pool((pools, (host, path)): (PoolMatcher, (&str, &str))) -> PoolMatcher {
    for _ in 0..REPETITIONS {
        black_box(pools.find(black_box(host), black_box(path)));
    }
    pools
}

#[library_benchmark]
#[bench::browser(requests::request_heads(REPETITIONS))]
fn rewrite_request(mut heads: Vec<HeaderMap>) -> Vec<HeaderMap> {
    heads.iter_mut().for_each(requests::rewrite_request);
    heads
}

#[library_benchmark]
#[bench::node(requests::response_heads(REPETITIONS))]
fn rewrite_response(mut heads: Vec<HeaderMap>) -> Vec<HeaderMap> {
    heads.iter_mut().for_each(requests::rewrite_response);
    heads
}

library_benchmark_group!(
    name = placement,
    benchmarks = [
        owner,
        three_candidates,
        build,
        rebuild_one_node_more,
        plan_one_node_more,
        fingerprint,
        table_owner,
        table_build,
        table_rebuild_one_node_more
    ]
);

library_benchmark_group!(name = request, benchmarks = [extract_key, match_pool, rewrite_request, rewrite_response]);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [placement, request]
);
