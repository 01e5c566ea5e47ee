//! Nodes that speak HTTP/2: many requests over few connections, each as fast as its client takes it, and gRPC.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::post;
use crate::harness::tls;
use crate::harness::tls::Ca;
use crate::harness::tls::Files;
use crate::harness::within;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// What a node was asked, head by head.
pub(crate) type Heads = Arc<Mutex<Vec<http::request::Parts>>>;

/// Answers like an echo of gRPC: the body as it comes, then trailers.
async fn echo(request: Request<Incoming>, heads: Heads) -> Result<Response<Channel<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let content_type = head.headers.get("content-type").cloned();
    heads.lock().unwrap().push(head);
    let (mut sender, channel) = Channel::new(1);
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(piece) = frame.into_data() else { continue };
            if sender.send_data(piece).await.is_err() {
                return;
            }
        }
        let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        drop(sender.send_trailers(status).await);
    });
    let mut response = Response::new(channel);
    response.headers_mut().extend(content_type.map(|value| (http::header::CONTENT_TYPE, value)));
    Ok(response)
}

/// Serves one connection so.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, heads: Heads, max_streams: u32) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(max_streams);
    let service = service_fn(move |request| echo(request, Arc::clone(&heads)));
    // How it ends is for the story to see.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

async fn serve_encrypted(stream: TcpStream, tls: TlsAcceptor, heads: Heads) {
    if let Ok(stream) = tls.accept(stream).await {
        serve(stream, heads, 100).await;
    }
}

/// A node that echoes over HTTP/2 with prior knowledge, with so many streams on each connection.
pub(crate) async fn echoing(name: &'static str, max_streams: u32) -> (Node, Heads) {
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    (Node::script(name, move |wire| serve(wire.into_tcp(), Arc::clone(&seen), max_streams)).await, heads)
}

const H2: &str = "protocol = \"h2\"";

#[tokio::test]
async fn requests_share_a_connection_and_lose_what_is_of_http_1() {
    let (node, heads) = echoing("a", 100).await;
    let proxy = Setup::of(&[&node]).pool(H2).start();
    let mut client = proxy.connect().await;
    for _ in 0..3 {
        let fields = "TE: trailers\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-One: 1\r\n";
        assert_eq!(client.ask(get("/a?b=c", fields)).await.status(), 200);
    }
    let answer = client.ask(post("/", "", "hello")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    assert_eq!(node.accepted(), 1);
    let heads = heads.lock().unwrap();
    let head = &heads[0];
    assert_eq!((head.uri.to_string().as_str(), head.version), ("http://a.test/a?b=c", http::Version::HTTP_2));
    assert_eq!(head.headers.get("te").unwrap(), "trailers");
    for gone in ["host", "connection", "upgrade", "transfer-encoding"] {
        assert!(!head.headers.contains_key(gone), "{gone}: {head:?}");
    }
    assert_eq!(heads[3].headers.get("content-length").unwrap(), "5");
}

#[tokio::test]
async fn a_call_of_grpc_goes_through_whichever_side_streams() {
    let (node, heads) = echoing("a", 100).await;
    let proxy = Setup::of(&[&node]).pool(H2).start();
    let mut client = proxy.connect_h2().await;
    let call = |body| {
        let request = Request::post("http://a.test/echo.Echo/Call").header("content-type", "application/grpc");
        request.header("te", "trailers").body(body).unwrap()
    };
    let (feed, body) = Piped::new();
    let response = client.begin(call(body));
    // Each message is answered before the next one is sent.
    assert!(feed.send("1").await);
    let mut response = response.await.unwrap().unwrap();
    assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "1");
    for message in ["2", "3"] {
        assert!(feed.send(message).await);
        assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), message);
    }
    drop(feed);
    let trailers = response.body_mut().frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    let unary = client.ask(call(Piped::empty())).await;
    assert_eq!((unary.head.status.as_u16(), unary.trailers.get("grpc-status").unwrap().as_bytes()), (200, &b"0"[..]));
    assert_eq!(heads.lock().unwrap()[0].headers.get("te").unwrap(), "trailers");
}

#[tokio::test]
async fn an_error_of_the_proxy_is_a_status_of_grpc_to_those_who_speak_that() {
    let node = Node::refusing("a");
    let proxy = Setup::of(&[&node]).pool(H2).start();
    let request = Request::post("http://a.test/echo.Echo/Call").header("content-type", "application/grpc");
    let response = proxy.connect_h2().await.ask(request.body(Piped::empty()).unwrap()).await;
    assert_eq!((response.head.status.as_u16(), response.head.headers["grpc-status"].as_bytes()), (200, &b"14"[..]));
    assert_eq!(response.head.headers["content-type"], "application/grpc");
    assert_eq!(response.head.headers["grpc-message"], "could not connect to a: connection refused");
}

