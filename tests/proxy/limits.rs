//! What one client may take, and how the clients are spread over the workers.

use crate::frames;
use crate::frames::frame;
use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::Wire;
use crate::harness::within;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::Semaphore;

#[tokio::test]
async fn heads_and_targets_have_a_size() {
    let node = Node::echo("a").await;
    let limits = "max-headers = 20\nmax-header-bytes = \"16KiB\"\nmax-target-bytes = \"1KiB\"";
    let proxy = Setup::of(&[&node]).limits(limits).start();
    let fields = |count: usize| (0..count).map(|number| format!("X-{number}: x\r\n")).collect::<String>();
    for (request, status) in [
        // Host is one of them.
        (get("/", &fields(19)), 200),
        (get("/", &fields(20)), 431),
        (get("/", &fields(1_000)), 431),
        (get("/", &format!("X-Long: {}\r\n", "x".repeat(8 << 10))), 200),
        (get("/", &format!("X-Long: {}\r\n", "x".repeat(32 << 10))), 431),
        (get(&format!("/{}", "x".repeat(1_023)), ""), 200),
        (get(&format!("/{}", "x".repeat(1_024)), ""), 414),
        (get(&format!("/?{}", "x".repeat(2_000)), ""), 414),
    ] {
        let reply = proxy.ask(&request).await;
        assert_eq!(reply.status(), status, "{} bytes: {}...", request.len(), &request[..30]);
    }
    assert_eq!(node.requests().len(), 3);
}

#[tokio::test]
async fn heads_of_http2_have_a_size_too() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).limits("max-headers = 20\nmax-target-bytes = \"1KiB\"").start();
    let mut client = proxy.connect_h2().await;
    let mut crumbs = h2::get("http://a.test/");
    for number in 0..25 {
        crumbs.headers_mut().append("cookie", format!("c{number}=1").parse().unwrap());
    }
    assert_eq!(client.ask(crumbs).await.head.status, 431);
    let long = h2::get(&format!("http://a.test/{}", "x".repeat(1_024)));
    assert_eq!(client.ask(long).await.head.status, 414);
    // Less than HTTP/1 allows.
    let mut large = h2::get("http://a.test/");
    large.headers_mut().insert("x-large", "x".repeat(20 << 10).parse().unwrap());
    assert_eq!(client.ask(large).await.head.status, 431);
    assert_eq!(client.ask(h2::get("http://a.test/")).await.head.status, 200);
}

#[tokio::test]
async fn heads_of_http2_may_be_as_large_as_the_config_says() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).limits("max-header-list-bytes = \"8KiB\"").start();
    let mut client = proxy.connect_h2().await;
    for (bytes, status) in [(7 << 10, 200), (9 << 10, 431)] {
        let mut large = h2::get("http://a.test/");
        large.headers_mut().insert("x-large", "x".repeat(bytes).parse().unwrap());
        assert_eq!(client.ask(large).await.head.status, status, "{bytes} bytes");
    }
}

#[tokio::test]
async fn extensions_of_chunks_may_be_as_long_as_the_config_says() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).limits("max-chunk-extension-bytes = \"8B\"").start();
    for (extension, status) in [(";a=2345", 200), (";a=23456789", 400)] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let reply = proxy.ask(format!("{head}5{extension}\r\nhello\r\n0\r\n\r\n")).await;
        assert_eq!(reply.status(), status, "{extension}");
    }
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"max-chunk-extension-bytes\""], 1.0).await;
}

#[tokio::test]
async fn clients_beyond_the_limit_wait_their_turn() {
    for workers in [1, 4] {
        let node = Node::echo("a").await;
        let proxy = Setup::of(&[&node]).limits("max-connections = 2").workers(workers).start();
        let (mut first, mut second) = (proxy.connect().await, proxy.connect().await);
        assert_eq!(first.ask(get("/", "")).await.status(), 200);
        assert_eq!(second.ask(get("/", "")).await.status(), 200);
        let mut waiting = Vec::new();
        for _ in 0..6 {
            let mut client = proxy.connect().await;
            client.write(get("/", "Connection: close\r\n")).await;
            waiting.push(client);
        }
        // Neither is ever idle.
        for _ in 0..10 {
            assert_eq!(first.ask(get("/", "")).await.status(), 200);
            assert_eq!(second.ask(get("/", "")).await.status(), 200);
        }
        let open = proxy.metric("ringway_connections", &[]);
        assert!((open - 2.0).abs() < 0.5, "{open} of 2 with {workers} workers");
        assert_eq!(node.requests().len(), 22, "those that wait have not been served");
        drop(first);
        for mut client in waiting {
            assert_eq!(client.response(true).await.status(), 200);
        }
        drop(second);
        proxy.metric_is("ringway_connections", &[], 0.0).await;
    }
}

