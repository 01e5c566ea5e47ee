//! The nodes of a pool, and what may be changed about them.

use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::cluster::node::NodeName;
use crate::cluster::node::PLACEMENT_ID_BYTES_MAX;
use crate::cluster::node::ZONE_CHARS_MAX;
use crate::placement::BuildError;
use crate::placement::Fingerprint;
use crate::placement::MAX_NODES;
use crate::placement::PlacedNode;
use crate::placement::Placement;
use crate::placement::PlacementSettings;
use crate::placement::WEIGHT_MAX;
use crate::placement::dialect::Kind;
use crate::placement::hash;
use crate::placement::plan;
use crate::section::nearest;
use serde::Deserialize;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::HashSet;

pub use crate::cluster::refusal::Reason;
pub use crate::cluster::refusal::Refused;

/// The nodes of a pool in the order in which they were added, and its placement settings.
///
/// A value: it is never changed, only replaced by what [`Membership::apply`] returns. Names and placement-ids are
/// unique, weights and zones within their limits, also when it was read from JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "UncheckedMembership")]
pub struct Membership {
    /// How keys are placed on the nodes.
    pub placement: PlacementSettings,
    nodes: Vec<Node>,
}

/// One change; in JSON `{"add":{...}}`, `{"remove":{"name":"b"}}` and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// Adds a node behind the others; refused when the name is taken, even by an equal node.
    Add(Node),
    /// Gives a node another address, which moves no key: where the placement hashes addresses, the node keeps the one
    /// it had as its placement-id.
    Address {
        /// The node.
        name: NodeName,
        /// Where it listens from now on.
        #[schema(value_type = String)]
        address: NodeAddress,
    },
    /// Takes a node out of the placement and keeps its weight; a draining node stays so.
    Drain {
        /// The node.
        name: NodeName,
    },
    /// Switches how keys are placed.
    Placement(PlacementSettings),
    /// Forgets a node.
    Remove {
        /// The node.
        name: NodeName,
    },
    /// Takes a drain back: the placement is exactly what it was before; an active node stays so.
    Undrain {
        /// The node.
        name: NodeName,
    },
    /// Changes a node's share.
    Weight {
        /// The node.
        name: NodeName,
        /// 1 to 1,000, or 0 to take the node out of the placement, as a drain does.
        weight: u32,
    },
    /// Says where a node stands.
    Zone {
        /// The node.
        name: NodeName,
        /// At most 128 printable characters; none to forget it.
        zone: Option<String>,
    },
}

impl Change {
    /// The node that it changes; `None` for one of the placement.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Change::Add(node) => Some(&node.name),
            Change::Address { name, .. }
            | Change::Drain { name }
            | Change::Remove { name }
            | Change::Undrain { name }
            | Change::Weight { name, .. }
            | Change::Zone { name, .. } => Some(name),
            Change::Placement(_) => None,
        }
    }
}

impl Membership {
    /// A pool without nodes.
    pub fn new(placement: PlacementSettings) -> Membership {
        Membership { placement, nodes: Vec::new() }
    }

    /// A pool with these nodes; the index of a refusal is that of the node.
    pub fn with_nodes(placement: PlacementSettings, nodes: Vec<Node>) -> Result<Membership, Refused> {
        let additions: Vec<Change> = nodes.into_iter().map(Change::Add).collect();
        Membership::new(placement).apply(&additions)
    }

