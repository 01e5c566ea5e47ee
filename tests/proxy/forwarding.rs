//! What a proxy owes both sides under RFC 9110 and RFC 9112: what it strips, adds, checks and leaves alone.

use crate::harness::h2;
use crate::harness::h2::Piped;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::post;
use http::Request;
use ringway::cluster::membership::Change;

/// A node that gives every request the same bytes.
async fn replying(reply: &'static str) -> Node {
    Node::script("a", move |mut wire| async move {
        while wire.try_request().await.is_some() {
            wire.write(reply).await;
        }
    })
    .await
}

#[tokio::test]
async fn fields_of_one_connection_stop_here_on_the_way_to_the_node() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let fields = "Connection: keep-alive, X-Hop\r\nConnection: x-other\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
                  X-Other: 2\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nX-End: 3\r\n";
    proxy.ask(get("/", fields)).await;
    let request = node.request();
    for gone in ["connection", "keep-alive", "x-hop", "x-other", "proxy-connection", "te"] {
        assert_eq!(request.head.all(gone), Vec::<&str>::new(), "{gone}");
    }
    assert_eq!(request.field("x-end"), Some("3"));
}

#[tokio::test]
async fn fields_of_one_connection_stop_here_on_the_way_back() {
    let node = replying(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 3\r\n\
         Content-Length: 0\r\n\r\n",
    )
    .await;
    let proxy = Setup::of(&[&node]).start();
    let reply = proxy.ask(get("/", "")).await;
    for gone in ["connection", "keep-alive", "x-hop"] {
        assert_eq!(reply.field(gone), None, "{gone}");
    }
    assert_eq!(reply.field("x-end"), Some("3"));
}

#[tokio::test]
async fn connection_cannot_take_framing_host_or_forwarding_fields_away() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let fields = "Connection: Host, Content-Length, X-Forwarded-For, Via\r\n";
    assert_eq!(proxy.ask(post("/", fields, "hello")).await.text(), "hello");
    let request = node.request();
    assert_eq!(request.field("host"), Some("a.test"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("via"), Some("1.1 ringway-0000000000000000"));
}

#[tokio::test]
async fn via_is_appended_in_both_directions() {
    let node = replying("HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Setup::of(&[&node]).start();
    assert_eq!(proxy.ask(get("/", "")).await.head.all("via"), ["1.1 inner", "1.1 ringway-0000000000000000"]);
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    proxy.ask(get("/", "Via: 1.0 outer\r\n")).await;
    assert_eq!(node.request().head.all("via"), ["1.0 outer", "1.1 ringway-0000000000000000"]);
}

#[tokio::test]
async fn forwarding_fields_of_strangers_are_replaced_and_those_of_trusted_proxies_continued() {
    let node = Node::echo("a").await;
    let setup = Setup::of(&[&node]);
    let (strict, trusting) = (setup.clone().start(), setup.server("trusted-proxies = [\"127.0.0.1\"]").start());
    let others = ["x-forwarded-port", "forwarded", "x-real-ip"];
    let fields = "X-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\n";
    let fields = format!("{fields}X-Forwarded-Port: 443\r\nForwarded: for=10.1.1.1\r\nX-Real-IP: 10.1.1.1\r\n");
    let request = get("/", &fields);
    strict.ask(&request).await;
    trusting.ask(&request).await;
    let seen: Vec<_> = node.requests();
    let told = |index: usize| {
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| seen[index].field(name).unwrap())
    };
    assert_eq!(told(0), ["127.0.0.1", "http", "a.test"]);
    assert_eq!(others.map(|name| seen[0].field(name)), [None; 3]);
    assert_eq!(told(1), ["10.1.1.1, 127.0.0.1", "https", "shop.test"]);
    assert_eq!(others.map(|name| seen[1].field(name)), ["443", "for=10.1.1.1", "10.1.1.1"].map(Some));
}

#[tokio::test]
async fn host_is_passed_on_unless_the_pool_has_its_own() {
    let node = Node::echo("a").await;
    let setup = Setup::of(&[&node]);
    let (plain, own) = (setup.clone().start(), setup.pool("host = \"app.internal:81\"").start());
    let request = "GET / HTTP/1.1\r\nHost: Shop.Test:8080\r\n\r\n";
    plain.ask(request).await;
    own.ask(request).await;
    let hosts: Vec<_> = node.requests().iter().map(|request| request.field("host").unwrap().to_owned()).collect();
    assert_eq!(hosts, ["shop.test:8080", "app.internal:81"]);
    assert_eq!(node.requests()[1].field("x-forwarded-host"), Some("shop.test:8080"));
}

