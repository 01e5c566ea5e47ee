//! How long placing a key, building a ring and planning a change take: `cargo bench --bench placement`.

use divan::AllocProfiler;
use divan::Bencher;
use divan::black_box;
use divan::counter::ItemsCount;
use ringway::placement::PlacedNode;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::placement::plan;

const SIZES: [usize; 3] = [10, 100, 1_000];

/// Positions looked up in one iteration: too many for the branch predictor to learn them by heart.
const LOOKUPS: usize = 65_536;

/// Shows in the report that looking up allocates nothing.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn nodes(count: usize) -> Vec<PlacedNode> {
    let node = |number: usize| {
        let name = format!("node-{number}");
        PlacedNode { placement_id: name.clone(), name, weight: 1 }
    };
    (0..count).map(node).collect()
}

fn ring(count: usize) -> Placement {
    Placement::build(PlacementSettings::default(), nodes(count)).expect("a ring of this size fits")
}

fn positions() -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..LOOKUPS).map(|_| random.u64(..)).collect()
}

#[divan::bench(args = SIZES)]
fn owner_throughput(bencher: Bencher, count: usize) {
    let (ring, positions) = (ring(count), positions());
    bencher
        .counter(ItemsCount::new(LOOKUPS))
        .bench_local(|| positions.iter().filter_map(|position| ring.owner(*position)).sum::<usize>());
}

/// Each lookup waits for the one before it, as the lookups of one request do.
#[divan::bench(args = SIZES)]
fn owner_dependent(bencher: Bencher, count: usize) {
    let (ring, positions) = (ring(count), positions());
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        positions.iter().fold(0, |last, position| ring.owner(position ^ last).map_or(0, |owner| owner as u64))
    });
}

#[divan::bench(args = SIZES)]
fn three_candidates(bencher: Bencher, count: usize) {
    let (ring, positions) = (ring(count), positions());
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        positions.iter().map(|position| ring.candidates(*position).take(3).sum::<usize>()).sum::<usize>()
    });
}

#[divan::bench(args = SIZES)]
fn build(bencher: Bencher, count: usize) {
    bencher
        .with_inputs(|| nodes(count))
        .bench_local_values(|nodes| Placement::build(PlacementSettings::default(), nodes));
}

#[divan::bench(args = SIZES)]
fn plan_one_node_more(bencher: Bencher, count: usize) {
    let (before, after) = (ring(count), ring(count + 1));
    bencher.bench_local(|| plan::movement(black_box(&before), black_box(&after)));
}

#[divan::bench(args = SIZES)]
fn fingerprint(bencher: Bencher, count: usize) {
    let ring = ring(count);
    bencher.bench_local(|| black_box(&ring).fingerprint("header:x-room"));
}