    /// All nodes, the ones out of the placement too, in the order in which they were added.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of that name.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == *name)
    }

    /// What becomes of this membership: all changes or none. A change that changes nothing is fine.
    ///
    /// Refuses what the semantics of the single changes refuse, and everything that [`Placement::build`] refuses.
    /// Whether the result is *wise* is for [`check_safe`].
    pub fn apply(&self, changes: &[Change]) -> Result<Membership, Refused> {
        let mut after = self.clone();
        after.replay(changes)?;
        if after != *self {
            after.check_placement_ids(changes)?;
            let only_change = (changes.len() == 1).then_some(0);
            let checked = Placement::check(after.placement, after.placed_nodes());
            checked.map_err(|error| Refused { index: only_change, reason: Reason::Build(error) })?;
        }
        Ok(after)
    }

    /// The changes that lead from this membership to `target`, as few as do: the placement switch, then removals,
    /// additions, and single fields. Where the target's placement depends on the order of the nodes, those that stand
    /// elsewhere are removed and added again behind the others; where it does not, their order is left as it is.
    pub fn changes_to(&self, target: &Membership) -> Vec<Change> {
        let kept = self.kept_by(target);
        let kept = |name: &NodeName| kept.get(name).copied();
        let mut changes = Vec::new();
        if self.placement != target.placement {
            changes.push(Change::Placement(target.placement));
        }
        let removed = self.nodes.iter().filter(|node| kept(&node.name).is_none());
        changes.extend(removed.map(|node| Change::Remove { name: node.name.clone() }));
        let added = target.nodes.iter().filter(|node| kept(&node.name).is_none());
        changes.extend(added.cloned().map(Change::Add));
        let edited = self.nodes.iter().filter_map(|node| kept(&node.name));
        changes.extend(edited.flat_map(|(from, to)| edits(from, to)));
        changes
    }

    /// The nodes that can stay where they are, as they are here and there: a node is added behind all others.
    fn kept_by<'a>(&'a self, target: &'a Membership) -> HashMap<&'a NodeName, (&'a Node, &'a Node)> {
        let present: HashMap<&NodeName, usize> = self.nodes.iter().map(|node| &node.name).zip(0..).collect();
        let pairs = target.nodes.iter().map(|to| {
            let place = *present.get(&to.name)?;
            let from = &self.nodes[place];
            can_become(from, to, target.placement).then_some((place, from, to))
        });
        if target.placement.dialect().is_none() {
            return pairs.flatten().map(|(_, from, to)| (&to.name, (from, to))).collect();
        }
        let mut next = 0;
        let in_order =
            pairs.map_while(|pair| pair.filter(|(place, ..)| *place >= next).inspect(|(place, ..)| next = place + 1));
        in_order.map(|(_, from, to)| (&to.name, (from, to))).collect()
    }

    /// The changes that make this membership out of a pool without nodes: the placement first, then every node.
    /// The first event of a pool is made of them.
    pub fn founding_changes(&self) -> Vec<Change> {
        let additions = self.nodes.iter().cloned().map(Change::Add);
        std::iter::once(Change::Placement(self.placement)).chain(additions).collect()
    }

    /// Builds the placement of the placed nodes.
    pub fn build(&self) -> Result<Placement, BuildError> {
        Placement::build(self.placement, self.placed_nodes())
    }

    /// What [`Membership::build`] builds, sooner where `previous` is much like it.
    pub fn rebuild(&self, previous: &Placement) -> Result<Placement, BuildError> {
        previous.rebuild(self.placement, self.placed_nodes())
    }

    fn placed_nodes(&self) -> Vec<PlacedNode> {
        let placed = self.nodes.iter().filter(|node| node.is_placed()).map(|node| PlacedNode {
            name: node.name.to_string(),
            placement_id: node.placement_id(self.placement).into_owned(),
            weight: node.weight,
        });
        placed.collect()
    }

    /// Digest of name to address of all nodes, in the form of a fingerprint; the order of the nodes does not count.
    pub fn routes(&self) -> Fingerprint {
        let mut routes: Vec<String> =
            self.nodes.iter().map(|node| format!("{}\n{}\n", node.name, node.address)).collect();
        routes.sort_unstable();
        Fingerprint(hash::position(routes.concat().as_bytes()))
    }

    /// Makes changes in place, trusting that [`Membership::apply`] let them pass before: it checks names and fields
    /// but builds no placement. When it refuses, a part of the changes may have been made.
    pub(super) fn replay(&mut self, changes: &[Change]) -> Result<(), Refused> {
        for (index, change) in changes.iter().enumerate() {
            self.make(change).map_err(|reason| Refused { index: Some(index), reason })?;
        }
        Ok(())
    }

    fn make(&mut self, change: &Change) -> Result<(), Reason> {
        match change {
            Change::Add(node) => self.add(node.clone())?,
            Change::Address { name, address } => self.readdress(name, address)?,
            Change::Drain { name } => self.node_mut(name)?.draining = true,
            Change::Placement(settings) => self.placement = *settings,
            Change::Remove { name } => {
                self.node_mut(name)?;
                self.nodes.retain(|node| node.name != *name);
            }
            Change::Undrain { name } => {
                let node = self.node_mut(name)?;
                if node.weight == 0 {
                    return Err(Reason::NoWeight { name: name.clone() });
                }
                node.draining = false;
            }
            Change::Weight { name, weight } => {
                let node = self.node_mut(name)?;
                check_weight(name, *weight)?;
                node.weight = *weight;
            }
            Change::Zone { name, zone } => {
                let node = self.node_mut(name)?;
                check_zone(name, zone.as_deref())?;
                node.zone = zone.clone();
            }
        }
        Ok(())
    }

    /// A scan over the names, which even for the first event of 10,000 nodes costs less than their placement.
    fn add(&mut self, node: Node) -> Result<(), Reason> {
        if self.node(&node.name).is_some() {
            return Err(Reason::DuplicateName { name: node.name });
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(Reason::TooManyNodes);
        }
        check_weight(&node.name, node.weight)?;
        check_zone(&node.name, node.zone.as_deref())?;
        match node.placement_id.as_ref().map(String::len) {
            Some(bytes) if !(1..=PLACEMENT_ID_BYTES_MAX).contains(&bytes) => {
                return Err(Reason::BadPlacementId { name: node.name, bytes });
            }
            _ => {}
        }
        self.nodes.push(node);
        Ok(())
    }

    /// A node that is placed by its address goes on being placed by the one it had.
    fn readdress(&mut self, name: &NodeName, address: &NodeAddress) -> Result<(), Reason> {
        let placement = self.placement;
        let node = self.node_mut(name)?;
        if node.address != *address && node.is_placed_by_address(placement) {
            node.placement_id = Some(node.placement_id(placement).into_owned());
        }
        node.address = address.clone();
        Ok(())
    }

    fn node_mut(&mut self, name: &NodeName) -> Result<&mut Node, Reason> {
        match self.nodes.iter().position(|node| node.name == *name) {
            Some(position) => Ok(&mut self.nodes[position]),
            None => Err(Reason::UnknownNode { name: name.clone(), nearest: self.nearest(name) }),
        }
    }

    fn nearest(&self, name: &NodeName) -> Option<NodeName> {
        let found = nearest(name.as_str(), self.nodes.iter().map(|node| node.name.as_str()))?;
        self.nodes.iter().map(|node| &node.name).find(|known| known.as_str() == found).cloned()
    }

    /// Looks at all nodes, the drained ones too: they would collide when they come back. Blames the later addition.
    fn check_placement_ids(&self, changes: &[Change]) -> Result<(), Refused> {
        if self.placement.dialect().is_some_and(Kind::ids_may_repeat) {
            return Ok(());
        }
        let mut holders: HashMap<Cow<'_, str>, &NodeName> = HashMap::new();
        for node in &self.nodes {
            let id = node.placement_id(self.placement);
            // What is missing is refused when the placement is built.
            let Some(holder) = holders.insert(id.clone(), &node.name).filter(|_| !id.is_empty()) else {
                continue;
            };
            let adds_node = |change: &Change| matches!(change, Change::Add(added) if added.name == node.name);
            let (name, id, holder) = (node.name.clone(), id.into_owned(), holder.clone());
            return Err(Refused {
                index: changes.iter().rposition(adds_node),
                reason: Reason::DuplicatePlacementId { name, id, holder },
            });
        }
        Ok(())
    }
}