#[tokio::test]
async fn a_client_that_is_idle_leaves_when_others_wait() {
    let node = Node::echo("a").await;
    for workers in [1, 4] {
        let proxy = Setup::of(&[&node]).limits("max-connections = 2\nidle-timeout = \"1h\"").workers(workers).start();
        let (mut busy, mut idle) = (proxy.connect().await, proxy.connect().await);
        assert_eq!(idle.ask(get("/", "")).await.status(), 200);
        busy.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\no").await;
        proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
        assert_eq!(proxy.ask(get("/", "")).await.status(), 200, "with {workers} workers");
        idle.closed().await;
        busy.write("k").await;
        assert_eq!(busy.response(true).await.text(), "ok", "with {workers} workers");
    }
}

#[tokio::test]
async fn a_client_of_http2_sends_no_more_ahead_than_its_windows() {
    const STREAM: u32 = 64 << 10;
    const STREAMS: u32 = 16;
    const FLOW_CONTROL_ERROR: [u8; 4] = [0, 0, 0, 3];
    // Nobody asks for a body while its request waits for a connection.
    let node = Node::deaf("a").await;
    let proxy = Setup::of(&[&node]).pool("timeouts = { connect = \"1m\" }").start();
    let post: [(&[u8], &[u8]); 4] =
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")];
    let head = |number: u32| frames::headers(2 * number + 1, frames::END_HEADERS, &post);
    let body = |number: u32| frame(frames::DATA, 0, 2 * number + 1, &[b'x'; 16 << 10]).repeat(4);
    let one_more = |number: u32| frame(frames::DATA, 0, 2 * number + 1, b"x");
    for streams in [1, STREAMS] {
        let mut client = proxy.connect().await;
        client.write(frames::preface(&[])).await;
        let connection = (frames::WINDOW_UPDATE, 0, (STREAMS * STREAM - 65_535).to_be_bytes().to_vec());
        assert!(told(&mut client).await.contains(&connection));
        let whole = (0..streams).map(|number| [head(number), body(number)].concat());
        client.write([vec![settings_ack()], whole.collect()].concat().concat()).await;
        let more = told(&mut client).await.into_iter().filter(|(kind, ..)| *kind == frames::WINDOW_UPDATE);
        assert_eq!(more.collect::<Vec<_>>(), [], "of {streams} streams nothing was read");
        // One stream is full; or all of the connection is, while the next stream is not.
        let next = if streams == 1 { one_more(0) } else { [head(streams), one_more(streams)].concat() };
        client.write(next).await;
        let is_refusal = |frame: &frames::Frame<'_>| match frame.kind {
            frames::RST_STREAM => streams == 1 && frame.payload == FLOW_CONTROL_ERROR,
            frames::GOAWAY => streams > 1 && frame.payload[4..8] == FLOW_CONTROL_ERROR,
            _ => false,
        };
        let mut came = Vec::new();
        while !frames::frames(&came).iter().any(is_refusal) {
            came.extend(client.piece().await.unwrap_or_else(|| panic!("{came:?} after a byte too many")));
        }
    }
}

/// Takes note of the settings: they hold from then on (RFC 9113 section 6.5.3).
fn settings_ack() -> Vec<u8> {
    frame(frames::SETTINGS, frames::ACK, 0, &[])
}

/// What the proxy says, frame by frame: its kind, its stream and its content.
async fn told(client: &mut Wire) -> Vec<(u8, u32, Vec<u8>)> {
    let mut came = Vec::new();
    // The answer to a PING comes before what is said of windows at the same time, so that it takes another one.
    for answers in 1..=2 {
        client.write(frame(frames::PING, 0, 0, &[0; 8])).await;
        while frames::frames(&came).iter().filter(|frame| frame.kind == frames::PING).count() < answers {
            came.extend(client.piece().await.unwrap_or_else(|| panic!("the end after {came:?}")));
        }
    }
    frames::frames(&came).iter().map(|frame| (frame.kind, frame.stream, frame.payload.to_vec())).collect()
}

