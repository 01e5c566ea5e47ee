//! A client of HTTP/1: it sends what its row says, then asks once more over the same connection.

use crate::suite::client::End;
use crate::suite::client::Wire;
use crate::suite::message::Message;
use crate::suite::node::AFTER;
use crate::suite::node::NEXT;
use crate::suite::node::body_for;
use crate::suite::row::Row;
use crate::suite::row::Step;
use std::net::SocketAddr;

/// What the client of a row got.
#[derive(Debug)]
pub(crate) struct Got {
    /// The final responses to the requests of the row.
    pub(crate) answers: Vec<Message>,
    /// How the connection was, once these had come.
    pub(crate) end: End,
    /// Whether a request that was sent after them was answered as it should be.
    pub(crate) is_usable: bool,
    /// Bytes behind the responses that are none.
    pub(crate) rest: Vec<u8>,
    /// Everything that came.
    pub(crate) bytes: Vec<u8>,
}

/// Goes through a row; `release` is called when the client has its responses.
pub(crate) fn ask(row: &Row, proxy: SocketAddr, release: impl FnOnce()) -> Option<Got> {
    let mut wire = Wire::connect(proxy);
    for step in &row.steps {
        match step {
            Step::Send(bytes) => wire.send(bytes),
            Step::Await => {
                let before = count(row, &wire.bytes);
                wire.read_until(|bytes| count(row, bytes) > before);
            }
            Step::Finish => wire.finish(),
            Step::Reset => {
                wire.reset();
                release();
                return None;
            }
        }
    }
    // One that is cut shows as that only at the end.
    let whole = |bytes: &[u8]| finals(responses(row, bytes, false)).filter(|answer| answer.is_whole).count();
    wire.read_until(|bytes| whole(bytes) >= row.right.answers.len());
    release();
    let end = wire.end;
    // Who is told that the connection ends must not send more: that alone could reset it.
    if !says_close(&responses(row, &wire.bytes, false)) {
        wire.send(request_for(AFTER).as_bytes());
    }
    wire.read_until(|_| false);
    let all = responses(row, &wire.bytes, wire.end == End::Closed);
    let rest = wire.bytes[all.iter().map(|response| response.length).sum()..].to_vec();
    let mut answers: Vec<Message> = finals(all).collect();
    let is_usable = answers.pop_if(|last| last.body == body_for(AFTER).as_bytes() && last.is_whole).is_some();
    // That it closes shows only when it is read on.
    let end = if end == End::Open && !is_usable { wire.end } else { end };
    Some(Got { answers, end, is_usable, rest, bytes: wire.bytes })
}

/// What another client gets that asks next; `None` for nothing.
pub(crate) fn ask_next(proxy: SocketAddr) -> (Option<Message>, Vec<u8>) {
    let mut wire = Wire::connect(proxy);
    wire.send(request_for(NEXT).as_bytes());
    wire.read_until(|_| false);
    (Message::response(&wire.bytes, false, wire.end == End::Closed), wire.bytes)
}

fn request_for(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// Whether the last response says that it is the last one: RFC 9112 section 9.3.
fn says_close(responses: &[Message]) -> bool {
    let Some(last) = responses.last() else { return false };
    let says = |option: &str| last.lines().any(|line| line.eq_ignore_ascii_case(option));
    says("connection: close") || (last.line.starts_with("HTTP/1.0") && !says("connection: keep-alive"))
}

/// How many responses have begun, interim ones included.
fn count(row: &Row, bytes: &[u8]) -> usize {
    responses(row, bytes, false).len()
}

fn finals(responses: Vec<Message>) -> impl Iterator<Item = Message> {
    responses.into_iter().filter(|response| !matches!(response.status(), 100..200))
}

/// All responses in what came: the last one may be incomplete, and is only listed once it can say how long it is.
fn responses(row: &Row, bytes: &[u8], has_ended: bool) -> Vec<Message> {
    let mut responses = Vec::<Message>::new();
    let (mut at, mut finals) = (0, 0);
    while at < bytes.len() {
        let is_to_head = row.is_head() && finals == 0;
        let Some(response) = Message::response(&bytes[at..], is_to_head, has_ended) else { break };
        at += response.length;
        finals += usize::from(!matches!(response.status(), 100..200));
        let is_last = !response.is_whole;
        responses.push(response);
        if is_last {
            break;
        }
    }
    responses
}
