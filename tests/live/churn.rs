//! Five backends, 64 busy connections, and a membership that changes a thousand times.
//!
//! Nothing may fail, no request may go to a node that had left before the request began, and every key must be where
//! `ringway locate --epoch` says for the epoch that its response names.

use crate::harness::client::Client;
use crate::harness::nginx::Nginx;
use crate::harness::nginx::Served;
use crate::harness::ringway;
use crate::harness::ringway::Operator;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use crate::harness::wrk::Wrk;
use fastrand::Rng;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

const NODES: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];

const CHANGES: usize = 1_000;

const KEYS: u32 = 10_000;

/// Connections of wrk.
const BUSY: usize = 64;

/// Connections of the checking client, which looks at every response.
const CHECKERS: u32 = 4;

/// Responses checked between two changes, so that every epoch is looked at.
const CHECKED_PER_CHANGE: u64 = 25;

#[test]
fn a_thousand_membership_changes_fail_no_request_and_misplace_no_key() {
    let story = Story::begin("churn");
    let nginx = Nginx::start(&story, &NODES);
    let pool = format!("initial-nodes = {}", nginx.nodes_toml());
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), &pool));
    let proxy = Ringway::serve(&story, &config);
    let wrk = Wrk::start(&story, proxy.http, BUSY);
    let (http, progress) = (proxy.http, &Progress::default());

    let mut changer = Changer::new(proxy.operator(), &nginx);
    let (seen, elapsed) = thread::scope(|scope| {
        let checkers: Vec<_> = (0..CHECKERS).map(|first| scope.spawn(move || check(http, first, progress))).collect();
        let begun = Instant::now();
        for _ in 0..CHANGES {
            let before = progress.checked.load(Relaxed);
            changer.change();
            until_true("the new epoch is looked at", || {
                progress.checked.load(Relaxed) >= before + CHECKED_PER_CHANGE || progress.ended.load(Relaxed)
            });
        }
        let elapsed = begun.elapsed();
        progress.ended.store(true, Relaxed);
        let seen: Vec<Seen> = checkers.into_iter().flat_map(|checker| checker.join().unwrap()).collect();
        (seen, elapsed)
    });
    let load = wrk.stop();
    assert_eq!(load.failed(), 0, "{load:?}");
    assert!(load.requests > 10_000, "{load:?}");

    let epochs = compare_with_locate(&config, &seen);
    drop(proxy);
    let served = nginx.stop();
    let logged: usize = served.values().map(Vec::len).sum();
    let sent = usize::try_from(load.requests).unwrap() + seen.len();
    assert!(logged >= sent, "the backends logged {logged} of {sent} requests");
    changer.assert_none_after_leaving(&served);

    let answers = changer.answer_times();
    story.figure(&format!(
        "{CHANGES} changes in {:.1} s ({:.0}/s; answered in {:.1?} at the median, {:.1?} at most); {epochs} epochs",
        elapsed.as_secs_f64(),
        CHANGES as f64 / elapsed.as_secs_f64(),
        answers[CHANGES / 2],
        answers[CHANGES - 1],
    ));
    story.figure(&format!(
        "wrk {} requests ({:.0}/s, p99 {:.1} ms), 0 failed; {} more checked against `ringway locate`, 0 misplaced",
        load.requests,
        load.rate(),
        load.p99_us / 1_000.0,
        seen.len(),
    ));
}

/// What the checking clients and the changer tell each other.
#[derive(Default)]
struct Progress {
    checked: AtomicU64,
    ended: AtomicBool,
}

/// Where a key was served, and at which epoch.
struct Seen {
    epoch: u64,
    key: u32,
    node: String,
}

