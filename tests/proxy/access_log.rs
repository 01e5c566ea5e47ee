//! What is written down about requests: log lines, and counters that agree with them.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::key_of;
use crate::harness::proxy::keyed;
use crate::harness::proxy::post;
use ringway::control::pool_at::PoolAt;
use serde_json::Value;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// A log file of one story, gone with it.
struct LogFile(PathBuf);

impl LogFile {
    fn new(story: &str) -> LogFile {
        LogFile(std::env::temp_dir().join(format!("ringway-{story}-{}.log", std::process::id())))
    }

    /// The lines, once there are so many; no more may follow for what was asked so far.
    async fn lines(&self, count: usize) -> Vec<Value> {
        let read = || std::fs::read_to_string(&self.0).unwrap_or_default();
        eventually("all lines are written", || read().lines().count() >= count).await;
        let lines: Vec<Value> = read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        for path in [self.0.clone(), rotated(&self.0)] {
            // Not every story makes both.
            drop(std::fs::remove_file(path));
        }
    }
}

fn rotated(path: &Path) -> PathBuf {
    path.with_extension("1")
}

#[tokio::test]
async fn a_line_tells_what_became_of_a_request() {
    let (log, node) = (LogFile::new("line"), Node::echo("a").await);
    let proxy = Setup::of(&[&node]).access_log(&log.0).start();
    let trace = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    proxy.ask(post("/rooms/7?token=hidden", &format!("X-Key: secret-key\r\n{trace}"), "hello")).await;
    let line = log.lines(1).await.remove(0);
    let located = PoolAt::of(&proxy.controller.pool("p").unwrap()).locate(b"secret-key");
    for (field, value) in [
        ("pool", Value::from("p")),
        ("node", "a".into()),
        ("decision", "owner".into()),
        ("key_source", "header:x-key".into()),
        ("key_hash", located.hash.into()),
        ("attempts", 1.into()),
        ("method", "POST".into()),
        ("host", "a.test".into()),
        ("path", "/rooms/7".into()),
        ("status", 200.into()),
        ("bytes_in", 5.into()),
        ("bytes_out", 5.into()),
        ("client", "127.0.0.1".into()),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736".into()),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert!(humantime::parse_rfc3339(line["ts"].as_str().unwrap()).is_ok(), "{line}");
    let (all, upstream) = (line["duration_s"].as_f64().unwrap(), line["upstream_s"].as_f64().unwrap());
    assert!(0.0 < upstream && upstream <= all && all < 10.0, "{line}");
}

#[tokio::test]
async fn a_target_with_a_host_is_logged_as_the_node_gets_it() {
    let (log, node) = (LogFile::new("absolute"), Node::echo("a").await);
    let proxy = Setup::of(&[&node]).access_log(&log.0).start();
    proxy.ask("GET http://Other.test:80/rooms/7?token=hidden HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let line = log.lines(1).await.remove(0);
    let request = node.request();
    assert_eq!((&line["host"], request.head.field("host")), (&"other.test:80".into(), Some("other.test:80")), "{line}");
    assert_eq!((&line["path"], request.head.target()), (&"/rooms/7".into(), "/rooms/7?token=hidden"), "{line}");
}

#[tokio::test]
async fn whoever_is_served_elsewhere_can_read_why() {
    let (log, a, b) = (LogFile::new("why"), Node::refusing("a"), Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("ejection = { failures = 1, time = '1h' }").access_log(&log.0).start();
    let key = key_of(&proxy, &["a", "b"]);
    proxy.ask(keyed(&key)).await;
    proxy.metric_is("ringway_node_up", &["node=\"a\""], 0.0).await;
    proxy.ask(keyed(&key)).await;
    proxy.ask(keyed(&key_of(&proxy, &["b", "a"]))).await;
    let lines = log.lines(3).await;
    let told: Vec<_> = lines.iter().map(|line| (&line["decision"], &line["owner_was"])).collect();
    let (failover, owner) = ("failover".into(), "owner".into());
    assert_eq!(told, [(&failover, &"failed".into()), (&failover, &"ill".into()), (&owner, &Value::Null)]);
}

#[tokio::test]
async fn a_body_that_has_the_key_and_is_sent_twice_counts_once() {
    let log = LogFile::new("twice");
    // Answers once per connection, then reads a request and hangs up.
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        wire.try_request().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).pool("key = \"json:/room\"").access_log(&log.0).start();
    let mut client = proxy.connect().await;
    client.ask(get("/", "")).await;
    assert_eq!(client.ask(post("/", "", "{\"room\":7}").replacen("POST", "PUT", 1)).await.status(), 200);
    let line = log.lines(2).await.remove(1);
    assert_eq!((&line["key_source"], &line["decision"]), (&"json:/room".into(), &"owner".into()), "{line}");
    assert_eq!((&line["bytes_in"], &line["attempts"]), (&10.into(), &2.into()), "{line}");
}

#[tokio::test]
async fn with_a_seed_the_hash_of_a_key_tells_nothing_to_those_without_it() {
    let (log, node) = (LogFile::new("seeded"), Node::echo("a").await);
    let seed = |name: &str, digits: &str| {
        let file = std::env::temp_dir().join(format!("ringway-{name}-{}.seed", std::process::id()));
        std::fs::write(&file, digits).unwrap();
        file
    };
    let files = [seed("first", "9f3c01d2a4b5e6770f1e2d3c4b5a6978"), seed("second", "0123456789abcdef0123456789abcdef")];
    let setup = Setup::of(&[&node]).access_log(&log.0);
    let setups = files.each_ref().map(|file| setup.clone().pool(&format!("seed-file = \"{}\"", file.display())));
    let [first, second] = setups;
    let proxy = setup.start();
    let located = || PoolAt::of(&proxy.controller.pool("p").unwrap()).locate(b"k").hash;
    let mut expected = vec![located()];
    proxy.ask(keyed("k")).await;
    for seeded in [first, second] {
        proxy.reload(seeded).await;
        expected.push(located());
        proxy.ask(keyed("k")).await;
    }
    let lines = log.lines(3).await;
    let logged: Vec<_> = lines.iter().map(|line| line["key_hash"].as_str().unwrap()).collect();
    assert_eq!(logged, expected);
    assert!(logged[0] != logged[1] && logged[1] != logged[2], "{logged:?}");
    assert!(proxy.metric("ringway_ring_moved_ratio", &["pool=\"p\""]) < 1e-9, "one node has all keys anyway");
    files.iter().for_each(|file| drop(std::fs::remove_file(file)));
}

#[tokio::test]
async fn what_clients_make_up_is_logged_in_a_way_that_no_terminal_acts_on() {
    let (log, node) = (LogFile::new("escapes"), Node::echo("a").await);
    let proxy = Setup::of(&[&node]).access_log(&log.0).start();
    let texts = ["\u{202e}gpj\u{2066}", "\u{2028}\u{2029}", "\u{80}\u{9b}31m", "%1b[31m%0d%0a", "Z\u{fc}rich"];
    for text in texts {
        proxy.ask(get(&format!("/{text}"), &format!("Traceparent: 00-{text}-{text}-01\r\n"))).await;
        proxy.ask(format!("GET / HTTP/1.1\r\nHost: {text}\r\n\r\n")).await;
    }
    let lines = log.lines(2 * texts.len()).await;
    let paths: Vec<_> = lines.iter().step_by(2).map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(paths, texts.map(|text| format!("/{text}")), "they read back");
    let text = log.text();
    assert!(text.lines().all(|line| line.chars().all(ringway::section::is_printable)), "{text}");
}

#[tokio::test]
async fn keys_are_never_written_in_clear() {
    let (log, node) = (LogFile::new("keys"), Node::echo("a").await);
    let rule = "key = [\"header:x-key\", \"cookie:sid\", \"query:room\"]";
    let proxy = Setup::of(&[&node]).pool(rule).access_log(&log.0).start();
    proxy.ask(get("/", "X-Key: s3cret\r\n")).await;
    proxy.ask(get("/", "Cookie: sid=s3cret\r\n")).await;
    proxy.ask(get("/?room=s3cret", "")).await;
    let lines = log.lines(3).await;
    assert!(!log.text().contains("s3cret"), "{}", log.text());
    let hashes: Vec<_> = lines.iter().map(|line| &line["key_hash"]).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[tokio::test]
async fn every_request_has_one_line_however_it_ends() {
    let (log, node) = (LogFile::new("ends"), Node::echo("a").await);
    let silent = Node::script("silent", |mut wire| async move {
        wire.request().await;
        wire.closed().await;
    })
    .await;
    let down = Node::refusing("down");
    let proxy = Setup::of(&[&node])
        .pool("match = { host = \"a.test\" }\nno-key = \"reject\"")
        .another_pool("name = \"silent\"\nkey = \"path\"\nmatch = { host = \"silent.test\" }", &[&silent])
        .another_pool("name = \"down\"\nkey = \"path\"\nmatch = { host = \"down.test\" }", &[&down])
        .access_log(&log.0)
        .start();
    let request = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(proxy.ask(request("nowhere.test")).await.status(), 404);
    assert_eq!(proxy.ask(request("a.test")).await.status(), 400);
    assert_eq!(proxy.ask(request("a b")).await.status(), 400);
    assert_eq!(proxy.ask(request("down.test")).await.status(), 502);
    assert_eq!(proxy.connect_h2().await.ask(h2::get("http://nowhere.test/")).await.head.status, 404);
    let lines = log.lines(5).await;
    let told: Vec<_> = lines.iter().map(|line| (line["status"].as_u64().unwrap(), line["pool"].as_str())).collect();
    assert_eq!(told, [(404, None), (400, Some("p")), (400, None), (502, Some("down")), (404, None)]);
    let mut client = proxy.connect().await;
    client.write(request("silent.test")).await;
    eventually("the request is at the node", || silent.accepted() == 1).await;
    drop(client);
    let line = log.lines(6).await.remove(5);
    assert_eq!((line["status"].as_u64(), line["node"].as_str()), (Some(499), Some("silent")), "{line}");
}

#[tokio::test]
async fn lines_handed_over_before_the_end_are_written_by_then() {
    let node = Node::echo("a").await;
    let file = LogFile::new("flushed");
    let proxy = Setup::of(&[&node]).access_log(&file.0).start();
    let mut client = proxy.connect().await;
    for _ in 0..200 {
        client.ask(get("/", "")).await;
    }
    // The exchange of a request is over before that of the next begins.
    proxy.access_log.as_ref().unwrap().flush(Duration::from_secs(10));
    assert!(file.text().lines().count() >= 199, "{} lines", file.text().lines().count());
}

#[tokio::test]
async fn a_log_that_was_moved_away_is_begun_anew() {
    let (log, node) = (LogFile::new("moved"), Node::echo("a").await);
    let proxy = Setup::of(&[&node]).access_log(&log.0).start();
    proxy.ask(get("/before", "")).await;
    log.lines(1).await;
    std::fs::rename(&log.0, rotated(&log.0)).unwrap();
    proxy.access_log.as_ref().unwrap().reopen();
    proxy.ask(get("/after", "")).await;
    assert_eq!(log.lines(1).await[0]["path"], "/after");
    assert!(std::fs::read_to_string(rotated(&log.0)).unwrap().contains("/before"));
}

#[tokio::test]
async fn counters_agree_with_what_was_sent() {
    let (node, down) = (Node::echo("a").await, Node::refusing("down"));
    let proxy = Setup::of(&[&node])
        .pool("match = { host = \"a.test\" }")
        .another_pool("name = \"d\"\nkey = \"path\"\nmatch = { host = \"down.test\" }", &[&down])
        .workers(2)
        .start();
    let mut clients = [proxy.connect().await, proxy.connect().await, proxy.connect().await];
    for client in &mut clients {
        for _ in 0..10 {
            client.ask(get("/", "X-Key: k\r\n")).await;
        }
        client.ask(get("/", "")).await;
        client.ask("GET / HTTP/1.1\r\nHost: down.test\r\n\r\n").await;
        client.ask("GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n").await;
    }
    for (name, labels, value) in [
        ("ringway_requests_total", &["pool=\"p\"", "node=\"a\"", "code=\"2xx\""][..], 33.0),
        ("ringway_requests_total", &["pool=\"d\"", "code=\"5xx\""], 3.0),
        ("ringway_requests_total", &["pool=\"\"", "code=\"4xx\""], 3.0),
        ("ringway_requests_total", &[], 39.0),
        ("ringway_decisions_total", &["pool=\"p\"", "decision=\"owner\""], 30.0),
        ("ringway_decisions_total", &["decision=\"no-key\""], 3.0),
        ("ringway_keyless_requests_total", &[], 3.0),
        ("ringway_retries_total", &[], 0.0),
        ("ringway_request_duration_seconds_count", &["pool=\"p\""], 33.0),
        ("ringway_upstream_duration_seconds_count", &["node=\"a\""], 33.0),
        ("ringway_connections", &[], 3.0),
        ("ringway_inflight_requests", &[], 0.0),
    ] {
        proxy.metric_is(name, labels, value).await;
    }
    drop(clients);
    proxy.metric_is("ringway_connections", &[], 0.0).await;
}

#[tokio::test]
async fn requests_that_are_no_http_are_counted_and_leave_a_line() {
    let (log, node) = (LogFile::new("malformed"), Node::echo("a").await);
    let proxy = Setup::of(&[&node]).access_log(&log.0).start();
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40 << 10));
    for (count, request) in
        ["GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET /#\u{1b} HTTP/1.1\r\n\r\n", &large].iter().enumerate()
    {
        let status = proxy.ask(request).await.status();
        let line = log.lines(count + 1).await.pop().unwrap();
        assert_eq!(line["status"], status, "{line}");
        assert_eq!((&line["client"], &line["method"], &line["attempts"]), (&"127.0.0.1".into(), &"".into(), &0.into()));
    }
    proxy.metric_is("ringway_requests_total", &["pool=\"\"", "code=\"4xx\""], 3.0).await;
}
