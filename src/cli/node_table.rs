//! The nodes of a pool as a table that fits a terminal, and what there is to say of those that are not well.

use crate::admin::model::DrainStatus;
use crate::admin::model::NodeState;
use crate::admin::model::NodeStatus;
use crate::admin::model::Wellness;
use crate::cli::output::percent;
use crate::cli::paint::Paint;
use crate::cli::table::Cell;
use crate::cli::table::Table;
use clap::ValueEnum;
use std::cmp::Ordering;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// What is shown of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Node,
    Address,
    Zone,
    State,
    Health,
    /// Why it is not well.
    Why,
    Weight,
    Owns,
    /// Its share of the requests.
    Serves,
    Rate,
    Inflight,
    P50,
    P99,
    Errors,
    Drain,
    Changed,
}

/// What `ringway status` shows.
const STATUS: [Column; 11] = [
    Column::Node,
    Column::Address,
    Column::Zone,
    Column::State,
    Column::Health,
    Column::Weight,
    Column::Owns,
    Column::Rate,
    Column::Inflight,
    Column::P99,
    Column::Changed,
];

/// What `ringway top` shows.
pub(super) const TOP: [Column; 16] = [
    Column::Node,
    Column::Address,
    Column::Zone,
    Column::State,
    Column::Health,
    Column::Why,
    Column::Weight,
    Column::Owns,
    Column::Serves,
    Column::Rate,
    Column::Inflight,
    Column::P50,
    Column::P99,
    Column::Errors,
    Column::Drain,
    Column::Changed,
];

/// What a narrow terminal does without, the first one first. Who it is, how it is and what it does stay.
const DROPPED: [Column; 13] = [
    Column::Changed,
    Column::Zone,
    Column::Weight,
    Column::Address,
    Column::P50,
    Column::State,
    Column::Why,
    Column::Errors,
    Column::Serves,
    Column::Drain,
    Column::Inflight,
    Column::P99,
    Column::Owns,
];

/// What nodes can be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// The order in which they were added
    #[default]
    Added,
    Name,
    /// The ill ones first
    Health,
    Owns,
    Serves,
    Inflight,
    P50,
    P99,
    Errors,
}

impl Sort {
    /// Sorts: names from their beginning, numbers from the largest.
    pub(super) fn sort(self, nodes: &mut [NodeStatus]) {
        let largest = |a: f64, b: f64| b.total_cmp(&a);
        let seconds = |seconds: Option<f64>| seconds.unwrap_or(-1.0);
        let compare = |a: &NodeStatus, b: &NodeStatus| match self {
            Sort::Added => Ordering::Equal,
            Sort::Name => a.name.cmp(&b.name),
            Sort::Health => illness(a).cmp(&illness(b)),
            Sort::Owns => largest(a.share, b.share),
            Sort::Serves => largest(a.requests_per_second, b.requests_per_second),
            Sort::Inflight => b.inflight.cmp(&a.inflight),
            Sort::P50 => largest(seconds(a.p50_seconds), seconds(b.p50_seconds)),
            Sort::P99 => largest(seconds(a.p99_seconds), seconds(b.p99_seconds)),
            Sort::Errors => largest(seconds(a.failure_ratio), seconds(b.failure_ratio)),
        };
        nodes.sort_by(compare);
    }

    /// What comes after it.
    pub(super) fn next(self) -> Sort {
        let all = Sort::value_variants();
        let place = all.iter().position(|sort| *sort == self).unwrap_or_default();
        all[(place + 1) % all.len()]
    }
}

/// What `ringway status` shows of nodes.
pub(super) fn status(nodes: &[NodeStatus], now: SystemTime) -> Table {
    table(nodes, &STATUS, now).at_most(WIDTH)
}

