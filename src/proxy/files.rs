//! How many files the process may have open, and who may have them: some are for whatever there is besides the data
//! plane, such as operators, health checks and the store; of the others half are for clients, so that each of their
//! requests finds one for its node. Since idle clients need none there, nodes lend them some of theirs while they have
//! plenty, and call them back before they have none.

use crate::proxy::limits::MAX_CONNECTIONS;
use crate::proxy::settings::ServerSettings;
use rustix::process::Resource;
use rustix::process::Rlimit;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;

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
pub fn warning(server: &ServerSettings) -> Option<String> {
    let files = at_most();
    let (half, asked) = (half_of(files, server.worker_count()), server.limits.max_connections);
    (asked != MAX_CONNECTIONS && asked > half).then(|| {
        format!(
            "`max-connections` is {asked}, but of the {files} files that a process may have open here only {half} are \
             for clients, because each request needs one for its node too, and {} more while few of them ask; raise \
             the limit (LimitNOFILE= of systemd, `ulimit -Hn`) or set less",
            lendable(half)
        )
    })
}

/// The files of the data plane, counted over all workers.
#[derive(Debug)]
pub(crate) struct Files {
    /// Files that are for clients, whatever nodes need, and as many are for nodes.
    half: usize,
    /// Those of them that clients have.
    own: AtomicUsize,
    /// Those that nodes have lent to clients.
    lent: AtomicUsize,
    /// How often a client was not admitted.
    refusals: AtomicUsize,
    /// Connections that may yet be opened to nodes; whoever waits for one longest gets the next that comes free.
    nodes: Arc<Semaphore>,
    /// How often there were too few.
    shortages: AtomicUsize,
    /// Told then, so that all workers make room.
    short: Notify,
    /// Clients that wait to be admitted for want of a file.
    waiting_clients: AtomicUsize,
    /// Told when one leaves that others wait for.
    left: Notify,
    /// Requests that wait for the file of a connection to their node.
    waiting_requests: AtomicUsize,
}

impl Files {
    /// What is left for the data plane of `files` that the process may have open, with so many workers.
    fn of(files: usize, workers: usize) -> Files {
        let half = half_of(files, workers);
        Files {
            half,
            own: AtomicUsize::new(0),
            lent: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            nodes: Arc::new(Semaphore::new(half.min(Semaphore::MAX_PERMITS))),
            shortages: AtomicUsize::new(0),
            short: Notify::new(),
            waiting_clients: AtomicUsize::new(0),
            left: Notify::new(),
            waiting_requests: AtomicUsize::new(0),
        }
    }

    /// Those of this process.
    pub(crate) fn of_process(workers: usize) -> Arc<Files> {
        let current = rustix::process::getrlimit(Resource::Nofile).current;
        Arc::new(Files::of(number(current), workers))
    }

    /// One more client, unless there are `max` or as many as there are files for. What other workers do at the same
    /// moment may not be counted yet, so that a few more than `max` may come in where nodes lend.
    pub(crate) fn try_admit(&self, max: usize) -> bool {
        let own_max = self.half.min(max.saturating_sub(self.lent.load(Relaxed)));
        let one_more = |clients| (clients < own_max).then_some(clients + 1);
        let is_admitted = self.own.fetch_update(Relaxed, Relaxed, one_more).is_ok() || self.lend(max);
        if !is_admitted {
            self.refusals.fetch_add(1, Relaxed);
        }
        is_admitted
    }

    /// Lends a client a file of the nodes, if they have plenty.
    fn lend(&self, max: usize) -> bool {
        let has_plenty = self.nodes.available_permits() > self.half - lendable(self.half);
        if !has_plenty || self.clients() >= max {
            return false;
        }
        let Ok(file) = self.nodes.try_acquire() else { return false };
        file.forget();
        self.lent.fetch_add(1, Relaxed);
        true
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.own.load(Relaxed) + self.lent.load(Relaxed)
    }

