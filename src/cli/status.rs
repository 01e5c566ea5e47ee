//! `ringway status`: how a running proxy does, on one screen a pool.

use crate::admin::model::LastChange;
use crate::admin::model::PhaseName;
use crate::admin::model::PoolOwner;
use crate::admin::model::PoolStatus;
use crate::admin::model::Status;
use crate::cli::change_words;
use crate::cli::failure::Failure;
use crate::cli::node_table;
use crate::cli::output::Output;
use crate::cli::output::count;
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
    let connections = count(usize::try_from(status.connections).unwrap_or(usize::MAX), "client connection");
    let uptime = Duration::try_from_secs_f64(status.uptime_seconds.max(0.0)).unwrap_or_default();
    let uptime = humantime::format_duration(Duration::from_secs(uptime.as_secs()));
    let (phase, version, store) = (phase_words(status.phase), &status.version, &status.store);
    out.line(format_args!("ringway {version}   {phase} for {uptime}   {connections}   store {store}"))?;
    match status.reload.successful {
        true => Ok(()),
        false => out.bold("the last reload of the config failed; the config before it stays in force"),
    }
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
    let (name, epoch, fingerprint, kind) = (&pool.pool, pool.epoch, pool.fingerprint, pool.placement);
    out.line("")?;
    out.bold(format_args!("pool {name}   epoch {epoch}   fingerprint {fingerprint}   {kind}"))?;
    if pool.imbalance_ratio > 0.0 {
        out.line(format_args!("largest share {:.2} x fair", pool.imbalance_ratio))?;
    }
    if let Some(change) = &pool.last_change {
        out.line(last_change(change, SystemTime::now()))?;
    }
    if let Some(drift) = &pool.drift {
        out.bold(format_args!("note: {drift}"))?;
    }
    let now = SystemTime::now();
    out.table(&node_table::table(&pool.nodes, now))?;
    node_table::notes(&pool.nodes, now).iter().try_for_each(|note| out.bold(note))
}

fn last_change(change: &LastChange, now: SystemTime) -> String {
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
