//! Load balancers that say who the client is, and those who would like to.

use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::tls::Ca;
use crate::harness::tls::Files;
use crate::harness::tls_client;
use crate::harness::wire::Wire;
use crate::harness::within;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const LISTEN: &str = "listen = [{ address = \"127.0.0.1:0\", proxy-protocol = [\"127.0.0.0/8\"] }]";
const FAILURES: &str = "ringway_proxy_protocol_failures_total";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x09\xc0\0\x02\x01\xdc\x04\0\x50\x04\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[tokio::test]
async fn the_client_is_who_the_balancer_says() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).server(LISTEN).start();
    for header in [V1, V2, LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut whole = proxy.connect().await;
        assert_eq!(whole.ask([header, get("/", "").as_bytes()].concat()).await.status(), 200);
        let mut dripping = proxy.connect().await;
        for byte in header {
            dripping.write([*byte]).await;
        }
        assert_eq!(dripping.ask(get("/", "")).await.status(), 200);
        assert_eq!(dripping.ask(get("/again", "")).await.status(), 200, "it is said once");
    }
    let seen: Vec<String> =
        node.requests().iter().map(|request| request.field("x-forwarded-for").unwrap().to_owned()).collect();
    let expected = ["192.0.2.7", "192.0.2.9", "127.0.0.1", "127.0.0.1"].map(|address| [address; 3]).concat();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn who_says_nothing_or_is_not_trusted_is_closed_and_counted() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).server(LISTEN).limits("head-timeout = \"1s\"").start();
    let malformed = [get("/", "").into_bytes(), [b"PROXY TCP4 ", &[b'1'; 200][..]].concat()];
    for bytes in [&malformed[0], &malformed[1], &V1[..20]] {
        let mut client = proxy.connect().await;
        client.write(bytes).await;
        let (rest, _) = client.rest().await;
        assert!(rest.is_empty(), "{:?}: {rest:?}", bytes.escape_ascii().to_string());
    }
    proxy.metric_is(FAILURES, &["reason=\"malformed\""], 2.0).await;
    proxy.metric_is(FAILURES, &["reason=\"timeout\""], 1.0).await;
    let mut client = proxy.connect().await;
    client.write(&V2[..20]).await;
    client.finish().await;
    proxy.metric_is(FAILURES, &["reason=\"closed\""], 1.0).await;
    let strict = Setup::of(&[&node]).server(&LISTEN.replace("127.0.0.0/8", "192.0.2.0/24")).start();
    let mut client = strict.connect().await;
    drop(client.try_write(V1).await);
    client.closed().await;
    strict.metric_is(FAILURES, &["reason=\"untrusted\""], 1.0).await;
    assert!(node.requests().is_empty());
}

#[tokio::test]
async fn clients_count_for_the_address_that_is_said_and_balancers_for_none() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).server(LISTEN).limits("max-connections-per-address = 1").start();
    let ask = |header: &[u8]| [header, get("/", "").as_bytes()].concat();
    let mut clients = Vec::new();
    // Two clients, and a balancer that speaks for itself as often as it likes.
    for header in [V1, V2, LOCAL, LOCAL] {
        let mut client = proxy.connect().await;
        assert_eq!(client.ask(ask(header)).await.status(), 200);
        clients.push(client);
    }
    let mut again = proxy.connect().await;
    again.write(ask(V1)).await;
    assert!(again.rest().await.0.is_empty());
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"max-connections-per-address\""], 1.0).await;
    drop(clients);
    proxy.metric_is("ringway_connections", &[], 0.0).await;
    assert_eq!(proxy.ask(ask(V1)).await.status(), 200);
}

#[tokio::test]
async fn it_is_said_before_tls() {
    let (node, files, ca) = (Node::echo("a").await, Files::new(), Ca::new());
    let certificate = files.identity("site", &ca.issue(&["a.test"]));
    let listen = LISTEN.replace("proxy-protocol", "tls = true, proxy-protocol");
    let proxy = Setup::of(&[&node]).server(&listen).server("[[tls.certificate]]").server(&certificate).start();
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(V1).await.unwrap();
    let connector = TlsConnector::from(tls_client::client(&ca, None, &[]));
    let name = ServerName::try_from("a.test").unwrap();
    let mut client = Wire::encrypted(within("a handshake", connector.connect(name, stream)).await.unwrap());
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
    assert_eq!(node.request().field("x-forwarded-for"), Some("192.0.2.7"));
}

#[tokio::test]
async fn a_reload_counts_for_new_connections() {
    let node = Node::echo("a").await;
    let (plain, introduced) = (Setup::of(&[&node]), Setup::of(&[&node]).server(LISTEN));
    let proxy = plain.clone().start();
    let mut before = proxy.connect().await;
    assert_eq!(before.ask(get("/", "")).await.status(), 200);
    proxy.reload(introduced).await;
    assert_eq!(before.ask(get("/", "")).await.status(), 200);
    let mut after = proxy.connect().await;
    assert_eq!(after.ask([V1, get("/", "").as_bytes()].concat()).await.status(), 200);
    assert_eq!(node.requests().last().unwrap().field("x-forwarded-for"), Some("192.0.2.7"));
    let mut silent = proxy.connect().await;
    silent.write(get("/", "")).await;
    silent.closed().await;
    proxy.reload(plain).await;
    assert_eq!(after.ask(get("/", "")).await.status(), 200);
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
}
