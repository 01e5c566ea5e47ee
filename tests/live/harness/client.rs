//! An HTTP client of our own: one connection, one request at a time, everything about the answer.

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::harness::wait::PATIENCE;

/// One connection, kept alive.
pub(crate) struct Client {
    runtime: Runtime,
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    /// Connects at the first request.
    pub(crate) fn new(address: SocketAddr) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Client { runtime, address, sender: None }
    }

    /// Sends a request on the open connection, or on a new one when the last answer closed it. Without a Host of its
    /// own it gets the address that is connected to.
    ///
    /// # Errors
    /// When there is no whole answer; never tried twice.
    pub(crate) fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let host = self.address.to_string().parse().unwrap();
        request.headers_mut().entry(http::header::HOST).or_insert(host);
        let Client { runtime, address, sender } = self;
        runtime.block_on(async {
            let exchange = exchange(*address, sender, request);
            timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        })
    }

    /// A GET with extra header fields.
    pub(crate) fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer, String> {
        let mut request = Request::get(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::default()).unwrap())
    }

    /// A request with a JSON body.
    pub(crate) fn json(&mut self, method: Method, path: &str, body: &Value) -> Result<Answer, String> {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.send(request.body(Full::from(body.to_string())).unwrap())
    }
}

impl Answer {
    /// A header field as text, empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

async fn exchange(
    address: SocketAddr,
    kept: &mut Option<SendRequest<Full<Bytes>>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let text = |error: hyper::Error| format!("{error:?}");
    let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
            // What goes wrong with the connection is what goes wrong with the request.
            drop(tokio::spawn(connection));
            sender
        }
    };
    let response = sender.send_request(request).await.map_err(text)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(text)?.to_bytes();
    // Whether the connection can be used again is known once its task has seen the end of the body.
    if sender.ready().await.is_ok() {
        *kept = Some(sender);
    }
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}
