//! Proxies that are stopped one after the other while a second one is up: no request that was accepted is lost.

use crate::harness::echo;
use crate::harness::load::Load;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_true;

#[test]
fn clients_who_turn_to_the_other_proxy_in_time_lose_nothing() {
    let drains = if std::env::var_os("RINGWAY_FULL").is_some() { 100 } else { 10 };
    let story = Story::begin("drains");
    let nodes = format!("initial-nodes = {}", echo::nodes_toml(&echo::start(2)));
    let start = |number: usize| {
        let top = "drain-delay = \"2s\"\ngrace = \"20s\"";
        let store = story.path(&format!("store-{}", number % 2));
        Ringway::serve(&story, &story.write(&format!("{}.toml", number % 2), &ringway::config(top, &store, &nodes)))
    };
    let mut serving = start(0);
    let mut other = start(1);
    let load = Load::start(serving.http);
    for number in 0..drains {
        load.wait_for_more();
        let mut prober = serving.operator();
        serving.process.signal("TERM");
        // As a load balancer does that probes it.
        until_true("it says that it leaves", || prober.try_get("/readyz").is_ok_and(|answer| answer.status == 503));
        load.turn_to(other.http);
        assert!(serving.process.wait().0.success());
        serving = std::mem::replace(&mut other, start(number));
    }
    let report = load.stop();
    story.figure(&format!("{drains} drains: {} of {} requests lost", report.lost.len(), report.total()));
    assert!(report.lost.is_empty(), "{} lost: {:#?}", report.lost.len(), &report.lost[..report.lost.len().min(10)]);
}
