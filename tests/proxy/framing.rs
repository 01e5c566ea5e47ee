//! How long a body is, is said once, and means the same to client and node: RFC 9112 section 6.

use crate::harness::h2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use http::Request;

/// A node that gives every request the same bytes.
async fn replying(reply: String) -> Node {
    Node::script("a", move |mut wire| {
        let reply = reply.clone();
        async move {
            while wire.try_request().await.is_some() {
                wire.write(&reply).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn chunks_of_a_node_are_not_cut_to_the_length_beside_them() {
    for fields in ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 9"]
    {
        let node = replying(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n")).await;
        let proxy = Setup::of(&[&node]).start();
        let reply = proxy.ask(get("/", "")).await;
        assert_eq!((reply.text().as_str(), reply.field("content-length")), ("hello", None), "{fields}");
        let reply = proxy.connect_h2().await.ask(h2::get("http://a.test/")).await;
        assert_eq!((&*reply.body, reply.head.headers.get("content-length")), (&b"hello"[..], None), "{fields}");
        assert_eq!(node.accepted(), 2, "a node that contradicts itself gets no second request on a connection");
    }
}

#[tokio::test]
async fn a_length_that_a_node_says_twice_arrives_once() {
    for length in ["5, 5", "05", "5\r\nContent-Length: 5"] {
        let node = replying(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello")).await;
        let proxy = Setup::of(&[&node]).start();
        let reply = proxy.ask(get("/", "")).await;
        assert_eq!((reply.text().as_str(), reply.head.all("content-length")), ("hello", vec!["5"]), "{length:?}");
        let reply = proxy.connect_h2().await.ask(h2::get("http://a.test/")).await;
        let lengths: Vec<_> = reply.head.headers.get_all("content-length").iter().collect();
        assert_eq!(lengths, ["5"], "{length:?}");
        assert_eq!(reply.body, b"hello", "{length:?}");
    }
}

#[tokio::test]
async fn a_length_that_is_none_is_the_fault_of_the_node_even_where_no_body_follows() {
    for length in ["5, 6", "zz", "", "-1", "5\r\nContent-Length: 6"] {
        let node = replying(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
        let proxy = Setup::of(&[&node]).start();
        let mut client = proxy.connect().await;
        client.write("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let reply = client.response(false).await;
        assert_eq!(reply.status(), 502, "{length:?}: {reply:?}");
    }
}

#[tokio::test]
async fn a_response_without_a_body_says_no_length() {
    let node = replying("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/", "")).await;
    let reply = client.response(false).await;
    assert_eq!((reply.status(), reply.field("content-length")), (204, None));
}

#[tokio::test]
async fn a_node_gets_one_plain_number() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let reply = proxy.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\n\r\nhello").await;
    assert_eq!(reply.text(), "hello");
    let twice = Request::post("http://a.test/").header("content-length", "0").header("content-length", "0");
    let reply = proxy.connect_h2().await.ask(twice.body(Piped::empty()).unwrap()).await;
    assert_eq!(reply.head.status, 200);
    let lengths: Vec<_> = node.requests().iter().map(|request| request.head.all("content-length").join("|")).collect();
    assert_eq!(lengths, ["5", "0"]);
}

#[tokio::test]
async fn a_length_beside_chunks_is_refused_and_ends_the_connection() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    for fields in [format!("Content-Length: 40\r\n{chunked}"), format!("{chunked}Content-Length: 40\r\n")] {
        let mut client = proxy.connect().await;
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n");
        let reply = client.ask(request + &get("/smuggled", "")).await;
        assert_eq!(reply.status(), 400, "RFC 9112 section 6.1: {fields:?}");
        client.closed().await;
    }
    assert_eq!(node.accepted(), 0);
}

#[tokio::test]
async fn a_fault_behind_a_request_costs_only_what_follows() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    let good = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n#\n\0lo\r\n0\r\n\r\n";
    client.write(format!("{good}GET /#x HTTP/1.1\r\nHost: a\r\n\r\n{}", get("/third", ""))).await;
    assert_eq!(client.response(true).await.text(), "#\n\0lo");
    assert_eq!(client.response(true).await.status(), 400);
    client.closed().await;
    assert_eq!(node.requests().len(), 1);
}

#[tokio::test]
async fn a_later_http_1_is_taken_for_the_one_spoken_here() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    assert_eq!(proxy.ask("GET / HTTP/1.2\r\nHost: a\r\n\r\n").await.status(), 200);
    assert_eq!(node.request().head.line, "GET / HTTP/1.1");
}
