//! A client of HTTP/2 that sends the frames of its row, then asks once more over the same connection.

use crate::frames;
use crate::frames::CONTINUATION;
use crate::frames::DATA;
use crate::frames::END_HEADERS;
use crate::frames::END_STREAM;
use crate::frames::Frame;
use crate::frames::GOAWAY;
use crate::frames::HEADERS;
use crate::frames::RST_STREAM;
use crate::frames::SETTINGS;
use crate::suite::client::End;
use crate::suite::client::Wire;
use crate::suite::http1::Got;
use crate::suite::message::Message;
use crate::suite::message::shown;
use crate::suite::node::AFTER;
use crate::suite::node::body_for;
use crate::suite::row::Row;
use crate::suite::row::Step;
use loona_hpack::Decoder;
use std::net::SocketAddr;

/// Goes through a row; `release` is called when the client has its responses.
pub(crate) fn ask(row: &Row, proxy: SocketAddr, release: impl FnOnce()) -> Option<Got> {
    let mut wire = Wire::connect(proxy);
    // With a header table of no size, so that no response refers to another one.
    wire.send(&frames::preface(&[(frames::HEADER_TABLE_SIZE, 0)]));
    for step in &row.steps {
        match step {
            Step::Send(bytes) => wire.send(bytes),
            Step::Await => wire.read_until(|bytes| is_over(bytes) || response(bytes, 1).is_some()),
            Step::Finish => wire.finish(),
            Step::Reset => {
                wire.reset();
                release();
                return None;
            }
        }
    }
    wire.read_until(|bytes| is_over(bytes) || has_settings(bytes));
    wire.send(&frames::frame(SETTINGS, frames::ACK, 0, &[]));
    if !row.right.answers.is_empty() {
        wire.read_until(|bytes| is_over(bytes) || has_ended(bytes, 1));
    }
    release();
    let silent = wire.end == End::Silent;
    wire.send(&frames::request(AFTER_STREAM, b"GET", AFTER.as_bytes()));
    wire.read_until(|bytes| is_over(bytes) || has_ended(bytes, AFTER_STREAM));
    let after = response(&wire.bytes, AFTER_STREAM);
    let is_usable = after.is_some_and(|after| after.is_whole && after.body == body_for(AFTER).as_bytes());
    let end = match wire.end {
        _ if silent => End::Silent,
        End::Open if is_over(&wire.bytes) => End::Closed,
        end => end,
    };
    let answers = response(&wire.bytes, 1).into_iter().collect();
    Some(Got { answers, end, is_usable, rest: Vec::new(), bytes: wire.bytes })
}

/// A stream that no row uses.
const AFTER_STREAM: u32 = 100_001;

/// Whether the server has said that it ends the connection.
fn is_over(bytes: &[u8]) -> bool {
    frames::frames(bytes).iter().any(|frame| frame.kind == GOAWAY)
}

fn has_settings(bytes: &[u8]) -> bool {
    frames::frames(bytes).iter().any(|frame| frame.kind == SETTINGS && frame.flags == 0)
}

fn has_ended(bytes: &[u8], stream: u32) -> bool {
    let frames = frames::frames(bytes);
    let mut frames = frames.iter().filter(|frame| frame.stream == stream);
    frames.any(|frame| frame.kind == RST_STREAM || is_last(frame))
}

fn is_last(frame: &Frame<'_>) -> bool {
    matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0
}

/// The final response on a stream, as far as it came. One that is shorter than it says is not whole: clients count.
fn response(bytes: &[u8], stream: u32) -> Option<Message> {
    let mut response = Message::default();
    let mut block = Vec::new();
    let (mut ends, mut has_body) = (false, false);
    for frame in frames::frames(bytes).iter().filter(|frame| frame.stream == stream) {
        ends |= is_last(frame);
        match frame.kind {
            DATA => response.body.extend_from_slice(frame.payload),
            HEADERS | CONTINUATION => {
                // Trailers come with the end of the stream, a head without it has a body.
                has_body |= frame.kind == HEADERS && !is_last(frame);
                block.extend_from_slice(frame.payload);
                if frame.flags & END_HEADERS != 0 {
                    take_head(&mut response, &std::mem::take(&mut block));
                }
            }
            _ => {}
        }
    }
    let length = response.fields.iter().find(|(name, _)| has_body && name == "content-length");
    let is_as_long = length.is_none_or(|(_, length)| *length == response.body.len().to_string());
    response.is_whole = ends && is_as_long;
    response.length = bytes.len();
    Some(response).filter(|response| !response.line.is_empty())
}

/// Takes a final head, or trailers. One head needs nothing of those before, since the table of fields has no size.
fn take_head(response: &mut Message, block: &[u8]) {
    let mut fields = Decoder::new().decode(block).expect("HPACK that can be read").into_iter();
    if response.line.is_empty() {
        let status = fields.next().filter(|(name, _)| name == b":status").expect("a status before all else").1;
        if status.starts_with(b"1") {
            return;
        }
        response.line = format!("HTTP/2 {}", shown(&status));
    }
    response.fields.extend(fields.map(|(name, value)| (shown(&name), shown(&value))));
}
