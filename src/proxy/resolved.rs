//! Where the host name of a node leads: written by the resolver, read whenever a connection is made.

use arc_swap::ArcSwapOption;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

/// How often whoever waits for the first answer looks for it.
const STEP: Duration = Duration::from_millis(10);

/// The last good answer of the resolver. Before the first, whoever connects waits for it.
#[derive(Debug, Default)]
pub struct Resolved {
    answer: ArcSwapOption<Vec<SocketAddr>>,
    /// How often there was another answer.
    generation: AtomicU64,
}

/// What an answer meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name leads elsewhere than before: connections of the answer before are not used again.
    Changed,
    /// It is the first one.
    First,
    /// It leads where it did.
    Same,
}

impl Resolved {
    /// Takes an answer, the addresses in the order in which they are to be tried. Another order alone is no other
    /// answer: servers of names shuffle, and one connection is as good as another.
    pub fn set(&self, addresses: &[SocketAddr]) -> Answer {
        let before = self.addresses();
        let answer = match &before {
            None => Answer::First,
            Some(before) if is_same_set(before, addresses) => return Answer::Same,
            Some(_) => Answer::Changed,
        };
        self.answer.store(Some(Arc::new(addresses.to_vec())));
        // After the answer, so that no connection of the answer before is taken for one of this.
        self.generation.fetch_add(1, Release);
        answer
    }

    /// Where to connect to, in order; `None` before the first answer.
    pub fn addresses(&self) -> Option<Arc<Vec<SocketAddr>>> {
        self.answer.load_full()
    }

    /// As [`Resolved::addresses`], waiting for the first answer.
    pub async fn first(&self) -> Arc<Vec<SocketAddr>> {
        loop {
            match self.addresses() {
                Some(addresses) => return addresses,
                None => tokio::time::sleep(STEP).await,
            }
        }
    }

    /// Connections that were made so far are not used again, although the answer is the same.
    pub fn renew(&self) {
        self.generation.fetch_add(1, Release);
    }

    /// Which answer is in force; to be read before the addresses.
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }
}

fn is_same_set(one: &[SocketAddr], other: &[SocketAddr]) -> bool {
    one.iter().all(|address| other.contains(address)) && other.iter().all(|address| one.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last_octets: &[u8]) -> Vec<SocketAddr> {
        last_octets.iter().map(|octet| SocketAddr::from(([10, 0, 0, *octet], 80))).collect()
    }

    #[test]
    fn only_other_addresses_are_another_answer() {
        let resolved = Resolved::default();
        assert_eq!((resolved.addresses(), resolved.generation()), (None, 0));
        for (answer, meaning, generation, tried) in [
            (&[1, 2][..], Answer::First, 1, &[1, 2][..]),
            (&[1, 2], Answer::Same, 1, &[1, 2]),
            (&[2, 1], Answer::Same, 1, &[1, 2]),
            (&[2], Answer::Changed, 2, &[2]),
            (&[3, 2], Answer::Changed, 3, &[3, 2]),
            (&[3, 2, 1], Answer::Changed, 4, &[3, 2, 1]),
        ] {
            assert_eq!(resolved.set(&addresses(answer)), meaning, "{answer:?}");
            assert_eq!(resolved.generation(), generation, "{answer:?}");
            assert_eq!(resolved.addresses().as_deref(), Some(&addresses(tried)), "{answer:?}");
        }
    }
}
