//! Placements that put every key exactly where another program puts it.
//!
//! Two shapes cover all of them: points on a circle, and a list of slots that hashes are spread over by division. What
//! is hashed for a node is its placement-id; the order of the nodes counts where it does in the original: between equal
//! points, in sums of floating-point numbers, and in lists of slots.

mod candidates;
mod circle;
mod envoy;
mod haproxy;
mod hash;
mod ketama;
mod memcached;
mod nginx;
mod refusal;
pub mod settings;
mod slots;

pub use crate::placement::dialect::candidates::Candidates;
pub(crate) use crate::placement::dialect::hash::POLICY_JOINT;
pub use crate::placement::dialect::refusal::Refusal;

use crate::placement::MAX_POINTS;
use crate::placement::PlacedNode;
use crate::placement::dialect::circle::Circle;
use crate::placement::dialect::haproxy::ServerHash;
use crate::placement::dialect::hash::KeyHash;
use crate::placement::dialect::ketama::Rounding;
use crate::placement::dialect::nginx::ServerText;
use crate::placement::dialect::settings::EnvoyMaglev;
use crate::placement::dialect::settings::EnvoyRingHash;
use crate::placement::dialect::settings::Haproxy;
use crate::placement::dialect::settings::HaproxyMap;
use crate::placement::dialect::settings::HashKey;
use crate::placement::dialect::settings::Twemproxy;
use crate::placement::dialect::slots::Slots;
use crate::placement::fingerprint::Digest;
use std::iter::FusedIterator;

/// Which program's placement it is, with that program's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Envoy's `MAGLEV`.
    EnvoyMaglev(EnvoyMaglev),
    /// Envoy's `RING_HASH`.
    EnvoyRingHash(EnvoyRingHash),
    /// HAProxy's `hash-type consistent`.
    Haproxy(Haproxy),
    /// The same in HAProxy 3.0 until the fix of October 2025.
    Haproxy30(Haproxy),
    /// HAProxy's `hash-type map-based`.
    HaproxyMap(HaproxyMap),
    /// ingress-nginx's `upstream-hash-by`.
    IngressNginx,
    /// libketama.
    Ketama,
    /// nginx's `hash ... consistent`.
    Nginx,
    /// nginx's `hash` without `consistent`.
    NginxModulo,
    /// twemproxy's `distribution: ketama`.
    Twemproxy(Twemproxy),
}

/// The placement of another program, built: immutable, shared by all requests.
#[derive(Debug)]
pub struct Dialect {
    kind: Kind,
    nodes: Box<[PlacedNode]>,
    key_hash: KeyHash,
    shape: Shape,
    /// How many nodes own anything at all: an original may give a light node neither point nor slot.
    owning: usize,
}

/// What a placement hashes for a node to which the operator gave no placement-id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultId {
    /// Its address, in the form that the original hashes.
    Address(String),
    /// Nothing that could be found out: the operator has to say.
    Missing,
    /// Its name.
    Name,
}

#[derive(Debug)]
enum Shape {
    Circle(Circle),
    /// There are no nodes.
    Nothing,
    Slots(Slots),
}

/// What makes positions of keys: two placements with the same one put a key at the same position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeySpace {
    /// The hash over the key.
    pub(crate) hash: KeyHash,
    /// By what the hash is divided, where positions are ranks by remainder.
    pub(crate) divisor: Option<usize>,
}

impl Kind {
    /// Refuses what [`Dialect::build`] would refuse, without building anything.
    pub fn check(self, nodes: &[PlacedNode]) -> Result<(), Refusal> {
        match self {
            Kind::EnvoyMaglev(settings) => envoy::check_maglev(settings.table_size),
            Kind::EnvoyRingHash(settings) => envoy::check_ring(settings, nodes),
            Kind::Haproxy(settings) => haproxy::check_circle(ServerHash::Of(settings.hash_key), nodes),
            Kind::Haproxy30(settings) => haproxy::check_circle(ServerHash::Of30(settings.hash_key), nodes),
            Kind::HaproxyMap(_) => haproxy::check_map(nodes),
            Kind::IngressNginx | Kind::Nginx => nginx::check_circle(nodes),
            Kind::Ketama => ketama::check(Rounding::Libketama, nodes),
            Kind::NginxModulo => nginx::check_modulo(nodes),
            Kind::Twemproxy(_) => ketama::check(Rounding::Twemproxy, nodes),
        }
    }

