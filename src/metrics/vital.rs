//! How nodes and pools are doing, in cells that the health thread writes and every pick reads.

use crate::cluster::health::Cause;
use crate::cluster::health::Mark;
use crate::metrics::recent::Rates;
use crate::metrics::recent::RecentDurations;
use crate::metrics::stats::CLASS_NAMES;
use crate::metrics::stats::HistogramSum;
use crate::metrics::stats::NodeStats;
use crate::metrics::stats::PoolStats;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// What monotonic times count from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The health of a node at one address. Only the health thread sets the mark; a request on trial takes it away.
#[derive(Debug, Default)]
pub struct NodeVital {
    mark: AtomicU8,
    /// Requests in a row that failed, over all workers.
    failures: AtomicU32,
    /// How often it went from well to ill.
    falls: AtomicU64,
    /// Since when it is ill, in milliseconds since [`START`], plus 1; 0 while it is well.
    ill_since: AtomicU64,
    /// When it last went from well to ill or back, in milliseconds since 1970; 0 while it never did.
    flipped_ms: AtomicU64,
    /// Why it is ill.
    cause: ArcSwapOption<Cause>,
    /// How often its name did not resolve.
    resolve_failures: AtomicU64,
    /// Samples of its counters. The health thread takes them and operators ask for them; no request does either.
    recent: Mutex<RecentNode>,
}

/// Samples of the counters of a node.
#[derive(Debug, Default)]
struct RecentNode {
    /// Finished requests, requests that succeeded and requests that failed.
    requests: Rates<3>,
    durations: RecentDurations,
}

impl NodeVital {
    /// What a request may do with the node.
    pub fn mark(&self) -> Mark {
        match self.mark.load(Relaxed) {
            mark if mark == Mark::Well as u8 => Mark::Well,
            mark if mark == Mark::Trial as u8 => Mark::Trial,
            mark if mark == Mark::OpenTrial as u8 => Mark::OpenTrial,
            _ => Mark::Ill,
        }
    }

    /// Takes the trial that was offered as `mark`; of several requests only one gets it.
    pub fn take_trial(&self, mark: Mark) -> bool {
        self.mark.compare_exchange(mark as u8, Mark::Ill as u8, Relaxed, Relaxed).is_ok()
    }

    /// Counts a failed request; returns how many in a row that makes.
    pub fn failed(&self) -> u32 {
        self.failures.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// A request was answered as it should be. Hardly ever writes, so that workers share the cell for nothing.
    pub fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// Sets the mark, and why it is no better.
    pub fn set(&self, mark: Mark, cause: Option<Cause>) {
        self.cause.store(cause.map(Arc::new));
        if mark == Mark::Well {
            self.ill_since.store(0, Relaxed);
        } else if self.ill_since.load(Relaxed) == 0 {
            let now_ms = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.ill_since.store(now_ms.saturating_add(1), Relaxed);
        }
        self.mark.store(mark as u8, Relaxed);
    }

    /// Takes note that it went from well to ill or back at `now_ms` since 1970.
    pub fn flipped(&self, now_ms: u64, fell: bool) {
        self.falls.fetch_add(u64::from(fell), Relaxed);
        self.flipped_ms.store(now_ms, Relaxed);
        self.failures.store(0, Relaxed);
    }

    /// Takes a sample of the counters of the node, about every second.
    pub fn sample(&self, stats: &NodeStats) {
        let (mut recent, now) = (lock(&self.recent), START.elapsed());
        recent.requests.sample(now, node_counts(stats));
        recent.durations.sample(now, || stats.histogram(|stripe| &stripe.upstream_duration));
    }

    /// Finished requests a second over the last ten, and the part of them that failed by the node's own fault, 0 to 1;
    /// `None` without any.
    pub fn requests_per_second(&self, stats: &NodeStats) -> (f64, Option<f64>) {
        let [finished, successes, failures] =
            lock(&self.recent).requests.per_second(START.elapsed(), node_counts(stats));
        (finished, part(failures, successes + failures))
    }

    /// How many seconds the requests of the last minute waited for their response.
    pub fn recent_durations(&self, stats: &NodeStats) -> HistogramSum {
        let durations = stats.histogram(|stripe| &stripe.upstream_duration);
        lock(&self.recent).durations.last_minute(START.elapsed(), &durations)
    }

    /// Its name did not resolve.
    pub fn resolve_failed(&self) {
        self.resolve_failures.fetch_add(1, Relaxed);
    }

    /// How often its name did not resolve.
    pub fn resolve_failures(&self) -> u64 {
        self.resolve_failures.load(Relaxed)
    }

    /// Since when it is ill.
    pub fn ill_since(&self) -> Option<Instant> {
        let since_ms = self.ill_since.load(Relaxed).checked_sub(1)?;
        Some(*START + Duration::from_millis(since_ms))
    }

    /// Why it is ill.
    pub fn cause(&self) -> Option<Cause> {
        self.cause.load().as_deref().copied()
    }

    /// How often it went from well to ill.
    pub fn falls(&self) -> u64 {
        self.falls.load(Relaxed)
    }

    /// When it last went from well to ill or back, in milliseconds since 1970.
    pub fn flipped_ms(&self) -> Option<u64> {
        Some(self.flipped_ms.load(Relaxed)).filter(|flipped| *flipped != 0)
    }
}

/// The health of a pool as a whole; outlives routing tables.
#[derive(Debug, Default)]
pub struct PoolVital {
    is_panicking: AtomicBool,
    /// What the nodes that requests are sent to weigh in all; 0 while nobody has said.
    usable_weight: AtomicU64,
    /// Requests that wait for a node.
    waiting: AtomicUsize,
    /// Samples of its counters: all requests, the ones that spilled, and the ones without a key. The health thread
    /// takes them and operators ask for them; no request does either.
    recent: Mutex<Rates<3>>,
}

/// What became of the requests of a pool over the last ten seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolRates {
    /// Requests a second.
    pub requests_per_second: f64,
    /// The part of them that another node took because the owner of the key had enough to do; `None` without any.
    pub spill_ratio: Option<f64>,
    /// The part of them in which no key was found; `None` without any.
    pub no_key_ratio: Option<f64>,
}