#[tokio::test]
async fn an_address_has_so_many_connections_over_all_workers() {
    let node = Node::echo("a").await;
    let limits = "max-connections-per-address = 2";
    let proxy = Setup::of(&[&node]).limits(limits).workers(4).start();
    let (mut first, mut second) = (proxy.connect().await, proxy.connect().await);
    assert_eq!(first.ask(get("/", "")).await.status(), 200);
    assert_eq!(second.ask(get("/", "")).await.status(), 200);
    proxy.connect().await.closed().await;
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"max-connections-per-address\""], 1.0).await;
    drop(first);
    proxy.metric_is("ringway_connections", &[], 1.0).await;
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    // A balancer has as many as it likes.
    let proxy = Setup::of(&[&node]).limits(limits).server("trusted-proxies = [\"127.0.0.0/8\"]").start();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = proxy.connect().await;
        assert_eq!(client.ask(get("/", "")).await.status(), 200);
        clients.push(client);
    }
}

#[tokio::test]
async fn a_client_that_drips_its_head_is_cut() {
    let node = Node::echo("a").await;
    let limits = "head-timeout = \"300ms\"\nidle-timeout = \"1h\"";
    let proxy = Setup::of(&[&node]).limits(limits).start();
    // A first head, half of one, and one that follows a request.
    for begun in ["G", "GET / HTTP/1.1\r\nHost: a\r\nX-S"] {
        let mut client = proxy.connect().await;
        client.write(begun).await;
        within("it is cut", drip(&mut client)).await;
    }
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
    client.write("GET / HTTP/1.1\r\nHost: a\r\nX-S").await;
    within("it is cut", drip(&mut client)).await;
    assert_eq!(node.requests().len(), 1);
}

/// Writes a byte at a time, with hardly a pause, for as long as they are taken.
async fn drip(client: &mut Wire) {
    while client.try_write(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_head_that_was_begun_behind_another_request_has_no_more_time() {
    let node = Node::echo("a").await;
    let limits = "head-timeout = \"50ms\"\nidle-timeout = \"1h\"";
    let proxy = Setup::of(&[&node]).limits(limits).start();
    let mut client = proxy.connect().await;
    // Both arrive in one segment; nothing more comes.
    client.write(get("/", "") + "GET /second HTTP/1.1\r\nHos").await;
    assert_eq!(client.response(true).await.status(), 200);
    client.closed().await;
}

#[tokio::test]
async fn a_head_of_http2_that_never_ends_is_cut_whatever_else_is_open() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.rest().await;
    })
    .await;
    let limits = "head-timeout = \"50ms\"\nidle-timeout = \"1h\"";
    let proxy = Setup::of(&[&node]).limits(limits).start();
    let request = frames::request(3, b"GET", b"/");
    let unended = frames::headers(3, frames::END_STREAM, &[(b":method", b"GET")]);
    let continued = [&unended[..], &frame(frames::CONTINUATION, 0, 3, &[])].concat();
    let ping = frame(frames::PING, 0, 0, &[0; 8]);
    let begun: [(&str, &[u8]); 5] = [
        ("half the head of a frame", &request[..5]),
        ("half a frame", &request[..request.len() / 2]),
        ("a head without its end", &unended),
        ("a head that goes on and has no end", &continued),
        ("half a PING", &ping[..12]),
    ];
    let mut clients = Vec::new();
    for (what, bytes) in begun {
        for open in [Vec::new(), frames::request(1, b"GET", b"/hang")] {
            let mut client = proxy.connect().await;
            client.write([&frames::preface(&[])[..], &open, bytes].concat()).await;
            clients.push((what, client));
        }
    }
    let cut = clients.len() as f64;
    for (what, mut client) in clients {
        within(what, client.rest()).await;
    }
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"head-timeout\""], cut).await;
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
}

#[tokio::test]
async fn a_frame_of_a_body_in_http2_may_take_longer_than_a_head() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).limits("idle-timeout = \"1ms\"\nhead-timeout = \"1ms\"").start();
    let mut client = proxy.connect().await;
    let post: [(&[u8], &[u8]); 4] =
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")];
    let body = frame(frames::DATA, frames::END_STREAM, 1, b"hello");
    let head = [frames::preface(&[]), frames::headers(1, frames::END_HEADERS, &post)].concat();
    client.write([&head, &body[..11]].concat()).await;
    eventually("the request is at the node", || node.accepted() == 1).await;
    // The sweep that lets this one go has seen the other one too.
    proxy.connect().await.closed().await;
    client.write(&body[11..]).await;
    eventually("the whole body is at the node", || node.requests().len() == 1).await;
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"head-timeout\""], 0.0).await;
}

