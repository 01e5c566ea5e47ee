//! A client's connection: which protocol it speaks, whether it dawdles, and how it is told to leave.

use crate::proxy::settings::Limits;
use crate::proxy::worker::Phase;
use bytes::Buf;
use bytes::BytesMut;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;
use std::time::Instant;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// What is known of one client connection. Only its own worker touches it; it is atomic because hyper asks that the
/// stream, which writes it too, could be sent to another thread for an upgrade.
#[derive(Debug)]
pub(crate) struct ClientState {
    born: Instant,
    /// Whether it is clear which protocol the client speaks. Before, it may be about to send its first request.
    is_known: AtomicBool,
    is_http2: AtomicBool,
    /// Requests being answered.
    busy: AtomicUsize,
    /// Milliseconds after `born` at which the first byte of an unfinished head came, plus one; 0 without one.
    head_since: AtomicU64,
    /// Milliseconds after `born` at which the last request ended.
    idle_since: AtomicU64,
    /// Milliseconds after `born` since which the client takes none of what is written to it, plus one; 0 when it does.
    stalled_since: AtomicU64,
    order: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// How long after it connected a client may begin its first request although the process closes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the worker asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Go on.
    Serve = 0,
    /// Finish what is open, then close.
    Finish = 1,
    /// Close at once.
    Abort = 2,
}

impl ClientState {
    /// A connection accepted now.
    pub(crate) fn new() -> Arc<ClientState> {
        Arc::new(ClientState {
            born: Instant::now(),
            is_known: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            head_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            stalled_since: AtomicU64::new(0),
            order: AtomicUsize::new(Order::Serve as usize),
            waker: Mutex::new(None),
        })
    }

    /// A request head is complete.
    pub(crate) fn request_began(&self) {
        self.busy.fetch_add(1, Relaxed);
        self.head_since.store(0, Relaxed);
    }

    /// A request and its response are over.
    pub(crate) fn request_ended(&self) {
        self.busy.fetch_sub(1, Relaxed);
        self.idle_since.store(self.age_ms(), Relaxed);
    }

    /// Bytes came: unless a request is open, they begin a head.
    fn bytes_came(&self) {
        if self.busy.load(Relaxed) == 0 && !self.is_http2.load(Relaxed) && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(self.age_ms() + 1, Relaxed);
        }
    }

    /// Something was written, or could not be because the client reads nothing.
    fn wrote<T>(&self, polled: &Poll<T>) {
        let is_stalled = self.stalled_since.load(Relaxed) > 0;
        if is_stalled != polled.is_pending() {
            self.stalled_since.store(if is_stalled { 0 } else { self.age_ms() + 1 }, Relaxed);
        }
    }

    /// Whether the connection has overstayed. A head that took longer than `head-timeout` must go at once, and so must
    /// a client that takes nothing of its response for longer than `idle-timeout`; one that was idle for so long may
    /// say goodbye, and so may one that is still silent when the process closes.
    pub(crate) fn overstayed(&self, limits: &Limits, phase: Phase) -> Option<Order> {
        let now = self.age_ms();
        let since = |then: u64| u128::from(now.saturating_sub(then));
        let stalled = self.stalled_since.load(Relaxed);
        if stalled > 0 && since(stalled - 1) > limits.idle_timeout.as_millis() {
            return Some(Order::Abort);
        }
        if self.busy.load(Relaxed) > 0 {
            return None;
        }
        let idle = if phase < Phase::Closing { limits.idle_timeout } else { LAST_WORDS.min(limits.idle_timeout) };
        match self.head_since.load(Relaxed) {
            0 => (since(self.idle_since.load(Relaxed)) > idle.as_millis()).then_some(Order::Finish),
            began => (since(began - 1) > limits.head_timeout.as_millis()).then_some(Order::Abort),
        }
    }

    /// Tells the connection to leave; orders only ever get stricter.
    pub(crate) fn order(&self, order: Order) {
        if self.order.fetch_max(order as usize, Relaxed) < order as usize
            && let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            waker.wake_by_ref();
        }
    }

    /// What the connection should do in this phase of the process's life: HTTP/2 is told to go as soon as draining
    /// begins, because GOAWAY loses nothing; HTTP/1 is closed response by response first, and a client whose protocol
    /// is not clear yet is let speak.
    pub(crate) fn order_in(&self, phase: Phase) -> Order {
        let is_http2 = self.is_http2.load(Relaxed);
        let ordered = match self.order.load(Relaxed) {
            0 => Order::Serve,
            1 => Order::Finish,
            _ => Order::Abort,
        };
        let leaving = phase == Phase::Closing || (phase == Phase::Draining && is_http2);
        if leaving && self.is_known.load(Relaxed) { ordered.max(Order::Finish) } else { ordered }
    }

    /// Remembers the task to wake when an order is given; always ready.
    pub(crate) fn remember(&self, cx: &Context<'_>) -> Poll<()> {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        Poll::Ready(())
    }

    /// Wakes the connection so that it looks at the phase.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            waker.wake_by_ref();
        }
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The client's stream with the bytes read while finding out the protocol.
pub(crate) struct ClientStream {
    stream: TcpStream,
    read_ahead: BytesMut,
    state: Arc<ClientState>,
}

/// RFC 9113 section 3.4: what a client with prior knowledge of HTTP/2 sends first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl ClientStream {
    /// A stream on which nothing was read yet.
    pub(crate) fn new(stream: TcpStream, state: &Arc<ClientState>) -> ClientStream {
        ClientStream { stream, read_ahead: BytesMut::new(), state: Arc::clone(state) }
    }

    /// Reads until it is clear whether the client speaks HTTP/2.
    pub(crate) async fn speaks_http2(&mut self) -> io::Result<bool> {
        let mut read_ahead = BytesMut::with_capacity(HTTP2_PREFACE.len());
        let is_http2 = loop {
            let mut piece = [0; HTTP2_PREFACE.len()];
            let wanted = HTTP2_PREFACE.len() - read_ahead.len();
            let length = self.stream.read(&mut piece[..wanted]).await?;
            read_ahead.extend_from_slice(&piece[..length]);
            self.state.bytes_came();
            if length == 0 || !HTTP2_PREFACE.starts_with(&read_ahead) {
                break false;
            }
            if read_ahead.len() == HTTP2_PREFACE.len() {
                break true;
            }
        };
        self.read_ahead = read_ahead;
        self.state.is_known.store(true, Relaxed);
        self.state.is_http2.store(is_http2, Relaxed);
        if is_http2 {
            self.state.head_since.store(0, Relaxed);
        }
        Ok(is_http2)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
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
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.state.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.state.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
