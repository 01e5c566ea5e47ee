//! What happens, as it happens, for whoever listens: changes of memberships, and what becomes of the health of nodes.

use crate::cluster::log::Event;
use serde::Deserialize;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::broadcast;

/// News that are kept for listeners that are slow; whoever is slower misses the oldest.
const KEPT: usize = 1024;

/// Something that happened. In JSON the member `event` says what, as [`News::name`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum News {
    /// A membership was changed: stored and served.
    Membership(Event),
    /// So much was missed, because nobody read it in time.
    Missed {
        /// How many news.
        events: u64,
    },
    /// A node went from well to ill: requests pass it over.
    NodeDown {
        /// Its pool.
        pool: String,
        /// The node.
        node: String,
        /// Why.
        cause: String,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
    /// A node is well again.
    NodeUp {
        /// Its pool.
        pool: String,
        /// The node.
        node: String,
        /// What it is well after.
        cause: String,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
    /// So few nodes are well that all are used, or enough are again.
    Panic {
        /// The pool.
        pool: String,
        /// Whether all are used from now on.
        on: bool,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
}

impl News {
    /// What kind of thing happened.
    pub fn name(&self) -> &'static str {
        match self {
            News::Membership(_) => "membership",
            News::Missed { .. } => "missed",
            News::NodeDown { .. } => "node-down",
            News::NodeUp { .. } => "node-up",
            News::Panic { .. } => "panic",
        }
    }

    /// The pool that it happened in; `None` for what concerns the listener.
    pub fn pool(&self) -> Option<&str> {
        match self {
            News::Membership(event) => Some(&event.pool),
            News::Missed { .. } => None,
            News::NodeDown { pool, .. } | News::NodeUp { pool, .. } | News::Panic { pool, .. } => Some(pool),
        }
    }
}

/// Where news are told. Cheap to clone; telling never waits.
#[derive(Clone, Debug)]
pub(super) struct Teller(broadcast::Sender<Arc<News>>);

impl Teller {
    /// Nobody listens yet.
    pub(super) fn new() -> Teller {
        Teller(broadcast::Sender::new(KEPT))
    }

    /// Hears what is told from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<News>> {
        self.0.subscribe()
    }

    /// Tells everybody who listens; `news` is asked for only where there is somebody.
    pub(super) fn tell(&self, news: impl FnOnce() -> News) {
        if self.0.receiver_count() > 0 {
            // It fails when the last listener has just left.
            drop(self.0.send(Arc::new(news())));
        }
    }
}
