//! How many requests wait for the beginnings of their bodies, so that hyper waits for few of them.
//!
//! A request under way takes some 25 kB, nearly all of it hyper's, however little its client has sent. Where many
//! clients are slow at that, their bodies are gathered before hyper is there, as nginx does for all
//! (`proxy_request_buffering`); where few are, a node may answer before it has the body (RFC 9110 section 10.1.1).

use std::cell::Cell;
use std::rc::Rc;

/// What makes up for what a request under way takes, of a body that its client has begun to send; besides what came
/// with its head.
pub(crate) const BEGINNING_BYTES: usize = 2 << 10;

/// So many bodies are waited for by nodes too, for each worker.
const FEW: usize = 16;

/// The bodies over HTTP/1 of which a worker waits for the beginning, for requests that are under way.
#[derive(Debug, Default)]
pub(crate) struct AwaitedBodies(Rc<Cell<usize>>);

impl AwaitedBodies {
    /// One more, until what is returned is dropped.
    pub(crate) fn count(&self) -> AwaitedBody {
        self.0.set(self.0.get() + 1);
        AwaitedBody(Rc::clone(&self.0))
    }

    /// Whether there are so many that others are gathered first.
    pub(crate) fn are_many(&self) -> bool {
        self.0.get() >= FEW
    }
}

/// A body of which the beginning is waited for.
#[derive(Debug)]
pub(crate) struct AwaitedBody(Rc<Cell<usize>>);

impl Drop for AwaitedBody {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
