//! `ringway status`: how a running proxy does, on one screen a pool.

use crate::admin::model::LastChange;
use crate::admin::model::PhaseName;
use crate::admin::model::PoolOwner;
use crate::admin::model::PoolStatus;
use crate::admin::model::Status;
use crate::cli::change_words;
use crate::cli::failure::Failure;
use crate::cli::node_table;
use crate::cli::node_table::rate;
use crate::cli::output::Output;
use crate::cli::output::count;
use crate::cli::output::percent;
use crate::cli::target::AdminArgs;
use crate::cli::target::PoolArg;
use clap::Args;
use serde_json::value::RawValue;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Show every pool of a running proxy with its nodes
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway status
  ringway status --admin unix:/run/ringway/admin.sock --pool rooms
  ringway status --json | jq '.pools[].nodes[] | select(.inflight > 0)'")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    pool: PoolArg,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Prints what the proxy says about itself.
pub(super) fn run(args: &StatusArgs, out: &mut Output) -> Result<(), Failure> {
    let client = args.admin.client()?;
    let answer: Box<RawValue> = client.get("/v1/status")?;
    if args.json {
        return out.json(&answer);
    }
    let mut status: Status = client.understand(answer.get().as_bytes())?;
    if args.pool.is_given() {
        let name = args.pool.choose(status.pools.iter().map(|pool| pool.pool.as_str()))?;
        status.pools.retain(|pool| pool.pool == name);
    }
    show_process(&status, out)?;
    status.pools.iter().try_for_each(|pool| show_pool(pool, out))?;
    let Some(pool) = status.pools.first() else { return Ok(()) };
    out.line("")?;
    out.dim(next(args, pool))
}

fn show_process(status: &Status, out: &mut Output) -> Result<(), Failure> {
    out.line(process(status).join("   "))?;
    reload_failed(status).map_or(Ok(()), |failed| out.bold(failed))
}

/// What is said of the process, in a few words each.
pub(super) fn process(status: &Status) -> Vec<String> {
    let connections = count(usize::try_from(status.connections).unwrap_or(usize::MAX), "client connection");
    let uptime = Duration::try_from_secs_f64(status.uptime_seconds.max(0.0)).unwrap_or_default();
    let uptime = humantime::format_duration(Duration::from_secs(uptime.as_secs()));
    let phase = phase_words(status.phase);
    vec![
        format!("ringway {}", status.version),
        format!("{phase} for {uptime}"),
        connections,
        format!("store {}", status.store),
    ]
}

/// What is to be said where the config file is not in force.
pub(super) fn reload_failed(status: &Status) -> Option<&'static str> {
    let failed = "the last reload of the config failed; the config before it stays in force";
    (!status.reload.successful).then_some(failed)
}

fn phase_words(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Starting => "starting",
        PhaseName::Running => "running",
        PhaseName::Draining => "draining",
        PhaseName::HandedOver => "handed over",
        PhaseName::Closing => "closing",
        PhaseName::Ended => "ended",
    }
}

fn show_pool(pool: &PoolStatus, out: &mut Output) -> Result<(), Failure> {
    let now = SystemTime::now();
    out.line("")?;
    out.bold(title(pool).join("   "))?;
    out.line(figures(pool).join("   "))?;
    trouble(pool).iter().try_for_each(|trouble| out.bold(trouble))?;
    if let Some(change) = &pool.last_change {
        out.line(last_change(change, now))?;
    }
    out.table(&node_table::status(&pool.nodes, now))?;
    let notes = [node_table::causes(&pool.nodes, now), node_table::notes(&pool.nodes, now)].concat();
    notes.iter().try_for_each(|note| out.bold(note))
}

/// Which pool it is, and at which membership.
pub(super) fn title(pool: &PoolStatus) -> Vec<String> {
    vec![
        format!("pool {}", pool.pool),
        format!("epoch {}", pool.epoch),
        format!("fingerprint {}", pool.fingerprint),
        pool.placement.to_string(),
    ]
}

/// How the pool does.
pub(super) fn figures(pool: &PoolStatus) -> Vec<String> {
    let part = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), percent);
    let mut figures = vec![
        format!("{} of {} up", pool.nodes_up, count(pool.nodes_active, "node")),
        format!("{} req/s", rate(pool.requests_per_second)),
    ];
    if pool.imbalance_ratio > 0.0 {
        figures.push(format!("largest share {:.2} x fair", pool.imbalance_ratio));
    }
    figures.extend([format!("spilled {}", part(pool.spill_ratio)), format!("no key {}", part(pool.no_key_ratio))]);
    figures
}

/// What is wrong with the pool as a whole.
pub(super) fn trouble(pool: &PoolStatus) -> Vec<String> {
    let panic = pool.is_panicking.then(|| "too few nodes are well: requests go to all of them".to_owned());
    let drift = pool.drift.as_ref().map(|drift| format!("note: {drift}"));
    panic.into_iter().chain(drift).collect()
}

/// Who changed the pool last, and why.
pub(super) fn last_change(change: &LastChange, now: SystemTime) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(change.at_ms));
    // A clock that was set back makes it just now.
    let age = at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
    let age = humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    let age: Vec<&str> = age.split(' ').take(2).collect();
    let reason = change.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("last change {} ago by {}{reason}", age.join(" "), change.actor)
}

/// A command that is worth trying next.
fn next(args: &StatusArgs, pool: &PoolStatus) -> String {
    let flags = change_words::flags(&[args.admin.flags(), args.pool.flags()].concat());
    match pool.owner {
        PoolOwner::File => format!("where a key lives:  ringway locate{flags} KEY"),
        PoolOwner::Store if pool.nodes.is_empty() => {
            format!("give it a node:  ringway node add{flags} NAME=ADDRESS")
        }
        PoolOwner::Store => format!("what another node would move:  ringway plan{flags} add NAME=ADDRESS"),
    }
}
