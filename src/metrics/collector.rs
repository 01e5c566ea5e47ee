//! Turns the counters into metric families: every metric name of the product is in this file.

use crate::build_info;
use crate::cluster::health::Mark;
use crate::metrics::PoolView;
use crate::metrics::Shared;
use crate::metrics::limit::Limit;
use crate::metrics::panics;
use crate::metrics::process::Process;
use crate::metrics::stats::CLASS_NAMES;
use crate::metrics::stats::Counter;
use crate::metrics::stats::HandshakeCounts;
use crate::metrics::stats::HistogramSum;
use crate::metrics::stats::IntroductionCounts;
use crate::metrics::stats::KEY_SOURCES_MAX;
use prometheus::core::Desc;
use prometheus::proto;
use prometheus::proto::MetricFamily;
use prometheus::proto::MetricType;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Reads all counters at scrape, so that the request path never touches a registry.
pub(crate) struct Collector {
    shared: Arc<Shared>,
}

impl Collector {
    pub(crate) fn new(shared: Arc<Shared>) -> Collector {
        Collector { shared }
    }
}

impl prometheus::core::Collector for Collector {
    /// None: the label values are those of the pools of the moment.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let pools = self.shared.pools.load_full();
        let mut families = requests(&self.shared, &pools);
        families.extend(decisions(&pools));
        families.extend(nodes(&pools));
        families.extend(health(&pools));
        families.extend(placement(&pools));
        families.extend(server(&self.shared));
        families.extend(tls(&self.shared));
        families.extend(process());
        families.into_iter().filter_map(Family::build).collect()
    }
}

fn requests(shared: &Shared, pools: &[PoolView]) -> Vec<Family> {
    let mut total = Family::counter("ringway_requests_total", "Finished requests by pool, node and status class.");
    let mut duration = Family::histogram(
        "ringway_request_duration_seconds",
        "From the request head to the last byte of the response; upgrades such as WebSocket are left out.",
    );
    let mut upstream =
        Family::histogram("ringway_upstream_duration_seconds", "From the request sent to a node to its response head.");
    for (class, code) in CLASS_NAMES.into_iter().enumerate() {
        let unmatched = shared.server.stripes.sum(|stripe| stripe.requests_without_pool.class(class));
        if unmatched > 0 {
            total.add(&[("pool", ""), ("node", ""), ("code", code)], unmatched as f64);
        }
    }
    for pool in pools {
        for (class, code) in CLASS_NAMES.into_iter().enumerate() {
            let count = pool.stats.sum(|stripe| stripe.requests_without_node.class(class));
            if count > 0 {
                total.add(&[("pool", &pool.name), ("node", ""), ("code", code)], count as f64);
            }
            for node in &pool.nodes {
                let count = node.stats.sum(|stripe| stripe.requests.class(class));
                total.add(&[("pool", &pool.name), ("node", &node.name), ("code", code)], count as f64);
            }
        }
        let observed = pool.stats.histogram(|stripe| &stripe.request_duration);
        duration.observe(&[("pool", &pool.name)], &observed);
        for node in &pool.nodes {
            let observed = node.stats.histogram(|stripe| &stripe.upstream_duration);
            upstream.observe(&[("pool", &pool.name), ("node", &node.name)], &observed);
        }
    }
    vec![total, duration, upstream]
}

fn decisions(pools: &[PoolView]) -> Vec<Family> {
    let mut decisions = Family::counter(
        "ringway_decisions_total",
        "Where requests went: to the owner of their key, past it, or anywhere for want of a key.",
    );
    let mut retries = Family::counter("ringway_retries_total", "Attempts after the first, by what went wrong before.");
    let mut keyless = Family::counter("ringway_keyless_requests_total", "Requests in which no key was found.");
    let mut keys = Family::counter(
        "ringway_keys_total",
        "Requests in which a key was found, by its source and the place of that in the pool's `key`.",
    );
    for pool in pools {
        let stats = &pool.stats;
        for (decision, count) in [
            ("owner", stats.sum(|stripe| &stripe.decision_owner)),
            ("failover", stats.sum(|stripe| &stripe.decision_failover)),
            ("spill", stats.sum(|stripe| &stripe.decision_spill)),
            ("no-key", stats.sum(|stripe| &stripe.decision_no_key)),
        ] {
            decisions.add(&[("pool", &pool.name), ("decision", decision)], count as f64);
        }
        for (reason, count) in [
            ("connect", stats.sum(|stripe| &stripe.retries_connect)),
            ("stale-connection", stats.sum(|stripe| &stripe.retries_stale)),
            ("closed", stats.sum(|stripe| &stripe.retries_closed)),
            ("timeout", stats.sum(|stripe| &stripe.retries_timeout)),
            ("status", stats.sum(|stripe| &stripe.retries_status)),
        ] {
            retries.add(&[("pool", &pool.name), ("reason", reason)], count as f64);
        }
        keyless.add(&[("pool", &pool.name)], stats.sum(|stripe| &stripe.keyless) as f64);
        for (index, source) in counted_sources(&pool.key_sources).enumerate() {
            let place = (index + 1).to_string();
            let count = stats.sum(|stripe| stripe.keys.of(index));
            keys.add(&[("pool", &pool.name), ("source", source), ("place", &place)], count as f64);
        }
    }
    vec![decisions, retries, keyless, keys]
}

