//! Hostile clients and hostile nodes on the wire: each row of the table is sent byte by byte, and judged by what its
//! client got and by the raw bytes that the node got.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

#[path = "../support/frames.rs"]
mod frames;
#[allow(dead_code, reason = "the data plane's own stories use all of it")]
#[path = "../proxy/harness/mod.rs"]
mod harness;
mod suite;

use crate::harness::proxy::Setup;
use crate::suite::finding::Grade;
use crate::suite::node::Node;
use crate::suite::report::tallies;
use crate::suite::row::Row;
use crate::suite::rows;
use crate::suite::run::Outcome;
use crate::suite::run::Proxy;
use crate::suite::run::run;
use std::net::SocketAddr;

#[test]
fn requests_that_could_be_two_or_none_are_one() {
    hold([rows::framing::rows(), rows::bodies::rows()].into_iter().flatten().collect());
}

#[test]
fn heads_arrive_as_they_can_only_be_read_in_one_way() {
    hold([rows::heads::rows(), rows::targets::rows()].into_iter().flatten().collect());
}

#[test]
fn nodes_harm_no_client_but_the_one_they_answer() {
    hold(rows::responses::rows());
}

#[test]
fn what_http2_can_say_and_http1_cannot_is_not_said() {
    hold(rows::http2::rows());
}

#[test]
fn nodes_harm_no_client_of_http2_either() {
    hold(rows::http2::of_responses(rows::responses::rows()));
}

#[test]
fn a_body_that_nobody_wants_becomes_no_request() {
    hold(rows::own::rows());
    let node = Node::start(0);
    let server = server(&node);
    let dead = harness::node::Node::refusing("dead");
    let proxy = Setup::of(&[&server])
        .pool("match = { host = \"a\" }")
        .another_pool(
            "name = \"keyed\"\nmatch = { host = \"keyed\" }\nkey = \"query:k\"\nno-key = \"reject\"",
            &[&server],
        )
        .another_pool("name = \"empty\"\nmatch = { host = \"empty\" }\nkey = \"query:k\"", &[])
        .another_pool("name = \"dead\"\nmatch = { host = \"dead\" }\nkey = \"query:k\"", &[&dead])
        .another_pool(
            "name = \"slow\"\nmatch = { host = \"slow\" }\nkey = \"query:k\"\ntimeouts = { head = \"50ms\" }",
            &[&server],
        )
        .another_pool(
            "name = \"body\"\nmatch = { host = \"body\" }\nkey = \"json:/k\"\nmax-key-body = \"1KiB\"\n\
             key-body-over = \"reject\"",
            &[&server],
        )
        .start();
    hold_before(proxy.address, &node, rows::own::ringways_rows());
}

/// Takes a proxy through these rows, and fails with an account of all that do not go as is right.
fn hold(rows: Vec<Row>) {
    let node = Node::start(0);
    let proxy = Setup::of(&[&server(&node)]).start();
    hold_before(proxy.address, &node, rows);
}

fn server(node: &Node) -> harness::node::Node {
    harness::node::Node::elsewhere("a", node.address)
}

/// The same for a proxy that stands before this node.
fn hold_before(proxy: SocketAddr, node: &Node, rows: Vec<Row>) {
    let proxy = Proxy { http1: proxy, http2: proxy };
    let went: Vec<(Row, Outcome)> = rows
        .into_iter()
        .map(|row| {
            let outcome = run(&row, proxy, node);
            (row, outcome)
        })
        .collect();
    let unexpected: Vec<String> =
        went.iter().filter(|(_, outcome)| outcome.grade() != Grade::Clean).map(told).collect();
    let (_, all) = tallies(&went);
    println!("{} rows: {all:?}", went.len());
    assert!(unexpected.is_empty(), "{} of {} rows:\n{}", unexpected.len(), went.len(), unexpected.join("\n"));
}

fn told((row, outcome): &(Row, Outcome)) -> String {
    let findings: Vec<String> =
        outcome.findings.iter().map(|finding| format!("  {:?}: {}", finding.grade, finding.what)).collect();
    let grade = outcome.grade();
    let Row { class, name, .. } = row;
    format!("{class}: {name:?} is {grade:?}\n{}\n{}", findings.join("\n"), outcome.account)
}
