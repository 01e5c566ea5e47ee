//! What clients send ahead of nodes that do not take it: how much of it counts, and for how long.

use crate::frames;
use crate::frames::DATA;
use crate::frames::END_HEADERS;
use crate::frames::END_STREAM;
use crate::frames::HEADERS;
use crate::frames::RST_STREAM;
use crate::frames::SETTINGS;
use crate::frames::WINDOW_UPDATE;
use crate::frames::frame;
use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::peer;
use crate::harness::peer::Peer;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::Wire;
use crate::harness::within;
use crate::nodes_h2;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What is sent on one stream: nearly all that may be sent ahead there, in frames as long as most are.
const UPLOAD: usize = 4 * FRAME;
const FRAME: usize = 15_000;

const MEMORY: &str = "ringway_request_memory_bytes";

const HITS: (&str, &[&str]) = ("ringway_limit_hits_total", &["limit=\"max-request-memory\""]);

/// What a node does after all with the uploads that it does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It takes them to their end, and answers then.
    Takes,
    /// It answers without a look at them, and says so.
    Answers,
}

impl Change {
    async fn happen(self, peer: &mut Peer, uploads: &[u32]) {
        match self {
            Change::Takes => {
                peer.send(SETTINGS, 0, 0, &[0, frames::INITIAL_WINDOW_SIZE, 0, 0x10, 0, 0]).await;
                peer.say(&frames::window_update(0, 0x1000_0000)).await;
            }
            Change::Answers => {
                answer(peer, uploads).await;
                for upload in uploads {
                    peer.reset(*upload, peer::NO_ERROR).await;
                }
            }
        }
    }
}

/// A node of HTTP/2 that takes nothing of any body before it was asked for something twice.
async fn closed(change: Change) -> Node {
    let no_window: &[u8] = &[0, frames::INITIAL_WINDOW_SIZE, 0, 0, 0, 0];
    Node::script("a", move |wire| async move {
        let mut peer = Peer::greet_with(wire, no_window).await;
        let (mut asked, mut uploads) = (0, Vec::new());
        while let Some((kind, flags, _)) = peer.next().await {
            let ends = flags & END_STREAM != 0;
            match kind {
                HEADERS if !ends => uploads.push(peer.stream),
                HEADERS => {
                    asked += 1;
                    let get = peer.stream;
                    answer(&mut peer, &[get]).await;
                    if asked == 2 {
                        change.happen(&mut peer, &uploads).await;
                    }
                }
                DATA if ends => answer(&mut peer, &[uploads.remove(0)]).await,
                _ => {}
            }
        }
    })
    .await
}

async fn answer(peer: &mut Peer, streams: &[u32]) {
    for stream in streams {
        peer.begin(*stream).await;
        peer.data(*stream, b"ok", true).await;
    }
}

/// A proxy that knows how little its node takes, and has another one for what is below `/honest`.
async fn before(node: &Node, limits: &str) -> (Proxy, Node) {
    let honest = Node::echo("b").await;
    let setup = Setup::of(&[node]).pool("protocol = \"h2\"").limits(limits).another_pool(HONEST, &[&honest]);
    let proxy = setup.start();
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    (proxy, honest)
}

/// A client of HTTP/2 that may send as much as there are windows for.
async fn connect(proxy: &Proxy) -> Wire {
    let mut client = proxy.connect().await;
    client.write(frames::preface(&[])).await;
    until(&mut client, WINDOW_UPDATE, 0).await;
    client
}

/// Reads until a frame of this kind has come on this stream.
async fn until(client: &mut Wire, kind: u8, stream: u32) {
    let mut seen = Vec::new();
    while !frames::frames(&seen).iter().any(|frame| (frame.kind, frame.stream) == (kind, stream)) {
        seen.extend(client.piece().await.expect("a frame rather than the end"));
    }
}

