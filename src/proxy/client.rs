//! A client's connection: which protocol it speaks, whether it dawdles, and how it is told to leave.

use crate::metrics::limit::Limit;
use crate::proxy::frame_meter::FrameMeter;
use crate::proxy::gather;
use crate::proxy::inspector::Inspector;
use crate::proxy::limits::Limits;
use crate::proxy::streams::Resets;
use crate::proxy::streams::Turn;
use crate::proxy::transport::BeforeEnd;
use crate::proxy::transport::Transport;
use crate::proxy::worker::Phase;
use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use socket2::SockRef;
use std::cell::Cell;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::time::Instant;

/// What is known of one client connection; only its own worker touches it.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// Whether it is clear which protocol the client speaks. Before, it may be about to send its first request.
    is_known: Cell<bool>,
    is_http2: Cell<bool>,
    /// Whether nobody else can read what is sent.
    is_encrypted: Cell<bool>,
    /// Requests being answered.
    busy: Cell<usize>,
    /// Whether the connection ends with the response of the moment.
    is_last: Cell<bool>,
    /// Whether the client may still send a body that nobody reads any more.
    has_unread: Cell<bool>,
    /// Whether bytes of an unfinished head have come.
    has_begun: Cell<bool>,
    /// When that was noticed.
    head_since: Cell<Option<Instant>>,
    /// When the last request ended, or the client connected.
    idle_since: Cell<Instant>,
    /// Since when the client takes none of what is written to it.
    stalled_since: Cell<Option<Instant>>,
    /// Whether it sent too many frames that ask for nothing.
    pub(crate) has_flooded: Cell<bool>,
    /// Whether nothing is read until the request of the moment is answered.
    is_reading_held: Cell<bool>,
    /// Whose turn it is in the stream that is polled, once that is known.
    pub(crate) turn: Cell<Option<Turn>>,
    pub(crate) resets: Resets,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

/// How long after it connected, or its last response, a client may begin a request although the process leaves.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A client that said nothing for this long is likely to say nothing for longer.
const REST_AFTER: Duration = Duration::from_secs(1);

/// What the worker asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Go on.
    Serve,
    /// Keep no memory while there is nothing to do.
    Rest,
    /// Finish what is open, then close.
    Finish,
    /// Close at once.
    Abort,
}

impl ClientState {
    /// A connection accepted now.
    pub(crate) fn new() -> Rc<ClientState> {
        Rc::new(ClientState {
            is_known: Cell::new(false),
            is_http2: Cell::new(false),
            is_encrypted: Cell::new(false),
            busy: Cell::new(0),
            is_last: Cell::new(false),
            has_unread: Cell::new(false),
            has_begun: Cell::new(false),
            head_since: Cell::new(None),
            idle_since: Cell::new(Instant::now()),
            stalled_since: Cell::new(None),
            has_flooded: Cell::new(false),
            is_reading_held: Cell::new(false),
            turn: Cell::new(None),
            resets: Resets::default(),
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
        })
    }

    /// The handshake of TLS is over.
    pub(crate) fn encrypted(&self) {
        self.is_encrypted.set(true);
    }

