//! Clients that speak TLS: what they are shown, what they must show, and what they are served.

use crate::harness::h2;
use crate::harness::h2::H2;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::site::FAILURES;
use crate::harness::site::Site;
use crate::harness::site::certificates;
use crate::harness::site::setup;
use crate::harness::tls;
use crate::harness::tls::Ca;
use crate::harness::tls::Files;
use crate::harness::tls_client;
use crate::harness::wire::End;
use crate::harness::wire::Wire;
use crate::harness::within;
use rustls::ClientConfig;
use rustls::HandshakeKind;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const HANDSHAKES: &str = "ringway_tls_handshakes_total";

/// The leaf that a client was shown.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn the_handshake_settles_which_http_is_spoken() {
    let site = Site::new("").await;
    let both = tls_client::client(&site.ca, None, &["h2", "http/1.1"]);
    let stream = tls::connect(site.proxy.address, &both, "a.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let response = H2::over(stream, None).await.ask(h2::get("https://a.test/two")).await;
    assert_eq!(response.head.status, 200);
    for protocols in [&["http/1.1"][..], &[]] {
        let client = tls_client::client(&site.ca, None, protocols);
        let mut client = Wire::encrypted(tls::connect(site.proxy.address, &client, "a.test").await.unwrap());
        assert_eq!(client.ask(get("/one", "")).await.status(), 200, "{protocols:?}");
        assert_eq!(client.ask(get("/again", "")).await.status(), 200, "{protocols:?}");
    }
    for request in site.node.requests() {
        assert_eq!(request.field("x-forwarded-proto"), Some("https"), "{:?}", request.head);
    }
    site.proxy.metric_is(HANDSHAKES, &[], 3.0).await;
}

