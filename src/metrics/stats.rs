//! Counters that the data plane writes: one stripe per worker, each on cache lines of its own, summed at scrape.

use crate::metrics::limit::LimitHits;
use crate::metrics::pulse::Pulses;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// One copy of `T` per worker. A worker writes only its own copy, so no cache line is shared on the request path.
#[derive(Debug)]
pub struct Striped<T> {
    stripes: Box<[Stripe<T>]>,
}

/// 128 bytes: two cache lines, because x86 fetches lines in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Stripe<T>(T);

impl<T: Default> Striped<T> {
    /// One zeroed stripe for each of `workers` threads (at least one).
    pub fn new(workers: usize) -> Striped<T> {
        Striped { stripes: (0..workers.max(1)).map(|_| Stripe::default()).collect() }
    }
}

impl<T> Striped<T> {
    /// The stripe of worker `worker`.
    pub fn of(&self, worker: usize) -> &T {
        &self.stripes[worker % self.stripes.len()].0
    }

    /// How many stripes there are.
    pub fn count(&self) -> usize {
        self.stripes.len()
    }

    /// The sum of one counter over all stripes.
    pub fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        self.stripes.iter().map(|stripe| counter(&stripe.0).get()).sum()
    }

    /// The sum of one gauge over all stripes, never below 0.
    pub fn level(&self, gauge: impl Fn(&T) -> &Gauge) -> i64 {
        self.stripes.iter().map(|stripe| gauge(&stripe.0).get()).sum::<i64>().max(0)
    }

    /// The sum of one histogram over all stripes.
    pub fn histogram(&self, histogram: impl Fn(&T) -> &Histogram) -> HistogramSum {
        let mut sum = HistogramSum::default();
        for stripe in &self.stripes {
            sum.add(histogram(&stripe.0));
        }
        sum
    }
}

/// A counter with one writer: a plain load and store, no read-modify-write on the bus.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The value, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level with one writer.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Moves the level by `change`.
    pub fn add(&self, change: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(change), Relaxed);
    }

    /// The level, from any thread.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the duration buckets in seconds: the OpenTelemetry advice for HTTP servers, with 1 ms and 2.5 ms
/// below it because a proxy beside its nodes answers faster than that.
pub const BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// [`BUCKETS`] in nanoseconds, so that observing compares integers.
const BUCKET_NANOS: [u64; 16] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// A duration histogram with one writer.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Observations by bucket, not cumulative; the last is for what exceeds every bound.
    buckets: [Counter; BUCKETS.len() + 1],
    sum_nanos: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKET_NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].increment();
        self.sum_nanos.add(nanos);
    }
}

/// A histogram summed over stripes.
#[derive(Clone, Debug, Default)]
pub struct HistogramSum {
    buckets: [u64; BUCKETS.len() + 1],
    sum_nanos: u64,
}

impl HistogramSum {
    fn add(&mut self, histogram: &Histogram) {
        for (total, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *total += bucket.get();
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(histogram.sum_nanos.get());
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of the observations in seconds.
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_nanos).as_secs_f64()
    }

    /// What came after `before`, an earlier sum of the same histogram.
    pub fn since(&self, before: &HistogramSum) -> HistogramSum {
        let mut later = self.clone();
        for (bucket, before) in later.buckets.iter_mut().zip(&before.buckets) {
            *bucket = bucket.saturating_sub(*before);
        }
        later.sum_nanos = self.sum_nanos.wrapping_sub(before.sum_nanos);
        later
    }

    /// The duration in seconds that the share `quantile` of the observations did not exceed, interpolated in its bucket
    /// as Prometheus does; the last bound for what exceeds all of them. `None` without observations.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.count() as f64;
        let (mut below, mut least) = (0.0, 0.0);
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            let inside = *bucket as f64;
            if inside > 0.0 && below + inside >= rank {
                return Some(least + (bound - least) * ((rank - below) / inside).clamp(0.0, 1.0));
            }
            (below, least) = (below + inside, *bound);
        }
        (self.count() > 0).then_some(least)
    }

    /// Pairs of upper bound and observations at or below it.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut total = 0;
        let count = |(bound, bucket): (&f64, &u64)| {
            total += bucket;
            (*bound, total)
        };
        BUCKETS.iter().zip(&self.buckets).map(count).collect()
    }
}

/// Responses by status class: index 0 is 1xx, 4 is 5xx.
#[derive(Debug, Default)]
pub struct Classes([Counter; CLASS_NAMES.len()]);

/// The values of the label `code`.
pub const CLASS_NAMES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Classes {
    /// Counts one response; a status outside 100 to 599 counts as 5xx.
    pub fn count(&self, status: u16) {
        self.class(usize::from(status / 100).wrapping_sub(1)).increment();
    }

    /// The counter of class number `class` (0 for 1xx).
    pub fn class(&self, class: usize) -> &Counter {
        self.0.get(class).unwrap_or(&self.0[CLASS_NAMES.len() - 1])
    }
}

/// Keys by the source that they came from: index 0 is the first of the pool's `key`.
#[derive(Debug, Default)]
pub struct KeySources([Counter; KEY_SOURCES_MAX]);

/// How many sources of keys are counted apart; the last counts for those behind it too.
pub const KEY_SOURCES_MAX: usize = 8;

impl KeySources {
    /// The counter of the source with this index.
    pub fn of(&self, source: usize) -> &Counter {
        self.0.get(source).unwrap_or(&self.0[KEY_SOURCES_MAX - 1])
    }
}

