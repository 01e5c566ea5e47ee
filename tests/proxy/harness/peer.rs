//! A node that speaks HTTP/2 frame by frame.

use crate::frames::ACK;
use crate::frames::DATA;
use crate::frames::END_HEADERS;
use crate::frames::END_STREAM;
use crate::frames::GOAWAY;
use crate::frames::HEADERS;
use crate::frames::PING;
use crate::frames::PREFACE;
use crate::frames::RST_STREAM;
use crate::frames::SETTINGS;
use crate::frames::frame;
use crate::harness::wire::Wire;

/// The other side of one connection.
pub(crate) struct Peer {
    wire: Wire,
    /// The last request whose head has come.
    pub(crate) stream: u32,
}

impl Peer {
    /// Hears the preface, and says what a server says first.
    pub(crate) async fn greet(wire: Wire) -> Peer {
        Peer::greet_with(wire, b"").await
    }

    /// As [`Peer::greet`], with settings as they are written.
    pub(crate) async fn greet_with(mut wire: Wire, settings: &[u8]) -> Peer {
        assert_eq!(wire.exactly(PREFACE.len()).await, PREFACE);
        wire.write(frame(SETTINGS, 0, 0, settings)).await;
        Peer { wire, stream: 0 }
    }

    /// Reads to the end of the next request; `None` when there is none.
    pub(crate) async fn request(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let (kind, flags, payload) = self.next().await?;
            if kind == DATA {
                body.extend_from_slice(&payload);
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return Some(body);
            }
        }
    }

    /// Reads the head of the next request, whatever becomes of its body.
    pub(crate) async fn head(&mut self) -> Option<()> {
        while self.next().await?.0 != HEADERS {}
        Some(())
    }

    /// Reads until the other side has gone.
    pub(crate) async fn gone(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Sends a frame, to somebody who may not be there any more.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.say(&frame(kind, flags, stream, payload)).await;
    }

    /// Sends bytes, likewise.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        drop(self.wire.try_write(bytes).await);
    }

    /// Begins a response with 200.
    pub(crate) async fn begin(&mut self, stream: u32) {
        self.send(HEADERS, END_HEADERS, stream, b"\x88").await;
    }

    /// A part of the body of a response, perhaps its last.
    pub(crate) async fn data(&mut self, stream: u32, bytes: &[u8], is_last: bool) {
        self.send(DATA, u8::from(is_last), stream, bytes).await;
    }

    /// Ends a stream.
    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    /// Says that nothing behind a stream was or will be looked at.
    pub(crate) async fn goaway(&mut self, last: u32, code: u32) {
        self.send(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()).await;
    }

    /// The next frame: its kind, flags and payload. Answers what has to be answered.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let head = self.wire.try_exactly(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let payload = if length == 0 { Vec::new() } else { self.wire.try_exactly(length).await? };
        match (kind, flags) {
            (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, b"").await,
            (PING, 0) => self.send(PING, ACK, 0, &payload).await,
            (HEADERS, _) => self.stream = u32::from_be_bytes(head[5..9].try_into().unwrap()),
            _ => {}
        }
        Some((kind, flags, payload))
    }
}

/// Codes of RST_STREAM and GOAWAY (RFC 9113 section 7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
