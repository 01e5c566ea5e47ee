//! A reader that stops must stop the writer: in both directions, over both protocols, in little memory.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::Wire;
use crate::harness::within;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::Notify;

const PIECE: usize = 64 << 10;
const TOTAL: usize = 128 << 20;

/// What may be on its way when the reader stops: the windows and buffers of the proxy, well below 2 MiB, and what the
/// system keeps for two sockets that adjust themselves, up to 32 MiB to read and 4 MiB to write each with the defaults
/// of a recent kernel.
const ON_THE_WAY_MAX: usize = 80 << 20;

/// A writer that waits this long for room is taken to be stopped. Where that is wrong, less is demanded and nothing
/// breaks.
const STILL: Duration = Duration::from_millis(200);

/// How much a writer got rid of, and whether it was stopped.
#[derive(Default)]
struct Meter {
    sent: AtomicUsize,
    stopped: Notify,
}

impl Meter {
    /// Measures the writing of one piece.
    async fn write<T>(&self, writing: impl Future<Output = T>) -> T {
        let mut writing = pin!(writing);
        let written = match tokio::time::timeout(STILL, writing.as_mut()).await {
            Ok(written) => written,
            Err(_) => {
                self.stopped.notify_one();
                writing.await
            }
        };
        if self.sent.fetch_add(PIECE, SeqCst) + PIECE >= TOTAL {
            self.stopped.notify_one();
        }
        written
    }

    /// Waits until the writer was stopped, and checks how soon.
    async fn was_stopped(&self) {
        within("the writer stops", self.stopped.notified()).await;
        let sent = self.sent.load(SeqCst);
        assert!(sent < ON_THE_WAY_MAX, "{sent} bytes were taken although nobody read them");
    }
}

fn piece() -> Vec<u8> {
    (0..PIECE).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

/// Reads everything, and checks that it is what was written.
async fn drain(wire: &mut Wire) {
    let piece = piece();
    for index in 0..TOTAL / PIECE {
        assert!(wire.exactly(PIECE).await == piece, "piece {index} is not as it was sent");
    }
}

async fn pour(wire: &mut Wire, meter: &Meter) {
    let piece = piece();
    for _ in 0..TOTAL / PIECE {
        meter.write(wire.write(&piece)).await;
    }
}

/// A node that sends all of it, except to `/other`.
async fn pouring(meter: &Arc<Meter>) -> Node {
    let meter = Arc::clone(meter);
    Node::script("a", move |mut wire| {
        let meter = Arc::clone(&meter);
        async move {
            let length = if wire.request().await.head.target() == "/other" { 0 } else { TOTAL };
            wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            if length > 0 {
                pour(&mut wire, &meter).await;
            }
        }
    })
    .await
}

/// A node that reads all of it once it is let, except from `/other`.
async fn draining(release: &Arc<Notify>) -> Node {
    let release = Arc::clone(release);
    Node::script("a", move |mut wire| {
        let release = Arc::clone(&release);
        async move {
            if wire.head().await.target() != "/other" {
                release.notified().await;
                drain(&mut wire).await;
            }
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_node() {
    let meter = Arc::default();
    let node = pouring(&meter).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/", "")).await;
    meter.was_stopped().await;
    client.head().await;
    drain(&mut client).await;
}

#[tokio::test]
async fn a_client_that_never_reads_on_is_cut_and_its_node_let_go() {
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n")).await;
        let piece = piece();
        while wire.try_write(&piece).await.is_ok() {}
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("write-timeout = \"50ms\"").start();
    let mut client = proxy.connect().await;
    client.write(get("/", "")).await;
    eventually("the node is let go", || node.ended() == 1).await;
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    proxy.metric_is("ringway_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_stops_its_node_and_no_other_stream() {
    let meter = Arc::default();
    let node = pouring(&meter).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect_h2().await;
    let mut body = client.send(h2::get("http://a.test/")).await.unwrap().into_body();
    meter.was_stopped().await;
    assert_eq!(client.ask(h2::get("http://a.test/other")).await.head.status, 200);
    let (piece, mut read) = (piece(), 0);
    while let Some(frame) = within("more of the body", body.frame()).await {
        let data = frame.unwrap().into_data().unwrap();
        let intact = data.iter().enumerate().all(|(index, byte)| *byte == piece[(read + index) % PIECE]);
        assert!(intact, "within {} bytes from {read}", data.len());
        read += data.len();
    }
    assert_eq!(read, TOTAL);
}

/// A body of known length.
fn head(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_node_that_stops_reading_stops_the_client() {
    let (release, meter) = (Arc::default(), Meter::default());
    let node = draining(&release).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(head(TOTAL)).await;
    let upload = pour(&mut client, &meter);
    let watch = async {
        meter.was_stopped().await;
        release.notify_one();
    };
    tokio::join!(upload, watch);
    assert_eq!(client.response(true).await.text(), "ok");
}

#[tokio::test]
async fn a_node_that_stops_reading_stops_one_stream_and_no_other() {
    let (release, meter) = (Arc::default(), Meter::default());
    let node = draining(&release).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect_h2().await;
    let (feed, body) = Piped::new();
    let request = Request::post("http://a.test/").header("content-length", TOTAL).body(body).unwrap();
    let response = client.begin(request);
    let upload = async {
        let piece = Bytes::from(piece());
        for _ in 0..TOTAL / PIECE {
            assert!(meter.write(feed.send(piece.clone())).await);
        }
    };
    let watch = async {
        meter.was_stopped().await;
        assert_eq!(client.ask(h2::get("http://a.test/other")).await.head.status, 200);
        release.notify_one();
    };
    tokio::join!(upload, watch);
    let response = within("a response", response).await.unwrap().unwrap();
    assert_eq!(h2::read(response).await.unwrap().body, b"ok");
}

#[tokio::test]
async fn a_tunnel_that_is_not_read_stops_its_writer() {
    let meter = Arc::new(Meter::default());
    let writer = Arc::clone(&meter);
    let node = Node::script("a", move |mut wire| {
        let meter = Arc::clone(&writer);
        async move {
            wire.head().await;
            wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
            pour(&mut wire, &meter).await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/", "Connection: Upgrade\r\nUpgrade: x\r\n")).await;
    meter.was_stopped().await;
    assert_eq!(client.head().await.status(), 101);
    drain(&mut client).await;
}

/// Memory that this process has now, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn large_bodies_pass_through_little_memory() {
    let meter = Arc::default();
    let (down, release) = (pouring(&meter).await, Arc::new(Notify::new()));
    let up = draining(&release).await;
    let (download, upload) = (Setup::of(&[&down]).start(), Setup::of(&[&up]).start());
    let before = resident();
    let peak = AtomicUsize::new(before);
    let watch = || peak.fetch_max(resident(), SeqCst);
    for _ in 0..2 {
        let mut client = download.connect().await;
        client.write(get("/", "")).await;
        client.head().await;
        for _ in 0..TOTAL / PIECE {
            client.exactly(PIECE).await;
            watch();
        }
        release.notify_one();
        let mut client = upload.connect().await;
        client.write(head(TOTAL)).await;
        let piece = piece();
        for _ in 0..TOTAL / PIECE {
            client.write(&piece).await;
            watch();
        }
        assert_eq!(client.response(true).await.text(), "ok");
    }
    // The other stories of this process, which hold some buffers of their own, are in it too.
    let growth = peak.load(SeqCst) - before;
    assert!(growth < 64 << 20, "{growth} bytes more for bodies of {TOTAL} bytes");
    eventually("all is over", || up.ended() == 2).await;
}
