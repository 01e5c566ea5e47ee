//! Passes 1 GiB down and 1 GiB up through the proxy and prints how long it took and how much memory it came to: all of
//! this process, its node and its client included. `cargo bench --bench big_bodies`

#![allow(clippy::unwrap_used, reason = "a panic is how this program reports")]

#[path = "../tests/support/frames.rs"]
mod frames;
#[allow(dead_code, reason = "the stories of tests/proxy use the rest")]
#[path = "../tests/proxy/harness/mod.rs"]
mod harness;

use harness::node::Node;
use harness::proxy::Proxy;
use harness::proxy::Setup;
use harness::proxy::get;
use std::time::Instant;

const PIECE: usize = 64 << 10;
const TOTAL: usize = 1 << 30;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let node = Node::script("a", |mut wire| async move {
        if wire.head().await.method() == "GET" {
            wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n")).await;
            for _ in 0..TOTAL / PIECE {
                wire.write([b'x'; PIECE]).await;
            }
        } else {
            for _ in 0..TOTAL / PIECE {
                wire.exactly(PIECE).await;
            }
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    println!("before: {} KiB resident", memory("VmRSS:"));
    let begun = Instant::now();
    download(&proxy).await;
    println!("1 GiB down: {:?}, {} KiB resident at most", begun.elapsed(), memory("VmHWM:"));
    let begun = Instant::now();
    upload(&proxy).await;
    println!("1 GiB up: {:?}, {} KiB resident at most", begun.elapsed(), memory("VmHWM:"));
}

async fn download(proxy: &Proxy) {
    let mut client = proxy.connect().await;
    client.write(get("/", "")).await;
    assert_eq!(client.head().await.status(), 200);
    for _ in 0..TOTAL / PIECE {
        client.exactly(PIECE).await;
    }
}

async fn upload(proxy: &Proxy) {
    let mut client = proxy.connect().await;
    client.write(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {TOTAL}\r\n\r\n")).await;
    for _ in 0..TOTAL / PIECE {
        client.write([b'x'; PIECE]).await;
    }
    assert_eq!(client.response(true).await.status(), 200);
}

/// A line of `/proc/self/status`, in KiB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|candidate| candidate.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}
