//! The shipped dashboard: it is whole, and the real Prometheus, told whom to scrape by `ringway export prometheus`, has
//! data for all of it once everything that it shows has happened.

use crate::alerts::ALERTS;
use crate::harness::client::Client;
use crate::harness::echo;
use crate::harness::prometheus::Prometheus;
use crate::harness::prometheus::promtool;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::story::refusing_port;
use crate::harness::wait::until;
use crate::harness::wait::until_holds;
use serde_json::Value;
use serde_json::json;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;

pub(crate) const DASHBOARD: &str = include_str!("../../config/grafana/ringway.json");

#[test]
fn every_query_has_data_once_what_it_shows_has_happened() {
    let story = Story::begin("dashboard");
    // A node that nothing listens for: its keys fail over. What is open at a node makes the next request for it spill.
    let (_held, port) = refusing_port();
    let dead = format!(r#"{{ name = "dead", address = "127.0.0.1:{port}" }}"#);
    let nodes = echo::nodes_toml(&echo::start(3)).replace("}, ]", &format!("}}, {dead}]"));
    let pool = format!("load-bound = {{ factor = 1, min-gap = 0 }}\ninitial-nodes = {nodes}");
    let proxies = ["one", "two"].map(|name| {
        let config = ringway::config("", &story.path(&format!("store-{name}")), &pool);
        let config = config.replace(r#"key = "query:k""#, r#"key = ["query:k", "header:x-room"]"#);
        Ringway::serve(&story, &story.write(&format!("{name}.toml"), &config))
    });
    let [one, two] = proxies.each_ref().map(|proxy| format!("http://{}", proxy.admin));
    let config = export_prometheus(&story, &[&one, &two]);
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("15s", "1s")).unwrap();
    let mut prometheus = Prometheus::start(&story, &config);
    // Only a change after the first scrape is seen as one.
    let is_scraped = "count(ringway_ring_epoch == 1) == 2 and count(ringway_node_falls_total == 0) == 8";
    until("both proxies have been scraped", || prometheus.query(is_scraped).pop());

    let mut clients = proxies.each_ref().map(Ringway::client);
    let hot = key_of_a_living_node(&mut clients[0]);
    let _open = proxies.each_ref().map(|proxy| open_tunnel(proxy.http, &hot));
    for proxy in &proxies {
        proxy.operator().must_apply(&json!([{"weight": {"name": "n1", "weight": 2}}]));
    }
    let mut queries = queries();
    story.figure(&format!("Prometheus is asked {} queries of the dashboard", queries.len()));
    let ask = || {
        clients.iter_mut().for_each(|client| send(client, &hot));
        queries.retain(|query| !query.has_data(&mut prometheus));
        queries.clone()
    };
    until_holds("every query has data", ask, Vec::is_empty);
}

/// A key that is at its owner, so that its requests spill once that is full.
fn key_of_a_living_node(client: &mut Client) -> String {
    let mut keys = (0..100).map(|key| format!("hot-{key}"));
    let mut decision = |key: &str| {
        let answer = client.get(&format!("/?k={key}"), &[]).unwrap();
        answer.header("x-ringway-decision").to_owned()
    };
    keys.find(|key| decision(key) == "owner").expect("three of four nodes live")
}

/// A tunnel, which is in flight at the owner of its key for as long as it is open.
fn open_tunnel(to: SocketAddr, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    let head = "HTTP/1.1\r\nhost: live.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    write!(stream, "GET /?k={key} {head}").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101", "{}", String::from_utf8_lossy(&answer));
    stream
}

/// Sends requests with keys of either source, one that spills, one without a key and one that is refused.
fn send(client: &mut Client, hot: &str) {
    for key in 0..20 {
        assert_eq!(client.get(&format!("/?k=key-{key}"), &[]).unwrap().status, 200, "key-{key}");
    }
    assert_eq!(client.get(&format!("/?k={hot}"), &[]).unwrap().header("x-ringway-decision"), "spill");
    assert_eq!(client.get("/", &[("x-room", "lobby")]).unwrap().status, 200);
    assert_eq!(client.get("/", &[]).unwrap().header("x-ringway-decision"), "no-key");
    assert_eq!(client.get(&format!("/{}", "long".repeat(4096)), &[]).unwrap().status, 414);
}

/// A query of the dashboard, with its variables as Grafana fills them in.
#[derive(Clone, Debug)]
struct Query {
    /// The panel, annotation or variable it is for.
    title: String,
    expression: String,
}

impl Query {
    fn of(title: &Value, expression: &Value) -> Query {
        let expression = expression.as_str().unwrap_or_else(|| panic!("{title} has a query without an expression"));
        let filled = expression.replace("$pool", ".*").replace("$instance", ".*").replace("$__rate_interval", "10s");
        assert!(!filled.contains('$'), "nobody fills this in: {filled}");
        Query { title: title.as_str().unwrap().to_owned(), expression: filled }
    }

    /// Whether there is a number, above 0 where the story makes it so.
    fn has_data(&self, prometheus: &mut Prometheus) -> bool {
        let least = if HAPPENED.contains(&self.title.as_str()) { f64::MIN_POSITIVE } else { f64::NEG_INFINITY };
        prometheus.query(&self.expression).iter().any(|series| series.value.is_finite() && series.value >= least)
    }
}

