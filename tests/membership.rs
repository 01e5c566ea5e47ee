//! Plays dialogues between an operator and a pool (`tests/scenarios/*.txt`), and checks the laws of memberships.
//!
//! A scenario is a series of commands, each followed by `----` and the expected answer up to an empty line. The lines
//! of one command are applied together, as one event. `RINGWAY_REWRITE=1 cargo test --test membership` writes the
//! actual answers into the files; read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use proptest::prelude::*;
use ringway::cluster::log::Action;
use ringway::cluster::log::Event;
use ringway::cluster::log::History;
use ringway::cluster::membership::Change;
use ringway::cluster::membership::Membership;
use ringway::cluster::membership::Refused;
use ringway::cluster::membership::check_safe;
use ringway::cluster::node::Node;
use ringway::placement::Fingerprint;
use ringway::placement::PlacementSettings;
use ringway::placement::plan::movement;
use std::fmt::Write;
use std::fs;
use std::path::Path;

#[test]
fn scenarios_play_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut played = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let expected = fs::read_to_string(&path).unwrap();
        let actual = play(&expected);
        played += 1;
        if std::env::var_os("RINGWAY_REWRITE").is_some() {
            fs::write(&path, &actual).unwrap();
            continue;
        }
        let difference = actual.lines().zip(expected.lines()).position(|(actual, expected)| actual != expected);
        let line = difference.unwrap_or(expected.lines().count().min(actual.lines().count())) + 1;
        assert!(actual == expected, "{}:{line}: the pool answers differently:\n{actual}", path.display());
        played += 1;
    }
    assert!(played >= 5, "only {played} scenarios were found");
}

/// The scenario with the answers that the pool gives.
fn play(scenario: &str) -> String {
    let mut pool = Pool { history: History::empty("rooms", PlacementSettings::default()) };
    let mut played = String::new();
    for block in scenario.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        if !played.is_empty() {
            played.push('\n');
        }
        let command = block.split("----").next().unwrap_or_default().trim();
        let comments = command.lines().filter(|line| line.starts_with('#'));
        comments.for_each(|comment| writeln!(played, "{comment}").unwrap());
        let lines: Vec<&str> = command.lines().filter(|line| !line.starts_with('#')).collect();
        if !lines.is_empty() {
            writeln!(played, "{}\n----\n{}", lines.join("\n"), pool.answer(&lines).trim_end()).unwrap();
        }
    }
    played
}

/// What an operator talks to: the history of one pool, with the precautions of the verbs.
struct Pool {
    history: History,
}

impl Pool {
    fn answer(&mut self, lines: &[&str]) -> String {
        let (verb, rest) = lines[0].split_once(' ').unwrap_or((lines[0], ""));
        match verb {
            "at" => match self.history.at(number(rest)) {
                Ok(membership) => table(&membership),
                Err(unknown) => format!("{unknown}\n"),
            },
            "compact" => {
                self.history.compact(number(rest));
                format!("epochs {} to {} are known\n", self.history.oldest_epoch(), self.history.epoch())
            }
            "force" => self.change(&lines[1..], true),
            "rollback" => match self.history.at(number(rest)) {
                Ok(membership) => self.step(Action::Rollback { to_epoch: number(rest), membership }),
                Err(unknown) => format!("{unknown}\n"),
            },
            "towards" => self.towards(&lines[1..]),
            _ => self.change(lines, false),
        }
    }

    fn change(&mut self, lines: &[&str], force: bool) -> String {
        let changes: Vec<Change> = lines.iter().map(|line| parse_change(line)).collect();
        match self.check(&changes, force) {
            Ok(after) if self.history.epoch() > 0 && after == *self.history.membership() => {
                "nothing changes\n".to_owned()
            }
            Ok(after) if self.history.epoch() == 0 => self.step(Action::Changes(after.founding_changes())),
            Ok(_) => self.step(Action::Changes(changes)),
            Err(refused) => show_refusal(&refused),
        }
    }

    fn check(&self, changes: &[Change], force: bool) -> Result<Membership, Refused> {
        let before = self.history.membership();
        let after = before.apply(changes)?;
        let placements = (before.build().unwrap(), after.build().unwrap());
        let safe = check_safe((before, &placements.0), (&after, &placements.1));
        safe.or_else(|refused| if force { Ok(()) } else { Err(refused) })?;
        Ok(after)
    }

