//! Takes a proxy through rows.

use crate::suite::finding::Finding;
use crate::suite::finding::Grade;
use crate::suite::finding::worst;
use crate::suite::http1;
use crate::suite::http2;
use crate::suite::judge;
use crate::suite::message::shown;
use crate::suite::node::Node;
use crate::suite::row::Row;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A proxy under test.
#[derive(Clone, Copy)]
pub(crate) struct Proxy {
    pub(crate) http1: SocketAddr,
    pub(crate) http2: SocketAddr,
}

/// How a row went.
pub(crate) struct Outcome {
    pub(crate) findings: Vec<Finding>,
    /// What was sent and got, to be read by people.
    pub(crate) account: String,
}

impl Outcome {
    pub(crate) fn grade(&self) -> Grade {
        worst(&self.findings)
    }
}

/// Goes through one row.
pub(crate) fn run(row: &Row, proxy: Proxy, node: &Node) -> Outcome {
    node.begin(&row.replies);
    let release = || node.release();
    let got = if row.is_http2 { http2::ask(row, proxy.http2, release) } else { http1::ask(row, proxy.http1, release) };
    let (next, next_bytes) = http1::ask_next(proxy.http1);
    let seen = node.seen();
    let mut findings = judge::findings(row, got.as_ref(), &seen);
    findings.extend(judge::next_findings(next.as_ref(), &next_bytes));
    let mut account = String::new();
    if let Some(got) = &got {
        write!(account, "  client got {} ({:?})", cut(&got.bytes), got.end).expect("writing to a string");
    }
    for request in &seen.requests {
        let whole = if request.is_whole { "whole" } else { "not whole" };
        let lines: Vec<String> = request.lines().collect();
        let body = cut(&request.body);
        write!(account, "\n  node got {} {body} ({whole})", lines.join(" | ")).expect("writing to a string");
    }
    Outcome { findings, account }
}

fn cut(bytes: &[u8]) -> String {
    let text = shown(&bytes[..bytes.len().min(SHOWN_MAX)]);
    format!("{text:?}{}", if bytes.len() > SHOWN_MAX { "..." } else { "" })
}

const SHOWN_MAX: usize = 600;