    /// Whether the original takes several nodes of one placement-id: where it hashes addresses, which servers share,
    /// and where it hashes nothing for a node.
    pub fn ids_may_repeat(self) -> bool {
        match self {
            Kind::Haproxy(settings) | Kind::Haproxy30(settings) => settings.hash_key == HashKey::Addr,
            Kind::HaproxyMap(_) | Kind::NginxModulo => true,
            Kind::EnvoyMaglev(_)
            | Kind::EnvoyRingHash(_)
            | Kind::IngressNginx
            | Kind::Ketama
            | Kind::Nginx
            | Kind::Twemproxy(_) => false,
        }
    }

    /// Whether it is a list of slots; if not, points on a circle.
    pub fn is_of_slots(self) -> bool {
        matches!(self, Kind::EnvoyMaglev(_) | Kind::HaproxyMap(_) | Kind::NginxModulo)
    }

    /// What is hashed for a node at `address` that has no placement-id of its own.
    pub fn default_id(self, address: &str) -> DefaultId {
        match self {
            Kind::EnvoyMaglev(_) | Kind::EnvoyRingHash(_) => {
                DefaultId::Address(address.strip_prefix(UNIX).unwrap_or(address).to_owned())
            }
            Kind::Haproxy(settings) | Kind::Haproxy30(settings) => match settings.hash_key {
                HashKey::Addr | HashKey::AddrPort => DefaultId::Address(address.to_owned()),
                HashKey::Guid | HashKey::Id | HashKey::Id32 => DefaultId::Missing,
            },
            Kind::HaproxyMap(_) | Kind::NginxModulo => DefaultId::Name,
            Kind::IngressNginx | Kind::Ketama | Kind::Nginx => DefaultId::Address(address.to_owned()),
            Kind::Twemproxy(_) => DefaultId::Address(ketama::name_in_twemproxy(address)),
        }
    }

    fn key_hash(self) -> KeyHash {
        match self {
            Kind::EnvoyMaglev(_) | Kind::EnvoyRingHash(_) => KeyHash::XXH64,
            Kind::Haproxy(settings) | Kind::Haproxy30(settings) => KeyHash::haproxy(settings.hash, settings.avalanche),
            Kind::HaproxyMap(settings) => KeyHash::haproxy(settings.hash, settings.avalanche),
            Kind::IngressNginx | Kind::Nginx | Kind::NginxModulo => KeyHash::CRC32,
            Kind::Ketama => KeyHash::MD5,
            Kind::Twemproxy(settings) => KeyHash::twemproxy(settings.hash),
        }
    }

    fn shape(self, nodes: &[PlacedNode]) -> Result<Shape, Refusal> {
        if nodes.is_empty() {
            return Ok(Shape::Nothing);
        }
        Ok(match self {
            Kind::EnvoyMaglev(settings) => Shape::Slots(envoy::maglev(settings.table_size, nodes)),
            Kind::EnvoyRingHash(settings) => Shape::Circle(envoy::ring(settings, nodes)),
            Kind::Haproxy(settings) => Shape::Circle(haproxy::circle(ServerHash::Of(settings.hash_key), nodes)?),
            Kind::Haproxy30(settings) => Shape::Circle(haproxy::circle(ServerHash::Of30(settings.hash_key), nodes)?),
            Kind::HaproxyMap(_) => Shape::Slots(haproxy::map(nodes)),
            Kind::IngressNginx => Shape::Circle(nginx::circle(ServerText::Whole, nodes)),
            Kind::Ketama => Shape::Circle(ketama::circle(Rounding::Libketama, nodes)),
            Kind::Nginx => Shape::Circle(nginx::circle(ServerText::HostAndPort, nodes)),
            Kind::NginxModulo => Shape::Slots(nginx::modulo(nodes)),
            Kind::Twemproxy(_) => Shape::Circle(ketama::circle(Rounding::Twemproxy, nodes)),
        })
    }
}

