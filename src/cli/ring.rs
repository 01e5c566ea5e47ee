//! `ringway ring`: who owns how much of the ring.

use crate::admin;
use crate::admin::model::RingView;
use crate::cli::failure::Failure;
use crate::cli::offline;
use crate::cli::output::Output;
use crate::cli::output::Table;
use crate::cli::output::percent;
use crate::cli::target::Target;
use crate::cli::target::TargetArgs;
use clap::Args;
use serde_json::value::RawValue;

/// Show who owns how much of the ring
///
/// Each node's part of the keys beside the part that its weight entitles it to.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway ring
  ringway ring -c ringway.toml --svg > ring.svg")]
pub(super) struct RingArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// One JSON object
    #[arg(long, conflicts_with = "svg")]
    json: bool,
    /// A picture
    #[arg(long)]
    svg: bool,
}

/// Prints the ring as a table, JSON or a picture.
pub(super) fn run(args: &RingArgs, out: &mut Output) -> Result<(), Failure> {
    match args.target.open()? {
        Target::Live(client) => {
            let path = format!("/v1/pools/{}/ring", args.target.pool().of(&client)?.pool);
            if args.svg {
                return out.text(&client.get_text(&path, "image/svg+xml")?);
            }
            let answer: Box<RawValue> = client.get(&path)?;
            match args.json {
                true => out.json(&answer),
                false => show(&client.understand(answer.get().as_bytes())?, out),
            }
        }
        Target::Offline(offline) => {
            let pool = offline.pool(args.target.pool())?;
            let table = offline::table(&pool.settings, offline.pool_at(pool, None)?);
            let view = admin::ring_view(&table);
            match (args.svg, args.json) {
                (true, _) => out.text(&admin::ring_picture(&view)),
                (false, true) => out.json(&view),
                (false, false) => show(&view, out),
            }
        }
    }
}

fn show(view: &RingView, out: &mut Output) -> Result<(), Failure> {
    let (pool, epoch, fingerprint) = (&view.pool, view.epoch, view.fingerprint);
    out.bold(format_args!("pool {pool}   epoch {epoch}   fingerprint {fingerprint}   {}", view.placement))?;
    if view.imbalance_ratio > 0.0 {
        let pieces = if view.placement.is_of_slots() { "slots" } else { "points" };
        out.line(format_args!("{} {pieces}, largest share {:.2} x fair", view.points, view.imbalance_ratio))?;
    }
    let largest = view.nodes.iter().map(|node| node.share).fold(f64::MIN_POSITIVE, f64::max);
    let mut table = Table::new(&["node", "", "weight", "owns", "fair"], 2);
    for node in &view.nodes {
        table.row(vec![
            node.name.clone(),
            bar(node.share / largest),
            node.weight.to_string(),
            percent(node.share),
            percent(node.entitlement),
        ]);
    }
    out.table(&table)
}

/// A bar of one to [`BAR_WIDTH`] characters; none for nothing.
fn bar(ratio: f64) -> String {
    let filled = (1..=BAR_WIDTH).take_while(|&step| f64::from(step) <= (ratio * f64::from(BAR_WIDTH)).ceil());
    filled.map(|_| '#').collect()
}

const BAR_WIDTH: u8 = 30;
