//! A picture of who owns how much: a donut with a legend, as SVG, readable without colours and by screen readers.

use crate::admin::model::RingNode;
use crate::admin::model::RingView;
use std::f64::consts::TAU;
use std::fmt::Write;

/// Draws the shares of a ring.
pub(crate) fn draw(ring: &RingView) -> String {
    let sectors = sectors(&ring.nodes);
    let height = HEIGHT_MIN.max(LEGEND_TOP + LEGEND_STEP * sectors.len() + MARGIN);
    let (pool, epoch) = (escape(&ring.pool), ring.epoch);
    let summary: Vec<String> =
        sectors.iter().map(|sector| format!("{} {}", sector.name, percent(sector.share))).collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"title desc\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title id=\"title\">Ownership of pool {pool} at epoch {epoch}</title>\n\
         <desc id=\"desc\">{}</desc>\n",
        if summary.is_empty() { "No node owns keys.".to_owned() } else { summary.join(", ") }
    );
    if sectors.is_empty() {
        push(&mut svg, format_args!("<circle {} stroke=\"#bbbbbb\"/>\n", circle()));
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
    }
    push(
        &mut svg,
        format_args!(
            "<text x=\"{CENTRE}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\">{pool}</text>\n\
             <text x=\"{CENTRE}\" y=\"{}\" text-anchor=\"middle\">epoch {epoch}</text>\n</svg>\n",
            CENTRE - 4.0,
            CENTRE + 14.0,
        ),
    );
    svg
}

/// One coloured part of the donut, with its line of the legend.
struct Sector {
    /// Escaped.
    name: String,
    share: f64,
}

/// The nodes that own keys, the largest first; what exceeds the palette is one sector.
fn sectors(nodes: &[RingNode]) -> Vec<Sector> {
    let mut owners: Vec<&RingNode> = nodes.iter().filter(|node| node.share > 0.0).collect();
    owners.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.name.cmp(&b.name)));
    let own = if owners.len() > SECTORS_MAX { SECTORS_MAX - 1 } else { owners.len() };
    let (shown, others) = owners.split_at(own);
    let sector = |node: &&RingNode| Sector { name: escape(&node.name), share: node.share };
    let mut sectors: Vec<Sector> = shown.iter().map(sector).collect();
    if !others.is_empty() {
        let share = others.iter().map(|node| node.share).sum();
        sectors.push(Sector { name: format!("{} others", others.len()), share });
    }
    sectors
}

fn draw_sector(svg: &mut String, sector: &Sector, turn: f64, index: usize) {
    let colour = PALETTE[index % PALETTE.len()];
    // Colours come back once the palette is used up; a paler sector tells the second round from the first.
    let paleness = if index < PALETTE.len() { "" } else { " stroke-opacity=\"0.55\"" };
    let (name, share) = (&sector.name, percent(sector.share));
    let label = format!("<title>{name} {share}</title>");
    if sector.share > WHOLE {
        push(svg, format_args!("<circle {} stroke=\"{colour}\">{label}</circle>\n", circle()));
    } else {
        let ((x0, y0), (x1, y1)) = (point(turn, RADIUS), point(turn + sector.share, RADIUS));
        let large = u8::from(sector.share > 0.5);
        push(
            svg,
            format_args!(
                "<path d=\"M{x0:.2} {y0:.2}A{RADIUS} {RADIUS} 0 {large} 1 {x1:.2} {y1:.2}\" fill=\"none\" \
                 stroke-width=\"{BAND}\" stroke=\"{colour}\"{paleness}>{label}</path>\n"
            ),
        );
    }
    let y = LEGEND_TOP + LEGEND_STEP * index;
    push(
        svg,
        format_args!(
            "<rect x=\"{LEGEND_LEFT}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{colour}\"{}/>\
             <text x=\"{}\" y=\"{}\">{name}</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{share}</text>\n",
            paleness.replace("stroke", "fill"),
            LEGEND_LEFT + 20,
            y + 11,
            WIDTH - MARGIN,
            y + 11,
        ),
    );
}

/// Sets two sectors apart where the second begins.
fn draw_gap(svg: &mut String, turn: f64) {
    let ((x0, y0), (x1, y1)) = (point(turn, RADIUS - BAND / 2.0), point(turn, RADIUS + BAND / 2.0));
    let line = format_args!("<path d=\"M{x0:.2} {y0:.2}L{x1:.2} {y1:.2}\" stroke=\"#ffffff\" stroke-width=\"2\"/>\n");
    push(svg, line);
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

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn push(svg: &mut String, piece: std::fmt::Arguments<'_>) {
    svg.write_fmt(piece).expect("a String takes any text");
}

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008), without its black.
const PALETTE: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];

/// Most sectors: two rounds of the palette.
const SECTORS_MAX: usize = PALETTE.len() * 2;

/// A share that is drawn as a whole circle, since an arc of SVG cannot end where it begins.
const WHOLE: f64 = 0.999_9;

const WIDTH: usize = 520;
const HEIGHT_MIN: usize = 260;
const MARGIN: usize = 16;
const CENTRE: f64 = 130.0;
const RADIUS: f64 = 90.0;
const BAND: f64 = 44.0;
const LEGEND_LEFT: usize = 270;
const LEGEND_TOP: usize = 24;
const LEGEND_STEP: usize = 20;