/// Refuses, until it is forced, what an operator seldom means: to take out the last placed node, to take out more
/// than half of the ownership at once, or a placement switch that moves more than half of the keys.
///
/// Ownership counts by weight, which is what the nodes are entitled to: by exact shares, taking out one of two equal
/// nodes would be refused for the one of them that the hash happens to favour.
pub fn check_safe(before: (&Membership, &Placement), after: (&Membership, &Placement)) -> Result<(), Refused> {
    let refused = |reason| Err(Refused { index: None, reason });
    let still_placed: HashSet<&NodeName> = placed(after.0).map(|node| &node.name).collect();
    let is_taken_out = |node: &&Node| !still_placed.contains(&node.name);
    if let Some(last) = placed(before.0).last().filter(|_| still_placed.is_empty()) {
        return refused(Reason::UnsafeLastNode { name: last.name.clone() });
    }
    let taken_out: u32 = placed(before.0).filter(is_taken_out).map(|node| node.weight).sum();
    let total: u32 = placed(before.0).map(|node| node.weight).sum();
    let ratio = f64::from(taken_out) / f64::from(total.max(1));
    if ratio > UNSAFE_RATIO {
        return refused(Reason::UnsafeOwnership { ratio });
    }
    if total > 0 && before.0.placement != after.0.placement {
        let ratio = plan::moved_ratio(before.1, after.1);
        if ratio > UNSAFE_RATIO {
            return refused(Reason::UnsafePlacement { ratio });
        }
    }
    Ok(())
}

