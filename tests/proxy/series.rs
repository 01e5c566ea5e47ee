//! How many series the metrics have: as many as there are pools and nodes, whatever clients and operators send.

use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use ringway::cluster::membership::Change;
use ringway::cluster::node;
use std::iter::repeat_with;

/// Printed when a story fails.
const SEED: u64 = 0x5e_71e5;

/// A text that nobody else sends.
fn text(random: &mut fastrand::Rng) -> String {
    let length = random.usize(1..20);
    format!("zq{}", repeat_with(|| random.alphanumeric()).take(length).collect::<String>())
}

/// A request in which everything that a client can choose is made up. One of five is not acceptable.
fn request(random: &mut fastrand::Rng) -> String {
    let [method, path, query, host, key, field] = [(); 6].map(|()| text(random));
    let host = if random.u8(..) < 50 { format!("{host}/{host}") } else { format!("{host}.test:{}", random.u16(1..)) };
    let method = if random.bool() { "GET".to_owned() } else { method.to_uppercase() };
    format!("{method} /{path}?{query}={key} HTTP/1.1\r\nHost: {host}\r\nX-Key: {key}\r\n{field}: {key}\r\n\r\n")
}

async fn ask_often(proxy: &Proxy, random: &mut fastrand::Rng, count: usize) {
    let mut client = proxy.connect().await;
    for _ in 0..count {
        let answer = client.ask(request(random)).await;
        if answer.head.field("connection") == Some("close") {
            client = proxy.connect().await;
        }
    }
}

#[tokio::test]
async fn nothing_that_clients_send_makes_a_series() {
    let (a, b) = (Node::echo("a").await, Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).start();
    let mut random = fastrand::Rng::with_seed(SEED);
    // The classes of statuses that there are come with the first of each.
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    assert_eq!(proxy.ask("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n").await.status(), 400);
    let before = proxy.series();
    ask_often(&proxy, &mut random, 3_000).await;
    assert_eq!(proxy.series(), before, "seed {SEED}");
    assert!(proxy.metric("ringway_requests_total", &["code=\"2xx\""]) > 1_000.0, "seed {SEED}");
    assert!(proxy.metric("ringway_requests_total", &["code=\"4xx\""]) > 200.0, "seed {SEED}");
    assert!(!before.iter().any(|series| series.contains("zq")), "seed {SEED}");
}

#[tokio::test]
async fn the_series_of_nodes_go_with_the_nodes() {
    let a = Node::echo("a").await;
    let proxy = Setup::of(&[&a]).start();
    let mut random = fastrand::Rng::with_seed(SEED);
    let before = proxy.series();
    let mut at_most = 0;
    for round in 0..200 {
        let names: Vec<node::NodeName> = (0..3).map(|_| text(&mut random).try_into().unwrap()).collect();
        for name in &names {
            proxy.change(Change::Add(added(name, &a.address))).await;
        }
        at_most = at_most.max(proxy.series().len());
        for name in names {
            proxy.change(Change::Remove { name }).await;
        }
        assert_eq!(proxy.series(), before, "round {round}, seed {SEED}");
    }
    let of_node = |series: &&String| series.contains("node=\"a\"");
    assert_eq!(at_most, before.len() + 3 * before.iter().filter(of_node).count(), "seed {SEED}");
}

fn added(name: &node::NodeName, address: &str) -> node::Node {
    node::Node {
        name: name.clone(),
        address: address.to_owned().try_into().expect("an address"),
        weight: 1,
        zone: None,
        placement_id: None,
        draining: false,
    }
}
