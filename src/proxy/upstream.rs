//! One worker's view of one node: its kept connections, and how a request is sent over one.

use crate::metrics::stats::NodeStripe;
use crate::proxy::dial;
use crate::proxy::dial::NodeStream;
use crate::proxy::error::ConnectFailure;
use crate::proxy::files::Files;
use crate::proxy::files::NodeFile;
use crate::proxy::gather;
use crate::proxy::linger::Linger;
use crate::proxy::request_body::RequestBody;
use crate::proxy::request_body::Upload;
use crate::proxy::settings::PoolSettings;
use crate::proxy::table::Upstream;
use crate::proxy::upstream_h2::SharedConnections;
use crate::proxy::waiting::Waiting;
use bytes::BufMut;
use bytes::Bytes;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper::client::conn::http1::Parts;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use slab::Slab;
use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Instant;

/// What is read from a node ahead of its client, a response head or a part of a body, is at most this many bytes. hyper
/// begins with 8 kB and reads more at once only from nodes that fill that.
pub(super) const READ_BYTES_MAX: usize = 512 << 10;

/// How much is read at once until a response has a head, which most are shorter than: about what the socket of a client
/// that takes nothing takes of it even when the system is short of memory, so that nothing need be held.
const HEAD_READ_BYTES: usize = 4 << 10;

/// hyper has room for this much until a node has filled it; where one has, reading its answers by halves is noticed.
const HYPER_READS_FIRST: usize = 8 << 10;

/// One worker's connections to one node. Nothing here is shared between threads.
pub(crate) struct LocalNode {
    /// The node as all workers know it.
    pub(crate) upstream: Arc<Upstream>,
    worker: usize,
    files: Arc<Files>,
    idle: RefCell<Vec<Idle>>,
    /// Those of HTTP/2.
    pub(super) shared: SharedConnections,
    /// All connections, in use or idle.
    open: RefCell<Slab<Arc<Waiting>>>,
}

struct Idle {
    connection: Box<Connection>,
    /// When it has been kept for long enough.
    until: Instant,
}

impl Idle {
    fn is_fresh(&self, now: Instant) -> bool {
        now < self.until && self.connection.leads_to_node()
    }
}

/// The stream under a connection. hyper tries to read from it several times for every request; once nothing was there,
/// that is not tried again before there has been a wake-up.
struct DrivenStream {
    stream: NodeStream,
    is_dry: bool,
    /// Whether hyper may have more to write than it has written.
    has_unsent: bool,
    waiting: Arc<Waiting>,
}

/// A connection that can carry one request at a time. No task of its own moves its bytes: whoever waits for the answer
/// polls it, which spares every request two hand-overs between tasks.
pub(crate) struct Connection {
    sender: SendRequest<RequestBody>,
    /// Speaks HTTP over the stream, until that is over.
    driver: Option<http1::Connection<TokioIo<DrivenStream>, RequestBody>>,
    /// What HTTP left behind.
    remains: Option<Parts<TokioIo<DrivenStream>>>,
    /// Whether it carried a request before: then the node may be closing it at this very moment.
    pub(crate) is_reused: bool,
    /// Wakes whoever waits for it.
    waker: Waker,
    /// Whether it is a TCP connection with nothing between the socket and HTTP.
    is_plain: bool,
    /// Which answer of the resolver it was made by.
    generation: u64,
    open: OpenConnection,
}

/// A connection over which no HTTP is spoken, for a while or for good.
pub(crate) struct RawConnection {
    pub(crate) stream: NodeStream,
    /// What was read from it and not used.
    pub(crate) ahead: Bytes,
    /// Whether some of the last request was never sent, so that the node would take another one for it.
    pub(crate) has_unsent: bool,
    pub(crate) open: OpenConnection,
    generation: u64,
}

/// A connection to a node that is open, counted and lets itself be cut, until it is dropped.
pub(crate) struct OpenConnection {
    slot: Slot,
    waiting: Arc<Waiting>,
    /// Its number at the node.
    id: usize,
}

/// One of the connections that may be open to a node, from before it is opened.
pub(super) struct Slot {
    node: Rc<LocalNode>,
    _file: NodeFile,
}