#[tokio::test]
async fn a_connection_has_no_more_streams_than_its_node_allows() {
    let (node, heads) = echoing("a", 2).await;
    let proxy = Setup::of(&[&node]).pool(H2).start();
    let client = proxy.connect_h2().await;
    // The first one tells how many there may be.
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    let mut open = Vec::new();
    for number in 0..5 {
        let (feed, body) = Piped::new();
        let response = client.begin(Request::post("http://a.test/").body(body).unwrap());
        assert!(feed.send("x").await);
        let response = response.await.unwrap().unwrap_or_else(|error| panic!("{number}: {error}"));
        open.push((feed, response));
    }
    assert_eq!((heads.lock().unwrap().len(), node.accepted()), (6, 3));
}

#[tokio::test]
async fn a_response_waits_in_its_node_for_a_client_that_does_not_take_it() {
    let sent = Arc::new(AtomicUsize::new(0));
    let node = flooding(&sent).await;
    let proxy = Setup::of(&[&node]).pool(H2).start();
    let mut client = proxy.connect_h2().await;
    let response = client.send(h2::get("http://a.test/flood")).await.unwrap();
    eventually("the node begins", || sent.load(SeqCst) > 0).await;
    let before = stands_still(&sent).await;
    assert!(before < 8 << 20, "{before} of 64 MiB have left the node");
    assert_eq!(h2::read(response).await.unwrap().body.len(), 64 << 20);
}

#[tokio::test]
async fn clients_that_take_nothing_hold_up_nobody_else_on_the_connection() {
    let sent = Arc::new(AtomicUsize::new(0));
    let node = flooding(&sent).await;
    let proxy = Setup::of(&[&node]).pool(H2).start();
    let mut stalled = proxy.connect_h2_with_window(16 << 10).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(stalled.send(h2::get("http://a.test/flood")).await.unwrap());
    }
    stands_still(&sent).await;
    let answer = proxy.connect_h2().await.ask(h2::get("http://a.test/")).await;
    assert_eq!((answer.body.len(), node.accepted()), (16 << 10, 1));
}