impl Dialect {
    /// Builds what the program of that kind builds for `nodes`, in the order of its configuration. Their weights are in
    /// range, and their placement-ids differ unless [`Kind::ids_may_repeat`].
    pub fn build(kind: Kind, nodes: Box<[PlacedNode]>) -> Result<Dialect, Refusal> {
        kind.check(&nodes)?;
        let shape = kind.shape(&nodes)?;
        let mut owns = vec![false; nodes.len()];
        for owner in shape.owners() {
            owns[usize::from(*owner)] = true;
        }
        let owning = owns.into_iter().filter(|owns| *owns).count();
        Ok(Dialect { kind, nodes, key_hash: kind.key_hash(), shape, owning })
    }

    /// What it was built with.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The nodes in the order that they were given in, which is that of their indexes.
    pub fn nodes(&self) -> &[PlacedNode] {
        &self.nodes
    }

    /// The position of a key. Hashes of 32 bits are the upper half of a position; where a hash is divided, positions
    /// are ranks, see `dialect::slots`.
    // Out of line, like the rest of what requests ask for, so that Ringway's own kinds are not slower for it: their
    // callers are the same.
    #[inline(never)]
    pub fn position(&self, key: &[u8]) -> u64 {
        let hash = self.key_hash.of(key);
        match &self.shape {
            Shape::Circle(_) | Shape::Nothing => hash,
            Shape::Slots(slots) => slots.position(hash, key.len()),
        }
    }

    /// Index of the node that owns a position; `None` without nodes.
    #[inline(never)]
    pub fn owner(&self, position: u64) -> Option<usize> {
        let place = self.place(position)?;
        Some(usize::from(self.shape.owners()[place]))
    }

    /// All nodes, each once, owner first, in the order in which the original would try them; see [`Candidates`].
    #[inline(never)]
    pub fn candidates(&self, position: u64) -> Candidates<'_> {
        Candidates::new(self, position)
    }

    /// Who owns what from `start` to the largest position, as [`crate::placement::Placement::stretches`].
    pub(crate) fn stretches(&self, start: u64) -> Stretches<'_> {
        Stretches { dialect: self, start: Some(start) }
    }

    /// What makes positions of keys.
    pub(crate) fn key_space(&self) -> KeySpace {
        let divisor = match &self.shape {
            Shape::Circle(_) | Shape::Nothing => None,
            Shape::Slots(slots) => slots.divisor(),
        };
        KeySpace { hash: self.key_hash, divisor }
    }

    /// The owner of every slot, or of every point in the order of the circle.
    pub(crate) fn owners(&self) -> &[u16] {
        self.shape.owners()
    }

    /// Everything about the built placement that decides where keys go, apart from its settings and the nodes' names.
    pub(crate) fn digest(&self, digest: &mut Digest) {
        if let Shape::Circle(circle) = &self.shape {
            digest.positions(circle.positions());
        }
        digest.indexes(self.shape.owners());
    }

    /// The point or slot that a position belongs to.
    fn place(&self, position: u64) -> Option<usize> {
        match &self.shape {
            Shape::Circle(circle) => Some(circle.point(position)),
            Shape::Nothing => None,
            Shape::Slots(slots) => Some(slots.slot(position)),
        }
    }
}

impl Shape {
    /// The owner of every point or slot.
    fn owners(&self) -> &[u16] {
        match self {
            Shape::Circle(circle) => circle.owners(),
            Shape::Nothing => &[],
            Shape::Slots(slots) => slots.owners(),
        }
    }

    fn stretch_end(&self, start: u64) -> u64 {
        match self {
            Shape::Circle(circle) => circle.stretch_end(start),
            Shape::Nothing => u64::MAX,
            Shape::Slots(slots) => slots.stretch_end(start),
        }
    }
}

/// Pieces of the key space in order, each with its last position and its owner; neighbours may have the same owner.
/// They end with the largest position.
#[derive(Debug)]
pub(crate) struct Stretches<'a> {
    dialect: &'a Dialect,
    start: Option<u64>,
}

impl Iterator for Stretches<'_> {
    type Item = (u64, usize);

    fn next(&mut self) -> Option<(u64, usize)> {
        let start = self.start?;
        let owner = self.dialect.owner(start)?;
        let last = self.dialect.shape.stretch_end(start);
        self.start = last.checked_add(1);
        Some((last, owner))
    }
}

