//! The placements that are tried on a log, and the placement-ids that nodes may have had there.

use crate::cluster::node::Node;
use crate::placement::PlacedNode;
use crate::placement::PlacementSettings;
use crate::placement::dialect::Kind;
use crate::placement::dialect::settings::EnvoyHash;
use crate::placement::dialect::settings::EnvoyRingHash;
use crate::placement::dialect::settings::Haproxy;
use crate::placement::dialect::settings::HaproxyHash;
use crate::placement::dialect::settings::HaproxyMap;
use crate::placement::dialect::settings::HashKey;
use crate::placement::dialect::settings::Twemproxy;
use crate::placement::dialect::settings::TwemproxyHash;
use serde::Serialize;

/// What is hashed for the nodes of a trial. The order is that of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ids {
    /// What the config says.
    Configured,
    /// What the kind hashes where nothing is said.
    Default,
    /// 1, 2, 3 in the order of the nodes, as HAProxy numbers its servers.
    Numbered,
    /// The address without the port 80, which nginx does not need.
    WithoutPort,
    /// The names.
    Names,
}

/// A placement to try, with the nodes that it is built of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The placement.
    pub settings: PlacementSettings,
    /// Where the placement-ids come from.
    pub ids: Ids,
    /// The nodes in the order of the pool.
    pub nodes: Vec<PlacedNode>,
}

/// All trials for a pool, the most plausible of equals first: its own placement, and every kind with every function and
/// with every placement-id that it may have had.
pub fn trials(configured: PlacementSettings, nodes: &[Node]) -> impl Iterator<Item = Trial> {
    let mut all = vec![configured];
    for settings in variations(configured).into_iter().chain(PlacementSettings::of_kinds().flat_map(variations)) {
        if !all.contains(&settings) {
            all.push(settings);
        }
    }
    all.into_iter().flat_map(|settings| of_settings(settings, nodes))
}

fn of_settings(settings: PlacementSettings, nodes: &[Node]) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    for ids in [Ids::Configured, Ids::Default, Ids::Numbered, Ids::WithoutPort, Ids::Names] {
        let Some(nodes) = ids.place(settings, nodes) else { continue };
        if trials.iter().all(|known| known.nodes != nodes) {
            trials.push(Trial { settings, ids, nodes });
        }
    }
    trials
}

impl Ids {
    /// What nodes would have to be given so that they have these ids, each with its name; `None`: none at all.
    pub(super) fn wanted(self, settings: PlacementSettings, nodes: &[Node]) -> Vec<(String, Option<String>)> {
        let placed = nodes.iter().zip(1..).filter(|(node, _)| node.is_placed());
        let ids = placed.map(|(node, number)| (node, self.of(settings, node, number)));
        let wanted = ids.filter(|(node, id)| node.placement_id(settings) != *id);
        let needed = |node, id| (id != Ids::Default.of(settings, node, 0)).then_some(id);
        wanted.map(|(node, id)| (node.name.to_string(), needed(node, id))).collect()
    }

    /// The nodes that take keys, with these ids; `None` where the placement never hashes such ids.
    fn place(self, settings: PlacementSettings, nodes: &[Node]) -> Option<Vec<PlacedNode>> {
        let kind = settings.dialect();
        let is_tried = match self {
            Ids::Configured | Ids::Default => true,
            Ids::Names => kind.is_some(),
            Ids::Numbered => kind.is_some_and(hashes_numbers),
            Ids::WithoutPort => matches!(kind, Some(Kind::Nginx)),
        };
        let placed = nodes.iter().zip(1..).filter(|(node, _)| node.is_placed()).map(|(node, number)| PlacedNode {
            name: node.name.to_string(),
            placement_id: self.of(settings, node, number),
            weight: node.weight,
        });
        is_tried.then(|| placed.collect())
    }

    fn of(self, settings: PlacementSettings, node: &Node, number: u32) -> String {
        let default = || Node { placement_id: None, ..node.clone() }.placement_id(settings).into_owned();
        match self {
            Ids::Configured => node.placement_id(settings).into_owned(),
            Ids::Default => default(),
            Ids::Names => node.name.to_string(),
            Ids::Numbered => number.to_string(),
            Ids::WithoutPort => {
                let address = default();
                address.strip_suffix(":80").map_or(address.clone(), str::to_owned)
            }
        }
    }
}

fn hashes_numbers(kind: Kind) -> bool {
    match kind {
        Kind::Haproxy(settings) | Kind::Haproxy30(settings) => {
            matches!(settings.hash_key, HashKey::Id | HashKey::Id32)
        }
        _ => false,
    }
}

/// A kind with every choice of function; its sizes stay, because there are too many.
fn variations(kind: PlacementSettings) -> Vec<PlacementSettings> {
    match kind {
        PlacementSettings::EnvoyRingHash(settings) => [EnvoyHash::Xxhash, EnvoyHash::Murmur2]
            .map(|hash| PlacementSettings::EnvoyRingHash(EnvoyRingHash { hash, ..settings }))
            .to_vec(),
        PlacementSettings::Haproxy(_) => haproxy(&HashKey::ALL).map(PlacementSettings::Haproxy).collect(),
        PlacementSettings::Haproxy30(_) => {
            let hash_keys = [HashKey::Id, HashKey::Addr, HashKey::AddrPort];
            haproxy(&hash_keys).map(PlacementSettings::Haproxy30).collect()
        }
        PlacementSettings::HaproxyMap(_) => {
            let functions = functions();
            functions.map(|(hash, avalanche)| PlacementSettings::HaproxyMap(HaproxyMap { hash, avalanche })).collect()
        }
        PlacementSettings::Twemproxy(_) => {
            TwemproxyHash::ALL.map(|hash| PlacementSettings::Twemproxy(Twemproxy { hash })).to_vec()
        }
        PlacementSettings::EnvoyMaglev(_)
        | PlacementSettings::IngressNginx
        | PlacementSettings::Ketama
        | PlacementSettings::Nginx
        | PlacementSettings::NginxModulo
        | PlacementSettings::Ring { .. }
        | PlacementSettings::Table { .. } => vec![kind],
    }
}

fn haproxy(hash_keys: &[HashKey]) -> impl Iterator<Item = Haproxy> {
    let with = |hash_key| functions().map(move |(hash, avalanche)| Haproxy { hash, avalanche, hash_key });
    hash_keys.iter().copied().flat_map(with)
}

fn functions() -> impl Iterator<Item = (HaproxyHash, bool)> {
    HaproxyHash::ALL.into_iter().flat_map(|hash| [(hash, true), (hash, false)])
}
