//! `ringway simulate`: what placements would do to keys, side by side.

mod keys;
mod picture;
mod tables;

use crate::cli::access_log::Column;
use crate::cli::failure::Failure;
use crate::cli::offline::Offline;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::simulate::keys::KeySource;
use crate::cli::target::PoolArg;
use crate::cluster::node::Node;
use crate::control::settings::parse_node_argument;
use crate::placement::MAX_NODES;
use crate::placement::WEIGHT_MAX;
use crate::simulation::ChangeKind;
use crate::simulation::Contender;
use crate::simulation::Fleet;
use crate::simulation::Keys;
use crate::simulation::Report;
use crate::simulation::Simulation;
use crate::simulation::Trial;
use clap::Args;
use serde::Serialize;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// Compare placements: balance, movement, collateral, failover
///
/// Builds each placement for made-up nodes, for those of a config file or for those given, lets nodes come, go and
/// change, over several seeds, and says how even the load is and what moves beside the least that has to.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway simulate                             10 nodes; Ringway beside nginx, HAProxy and Envoy
  ringway simulate --nodes 10,100 --seeds 30 --svg > simulation.svg
  ringway simulate -c ringway.toml --placement ring --placement 'table slots=262144'
  ringway simulate --keys zipf:1.1,100000 a=10.0.0.10:3000 b=10.0.0.11:3000,weight=2
  ringway simulate --nodes 20 --keys log:access.log --key-column 7")]
pub(super) struct SimulateArgs {
    /// How many nodes to make up; of several numbers each is simulated [default: 10]
    #[arg(long, value_name = "N", value_delimiter = ',', conflicts_with_all = ["config", "given"])]
    #[arg(value_parser = clap::value_parser!(u32).range(NODES_MIN..=MAX_NODES as i64))]
    nodes: Vec<u32>,
    /// Weights of made-up nodes: one for all, or as 1..10 those of a range over and over again
    #[arg(long, value_name = "W", default_value = "1", conflicts_with_all = ["config", "given"])]
    weights: Weights,
    /// Take the nodes of a pool of this config file and its store, and its placement as one of those compared
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pool: PoolArg,
    /// A placement to compare, in quotes where it has settings; may be given several times
    #[arg(long = "placement", value_name = "KIND [SETTING=VALUE...]", long_help = PLACEMENT_HELP)]
    placements: Vec<Contender>,
    /// What counts as load: exact, uniform:N, zipf:S,N[,R], file:PATH or log:PATH
    #[arg(long, value_name = "KEYS", default_value = "exact", long_help = keys::HELP)]
    keys: KeySource,
    /// Column of the log that has the key, from 1, or from -1 for the last; 5.2 is the second word of the fifth; where
    /// a line is an object in JSON, the name of a field or a JSON pointer
    #[arg(long, value_name = "COLUMN", allow_negative_numbers = true)]
    key_column: Option<Column>,
    /// What happens to the nodes: some of add, remove, reweight, replace, remove-10% [default: all]
    #[arg(long = "change", value_name = "CHANGE", value_delimiter = ',')]
    changes: Vec<ChangeKind>,
    /// How often everything is simulated, each time with other names, addresses and ids
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    seeds: u32,
    /// One JSON object
    #[arg(long, conflicts_with = "svg")]
    json: bool,
    /// Plots of ownership and movement
    #[arg(long)]
    svg: bool,
    /// Nodes: NAME=ADDRESS[,weight=W][,placement-id=I]
    #[arg(value_name = "NODE", conflicts_with = "config")]
    given: Vec<String>,
}

/// What was simulated, and what came of it.
#[derive(Debug, Serialize)]
struct Answer {
    /// What counts as load, as it was given.
    keys: String,
    seeds: u32,
    simulations: Vec<Outcome>,
}

/// The placements over one pool of nodes.
#[derive(Debug, Serialize)]
struct Outcome {
    nodes: usize,
    weights: Weights,
    /// See [`Keys::floor`].
    cv_of_keys: f64,
    placements: Vec<Report>,
}

/// Simulates, and prints tables, JSON or plots.
pub(super) fn run(args: &SimulateArgs, out: &mut Output) -> Result<(), Failure> {
    let (fleets, own) = fleets(args)?;
    let contenders = contenders(args, own)?;
    let keys = args.keys.read(args.key_column.as_ref())?;
    let simulations = simulate(args, &fleets, (&contenders, own), &keys)?;
    let answer = Answer { keys: args.keys.to_string(), seeds: args.seeds, simulations };
    match (args.svg, args.json) {
        (true, _) => out.text(&picture::draw(&answer)),
        (false, true) => out.json(&answer),
        (false, false) => tables::show(&answer, out),
    }
}

/// Who the nodes are, and how the pool they are of places keys.
fn fleets(args: &SimulateArgs) -> Result<(Vec<Fleet>, Option<Contender>), Failure> {
    if args.pool.is_given() && args.config.is_none() {
        return Err(Failure::Usage("--pool names a pool of a config file; give that with -c".to_owned()));
    }
    if let Some(file) = &args.config {
        let offline = Offline::open(file)?;
        let at = offline.pool_at(offline.pool(&args.pool)?, None)?;
        let own = Contender { seed: at.key.seed(), ..Contender::from(at.membership.placement) };
        return Ok((vec![given(at.membership.nodes().to_vec())?], Some(own)));
    }
    if !args.given.is_empty() {
        let nodes: Result<Vec<Node>, String> = args.given.iter().map(|node| parse_node_argument(node)).collect();
        return Ok((vec![given(nodes.map_err(Failure::Usage)?)?], None));
    }
    let counts = if args.nodes.is_empty() { &[NODES_DEFAULT][..] } else { &args.nodes };
    let made_up = counts.iter().map(|count| Fleet::MadeUp { count: *count, weights: args.weights.0.clone() });
    Ok((made_up.collect(), None))
}

