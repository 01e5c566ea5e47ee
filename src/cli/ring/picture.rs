//! The ring drawn in a terminal: inside, a band with a piece for each node by its share; around it, thin, who owns
//! which part of the key space. Half of a character is a dot, since that is about as wide as it is high.

use crate::admin::model::RingNode;
use crate::admin::model::RingView;
use crate::admin::svg::PALETTE;
use crate::cli::paint::Line;
use crate::cli::paint::Paint;
use crate::cli::paint::Rgb;
use crate::placement::ratio;
use std::collections::HashMap;
use std::f64::consts::TAU;
use std::ops::Range;

/// What stands for a node: a colour by its place in the pool, as on the page; once the colours come again, another
/// shape and a fainter colour.
pub(super) fn mark(place: usize) -> (&'static str, Rgb) {
    let colour = Rgb::parse(PALETTE[place % PALETTE.len()]).unwrap_or(Rgb(0x80, 0x80, 0x80));
    let round = place / PALETTE.len();
    (SHAPES[round % SHAPES.len()], if round.is_multiple_of(2) { colour } else { colour.faint() })
}

/// Draws a ring in a square of so many dots: as many columns, and half as many lines.
pub(super) fn draw(view: &RingView, side: usize) -> Vec<Line> {
    let ring = Ring::of(view);
    let line = |row: usize| {
        let dots = (0..side).map(|column| (ring.dot(side, column, 2 * row), ring.dot(side, column, 2 * row + 1)));
        dots.fold(Line::default(), |line, (over, under)| match (over, under) {
            (None, None) => line.with(" ", Paint::Plain),
            (Some(over), None) => line.with("▀", Paint::Ink(over, None)),
            (None, Some(under)) => line.with("▄", Paint::Ink(under, None)),
            (Some(over), Some(under)) if over == under => line.with("█", Paint::Ink(over, None)),
            (Some(over), Some(under)) => line.with("▀", Paint::Ink(over, Some(under))),
        })
    };
    (0..side / 2).map(line).collect()
}

/// Who is where, as colours by the end of each piece in shares of a turn.
struct Ring {
    shares: Vec<(f64, Rgb)>,
    arcs: Vec<(f64, Rgb)>,
}

impl Ring {
    fn of(view: &RingView) -> Ring {
        let colours: HashMap<&str, Rgb> = view.nodes.iter().map(|node| node.name.as_str()).zip(colours()).collect();
        let colour = |name: &str| colours.get(name).copied().unwrap_or(Rgb(0x80, 0x80, 0x80));
        let mut end = 0.0;
        let shares = view.nodes.iter().map(|node: &RingNode| {
            end += node.share;
            (end, colour(&node.name))
        });
        let shares = shares.collect();
        let turn = |start: &str| ratio(u128::from_str_radix(start, 16).unwrap_or_default());
        let ends = view.arcs.iter().skip(1).map(|arc| turn(&arc.start)).chain([1.0]);
        let mut arcs: Vec<(f64, Rgb)> = ends.zip(view.arcs.iter().map(|arc| colour(&arc.node))).collect();
        // Before the first start is the end of the last arc.
        if let (Some(first), Some(last)) = (view.arcs.first(), view.arcs.last()) {
            arcs.insert(0, (turn(&first.start), colour(&last.node)));
        }
        Ring { shares, arcs }
    }

    /// The colour of a dot, by its place from the top left corner.
    fn dot(&self, side: usize, column: usize, row: usize) -> Option<Rgb> {
        let half = side as f64 / 2.0;
        let (right, up) = (column as f64 + 0.5 - half, half - row as f64 - 0.5);
        let distance = right.hypot(up) / half;
        let turn = (right.atan2(up) / TAU).rem_euclid(1.0);
        let pieces = match distance {
            _ if SHARES.contains(&distance) => &self.shares,
            _ if ARCS.contains(&distance) => &self.arcs,
            _ => return None,
        };
        // Shares add up to 1 but for what rounding costs.
        let place = pieces.partition_point(|(end, _)| *end <= turn).min(pieces.len().checked_sub(1)?);
        Some(pieces[place].1)
    }
}

