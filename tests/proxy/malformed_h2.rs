//! What RFC 9113 calls malformed and the library would drop without a word: fragments in `:path` (section 8.3.1), and
//! pseudo-header fields in trailers (section 8.1).

use crate::frames;
use crate::frames::DATA;
use crate::frames::END_HEADERS;
use crate::frames::END_STREAM;
use crate::frames::GOAWAY;
use crate::frames::HEADERS;
use crate::frames::RST_STREAM;
use crate::frames::frame;
use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::Wire;
use std::sync::Arc;
use std::sync::Mutex;

/// GET or POST by http of host `a`, but for the path.
const GET: &[u8] = b"\x82\x86\x01\x01a";
const POST: &[u8] = b"\x83\x86\x01\x01a";

const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];

/// Everything up to where a stream has ended, or the connection.
async fn until_over(client: &mut Wire, stream: u32) -> Vec<u8> {
    let mut came = Vec::new();
    let is_over = |came: &[u8]| {
        let frames = frames::frames(came);
        let is_last = |kind, flags| kind == RST_STREAM || (matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0);
        frames.iter().any(|frame| frame.kind == GOAWAY || frame.stream == stream && is_last(frame.kind, frame.flags))
    };
    while !is_over(&came)
        && let Some(piece) = client.piece().await
    {
        came.extend(piece);
    }
    came
}

#[tokio::test]
async fn a_fragment_costs_its_stream_however_it_is_written() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let paths: [&[u8]; 7] = [
        b"\x04\x04/a#b",
        // The same in Huffman's code.
        b"\x04\x84\x60\x7f\xf5\x1f",
        b"\x14\x04/#?b",
        // Remembered, then named by its number.
        b"\x44\x04/a#b",
        b"\xbe",
        b"\x00\x84\xb9\x58\xd3\x3f\x04/a#b",
        b"\x04\x06/a%23b",
    ];
    for size in [1, 1000] {
        let mut client = proxy.connect().await;
        client.write(frames::preface(&[])).await;
        let blocks = paths.iter().map(|path| [GET, path].concat());
        let heads = (1..).step_by(2).zip(blocks);
        let sent = heads.flat_map(|(stream, block)| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
        for piece in sent.collect::<Vec<u8>>().chunks(size) {
            client.write(piece).await;
        }
        let came = until_over(&mut client, 13).await;
        let came = frames::frames(&came);
        let resets: Vec<_> = came.iter().filter(|frame| frame.kind == RST_STREAM).collect();
        assert_eq!(resets.iter().map(|frame| frame.stream).collect::<Vec<_>>(), [1, 3, 5, 7, 9, 11]);
        assert!(resets.iter().all(|frame| frame.payload == PROTOCOL_ERROR), "{resets:?}");
        assert!(came.iter().any(|frame| frame.stream == 13 && frame.kind == HEADERS), "{came:?}");
    }
    let lines: Vec<_> = node.requests().into_iter().map(|request| request.head.line).collect();
    assert_eq!(lines, ["GET /a%23b HTTP/1.1"; 2]);
}

#[tokio::test]
async fn pseudo_fields_in_trailers_end_the_connection_and_that_to_the_node() {
    let trailers: [&[u8]; 7] = [
        b"\x00\x05:path\x02/x",
        b"\x00\x84\xb9\x58\xd3\x3f\x02/x",
        b"\x82",
        b"\x04\x02/x",
        b"\x00\x05x-sum\x011\x84",
        // As it stands in the head.
        b"\xbe",
        // h2 ends the connection for this name anyway.
        b"\x00\x02:x\x01y",
    ];
    for pseudo in trailers {
        check_refused(pseudo).await;
    }
}

/// A request with these trailers, and one of another client.
async fn check_refused(trailers: &[u8]) {
    let cut = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&cut);
    let node = Node::script("a", move |wire| {
        let cut = Arc::clone(&seen);
        async move {
            let rest = serve(wire).await;
            cut.lock().unwrap().extend(rest);
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    let head = frame(HEADERS, END_HEADERS, 1, &[POST, b"\x44\x02/x"].concat());
    client.write([frames::preface(&[]), head, frame(DATA, 0, 1, b"hello")].concat()).await;
    proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
    client.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers)).await;
    let shown = trailers.escape_ascii();
    let (came, _) = client.rest().await;
    let came = frames::frames(&came);
    let farewells: Vec<_> = came.iter().filter(|frame| frame.kind == GOAWAY).map(|frame| &frame.payload[4..]).collect();
    assert_eq!(farewells, [PROTOCOL_ERROR], "{shown}: {came:?}");
    eventually("the end of the node's connection", || node.ended() == 1).await;
    let cut = cut.lock().unwrap().clone();
    assert!(cut.len() == 1 && !cut[0].contains("0\r\n"), "{shown}: the node took {cut:?}");
    proxy.metric_is("ringway_requests_total", &["node=\"a\"", "code=\"4xx\""], 1.0).await;
    assert_eq!(proxy.ask(get("/", "")).await.text(), "ok", "{shown}");
    assert_eq!(node.accepted(), 2, "{shown}");
}

/// Answers each GET, and gives all that comes behind the head of a POST.
async fn serve(mut wire: Wire) -> Option<String> {
    while wire.try_head().await?.method() == "GET" {
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    }
    String::from_utf8(wire.rest().await.0).ok()
}

#[tokio::test]
async fn trailers_in_order_end_a_body() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(frames::preface(&[])).await;
    for (stream, trailers) in [(1, &b"\x00\x05x-sum\x02:#"[..]), (3, b"\x40\x04path\x03/#x"), (5, b"\xbe")] {
        let head = frame(HEADERS, END_HEADERS, stream, &[POST, b"\x04\x02/x"].concat());
        let rest = [frame(DATA, 0, stream, b"hello"), frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)];
        client.write([head, rest.concat()].concat()).await;
        let came = until_over(&mut client, stream).await;
        assert!(frames::frames(&came).iter().any(|frame| frame.kind == DATA && frame.payload == b"hello"));
    }
    assert_eq!(node.requests().len(), 3);
}
