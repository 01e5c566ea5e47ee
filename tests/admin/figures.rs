//! What the API says of nodes: their health and why, their requests and durations, and what was changed last.

use crate::ONE_POOL;
use crate::client::Client;
use crate::client::Proxy;
use serde_json::Value;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const NODE_B: &str = "/v1/pools/rooms/nodes/b";

/// A node that takes 30 ms for every answer and closes after it.
async fn slow_node() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let count = stream.read(&mut head).await.unwrap();
                assert!(head[..count].ends_with(b"\r\n\r\n"), "heads this short come at once");
                tokio::time::sleep(Duration::from_millis(30)).await;
                let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    (address, serving)
}

/// Sends one request; returns its status line.
async fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /?room=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply.lines().next().unwrap_or_default().to_owned()
}

/// Asks for a node until it is as it should be.
async fn until(client: &Client, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..1000 {
        last = client.get(NODE_B).await;
        if holds(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {last}");
}

#[tokio::test]
async fn a_node_shows_its_requests_its_durations_and_why_it_is_ill() {
    let (address, serving) = slow_node().await;
    let only = format!("[{{ name = \"b\", address = \"{address}\" }}]\nejection = {{ failures = 1, time = \"1m\" }}\n");
    let (pool, _) = ONE_POOL.split_once("initial-nodes = ").unwrap();
    // With one node alone ejected, none would be left, and the pool would use it all the same.
    let pool = format!("{pool}initial-nodes = {only}health = {{ panic-below-percent = 0 }}\n");
    let ejecting = pool.replace("time = \"1m\"", "time = \"1m\", max-percent = 100");
    let proxy = Proxy::start(&ejecting).await;
    let client = proxy.client();
    let node = client.get(NODE_B).await;
    let still = ["requests_per_second", "p99_seconds", "bound"].map(|field| node[field].clone());
    assert_eq!(still, [json!(0.0), Value::Null, Value::Null], "{node}");
    assert_eq!(node["health"], json!({ "is": "well" }));

    let http = proxy.app.addresses().http[0];
    for _ in 0..20 {
        assert_eq!(ask(http).await, "HTTP/1.1 200 OK");
    }
    let node = until(&client, "all are counted", |node| node["requests"] == 20).await;
    let (rate, p99) = (node["requests_per_second"].as_f64().unwrap(), node["p99_seconds"].as_f64().unwrap());
    assert!(rate > 1.0 && rate < 34.0, "20 requests of 30 ms each, one after another: {node}");
    assert!(p99 >= 0.025, "the bucket of 30 ms, or a later one on a busy machine: {node}");

    serving.abort();
    drop(serving.await);
    assert_eq!(ask(http).await, "HTTP/1.1 502 Bad Gateway");
    let node = until(&client, "it is ejected", |node| node["health"]["is"] == "ill").await;
    assert_eq!(node["health"]["cause"], "ejected: requests in a row failed, no connection", "{node}");
    assert!(node["health"]["since_ms"].as_u64().unwrap() > 1_600_000_000_000, "{node}");
    let status = client.get("/v1/status").await;
    assert_eq!(status["pools"][0]["nodes"][0]["health"], node["health"]);
}

#[tokio::test]
async fn the_last_change_of_a_node_is_the_last_event_that_names_it() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let changes = async || {
        let nodes = client.get("/v1/pools/rooms/nodes").await;
        let nodes = nodes["nodes"].as_array().unwrap().clone();
        nodes.iter().map(|node| node["last_change"]["epoch"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(changes().await, [1, 1, 1]);
    let weight = json!({ "changes": [{ "weight": { "name": "b", "weight": 3 } }], "reason": "larger" });
    client.post("/v1/pools/rooms/apply", weight).await;
    let drain = json!({ "changes": [{ "drain": { "name": "c" } }] });
    client.post("/v1/pools/rooms/apply", drain).await;
    assert_eq!(changes().await, [1, 2, 3]);
    assert_eq!(client.get(NODE_B).await["last_change"]["reason"], "larger");
    client.post("/v1/pools/rooms/rollback", json!({ "to_epoch": 1 })).await;
    assert_eq!(changes().await, [4, 4, 4], "a return concerns all");
}