impl Slot {
    /// One more, for `file` or another one, unless `max` are taken or there are no files left.
    pub(super) fn take(node: &Rc<LocalNode>, max: Option<u32>, file: Option<NodeFile>) -> Result<Slot, ConnectFailure> {
        let upstream = &node.upstream;
        let file = file.or_else(|| node.files.for_node()).ok_or(ConnectFailure::Files)?;
        if upstream.load.try_connect(max.map_or(u64::MAX, u64::from)) {
            return Ok(Slot { node: Rc::clone(node), _file: file });
        }
        upstream.refused.note(node.worker);
        Err(ConnectFailure::Limit)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.node.upstream.load.disconnect();
    }
}

/// What sending a request over one connection came to.
pub(crate) type Answer = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

impl LocalNode {
    /// No connections yet.
    pub(crate) fn new(upstream: Arc<Upstream>, worker: usize, files: &Arc<Files>) -> LocalNode {
        LocalNode {
            upstream,
            worker,
            files: Arc::clone(files),
            idle: RefCell::default(),
            shared: SharedConnections::default(),
            open: RefCell::default(),
        }
    }

    /// This worker's counters of the node.
    pub(crate) fn stats(&self) -> &NodeStripe {
        self.upstream.stats.of(self.worker)
    }

    /// The connection that was used last, if it can carry a request at once.
    pub(crate) fn ready_connection(&self, now: Instant) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let last = idle.pop_if(|last| last.is_fresh(now) && last.connection.sender.is_ready())?;
        self.stats().idle_connections.add(-1);
        Some(last.connection)
    }

    /// A kept connection that gets ready, if there is one and it `may_reuse` it, else a new one for `file` or another
    /// one, unless there are `max-connections`; for when none is ready. One that takes longer than `timeouts.connect`,
    /// because its node has yet to read the end of the request before, is given up; a new one may take as long.
    pub(crate) async fn connection(
        self: &Rc<Self>,
        settings: &PoolSettings,
        may_reuse: bool,
        file: Option<NodeFile>,
    ) -> Result<Box<Connection>, ConnectFailure> {
        loop {
            let Some(mut idle) = self.idle.borrow_mut().pop_if(|_| may_reuse) else {
                return self.connect(settings, file).await;
            };
            self.stats().idle_connections.add(-1);
            if !idle.is_fresh(Instant::now()) {
                continue;
            }
            let ready = poll_fn(|cx| idle.connection.poll_ready(cx));
            if let Ok(true) = tokio::time::timeout(settings.timeouts.connect, ready).await {
                return Ok(idle.connection);
            }
        }
    }

    async fn connect(
        self: &Rc<Self>,
        settings: &PoolSettings,
        file: Option<NodeFile>,
    ) -> Result<Box<Connection>, ConnectFailure> {
        let slot = Slot::take(self, settings.load.max_connections, file)?;
        let generation = self.upstream.resolved.generation();
        let stream = dial::open_within(&self.upstream, settings.timeouts.connect).await?;
        let open = OpenConnection::new(slot, Arc::default());
        RawConnection { stream, ahead: Bytes::new(), has_unsent: false, open, generation }.into_http().await
    }

    /// Whether there is any connection, in use or idle.
    pub(crate) fn is_connected(&self) -> bool {
        !self.open.borrow().is_empty()
    }

    /// Keeps a connection whose request and response are complete for so long, unless the node has left, enough are
    /// kept, or others are short of them or of files.
    pub(crate) fn keep(&self, mut connection: Box<Connection>, max_idle: usize, patience: Duration) {
        let mut idle = self.idle.borrow_mut();
        let is_of_use = connection.driver.is_some() && connection.leads_to_node();
        if self.upstream.is_retired() || !is_of_use || idle.len() >= max_idle || self.gives_way() {
            return;
        }
        connection.is_reused = true;
        connection.wake_nobody();
        idle.push(Idle { connection, until: Instant::now() + patience });
        self.stats().idle_connections.add(1);
    }

    /// Whether a connection that is not in use is to be closed, because a request waits for its file, or other workers
    /// may open none for `max-connections`. While requests wait for room, any of them may be next, so that none is
    /// kept; after that, one time is enough.
    pub(super) fn gives_way(&self) -> bool {
        let is_refused = self.upstream.refused.is_other(self.worker);
        if is_refused && !self.upstream.load.is_queued() {
            self.upstream.refused.clear();
        }
        is_refused || self.files.is_awaited()
    }

    /// Closes idle connections that were so for too long, that the node closed or that lead elsewhere by now, or all
    /// when the node is on its way out or other workers are short of them; and once the time of the node is over, those
    /// in use too.
    pub(crate) fn sweep(&self) {
        let (now, leave) = (Instant::now(), self.upstream.leaving.get());
        // Who has nothing to give leaves the note to those who do.
        let has_any = !self.idle.borrow().is_empty() || !self.shared.is_empty();
        let gives_way = has_any && self.gives_way();
        self.sweep_idle(now, leave.is_some() || gives_way);
        self.shared.sweep(&self.upstream.load, leave.is_some(), gives_way);
        if leave.is_some_and(|leave| leave.is_over(now)) {
            self.cut();
        }
    }

    /// Until when the connection would be kept that has been idle for longest, if there is any.
    pub(crate) fn idle_until(&self) -> Option<Instant> {
        let own = self.idle.borrow().first().map(|idle| idle.until);
        own.into_iter().chain(self.shared.idle_until()).min()
    }

    /// Closes the connection that has been idle for longest, of which there must be one.
    pub(crate) fn close_one_idle(&self) {
        if self.idle.borrow().is_empty() {
            return self.shared.close_one_idle();
        }
        self.count_closed(self.idle.borrow_mut().drain(..1).count());
    }

    fn count_closed(&self, idle: usize) {
        self.stats().idle_connections.add(-i64::try_from(idle).unwrap_or(i64::MAX));
    }

    fn sweep_idle(&self, now: Instant, all: bool) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        if all {
            idle.clear();
        } else {
            // Nobody waits for a connection that is kept.
            let mut cx = Context::from_waker(Waker::noop());
            idle.retain_mut(|idle| idle.is_fresh(now) && idle.connection.poll_over(&mut cx).is_pending());
        }
        self.count_closed(before - idle.len());
    }

    /// Cuts all connections: whoever waits for an answer, a body or a tunnel over one sees it break.
    fn cut(&self) {
        let cut = self.open.borrow().iter().filter(|(_, waiting)| waiting.cut()).count();
        if cut > 0 {
            self.stats().cut_connections.add(cut as u64);
            tracing::info!(node = %self.upstream.name, connections = cut, "the drain deadline cut connections");
        }
    }
}