/// A membership as it stands in JSON, before its rules were checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedMembership {
    placement: PlacementSettings,
    nodes: Vec<Node>,
}

impl TryFrom<UncheckedMembership> for Membership {
    type Error = Refused;

    fn try_from(unchecked: UncheckedMembership) -> Result<Membership, Refused> {
        let additions: Vec<Change> = unchecked.nodes.into_iter().map(Change::Add).collect();
        let mut membership = Membership::new(unchecked.placement);
        membership.replay(&additions)?;
        membership.check_placement_ids(&additions)?;
        Ok(membership)
    }
}

fn placed(membership: &Membership) -> impl Iterator<Item = &Node> {
    membership.nodes.iter().filter(|node| node.is_placed())
}

/// Whether changes of single fields lead from one node to the other under `placement`; if not, the node must be removed
/// and added. A change of its address is none where that is hashed: the node would keep the one it had.
fn can_become(from: &Node, to: &Node, placement: PlacementSettings) -> bool {
    let undrain_without_weight = from.draining && !to.draining && from.weight == 0 && to.weight == 0;
    let keeps_address = from.address == to.address || !to.is_placed_by_address(placement);
    from.placement_id == to.placement_id && keeps_address && !undrain_without_weight
}

/// The changes of single fields that lead from one node to the other.
fn edits(from: &Node, to: &Node) -> impl Iterator<Item = Change> {
    let name = || to.name.clone();
    let address = (from.address != to.address).then(|| Change::Address { name: name(), address: to.address.clone() });
    let zone = (from.zone != to.zone).then(|| Change::Zone { name: name(), zone: to.zone.clone() });
    let weight = (from.weight != to.weight).then(|| Change::Weight { name: name(), weight: to.weight });
    let state = (from.draining != to.draining).then(|| match to.draining {
        true => Change::Drain { name: name() },
        false => Change::Undrain { name: name() },
    });
    // An undrain is refused at weight 0, so it stands where the weight is over 0.
    let weight_and_state = if from.weight == 0 { [weight, state] } else { [state, weight] };
    [address, zone].into_iter().chain(weight_and_state).flatten()
}

fn check_weight(name: &NodeName, weight: u32) -> Result<(), Reason> {
    match weight {
        0..=WEIGHT_MAX => Ok(()),
        _ => Err(Reason::BadWeight { name: name.clone(), weight }),
    }
}

fn check_zone(name: &NodeName, zone: Option<&str>) -> Result<(), Reason> {
    let is_fine =
        |zone: &str| (1..=ZONE_CHARS_MAX).contains(&zone.chars().count()) && !zone.chars().any(char::is_control);
    match zone {
        Some(zone) if !is_fine(zone) => Err(Reason::BadZone { name: name.clone(), zone: zone.to_owned() }),
        _ => Ok(()),
    }
}

