//! What goes wrong in the proxy itself: a panic costs one request or write, and a stuck worker only its own clients.
//!
//! A worker that reports a failure of a node wakes whoever listens to reports, so that a listener of the story's own
//! has a worker do what it likes, in the middle of a request.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::key_of;
use crate::harness::proxy::keyed;
use crate::harness::within;
use http::Request;
use ringway::cluster::membership::Change;
use ringway::control::write::Write;
use ringway::control::write::WriteAction;
use ringway::control::write::WriteError;
use ringway::proxy::health_report;
use ringway::proxy::health_report::HealthReport;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::task::Context;
use std::task::Wake;
use std::task::Waker;
use tokio::sync::mpsc;

/// What a worker does that reports something.
struct Trap(Box<dyn Fn() + Send + Sync>);

impl Wake for Trap {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// A proxy with a pool `p`, whose only node refuses connections, and one for `/well` that is served.
struct Trapped {
    proxy: Proxy,
    _ill: Node,
    _well: Node,
    _listener: mpsc::Receiver<HealthReport>,
}

/// The first request to pool `p` springs the trap, on its worker.
async fn trapped(workers: usize, trap: Trap) -> Trapped {
    let (ill, well) = (Node::refusing("ill"), Node::echo("well").await);
    let (reports, mut listener) = health_report::channel();
    let waker = Waker::from(Arc::new(trap));
    assert!(listener.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    let setup = Setup::of(&[&ill]).pool("ejection = { failures = 1 }").workers(workers).reports(reports);
    let setup = setup.another_pool("name = \"w\"\nkey = \"path\"\nmatch = { path = \"/well\" }", &[&well]);
    Trapped { proxy: setup.start(), _ill: ill, _well: well, _listener: listener }
}

#[tokio::test]
async fn a_panic_costs_one_stream_of_many() {
    let story = trapped(1, Trap(Box::new(|| panic!("a bug that one request meets")))).await;
    let proxy = &story.proxy;
    let mut client = proxy.connect_h2().await;
    let (feed, body) = Piped::new();
    let beside = client.begin(Request::post("http://a.test/well").body(body).unwrap());
    assert!(feed.send("first, ").await);

    let answer = client.ask(h2::get("http://a.test/")).await;
    assert_eq!(answer.head.status, 500);
    assert_eq!(answer.head.headers["proxy-status"], "ringway; error=proxy_internal_error");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("this proxy failed") && !text.contains("a bug that"), "{text}");

    assert!(feed.send("then the rest").await);
    drop(feed);
    let whole = h2::read(within("the stream beside it", beside).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(String::from_utf8(whole.body).unwrap(), "first, then the rest");
    assert!(proxy.metric("ringway_panics_total", &["thread=\"worker\""]) >= 1.0);
    proxy.metric_is("ringway_requests_total", &["pool=\"p\"", "code=\"5xx\""], 1.0).await;
    proxy.metric_is("ringway_requests_total", &["pool=\"w\"", "code=\"2xx\""], 1.0).await;
}

#[tokio::test]
async fn a_panic_costs_an_http1_client_its_connection_but_not_its_answer() {
    let story = trapped(1, Trap(Box::new(|| panic!("a bug that one request meets")))).await;
    let proxy = &story.proxy;
    let mut client = proxy.connect().await;
    let answer = client.ask(get("/", "")).await;
    assert_eq!((answer.status(), answer.head.field("connection")), (500, Some("close")), "{answer:?}");
    client.closed().await;
    assert_eq!(proxy.ask(get("/well", "")).await.status(), 200);
    // The node is not to blame, but it does refuse.
    assert_eq!(proxy.ask(get("/", "")).await.status(), 502);
}

#[tokio::test]
async fn a_stuck_worker_is_seen_and_the_others_go_on() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    // The end of the story, whatever it is, releases it.
    let stuck = Trap(Box::new(move || assert!(released.lock().expect("only one waits").recv().is_err())));
    let story = trapped(2, stuck).await;
    let proxy = &story.proxy;
    let mut victim = proxy.connect().await;
    victim.write(get("/", "")).await;
    proxy.metric_is("ringway_workers_stuck", &[], 1.0).await;

    let mut clients = Vec::new();
    for number in 0..10 {
        let mut client = proxy.connect().await;
        assert_eq!(client.ask(get("/well", "")).await.status(), 200, "client {number}");
        clients.push(client);
    }

    drop(release);
    assert_eq!(victim.response(true).await.status(), 502);
    proxy.metric_is("ringway_workers_stuck", &[], 0.0).await;
}

/// Panics on the thread that tells the next news, once; the trap is set until what is returned is dropped.
fn trap_of_news(proxy: &Proxy) -> impl Sized {
    let mut listener = proxy.controller.listen();
    let mut heard = Box::pin(async move { listener.recv().await.map(drop) });
    let waker = Waker::from(Arc::new(Trap(Box::new(|| panic!("a bug that one of many meets")))));
    assert!(heard.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    heard
}

/// A write that drains the node `a` of pool `p`, or takes that back.
fn drains(is_drain: bool) -> Write {
    let name = "a".to_owned().try_into().expect("a name");
    Write {
        pool: "p".into(),
        action: WriteAction::Changes(vec![if is_drain { Change::Drain { name } } else { Change::Undrain { name } }]),
        guard: None,
        force: true,
        actor: "story".into(),
        reason: None,
    }
}

#[tokio::test]
async fn a_panic_of_the_control_plane_costs_one_write_and_leaves_it_whole() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let trap = trap_of_news(&proxy);
    let met = within("the write that meets it", proxy.controller.write(drains(true))).await;
    assert!(matches!(&met, Err(WriteError::Panicked)), "{met:?}");
    drop(trap);
    assert!(proxy.metric("ringway_panics_total", &["thread=\"control\""]) >= 1.0);
    // It panicked only after all was done.
    let written = within("the next write", proxy.controller.write(drains(false))).await.unwrap();
    assert_eq!((written.epoch, written.changed), (3, true));
    let events = proxy.controller.record("p", |record| record.history.events().len());
    assert_eq!((events, proxy.controller.pool("p").unwrap().epoch), (Some(3), 3));
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    proxy.reload(Setup::of(&[&node])).await;
}

#[tokio::test]
async fn the_health_thread_begins_anew_after_a_panic_and_knows_who_was_ill() {
    let (first, second) = (Node::refusing("first"), Node::refusing("second"));
    let well = [Node::echo("c").await, Node::echo("d").await, Node::echo("e").await];
    let proxy = Setup::of(&[&first, &second, &well[0], &well[1], &well[2]]);
    let proxy = proxy.pool("ejection = { failures = 1, time = '1h', max-time = '1h' }").start();
    let trap = trap_of_news(&proxy);
    assert_eq!(proxy.ask(keyed(&key_of(&proxy, &["first"]))).await.status(), 200);
    eventually("it panics", || proxy.metric("ringway_panics_total", &["thread=\"health\""]) >= 1.0).await;
    drop(trap);
    assert_eq!(proxy.ask(keyed(&key_of(&proxy, &["second"]))).await.status(), 200);
    eventually("it hears of the second node", || proxy.controller.ill_nodes().len() == 2).await;
}
