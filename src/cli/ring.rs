//! `ringway ring`: who owns how much of the ring.

mod picture;

use crate::admin;
use crate::admin::model::RingNode;
use crate::admin::model::RingView;
use crate::cli::failure::Failure;
use crate::cli::offline;
use crate::cli::output::Output;
use crate::cli::output::percent;
use crate::cli::paint::Colours;
use crate::cli::paint::Line;
use crate::cli::paint::Paint;
use crate::cli::table::Cell;
use crate::cli::table::Table;
use crate::cli::target::Target;
use crate::cli::target::TargetArgs;
use clap::Args;
use serde_json::value::RawValue;

/// Show who owns how much of the ring
///
/// Each node's part of the keys beside the part that its weight entitles it to. A terminal with colours shows the ring
/// itself, inside the shares and around them the key space, clockwise from 0, and in how many stretches of that space
/// the keys of each node lie.
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
    match out.columns() {
        None => out.table(&bars(view, BAR_WIDTH)),
        Some(columns) if out.colours() != Colours::None && columns >= PICTURE && view.imbalance_ratio > 0.0 => {
            show_picture(view, columns, out)
        }
        Some(columns) => {
            let others = bars(view, 0).lines(None).iter().map(Line::width).max().unwrap_or_default();
            out.table(
                &bars(view, columns.saturating_sub(others).clamp(1, BAR_WIDTH_MAX))
                    .shortening(&[0])
                    .dropping([2, 4, 1]),
            )
        }
    }
}

/// The ring, and beside it, or below it in a narrow terminal, whose the colours are.
fn show_picture(view: &RingView, columns: usize, out: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&["", "node", "weight", "owns", "fair", "stretches"], 2);
    for (place, node) in view.nodes.iter().enumerate() {
        let (shape, colour) = picture::mark(place);
        let mark = Cell::new(shape, Paint::Ink(colour, None));
        let numbers = [node.weight.to_string(), percent(node.share), percent(node.entitlement), stretches(view, node)];
        table.row([mark, node.name.clone().into()].into_iter().chain(numbers.map(Cell::from)).collect());
    }
    let table = table.shortening(&[1]).dropping([5, 2, 4]);
    let picture = picture::draw(view, PICTURE);
    match columns.checked_sub(PICTURE + BESIDE.len()).filter(|left| *left >= LEGEND) {
        Some(left) => {
            let mut legend = table.lines(Some(left)).into_iter();
            let mut lines: Vec<Line> =
                picture.into_iter().map(|line| line.beside(BESIDE, legend.next().unwrap_or_default())).collect();
            let below = Line::new(" ".repeat(PICTURE), Paint::Plain);
            lines.extend(legend.map(|line| below.clone().beside(BESIDE, line)));
            lines.iter().try_for_each(|line| out.paint(line))
        }
        None => {
            picture.iter().try_for_each(|line| out.paint(line))?;
            out.table(&table)
        }
    }
}

/// A row for each node with a bar of at most so many characters.
fn bars(view: &RingView, width: usize) -> Table {
    let largest = view.nodes.iter().map(|node| node.share).fold(f64::MIN_POSITIVE, f64::max);
    let mut table = Table::new(&["node", "", "weight", "owns", "fair"], 2);
    for node in &view.nodes {
        table.row(vec![
            node.name.clone(),
            bar(node.share / largest, width),
            node.weight.to_string(),
            percent(node.share),
            percent(node.entitlement),
        ]);
    }
    table
}

/// A bar of one to `width` characters; none for nothing.
fn bar(ratio: f64, width: usize) -> String {
    let filled = (1..=width).take_while(|step| *step as f64 <= (ratio * width as f64).ceil());
    filled.map(|_| '#').collect()
}

/// In how many stretches a node's keys lie. A proxy of an earlier version does not say so.
fn stretches(view: &RingView, node: &RingNode) -> String {
    let is_told = view.nodes.iter().any(|node| node.stretches > 0);
    if is_told { node.stretches.to_string() } else { "-".to_owned() }
}

/// Characters of the longest bar where there is no terminal.
const BAR_WIDTH: usize = 30;

/// Characters of the longest bar, however wide the terminal is.
const BAR_WIDTH_MAX: usize = 60;

/// Columns of the picture.
const PICTURE: usize = 32;

/// What stands between picture and legend.
const BESIDE: &str = "   ";

/// Columns without which the legend is better below the picture.
const LEGEND: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_the_share_and_never_nothing_for_something() {
        for (ratio, shown) in [(0.0, ""), (0.001, "#"), (0.5, "##"), (0.55, "###"), (1.0, "####")] {
            assert_eq!(bar(ratio, 4), shown, "{ratio}");
        }
    }
}
