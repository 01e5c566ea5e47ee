//! What happens to the nodes of a simulated pool.

use crate::cluster::membership::Change;
use crate::cluster::membership::Membership;
use crate::cluster::node::Node;
use crate::placement::hash;
use crate::section::nearest;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// A change that is simulated. Which nodes it is about follows from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum ChangeKind {
    /// A node more, as heavy as one of the others.
    Add,
    /// A node less.
    Remove,
    /// A tenth of the nodes less, one at least.
    RemoveTenth,
    /// A new node instead of another, as heavy as that.
    Replace,
    /// A node of twice its weight; of half of it where the placement does not take twice.
    Reweight,
}

impl ChangeKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [ChangeKind; 5] =
        [ChangeKind::Add, ChangeKind::Remove, ChangeKind::Reweight, ChangeKind::Replace, ChangeKind::RemoveTenth];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            ChangeKind::Add => "add",
            ChangeKind::Remove => "remove",
            ChangeKind::RemoveTenth => "remove-10%",
            ChangeKind::Replace => "replace",
            ChangeKind::Reweight => "reweight",
        }
    }

    /// The changes to a membership, of whose nodes the first in `order` are chosen; `newcomer` is none of them.
    pub(super) fn of(self, membership: &Membership, order: &[usize], newcomer: &Node) -> Vec<Change> {
        let node = |place: usize| &membership.nodes()[order[place]];
        let remove = |place: usize| Change::Remove { name: node(place).name.clone() };
        match self {
            ChangeKind::Add => vec![Change::Add(newcomer.clone())],
            ChangeKind::Remove => vec![remove(0)],
            ChangeKind::RemoveTenth => (0..(order.len() / 10).max(1)).map(remove).collect(),
            ChangeKind::Replace => vec![remove(0), Change::Add(newcomer.clone())],
            ChangeKind::Reweight => {
                let Node { name, weight, .. } = node(0);
                vec![Change::Weight { name: name.clone(), weight: 2 * weight }]
            }
        }
    }

    /// What to do instead where that is refused.
    pub(super) fn instead(self, membership: &Membership, order: &[usize]) -> Option<Vec<Change>> {
        let Node { name, weight, .. } = &membership.nodes()[order[0]];
        let is_lighter = self == ChangeKind::Reweight && *weight > 1;
        is_lighter.then(|| vec![Change::Weight { name: name.clone(), weight: weight / 2 }])
    }
}

impl From<ChangeKind> for &'static str {
    fn from(change: ChangeKind) -> &'static str {
        change.name()
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The error is a sentence for the user.
impl FromStr for ChangeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<ChangeKind, String> {
        let names = ChangeKind::ALL.map(ChangeKind::name);
        let known = ChangeKind::ALL.into_iter().find(|change| change.name() == text);
        known.ok_or_else(|| match nearest(text, names) {
            Some(name) => format!("`{text}` is no change; did you mean `{name}`?"),
            None => format!("`{text}` is no change; use some of {}", names.join(", ")),
        })
    }
}

/// The numbers below `count` in an order that only the seed decides.
pub(super) fn in_random_order(seed: u32, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|number| hash::position(format!("order {seed} {number}").as_bytes()));
    order
}
