//! The life of the process, as the data plane follows it.

use tokio::sync::watch;

/// Where the process is in its life; it only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Ready to serve, but nobody is accepted yet: the process to take over from still serves.
    Starting,
    /// Serving.
    Running,
    /// Still accepting, but telling clients to leave (`drain-delay`).
    Draining,
    /// Accepting no more, because another process accepts from the same sockets: clients are told to leave, and what
    /// they have asked for is finished (`grace`).
    HandedOver,
    /// Accepting no more; open requests finish (`grace`).
    Closing,
    /// Out of time: everything is cut.
    Ended,
}

/// Waits until the process is at least in phase `first`, and says in which it is then; `None` when nobody is left to
/// change it, so that the process is over.
pub(crate) async fn until(first: Phase, phase: &mut watch::Receiver<Phase>) -> Option<Phase> {
    phase.wait_for(|phase| *phase >= first).await.ok().map(|phase| *phase)
}
