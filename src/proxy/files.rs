//! How many files the process may have open, and who may have them: half are for clients, most others for nodes, and
//! some for whatever else there is, such as operators, health checks and the store.

use crate::proxy::limits::Limits;
use crate::proxy::limits::MAX_CONNECTIONS;
use rustix::process::Resource;
use rustix::process::Rlimit;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Lets this process have as many files open as it may make itself have: the soft limit is for programs that use
/// `select`, and rises to the hard one.
///
/// # Errors
/// When the system refuses.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(());
    }
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// What to tell who has asked for more `max-connections` than there are files for, once the limit is raised.
pub fn warning(limits: &Limits) -> Option<String> {
    let files = at_most();
    let clients = clients_of(files);
    let is_asked_for = limits.max_connections != MAX_CONNECTIONS;
    (is_asked_for && limits.max_connections > clients).then(|| {
        format!(
            "`max-connections` is {}, but of the {files} files that a process may have open here half are for clients: \
             {clients} connections are accepted at most; raise the limit (LimitNOFILE= of systemd, `ulimit -Hn`) or \
             set less",
            limits.max_connections
        )
    })
}

/// The files of the data plane, counted over all workers.
#[derive(Debug)]
pub(crate) struct Files {
    /// Client connections that may be open.
    clients_max: usize,
    /// Connections that may be open to clients and nodes together.
    max: usize,
    clients: AtomicUsize,
    nodes: AtomicUsize,
    /// How often there were too few.
    shortages: AtomicUsize,
}

impl Files {
    /// What is left for the data plane of `files` that the process may have open, with so many workers.
    fn of(files: usize, workers: usize) -> Files {
        let reserve = (RESERVE + workers * RESERVE_PER_WORKER).min(files / 4);
        Files {
            clients_max: clients_of(files),
            max: files - reserve,
            clients: AtomicUsize::new(0),
            nodes: AtomicUsize::new(0),
            shortages: AtomicUsize::new(0),
        }
    }

    /// Those of this process.
    pub(crate) fn of_process(workers: usize) -> Arc<Files> {
        let current = rustix::process::getrlimit(Resource::Nofile).current;
        Arc::new(Files::of(number(current), workers))
    }

    /// One more client, unless there are `max` or as many as there may be at all.
    pub(crate) fn try_admit(&self, max: usize) -> bool {
        let max = max.min(self.clients_max);
        let one_more = |clients| (clients < max).then_some(clients + 1);
        self.clients.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// A client that was admitted has gone.
    pub(crate) fn leave(&self) {
        self.clients.fetch_sub(1, Relaxed);
    }

    /// Whether there are as many clients as there are files for.
    pub(crate) fn is_full(&self) -> bool {
        self.clients.load(Relaxed) >= self.clients_max
    }

    /// A file for one more connection to a node, if there is one left.
    pub(crate) fn for_node(self: &Arc<Self>) -> Option<NodeFile> {
        let nodes = self.nodes.fetch_add(1, Relaxed);
        let file = NodeFile { files: Arc::clone(self) };
        if nodes + self.clients.load(Relaxed) < self.max {
            return Some(file);
        }
        self.note_shortage();
        None
    }

    /// There were too few: connections that are not in use should be closed.
    pub(crate) fn note_shortage(&self) {
        self.shortages.fetch_add(1, Relaxed);
    }

    /// How often there were too few.
    pub(crate) fn shortages(&self) -> usize {
        self.shortages.load(Relaxed)
    }
}

/// The file of a connection to a node, from before it is opened until it is dropped.
#[derive(Debug)]
pub(crate) struct NodeFile {
    files: Arc<Files>,
}

impl Drop for NodeFile {
    fn drop(&mut self) {
        self.files.nodes.fetch_sub(1, Relaxed);
    }
}

/// Whether an error says that the process, or the system, may have no more files.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// How many of `files` may be those of clients: each request needs one for its node too.
fn clients_of(files: usize) -> usize {
    (files / 2).max(1)
}

/// As many as this process could have open.
fn at_most() -> usize {
    number(rustix::process::getrlimit(Resource::Nofile).maximum)
}

/// `None` is for no limit.
fn number(limit: Option<u64>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Files that neither clients nor nodes have: as many operators as there may be, and half of that for checks, the log
/// and the store, but no more than a quarter of all.
const RESERVE: usize = 384;

/// What a worker has open of its own: listeners, and what it waits with.
const RESERVE_PER_WORKER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_are_for_clients_and_nodes_leave_a_reserve() {
        for (files, clients, nodes) in [(256, 128, 64), (1024, 512, 256), (100_000, 50_000, 49_600)] {
            let all = Arc::new(Files::of(files, 2));
            let admitted = (0..files).filter(|_| all.try_admit(usize::MAX)).count();
            assert_eq!((admitted, all.is_full()), (clients, true), "of {files}");
            let open: Vec<_> = std::iter::from_fn(|| all.for_node()).collect();
            assert_eq!((open.len(), all.shortages()), (nodes, 1), "of {files}");
            drop(open);
            assert!(all.for_node().is_some(), "of {files}");
        }
    }

    #[test]
    fn a_client_that_leaves_makes_room_and_few_may_be_enough() {
        let all = Files::of(256, 1);
        assert!(all.try_admit(1));
        assert!(!all.try_admit(1) && all.try_admit(2) && !all.is_full());
        all.leave();
        assert!(all.try_admit(2));
    }
}
