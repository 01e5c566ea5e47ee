//! A thousand changes of a hundred nodes under traffic: old tables are given back.

use crate::harness::nginx::Nginx;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wrk::Wrk;
use serde_json::json;
use std::time::Instant;

const NODES: usize = 100;

const CHANGES: usize = 1_000;

/// Changes before the first measurement: the allocator and the tables in flight have settled by then.
const WARM_UP: usize = 100;

/// One placement of 100 nodes with 512 points each takes about 1 MiB; a leak of every table would take a thousand.
const GROWTH_BYTES_MAX: u64 = 48 << 20;

#[test]
fn memory_stays_flat_over_a_thousand_changes() {
    let story = Story::begin("memory");
    let backends = ["a", "b", "c", "d"];
    let nginx = Nginx::start(&story, &backends);
    let address = |id: usize| nginx.address(backends[id % backends.len()]);
    let nodes: String =
        (0..NODES).map(|id| format!(r#"{{ name = "n{id}", address = "{}" }}, "#, address(id))).collect();
    let pool = format!("placement = {{ kind = \"ring\", vnodes = 512 }}\ninitial-nodes = [{nodes}]");
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), &pool));
    let proxy = Ringway::serve(&story, &config);
    let wrk = Wrk::start(&story, proxy.http, 16);
    let mut operator = proxy.operator();
    let mut change = |turn: usize| {
        let name = format!("n{}", turn / 2 % NODES);
        // Every second change brings back what the one before took away.
        operator.must_apply(&match turn % 2 {
            0 => json!([{"remove": {"name": name}}]),
            _ => json!([{"add": {"name": name, "address": address(turn / 2 % NODES).to_string()}}]),
        })
    };
    for turn in 0..WARM_UP {
        change(turn);
    }
    let (before, begun) = (proxy.resident_bytes(), Instant::now());
    let mut most = before;
    for turn in WARM_UP..WARM_UP + CHANGES {
        change(turn);
        most = most.max(proxy.resident_bytes());
    }
    let (after, took) = (proxy.resident_bytes(), begun.elapsed());
    let load = wrk.stop();
    assert_eq!(load.failed(), 0, "{load:?}");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    story.figure(&format!(
        "resident {:.1} MiB before, {:.1} after {CHANGES} changes of {NODES} nodes x 512 points ({:.1} at most), {:.0} \
         changes/s under {:.0} requests/s",
        mib(before),
        mib(after),
        mib(most),
        CHANGES as f64 / took.as_secs_f64(),
        load.rate(),
    ));
    assert!(after < before + GROWTH_BYTES_MAX, "it grew from {before} to {after} bytes");
}
