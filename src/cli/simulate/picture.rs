//! The figures of a simulation as plots: what each node has of its fair share, and what changes move over the optimum.

use crate::admin::svg::Svg;
use crate::admin::svg::escape;
use crate::cli::output::count;
use crate::cli::simulate::Answer;
use crate::cli::simulate::Outcome;
use crate::simulation::ChangeReport;
use crate::simulation::NodeLoad;
use crate::simulation::Report;

/// Draws both plots, with a panel for each pool of nodes.
pub(super) fn draw(answer: &Answer) -> String {
    let layout = Layout::of(answer);
    let mut svg = Svg::new(layout.size(), "What placements do to keys", &description(answer), STYLE);
    let seeds = count(answer.seeds as usize, "seed");
    let about = format!("figures: means over {seeds}; dots: the first of them; load: {}", escape(&answer.keys));
    text(&mut svg, "title", MARGIN, 36.0, "What placements do to keys");
    text(&mut svg, "faint", MARGIN, 56.0, &about);
    text(&mut svg, "strong", MARGIN, HEAD, "Load of each node over its fair share");
    text(&mut svg, "faint", MARGIN, HEAD + 18.0, "a dot for each node; 1 is fair; the number is the busiest node's");
    text(&mut svg, "strong", MARGIN, layout.movement_top(), "What a change moves over the least that has to move");
    legend(&mut svg, layout.movement_top() + 9.0);
    for (place, outcome) in answer.simulations.iter().enumerate() {
        let panel = Panel { left: MARGIN + NAMES + place as f64 * (PANEL + GAP), layout: &layout };
        panel.ownership(&mut svg, outcome);
        panel.movement(&mut svg, outcome);
        if place == 0 {
            panel.names(&mut svg, outcome);
        }
    }
    svg.finish()
}

/// What the plots show, in words.
fn description(answer: &Answer) -> String {
    let of_placement = |report: &Report| {
        let moved = report.changes.iter().map(|change| format!("{} {:.2}", change.change, change.movement_ratio.mean));
        let moved: Vec<String> = moved.collect();
        let peak = report.peak_to_average.mean;
        format!("{}: the busiest node has {peak:.2} of its fair share; moved: {}", report.placement, moved.join(", "))
    };
    let of_pool = |outcome: &Outcome| {
        let placements: Vec<String> = outcome.placements.iter().map(of_placement).collect();
        format!("{} nodes. {}.", outcome.nodes, placements.join(". "))
    };
    answer.simulations.iter().map(of_pool).collect::<Vec<String>>().join(" ")
}

/// Where things stand, and how long a unit is.
struct Layout {
    panels: usize,
    /// All placements that stand in any panel, in order.
    placements: Vec<String>,
    changes: Vec<&'static str>,
    /// The largest of the figures that are drawn.
    load_most: f64,
    moved_most: f64,
}

impl Layout {
    fn of(answer: &Answer) -> Layout {
        let reports = || answer.simulations.iter().flat_map(|outcome| &outcome.placements);
        let mut placements: Vec<String> = Vec::new();
        for report in reports() {
            if !placements.contains(&report.placement) {
                placements.push(report.placement.clone());
            }
        }
        let changes = reports().next().map(|report| report.changes.as_slice()).unwrap_or_default();
        let loads = reports().flat_map(|report| report.nodes.iter().map(NodeLoad::relative));
        let moved = reports().flat_map(|report| report.changes.iter().map(|change| change.movement_ratio.mean));
        Layout {
            panels: answer.simulations.len(),
            placements,
            changes: changes.iter().map(|change| change.change.name()).collect(),
            load_most: round_up(loads.fold(1.2, f64::max)),
            moved_most: round_up(moved.fold(1.2, f64::max)),
        }
    }

    fn size(&self) -> (usize, usize) {
        let width = MARGIN + NAMES + self.panels as f64 * (PANEL + GAP);
        let height = self.movement_rows_top() + self.changes.len() as f64 * self.group() + FOOT;
        (whole(width.max(WIDTH_MIN)), whole(height))
    }

    /// The row of a placement.
    fn row(&self, placement: &str) -> f64 {
        self.placements.iter().position(|known| known == placement).unwrap_or_default() as f64
    }

    fn ownership_rows_top(&self) -> f64 {
        HEAD + 60.0
    }

    fn ownership_bottom(&self) -> f64 {
        self.ownership_rows_top() + self.placements.len() as f64 * ROW
    }

    fn movement_top(&self) -> f64 {
        self.ownership_bottom() + 68.0
    }

