//! A resolver that fails in every way and then answers otherwise: no request fails, and no key moves.

use crate::harness::client::Client;
use crate::harness::names::Names;
use crate::harness::names::Reply;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until;
use crate::harness::wait::until_true;
use serde_json::Value;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const BEFORE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const AFTER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Requests that are sent while the resolver fails in one way.
const REQUESTS: u32 = 20;

#[test]
fn a_name_that_fails_or_changes_costs_no_request_and_moves_no_key() {
    let story = Story::begin("names");
    let port = until("a port is free on both addresses", || {
        let port = serve(TcpListener::bind((BEFORE, 0)).unwrap());
        TcpListener::bind((AFTER, port)).ok().map(serve)
    });
    let names = Names::serve(Reply::Addresses(vec![BEFORE]));
    let pool = format!(
        "resolve = {{ every = \"100ms\" }}\ninitial-nodes = [{{ name = \"named\", address = \"node.test:{port}\" }}, \
         {{ name = \"other\", address = \"{BEFORE}:{port}\" }}]"
    );
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), &pool));
    let mut proxy = Ringway::serve_by(&story, &mut names.command(&story, &config));
    let (mut client, mut operator) = (proxy.client(), proxy.operator());
    let mut keys = (0..1000).map(|number| format!("key-{number}"));
    let is_of_named = |key: &String| operator.get(&format!("/v1/pools/rooms/locate?key={key}"))["owner"] == "named";
    let key = keys.find(is_of_named).unwrap();
    let before = placement(&operator.pool());
    assert_served_at(&mut client, &key, BEFORE);

    for reply in [Reply::Code(2), Reply::Code(3), Reply::Addresses(Vec::new()), Reply::Silence] {
        names.set(reply.clone());
        let failures = operator.metric("ringway_resolve_failures_total", "node=\"named\"");
        until_true("the name has failed twice", || {
            operator.metric("ringway_resolve_failures_total", "node=\"named\"") >= failures + 2.0
        });
        let begun = Instant::now();
        (0..REQUESTS).for_each(|_| assert_served_at(&mut client, &key, BEFORE));
        let took = begun.elapsed();
        story.figure(&format!("{REQUESTS} requests on new connections to the node in {took:?} during {reply:?}"));
        // The resolver gives up after a second: had one request in two waited for that, this would take longer.
        assert!(took < Duration::from_secs(u64::from(REQUESTS) / 2), "{reply:?}: {took:?}");
    }
    let told = proxy.process.log().matches("does not resolve").count();
    assert_eq!(told, 1, "it is told when it begins, not every time");

    names.set(Reply::Addresses(vec![AFTER]));
    proxy.process.wait_for_log("leads elsewhere now");
    (0..REQUESTS).for_each(|_| assert_served_at(&mut client, &key, AFTER));
    assert_eq!(placement(&operator.pool()), before, "no key has moved");
}

/// What stays as it is when no key moves.
fn placement(pool: &Value) -> [Value; 3] {
    ["epoch", "fingerprint", "routes"].map(|field| pool[field].clone())
}

/// The key is served by its node, which is at `address`.
fn assert_served_at(client: &mut Client, key: &str, address: Ipv4Addr) {
    let answer = client.get(&format!("/?k={key}"), &[]).unwrap();
    let served = (answer.status, answer.header("x-ringway-node"), answer.text());
    assert_eq!(served, (200, "named", address.to_string()));
}

/// Answers the first request of every connection with the address that it came to, and closes; returns the port.
fn serve(listener: TcpListener) -> u16 {
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut bytes = [0; 1024];
                let count = stream.read(&mut bytes).unwrap();
                assert!(count > 0, "the connection ended within the request head");
                head.extend_from_slice(&bytes[..count]);
            }
            let body = stream.local_addr().unwrap().ip().to_string();
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}
