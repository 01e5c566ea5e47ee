//! What nodes of HTTP/2 may do to a request: refuse it unseen, say good-bye, and break a response off.

use crate::frames;
use crate::frames::frame;
use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::node::Node;
use crate::harness::peer::CANCEL;
use crate::harness::peer::ENHANCE_YOUR_CALM;
use crate::harness::peer::INTERNAL_ERROR;
use crate::harness::peer::NO_ERROR;
use crate::harness::peer::Peer;
use crate::harness::peer::REFUSED_STREAM;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::key_of;
use crate::harness::proxy::post;
use crate::harness::within;
use crate::nodes_h2;
use crate::nodes_h2::Heads;
use http::Request;
use http_body_util::BodyExt;
use ringway::cluster::membership::Change;
use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Semaphore;

const H2: &str = "protocol = \"h2\"";

const CONNECTIONS: &str = "ringway_upstream_connections";

/// A node whose connections are led by `script`, which knows how many there were before.
async fn led<F>(name: &'static str, script: impl Fn(Peer, usize) -> F + Send + Sync + Clone + 'static) -> Node
where
    F: Future<Output = ()> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let begin = move |wire| {
        let (script, number) = (script.clone(), count.fetch_add(1, SeqCst));
        async move { script(Peer::greet(wire).await, number).await }
    };
    Node::script(name, begin).await
}

/// A node that answers with its name and what it was sent.
async fn echo(name: &'static str) -> Node {
    led(name, move |peer, _| echo_on(peer, name)).await
}

async fn echo_on(mut peer: Peer, name: &'static str) {
    while let Some(body) = peer.request().await {
        let stream = peer.stream;
        peer.begin(stream).await;
        peer.data(stream, &[name.as_bytes(), b":", &body].concat(), true).await;
    }
}

/// A POST of `hello` whose key belongs to node `a`.
fn hello(proxy: &Proxy) -> String {
    post("/", &format!("X-Key: {}\r\n", key_of(proxy, &["a", "b"])), "hello")
}

/// How a node says that it has not looked at a request.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Stream,
    Goodbye(u32),
}

impl Refusal {
    async fn say(self, peer: &mut Peer) {
        let stream = peer.stream;
        match self {
            Refusal::Stream => peer.reset(stream, REFUSED_STREAM).await,
            Refusal::Goodbye(code) => peer.goaway(stream.saturating_sub(2), code).await,
        }
    }
}

const REFUSALS: [Refusal; 3] = [Refusal::Stream, Refusal::Goodbye(NO_ERROR), Refusal::Goodbye(ENHANCE_YOUR_CALM)];

#[tokio::test]
async fn a_request_that_was_refused_unseen_goes_to_the_next_node_whatever_it_does() {
    for refusal in REFUSALS {
        let a = led("a", move |mut peer, _| async move {
            while peer.request().await.is_some() {
                refusal.say(&mut peer).await;
            }
        })
        .await;
        let b = echo("b").await;
        let proxy = Setup::of(&[&a, &b]).pool(H2).start();
        for _ in 0..3 {
            let answer = proxy.ask(hello(&proxy)).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "b:hello"), "{refusal:?}");
        }
        assert!(proxy.metric("ringway_node_failures_total", &[]) < 0.5, "{refusal:?}: it is no failure of the node");
        assert!(a.accepted() >= 1, "{refusal:?}");
    }
}

#[tokio::test]
async fn what_a_node_may_have_looked_at_is_sent_nowhere_else() {
    for (code, goodbye) in [(INTERNAL_ERROR, false), (CANCEL, false), (NO_ERROR, true)] {
        let a = led("a", move |mut peer, _| async move {
            while peer.request().await.is_some() {
                let stream = peer.stream;
                match goodbye {
                    // It has taken the request, and goes without an answer.
                    true => return peer.goaway(stream, code).await,
                    false => peer.reset(stream, code).await,
                }
            }
        })
        .await;
        let b = echo("b").await;
        let proxy = Setup::of(&[&a, &b]).pool(H2).start();
        assert_eq!(proxy.ask(hello(&proxy)).await.status(), 502, "{code} {goodbye}");
        assert_eq!(b.accepted(), 0, "{code} {goodbye}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_longer_whole_is_not_sent_again() {
    let a = led("a", |mut peer, _| async move {
        while peer.request().await.is_some() {
            Refusal::Stream.say(&mut peer).await;
        }
    })
    .await;
    let b = echo("b").await;
    let proxy = Setup::of(&[&a, &b]).pool(H2).pool("max-replay-body = 4").start();
    assert_eq!(proxy.ask(hello(&proxy)).await.status(), 502);
    assert_eq!(b.accepted(), 0);
}

#[tokio::test]
async fn a_body_that_was_not_begun_is_sent_however_long_it_is() {
    let a = led("a", |mut peer, _| async move {
        while peer.head().await.is_some() {
            Refusal::Stream.say(&mut peer).await;
        }
    })
    .await;
    let b = echo("b").await;
    let proxy = Setup::of(&[&a, &b]).pool(H2).pool("max-replay-body = 4").start();
    let request = hello(&proxy).replace("X-Key", "Expect: 100-continue\r\nX-Key");
    let (head, body) = request.split_at(request.len() - "hello".len());
    let mut client = proxy.connect().await;
    client.write(head).await;
    eventually("the next node is asked", || b.accepted() == 1).await;
    assert_eq!(client.head().await.status(), 100);
    client.write(body).await;
    let answer = client.response(true).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "b:hello"));
}

