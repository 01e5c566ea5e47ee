//! One check of one node, over a connection of its own.

use crate::cluster::health::CheckFailure;
use crate::cluster::health::settings::Check;
use crate::cluster::health::settings::HttpCheck;
use crate::cluster::node::NodeAddress;
use crate::proxy::error::ConnectFailure;
use crate::proxy::table::Upstream;
use crate::proxy::upstream;
use crate::proxy::upstream::NodeStream;
use bytes::Bytes;
use http::Request;
use http::header;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// What a check came to. `None` when this process could not even try, or its name does not resolve: that says nothing
/// of the node.
pub(super) type Outcome = Option<Result<(), CheckFailure>>;

/// Checks a node once; connecting and answering may take `timeout` together.
pub(super) async fn probe(node: &Upstream, check: &Check, timeout: Duration) -> Outcome {
    let checked = tokio::time::timeout(timeout, ask(node, check)).await;
    checked.unwrap_or(Some(Err(CheckFailure::TimedOut)))
}

async fn ask(node: &Upstream, check: &Check) -> Outcome {
    let stream = match upstream::open(node).await {
        Ok(stream) => stream,
        Err(failure) => return unconnected(failure).map(Err),
    };
    Some(match check {
        Check::Tcp => Ok(()),
        Check::Http(check) => ask_http(stream, &node.address, check).await,
    })
}

async fn ask_http(stream: NodeStream, address: &NodeAddress, check: &HttpCheck) -> Result<(), CheckFailure> {
    let failed = |error: hyper::Error| if error.is_parse() { CheckFailure::NotHttp } else { CheckFailure::Closed };
    let host = check.host.clone().unwrap_or_else(|| match address {
        NodeAddress::Unix(_) => "localhost".to_owned(),
        address => address.to_string(),
    });
    let request = Request::builder().method(check.method.as_str()).uri(check.path.as_str());
    let request = request.header(header::HOST, host).header(header::USER_AGENT, USER_AGENT);
    let request = request.header(header::CONNECTION, "close").body(Empty::<Bytes>::new());
    let request = request.map_err(|_| CheckFailure::NotHttp)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let response = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It ends after it has answered, or instead.
        _ = &mut connection => answer.await,
    };
    let status = response.map_err(failed)?.status().as_u16();
    match check.expect.iter().any(|expected| expected.contains(status)) {
        true => Ok(()),
        false => Err(CheckFailure::Status(status)),
    }
}

fn unconnected(failure: ConnectFailure) -> Option<CheckFailure> {
    match failure {
        ConnectFailure::Limit | ConnectFailure::Local | ConnectFailure::Name => None,
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
