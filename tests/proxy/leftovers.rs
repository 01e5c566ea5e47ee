//! What is left of a connection after an answer: a body that nobody asks for any more, and who is logged in to it.

use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::Wire;
use crate::harness::within;
use std::time::Duration;

const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n";

/// What the system takes of a sender whose own buffer is small, before the reader has read much.
const SYSTEM_BYTES: usize = 512 << 10;

/// Writes until the other end takes no more; returns how much it took.
async fn push(client: &mut Wire) -> usize {
    let piece = [b'x'; 1 << 10];
    let mut taken = 0;
    let pushed = async {
        while client.try_write(&piece).await.is_ok() {
            taken += piece.len();
        }
    };
    within("the connection ends", pushed).await;
    taken
}

#[tokio::test]
async fn a_client_that_goes_on_sending_finds_its_answer_and_then_the_end() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        wire.rest().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    // The node's answer, and the proxy's own.
    for (request, answer) in [(UPLOAD.to_owned(), 200), (UPLOAD.replace("Host: a.test", "Host: a/b"), 400)] {
        let mut client = proxy.connect().await;
        client.shrink_buffers();
        client.write(&request).await;
        client.write([b'x'; 32 << 10]).await;
        let reply = client.response(true).await;
        assert_eq!(reply.status(), answer, "{request}");
        // 64 KiB that the proxy reads, and what the system has room for.
        let taken = push(&mut client).await;
        assert!(taken < (64 << 10) + SYSTEM_BYTES, "{taken} bytes were taken behind the answer {answer}");
    }
    eventually("the node is let go", || node.ended() == 1).await;
    proxy.metric_is("ringway_connections", &[], 0.0).await;
}

#[tokio::test]
async fn as_much_as_the_config_says_is_read_behind_an_answer() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        wire.rest().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("max-linger-bytes = \"4MiB\"\nlinger-timeout = \"1h\"").start();
    for (request, answer) in [(UPLOAD.to_owned(), 200), (UPLOAD.replace("Host: a.test", "Host: a/b"), 400)] {
        let mut client = proxy.connect().await;
        client.shrink_buffers();
        client.write(&request).await;
        assert_eq!(client.response(true).await.status(), answer, "{request}");
        // Longer than is waited for unless the config says so.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let taken = push(&mut client).await;
        let expected = (4 << 20)..(4 << 20) + SYSTEM_BYTES;
        assert!(expected.contains(&taken), "{taken} bytes were taken behind the answer {answer}");
    }
    proxy.metric_is("ringway_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_client_that_stops_sending_is_not_waited_for() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(UPLOAD.replace("Host: a.test", "Host: a/b")).await;
    assert_eq!(client.response(true).await.status(), 400);
    client.closed().await;
    proxy.metric_is("ringway_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_short_rest_of_an_upload_still_comes_and_the_client_may_ask_again() {
    let node = Node::script("a", |mut wire| async move {
        while wire.try_head().await.is_some() {
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            wire.rest().await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello").await;
    assert_eq!(client.response(true).await.text(), "ok");
    client.write("world").await;
    assert_eq!(client.ask(get("/", "")).await.text(), "ok");
}

/// Names the connection that a request comes over, and asks `/login` to log in to it.
async fn office() -> Node {
    Node::script("a", |mut wire| async move {
        while let Some(request) = wire.try_request().await {
            let field = match request.head.target() {
                "/login" => "WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: NTLM TlRMTVNTUAAC\r\n",
                "/basic" => "WWW-Authenticate: Basic realm=\"ntlm\"\r\n",
                _ => "",
            };
            wire.write(format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 2\r\n\r\nok")).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_somebody_logged_in_to_is_nobody_elses() {
    for (target, fields, is_kept) in [
        ("/", "", true),
        ("/basic", "Authorization: Basic bnRsbQ==\r\n", true),
        ("/", "Authorization: ntlm TlRMTVNTUAAD\r\n", false),
        ("/", "Authorization: Negotiate YII=\r\n", false),
        ("/login", "", false),
    ] {
        let node = office().await;
        let proxy = Setup::of(&[&node]).start();
        let mut client = proxy.connect().await;
        assert_eq!(client.ask(get(target, fields)).await.text(), "ok", "{target} {fields}");
        assert_eq!(proxy.ask(get("/", "")).await.text(), "ok", "{target} {fields}");
        assert_eq!(node.accepted(), if is_kept { 1 } else { 2 }, "{target} {fields}");
    }
}

#[tokio::test]
async fn connections_to_nodes_are_kept_for_so_long() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).pool("timeouts = { idle-connection = \"1ms\" }").start();
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    eventually("it is closed", || node.ended() == 1).await;
    proxy.metric_is("ringway_upstream_connections", &[], 0.0).await;
}
