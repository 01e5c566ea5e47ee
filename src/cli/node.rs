//! `ringway node`: the nodes of a pool, and short forms of the changes that are made most.

use crate::admin::model::NodeList;
use crate::admin::model::NodeStatus;
use crate::cli::apply::WriteArgs;
use crate::cli::change_words;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::node_table;
use crate::cli::output::Output;
use crate::cli::output::count;
use crate::cli::target::LivePoolArgs;
use clap::Args;
use clap::Subcommand;
use serde_json::value::RawValue;
use std::io::IsTerminal;
use std::io::Write;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// List or change the nodes of a pool
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway node list
  ringway node add c=10.0.0.12:3000,weight=2,zone=b
  ringway node drain b                  returns when b has no request left; Ctrl-C stops only the waiting
  ringway node weight a=2 b=3")]
pub(super) struct NodeArgs {
    #[command(subcommand)]
    verb: NodeVerb,
}

#[derive(Debug, Subcommand)]
enum NodeVerb {
    /// Show the nodes and how they do
    List(ListArgs),
    /// Add nodes
    Add(AddArgs),
    /// Take nodes out of the placement, and wait until they have no request left
    Drain(DrainArgs),
    /// Take a drain back
    Undrain(NamesArgs),
    /// Change how large the share of nodes is
    Weight(WeightArgs),
    /// Forget nodes
    Remove(NamesArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    live: LivePoolArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// Nodes: NAME=ADDRESS[,weight=W][,zone=Z][,placement-id=I]
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

#[derive(Debug, Args)]
struct DrainArgs {
    #[command(flatten)]
    names: NamesArgs,
    /// Return as soon as the nodes get no new requests
    #[arg(long)]
    no_wait: bool,
    /// How long to wait at most, such as 90s or 10m; the nodes stay drained all the same
    ///
    /// Without it, until the `drain-deadline` of the pool, when what is still open is closed.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

#[derive(Debug, Args)]
struct NamesArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// Names of nodes
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

#[derive(Debug, Args)]
struct WeightArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// Nodes and their weights, 0 to 1000; 0 takes the keys of a node away
    #[arg(value_name = "NAME=WEIGHT", required = true)]
    weights: Vec<String>,
}

/// Does what the second verb says.
pub(super) fn run(args: &NodeArgs, out: &mut Output) -> Result<(), Failure> {
    match &args.verb {
        NodeVerb::Add(args) => change(&args.write, "add", &args.nodes, out),
        NodeVerb::Drain(args) => drain(args, out),
        NodeVerb::List(args) => list(args, out),
        NodeVerb::Remove(args) => change(&args.write, "remove", &args.names, out),
        NodeVerb::Undrain(args) => change(&args.write, "undrain", &args.names, out),
        NodeVerb::Weight(args) => change(&args.write, "weight", &args.weights, out),
    }
}

fn list(args: &ListArgs, out: &mut Output) -> Result<(), Failure> {
    let (client, pool) = args.live.open()?;
    let path = format!("/v1/pools/{}/nodes", pool.pool);
    if args.json {
        return out.json(&client.get::<Box<RawValue>>(&path)?);
    }
    out.table(&node_table::status(&client.get::<NodeList>(&path)?.nodes, SystemTime::now()))
}

fn change(write: &WriteArgs, verb: &str, operands: &[String], out: &mut Output) -> Result<(), Failure> {
    apply(write, verb, operands, out).map(drop)
}

/// Each operand is a change of its own, so that nodes may be named like changes.
fn apply(write: &WriteArgs, verb: &str, operands: &[String], out: &mut Output) -> Result<(Client, String), Failure> {
    let words: Vec<String> = operands.iter().flat_map(|operand| [verb.to_owned(), operand.clone()]).collect();
    let changes = change_words::parse(&words).map_err(Failure::Usage)?;
    let (client, pool) = write.apply(changes, out)?;
    Ok((client, pool.pool))
}

fn drain(args: &DrainArgs, out: &mut Output) -> Result<(), Failure> {
    let NamesArgs { write, names } = &args.names;
    let (client, pool) = apply(write, "drain", names, out)?;
    if args.no_wait {
        return Ok(());
    }
    // The result of the change is worth reading while the rest takes its time.
    out.flush()?;
    wait_until_idle(&client, &pool, names, args.timeout)?;
    match write.json {
        true => Ok(()),
        false => out.line(format_args!("{}: no request left", names.join(", "))),
    }
}

/// Polls until the nodes have no request in flight, or are gone.
fn wait_until_idle(client: &Client, pool: &str, names: &[String], limit: Option<Duration>) -> Result<(), Failure> {
    let path = format!("/v1/pools/{pool}/nodes");
    let started = Instant::now();
    let mut progress = Progress::default();
    loop {
        let nodes = client.get::<NodeList>(&path)?.nodes;
        let waited_for: Vec<&NodeStatus> = nodes.iter().filter(|node| names.contains(&node.name)).collect();
        if let Some(back) = waited_for.iter().find(|node| node.drain.is_none()) {
            progress.end();
            return Err(Failure::Failed(format!("{} is no longer draining", back.name)));
        }
        let Some(left) = Left::at(&waited_for) else {
            progress.end();
            return Ok(());
        };
        if let Some(limit) = limit.filter(|limit| started.elapsed() >= *limit) {
            progress.end();
            let limit = humantime::format_duration(limit);
            return Err(Failure::Failed(format!("still {left} after {limit}; drained all the same")));
        }
        progress.show(&left, SystemTime::now());
        thread::sleep(POLL_EVERY);
    }
}

/// What is still open at draining nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    nodes: Vec<String>,
    inflight: u64,
    connections: u64,
    tunnels: u64,
    /// When the first of them has no more time, in milliseconds since 1970.
    deadline_ms: Option<u64>,
}

impl Left {
    /// `None` when no request is left.
    fn at(nodes: &[&NodeStatus]) -> Option<Left> {
        let sum = |part: fn(&NodeStatus) -> u64| nodes.iter().map(|node| part(node)).sum();
        let left = Left {
            nodes: nodes.iter().map(|node| node.name.clone()).collect(),
            inflight: sum(|node| node.inflight),
            connections: sum(|node| node.connections),
            tunnels: sum(|node| node.tunnels),
            deadline_ms: nodes.iter().filter_map(|node| node.drain.map(|drain| drain.deadline_ms)).min(),
        };
        (left.inflight > 0).then_some(left)
    }

