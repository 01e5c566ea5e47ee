//! How long the pure parts of a request's way take: reading its key, finding its pool, rewriting its head and the
//! response's. `cargo bench --bench request`; `benches/instructions.rs` counts the instructions of the same work.

use divan::AllocProfiler;
use divan::Bencher;
use divan::black_box;
use divan::counter::ItemsCount;
use http::HeaderMap;
use tikv_jemallocator::Jemalloc;

#[path = "workload/requests.rs"]
mod requests;

/// Heads rewritten in one iteration: one alone would be lost in the timer.
const HEADS: usize = 100;

/// The allocator of the binary; shows in the report what allocates.
#[global_allocator]
static ALLOCATOR: AllocProfiler<Jemalloc> = AllocProfiler::new(Jemalloc);

fn main() {
    divan::main();
}

#[divan::bench(args = requests::KEY_SOURCES)]
fn extract_key(bencher: Bencher, source: &str) {
    let (rule, request) = (requests::key_rule(source), requests::request());
    bencher.bench_local(|| requests::key_length(black_box(&rule), black_box(&request)));
}

#[divan::bench(args = requests::POOL_MATCHES)]
fn match_pool(bencher: Bencher, (host, path): (&str, &str)) {
    let pools = requests::pools();
    bencher.bench_local(|| pools.find(black_box(host), black_box(path)));
}

#[divan::bench]
fn rewrite_request(bencher: Bencher) {
    rewrite(bencher, requests::request_heads, requests::rewrite_request);
}

#[divan::bench]
fn rewrite_response(bencher: Bencher) {
    rewrite(bencher, requests::response_heads, requests::rewrite_response);
}

fn rewrite(bencher: Bencher, heads: fn(usize) -> Vec<HeaderMap>, rewrite: fn(&mut HeaderMap)) {
    bencher
        .counter(ItemsCount::new(HEADS))
        .with_inputs(|| heads(HEADS))
        .bench_local_refs(|heads| heads.iter_mut().for_each(rewrite));
}
