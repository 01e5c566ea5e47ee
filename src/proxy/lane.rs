//! What one request goes to its node by: a connection of its own, or a stream of one that others use too.

use crate::proxy::request_body::RequestBody;
use crate::proxy::upstream::Answer;
use crate::proxy::upstream::Connection;
use crate::proxy::upstream_h2::NodeStreamLease;
use http::Request;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use tokio_util::either::Either;

/// The way to a node and back.
pub(crate) enum Lane {
    /// HTTP/1.1: whoever waits for what it brings drives it.
    Own(Box<Connection>),
    /// HTTP/2: a task of its own drives the connection.
    Shared(NodeStreamLease),
}

impl Lane {
    /// Sends one request. An error holds the request if nothing of it was sent.
    pub(crate) fn send(&mut self, request: Request<RequestBody>) -> impl Future<Output = Answer> + use<> {
        match self {
            Lane::Own(connection) => Either::Left(connection.send(request)),
            // In a box, so that what requests of HTTP/1.1 carry about is no larger for it.
            Lane::Shared(stream) => Either::Right(Box::pin(stream.send(request))),
        }
    }

    /// Drives the connection, if that has no task of its own, and asks for the answer.
    pub(crate) fn poll_answer<F: Future>(&mut self, answer: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Lane::Own(connection) = self else { return answer.poll(cx) };
        // The answer only ever comes while the connection is driven, so that it need wake nobody.
        connection.drive_for(cx, || answer.poll(&mut Context::from_waker(Waker::noop())))
    }

    /// The connection, if it is for this request alone.
    pub(crate) fn as_own(&mut self) -> Option<&mut Connection> {
        match self {
            Lane::Own(connection) => Some(connection),
            Lane::Shared(_) => None,
        }
    }

    /// Whether it carried a request before: then the node may be closing it at this very moment.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Lane::Own(connection) => connection.is_reused,
            Lane::Shared(stream) => stream.is_reused(),
        }
    }

    /// The node that it leads to.
    pub(crate) fn node_name(&self) -> &str {
        match self {
            Lane::Own(connection) => connection.node_name(),
            Lane::Shared(stream) => stream.node_name(),
        }
    }

    /// Whether it was cut because the time of its node was over, so that what breaks is nobody's fault.
    pub(crate) fn is_cut(&self) -> bool {
        match self {
            Lane::Own(connection) => connection.is_cut(),
            Lane::Shared(stream) => stream.is_cut(),
        }
    }
}