/// The names of the sources that are counted apart, and one for those that are not.
fn counted_sources(names: &[String]) -> impl Iterator<Item = &str> {
    let has_rest = names.len() > KEY_SOURCES_MAX;
    let name = move |(index, name)| if has_rest && index == KEY_SOURCES_MAX - 1 { "others" } else { name };
    names.iter().map(String::as_str).take(KEY_SOURCES_MAX).enumerate().map(name)
}

fn nodes(pools: &[PoolView]) -> Vec<Family> {
    let mut inflight = Family::gauge("ringway_inflight_requests", "Requests now at a node.");
    let mut bound = Family::gauge(
        "ringway_inflight_bound_requests",
        "Requests that a node may have now before others come first, where load-bound or max-inflight say so.",
    );
    let mut spilled = Family::counter(
        "ringway_spilled_requests_total",
        "Requests passed on by the owner of their key (out), and taken for one (in), because that had enough to do.",
    );
    let mut state = Family::gauge("ringway_node_state", "1 for the state a node is in.");
    let mut connections = Family::gauge("ringway_upstream_connections", "Connections to nodes, in use or idle.");
    let mut tunnels = Family::gauge("ringway_tunnels", "Upgraded connections, such as WebSockets, now open.");
    let mut cut = Family::counter(
        "ringway_drain_cut_connections_total",
        "Connections to a node that were cut because it had been leaving for the drain deadline.",
    );
    for pool in pools {
        let usable_weight = pool.vital.usable_weight_of(pool.nodes.iter().map(|node| node.weight).sum());
        for node in &pool.nodes {
            let labels = [("pool", pool.name.as_str()), ("node", node.name.as_str())];
            let cap = pool.bounds.cap(pool.load.in_flight(), node.weight, usable_weight);
            if let Some(cap) = cap.filter(|_| node.weight > 0) {
                bound.add(&labels, cap as f64);
            }
            inflight.add(&labels, node.stats.level(|stripe| &stripe.inflight) as f64);
            for (direction, count) in [
                ("in", node.stats.sum(|stripe| &stripe.spilled_in)),
                ("out", node.stats.sum(|stripe| &stripe.spilled_out)),
            ] {
                spilled.add(&[labels[0], labels[1], ("direction", direction)], count as f64);
            }
            for name in ["active", "draining"] {
                let is = f64::from(u8::from(name == node.state));
                state.add(&[labels[0], labels[1], ("state", name)], is);
            }
            let all = node.stats.level(|stripe| &stripe.connections);
            let idle = node.stats.level(|stripe| &stripe.idle_connections);
            connections.add(&[labels[0], labels[1], ("state", "active")], (all - idle).max(0) as f64);
            connections.add(&[labels[0], labels[1], ("state", "idle")], idle as f64);
            tunnels.add(&labels, node.stats.level(|stripe| &stripe.tunnels) as f64);
            cut.add(&labels, node.stats.sum(|stripe| &stripe.cut_connections) as f64);
        }
    }
    vec![inflight, bound, spilled, state, connections, tunnels, cut]
}

