//! How much each node gets to do: bounded load, hard limits, and the queue when all nodes are at theirs.

use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::key_of;
use crate::harness::proxy::keyed;
use crate::harness::wire::Message;
use crate::harness::wire::Wire;
use crate::harness::within;
use ringway::control::pool_at::PoolAt;
use ringway::routing::bound::LoadBound;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

/// Nodes that begin their response at once, except to `/silent`, and end it when the story says so: until then it is in
/// flight.
struct Stage {
    nodes: Vec<Node>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
}

/// A request that has come to a node.
struct Arrival {
    node: &'static str,
    end: oneshot::Sender<()>,
}

/// A request whose response has not ended.
struct Open {
    client: Wire,
    arrival: Arrival,
}

impl Stage {
    async fn of(names: &[&'static str]) -> Stage {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let mut nodes = Vec::new();
        for &name in names {
            let sender = sender.clone();
            nodes.push(Node::script(name, move |wire| slowly(name, wire, sender.clone())).await);
        }
        Stage { nodes, arrivals }
    }

    fn setup(&self) -> Setup {
        Setup::of(&self.nodes.iter().collect::<Vec<_>>()).pool("decision-headers = true")
    }

    /// The next request that comes to a node.
    async fn arrival(&mut self) -> Arrival {
        within("a request comes to a node", self.arrivals.recv()).await.expect("the nodes live")
    }

    /// Sends a request and waits until it is at a node.
    async fn open(&mut self, mut client: Wire, request: &str) -> Open {
        client.write(request).await;
        Open { client, arrival: self.arrival().await }
    }
}

impl Open {
    /// Lets the response end; returns it with its client.
    async fn close(mut self) -> (Message, Wire) {
        self.arrival.end.send(()).expect("the node waits for it");
        let response = self.client.response(true).await;
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.field("x-node"), Some(self.arrival.node));
        (response, self.client)
    }
}

async fn slowly(name: &'static str, mut wire: Wire, arrivals: mpsc::UnboundedSender<Arrival>) {
    while let Some(request) = wire.try_request().await {
        let (end, ended) = oneshot::channel();
        if arrivals.send(Arrival { node: name, end }).is_err() {
            return;
        }
        let head = format!("HTTP/1.1 200 OK\r\nX-Node: {name}\r\nContent-Length: 2\r\n\r\n");
        if request.head.target() != "/silent" {
            wire.write(&head).await;
        }
        if ended.await.is_ok() {
            let rest = if request.head.target() == "/silent" { head + "ok" } else { "ok".to_owned() };
            wire.write(rest).await;
        }
    }
}

/// What the story knows of the load, request by request: no two things happen at once in it.
struct Account {
    bound: LoadBound,
    candidates: BTreeMap<String, Vec<String>>,
    in_flight: BTreeMap<String, u64>,
    spilled: u64,
}

impl Account {
    fn of(proxy: &Proxy, bound: LoadBound, keys: impl Iterator<Item = String>) -> Account {
        let pool = PoolAt::of(&proxy.controller.pool("p").unwrap());
        let located = |key: String| (key.clone(), pool.locate(key.as_bytes()).candidates);
        Account { bound, candidates: keys.map(located).collect(), in_flight: BTreeMap::new(), spilled: 0 }
    }

    /// A request for `key` has come to `node`, which has to be the first candidate below its cap.
    fn admitted(&mut self, key: &str, node: &str) {
        let total = self.in_flight.values().sum();
        let candidates = &self.candidates[key];
        let cap = self.bound.cap(total, 1, candidates.len() as u64);
        let load = |node: &str| self.in_flight.get(node).copied().unwrap_or_default();
        let first = candidates.iter().find(|candidate| load(candidate) < cap).expect("one has room");
        assert_eq!(node, first, "{key} of {candidates:?} with {:?} in flight and a cap of {cap}", self.in_flight);
        self.spilled += u64::from(*first != candidates[0]);
        let now = load(node) + 1;
        assert!(now <= cap, "{node} has {now} of {cap}");
        self.in_flight.insert(node.to_owned(), now);
    }

    fn ended(&mut self, node: &str) {
        *self.in_flight.get_mut(node).unwrap() -= 1;
    }
}

/// Numbers from 0 to `count`, the first the most likely: the weight of the n-th is n to the power of -1.1.
struct Zipf {
    sums: Vec<f64>,
    random: fastrand::Rng,
}

impl Zipf {
    fn new(count: u32) -> Zipf {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += f64::from(rank).powf(-1.1);
            sum
        });
        Zipf { sums: sums.collect(), random: fastrand::Rng::with_seed(7) }
    }

    fn draw(&mut self) -> usize {
        let ticket = self.random.f64() * self.sums.last().unwrap();
        self.sums.partition_point(|sum| *sum <= ticket)
    }
}