/// A change that takes out or moves more than this share at once must be forced.
const UNSAFE_RATIO: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        let json = format!(r#"{{"name":"{name}","address":"{name}.example:80"}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn pool(names: &[&str]) -> Membership {
        let nodes = names.iter().map(|name| node(name)).collect();
        Membership::with_nodes(PlacementSettings::Ring { vnodes: 16 }, nodes).unwrap()
    }

    fn change(json: &str) -> Change {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn changes_have_the_json_forms_of_the_api() {
        for json in [
            r#"{"add":{"name":"a","address":"10.0.0.1:80","weight":2,"zone":"b","placement_id":"x"}}"#,
            r#"{"address":{"name":"a","address":"unix:/run/a.sock"}}"#,
            r#"{"drain":{"name":"a"}}"#,
            r#"{"placement":{"kind":"ring","vnodes":64}}"#,
            r#"{"remove":{"name":"a"}}"#,
            r#"{"undrain":{"name":"a"}}"#,
            r#"{"weight":{"name":"a","weight":3}}"#,
            r#"{"zone":{"name":"a","zone":null}}"#,
        ] {
            assert_eq!(serde_json::to_string(&change(json)).unwrap(), json);
        }
        for json in [r#"{"drain":{"name":"a","now":true}}"#, r#"{"drain":{"name":"a/b"}}"#, r#"{"evict":{}}"#] {
            assert!(serde_json::from_str::<Change>(json).is_err(), "{json} was accepted");
        }
    }

    #[test]
    fn a_refusal_knows_its_change_and_its_field() {
        let changes = [change(r#"{"drain":{"name":"a"}}"#), change(r#"{"weight":{"name":"b","weight":1001}}"#)];
        let refused = pool(&["a", "b"]).apply(&changes).unwrap_err();
        assert_eq!((refused.index, refused.field(), refused.is_unsafe()), (Some(1), Some("weight"), false));
    }

    #[test]
    fn a_zone_is_128_printable_characters_at_most() {
        let zone = |zone: String| Change::Zone { name: "a".parse().unwrap(), zone: Some(zone) };
        for fine in ["b".to_owned(), "\u{f6}".repeat(ZONE_CHARS_MAX)] {
            assert!(pool(&["a"]).apply(&[zone(fine.clone())]).is_ok(), "{fine:?}");
        }
        for wrong in [String::new(), "a\tb".to_owned(), "b".repeat(ZONE_CHARS_MAX + 1)] {
            let refused = pool(&["a"]).apply(&[zone(wrong.clone())]).unwrap_err();
            assert_eq!(refused.field(), Some("zone"), "{wrong:?}");
        }
    }

    #[test]
    fn a_membership_from_json_keeps_the_rules() {
        let json = serde_json::to_string(&pool(&["a", "b"])).unwrap();
        assert_eq!(serde_json::from_str::<Membership>(&json).unwrap(), pool(&["a", "b"]));
        for (from, to, why) in [
            (r#""name":"b""#, r#""name":"a""#, "exists"),
            (r#""weight":1"#, r#""weight":1001"#, "over 1000"),
            (r#""weight":1}]"#, r#""weight":1,"placement_id":"a"}]"#, "placement-id"),
        ] {
            let broken = json.replacen(from, to, 1);
            let error = serde_json::from_str::<Membership>(&broken).unwrap_err().to_string();
            assert!(error.contains(why), "{broken}: {error}");
        }
    }

    #[test]
    fn routes_follow_addresses_and_nothing_else() {
        let before = pool(&["a", "b"]);
        assert_eq!(before.routes(), pool(&["b", "a"]).routes());
        let reweighted = before.apply(&[change(r#"{"weight":{"name":"a","weight":9}}"#)]).unwrap();
        assert_eq!(before.routes(), reweighted.routes());
        let moved = before.apply(&[change(r#"{"address":{"name":"a","address":"c:80"}}"#)]).unwrap();
        assert_ne!(before.routes(), moved.routes());
    }

    #[test]
    fn a_pool_holds_10000_nodes_and_not_one_more() {
        let names: Vec<String> = (0..=MAX_NODES).map(|i| format!("node-{i:05}")).collect();
        let nodes: Vec<Node> = names.iter().map(|name| node(name)).collect();
        let tiny = PlacementSettings::Ring { vnodes: 1 };
        assert!(Membership::with_nodes(tiny, nodes[..MAX_NODES].to_vec()).is_ok());
        let refused = Membership::with_nodes(tiny, nodes).unwrap_err();
        assert_eq!((refused.index, refused.reason), (Some(MAX_NODES), Reason::TooManyNodes));
    }

    #[test]
    fn fewest_changes_lead_to_a_target_in_a_sensible_order() {
        let before = pool(&["gone", "moved", "renumbered", "same"]);
        let mut renumbered = node("renumbered");
        renumbered.placement_id = Some("7".to_owned());
        let mut moved = node("moved");
        moved.address = "elsewhere:80".parse().unwrap();
        let nodes = vec![node("same"), node("new"), renumbered, moved];
        let target = Membership::with_nodes(PlacementSettings::Ring { vnodes: 32 }, nodes).unwrap();
        let kinds: Vec<String> =
            before.changes_to(&target).iter().map(|change| serde_json::to_string(change).unwrap()).collect();
        assert_eq!(
            kinds,
            [
                r#"{"placement":{"kind":"ring","vnodes":32}}"#,
                r#"{"remove":{"name":"gone"}}"#,
                r#"{"remove":{"name":"renumbered"}}"#,
                r#"{"add":{"name":"new","address":"new.example:80","weight":1}}"#,
                r#"{"add":{"name":"renumbered","address":"renumbered.example:80","weight":1,"placement_id":"7"}}"#,
                r#"{"address":{"name":"moved","address":"elsewhere:80"}}"#,
            ]
        );
    }
}
