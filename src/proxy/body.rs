//! Bodies on their way through: watched for silence and blame, never held whole.

use crate::cluster::health::LiveFailure;
use crate::proxy::alarm::Alarm;
use crate::proxy::exchange::Exchange;
use crate::proxy::headers;
use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use http_body_util::Full;
use hyper::body::Incoming;
use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How far the client's body has got: written by the body, read by the attempt that sends it. A request without a body
/// has none.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    /// Set when the body cannot be completed.
    pub(crate) failure: Cell<Option<UploadFailure>>,
    /// Whether all of it was handed over.
    pub(crate) complete: Cell<bool>,
    /// Bytes handed over.
    pub(crate) bytes: Cell<u64>,
    /// When the last piece was handed over.
    pub(crate) progress: Cell<Option<Instant>>,
    /// Whether the next piece is asked for and the client has yet to send it.
    pub(crate) awaits_client: Cell<bool>,
    /// Whether the node has begun its response.
    is_answered: Cell<bool>,
    /// Whether the response was over before the body was asked for.
    is_unwanted: Cell<bool>,
    /// What the body waits for while it is held back.
    gate: RefCell<Option<Arc<Notify>>>,
}

impl Upload {
    /// The node has begun its response: a body that is held back stays so.
    pub(crate) fn answered(&self) {
        self.is_answered.set(true);
    }

    /// The response is over: a body that is still held back is given up unread, and its connections with it.
    pub(crate) fn settled(&self) {
        if let Some(gate) = self.gate.borrow().as_ref() {
            self.is_unwanted.set(true);
            gate.notify_one();
        }
    }
}

/// What went wrong on the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadFailure {
    /// It ended early or was malformed.
    Broken,
    /// Nothing came for `limits.body-timeout`.
    Silent,
}

/// The body of a request towards a node.
pub(crate) enum RequestBody {
    /// No body at all.
    Empty,
    /// The client's, as it comes.
    Client(Box<ClientBody>),
}

/// A request body that reports its progress.
pub(crate) struct ClientBody {
    incoming: Incoming,
    upload: Rc<Upload>,
    silence: Silence,
    /// Holds the body back until the node says `100 Continue` (RFC 9110 section 10.1.1).
    gate: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// How long a node may take to say `100 Continue` before the body is sent anyway: RFC 9110 section 10.1.1 forbids
/// waiting forever, and a second is what curl waits.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

impl RequestBody {
    /// Wraps what the client sends, if anything; `go_ahead` is notified when the node answers `100 Continue`, for
    /// requests that expect it.
    pub(crate) fn new(
        incoming: Incoming,
        patience: Duration,
        go_ahead: Option<Arc<Notify>>,
    ) -> (RequestBody, Option<Rc<Upload>>) {
        if incoming.is_end_stream() {
            return (RequestBody::Empty, None);
        }
        let upload = Rc::<Upload>::default();
        let gate = go_ahead.map(|notify| -> Pin<Box<dyn Future<Output = ()>>> {
            upload.gate.replace(Some(Arc::clone(&notify)));
            Box::pin(hold_back(Rc::clone(&upload), notify))
        });
        let silence = Silence::new(patience);
        let body = ClientBody { incoming, upload: Rc::clone(&upload), silence, gate };
        (RequestBody::Client(Box::new(body)), Some(upload))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Client(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Client(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Client(body) => body.incoming.size_hint(),
        }
    }
}

impl ClientBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.as_mut().poll(cx));
            self.gate = None;
            self.upload.gate.take();
        }
        if self.upload.is_unwanted.get() {
            return Poll::Ready(Some(Err(UploadError)));
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        self.upload.awaits_client.set(polled.is_pending());
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.broken();
                self.upload.progress.set(Some(Instant::now()));
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.upload.bytes.set(self.upload.bytes.get() + length as u64);
                self.upload.complete.set(self.incoming.is_end_stream());
                Poll::Ready(Some(Ok(without_forbidden_trailers(frame))))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.fail(UploadFailure::Broken)))),
            Poll::Ready(None) => {
                self.upload.complete.set(true);
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.silence.poll_over(cx));
                Poll::Ready(Some(Err(self.fail(UploadFailure::Silent))))
            }
        }
    }

    fn fail(&self, failure: UploadFailure) -> UploadError {
        self.upload.failure.set(Some(failure));
        UploadError
    }
}

