//! Nodes of HTTP/2 that break its rules, frame by frame: whatever they send, no client takes a part of a response for
//! the whole of it, and none gets what was meant for another request. And no node takes a part of a request for one.

use crate::frames;
use crate::frames::CONTINUATION;
use crate::frames::DATA;
use crate::frames::END_HEADERS;
use crate::frames::END_STREAM;
use crate::frames::GOAWAY;
use crate::frames::HEADERS;
use crate::frames::RST_STREAM;
use crate::frames::frame;
use crate::harness::h2;
use crate::harness::h2::H2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::peer;
use crate::harness::peer::Peer;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::key_of;
use crate::harness::proxy::post;
use crate::harness::wire::Wire;
use crate::harness::within;
use http::Request;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const PUSH_PROMISE: u8 = 5;
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| frames::block(&[(name.as_bytes(), value.as_bytes())])).collect()
}

/// A head with 200 and these fields, on the stream of the first request.
fn ok(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, FIRST, &[block(&[(":status", "200")]), block(fields)].concat())
}

fn head(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, FIRST, &block(fields))
}

fn data(flags: u8, text: &str) -> Vec<u8> {
    frame(DATA, flags, FIRST, text.as_bytes())
}

/// A head in so many frames of 16 KiB, and whether it ends.
fn long_head(frames: usize, ends: bool) -> Vec<u8> {
    let field = block(&[("x-long", &"l".repeat(100))]);
    let piece = field.repeat((16 << 10) / field.len());
    let mut bytes = frame(HEADERS, 0, FIRST, &block(&[(":status", "200")]));
    bytes.extend(frame(CONTINUATION, 0, FIRST, &piece).repeat(frames));
    bytes.extend(if ends { frame(CONTINUATION, END_HEADERS, FIRST, b"") } else { Vec::new() });
    bytes
}

/// The stream of the first request of a connection.
const FIRST: u32 = 1;

/// What a client makes of what it got.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    /// A response that shows that it is not whole.
    Cut,
    /// An answer of the proxy with this status.
    Refused(u16),
    /// A whole response of the node.
    Whole(String),
}

use Got::Cut;
use Got::Refused;

impl Got {
    fn of(status: u16, body: &[u8]) -> Got {
        let body = String::from_utf8_lossy(body).into_owned();
        if status < 400 { Got::Whole(body) } else { Refused(status) }
    }

    fn hello() -> Got {
        Got::Whole("hello".to_owned())
    }
}

struct Row {
    name: &'static str,
    /// What the node answers to the first request that it gets.
    answer: Vec<u8>,
    /// Whether it ends the connection after that.
    ends: bool,
    /// What clients may make of it.
    right: Got,
    /// What those of HTTP/1 may, where that is something else.
    right_in_http_1: Option<Got>,
}

fn row(name: &'static str, answer: &[Vec<u8>], right: Got) -> Row {
    Row { name, answer: answer.concat(), ends: false, right, right_in_http_1: None }
}

fn lengths() -> Vec<Row> {
    let whole = || data(END_STREAM, "hello");
    vec![
        row("a length above the body", &[ok(&[("content-length", "10")]), whole()], Cut),
        row("a length below the body", &[ok(&[("content-length", "3")]), whole()], Cut),
        row(
            "a length of a body that is none",
            &[head(END_STREAM, &[(":status", "200"), ("content-length", "5")])],
            Refused(502),
        ),
        Row {
            // By its length it is whole before the rest comes.
            right_in_http_1: Some(Got::hello()),
            ..row(
                "a length below the body, in pieces",
                &[ok(&[("content-length", "5")]), data(0, "hello"), data(END_STREAM, " world")],
                Cut,
            )
        },
        row("two lengths", &[ok(&[("content-length", "5"), ("content-length", "6")]), whole()], Refused(502)),
        row("a length twice", &[ok(&[("content-length", "5"), ("content-length", "5")]), whole()], Got::hello()),
        row("a length that is no number", &[ok(&[("content-length", "+5")]), whole()], Refused(502)),
    ]
}

