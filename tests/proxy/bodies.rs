//! Bodies on their way through: their order, their ends, and who is blamed when they break.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::post;
use crate::harness::wire::End;
use crate::harness::within;
use http::HeaderMap;
use http::Request;
use http_body_util::BodyExt;
use std::sync::Arc;
use tokio::sync::Notify;

const EXPECT: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_body_that_waits_for_100_continue_flows_when_the_node_says_so() {
    let node = Node::script("a", |mut wire| async move {
        let head = wire.head().await;
        assert_eq!(head.field("expect"), Some("100-continue"));
        wire.write("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(wire.exactly(5).await, b"hello");
        wire.write(OK).await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(EXPECT).await;
    assert_eq!(client.head().await.status(), 100);
    client.write("hello").await;
    assert_eq!(client.response(true).await.text(), "ok");
}

#[tokio::test]
async fn a_node_that_refuses_at_once_spares_the_client_its_body() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
        // Not a byte of the body may come.
        wire.closed().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    let reply = client.ask(EXPECT).await;
    assert_eq!((reply.status(), reply.text().as_str()), (401, "no"));
    client.closed().await;
    eventually("the node saw the end", || node.ended() == 1).await;
}

#[tokio::test]
async fn a_node_that_does_not_know_100_continue_gets_the_body_all_the_same() {
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write(OK).await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(EXPECT).await;
    assert_eq!(client.head().await.status(), 100, "the proxy stops waiting for the node");
    client.write("hello").await;
    assert_eq!(client.response(true).await.text(), "ok");
}

#[tokio::test]
async fn chunks_pass_both_ways_with_their_trailers() {
    let node = Node::script("a", |mut wire| async move {
        let request = wire.request().await;
        assert_eq!(request.body, b"hello world");
        assert_eq!(request.trailers, [("x-sum".to_owned(), "7".to_owned())]);
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n\r\n").await;
        wire.write("3\r\nabc\r\n0\r\nX-Sum: 9\r\nContent-Length: 3\r\n\r\n").await;
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("trailers = \"pass\"").start();
    let mut client = proxy.connect().await;
    let head =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum, Host\r\n\r\n";
    let reply = client.ask(format!("{head}5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 7\r\nHost: b\r\n\r\n")).await;
    assert_eq!(reply.text(), "abc");
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "9".to_owned())]);
}

#[tokio::test]
async fn trailers_that_nobody_asked_for_go_no_further() {
    let node = Node::script("a", |mut wire| async move {
        while let Some(request) = wire.try_request().await {
            assert_eq!((request.field("trailer"), request.trailers.len()), (None, 0), "{request:?}");
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n").await;
            wire.write("3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n\r\n";
    for _ in 0..2 {
        let reply = client.ask(format!("{head}5\r\nhello\r\n0\r\nX-Sum: 7\r\nX_Auth_User: eve\r\n\r\n")).await;
        assert_eq!((reply.text().as_str(), reply.field("trailer"), reply.trailers.len()), ("abc", None, 0));
    }
    let reply = proxy.connect_h2().await.ask(h2::get("http://a.test/")).await;
    assert_eq!((&*reply.body, reply.trailers.len()), (&b"abc"[..], 0));
    assert_eq!(node.accepted(), 1, "all of them leave the connection in step");
}

#[tokio::test]
async fn whoever_only_says_to_be_grpc_has_no_trailers() {
    let node = Node::script("a", |mut wire| async move {
        while let Some(request) = wire.try_request().await {
            assert_eq!((request.body.as_slice(), request.trailers.len()), (&b"hello"[..], 0), "{request:?}");
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            wire.write("3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\n";
    let body = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Auth-User: root\r\n\r\n";
    let reply = proxy.ask(format!("{head}{body}")).await;
    assert_eq!((reply.text().as_str(), reply.trailers.len()), ("abc", 0));
    // Nodes of HTTP/1 speak no gRPC, whatever a client of HTTP/2 says.
    let client = proxy.connect_h2().await;
    let (feed, body) = Piped::new();
    let request = Request::post("http://a.test/x").header("content-type", "application/grpc").body(body).unwrap();
    let asked = client.begin(request);
    assert!(feed.send("hello").await);
    feed.trailers(HeaderMap::from_iter([("x-auth-user".parse().unwrap(), "root".parse().unwrap())])).await;
    let reply = h2::read(within("a response", asked).await.unwrap().unwrap()).await.unwrap();
    assert_eq!((&*reply.body, reply.trailers.len()), (&b"abc"[..], 0));
}

#[tokio::test]
async fn trailers_that_are_passed_on_have_limits_with_names() {
    let node = Node::script("a", |mut wire| async move {
        while let Some(request) = wire.try_request().await {
            let count = request.trailers.len();
            wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{count}")).await;
        }
    })
    .await;
    let limits = "trailers = \"pass\"\nmax-trailers = 2\nmax-trailer-bytes = \"1KiB\"";
    let proxy = Setup::of(&[&node]).limits(limits).start();
    let mut client = proxy.connect().await;
    let long = format!("X-A: {}\r\n", "x".repeat(1_024));
    for (trailers, passed) in [("X-A: 1\r\nX-B: 2\r\n", "2"), ("X-A: 1\r\nX-B: 2\r\nX-C: 3\r\n", "0"), (&long, "0")] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-A, X-B, X-C\r\n\r\n";
        let reply = client.ask(format!("{head}0\r\n{trailers}\r\n")).await;
        assert_eq!(reply.text(), passed, "{trailers:?}");
    }
    for limit in ["max-trailers", "max-trailer-bytes"] {
        proxy.metric_is("ringway_limit_hits_total", &[&format!("limit=\"{limit}\"")], 1.0).await;
    }
}

#[tokio::test]
async fn a_get_may_have_a_body() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    for framed in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
        assert_eq!(client.ask(format!("{head}{framed}")).await.text(), "hello", "{framed:?}");
    }
    assert_eq!(client.ask(get("/", "")).await.text(), "");
    assert_eq!(node.accepted(), 1, "all of them leave the connection in step");
}

#[tokio::test]
async fn trailers_of_an_http1_node_reach_an_http2_client() {
    let node = Node::script("a", |mut wire| async move {
        let request = wire.request().await;
        assert_eq!(request.field("te"), Some("trailers"));
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        wire.write("3\r\nabc\r\n0\r\nx-sum: 0\r\nx-forwarded-for: 1.1.1.1\r\n\r\n").await;
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("trailers = \"pass\"").start();
    let request = Request::post("http://a.test/x").header("te", "trailers").body(Piped::empty()).unwrap();
    let reply = proxy.connect_h2().await.ask(request).await;
    assert_eq!(reply.body, b"abc");
    assert_eq!(reply.trailers.get("x-sum").unwrap(), "0");
    assert_eq!(reply.trailers.len(), 1, "{:?}", reply.trailers);
}

#[tokio::test]
async fn trailers_of_an_http2_client_reach_an_http1_node() {
    let node = Node::script("a", |mut wire| async move {
        let request = wire.request().await;
        assert_eq!(request.body, b"hello");
        assert_eq!(request.trailers, [("x-sum".to_owned(), "7".to_owned())]);
        wire.write(OK).await;
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("trailers = \"pass\"").start();
    let (feed, body) = Piped::new();
    let client = proxy.connect_h2().await;
    let response = client.begin(Request::post("http://a.test/").header("trailer", "x-sum").body(body).unwrap());
    assert!(feed.send("hello").await);
    feed.trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())])).await;
    assert_eq!(h2::read(response.await.unwrap().unwrap()).await.unwrap().body, b"ok");
}

#[tokio::test]
async fn every_event_of_a_stream_arrives_before_the_next_one_is_sent() {
    let arrived = Arc::new(Notify::new());
    let go_on = Arc::clone(&arrived);
    let node = Node::script("a", move |mut wire| {
        let arrived = Arc::clone(&arrived);
        async move {
            wire.request().await;
            wire.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for number in 0..20 {
                let event = format!("data: {number}\n\n");
                wire.write(format!("{:x}\r\n{event}\r\n", event.len())).await;
                within("the client has the event", arrived.notified()).await;
            }
            wire.write("0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/", "")).await;
    client.head().await;
    for number in 0..20 {
        assert_eq!(client.chunk().await.unwrap(), format!("data: {number}\n\n").into_bytes());
        go_on.notify_one();
    }
    assert_eq!(client.chunk().await, None);
    client.trailers().await;
    let mut client = proxy.connect_h2().await;
    let mut events = client.send(h2::get("http://a.test/")).await.unwrap().into_body();
    for number in 0..20 {
        let frame = within("an event", events.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {number}\n\n"));
        go_on.notify_one();
    }
}

#[tokio::test]
async fn responses_without_a_body_leave_the_connection_in_step() {
    let node = Node::script("a", |mut wire| async move {
        while let Some(request) = wire.try_request().await {
            wire.write(match (request.head.method(), request.head.target()) {
                ("HEAD", _) => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                (_, "/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                (_, "/304") => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1000\r\n\r\n",
                _ => OK,
            })
            .await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    let reply = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((reply.status(), reply.field("content-length")), (200, Some("1000")));
    assert_eq!(client.ask(get("/204", "")).await.status(), 204);
    let reply = client.ask(get("/304", "")).await;
    assert_eq!((reply.status(), reply.field("etag")), (304, Some("\"x\"")));
    assert_eq!(client.ask(get("/", "")).await.text(), "ok");
    assert_eq!(node.accepted(), 1, "all over one connection");
}

/// Ways in which a node can leave a response unfinished.
const TRUNCATED: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
];

/// A node that sends the beginning of a response and then closes or resets.
async fn truncating(reply: &'static str, end: End) -> Node {
    Node::script("a", move |mut wire| async move {
        wire.request().await;
        wire.write(reply).await;
        match end {
            End::Closed => drop(wire),
            End::Reset => wire.reset(),
        }
    })
    .await
}

#[tokio::test]
async fn a_truncated_response_never_looks_complete() {
    for (reply, end) in TRUNCATED.into_iter().flat_map(|reply| [(reply, End::Closed), (reply, End::Reset)]) {
        let node = truncating(reply, end).await;
        let proxy = Setup::of(&[&node]).start();
        let mut client = proxy.connect().await;
        client.write(get("/", "")).await;
        let text = String::from_utf8_lossy(&client.rest().await.0).into_owned();
        // A reset may overtake the head: then the proxy has nothing but 502 to say.
        let is_cut = text.starts_with("HTTP/1.1 200") && !text.contains("\r\n0\r\n");
        assert!(is_cut || (end == End::Reset && text.starts_with("HTTP/1.1 502")), "{reply:?} {end:?}: {text}");
        let response = proxy.connect_h2().await.send(h2::get("http://a.test/")).await.unwrap();
        let status = response.status();
        let read = h2::read(response).await;
        assert!(read.is_err() || (end == End::Reset && status == 502), "{reply:?} {end:?}: {status}");
    }
}

#[tokio::test]
async fn bytes_after_a_response_reach_nobody() {
    let node = Node::script("a", |mut wire| async move {
        while wire.try_request().await.is_some() {
            wire.write(format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")).await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    for _ in 0..5 {
        assert_eq!(client.ask(get("/", "")).await.text(), "ok");
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let node = Node::script("a", |mut wire| async move {
        let head = wire.head().await;
        if head.target() == "/streams" {
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        }
        wire.rest().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut waiting = proxy.connect().await;
    waiting.write(get("/silent", "")).await;
    eventually("the request is at the node", || node.accepted() == 1).await;
    drop(waiting);
    eventually("the node sees the end", || node.ended() == 1).await;
    let mut reading = proxy.connect().await;
    reading.write(get("/streams", "")).await;
    reading.head().await;
    reading.reset();
    eventually("the node sees the end", || node.ended() == 2).await;
    let mut uploading = proxy.connect().await;
    uploading.write(format!("{CHUNKED}5\r\nhello\r\n")).await;
    eventually("the upload is at the node", || node.accepted() == 3).await;
    drop(uploading);
    eventually("the node sees the end", || node.ended() == 3).await;
    let mut client = proxy.connect_h2().await;
    let response = client.send(h2::get("http://a.test/streams")).await.unwrap();
    drop(response);
    eventually("the node sees the end", || node.ended() == 4).await;
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    proxy.metric_is("ringway_upstream_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_client_that_breaks_its_own_body_is_told_so_and_the_node_sees_no_end() {
    let node = Node::script("a", |mut wire| async move {
        // What broke at once may not even have begun here.
        let (body, _) = wire.rest().await;
        assert!(!String::from_utf8_lossy(&body).contains("0\r\n\r\n"), "a broken body looked complete");
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    for body in ["5\r\nhello\r\nzz\r\n", "5\r\nhelloX\r\n", "+5\r\nhello\r\n", "5\r\nhello\r\n0x3\r\nabc\r\n0\r\n\r\n"]
    {
        let mut client = proxy.connect().await;
        let reply = client.ask(format!("{CHUNKED}{body}")).await;
        assert_eq!(reply.status(), 400, "{body:?}");
        assert_eq!(reply.field("proxy-status"), Some("ringway; error=http_request_error"));
        client.closed().await;
    }
    let mut client = proxy.connect().await;
    client.write(format!("{CHUNKED}5\r\nhel")).await;
    client.finish().await;
    client.rest().await;
    eventually("the node saw the end of all five", || node.ended() == 5).await;
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_body_is_the_one_to_blame() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.rest().await;
    })
    .await;
    // The node would have waited less long than the client may take: it is the client that is waited for.
    let patience = "timeouts = { head = \"20ms\" }";
    let proxy = Setup::of(&[&node]).pool(patience).limits("body-timeout = \"200ms\"").start();
    let mut client = proxy.connect().await;
    let reply = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    assert_eq!(reply.status(), 408);
    client.closed().await;
    eventually("the node saw the end", || node.ended() == 1).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_arrives_and_the_connection_is_not_used_again() {
    let node = Node::script("a", |mut wire| async move {
        let head = wire.head().await;
        wire.write(OK).await;
        if head.method() == "POST" {
            wire.rest().await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("body-timeout = \"200ms\"").start();
    let mut client = proxy.connect().await;
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nhello").await;
    let reply = client.response(true).await;
    assert_eq!((reply.status(), reply.text().as_str()), (200, "ok"));
    assert_eq!(proxy.ask(get("/", "")).await.text(), "ok");
    eventually("the connection of the upload ends", || node.ended() == 2).await;
    assert_eq!(node.accepted(), 2);
}

#[tokio::test]
async fn an_upload_that_the_node_answers_and_no_longer_reads_is_given_up() {
    let node = Node::script("a", |mut wire| async move {
        wire.shrink_buffers();
        wire.head().await;
        wire.write(OK).await;
        // Neither reads nor closes.
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).pool("timeouts = { idle = \"200ms\" }").start();
    let mut client = proxy.connect().await;
    let reply = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").await;
    assert_eq!(reply.status(), 200);
    let piece = vec![b'x'; 64 << 10];
    let upload = async { while client.try_write(&piece).await.is_ok() {} };
    within("the upload ends", upload).await;
    proxy.metric_is("ringway_upstream_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_node_that_does_not_speak_http_is_a_bad_gateway() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 2x OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "",
    ] {
        let node = Node::script("a", move |mut wire| async move {
            wire.request().await;
            wire.write(garbage).await;
        })
        .await;
        let proxy = Setup::of(&[&node]).start();
        for request in [get("/", ""), post("/", "", "hello")] {
            let reply = proxy.ask(request).await;
            assert_eq!(reply.status(), 502, "{garbage:?}");
            assert!(reply.field("proxy-status").unwrap().contains("next-hop=\"a\""), "{garbage:?}");
        }
    }
}

#[tokio::test]
async fn the_end_of_the_connection_ends_a_body_that_has_no_other_end() {
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write("HTTP/1.1 200 OK\r\n\r\nall of it").await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(get("/", "")).await.text(), "all of it");
    assert_eq!(client.ask(get("/", "Connection: close\r\n")).await.text(), "all of it");
    assert_eq!(client.rest().await, (Vec::new(), End::Closed));
}
