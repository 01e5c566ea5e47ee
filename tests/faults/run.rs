//! One run: nodes, a proxy, load, and a fault in the middle of it.

use crate::fault::Fault;
use crate::figures::Figures;
use crate::figures::Seen;
use crate::harness::story::Story;
use crate::load::Load;
use crate::load::Plan;
use crate::load::RATE;
use crate::node::Node;
use crate::proxy::Proxy;
use crate::watch::Watch;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How long the parts of a run are, in whole seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    pub(crate) steady: usize,
    pub(crate) fault: usize,
    pub(crate) after: usize,
}

impl Phases {
    /// For every day.
    pub(crate) const SHORT: Phases = Phases { steady: 1, fault: 2, after: 2 };

    /// For figures: 2,000 requests.
    pub(crate) const LONG: Phases = Phases { steady: 2, fault: 4, after: 2 };

    /// Requests of a run.
    pub(crate) fn requests(self) -> usize {
        RATE * (self.steady + self.fault + self.after)
    }
}

/// Lets a proxy go through a fault; again, and it says so, when the machine was too busy to measure anything.
pub(crate) fn run(story: &Story, proxy: Proxy, fault: Fault, phases: Phases) -> Figures {
    let mut figures = run_once(story, proxy, fault, phases);
    for _ in 0..REPEATS_MAX {
        if figures.late <= LATE_MAX {
            break;
        }
        println!("{}: the client itself was {:.0?} late; this run does not count", fault.name(), figures.late);
        figures = run_once(story, proxy, fault, phases);
    }
    figures
}

fn run_once(story: &Story, proxy: Proxy, fault: Fault, phases: Phases) -> Figures {
    let directory = fresh_directory(story, fault.name());
    let mut nodes = Node::start_all(fault.nodes(), fault.program(), &directory);
    let running = proxy.start(story, &directory, &nodes, "on-down = \"spill\"");
    let watch = running.admin.map(Watch::begin);
    let load = Load::begin(Plan {
        to: running.http,
        requests: phases.requests(),
        arrival: fault.arrival(),
        has_large_bodies: fault.has_large_bodies(),
    });
    let from = load.begun + Duration::from_secs(phases.steady as u64);
    let window = fault.strike(&mut nodes, from, from + Duration::from_secs(phases.fault as u64));
    let sent = load.finish();
    let flips = watch.map(Watch::finish).unwrap_or_default();
    let journals = nodes.iter().flat_map(Node::journal).collect();
    let nodes = nodes.iter().map(|node| node.name.clone()).collect();
    Seen { fault, window, sent, journals, nodes, flips }.figures()
}

/// A directory for one run.
pub(crate) fn fresh_directory(story: &Story, name: &str) -> PathBuf {
    let directory = story.path(&format!("{name}-{:08x}", fastrand::u32(..)));
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// How late the client may be: what stands still for longer than this does so for the proxy and its nodes too.
const LATE_MAX: Duration = Duration::from_millis(200);

/// After this many more runs, a busy machine has to do.
const REPEATS_MAX: usize = 3;
