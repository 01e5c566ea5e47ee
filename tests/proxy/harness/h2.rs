//! A client that speaks HTTP/2 with prior knowledge, and bodies fed piece by piece.

use crate::harness::within;
use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::Response;
use http_body::Body;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A connection.
pub(crate) struct H2 {
    sender: http2::SendRequest<Piped>,
    connection: JoinHandle<()>,
}

/// A response that was read to its end.
pub(crate) struct Whole {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl H2 {
    pub(crate) async fn connect(address: SocketAddr) -> H2 {
        H2::connect_with_window(address, None).await
    }

    /// With another flow-control window for each stream than the usual one.
    pub(crate) async fn connect_with_window(address: SocketAddr, window: Option<u32>) -> H2 {
        let stream = within("connecting", TcpStream::connect(address)).await.expect("the proxy accepts");
        stream.set_nodelay(true).expect("an open socket");
        H2::over(stream, window).await
    }

    /// Over a connection that is there, such as one in TLS.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, window: Option<u32>) -> H2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // Without this the client holds back what the proxy is to refuse.
        builder.initial_max_send_streams(1_000).initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("a preface");
        let connection = tokio::spawn(async move {
            // How it ends is for the story to see in its streams.
            drop(connection.await);
        });
        H2 { sender, connection }
    }

    /// Sends a request and waits for the response's head.
    pub(crate) async fn send(&mut self, request: Request<Piped>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        within("a response head", self.sender.send_request(request)).await
    }

    /// Sends a request in a task of its own.
    pub(crate) fn begin(&self, request: Request<Piped>) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        let mut sender = self.sender.clone();
        tokio::spawn(async move { sender.send_request(request).await })
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn ask(&mut self, request: Request<Piped>) -> Whole {
        read(self.send(request).await.expect("a response")).await.expect("a whole response")
    }

    /// Waits until the connection has ended; no stream may be open for that.
    pub(crate) async fn closed(self) {
        drop(self.sender);
        within("the connection ends", self.connection).await.expect("the client does not panic");
    }

    /// Waits until the proxy has said that it takes no more requests.
    pub(crate) async fn told_to_leave(&mut self) {
        while self.send(get("http://a.test/probe")).await.is_ok() {}
    }
}

/// Reads a response to its end.
pub(crate) async fn read(response: Response<Incoming>) -> hyper::Result<Whole> {
    let (head, body) = response.into_parts();
    let collected = within("a response body", body.collect()).await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Whole { head, body: collected.to_bytes().to_vec(), trailers })
}

/// A GET.
pub(crate) fn get(uri: &str) -> Request<Piped> {
    Request::get(uri).body(Piped::empty()).expect("a request")
}

/// A body that is whatever the other half sends.
#[derive(Debug)]
pub(crate) struct Piped(mpsc::Receiver<Frame<Bytes>>);

/// The half that feeds a body; dropping it ends the body.
pub(crate) struct Feed(mpsc::Sender<Frame<Bytes>>);

impl Piped {
    pub(crate) fn new() -> (Feed, Piped) {
        let (feed, body) = mpsc::channel(1);
        (Feed(feed), Piped(body))
    }

    pub(crate) fn empty() -> Piped {
        Piped::new().1
    }
}

impl Feed {
    /// Sends a piece once the one before it was taken; `false` when nobody will.
    pub(crate) async fn send(&self, piece: impl Into<Bytes>) -> bool {
        self.0.send(Frame::data(piece.into())).await.is_ok()
    }

    /// Ends the body with trailers.
    pub(crate) async fn trailers(self, trailers: HeaderMap) {
        assert!(self.0.send(Frame::trailers(trailers)).await.is_ok(), "the body is still wanted");
    }
}

impl Body for Piped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
