//! Request bodies: taken from their client once, held no longer than they have to be, and handed over to nodes.

use crate::proxy::awaited::AwaitedBody;
use crate::proxy::awaited::BEGINNING_BYTES;
use crate::proxy::error::ProxyError;
use crate::proxy::framing;
use crate::proxy::held_body::HeldBody;
use crate::proxy::linger::Linger;
use crate::proxy::memory::Charge;
use crate::proxy::pace::Pace;
use crate::proxy::pace::UploadFailure;
use crate::proxy::sent_ahead::BodyAhead;
use crate::proxy::sent_ahead::Parcel;
use crate::proxy::sent_ahead::SentAhead;
use crate::proxy::trailers::TrailerTerms;
use crate::proxy::upstream_h2::StreamPlace;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use hyper::body::Incoming;
use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
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

/// How far the client's body has got: written by the body, read by the attempts that send it. A request without a body
/// has none.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    /// Set when the body cannot be completed.
    pub(crate) failure: Cell<Option<UploadFailure>>,
    /// Whether all of it was handed over, in the attempt of the moment.
    pub(crate) complete: Cell<bool>,
    /// Bytes that the client has sent, however often they were handed over.
    pub(crate) bytes: Cell<u64>,
    /// When the last piece was handed over.
    pub(crate) progress: Cell<Option<Instant>>,
    /// Whether the next piece is asked for and the client has yet to send it.
    pub(crate) awaits_client: Cell<bool>,
    /// What of it may have come unread, in HTTP/2.
    ahead: Option<BodyAhead>,
    /// Whether the node has begun its response.
    is_answered: Cell<bool>,
    /// Whether nobody asks for what is still to come.
    is_unwanted: Cell<bool>,
    /// After so many bytes nobody does.
    enough: Cell<Option<u64>>,
    /// Wakes whoever waits for more of it.
    parked: RefCell<Option<Waker>>,
    /// What the body waits for while it is held back.
    gate: RefCell<Option<Arc<Notify>>>,
}

impl Upload {
    /// The node has begun its response: a body that is held back stays so, and one that is sent over a connection of
    /// its own is sent on only while the client takes the response.
    pub(crate) fn answered(&self, over_own: bool) {
        self.is_answered.set(true);
        if let Some(ahead) = self.ahead.as_ref().filter(|_| over_own) {
            ahead.may_stall();
        }
    }

    /// The response is over: a body that is still held back is given up unread, and its connections with it.
    pub(crate) fn settled(&self) {
        if self.gate.borrow().is_some() {
            self.give_up();
        }
    }

    /// Nobody asks for the rest: whoever waits for it finds it broken.
    pub(crate) fn give_up(&self) {
        self.is_unwanted.set(true);
        self.wake();
    }

    /// Lets it go on for a little although its node has answered, because most are nearly over. One that is not is
    /// given up: neither its node nor its client is held for what nobody asks for any more.
    pub(crate) fn linger(self: Rc<Self>, linger: Linger) {
        self.enough.set(Some(self.bytes.get() + linger.bytes));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(linger.timeout).await;
            self.give_up();
        });
    }

    fn is_over(&self) -> bool {
        self.is_unwanted.get() || self.enough.get().is_some_and(|enough| self.bytes.get() > enough)
    }

    fn park(&self, waker: &Waker) {
        match &mut *self.parked.borrow_mut() {
            Some(parked) => parked.clone_from(waker),
            nobody => *nobody = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.parked.take() {
            waker.wake();
        }
    }
}

/// What is done with the body of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTerms {
    /// How long the client may be silent: `limits.body-timeout`, or `None` where silence is normal.
    pub(crate) patience: Option<Duration>,
    /// How many bytes it has to send each second, once that is over: `limits.min-body-rate`.
    pub(crate) min_rate: u32,
    /// A body of at most so many bytes is held so that it can be sent again.
    pub(crate) replay_max: usize,
    /// Whether some of it is looked at before a node is chosen.
    pub(crate) reads_ahead: bool,
    /// Which trailers it may have.
    pub(crate) trailers: TrailerTerms,
    /// Whether the client speaks HTTP/2.
    pub(crate) is_http2: bool,
}

