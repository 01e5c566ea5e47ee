//! Clients that take their time, so that what they hold is held for long.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::Wire;
use crate::harness::within;
use crate::nodes_h2::echoing;
use http::Request;
use std::time::Duration;

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

const PAUSE: Duration = Duration::from_millis(20);

/// With their pauses these take longer than [`IMPATIENT`] allows in all.
const PIECES: u32 = 60;

/// No silence here is as long as the timeout, but a byte now and then is not enough.
const IMPATIENT: &str = "body-timeout = \"1s\"\nmin-body-rate = 1000000";

/// Writes `piece` again and again, with pauses in between, until the answer comes.
async fn drip(client: &mut Wire, piece: &str) -> String {
    let mut answer = Vec::new();
    let dripped = async {
        loop {
            // The answer says why, where this fails.
            client.try_write(piece.as_bytes()).await.unwrap_or_default();
            if let Ok(came) = tokio::time::timeout(PAUSE, client.piece()).await {
                answer = came.unwrap_or_default();
                return;
            }
        }
    };
    within("an answer to the drip", dripped).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A call of gRPC.
fn call(body: Piped) -> Request<Piped> {
    Request::post("http://a.test/").header("content-type", "application/grpc+proto").body(body).unwrap()
}

async fn struck(proxy: &Proxy, limit: &str, times: f64) {
    proxy.metric_is("ringway_limit_hits_total", &[&format!("limit=\"{limit}\"")], times).await;
}

#[tokio::test]
async fn a_client_that_drips_its_body_is_turned_away_and_its_node_not_blamed() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.rest().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).limits(IMPATIENT).start();
    let mut client = proxy.connect().await;
    client.write(CHUNKED).await;
    let answer = drip(&mut client, "1\r\nx\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    client.rest().await;
    eventually("the node is let go", || node.ended() == 1).await;
    struck(&proxy, "min-body-rate", 1.0).await;
    struck(&proxy, "body-timeout", 0.0).await;
    proxy.metric_is("ringway_node_failures_total", &[], 0.0).await;
}

/// As many clients that have yet to begin their bodies as a worker has wait for nodes too.
async fn crowd(proxy: &Proxy) -> Vec<Wire> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut client = proxy.connect().await;
        client.write(CHUNKED).await;
        crowd.push(client);
    }
    proxy.metric_is("ringway_inflight_requests", &[], f64::from(CROWD)).await;
    has_seen(proxy).await;
    crowd
}

/// By the second answer the worker has seen all that came before the first request.
async fn has_seen(proxy: &Proxy) {
    let mut other = proxy.connect().await;
    for _ in 0..2 {
        assert_eq!(other.ask(get("/other", "")).await.head.status(), 200);
    }
}

const CROWD: u32 = 16;

/// A request whose body is five bytes long, but for those.
const POST: &str = "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";

#[tokio::test]
async fn in_a_crowd_of_bodies_others_go_to_their_nodes_once_they_are_whole_or_long() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let waiting = crowd(&proxy).await;
    let (mut client, mut long) = (proxy.connect().await, proxy.connect().await);
    client.write([POST, "hel"].concat()).await;
    let head = "POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n";
    long.write([head, &"x".repeat(1_000)].concat()).await;
    has_seen(&proxy).await;
    proxy.metric_is("ringway_inflight_requests", &[], f64::from(CROWD)).await;
    long.write("x".repeat(3_000)).await;
    proxy.metric_is("ringway_inflight_requests", &[], f64::from(CROWD + 1)).await;
    client.write("lo").await;
    assert!(client.response(true).await.text().ends_with("hello"));
    // Once there is room again, a node has a request before its body.
    drop((waiting, long));
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    client.write(POST).await;
    proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
    client.write("hello").await;
    assert!(client.response(true).await.text().ends_with("hello"));
}

#[tokio::test]
async fn in_a_crowd_of_bodies_a_kept_connection_is_treated_as_a_new_one() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.ask(get("/first", "")).await;
    let _waiting = crowd(&proxy).await;
    // The first of them is on the way by itself already.
    client.ask([POST, "hello"].concat()).await;
    for _ in 0..3 {
        client.write([POST, "hel"].concat()).await;
        has_seen(&proxy).await;
        proxy.metric_is("ringway_inflight_requests", &[], f64::from(CROWD)).await;
        client.write("lo").await;
        assert!(client.response(true).await.text().ends_with("hello"));
    }
}

#[tokio::test]
async fn in_a_crowd_of_bodies_one_that_breaks_off_is_counted_and_reaches_no_node() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let _waiting = crowd(&proxy).await;
    let reached = node.accepted();
    let (mut client, mut other) = (proxy.connect().await, proxy.connect().await);
    client.write([POST, "hel"].concat()).await;
    client.finish().await;
    client.closed().await;
    other.write([POST, "hel"].concat()).await;
    has_seen(&proxy).await;
    other.reset();
    proxy.metric_is("ringway_requests_total", &["code=\"4xx\""], 2.0).await;
    assert_eq!(node.accepted(), reached);
}

#[tokio::test]
async fn in_a_crowd_of_bodies_what_waits_behind_a_switch_that_is_none_is_answered() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let _waiting = crowd(&proxy).await;
    let mut client = proxy.connect().await;
    client.write([get("/first", "Connection: upgrade\r\nUpgrade: other\r\n"), get("/second", "")].concat()).await;
    for target in ["/first", "/second"] {
        assert_eq!(client.response(true).await.head.status(), 200, "{target}");
    }
}