const REQUESTS: u64 = 3_000;

/// Ticks that a response takes; those of the slow node take four times as long.
const RESPONSE_TICKS: u64 = 100;

/// Ticks between two requests: some forty to seventy are in flight.
const PAUSE_TICKS: u64 = 3;

#[tokio::test]
async fn a_slow_node_under_hot_keys_never_gets_more_than_its_cap() {
    let mut stage = Stage::of(&["a", "b", "c", "slow"]).await;
    let proxy = stage.setup().pool("load-bound = { factor = 1.25, min-gap = 4 }").start();
    let bound = LoadBound { factor_thousandths: 1250, min_gap: 4 };
    let mut account = Account::of(&proxy, bound, (0..1_000).map(|number| format!("key-{number}")));
    let (mut zipf, mut clients) = (Zipf::new(1_000), Vec::new());
    let (mut ends, mut open) = (BinaryHeap::new(), BTreeMap::new());
    for number in 0..REQUESTS {
        let now = number * PAUSE_TICKS;
        while ends.peek().is_some_and(|Reverse((end, _))| *end <= now) {
            let Reverse((_, ended)) = ends.pop().unwrap();
            let ended: Open = open.remove(&ended).unwrap();
            account.ended(ended.arrival.node);
            clients.push(ended.close().await.1);
        }
        let key = format!("key-{}", zipf.draw());
        let client = match clients.pop() {
            Some(client) => client,
            None => proxy.connect().await,
        };
        let request = stage.open(client, &keyed(&key)).await;
        account.admitted(&key, request.arrival.node);
        let takes = if request.arrival.node == "slow" { 4 * RESPONSE_TICKS } else { RESPONSE_TICKS };
        ends.push(Reverse((now + takes, number)));
        open.insert(number, request);
    }
    for (_, request) in open {
        request.close().await;
    }
    let spilled = account.spilled as f64;
    println!("bounded load: {:.1} % of {REQUESTS} requests spilled", spilled / REQUESTS as f64 * 100.0);
    assert!(spilled > 0.0, "a slow node cannot bear its share");
    proxy.metric_is("ringway_decisions_total", &["decision=\"spill\""], spilled).await;
    for direction in ["direction=\"in\"", "direction=\"out\""] {
        proxy.metric_is("ringway_spilled_requests_total", &[direction], spilled).await;
    }
}

#[tokio::test]
async fn a_hot_key_in_an_idle_pool_stays_with_its_owner_up_to_the_gap() {
    let mut stage = Stage::of(&["a", "b", "c", "d"]).await;
    let proxy = stage.setup().pool("load-bound = {}").start();
    let request = keyed(&key_of(&proxy, &["a", "b"]));
    let mut open = Vec::new();
    // With six in flight the share of a node is two, and the gap four.
    for expected in ["a", "a", "a", "a", "a", "a", "b"] {
        open.push(stage.open(proxy.connect().await, &request).await);
        assert_eq!(open.last().unwrap().arrival.node, expected, "request {}", open.len());
    }
    let (spilled, _) = open.pop().unwrap().close().await;
    assert_eq!(spilled.field("x-ringway-decision"), Some("spill"));
    let (owned, client) = open.pop().unwrap().close().await;
    assert_eq!(owned.field("x-ringway-decision"), Some("owner"));
    let back = stage.open(client, &request).await;
    assert_eq!(back.arrival.node, "a", "it returns as soon as there is room");
}

#[tokio::test]
async fn requests_without_a_key_are_bounded_too_and_spill_for_nobody() {
    let mut stage = Stage::of(&["a", "b"]).await;
    let proxy = stage.setup().pool("load-bound = { factor = 1.0, min-gap = 0 }").start();
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(stage.open(proxy.connect().await, &get("/", "")).await);
        let at_a = open.iter().filter(|request| request.arrival.node == "a").count();
        assert!(at_a.abs_diff(open.len() - at_a) <= 1, "{at_a} of {}", open.len());
    }
    for request in open {
        assert_eq!(request.close().await.0.field("x-ringway-decision"), Some("no-key"));
    }
    assert!(proxy.metric("ringway_spilled_requests_total", &[]) < 0.5);
}

#[tokio::test]
async fn load_is_no_illness_so_that_keys_spill_whatever_on_down_says() {
    for policy in ["fail", "hold 1h"] {
        let mut stage = Stage::of(&["a", "b"]).await;
        let settings = format!("on-down = \"{policy}\"\nload-bound = {{ factor = 1.0, min-gap = 0 }}");
        let proxy = stage.setup().pool(&settings).start();
        let request = keyed(&key_of(&proxy, &["a"]));
        let at_owner = stage.open(proxy.connect().await, &request).await;
        let spilled = stage.open(proxy.connect().await, &request).await;
        assert_eq!((at_owner.arrival.node, spilled.arrival.node), ("a", "b"), "{policy}");
    }
}

