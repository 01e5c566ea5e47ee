//! How long placing a key, building a ring or table and planning a change take: `cargo bench --bench placement`.
//!
//! `benches/instructions.rs` counts the instructions of the same work.

use divan::AllocProfiler;
use divan::Bencher;
use divan::black_box;
use divan::counter::ItemsCount;
use rings::keys;
use rings::nodes;
use rings::ring;
use rings::table;
use rings::table_settings;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;
use ringway::placement::plan;
use tikv_jemallocator::Jemalloc;

#[path = "workload/rings.rs"]
mod rings;

const SIZES: [usize; 3] = [10, 100, 1_000];

/// Positions looked up in one iteration: too many for the branch predictor to learn them by heart.
const LOOKUPS: usize = 65_536;

/// The allocator of the binary; shows in the report that looking up allocates nothing.
#[global_allocator]
static ALLOCATOR: AllocProfiler<Jemalloc> = AllocProfiler::new(Jemalloc);

fn main() {
    divan::main();
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

/// A key of 25 bytes, from its bytes to its owner.
#[divan::bench(args = SIZES)]
fn key_owner_throughput(bencher: Bencher, count: usize) {
    let (ring, keys) = (ring(count), keys(LOOKUPS));
    bencher
        .counter(ItemsCount::new(LOOKUPS))
        .bench_local(|| keys.iter().filter_map(|key| ring.owner(ring.position(key))).sum::<usize>());
}

/// The first bytes of each key wait for the owner of the one before.
#[divan::bench(args = SIZES)]
fn key_owner_dependent(bencher: Bencher, count: usize) {
    let (ring, keys) = (ring(count), keys(LOOKUPS));
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        keys.iter().fold(0u64, |last, key| {
            let mut key = *key;
            key[..8].copy_from_slice(&last.to_le_bytes());
            ring.owner(ring.position(&key)).map_or(0, |owner| owner as u64)
        })
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

/// What a change of one node costs where the ring before it is at hand.
#[divan::bench(args = SIZES)]
fn rebuild_one_node_more(bencher: Bencher, count: usize) {
    let before = ring(count);
    bencher
        .with_inputs(|| nodes(count + 1))
        .bench_local_values(|nodes| before.rebuild(PlacementSettings::default(), nodes));
}

#[divan::bench(args = SIZES)]
fn table_key_owner_throughput(bencher: Bencher, count: usize) {
    let (table, keys) = (table(count), keys(LOOKUPS));
    bencher
        .counter(ItemsCount::new(LOOKUPS))
        .bench_local(|| keys.iter().filter_map(|key| table.owner(table.position(key))).sum::<usize>());
}

/// Each lookup waits for the one before it.
#[divan::bench(args = SIZES)]
fn table_owner_dependent(bencher: Bencher, count: usize) {
    let (table, positions) = (table(count), positions());
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        positions.iter().fold(0, |last, position| table.owner(position ^ last).map_or(0, |owner| owner as u64))
    });
}

/// Eight, as many as allocate nothing.
#[divan::bench(args = SIZES)]
fn table_eight_candidates(bencher: Bencher, count: usize) {
    let (table, positions) = (table(count), positions());
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        positions.iter().map(|position| table.candidates(*position).take(8).sum::<usize>()).sum::<usize>()
    });
}

/// Nodes and slots.
#[divan::bench(args = [(10, 65_536), (100, 65_536), (1_000, 262_144)])]
fn table_build(bencher: Bencher, (count, slots): (usize, u32)) {
    bencher.with_inputs(|| nodes(count)).bench_local_values(|nodes| Placement::build(table_settings(slots), nodes));
}

#[divan::bench(args = SIZES)]
fn table_rebuild_one_node_more(bencher: Bencher, count: usize) {
    let before = table(count);
    bencher.with_inputs(|| nodes(count + 1)).bench_local_values(|nodes| before.rebuild(table_settings(65_536), nodes));
}

#[divan::bench(args = SIZES)]
fn shift_one_node_more(bencher: Bencher, count: usize) {
    let (before, after) = (ring(count), ring(count + 1));
    let shares = before.shares();
    bencher.bench_local(|| plan::shift(black_box(&before), &shares, black_box(&after)));
}

#[divan::bench(args = SIZES)]
fn plan_one_node_more(bencher: Bencher, count: usize) {
    let (before, after) = (ring(count), ring(count + 1));
    bencher.bench_local(|| plan::movement(black_box(&before), black_box(&after)));
}

#[divan::bench(args = SIZES)]
fn shares(bencher: Bencher, count: usize) {
    let ring = ring(count);
    bencher.bench_local(|| black_box(&ring).shares());
}

#[divan::bench(args = SIZES)]
fn fingerprint(bencher: Bencher, count: usize) {
    let ring = ring(count);
    bencher.bench_local(|| black_box(&ring).fingerprint("header:x-room"));
}