#[tokio::test]
async fn requests_that_wait_for_a_connection_share_its_failure() {
    let node = Node::deaf("a").await;
    let settings = format!("{H2}\ntimeouts = {{ connect = \"1s\" }}\non-down = \"fail\"\nmax-attempts = 1");
    let proxy = Setup::of(&[&node]).pool(&settings).start();
    let client = proxy.connect_h2().await;
    // One after the other they would take half a minute.
    let asked: Vec<_> = (0..30).map(|_| client.begin(h2::get("http://a.test/"))).collect();
    within("all are answered", async {
        for answer in asked {
            let answer = answer.await.unwrap().unwrap();
            assert!(answer.status().is_server_error(), "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_gives_up_a_connection_that_another_needs() {
    let (node, _) = echoing("a", 100).await;
    let settings = format!("{H2}\nmax-connections = 1\nqueue-timeout = \"1m\"");
    let proxy = Setup::of(&[&node]).workers(2).pool(&settings).start();
    // The second client goes to the worker that has none yet.
    let (mut one, mut other) = (proxy.connect_h2().await, proxy.connect_h2().await);
    for round in 1..=2 {
        assert_eq!(one.ask(h2::get("http://a.test/")).await.head.status, 200, "round {round}");
        assert_eq!(other.ask(h2::get("http://a.test/")).await.head.status, 200, "round {round}");
    }
    assert_eq!(node.accepted(), 4, "each time the other had to give it up first");
}

#[tokio::test]
async fn a_worker_gives_up_a_connection_that_is_never_idle_too() {
    let (node, _) = echoing("a", 100).await;
    let settings = format!("{H2}\nmax-connections = 1\nqueue-timeout = \"1m\"");
    let proxy = Setup::of(&[&node]).workers(2).pool(&settings).start();
    let (one, mut other) = (proxy.connect_h2().await, proxy.connect_h2().await);
    let mut open = Vec::new();
    let waiting = async {
        assert_eq!(other.ask(h2::get("http://a.test/")).await.head.status, 200);
    };
    let steady = async {
        // Before one ends the next has begun, or waits for a connection.
        loop {
            let (feed, body) = Piped::new();
            open.push((feed, one.begin(Request::post("http://a.test/").body(body).unwrap())));
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if open.len() > 2 {
                drop(open.remove(0).0);
            }
        }
    };
    tokio::select! {
        () = within("the other worker gets a connection", waiting) => {}
        () = steady => {}
    }
}

#[tokio::test]
async fn the_node_gets_the_authority_that_the_client_named_or_nobody_does() {
    let (node, heads) = echoing("a", 100).await;
    let proxy = Setup::of(&[&node]).pool(H2).start();
    let hosts = ["a", "a.b:80", "[::1]", "[::ffff:1.2.3.4]:80", "a-._~!$&'()*+;=", "a%41", "%", "a%zz:80"];
    for host in hosts {
        let answer = proxy.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let authority = heads.lock().unwrap().pop().map(|head| head.uri.authority().unwrap().to_string());
        let expected = if host.contains('%') { (400, None) } else { (200, Some(host.to_owned())) };
        assert_eq!((answer.status(), authority), expected, "{host}");
    }
    let answer = proxy.ask("GET / HTTP/1.1\r\nHost:\r\n\r\n").await;
    let authority = heads.lock().unwrap().pop().unwrap().uri.authority().unwrap().to_string();
    assert_eq!((answer.status(), authority), (200, node.address.clone()), "of a client that named none");
}

#[tokio::test]
async fn http_2_in_tls_has_to_be_agreed_on() {
    let ca = Ca::new();
    let files = Files::new();
    files.write("ca.pem", &ca.certificate.pem());
    let settings = format!("{H2}\ntls = {{ ca = \"{}\" }}", files.path("ca.pem"));
    let health = "health = { path = \"/\", every = \"20ms\" }";
    for (protocols, status) in [(&["h2"][..], 200), (&["http/1.1"], 502), (&[], 502)] {
        let heads = Heads::default();
        let acceptor = with_alpn(&tls::server(&ca.issue(&["127.0.0.1"]), None), protocols);
        let node =
            Node::script("a", move |wire| serve_encrypted(wire.into_tcp(), acceptor.clone(), Arc::clone(&heads))).await;
        let proxy = Setup::of(&[&node]).pool(&settings).pool(health).start();
        assert_eq!(proxy.ask(get("/", "")).await.status(), status, "{protocols:?}");
        proxy.metric_is("ringway_node_up", &[], if status == 200 { 1.0 } else { 0.0 }).await;
    }
}

#[tokio::test]
async fn checks_speak_http_2_too() {
    let (node, heads) = echoing("a", 100).await;
    let proxy = Setup::of(&[&node]).pool(H2).pool("health = { path = \"/healthz\", every = \"20ms\" }").start();
    eventually("checks come", || heads.lock().unwrap().len() > 2).await;
    proxy.metric_is("ringway_node_up", &[], 1.0).await;
    let heads = heads.lock().unwrap();
    assert_eq!(heads[0].uri.path(), "/healthz", "{heads:?}");
}

/// A node that floods whoever asks for `/flood`, counting what leaves, and answers all others shortly.
async fn flooding(sent: &Arc<AtomicUsize>) -> Node {
    let sent = Arc::clone(sent);
    Node::script("a", move |wire| {
        let sent = Arc::clone(&sent);
        let service = service_fn(move |request: Request<Incoming>| {
            let pieces = if request.uri().path() == "/flood" { 4096 } else { 1 };
            flood(Arc::clone(&sent), pieces)
        });
        let stream = TokioIo::new(wire.into_tcp());
        async move { drop(http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await) }
    })
    .await
}

/// Waits until the node sends no more, because all windows are full; returns how much it has sent.
async fn stands_still(sent: &AtomicUsize) -> usize {
    let mut before = 0;
    while std::mem::replace(&mut before, sent.load(SeqCst)) != sent.load(SeqCst) {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    before
}

/// So many pieces of 16 KiB, counted as they leave.
async fn flood(sent: Arc<AtomicUsize>, pieces: usize) -> Result<Response<Channel<Bytes>>, Infallible> {
    let (mut sender, channel) = Channel::new(1);
    tokio::spawn(async move {
        for _ in 0..pieces {
            let piece = Bytes::from_static(&[0; 16 << 10]);
            if sender.send_data(piece).await.is_err() {
                return;
            }
            sent.fetch_add(16 << 10, SeqCst);
        }
    });
    Ok(Response::new(channel))
}

fn with_alpn(acceptor: &TlsAcceptor, protocols: &[&str]) -> TlsAcceptor {
    let mut config = rustls::ServerConfig::clone(acceptor.config());
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
