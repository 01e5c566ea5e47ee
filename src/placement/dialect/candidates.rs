//! The order in which another program would try its servers.
//!
//! * On a circle it goes on from point to point, clockwise. nginx gives up after 20 steps that led to nothing and goes
//!   round-robin, which no key decides; here the walk goes on.
//! * nginx without `consistent` hashes the key again with the number of the attempt in front, and adds that up. It too
//!   gives up after 20, and then the nodes follow in their order.
//! * Envoy's Maglev turns bits of the hash around with each attempt. Other lists of slots, and this one after some
//!   attempts, are walked through slot by slot.

use crate::placement::dialect::Dialect;
use crate::placement::dialect::Kind;
use crate::placement::dialect::Shape;
use crate::placement::dialect::slots;
use crate::placement::dialect::slots::Slots;
use crate::placement::seen::Seen;
use std::iter::FusedIterator;

/// All nodes, each once, in the order in which a program would try them. Lazy; the first 8 allocate nothing.
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
    /// The owner of every point or slot.
    owners: &'a [u16],
    rehash: Rehash<'a>,
    /// The next point or slot of the walk, and how many are left.
    next: usize,
    left: usize,
    /// The next of all nodes in their order, when nothing else is left.
    rest: u16,
    seen: Seen,
    nodes: usize,
    /// Nodes not returned yet, and those of them that own anything.
    unseen: usize,
    unseen_owning: usize,
}

/// Attempts before the walk.
#[derive(Clone, Debug)]
enum Rehash<'a> {
    None,
    Crc15 { position: u64, attempt: u32, sum: u32 },
    Maglev { slots: &'a Slots, hash: u64, attempt: u64 },
}