    /// Whether the client speaks TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.is_encrypted.get()
    }

    /// A request head is complete.
    pub(crate) fn request_began(&self) {
        self.busy.set(self.busy.get() + 1);
        self.has_begun.set(false);
        self.head_since.set(None);
    }

    /// Told for every request whether it is the last one on its connection, see `Inbound::is_last`.
    pub(crate) fn expect_end(&self, is_last: bool) {
        self.is_last.set(is_last);
    }

    /// Told for every request with a body whether that may be cut short.
    pub(crate) fn leaves_unread(&self, may_come: bool) {
        self.has_unread.set(may_come);
    }

    /// Whether the client may still send a body that nobody reads any more.
    pub(crate) fn has_unread(&self) -> bool {
        self.has_unread.get()
    }

    /// Whether nothing comes after what is written now.
    fn writes_last(&self) -> bool {
        self.is_last.get() && self.busy.get() == 0
    }

    /// A request and its response are over.
    pub(crate) fn request_ended(&self, now: Instant) {
        self.busy.set(self.busy.get() - 1);
        self.idle_since.set(now);
        if self.busy.get() == 0 && self.is_reading_held.take() {
            self.wake();
        }
    }

    /// Whether the client speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2.get()
    }

    /// Bytes came: unless a request is open, they begin a head.
    fn bytes_came(&self) {
        if self.busy.get() == 0 && !self.is_http2.get() {
            self.has_begun.set(true);
        }
    }

    /// All bytes that came were looked at: a head that is still unfinished has until `head-timeout` from now.
    pub(crate) fn bytes_seen(&self) {
        if self.has_begun.get() && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// Something was written, or could not be because the client reads nothing.
    fn wrote<T>(&self, polled: &Poll<T>) {
        if self.stalled_since.get().is_some() != polled.is_pending() {
            self.stalled_since.set(polled.is_pending().then(Instant::now));
        }
    }

    /// Whether the client has taken nothing of what is written to it for longer than so.
    pub(crate) fn is_stalled_for(&self, patience: Duration) -> bool {
        self.stalled_since.get().is_some_and(|since| since.elapsed() > patience)
    }

    /// Whether the client has had all that was for it and asks for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.get() == 0 && !self.has_begun.get() && self.stalled_since.get().is_none()
    }

    /// What a connection should be told that has overstayed, and for which limit if that is no mere idleness. A head
    /// that took longer than `head-timeout` must go at once, and so must a client that takes nothing of its response
    /// for longer than `write-timeout`; one that was idle for so long may say goodbye, and so may one that is still
    /// silent when the process closes. What a client of HTTP/2 has not taken by `write-timeout` after that, it never
    /// will.
    pub(crate) fn overstayed(&self, limits: &Limits, phase: Phase) -> Option<(Order, Option<Limit>)> {
        if self.is_stalled_for(limits.write_timeout) {
            return Some((Order::Abort, Some(Limit::WriteTimeout)));
        }
        if self.busy.get() > 0 {
            return None;
        }
        if let Some(since) = self.head_since.get() {
            return (since.elapsed() > limits.head_timeout).then_some((Order::Abort, Some(Limit::HeadTimeout)));
        }
        let idle = self.idle_since.get().elapsed();
        let is_leaving = phase >= Phase::HandedOver;
        let patience = if is_leaving { LAST_WORDS.min(limits.idle_timeout) } else { limits.idle_timeout };
        if self.is_http2.get() && idle > patience.saturating_add(limits.write_timeout) {
            return Some((Order::Abort, Some(Limit::WriteTimeout)));
        }
        if idle > patience {
            return Some((Order::Finish, None));
        }
        (idle > REST_AFTER && self.is_known.get() && !self.is_http2.get()).then_some((Order::Rest, None))
    }

    /// Tells the connection what to do; until it has rested, orders only get stricter. Returns whether this one does.
    pub(crate) fn order(&self, order: Order) -> bool {
        let is_news = self.order.get() < order;
        if is_news {
            self.order.set(order);
            self.wake();
        }
        is_news
    }

    /// The connection is needed again.
    pub(crate) fn rested(&self) {
        if self.order.get() == Order::Rest {
            self.order.set(Order::Serve);
        }
    }

    /// What the connection should do in this phase of the process's life: HTTP/2 is told to go as soon as draining
    /// begins, because GOAWAY loses nothing; HTTP/1 is closed response by response first, for as long as the process
    /// can afford, and a client whose protocol is not clear yet is let speak.
    pub(crate) fn order_in(&self, phase: Phase) -> Order {
        let leaving = match phase {
            Phase::Starting | Phase::Running | Phase::Ended => false,
            Phase::Draining | Phase::HandedOver => self.is_http2.get(),
            Phase::Closing => true,
        };
        let ordered = self.order.get();
        if leaving && self.is_known.get() { ordered.max(Order::Finish) } else { ordered }
    }

    /// Remembers the task to wake when an order is given; always ready.
    pub(crate) fn remember(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Ready(())
    }

    /// Wakes the connection so that it looks at its orders and at the phase.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// Tells those of `clients` to leave that have been idle for longest, a few at a time; none that is so only since the
