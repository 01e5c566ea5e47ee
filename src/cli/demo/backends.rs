//! The demo's backends: small HTTP servers that note what they see, and that can die and come back.

use crate::cli::demo::CHECK_PATH;
use crate::cli::demo::NAMES;
use crate::cli::demo::SURVEY_HEADER;
use crate::cli::demo::sightings::Errand;
use crate::cli::demo::sightings::Sightings;
use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::task::JoinSet;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A server on a loopback port, which it keeps while it is dead.
pub(super) struct Backend {
    /// Its name and address, as a node is written.
    pub(super) node: String,
    number: usize,
    sightings: Rc<Sightings>,
    /// Holds the port. It never listens: while nothing else does there, connections are refused.
    place: TcpSocket,
    life: AbortHandle,
}

impl Backend {
    /// Starts backend number `number` on a free port.
    pub(super) fn start(number: usize, sightings: &Rc<Sightings>) -> io::Result<Backend> {
        let place = bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = place.local_addr()?;
        let life = live(number, address, sightings)?;
        let node = format!("{}={address}", NAMES[number]);
        Ok(Backend { node, number, sightings: Rc::clone(sightings), place, life })
    }

    /// Ends it as a crash would: with all its connections, in the middle of whatever they carry.
    pub(super) fn die(&self) {
        self.life.abort();
    }

    /// Starts it again where it was.
    pub(super) fn revive(&mut self) -> io::Result<()> {
        self.life = live(self.number, self.place.local_addr()?, &self.sightings)?;
        Ok(())
    }
}

/// A socket at an address that several may be bound to, as long as one of them listens (socket(7), `SO_REUSEADDR`).
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn live(number: usize, address: SocketAddr, sightings: &Rc<Sightings>) -> io::Result<AbortHandle> {
    let listener = bind(address)?.listen(BACKLOG)?;
    Ok(tokio::task::spawn_local(accept(listener, number, Rc::clone(sightings))).abort_handle())
}

/// Serves until it is dropped, and every connection with it.
async fn accept(listener: TcpListener, number: usize, sightings: Rc<Sightings>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn_local(serve(stream, number, Rc::clone(&sightings)))),
                Err(_) => return,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, number: usize, sightings: Rc<Sightings>) {
    let service = service_fn(move |request: Request<Incoming>| {
        errand(&request).into_iter().for_each(|errand| sightings.note(number, errand));
        let text = format!("hello from {}, {} {}\n", NAMES[number], request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
    });
    // A connection that breaks is the proxy's business, which would report it.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.unwrap_or_default();
}

/// What the request is for; none for a health check.
fn errand(request: &Request<Incoming>) -> Option<Errand> {
    if request.uri().path() == CHECK_PATH {
        return None;
    }
    let key = request.headers().get(SURVEY_HEADER).and_then(|key| key.to_str().ok()?.parse().ok());
    Some(key.map_or(Errand::Traffic, |key| Errand::Survey { key }))
}
