//! Killed in the midst of writes, again and again: what was answered is kept, and nothing is there by half.

use crate::harness::ringway;
use crate::harness::ringway::Operator;
use crate::harness::ringway::POOL;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use ::ringway::cluster::log::Action;
use ::ringway::cluster::log::Event;
use ::ringway::cluster::log::History;
use ::ringway::cluster::membership::Change;
use ::ringway::store;
use ::ringway::store::settings::StoreKind;
use ::ringway::store::settings::StoreSettings;
use fastrand::Rng;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

const ROUNDS: usize = 20;

/// Clients that write at the same time, each to a node of its own.
const WRITERS: usize = 16;

/// Writes of a round; the kill comes before the last of them.
const WRITES: usize = 1_000;

#[test]
fn twenty_kills_lose_no_answered_write_and_leave_none_by_half() {
    let story = Story::begin("crash");
    let store = story.path("store");
    let nodes: String = (0..WRITERS).map(|id| format!(r#"{{ name = "n{id}", address = "127.0.0.1:9" }}, "#)).collect();
    let pool = format!("placement = {{ kind = \"ring\", vnodes = 16 }}\ninitial-nodes = [{nodes}]");
    let config = story.write("ringway.toml", &ringway::config("", &store, &pool));
    let mut answered: BTreeMap<u64, Write> = BTreeMap::new();
    let mut random = Rng::with_seed(11);
    for round in 0..ROUNDS {
        let mut proxy = Ringway::serve(&story, &config);
        let served = proxy.operator().pool()["epoch"].as_u64().unwrap();
        let stored = history(&store);
        assert_eq!(stored.epoch(), served, "round {round}");
        compare(&stored, &answered, round * WRITERS);

        let kill_after = random.usize(1..WRITES - WRITERS);
        answered.extend(write_until_killed(&mut proxy, round, kill_after));
    }
    let unanswered = compare(&history(&store), &answered, ROUNDS * WRITERS);
    story.figure(&format!(
        "{ROUNDS} kills during {WRITERS} concurrent writers: {} answered writes, 0 lost, 0 by half ({unanswered} \
         were stored and not answered)",
        answered.len()
    ));
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_record_ends_with_the_record_before() {
    let story = Story::begin("torn-log");
    let store = story.path("store");
    let nodes = r#"initial-nodes = [{ name = "a", address = "127.0.0.1:9" }]"#;
    let config = story.write("ringway.toml", &ringway::config("", &store, nodes));
    let mut proxy = Ringway::serve(&story, &config);
    for weight in 2..=4 {
        proxy.operator().must_apply(&json!([{"weight": {"name": "a", "weight": weight}}]));
    }
    proxy.process.kill();

    let log = store.join("events.jsonl");
    let whole = fs::read(&log).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in (last..whole.len()).rev() {
        fs::write(&log, &whole[..cut]).unwrap();
        let located = ringway::run(&["locate", "-c", config.to_str().unwrap(), "--json", "key"], "");
        assert!(located.stdout.contains(r#""epoch":3,"#), "cut at byte {cut}: {located:?}");
    }
    for cut in [last + 1, (last + whole.len()) / 2, whole.len() - 1] {
        fs::write(&log, &whole[..cut]).unwrap();
        let mut proxy = Ringway::serve(&story, &config);
        let mut operator = proxy.operator();
        let pool = operator.pool();
        assert_eq!((&pool["epoch"], &pool["nodes"][0]["weight"]), (&json!(3), &json!(3)), "cut at byte {cut}: {pool}");
        let next = operator.must_apply(&json!([{"weight": {"name": "a", "weight": 9}}]));
        assert_eq!(next, 4, "cut at byte {cut}");
        proxy.process.kill();
        assert_eq!(history(&store).epoch(), 4, "cut at byte {cut}");
    }
}

/// What one write says: two changes of one node that carry the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    node: String,
    weight: u32,
    zone: String,
}

impl Write {
    /// `None` for an event that no writer can have sent.
    fn of(event: &Event) -> Option<Write> {
        match &event.action {
            Action::Changes(changes) => match changes.as_slice() {
                [Change::Weight { name, weight }, Change::Zone { name: same, zone: Some(zone) }] if name == same => {
                    Some(Write { node: name.to_string(), weight: *weight, zone: zone.clone() })
                }
                _ => None,
            },
            Action::Rollback { .. } => None,
        }
    }
}

/// Writes from all writers, kills the proxy after some answers, and returns what was answered, by epoch.
fn write_until_killed(proxy: &mut Ringway, round: usize, kill_after: usize) -> BTreeMap<u64, Write> {
    let answered = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (operator, answered) = (proxy.operator(), &answered);
            scope.spawn(move || write_until_cut(operator, &format!("n{writer}"), round, answered));
        }
        until_true("enough writes are answered", || answered.lock().unwrap().len() >= kill_after);
        proxy.process.kill();
    });
    answered.into_inner().unwrap()
}

/// Writes to one node, again and again, until there is no answer.
fn write_until_cut(mut operator: Operator, node: &str, round: usize, answered: &Mutex<BTreeMap<u64, Write>>) {
    for turn in 0.. {
        // No number is used twice in a row, so that each write changes something.
        let write = Write { node: node.to_owned(), weight: turn % 1_000 + 1, zone: format!("{round}-{turn}") };
        let changes = json!([
            {"weight": {"name": write.node, "weight": write.weight}},
            {"zone": {"name": write.node, "zone": write.zone}},
        ]);
        let Ok(answer) = operator.apply(&changes) else { break };
        assert_eq!(answer.status, 200, "{write:?}: {}", answer.text());
        let epoch = answer.value()["epoch"].as_u64().unwrap();
        let same = answered.lock().unwrap().insert(epoch, write);
        assert_eq!(same, None, "two writes were answered with epoch {epoch}");
    }
}

/// Every answered write is in the history at its epoch, and every other event is a whole write; returns how many are.
fn compare(stored: &History, answered: &BTreeMap<u64, Write>, unanswered_max: usize) -> usize {
    let events: BTreeMap<u64, &Event> = stored.events().map(|event| (event.epoch, event)).collect();
    for (epoch, write) in answered {
        let event = events.get(epoch).unwrap_or_else(|| panic!("epoch {epoch} was answered and is lost: {write:?}"));
        assert_eq!(Write::of(event).as_ref(), Some(write), "epoch {epoch}");
    }
    let others: Vec<&Event> = stored.events().filter(|event| !answered.contains_key(&event.epoch)).skip(1).collect();
    for event in &others {
        assert!(Write::of(event).is_some(), "not a whole write: {event:?}");
    }
    let unanswered = others.len();
    assert!(unanswered <= unanswered_max, "{unanswered} events unanswered, at most {unanswered_max} were under way");
    unanswered
}

fn history(store: &Path) -> History {
    let settings = StoreSettings { kind: StoreKind::File, path: store.to_owned(), keep_events: 100_000 };
    let histories = store::read_only(&settings).unwrap();
    histories.into_iter().find(|history| history.pool() == POOL).unwrap()
}