/// One connection that sends its part of the keys round and round until the end.
fn check(to: SocketAddr, first: u32, progress: &Progress) -> Vec<Seen> {
    // The end of one checker, by failure too, ends all.
    let _end = EndOnDrop(&progress.ended);
    let mut client = Client::new(to);
    let mut seen = Vec::new();
    for key in (first..KEYS).step_by(CHECKERS as usize).cycle() {
        if progress.ended.load(Relaxed) {
            break;
        }
        let began = now_us().to_string();
        let answer = client.get(&format!("/?k=key-{key}"), &[("x-began", &began)]).unwrap();
        assert_eq!(answer.status, 200, "key-{key}: {answer:?}");
        let node = answer.text();
        assert_eq!(answer.header("x-ringway-node"), node, "key-{key}: {answer:?}");
        assert_eq!(answer.header("x-ringway-decision"), "owner", "key-{key}: {answer:?}");
        seen.push(Seen { epoch: answer.header("x-ringway-epoch").parse().unwrap(), key, node });
        progress.checked.fetch_add(1, Relaxed);
    }
    seen
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Asks `ringway locate --epoch` for every key at every epoch at which it was seen; returns the number of epochs.
fn compare_with_locate(config: &Path, seen: &[Seen]) -> usize {
    let mut by_epoch: BTreeMap<u64, BTreeMap<u32, &str>> = BTreeMap::new();
    for Seen { epoch, key, node } in seen {
        let before = by_epoch.entry(*epoch).or_default().insert(*key, node);
        assert!(before.is_none_or(|before| before == node), "key-{key} was on two nodes at epoch {epoch}");
    }
    for (epoch, keys) in &by_epoch {
        let input: String = keys.keys().map(|key| format!("key-{key}\n")).collect();
        let config = config.to_str().unwrap();
        let located = ringway::run(&["locate", "-c", config, "--epoch", &epoch.to_string(), "--json", "-"], &input);
        assert_eq!(located.code, 0, "{located:?}");
        assert_eq!(located.stdout.lines().count(), keys.len(), "{located:?}");
        for (line, (key, node)) in located.stdout.lines().zip(keys) {
            let located: Value = serde_json::from_str(line).unwrap();
            assert_eq!(located["key"], format!("key-{key}"), "{line}");
            assert_eq!(located["owner"], *node, "key-{key} was on {node} at epoch {epoch}: {line}");
        }
    }
    by_epoch.len()
}

/// Changes the membership at random, and remembers when which node was gone.
struct Changer {
    operator: Operator,
    random: Rng,
    nodes: BTreeMap<&'static str, Node>,
    epoch: u64,
    answered_in: Vec<Duration>,
}

/// What the changer knows of one node.
struct Node {
    address: String,
    state: State,
    weight: u32,
    /// When it was told to leave or drain and had not yet been told to come back, in microseconds since 1970.
    gone_us: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    Draining,
    Removed,
}

impl Changer {
    fn new(operator: Operator, nginx: &Nginx) -> Changer {
        let node = |name| {
            let address = nginx.address(name).to_string();
            (name, Node { address, state: State::Active, weight: 1, gone_us: Vec::new() })
        };
        let nodes = NODES.into_iter().map(node).collect();
        Changer { operator, random: Rng::with_seed(7), nodes, epoch: 1, answered_in: Vec::new() }
    }

    /// Makes one change that changes something and leaves two nodes in the placement; it must succeed.
    fn change(&mut self) {
        let (name, change, after) = loop {
            if let Some(drawn) = self.draw() {
                break drawn;
            }
        };
        let (sent, sent_us) = (Instant::now(), now_us());
        let epoch = self.operator.must_apply(&json!([change]));
        let answered_us = now_us();
        self.answered_in.push(sent.elapsed());
        assert_eq!(epoch, self.epoch + 1, "{change}");
        self.epoch = epoch;
        let node = self.nodes.get_mut(name).unwrap();
        match (node.state == State::Active, after == State::Active) {
            (true, false) => node.gone_us.push((answered_us, u64::MAX)),
            (false, true) => node.gone_us.last_mut().unwrap().1 = sent_us,
            _ => {}
        }
        node.state = after;
    }

    /// A change of a random node, and the state it leaves it in.
    fn draw(&mut self) -> Option<(&'static str, Value, State)> {
        let name = NODES[self.random.usize(..NODES.len())];
        let active = self.nodes.values().filter(|node| node.state == State::Active).count();
        let (kind, weight) = (self.random.u8(..3), self.random.u32(1..=4));
        let node = self.nodes.get_mut(name).unwrap();
        let may_leave = node.state != State::Active || active > 2;
        let drawn = match (node.state, kind) {
            (State::Removed, _) => {
                node.weight = weight;
                (json!({"add": {"name": name, "address": node.address, "weight": weight}}), State::Active)
            }
            (_, 0) if may_leave => (json!({"remove": {"name": name}}), State::Removed),
            (State::Active, 1) if may_leave => (json!({"drain": {"name": name}}), State::Draining),
            (State::Draining, 1) => (json!({"undrain": {"name": name}}), State::Active),
            (state, 2) if node.weight != weight => {
                node.weight = weight;
                (json!({"weight": {"name": name, "weight": weight}}), state)
            }
            _ => return None,
        };
        Some((name, drawn.0, drawn.1))
    }

    /// No node has served a request that was begun and came to it while it was gone. One that was begun before it was
    /// told to return may come to it after that.
    fn assert_none_after_leaving(&self, served: &BTreeMap<String, Vec<Served>>) {
        for (name, node) in &self.nodes {
            for Served { began_us, arrived_ms } in &served[*name] {
                // The latest absence that began before the request did.
                let absences = node.gone_us.partition_point(|(answered_us, _)| answered_us < began_us);
                let Some((answered_us, back_us)) = absences.checked_sub(1).map(|latest| node.gone_us[latest]) else {
                    continue;
                };
                assert!(
                    arrived_ms.saturating_mul(1_000) > back_us,
                    "{name} had left at {answered_us} us, was to return at {back_us}, and served a request begun at \
                     {began_us} that came to it by {arrived_ms} ms"
                );
            }
        }
        let absences: usize = self.nodes.values().map(|node| node.gone_us.len()).sum();
        assert!(absences > CHANGES / 10, "only {absences} absences: the changes drawn are not what this test is about");
    }

    /// How long the answers took, the shortest first.
    fn answer_times(&mut self) -> Vec<Duration> {
        self.answered_in.sort();
        self.answered_in.clone()
    }
}

fn now_us() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}