fn heads() -> Vec<Row> {
    let bad = |name, fields: &[(&str, &str)]| row(name, &[ok(fields), data(END_STREAM, "hello")], Refused(502));
    let ended = |name, fields: &[(&str, &str)]| row(name, &[head(END_STREAM, fields)], Refused(502));
    let hints = frame(HEADERS, END_HEADERS, FIRST, &block(&[(":status", "103"), ("link", "</a>")])).repeat(50);
    vec![
        bad("Connection", &[("connection", "close")]),
        bad("Transfer-Encoding", &[("transfer-encoding", "chunked")]),
        bad("Upgrade", &[("upgrade", "websocket")]),
        bad("Keep-Alive", &[("keep-alive", "timeout=5")]),
        bad("the end of a line in a value", &[("x-a", "a\r\nset-cookie: b=c")]),
        bad("the end of a line in a name", &[("x-a\r\nset-cookie", "b=c")]),
        bad("a name in upper case", &[("X-A", "a")]),
        ended("no status", &[("x-a", "a")]),
        ended("two statuses", &[(":status", "200"), (":status", "204")]),
        ended("a status of two digits", &[(":status", "20")]),
        ended("a status behind a field", &[("x-a", "a"), (":status", "200")]),
        ended("101", &[(":status", "101")]),
        row("101 and a tunnel", &[head(0, &[(":status", "101")]), data(0, "hello")], Refused(502)),
        ended("an early hint that is the end", &[(":status", "103")]),
        // h2 reads over these, so that they go no further.
        row("a field of requests", &[ok(&[(":path", "/")]), data(END_STREAM, "hello")], Got::hello()),
        row("50 early hints", &[hints, ok(&[]), data(END_STREAM, "hello")], Got::hello()),
        row("a head over the limit", &[long_head(20, true), data(END_STREAM, "hello")], Refused(502)),
        row("a head without end", &[long_head(64, false)], Refused(502)),
        row("a body without a head", &[data(END_STREAM, "hello")], Refused(502)),
        row("a promise", &[frame(PUSH_PROMISE, END_HEADERS, FIRST, &[0, 0, 0, 2])], Refused(502)),
    ]
}

fn ends() -> Vec<Row> {
    let half = || [ok(&[]), data(0, "hello")].concat();
    let reset = |code: u32| frame(RST_STREAM, 0, FIRST, &code.to_be_bytes());
    let goaway = |last: u32, code: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat());
    let trailers = |fields: &[(&str, &str)]| head(END_STREAM, fields);
    vec![
        row("RST_STREAM in the middle", &[half(), reset(peer::INTERNAL_ERROR)], Cut),
        row("RST_STREAM in the middle that is no error", &[half(), reset(peer::NO_ERROR)], Cut),
        row("GOAWAY in the middle", &[half(), goaway(0, peer::INTERNAL_ERROR)], Cut),
        row("GOAWAY in the middle that is no error", &[half(), goaway(0, peer::NO_ERROR)], Cut),
        Row { ends: true, ..row("GOAWAY and the end in the middle", &[half(), goaway(FIRST, peer::NO_ERROR)], Cut) },
        Row { ends: true, ..row("the end of the connection in the middle", &[half()], Cut) },
        Row {
            ends: true,
            ..row("an end in the middle of a frame", &[half(), frame(DATA, 1, FIRST, b"hello")[..11].to_vec()], Cut)
        },
        row("a frame over the limit", &[half(), frame(DATA, END_STREAM, FIRST, &[b'l'; (16 << 10) + 1])], Cut),
        row("a body of another stream", &[half(), frame(DATA, END_STREAM, FIRST + 100, b"hello")], Cut),
        // h2 reads over it.
        row("trailers with a status", &[half(), trailers(&[(":status", "500")])], Got::hello()),
        row("trailers with the end of a line", &[half(), trailers(&[("x-a", "a\r\nb")])], Cut),
        row("trailers that are not the end", &[half(), head(0, &[("x-a", "a")])], Cut),
        row("more after the end", &[ok(&[]), data(END_STREAM, "hello"), data(END_STREAM, " world")], Got::hello()),
        row("two answers", &[ok(&[]), data(END_STREAM, "hello"), ok(&[]), data(END_STREAM, "again")], Got::hello()),
    ]
}

/// Answers the first request as the row says, and the others as they should be.
async fn serve(wire: Wire, answer: Arc<(AtomicBool, Vec<u8>)>, ends: bool) {
    let mut peer = Peer::greet(wire).await;
    while peer.head().await.is_some() {
        if answer.0.swap(true, SeqCst) {
            peer.begin(peer.stream).await;
            peer.data(peer.stream, b"honest", true).await;
            continue;
        }
        peer.say(&answer.1).await;
        if ends {
            return;
        }
    }
}