/// moment, because it may be about to ask.
pub(crate) fn close_longest_idle<'a>(clients: impl Iterator<Item = &'a ClientState>, now: Instant) {
    let is_leaving = |client: &ClientState| client.order.get() >= Order::Finish;
    let since = |client: &&ClientState| client.idle_since.get();
    let idle = clients.filter(|client| client.is_idle() && !is_leaving(client));
    let mut idle: Vec<&ClientState> =
        idle.filter(|client| now.saturating_duration_since(since(client)) > REST_AFTER).collect();
    if idle.len() > CLOSE_AT_ONCE {
        idle.select_nth_unstable_by_key(CLOSE_AT_ONCE, since);
    }
    for client in idle.iter().take(CLOSE_AT_ONCE) {
        client.order(Order::Finish);
    }
}

/// How many idle connections are closed at a time when files are short.
const CLOSE_AT_ONCE: usize = 16;

/// The client's stream with the bytes read while finding out the protocol.
pub(crate) struct ClientStream {
    stream: Transport,
    /// What was read and found in order, but not taken yet.
    read_ahead: Bytes,
    /// What follows a request that asks for another protocol, until it is clear which one that is in.
    held: BytesMut,
    /// Absent where HTTP/2 is spoken, of which the frames are counted.
    inspector: Option<Inspector>,
    meter: FrameMeter,
    state: Rc<ClientState>,
}