#[tokio::test]
async fn an_absolute_target_overrides_host() {
    let (node, other) = (Node::echo("a").await, Node::echo("other").await);
    let other_pool = "name = \"b\"\nkey = \"path\"\nmatch = { host = \"b.test\" }";
    let proxy = Setup::of(&[&node]).another_pool(other_pool, &[&other]).start();
    let reply = proxy.ask("GET http://b.test/x?y=1 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(reply.field("x-node"), Some("other"));
    let request = other.request();
    assert_eq!((request.head.target(), request.field("host")), ("/x?y=1", Some("b.test")));
}

#[tokio::test]
async fn a_key_of_the_host_field_is_what_the_node_gets() {
    let (a, b) = (Node::echo("a").await, Node::echo("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("key = \"header:host\"").start();
    let mut client = proxy.connect_h2().await;
    for number in 0..16 {
        let host = format!("h{number}.test");
        let by_host = proxy.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let by_target = proxy.ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let by_authority = client.ask(h2::get(&format!("http://{host}/"))).await;
        let nodes = [by_host.field("x-node"), by_target.field("x-node")];
        let third = by_authority.head.headers.get("x-node").and_then(|node| node.to_str().ok());
        assert_eq!(nodes, [third; 2], "{host}");
    }
}

#[tokio::test]
async fn names_with_underscores_go_no_further_unless_they_are_wanted() {
    let node = Node::echo("a").await;
    let setup = Setup::of(&[&node]);
    let request = get("/", "X_User: eve\r\nX-User: ann\r\nX_Forwarded_For: 10.1.1.1\r\n");
    for (policy, status, seen) in [("drop", 200, None), ("pass", 200, Some("eve")), ("reject", 400, None)] {
        let proxy = setup.clone().server(&format!("underscore-headers = \"{policy}\"")).start();
        let count = node.requests().len();
        assert_eq!(proxy.ask(&request).await.status(), status, "{policy}");
        for passed in &node.requests()[count..] {
            let fields = ["x-user", "x_user", "x_forwarded_for"].map(|name| passed.field(name));
            assert_eq!(fields, [Some("ann"), seen, None], "{policy}");
        }
    }
}

#[tokio::test]
async fn connect_is_told_what_is_allowed_and_an_old_expectation_goes_no_further() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let refused = proxy.ask("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").await;
    assert_eq!((refused.status(), refused.field("allow").is_some()), (405, true), "{refused:?}");
    proxy.ask("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi").await;
    let request = node.request();
    assert_eq!(request.field("expect"), None, "{request:?}");
}

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a[::1]\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a?x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a#x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400),
        ("GET http://b/x HTTP/1.1\r\n\r\n", 400),
        ("GET ftp://b/x HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, \u{e9}, x-a\r\n\r\n", 400),
        ("GET admin HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    ] {
        let mut client = proxy.connect().await;
        let reply = client.ask(request).await;
        assert_eq!(reply.status(), status, "{request:?}: {}", reply.text());
        if status != 405 {
            client.closed().await;
        }
    }
    assert_eq!(node.accepted(), 0);
}

#[tokio::test]
async fn options_of_the_whole_server_is_passed_on() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    assert_eq!(proxy.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
    assert_eq!(node.request().head.line, "OPTIONS * HTTP/1.1");
}

#[tokio::test]
async fn escapes_and_dots_of_a_target_are_nobody_elses_to_change() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let target = "/a/../b//%2e%2E/%0d%0a;x=1?q=%zz&&r";
    proxy.ask(get(target, "")).await;
    assert_eq!(node.request().head.target(), target);
}

#[tokio::test]
async fn date_and_server_of_the_node_arrive_as_they_were() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let node = replying(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: node/1\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let proxy = Setup::of(&[&node]).start();
    let reply = proxy.ask(get("/", "")).await;
    assert_eq!((reply.field("date"), reply.field("server")), (Some(date), Some("node/1")));
}