/// Those that have keys.
fn given(mut nodes: Vec<Node>) -> Result<Fleet, Failure> {
    nodes.retain(Node::is_placed);
    match nodes.len() {
        0 | 1 => Err(Failure::Usage("a simulation needs two nodes at least that have weight, or none can go".into())),
        _ => Ok(Fleet::Given(nodes)),
    }
}

/// The placements that were asked for, else the pool's own and the usual ones.
fn contenders(args: &SimulateArgs, own: Option<Contender>) -> Result<Vec<Contender>, Failure> {
    if !args.placements.is_empty() {
        return Ok(args.placements.clone());
    }
    let mut contenders: Vec<Contender> = own.into_iter().collect();
    for text in Contender::USUAL {
        let usual = text.parse().map_err(Failure::Failed)?;
        if !contenders.contains(&usual) {
            contenders.push(usual);
        }
    }
    Ok(contenders)
}

/// Everything; `own` is the placement of the pool whose nodes these are.
fn simulate(
    args: &SimulateArgs,
    fleets: &[Fleet],
    (contenders, own): (&[Contender], Option<Contender>),
    keys: &Keys,
) -> Result<Vec<Outcome>, Failure> {
    let changes = if args.changes.is_empty() { &ChangeKind::ALL[..] } else { &args.changes };
    let mut progress = Progress::new(fleets.iter().map(|fleet| work(fleet, contenders, args.seeds)).sum());
    let mut outcomes = Vec::new();
    for fleet in fleets {
        let mut placements = Vec::new();
        for contender in contenders {
            let simulation = Simulation { fleet, contender: *contender, keys, changes };
            match trials(&simulation, args.seeds, &mut progress) {
                Ok(trials) => placements.push(Report::of(*contender, &trials)),
                // Of those that nobody asked for, one that does not fit these nodes is left out.
                Err(refused) if args.placements.is_empty() && own != Some(*contender) => {
                    progress.say(&format!("left out: {refused}"));
                }
                Err(refused) => return Err(Failure::Usage(refused)),
            }
        }
        let (nodes, weights) = (fleet.len(), Weights::of(fleet));
        outcomes.push(Outcome { nodes, weights, cv_of_keys: keys.floor(nodes), placements });
    }
    match outcomes.iter().any(|outcome| outcome.placements.is_empty()) {
        true => Err(Failure::Usage("none of the usual placements takes these nodes; name one with --placement".into())),
        false => Ok(outcomes),
    }
}

/// All seeds of one simulation. The error is a sentence for the user.
fn trials(simulation: &Simulation<'_>, seeds: u32, progress: &mut Progress) -> Result<Vec<Trial>, String> {
    let (contender, nodes) = (simulation.contender, simulation.fleet.len());
    let trial = |seed| {
        progress.step(simulation.fleet.len(), &format!("{contender} at {nodes} nodes"));
        simulation.trial(seed).map_err(|refused| format!("`{contender}` at {nodes} nodes: {refused}"))
    };
    (1..=seeds).map(trial).collect()
}

/// How much of the progress is about one pool of nodes.
fn work(fleet: &Fleet, contenders: &[Contender], seeds: u32) -> usize {
    fleet.len() * contenders.len() * seeds as usize
}

/// The weights of a pool's nodes, from the lightest to the heaviest: `1`, or `1..10`.
#[derive(Clone, Debug)]
struct Weights(RangeInclusive<u32>);

impl Weights {
    fn of(fleet: &Fleet) -> Weights {
        match fleet {
            Fleet::MadeUp { weights, .. } => Weights(weights.clone()),
            Fleet::Given(nodes) => {
                let weights = || nodes.iter().map(|node| node.weight);
                Weights(weights().min().unwrap_or_default()..=weights().max().unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lightest, heaviest) = (self.0.start(), self.0.end());
        if lightest == heaviest { write!(out, "{lightest}") } else { write!(out, "{lightest}..{heaviest}") }
    }
}

impl Serialize for Weights {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The error is a sentence for the user.
impl FromStr for Weights {
    type Err = String;

    fn from_str(text: &str) -> Result<Weights, String> {
        let (lightest, heaviest) = text.split_once("..").unwrap_or((text, text));
        let weight = |text: &str| text.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
        let range = weight(lightest).zip(weight(heaviest)).filter(|(lightest, heaviest)| lightest <= heaviest);
        let (lightest, heaviest) = range
            .ok_or_else(|| format!("`{text}` are no weights; write one from 1 to {WEIGHT_MAX}, or a range as 1..10"))?;
        Ok(Weights(lightest..=heaviest))
    }
}

const NODES_DEFAULT: u32 = 10;

/// With fewer nodes nobody takes over.
const NODES_MIN: i64 = 2;

const PLACEMENT_HELP: &str = "\
A placement to compare, written as for `plan placement`: ring, 'ring vnodes=256', 'table slots=262144 cap=1.05', \
nginx, 'haproxy hash=crc32' ... Several times for several.

'haproxy weights=x10' multiplies all weights by 10 for this one: HAProxy has 16 points for each unit of weight. Where \
it hashes ids, nodes without one are numbered.

Without this, Ringway's ring and table are compared with nginx, haproxy, haproxy weights=x10, envoy-ring-hash and \
envoy-maglev.";
