//! A list of slots, each with its owner, that hashes are spread over by division.
//!
//! The slot of a hash is the remainder, so that neighbouring hashes belong to different slots. Positions put those of
//! one slot beside each other: a hash's position is its rank among all hashes, ordered by slot and then by size. That
//! is one-to-one, so that what a slot owns is one stretch, exact to the last hash, and a position tells its hash.

use crate::placement::dialect::Refusal;
use crate::placement::dialect::hash::Width;

/// The slots of a placement by division, at least one.
#[derive(Debug)]
pub(super) struct Slots {
    owners: Box<[u16]>,
    layout: Layout,
}

/// How positions and slots belong together.
#[derive(Debug)]
enum Layout {
    Ranks(Ranks),
    /// nginx without `consistent` divides 15 bits of a CRC-32. The position is the CRC-32 itself, as under `nginx`, and
    /// below it the length of the key, which [`rehashed`] needs.
    Crc15,
}

/// The ranks of all hashes: each of the first `longer` slots has `quota + 1` of them, each of the others `quota`.
#[derive(Debug)]
struct Ranks {
    width: Width,
    slots: u64,
    quota: u64,
    longer: u64,
}

impl Slots {
    /// Spreads all hashes of `width` over these slots, of which there are at least two where hashes have 64 bits.
    pub(super) fn new(owners: Vec<u16>, width: Width) -> Slots {
        let layout = Layout::Ranks(Ranks::new(width, owners.len() as u64));
        Slots { owners: owners.into_boxed_slice(), layout }
    }

    /// Spreads the 15 bits that nginx takes of a CRC-32.
    pub(super) fn of_crc15(owners: Vec<u16>) -> Slots {
        Slots { owners: owners.into_boxed_slice(), layout: Layout::Crc15 }
    }

    /// The owner of every slot.
    pub(super) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// The divisor, where positions depend on it.
    pub(super) fn divisor(&self) -> Option<usize> {
        matches!(self.layout, Layout::Ranks(_)).then_some(self.owners.len())
    }

    /// The position of a key of `length` bytes, whose hash stands in the upper bits of `hash`.
    pub(super) fn position(&self, hash: u64, length: usize) -> u64 {
        match &self.layout {
            Layout::Ranks(ranks) => ranks.position(hash),
            // A key of 4 GiB, whose length would not fit, is in no request.
            Layout::Crc15 => hash | (length as u64 & LENGTH),
        }
    }

    /// The hash of a key at `position`, in the upper bits.
    pub(super) fn hash(&self, position: u64) -> u64 {
        match &self.layout {
            Layout::Ranks(ranks) => ranks.hash(position),
            Layout::Crc15 => position & !LENGTH,
        }
    }

    /// The slot that a position belongs to.
    #[inline]
    pub(super) fn slot(&self, position: u64) -> usize {
        match &self.layout {
            Layout::Ranks(ranks) => index(ranks.slot(position)),
            Layout::Crc15 => crc15(position) as usize % self.owners.len(),
        }
    }

    /// The last position of the stretch that begins at `start` and belongs to one slot.
    pub(super) fn stretch_end(&self, start: u64) -> u64 {
        match &self.layout {
            Layout::Ranks(ranks) => ranks.end(start),
            Layout::Crc15 => start | u64::MAX >> CRC15_BITS_END,
        }
    }
}

impl Ranks {
    fn new(width: Width, slots: u64) -> Ranks {
        let narrow = |number: u128| u64::try_from(number).expect("two slots or more share the hashes of 64 bits");
        let (quota, longer) = (width.hashes() / u128::from(slots), width.hashes() % u128::from(slots));
        Ranks { width, slots, quota: narrow(quota), longer: narrow(longer) }
    }

    fn position(&self, hash: u64) -> u64 {
        let hash = self.width.narrow(hash);
        self.width.widen(self.first(hash % self.slots) + hash / self.slots)
    }

    fn hash(&self, position: u64) -> u64 {
        let slot = self.slot(position);
        let quotient = self.width.narrow(position) - self.first(slot);
        self.width.widen(quotient * self.slots + slot)
    }

    #[inline]
    fn slot(&self, position: u64) -> u64 {
        let rank = self.width.narrow(position);
        match rank.checked_sub(self.longer * (self.quota + 1)) {
            Some(beyond) => self.longer + beyond / self.quota,
            None => rank / (self.quota + 1),
        }
    }

