//! Nodes that are ill: who notices, who is sent elsewhere, who waits, and who never is to blame.

use crate::harness::PATIENCE;
use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::key_of;
use crate::harness::proxy::keyed;
use crate::harness::proxy::post;
use crate::harness::wire::Message;
use crate::harness::within;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::Instant;

/// Settings with which two failures eject a node for [`EJECTED`].
const EAGER: &str = "decision-headers = true\nejection = { failures = 2, time = '50ms', max-time = '50ms' }";

const EJECTED: Duration = Duration::from_millis(50);

/// A node that answers with this status, or closes the connection while it is 0.
async fn moody(name: &'static str, status: &Arc<AtomicU16>) -> Node {
    let status = Arc::clone(status);
    Node::script(name, move |mut wire| {
        let status = Arc::clone(&status);
        async move {
            while wire.try_request().await.is_some() {
                match status.load(SeqCst) {
                    0 => return,
                    status => wire.write(format!("HTTP/1.1 {status} Some\r\nContent-Length: 0\r\n\r\n")).await,
                }
            }
        }
    })
    .await
}

/// A node that reads requests and never answers; counts them.
async fn silent(name: &'static str, asked: &Arc<AtomicUsize>) -> Node {
    let asked = Arc::clone(asked);
    Node::script(name, move |mut wire| {
        let asked = Arc::clone(&asked);
        async move {
            while wire.try_request().await.is_some() {
                asked.fetch_add(1, SeqCst);
            }
        }
    })
    .await
}

fn served(message: &Message) -> (u16, &str, &str) {
    let field = |name| message.field(name).unwrap_or_default();
    (message.status(), field("x-ringway-node"), field("x-ringway-decision"))
}

async fn is_up(proxy: &Proxy, node: &str, up: bool) {
    proxy.metric_is("ringway_node_up", &[&format!("node=\"{node}\"")], f64::from(u8::from(up))).await;
}

