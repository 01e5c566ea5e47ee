//! Response bodies on their way through, never held whole.

use crate::cluster::health::LiveFailure;
use crate::proxy::alarm::Alarm;
use crate::proxy::alarm::Silence;
use crate::proxy::exchange::Exchange;
use crate::proxy::framing;
use crate::proxy::memory::Piece;
use crate::proxy::streams;
use crate::proxy::streams::Turn;
use crate::proxy::trailers::TrailerTerms;
use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use http_body_util::Full;
use hyper::body::Incoming;
use std::future::Future;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;

/// The body of a response towards the client.
pub(crate) enum ResponseBody {
    /// Made here: an error document, or nothing.
    Local(Full<Piece>),
    /// A node's, as it comes.
    Node(NodeBody),
    /// A node's, of so many bytes, which others than hyper pass on.
    Relayed(u64),
}

/// After so many bytes in a row a response lets the other clients of its worker go first.
pub(super) const BURST_BYTES_MAX: usize = 512 << 10;

/// A response body that settles its exchange when it ends or is dropped.
pub(crate) struct NodeBody {
    incoming: Incoming,
    /// How long the node may be silent; `None` where silence is normal.
    patience: Option<Duration>,
    /// Made at the first silence: most bodies come at once.
    silence: Option<Box<Silence>>,
    /// What has come and is yet to be handed over.
    rest: Piece,
    /// Bytes handed over since the body last had to wait.
    burst: usize,
    trailers: TrailerTerms,
    /// Whether the node's response broke off.
    is_truncated: bool,
    exchange: Box<Exchange>,
}

impl ResponseBody {
    /// A body made here.
    pub(crate) fn local(text: impl Into<Bytes>) -> ResponseBody {
        ResponseBody::Local(Full::new(Piece::from(text.into())))
    }

    /// A node's body; `patience` is `timeouts.idle`, or `None` where silence is normal.
    pub(crate) fn node(
        incoming: Incoming,
        patience: Option<Duration>,
        trailers: TrailerTerms,
        exchange: Box<Exchange>,
    ) -> ResponseBody {
        let (silence, rest) = (None, Piece::default());
        let mut body =
            NodeBody { incoming, patience, silence, rest, burst: 0, trailers, is_truncated: false, exchange };
        // A body that is over before it began (204, HEAD, length 0) is never polled.
        if body.incoming.is_end_stream() {
            body.exchange.complete();
        }
        ResponseBody::Node(body)
    }
}

impl Body for ResponseBody {
    type Data = Piece;
    type Error = ResponseBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, ResponseBroken>>> {
        match self.get_mut() {
            ResponseBody::Local(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            ResponseBody::Node(body) => {
                let polled = body.poll(cx);
                body.exchange.pass_turn(if polled.is_ready() { Turn::Client } else { Turn::Node });
                polled
            }
            ResponseBody::Relayed(_) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Local(body) => body.is_end_stream(),
            ResponseBody::Node(body) => body.rest.is_empty() && body.incoming.is_end_stream(),
            ResponseBody::Relayed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Local(body) => body.size_hint(),
            ResponseBody::Node(body) => body.incoming.size_hint(),
            ResponseBody::Relayed(length) => SizeHint::with_exact(*length),
        }
    }
}

impl NodeBody {
    /// What the connection has brought, or brings now. More only ever comes while it is driven, so that nobody need be
    /// woken for it by the body itself.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut nobody = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut self.incoming).poll_frame(&mut nobody);
        let Some(lane) = self.exchange.connection().filter(|_| polled.is_pending()) else {
            return polled;
        };
        let Some(connection) = lane.as_own() else {
            return Pin::new(&mut self.incoming).poll_frame(cx);
        };
        connection.drive(cx);
        connection.wake_nobody();
        let polled = Pin::new(&mut self.incoming).poll_frame(&mut nobody);
        if polled.is_pending() {
            connection.wake_for(cx);
        }
        polled
    }

    fn is_cut_short(&mut self) -> bool {
        let is_http2 = self.exchange.connection().is_some_and(|lane| lane.as_own().is_none());
        framing::is_cut_short(&self.incoming, is_http2)
    }

    /// What came, of which HTTP/2 is given no more than a piece at a time.
    fn hand_over(&mut self, bytes: Bytes) -> Frame<Piece> {
        let mut piece = self.exchange.memory.piece(bytes);
        if piece.len() > streams::PIECE_BYTES && self.exchange.is_http2() {
            self.rest = piece;
            piece = self.rest.split_to(streams::PIECE_BYTES);
        }
        Frame::data(piece)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, ResponseBroken>>> {
        if self.is_truncated {
            return Poll::Ready(Some(Err(ResponseBroken::Truncated)));
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(streams::PIECE_BYTES)))));
        }
        if self.burst >= BURST_BYTES_MAX {
            self.burst = 0;
            // Woken once sockets have been looked at: others may be ready by now, whom nobody has told.
            return pin!(tokio::task::yield_now()).poll(cx).map(|()| None);
        }
        match self.poll_incoming(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(silence) = &mut self.silence {
                    silence.broken();
                }
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.burst += length;
                self.exchange.sent(length);
                if self.incoming.is_end_stream() {
                    self.exchange.complete();
                }
                let hits = &self.exchange.memory.worker().stats().limit_hits;
                match frame.into_trailers().map(|trailers| self.trailers.pass_to_client(trailers, hits)) {
                    Err(frame) => Poll::Ready(Some(Ok(self.hand_over(frame.into_data().unwrap_or_default())))),
                    Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                    // What follows them is the end.
                    Ok(None) => self.poll(cx),
                }
            }
            Poll::Ready(None) if !self.is_cut_short() => {
                self.exchange.complete();
                Poll::Ready(None)
            }
            Poll::Ready(None | Some(Err(_))) => {
                // What came before is written first: the client is to see what there is.
                self.is_truncated = true;
                self.exchange.broke_off(LiveFailure::Closed);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => {
                self.burst = 0;
                let Some(patience) = self.patience else {
                    return Poll::Pending;
                };
                let silence = self.silence.get_or_insert_with(|| Box::new(Silence::new(patience, Alarm::default())));
                ready!(silence.poll_over(cx));
                self.exchange.broke_off(LiveFailure::TimedOut);
                Poll::Ready(Some(Err(ResponseBroken::Silent)))
            }
        }
    }
}

/// Tells hyper to cut the client's connection or stream: a truncated body must never look complete.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum ResponseBroken {
    /// The node said nothing for `timeouts.idle`.
    #[error("the node fell silent in the middle of its response")]
    Silent,
    /// The node's connection ended before its response did.
    #[error("the node's response ended early")]
    Truncated,
}
