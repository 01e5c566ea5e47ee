//! Events in memory only: for demos and for serve without a file.

use crate::cluster::log::Event;
use crate::cluster::log::History;
use crate::store::StoreError;
use crate::store::is_compaction_due;

/// Holds nothing itself: the histories of `control` are all there is.
#[derive(Debug)]
pub struct MemoryStore {
    keep_events: usize,
}

impl MemoryStore {
    /// A store that lets each history keep at most twice `keep_events` events.
    pub fn new(keep_events: usize) -> MemoryStore {
        MemoryStore { keep_events }
    }

    /// Never fails.
    pub fn append(&mut self, _events: &[Event]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Drops from the histories what is beyond retention; never fails.
    pub fn compact_if_due(&mut self, histories: &mut [&mut History]) -> Result<(), StoreError> {
        if is_compaction_due(histories, self.keep_events) {
            histories.iter_mut().for_each(|history| history.compact(self.keep_events));
        }
        Ok(())
    }

    /// Never fails.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