/// What has to show more than nothing.
const HAPPENED: [&str; 12] = [
    "Answers without a node",
    "Failures by node",
    "In flight, of the bound",
    "Keys moved by a change",
    "Membership changes",
    "Nodes ill",
    "Nodes that fall ill",
    "Requests without a key",
    "Spill",
    "Spill and failover by pool",
    "Spilled by owner",
    "Without a key",
];

/// Every query of the dashboard: of its panels, its annotations and its variables.
fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let of_panel = |panel: &Value| -> Vec<Query> {
        list(&panel["targets"]).iter().map(|target| Query::of(&panel["title"], &target["expr"])).collect()
    };
    let panels = panels(&dashboard).into_iter().flat_map(of_panel);
    let annotations = list(&dashboard["annotations"]["list"]).iter().filter(|annotation| annotation["builtIn"] != 1);
    let annotations = annotations.map(|annotation| Query::of(&annotation["name"], &annotation["expr"]));
    let variables = list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query");
    let variables = variables.map(|variable| {
        let query = variable["query"]["query"].as_str().unwrap();
        let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (metric, label) = arguments.split_once(", ").unwrap();
        Query::of(&variable["name"], &format!("count by ({label}) ({metric}{{{label}!=\"\"}})").into())
    });
    panels.chain(annotations).chain(variables).collect()
}

#[test]
fn every_panel_has_a_place_a_unit_and_says_what_to_do() {
    let dashboard = dashboard();
    assert!(dashboard["id"].is_null(), "a dashboard with an id replaces another one");
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert_eq!(panel["datasource"], json!({"type": "prometheus", "uid": "${datasource}"}), "{title}");
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 40), "{title} has no description");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
    }
    let all = list(&dashboard["panels"]);
    for (index, panel) in all.iter().enumerate() {
        let [left, _, right, _] = place(panel);
        assert!(left < right && right <= 24, "{panel} leaves the grid");
        for other in &all[..index] {
            assert_ne!(panel["id"], other["id"], "{} and {}", panel["title"], other["title"]);
            assert!(!overlap(place(panel), place(other)), "{} lies on {}", panel["title"], other["title"]);
        }
    }
}

/// Left, top, right and bottom of a panel.
fn place(panel: &Value) -> [u64; 4] {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
    [x, y, x + w, y + h]
}

fn overlap(one: [u64; 4], other: [u64; 4]) -> bool {
    one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3]
}

#[test]
fn panels_turn_red_where_alerts_fire() {
    let dashboard = dashboard();
    let mut compared = 0;
    for alert in ALERTS.split("- alert: ").skip(1) {
        let anchor = between(alert, "runbook: \"", "\"");
        let mut panels = panels(&dashboard);
        panels.retain(|panel| panel["description"].as_str().unwrap().contains(anchor));
        assert!(!panels.is_empty(), "no panel leads to {anchor}");
        // Others fire on equality.
        let Some(limit) = limit(between(alert, "expr: ", "labels: ")) else { continue };
        assert!(panels.iter().any(|panel| has_limit(panel, limit)), "no panel about {anchor} has the limit {limit}");
        compared += 1;
    }
    assert!(compared >= 6, "{compared}");
}

/// What an expression has to be above.
fn limit(expression: &str) -> Option<f64> {
    expression.rsplit_once(" > ")?.1.split_whitespace().next()?.parse().ok()
}

/// Whether a panel changes its colour there: alerts fire above their limit and panels turn red at it, or at the next
/// whole number.
fn has_limit(panel: &Value, limit: f64) -> bool {
    let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"]["steps"]);
    steps.iter().any(|step| step["value"].as_f64().is_some_and(|at| at == limit || at == limit + 1.0))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).and_then(|(_, rest)| rest.split_once(after)).unwrap().0
}

#[test]
fn promtool_takes_every_scrape_configuration() {
    let story = Story::begin("scrape-configuration");
    for file in ["read.token", "ca.pem", "me.pem", "me.key"] {
        story.write(file, "");
    }
    let secured = ["--token-file", "read.token", "--ca", "ca.pem", "--cert", "me.pem", "--cert-key", "me.key"];
    export_prometheus(&story, &[]);
    export_prometheus(&story, &["proxy.internal:9080", "http://[::1]:9080"]);
    export_prometheus(&story, &["--token-file", "read.token", "http://10.0.0.5:9080"]);
    export_prometheus(&story, &[&secured[..], &["https://10.0.0.5:9443", "https://proxy.internal:9443"]].concat());
}

/// Writes what `ringway export prometheus` prints, with the alerts beside it, and shows it to promtool.
fn export_prometheus(story: &Story, arguments: &[&str]) -> PathBuf {
    let export = |arguments: &[&str]| {
        let printed = ringway::run(&[&["export"][..], arguments].concat(), "");
        assert_eq!(printed.code, 0, "{arguments:?}: {printed:?}");
        printed.stdout
    };
    story.write("ringway.rules.yml", &export(&["alerts"]));
    let config = story.write("prometheus.yml", &export(&[&["prometheus"][..], arguments].concat()));
    promtool(["check", "config", config.to_str().unwrap()]);
    config
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

/// All panels but the titles of rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row").collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}
