//! The tables of fields that HPACK refers to by number (RFC 7541 section 2.3), as far as it takes to know where names
//! begin with `:` and when an entry goes.

use std::collections::VecDeque;

/// What is known of a field's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    /// At most what it says; a name that is longer fits into no table.
    length: u16,
    is_pseudo: bool,
}

impl Name {
    /// One of so many bytes, which begins with `:` or not.
    pub(super) fn new(length: usize, is_pseudo: bool) -> Name {
        Name { length: u16::try_from(length).unwrap_or(u16::MAX), is_pseudo }
    }

    /// Whether it is that of a pseudo-header field (RFC 9113 section 8.3).
    pub(super) fn is_pseudo(self) -> bool {
        self.is_pseudo
    }

    /// Whether it is `:path`, since a request has no other such field of this length.
    pub(super) fn is_path(self) -> bool {
        self.is_pseudo && self.length == 5
    }
}

/// The dynamic table of one connection. It takes no memory before its first entry, and less than a kilobyte later.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest is first.
    entries: VecDeque<Entry>,
    /// Of all entries together, as section 4.1 counts.
    size: usize,
    max: usize,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    size: u16,
}

impl Default for Table {
    fn default() -> Table {
        Table { entries: VecDeque::new(), size: 0, max: SIZE_MAX }
    }
}

impl Table {
    /// The name of the field with this number in both tables, if there is one.
    pub(super) fn name(&self, number: usize) -> Option<Name> {
        let index = number.checked_sub(1)?;
        match STATIC_NAMES.get(index) {
            Some(length) => Some(Name { length: *length, is_pseudo: index < STATIC_PSEUDO }),
            None => self.entries.get(index - STATIC_NAMES.len()).map(|entry| entry.name),
        }
    }

    /// Adds a field; one that is larger than the table empties it (section 4.4).
    pub(super) fn insert(&mut self, name: Name, value_length: usize) {
        let size = usize::from(name.length) + value_length + ENTRY_BYTES;
        self.shrink_to(self.max.saturating_sub(size));
        if let Ok(entry_size) = u16::try_from(size)
            && size <= self.max
        {
            self.entries.push_front(Entry { name, size: entry_size });
            self.size += size;
        }
    }

    /// Has it hold no more than so much from now on (section 4.3). Returns whether it may.
    pub(super) fn resize(&mut self, max: usize) -> bool {
        if max > SIZE_MAX {
            return false;
        }
        self.max = max;
        self.shrink_to(max);
        true
    }

    fn shrink_to(&mut self, room: usize) {
        while self.size > room
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= usize::from(oldest.size);
        }
    }

    /// Its size as section 4.1 counts, and how many entries it has.
    #[cfg(test)]
    pub(super) fn measure(&self) -> (usize, usize) {
        (self.size, self.entries.len())
    }
}

/// What a client may use unless it is told otherwise (RFC 9113 section 6.5.2), which hyper does not.
const SIZE_MAX: usize = 4096;

/// What an entry counts besides its name and value.
const ENTRY_BYTES: usize = 32;

/// The lengths of the names in the static table (appendix A).
const STATIC_NAMES: [u16; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];

/// How many of them, from the first on, begin with `:`.
const STATIC_PSEUDO: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use loona_hpack::Decoder;

    #[test]
    fn the_static_table_is_that_of_an_independent_decoder() {
        let table = Table::default();
        for number in 1..=61 {
            let (name, _) = Decoder::new().decode(&[0x80 | number]).unwrap().remove(0);
            let expected = Name::new(name.len(), name.starts_with(b":"));
            assert_eq!(table.name(number.into()), Some(expected), "{number}");
            assert_eq!(expected.is_path(), name == b":path", "{number}");
        }
        assert_eq!((table.name(0), table.name(62), table.name(usize::MAX)), (None, None, None));
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let mut table = Table::default();
        let name = |length| Name::new(length, false);
        for length in 1..=4 {
            table.insert(name(length), 1000);
        }
        // 4096 bytes are one too few for all of them.
        assert_eq!(table.measure(), (3 * 1032 + 2 + 3 + 4, 3));
        assert_eq!([62, 63, 64, 65].map(|number| table.name(number)), [4, 3, 2, 0].map(|n| (n > 0).then(|| name(n))));
        assert!(table.resize(1036 + 1035));
        assert_eq!(table.measure(), (1036 + 1035, 2));
        assert!(!table.resize(4097) && table.resize(4096));
    }

    #[test]
    fn one_that_is_too_large_leaves_none() {
        for (name_length, value_length) in [(1, 4064), (70_000, 0), (0, 1 << 30)] {
            let mut table = Table::default();
            table.insert(Name::new(1, false), 4063);
            assert_eq!(table.measure(), (4096, 1));
            table.insert(Name::new(name_length, false), value_length);
            assert_eq!(table.measure(), (0, 0), "{name_length} and {value_length} bytes");
        }
    }

    #[test]
    fn there_are_128_entries_at_most() {
        let mut table = Table::default();
        (0..1000).for_each(|_| table.insert(Name::default(), 0));
        assert_eq!(table.measure(), (4096, 128));
    }
}
