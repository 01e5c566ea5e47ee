//! The stream of events: what happens in all pools, as it happens.

use crate::ONE_POOL;
use crate::client::Proxy;
use serde_json::Value;
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::io::Lines;
use tokio::net::TcpStream;

/// Somebody who listens.
struct Listener(Lines<BufReader<TcpStream>>);

impl Listener {
    /// Returns once it is heard.
    async fn start(proxy: &Proxy) -> Listener {
        Listener::start_with(proxy, "").await
    }

    /// The same with a query.
    async fn start_with(proxy: &Proxy, query: &str) -> Listener {
        let mut stream = TcpStream::connect(&proxy.app.addresses().admin).await.unwrap();
        let head = format!("GET /v1/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut listener = Listener(BufReader::new(stream).lines());
        listener.line(": what happens from now on").await;
        listener
    }

    /// Waits for a line that begins so; returns the rest of it.
    async fn line(&mut self, beginning: &str) -> String {
        loop {
            let line = self.0.next_line().await.unwrap().expect("the stream goes on");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    /// The name and the data of the next event.
    async fn next(&mut self) -> (String, Value) {
        let name = self.line("event: ").await;
        let data = self.line("data: ").await;
        (name, serde_json::from_str(&data).unwrap())
    }
}

/// The pool of the others with one node, which refuses all connections and is ejected at once.
fn refusing() -> String {
    let (pool, _) = ONE_POOL.split_once("initial-nodes = ").unwrap();
    format!(
        "{pool}initial-nodes = [{{ name = \"a\", address = \"127.0.0.1:1\" }}]\n\
         ejection = {{ failures = 1, max-percent = 100 }}\n"
    )
}

async fn ask(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /?room=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

#[tokio::test]
async fn changes_are_told_to_everybody_who_listens_as_the_history_has_them() {
    let proxy = Proxy::start(ONE_POOL).await;
    let (mut one, mut other) = (Listener::start(&proxy).await, Listener::start(&proxy).await);
    let change = json!({ "changes": [{ "weight": { "name": "a", "weight": 3 } }], "reason": "larger" });
    proxy.client().post("/v1/pools/rooms/apply", change).await;
    let history = proxy.client().get("/v1/pools/rooms/events?after=1").await;
    let mut expected = history["events"][0].clone();
    expected["event"] = json!("membership");
    for listener in [&mut one, &mut other] {
        assert_eq!(listener.next().await, ("membership".to_owned(), expected.clone()));
    }
}

#[tokio::test]
async fn a_node_that_goes_down_is_told_with_its_cause() {
    let proxy = Proxy::start(&refusing()).await;
    let mut listener = Listener::start(&proxy).await;
    ask(proxy.app.addresses().http[0]).await;
    let (name, down) = listener.next().await;
    assert_eq!((name.as_str(), &down["event"]), ("node-down", &json!("node-down")), "{down}");
    assert_eq!((&down["pool"], &down["node"]), (&json!("rooms"), &json!("a")), "{down}");
    assert_eq!(down["cause"], "ejected: requests in a row failed, no connection", "{down}");
    let (name, panic) = listener.next().await;
    assert_eq!((name.as_str(), &panic["pool"], &panic["on"]), ("panic", &json!("rooms"), &json!(true)), "{panic}");
    assert!(panic["at_ms"].as_u64() >= down["at_ms"].as_u64(), "{panic} after {down}");
}

#[tokio::test]
async fn a_listener_does_not_hold_up_the_end_of_the_process() {
    let proxy = Proxy::start(ONE_POOL).await;
    let mut listener = Listener::start(&proxy).await;
    proxy.app.stop(std::future::pending()).await;
    assert_eq!(listener.0.next_line().await.unwrap().as_deref(), Some(""), "what ended the comment");
    let mut rest = Vec::new();
    while let Some(line) = listener.0.next_line().await.unwrap() {
        rest.push(line);
    }
    // Had it been cut when the process had no more time for it, the last chunk would be missing.
    assert_eq!(rest, ["", "0", ""]);
}

#[tokio::test]
async fn who_watches_a_pool_sees_how_it_does_at_once_and_after_each_change() {
    let proxy = Proxy::start(&format!("{ONE_POOL}\n{OTHER_POOL}")).await;
    let mut watcher = Listener::start_with(&proxy, "?status=60s&pool=rooms").await;
    let (name, status) = watcher.next().await;
    assert_eq!((name.as_str(), &status["role"]), ("status", &json!("operate")), "{status}");
    let mut direct = proxy.client().get("/v1/status").await;
    for figures in [&mut direct, &mut status.clone()] {
        figures["uptime_seconds"] = json!(0);
        assert_eq!(figures["pools"][1]["nodes_active"], 1, "{figures}");
    }
    assert_eq!(status["pools"][0], direct["pools"][0]);
    assert_eq!(status["pools"][1]["nodes"], json!([]), "the nodes of another pool are not asked for");
    let client = proxy.client();
    let change = |weight: u32| json!({ "changes": [{ "weight": { "name": "a", "weight": weight } }] });
    client.post("/v1/pools/other/apply", change(3)).await;
    client.post("/v1/pools/rooms/apply", change(3)).await;
    let (name, event) = watcher.next().await;
    assert_eq!((name.as_str(), &event["pool"]), ("membership", &json!("rooms")), "nothing of the other pool: {event}");
    let (name, status) = watcher.next().await;
    assert_eq!((name.as_str(), &status["pools"][0]["epoch"]), ("status", &json!(2)), "{status}");
}

#[tokio::test]
async fn so_many_may_watch_and_one_more_is_told_so() {
    let proxy = Proxy::start(ONE_POOL).await;
    let mut watchers = Vec::new();
    for _ in 0..64 {
        watchers.push(Listener::start_with(&proxy, "?status=1s").await);
    }
    let client = proxy.client();
    let refused = client.call("GET", "/v1/events?status=1s").send().await;
    assert_eq!((refused.status, refused.problem().as_str()), (429, "crowded"));
    assert_eq!(client.call("GET", "/v1/events").send().await.status, 200, "changes alone are told to all");
    watchers.pop();
    // The place is free once the proxy has seen that the watcher left, at the latest with the next figures.
    while client.call("GET", "/v1/events?status=1s").send().await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn how_often_is_a_time_that_the_proxy_bears() {
    let proxy = Proxy::start(ONE_POOL).await;
    for every in ["100ms", "2m", "often", ""] {
        let refused = proxy.client().call("GET", &format!("/v1/events?status={every}")).send().await;
        assert_eq!(refused.problem(), "bad-request", "{every:?}");
    }
}

/// A second pool of the store.
const OTHER_POOL: &str = r#"
    [[pool]]
    name = "other"
    match = { path = "/other/" }
    key = ["path"]
    initial-nodes = [{ name = "a", address = "10.0.0.1:80" }]
"#;
