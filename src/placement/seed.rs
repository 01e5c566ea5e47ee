//! A secret that decides where keys are, so that nobody who lacks it can choose keys that meet at one node.

use crate::placement::Fingerprint;
use siphasher::sip::SipHasher24;
use std::fmt;

/// 128 bits that all proxies of a pool share and its clients do not know.
///
/// Keys are hashed by SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), whose results say
/// nothing about the seed and cannot be foretold without it. XXH3 is faster and has no such claim: with any seed of its
/// own, keys that meet can be worked out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 16]);

impl Seed {
    /// Reads 32 hex digits, white space around them aside. The error is a sentence for the user, which does not show
    /// what was read.
    pub fn parse(text: &str) -> Result<Seed, String> {
        let digits = text.trim_ascii();
        let length = digits.chars().count();
        if length != 2 * SEED_BYTES || !digits.is_ascii() {
            return Err(format!(
                "a seed is {} hex digits, and this is {length} characters; {MAKE_ONE}",
                2 * SEED_BYTES
            ));
        }
        let mut seed = [0; SEED_BYTES];
        for (byte, pair) in seed.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(format!("a seed is hex digits only, and this has other characters; {MAKE_ONE}"));
            };
            *byte = high << 4 | low;
        }
        Ok(Seed(seed))
    }

    /// The position of a key.
    pub(crate) fn position(self, key: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(key)
    }

    /// Stands for the seed where that must not be seen: SipHash-2-4 of a fixed text.
    pub fn digest(self) -> Fingerprint {
        Fingerprint(self.position(DIGESTED))
    }

    /// Stands for the seed of another proxy, of which only the digest is known: that it differs can be told by it,
    /// where the keys are cannot.
    pub fn standing_in_for(digest: Fingerprint) -> Seed {
        let half = digest.0.to_le_bytes();
        let mut seed = [0; SEED_BYTES];
        seed.iter_mut().zip(half.iter().chain(&half)).for_each(|(byte, digested)| *byte = *digested);
        Seed(seed)
    }
}

/// Never shows the seed.
impl fmt::Debug for Seed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Seed(digest {})", self.digest())
    }
}

const SEED_BYTES: usize = 16;

/// What is hashed for the digest of a seed.
const DIGESTED: &[u8] = b"\0ringway seed digest 1";

const MAKE_ONE: &str = "make one with `openssl rand -hex 16`";

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed of the paper: the bytes 0 to 15.
    const OF_PAPER: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn positions_are_those_of_the_paper() {
        let seed = Seed::parse(OF_PAPER).unwrap();
        // Appendix A of the paper, and the first of the vectors that its reference implementation comes with.
        let key: Vec<u8> = (0..15).collect();
        assert_eq!(seed.position(&key), 0xa129_ca61_49be_45e5);
        assert_eq!(seed.position(b""), u64::from_le_bytes([0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]));
        assert_eq!(seed.position(&[0]), u64::from_le_bytes([0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]));
        assert_eq!(seed.position(&key[..8]), u64::from_le_bytes([0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93]));
    }

    #[test]
    fn a_seed_reads_in_either_case_with_a_line_end() {
        let seed = Seed::parse(OF_PAPER);
        assert_eq!(Seed::parse(&format!(" {}\r\n", OF_PAPER.to_ascii_uppercase())), seed);
    }

    #[test]
    fn what_is_no_seed_is_refused_and_not_shown() {
        for text in
            ["", "secret", &OF_PAPER[1..], &format!("{OF_PAPER}0"), &OF_PAPER.replace('f', "g"), &"ä".repeat(16)]
        {
            let error = Seed::parse(text).unwrap_err();
            assert!(text.len() < 6 || !error.contains(text), "{text}: {error}");
            assert!(error.contains("openssl rand -hex 16"), "{text}: {error}");
        }
    }

    #[test]
    fn only_its_digest_is_ever_shown() {
        let seed = Seed::parse(OF_PAPER).unwrap();
        let shown = format!("{seed:?} {}", seed.digest());
        assert!(!shown.contains("0001") && shown.contains(&seed.digest().to_string()), "{shown}");
    }

    #[test]
    fn one_that_stands_in_for_a_seed_differs_from_it_and_from_others() {
        let [seed, other] = [OF_PAPER, "ffffffffffffffffffffffffffffffff"].map(|text| Seed::parse(text).unwrap());
        let stands_in = Seed::standing_in_for(seed.digest());
        assert!(stands_in != seed && stands_in != Seed::standing_in_for(other.digest()));
    }
}
