//! Where events live. The store is the only memory of a pool: what it acknowledged survives a crash.

pub mod file;
pub mod memory;
pub mod settings;

use crate::cluster::log::Event;
use crate::cluster::log::History;
use crate::store::file::FileStore;
use crate::store::memory::MemoryStore;
use crate::store::settings::StoreKind;
use crate::store::settings::StoreSettings;
use std::io;
use std::path::Path;
use std::path::PathBuf;

/// A store opened for writing. All verbs block; only `control` calls them, on its own thread.
#[derive(Debug)]
pub enum Store {
    /// See [`FileStore`].
    File(FileStore),
    /// See [`MemoryStore`].
    Memory(MemoryStore),
}

impl Store {
    /// Opens for writing and returns the histories of all pools found, the ones that no config names too.
    pub fn open(settings: &StoreSettings) -> Result<(Store, Vec<History>), StoreError> {
        match settings.kind {
            StoreKind::File => {
                let (store, histories) = FileStore::open(&settings.path, settings.keep_events)?;
                Ok((Store::File(store), histories))
            }
            StoreKind::Memory => Ok((Store::Memory(MemoryStore::new(settings.keep_events)), Vec::new())),
        }
    }

    /// Makes all events durable or none; when it returns `Ok` they survive a crash of the machine.
    pub fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        match self {
            Store::File(store) => store.append(events),
            Store::Memory(store) => store.append(events),
        }
    }

    /// Called after each append with the number of events in the longest history: once that is more than twice the
    /// events to keep, the store drops what is beyond. Returns how many events each history is to keep then, and
    /// `None` when nothing was due. An error refuses no later append, unless that answers
    /// [`StoreError::NeedsReopen`].
    pub fn compact_if_due(&mut self, longest: usize) -> Result<Option<usize>, StoreError> {
        match self {
            Store::File(store) => store.compact_if_due(longest),
            Store::Memory(store) => Ok(store.compact_if_due(longest)),
        }
    }

    /// Lets another process write from here on; this one refuses to. Returns the histories that nothing but this
    /// process holds, which are none where the store keeps them itself.
    pub fn lend(&mut self, histories: impl Iterator<Item = History>) -> Result<Vec<History>, StoreError> {
        match self {
            Store::File(store) => store.lend().map(|()| Vec::new()),
            Store::Memory(store) => {
                store.lend();
                Ok(histories.collect())
            }
        }
    }

    /// Takes a lent store back once the other process has let go of it. Returns what it holds now, and `None` when
    /// nobody but this process could have changed that.
    pub fn reclaim(&mut self) -> Result<Option<Vec<History>>, StoreError> {
        match self {
            Store::File(store) => store.reclaim().map(Some),
            Store::Memory(store) => {
                store.reclaim();
                Ok(None)
            }
        }
    }

    /// What a lent store holds, when that may have changed since it was last asked for.
    pub fn follow(&mut self) -> Result<Option<Vec<History>>, StoreError> {
        match self {
            Store::File(store) => store.follow(),
            Store::Memory(_) => Ok(None),
        }
    }

    /// After [`StoreError::NeedsReopen`]: goes back to the last acknowledged event and accepts writes again.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        match self {
            Store::File(store) => store.reopen(),
            Store::Memory(store) => store.reopen(),
        }
    }
}

/// Reads the histories beside a running writer, without its lock and without changing a byte; empty when there is no
/// store yet.
pub fn read_only(settings: &StoreSettings) -> Result<Vec<History>, StoreError> {
    match settings.kind {
        StoreKind::File => file::read_only(&settings.path),
        StoreKind::Memory => Ok(Vec::new()),
    }
}

/// What a store failed at; `admin` answers `Full` with 507 and the rest with 503.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The log is damaged; it is never written to in this state.
    #[error(
        "{}: line {line} is damaged: {why}. Nothing was changed; restore the file from a copy, or remove the lines \
         from {line} on to go back to what stands before them",
        path.display()
    )]
    Corrupt {
        /// The log.
        path: PathBuf,
        /// The damaged line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// No space or no quota is left.
    #[error("{}: no space left; free some and try again (nothing was written)", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The operating system refused something else.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file or directory it is about.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// This process lets another one write.
    #[error(
        "another process is taking over from this one and makes the writes from here on; try again in a moment, on a \
         new connection"
    )]
    Lent,
    /// Another process writes to this store.
    #[error(
        "{}: another process ({}) holds this store; stop it, or give this one another `store.path`",
        path.display(), pid.map_or("pid unknown".to_owned(), |pid| format!("pid {pid}"))
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process written in it.
        pid: Option<u32>,
    },
    /// A write failed in a way that leaves open what is on the disk.
    #[error("{}: writes are refused since one could not be completed or taken back; reload the config (SIGHUP or \
             POST /v1/reload) to open the store anew", path.display())]
    NeedsReopen {
        /// The log.
        path: PathBuf,
    },
}

impl StoreError {
    /// The error for an answer of the operating system; a full disk and an exhausted quota are [`StoreError::Full`].
    fn io(path: &Path, doing: &'static str, source: io::Error) -> StoreError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => StoreError::Full { path },
            _ => StoreError::Io { path, doing, source },
        }
    }
}

/// Whether the longest history holds so many events that a compaction is worth its while: twice as many as it keeps,
/// so that each event is rewritten once on average.
fn is_compaction_due(longest: usize, keep_events: usize) -> bool {
    longest > keep_events.saturating_mul(2)
}
