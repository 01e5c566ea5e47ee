//! Who owns a pool's membership, and what it starts with.

use crate::cluster::log::Action;
use crate::cluster::log::Event;
use crate::cluster::log::History;
use crate::cluster::membership::Change;
use crate::cluster::membership::Membership;
use crate::cluster::membership::Reason;
use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::cluster::node::NodeName;
use crate::placement::PlacementSettings;
use crate::placement::WEIGHT_MAX;
use crate::placement::dialect::Kind;
use crate::placement::settings::CAPS;
use crate::placement::settings::Cap;
use crate::placement::settings::Slots;
use crate::placement::settings::VNODES_DEFAULT;
use crate::placement::settings::VNODES_MAX;
use crate::proxy::settings::PoolSettings;
use crate::section::Mistake;
use crate::section::Printer;
use crate::section::Section;
use crate::section::Span;
use crate::section::Value;

/// One `[[pool]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// What the pool does with its requests.
    pub settings: PoolSettings,
    /// Who its nodes are.
    pub source: MembershipSource,
}

impl PoolConfig {
    /// Brings the known past of this pool to what the file says: by its first event, or, where the file owns the
    /// pool, by an event with the edits. Returns the history with that event folded in, and the event if there is one.
    ///
    /// # Errors
    /// When the past refuses the event; the text says why.
    pub fn follow(&self, known: Option<History>, at_ms: u64) -> Result<(History, Option<Event>), String> {
        let (name, target) = (&self.settings.name, &self.source.membership);
        let mut history = known.unwrap_or_else(|| History::empty(name, target.placement));
        let changes = match self.source.owner {
            _ if history.epoch() == 0 => target.founding_changes(),
            Owner::File => history.membership().changes_to(target),
            Owner::Store => Vec::new(),
        };
        if changes.is_empty() {
            return Ok((history, None));
        }
        let event = Event {
            pool: name.clone(),
            epoch: history.epoch() + 1,
            at_ms,
            actor: "config".to_owned(),
            reason: None,
            action: Action::Changes(changes),
        };
        history.push(event.clone())?;
        Ok((history, Some(event)))
    }

    /// The changes that lead from what the file says to what the store holds, for a pool that the store owns: there
    /// `initial-nodes` and `placement` count at epoch 1 only.
    pub fn drift(&self, history: &History) -> Vec<Change> {
        match self.source.owner {
            Owner::Store => self.source.membership.changes_to(history.membership()),
            Owner::File => Vec::new(),
        }
    }
}

/// `nodes` or `initial-nodes` of a pool, with its `placement`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipSource {
    /// Who may change the membership.
    pub owner: Owner,
    /// `nodes` or `initial-nodes` as a membership.
    pub membership: Membership,
}

impl MembershipSource {
    /// Reads `placement`, and `nodes` or `initial-nodes`, of one `[[pool]]`.
    pub fn read(section: &mut Section<'_>) -> Option<MembershipSource> {
        let placement = read_placement(section);
        let of_file = section.tables("nodes", |node| read_node(node, Owner::File));
        let of_store = section.tables("initial-nodes", |node| read_node(node, Owner::Store));
        let (owner, nodes) = match (section.gives("nodes"), section.gives("initial-nodes")) {
            (true, false) => (Owner::File, of_file),
            (false, true) => (Owner::Store, of_store),
            (given, _) => {
                report_owner(section, given);
                return None;
            }
        };
        if report_twins(section, placement, &nodes) {
            return None;
        }
        let nodes: Option<Vec<(Node, Span)>> = nodes.into_iter().map(|read| Some((read.node?, read.place))).collect();
        let membership = assemble(section, placement?, nodes?)?;
        Some(MembershipSource { owner, membership })
    }

    /// Writes `placement` and the nodes.
    pub fn print(&self, printer: &mut Printer) {
        printer.set_inline("placement", print_placement(self.membership.placement));
        printer.set_tables(self.owner.setting(), self.membership.nodes().iter().map(print_node));
    }
}

/// Who may change the membership of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `nodes`: the file owns the pool; the API may not write.
    File,
    /// `initial-nodes`: the store owns the pool after epoch 1.
    Store,
}

impl Owner {
    /// The setting that makes this the owner.
    pub fn setting(self) -> &'static str {
        match self {
            Owner::File => "nodes",
            Owner::Store => "initial-nodes",
        }
    }
}

