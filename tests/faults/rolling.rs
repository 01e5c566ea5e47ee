//! A rolling restart of five nodes under load: with `hold` no key moves, and without it those that moved return.

use crate::backend::Idle;
use crate::figures::owners;
use crate::harness::client::Client;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use crate::lab::NODES_MAX;
use crate::load::Arrival;
use crate::load::Load;
use crate::load::Plan;
use crate::load::RATE;
use crate::load::Sent;
use crate::node::Node;
use crate::node::Program;
use crate::proxy::Proxy;
use crate::run::fresh_directory;
use crate::watch::by_node;
use http::Method;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// What the pool does with the keys of a node that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDown {
    /// Their requests wait for it.
    Hold,
    /// They go to other nodes.
    Spill,
}

impl OnDown {
    /// Both, in the order of the stories.
    pub(crate) const ALL: [OnDown; 2] = [OnDown::Hold, OnDown::Spill];

    /// The story's name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OnDown::Hold => "rolling-restart-hold",
            OnDown::Spill => "rolling-restart-spill",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            OnDown::Hold => "on-down = \"hold 30s\"",
            OnDown::Spill => "on-down = \"spill\"",
        }
    }
}

/// Restarts all nodes, one after the other; returns a line to show, or the promises broken.
pub(crate) fn run(story: &Story, on_down: OnDown) -> Result<String, Vec<String>> {
    let directory = fresh_directory(story, on_down.name());
    let mut nodes = Node::start_all(NODES_MAX, Program::Own(Idle::Kept), &directory);
    let running = Proxy::Ringway.start(story, &directory, &nodes, on_down.setting());
    let mut operator = Client::new(running.admin.expect("Ringway has an admin API"));
    let plan = Plan { to: running.http, requests: RATE * 120, arrival: Arrival::Even, has_large_bodies: false };
    let load = Load::begin(plan);
    thread::sleep(STEADY);
    let begin = Instant::now();
    for node in &mut nodes {
        node.terminate();
        thread::sleep(DOWN);
        node.start();
        until_true(&format!("{} is up", node.name), || {
            by_node(&mut operator, "ringway_node_up").contains(&(node.name.clone(), 1.0))
        });
    }
    let end = Instant::now();
    thread::sleep(STEADY);
    let sent = load.stop();
    judge(on_down, &sent, begin, end, &posts_received(&nodes))
}

/// How often each POST was received.
fn posts_received(nodes: &[Node]) -> BTreeMap<usize, usize> {
    let mut times = BTreeMap::new();
    let posts = nodes.iter().flat_map(Node::journal).filter(|(method, _)| method == "POST");
    for (_, number) in posts {
        *times.entry(number).or_default() += 1;
    }
    times
}

fn judge(
    on_down: OnDown,
    sent: &[Sent],
    begin: Instant,
    end: Instant,
    posts: &BTreeMap<usize, usize>,
) -> Result<String, Vec<String>> {
    let owners = owners(sent, begin);
    let is_elsewhere = |sent: &&Sent| {
        let owner = owners.get(&sent.key);
        sent.answer().zip(owner).is_some_and(|(answer, owner)| answer.node != *owner)
    };
    let away = sent.iter().filter(is_elsewhere).count();
    let away_after = sent.iter().filter(|sent| sent.due > end).filter(is_elsewhere).count();
    let away_max = match on_down {
        OnDown::Hold => 0,
        OnDown::Spill => sent.len(),
    };
    let mut broken = Vec::new();
    let failed: Vec<&Sent> = sent.iter().filter(|sent| sent.answer().is_none()).collect();
    if let [first, ..] = failed[..] {
        broken.push(format!(
            "{} of {} requests failed; after {:.1?} {first:?}",
            failed.len(),
            sent.len(),
            first.took()
        ));
    }
    for post in sent.iter().filter(|sent| sent.method == Method::POST) {
        let times = posts.get(&post.number).copied().unwrap_or_default();
        if times != 1 {
            broken.push(format!("POST {} was received {times} times", post.number));
        }
    }
    if away > away_max {
        broken.push(format!("{away} requests were served elsewhere"));
    }
    if away_after > 0 {
        broken.push(format!("{away_after} requests were served elsewhere after all nodes were back"));
    }
    let longest = sent.iter().map(Sent::took).max().unwrap_or_default();
    let shown = format!(
        "{} requests over {NODES_MAX} restarts: 0 failed, {away} served elsewhere, longest {longest:.1?}",
        sent.len()
    );
    let named = |what| format!("{}: {what}", on_down.name());
    if broken.is_empty() { Ok(shown) } else { Err(broken.into_iter().map(named).collect()) }
}

/// Before the first restart and after the last one: every key is requested.
const STEADY: Duration = Duration::from_secs(1);

/// How long a node is gone.
const DOWN: Duration = Duration::from_secs(1);
