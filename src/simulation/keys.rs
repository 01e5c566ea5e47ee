//! What counts as load: every position alike, or the requests of given keys.

use crate::placement::hash;
use crate::placement::ratio;
use crate::simulation::zipf::Zipf;
use std::collections::HashMap;

/// The load that placements are measured with.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Every position of the key space alike: shares are exact, and free of the noise that any number of keys brings.
    Exact,
    /// Keys, each with its requests; the load of a node is the requests it gets.
    Listed(Vec<(Box<[u8]>, u64)>),
}

impl Keys {
    /// `key-1`, `key-2` and so on, each with one request.
    pub fn uniform(count: usize) -> Keys {
        Keys::Listed((1..=count).map(|number| (key(number), 1)).collect())
    }

    /// `key-1`, `key-2` and so on, of which number r has `r^-exponent` as many requests as the first. With `requests`
    /// so many are drawn; without, each key has exactly its part, which is the mean over all draws.
    pub fn zipf(exponent: f64, count: usize, requests: Option<u64>) -> Keys {
        let Some(requests) = requests else {
            let part = |rank: usize| (rank as f64).powf(-exponent);
            return Keys::Listed((1..=count).map(|rank| (key(rank), units(part(rank)))).collect());
        };
        let zipf = Zipf::new(exponent, count);
        let mut drawn = vec![0; count];
        for number in 0..requests {
            drawn[zipf.rank(ratio(u128::from(hash::position(&number.to_le_bytes()))))] += 1;
        }
        let listed = (1..=count).zip(drawn).filter(|(_, requests)| *requests > 0);
        Keys::Listed(listed.map(|(rank, requests)| (key(rank), requests)).collect())
    }

    /// The coefficient of variation of the load that these keys bring along: what a placement is to be expected to have
    /// that gives every node exactly its share of the key space. With w the part of a key in all requests, it is
    /// `sqrt((nodes - 1) * sum of w^2)`; with K keys of one request about `sqrt(nodes / K)`. 0 for exact shares.
    pub fn floor(&self, nodes: usize) -> f64 {
        let Keys::Listed(keys) = self else { return 0.0 };
        let all: u64 = keys.iter().map(|(_, requests)| requests).sum();
        let squares: f64 = keys.iter().map(|(_, requests)| (*requests as f64 / all as f64).powi(2)).sum();
        (nodes.saturating_sub(1) as f64 * squares).sqrt()
    }
}

/// Keys as they come, in whatever order and number; the same key again is one request more.
#[derive(Debug, Default)]
pub struct KeyCounts {
    counts: HashMap<Box<[u8]>, u64>,
    bytes: usize,
}

impl KeyCounts {
    /// Counts one request. The error is a sentence for the user, who gave more different keys than fit.
    pub fn add(&mut self, key: &[u8]) -> Result<(), String> {
        if let Some(count) = self.counts.get_mut(key) {
            *count += 1;
            return Ok(());
        }
        self.bytes += key.len();
        if self.counts.len() >= KEYS_MAX || self.bytes > KEYS_BYTES_MAX {
            let mib = KEYS_BYTES_MAX >> 20;
            return Err(format!("over {KEYS_MAX} different keys, or over {mib} MiB of them; give a part of them"));
        }
        self.counts.insert(key.into(), 1);
        Ok(())
    }

    /// How many different keys there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl From<KeyCounts> for Keys {
    fn from(counts: KeyCounts) -> Keys {
        // In an order that does not change from run to run, as sums of fractions depend on it.
        let mut keys: Vec<_> = counts.counts.into_iter().collect();
        keys.sort_unstable();
        Keys::Listed(keys)
    }
}

fn key(number: usize) -> Box<[u8]> {
    format!("key-{number}").into_bytes().into_boxed_slice()
}

/// A part of what the first key gets, in whole units that are small beside any key's.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^40")]
fn units(part: f64) -> u64 {
    ((part * (1u64 << 40) as f64).round() as u64).max(1)
}

/// The most different keys; they take some 300 MB.
pub const KEYS_MAX: usize = 1 << 22;

/// The most bytes that different keys have together.
const KEYS_BYTES_MAX: usize = 1 << 29;

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(keys: Keys) -> Vec<(String, u64)> {
        let Keys::Listed(keys) = keys else { panic!("keys are listed") };
        keys.into_iter().map(|(key, requests)| (String::from_utf8(key.into()).unwrap(), requests)).collect()
    }

    #[test]
    fn of_zipf_keys_the_second_has_what_the_exponent_says() {
        let keys = listed(Keys::zipf(1.0, 4, None));
        let unit = keys[3].1;
        let parts: Vec<u64> = keys.iter().map(|(_, requests)| requests / unit).collect();
        assert_eq!(parts, [4, 2, 1, 1], "{keys:?}");
        assert_eq!(keys[0].0, "key-1");
    }

    #[test]
    fn drawn_requests_come_to_what_they_are_drawn_from() {
        let drawn = listed(Keys::zipf(1.1, 1_000, Some(100_000)));
        assert_eq!(drawn.iter().map(|(_, requests)| requests).sum::<u64>(), 100_000);
        let sum: f64 = (1..=1_000).map(|rank| f64::from(rank).powf(-1.1)).sum();
        let first = drawn[0].1 as f64 / 100_000.0;
        assert!((first - 1.0 / sum).abs() < 0.005, "{first} of the requests are for the first key, not {}", 1.0 / sum);
    }

    #[test]
    fn few_keys_and_hot_ones_bring_unevenness_along() {
        assert_eq!(Keys::Exact.floor(100), 0.0);
        assert!((Keys::uniform(1_000_000).floor(101) - 0.01).abs() < 1e-9);
        assert_eq!(Keys::uniform(1).floor(5), 2.0, "one node has all, five times its share, and the others nothing");
        assert!(Keys::zipf(1.1, 1_000, None).floor(10) > 0.4);
    }

    #[test]
    fn a_key_that_comes_again_is_one_request_more() {
        let mut counts = KeyCounts::default();
        ["a", "b", "a", ""].iter().for_each(|key| counts.add(key.as_bytes()).unwrap());
        assert_eq!(listed(counts.into()), [(String::new(), 1), ("a".to_owned(), 2), ("b".to_owned(), 1)]);
    }
}
