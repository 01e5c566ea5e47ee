//! The code of Huffman that HPACK writes texts in (RFC 7541 appendix B), as far as it takes to count characters.
//!
//! It is canonical: longer codes are larger numbers, so that the bits that come next say by their size alone how long
//! the code is that they begin with. Which character that is, hardly ever matters here.

/// Counts the characters of one text, which comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Codes {
    /// What has come and belongs to no whole code yet, in the lowest bits.
    bits: u64,
    /// How many of them.
    count: u32,
}

/// One character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code {
    bits: u64,
    length: u32,
}

/// That of `#`. The code of `>` differs in the last bit.
const HASH: Code = Code { bits: 0xffa, length: 12 };

/// Whether a text with these bytes at its beginning begins with `:`, whose code is seven bits long.
pub(super) fn begins_with_colon(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 1 == 0x5c)
}

impl Codes {
    /// Whether nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes a piece, and gives how many characters are complete with it. What is left at the end of the text is none,
    /// but padding.
    pub(super) fn count(&mut self, piece: &[u8]) -> usize {
        let (words, rest) = piece.as_chunks::<4>();
        let in_words: usize = words.iter().map(|word| self.push(u32::from_be_bytes(*word).into(), 32)).sum();
        in_words + rest.iter().map(|byte| self.push((*byte).into(), 8)).sum::<usize>()
    }

    /// Takes a piece as [`Codes::count`] does, and makes each `#` in it a `>`.
    pub(super) fn count_and_spoil(&mut self, piece: &mut [u8]) -> usize {
        let mut characters = 0;
        for byte in piece {
            self.bits = self.bits << 8 | u64::from(*byte);
            self.count += 8;
            while let Some(code) = self.next() {
                characters += 1;
                if code == HASH {
                    *byte ^= 1 << self.count;
                }
            }
        }
        characters
    }

    /// Whether a `#` may be complete with this piece: only where nine ones come in a row, as at its beginning.
    pub(super) fn may_have_hash(&self, piece: &[u8]) -> bool {
        let mut bits = self.bits;
        let (words, rest) = piece.as_chunks::<4>();
        words.iter().any(|word| {
            bits = bits << 32 | u64::from(u32::from_be_bytes(*word));
            has_nine_ones(bits)
        }) || has_nine_ones(rest.iter().fold(bits, |bits, byte| bits << 8 | u64::from(*byte)))
    }

    /// Takes so many bits, at most 32, and gives how many characters are complete with them.
    fn push(&mut self, bits: u64, count: u32) -> usize {
        self.bits = self.bits << count | bits;
        self.count += count;
        let mut characters = 0;
        while self.count >= 8
            && let length @ 1.. = SHORT_LENGTHS[usize::from((self.bits >> (self.count - 8)).to_le_bytes()[0])]
        {
            self.count -= u32::from(length);
            characters += 1;
        }
        while self.next().is_some() {
            characters += 1;
        }
        characters
    }

    /// The next code, if all of it has come.
    fn next(&mut self) -> Option<Code> {
        self.bits &= (1 << self.count) - 1;
        let bits = self.bits << (u64::BITS - self.count).min(u64::BITS - 1);
        let length = LIMITS.iter().find(|(_, limit)| bits < *limit).map_or(LENGTH_MAX, |(length, _)| *length);
        self.count = self.count.checked_sub(length)?;
        Some(Code { bits: self.bits >> self.count, length })
    }
}

fn has_nine_ones(bits: u64) -> bool {
    let two = bits & bits << 1;
    let four = two & two << 2;
    let eight = four & four << 4;
    eight & bits << 8 != 0
}

/// How many codes there are of each length; the longest, of which one ends texts and stands for nothing, are left out.
const LENGTHS: [(u32, u32); 20] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
];

const LENGTH_MAX: u32 = 30;

/// How long the code is that eight bits begin with; 0 where it is longer.
const SHORT_LENGTHS: [u8; 256] = short_lengths();

const fn short_lengths() -> [u8; 256] {
    let mut lengths = [0; 256];
    let (mut index, mut at) = (0, 0);
    while LENGTHS[index].0 <= u8::BITS {
        let (length, count) = LENGTHS[index];
        let end = at + ((count as usize) << (u8::BITS - length));
        while at < end {
            lengths[at] = length.to_le_bytes()[0];
            at += 1;
        }
        index += 1;
    }
    lengths
}

/// Each length, and what the bits of codes of that length or less stay below, written at the top of a word.
const LIMITS: [(u32, u64); LENGTHS.len()] = limits();

