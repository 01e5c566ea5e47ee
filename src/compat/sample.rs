//! A bounded number of the distinct keys of a log, fairly chosen, with the nodes that each was at.

use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The keys whose hash is smallest: as likely any as any other, wherever they stand in the log. What is known of a key
/// that is among them in the end is complete, because it was among the smallest from the beginning.
#[derive(Debug, Default)]
pub struct Sample {
    keys: BTreeMap<u64, Sighting>,
    bytes: usize,
    is_part: bool,
}

/// What a log says of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The key.
    pub key: Box<[u8]>,
    /// Empty where the key itself was logged.
    first_text: Box<[u8]>,
    /// The node of that line; `None` for a server that is no node of the pool, as in all that follows.
    pub first_node: Option<usize>,
    /// How many lines say that it was at which node, in the order in which they came.
    pub lines: Vec<(Option<usize>, u64)>,
}

impl Sighting {
    /// The node of most of its lines, the earliest of equals.
    pub fn node(&self) -> Option<usize> {
        let most = self.lines.iter().rev().max_by_key(|(_, lines)| *lines);
        most.map_or(self.first_node, |(node, _)| *node)
    }

    /// What was logged for it where it came first.
    pub fn first_text(&self) -> &[u8] {
        if self.first_text.is_empty() { &self.key } else { &self.first_text }
    }

    fn see(&mut self, node: Option<usize>) {
        match self.lines.iter_mut().find(|(known, _)| *known == node) {
            Some((_, lines)) => *lines += 1,
            None => self.lines.push((node, 1)),
        }
    }

    fn bytes(&self) -> usize {
        SIGHTING_BYTES + self.key.len() + self.first_text.len()
    }
}

impl Sample {
    /// Notes that a key was at a node; `text` is what was logged for it.
    pub fn add(&mut self, key: &[u8], text: &[u8], node: Option<usize>) {
        let hash = xxh3_64_with_seed(key, SEED);
        if let Some(sighting) = self.keys.get_mut(&hash) {
            sighting.see(node);
            return;
        }
        // Once a key had to go, those that would go next are not even taken in.
        if self.is_part && self.keys.last_key_value().is_some_and(|(largest, _)| hash > *largest) {
            return;
        }
        let first_text = if text == key { Box::default() } else { text.into() };
        let sighting = Sighting { key: key.into(), first_text, first_node: node, lines: vec![(node, 1)] };
        self.bytes += sighting.bytes();
        self.keys.insert(hash, sighting);
        while (self.keys.len() > KEYS_MAX || self.bytes > BYTES_MAX)
            && let Some((_, gone)) = self.keys.pop_last()
        {
            self.bytes -= gone.bytes();
            self.is_part = true;
        }
    }

    /// The keys in an order that says nothing about them: the first so many are a sample too.
    pub fn sightings(&self) -> impl Iterator<Item = &Sighting> {
        self.keys.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the log has more keys than these.
    pub fn is_part(&self) -> bool {
        self.is_part
    }
}

/// How many keys are remembered at most.
pub const KEYS_MAX: usize = 100_000;

/// How many bytes they and what was logged for them take at most.
pub const BYTES_MAX: usize = 64 << 20;

/// What a sighting takes beside its texts, roughly.
const SIGHTING_BYTES: usize = 128;

/// Makes the order of the sample independent of placements that hash with XXH3 too.
const SEED: u64 = 0x5a4d_504c_4521;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keys_are_all_remembered_with_their_nodes() {
        let mut sample = Sample::default();
        for (key, node) in [("a", 2), ("b", 1), ("a", 0), ("a", 0), ("b", 2)] {
            sample.add(key.as_bytes(), key.as_bytes(), Some(node));
        }
        let of = |key: &str| sample.sightings().find(|sighting| *sighting.key == *key.as_bytes()).unwrap();
        assert_eq!((sample.len(), sample.is_part()), (2, false));
        assert_eq!(
            (of("a").lines.as_slice(), of("a").node(), of("a").first_node),
            (&[(Some(2), 1), (Some(0), 2)][..], Some(0), Some(2))
        );
        assert_eq!((of("b").node(), of("b").first_text()), (Some(1), &b"b"[..]));
    }

    #[test]
    fn of_many_keys_a_fair_part_is_remembered_completely() {
        let mut sample = Sample::default();
        let keys = 2 * KEYS_MAX;
        for round in 0..2 {
            for key in 0..keys {
                sample.add(format!("user:{key}").as_bytes(), b"GET /", Some(round));
            }
        }
        assert_eq!((sample.len(), sample.is_part()), (KEYS_MAX, true));
        assert!(sample.sightings().all(|sighting| sighting.lines == [(Some(0), 1), (Some(1), 1)]));
        let number = |sighting: &Sighting| std::str::from_utf8(&sighting.key[5..]).unwrap().parse::<usize>().unwrap();
        let early = sample.sightings().take(2_000).filter(|sighting| number(sighting) < keys / 2).count();
        assert!((850..1_150).contains(&early), "{early} of 2000 are from the first half");
    }

    #[test]
    fn long_keys_are_bounded_by_their_bytes() {
        let mut sample = Sample::default();
        let long = "x".repeat(1 << 20);
        for key in 0..100 {
            sample.add(format!("{long}{key}").as_bytes(), b"GET /", Some(0));
        }
        assert!(sample.is_part() && sample.bytes <= BYTES_MAX && sample.len() >= 62, "{}", sample.len());
    }
}