    fn end(&self, start: u64) -> u64 {
        let slot = self.slot(start);
        let last = self.first(slot) + (self.quota + u64::from(slot < self.longer) - 1);
        self.width.last_at(self.width.widen(last))
    }

    /// The first rank of a slot.
    fn first(&self, slot: u64) -> u64 {
        slot * self.quota + slot.min(self.longer)
    }
}

/// What nginx without `consistent` adds to a key's hash at its `attempt`, from 1: the 15 bits of the CRC-32 of the
/// attempt's number and the key together. They follow from the CRC-32 and the length of the key alone.
pub(super) fn rehashed(position: u64, attempt: u32) -> u32 {
    let key_crc = u32::try_from(position >> 32).expect("the upper half");
    let key = crc32fast::Hasher::new_with_initial_len(key_crc, position & LENGTH);
    let mut whole = crc32fast::Hasher::new();
    whole.update(attempt.to_string().as_bytes());
    whole.combine(&key);
    whole.finalize() >> CRC15_BITS_END & CRC15
}

/// The 15 bits of a position that nginx without `consistent` divides.
pub(super) fn crc15(position: u64) -> u32 {
    u32::try_from(position >> (u64::BITS - CRC15_BITS_END)).expect("16 bits") & CRC15
}

/// Refuses more slots than fit.
pub(super) fn slots_limit(slots: u64) -> Result<(), Refusal> {
    if slots > u64::from(SLOTS_MAX) { Err(Refusal::TooManySlots { slots }) } else { Ok(()) }
}

fn index(slot: u64) -> usize {
    usize::try_from(slot).expect("fewer slots than memory")
}

/// The most slots of one placement, which is what Envoy allows a Maglev table.
pub(super) const SLOTS_MAX: u32 = 5_000_011;

const CRC15: u32 = 0x7fff;

/// Of a CRC-32, and of the position that begins with one, the 15 bits end after this many.
const CRC15_BITS_END: u32 = 16;

/// The bits of a position that hold the length of the key.
const LENGTH: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slots(count: u16, width: Width) -> Slots {
        Slots::new((0..count).collect(), width)
    }

    /// Where the stretches of the whole circle end, and the slots they belong to.
    fn stretches(slots: &Slots) -> Vec<(u64, usize)> {
        let mut stretches = Vec::new();
        let mut next = Some(0);
        while let Some(start) = next {
            let last = slots.stretch_end(start);
            assert_eq!(slots.slot(start), slots.slot(last), "{start}");
            stretches.push((last, slots.slot(start)));
            next = last.checked_add(1);
        }
        stretches
    }

    #[test]
    fn each_slot_has_one_stretch_as_long_as_it_has_hashes() {
        let stretches = stretches(&slots(5, Width::Bits32));
        let hashes = |slot: u64| (u64::from(u32::MAX) - slot) / 5 + 1;
        let mut end = 0_u64;
        for (slot, stretch) in (0..5).zip(&stretches) {
            end = end.wrapping_add(hashes(slot) << 32);
            assert_eq!((stretch.0.wrapping_add(1), stretch.1 as u64), (end, slot));
        }
        assert_eq!((stretches.len(), end), (5, 0), "all 2^64 positions");
    }

    #[test]
    fn every_15_bits_of_a_crc_have_a_stretch() {
        let stretches = stretches(&Slots::of_crc15(vec![0, 1, 2]));
        assert_eq!(stretches.len(), 1 << 16);
        assert_eq!(stretches[0x8004], (0x8004_ffff_ffff_ffff, 1));
    }

    #[test]
    fn a_rehash_is_the_crc_of_the_number_and_the_key() {
        for key in ["a", "user:42", &"k".repeat(1000)] {
            let position = u64::from(crc32fast::hash(key.as_bytes())) << 32 | key.len() as u64;
            for attempt in [1, 9, 10, 20] {
                let whole = crc32fast::hash(format!("{attempt}{key}").as_bytes());
                assert_eq!(rehashed(position, attempt), whole >> 16 & 0x7fff, "{attempt} {key}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_position_tells_the_slot_and_the_hash(hash: u64, count in 2..500u16, is_narrow: bool) {
            let width = if is_narrow { Width::Bits32 } else { Width::Bits64 };
            let (slots, hash) = (slots(count, width), width.hash_at(hash));
            let position = slots.position(hash, 9);
            prop_assert_eq!(slots.slot(position) as u64, width.narrow(hash) % u64::from(count));
            prop_assert_eq!(slots.hash(position), hash);
        }
    }
}