#[tokio::test]
async fn http2_is_not_spoken_unless_the_handshake_says_so() {
    let site = Site::new("").await;
    let mut client = site.connect().await;
    client.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.closed().await;
    assert!(site.node.requests().is_empty());
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_all_others_the_first() {
    let (node, files, ca) = (Node::echo("a").await, Files::new(), Ca::new());
    let issued = [&["first.test"][..], &["b.test", "*.b.test"], &["x.b.test"]].map(|names| ca.issue(names));
    let named: Vec<String> = issued.iter().zip(["0", "1", "2"]).map(|(one, name)| files.identity(name, one)).collect();
    let settings = certificates(&named.iter().map(String::as_str).collect::<Vec<_>>());
    let proxy = setup(&[&node], &settings).start();
    let anyone = tls_client::client(&ca, None, &[]);
    for (name, expected) in [("first.test", 0), ("b.test", 1), ("B.Test", 1), ("y.b.test", 1), ("x.b.test", 2)] {
        let stream = tls::connect(proxy.address, &anyone, name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let pem = issued[expected].certificate.as_bytes();
        let leaf: rustls::pki_types::CertificateDer<'_> =
            rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap();
        assert_eq!(shown(&stream), leaf.to_vec(), "{name}");
    }
    for name in ["other.test", "a.y.b.test", "127.0.0.1"] {
        let error = tls::connect(proxy.address, &anyone, name).await.unwrap_err().to_string();
        assert!(error.contains("first.test"), "{name}: the first certificate is not for it: {error}");
    }
}

#[tokio::test]
async fn clients_without_a_certificate_of_the_ca_are_turned_away() {
    let clients = Ca::new();
    for (auth, without) in [("required", Err("certificate required")), ("optional", Ok(200))] {
        let (node, files, ca) = (Node::echo("a").await, Files::new(), Ca::new());
        files.write("clients.pem", &clients.certificate.pem());
        let certificate = files.identity("site", &ca.issue(&["a.test"]));
        let clients_pem = files.path("clients.pem");
        let tls = format!("client-ca = \"{clients_pem}\"\nclient-auth = \"{auth}\"\n{}", certificates(&[&certificate]));
        let proxy = setup(&[&node], &tls).start();
        let site = Site { node, proxy, files, ca, settings: tls };
        assert_eq!(site.ask_as(&site.client(Some(&clients.issue(&["c"])))).await, Ok(200), "{auth}");
        let stranger = site.ask_as(&site.client(Some(&Ca::new().issue(&["c"])))).await.unwrap_err();
        assert!(stranger.contains("UnknownCA") || stranger.contains("DecryptError"), "{auth}: {stranger}");
        match without {
            Ok(status) => assert_eq!(site.ask_as(&site.client(None)).await, Ok(status), "{auth}"),
            Err(_) => {
                let nobody = site.ask_as(&site.client(None)).await.unwrap_err();
                assert!(nobody.contains("CertificateRequired"), "{nobody}");
            }
        }
        let refused = if without.is_ok() { 1.0 } else { 2.0 };
        site.proxy.metric_is(FAILURES, &["reason=\"certificate\""], refused).await;
    }
}

#[tokio::test]
async fn sessions_are_resumed_until_something_changes_and_never_with_client_certificates() {
    let clients = Ca::new();
    let site = Site::new("").await;
    let identity = clients.issue(&["c"]);
    let client = site.client(Some(&identity));
    let kind = async |client: &Arc<ClientConfig>| {
        let mut stream = tls::connect(site.proxy.address, client, "a.test").await.unwrap();
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        // Tickets come behind the handshake.
        stream.write_all(get("/", "Connection: close\r\n").as_bytes()).await.unwrap();
        within("an answer", stream.read_to_end(&mut Vec::new())).await.unwrap();
        kind
    };
    assert_eq!(kind(&client).await, HandshakeKind::Full);
    assert_eq!(kind(&client).await, HandshakeKind::Resumed);
    site.proxy.reload(site.setup()).await;
    assert_eq!(kind(&client).await, HandshakeKind::Resumed, "nothing has changed");
    site.files.write("clients.pem", &clients.certificate.pem());
    let asking = format!("client-ca = \"{}\"\n{}", site.files.path("clients.pem"), site.settings);
    site.proxy.reload(setup(&[&site.node], &asking)).await;
    assert_eq!(kind(&client).await, HandshakeKind::Full, "a ticket of before vouches for nobody");
    assert_eq!(kind(&client).await, HandshakeKind::Full, "who has shown a certificate shows it again");
    site.files.write("clients.pem", &Ca::new().certificate.pem());
    site.proxy.reload(setup(&[&site.node], &asking)).await;
    assert!(site.ask_as(&client).await.is_err(), "the CA is another one");
}

#[tokio::test]
async fn a_certificate_is_renewed_under_load_without_a_failure() {
    let site = Site::new("").await;
    let mut kept = site.connect().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let load = (0..4).map(|_| {
        let (client, address, is_over) = (site.client(None), site.proxy.address, Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut served = 0;
            while !is_over.load(Relaxed) {
                let stream = tls::connect(address, &client, "a.test").await.expect("a handshake");
                let mut client = Wire::encrypted(stream);
                assert_eq!(client.ask(get("/", "")).await.status(), 200);
                assert_eq!(client.ask(get("/again", "")).await.status(), 200);
                served += 2;
            }
            served
        })
    });
    let load: Vec<_> = load.collect();
    for _ in 0..20 {
        site.files.identity("site", &site.ca.issue(&["a.test"]));
        site.proxy.reload(site.setup()).await;
        assert_eq!(kept.ask(get("/", "")).await.status(), 200, "an open connection goes on");
    }
    let last = site.ca.issue(&["a.test"]);
    site.files.identity("site", &last);
    site.proxy.reload(site.setup()).await;
    let stream = tls::connect(site.proxy.address, &site.client(None), "a.test").await.unwrap();
    let leaf: rustls::pki_types::CertificateDer<'_> =
        rustls::pki_types::pem::PemObject::from_pem_slice(last.certificate.as_bytes()).unwrap();
    assert_eq!(shown(&stream), leaf.to_vec(), "the last one is in force");
    is_over.store(true, Relaxed);
    for load in load {
        assert!(load.await.expect("no request fails") > 0);
    }
}

#[tokio::test]
async fn a_reload_turns_tls_on_and_off_for_new_connections() {
    let site = Site::new("").await;
    let plain = Setup::of(&[&site.node]);
    let mut in_tls = site.connect().await;
    assert_eq!(in_tls.ask(get("/", "")).await.status(), 200);
    site.proxy.reload(plain).await;
    let mut in_clear = site.proxy.connect().await;
    assert_eq!(in_clear.ask(get("/", "")).await.status(), 200);
    assert_eq!(site.node.requests().last().unwrap().field("x-forwarded-proto"), Some("http"));
    site.proxy.reload(site.setup()).await;
    assert_eq!(site.ask_as(&site.client(None)).await, Ok(200));
    // Those of before go on as they began.
    for (client, proto) in [(&mut in_tls, "https"), (&mut in_clear, "http")] {
        assert_eq!(client.ask(get("/", "")).await.status(), 200, "{proto}");
        assert_eq!(site.node.requests().last().unwrap().field("x-forwarded-proto"), Some(proto));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing_and_are_named() {
    let site = Site::new("").await;
    let other = site.ca.issue(&["a.test"]);
    let good = site.ca.issue(&["a.test"]);
    let ca_settings = format!("client-ca = \"{}\"\n{}", site.files.path("ca.pem"), site.settings);
    let reload = async |settings: &str| site.proxy.try_reload(setup(&[&site.node], settings)).await;
    for (file, text, expected) in [
        ("site.key", other.key.as_str(), "site.key` is not that of the certificate `"),
        ("site.key", "", "site.key` has no private key that is not encrypted;"),
        ("site.key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n", "site.key` has no private key"),
        ("site.key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "site.key` is of no kind"),
        ("site.pem", "", "site.pem` has no certificate; one begins with"),
        ("site.pem", "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n", "site.pem` is invalid: "),
        ("ca.pem", "", "the CA `"),
        (
            "ca.pem",
            "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n",
            "ca.pem` has a certificate that",
        ),
    ] {
        site.files.identity("site", &good);
        site.files.write("ca.pem", &site.ca.certificate.pem());
        site.files.write(file, text);
        let error = reload(&ca_settings).await.unwrap_err();
        assert!(error.contains(expected) && !error.contains("c2VjcmV0"), "{file} {text:?}: {error}");
        assert_eq!(site.ask_as(&site.client(None)).await, Ok(200), "what was in force goes on: {error}");
    }
    site.files.identity("site", &good);
    site.files.remove("ca.pem");
    let error = reload(&ca_settings).await.unwrap_err();
    assert!(error.contains("ca.pem` cannot be read: No such file"), "{error}");
    assert_eq!(reload(&site.settings).await, Ok(()));
}

#[tokio::test]
async fn a_websocket_goes_through() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        while let Some(bytes) = wire.piece().await {
            wire.write(&bytes).await;
        }
        wire.write("bye").await;
        wire.finish().await;
    })
    .await;
    let (files, ca) = (Files::new(), Ca::new());
    let settings = certificates(&[&files.identity("site", &ca.issue(&["a.test"]))]);
    let proxy = setup(&[&node], &settings).start();
    let site = Site { node, proxy, files, ca, settings };
    let mut client = site.connect().await;
    client.write(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).await;
    assert_eq!(client.head().await.status(), 101);
    for number in 0..100 {
        let frame = format!("frame {number}");
        client.write(&frame).await;
        assert_eq!(client.exactly(frame.len()).await, frame.as_bytes());
    }
    client.finish().await;
    assert_eq!(client.rest().await, (b"bye".to_vec(), End::Closed), "the other half stays open");
}

#[tokio::test]
async fn the_end_of_a_response_is_said_and_a_cut_is_not() {
    for (is_cut, expected) in [(false, End::Closed), (true, End::Reset)] {
        let node = Node::script("a", move |mut wire| async move {
            wire.head().await;
            let length = if is_cut { "Content-Length: 9\r\n" } else { "" };
            wire.write(format!("HTTP/1.1 200 OK\r\n{length}\r\npart")).await;
        })
        .await;
        let (files, ca) = (Files::new(), Ca::new());
        let settings = certificates(&[&files.identity("site", &ca.issue(&["a.test"]))]);
        let proxy = setup(&[&node], &settings).start();
        let site = Site { node, proxy, files, ca, settings };
        let mut client = site.connect().await;
        client.write("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.rest().await, (b"part".to_vec(), expected), "cut: {is_cut}");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_although_tls_takes_everything() {
    let node = Node::script("a", |mut wire| async move {
        while wire.try_request().await.is_some() {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n";
            wire.write([&head[..], &[b'x'; 40_000]].concat()).await;
        }
    })
    .await;
    let (files, ca) = (Files::new(), Ca::new());
    let settings = certificates(&[&files.identity("site", &ca.issue(&["a.test"]))]);
    let proxy = setup(&[&node], &settings).limits("write-timeout = \"300ms\"").start();
    let site = Site { node, proxy, files, ca, settings };
    let mut stream = tls::connect(site.proxy.address, &site.client(None), "a.test").await.unwrap();
    // More than the sockets hold, one response at a time.
    while let Ok(written) = tokio::time::timeout(STALL, stream.write_all(get("/", "").repeat(50).as_bytes())).await {
        if written.is_err() {
            break;
        }
    }
    site.proxy.metric_is("ringway_connections", &[], 0.0).await;
}

/// Longer than anything takes while the proxy reads.
const STALL: std::time::Duration = std::time::Duration::from_secs(2);
