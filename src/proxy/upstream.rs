//! One worker's view of one node: its kept connections, and how a request is sent over one.

use crate::cluster::node::NodeAddress;
use crate::metrics::stats::NodeStripe;
use crate::proxy::body::RequestBody;
use crate::proxy::error::ConnectFailure;
use crate::proxy::settings::Timeouts;
use crate::proxy::table::Upstream;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use socket2::TcpKeepalive;
use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::either::Either;

/// Kept connections are closed after this long without a request: below the 75 s after which nginx closes them, so
/// that it is rarely the node that closes first, into a request.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Response heads of nodes are held in a buffer of at most this many bytes.
const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// One worker's connections to one node. Nothing here is shared between threads.
pub(crate) struct LocalNode {
    /// The node as all workers know it.
    pub(crate) upstream: Arc<Upstream>,
    worker: usize,
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection that can carry one request at a time; counted while it lives.
pub(crate) struct Connection {
    sender: SendRequest<RequestBody>,
    /// Whether it carried a request before: then the node may be closing it at this very moment.
    pub(crate) is_reused: bool,
    /// Dropped with the rest, which tells the task that drives the connection that nobody will use it again.
    _in_use: oneshot::Sender<()>,
}

/// How an attempt over one connection failed.
pub(crate) enum SendFailure {
    /// Nothing of the request was sent; here it is again.
    Unsent(Box<Request<RequestBody>>),
    /// The connection failed after some of the request may have been sent.
    MaybeSent(hyper::Error),
}

impl LocalNode {
    /// No connections yet.
    pub(crate) fn new(upstream: Arc<Upstream>, worker: usize) -> LocalNode {
        LocalNode { upstream, worker, idle: RefCell::default() }
    }

    /// This worker's counters of the node.
    pub(crate) fn stats(&self) -> &NodeStripe {
        self.upstream.stats.of(self.worker)
    }

    /// The connection that was used last and still stands, if any. One that takes longer than `patience` to be ready,
    /// because its node has yet to read the end of the request before, is given up.
    pub(crate) async fn kept_connection(&self, patience: Duration) -> Option<Connection> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            self.stats().idle_connections.add(-1);
            let mut connection = idle.connection;
            if idle.since.elapsed() >= IDLE_MAX {
                continue;
            }
            if connection.sender.is_ready() {
                return Some(connection);
            }
            if let Ok(Ok(())) = tokio::time::timeout(patience, connection.sender.ready()).await {
                return Some(connection);
            }
        }
    }

    /// Opens a connection, within `timeouts.connect`. Once the connection is given up, an upload that its node has
    /// answered early may go on for `timeouts.idle`.
    pub(crate) async fn connect(self: &Rc<Self>, timeouts: &Timeouts) -> Result<Connection, ConnectFailure> {
        let stream = match tokio::time::timeout(timeouts.connect, open(&self.upstream.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(ConnectFailure::TimedOut),
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(RESPONSE_HEAD_BYTES_MAX);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|_| ConnectFailure::Refused)?;
        let node = Rc::clone(self);
        self.stats().connections.add(1);
        let linger = timeouts.idle;
        let (in_use, given_up) = oneshot::channel::<()>();
        tokio::task::spawn_local(async move {
            let mut connection = pin!(connection.with_upgrades());
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                // A node that neither reads nor closes would otherwise hold it, and its client, forever.
                _ = given_up => tokio::time::timeout(linger, connection).await.unwrap_or(Ok(())),
            };
            if let Err(error) = ended {
                tracing::debug!(node = %node.upstream.name, %error, "connection to a node ended");
            }
            node.stats().connections.add(-1);
        });
        Ok(Connection { sender, is_reused: false, _in_use: in_use })
    }

    /// Keeps a connection whose request and response are complete, unless the node has left or enough are kept.
    pub(crate) fn keep(&self, mut connection: Connection, max_idle: usize) {
        let mut idle = self.idle.borrow_mut();
        if self.upstream.is_retired() || connection.sender.is_closed() || idle.len() >= max_idle {
            return;
        }
        connection.is_reused = true;
        idle.push(Idle { connection, since: Instant::now() });
        self.stats().idle_connections.add(1);
    }

    /// Closes connections that were idle too long, that the node closed, or all of them when the node has left.
    pub(crate) fn sweep(&self) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        if self.upstream.is_retired() {
            idle.clear();
        } else {
            idle.retain(|idle| idle.since.elapsed() < IDLE_MAX && !idle.connection.sender.is_closed());
        }
        let closed = before - idle.len();
        self.stats().idle_connections.add(-i64::try_from(closed).unwrap_or(i64::MAX));
    }
}

impl Connection {
    /// Sends one request and waits for the response head.
    pub(crate) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, SendFailure> {
        let failed = |mut error: TrySendError<Request<RequestBody>>| match error.take_message() {
            Some(request) => SendFailure::Unsent(Box::new(request)),
            None => SendFailure::MaybeSent(error.into_error()),
        };
        self.sender.try_send_request(request).await.map_err(failed)
    }
}

async fn open(address: &NodeAddress) -> Result<Either<TcpStream, UnixStream>, ConnectFailure> {
    let tcp = match address {
        NodeAddress::Ip(address) => TcpStream::connect(address).await,
        NodeAddress::Host { name, port } => {
            let addresses = tokio::net::lookup_host((name.as_str(), *port)).await;
            connect_to_any(addresses.map_err(|_| ConnectFailure::Name)?).await
        }
        NodeAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            return Ok(Either::Right(stream?));
        }
    };
    let stream = tcp?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&keepalive())?;
    Ok(Either::Left(stream))
}

/// How soon a peer that vanished without a word is noticed on a connection where nothing need be said, such as a
/// tunnel: after a minute of silence it is probed, and what answers none of the system's 9 probes is gone.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10))
}

async fn connect_to_any(addresses: impl Iterator<Item = std::net::SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