#[tokio::test]
async fn what_none_has_room_for_goes_to_the_least_loaded_node() {
    let mut stage = Stage::of(&["a", "b"]).await;
    // Its share of the load is counted on, and it takes none.
    stage.nodes.push(Node::refusing("c"));
    let settings = "ejection = { failures = 0, failure-percent = 0 }\nload-bound = { factor = 1.0, min-gap = 0 }";
    let proxy = stage.setup().pool(settings).start();
    let request = keyed(&key_of(&proxy, &["c", "a", "b"]));
    let mut open = Vec::new();
    // The sixth finds both above their bound of two, `a` with three and `b` with two.
    for expected in ["a", "b", "a", "b", "a", "b"] {
        open.push(stage.open(proxy.connect().await, &request).await);
        assert_eq!(open.last().unwrap().arrival.node, expected, "request {}", open.len());
    }
    for request in open {
        assert_eq!(request.close().await.0.field("x-ringway-decision"), Some("failover"));
    }
}

fn waiting(proxy: &Proxy, count: u32) -> impl Future<Output = ()> {
    proxy.metric_is("ringway_waiting_requests", &[], f64::from(count))
}

#[tokio::test]
async fn a_request_waits_until_a_node_below_its_limit_has_room() {
    for workers in [1, 2] {
        let mut stage = Stage::of(&["a"]).await;
        let proxy = stage.setup().workers(workers).pool("max-inflight = 2\nqueue-timeout = \"1h\"").start();
        let mut open = Vec::new();
        for _ in 0..2 {
            open.push(stage.open(proxy.connect().await, &get("/", "")).await);
        }
        // New clients go to the worker that has fewest, so that with two of them others free what some wait for.
        let mut clients = Vec::new();
        for count in 1..=4 {
            let mut client = proxy.connect().await;
            client.write(get("/silent", "")).await;
            waiting(&proxy, count).await;
            clients.push(client);
        }
        assert!(stage.arrivals.try_recv().is_err(), "no more than two are at the node");
        for left in (0..4).rev() {
            open.remove(0).close().await;
            let arrival = stage.arrival().await;
            waiting(&proxy, left).await;
            assert!(stage.arrivals.try_recv().is_err(), "one went and one came");
            open.push(Open { client: clients.remove(0), arrival });
        }
        proxy.metric_is("ringway_held_requests_total", &[], 4.0).await;
    }
}

#[tokio::test]
async fn all_nodes_are_filled_before_a_request_waits() {
    let mut stage = Stage::of(&["a", "b"]).await;
    let proxy = stage.setup().pool("max-inflight = 1").start();
    let request = keyed(&key_of(&proxy, &["a"]));
    let at_owner = stage.open(proxy.connect().await, &request).await;
    let spilled = stage.open(proxy.connect().await, &request).await;
    assert_eq!((at_owner.arrival.node, spilled.arrival.node), ("a", "b"));
    let mut client = proxy.connect().await;
    client.write(&request).await;
    waiting(&proxy, 1).await;
    at_owner.close().await;
    let arrival = stage.arrival().await;
    assert_eq!(arrival.node, "a");
    let (served, _) = Open { client, arrival }.close().await;
    assert_eq!(served.field("x-ringway-decision"), Some("owner"), "whatever it was before it waited");
}

