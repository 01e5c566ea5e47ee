//! Nodes that are spoken to in TLS: who they must prove to be, and that nothing reaches those who do not.

use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::tls;
use crate::harness::tls::Ca;
use crate::harness::tls::Files;
use crate::harness::wire::Wire;
use tokio_rustls::TlsAcceptor;

/// `tls` of a pool that trusts the CA in `ca.pem`, with further settings.
fn trusting(files: &Files, settings: &str) -> String {
    format!("tls = {{ ca = \"{}\"{settings} }}", files.path("ca.pem"))
}

fn files_of(ca: &Ca) -> Files {
    let files = Files::new();
    files.write("ca.pem", &ca.certificate.pem());
    files
}

#[tokio::test]
async fn a_node_is_who_its_certificate_says_by_address_or_by_name() {
    let ca = Ca::new();
    let files = files_of(&ca);
    for (certificate, settings) in [("127.0.0.1", ""), ("app.internal", ", name = \"app.internal\"")] {
        let node = Node::echo_in("a", tls::server(&ca.issue(&[certificate]), None)).await;
        let proxy = Setup::of(&[&node]).pool(&trusting(&files, settings)).start();
        let mut client = proxy.connect().await;
        for _ in 0..3 {
            assert_eq!(client.ask(get("/", "")).await.status(), 200, "{certificate}");
        }
        assert_eq!((node.requests().len(), node.accepted()), (3, 1), "{certificate}: the connection is kept");
    }
}

#[tokio::test]
async fn nothing_reaches_a_node_that_does_not_prove_who_it_is() {
    let ca = Ca::new();
    let files = files_of(&ca);
    let (right, stranger) = (ca.issue(&["127.0.0.1"]), Ca::new().issue(&["127.0.0.1"]));
    let talkative = Node::script("d", |mut wire| async move {
        // An answer before the handshake is none.
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        drop(wire.rest().await);
    });
    for (node, settings, status, error) in [
        (Node::echo_in("a", tls::server(&stranger, None)).await, "", 502, "tls_certificate_error"),
        (
            Node::echo_in("b", tls::server(&right, None)).await,
            ", name = \"other.internal\"",
            502,
            "tls_certificate_error",
        ),
        // It waits for the end of what it takes for a line.
        (Node::echo("c").await, "", 504, "connection_timeout"),
        (talkative.await, "", 502, "tls_protocol_error"),
    ] {
        let patience = if status == 504 { "100ms" } else { "10s" };
        let timeouts = format!("timeouts = {{ connect = \"{patience}\" }}");
        let proxy = Setup::of(&[&node]).pool(&trusting(&files, settings)).pool(&timeouts).start();
        let answer = proxy.ask(get("/", "")).await;
        assert_eq!(answer.status(), status, "{}", node.name);
        let expected = format!("ringway; error={error}; next-hop=\"{}\"", node.name);
        assert_eq!(answer.field("proxy-status"), Some(expected.as_str()), "{}", node.name);
        assert!(node.requests().is_empty(), "{}", node.name);
    }
}

#[tokio::test]
async fn a_node_that_asks_is_shown_a_certificate() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let files = files_of(&ca);
    files.identity("me", &clients.issue(&["ringway"]));
    let settings = format!(", certificate = \"{}\", key = \"{}\"", files.path("me.pem"), files.path("me.key"));
    let node = Node::echo_in("a", tls::server(&ca.issue(&["127.0.0.1"]), Some(&clients))).await;
    for (settings, status) in [(settings.as_str(), 200), ("", 502)] {
        let proxy = Setup::of(&[&node]).pool(&trusting(&files, settings)).start();
        assert_eq!(proxy.ask(get("/", "")).await.status(), status, "{settings}");
    }
    assert_eq!(node.requests().len(), 1);
}

/// Answers with a body that goes on until the connection ends, which anybody on the way can bring about; says that in
/// TLS, or not.
async fn cut_short(acceptor: TlsAcceptor, wire: Wire, says_so: bool) {
    let mut wire = Wire::encrypted(acceptor.accept(wire.into_tcp()).await.unwrap());
    wire.head().await;
    wire.write("HTTP/1.1 200 OK\r\n\r\npart").await;
    if says_so {
        wire.finish().await;
    }
}

#[tokio::test]
async fn the_end_of_a_body_is_believed_only_if_the_node_said_it_in_tls() {
    let ca = Ca::new();
    let files = files_of(&ca);
    for says_so in [true, false] {
        let acceptor = tls::server(&ca.issue(&["127.0.0.1"]), None);
        let node = Node::script("a", move |wire| cut_short(acceptor.clone(), wire, says_so)).await;
        let proxy = Setup::of(&[&node]).pool(&trusting(&files, "")).start();
        let mut client = proxy.connect().await;
        client.write(get("/", "Connection: close\r\n")).await;
        assert_eq!(client.head().await.status(), 200);
        let (body, _) = client.rest().await;
        let expected = if says_so { "4\r\npart\r\n0\r\n\r\n" } else { "4\r\npart\r\n" };
        assert_eq!(String::from_utf8_lossy(&body), expected, "the node says so: {says_so}");
    }
}

#[tokio::test]
async fn a_reload_counts_for_kept_connections_too_and_a_wrong_file_changes_nothing() {
    let ca = Ca::new();
    let files = files_of(&ca);
    let node = Node::echo_in("a", tls::server(&ca.issue(&["127.0.0.1"]), None)).await;
    let setup = || Setup::of(&[&node]).pool(&trusting(&files, ""));
    let proxy = setup().start();
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    proxy.reload(setup()).await;
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    assert_eq!(node.accepted(), 1, "nothing has changed");
    for wrong in ["", "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n"] {
        files.write("ca.pem", wrong);
        let error = proxy.try_reload(setup()).await.unwrap_err();
        assert!(error.starts_with("the CA `"), "{error}");
        assert_eq!(proxy.ask(get("/", "")).await.status(), 200, "{error}");
    }
    files.write("ca.pem", &Ca::new().certificate.pem());
    proxy.reload(setup()).await;
    assert_eq!(proxy.ask(get("/", "")).await.status(), 502, "whoever was trusted is no more");
    assert_eq!(node.requests().len(), 4);
}

#[tokio::test]
async fn checks_go_by_the_same_certificates() {
    let ca = Ca::new();
    let files = files_of(&ca);
    let well = Node::echo_in("a", tls::server(&ca.issue(&["127.0.0.1"]), None)).await;
    let stranger = Node::echo_in("b", tls::server(&Ca::new().issue(&["127.0.0.1"]), None)).await;
    for check in ["tcp = true", "path = \"/healthz\""] {
        let health = format!("health = {{ {check}, every = \"20ms\", doubtful-every = \"20ms\" }}");
        let setup = Setup::of(&[&well, &stranger]).pool(&trusting(&files, "")).pool(&health);
        let proxy = setup.start();
        proxy.metric_is("ringway_node_up", &["node=\"b\""], 0.0).await;
        proxy.metric_is("ringway_node_up", &["node=\"a\""], 1.0).await;
    }
}
