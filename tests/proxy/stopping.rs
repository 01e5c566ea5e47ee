//! How the proxy leaves: clients are told, open requests finish, and at last everything is cut.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use ringway::proxy::worker::Phase;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// A node that answers whatever comes when it is let, and probes at once.
async fn held(release: &Arc<Semaphore>) -> Node {
    let gate = Arc::clone(release);
    Node::script("a", move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            while let Some(request) = wire.try_request().await {
                if request.head.target() != "/probe" {
                    gate.acquire().await.unwrap().forget();
                }
                wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len())).await;
                wire.write(&request.body).await;
            }
        }
    })
    .await
}

async fn refuses(proxy: &Proxy) {
    let refused = async {
        while TcpStream::connect(proxy.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    crate::harness::within("nobody listens", refused).await;
}

#[tokio::test]
async fn while_draining_new_clients_are_served_and_every_http1_client_is_told_to_leave() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut kept = proxy.connect().await;
    assert_eq!(kept.ask(get("/", "")).await.field("connection"), None);
    proxy.enter(Phase::Draining);
    for client in [&mut kept, &mut proxy.connect().await] {
        // The workers learn of the phase a moment later.
        let mut reply = client.ask(get("/", "")).await;
        while reply.field("connection").is_none() {
            reply = client.ask(get("/", "")).await;
        }
        assert_eq!((reply.status(), reply.field("connection")), (200, Some("close")));
        client.closed().await;
    }
}

#[tokio::test]
async fn while_draining_http2_clients_are_told_and_their_streams_finish() {
    let release = Arc::new(Semaphore::new(0));
    let node = held(&release).await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect_h2().await;
    let open = client.begin(h2::get("http://a.test/"));
    eventually("the request is at the node", || node.accepted() == 1).await;
    proxy.enter(Phase::Draining);
    client.told_to_leave().await;
    release.add_permits(1);
    let response = open.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    h2::read(response).await.unwrap();
    client.closed().await;
}

#[tokio::test]
async fn while_closing_open_requests_finish_and_nobody_new_comes_in() {
    let release = Arc::new(Semaphore::new(0));
    let node = held(&release).await;
    let mut proxy = Setup::of(&[&node]).workers(2).start();
    let mut idle = proxy.connect().await;
    let mut silent = proxy.connect().await;
    release.add_permits(1);
    assert_eq!(idle.ask(get("/", "")).await.status(), 200);
    let mut waiting = proxy.connect().await;
    waiting.write(get("/", "")).await;
    let mut uploading = proxy.connect().await;
    uploading.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    proxy.metric_is("ringway_inflight_requests", &[], 2.0).await;
    proxy.enter(Phase::Closing);
    refuses(&proxy).await;
    idle.closed().await;
    silent.closed().await;
    release.add_permits(1);
    let reply = waiting.response(true).await;
    assert_eq!((reply.status(), reply.field("connection")), (200, Some("close")));
    waiting.closed().await;
    uploading.write("world").await;
    release.add_permits(1);
    assert_eq!(uploading.response(true).await.text(), "helloworld");
    uploading.closed().await;
    proxy.ended().await;
}

#[tokio::test]
async fn a_head_that_is_begun_may_end_while_the_proxy_closes() {
    let node = Node::echo("a").await;
    let mut proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\n").await;
    proxy.metric_is("ringway_connections", &[], 1.0).await;
    proxy.enter(Phase::Closing);
    refuses(&proxy).await;
    let reply = client.ask("X-Key: 1\r\n\r\n").await;
    assert_eq!((reply.status(), reply.field("connection")), (200, Some("close")));
    client.closed().await;
    proxy.ended().await;
}

#[tokio::test]
async fn a_client_that_connected_before_the_end_is_still_answered() {
    let node = Node::echo("a").await;
    let mut proxy = Setup::of(&[&node]).start();
    let mut idle = proxy.connect().await;
    assert_eq!(idle.ask(get("/", "")).await.status(), 200);
    let mut fresh = proxy.connect().await;
    proxy.metric_is("ringway_connections", &[], 2.0).await;
    proxy.enter(Phase::Closing);
    idle.closed().await;
    let reply = fresh.ask(get("/", "")).await;
    assert_eq!((reply.status(), reply.field("connection")), (200, Some("close")));
    fresh.closed().await;
    proxy.ended().await;
}

#[tokio::test]
async fn clients_that_wait_to_be_accepted_at_the_end_are_still_answered() {
    let node = Node::echo("a").await;
    let mut proxy = Setup::of(&[&node]).workers(2).start();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = proxy.connect().await;
        client.write(get("/", "")).await;
        clients.push(client);
    }
    proxy.enter(Phase::Closing);
    for client in &mut clients {
        assert_eq!(client.response(true).await.status(), 200);
        client.closed().await;
    }
    proxy.ended().await;
}

#[tokio::test]
async fn a_proxy_without_clients_ends_as_soon_as_it_closes() {
    let node = Node::echo("a").await;
    let mut proxy = Setup::of(&[&node]).workers(2).start();
    proxy.enter(Phase::Closing);
    proxy.ended().await;
}

#[tokio::test]
async fn a_tunnel_is_let_run_while_closing_and_cut_at_the_end() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
        while let Some(bytes) = wire.piece().await {
            wire.write(bytes).await;
        }
    })
    .await;
    let mut proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/", "Connection: Upgrade\r\nUpgrade: x\r\n")).await;
    assert_eq!(client.head().await.status(), 101);
    proxy.enter(Phase::Closing);
    refuses(&proxy).await;
    client.write("hello").await;
    assert_eq!(client.exactly(5).await, b"hello");
    proxy.enter(Phase::Ended);
    client.closed().await;
    proxy.ended().await;
}

#[tokio::test]
async fn at_the_end_everything_is_cut() {
    let release = Arc::new(Semaphore::new(0));
    let node = held(&release).await;
    let mut proxy = Setup::of(&[&node]).start();
    let mut waiting = proxy.connect().await;
    waiting.write(get("/", "")).await;
    let client = proxy.connect_h2().await;
    let open = client.begin(h2::get("http://a.test/"));
    eventually("both requests are at the node", || node.accepted() == 2).await;
    proxy.enter(Phase::Ended);
    waiting.closed().await;
    assert!(open.await.unwrap().is_err());
    proxy.ended().await;
}