    /// How many files clients should give back, because nodes have few left: half of theirs are open, those included.
    /// So each request finds one, unless very many come at once; then some wait until clients have gone.
    pub(crate) fn recalled(&self) -> usize {
        match self.lent.load(Relaxed) {
            0 => 0,
            lent if self.nodes.available_permits() < self.half / 2 => lent,
            _ => 0,
        }
    }

    /// How often a client was not admitted: those that are idle should make room.
    pub(crate) fn refusals(&self) -> usize {
        self.refusals.load(Relaxed)
    }

    /// A client that was admitted has gone. What nodes have lent is the first to be given back.
    pub(crate) fn leave(&self) {
        match self.lent.fetch_update(Relaxed, Relaxed, |lent| lent.checked_sub(1)) {
            Ok(_) => self.nodes.add_permits(1),
            Err(_) => _ = self.own.fetch_sub(1, Relaxed),
        }
        if self.waiting_clients.load(Relaxed) > 0 {
            self.left.notify_one();
        }
    }

    /// Whether clients wait to be admitted for want of a file, or should give some back, so that those that are served
    /// had better leave with their next response, as Envoy's overload action `disable_http_keepalive` has it.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting_clients.load(Relaxed) > 0 || self.recalled() > 0
    }

    /// Counts a client that waits for a file until the guard is dropped.
    pub(crate) fn crowd(&self) -> Waiter<'_> {
        Waiter::enter(&self.waiting_clients)
    }

    /// Waits until a client has left, but no longer than so.
    pub(crate) async fn until_one_left(&self, patience: Duration) {
        tokio::time::timeout(patience, self.left.notified()).await.unwrap_or_default();
    }

    /// Whether clients have all files that are for them whatever nodes need.
    pub(crate) fn is_full(&self) -> bool {
        self.own.load(Relaxed) >= self.half
    }

    /// A file for one more connection to a node, if there is one left that nobody waits for.
    pub(crate) fn for_node(&self) -> Option<NodeFile> {
        Arc::clone(&self.nodes).try_acquire_owned().ok().map(NodeFile)
    }

    /// The same once it is the turn of whoever asks; `None` when that does not come in time.
    pub(crate) async fn for_node_by(&self, deadline: Instant) -> Option<NodeFile> {
        let _waiting = Waiter::enter(&self.waiting_requests);
        let file = Arc::clone(&self.nodes).acquire_owned();
        tokio::time::timeout_at(deadline, file).await.ok()?.ok().map(NodeFile)
    }

    /// Whether requests wait for a file: while any does, no connection to a node is kept.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting_requests() > 0
    }

    /// How many requests wait for a file.
    pub(crate) fn waiting_requests(&self) -> usize {
        self.waiting_requests.load(Relaxed)
    }

    /// There were too few: connections that are not in use should be closed, by all workers.
    pub(crate) fn note_shortage(&self) {
        self.shortages.fetch_add(1, Relaxed);
        self.short.notify_waiters();
    }

    /// Waits until there are too few. Whoever does not wait at that moment sees it in [`Files::shortages`].
    pub(crate) async fn until_short(&self) {
        self.short.notified().await;
    }

    /// How often there were too few.
    pub(crate) fn shortages(&self) -> usize {
        self.shortages.load(Relaxed)
    }
}

/// The file of a connection to a node, from before it is opened until it is dropped.
#[derive(Debug)]
pub(crate) struct NodeFile(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// Counts somebody who waits for a file, until it is dropped.
pub(crate) struct Waiter<'a>(&'a AtomicUsize);

impl Waiter<'_> {
    fn enter(count: &AtomicUsize) -> Waiter<'_> {
        count.fetch_add(1, Relaxed);
        Waiter(count)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Whether an error says that the process, or the system, may have no more files.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// How many of `files` may be those of clients, and as many those of nodes: each request needs one there too.
fn half_of(files: usize, workers: usize) -> usize {
    ((files - reserve(files, workers)) / 2).max(1)
}

/// How many of its files a half lends: so many that, of the rest, it has plenty.
fn lendable(half: usize) -> usize {
    half / 4
}