    /// The changes that lead to the nodes given, which are not made.
    fn towards(&self, lines: &[&str]) -> String {
        let changes: Vec<Change> = lines.iter().map(|line| parse_change(line)).collect();
        let target = Membership::new(self.history.membership().placement).apply(&changes).unwrap();
        let changes = self.history.membership().changes_to(&target);
        if changes.is_empty() {
            return "nothing to change\n".to_owned();
        }
        changes.iter().map(|change| serde_json::to_string(change).unwrap() + "\n").collect()
    }

    fn step(&mut self, action: Action) -> String {
        let before = self.history.membership().build().unwrap();
        let epoch = self.history.epoch() + 1;
        let (pool, actor) = ("rooms".to_owned(), "operator".to_owned());
        self.history.push(Event { pool, epoch, at_ms: 0, actor, reason: None, action }).unwrap();
        let after = self.history.membership().build().unwrap();
        let moved = movement(&before, &after).moved_ratio * 100.0;
        let moved = if epoch == 1 { String::new() } else { format!(", {moved:.1} % of the keys moved") };
        format!("epoch {epoch}{moved}\n{}", table(self.history.membership()))
    }
}

fn show_refusal(refused: &Refused) -> String {
    let kind = if refused.is_unsafe() { "unsafe" } else { "refused" };
    let change = refused.index.map(|index| format!(", change {index}")).unwrap_or_default();
    let field = refused.field().map(|field| format!(", field {field}")).unwrap_or_default();
    format!("{kind}{change}{field}: {refused}\n")
}

