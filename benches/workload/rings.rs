//! Rings and tables of equal nodes, and keys and positions to look up in them.

use ringway::placement::PlacedNode;
use ringway::placement::Placement;
use ringway::placement::PlacementSettings;

/// So many equal nodes.
pub(crate) fn nodes(count: usize) -> Vec<PlacedNode> {
    let node = |number: usize| {
        let name = format!("node-{number}");
        PlacedNode { placement_id: name.clone(), name, weight: 1 }
    };
    (0..count).map(node).collect()
}

/// The ring of so many equal nodes, with the default number of vnodes.
pub(crate) fn ring(count: usize) -> Placement {
    Placement::build(PlacementSettings::default(), nodes(count)).expect("a ring of this size fits")
}

/// The settings of a table with so many slots.
pub(crate) fn table_settings(slots: u32) -> PlacementSettings {
    PlacementSettings::Table { slots: slots.try_into().expect("a power of two"), cap: Default::default() }
}

/// The table of so many equal nodes, with the default number of slots.
pub(crate) fn table(count: usize) -> Placement {
    Placement::build(table_settings(65_536), nodes(count)).expect("a table of this size fits")
}

/// Keys as long as an identifier often is, such as `room-4f1d9a02c7e65b38-eu1`.
pub(crate) fn keys(count: usize) -> Vec<[u8; 25]> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..count).map(|_| std::array::from_fn(|_| random.u8(b'a'..=b'z'))).collect()
}