#[tokio::test]
async fn a_node_that_fails_in_a_row_is_passed_over_until_one_request_finds_it_well() {
    let mood = Arc::new(AtomicU16::new(0));
    let (a, b) = (moody("a", &mood).await, Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool(EAGER).start();
    let key = key_of(&proxy, &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(served(&proxy.ask(keyed(&key)).await), (200, "b", "failover"));
    }
    is_up(&proxy, "a", false).await;
    mood.store(200, SeqCst);
    let mut client = proxy.connect().await;
    within("one finds it well", async { while served(&client.ask(keyed(&key)).await).1 != "a" {} }).await;
    is_up(&proxy, "a", true).await;
    assert_eq!(served(&client.ask(keyed(&key)).await), (200, "a", "owner"));
    assert_eq!(proxy.metric("ringway_node_falls_total", &["node=\"a\""]), 1.0);
}

#[tokio::test]
async fn an_ejected_node_gets_one_request_for_each_time_that_it_was_ejected_for() {
    let (mood, asked) = (Arc::new(AtomicU16::new(0)), Arc::<AtomicUsize>::default());
    let (is_well, count) = (Arc::clone(&mood), Arc::clone(&asked));
    let a = Node::script("a", move |mut wire| {
        let (is_well, count) = (Arc::clone(&is_well), Arc::clone(&count));
        async move {
            // At first it closes the connection, then it is silent.
            while wire.try_request().await.is_some() && is_well.load(SeqCst) > 0 {
                count.fetch_add(1, SeqCst);
            }
        }
    })
    .await;
    let b = Node::echo("b").await;
    let proxy = Setup::of(&[&a, &b]).pool(EAGER).start();
    let key = key_of(&proxy, &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(served(&proxy.ask(keyed(&key)).await), (200, "b", "failover"));
    }
    is_up(&proxy, "a", false).await;
    mood.store(1, SeqCst);
    let (begun, mut clients) = (Instant::now(), Vec::new());
    while asked.load(SeqCst) < 3 {
        assert!(begun.elapsed() < PATIENCE, "nobody found out");
        let mut client = proxy.connect().await;
        client.write(keyed(&key)).await;
        // Whoever finds out waits for ever.
        clients.push(client);
    }
    let trials = begun.elapsed().div_duration_f64(EJECTED) + 1.0;
    assert!(asked.load(SeqCst) as f64 <= trials, "{asked:?} of {} requests, of {trials}", clients.len());
}

#[tokio::test]
async fn a_get_goes_on_to_the_next_node_after_a_timeout_and_a_post_does_not() {
    let asked = Arc::<AtomicUsize>::default();
    let (a, b) = (silent("a", &asked).await, Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("decision-headers = true\ntimeouts = { head = '1s' }").start();
    let key = key_of(&proxy, &["a", "b"]);
    assert_eq!(served(&proxy.ask(keyed(&key)).await), (200, "b", "failover"));
    let answer = proxy.ask(post("/", &format!("X-Key: {key}\r\n"), "once")).await;
    assert_eq!(answer.status(), 504, "{}", answer.text());
    assert_eq!((asked.load(SeqCst), b.requests().len()), (2, 1));
    assert_eq!(proxy.metric("ringway_retries_total", &["reason=\"timeout\""]), 1.0);
}

#[tokio::test]
async fn a_post_goes_on_as_long_as_nothing_of_it_was_sent() {
    let (a, b) = (Node::refusing("a"), Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("decision-headers = true").start();
    let key = key_of(&proxy, &["a", "b"]);
    let answer = proxy.ask(post("/", &format!("X-Key: {key}\r\n"), "once")).await;
    assert_eq!(served(&answer), (200, "b", "failover"));
}

#[tokio::test]
async fn the_budget_bounds_what_is_sent_again() {
    let mood = Arc::new(AtomicU16::new(0));
    let (a, b) = (moody("a", &mood).await, Node::echo("b").await);
    let settings = "retry-budget = { percent = 0, min-per-second = 1 }\nejection = { failures = 0 }";
    let proxy = Setup::of(&[&a, &b]).pool(settings).start();
    let key = key_of(&proxy, &["a", "b"]);
    let mut client = proxy.connect().await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(client.ask(keyed(&key)).await.status());
    }
    assert_eq!(statuses, [[200; 10].as_slice(), &[502; 2]].concat(), "one a second, counted over ten");
    assert_eq!(proxy.metric("ringway_retries_refused_total", &[]), 2.0);
}

#[tokio::test]
async fn a_chosen_status_sends_a_get_to_the_next_node_and_is_passed_on_when_there_is_none() {
    let mood = Arc::new(AtomicU16::new(503));
    let (a, b) = (moody("a", &mood).await, Node::echo("b").await);
    let settings = "decision-headers = true\nretry-on = [503]";
    let proxy = Setup::of(&[&a, &b]).pool(settings).start();
    let key = key_of(&proxy, &["a", "b"]);
    assert_eq!(served(&proxy.ask(keyed(&key)).await), (200, "b", "failover"));
    let answer = proxy.ask(post("/", &format!("X-Key: {key}\r\n"), "once")).await;
    assert_eq!(served(&answer), (503, "a", "owner"), "a POST may have done something");
    let alone = Setup::of(&[&a]).pool(settings).start();
    assert_eq!(served(&alone.ask(keyed(&key)).await), (503, "a", "owner"));
}

#[tokio::test]
async fn statuses_count_as_failures_where_the_pool_says_so() {
    let mood = Arc::new(AtomicU16::new(503));
    let (a, b) = (moody("a", &mood).await, Node::echo("b").await);
    let settings =
        "decision-headers = true\nejection = { failures = 2, statuses = ['5xx'], time = '1h', max-time = '1h' }";
    let proxy = Setup::of(&[&a, &b]).pool(settings).start();
    let key = key_of(&proxy, &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(served(&proxy.ask(keyed(&key)).await), (503, "a", "owner"));
    }
    is_up(&proxy, "a", false).await;
    assert_eq!(served(&proxy.ask(keyed(&key)).await), (200, "b", "failover"));
}

#[tokio::test]
async fn a_share_of_failures_ejects_a_node_that_never_fails_often_enough_in_a_row() {
    let turn = Arc::<AtomicUsize>::default();
    let turns = Arc::clone(&turn);
    let a = Node::script("a", move |mut wire| {
        let turns = Arc::clone(&turns);
        async move {
            while wire.try_request().await.is_some() && turns.fetch_add(1, SeqCst) % 2 == 0 {
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            }
        }
    })
    .await;
    let b = Node::echo("b").await;
    let settings = "retry-budget = { percent = 1000 }\nejection = { failures = 3, failure-percent = 40 }";
    let proxy = Setup::of(&[&a, &b]).pool(settings).start();
    let key = key_of(&proxy, &["a", "b"]);
    let mut client = proxy.connect().await;
    let ask = async {
        while proxy.metric("ringway_node_up", &["node=\"a\""]) == 1.0 {
            assert_eq!(client.ask(keyed(&key)).await.status(), 200);
        }
    };
    within("it is ejected", ask).await;
    assert!(turn.load(SeqCst) >= 20, "{turn:?} requests said enough");
}

#[tokio::test]
async fn a_response_that_breaks_off_is_a_failure_of_its_node() {
    let a = Node::script("a", |mut wire| async move {
        if wire.try_request().await.is_some() {
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it").await;
        }
    })
    .await;
    let b = Node::echo("b").await;
    let proxy = Setup::of(&[&a, &b]).pool(EAGER).start();
    let key = key_of(&proxy, &["a", "b"]);
    for _ in 0..2 {
        let mut client = proxy.connect().await;
        client.write(keyed(&key)).await;
        client.rest().await;
    }
    proxy.metric_is("ringway_node_falls_total", &["node=\"a\""], 1.0).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_a_failure_although_it_began_well() {
    let a = Node::script("a", |mut wire| async move {
        if wire.try_request().await.is_some() {
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&a]).start();
    let mut client = proxy.connect().await;
    client.write(keyed("k")).await;
    client.rest().await;
    proxy.metric_is("ringway_node_failures_total", &["node=\"a\""], 1.0).await;
}

#[tokio::test]
async fn clients_that_break_their_requests_never_cost_a_node_its_good_name() {
    let (a, b) = (Node::echo("a").await, Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool(EAGER).start();
    let chunked = "POST / HTTP/1.1\r\nHost: a.test\r\nX-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for _ in 0..50 {
        let mut malformed = proxy.connect().await;
        malformed.write(format!("{chunked}no length\r\n")).await;
        malformed.rest().await;
        let mut early = proxy.connect().await;
        early.write(chunked).await;
        early.finish().await;
        early.rest().await;
        let mut gone = proxy.connect().await;
        gone.write(chunked).await;
        gone.reset();
    }
    eventually("all are over", || proxy.metric("ringway_inflight_requests", &[]) == 0.0).await;
    assert_eq!(proxy.metric("ringway_node_failures_total", &[]), 0.0);
    assert_eq!(proxy.metric("ringway_node_falls_total", &[]), 0.0);
}

#[tokio::test]
async fn checks_find_an_ill_node_before_any_request_does_and_bring_it_back() {
    let mood = Arc::new(AtomicU16::new(500));
    let (a, b) = (moody("a", &mood).await, Node::echo("b").await);
    let checks = "decision-headers = true\nhealth = { path = '/healthz', every = '20ms', doubtful-every = '10ms' }";
    let proxy = Setup::of(&[&a, &b]).pool(checks).start();
    let key = key_of(&proxy, &["a", "b"]);
    is_up(&proxy, "a", false).await;
    assert_eq!(served(&proxy.ask(keyed(&key)).await), (200, "b", "failover"));
    let check = |request: &Message| (request.head.method(), request.head.target()) == ("GET", "/healthz");
    eventually("b is checked too", || b.requests().iter().any(check)).await;
    let check = b.requests().into_iter().find(check).unwrap();
    assert_eq!(check.field("host"), Some(b.address.as_str()));
    mood.store(204, SeqCst);
    is_up(&proxy, "a", true).await;
    assert_eq!(served(&proxy.ask(keyed(&key)).await), (204, "a", "owner"));
}

#[tokio::test]
async fn a_tcp_check_asks_for_a_connection_only() {
    let (a, b) = (Node::refusing("a"), Node::echo("b").await);
    let checks = "health = { tcp = true, every = '10ms', doubtful-every = '10ms' }";
    let proxy = Setup::of(&[&a, &b]).pool(checks).start();
    is_up(&proxy, "a", false).await;
    let _a = a.rise().await;
    is_up(&proxy, "a", true).await;
    assert_eq!(b.requests().len(), 0);
}

#[tokio::test]
async fn health_moves_no_key_and_no_epoch() {
    let (a, b) = (Node::refusing("a"), Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("health = { tcp = true, every = '10ms' }").start();
    let before = proxy.controller.pool("p").unwrap();
    is_up(&proxy, "a", false).await;
    let after = proxy.controller.pool("p").unwrap();
    assert_eq!((before.epoch, before.fingerprint), (after.epoch, after.fingerprint));
}

#[tokio::test]
async fn keys_that_may_go_nowhere_else_are_refused_while_their_node_is_down() {
    let (a, b) = (Node::refusing("a"), Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("on-down = 'fail'\nhealth = { tcp = true, every = '10ms' }").start();
    let (key, other) = (key_of(&proxy, &["a", "b"]), key_of(&proxy, &["b", "a"]));
    is_up(&proxy, "a", false).await;
    let answer = proxy.ask(keyed(&key)).await;
    assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(answer.field("proxy-status"), Some("ringway; error=destination_unavailable; next-hop=\"a\""));
    assert_eq!(proxy.ask(keyed(&other)).await.status(), 200);
    assert_eq!(b.requests().len(), 1);
}

#[tokio::test]
async fn held_keys_wait_for_their_node_and_are_served_by_it() {
    let (a, b) = (Node::refusing("a"), Node::echo("b").await);
    let head = Duration::from_secs(1);
    let settings = "on-down = 'hold 1m'\ntimeouts = { head = '1s' }";
    let proxy = Setup::of(&[&a, &b]).pool(settings).pool(EAGER).start();
    let key = key_of(&proxy, &["a", "b"]);
    let mut clients = Vec::new();
    let begun = Instant::now();
    for number in 0..4 {
        let mut client = proxy.connect().await;
        let fields = format!("X-Key: {key}\r\n");
        client.write(if number % 2 == 0 { get("/", &fields) } else { post("/", &fields, "once") }).await;
        clients.push(client);
    }
    proxy.metric_is("ringway_waiting_requests", &[], 4.0).await;
    is_up(&proxy, "a", false).await;
    eventually("they have waited longer than a node may take", || begun.elapsed() > head + head / 2).await;
    let a = a.rise().await;
    for mut client in clients {
        assert_eq!(served(&client.response(true).await), (200, "a", "owner"));
    }
    assert_eq!((a.requests().len(), b.requests().len()), (4, 0));
}

#[tokio::test]
async fn held_keys_go_elsewhere_when_their_time_is_over() {
    let (a, b) = (Node::refusing("a"), Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("on-down = 'hold 100ms'").pool(EAGER).start();
    let key = key_of(&proxy, &["a", "b"]);
    assert_eq!(served(&proxy.ask(keyed(&key)).await), (200, "b", "failover"));
    assert_eq!(proxy.metric("ringway_held_requests_total", &[]), 1.0);
}

#[tokio::test]
async fn more_than_may_wait_are_refused_at_once() {
    let (a, b) = (Node::refusing("a"), Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("on-down = 'hold 1m'\nmax-waiting = 2").start();
    let key = key_of(&proxy, &["a", "b"]);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.connect().await;
        client.write(keyed(&key)).await;
        waiting.push(client);
    }
    proxy.metric_is("ringway_waiting_requests", &[], 2.0).await;
    let answer = proxy.ask(keyed(&key)).await;
    assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(answer.field("proxy-status"), Some("ringway; error=connection_limit_reached"));
}

#[tokio::test]
async fn when_too_few_are_well_all_are_used_unless_the_pool_says_never() {
    let mood = Arc::new(AtomicU16::new(500));
    let (a, b) = (moody("a", &mood).await, moody("b", &mood).await);
    let checks =
        |panic: &str| format!("health = {{ path = '/healthz', every = '10ms', panic-below-percent = {panic} }}");
    let open = Setup::of(&[&a, &b]).pool(&checks("25")).start();
    let closed = Setup::of(&[&a, &b]).pool(&checks("0")).start();
    for proxy in [&open, &closed] {
        is_up(proxy, "a", false).await;
        is_up(proxy, "b", false).await;
    }
    open.metric_is("ringway_pool_panic", &[], 1.0).await;
    assert_eq!(open.ask(get("/", "X-Key: k\r\n")).await.status(), 500, "a node was asked");
    let refused = closed.ask(get("/", "X-Key: k\r\n")).await;
    assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("1")), "{}", refused.text());
    assert_eq!(closed.metric("ringway_pool_panic", &[]), 0.0);
}

#[tokio::test]
async fn a_panic_ends_with_the_trial_of_a_node_that_is_well_again() {
    let mood = Arc::new(AtomicU16::new(0));
    let (a, b) = (moody("a", &mood).await, Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("health = { panic-below-percent = 60 }").pool(EAGER).start();
    let key = key_of(&proxy, &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(served(&proxy.ask(keyed(&key)).await), (200, "b", "failover"));
    }
    proxy.metric_is("ringway_pool_panic", &[], 1.0).await;
    mood.store(200, SeqCst);
    let mut client = proxy.connect().await;
    let ask = async {
        while proxy.metric("ringway_pool_panic", &[]) == 1.0 {
            client.ask(keyed(&key)).await;
        }
    };
    within("the panic is over", ask).await;
    assert_eq!(proxy.metric("ringway_node_up", &["node=\"a\""]), 1.0);
}

#[tokio::test]
async fn without_checks_nothing_keeps_a_node_down() {
    let mood = Arc::new(AtomicU16::new(404));
    let (a, b) = (moody("a", &mood).await, moody("b", &mood).await);
    let setup = Setup::of(&[&a, &b]);
    let proxy = setup.clone().pool("health = { path = '/typo', every = '10ms', doubtful-every = '10ms' }").start();
    is_up(&proxy, "a", false).await;
    is_up(&proxy, "b", false).await;
    proxy.reload(setup).await;
    is_up(&proxy, "a", true).await;
    is_up(&proxy, "b", true).await;
    let accepted = || a.accepted() + b.accepted();
    let before = accepted();
    eventually("the last checks are over", || a.ended() + b.ended() == accepted()).await;
    assert!(accepted() <= before + 2, "checks that were under way are the last");
    assert_eq!(proxy.metric("ringway_node_up", &[]), 2.0);
}

#[tokio::test]
async fn an_answer_that_is_passed_on_after_all_leaves_its_connection_whole() {
    let a = Node::script("a", |mut wire| async move {
        while wire.try_request().await.is_some() {
            wire.write("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&a]).pool("retry-on = [503]").start();
    let mut client = proxy.connect().await;
    for _ in 0..3 {
        let put = post("/", "X-Key: k\r\n", "a body that is held").replacen("POST", "PUT", 1);
        assert_eq!(client.ask(put).await.status(), 503);
    }
    assert_eq!(a.accepted(), 1);
}

#[tokio::test]
async fn requests_without_a_key_spread_over_the_nodes_that_are_well() {
    let (a, b, c) = (Node::refusing("a"), Node::echo("b").await, Node::echo("c").await);
    let proxy = Setup::of(&[&a, &b, &c]).pool("health = { tcp = true, every = '10ms' }").start();
    is_up(&proxy, "a", false).await;
    let mut client = proxy.connect().await;
    for _ in 0..50 {
        assert_eq!(client.ask(get("/", "")).await.status(), 200);
    }
    assert_eq!(proxy.metric("ringway_retries_total", &[]), 0.0, "nobody found out the hard way");
    assert!(b.requests().len() > 5 && c.requests().len() > 5, "{} and {}", b.requests().len(), c.requests().len());
}

#[tokio::test]
async fn a_status_to_retry_is_the_answer_when_the_body_is_no_longer_held() {
    let (a, b) = (moody("a", &Arc::new(AtomicU16::new(503))).await, Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("retry-on = [503]\nmax-replay-body = 4").start();
    let key = key_of(&proxy, &["a", "b"]);
    for (body, status) in [("4\r\nwhol\r\n0\r\n\r\n", 200), ("4\r\nwhol\r\n1\r\ne\r\n0\r\n\r\n", 503)] {
        let head = format!("PUT / HTTP/1.1\r\nHost: a.test\r\nX-Key: {key}\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(proxy.ask(head + body).await.status(), status, "{body:?}");
    }
}
