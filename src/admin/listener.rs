//! The sockets of the API: TCP or Unix, a bounded number of connections, and an end that comes in time.

use crate::admin::audit::Peer;
use crate::admin::settings::AdminLimits;
use crate::admin::stream::ImpatientStream;
use crate::admin::tls::AdminTls;
use crate::sockets::address::ListenAddress;
use crate::sockets::unix;
use crate::sockets::unix::SocketFile;
use axum::Router;
use http::Extensions;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// One bound socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// What the listeners are to do; it only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Accept and answer.
    Serving,
    /// Answer those who are connected. Another process accepts now, from the same sockets.
    HandedOver,
    /// Finish.
    Stopping,
}

/// What is served, and how.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) router: Router,
    /// Absent where plain HTTP is spoken.
    pub(crate) tls: Option<Arc<AdminTls>>,
    pub(crate) limits: AdminLimits,
}

type Socket = Either<TcpStream, UnixStream>;

type Stream = Either<Socket, Box<TlsStream<Socket>>>;

impl Listener {
    /// Listens on an address; the error is a text for people.
    pub(crate) async fn bind(address: &ListenAddress) -> Result<Listener, String> {
        let bound = match address {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            ListenAddress::Unix(path) => {
                unix::bind(path, SOCKET_MODE).await.map(|(listener, file)| Listener::Unix(listener, file))
            }
        };
        bound.map_err(|error| format!("the admin API cannot listen on {address}: {error}"))
    }

    /// Listens on a socket that was passed in; its file is somebody else's until [`Listener::own_file`].
    pub(crate) fn adopt(socket: OwnedFd, address: &ListenAddress) -> Result<Listener, String> {
        let adopted = || match address {
            ListenAddress::Tcp(_) => {
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Listener::Tcp)
            }
            ListenAddress::Unix(path) => {
                let listener = std::os::unix::net::UnixListener::from(socket);
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(UnixListener::from_std(listener)?, SocketFile::foreign(path)))
            }
        };
        adopted().map_err(|error: io::Error| format!("the admin API cannot use the socket on {address}: {error}"))
    }

    /// From now on the file of a Unix socket is removed with this listener.
    pub(crate) fn own_file(&mut self) -> io::Result<()> {
        match self {
            Listener::Tcp(_) => Ok(()),
            Listener::Unix(_, file) => file.own(),
        }
    }

    /// Whether there is a file that is removed with this listener.
    pub(crate) fn owns_file(&self) -> bool {
        matches!(self, Listener::Unix(_, file) if file.is_owned())
    }

    /// Whether it is a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Listener::Unix(..))
    }

    /// The same socket once more, to hand it over.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Listener::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Listener::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Where it really listens.
    pub(crate) fn address(&self) -> Option<ListenAddress> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok().map(ListenAddress::Tcp),
            Listener::Unix(_, file) => Some(ListenAddress::Unix(file.path().to_owned())),
        }
    }

    /// Serves until told to stop; then lets requests finish for at most [`STOP_MAX`].
    pub(crate) async fn serve(mut self, service: Service, mut stage: watch::Receiver<Stage>) {
        let mut connections = JoinSet::new();
        let stopping = stage.clone();
        let reached = loop {
            tokio::select! {
                reached = until(Stage::HandedOver, &mut stage) => break reached,
                Some(ended) = connections.join_next() => note(ended),
                accepted = self.accept(), if connections.len() < service.limits.max_connections => {
                    connections.spawn(admit(accepted, service.clone(), stopping.clone()));
                }
            }
        };
        if reached == Some(Stage::HandedOver)
            && let Listener::Unix(_, file) = &mut self
        {
            file.disown();
        }
        drop((self, service));
        until(Stage::Stopping, &mut stage).await;
        let finished = async {
            while let Some(ended) = connections.join_next().await {
                note(ended);
            }
        };
        if tokio::time::timeout(STOP_MAX, finished).await.is_err() {
            connections.shutdown().await;
        }
    }

    async fn accept(&self) -> Socket {
        loop {
            let accepted = match self {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Either::Left(stream)),
                Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Either::Right(stream)),
            };
            match accepted {
                Ok(stream) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin API cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Finds out who connects, and carries the connection to its end.
async fn admit(socket: Socket, service: Service, stage: watch::Receiver<Stage>) {
    let peer = match &socket {
        Either::Left(tcp) => tcp.peer_addr().map(Peer::Tcp).ok(),
        Either::Right(unix) => Some(Peer::Unix(unix.peer_cred().map(|credentials| credentials.uid()).ok())),
    };
    let mut who = Extensions::new();
    peer.map(|peer| who.insert(peer));
    let stream = match &service.tls {
        None => Either::Left(socket),
        Some(tls) => match tls.accept(socket, service.limits.handshake_timeout).await {
            Ok((stream, subject)) => {
                subject.map(|subject| who.insert(subject));
                Either::Right(Box::new(stream))
            }
            Err(error) => {
                tracing::debug!(?peer, %error, "a TLS handshake with the admin API failed");
                return;
            }
        },
    };
    converse(stream, who, service, stage).await;
}

/// Answers requests, each of which is told `who` makes it.
async fn converse(stream: Stream, who: Extensions, service: Service, mut stage: watch::Receiver<Stage>) {
    let Service { router, limits, .. } = service;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    let stream = ImpatientStream::new(stream, limits.write_timeout);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(who.clone());
        router.call(request)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = until(Stage::Stopping, &mut stage) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admin API broke");
    }
}

/// Waits for a stage at least as late as `first`, and says which it is. `None` when nobody could give another order any
/// more, which is one to stop.
async fn until(first: Stage, stage: &mut watch::Receiver<Stage>) -> Option<Stage> {
    stage.wait_for(|stage| *stage >= first).await.ok().map(|stage| *stage)
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request to the admin API failed");
    }
}

/// How long requests may take to finish once the API stops.
const STOP_MAX: Duration = Duration::from_secs(1);

/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The owner and the group may use the socket.
const SOCKET_MODE: u32 = 0o660;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_of_its_answer_is_let_go() {
        let (mut peer, stream) = UnixStream::pair().unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (_order, stage) = watch::channel(Stage::Serving);
        let router = Router::new().route("/", get(|| async { "x".repeat(8 << 20) }));
        let limits = AdminLimits {
            max_connections: 1,
            handshake_timeout: DAY,
            head_timeout: DAY,
            body_timeout: DAY,
            write_timeout: Duration::from_secs(7),
        };
        let conversation = admit(Either::Right(stream), Service { router, tls: None, limits }, stage);
        let begun = Instant::now();
        tokio::time::timeout(DAY, conversation).await.expect("it ends");
        assert_eq!(begun.elapsed().as_secs(), 7);
    }
}
