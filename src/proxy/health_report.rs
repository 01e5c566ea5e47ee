//! What workers tell the health thread of the nodes they talk to.

use crate::cluster::health::Note;
use tokio::sync::mpsc;

/// Something learned about a node from live requests.
#[derive(Clone, Copy, Debug)]
pub struct HealthReport {
    /// The node at its address: the id of its `Upstream`.
    pub node: u64,
    /// What was learned.
    pub note: Note,
}

/// Reports that may wait. Beyond it they are dropped: while a node goes on failing, more follow.
const QUEUE_REPORTS: usize = 1024;

/// The way to the health thread, and its end of it.
pub fn channel() -> (mpsc::Sender<HealthReport>, mpsc::Receiver<HealthReport>) {
    mpsc::channel(QUEUE_REPORTS)
}