/// A row for each node.
pub(super) fn table(nodes: &[NodeStatus], columns: &[Column], now: SystemTime) -> Table {
    let view = View { now, all_per_second: nodes.iter().map(|node| node.requests_per_second).sum() };
    let columns = said(nodes, columns);
    let titles: Vec<&str> = columns.iter().map(|column| column.title()).collect();
    let is_text = |column: &&Column| column.is_text();
    let mut table = Table::new(&titles, columns.iter().take_while(is_text).count());
    for node in nodes {
        table.row(columns.iter().map(|column| view.cell(*column, node)).collect());
    }
    let places = |wanted: &[Column]| -> Vec<usize> {
        wanted.iter().filter_map(|wanted| columns.iter().position(|column| column == wanted)).collect()
    };
    // Names, addresses, zones and causes are as long as people like.
    table.shortening(&places(&[Column::Node, Column::Address, Column::Zone, Column::Why])).dropping(places(&DROPPED))
}

/// Whether the table of these nodes says in such a terminal why nodes are not well.
pub(super) fn says_why(nodes: &[NodeStatus], columns: &[Column], width: Option<usize>, now: SystemTime) -> bool {
    let why = said(nodes, columns).iter().position(|column| *column == Column::Why);
    why.is_some_and(|why| table(nodes, columns, now).shows(why, width))
}

/// The columns that say something of one node at least.
fn said(nodes: &[NodeStatus], columns: &[Column]) -> Vec<Column> {
    let is_said = |column: &Column| match column {
        Column::Zone => nodes.iter().any(|node| node.zone.is_some()),
        Column::Why => nodes.iter().any(|node| node.health.is != Wellness::Well),
        Column::Drain => nodes.iter().any(|node| node.drain.is_some()),
        _ => true,
    };
    columns.iter().copied().filter(is_said).collect()
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Column::Node => "node",
            Column::Address => "address",
            Column::Zone => "zone",
            Column::State => "state",
            Column::Health => "health",
            Column::Why => "why",
            Column::Weight => "weight",
            Column::Owns => "owns",
            Column::Serves => "serves",
            Column::Rate => "req/s",
            Column::Inflight => "in flight",
            Column::P50 => "p50",
            Column::P99 => "p99",
            Column::Errors => "errors",
            Column::Drain => "drain",
            Column::Changed => "changed",
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Column::Node | Column::Address | Column::Zone | Column::State | Column::Health | Column::Why)
    }
}

/// What the cells of a node depend on besides the node.
struct View {
    now: SystemTime,
    all_per_second: f64,
}

impl View {
    fn cell(&self, column: Column, node: &NodeStatus) -> Cell {
        Cell::new(&self.text(column, node), self.paint(column, node))
    }

    fn text(&self, column: Column, node: &NodeStatus) -> String {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        match column {
            Column::Node => node.name.clone(),
            Column::Address => node.address.clone(),
            Column::Zone => or_none(node.zone.clone()),
            Column::State => state(node.state).to_owned(),
            Column::Health => self.health(node),
            Column::Why if node.health.is == Wellness::Well => String::new(),
            Column::Why => node.health.cause.clone().unwrap_or_default(),
            Column::Weight => node.weight.to_string(),
            Column::Owns => percent(node.share),
            Column::Serves => or_none(self.serves(node).map(percent)),
            Column::Rate => rate(node.requests_per_second),
            Column::Inflight => match node.bound {
                Some(bound) => format!("{}/{bound}", node.inflight),
                None => node.inflight.to_string(),
            },
            Column::P50 => or_none(node.p50_seconds.map(duration)),
            Column::P99 => or_none(node.p99_seconds.map(duration)),
            Column::Errors => or_none(node.failure_ratio.map(percent)),
            Column::Drain => or_none(node.drain.map(|drain| self.drain(drain))),
            Column::Changed => or_none(node.last_change.as_ref().map(|change| age(change.at_ms, self.now))),
        }
    }

    /// What stands out, besides saying so.
    fn paint(&self, column: Column, node: &NodeStatus) -> Paint {
        let is_off = |serves: f64| node.share > 0.0 && (serves / node.share - 1.0).abs() > OFF;
        match column {
            Column::Health | Column::Why if node.health.is == Wellness::Ill => Paint::Bad,
            Column::Health | Column::Why if node.health.is == Wellness::Trial => Paint::Warn,
            Column::State | Column::Drain if node.state == NodeState::Draining => Paint::Warn,
            Column::Serves if self.serves(node).is_some_and(is_off) => Paint::Warn,
            Column::Errors if node.failure_ratio.is_some_and(|ratio| ratio > ERRORS) => Paint::Bad,
            _ => Paint::Plain,
        }
    }