#[tokio::test]
async fn te_trailers_is_kept_and_other_codings_are_not() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    proxy.ask(get("/", "TE: gzip;q=0.5, trailers\r\nConnection: TE\r\n")).await;
    assert_eq!(node.request().field("te"), Some("trailers"));
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_ignored() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(proxy.ask(get("/", fields)).await.status(), 200);
    let request = node.request();
    for gone in ["connection", "upgrade", "http2-settings"] {
        assert_eq!(request.field(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn a_node_that_switches_protocols_unasked_gets_nobody_a_tunnel() {
    let node = replying("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let proxy = Setup::of(&[&node]).start();
    let reply = proxy.ask(get("/", "")).await;
    assert_eq!(reply.status(), 502);
    assert_eq!(reply.field("proxy-status"), Some("ringway; error=http_protocol_error; next-hop=\"a\""));
}

#[tokio::test]
async fn http_1_0_clients_get_what_they_can_read() {
    let node = Node::script("a", |mut wire| async move {
        while wire.try_request().await.is_some() {
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    // Neither Host nor chunks are known to HTTP/1.0: the end of the connection is the end of the body.
    let reply = proxy.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((reply.status(), reply.field("transfer-encoding"), reply.text().as_str()), (200, None, "hello"));
}

#[tokio::test]
async fn a_response_in_http_1_0_is_passed_on_in_the_version_of_this_proxy() {
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        let reply = client.ask(get("/", "")).await;
        assert_eq!((reply.head.line.as_str(), reply.text().as_str()), ("HTTP/1.1 200 OK", "until the end"));
        assert_eq!(reply.field("via"), Some("1.0 ringway-0000000000000000"));
    }
}

#[tokio::test]
async fn an_interim_response_does_not_stand_for_the_final_one() {
    let node =
        replying("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = Setup::of(&[&node]).start();
    let reply = proxy.ask(get("/", "")).await;
    assert_eq!((reply.status(), reply.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn cookie_crumbs_of_http2_reach_the_node_as_one_field() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let request = Request::get("http://a.test/x").header("cookie", "a=1").header("cookie", "b=2");
    let reply = proxy.connect_h2().await.ask(request.body(Piped::empty()).unwrap()).await;
    assert_eq!(reply.head.status, 200);
    let request = node.request();
    assert_eq!(request.field("cookie"), Some("a=1; b=2"));
    assert_eq!(request.head.line, "GET /x HTTP/1.1");
    assert_eq!((request.field("host"), request.field("via")), (Some("a.test"), Some("2.0 ringway-0000000000000000")));
}

#[tokio::test]
async fn an_authority_that_host_contradicts_is_refused() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect_h2().await;
    let request = |host: &str| Request::get("http://a.test/").header("host", host).body(Piped::empty()).unwrap();
    assert_eq!(client.ask(request("b.test")).await.head.status, 400);
    assert_eq!(client.ask(request("a.test")).await.head.status, 200);
    assert_eq!(client.ask(h2::get("http://a.test/")).await.head.status, 200);
    assert_eq!(node.requests().len(), 2);
}

#[tokio::test]
async fn what_http2_may_not_carry_is_refused() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect_h2().await;
    let padded = |value: &str| Request::get("http://a.test/").header("x-key", value).body(Piped::empty()).unwrap();
    for (request, status) in [
        (padded(" a"), 400),
        (padded("a\t"), 400),
        (padded("a b"), 200),
        (h2::get("https://a.test/"), 200),
        (h2::get("ftp://a.test/"), 400),
    ] {
        let asked = format!("{request:?}");
        assert_eq!(client.ask(request).await.head.status, status, "{asked}");
    }
    assert_eq!(node.requests().len(), 2);
}

#[tokio::test]
async fn a_request_that_was_here_before_goes_no_further() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    for via in ["1.1 ringway-0000000000000000", "1.0 outer, 1.1 ringway-0000000000000000 (x),2 other"] {
        let reply = proxy.ask(post("/", &format!("Via: {via}\r\n"), "hello")).await;
        let expected = (508, Some("ringway; error=proxy_loop_detected"), Some("close"));
        assert_eq!((reply.status(), reply.field("proxy-status"), reply.field("connection")), expected, "{via}");
    }
    assert_eq!(node.accepted(), 0);
    assert_eq!(proxy.metric("ringway_requests_total", &["code=\"5xx\""]), 2.0);
}

#[tokio::test]
async fn one_ringway_may_stand_behind_another_but_not_in_a_circle() {
    let mut refusing = Node::refusing("a");
    let inner = Setup::of(&[&refusing]).instance(1).start();
    let mut behind = Node::refusing("a");
    behind.address = inner.address.to_string();
    let outer = Setup::of(&[&behind]).instance(2).start();
    let end = Node::echo("end").await;
    let name = || "a".to_owned().try_into().unwrap();
    inner.change(Change::Address { name: name(), address: end.address.parse().unwrap() }).await;
    assert_eq!(outer.ask(get("/", "")).await.status(), 200);
    let names = ["1.1 ringway-0000000000000002", "1.1 ringway-0000000000000001"];
    assert_eq!(end.request().head.all("via"), names);

    refusing.address = outer.address.to_string();
    inner.change(Change::Address { name: name(), address: refusing.address.parse().unwrap() }).await;
    assert_eq!(outer.ask(get("/", "")).await.status(), 508);
}
