//! The demo's clients: laps that send every key once, and background traffic that never stops.

use crate::cli::demo::KEYS;
use crate::cli::demo::LAP_HEADER;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connections that send a lap.
const LAP_CONNECTIONS: usize = 16;

/// Connections of the background traffic, and each one's pause between two requests.
const BACKGROUND_CONNECTIONS: usize = 4;
const BACKGROUND_PAUSE: Duration = Duration::from_millis(2);

/// What the clients have experienced.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) answered: Cell<u64>,
    pub(super) failed: Cell<u64>,
}

impl Tally {
    fn count(&self, is_ok: bool) {
        let cell = if is_ok { &self.answered } else { &self.failed };
        cell.set(cell.get() + 1);
    }
}

/// Sends every key once.
pub(super) async fn lap(proxy: SocketAddr, tally: &Rc<Tally>) {
    let mut clients = JoinSet::new();
    for first in 0..LAP_CONNECTIONS {
        let tally = Rc::clone(tally);
        clients.spawn_local(async move {
            let mut connection = None;
            for key in (first..KEYS).step_by(LAP_CONNECTIONS) {
                tally.count(get(proxy, &mut connection, key, true).await);
            }
        });
    }
    while clients.join_next().await.is_some() {}
}

/// Sends random keys until its task is dropped.
pub(super) fn background(proxy: SocketAddr, tally: &Rc<Tally>) {
    for _ in 0..BACKGROUND_CONNECTIONS {
        let tally = Rc::clone(tally);
        tokio::task::spawn_local(async move {
            let mut connection = None;
            loop {
                tally.count(get(proxy, &mut connection, fastrand::usize(..KEYS), false).await);
                tokio::time::sleep(BACKGROUND_PAUSE).await;
            }
        });
    }
}

type Connection = SendRequest<Empty<Bytes>>;

/// Gets one key over a kept connection; whether it was answered with success.
async fn get(proxy: SocketAddr, kept: &mut Option<Connection>, key: usize, is_lap: bool) -> bool {
    let mut request =
        Request::get(format!("/room-{key}")).header("host", "demo").header("x-room", format!("room-{key}"));
    if is_lap {
        request = request.header(LAP_HEADER, "1");
    }
    let Ok(request) = request.body(Empty::new()) else { return false };
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => match connect(proxy).await {
            Some(connection) => connection,
            None => return false,
        },
    };
    if connection.ready().await.is_err() {
        return false;
    }
    let Ok(response) = connection.send_request(request).await else { return false };
    let is_ok = response.status().is_success() && response.into_body().collect().await.is_ok();
    *kept = Some(connection);
    is_ok
}

async fn connect(proxy: SocketAddr) -> Option<Connection> {
    let stream = TcpStream::connect(proxy).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // How it ends shows in the next request.
    tokio::task::spawn_local(async move { connection.await.unwrap_or_default() });
    Some(sender)
}
