//! Long responses of HTTP/1, from the socket of the node to that of the client.
//!
//! hyper reads from the node whatever there is, and holds what the client has yet to take. Behind the head of a
//! response whose length is known it has nothing else to do, so that the rest goes by here, where what the client does
//! not take is left in the socket of the node: for a client that reads slowly nothing is held, and neither is hyper.

use crate::cluster::health::LiveFailure;
use crate::proxy::alarm::Silence;
use crate::proxy::body::BURST_BYTES_MAX;
use crate::proxy::client::ClientStream;
use crate::proxy::dial;
use crate::proxy::exchange::Exchange;
use crate::proxy::upstream::RawConnection;
use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use http_body::Body;
use hyper::body::Incoming;
use rustix::net::RecvFlags;
use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::io::Interest;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// What it takes to take shorter responses out of hyper is noticed.
const RELAY_BYTES_MIN: u64 = 128 << 10;

/// The first response of a connection is relayed where it is this long, more than sockets are sure to take: who opens
/// connections to take nothing asks for that.
const FIRST_RELAY_BYTES_MIN: u64 = 16 << 10;

/// The rest of a response whose head hyper writes.
pub(crate) struct Relay {
    /// What hyper has read of it.
    incoming: Incoming,
    left: u64,
    /// How long the node may be silent.
    patience: Duration,
    exchange: Box<Exchange>,
}

/// Whether a body is so long that it is relayed where it can be; a client may have had others, or this `is_first`.
pub(crate) fn is_long(body: &Incoming, is_first: bool) -> bool {
    let min = if is_first { FIRST_RELAY_BYTES_MIN } else { RELAY_BYTES_MIN };
    body.size_hint().exact().is_some_and(|length| length >= min)
}

/// The buffer that everything goes through which one worker relays; nothing stays in it.
pub(crate) struct RelayBuffer(RefCell<Box<[u8]>>);

impl RelayBuffer {
    /// As large as what is relayed at a time.
    pub(crate) fn new() -> RelayBuffer {
        RelayBuffer(RefCell::new(vec![0; PIECE_BYTES_MAX].into_boxed_slice()))
    }
}

const PIECE_BYTES_MAX: usize = 512 << 10;

/// How much is looked at at least of what a client may take.
const PIECE_BYTES_MIN: usize = 16 << 10;

/// How much the system takes for a client beyond what is on its way there. What one leaves that takes nothing would
/// only be copied, megabytes for each, while others wait.
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// Once so much of a response has passed, its client does take what it is sent; to send that in small pieces takes
/// twice the work.
const LIMITED_BYTES: u64 = 1 << 20;

/// How much is looked at first.
const PIECE_BYTES_FIRST: usize = 64 << 10;

impl Relay {
    /// Of a response that [`is_long`], over a connection that is relayable.
    pub(crate) fn new(incoming: Incoming, patience: Duration, exchange: Box<Exchange>) -> Relay {
        let left = incoming.size_hint().exact().unwrap_or_default();
        Relay { incoming, left, patience, exchange }
    }

    /// How long the body is.
    pub(crate) fn length(&self) -> u64 {
        self.left
    }

    /// Passes the body on to a client that has been written the head. Returns whether it may send another request.
    pub(crate) async fn run(self: Box<Self>, client: &mut ClientStream) -> bool {
        let Relay { incoming, left, patience, mut exchange } = *self;
        let begun = read_by_hyper(incoming);
        let Some(mut raw) = exchange.take_connection().and_then(|connection| connection.into_raw()) else {
            return false;
        };
        // A copy, because a piece would keep the whole buffer that hyper read it into.
        let ahead = [begun, std::mem::take(&mut raw.ahead)].concat().into();
        let silence = Silence::new(patience, exchange.take_alarm());
        // As the head is.
        let is_held_back = true;
        let is_limited = left > u64::from(UNSENT_BYTES_MAX);
        if is_limited && client.limit_unsent(UNSENT_BYTES_MAX).is_err() {
            return false;
        }
        let limited_until = is_limited.then(|| left.saturating_sub(LIMITED_BYTES));
        let (piece, burst) = (PIECE_BYTES_FIRST, 0);
        let mut passing = Passing { raw, ahead, left, limited_until, piece, burst, is_held_back, silence };
        if passing.has_too_much() || passing.raw.has_unsent {
            exchange.trusts_no_more();
        }
        let passed = poll_fn(|cx| passing.poll(client, &mut exchange, cx)).await;
        match passed {
            Ok(()) => {}
            Err(Broken::ByClient) => return false,
            Err(Broken::ByNode(_)) if passing.raw.open.is_cut() => return false,
            Err(Broken::ByNode(failure)) => {
                exchange.broke_off(failure);
                return false;
            }
        }
        // In a box, because it is for a moment.
        if let Ok(connection) = Box::pin(passing.raw.into_http()).await {
            exchange.give_back(connection);
        }
        exchange.complete();
        drop(exchange);
        let is_last = client.is_last();
        if is_last {
            // However that goes, the connection is closed next.
            drop(client.end().await);
        }
        !is_last
    }
}

