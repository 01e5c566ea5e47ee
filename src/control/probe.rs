//! One check of one node, over a connection of its own.

use crate::cluster::health::CheckFailure;
use crate::cluster::health::settings::Check;
use crate::cluster::health::settings::HttpCheck;
use crate::cluster::node::NodeAddress;
use crate::proxy::dial;
use crate::proxy::dial::NodeStream;
use crate::proxy::error::ConnectFailure;
use crate::proxy::settings::Protocol;
use crate::proxy::table::Upstream;
use crate::proxy::upstream_h2::LocalExecutor;
use bytes::Bytes;
use http::Request;
use http::Version;
use http::header;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// What a check came to. `None` when this process could not even try, or its name does not resolve: that says nothing
/// of the node.
pub(super) type Outcome = Option<Result<(), CheckFailure>>;

/// Checks a node once; connecting and answering may take `timeout` together.
pub(super) async fn probe(node: &Upstream, check: &Check, protocol: Protocol, timeout: Duration) -> Outcome {
    let checked = tokio::time::timeout(timeout, ask(node, check, protocol)).await;
    checked.unwrap_or(Some(Err(CheckFailure::TimedOut)))
}

async fn ask(node: &Upstream, check: &Check, protocol: Protocol) -> Outcome {
    let stream = match dial::open(node).await {
        Ok(stream) => stream,
        Err(failure) => return unconnected(failure).map(Err),
    };
    Some(match check {
        Check::Tcp => Ok(()),
        Check::Http(check) => ask_http(stream, &node.address, check, protocol).await,
    })
}

async fn ask_http(
    stream: NodeStream,
    address: &NodeAddress,
    check: &HttpCheck,
    protocol: Protocol,
) -> Result<(), CheckFailure> {
    let failed = |error: hyper::Error| if error.is_parse() { CheckFailure::NotHttp } else { CheckFailure::Closed };
    let host = check.host.clone().unwrap_or_else(|| match address {
        NodeAddress::Unix(_) => "localhost".to_owned(),
        address => address.to_string(),
    });
    let request = Request::builder().method(check.method.as_str()).header(header::USER_AGENT, USER_AGENT);
    let request = match protocol {
        Protocol::H1 => request.uri(&check.path).header(header::HOST, host).header(header::CONNECTION, "close"),
        Protocol::H2 => {
            let scheme = if dial::is_encrypted(&stream) { "https" } else { "http" };
            request.version(Version::HTTP_2).uri(format!("{scheme}://{host}{}", check.path))
        }
    };
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| CheckFailure::NotHttp)?;
    let stream = TokioIo::new(stream);
    let response = match protocol {
        Protocol::H1 => {
            let (mut sender, connection) = http1::handshake(stream).await.map_err(failed)?;
            answer_of(sender.send_request(request), connection).await
        }
        Protocol::H2 => {
            let (mut sender, connection) = http2::handshake(LocalExecutor, stream).await.map_err(failed)?;
            answer_of(sender.send_request(request), connection).await
        }
    };
    let status = response.map_err(failed)?.status().as_u16();
    match check.expect.iter().any(|expected| expected.contains(status)) {
        true => Ok(()),
        false => Err(CheckFailure::Status(status)),
    }
}

/// The answer that comes over a connection, which ends after it has answered, or instead.
async fn answer_of<A: Future>(answer: A, connection: impl Future) -> A::Output {
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

fn unconnected(failure: ConnectFailure) -> Option<CheckFailure> {
    match failure {
        ConnectFailure::Files | ConnectFailure::Limit | ConnectFailure::Local | ConnectFailure::Name => None,
        ConnectFailure::Certificate => Some(CheckFailure::Certificate),
        ConnectFailure::Forbidden => Some(CheckFailure::Forbidden),
        ConnectFailure::Refused => Some(CheckFailure::Refused),
        ConnectFailure::Tls => Some(CheckFailure::Tls),
        ConnectFailure::TimedOut => Some(CheckFailure::TimedOut),
        ConnectFailure::Unreachable => Some(CheckFailure::Unreachable),
    }
}

/// How checks introduce themselves.
const USER_AGENT: &str = concat!("ringway/", env!("CARGO_PKG_VERSION"), " (health check)");