const fn limits() -> [(u32, u64); LENGTHS.len()] {
    let mut limits = [(0, 0); LENGTHS.len()];
    let (mut index, mut limit) = (0, 0);
    while index < LENGTHS.len() {
        let (length, count) = LENGTHS[index];
        limit += (count as u64) << (u64::BITS - length);
        limits[index] = (length, limit);
        index += 1;
    }
    limits
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use loona_hpack::Decoder;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    /// The code of every character, as an independent decoder reads all that the lengths give.
    static CODES: LazyLock<Vec<Code>> = LazyLock::new(|| {
        let mut codes = vec![None; 256];
        for code in canonical() {
            let [character] = decoded(&packed(&[code]))[..] else { panic!("{code:?} is not one character") };
            codes[usize::from(character)] = Some(code);
        }
        codes.into_iter().map(|code| code.expect("no character is without a code")).collect()
    });

    /// Codes in the order of their bits, but for the last one, which is no character.
    fn canonical() -> Vec<Code> {
        let (mut codes, mut bits, mut before) = (Vec::new(), 0u64, 0);
        for (length, count) in LENGTHS.into_iter().chain([(LENGTH_MAX, 3)]) {
            bits <<= length - before;
            let end = bits + u64::from(count);
            codes.extend((bits..end).map(|bits| Code { bits, length }));
            (bits, before) = (end, length);
        }
        assert_eq!(bits, (1 << LENGTH_MAX) - 1, "one code is left, which is all ones");
        codes
    }

    /// As bytes, the last of which ends with ones.
    fn packed(codes: &[Code]) -> Vec<u8> {
        let digit = |code: &Code, place: u32| code.bits >> place & 1;
        let digits = codes.iter().flat_map(|code| (0..code.length).rev().map(move |place| digit(code, place)));
        let digits: Vec<u64> = digits.collect();
        let byte = |digits: &[u64]| (0..8).fold(0, |byte, at| byte << 1 | digits.get(at).copied().unwrap_or(1));
        digits.chunks(8).map(|digits| byte(digits).to_le_bytes()[0]).collect()
    }

    /// What they stand for to that decoder, as the value of a field.
    fn decoded(bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).expect("a short text");
        let block = [&[0, 1, b'x', 0x80 | length], bytes].concat();
        Decoder::new().decode(&block).expect("a field").remove(0).1
    }

    /// Writes a text in this code.
    pub(in crate::proxy::field_walk) fn encode(text: &[u8]) -> Vec<u8> {
        packed(&text.iter().map(|character| CODES[usize::from(*character)]).collect::<Vec<_>>())
    }

    /// How many characters pieces of `size` bytes have, and how many bits are left.
    fn counted(bytes: &[u8], size: usize) -> (usize, u32) {
        let mut codes = Codes::default();
        let characters = bytes.chunks(size).map(|piece| codes.count(piece)).sum();
        (characters, codes.count)
    }

    #[test]
    fn every_character_has_the_code_that_an_independent_decoder_reads() {
        let distinct: BTreeSet<_> = CODES.iter().map(|code| (code.length, code.bits)).collect();
        assert_eq!(distinct.len(), 256);
        assert_eq!(CODES[usize::from(b'#')], HASH);
        assert_eq!(CODES[usize::from(b'>')].bits, HASH.bits ^ 1);
        assert_eq!(encode(b"www.example.com"), b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "appendix C.4.1");
        for character in 0..=255 {
            assert_eq!(begins_with_colon(&encode(&[character])), character == b':', "{character}");
        }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let character = prop_oneof![any::<u8>(), b'a'..=b'z', Just(b'#'), Just(b'?'), Just(b'/')];
        vec(character, 0..60)
    }

    proptest! {
        #[test]
        fn characters_are_counted(text in text(), size in 1usize..20) {
            let (characters, left) = counted(&encode(&text), size);
            prop_assert_eq!(characters, text.len());
            prop_assert!(left < 8, "{} bits", left);
        }

        #[test]
        fn a_hash_is_spoiled_and_never_overlooked(text in text(), size in 1usize..20) {
            let mut bytes = encode(&text);
            let (mut codes, mut characters) = (Codes::default(), 0);
            for piece in bytes.chunks_mut(size) {
                let is_spoiled = codes.may_have_hash(piece);
                characters += if is_spoiled { codes.count_and_spoil(piece) } else { codes.count(piece) };
            }
            let spoilt: Vec<u8> = text.iter().map(|byte| if *byte == b'#' { b'>' } else { *byte }).collect();
            prop_assert_eq!((bytes, characters), (encode(&spoilt), text.len()));
        }

        #[test]
        fn whatever_comes_is_taken(
            bytes in vec(prop_oneof![any::<u8>(), Just(0xff)], 0..60),
            size in 1usize..20,
        ) {
            let (characters, left) = counted(&bytes, size);
            prop_assert!(left < LENGTH_MAX, "{} bits", left);
            prop_assert!(characters <= 8 * bytes.len() / 5, "{} characters", characters);
            let mut codes = Codes::default();
            let spoiling: usize = bytes.clone().chunks_mut(size).map(|piece| codes.count_and_spoil(piece)).sum();
            prop_assert_eq!((spoiling, codes.count), (characters, left));
        }
    }
}
