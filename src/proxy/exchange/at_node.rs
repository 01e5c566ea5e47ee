//! Where a request is, once a node was chosen for it.

use crate::proxy::admission::InFlight;
use crate::proxy::lane::Lane;
use crate::proxy::upstream::LocalNode;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The node that answers, and the connection it answers on.
pub(super) struct AtNode {
    pub(super) node: Rc<LocalNode>,
    pub(super) connection: Option<Lane>,
    /// When the request came to it.
    pub(super) since: Instant,
    /// Whether this request is to find out if the node is well again.
    pub(super) is_trial: bool,
    /// Counts it there, in pools that bound their load.
    pub(super) in_flight: Option<InFlight>,
    /// What the node made of this request, as far as that is known.
    pub(super) verdict: Option<Verdict>,
    /// Failures in a row after which the node is reported; 0 is never.
    pub(super) max_failures: u32,
    /// Connections that are kept for the next request.
    pub(super) max_idle: usize,
    /// How long they are kept: `timeouts.idle-connection`.
    pub(super) idle_for: Duration,
}

/// What a node made of a request. One that was well answered when it began may still break off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Answered,
    Failed,
}

impl AtNode {
    /// The node has answered as it should, unless that is known, or known better, already.
    pub(super) fn succeeded(&mut self) {
        if self.verdict.is_none() {
            self.verdict = Some(Verdict::Answered);
            self.node.stats().successes.increment();
            self.node.upstream.vital.succeeded();
        }
    }
}