/// Parses `NAME=ADDRESS[,weight=W][,zone=Z][,placement-id=I]`, as the command line names a node.
pub fn parse_node_argument(written: &str) -> Result<Node, String> {
    let mut parts = written.split(',');
    let (name, address) = parts
        .next()
        .and_then(|first| first.split_once('='))
        .ok_or_else(|| format!("`{written}` does not name a node; write NAME=ADDRESS, such as a=10.0.0.10:3000"))?;
    let mut node = Node {
        name: NodeName::try_from(name.to_owned())?,
        address: NodeAddress::try_from(address.to_owned())?,
        weight: 1,
        zone: None,
        placement_id: None,
        draining: false,
    };
    for part in parts {
        match part.split_once('=') {
            Some(("weight", weight)) => node.weight = parse_weight(weight)?,
            Some(("zone", zone)) => node.zone = Some(zone.to_owned()),
            Some(("placement-id", id)) => node.placement_id = Some(id.to_owned()),
            _ => {
                return Err(format!(
                    "unknown part `{part}` of node `{name}`; known are weight=W, zone=Z and placement-id=I"
                ));
            }
        }
    }
    Ok(node)
}

/// Neither or both of `nodes` and `initial-nodes` are given.
fn report_owner(section: &Section<'_>, both: bool) {
    section.report(if both {
        let message = "both `nodes` and `initial-nodes` are given; keep `nodes` if this file owns the \
                       membership, `initial-nodes` if the admin API changes it";
        Mistake::new(section.place_of_key("initial-nodes"), message)
            .with_note(section.place_of_key("nodes"), "`nodes` is given here")
    } else {
        let message = "the pool has neither `initial-nodes` nor `nodes`; give `initial-nodes` if the admin \
                       API is to change the membership, `nodes` if only this file may";
        Mistake::new(section.place_of("name"), message)
    });
}

/// A node as far as it could be read: its name is compared with the others even where the rest is wrong.
struct ReadNode {
    name: NodeName,
    /// Where the name stands.
    place: Span,
    node: Option<Node>,
}

fn read_node(section: &mut Section<'_>, owner: Owner) -> Option<ReadNode> {
    let name = section.required("name", "name = \"a\"");
    let name = name.and_then(|name| name.parse(|name| NodeName::try_from(name.to_owned())));
    let address = section.required("address", "address = \"10.0.0.10:3000\"");
    let address = address.and_then(|value| value.parse(|text| NodeAddress::try_from(text.to_owned())));
    let weight = section.integer("weight", 1, 0..=WEIGHT_MAX);
    let zone = section.string("zone");
    let placement_id = section.string("placement-id");
    let draining = match owner {
        Owner::File => section.boolean("drain", false),
        Owner::Store => {
            section.refuse(&["drain"], "has no meaning in `initial-nodes`; use `ringway node drain`");
            false
        }
    };
    let name = name?;
    let node = address.map(|address| Node { name: name.clone(), address, weight, zone, placement_id, draining });
    Some(ReadNode { name, place: section.place_of("name"), node })
}

fn read_placement(section: &mut Section<'_>) -> Option<PlacementSettings> {
    let Some(value) = section.value("placement") else {
        return Some(PlacementSettings::default());
    };
    if value.is_string() {
        return value.parse(str::parse);
    }
    value.section(|section| {
        section.refuse(&["max-points"], "is not available yet; remove it");
        let kind = section.required("kind", "kind = \"ring\"").and_then(|kind| kind.parse(PlacementSettings::of_kind));
        let vnodes = section.integer("vnodes", VNODES_DEFAULT, 1..=VNODES_MAX);
        let slots = section.value("slots").map_or(Some(Slots::default()), |slots| read_slots(&slots));
        let cap = section.decimal("cap", Cap::default().thousandths(), CAPS);
        let of_dialects = read_dialect(section);
        let kind = kind?;
        let named = ["cap", "slots", "vnodes"].into_iter().chain(of_dialects.iter().map(|(name, _)| *name));
        for name in named.filter(|name| section.gives(name) && !kind.names().contains(name)) {
            section.report(Mistake::new(section.place_of_key(name), kind.has_no(name)));
        }
        match kind {
            PlacementSettings::Ring { .. } => Some(PlacementSettings::Ring { vnodes }),
            PlacementSettings::Table { .. } => {
                Some(PlacementSettings::Table { slots: slots?, cap: Cap::of_thousandths(cap).ok()? })
            }
            dialect => with_settings(section, dialect, of_dialects),
        }
    })?
}

/// The settings of other programs' placements that are given; those that are none of their kind stand without a value.
fn read_dialect(section: &mut Section<'_>) -> Vec<(&'static str, Option<serde_json::Value>)> {
    let mut given = Vec::new();
    let mut read = |name, value_of: fn(&Value<'_>) -> Option<serde_json::Value>| {
        given.extend(section.value(name).map(|value| (name, value_of(&value))));
    };
    read("avalanche", |value| value.boolean().map(Into::into));
    for name in ["hash", "hash-key"] {
        read(name, |value| value.string().map(Into::into));
    }
    for name in ["maximum-size", "minimum-size", "table-size"] {
        read(name, |value| value.integer(0..=u32::MAX).map(Into::into));
    }
    given
}