    fn movement_rows_top(&self) -> f64 {
        self.movement_top() + 60.0
    }

    /// The height of a change's bars, with its name above.
    fn group(&self) -> f64 {
        self.placements.len() as f64 * BAR_ROW + 34.0
    }
}

/// The plots of one pool of nodes.
struct Panel<'a> {
    left: f64,
    layout: &'a Layout,
}

impl Panel<'_> {
    /// What stands to the left of the first panel.
    fn names(&self, svg: &mut Svg, outcome: &Outcome) {
        let layout = self.layout;
        for placement in &layout.placements {
            let line = layout.ownership_rows_top() + layout.row(placement) * ROW + ROW / 2.0 + 4.0;
            text(svg, class(placement), MARGIN, line, &escape(placement));
        }
        let changes = outcome.placements.first().map(|report| report.changes.as_slice()).unwrap_or_default();
        for (place, change) in changes.iter().enumerate() {
            let top = layout.movement_rows_top() + place as f64 * layout.group();
            text(svg, "strong", MARGIN, top + 12.0, change.change.name());
            for placement in &layout.placements {
                let line = top + 22.0 + layout.row(placement) * BAR_ROW + 11.0;
                text(svg, class(placement), MARGIN, line, &escape(placement));
            }
        }
    }

    fn ownership(&self, svg: &mut Svg, outcome: &Outcome) {
        let layout = self.layout;
        let (top, bottom) = (layout.ownership_rows_top(), layout.ownership_bottom());
        text(svg, "strong", self.left, top - 14.0, &title(outcome));
        self.axis(svg, (top, bottom), layout.load_most);
        for report in &outcome.placements {
            let middle = top + layout.row(&report.placement) * ROW + ROW / 2.0;
            svg.add(format_args!("<g class=\"dot {}\">", class(&report.placement)));
            let (name, peak) = (escape(&report.placement), report.peak_to_average.mean);
            svg.add(format_args!("<title>{name}: the busiest has {peak:.3} of its fair share</title>"));
            for (number, relative) in shown(&report.nodes).into_iter().enumerate() {
                // Neighbours stand on different heights, so that many dots are seen as many.
                let height = middle + [0.0, -5.0, 4.0, -2.0, 6.0][number % 5];
                let at = self.at(relative, layout.load_most);
                svg.add(format_args!("<circle cx=\"{at:.1}\" cy=\"{height:.1}\" r=\"3.2\"/>"));
            }
            svg.add(format_args!("</g>"));
            text(svg, "figure", self.left + PLOT + 10.0, middle + 4.0, &format!("{peak:.2}"));
        }
    }

    fn movement(&self, svg: &mut Svg, outcome: &Outcome) {
        let layout = self.layout;
        let top = layout.movement_rows_top();
        text(svg, "strong", self.left, top - 14.0, &title(outcome));
        let changes = layout.changes.len() as f64;
        self.axis(svg, (top, top + changes * layout.group() - 12.0), layout.moved_most);
        for report in &outcome.placements {
            for (place, change) in report.changes.iter().enumerate() {
                let row = layout.row(&report.placement) * BAR_ROW;
                let top = top + place as f64 * layout.group() + 22.0 + row;
                self.bar(svg, top, change, &escape(&report.placement));
            }
        }
    }

    /// What had to move or moves to or from what changed, then what moves besides.
    fn bar(&self, svg: &mut Svg, top: f64, change: &ChangeReport, placement: &str) {
        let (moved, besides) = (change.movement_ratio.mean, change.collateral_ratio.mean);
        let most = self.layout.moved_most;
        let (middle, end) = (self.at(moved - besides, most), self.at(moved, most));
        let what = format!("{placement}, {}: {moved:.3} times the least, of it besides {besides:.3}", change.change);
        svg.add(format_args!("<g><title>{what}</title>"));
        rect(svg, "needed", (self.left, top), middle - self.left);
        if end - middle > 0.05 {
            rect(svg, "besides", (middle, top), end - middle);
        }
        svg.add(format_args!("</g>"));
        text(svg, "figure", self.left + PLOT + 10.0, top + 11.0, &format!("{moved:.2}"));
    }

    /// Grid lines from `top` to `bottom` with their numbers below, the one at 1 standing out.
    fn axis(&self, svg: &mut Svg, (top, bottom): (f64, f64), most: f64) {
        let step = STEPS.into_iter().find(|step| most / step <= TICKS_MAX).unwrap_or(most);
        let ticks = (0..).map(|tick| f64::from(tick) * step).take_while(|tick| *tick <= most + step / 100.0);
        for tick in ticks {
            let (at, class) = (self.at(tick, most), if tick == 1.0 { "one" } else { "grid" });
            let bottom = bottom + 4.0;
            svg.add(format_args!(
                "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>",
                top - 4.0
            ));
            svg.add(format_args!(
                "<text class=\"small\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
                bottom + 14.0
            ));
        }
    }

    /// Where a figure stands on an axis from 0 to `most`.
    fn at(&self, figure: f64, most: f64) -> f64 {
        self.left + figure / most * PLOT
    }
}

