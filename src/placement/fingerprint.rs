//! A short digest that two proxies compare to know that they place every key alike.

use serde::Deserialize;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::Xxh3Default;

/// Digest of a built placement together with the key rule: equal means every key lands on the same node name.
/// Shown, and written in JSON, as 16 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9a-f]{16}$", example = "9f3c01d2a4b5e677")]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// Accepts exactly what [`fmt::Display`] writes. The error is a sentence for the user.
impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Fingerprint, String> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = Some(text).filter(|text| text.len() == 16 && text.bytes().all(is_hex));
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Fingerprint)
            .ok_or_else(|| format!("`{text}` is not a fingerprint; one has 16 lower-case hex digits"))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Fingerprint, String> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

/// XXH3 over a sequence of values, each written so that no two different sequences give the same bytes:
/// numbers in a fixed width, little-endian, and everything of variable length after its length.
pub(crate) struct Digest(Xxh3Default);

impl Digest {
    /// `domain` sets digests of different things apart, even over equal values.
    pub(crate) fn new(domain: &str) -> Digest {
        let mut digest = Digest(Xxh3Default::new());
        digest.text(domain);
        digest
    }

    pub(crate) fn length(&mut self, length: usize) {
        let length = u64::try_from(length).expect("a length in memory fits 64 bits");
        self.0.update(&length.to_le_bytes());
    }

    pub(crate) fn number(&mut self, number: u32) {
        self.0.update(&number.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.update(text.as_bytes());
    }

    pub(crate) fn positions(&mut self, positions: &[u64]) {
        self.length(positions.len());
        self.blocks(positions, u64::to_le_bytes);
    }

    pub(crate) fn indexes(&mut self, indexes: &[u16]) {
        self.length(indexes.len());
        self.blocks(indexes, u16::to_le_bytes);
    }

    /// Many numbers at a time, for speed: the digest is that of all their bytes.
    fn blocks<T: Copy, const BYTES: usize>(&mut self, numbers: &[T], to_bytes: impl Fn(T) -> [u8; BYTES]) {
        let mut block = [[0; BYTES]; BLOCK];
        for numbers in numbers.chunks(BLOCK) {
            for (bytes, number) in block.iter_mut().zip(numbers) {
                *bytes = to_bytes(*number);
            }
            self.0.update(block[..numbers.len()].as_flattened());
        }
    }

    pub(crate) fn finish(self) -> Fingerprint {
        Fingerprint(self.0.digest())
    }
}

/// Numbers hashed at a time.
const BLOCK: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_sixteen_digits_and_reads_back() {
        let fingerprint = Fingerprint(0xab);
        assert_eq!(fingerprint.to_string(), "00000000000000ab");
        assert_eq!("00000000000000ab".parse(), Ok(fingerprint));
        assert_eq!(serde_json::to_string(&fingerprint).unwrap(), r#""00000000000000ab""#);
        assert_eq!(serde_json::from_str::<Fingerprint>(r#""00000000000000ab""#).unwrap(), fingerprint);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in ["ab", "00000000000000AB", "+0000000000000ab", "00000000000000abc", ""] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }

    #[test]
    fn where_one_text_ends_and_the_next_begins_matters() {
        let digest = |texts: [&str; 2]| {
            let mut digest = Digest::new("test");
            texts.iter().for_each(|text| digest.text(text));
            digest.finish()
        };
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
    }

    #[test]
    fn numbers_hash_alike_in_blocks_and_one_by_one() {
        for count in [0, 1, 127, 128, 129, 300] {
            let positions: Vec<u64> = (0..count).map(|number| number << 40 | number).collect();
            let mut bytes = Digest::new("test");
            bytes.length(positions.len());
            positions.iter().for_each(|position| bytes.0.update(&position.to_le_bytes()));
            let mut blocks = Digest::new("test");
            blocks.positions(&positions);
            assert_eq!(blocks.finish(), bytes.finish(), "{count}");
        }
    }
}