fn health(pools: &[PoolView]) -> Vec<Family> {
    let mut up = Family::gauge("ringway_node_up", "1 while requests are sent to a node, 0 while it is ill.");
    let mut falls = Family::counter("ringway_node_falls_total", "How often a node went from well to ill.");
    let mut failures =
        Family::counter("ringway_node_failures_total", "Requests that failed by the fault of their node.");
    let mut unresolved =
        Family::counter("ringway_resolve_failures_total", "How often the host name of a node did not resolve.");
    let mut panicking =
        Family::gauge("ringway_pool_panic", "1 while so few nodes are well that requests are sent to all.");
    let mut waiting = Family::gauge("ringway_waiting_requests", "Requests that wait for a node.");
    let mut held = Family::counter("ringway_held_requests_total", "Requests that waited for a node.");
    let mut refused = Family::counter(
        "ringway_retries_refused_total",
        "Requests that were not sent again because the retry budget was spent.",
    );
    for pool in pools {
        let labels = [("pool", pool.name.as_str())];
        for node in &pool.nodes {
            let labels = [labels[0], ("node", node.name.as_str())];
            up.add(&labels, f64::from(u8::from(node.vital.mark() == Mark::Well)));
            falls.add(&labels, node.vital.falls() as f64);
            failures.add(&labels, node.stats.sum(|stripe| &stripe.failures) as f64);
            unresolved.add(&labels, node.vital.resolve_failures() as f64);
        }
        panicking.add(&labels, f64::from(u8::from(pool.vital.is_panicking())));
        waiting.add(&labels, pool.vital.waiting() as f64);
        held.add(&labels, pool.stats.sum(|stripe| &stripe.held) as f64);
        refused.add(&labels, pool.stats.sum(|stripe| &stripe.retries_refused) as f64);
    }
    vec![up, falls, failures, unresolved, panicking, waiting, held, refused]
}

fn placement(pools: &[PoolView]) -> Vec<Family> {
    let mut ownership = Family::gauge("ringway_ring_ownership_ratio", "Share of the keys a node owns.");
    let mut epoch = Family::gauge("ringway_ring_epoch", "The last membership event applied.");
    let mut info = Family::gauge("ringway_ring_info", "1, with the fingerprint of the placement as a label.");
    let mut moved = Family::gauge("ringway_ring_moved_ratio", "Share of the keys the last change moved.");
    let mut imbalance = Family::gauge(
        "ringway_ring_imbalance_ratio",
        "Largest share of a node over what its weight entitles it to; 1 is perfect.",
    );
    for pool in pools {
        let labels = [("pool", pool.name.as_str())];
        for node in &pool.nodes {
            ownership.add(&[labels[0], ("node", &node.name)], node.ownership_ratio);
        }
        epoch.add(&labels, pool.epoch as f64);
        info.add(&[labels[0], ("fingerprint", &pool.fingerprint)], 1.0);
        moved.add(&labels, pool.moved_ratio);
        imbalance.add(&labels, pool.imbalance_ratio);
    }
    vec![ownership, epoch, info, moved, imbalance]
}

fn server(shared: &Shared) -> Vec<Family> {
    let stats = &shared.server;
    let mut connections = Family::gauge("ringway_connections", "Client connections now open.");
    connections.add(&[("listener", "http")], stats.stripes.level(|stripe| &stripe.connections) as f64);
    let mut resting = Family::gauge(
        "ringway_resting_connections",
        "Client connections that have been idle for so long that only their socket is kept.",
    );
    resting.add(&[("listener", "http")], stats.stripes.level(|stripe| &stripe.resting_connections) as f64);
    let mut dropped =
        Family::counter("ringway_access_log_dropped_total", "Access log lines dropped because the log was too slow.");
    dropped.add(&[], stats.stripes.sum(|stripe| &stripe.log_lines_dropped) as f64);
    let mut held = Family::gauge("ringway_request_memory_bytes", "What requests hold in memory, by estimate.");
    held.add(&[], stats.stripes.level(|stripe| &stripe.request_bytes) as f64);
    let mut hits = Family::counter(
        "ringway_limit_hits_total",
        "How often something was refused, cut or closed for a limit, by the name of that in the config.",
    );
    for limit in Limit::ALL {
        let count = stats.stripes.sum(|stripe| stripe.limit_hits.of(limit));
        hits.add(&[("limit", limit.name())], count as f64);
    }
    let mut successful =
        Family::gauge("ringway_config_last_reload_successful", "1 when the last reload of the config was applied.");
    successful.add(&[], stats.reload_successful.load(Relaxed) as f64);
    let mut seconds = Family::gauge(
        "ringway_config_last_reload_success_timestamp_seconds",
        "When the config was last applied, in seconds since 1970.",
    );
    seconds.add(&[], stats.reload_success_seconds.load(Relaxed) as f64);
    let mut workers = Family::gauge("ringway_workers", "Threads that serve requests.");
    workers.add(&[], stats.stripes.count() as f64);
    let mut stuck =
        Family::gauge("ringway_workers_stuck", "Workers that do nothing, because they are stuck or have died.");
    stuck.add(&[], stats.pulses.stuck().count() as f64);
    let mut panicked =
        Family::counter("ringway_panics_total", "Panics, which are bugs, by the thread on which they happened.");
    panics::counts().for_each(|(thread, count)| panicked.add(&[("thread", thread)], count as f64));
    let mut build = Family::gauge("ringway_build_info", "1, with what the program was built from as labels.");
    let version = ("version", env!("CARGO_PKG_VERSION"));
    build.add(&[version, ("commit", build_info::COMMIT), ("rustc", build_info::RUSTC)], 1.0);
    vec![connections, resting, dropped, held, hits, successful, seconds, workers, stuck, panicked, build]
}