/// What one worker counts about one node.
#[derive(Debug, Default)]
pub struct NodeStripe {
    /// Finished requests by status class.
    pub requests: Classes,
    /// Requests now at the node, until the last byte of the response.
    pub inflight: Gauge,
    /// Connections to the node, idle ones included.
    pub connections: Gauge,
    /// Connections kept for the next request.
    pub idle_connections: Gauge,
    /// Upgraded connections, such as WebSockets, now open.
    pub tunnels: Gauge,
    /// Connections cut because the node was on its way out for too long.
    pub cut_connections: Counter,
    /// From the request sent to the response head.
    pub upstream_duration: Histogram,
    /// Requests that the node answered to the end.
    pub successes: Counter,
    /// Requests that failed by the node's own fault.
    pub failures: Counter,
    /// Requests served here because the owner of their key had enough to do.
    pub spilled_in: Counter,
    /// Requests served elsewhere because the node, the owner of their key, had enough to do.
    pub spilled_out: Counter,
}

/// What one worker counts about one pool.
#[derive(Debug, Default)]
pub struct PoolStripe {
    /// Requests that ended without a response from a node, by status class.
    pub requests_without_node: Classes,
    /// Requests served by their key's owner.
    pub decision_owner: Counter,
    /// Requests served by a later candidate because an earlier one failed.
    pub decision_failover: Counter,
    /// Requests served by a later candidate because the owner of their key had enough to do.
    pub decision_spill: Counter,
    /// Requests without a key, spread by weight.
    pub decision_no_key: Counter,
    /// Attempts made because a node could not be connected to.
    pub retries_connect: Counter,
    /// Attempts made because a kept connection had been closed.
    pub retries_stale: Counter,
    /// Attempts made because a node had closed the connection, or answered with what is not HTTP.
    pub retries_closed: Counter,
    /// Attempts made because a node had not answered in time.
    pub retries_timeout: Counter,
    /// Attempts made because a node had answered with one of the statuses in `retry-on`.
    pub retries_status: Counter,
    /// Requests that would have been sent again, had the budget allowed it.
    pub retries_refused: Counter,
    /// Requests that waited for a node.
    pub held: Counter,
    /// Requests in which no key was found, spread or rejected.
    pub keyless: Counter,
    /// Requests in which a key was found, by where.
    pub keys: KeySources,
    /// From the request head to the last byte of the response, without upgrades.
    pub request_duration: Histogram,
}

/// What one worker counts about nothing in particular.
#[derive(Debug, Default)]
pub struct ServerStripe {
    /// Requests that matched no pool, or were refused before one was looked up, by status class.
    pub requests_without_pool: Classes,
    /// Client connections now open.
    pub connections: Gauge,
    /// Those of them that have been idle for so long that only their socket is kept.
    pub resting_connections: Gauge,
    /// Access log lines dropped because the log could not keep up.
    pub log_lines_dropped: Counter,
    /// What requests hold in memory, in bytes.
    pub request_bytes: Gauge,
    /// How often each limit struck.
    pub limit_hits: LimitHits,
    /// Handshakes of TLS with clients.
    pub handshakes: HandshakeCounts,
    /// Connections on which nobody said who the client is, and should have.
    pub introductions: IntroductionCounts,
}

/// How headers of the PROXY protocol failed.
#[derive(Debug, Default)]
pub struct IntroductionCounts {
    /// The connection ended before it.
    pub closed: Counter,
    /// What came is none.
    pub malformed: Counter,
    /// It took too long.
    pub timeout: Counter,
    /// It is not one of the load balancers that connect.
    pub untrusted: Counter,
}

/// How handshakes of TLS ended.
#[derive(Debug, Default)]
pub struct HandshakeCounts {
    /// Well.
    pub completed: Counter,
    /// The client broke it off with an alert, such as for want of trust in the certificate.
    pub alert: Counter,
    /// The client showed no certificate, or one that is not accepted.
    pub certificate: Counter,
    /// The client left.
    pub closed: Counter,
    /// It made room for a later one.
    pub crowded: Counter,
    /// What the client sent is no TLS, or none that is spoken here.
    pub protocol: Counter,
    /// It took too long.
    pub timeout: Counter,
}

/// Counters of a node; they outlive routing tables and address changes.
pub type NodeStats = Striped<NodeStripe>;
impl NodeStats {
    /// Finished requests of all classes.
    pub fn finished(&self) -> u64 {
        (0..CLASS_NAMES.len()).map(|class| self.sum(|stripe| stripe.requests.class(class))).sum()
    }
}

/// Counters of a pool.
pub type PoolStats = Striped<PoolStripe>;

/// Counters of the process.
#[derive(Debug)]
pub struct ServerStats {
    /// Per worker.
    pub stripes: Striped<ServerStripe>,
    /// Whether the workers are alive.
    pub pulses: Pulses,
    /// 1 when the last reload was applied.
    pub reload_successful: AtomicU64,
    /// Unix time in seconds of the last applied reload.
    pub reload_success_seconds: AtomicU64,
}

impl ServerStats {
    /// For `workers` data-plane threads.
    pub fn new(workers: usize) -> ServerStats {
        ServerStats {
            stripes: Striped::new(workers),
            pulses: Pulses::new(workers),
            reload_successful: AtomicU64::new(1),
            reload_success_seconds: AtomicU64::new(0),
        }
    }
}
