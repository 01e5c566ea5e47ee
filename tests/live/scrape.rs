//! The real Prometheus reads every metric, and sees a failover, a change, and a node that leaves.

use crate::harness::client::Client;
use crate::harness::nginx::Nginx;
use crate::harness::prometheus::Prometheus;
use crate::harness::prometheus::Series;
use crate::harness::ringway;
use crate::harness::ringway::Operator;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::story::refusing_port;
use crate::harness::wait::until_holds;
use serde_json::json;

#[test]
fn prometheus_sees_every_metric_with_a_sensible_value() {
    let story = Story::begin("scrape");
    let nginx = Nginx::start(&story, &["a", "b"]);
    // A node that nothing listens for: its keys fail over.
    let (_held, port) = refusing_port();
    let dead = format!(r#"{{ name = "dead", address = "127.0.0.1:{port}" }}"#);
    let nodes = nginx.nodes_toml().replace("}, ]", &format!("}}, {dead}]"));
    let pool = format!("load-bound = {{ factor = 1.25 }}\ninitial-nodes = {nodes}");
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), &pool));
    let proxy = Ringway::serve(&story, &config);
    let mut prometheus = Prometheus::scrape(&story, proxy.admin);
    let mut client = proxy.client();
    let sent = send(&mut client);
    let mut operator = proxy.operator();
    operator.must_apply(&json!([{"weight": {"name": "b", "weight": 2}}]));

    let expected =
        [of_traffic(&sent), of_health(), of_connections(), of_placement(&mut operator), of_process()].concat();
    for (expression, value) in &expected {
        let holds = |found: &Vec<Series>| matches!(found.as_slice(), [one] if value.holds(one.value));
        until_holds(&format!("{expression} is {value:?}"), || prometheus.query(expression), holds);
    }
    let scraped = operator.try_get("/metrics").unwrap().text();
    let names: Vec<&str> = scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() >= 20, "{scraped}");
    for name in names {
        assert!(expected.iter().any(|(expression, _)| expression.contains(name)), "nothing looks at {name}");
    }
    assert_labels(&mut prometheus);

    operator.must_apply(&json!([{"drain": {"name": "a"}}]));
    let draining = r#"ringway_node_state{node="a",state="draining"} == 1"#;
    until_holds("the drain is seen", || prometheus.query(draining), |found| found.len() == 1);
    let owns_nothing = r#"ringway_ring_ownership_ratio{node="a"} == 0"#;
    until_holds("it owns nothing", || prometheus.query(owns_nothing), |found| found.len() == 1);
    operator.must_apply(&json!([{"remove": {"name": "dead"}}]));
    until_holds("the series of the removed node are gone", || prometheus.query(r#"{node="dead"}"#), Vec::is_empty);
    story.figure(&format!("Prometheus read {} expressions, each with the value expected", expected.len()));
}

/// An expression and what it should come to.
type Check = (String, Expected);

/// How the requests of [`send`] were decided.
struct Sent {
    owner: f64,
    failover: f64,
}

const WITH_KEY: u32 = 300;

const WITHOUT_KEY: u32 = 20;

/// Sends requests with and without a key on one connection; all must succeed.
fn send(client: &mut Client) -> Sent {
    let mut sent = Sent { owner: 0.0, failover: 0.0 };
    for key in 0..WITH_KEY {
        let answer = client.get(&format!("/?k=key-{key}"), &[]).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        match answer.header("x-ringway-decision") {
            "owner" => sent.owner += 1.0,
            "failover" => sent.failover += 1.0,
            other => panic!("key-{key} has the decision {other}"),
        }
    }
    for _ in 0..WITHOUT_KEY {
        assert_eq!(client.get("/", &[]).unwrap().header("x-ringway-decision"), "no-key");
    }
    sent
}

fn of_traffic(sent: &Sent) -> Vec<Check> {
    let all = Expected::Exactly(f64::from(WITH_KEY + WITHOUT_KEY));
    let none = Expected::Exactly(0.0);
    let keyless = Expected::Exactly(f64::from(WITHOUT_KEY));
    // After five failures the dead node is passed over, until one request at a time finds it still dead.
    let retries = Expected::Between(5.0, sent.failover + f64::from(WITHOUT_KEY));
    let seconds = Expected::Between(1e-6, 60.0);
    let median = "histogram_quantile(0.5, sum by (le) (ringway_request_duration_seconds_bucket))";
    checks([
        (r#"sum(ringway_requests_total{pool="rooms",node=~"a|b",code="2xx"})"#, all),
        (r#"sum(ringway_requests_total{code!="2xx"})"#, none),
        (r#"ringway_request_duration_seconds_count{pool="rooms"}"#, all),
        (r#"ringway_request_duration_seconds_bucket{pool="rooms",le="+Inf"}"#, all),
        (r#"ringway_request_duration_seconds_sum{pool="rooms"}"#, seconds),
        (median, seconds),
        (r#"sum(ringway_upstream_duration_seconds_count{pool="rooms",node=~"a|b"})"#, all),
        (r#"sum(ringway_upstream_duration_seconds_sum{pool="rooms",node=~"a|b"})"#, seconds),
        (r#"ringway_decisions_total{pool="rooms",decision="owner"}"#, Expected::Exactly(sent.owner)),
        (r#"ringway_decisions_total{pool="rooms",decision="failover"}"#, Expected::Exactly(sent.failover)),
        (r#"ringway_decisions_total{pool="rooms",decision="no-key"}"#, keyless),
        (r#"ringway_decisions_total{pool="rooms",decision="spill"}"#, none),
        (r#"sum(ringway_spilled_requests_total{pool="rooms",direction=~"in|out"})"#, none),
        (r#"ringway_keyless_requests_total{pool="rooms"}"#, keyless),
        (r#"ringway_keys_total{pool="rooms",source="query:k",place="1"}"#, Expected::Exactly(f64::from(WITH_KEY))),
        (r#"ringway_retries_total{pool="rooms",reason="connect"}"#, retries),
        (r#"ringway_retries_total{pool="rooms",reason="stale-connection"}"#, none),
        (r#"sum(ringway_inflight_requests{pool="rooms",node=~"a|b|dead"})"#, none),
        // Each node may have its share of the next request, rounded up, and `min-gap`.
        (r#"sum(ringway_inflight_bound_requests{pool="rooms",node=~"a|b|dead"})"#, Expected::Exactly(15.0)),
        (r#"ringway_retries_refused_total{pool="rooms"}"#, none),
        ("ringway_access_log_dropped_total", none),
        ("sum(ringway_limit_hits_total)", none),
        ("sum(ringway_tls_handshakes_total)", none),
        ("sum(ringway_tls_handshake_failures_total)", none),
        ("sum(ringway_proxy_protocol_failures_total)", none),
        ("ringway_request_memory_bytes", Expected::Between(0.0, 1e6)),
        (r#"sum(ringway_resolve_failures_total{node=~"a|b|dead"})"#, none),
    ])
}

/// Of the nodes, one of which is dead.
fn of_health() -> Vec<Check> {
    let (none, one) = (Expected::Exactly(0.0), Expected::Exactly(1.0));
    checks([
        (r#"sum(ringway_node_up{pool="rooms",node=~"a|b"})"#, Expected::Exactly(2.0)),
        (r#"ringway_node_up{pool="rooms",node="dead"}"#, none),
        (r#"ringway_node_falls_total{pool="rooms",node="dead"}"#, one),
        (r#"sum(ringway_node_failures_total{pool="rooms",node=~"a|b"})"#, none),
        (r#"ringway_node_failures_total{pool="rooms",node="dead"}"#, Expected::Between(5.0, 320.0)),
        (r#"ringway_pool_panic{pool="rooms"}"#, none),
        (r#"ringway_waiting_requests{pool="rooms"}"#, none),
        (r#"ringway_held_requests_total{pool="rooms"}"#, none),
    ])
}

fn of_connections() -> Vec<Check> {
    checks([
        // One connection of one client is one worker's, which keeps one to each node that answers.
        (r#"ringway_connections{listener="http"}"#, Expected::Exactly(1.0)),
        // It depends on how long ago the last request was.
        (r#"ringway_resting_connections{listener="http"}"#, Expected::Between(0.0, 1.0)),
        (r#"sum(ringway_upstream_connections{pool="rooms",node=~"a|b",state="idle"})"#, Expected::Exactly(2.0)),
        (r#"sum(ringway_upstream_connections{pool="rooms",state="active"})"#, Expected::Exactly(0.0)),
        (r#"sum(ringway_upstream_connections{pool="rooms",node="dead"})"#, Expected::Exactly(0.0)),
        (r#"sum(ringway_tunnels{pool="rooms",node=~"a|b|dead"})"#, Expected::Exactly(0.0)),
        (r#"sum(ringway_drain_cut_connections_total{pool="rooms",node=~"a|b|dead"})"#, Expected::Exactly(0.0)),
    ])
}

/// The placement after its second event, as the API tells it.
fn of_placement(operator: &mut Operator) -> Vec<Check> {
    let pool = operator.get("/v1/pools/rooms/nodes");
    let fingerprint = pool["fingerprint"].as_str().unwrap();
    let info = format!(r#"ringway_ring_info{{pool="rooms",fingerprint="{fingerprint}"}}"#);
    let shares = pool["nodes"].as_array().unwrap().iter().map(|node| {
        let (name, share) = (node["name"].as_str().unwrap(), node["share"].as_f64().unwrap());
        (format!(r#"ringway_ring_ownership_ratio{{pool="rooms",node="{name}"}}"#), Expected::Exactly(share))
    });
    let mut all = checks([
        (&info, Expected::Exactly(1.0)),
        (r#"ringway_ring_epoch{pool="rooms"}"#, Expected::Exactly(2.0)),
        // From 1/3 to 1/2 of the keys for one node: 1/6 moves, or somewhat more or less with 512 points.
        (r#"ringway_ring_moved_ratio{pool="rooms"}"#, Expected::Between(0.1, 0.25)),
        (r#"ringway_ring_imbalance_ratio{pool="rooms"}"#, Expected::Between(1.0, 1.2)),
        (r#"sum(ringway_node_state{pool="rooms",state="active"})"#, Expected::Exactly(3.0)),
        (r#"sum(ringway_node_state{pool="rooms",state="draining"})"#, Expected::Exactly(0.0)),
        ("sum(ringway_ring_ownership_ratio)", Expected::Exactly(1.0)),
    ]);
    all.extend(shares);
    all
}

fn of_process() -> Vec<Check> {
    let recently = Expected::Between(-1.0, 300.0);
    checks([
        ("ringway_config_last_reload_successful", Expected::Exactly(1.0)),
        ("time() - ringway_config_last_reload_success_timestamp_seconds", recently),
        ("ringway_build_info", Expected::Exactly(1.0)),
        ("ringway_workers", Expected::Between(1.0, 1_000.0)),
        ("ringway_workers_stuck", Expected::Exactly(0.0)),
        ("sum(ringway_panics_total)", Expected::Exactly(0.0)),
        ("process_cpu_seconds_total", Expected::Between(0.0, 300.0)),
        ("process_open_fds", Expected::Between(5.0, 1_000.0)),
        ("process_max_fds", Expected::Between(256.0, 1e10)),
        ("process_resident_memory_bytes", Expected::Between(1e6, 1e9)),
        ("process_virtual_memory_bytes", Expected::Between(1e6, 1e13)),
        ("process_threads", Expected::Between(2.0, 2_000.0)),
        ("time() - process_start_time_seconds", recently),
    ])
}

fn checks<const N: usize>(checks: [(&str, Expected); N]) -> Vec<Check> {
    checks.map(|(expression, expected)| (expression.to_owned(), expected)).into()
}

/// What a value should be.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Between(f64, f64),
    Exactly(f64),
}

impl Expected {
    fn holds(self, value: f64) -> bool {
        match self {
            Expected::Between(least, most) => (least..=most).contains(&value),
            Expected::Exactly(exact) => (value - exact).abs() < 1e-9,
        }
    }
}

/// Every series of a metric has exactly the labels that dashboards are built on.
fn assert_labels(prometheus: &mut Prometheus) {
    for (metric, labels) in LABELS {
        let found = prometheus.query(metric);
        assert!(!found.is_empty(), "{metric} has no series");
        for series in found {
            assert!(series.labels.keys().eq(labels.iter()), "{metric}: {series:?}");
        }
    }
}

/// The labels of each metric that has any, in alphabetical order.
const LABELS: [(&str, &[&str]); 37] = [
    ("ringway_requests_total", &["code", "node", "pool"]),
    ("ringway_request_duration_seconds_count", &["pool"]),
    ("ringway_request_duration_seconds_bucket", &["le", "pool"]),
    ("ringway_upstream_duration_seconds_count", &["node", "pool"]),
    ("ringway_upstream_duration_seconds_bucket", &["le", "node", "pool"]),
    ("ringway_decisions_total", &["decision", "pool"]),
    ("ringway_retries_total", &["pool", "reason"]),
    ("ringway_keyless_requests_total", &["pool"]),
    ("ringway_keys_total", &["place", "pool", "source"]),
    ("ringway_retries_refused_total", &["pool"]),
    ("ringway_waiting_requests", &["pool"]),
    ("ringway_held_requests_total", &["pool"]),
    ("ringway_node_up", &["node", "pool"]),
    ("ringway_node_falls_total", &["node", "pool"]),
    ("ringway_node_failures_total", &["node", "pool"]),
    ("ringway_resolve_failures_total", &["node", "pool"]),
    ("ringway_pool_panic", &["pool"]),
    ("ringway_inflight_requests", &["node", "pool"]),
    ("ringway_inflight_bound_requests", &["node", "pool"]),
    ("ringway_spilled_requests_total", &["direction", "node", "pool"]),
    ("ringway_node_state", &["node", "pool", "state"]),
    ("ringway_tunnels", &["node", "pool"]),
    ("ringway_drain_cut_connections_total", &["node", "pool"]),
    ("ringway_upstream_connections", &["node", "pool", "state"]),
    ("ringway_ring_ownership_ratio", &["node", "pool"]),
    ("ringway_ring_epoch", &["pool"]),
    ("ringway_ring_info", &["fingerprint", "pool"]),
    ("ringway_ring_moved_ratio", &["pool"]),
    ("ringway_ring_imbalance_ratio", &["pool"]),
    ("ringway_connections", &["listener"]),
    ("ringway_resting_connections", &["listener"]),
    ("ringway_limit_hits_total", &["limit"]),
    ("ringway_tls_handshakes_total", &["listener"]),
    ("ringway_tls_handshake_failures_total", &["listener", "reason"]),
    ("ringway_proxy_protocol_failures_total", &["listener", "reason"]),
    ("ringway_panics_total", &["thread"]),
    ("ringway_build_info", &["commit", "rustc", "version"]),
];
