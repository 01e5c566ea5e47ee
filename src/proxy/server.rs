//! Serves one client connection: finds out its protocol, then lets hyper speak it under the configured limits.

use crate::proxy::body::ResponseBody;
use crate::proxy::client::ClientState;
use crate::proxy::client::ClientStream;
use crate::proxy::client::Order;
use crate::proxy::forward;
use crate::proxy::settings::Limits;
use crate::proxy::worker::Place;
use crate::proxy::worker::Worker;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// Flow-control windows of HTTP/2: what a client may send ahead on one stream and on one connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Response bytes of one HTTP/2 stream that may wait to be written.
const STREAM_SEND_BYTES: usize = 256 * 1024;
/// A peer that leaves a ping unanswered for this long is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// Who is at the other end of a connection.
pub(crate) struct Client {
    /// The address the connection comes from.
    pub(crate) peer: IpAddr,
    /// The state of the connection.
    pub(crate) state: Arc<ClientState>,
}

/// Serves `stream` in a task of its own on this worker, where it has its `place`.
pub(crate) fn spawn(worker: &Rc<Worker>, stream: TcpStream, place: Place) {
    let worker = Rc::clone(worker);
    let guard = worker.open(place);
    tokio::task::spawn_local(async move {
        // Guards, because a panic costs one client but not the worker.
        let _open = guard;
        let state = ClientState::new();
        let _registered = worker.register(&state);
        if let Err(error) = serve(&worker, stream, &state).await {
            tracing::debug!(%error, "client connection ended");
        }
    });
}

/// Anything that ends a connection early; only debug logs care.
type ServeError = Box<dyn std::error::Error + Send + Sync>;

async fn serve(worker: &Rc<Worker>, stream: TcpStream, state: &Arc<ClientState>) -> Result<(), ServeError> {
    stream.set_nodelay(true)?;
    let client = Rc::new(Client { peer: stream.peer_addr()?.ip(), state: Arc::clone(state) });
    let mut stream = ClientStream::new(stream, state);
    let sniffed = obey(worker, state, Order::Finish, pin!(stream.speaks_http2()), |_| {}).await;
    let Some(is_http2) = sniffed.transpose()? else {
        return Ok(());
    };
    let limits = worker.table().table.server.limits.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, client) = (Rc::clone(worker), Rc::clone(&client));
        async move { Ok::<Response<ResponseBody>, Infallible>(forward::serve(&worker, &client, request).await) }
    });
    let ended = if is_http2 {
        let connection = pin!(http2_settings(&limits).serve_connection(TokioIo::new(stream), service));
        obey(worker, state, Order::Abort, connection, http2::Connection::graceful_shutdown).await
    } else {
        let connection = http1_settings(&limits).serve_connection(TokioIo::new(stream), service).with_upgrades();
        obey(worker, state, Order::Abort, pin!(connection), http1::UpgradeableConnection::graceful_shutdown).await
    };
    Ok(ended.transpose().map(|_| ())?)
}

fn http1_settings(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_headers(limits.max_headers).max_buf_size(limits.max_header_bytes).half_close(false);
    builder
}

fn http2_settings(limits: &Limits) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_SEND_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    builder
}

/// Runs hyper's HTTP/2 streams as tasks of this thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Drives a connection that follows the orders given to its client: `finish` is told of [`Order::Finish`], and an
/// order of `stop_at` or stricter drops the connection. `None` when that happened. What has come before an order is
/// seen before it is told, so that a request on its way is answered.
async fn obey<C: Future>(
    worker: &Worker,
    state: &ClientState,
    stop_at: Order,
    mut connection: Pin<&mut C>,
    finish: impl Fn(Pin<&mut C>),
) -> Option<C::Output> {
    let mut followed = Order::Serve;
    poll_fn(|cx| state.remember(cx)).await;
    poll_fn(|cx| {
        let order = state.order_in(worker.phase());
        if order >= stop_at {
            return Poll::Ready(None);
        }
        let polled = connection.as_mut().poll(cx);
        if polled.is_ready() || order <= followed {
            return polled.map(Some);
        }
        followed = order;
        finish(connection.as_mut());
        connection.as_mut().poll(cx).map(Some)
    })
    .await
}
