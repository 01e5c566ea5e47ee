//! The nodes of a pool as a table that fits a terminal, and what there is to say of those that are not well.

use crate::admin::model::NodeState;
use crate::admin::model::NodeStatus;
use crate::admin::model::Wellness;
use crate::cli::output::Table;
use crate::cli::output::percent;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Columns of the terminals that the table fits.
const WIDTH: usize = 100;

/// A row for each node.
pub(super) fn table(nodes: &[NodeStatus], now: SystemTime) -> Table {
    let has_zones = nodes.iter().any(|node| node.zone.is_some());
    let texts = ["node", "address", "zone", "state", "health"];
    let numbers = ["weight", "owns", "req/s", "in flight", "p99", "changed"];
    let shown = |texts: Vec<String>| texts.into_iter().enumerate().filter(|(column, _)| has_zones || *column != ZONE);
    let row = |texts: Vec<String>, numbers: Vec<String>| {
        shown(texts).map(|(_, text)| text).chain(numbers).collect::<Vec<String>>()
    };
    let header = row(texts.map(str::to_owned).into(), numbers.map(str::to_owned).into());
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = Table::new(&header, header.len() - numbers.len());
    for node in nodes {
        table.row(row(texts_of(node, now), numbers_of(node, now)));
    }
    // Names, addresses and zones are as long as people like.
    table.fitting(WIDTH, if has_zones { &[0, 1, ZONE] } else { &[0, 1] })
}

/// The column of the zones, which is left out where there are none.
const ZONE: usize = 2;

fn texts_of(node: &NodeStatus, now: SystemTime) -> Vec<String> {
    let state = match node.state {
        NodeState::Active => "active",
        NodeState::Draining => "draining",
    };
    let health = match (word(node.health.is), node.health.since_ms) {
        ("well", _) => "well".to_owned(),
        (word, Some(since_ms)) => format!("{word} {}", age(since_ms, now)),
        (word, None) => word.to_owned(),
    };
    let zone = node.zone.clone().unwrap_or_else(|| "-".to_owned());
    vec![node.name.clone(), node.address.clone(), zone, state.to_owned(), health]
}

fn numbers_of(node: &NodeStatus, now: SystemTime) -> Vec<String> {
    let none = || "-".to_owned();
    let inflight = match node.bound {
        Some(bound) => format!("{}/{bound}", node.inflight),
        None => node.inflight.to_string(),
    };
    vec![
        node.weight.to_string(),
        percent(node.share),
        rate(node.requests_per_second),
        inflight,
        node.p99_seconds.map_or_else(none, duration),
        node.last_change.as_ref().map_or_else(none, |change| age(change.at_ms, now)),
    ]
}

/// A sentence for each node that is not well, that is on its way out, or that spilled.
pub(super) fn notes(nodes: &[NodeStatus], now: SystemTime) -> Vec<String> {
    let ill = nodes.iter().filter(|node| node.health.is != Wellness::Well).map(|node| {
        let since = node.health.since_ms.map(|since| format!(" for {}", age(since, now))).unwrap_or_default();
        let cause = node.health.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{} is {}{since}{cause}", node.name, word(node.health.is))
    });
    let leaving = nodes.iter().filter_map(|node| {
        let (drain, name) = (node.drain?, &node.name);
        let since = age(drain.since_ms, now);
        let left =
            Duration::from_secs(since_epoch(drain.deadline_ms).duration_since(now).unwrap_or_default().as_secs());
        let left = humantime::format_duration(left);
        (drain.inflight > 0).then(|| format!("{name} drains for {since}; what is open is closed in {left}"))
    });
    let spilling = nodes.iter().filter(|node| node.spilled_in > 0 || node.spilled_out > 0).map(|node| {
        let NodeStatus { name, spilled_in, spilled_out, .. } = node;
        format!("{name} spilled {spilled_out} of its requests to others and took {spilled_in} of theirs")
    });
    ill.chain(leaving).chain(spilling).collect()
}