/// What hyper has read of a body beyond the head.
fn read_by_hyper(mut incoming: Incoming) -> Bytes {
    let (mut nobody, mut read) = (Context::from_waker(Waker::noop()), BytesMut::new());
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut incoming).poll_frame(&mut nobody) {
        read.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
    }
    read.freeze()
}

/// Why a body does not come to its end.
enum Broken {
    ByClient,
    ByNode(LiveFailure),
}

/// A body under way.
struct Passing {
    raw: RawConnection,
    /// What was read from the node and goes first.
    ahead: Bytes,
    /// How many bytes are still to pass.
    left: u64,
    /// How many are left when the system may take more for the client again, if it may not now.
    limited_until: Option<u64>,
    /// How much is looked at next of what the node has sent.
    piece: usize,
    /// Bytes passed since it last had to wait.
    burst: usize,
    /// Whether what was written last waits for more.
    is_held_back: bool,
    silence: Silence,
}

impl Passing {
    /// Whether the node has sent more than the response.
    fn has_too_much(&self) -> bool {
        self.ahead.len() as u64 > self.left
    }

    fn poll(
        &mut self,
        client: &mut ClientStream,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        // Once all has come, nothing of it depends on the node.
        if self.left > 0 && self.raw.open.poll_cut(cx).is_ready() {
            return Poll::Ready(Err(Broken::ByNode(LiveFailure::Closed)));
        }
        if client.poll_left(cx).is_ready() {
            return Poll::Ready(Err(Broken::ByClient));
        }
        while self.left > 0 {
            if self.burst >= BURST_BYTES_MAX {
                self.burst = 0;
                // Woken once sockets have been looked at: others may be ready by now, whom nobody has told.
                return pin!(tokio::task::yield_now()).poll(cx).map(Ok);
            }
            let passed = if self.ahead.is_empty() {
                ready!(self.poll_piece(client, exchange, cx))?
            } else {
                let most = usize::try_from(self.left).map_or(self.ahead.len(), |left| left.min(self.ahead.len()));
                let written = ready!(client.poll_write_before_more(cx, &self.ahead[..most]));
                let passed = written.map_err(|_| Broken::ByClient)?;
                self.ahead.advance(passed);
                if self.ahead.is_empty() {
                    // Even an empty piece would keep the buffer that it is a piece of.
                    self.ahead = Bytes::new();
                }
                passed
            };
            exchange.sent(passed);
            self.left -= passed as u64;
            if self.limited_until.take_if(|left| self.left <= *left).is_some() {
                client.limit_unsent(0).map_err(|_| Broken::ByClient)?;
            }
            self.burst += passed;
        }
        self.poll_flush(client, cx)
    }

    /// Sends what is held back; TLS takes more than it can send.
    fn poll_flush(&mut self, client: &mut ClientStream, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if std::mem::take(&mut self.is_held_back) {
            client.push().map_err(|_| Broken::ByClient)?;
        }
        Pin::new(client).poll_flush(cx).map_err(|_| Broken::ByClient)
    }

    /// Passes on as much as the client takes at once of what the node has sent.
    fn poll_piece(
        &mut self,
        client: &mut ClientStream,
        exchange: &Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Broken>> {
        let failed = Broken::ByNode(LiveFailure::Closed);
        let Some(node) = dial::as_tcp(&self.raw.stream) else { return Poll::Ready(Err(failed)) };
        let buffer = &mut *exchange.memory.worker().relay_buffer.0.borrow_mut();
        let most = usize::try_from(self.left).map_or(self.piece, |left| left.min(self.piece));
        let mut piece = ReadBuf::new(&mut buffer[..most]);
        match node.poll_peek(cx, &mut piece) {
            Poll::Ready(Ok(1..)) => self.silence.broken(),
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(failed)),
            Poll::Pending => {
                self.burst = 0;
                let _flushed = self.poll_flush(client, cx)?;
                ready!(self.silence.poll_over(cx));
                return Poll::Ready(Err(Broken::ByNode(LiveFailure::TimedOut)));
            }
        }
        let looked_at = piece.filled().len();
        let written = ready!(Pin::new(client).poll_write(cx, piece.filled()));
        let passed = written.map_err(|_| Broken::ByClient)?;
        self.is_held_back = false;
        discard(node, &mut buffer[..passed]).map_err(|_| failed)?;
        // What is looked at in vain has been copied in vain.
        let next = if passed == looked_at { 2 * self.piece } else { passed };
        self.piece = next.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
        Poll::Ready(Ok(passed))
    }
}

/// Takes as much as fits into `passed`, which has been looked at, from a socket. With MSG_TRUNC Linux copies none of it
/// (tcp(7)).
fn discard(node: &TcpStream, passed: &mut [u8]) -> io::Result<()> {
    let length = passed.len();
    let take = || Ok(rustix::net::recv(node, &mut *passed, RecvFlags::TRUNC)?);
    let (taken, _) = node.try_io(Interest::READABLE, take)?;
    if taken == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