#[tokio::test]
async fn a_node_that_renews_its_connection_keeps_its_keys() {
    for code in [NO_ERROR, ENHANCE_YOUR_CALM] {
        let a = led("a", move |mut peer, number| async move {
            if number == 0 {
                peer.request().await.unwrap();
                let stream = peer.stream;
                peer.begin(stream).await;
                peer.data(stream, b"first", true).await;
                peer.request().await.unwrap();
                Refusal::Goodbye(code).say(&mut peer).await;
                return peer.gone().await;
            }
            echo_on(peer, "a").await;
        })
        .await;
        let b = echo("b").await;
        let proxy = Setup::of(&[&a, &b]).pool(H2).start();
        assert_eq!(proxy.ask(hello(&proxy)).await.text(), "first");
        let answer = proxy.ask(hello(&proxy)).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "a:hello"), "{code}");
        assert_eq!((a.accepted(), b.accepted()), (2, 0), "{code}");
    }
}

#[tokio::test]
async fn after_a_good_bye_running_streams_finish_and_others_get_a_new_connection() {
    let (rest, heads, count) = (Arc::new(Semaphore::new(0)), Heads::default(), AtomicUsize::new(0));
    let (gate, seen) = (Arc::clone(&rest), Arc::clone(&heads));
    let a = Node::script("a", move |wire| {
        let (gate, seen, number) = (Arc::clone(&gate), Arc::clone(&seen), count.fetch_add(1, SeqCst));
        async move {
            if number > 0 {
                return nodes_h2::serve(wire.into_tcp(), seen, 100).await;
            }
            let mut peer = Peer::greet(wire).await;
            peer.request().await.unwrap();
            let stream = peer.stream;
            peer.begin(stream).await;
            peer.data(stream, b"be", false).await;
            peer.goaway(stream, NO_ERROR).await;
            gate.acquire().await.unwrap().forget();
            peer.data(stream, b"gun", true).await;
            peer.gone().await;
        }
    })
    .await;
    let proxy = Setup::of(&[&a]).pool(H2).start();
    let mut client = proxy.connect().await;
    client.write(hello(&proxy)).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.chunk().await.as_deref(), Some(&b"be"[..]));
    for _ in 0..2 {
        assert_eq!(proxy.ask(hello(&proxy)).await.text(), "hello");
    }
    assert_eq!(a.accepted(), 2);
    let targets: Vec<_> = heads.lock().unwrap().iter().map(|head| head.uri.to_string()).collect();
    assert_eq!(targets, ["http://a.test/"; 2]);
    proxy.metric_is(CONNECTIONS, &[], 2.0).await;
    rest.add_permits(1);
    assert_eq!((client.chunk().await.as_deref(), client.chunk().await), (Some(&b"gun"[..]), None));
    proxy.metric_is(CONNECTIONS, &[], 1.0).await;
}

#[tokio::test]
async fn all_that_a_good_bye_sends_away_share_the_next_connection() {
    let (heads, count) = (Heads::default(), AtomicUsize::new(0));
    let seen = Arc::clone(&heads);
    let a = Node::script("a", move |wire| {
        let (seen, number) = (Arc::clone(&seen), count.fetch_add(1, SeqCst));
        async move {
            if number > 0 {
                return nodes_h2::serve(wire.into_tcp(), seen, 100).await;
            }
            let mut peer = Peer::greet(wire).await;
            peer.request().await.unwrap();
            let first = peer.stream;
            peer.begin(first).await;
            peer.data(first, b"first", true).await;
            for _ in 0..20 {
                peer.request().await.unwrap();
            }
            peer.goaway(first, NO_ERROR).await;
            peer.gone().await;
        }
    })
    .await;
    let proxy = Setup::of(&[&a]).pool(H2).start();
    let mut client = proxy.connect_h2().await;
    assert_eq!(client.ask(h2::get("http://a.test/")).await.body, b"first");
    let all: Vec<_> = (0..20).map(|_| client.begin(h2::get("http://a.test/"))).collect();
    for response in all {
        assert_eq!(within("a response", response).await.unwrap().unwrap().status(), 200);
    }
    assert_eq!((a.accepted(), heads.lock().unwrap().len()), (2, 20));
}