fn word(health: Wellness) -> &'static str {
    match health {
        Wellness::Well => "well",
        Wellness::Trial => "on trial",
        Wellness::Ill => "down",
    }
}

/// How long ago that was, in its largest unit.
fn age(at_ms: u64, now: SystemTime) -> String {
    // A clock that was set back makes it just now.
    let seconds = now.duration_since(since_epoch(at_ms)).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn since_epoch(ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH)
}

fn rate(per_second: f64) -> String {
    if per_second == 0.0 || per_second >= 99.95 { format!("{per_second:.0}") } else { format!("{per_second:.1}") }
}

fn duration(seconds: f64) -> String {
    if seconds < 0.999_5 { format!("{:.1}ms", seconds * 1000.0) } else { format!("{seconds:.1}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::LastChange;
    use crate::admin::model::NodeHealth;

    fn node(name: &str) -> NodeStatus {
        NodeStatus {
            name: name.to_owned(),
            address: "10.0.0.10:3000".to_owned(),
            weight: 1,
            zone: None,
            placement_id: None,
            state: NodeState::Active,
            health: NodeHealth { is: Wellness::Well, cause: None, since_ms: None },
            share: 0.331,
            requests_per_second: 0.0,
            inflight: 0,
            bound: None,
            spilled_in: 0,
            spilled_out: 0,
            connections: 0,
            idle_connections: 0,
            tunnels: 0,
            requests: 0,
            p50_seconds: None,
            p99_seconds: None,
            failure_ratio: None,
            last_change: None,
            drain: None,
        }
    }

    fn after(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_table_shows_how_every_node_does() {
        let mut ill = node("chat-1");
        ill.health = NodeHealth { is: Wellness::Ill, cause: Some("check: status 500".into()), since_ms: Some(1_000) };
        let last_change = LastChange { epoch: 2, at_ms: 0, actor: "ops".to_owned(), reason: None };
        (ill.requests_per_second, ill.inflight, ill.bound) = (12.34, 3, Some(40));
        (ill.p99_seconds, ill.last_change) = (Some(0.004_9), Some(last_change));
        (ill.spilled_in, ill.spilled_out) = (1, 20);
        let nodes = [node("chat-0"), ill];
        let lines = table(&nodes, after(7_200)).lines();
        assert_eq!(
            lines,
            [
                "node    address         state   health   weight    owns  req/s  in flight    p99  changed",
                "chat-0  10.0.0.10:3000  active  well          1  33.1 %      0          0      -        -",
                "chat-1  10.0.0.10:3000  active  down 1h       1  33.1 %   12.3       3/40  4.9ms       2h",
            ],
        );
        let noted = [
            "chat-1 is down for 1h: check: status 500",
            "chat-1 spilled 20 of its requests to others and took 1 of theirs",
        ];
        assert_eq!(notes(&nodes, after(7_200)), noted);
    }

    #[test]
    fn a_table_fits_a_hundred_columns_whatever_nodes_are_called() {
        let mut long = node(&"n".repeat(128));
        long.address = format!("{}.example.com:3000", "host".repeat(40));
        long.zone = Some("z".repeat(128));
        long.health = NodeHealth { is: Wellness::Trial, cause: None, since_ms: Some(0) };
        (long.requests_per_second, long.inflight, long.bound) = (123_456.0, 10_000, Some(12_500));
        let lines = table(&[long], after(59)).lines();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert!(lines[1].contains("on trial 59s") && lines[1].contains("10000/12500"), "{lines:#?}");
    }

    #[test]
    fn figures_are_as_short_as_they_can_be() {
        for (at, shown) in [(0, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (90_000, "1d")] {
            assert_eq!(age(0, after(at)), shown, "{at}");
        }
        assert_eq!([0.0, 0.04, 12.34, 4711.0].map(rate), ["0", "0.0", "12.3", "4711"]);
        assert_eq!([0.000_5, 0.25, 1.25].map(duration), ["0.5ms", "250.0ms", "1.2s"]);
    }
}