    fn health(&self, node: &NodeStatus) -> String {
        match (word(node.health.is), node.health.since_ms) {
            ("well", _) => "well".to_owned(),
            (word, Some(since_ms)) => format!("{word} {}", age(since_ms, self.now)),
            (word, None) => word.to_owned(),
        }
    }

    /// The node's part of the requests; `None` while there are none.
    fn serves(&self, node: &NodeStatus) -> Option<f64> {
        (self.all_per_second > 0.0).then(|| node.requests_per_second / self.all_per_second)
    }

    fn drain(&self, drain: DrainStatus) -> String {
        match drain.inflight {
            0 => "done".to_owned(),
            open => format!("{open} open, {}s", until(drain.deadline_ms, self.now).as_secs()),
        }
    }
}

/// A sentence for each node that is not well.
pub(super) fn causes(nodes: &[NodeStatus], now: SystemTime) -> Vec<String> {
    let ill = nodes.iter().filter(|node| node.health.is != Wellness::Well);
    let sentence = |node: &NodeStatus| {
        let since = node.health.since_ms.map(|since| format!(" for {}", age(since, now))).unwrap_or_default();
        let cause = node.health.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{} is {}{since}{cause}", node.name, word(node.health.is))
    };
    ill.map(sentence).collect()
}

/// A sentence for each node that is on its way out, or that spilled.
pub(super) fn notes(nodes: &[NodeStatus], now: SystemTime) -> Vec<String> {
    let leaving = nodes.iter().filter_map(|node| {
        let (drain, name) = (node.drain?, &node.name);
        let since = age(drain.since_ms, now);
        let left = humantime::format_duration(until(drain.deadline_ms, now));
        (drain.inflight > 0).then(|| format!("{name} drains for {since}; what is open is closed in {left}"))
    });
    let spilling = nodes.iter().filter(|node| node.spilled_in > 0 || node.spilled_out > 0).map(|node| {
        let NodeStatus { name, spilled_in, spilled_out, .. } = node;
        format!("{name} spilled {spilled_out} of its requests to others and took {spilled_in} of theirs")
    });
    leaving.chain(spilling).collect()
}

fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "active",
        NodeState::Draining => "draining",
    }
}

fn word(health: Wellness) -> &'static str {
    match health {
        Wellness::Well => "well",
        Wellness::Trial => "on trial",
        Wellness::Ill => "down",
    }
}

/// How many whole seconds there are until then.
fn until(at_ms: u64, now: SystemTime) -> Duration {
    Duration::from_secs(since_epoch(at_ms).duration_since(now).unwrap_or_default().as_secs())
}