/// An upload to host `authority` in so many bytes, perhaps whole.
fn upload(stream: u32, authority: &[u8], mut length: usize, is_whole: bool) -> Vec<u8> {
    let put: [(&[u8], &[u8]); 4] =
        [(b":method", b"PUT"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", authority)];
    let mut bytes = frames::headers(stream, END_HEADERS, &put);
    while length > 0 {
        let piece = length.min(FRAME);
        length -= piece;
        let flags = if is_whole && length == 0 { END_STREAM } else { 0 };
        bytes.extend(frame(DATA, flags, stream, &vec![b'x'; piece]));
    }
    bytes
}

/// So many whole uploads or beginnings.
fn uploads(count: u32, is_whole: bool) -> Vec<u8> {
    (0..count).flat_map(|number| upload(2 * number + 1, b"a", UPLOAD, is_whole)).collect()
}

#[tokio::test]
async fn what_no_node_takes_counts_until_its_stream_ends_however_that_ends() {
    const STREAMS: u32 = 4;
    let sent = f64::from(STREAMS) * UPLOAD as f64;
    for (end, change) in [
        ("the node takes it", Change::Takes),
        ("the node answers early", Change::Answers),
        ("the client resets it", Change::Takes),
        ("the client leaves", Change::Takes),
    ] {
        let node = closed(change).await;
        let (proxy, _honest) = before(&node, "").await;
        let mut client = connect(&proxy).await;
        client.write(uploads(STREAMS, end == "the node takes it")).await;
        eventually("all of it counts", || proxy.metric(MEMORY, &[]) >= sent).await;
        // The first frame of each is on its way, and held in case it has to be sent again.
        let held = proxy.metric(MEMORY, &[]);
        assert!(held < 1.5 * sent, "{held} for {sent} bytes");
        match end {
            "the client resets it" => {
                let resets =
                    (0..STREAMS).map(|number| frame(RST_STREAM, 0, 2 * number + 1, &peer::CANCEL.to_be_bytes()));
                client.write(resets.collect::<Vec<_>>().concat()).await;
            }
            "the client leaves" => client.finish().await,
            _ => assert_eq!(proxy.ask(get("/", "")).await.status(), 200),
        }
        eventually(end, || proxy.metric(MEMORY, &[]) < 1.0).await;
        assert!(proxy.metric(HITS.0, HITS.1) < 1.0, "{end}: nobody is cut");
    }
}

#[tokio::test]
async fn what_comes_for_requests_that_are_refused_does_not_count_for_long() {
    let node = closed(Change::Takes).await;
    let (proxy, _honest) = before(&node, "").await;
    let mut client = connect(&proxy).await;
    client.write(upload(1, b"a..b", UPLOAD, false)).await;
    let refused = || proxy.metric("ringway_requests_total", &["code=\"4xx\""]);
    eventually("it is refused", || refused() > 0.5).await;
    client.write(frame(DATA, 0, 1, &[b'x'; 1_000])).await;
    eventually("nothing is left of it", || proxy.metric(MEMORY, &[]) < 1.0).await;
}

#[tokio::test]
async fn beside_a_stream_that_stays_open_nothing_adds_up() {
    let (node, _heads) = nodes_h2::echoing("a", 100).await;
    let proxy = Setup::of(&[&node]).pool("protocol = \"h2\"").start();
    let mut client = connect(&proxy).await;
    client.write(upload(1, b"a", 10, false)).await;
    until(&mut client, DATA, 1).await;
    for refused in 1..=10 {
        client.write(upload(2 * refused + 1, b"a..b", UPLOAD, false)).await;
        let count = || proxy.metric("ringway_requests_total", &["code=\"4xx\""]);
        eventually("it is refused", || count() > f64::from(refused) - 0.5).await;
        client.write(frame(DATA, 0, 1, b"x")).await;
        // Its head, and what little of it is held to be sent again.
        eventually("only the open one still counts", || proxy.metric(MEMORY, &[]) < 10_000.0).await;
    }
    assert!(proxy.metric(MEMORY, &[]) > 0.0, "the open one is still there");
}

/// A node of HTTP/1 that reads nothing but heads, and closes a connection for each notice.
async fn unreading(leave: &Arc<Notify>) -> Node {
    let leave = Arc::clone(leave);
    Node::script("a", move |mut wire| {
        let leave = Arc::clone(&leave);
        async move {
            wire.head().await;
            leave.notified().await;
        }
    })
    .await
}

/// An upload over HTTP/1 that goes on for as long as somebody takes it.
async fn pour(mut client: Wire) {
    let piece = vec![b'x'; 1 << 20];
    client.write(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40)).await;
    while client.try_write(&piece).await.is_ok() {}
}

#[tokio::test]
async fn what_waits_for_a_node_of_http_1_that_does_not_read_counts() {
    let leave = Arc::new(Notify::new());
    let node = unreading(&leave).await;
    let proxy = Setup::of(&[&node]).start();
    let pouring = tokio::spawn(pour(proxy.connect().await));
    eventually("what waits counts", || proxy.metric(MEMORY, &[]) > 200_000.0).await;
    let held = proxy.metric(MEMORY, &[]);
    assert!(held < 1_000_000.0, "{held}");
    leave.notify_one();
    proxy.metric_is(MEMORY, &[], 0.0).await;
    within("the client is told", pouring).await.unwrap();
}

/// Waits until requests are served again that were turned away.
async fn relieved(proxy: &Proxy) {
    within("others are served again", async {
        while proxy.ask(get("/honest", "")).await.status() != 200 {
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_crowd_of_uploads_that_no_node_takes_turns_others_away_only_for_a_moment() {
    const STREAMS: u32 = 6;
    let node = closed(Change::Takes).await;
    let (proxy, _honest) = before(&node, "max-request-memory = \"1MiB\"").await;
    let mut small = connect(&proxy).await;
    small.write(upload(1, b"a", 1_000, false)).await;
    let mut crowd = Vec::new();
    // None of them is so large that it is cut for that.
    while proxy.ask(get("/honest", "")).await.status() == 200 {
        let mut client = connect(&proxy).await;
        client.write(uploads(STREAMS, false)).await;
        crowd.push(client);
        tokio::time::sleep(PAUSE).await;
    }
    assert!(crowd.len() > 1, "one alone filled the memory");
    relieved(&proxy).await;
    // Who has little there is not among those that were cut.
    small.write(frames::request(3, b"GET", b"/honest")).await;
    until(&mut small, HEADERS, 3).await;
}

#[tokio::test]
async fn neither_does_one_over_http_1() {
    let (node, honest) = (unreading(&Arc::default()).await, Node::echo("b").await);
    let limits = "max-request-memory = \"1MiB\"";
    let proxy = Setup::of(&[&node]).limits(limits).another_pool(HONEST, &[&honest]).start();
    let mut crowd = Vec::new();
    while proxy.ask(get("/honest", "")).await.status() == 200 {
        crowd.push(tokio::spawn(pour(proxy.connect().await)));
        tokio::time::sleep(PAUSE).await;
    }
    relieved(&proxy).await;
    crowd.iter().for_each(JoinHandle::abort);
}

const HONEST: &str = "name = \"honest\"\nkey = \"path\"\nmatch = { path = \"/honest\" }";

/// Long enough for what was sent to come.
const PAUSE: Duration = Duration::from_millis(20);