impl PoolVital {
    /// Whether so few nodes are well that all are to be used.
    pub fn is_panicking(&self) -> bool {
        self.is_panicking.load(Relaxed)
    }

    /// Sets whether all nodes are to be used; returns whether that is news.
    pub fn set_panicking(&self, is_panicking: bool) -> bool {
        self.is_panicking.swap(is_panicking, Relaxed) != is_panicking
    }

    /// What the nodes that requests are sent to weigh in all; `all` when there is none, or nobody has said yet.
    pub fn usable_weight_of(&self, all: u64) -> u64 {
        match self.usable_weight.load(Relaxed) {
            0 => all,
            weight => weight,
        }
    }

    /// Sets what the nodes that requests are sent to weigh in all.
    pub fn set_usable_weight(&self, weight: u64) {
        self.usable_weight.store(weight, Relaxed);
    }

    /// Lets one more request wait unless `max` do; it must leave again by [`PoolVital::leave`].
    pub fn try_wait(&self, max: usize) -> bool {
        let one_more = |waiting| (waiting < max).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// One waits no longer.
    pub fn leave(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }

    /// Requests that wait for a node.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Takes a sample of the counters of the pool, about every second.
    pub fn sample(&self, stats: &PoolStats) {
        lock(&self.recent).sample(START.elapsed(), pool_counts(stats));
    }

    /// What became of the requests of the last ten seconds.
    pub fn rates(&self, stats: &PoolStats) -> PoolRates {
        let [all, spilled, keyless] = lock(&self.recent).per_second(START.elapsed(), pool_counts(stats));
        PoolRates { requests_per_second: all, spill_ratio: part(spilled, all), no_key_ratio: part(keyless, all) }
    }
}

fn node_counts(stats: &NodeStats) -> [u64; 3] {
    [stats.finished(), stats.sum(|stripe| &stripe.successes), stats.sum(|stripe| &stripe.failures)]
}

fn pool_counts(stats: &PoolStats) -> [u64; 3] {
    let spilled = stats.sum(|stripe| &stripe.decision_spill);
    let others = stats.sum(|stripe| &stripe.decision_owner)
        + stats.sum(|stripe| &stripe.decision_failover)
        + stats.sum(|stripe| &stripe.decision_no_key);
    let without_node =
        (0..CLASS_NAMES.len()).map(|class| stats.sum(|stripe| stripe.requests_without_node.class(class)));
    [spilled + others + without_node.sum::<u64>(), spilled, stats.sum(|stripe| &stripe.keyless)]
}

/// `some` of `all`, at most 1: the counters are not read in one moment.
fn part(some: f64, all: f64) -> Option<f64> {
    (all > 0.0).then(|| (some / all).min(1.0))
}

fn lock<T>(recent: &Mutex<T>) -> MutexGuard<'_, T> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}