fn colours() -> impl Iterator<Item = Rgb> {
    (0..).map(|place| mark(place).1)
}

/// Where the band of the shares is, in radii.
const SHARES: Range<f64> = 0.42..0.78;

/// Where the key space is.
const ARCS: Range<f64> = 0.87..1.0;

/// What the first nodes are marked with, those after them, and so on.
const SHAPES: [&str; 4] = ["■", "▲", "●", "◆"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::NodeState;
    use crate::admin::model::RingArc;
    use crate::cli::paint::Colours;
    use crate::placement::Fingerprint;
    use crate::placement::PlacementSettings;

    /// Two nodes, of which `a` has the first quarter.
    fn quarter() -> RingView {
        let node = |name: &str, share: f64| RingNode {
            name: name.to_owned(),
            weight: 1,
            zone: None,
            state: NodeState::Active,
            share,
            entitlement: 0.5,
            stretches: 1,
        };
        let arc = |start: &str, node: &str| RingArc { start: start.to_owned(), node: node.to_owned() };
        RingView {
            pool: "rooms".to_owned(),
            epoch: 1,
            fingerprint: Fingerprint(7),
            placement: PlacementSettings::default(),
            points: 2,
            imbalance_ratio: 1.5,
            nodes: vec![node("a", 0.25), node("b", 0.75)],
            arcs: vec![arc("0000000000000000", "a"), arc("4000000000000000", "b")],
            arcs_exact: 2,
        }
    }

    /// Who owns each dot of the upper half of each line: `a`, `b` or nobody.
    fn owners(view: &RingView, side: usize) -> Vec<String> {
        let ring = Ring::of(view);
        let owner = |dot: Option<Rgb>| match dot {
            None => '.',
            Some(colour) if colour == mark(0).1 => 'a',
            Some(_) => 'b',
        };
        (0..side).map(|row| (0..side).map(|column| owner(ring.dot(side, column, row))).collect()).collect()
    }

    #[test]
    fn a_ring_goes_clockwise_from_the_top() {
        let drawn = owners(&quarter(), 20);
        let expected = [".......bbbaaa.......", ".....bbb....aaa....."];
        assert_eq!(drawn[..2], expected, "{drawn:#?}");
        let right = drawn.iter().map(|line| line[10..].matches('a').count()).sum::<usize>();
        let all = drawn.iter().map(|line| line.matches('a').count()).sum::<usize>();
        assert_eq!(all, right, "{drawn:#?}");
        assert!(drawn[10..].iter().all(|line| !line.contains('a')), "{drawn:#?}");
    }

    #[test]
    fn a_picture_is_as_wide_as_it_is_high() {
        let lines = draw(&quarter(), 24);
        assert_eq!(lines.len(), 12);
        assert!(lines.iter().all(|line| line.width() == 24), "{lines:#?}");
        let text: Vec<String> = lines.iter().map(|line| line.painted(Colours::None)).collect();
        assert_eq!(text[5].chars().filter(|dot| *dot == ' ').count(), 12, "{text:#?}");
    }

    #[test]
    fn a_ring_of_nobody_is_empty() {
        let mut view = quarter();
        (view.nodes, view.arcs) = (Vec::new(), Vec::new());
        assert!(draw(&view, 20).iter().all(|line| line.painted(Colours::None).trim().is_empty()));
    }

    #[test]
    fn nodes_of_one_colour_differ_in_shape() {
        let marks: Vec<(&str, Rgb)> = (0..28).map(mark).collect();
        for (place, of_place) in marks.iter().enumerate() {
            assert!(!marks[..place].contains(of_place), "{place}");
        }
    }
}