#[tokio::test]
async fn idle_clients_are_let_go() {
    let node = Node::echo("a").await;
    let limits = "idle-timeout = \"1s\"\nhead-timeout = \"1h\"";
    let proxy = Setup::of(&[&node]).limits(limits).start();
    let mut silent = proxy.connect().await;
    let mut served = proxy.connect().await;
    let mut served_h2 = proxy.connect_h2().await;
    assert_eq!(served.ask(get("/", "")).await.status(), 200);
    assert_eq!(served_h2.ask(h2::get("http://a.test/")).await.head.status, 200);
    silent.closed().await;
    served.closed().await;
    served_h2.closed().await;
    proxy.metric_is("ringway_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_client_with_an_open_request_is_not_idle() {
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let node = Node::script("a", move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            wire.request().await;
            gate.acquire().await.unwrap().forget();
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("idle-timeout = \"1ms\"\nhead-timeout = \"1ms\"").start();
    let mut busy = proxy.connect().await;
    busy.write(get("/", "")).await;
    eventually("the request is at the node", || node.accepted() == 1).await;
    // The sweep that lets this one go has seen the other one too.
    proxy.connect().await.closed().await;
    release.add_permits(1);
    assert_eq!(busy.response(true).await.text(), "ok");
}

#[tokio::test]
async fn an_http2_client_has_so_many_streams_at_a_time() {
    let release = Arc::new(Semaphore::new(0));
    let (gate, at_node) = (Arc::clone(&release), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&at_node);
    let node = Node::script("a", move |mut wire| {
        let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
        async move {
            while wire.try_request().await.is_some() {
                count.fetch_add(1, SeqCst);
                gate.acquire().await.unwrap().forget();
                count.fetch_sub(1, SeqCst);
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("max-streams = 3").start();
    let mut client = proxy.connect_h2().await;
    // The limit is known to the client once it has had a response.
    release.add_permits(1);
    assert_eq!(client.ask(h2::get("http://a.test/")).await.body, b"ok");
    let streams: Vec<_> = (0..12).map(|_| client.begin(h2::get("http://a.test/"))).collect();
    eventually("three are open", || at_node.load(SeqCst) == 3).await;
    for _ in 0..12 {
        assert!(at_node.load(SeqCst) <= 3);
        release.add_permits(1);
    }
    for stream in streams {
        let response = within("a response", stream).await.unwrap().unwrap();
        assert_eq!(h2::read(response).await.unwrap().body, b"ok");
    }
    assert!(node.accepted() <= 4, "{} connections to the node", node.accepted());
}

#[tokio::test]
async fn few_long_connections_spread_evenly_over_the_workers() {
    const WORKERS: usize = 8;
    const CLIENTS: usize = 64;
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).workers(WORKERS).start();
    // All at once, which is when a worker that wakes first could take them all.
    let connecting: Vec<_> = (0..CLIENTS).map(|_| std::net::TcpStream::connect(proxy.address).unwrap()).collect();
    proxy.metric_is("ringway_connections", &[], CLIENTS as f64).await;
    let open: Vec<i64> = (0..WORKERS).map(|worker| proxy.stats.stripes.of(worker).connections.get()).collect();
    let most = open.iter().copied().max().unwrap();
    assert!(most * 4 <= 5 * (CLIENTS / WORKERS) as i64, "a worker is above 1.25 times the mean: {open:?}");
    drop(connecting);
    proxy.metric_is("ringway_connections", &[], 0.0).await;
}

#[tokio::test]
async fn what_begins_as_no_http_is_refused_at_once() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    for begun in
        ["\u{16}\u{3}\u{1}\u{2}", "HELO a.test\r\n", "GET /\r\n", "GET / HTTP/3.0\r\n", "GET / HTTP/1.1\r\nx\n"]
    {
        let mut client = proxy.connect().await;
        client.write(begun).await;
        assert_eq!(client.head().await.status(), 400, "{begun:?}");
        client.closed().await;
    }
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"head-timeout\""], 0.0).await;
}