/// `10 nodes`, or `10 nodes of weight 1..10`.
fn title(outcome: &Outcome) -> String {
    match outcome.weights.to_string().as_str() {
        "1" => format!("{} nodes", outcome.nodes),
        weights => format!("{} nodes of weight {weights}", outcome.nodes),
    }
}

fn legend(svg: &mut Svg, top: f64) {
    let entries = [("needed", "to or from a node that changed"), ("besides", "besides, between nodes that did not")];
    let mut left = MARGIN;
    for (class, meaning) in entries {
        svg.add(format_args!("<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"11\" height=\"11\"/>"));
        text(svg, "faint", left + 18.0, top + 10.0, meaning);
        left += 46.0 + 6.6 * meaning.len() as f64;
    }
}

fn rect(svg: &mut Svg, class: &str, (left, top): (f64, f64), width: f64) {
    svg.add(format_args!(
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\"/>"
    ));
}

fn text(svg: &mut Svg, class: &str, left: f64, line: f64, text: &str) {
    svg.add(format_args!("<text class=\"{class}\" x=\"{left:.1}\" y=\"{line:.1}\">{text}</text>"));
}

/// Ringway's own placements stand out.
fn class(placement: &str) -> &'static str {
    match placement.split(' ').next() {
        Some("ring" | "table") => "own",
        _ => "other",
    }
}

/// What the nodes have of their fair shares, ascending; of very many nodes so many, the smallest and the largest among
/// them.
fn shown(nodes: &[NodeLoad]) -> Vec<f64> {
    let mut loads: Vec<f64> = nodes.iter().map(NodeLoad::relative).collect();
    loads.sort_by(f64::total_cmp);
    match loads.len() {
        ..=DOTS_MAX => loads,
        many => (0..DOTS_MAX).map(|dot| loads[dot * (many - 1) / (DOTS_MAX - 1)]).collect(),
    }
}

/// To the next tenth, or of more than 2 the next half.
fn round_up(figure: f64) -> f64 {
    if figure <= 2.0 { (figure * 10.0).ceil() / 10.0 } else { (figure * 2.0).ceil() / 2.0 }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels of a picture")]
fn whole(pixels: f64) -> usize {
    pixels.ceil() as usize
}

const STYLE: &str = "\
.title { font-size: 20px; font-weight: 600; }
.small { font-size: 11px; fill: #57606a; }
.figure { font-variant-numeric: tabular-nums; }
text.own { font-weight: 600; }
.grid { stroke: #d8dee4; }
.one { stroke: #24292f; stroke-width: 1.5; }
.dot { fill-opacity: 0.55; }
.dot.own { fill: #0072b2; }
.dot.other { fill: #009e73; }
.needed { fill: #0072b2; }
.besides { fill: #e69f00; }
@media (prefers-color-scheme: dark) {
  .small { fill: #9198a1; }
  .grid { stroke: #30363d; }
  .one { stroke: #e6edf3; }
  .dot.own, .needed { fill: #56b4e9; }
}
";

const MARGIN: f64 = 28.0;
/// Where the first plot begins.
const HEAD: f64 = 92.0;
const FOOT: f64 = 24.0;
/// The column of the placements' names.
const NAMES: f64 = 190.0;
/// A panel, of which the plot leaves room for a figure at its right.
const PANEL: f64 = 400.0;
const PLOT: f64 = 350.0;
const GAP: f64 = 36.0;
const WIDTH_MIN: f64 = 660.0;
/// A row of dots.
const ROW: f64 = 26.0;
/// A row with a bar, and the bar.
const BAR_ROW: f64 = 17.0;
const BAR: f64 = 13.0;
/// Distances of grid lines, and how many there are at most.
const STEPS: [f64; 7] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0];
const TICKS_MAX: f64 = 7.0;
/// The most dots of a row.
const DOTS_MAX: usize = 500;
