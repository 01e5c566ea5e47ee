//! Keys in the bodies of requests: read before a node is chosen, and sent on as if nobody had looked.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::post;
use http::HeaderMap;
use http::Request;
use ringway::control::pool_at::PoolAt;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The session is in a header or else in the body.
const RULE: &str = "key = [\"header:x-session\", \"json:/session\"]\nmax-key-body = \"2KiB\"\ndecision-headers = true";

/// Who owns a key.
fn owner(proxy: &Proxy, key: &str) -> Option<String> {
    PoolAt::of(&proxy.controller.pool("p").unwrap()).locate(key.as_bytes()).owner
}

/// A document with a session behind so many other bytes.
fn document(session: &str, behind: usize) -> String {
    format!(r#"{{"prompt":"{}\"session\":\"no\"","session":"{session}","more":true}}"#, "x".repeat(behind))
}

/// The same body in chunks of so many bytes, with a trailer.
fn chunked(fields: &str, body: &str, size: usize) -> String {
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n";
    let chunks = body.as_bytes().chunks(size).map(|chunk| {
        let text = std::str::from_utf8(chunk).unwrap();
        format!("{:x}\r\n{text}\r\n", chunk.len())
    });
    format!("{head}{fields}\r\n{}0\r\nX-Sum: 7\r\n\r\n", chunks.collect::<String>())
}

#[tokio::test]
async fn a_key_in_the_body_goes_where_the_same_key_in_a_header_goes() {
    let nodes = [Node::echo("a").await, Node::echo("b").await, Node::echo("c").await];
    let proxy = Setup::of(&nodes.iter().collect::<Vec<_>>()).pool(RULE).start();
    let (mut client, mut client_h2) = (proxy.connect().await, proxy.connect_h2().await);
    for session in (0..20).map(|number| format!("session-{number}")) {
        let owner = owner(&proxy, &session);
        let body = document(&session, 0);
        for request in [
            get("/", &format!("X-Session: {session}\r\n")),
            post("/", &format!("X-Session: {session}\r\n"), "{\"session\":\"another\"}"),
            post("/", "", &body),
            chunked("", &body, 3),
        ] {
            let reply = client.ask(&request).await;
            assert_eq!(reply.field("x-node"), owner.as_deref(), "{request:?}");
            assert_eq!(reply.field("x-ringway-decision"), Some("owner"), "{request:?}");
        }
        let (feed, piped) = Piped::new();
        let response = client_h2.begin(Request::post("http://a.test/").body(piped).unwrap());
        assert!(feed.send(body.clone()).await);
        drop(feed);
        let reply = h2::read(response.await.unwrap().unwrap()).await.unwrap();
        assert_eq!(reply.head.headers.get("x-node").map(|node| node.to_str().unwrap()), owner.as_deref(), "{session}");
        assert_eq!(reply.body, body.as_bytes());
    }
    client_h2.ask(h2::get("http://a.test/")).await;
    proxy.metric_is("ringway_keyless_requests_total", &[], 1.0).await;
    for (place, keys) in [("place=\"1\"", 40.0), ("place=\"2\"", 60.0)] {
        proxy.metric_is("ringway_keys_total", &[place], keys).await;
    }
}

#[tokio::test]
async fn numbers_prefixes_and_composites_are_keys_too() {
    let nodes = [Node::echo("a").await, Node::echo("b").await, Node::echo("c").await];
    let setup = Setup::of(&nodes.iter().collect::<Vec<_>>());
    for (rule, body, key) in [
        ("key = \"json:/user/id\"", r#"{"user":{"id":17}}"#, "17"),
        ("key = \"body-prefix:4\"", "abcdefgh", "abcd"),
        ("key = \"body-prefix:40\"", "abcdefgh", "abcdefgh"),
        ("key = [[\"path:1\", \"json:/user/id\"]]", r#"{"user":{"id":17}}"#, "rooms|17"),
        ("key = [\"json:/user/id\", \"path:1\"]", "not JSON", "rooms"),
        ("key = [\"json:/user/id\", \"path:1\"]", "", "rooms"),
    ] {
        let proxy = setup.clone().pool(rule).start();
        let reply = proxy.ask(post("/rooms", "", body)).await;
        assert_eq!(reply.field("x-node"), owner(&proxy, key).as_deref(), "{rule} {body}");
        assert_eq!(reply.text(), body, "{rule}");
    }
}

#[tokio::test]
async fn every_byte_arrives_in_the_framing_of_the_client() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).pool(RULE).limits("trailers = \"pass\"").start();
    // The key is found at once, late, and never; the last body is larger than what is looked at by far.
    let bodies = [document("s", 0), document("s", 1_900), document("s", 3_000), document("s", 1_000_000)];
    for body in &bodies {
        proxy.ask(post("/", "", body)).await;
        proxy.ask(chunked("", body, 1 + body.len() / 100)).await;
        let mut client = proxy.connect_h2().await;
        let (feed, piped) = Piped::new();
        let response = client.begin(Request::post("http://a.test/").header("trailer", "x-sum").body(piped).unwrap());
        for piece in body.as_bytes().chunks(1 + body.len() / 7) {
            assert!(feed.send(piece.to_vec()).await);
        }
        feed.trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())])).await;
        h2::read(response.await.unwrap().unwrap()).await.unwrap();
        client.ask(h2::get("http://a.test/")).await;
    }
    for (body, requests) in bodies.iter().zip(node.requests().chunks(4)) {
        let [plain, chunked, of_h2, get] = requests else { panic!("{} requests", requests.len()) };
        for request in [plain, chunked, of_h2] {
            assert!(
                request.body == body.as_bytes(),
                "{} of {} bytes: {:?}",
                request.body.len(),
                body.len(),
                request.head
            );
        }
        assert_eq!(plain.field("content-length"), Some(body.len().to_string().as_str()));
        for request in [chunked, of_h2] {
            assert_eq!(request.field("transfer-encoding"), Some("chunked"));
            assert_eq!(request.trailers, [("x-sum".to_owned(), "7".to_owned())]);
        }
        assert_eq!((get.field("content-length"), get.field("transfer-encoding")), (None, None));
    }
}

