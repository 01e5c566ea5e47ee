//! Writes that race each other, and a write that races a request.

use crate::harness::open_request::OpenRequest;
use crate::harness::ringway;
use crate::harness::ringway::Operator;
use crate::harness::ringway::POOL;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

const WRITERS: usize = 64;

/// Where counting ends.
const COUNT: u64 = 400;

#[test]
fn sixty_four_writers_count_with_if_epoch_and_lose_no_update() {
    let story = Story::begin("races");
    let pool = r#"initial-nodes = [{ name = "counter", address = "127.0.0.1:9" }]"#;
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), pool));
    let proxy = Ringway::serve(&story, &config);
    let (counted, stale) = (Mutex::new(BTreeMap::new()), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| count(proxy.operator(), &counted, &stale));
        }
    });
    // The first event has weight 1, and each event adds 1: had an update been lost, a weight would lag its epoch.
    let expected: BTreeMap<u64, u64> = (2..=COUNT).map(|number| (number, number)).collect();
    assert_eq!(counted.into_inner().unwrap(), expected);
    let events = proxy.operator().get(&format!("/v1/pools/{POOL}/events?after=1"));
    for event in events["events"].as_array().unwrap() {
        assert_eq!(event["changes"][0]["weight"]["weight"], event["epoch"], "{event}");
    }
    let stale = stale.into_inner();
    assert!(stale > 0, "nothing raced");
    story.figure(&format!("{WRITERS} writers counted to {COUNT}: 0 lost updates, {stale} refused as stale"));
}

#[test]
fn a_request_at_a_node_that_is_removed_is_finished() {
    let story = Story::begin("removed-in-flight");
    let open = OpenRequest::start(&story, "");
    open.proxy.operator().must_apply(&json!([{"remove": {"name": "slow"}}]));
    let refused = open.proxy.client().get("/?k=1", &[]).unwrap();
    assert_eq!(refused.status, 503, "the pool has no node: {refused:?}");
    let (_proxy, answer) = open.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
}

/// Adds 1 to the counter until it is full, and notes the epoch of each success.
fn count(mut operator: Operator, counted: &Mutex<BTreeMap<u64, u64>>, stale: &AtomicU64) {
    loop {
        let pool = operator.pool();
        let epoch = pool["epoch"].as_u64().unwrap();
        let next = pool["nodes"][0]["weight"].as_u64().unwrap() + 1;
        if next > COUNT {
            return;
        }
        let answer = operator.apply_at(epoch, &json!([{"weight": {"name": "counter", "weight": next}}]));
        if answer.status == 412 {
            stale.fetch_add(1, Relaxed);
            continue;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        let epoch = answer.value()["epoch"].as_u64().unwrap();
        let twice = counted.lock().unwrap().insert(epoch, next);
        assert_eq!(twice, None, "two writers were answered with epoch {epoch}");
    }
}