/// A kind with those of the settings that it has.
fn with_settings(
    section: &Section<'_>,
    kind: PlacementSettings,
    given: Vec<(&'static str, Option<serde_json::Value>)>,
) -> Option<PlacementSettings> {
    let own = given.into_iter().filter(|(name, _)| kind.names().contains(name));
    let checked = own.map(|(name, value)| {
        let setting = (name, value?);
        let read = kind.with(std::slice::from_ref(&setting));
        read.map_err(|(_, message)| section.report(Mistake::new(section.place_of(name), message))).ok()?;
        Some(setting)
    });
    // All of them are looked at, whatever is wrong with one.
    let checked: Vec<Option<(&str, serde_json::Value)>> = checked.collect();
    kind.with(&checked.into_iter().collect::<Option<Vec<_>>>()?).ok()
}

fn read_slots(value: &Value<'_>) -> Option<Slots> {
    let slots = Slots::try_from(value.integer(0..=u32::MAX)?);
    slots.map_err(|message| value.refuse(message)).ok()
}

/// A placement as the settings of an inline table.
pub fn print_placement(placement: PlacementSettings) -> Vec<(&'static str, toml::Value)> {
    let toml_of = |value: serde_json::Value| match value {
        serde_json::Value::Bool(flag) => flag.into(),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        other => other.as_str().unwrap_or_default().into(),
    };
    let settings = placement.values().into_iter().map(|(name, value)| (name, toml_of(value)));
    std::iter::once(("kind", placement.kind().into())).chain(settings).collect()
}

/// Puts the membership together, which refuses a placement that cannot be built.
fn assemble(section: &Section<'_>, placement: PlacementSettings, nodes: Vec<(Node, Span)>) -> Option<Membership> {
    let (nodes, places): (Vec<Node>, Vec<Span>) = nodes.into_iter().unzip();
    let refused = match Membership::with_nodes(placement, nodes) {
        Ok(membership) => return Some(membership),
        Err(refused) => refused,
    };
    let place = match (&refused.reason, refused.index) {
        (Reason::Build(_), _) | (_, None) => section.place_of("placement"),
        (_, Some(index)) => places[index],
    };
    section.report(Mistake::new(place, refused.to_string()));
    None
}

/// Reports names and placement-ids given twice, showing both places; whether there were any.
fn report_twins(section: &Section<'_>, placement: Option<PlacementSettings>, nodes: &[ReadNode]) -> bool {
    let names: Vec<_> = nodes.iter().map(|read| (&read.name, read.place)).collect();
    let same_name = section.report_repeated(&names, |name| {
        format!("the pool already has a node `{name}`; give one of them another name, or remove it")
    });
    let Some(placement) = placement.filter(|placement| !placement.dialect().is_some_and(Kind::ids_may_repeat)) else {
        return same_name;
    };
    let id = |read: &ReadNode| Some((read.node.as_ref()?.placement_id(placement).into_owned(), read.place));
    let ids: Vec<_> = nodes.iter().filter_map(id).filter(|(id, _)| !id.is_empty()).collect();
    same_name
        || section.report_repeated(&ids, |id| {
            format!("the pool already has a node with placement-id `{id}`; give one of them another placement-id")
        })
}

/// A node as the settings of an inline table.
pub fn print_node(node: &Node) -> Vec<(&'static str, toml::Value)> {
    let mut settings: Vec<(&'static str, toml::Value)> = vec![
        ("name", node.name.to_string().into()),
        ("address", node.address.to_string().into()),
        ("weight", node.weight.into()),
    ];
    settings.extend(node.zone.as_deref().map(|zone| ("zone", zone.into())));
    settings.extend(node.placement_id.as_deref().map(|id| ("placement-id", id.into())));
    settings.extend(node.draining.then(|| ("drain", true.into())));
    settings
}

fn parse_weight(written: &str) -> Result<u32, String> {
    let weight = written.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
    weight.ok_or_else(|| format!("`{written}` is not a weight; write a whole number from 0 to {WEIGHT_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_argument_reads_all_its_parts() {
        let node = parse_node_argument("b=10.0.0.11:3000,weight=2,zone=b,placement-id=7").unwrap();
        assert_eq!(node.name.as_str(), "b");
        assert_eq!(node.address.to_string(), "10.0.0.11:3000");
        assert_eq!((node.weight, node.zone.as_deref(), node.placement_id.as_deref()), (2, Some("b"), Some("7")));
    }

    #[test]
    fn a_node_argument_that_is_wrong_says_what_to_write() {
        for (written, expected) in [
            ("10.0.0.1:80", "write NAME=ADDRESS"),
            ("a b=10.0.0.1:80", "node name"),
            ("a=10.0.0.1", "10.0.0.1"),
            ("a=10.0.0.1:80,weigth=2", "known are weight=W"),
            ("a=10.0.0.1:80,weight=1001", "from 0 to 1000"),
        ] {
            let error = parse_node_argument(written).unwrap_err();
            assert!(error.contains(expected), "{written}: {error}");
        }
    }
}