#[tokio::test]
async fn streams_whose_bodies_stall_are_no_crowd_for_http1() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let client = proxy.connect_h2().await;
    let (feeds, bodies): (Vec<_>, Vec<_>) = (0..CROWD).map(|_| Piped::new()).unzip();
    let requests = bodies.into_iter().map(|body| Request::post("http://a.test/").body(body).unwrap());
    let _begun: Vec<_> = requests.map(|request| client.begin(request)).collect();
    proxy.metric_is("ringway_inflight_requests", &[], f64::from(CROWD)).await;
    has_seen(&proxy).await;
    let mut client = proxy.connect().await;
    client.write(POST).await;
    proxy.metric_is("ringway_inflight_requests", &[], f64::from(CROWD + 1)).await;
    drop(feeds);
}

#[tokio::test]
async fn requests_that_wait_for_their_nodes_are_no_crowd_of_bodies() {
    let node = Node::script("a", |mut wire| async move {
        while let Some(head) = wire.try_head().await {
            if head.target() != "/other" {
                wire.rest().await;
                return;
            }
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut waiting = Vec::new();
    for _ in 0..CROWD {
        let mut client = proxy.connect().await;
        // The body comes by itself, so that it is waited for at first.
        client.write("PUT /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
        waiting.push(client);
    }
    proxy.metric_is("ringway_inflight_requests", &[], f64::from(CROWD)).await;
    for client in &mut waiting {
        client.write("hello").await;
    }
    has_seen(&proxy).await;
    let mut client = proxy.connect().await;
    client.write(POST).await;
    proxy.metric_is("ringway_inflight_requests", &[], f64::from(CROWD + 1)).await;
}

#[tokio::test]
async fn in_a_crowd_of_bodies_one_that_takes_too_long_reaches_no_node() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).limits("body-timeout = \"3s\"").start();
    let _waiting = crowd(&proxy).await;
    let reached = node.accepted();
    let mut client = proxy.connect().await;
    client.write([POST, "hel"].concat()).await;
    assert_eq!(client.response(true).await.head.status(), 408);
    client.closed().await;
    assert_eq!(node.accepted(), reached);
    struck(&proxy, "body-timeout", f64::from(CROWD + 1)).await;
    proxy.metric_is("ringway_node_failures_total", &[], 0.0).await;
}

#[tokio::test]
async fn a_body_is_not_dripped_to_who_looks_for_its_key_either() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).pool("key = \"json:/user\"").limits(IMPATIENT).start();
    let mut client = proxy.connect().await;
    client.write(CHUNKED).await;
    let answer = drip(&mut client, "1\r\n \r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(node.accepted(), 0);
}

#[tokio::test]
async fn a_stream_that_drips_its_body_goes_and_the_others_stay() {
    let node = Node::script("a", |mut wire| async move {
        while let Some(request) = wire.try_head().await {
            if request.target() == "/slow" {
                wire.rest().await;
                return;
            }
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).limits(IMPATIENT).start();
    let mut client = proxy.connect_h2().await;
    let (feed, body) = Piped::new();
    let response = client.begin(Request::post("http://a.test/slow").body(body).unwrap());
    let dripping = tokio::spawn(async move {
        while feed.send("x").await {
            tokio::time::sleep(PAUSE).await;
        }
    });
    let response = within("an answer", response).await.unwrap().unwrap();
    assert_eq!(response.status(), 408);
    within("the drip ends", dripping).await.unwrap();
    assert_eq!(client.ask(h2::get("http://a.test/")).await.body, b"ok");
    struck(&proxy, "min-body-rate", 1.0).await;
}

#[tokio::test]
async fn a_body_without_a_rate_may_be_slow() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).limits("body-timeout = \"1s\"\nmin-body-rate = 0").start();
    let mut client = proxy.connect().await;
    client.write(CHUNKED).await;
    for _ in 0..PIECES {
        client.write("1\r\nx\r\n").await;
        tokio::time::sleep(PAUSE).await;
    }
    client.write("0\r\n\r\n").await;
    let reply = client.response(true).await;
    assert_eq!((reply.status(), reply.body.len()), (200, PIECES as usize));
}

#[tokio::test]
async fn streams_of_grpc_may_be_slow_and_silent() {
    let (node, _) = echoing("a", 100).await;
    let proxy = Setup::of(&[&node]).pool("protocol = \"h2\"").limits(IMPATIENT).start();
    let client = proxy.connect_h2().await;
    let (feed, body) = Piped::new();
    let response = client.begin(call(body));
    assert!(feed.send("x").await);
    // A silence, and then a drip.
    tokio::time::sleep(PAUSE * PIECES).await;
    for _ in 1..PIECES {
        assert!(feed.send("x").await);
        tokio::time::sleep(PAUSE).await;
    }
    drop(feed);
    let response = within("an answer", response).await.unwrap().unwrap();
    let answered = h2::read(response).await.unwrap();
    assert_eq!((answered.head.status.as_u16(), answered.body.len()), (200, PIECES as usize));
}

#[tokio::test]
async fn over_http1_nothing_is_a_stream_of_grpc() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).limits(IMPATIENT).start();
    // To its node.
    let (_feed, body) = Piped::new();
    let response = within("an answer", proxy.connect_h2().await.begin(call(body))).await.unwrap().unwrap();
    assert_eq!(response.headers()["grpc-message"], "the request body did not arrive in time");
    struck(&proxy, "body-timeout", 1.0).await;
    // From its client. Whoever speaks HTTP/1 only says that it is gRPC.
    let mut client = proxy.connect().await;
    client.write(CHUNKED.replace("Host: a\r\n", "Host: a\r\nContent-Type: application/grpc\r\n")).await;
    let answer = drip(&mut client, "1\r\nx\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