impl Connection {
    /// Sends one request; the answer comes while the connection is driven. An error holds the request if nothing of it
    /// was sent.
    pub(crate) fn send(&mut self, request: Request<RequestBody>) -> impl Future<Output = Answer> + use<> {
        self.sender.try_send_request(request)
    }

    /// Drives it until it has brought the head of the answer, and then wakes nobody.
    pub(crate) fn drive_for<T>(&mut self, cx: &mut Context<'_>, answer: impl FnOnce() -> Poll<T>) -> Poll<T> {
        self.open.waiting.set_for_head(true);
        self.drive(cx);
        let polled = answer();
        if polled.is_ready() {
            self.open.waiting.set_for_head(false);
            self.wake_nobody();
        }
        polled
    }

    /// Moves bytes both ways. That the connection is over shows in what it brought.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else { return };
        self.open.waiting.set(cx.waker());
        let Poll::Ready(ended) = Pin::new(driver).poll(&mut Context::from_waker(&self.waker)) else {
            return;
        };
        if let Err(error) = ended {
            tracing::debug!(node = %self.open.slot.node.upstream.name, %error, "connection to a node ended");
        }
        // Whoever still waits for an answer is told that none will come.
        self.remains = self.driver.take().map(http1::Connection::into_parts);
    }

    /// The node that it leads to.
    pub(crate) fn node_name(&self) -> &str {
        &self.open.slot.node.upstream.name
    }

    /// Whether it was cut because the time of its node was over, so that what breaks is nobody's fault.
    pub(crate) fn is_cut(&self) -> bool {
        self.open.is_cut()
    }

    /// Whether the name of the node still leads where the connection does.
    fn leads_to_node(&self) -> bool {
        self.generation == self.open.slot.node.upstream.resolved.generation()
    }

    /// Drives the connection; ready once it is of no more use.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.drive(cx);
        if self.driver.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Wakes nobody until [`Connection::wake_for`] or the next drive: what is done with the connection in the meantime,
    /// such as taking from a body that it brought, would wake the very task that does it.
    pub(crate) fn wake_nobody(&self) {
        self.open.waiting.set_nobody();
    }

    /// Wakes the task of `cx` when there is more to do.
    pub(crate) fn wake_for(&self, cx: &Context<'_>) {
        self.open.waiting.set(cx.waker());
    }

    /// Ready with whether the next request may be sent.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.poll_over(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => self.sender.poll_ready(cx).map(|ready| ready.is_ok()),
        }
    }

    /// Lets an upload go on for a little that its node has answered early, because most are nearly over. One that is
    /// not is given up: neither its node nor its client is held for what nobody asks for any more.
    pub(crate) fn linger(mut self: Box<Self>, upload: Rc<Upload>, linger: Linger) {
        let most = upload.bytes.get() + linger.bytes;
        let over = move |cx: &mut Context<'_>| match self.poll_over(cx) {
            Poll::Pending if upload.bytes.get() <= most => Poll::Pending,
            Poll::Pending | Poll::Ready(()) => Poll::Ready(()),
        };
        tokio::task::spawn_local(async move {
            tokio::time::timeout(linger.timeout, poll_fn(over)).await.unwrap_or_default();
        });
    }

    /// Whether all that is still to come of a response of known length can be taken from the socket.
    pub(crate) fn is_relayable(&self) -> bool {
        self.is_plain && self.driver.is_some()
    }

    /// The connection without HTTP: after a switch of protocols, or in the middle of a response.
    pub(crate) fn into_raw(self) -> Option<RawConnection> {
        let parts = self.remains.or_else(|| self.driver.map(http1::Connection::into_parts))?;
        let DrivenStream { stream, has_unsent, .. } = parts.io.into_inner();
        Some(RawConnection { stream, ahead: parts.read_buf, has_unsent, open: self.open, generation: self.generation })
    }
}

