//! The figures of a simulation for people: three tables for each pool of nodes.

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::count;
use crate::cli::simulate::Answer;
use crate::cli::simulate::Outcome;
use crate::cli::table::Table;
use crate::simulation::ChangeReport;
use crate::simulation::Report;

/// Prints them, each pool of nodes below a line that says which it is.
pub(super) fn show(answer: &Answer, out: &mut Output) -> Result<(), Failure> {
    let keys = match answer.keys.as_str() {
        "exact" => "exact shares".to_owned(),
        keys => format!("keys {keys}"),
    };
    for outcome in &answer.simulations {
        let (nodes, weights) = (outcome.nodes, &outcome.weights);
        let seeds = count(answer.seeds as usize, "seed");
        out.bold(format_args!("{nodes} nodes of weight {weights}; means over {seeds}; {keys}"))?;
        if outcome.cv_of_keys > 0.0 {
            let floor = outcome.cv_of_keys * 100.0;
            out.line(format_args!("these keys alone make a CV of {floor:.1} %, however fair the placement"))?;
        }
        out.line("")?;
        out.table(&balance(outcome))?;
        out.line("")?;
        out.table(&of_changes(outcome, "moved / optimum", movement))?;
        out.line("")?;
        out.table(&of_changes(outcome, "moved / least", |change| number(change.structural_excess.mean)))?;
        out.line("")?;
    }
    LEGEND.iter().try_for_each(|line| out.dim(line))
}

fn balance(outcome: &Outcome) -> Table {
    let header = ["load of the nodes", "peak/avg", "worst", "min/avg", "CV", "failover", "reversible", "agreement"];
    let mut table = Table::new(&header, 1);
    for report in &outcome.placements {
        table.row(vec![
            report.placement.clone(),
            fine(report.peak_to_average.mean),
            fine(report.peak_to_average.worst),
            fine(report.least_to_average.mean),
            format!("{:.1} %", report.cv.mean * 100.0),
            number(report.failover_spread.mean),
            part(report.reversibility.worst),
            part(report.agreement.worst),
        ]);
    }
    table.shortening(&[0]).at_most(WIDTH)
}

/// A row for each placement with a cell for each change.
fn of_changes(outcome: &Outcome, title: &str, cell: impl Fn(&ChangeReport) -> String) -> Table {
    let changes = outcome.placements.first().map(|report| report.changes.as_slice()).unwrap_or_default();
    let names = changes.iter().map(|change| change.change.name());
    let mut table = Table::new(&[title].into_iter().chain(names).collect::<Vec<&str>>(), 1);
    let row = |report: &Report| {
        let cells = report.changes.iter().map(&cell);
        [report.placement.clone()].into_iter().chain(cells).collect::<Vec<String>>()
    };
    outcome.placements.iter().for_each(|report| table.row(row(report)));
    table.shortening(&[0]).at_most(WIDTH)
}

/// `1.70 (0.69)`: the movement ratio, and the collateral where there is any.
fn movement(change: &ChangeReport) -> String {
    match change.collateral_ratio.mean {
        0.0 => number(change.movement_ratio.mean),
        collateral => format!("{} ({})", number(change.movement_ratio.mean), number(collateral)),
    }
}

fn number(figure: f64) -> String {
    format!("{figure:.2}")
}

/// Where hundredths make the difference.
fn fine(figure: f64) -> String {
    format!("{figure:.3}")
}

/// A part in percent that is only shown as all of it when it is.
fn part(ratio: f64) -> String {
    match ratio {
        1.0 => "100 %".to_owned(),
        ratio => format!("{:.2} %", (ratio * 10_000.0).floor() / 100.0),
    }
}

/// Columns of the terminals that the tables fit.
const WIDTH: usize = 120;

const LEGEND: [&str; 6] = [
    "peak/avg, min/avg: load over the fair share of the weight. CV: its standard deviation.",
    "failover: what the busiest takes over from a node that falls ill, over its fair part of that.",
    "moved / optimum: over the least between fair shares; in brackets what of it moves between unchanged nodes.",
    "moved / least: over the least between the actual shares; 1 when no node both gains and loses.",
    "reversible: where it was after a node was added and removed. agreement: the same, members in any order.",
    "The last two and `worst` are those of the worst seed.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_is_not_shown_as_all() {
        for (ratio, text) in [(1.0, "100 %"), (0.999_999, "99.99 %"), (0.5, "50.00 %"), (0.0, "0.00 %")] {
            assert_eq!(part(ratio), text, "{ratio}");
        }
    }
}
