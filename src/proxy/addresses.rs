//! How many connections each client address has, over all workers.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Counts by address. Only accepting and closing a connection lock a part of it, and only where there is a limit.
#[derive(Debug)]
pub(crate) struct Addresses {
    hasher: RandomState,
    parts: [Mutex<HashMap<u128, u32>>; PARTS],
}

/// Workers that accept at the same time rarely meet.
const PARTS: usize = 64;

/// A connection that counts for its address until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    addresses: Arc<Addresses>,
    key: u128,
}

impl Addresses {
    /// Nobody is connected.
    pub(crate) fn new() -> Arc<Addresses> {
        let parts = std::array::from_fn(|_| Mutex::default());
        Arc::new(Addresses { hasher: RandomState::new(), parts })
    }

    /// One more connection of this address, unless it has `max`.
    pub(crate) fn try_count(self: &Arc<Self>, address: IpAddr, max: u32) -> Option<Counted> {
        let key = key(address);
        let mut part = self.part(key);
        let count = part.entry(key).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Counted { addresses: Arc::clone(self), key })
    }

    fn part(&self, key: u128) -> MutexGuard<'_, HashMap<u128, u32>> {
        let part = usize::try_from(self.hasher.hash_one(key) % PARTS as u64).unwrap_or(0);
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut part = self.addresses.part(self.key);
        if let Some(count) = part.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                part.remove(&self.key);
            }
        }
    }
}

/// What counts as one address: of IPv6 a /64, all of which a single client may have (RFC 6177).
fn key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_however_it_is_written() {
        let addresses = Addresses::new();
        for (first, same, other) in
            [("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")]
        {
            let count = |address: &str| addresses.try_count(address.parse().unwrap(), 2);
            let held = (count(first).unwrap(), count(same).unwrap());
            assert!(count(first).is_none() && count(same).is_none(), "{first}");
            assert!(count(other).is_some(), "{other}");
            drop(held.0);
            assert!(count(same).is_some(), "{same}");
        }
        assert!(addresses.parts.iter().all(|part| part.lock().unwrap().is_empty()), "nobody is left");
    }
}
