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
        let mut stream = TcpStream::connect(&proxy.app.addresses().admin).await.unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
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