impl RawConnection {
    /// Speaks HTTP from now on, of which nothing is under way.
    pub(crate) async fn into_http(self) -> Result<Box<Connection>, ConnectFailure> {
        let RawConnection { stream, open, generation, .. } = self;
        let is_plain = dial::as_tcp(&stream).is_some();
        let waker = Waker::from(Arc::clone(&open.waiting));
        let waiting = Arc::clone(&open.waiting);
        let stream = DrivenStream { stream, is_dry: false, has_unsent: false, waiting };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BYTES_MAX);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(|_| ConnectFailure::Refused)?;
        let (driver, remains, is_reused) = (Some(driver), None, false);
        Ok(Box::new(Connection { sender, driver, remains, is_reused, waker, is_plain, generation, open }))
    }
}

impl AsyncRead for DrivenStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_dry && !self.waiting.is_woken() {
            return Poll::Pending;
        }
        self.waiting.look();
        if self.waiting.is_cut() {
            // An error and no end of the stream, which could be taken for the end of a response.
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = if self.waiting.is_for_head() && buf.remaining() <= HYPER_READS_FIRST {
            let most = &mut buf.limit(HEAD_READ_BYTES);
            tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, most).map_ok(|_| ())
        } else {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        };
        self.is_dry = polled.is_pending();
        polled
    }
}

impl AsyncWrite for DrivenStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.has_unsent = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    /// hyper flushes once it has written all it had.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_unsent = false;
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
        self.has_unsent = true;
        gather::poll_write(Pin::new(&mut self.stream), cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl OpenConnection {
    /// Counts it from now on.
    pub(super) fn new(slot: Slot, waiting: Arc<Waiting>) -> OpenConnection {
        slot.node.stats().connections.add(1);
        let id = slot.node.open.borrow_mut().insert(Arc::clone(&waiting));
        OpenConnection { slot, waiting, id }
    }

    /// Waits until the connection is cut.
    pub(crate) async fn cut(&self) {
        poll_fn(|cx| self.poll_cut(cx)).await;
    }

    /// Whether it was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.waiting.is_cut()
    }

    /// Ready once the connection is cut.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        self.waiting.poll_cut(cx)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.slot.node.open.borrow_mut().remove(self.id);
        self.slot.node.stats().connections.add(-1);
    }
}