fn assert_no_room(reply: &Message) {
    assert_eq!(reply.status(), 503, "{reply:?}");
    assert_eq!(reply.field("retry-after"), Some("1"));
    assert_eq!(reply.field("proxy-status"), Some("ringway; error=connection_limit_reached"));
    assert_eq!(reply.field("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn a_request_that_waited_long_enough_is_told_to_come_again() {
    let mut stage = Stage::of(&["a"]).await;
    let proxy = stage.setup().pool("max-inflight = 1\nqueue-timeout = \"60ms\"").start();
    let first = stage.open(proxy.connect().await, &get("/", "")).await;
    assert_no_room(&proxy.ask(get("/", "")).await);
    waiting(&proxy, 0).await;
    let (_, client) = first.close().await;
    stage.open(client, &get("/", "")).await.close().await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let mut stage = Stage::of(&["a"]).await;
    let proxy = stage.setup().pool("max-inflight = 1\nmax-waiting = 1\nqueue-timeout = \"1h\"").start();
    let _first = stage.open(proxy.connect().await, &get("/", "")).await;
    let mut second = proxy.connect().await;
    second.write(get("/", "")).await;
    waiting(&proxy, 1).await;
    assert_no_room(&proxy.ask(get("/", "")).await);
}

#[tokio::test]
async fn clients_that_leave_leave_their_room_and_their_place_in_the_queue() {
    let mut stage = Stage::of(&["a"]).await;
    let proxy = stage.setup().pool("max-inflight = 1\nqueue-timeout = \"1h\"").start();
    let first = stage.open(proxy.connect().await, &get("/", "")).await;
    let (mut second, mut third) = (proxy.connect().await, proxy.connect().await);
    second.write(get("/", "")).await;
    waiting(&proxy, 1).await;
    third.write(get("/", "")).await;
    waiting(&proxy, 2).await;
    second.reset();
    waiting(&proxy, 1).await;
    first.client.reset();
    let arrival = stage.arrival().await;
    Open { client: third, arrival }.close().await;
}

/// A node that answers at once, and counts the connections that the proxy has open at every new one.
struct Counting {
    node: Node,
    most: Arc<AtomicUsize>,
}

impl Counting {
    async fn start() -> Counting {
        let most = Arc::<AtomicUsize>::default();
        let (front, counted) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::clone(&most));
        let mut node = Node::echo("a").await;
        let back = std::mem::replace(&mut node.address, front.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            let mut open: Vec<std::net::TcpStream> = Vec::new();
            while let Ok((stream, _)) = front.accept().await {
                let stream = stream.into_std().unwrap();
                // The end of a connection came before the beginning of the one that took its place.
                open.retain(|stream| !matches!(stream.peek(&mut [0]), Ok(0)));
                open.push(stream.try_clone().unwrap());
                counted.fetch_max(open.len(), SeqCst);
                tokio::spawn(relay(stream, back.clone()));
            }
        });
        Counting { node, most }
    }
}

async fn relay(client: std::net::TcpStream, back: String) {
    let mut client = TcpStream::from_std(client).unwrap();
    let mut node = TcpStream::connect(back).await.unwrap();
    // How it ends is the proxy's to say.
    drop(tokio::io::copy_bidirectional(&mut client, &mut node).await);
}

#[tokio::test]
async fn no_more_connections_are_open_than_may_be_and_no_client_starves() {
    let counting = Counting::start().await;
    let settings = "max-connections = 3\nqueue-timeout = \"1m\"";
    let proxy = Arc::new(Setup::of(&[&counting.node]).workers(2).pool(settings).start());
    let clients = (0..12).map(|_| {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            let mut client = proxy.connect().await;
            for number in 0..50 {
                let reply = client.ask(get("/", "")).await;
                assert_eq!(reply.status(), 200, "request {number}: {reply:?}");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let most = counting.most.load(SeqCst);
    println!("{} connections one after the other, at most {most} at once", counting.node.accepted());
    assert!((1..=3).contains(&most), "{most} connections");
}

#[tokio::test]
async fn one_worker_uses_its_connections_again_while_requests_wait() {
    let node = Node::echo("a").await;
    let proxy = Arc::new(Setup::of(&[&node]).pool("max-connections = 2\nqueue-timeout = \"1m\"").start());
    let clients = (0..8).map(|_| {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            let mut client = proxy.connect().await;
            for _ in 0..20 {
                assert_eq!(client.ask(get("/", "")).await.status(), 200);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(node.accepted(), 2);
}

#[tokio::test]
async fn a_worker_gives_up_an_idle_connection_that_another_needs() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).workers(2).pool("max-connections = 1\nqueue-timeout = \"1m\"").start();
    // The second client goes to the worker that has none yet.
    let (mut one, mut other) = (proxy.connect().await, proxy.connect().await);
    for round in 1..=2 {
        assert_eq!(one.ask(get("/", "")).await.status(), 200, "round {round}");
        assert_eq!(other.ask(get("/", "")).await.status(), 200, "round {round}");
    }
    assert_eq!(node.accepted(), 4, "each time the other had to give it up first");
}

#[tokio::test]
async fn a_node_out_of_connections_is_passed_over_like_any_full_one() {
    let mut stage = Stage::of(&["a", "b"]).await;
    let proxy = stage.setup().pool("max-connections = 1\non-down = \"fail\"").start();
    let request = keyed(&key_of(&proxy, &["a"]));
    let _at_owner = stage.open(proxy.connect().await, &request).await;
    let (spilled, _) = stage.open(proxy.connect().await, &request).await.close().await;
    assert_eq!(spilled.field("x-node"), Some("b"));
    assert_eq!(spilled.field("x-ringway-decision"), Some("spill"));
    assert!(proxy.metric("ringway_retries_total", &[]) < 0.5, "nothing failed");
}