/// The body of a request towards a node.
#[derive(Clone)]
pub(crate) enum RequestBody {
    /// No body at all.
    Empty,
    /// The client's, for one of the attempts at sending it. Those before get no more of it.
    Client {
        /// What the attempts share.
        body: Rc<ClientBody>,
        /// Counted from 0.
        attempt: u32,
        /// Its stream, in HTTP/2.
        place: Option<Rc<StreamPlace>>,
    },
}

/// What a client sends, taken from it once and handed over as often as it is sent.
pub(crate) struct ClientBody {
    upload: Rc<Upload>,
    source: RefCell<Source>,
}

/// The client's side of a body.
struct Source {
    incoming: Incoming,
    /// Absent where silence is normal.
    pace: Option<Pace>,
    held: HeldBody,
    /// What that takes.
    memory: Charge,
    /// What is on its way to a node, among that of others.
    sent_ahead: Arc<SentAhead>,
    trailer_terms: TrailerTerms,
    is_http2: bool,
    /// Come after the last byte, if any that may pass.
    trailers: Option<HeaderMap>,
    /// Whether the attempt of the moment has had them.
    has_passed_trailers: bool,
    /// Whether the client has sent everything.
    is_over: bool,
    /// The attempt of the moment.
    attempt: u32,
    /// Counts it while its beginning is waited for.
    awaited: Option<AwaitedBody>,
    /// Holds the body back until the node says `100 Continue` (RFC 9110 section 10.1.1).
    gate: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// How long a node may take to say `100 Continue` before the body is sent anyway: RFC 9110 section 10.1.1 forbids
/// waiting forever, and a second is what curl waits.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

impl RequestBody {
    /// Wraps what the client sends, if anything; what is held of it is charged to `memory`, and `go_ahead` is notified
    /// when the node answers `100 Continue`, for requests that expect it.
    pub(crate) fn new(
        incoming: Incoming,
        terms: BodyTerms,
        memory: impl FnOnce() -> Charge,
        go_ahead: Option<Arc<Notify>>,
    ) -> (RequestBody, Option<Rc<Upload>>) {
        if incoming.is_end_stream() {
            return (RequestBody::Empty, None);
        }
        let memory = memory();
        let sent_ahead = Arc::clone(memory.sent_ahead());
        let ahead = terms.is_http2.then(|| sent_ahead.body());
        let (pace, awaited) = (memory.state().take_pace(), memory.state().take_awaited());
        let failure = Cell::new(pace.as_ref().and_then(Pace::failure));
        let pace = terms.patience.map(|patience| pace.unwrap_or_else(|| Pace::new(patience, terms.min_rate)));
        let upload = Rc::new(Upload { ahead, failure, ..Upload::default() });
        let gate = go_ahead.map(|notify| -> Pin<Box<dyn Future<Output = ()>>> {
            upload.gate.replace(Some(Arc::clone(&notify)));
            Box::pin(hold_back(Rc::clone(&upload), notify))
        });
        // What is known to be too large need not be held until it is.
        let is_too_large = incoming.size_hint().lower() > terms.replay_max as u64;
        let replay_max = if is_too_large { 0 } else { terms.replay_max };
        let source = Source {
            incoming,
            pace,
            awaited,
            held: HeldBody::new(replay_max),
            memory,
            sent_ahead,
            trailer_terms: terms.trailers,
            is_http2: terms.is_http2,
            trailers: None,
            has_passed_trailers: false,
            is_over: false,
            attempt: 0,
            gate,
        };
        let body = Rc::new(ClientBody { upload: Rc::clone(&upload), source: RefCell::new(source) });
        (RequestBody::Client { body, attempt: 0, place: None }, Some(upload))
    }

    /// It goes over this stream, and holds it for as long as it does.
    pub(crate) fn take_place(&mut self, stream: &Rc<StreamPlace>) {
        if let RequestBody::Client { place, .. } = self {
            *place = Some(Rc::clone(stream));
        }
    }

    /// The client's body, if there is one.
    pub(crate) fn client(&self) -> Option<&ClientBody> {
        match self {
            RequestBody::Empty => None,
            RequestBody::Client { body, .. } => Some(body),
        }
    }

    /// Whether [`RequestBody::again`] may have an answer.
    pub(crate) fn is_replayable(&self) -> bool {
        self.client().is_none_or(|body| body.source.borrow().held.is_replayable())
    }