impl<'a> Candidates<'a> {
    pub(super) fn new(dialect: &'a Dialect, position: u64) -> Candidates<'a> {
        let owners = dialect.owners();
        let rehash = match (dialect.kind, &dialect.shape) {
            (Kind::NginxModulo, _) => Rehash::Crc15 { position, attempt: 0, sum: 0 },
            (Kind::EnvoyMaglev(_), Shape::Slots(slots)) => {
                Rehash::Maglev { slots, hash: slots.hash(position), attempt: 0 }
            }
            _ => Rehash::None,
        };
        // nginx without `consistent` never walks.
        let left = if dialect.kind == Kind::NginxModulo { 0 } else { owners.len() };
        Candidates {
            owners,
            rehash,
            next: dialect.place(position).unwrap_or_default(),
            left,
            rest: 0,
            seen: Seen::nothing(),
            nodes: dialect.nodes.len(),
            unseen: dialect.nodes.len(),
            unseen_owning: dialect.owning,
        }
    }

    /// The next node that would be tried, which may have been before. There are nodes that were not.
    fn step(&mut self) -> u16 {
        if self.unseen_owning > 0 {
            if let Some(slot) = self.rehash.next(self.owners.len()) {
                return self.owners[slot];
            }
            if self.left > 0 {
                let owner = self.owners[self.next];
                self.left -= 1;
                self.next = if self.next + 1 == self.owners.len() { 0 } else { self.next + 1 };
                return owner;
            }
        }
        self.rest += 1;
        self.rest - 1
    }
}

impl Rehash<'_> {
    /// The slot of the next attempt.
    fn next(&mut self, slots: usize) -> Option<usize> {
        match self {
            Rehash::None => None,
            Rehash::Crc15 { position, attempt, sum } => {
                let added = match *attempt {
                    0 => slots::crc15(*position),
                    1..=CRC15_REHASHES => slots::rehashed(*position, *attempt),
                    _ => return None,
                };
                (*attempt, *sum) = (*attempt + 1, *sum + added);
                Some(*sum as usize % slots)
            }
            Rehash::Maglev { slots, hash, attempt } => {
                let turned = *hash ^ attempt.wrapping_neg();
                *attempt += 1;
                (*attempt <= MAGLEV_ATTEMPTS).then(|| slots.slot(slots.position(turned, 0)))
            }
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    #[inline(never)]
    fn next(&mut self) -> Option<usize> {
        while self.unseen > 0 {
            let owner = self.step();
            if self.seen.insert(owner, self.nodes) {
                self.unseen -= 1;
                self.unseen_owning = self.unseen_owning.saturating_sub(1);
                return Some(usize::from(owner));
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.unseen, Some(self.unseen))
    }
}

impl ExactSizeIterator for Candidates<'_> {}

impl FusedIterator for Candidates<'_> {}

/// How often nginx without `consistent` hashes a key again.
const CRC15_REHASHES: u32 = 20;

/// How many attempts are made as Envoy makes them; it makes one unless it is told otherwise.
const MAGLEV_ATTEMPTS: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::PlacedNode;
    use crate::placement::dialect::settings::EnvoyMaglev;
    use crate::placement::dialect::settings::EnvoyRingHash;
    use std::collections::BTreeSet;

    fn dialect(kind: Kind, count: usize) -> Dialect {
        let node = |index: usize| {
            let name = format!("10.0.0.{index}:80");
            PlacedNode { placement_id: name.clone(), name, weight: 1 }
        };
        Dialect::build(kind, (0..count).map(node).collect()).unwrap()
    }

    fn order(dialect: &Dialect, key: &str) -> Vec<usize> {
        dialect.candidates(dialect.position(key.as_bytes())).collect()
    }

    /// Each element where it comes first.
    fn each_once(elements: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        elements.into_iter().filter(|element| seen.insert(*element)).collect()
    }

    #[test]
    fn nginx_without_consistent_hashes_a_key_again_and_adds_up() {
        let dialect = dialect(Kind::NginxModulo, 30);
        for key in ["a", "user:42", "/a/long/path/to/a/picture.jpg"] {
            let mut sum = 0;
            let attempts: Vec<usize> = (0..=20)
                .map(|attempt| {
                    let number = if attempt == 0 { String::new() } else { attempt.to_string() };
                    sum += (crc32fast::hash(format!("{number}{key}").as_bytes()) >> 16 & 0x7fff) as usize;
                    sum % 30
                })
                .collect();
            assert_eq!(order(&dialect, key), each_once(attempts.into_iter().chain(0..30)), "{key}");
        }
    }

    #[test]
    fn maglev_turns_bits_of_the_hash_around() {
        let settings = EnvoyMaglev { table_size: 503 };
        let dialect = dialect(Kind::EnvoyMaglev(settings), 5);
        for key in ["a", "user:42", "user:43"] {
            let hash = xxhash_rust::xxh64::xxh64(key.as_bytes(), 0);
            let attempts = (0..32_u64).map(|attempt| usize::try_from((hash ^ attempt.wrapping_neg()) % 503).unwrap());
            let owners = attempts.map(|slot| usize::from(dialect.owners()[slot]));
            assert_eq!(order(&dialect, key), each_once(owners), "{key}");
        }
    }

    #[test]
    fn nodes_that_own_nothing_come_last() {
        let settings = EnvoyRingHash { minimum_size: 1, maximum_size: 3, ..EnvoyRingHash::default() };
        let dialect = dialect(Kind::EnvoyRingHash(settings), 20);
        let order = order(&dialect, "a");
        assert_eq!(order.len(), 20);
        let owning: BTreeSet<_> = dialect.owners().iter().map(|owner| usize::from(*owner)).collect();
        assert_eq!(order[..owning.len()].iter().copied().collect::<BTreeSet<_>>(), owning);
        assert!(order[owning.len()..].is_sorted(), "{order:?}");
    }

    #[test]
    fn the_first_eight_candidates_allocate_nothing() {
        let dialect = dialect(Kind::Nginx, 20);
        let mut candidates = dialect.candidates(7);
        assert_eq!(candidates.len(), 20);
        assert_eq!(candidates.by_ref().take(8).count(), 8);
        assert!(matches!(candidates.seen, Seen::Few { count: 8, .. }), "{:?}", candidates.seen);
        assert_eq!(candidates.count(), 12);
    }
}