fn table(membership: &Membership) -> String {
    let placement = membership.build().unwrap();
    let shares = placement.shares();
    let share = |node: &Node| {
        let index = placement.nodes().iter().position(|placed| placed.name == node.name.as_str());
        index.map_or(0.0, |index| shares[index] as f64 / 2f64.powi(64) * 100.0)
    };
    let mut table = format!("placement {}\n", membership.placement);
    for node in membership.nodes() {
        let state = if node.is_placed() { "active" } else { "draining" };
        let (name, address) = (node.name.as_str(), node.address.to_string());
        let zone = node.zone.as_deref().unwrap_or("-");
        let id = node.placement_id.as_ref().map(|id| format!("  id {id}")).unwrap_or_default();
        let (weight, share) = (node.weight, share(node));
        writeln!(table, "{name:7} {address:18} weight {weight:4}  zone {zone:4} {state:8} {share:5.1} %{id}").unwrap();
    }
    table
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

/// `add a=HOST:PORT,weight=2,zone=b,id=x`, `remove a`, `weight a=2` and so on, as an operator writes them.
fn parse_change(line: &str) -> Change {
    let (verb, rest) = line.split_once(' ').unwrap_or_else(|| panic!("not a change: {line:?}"));
    let (target, value) = rest.split_once('=').unwrap_or((rest, ""));
    let name = || target.parse().unwrap_or_else(|why| panic!("{line:?}: {why}"));
    let address = |text: &str| text.parse().unwrap_or_else(|why| panic!("{line:?}: {why}"));
    match verb {
        "add" => {
            let mut parts = value.split(',');
            let (name, address) = (name(), address(parts.next().unwrap_or_default()));
            let mut node = Node { name, address, weight: 1, zone: None, placement_id: None, draining: false };
            for part in parts {
                match part.split_once('=') {
                    Some(("weight", weight)) => node.weight = number(weight),
                    Some(("zone", zone)) => node.zone = Some(zone.to_owned()),
                    Some(("id", id)) => node.placement_id = Some(id.to_owned()),
                    _ if part == "draining" => node.draining = true,
                    _ => panic!("{line:?}: {part:?} is not known"),
                }
            }
            Change::Add(node)
        }
        "address" => Change::Address { name: name(), address: address(value) },
        "drain" => Change::Drain { name: name() },
        "placement" => Change::Placement(rest.parse().unwrap_or_else(|why| panic!("{line:?}: {why}"))),
        "remove" => Change::Remove { name: name() },
        "undrain" => Change::Undrain { name: name() },
        "weight" => Change::Weight { name: name(), weight: number(value) },
        "zone" => Change::Zone { name: name(), zone: (!value.is_empty()).then(|| value.to_owned()) },
        _ => panic!("{line:?}: the verb is not known"),
    }
}

fn fingerprint(membership: &Membership) -> Fingerprint {
    membership.build().unwrap().fingerprint("path")
}

/// Nodes by name where the placement does not depend on their order: then it is no part of where `changes_to` leads.
fn as_it_counts(membership: &Membership) -> Vec<Node> {
    let mut nodes = membership.nodes().to_vec();
    if membership.placement.dialect().is_none() {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
    }
    nodes
}

fn any_placement() -> impl Strategy<Value = PlacementSettings> {
    // As few slots as suffice for twelve nodes with weights up to 3.
    let table = prop::sample::select(vec!["table slots=2048", "table slots=2048 cap=1.1", "table slots=4096"]);
    let dialects = ["nginx", "nginx-modulo", "haproxy-map", "envoy-ring-hash minimum-size=20", "ketama"];
    prop_oneof![
        3 => (1u32..12).prop_map(|vnodes| PlacementSettings::Ring { vnodes }),
        1 => table.prop_map(|table| table.parse().unwrap()),
        1 => prop::sample::select(dialects.to_vec()).prop_map(|dialect| dialect.parse().unwrap()),
    ]
}

/// One of 12 names, so that changes meet nodes that are there and nodes that are not.
fn any_name() -> impl Strategy<Value = String> {
    (0..12).prop_map(|number| format!("node-{number}"))
}

fn any_node() -> impl Strategy<Value = Node> {
    let zone = proptest::option::of("[ab]");
    let placement_id = proptest::option::weighted(0.2, "id-[0-9]{3}");
    (any_name(), 1u16..9, 0u32..4, zone, placement_id, any::<bool>()).prop_map(
        |(name, port, weight, zone, placement_id, draining)| Node {
            name: name.parse().unwrap(),
            address: format!("{name}:{port}").parse().unwrap(),
            weight,
            zone,
            placement_id,
            draining,
        },
    )
}

fn any_change() -> impl Strategy<Value = Change> {
    let name = || any_name().prop_map(|name| name.parse().unwrap());
    prop_oneof![
        3 => any_node().prop_map(Change::Add),
        1 => (name(), any_node()).prop_map(|(name, node)| Change::Address { name, address: node.address }),
        1 => name().prop_map(|name| Change::Drain { name }),
        1 => any_placement().prop_map(Change::Placement),
        1 => name().prop_map(|name| Change::Remove { name }),
        1 => name().prop_map(|name| Change::Undrain { name }),
        1 => (name(), 0u32..4).prop_map(|(name, weight)| Change::Weight { name, weight }),
        1 => (name(), any_node()).prop_map(|(name, node)| Change::Zone { name, zone: node.zone }),
    ]
}

/// Whatever a series of changes leads to, leaving out those that are refused.
fn any_membership() -> impl Strategy<Value = Membership> {
    (any_placement(), proptest::collection::vec(any_change(), 0..40)).prop_map(|(placement, changes)| {
        changes.iter().fold(Membership::new(placement), |membership, change| {
            membership.apply(std::slice::from_ref(change)).unwrap_or(membership)
        })
    })
}

/// A history of the accepted ones among some changes, one event each.
fn history_of(start: &Membership, changes: &[Change]) -> History {
    let mut history = History::empty("rooms", start.placement);
    let event = |epoch, action| {
        let (pool, actor) = ("rooms".to_owned(), "proptest".to_owned());
        Event { pool, epoch, at_ms: 0, actor, reason: None, action }
    };
    history.push(event(1, Action::Changes(start.founding_changes()))).unwrap();
    for change in changes {
        if history.membership().apply(std::slice::from_ref(change)).is_ok() {
            history.push(event(history.epoch() + 1, Action::Changes(vec![change.clone()]))).unwrap();
        }
    }
    history
}

proptest! {
    #[test]
    fn equal_prefixes_give_equal_memberships(
        start in any_membership(), changes in proptest::collection::vec(any_change(), 0..30), keep in 0usize..30,
    ) {
        let history = history_of(&start, &changes);
        let mut replayed: Option<History> = None;
        for event in history.events() {
            match &mut replayed {
                Some(replayed) => replayed.push(event.clone()).unwrap(),
                None => replayed = Some(History::founded_by(event.clone()).unwrap()),
            }
            let so_far = replayed.as_ref().unwrap();
            prop_assert_eq!(so_far.membership(), &history.at(event.epoch).unwrap());
        }
        let mut compacted = history.clone();
        compacted.compact(keep);
        let resumed = History::new(compacted.base().clone());
        prop_assert_eq!(resumed.membership(), &history.at(resumed.epoch()).unwrap());
        prop_assert_eq!(compacted.membership(), history.membership());
    }

    #[test]
    fn the_changes_to_a_target_reach_it(from in any_membership(), to in any_membership()) {
        let changes = from.changes_to(&to);
        let reached = from.apply(&changes).unwrap_or_else(|refused| panic!("{changes:?}: {refused}"));
        prop_assert_eq!(reached.placement, to.placement);
        prop_assert_eq!(as_it_counts(&reached), as_it_counts(&to));
        prop_assert_eq!(fingerprint(&reached), fingerprint(&to));
        prop_assert_eq!(reached.changes_to(&to), vec![]);
        prop_assert_eq!(Membership::new(to.placement).apply(&to.founding_changes()), Ok(to));
    }

    #[test]
    fn a_drain_taken_back_restores_the_membership(before in any_membership(), pick in any::<prop::sample::Index>()) {
        prop_assume!(before.nodes().iter().any(Node::is_placed));
        let placed: Vec<&Node> = before.nodes().iter().filter(|node| node.is_placed()).collect();
        let name = placed[pick.index(placed.len())].name.clone();
        let drained = before.apply(&[Change::Drain { name: name.clone() }]).unwrap();
        prop_assert!(drained.node(&name).is_some_and(|node| !node.is_placed()));
        prop_assert_ne!(fingerprint(&drained), fingerprint(&before));
        prop_assert_eq!(drained.apply(&[Change::Undrain { name }]), Ok(before));
    }

    #[test]
    fn an_addition_taken_back_restores_the_membership(before in any_membership(), node in any_node()) {
        let name = node.name.clone();
        prop_assume!(before.node(&name).is_none());
        let id_of = |node: &Node| node.placement_id(before.placement).into_owned();
        prop_assume!(before.nodes().iter().all(|other| id_of(other) != id_of(&node)));
        let added = before.apply(&[Change::Add(node)]).unwrap();
        prop_assert_eq!(added.apply(&[Change::Remove { name }]), Ok(before));
    }

    #[test]
    fn a_rollback_restores_the_fingerprint_of_any_epoch(
        start in any_membership(), changes in proptest::collection::vec(any_change(), 0..20),
        pick in any::<prop::sample::Index>(),
    ) {
        let mut history = history_of(&start, &changes);
        let to_epoch = u64::try_from(pick.index(usize::try_from(history.epoch()).unwrap() + 1)).unwrap();
        let membership = history.at(to_epoch).unwrap();
        let (before, epoch) = (fingerprint(&membership), history.epoch() + 1);
        let action = Action::Rollback { to_epoch, membership };
        let (pool, actor) = ("rooms".to_owned(), "proptest".to_owned());
        history.push(Event { pool, epoch, at_ms: 0, actor, reason: None, action }).unwrap();
        prop_assert_eq!(fingerprint(history.membership()), before);
        prop_assert_eq!(history.membership(), &history.at(to_epoch).unwrap());
    }

    #[test]
    fn adding_and_reweighting_are_never_unsafe(
        before in any_membership(), node in any_node(), weights in proptest::collection::vec(1u32..=1_000, 12),
    ) {
        let names = before.nodes().iter().map(|node| node.name.clone());
        let mut changes: Vec<Change> =
            names.zip(weights).map(|(name, weight)| Change::Weight { name, weight }).collect();
        changes.push(Change::Add(node));
        let Ok(after) = before.apply(&changes) else {
            return Ok(());
        };
        let placements = (before.build().unwrap(), after.build().unwrap());
        prop_assert_eq!(check_safe((&before, &placements.0), (&after, &placements.1)), Ok(()));
    }

    #[test]
    fn all_changes_are_made_or_none(
        before in any_membership(),
        changes in proptest::collection::vec(any_change(), 0..5),
    ) {
        let untouched = before.clone();
        let one_by_one = changes.iter().try_fold(before.clone(), |membership, change| {
            membership.apply(std::slice::from_ref(change))
        });
        if let Ok(after) = one_by_one {
            prop_assert_eq!(before.apply(&changes), Ok(after));
        }
        prop_assert_eq!(before, untouched);
    }
}