/// RFC 9113 section 3.4: what a client with prior knowledge of HTTP/2 sends first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl ClientStream {
    /// A stream on which nothing was read yet.
    pub(crate) fn new(stream: Transport, state: &Rc<ClientState>, limits: &Limits) -> ClientStream {
        let inspector = Some(Inspector::new(limits.max_chunk_extension_bytes));
        let meter = FrameMeter::new(HTTP2_PREFACE.len(), limits.max_control_frames);
        let (read_ahead, held, state) = (Bytes::new(), BytesMut::new(), Rc::clone(state));
        ClientStream { stream, read_ahead, held, inspector, meter, state }
    }

    /// The stream, and what was read from it ahead, once no HTTP is spoken any more.
    pub(crate) fn into_parts(self) -> (Transport, Bytes) {
        if self.held.is_empty() {
            return (self.stream, self.read_ahead);
        }
        (self.stream, [self.read_ahead, self.held.freeze()].concat().into())
    }

    /// Gives bytes back that were read but not used; nothing else is waiting to be read again.
    pub(crate) fn unread(&mut self, unused: Bytes) {
        if !unused.is_empty() {
            // They are of a head that was begun behind the last request.
            self.state.bytes_came();
        }
        // Even an empty piece would keep the buffer that it is a piece of.
        self.read_ahead = if unused.is_empty() { Bytes::new() } else { unused };
    }

    /// Ends this side only.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Fails for a client that is to go at once although it has yet to take something: the system throws that away too,
    /// rather than keep it for minutes, once the socket is closed.
    fn check_order(&self) -> io::Result<()> {
        if self.state.order.get() < Order::Abort {
            return Ok(());
        }
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Waits until there is something to read, be it the end.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.read_ahead.is_empty() { self.stream.readable().await } else { Ok(()) }
    }

    /// Reads until it is clear whether the client speaks HTTP/2, of which TLS leaves no doubt once something comes.
    pub(crate) async fn speaks_http2(&mut self) -> io::Result<bool> {
        let mut read_ahead = BytesMut::new();
        let is_http2 = loop {
            let is_over = poll_fn(|cx| self.poll_append(&mut read_ahead, cx)).await?;
            self.state.bytes_came();
            if let Some(agreed) = self.stream.is_http2() {
                break agreed;
            }
            if read_ahead.starts_with(HTTP2_PREFACE) {
                break true;
            }
            if is_over || !HTTP2_PREFACE.starts_with(&read_ahead) {
                break false;
            }
        };
        self.state.is_known.set(true);
        self.state.is_http2.set(is_http2);
        if let Some(inspector) = self.inspector.as_mut().filter(|_| !is_http2) {
            let taken = inspector.inspect(&mut read_ahead);
            self.held = read_ahead.split_off(taken);
        }
        self.read_ahead = read_ahead.freeze();
        if is_http2 {
            self.inspector = None;
            self.meter.allows(&self.read_ahead);
            self.state.has_begun.set(false);
            self.state.head_since.set(None);
        }
        Ok(is_http2)
    }

    /// Reads once, as much as most request heads are long; ready with whether the client has ended its stream. Until
    /// something comes, no memory is held for it.
    fn poll_append(&mut self, read_ahead: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut piece = [0; 2048];
        let mut buffer = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        read_ahead.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().is_empty()))
    }

    /// Looks at what was read into `buf` behind `begin`, and takes back what may be in another protocol.
    ///
    /// # Errors
    /// When a client of HTTP/2 has sent too much for nothing.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, begin: usize) -> io::Result<()> {
        let read = &mut buf.filled_mut()[begin..];
        if let Some(inspector) = &mut self.inspector {
            let taken = inspector.inspect(read);
            self.held.extend_from_slice(&read[taken..]);
            buf.set_filled(begin + taken);
        } else if !self.meter.allows(read) {
            self.state.has_flooded.set(true);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Ready once the request that asks for another protocol is answered in this one, and with whether the client has
    /// left before.
    fn poll_stays(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(inspector) = self.inspector.as_mut().filter(|inspector| inspector.is_switching()) else {
            return Poll::Ready(Ok(false));
        };
        let mut held = std::mem::take(&mut self.held);
        if self.state.busy.get() == 0 {
            inspector.stays();
            if !held.is_empty() {
                self.state.bytes_came();
                let taken = inspector.inspect(&mut held);
                self.held = held.split_off(taken);
                self.read_ahead = held.freeze();
            }
            return Poll::Ready(Ok(false));
        }
        self.state.is_reading_held.set(true);
        // Read once, to see whether the client leaves; more would be held for nothing.
        let polled = if held.is_empty() { self.poll_append(&mut held, cx) } else { Poll::Pending };
        self.held = held;
        match polled {
            Poll::Ready(Ok(false)) => Poll::Pending,
            polled => polled,
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read_ahead.is_empty() && ready!(this.poll_stays(cx))? {
            return Poll::Ready(Ok(()));
        }
        if !this.read_ahead.is_empty() {
            let length = this.read_ahead.len().min(buf.remaining());
            buf.put_slice(&this.read_ahead[..length]);
            this.read_ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.state.bytes_came();
            this.inspect(buf, before)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_order()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.state.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS takes more than it can send.
        if self.state.is_encrypted() {
            self.state.wrote(&flushed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.state.writes_last() && !self.state.is_encrypted() {
            // hyper is done with the stream, so that it is closed next, which says the same with one call less.
            return Poll::Ready(Ok(()));
        }
        // Closing would drop what is held back, were there anything that nobody reads; and in TLS the end is said.
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.state.wrote(&ended);
        ended
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_order()?;
        let plain = if self.state.writes_last() { self.stream.as_plain() } else { None };
        let written = if let Some(stream) = plain {
            gather::poll_write(Pin::new(&mut BeforeEnd(stream)), cx, bufs)
        } else {
            gather::poll_write(Pin::new(&mut self.stream), cx, bufs)
        };
        self.state.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
