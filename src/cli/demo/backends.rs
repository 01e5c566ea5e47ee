//! The demo's backends: small HTTP servers that remember which of them last saw each key.

use crate::cli::demo::KEYS;
use crate::cli::demo::LAP_HEADER;
use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpListener;

/// What all backends together have seen.
pub(super) struct Sightings {
    /// By key number: the backend that saw the key in the last lap.
    last: RefCell<Vec<Option<usize>>>,
    requests: Cell<u64>,
}

impl Sightings {
    pub(super) fn new() -> Rc<Sightings> {
        Rc::new(Sightings { last: RefCell::new(vec![None; KEYS]), requests: Cell::new(0) })
    }

    /// Where each key was seen.
    pub(super) fn snapshot(&self) -> Vec<Option<usize>> {
        self.last.borrow().clone()
    }

    /// Requests received, of laps and of background traffic.
    pub(super) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Only laps count as sightings: a background request may have been sent before a change and arrive after it.
    fn note(&self, backend: usize, request: &Request<Incoming>) {
        self.requests.set(self.requests.get() + 1);
        let number = request.uri().path().rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
        if request.headers().contains_key(LAP_HEADER)
            && let Some(seen) = number.and_then(|number| self.last.borrow_mut().get_mut(number).map(|_| number))
        {
            self.last.borrow_mut()[seen] = Some(backend);
        }
    }
}

/// Starts backend number `backend` on a free loopback port.
pub(super) async fn start(backend: usize, name: &'static str, sightings: &Rc<Sightings>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let sightings = Rc::clone(sightings);
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sightings = Rc::clone(&sightings);
            let service = service_fn(move |request: Request<Incoming>| {
                sightings.note(backend, &request);
                let text = format!("hello from {name}, {} {}\n", request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
            });
            // A connection that breaks is the proxy's business, which would report it.
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::task::spawn_local(async move { connection.await.unwrap_or_default() });
        }
    });
    Ok(address)
}
