//! A node that says what it was told: the id of a request, how long its body was, and every byte after an upgrade.

use bytes::Bytes;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::thread;
use tokio::net::TcpListener;

/// The field with the id of a request.
pub(crate) const ID: &str = "x-id";

/// Starts nodes, which run until the test process ends; returns where they are.
pub(crate) fn start(count: usize) -> Vec<SocketAddr> {
    let listeners: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            for listener in listeners {
                listener.set_nonblocking(true).unwrap();
                tokio::spawn(serve(TcpListener::from_std(listener).unwrap()));
            }
            std::future::pending::<()>().await;
        });
    });
    addresses
}

/// All nodes as entries of `initial-nodes`.
pub(crate) fn nodes_toml(addresses: &[SocketAddr]) -> String {
    let entries =
        addresses.iter().enumerate().map(|(at, node)| format!(r#"{{ name = "n{at}", address = "{node}" }}, "#));
    format!("[{}]", entries.collect::<String>())
}

async fn serve(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        // The proxy closes connections as it likes.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let id = request.headers().get(ID).map_or("no id", |id| id.to_str().unwrap()).to_owned();
    if request.headers().contains_key(header::UPGRADE) {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            let (mut from, mut to) = tokio::io::split(&mut stream);
            drop(tokio::io::copy(&mut from, &mut to).await);
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let response = response.header(header::CONNECTION, "upgrade").header(header::UPGRADE, "websocket");
        return Ok(response.body(Full::default()).unwrap());
    }
    let length = request.into_body().collect().await?.to_bytes().len();
    Ok(Response::new(Full::from(format!("{id} {length}"))))
}