impl FusedIterator for Stretches<'_> {}

/// How the address of a unix socket begins.
const UNIX: &str = "unix:";

/// A number of points that was worked out in floating point; it is whole and small.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number that is not negative")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// Refuses more points than fit.
fn points_limit(points: u64) -> Result<(), Refusal> {
    if points > MAX_POINTS { Err(Refusal::TooManyPoints { points }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::POSITIONS;
    use proptest::prelude::*;

    fn kinds() -> Vec<Kind> {
        let by_address = Haproxy { hash_key: HashKey::Addr, ..Haproxy::default() };
        vec![
            Kind::EnvoyMaglev(EnvoyMaglev { table_size: 503 }),
            Kind::EnvoyRingHash(EnvoyRingHash::default()),
            Kind::Haproxy(by_address),
            Kind::Haproxy30(by_address),
            Kind::HaproxyMap(HaproxyMap::default()),
            Kind::IngressNginx,
            Kind::Ketama,
            Kind::Nginx,
            Kind::NginxModulo,
            Kind::Twemproxy(Twemproxy::default()),
        ]
    }

    fn dialect(kind: Kind, weights: &[u32]) -> Dialect {
        let node = |(index, weight): (usize, &u32)| {
            let name = format!("10.0.0.{index}:80");
            PlacedNode { placement_id: name.clone(), name, weight: *weight }
        };
        Dialect::build(kind, weights.iter().enumerate().map(node).collect()).unwrap()
    }

    #[test]
    fn without_nodes_nothing_is_owned() {
        for kind in kinds() {
            let empty = dialect(kind, &[]);
            let position = empty.position(b"a");
            assert_eq!(empty.owner(position), None, "{kind:?}");
            assert_eq!(empty.candidates(position).next(), None, "{kind:?}");
            assert_eq!(empty.stretches(0).next(), None, "{kind:?}");
        }
    }

    #[test]
    fn a_sole_node_owns_everything() {
        for kind in kinds() {
            let sole = dialect(kind, &[3]);
            assert_eq!(sole.owner(sole.position(b"a")), Some(0), "{kind:?}");
            assert_eq!(sole.candidates(7).collect::<Vec<_>>(), [0], "{kind:?}");
        }
    }

    #[test]
    fn the_order_of_the_nodes_is_kept() {
        for kind in kinds() {
            let names: Vec<_> = dialect(kind, &[1; 12]).nodes.iter().map(|node| node.name.clone()).collect();
            assert_eq!(names[2], "10.0.0.2:80");
        }
    }

    proptest! {
        #[test]
        fn stretches_cover_every_position_and_name_its_owner(
            weights in prop::collection::vec(1..20u32, 1..12),
            kind in prop::sample::select(kinds()),
            asked: u64,
        ) {
            let dialect = dialect(kind, &weights);
            let (mut start, mut covered) = (0, 0);
            for (last, owner) in dialect.stretches(0) {
                prop_assert_eq!(dialect.owner(start), Some(owner), "{:?} at {}", kind, start);
                prop_assert_eq!(dialect.owner(last), Some(owner), "{:?} at {}", kind, last);
                if (start..=last).contains(&asked) {
                    prop_assert_eq!(dialect.owner(asked), Some(owner), "{:?}", kind);
                    prop_assert_eq!(dialect.stretches(asked).next(), Some((last, owner)), "{:?}", kind);
                }
                covered += u128::from(last - start) + 1;
                start = last.wrapping_add(1);
            }
            prop_assert_eq!(covered, POSITIONS);
        }

        #[test]
        fn candidates_are_all_nodes_and_begin_with_the_owner(
            weights in prop::collection::vec(1..20u32, 1..30),
            kind in prop::sample::select(kinds()),
            position: u64,
        ) {
            let dialect = dialect(kind, &weights);
            let mut candidates: Vec<usize> = dialect.candidates(position).collect();
            prop_assert_eq!(candidates.first().copied(), dialect.owner(position));
            candidates.sort_unstable();
            prop_assert_eq!(candidates, (0..weights.len()).collect::<Vec<_>>());
        }
    }
}
