//! A disk that fills up: writes are refused, clearly, while traffic goes on; with space they work again.

use crate::harness::nginx::Nginx;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::SmallDisk;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use crate::harness::wrk::Wrk;
use serde_json::json;
use std::fs;

#[test]
fn a_full_disk_refuses_writes_and_fails_no_request() {
    let story = Story::begin("full-disk");
    let nginx = Nginx::start(&story, &["a", "b"]);
    let disk = SmallDisk::mount(story.path("disk"));
    let pool = format!("initial-nodes = {}", nginx.nodes_toml());
    let config = story.write("ringway.toml", &ringway::config("", &disk.path().join("store"), &pool));
    let proxy = Ringway::serve(&story, &config);
    let mut operator = proxy.operator();
    let wrk = Wrk::start(&story, proxy.http, 8);
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 24 * 1024]).unwrap();

    let zone = "x".repeat(100);
    let zone = json!({"zone": {"name": "a", "zone": zone}});
    let change = |number: u64| json!([{"weight": {"name": "a", "weight": number % 2 + 1}}, zone]);
    let mut kept = 1;
    let refused = loop {
        let answer = operator.apply(&change(kept)).unwrap();
        if answer.status != 200 {
            break answer;
        }
        kept += 1;
        assert_eq!(answer.value()["epoch"], kept);
        assert!(kept < 10_000, "the disk never fills");
    };
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(refused.value()["detail"].as_str().unwrap().contains("no space left"), "{}", refused.text());
    for _ in 0..3 {
        assert_eq!(operator.apply(&change(kept)).unwrap().status, 507);
    }
    assert_eq!(operator.pool()["epoch"], kept, "a refused write must not be served");
    let before = operator.metric("ringway_requests_total", "2xx");
    until_true("traffic goes on", || operator.metric("ringway_requests_total", "2xx") > before + 1_000.0);

    fs::remove_file(&ballast).unwrap();
    assert_eq!(operator.must_apply(&change(kept)), kept + 1, "with space, without a restart, at the next epoch");
    let load = wrk.stop();
    assert_eq!(load.failed(), 0, "{load:?}");
    drop(proxy);
    assert_eq!(Ringway::serve(&story, &config).operator().pool()["epoch"], kept + 1);
    story.figure(&format!("full at epoch {kept}: 4 writes refused with 507, {} requests, 0 failed", load.requests));
}