/// The worse a node does, the less.
fn illness(node: &NodeStatus) -> u8 {
    match (node.health.is, node.state) {
        (Wellness::Ill, _) => 0,
        (Wellness::Trial, _) => 1,
        (Wellness::Well, NodeState::Draining) => 2,
        (Wellness::Well, NodeState::Active) => 3,
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

/// Requests a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second == 0.0 || per_second >= 99.95 { format!("{per_second:.0}") } else { format!("{per_second:.1}") }
}

fn duration(seconds: f64) -> String {
    if seconds < 0.999_5 { format!("{:.1}ms", seconds * 1000.0) } else { format!("{seconds:.1}s") }
}

/// Columns that programs find where `ringway status` has no terminal.
const WIDTH: usize = 100;

/// A node that serves so much more or less than it owns stands out: half again.
const OFF: f64 = 0.5;

/// A node with more errors than this part of its requests stands out.
const ERRORS: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::LastChange;
    use crate::admin::model::NodeHealth;
    use crate::cli::paint::Colours;

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

    fn shown(nodes: &[NodeStatus], columns: &[Column], seconds: u64, width: Option<usize>) -> Vec<String> {
        table(nodes, columns, after(seconds)).lines(width).iter().map(|line| line.painted(Colours::None)).collect()
    }

    /// One that is ill and one that drains.
    fn troubled() -> [NodeStatus; 3] {
        let mut ill = node("chat-1");
        ill.health = NodeHealth { is: Wellness::Ill, cause: Some("connection_refused".into()), since_ms: Some(1_000) };
        let mut draining = node("chat-2");
        (draining.state, draining.share, draining.inflight) = (NodeState::Draining, 0.0, 3);
        draining.drain = Some(DrainStatus { since_ms: 1_000, deadline_ms: 31_000, inflight: 3 });
        let mut busy = node("chat-0");
        (busy.requests_per_second, busy.bound, busy.inflight) = (950.0, Some(40), 12);
        (busy.p50_seconds, busy.p99_seconds, busy.failure_ratio) = (Some(0.001_2), Some(0.02), Some(0.03));
        (busy.share, ill.share) = (0.5, 0.5);
        [busy, ill, draining]
    }

    #[test]
    fn top_shows_more_the_wider_the_terminal_is() {
        let header = |width| shown(&troubled(), &TOP, 13, width).remove(0);
        for (width, columns) in [
            (160, "node address state health why weight owns serves req/s in flight p50 p99 errors drain changed"),
            (130, "node state health why owns serves req/s in flight p50 p99 errors drain"),
            (100, "node health why owns serves req/s in flight p99 errors drain"),
            (80, "node health owns serves req/s in flight p99 errors drain"),
            (60, "node health owns req/s in flight p99"),
            (30, "node health req/s"),
        ] {
            let shown: Vec<String> = header(Some(width)).split_whitespace().map(str::to_owned).collect();
            assert_eq!(shown.join(" "), columns, "{width}: {}", header(Some(width)));
        }
        assert_eq!(header(None), header(Some(1_000)), "off a terminal nothing is left out");
    }

    #[test]
    fn top_says_what_is_wrong_and_how_far_a_drain_is() {
        let lines = shown(&troubled(), &TOP, 13, None).join("\n");
        let words = lines.split_whitespace().collect::<Vec<&str>>().join(" ");
        for part in ["50.0 % 100.0 % 950 12/40 1.2ms 20.0ms 3.0 %", "down 12s connection_refused", "3 open, 18s"] {
            assert!(words.contains(part), "{part}:\n{lines}");
        }
        let says_why = |width| says_why(&troubled(), &TOP, Some(width), after(13));
        assert_eq!((says_why(120), says_why(60)), (true, false));
    }

    #[test]
    fn nodes_are_sorted_as_one_wishes() {
        let sorted = |sort: Sort| {
            let mut nodes = troubled();
            nodes.reverse();
            sort.sort(&mut nodes);
            nodes.map(|node| node.name).join(" ").replace("chat-", "")
        };
        for (sort, order) in [
            (Sort::Added, "2 1 0"),
            (Sort::Name, "0 1 2"),
            (Sort::Health, "1 2 0"),
            (Sort::Owns, "1 0 2"),
            (Sort::Serves, "0 2 1"),
            (Sort::Inflight, "0 2 1"),
            (Sort::P99, "0 2 1"),
            (Sort::Errors, "0 2 1"),
        ] {
            assert_eq!(sorted(sort), order, "{sort:?}");
        }
        assert_eq!((Sort::Added.next(), Sort::Errors.next()), (Sort::Name, Sort::Added));
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
        assert_eq!(
            shown(&nodes, &STATUS, 7_200, None),
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
        assert_eq!([causes(&nodes, after(7_200)), notes(&nodes, after(7_200))].concat(), noted);
    }

    #[test]
    fn a_table_fits_a_hundred_columns_whatever_nodes_are_called() {
        let mut long = node(&"n".repeat(128));
        long.address = format!("{}.example.com:3000", "host".repeat(40));
        long.zone = Some("z".repeat(128));
        long.health = NodeHealth { is: Wellness::Trial, cause: None, since_ms: Some(0) };
        (long.requests_per_second, long.inflight, long.bound) = (123_456.0, 10_000, Some(12_500));
        let lines = shown(&[long], &STATUS, 59, Some(100));
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{lines:#?}");
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
