//! A picture of who owns how much: a donut with a legend, readable without colours and by screen readers.

use crate::admin::model::RingNode;
use crate::admin::model::RingView;
use crate::admin::svg::PALETTE;
use crate::admin::svg::Svg;
use crate::admin::svg::escape;
use crate::placement::ratio;
use std::collections::HashMap;
use std::f64::consts::TAU;
use std::fmt::Write;

/// Draws the shares of a ring, and around them who owns which part of the key space.
pub(crate) fn draw(ring: &RingView) -> String {
    let sectors = sectors(&ring.nodes);
    let height = HEIGHT_MIN.max(LEGEND_TOP + LEGEND_STEP * (sectors.len() + 2) + MARGIN);
    let summary: Vec<String> =
        sectors.iter().map(|sector| format!("{} {}", sector.name, percent(sector.share))).collect();
    let description = if summary.is_empty() { "No node owns keys.".to_owned() } else { summary.join(", ") };
    let title = format!("Ownership of pool {} at epoch {}", ring.pool, ring.epoch);
    let mut svg = Svg::new((WIDTH, height), &title, &description, "");
    if sectors.is_empty() {
        svg.add(format_args!("<circle {} stroke=\"#bbbbbb\"/>", circle()));
    }
    let mut turn = 0.0;
    for (index, sector) in sectors.iter().enumerate() {
        draw_sector(&mut svg, sector, turn, index);
        turn += sector.share;
    }
    if sectors.len() > 1 {
        let mut turn = 0.0;
        for sector in &sectors {
            draw_gap(&mut svg, turn);
            turn += sector.share;
        }
        draw_key_space(&mut svg, ring, &sectors);
        let line = LEGEND_TOP + LEGEND_STEP * (sectors.len() + 1);
        let caption = "around it the key space, clockwise from 0";
        svg.add(format_args!("<text class=\"faint\" x=\"{LEGEND_LEFT}\" y=\"{line}\">{caption}</text>"));
    }
    let (pool, kind, epoch) = (escape(&ring.pool), ring.placement.kind(), ring.epoch);
    let words = [("strong", -14.0, pool), ("", 5.0, kind.to_owned()), ("faint", 24.0, format!("epoch {epoch}"))];
    for (class, line, text) in words {
        let line = CENTRE + line;
        svg.add(format_args!(
            "<text class=\"{class}\" x=\"{CENTRE}\" y=\"{line}\" text-anchor=\"middle\">{text}</text>"
        ));
    }
    svg.finish()
}

/// One coloured part of the donut, with its line of the legend.
struct Sector {
    name: String,
    share: f64,
}

/// The nodes that own keys, the largest first; what exceeds the palette is one sector.
fn sectors(nodes: &[RingNode]) -> Vec<Sector> {
    let mut owners: Vec<&RingNode> = nodes.iter().filter(|node| node.share > 0.0).collect();
    owners.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.name.cmp(&b.name)));
    let own = if owners.len() > SECTORS_MAX { SECTORS_MAX - 1 } else { owners.len() };
    let (shown, others) = owners.split_at(own);
    let sector = |node: &&RingNode| Sector { name: node.name.clone(), share: node.share };
    let mut sectors: Vec<Sector> = shown.iter().map(sector).collect();
    if !others.is_empty() {
        let share = others.iter().map(|node| node.share).sum();
        sectors.push(Sector { name: format!("{} others", others.len()), share });
    }
    sectors
}

fn draw_sector(svg: &mut Svg, sector: &Sector, turn: f64, index: usize) {
    let (name, share) = (escape(&sector.name), percent(sector.share));
    let label = format!("<title>{name} {share}</title>");
    if sector.share > WHOLE {
        svg.add(format_args!("<circle {} {}>{label}</circle>", circle(), colour("stroke", index)));
    } else {
        let arc = arc(turn, turn + sector.share, RADIUS);
        let colour = colour("stroke", index);
        svg.add(format_args!("<path d=\"{arc}\" fill=\"none\" stroke-width=\"{BAND}\" {colour}>{label}</path>"));
    }
    let (top, colour) = (LEGEND_TOP + LEGEND_STEP * index, colour("fill", index));
    svg.add(format_args!(
        "<rect x=\"{LEGEND_LEFT}\" y=\"{top}\" width=\"12\" height=\"12\" {colour}/>\
         <text x=\"{}\" y=\"{}\">{name}</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{share}</text>",
        LEGEND_LEFT + 20,
        top + 11,
        WIDTH - MARGIN,
        top + 11,
    ));
}

