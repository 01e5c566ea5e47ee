//! Events in memory only: for demos and for serve without a file.

use crate::cluster::log::Event;
use crate::store::StoreError;
use crate::store::is_compaction_due;

/// Holds nothing itself: the histories of `control` are all there is.
#[derive(Debug)]
pub struct MemoryStore {
    keep_events: usize,
    is_lent: bool,
}

impl MemoryStore {
    /// A store that lets each history keep at most twice `keep_events` events.
    pub fn new(keep_events: usize) -> MemoryStore {
        MemoryStore { keep_events, is_lent: false }
    }

    /// Fails only while the store is lent.
    pub fn append(&mut self, _events: &[Event]) -> Result<(), StoreError> {
        match self.is_lent {
            true => Err(StoreError::Lent),
            false => Ok(()),
        }
    }

    /// Lets another process write, which gets a copy of the histories.
    pub fn lend(&mut self) {
        self.is_lent = true;
    }

    /// Goes on as before.
    pub fn reclaim(&mut self) {
        self.is_lent = false;
    }

    /// How many events each history is to keep from now on, if there are too many.
    pub fn compact_if_due(&self, longest: usize) -> Option<usize> {
        is_compaction_due(longest, self.keep_events).then_some(self.keep_events)
    }

    /// Never fails.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