    /// Whether all of it that was taken so far is still held.
    pub(crate) fn is_whole(&self) -> bool {
        self.client().is_none_or(|body| body.upload.failure.get().is_none() && body.source.borrow().held.is_whole())
    }

    /// It is not sent again: nothing more of it is held than what waits.
    pub(crate) fn forget(&self) {
        let Some(body) = self.client() else { return };
        let source = &mut *body.source.borrow_mut();
        source.held.forget();
        source.memory.set(source.held.size());
    }

    /// The same body from its beginning, for another attempt; `None` when that is no longer held or the client has
    /// failed. It is not held back, whatever the node says.
    pub(crate) fn again(self) -> Option<RequestBody> {
        match self {
            RequestBody::Empty => Some(RequestBody::Empty),
            RequestBody::Client { body, .. } => {
                let attempt = body.begin_again()?;
                Some(RequestBody::Client { body, attempt, place: None })
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Parcel;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Parcel>, UploadError>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Client { body, attempt, .. } => {
                let polled = body.poll(*attempt, cx);
                if polled.is_pending() {
                    body.upload.park(cx.waker());
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.client().is_none_or(|body| body.source.borrow().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(body) = self.client() else { return SizeHint::with_exact(0) };
        let source = body.source.borrow();
        let to_come = source.incoming.size_hint().exact();
        to_come.map_or_else(SizeHint::default, |bytes| SizeHint::with_exact(bytes + source.held.waiting() as u64))
    }
}

impl ClientBody {
    /// Takes the next piece from the client although no node asks for it, and holds it until one does; `None` at the
    /// end.
    ///
    /// # Errors
    /// When the client fails, or when requests hold too much already.
    pub(crate) async fn read_ahead(&self) -> Result<Option<Bytes>, ProxyError> {
        poll_fn(|cx| {
            let source = &mut *self.source.borrow_mut();
            if !source.memory.has_room() {
                return Poll::Ready(Err(ProxyError::Overloaded));
            }
            let taken = ready!(source.poll_more(&self.upload, cx))?;
            if let Some(piece) = &taken {
                source.held.keep(piece);
                source.memory.set(source.held.size());
            }
            Poll::Ready(Ok(taken))
        })
        .await
    }

    fn poll(&self, attempt: u32, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Parcel>, UploadError>>> {
        let source = &mut *self.source.borrow_mut();
        if self.upload.is_over() || attempt != source.attempt {
            return Poll::Ready(Some(Err(UploadError::new())));
        }
        if let Some(gate) = &mut source.gate {
            if gate.as_mut().poll(cx).is_pending() {
                source.await_beginning(&self.upload);
                return Poll::Pending;
            }
            source.gate = None;
            self.upload.gate.take();
        }
        let polled = match source.held.next() {
            Some(piece) => Ok(Some(piece)),
            None => {
                let taken = ready!(source.poll_more(&self.upload, cx));
                if let Ok(Some(piece)) = &taken {
                    source.held.pass(piece, || source.memory.has_room());
                }
                taken
            }
        };
        source.memory.set(source.held.size());
        let frame = match polled {
            Ok(Some(piece)) => Some(Frame::data(source.sent_ahead.parcel(piece))),
            Ok(None) => source.next_trailers().map(Frame::trailers),
            Err(_) => return Poll::Ready(Some(Err(UploadError::new()))),
        };
        self.upload.progress.set(Some(Instant::now()));
        let is_complete = frame.is_none() || source.is_end_stream();
        if let Some(ahead) = self.upload.ahead.as_ref().filter(|_| is_complete) {
            ahead.end();
        }
        self.upload.complete.set(is_complete);
        Poll::Ready(frame.map(Ok))
    }

    /// Begins another attempt, which is counted by the answer; `None` when what the first one had is no longer held.
    fn begin_again(&self) -> Option<u32> {
        let source = &mut *self.source.borrow_mut();
        if self.upload.failure.get().is_some() || !source.held.rewind() {
            return None;
        }
        source.attempt += 1;
        source.has_passed_trailers = false;
        source.gate = None;
        self.upload.gate.take();
        self.upload.complete.set(false);
        self.upload.awaits_client.set(false);
        self.upload.ahead.iter().for_each(BodyAhead::fall_behind);
        // The attempt before may still wait for more of it, and hold a stream meanwhile.
        self.upload.wake();
        Some(source.attempt)
    }
}

impl Drop for ClientBody {
    /// Takes what waits unread, to know how much that is: hyper would throw it away.
    fn drop(&mut self) {
        let Some(ahead) = self.upload.ahead.as_ref().filter(|ahead| !ahead.is_over()) else { return };
        let source = self.source.get_mut();
        let mut nobody = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut source.incoming).poll_frame(&mut nobody) {
            ahead.took(&frame);
        }
        ahead.end();
    }
}

impl Source {
    /// The next piece of what the client sends; `None` at the end, when the trailers have come too.
    fn poll_more(&mut self, upload: &Upload, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, UploadFailure>> {
        if self.is_over {
            return Poll::Ready(Ok(None));
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        upload.awaits_client.set(polled.is_pending());
        if let Some(ahead) = &upload.ahead {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => ahead.took(frame),
                Poll::Ready(None | Some(Err(_))) => ahead.end(),
                Poll::Pending => ahead.caught_up(),
            }
        }
        let failure = match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.pace.iter_mut().for_each(Pace::came);
                match frame.into_data() {
                    Ok(piece) => {
                        upload.bytes.set(upload.bytes.get() + piece.len() as u64);
                        let has_begun = upload.bytes.get() >= BEGINNING_BYTES as u64 || self.incoming.is_end_stream();
                        self.awaited.take_if(|_| has_begun);
                        return Poll::Ready(Ok(Some(piece)));
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        let hits = &self.memory.worker().stats().limit_hits;
                        self.trailers = trailers.and_then(|trailers| self.trailer_terms.pass_to_node(trailers, hits));
                    }
                }
                self.end();
                return Poll::Ready(Ok(None));
            }
            Poll::Ready(None) if !framing::is_cut_short(&self.incoming, self.is_http2) => {
                self.end();
                return Poll::Ready(Ok(None));
            }
            Poll::Ready(None | Some(Err(_))) => UploadFailure::Broken,
            Poll::Pending => {
                self.await_beginning(upload);
                match &mut self.pace {
                    Some(pace) => ready!(pace.poll_over(upload.bytes.get(), cx)),
                    None => return Poll::Pending,
                }
            }
        };
        upload.failure.set(Some(failure));
        Poll::Ready(Err(failure))
    }

    /// The client is waited for, which counts over HTTP/1 until it has begun.
    fn await_beginning(&mut self, upload: &Upload) {
        if !self.is_http2 && upload.bytes.get() < BEGINNING_BYTES as u64 {
            self.awaited.get_or_insert_with(|| self.memory.worker().awaited_bodies.count());
        }
    }

    /// The client has sent everything.
    fn end(&mut self) {
        self.is_over = true;
        self.awaited = None;
    }

    /// The trailers, unless there are none or the attempt of the moment has had them.
    fn next_trailers(&mut self) -> Option<HeaderMap> {
        let has_passed = std::mem::replace(&mut self.has_passed_trailers, true);
        if has_passed { None } else { self.trailers.clone() }
    }

    /// Whether the attempt of the moment has had everything, as far as that shows before it asks for more.
    fn is_end_stream(&self) -> bool {
        let owes_trailers = self.trailers.is_some() && !self.has_passed_trailers;
        self.held.waiting() == 0 && !owes_trailers && self.incoming.is_end_stream()
    }
}

/// Ends when the body may be sent, or when it is clear that it never will be.
async fn hold_back(upload: Rc<Upload>, go_ahead: Arc<Notify>) {
    let silent = tokio::time::timeout(CONTINUE_WAIT, go_ahead.notified()).await.is_err();
    if silent && upload.is_answered.get() {
        go_ahead.notified().await;
    }
}

/// Tells hyper to give the request up; why is in [`Upload`]. A node of HTTP/2 gets the reason for RST_STREAM.
#[derive(Debug, thiserror::Error)]
#[error("the client's body cannot be completed")]
pub(crate) struct UploadError(#[source] h2::Error);

impl UploadError {
    fn new() -> UploadError {
        UploadError(h2::Reason::CANCEL.into())
    }
}
