//! `ringway plan`: what a change would move, before anything moves.

use crate::admin::model::PlanRequest;
use crate::admin::model::PoolOwner;
use crate::cli::change_words;
use crate::cli::failure::Failure;
use crate::cli::offline::Offline;
use crate::cli::output::Output;
use crate::cli::output::percent;
use crate::cli::output::wrapped;
use crate::cli::plan_file;
use crate::cli::target::Target;
use crate::cli::target::TargetArgs;
use crate::cluster::membership::Change;
use crate::control::pool_at::Plan;
use crate::control::settings::Owner;
use clap::Args;
use serde_json::value::RawValue;

/// Show what a change would move, without making it
///
/// Which share of the keys would move, from where to where, beside the least that has to move. Ends with the command
/// that makes the change, bound to what was shown.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway plan add c=10.0.0.12:3000,weight=2,zone=b
  ringway plan -c ringway.toml drain a weight b=3      several changes as one, offline
  ringway plan placement table
  ringway plan -c new.toml --against old.toml          what an edited file would move
  ringway plan -c new.toml --against running           the same, beside the running proxy")]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Compare the nodes of -c FILE with those of this file, or with `running`: the running proxy
    #[arg(long, value_name = "FILE", requires = "config", conflicts_with = "changes")]
    pub(super) against: Option<String>,
    /// One JSON object for each pool
    #[arg(long)]
    pub(super) json: bool,
    /// Changes in plain words, such as: add c=10.0.0.12:3000 drain a
    #[arg(value_name = "CHANGE", long_help = change_words::HELP, required_unless_present = "against")]
    changes: Vec<String>,
}

/// Plans changes in words, or the difference to another file.
pub(super) fn run(args: &PlanArgs, out: &mut Output) -> Result<(), Failure> {
    if let Some(against) = &args.against {
        return plan_file::run(args, against, out);
    }
    let changes = change_words::parse(&args.changes).map_err(Failure::Usage)?;
    match args.target.open()? {
        Target::Live(client) => {
            let pool = args.target.pool().of(&client)?;
            let path = format!("/v1/pools/{}/plan", pool.pool);
            let answer: Box<RawValue> = client.post(&path, &PlanRequest { changes: changes.clone() })?;
            if args.json {
                return out.json(&answer);
            }
            let plan: Plan = client.understand(answer.get().as_bytes())?;
            let next = match pool.owner {
                PoolOwner::File => edit_the_file(),
                PoolOwner::Store => apply_it(&args.target.live.flags(), &plan, &changes),
            };
            show(&plan, &next, out)
        }
        Target::Offline(offline) => plan_offline(args, &offline, &changes, out),
    }
}

fn plan_offline(args: &PlanArgs, offline: &Offline, changes: &[Change], out: &mut Output) -> Result<(), Failure> {
    let pool = offline.pool(args.target.pool())?;
    let plan = offline.pool_at(pool, None)?.plan(changes)?;
    if args.json {
        return out.json(&plan);
    }
    let next = match pool.source.owner {
        Owner::File => edit_the_file(),
        Owner::Store => apply_it(&args.target.pool().flags(), &plan, changes),
    };
    show(&plan, &next, out)
}

/// The plan for people, ending with what to do next.
pub(super) fn show(plan: &Plan, next: &str, out: &mut Output) -> Result<(), Failure> {
    let (moved, least) = (percent(plan.moved_ratio), percent(plan.optimal_ratio));
    out.bold(format_args!("moves {moved} of the keys; the least for these weights is {least}"))?;
    let shown = plan.flows.iter().take(FLOWS_SHOWN);
    let flows = shown.map(|flow| format!("{} -> {}  {}", flow.from, flow.to, percent(flow.ratio)));
    let hidden = plan.flows.len().saturating_sub(FLOWS_SHOWN);
    let rest = (hidden > 0).then(|| format!("and {hidden} smaller flows"));
    let collateral = format!("between unchanged nodes  {}", percent(plan.collateral_ratio));
    let flows = flows.chain(rest).chain([collateral]);
    wrapped("   ", flows).into_iter().try_for_each(|line| out.line(line))?;
    let kept = plan.nodes.iter().filter(|node| node.before > 0.0 || node.after > 0.0);
    let mut kept: Vec<_> = kept.collect();
    kept.sort_by(|a, b| (b.after - b.before).abs().total_cmp(&(a.after - a.before).abs()));
    let hidden = kept.len().saturating_sub(NODES_SHOWN);
    kept.truncate(NODES_SHOWN);
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    let shares = kept.into_iter().map(|node| format!("{} {}", node.name, percent(node.after)));
    let rest = (hidden > 0).then(|| format!("and {hidden} that change less"));
    wrapped("after: ", shares.chain(rest)).into_iter().try_for_each(|line| out.line(line))?;
    if let Some(reason) = &plan.unsafe_reason {
        out.bold(format_args!("unsafe: {reason} (refused without --force)"))?;
    }
    out.line(next)
}

/// The command that makes the changes if the pool is still where it was. `--force` is left for people to add.
pub(super) fn apply_it(flags: &[String], plan: &Plan, changes: &[Change]) -> String {
    let (flags, words) = (change_words::flags(flags), change_words::print(changes));
    format!("apply it:  ringway apply{flags} --if-epoch {} {words}", plan.epoch)
}

fn edit_the_file() -> String {
    "to do it:  edit `nodes` in the config file, which owns this pool, and reload it with SIGHUP".to_owned()
}

/// Flows that are shown to people.
const FLOWS_SHOWN: usize = 12;

/// Nodes whose shares are shown to people.
const NODES_SHOWN: usize = 24;
