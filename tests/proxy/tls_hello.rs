//! How clients begin with TLS, and what becomes of those who do not, stall, or say something else.

use crate::harness::proxy::get;
use crate::harness::site::FAILURES;
use crate::harness::site::Site;
use crate::harness::tls;
use crate::harness::tls::Ca;
use crate::harness::tls_client;
use crate::harness::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn whoever_stalls_or_speaks_no_tls_is_closed_and_counted_while_others_are_served() {
    let site = Site::new("handshake-timeout = \"2s\"").await;
    let mut half = site.proxy.connect().await;
    half.write([22, 3, 1, 2, 0, 1, 0, 1]).await;
    let mut plain = site.proxy.connect().await;
    plain.write(get("/", "")).await;
    let (answer, _) = plain.rest().await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    site.is_failed("protocol").await;
    drop(site.proxy.connect().await);
    site.is_failed("closed").await;
    assert_eq!(site.ask_as(&site.client(None)).await, Ok(200));
    half.closed().await;
    site.is_failed("timeout").await;
    let untrusting = tls_client::client(&Ca::new(), None, &[]);
    assert!(tls::connect(site.proxy.address, &untrusting, "a.test").await.is_err());
    site.is_failed("alert").await;
    site.proxy.metric_is("ringway_connections", &[], 0.0).await;
    assert_eq!(site.node.requests().len(), 1, "nothing else came to a node");
}

#[tokio::test]
async fn dripping_does_not_lengthen_the_time_for_a_handshake() {
    let site = Site::new("handshake-timeout = \"1s\"").await;
    let mut client = site.proxy.connect().await;
    let record = [&[22, 3, 1, 16, 0, 1, 0, 15, 252][..], &[0; 64]].concat();
    let mut drip = record.chunks(1).cycle();
    while client.try_write(drip.next().unwrap()).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    site.is_failed("timeout").await;
}

/// Another protocol than TLS, or one that breaks its rules.
const REFUSED: &[(&str, &[u8])] = &[
    ("plain HTTP", b"GET / HTTP/1.1\r\n\r\n"),
    ("an empty record", &[22, 3, 1, 0, 0]),
    ("a record that is too long", &[22, 3, 1, 0x48, 0]),
    ("data", &[23, 3, 3, 0, 1, 0]),
    ("a ServerHello", &[22, 3, 3, 0, 4, 2, 0, 0, 0]),
    ("a message that is too long", &[22, 3, 1, 0, 4, 1, 1, 0, 0]),
    ("a hello of nothing", &[22, 3, 1, 0, 4, 1, 0, 0, 0]),
    ("data within a hello", &[22, 3, 1, 0, 1, 1, 23, 3, 3, 0, 1, 0]),
];

#[tokio::test]
async fn what_is_no_hello_is_refused_at_once() {
    let site = Site::new("").await;
    for (number, (what, bytes)) in REFUSED.iter().enumerate() {
        let mut client = site.proxy.connect().await;
        client.write(bytes).await;
        let (answer, _) = client.rest().await;
        // rustls says nothing of messages that are too long or torn.
        assert!(matches!(answer[..], [] | [21, 3, _, 0, 2, 2, _]), "{what}: {answer:?}");
        site.proxy.metric_is(FAILURES, &["reason=\"protocol\""], (number + 1) as f64).await;
    }
    site.proxy.metric_is(FAILURES, &[], REFUSED.len() as f64).await;
}

#[tokio::test]
async fn who_breaks_off_before_the_end_of_a_hello_gets_no_answer() {
    let site = Site::new("").await;
    for (number, begun) in [&[][..], &[22, 3], &[22, 3, 1, 2, 0, 1, 0, 1], &[22, 3, 1, 0, 1, 1]].iter().enumerate() {
        let mut client = site.proxy.connect().await;
        client.write(begun).await;
        client.finish().await;
        assert_eq!(client.rest().await.0, b"", "{begun:?}");
        site.proxy.metric_is(FAILURES, &["reason=\"closed\""], (number + 1) as f64).await;
    }
    let mut client = site.proxy.connect().await;
    client.write([21, 3, 3, 0, 2, 2, 40]).await;
    assert_eq!(client.rest().await.0, b"");
    site.is_failed("alert").await;
}

#[tokio::test]
async fn a_hello_may_come_byte_by_byte_and_in_many_records() {
    let site = Site::new("").await;
    let in_records = |hello: &[u8], size: usize| -> Vec<Vec<u8>> {
        let record = |piece: &[u8]| [&[22, 3, 1, 0, u8::try_from(piece.len()).unwrap()], piece].concat();
        hello[5..].chunks(size).map(record).collect()
    };
    let at_once = |pieces: Vec<Vec<u8>>| vec![pieces.concat()];
    for (what, cut) in [
        ("bytes", Box::new(|hello: &[u8]| hello.chunks(1).map(<[u8]>::to_vec).collect()) as Cut),
        ("small records", Box::new(|hello| in_records(hello, 1))),
        ("records at once", Box::new(|hello| at_once(in_records(hello, 100)))),
        ("many small records at once", Box::new(|hello| at_once(in_records(hello, 1)))),
    ] {
        let answer = within(what, ask_with_hello_cut(&site, cut)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{what}: {answer}");
    }
}

/// What becomes of a hello in one record.
type Cut<'a> = Box<dyn Fn(&[u8]) -> Vec<Vec<u8>> + 'a>;

/// The answer to a request of a client whose hello comes in these pieces.
async fn ask_with_hello_cut(site: &Site, cut: Cut<'_>) -> String {
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let mut proxy = TcpStream::connect(site.proxy.address).await.unwrap();
    proxy.set_nodelay(true).unwrap();
    let relay = async {
        let mut hello = vec![0; 4096];
        let length = near.read(&mut hello).await.unwrap();
        for piece in cut(&hello[..length]) {
            proxy.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(tokio::io::copy_bidirectional(&mut near, &mut proxy).await);
    };
    let request = async {
        let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
        let connector = TlsConnector::from(site.client(None));
        let mut stream = connector.connect(name, far).await.unwrap();
        stream.write_all(get("/", "Connection: close\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    tokio::join!(relay, request).1
}

#[tokio::test]
async fn the_oldest_handshake_makes_room_for_one_too_many() {
    let site = Site::new("max-handshakes = 2").await;
    let mut stalled = site.proxy.connect().await;
    site.proxy.metric_is("ringway_connections", &[], 1.0).await;
    let _second = site.proxy.connect().await;
    site.proxy.metric_is("ringway_connections", &[], 2.0).await;
    assert_eq!(site.ask_as(&site.client(None)).await, Ok(200));
    stalled.closed().await;
    site.is_failed("crowded").await;
}