/// A node as the row says, behind a proxy.
async fn stage(row: &Row) -> (Node, Proxy) {
    let (answer, ends) = (Arc::new((AtomicBool::new(false), row.answer.clone())), row.ends);
    let node = Node::script("a", move |wire| serve(wire, Arc::clone(&answer), ends)).await;
    let settings = "protocol = \"h2\"\nejection = { failures = 0 }\ntimeouts = { head = \"3s\", idle = \"3s\" }";
    let proxy = Setup::of(&[&node]).pool(settings).start();
    (node, proxy)
}

/// What a client of HTTP/1 got that sent another request right behind the first one, and what it got for that.
async fn over_http_1(proxy: &Proxy) -> (Got, Got) {
    let mut client = proxy.connect().await;
    client.write(post("/", "", "") + &get("/", "Connection: close\r\n")).await;
    let (bytes, _) = client.rest().await;
    let (first, rest) = first_response(&bytes);
    (first, first_response(rest).0)
}

/// The first response in what came up to the end of a connection, and what follows.
fn first_response(bytes: &[u8]) -> (Got, &[u8]) {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return (Cut, b"") };
    let (head, mut rest) = (String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase(), &bytes[end + 4..]);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
    let fields: Vec<_> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let field = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1);
    if let Some(length) = field("content-length") {
        let Some((body, rest)) = rest.split_at_checked(length.parse().unwrap()) else { return (Cut, b"") };
        return (Got::of(status, body), rest);
    }
    assert_eq!(field("transfer-encoding"), Some("chunked"), "{head}");
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return (Cut, b"") };
        let size = usize::from_str_radix(str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let Some((chunk, after)) = rest[end + 2..].split_at_checked(size + 2) else { return (Cut, b"") };
        assert_eq!(&chunk[size..], b"\r\n", "no trailers were declared");
        body.extend_from_slice(&chunk[..size]);
        rest = after;
        if size == 0 {
            return (Got::of(status, &body), rest);
        }
    }
}

/// What a client of HTTP/2 got, and what it got next.
async fn over_http_2(proxy: &Proxy) -> (Got, Got) {
    let mut client = proxy.connect_h2().await;
    let mut ask = async |request| match client.send(request).await {
        Err(_) => Cut,
        Ok(response) => h2::read(response).await.map_or(Cut, |whole| Got::of(whole.head.status.as_u16(), &whole.body)),
    };
    let first = ask(Request::post("http://a.test/").body(Piped::empty()).unwrap()).await;
    (first, ask(h2::get("http://a.test/")).await)
}