/// A node that begins a response and breaks it off.
async fn breaking(how: Option<u32>) -> Node {
    led("a", move |mut peer, _| async move {
        peer.request().await.unwrap();
        let stream = peer.stream;
        peer.begin(stream).await;
        peer.data(stream, b"part", false).await;
        if let Some(code) = how {
            peer.reset(stream, code).await;
            peer.gone().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_response_that_its_node_breaks_off_never_looks_complete() {
    for how in [Some(NO_ERROR), Some(CANCEL), Some(INTERNAL_ERROR), Some(REFUSED_STREAM), None] {
        let a = breaking(how).await;
        let proxy = Setup::of(&[&a]).pool(H2).start();
        let mut client = proxy.connect().await;
        client.write(get("/", "")).await;
        assert_eq!(client.head().await.status(), 200, "{how:?}");
        let (rest, _) = client.rest().await;
        let text = String::from_utf8_lossy(&rest);
        assert!(text.contains("part") && !text.ends_with("0\r\n\r\n"), "{how:?}: {text:?}");

        let a = breaking(how).await;
        let proxy = Setup::of(&[&a]).pool(H2).start();
        let response = proxy.connect_h2().await.send(h2::get("http://a.test/")).await.unwrap();
        assert!(response.into_body().collect().await.is_err(), "{how:?}");
        proxy.metric_is("ringway_node_failures_total", &[], 1.0).await;
    }
}

#[tokio::test]
async fn a_request_that_its_client_breaks_off_never_looks_complete() {
    for code in [NO_ERROR, CANCEL] {
        let bodies = Arc::<Mutex<Vec<_>>>::default();
        let seen = Arc::clone(&bodies);
        let node = Node::script("a", move |mut wire| {
            let seen = Arc::clone(&seen);
            async move {
                wire.head().await;
                let body = wire.rest().await.0;
                seen.lock().unwrap().push(String::from_utf8(body).unwrap());
            }
        })
        .await;
        let proxy = Setup::of(&[&node]).start();
        let mut client = proxy.connect().await;
        client.write(frames::PREFACE).await;
        client.write(frame(frames::SETTINGS, 0, 0, b"")).await;
        // A POST to host `a`, whose body is only begun.
        client.write(frame(frames::HEADERS, frames::END_HEADERS, 1, b"\x83\x86\x84\x01\x01a")).await;
        client.write(frame(frames::DATA, 0, 1, b"part")).await;
        proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
        client.write(frame(frames::RST_STREAM, 0, 1, &code.to_be_bytes())).await;
        eventually("the node sees the end", || !bodies.lock().unwrap().is_empty()).await;
        let body = bodies.lock().unwrap()[0].clone();
        assert!(!body.ends_with("0\r\n\r\n"), "{code}: {body:?}");
    }
}

#[tokio::test]
async fn a_shared_connection_is_cut_at_the_drain_deadline() {
    let a = led("a", |mut peer, _| async move {
        peer.request().await.unwrap();
        let stream = peer.stream;
        peer.begin(stream).await;
        peer.data(stream, b"part", false).await;
        peer.gone().await;
    })
    .await;
    let b = echo("b").await;
    let proxy = Setup::of(&[&a, &b]).pool(H2).pool("drain-deadline = \"100ms\"").start();
    let mut client = proxy.connect().await;
    client.write(hello(&proxy)).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.chunk().await.as_deref(), Some(&b"part"[..]));
    proxy.change(Change::Drain { name: "a".parse().unwrap() }).await;
    assert!(client.rest().await.0.is_empty(), "no last chunk");
    proxy.metric_is(CONNECTIONS, &["node=\"a\""], 0.0).await;
    assert!(proxy.metric("ringway_node_failures_total", &[]) < 0.5, "nobody is to blame");
}

#[tokio::test]
async fn a_connection_without_streams_counts_as_idle() {
    let node = echo("a").await;
    let proxy = Setup::of(&[&node]).pool(H2).start();
    let (active, idle) = (["state=\"active\""], ["state=\"idle\""]);
    let client = proxy.connect_h2().await;
    let (feed, body) = h2::Piped::new();
    let response = client.begin(Request::post("http://a.test/").body(body).unwrap());
    assert!(feed.send("x").await);
    proxy.metric_is(CONNECTIONS, &active, 1.0).await;
    assert!(proxy.metric(CONNECTIONS, &idle) < 0.5);
    drop(feed);
    let response = response.await.unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "a:x");
    proxy.metric_is(CONNECTIONS, &idle, 1.0).await;
    assert!(proxy.metric(CONNECTIONS, &active) < 0.5);
    proxy.remove(&node).await;
    eventually("it is closed", || proxy.metric(CONNECTIONS, &[]) < 0.5).await;
}