fn tls(shared: &Shared) -> Vec<Family> {
    let sum = |counter: fn(&HandshakeCounts) -> &Counter| {
        shared.server.stripes.sum(|stripe| counter(&stripe.handshakes)) as f64
    };
    let mut completed =
        Family::counter("ringway_tls_handshakes_total", "Handshakes of TLS with clients that went well.");
    completed.add(&[("listener", "http")], sum(|counts| &counts.completed));
    let mut failed = Family::counter(
        "ringway_tls_handshake_failures_total",
        "Handshakes of TLS with clients that failed, by reason.",
    );
    for (reason, count) in [
        ("alert", sum(|counts| &counts.alert)),
        ("certificate", sum(|counts| &counts.certificate)),
        ("closed", sum(|counts| &counts.closed)),
        ("crowded", sum(|counts| &counts.crowded)),
        ("protocol", sum(|counts| &counts.protocol)),
        ("timeout", sum(|counts| &counts.timeout)),
    ] {
        failed.add(&[("listener", "http"), ("reason", reason)], count);
    }
    let sum = |counter: fn(&IntroductionCounts) -> &Counter| {
        shared.server.stripes.sum(|stripe| counter(&stripe.introductions)) as f64
    };
    let mut unknown = Family::counter(
        "ringway_proxy_protocol_failures_total",
        "Connections that were closed for want of a PROXY protocol header of a load balancer, by reason.",
    );
    for (reason, count) in [
        ("closed", sum(|counts| &counts.closed)),
        ("malformed", sum(|counts| &counts.malformed)),
        ("timeout", sum(|counts| &counts.timeout)),
        ("untrusted", sum(|counts| &counts.untrusted)),
    ] {
        unknown.add(&[("listener", "http"), ("reason", reason)], count);
    }
    vec![completed, failed, unknown]
}

fn process() -> Vec<Family> {
    let process = Process::sample();
    let mut cpu = Family::counter("process_cpu_seconds_total", "User and system CPU time spent, in seconds.");
    if let Some(seconds) = process.cpu_seconds {
        cpu.add(&[], seconds);
    }
    let mut families = vec![cpu];
    for (name, help, value) in [
        ("process_open_fds", "Open file descriptors.", process.open_fds),
        ("process_max_fds", "Most file descriptors that may be open.", process.max_fds),
        ("process_resident_memory_bytes", "Resident memory in bytes.", process.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory in bytes.", process.virtual_bytes),
        ("process_threads", "Threads of the process.", process.threads),
        ("process_start_time_seconds", "Start of the process in seconds since 1970.", process.start_seconds),
    ] {
        let mut family = Family::gauge(name, help);
        if let Some(value) = value {
            family.add(&[], value);
        }
        families.push(family);
    }
    families
}

/// A metric family under construction.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    metrics: Vec<proto::Metric>,
}

impl Family {
    fn counter(name: &'static str, help: &'static str) -> Family {
        Family { name, help, kind: MetricType::COUNTER, metrics: Vec::new() }
    }

    fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, help, kind: MetricType::GAUGE, metrics: Vec::new() }
    }

    fn histogram(name: &'static str, help: &'static str) -> Family {
        Family { name, help, kind: MetricType::HISTOGRAM, metrics: Vec::new() }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut metric = proto::Metric::from_label(labels.iter().map(pair).collect());
        if self.kind == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    fn observe(&mut self, labels: &[(&str, &str)], observed: &HistogramSum) {
        let bucket = |(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(observed.count());
        histogram.set_sample_sum(observed.seconds());
        histogram.set_bucket(observed.cumulative().into_iter().map(bucket).collect());
        let mut metric = proto::Metric::from_label(labels.iter().map(pair).collect());
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// `None` without a metric, because the text format has no empty family.
    fn build(self) -> Option<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        let any = !self.metrics.is_empty();
        family.set_metric(self.metrics);
        any.then_some(family)
    }
}

fn pair((name, value): &(&str, &str)) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value((*value).to_owned());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_are_not_counted_apart_have_one_name() {
        for (sources, last) in [(1, "source-0"), (8, "source-7"), (9, "others"), (20, "others")] {
            let names: Vec<String> = (0..sources).map(|index| format!("source-{index}")).collect();
            let counted: Vec<&str> = counted_sources(&names).collect();
            assert_eq!((counted.len(), counted.last()), (sources.min(KEY_SOURCES_MAX), Some(&last)), "{counted:?}");
        }
    }
}