/// Ends when the body may be sent, or when it is clear that it never will be.
async fn hold_back(upload: Rc<Upload>, go_ahead: Arc<Notify>) {
    let silent = tokio::time::timeout(CONTINUE_WAIT, go_ahead.notified()).await.is_err();
    if silent && upload.is_answered.get() {
        go_ahead.notified().await;
    }
}

/// Tells hyper to give the request up; why is in [`Upload`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the client's body cannot be completed")]
pub(crate) struct UploadError;

fn without_forbidden_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::filter_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// Measures silence, looking at the clock only when there is some.
struct Silence {
    patience: Duration,
    since: Option<Instant>,
    alarm: Alarm,
}

impl Silence {
    fn new(patience: Duration) -> Silence {
        Silence { patience, since: None, alarm: Alarm::default() }
    }

    /// Something came.
    fn broken(&mut self) {
        self.since = None;
    }

    /// Ready when nothing came for longer than the patience.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.alarm.poll(since + self.patience, cx)
    }
}

/// The body of a response towards the client.
pub(crate) enum ResponseBody {
    /// Made here: an error document, or nothing.
    Local(Full<Bytes>),
    /// A node's, as it comes.
    Node(NodeBody),
}

/// After so many bytes in a row a response lets the other clients of its worker go first.
const BURST_BYTES_MAX: usize = 1024 * 1024;

/// A response body that settles its exchange when it ends or is dropped.
pub(crate) struct NodeBody {
    incoming: Incoming,
    /// How long the node may be silent; `None` where silence is normal.
    patience: Option<Duration>,
    /// Made at the first silence: most bodies come at once.
    silence: Option<Box<Silence>>,
    /// Bytes handed over since the body last had to wait.
    burst: usize,
    /// Whether the node's response broke off.
    is_truncated: bool,
    exchange: Box<Exchange>,
}

impl ResponseBody {
    /// A body made here.
    pub(crate) fn local(text: impl Into<Bytes>) -> ResponseBody {
        ResponseBody::Local(Full::new(text.into()))
    }

    /// A node's body; `patience` is `timeouts.idle`, or `None` where silence is normal.
    pub(crate) fn node(incoming: Incoming, patience: Option<Duration>, exchange: Box<Exchange>) -> ResponseBody {
        let mut body = NodeBody { incoming, patience, silence: None, burst: 0, is_truncated: false, exchange };
        // A body that is over before it began (204, HEAD, length 0) is never polled.
        if body.incoming.is_end_stream() {
            body.exchange.complete();
        }
        ResponseBody::Node(body)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBroken>>> {
        match self.get_mut() {
            ResponseBody::Local(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            ResponseBody::Node(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Local(body) => body.is_end_stream(),
            ResponseBody::Node(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Local(body) => body.size_hint(),
            ResponseBody::Node(body) => body.incoming.size_hint(),
        }
    }
}

impl NodeBody {
    /// What the connection has brought, or brings now. More only ever comes while it is driven, so that nobody need be
    /// woken for it by the body itself.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut nobody = Context::from_waker(Waker::noop());
        let polled = Pin::new(&mut self.incoming).poll_frame(&mut nobody);
        let Some(connection) = self.exchange.connection().filter(|_| polled.is_pending()) else {
            return polled;
        };
        connection.drive(cx);
        connection.wake_nobody();
        let polled = Pin::new(&mut self.incoming).poll_frame(&mut nobody);
        if polled.is_pending() {
            connection.wake_for(cx);
        }
        polled
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBroken>>> {
        if self.is_truncated {
            return Poll::Ready(Some(Err(ResponseBroken::Truncated)));
        }
        if self.burst >= BURST_BYTES_MAX {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
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
                Poll::Ready(Some(Ok(without_forbidden_trailers(frame))))
            }
            Poll::Ready(Some(Err(_))) => {
                // What came before is written first: the client is to see what there is.
                self.is_truncated = true;
                self.exchange.broke_off(LiveFailure::Closed);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.exchange.complete();
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.burst = 0;
                let Some(patience) = self.patience else {
                    return Poll::Pending;
                };
                let silence = self.silence.get_or_insert_with(|| Box::new(Silence::new(patience)));
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