    /// How long until the rest is closed, for the end of a line.
    fn time_left(&self, now: SystemTime) -> String {
        let Some(deadline) = self.deadline_ms.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms))) else {
            return String::new();
        };
        let left = deadline.duration_since(now).unwrap_or_default();
        format!("; closed in {}", humantime::format_duration(Duration::from_secs(left.as_secs())))
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |number: u64, noun| count(usize::try_from(number).unwrap_or(usize::MAX), noun);
        let (requests, connections) = (count(self.inflight, "request"), count(self.connections, "connection"));
        let tunnels = count(self.tunnels, "tunnel");
        write!(out, "{requests} in flight, {connections}, {tunnels} at {}", self.nodes.join(", "))
    }
}

/// What is left, on standard error: one line that is written over, if that is a terminal, else a line a change.
#[derive(Default)]
struct Progress {
    shown: Option<Left>,
}

impl Progress {
    fn show(&mut self, left: &Left, now: SystemTime) {
        let mut stderr = std::io::stderr().lock();
        let text = format!("{left}{}", left.time_left(now));
        // Progress is a courtesy: a terminal that cannot be written to does not end the wait.
        if stderr.is_terminal() {
            drop(write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush()));
        } else if self.shown.as_ref() != Some(left) {
            drop(writeln!(stderr, "{text}"));
        }
        self.shown = Some(left.clone());
    }

    fn end(&mut self) {
        if self.shown.take().is_some() && std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// How often a draining node is looked at.
const POLL_EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_reads_as_a_line() {
        let nodes = vec!["a".to_owned(), "b".to_owned()];
        let left = Left { nodes, inflight: 3, connections: 2, tunnels: 1, deadline_ms: Some(600_000) };
        assert_eq!(left.to_string(), "3 requests in flight, 2 connections, 1 tunnel at a, b");
        let after = |seconds| left.time_left(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((after(2), after(700)), ("; closed in 9m 58s".to_owned(), "; closed in 0s".to_owned()));
    }
}