#[tokio::test]
async fn nobody_waits_for_more_of_a_body_than_the_key_takes() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).pool(RULE).start();
    for (number, (fields, first)) in [("X-Session: s\r\n", ""), ("", r#"{"session":"s","#)].into_iter().enumerate() {
        let mut client = proxy.connect().await;
        let rest = "\"more\":true}";
        let length = first.len() + rest.len();
        client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n{first}")).await;
        proxy.metric_is("ringway_upstream_connections", &["state=\"active\""], 1.0).await;
        client.write(rest).await;
        assert_eq!(client.response(true).await.text(), format!("{first}{rest}"), "request {number}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).pool(RULE).start();
    let mut client = proxy.connect().await;
    let body = document("s", 0);
    let length = body.len();
    client
        .write(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"))
        .await;
    assert_eq!(client.head().await.status(), 100);
    assert_eq!(node.accepted(), 0, "there is no node without a key");
    client.write(&body).await;
    assert_eq!(client.response(true).await.text(), body);
    assert_eq!(node.request().field("expect"), None, "the client need not be told twice");
}

#[tokio::test]
async fn a_key_beyond_what_is_looked_at_is_absent_or_refused() {
    let node = Node::echo("a").await;
    for (policy, status) in [("absent", 200), ("reject", 413)] {
        let proxy = Setup::of(&[&node]).pool(RULE).pool(&format!("key-body-over = \"{policy}\"")).start();
        for request in [post("/", "", &document("s", 2_048)), chunked("", &document("s", 2_048), 100)] {
            let mut client = proxy.connect().await;
            let reply = client.ask(&request).await;
            assert_eq!(reply.status(), status, "{policy}: {}", reply.text());
            if status == 200 {
                assert_eq!(reply.field("x-ringway-decision"), Some("no-key"));
                continue;
            }
            assert_eq!(reply.field("content-type"), Some("application/problem+json"));
            assert_eq!(reply.field("proxy-status"), Some("ringway; error=http_request_error"));
            assert!(reply.text().contains("first 2048 bytes"), "{}", reply.text());
            client.rest().await;
        }
        assert_eq!(proxy.ask(post("/", "", &document("s", 1_900))).await.status(), 200);
        let reply = proxy.ask(post("/", "", "{}")).await;
        assert_eq!((reply.status(), reply.field("x-ringway-decision")), (200, Some("no-key")), "{policy}");
    }
    assert_eq!(node.requests().len(), 6);
}

#[tokio::test]
async fn a_client_that_fails_before_its_key_came_reaches_no_node() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).pool(RULE).limits("body-timeout = \"200ms\"").start();
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (request, status) in [
        (format!("{head}Content-Length: 100\r\n\r\n{{\"prompt\":"), 408),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\nzz\r\n"), 400),
    ] {
        let mut client = proxy.connect().await;
        let reply = client.ask(&request).await;
        assert_eq!(reply.status(), status, "{request:?}");
        assert_eq!(reply.field("proxy-status"), Some("ringway; error=http_request_error"));
        client.closed().await;
    }
    let mut client = proxy.connect().await;
    client.write(format!("{head}Content-Length: 100\r\n\r\n{{\"prompt\":")).await;
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    drop(client);
    assert_eq!(proxy.ask(get("/", "X-Session: s\r\n")).await.status(), 200);
    assert_eq!(node.requests().len(), 1);
}

#[tokio::test]
async fn what_was_looked_at_goes_whole_to_the_next_candidate() {
    let (down, up) = (Node::refusing("down"), Node::echo("up").await);
    let proxy = Setup::of(&[&down, &up]).pool(RULE).start();
    let session = (0..100).map(|number| format!("s{number}")).find(|key| owner(&proxy, key).as_deref() == Some("down"));
    let body = document(&session.unwrap(), 100);
    let reply = proxy.ask(post("/", "", &body)).await;
    assert_eq!((reply.field("x-node"), reply.field("x-ringway-decision")), (Some("up"), Some("failover")));
    assert_eq!(reply.text(), body);
}

/// A request with a body of known length.
fn put(body: &str) -> String {
    post("/", "", body).replacen("POST", "PUT", 1)
}

/// A node that answers once per connection with the body, then reads so many bytes of the next one and hangs up.
async fn hanging_up(read: usize) -> Node {
    Node::script("a", move |mut wire| async move {
        let request = wire.request().await;
        assert_eq!(request.field("expect"), None);
        let head = format!("HTTP/1.1 200 OK\r\nX-Trailers: {}\r\n", request.trailers.len());
        wire.write(format!("{head}Content-Length: {}\r\n\r\n{}", request.body.len(), request.text())).await;
        if wire.try_head().await.is_some() {
            wire.exactly(read).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_put_whose_kept_connection_dies_is_sent_once_more_and_whole() {
    let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                   5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n";
    for (rule, request, trailers) in
        [("", put("hello world"), "0"), (RULE, put("hello world"), "0"), ("", chunked.to_owned(), "1")]
    {
        let node = hanging_up(5).await;
        let proxy = Setup::of(&[&node]).pool(rule).limits("trailers = \"pass\"").start();
        let mut client = proxy.connect().await;
        assert_eq!(client.ask(get("/", "")).await.status(), 200);
        let reply = client.ask(&request).await;
        assert_eq!((reply.status(), reply.text().as_str()), (200, "hello world"), "{request:?}");
        assert_eq!((reply.field("x-trailers"), node.accepted()), (Some(trailers), 2), "{request:?}");
        proxy.metric_is("ringway_retries_total", &["reason=\"stale-connection\""], 1.0).await;
    }
}

#[tokio::test]
async fn a_put_of_http2_is_sent_once_more_too() {
    let node = hanging_up(5).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect_h2().await;
    client.ask(h2::get("http://a.test/")).await;
    let (feed, piped) = Piped::new();
    let response = client.begin(Request::put("http://a.test/").body(piped).unwrap());
    assert!(feed.send("hello").await);
    eventually("it is sent again", || node.accepted() == 2).await;
    assert!(feed.send(" world").await);
    drop(feed);
    assert_eq!(h2::read(response.await.unwrap().unwrap()).await.unwrap().body, b"hello world");
}

#[tokio::test]
async fn a_put_that_is_still_coming_goes_on_where_it_is_sent_again() {
    let node = hanging_up(5).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
    client.write("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello").await;
    eventually("it is sent again", || node.accepted() == 2).await;
    client.write(" world").await;
    assert_eq!(client.response(true).await.text(), "hello world");
}

#[tokio::test]
async fn a_put_that_waits_for_100_continue_is_sent_again_without_waiting() {
    let node = hanging_up(0).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
    client.write("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.write("hello").await;
    assert_eq!(client.response(true).await.text(), "hello");
}

#[tokio::test]
async fn what_is_not_held_or_not_idempotent_is_never_sent_again() {
    let large = "x".repeat(1_025);
    let large_chunks = chunked("", &large.repeat(3), 100).replacen("POST", "PUT", 1);
    // Of chunks the node must have had more than is held.
    for (pool, request, read) in [
        ("", post("/", "", "hello"), 5),
        (RULE, post("/", "", "{\"session\":1}"), 5),
        ("max-replay-body = 0", put("hello"), 5),
        ("max-replay-body = \"1KiB\"", put(&large), 5),
        ("max-replay-body = \"1KiB\"", large_chunks.clone(), 1_500),
        ("max-replay-body = \"1KiB\"\nkey = \"body-prefix:1100\"", large_chunks, 1_500),
    ] {
        let node = hanging_up(read).await;
        let proxy = Setup::of(&[&node]).pool(pool).start();
        let mut client = proxy.connect().await;
        assert_eq!(client.ask(get("/", "")).await.status(), 200);
        let reply = client.ask(&request).await;
        assert_eq!((reply.status(), node.accepted()), (502, 1), "{pool} {request:.60?}");
        assert_eq!(reply.field("proxy-status"), Some("ringway; error=connection_terminated; next-hop=\"a\""));
    }
}

#[tokio::test]
async fn a_put_that_its_client_breaks_is_the_clients_fault_and_not_sent_again() {
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write(OK).await;
        wire.rest().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
    let broken = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n";
    assert_eq!((client.ask(broken).await.status(), node.accepted()), (400, 1));
    proxy.metric_is("ringway_retries_total", &[], 0.0).await;
}