/// A thin band in the colours of the sectors: the arcs or slots as they lie, one path for each colour.
fn draw_key_space(svg: &mut Svg, ring: &RingView, sectors: &[Sector]) {
    let by_name: HashMap<&str, usize> = sectors.iter().map(|sector| sector.name.as_str()).zip(0..).collect();
    let mut paths = vec![String::new(); sectors.len()];
    let turn = |start: &str| ratio(u128::from_str_radix(start, 16).unwrap_or_default());
    for (place, piece) in ring.arcs.iter().enumerate() {
        let (from, next) = (turn(&piece.start), &ring.arcs[(place + 1) % ring.arcs.len()]);
        let to = turn(&next.start);
        let index = by_name.get(piece.node.as_str()).copied().unwrap_or(sectors.len() - 1);
        let to = if to > from { to } else { to + 1.0 };
        write!(paths[index], "{}", arc(from, to, KEY_SPACE_RADIUS)).expect("a String takes any text");
    }
    for (index, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        let colour = colour("stroke", index);
        svg.add(format_args!("<path d=\"{path}\" fill=\"none\" stroke-width=\"{KEY_SPACE_BAND}\" {colour}/>"));
    }
}

/// The colour of a sector as an attribute. They come back once the palette is used up; a paler one tells the second
/// round from the first.
fn colour(attribute: &str, index: usize) -> String {
    let colour = PALETTE[index % PALETTE.len()];
    let paleness = if index < PALETTE.len() { String::new() } else { format!(" {attribute}-opacity=\"0.55\"") };
    format!("{attribute}=\"{colour}\"{paleness}")
}

/// Sets two sectors apart where the second begins.
fn draw_gap(svg: &mut Svg, turn: f64) {
    let ((x0, y0), (x1, y1)) = (point(turn, RADIUS - BAND / 2.0), point(turn, RADIUS + BAND / 2.0));
    svg.add(format_args!("<path class=\"gap\" d=\"M{x0:.2} {y0:.2}L{x1:.2} {y1:.2}\"/>"));
}

/// A path along a part of a circle, from one share of a turn to another.
fn arc(from: f64, to: f64, radius: f64) -> String {
    let ((x0, y0), (x1, y1)) = (point(from, radius), point(to, radius));
    let large = u8::from(to - from > 0.5);
    format!("M{x0:.2} {y0:.2}A{radius} {radius} 0 {large} 1 {x1:.2} {y1:.2}")
}

/// Where a share of a turn, clockwise from the top, is at a distance from the centre.
fn point(turn: f64, distance: f64) -> (f64, f64) {
    let angle = turn * TAU;
    (CENTRE + distance * angle.sin(), CENTRE - distance * angle.cos())
}

fn circle() -> String {
    format!("cx=\"{CENTRE}\" cy=\"{CENTRE}\" r=\"{RADIUS}\" fill=\"none\" stroke-width=\"{BAND}\"")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Most sectors: two rounds of the palette.
const SECTORS_MAX: usize = PALETTE.len() * 2;

/// A share that is drawn as a whole circle, since an arc of SVG cannot end where it begins.
const WHOLE: f64 = 0.999_9;

const WIDTH: usize = 560;
const HEIGHT_MIN: usize = 260;
const MARGIN: usize = 16;
const CENTRE: f64 = 130.0;
const RADIUS: f64 = 84.0;
const BAND: f64 = 40.0;
const KEY_SPACE_RADIUS: f64 = 114.0;
const KEY_SPACE_BAND: f64 = 10.0;
const LEGEND_LEFT: usize = 270;
const LEGEND_TOP: usize = 24;
const LEGEND_STEP: usize = 20;