/// How many of `files` neither clients nor nodes have.
fn reserve(files: usize, workers: usize) -> usize {
    (RESERVE + workers * RESERVE_PER_WORKER).min(files / 4)
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
    use std::task::Context;
    use std::task::Waker;

    #[test]
    fn after_a_reserve_nodes_have_half_and_lend_a_quarter_of_it_to_clients() {
        for (files, half) in [(256, 96), (1024, 384), (100_000, 49_800)] {
            let all = Files::of(files, 2);
            let admitted = (0..files).filter(|_| all.try_admit(usize::MAX)).count();
            assert_eq!((admitted, all.is_full()), (half + half / 4, true), "of {files}");
            let open: Vec<_> = std::iter::from_fn(|| all.for_node()).collect();
            assert_eq!(open.len(), half - half / 4, "of {files}");
            drop(open);
            assert!(all.for_node().is_some(), "of {files}");
        }
    }

    #[test]
    fn nodes_that_need_a_quarter_lend_nothing_so_that_each_client_finds_a_file_for_its_node() {
        let all = Files::of(256, 2);
        let mut open: Vec<_> = (0..24).map(|_| all.for_node().unwrap()).collect();
        let admitted = (0..256).filter(|_| all.try_admit(usize::MAX)).count();
        open.extend(std::iter::from_fn(|| all.for_node()));
        assert_eq!((admitted, open.len()), (96, 96));
    }

    #[tokio::test]
    async fn what_was_lent_is_called_back_before_nodes_need_it_and_goes_to_the_request_that_waits() {
        let all = Files::of(256, 2);
        let admitted = (0..256).filter(|_| all.try_admit(98)).count();
        let mut open: Vec<_> = (0..46).map(|_| all.for_node().unwrap()).collect();
        assert_eq!((admitted, all.recalled(), all.is_crowded()), (98, 0, false));
        open.extend(all.for_node());
        assert_eq!((all.recalled(), all.is_crowded()), (2, true));
        open.extend(std::iter::from_fn(|| all.for_node()));
        let mut waits = Box::pin(all.for_node_by(Instant::now() + Duration::from_secs(1)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut cx).is_pending(), "of {}", open.len());
        all.leave();
        assert!(waits.await.is_some());
        all.leave();
        assert_eq!((all.clients(), all.is_crowded()), (96, false), "nothing is lent any more");
    }

    #[test]
    fn a_client_that_leaves_makes_room_and_few_may_be_enough() {
        let all = Files::of(256, 1);
        assert!(all.try_admit(1));
        assert!(!all.try_admit(1) && all.try_admit(2) && !all.is_full());
        all.leave();
        assert!(all.try_admit(2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_file_longest_gets_the_next_and_gives_up_in_time() {
        let (all, deadline) = (Files::of(4, 1), Instant::now() + Duration::from_secs(1));
        let only = all.for_node().unwrap();
        let (first, next) = (all.for_node_by(deadline), all.for_node_by(deadline));
        let (mut first, mut next) = (Box::pin(first), Box::pin(next));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending() && next.as_mut().poll(&mut cx).is_pending());
        assert!(all.is_awaited());
        drop(only);
        assert!(all.for_node().is_none(), "a newcomer does not jump the queue");
        let _its = first.await.expect("its turn");
        assert!(next.await.is_none() && Instant::now() == deadline);
        assert!(!all.is_awaited());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_is_told_of_only_where_others_wait() {
        let (all, begun, pause) = (Files::of(2, 1), Instant::now(), Duration::from_secs(1));
        assert!(all.try_admit(9) && !all.is_crowded());
        all.leave();
        all.until_one_left(pause).await;
        assert_eq!(begun.elapsed(), pause, "nobody was told");
        let _crowd = all.crowd();
        assert!(all.try_admit(9) && all.is_crowded());
        all.leave();
        all.until_one_left(pause).await;
        assert_eq!(begun.elapsed(), pause, "it was told");
    }
}