#[tokio::test]
async fn no_client_takes_a_part_for_the_whole_or_gets_what_is_anothers() {
    let mut wrong = Vec::new();
    for row in lengths().into_iter().chain(heads()).chain(ends()) {
        let honest = Got::Whole("honest".to_owned());
        let (_node, proxy) = stage(&row).await;
        let (got, next) = over_http_1(&proxy).await;
        // What is cut ends with the connection, so that nothing follows.
        let right_next = if got == Cut { Cut } else { honest.clone() };
        let right = row.right_in_http_1.as_ref().unwrap_or(&row.right);
        if (&got, &next) != (right, &right_next) {
            wrong.push(format!("{} in HTTP/1: {got:?} then {next:?}, not {right:?}", row.name));
        }
        let (_node, proxy) = stage(&row).await;
        let (got, next) = over_http_2(&proxy).await;
        if (&got, &next) != (&row.right, &honest) {
            wrong.push(format!("{} in HTTP/2: {got:?} then {next:?}, not {:?}", row.name, row.right));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A frame that came to a node.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

/// A node that answers nothing, or everything with a status before its body has come, and tells what it gets; on one
/// connection it takes one request at a time.
async fn watching(name: &'static str, status: Option<&'static str>) -> (Node, mpsc::UnboundedReceiver<Frame>) {
    const MAX_CONCURRENT_STREAMS: [u8; 6] = [0, 3, 0, 0, 0, 1];
    let (sender, frames) = mpsc::unbounded_channel();
    let node = Node::script(name, move |wire| {
        let sender = sender.clone();
        async move {
            let mut peer = Peer::greet_with(wire, &MAX_CONCURRENT_STREAMS).await;
            while let Some((kind, flags, payload)) = peer.next().await {
                if let Some(status) = status.filter(|_| kind == HEADERS) {
                    peer.send(HEADERS, END_HEADERS, peer.stream, &block(&[(":status", status)])).await;
                    peer.data(peer.stream, b"hello", true).await;
                }
                drop(sender.send(Frame { kind, flags, payload }));
            }
        }
    })
    .await;
    (node, frames)
}

/// Waits until the node has the head of a request and five bytes of its body.
async fn half(frames: &mut mpsc::UnboundedReceiver<Frame>) {
    while within("half of a body", frames.recv()).await.unwrap().kind != DATA {}
}

/// How the stream of the request ends for the node.
async fn end(frames: &mut mpsc::UnboundedReceiver<Frame>) -> Frame {
    loop {
        let frame = within("the end of a stream", frames.recv()).await.unwrap();
        let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
        if ends || frame.kind == RST_STREAM {
            return frame;
        }
    }
}

/// RST_STREAM because the stream is not needed any more.
const CANCELLED: (u8, &[u8]) = (RST_STREAM, &peer::CANCEL.to_be_bytes());

/// A client of HTTP/2 and the socket under it.
async fn connect_h2(proxy: &Proxy) -> (H2, std::net::TcpStream) {
    let stream = TcpStream::connect(proxy.address).await.unwrap().into_std().unwrap();
    let socket = stream.try_clone().unwrap();
    (H2::over(TcpStream::from_std(stream).unwrap(), None).await, socket)
}

#[tokio::test]
async fn a_client_that_is_cut_in_its_body_leaves_no_whole_request_at_the_node() {
    let settings = "protocol = \"h2\"";
    let in_chunks = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned();
    let of_length = post("/", "", "hello").replace("Length: 5", "Length: 10");
    for (request, is_reset) in [(&of_length, false), (&of_length, true), (&in_chunks, false), (&in_chunks, true)] {
        let (node, mut frames) = watching("a", None).await;
        let proxy = Setup::of(&[&node]).pool(settings).start();
        let mut client = proxy.connect().await;
        client.write(request).await;
        half(&mut frames).await;
        let mut open = None;
        if is_reset {
            client.reset();
        } else {
            client.finish().await;
            open = Some(client);
        }
        let end = end(&mut frames).await;
        assert_eq!((end.kind, &end.payload[..]), CANCELLED, "{request:?}, reset: {is_reset}: {end:?}");
        drop(open);
    }
    for how in ["END_STREAM", "RST_STREAM", "the end of the connection"] {
        let (node, mut frames) = watching("a", None).await;
        let proxy = Setup::of(&[&node]).pool(settings).start();
        let (client, socket) = connect_h2(&proxy).await;
        let (feed, body) = Piped::new();
        let response = client.begin(Request::post("http://a.test/").header("content-length", 10).body(body).unwrap());
        assert!(feed.send("hello").await);
        half(&mut frames).await;
        match how {
            "END_STREAM" => drop(feed),
            "RST_STREAM" => response.abort(),
            _ => socket.shutdown(Shutdown::Both).unwrap(),
        }
        let end = end(&mut frames).await;
        assert_eq!((end.kind, &end.payload[..]), CANCELLED, "{how}: {end:?}");
    }
}

#[tokio::test]
async fn an_upload_that_was_answered_keeps_its_place_until_it_is_given_up() {
    let (node, mut frames) = watching("a", Some("200")).await;
    let proxy = Setup::of(&[&node]).pool("protocol = \"h2\"").start();
    // The first one tells how many there may be.
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    let mut client = proxy.connect_h2().await;
    let (feed, body) = Piped::new();
    let upload =
        client.begin(Request::post("http://a.test/").header("content-type", "application/grpc").body(body).unwrap());
    assert!(feed.send("hello").await);
    let answer = h2::read(within("an answer", upload).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(answer.body, b"hello");
    assert_eq!((client.ask(h2::get("http://a.test/")).await.body, node.accepted()), (b"hello".to_vec(), 2));
    while end(&mut frames).await.kind != RST_STREAM {}
    // Nobody takes more of it from the client either.
    within("the client is told", async { while feed.send("hello").await {} }).await;
}

#[tokio::test]
async fn an_upload_that_goes_on_elsewhere_leaves_its_first_node() {
    let (first, mut frames) = watching("a", Some("503")).await;
    let (second, mut elsewhere) = watching("b", Some("200")).await;
    let proxy = Setup::of(&[&first, &second]).pool("protocol = \"h2\"\nretry-on = [503]").start();
    let client = proxy.connect_h2().await;
    let (feed, body) = Piped::new();
    let key = key_of(&proxy, &["a", "b"]);
    let upload = client.begin(Request::put("http://a.test/").header("x-key", key).body(body).unwrap());
    assert!(feed.send("hello").await);
    assert_eq!(within("an answer", upload).await.unwrap().unwrap().status(), 200);
    half(&mut elsewhere).await;
    let end = end(&mut frames).await;
    assert_eq!((end.kind, &end.payload[..]), CANCELLED, "{end:?}");
}
