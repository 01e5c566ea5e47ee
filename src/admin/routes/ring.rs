//! Who owns which part of the key space: as numbers, or as a picture.

use crate::admin::api::Api;
use crate::admin::donut;
use crate::admin::extract::PoolOf;
use crate::admin::model::RingArc;
use crate::admin::model::RingNode;
use crate::admin::model::RingView;
use crate::admin::responses::PoolProblem;
use crate::admin::view;
use crate::cluster::node::Node;
use crate::placement::Arc as PlacementArc;
use crate::placement::POSITIONS;
use crate::proxy::table::PoolTable;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use http::HeaderMap;
use http::header;
use std::collections::HashMap;
use std::sync::Arc;

/// Who owns which part of the key space
///
/// A picture where `Accept` asks for `image/svg+xml`, else numbers.
#[utoipa::path(
    get,
    path = "/v1/pools/{pool}/ring",
    tag = "pools",
    params(
        ("pool" = String, Path, description = "Name of the pool"),
        ("accept" = Option<String>, Header, description = "`image/svg+xml` for a picture")
    ),
    responses(
        (status = 200, description = "The ring", content((RingView = "application/json"), (String = "image/svg+xml"))),
        PoolProblem
    )
)]
pub(crate) async fn ring(State(api): State<Arc<Api>>, PoolOf(pool): PoolOf, headers: HeaderMap) -> Response {
    let view = api.heavy(move || ring_view(&pool)).await;
    let vary = (header::VARY, "accept");
    if wants_picture(&headers) {
        ([(header::CONTENT_TYPE, "image/svg+xml"), vary], donut::draw(&view)).into_response()
    } else {
        ([vary], Json(view)).into_response()
    }
}

/// Whether the picture is asked for, and not JSON before it. Quality values are not weighed: a client that wants the
/// picture names it first.
fn wants_picture(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut kinds = accepted.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.find(|kind| matches!(*kind, "application/json" | SVG)) == Some(SVG)
}

/// The ring of a pool, its arcs coarsened to a bounded number.
pub(crate) fn ring_view(pool: &PoolTable) -> RingView {
    let arcs = pool.placement.arcs();
    let arcs_exact = arcs.len();
    let nodes = ring_nodes(pool, &arcs);
    let shown = if arcs_exact > ARCS_MAX { coarsen(&arcs) } else { arcs };
    let name = |node: usize| pool.placement.nodes()[node].name.clone();
    let arc = |arc: &PlacementArc| RingArc { start: format!("{:016x}", arc.start), node: name(arc.node) };
    RingView {
        pool: pool.settings.name.clone(),
        epoch: pool.epoch,
        fingerprint: pool.fingerprint,
        placement: pool.membership.placement,
        points: pool.placement.pieces(),
        imbalance_ratio: pool.imbalance_ratio(),
        nodes,
        arcs: shown.iter().map(arc).collect(),
        arcs_exact,
    }
}

fn ring_nodes(pool: &PoolTable, arcs: &[PlacementArc]) -> Vec<RingNode> {
    let shares = pool.shares();
    let mut stretches: HashMap<&str, usize> = HashMap::new();
    for arc in arcs {
        *stretches.entry(pool.placement.nodes()[arc.node].name.as_str()).or_default() += 1;
    }
    let total: u64 = pool.placement.nodes().iter().map(|node| u64::from(node.weight)).sum();
    let entitlement = |node: &Node| match node.is_placed() {
        true => f64::from(node.weight) / total as f64,
        false => 0.0,
    };
    let ring_node = |node: &Node| RingNode {
        name: node.name.to_string(),
        weight: node.weight,
        zone: node.zone.clone(),
        state: view::node_state(node),
        share: shares.get(node.name.as_str()).copied().unwrap_or_default(),
        entitlement: entitlement(node),
        stretches: stretches.get(node.name.as_str()).copied().unwrap_or_default(),
    };
    pool.membership.nodes().iter().map(ring_node).collect()
}

/// Of each of [`ARCS_MAX`] equal slices of the key space the owner of its middle; neighbours of one owner become one
/// arc. Over all slices each node so has about its share. By who owns most of a slice, the heaviest node would have
/// nearly all of them as soon as many arcs fall into each.
fn coarsen(arcs: &[PlacementArc]) -> Vec<PlacementArc> {
    let slice = u64::try_from(POSITIONS / ARCS_MAX as u128).expect("there are many slices");
    let mut coarse: Vec<PlacementArc> = Vec::new();
    for start in (0..ARCS_MAX as u64).map(|number| number * slice) {
        let after = arcs.partition_point(|arc| arc.start <= start + slice / 2);
        // What precedes the first arc belongs to the last one, which reaches across zero.
        let node = arcs[after.checked_sub(1).unwrap_or(arcs.len() - 1)].node;
        if coarse.last().is_none_or(|last| last.node != node) {
            coarse.push(PlacementArc { start, node });
        }
    }
    coarse
}

const SVG: &str = "image/svg+xml";

/// Most arcs of an answer.
const ARCS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn arc(start: u64, node: usize) -> PlacementArc {
        PlacementArc { start, node }
    }

    #[test]
    fn a_slice_belongs_to_whoever_owns_its_middle() {
        let slice = u64::try_from(POSITIONS / ARCS_MAX as u128).unwrap();
        // The first slice: 1 owns a quarter from across zero, 0 half, 2 a quarter and all that follows until 1.
        let arcs = [arc(slice / 4, 0), arc(slice / 4 * 3, 2), arc(slice * 5 + 1, 1)];
        assert_eq!(coarsen(&arcs), [arc(0, 0), arc(slice, 2), arc(slice * 5, 1)]);
        assert_eq!(coarsen(&[arc(slice * 2, 0), arc(slice * 3, 1)]), [arc(0, 1), arc(slice * 2, 0), arc(slice * 3, 1)]);
    }

    #[test]
    fn a_heavy_node_has_no_more_of_many_small_arcs_than_its_share() {
        // Seven pieces to a round, of which node 0 owns three.
        let owners = [0, 1, 0, 2, 0, 3, 4];
        let piece = u64::try_from(POSITIONS / (1 << 16)).unwrap();
        let arcs: Vec<_> =
            (0..1 << 16).zip(owners.into_iter().cycle()).map(|(at, node)| arc(at * piece, node)).collect();
        let coarse = coarsen(&arcs);
        let ends = coarse.iter().skip(1).map(|arc| u128::from(arc.start)).chain([POSITIONS]);
        let owned =
            coarse.iter().zip(ends).filter(|(arc, _)| arc.node == 0).map(|(arc, end)| end - u128::from(arc.start));
        let share = owned.sum::<u128>() as f64 / POSITIONS as f64;
        assert!((share - 3.0 / 7.0).abs() < 0.01, "{share}");
    }

    #[test]
    fn a_sole_owner_stays_one_arc() {
        assert_eq!(coarsen(&[arc(0, 3)]), [arc(0, 3)]);
    }

    #[test]
    fn the_picture_comes_to_who_asks_for_it_first() {
        for (accept, picture) in [
            ("image/svg+xml", true),
            ("image/svg+xml;q=1, */*", true),
            ("application/json, image/svg+xml", false),
            ("*/*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(wants_picture(&headers), picture, "{accept:?}");
        }
    }
}
