//! Times as nginx and HAProxy write them, and whether Ringway has such.

use crate::proxy::timeouts::TIMEOUTS;
use std::time::Duration;

/// The units of a program, in microseconds; the empty one is for a number alone.
pub(super) type Units = [(&'static str, u64)];

/// A number with its unit at the beginning of a text, to the next millisecond, and what stands behind it: `1m30s` is a
/// minute, and `30s`.
pub(super) fn first<'a>(written: &'a str, units: &Units) -> Option<(Duration, &'a str)> {
    let (digits, rest) = written.split_at(end_of(written, |c| c.is_ascii_digit()));
    let (unit, rest) = rest.split_at(end_of(rest, |c| c.is_ascii_alphabetic()));
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    let microseconds = digits.parse::<u64>().ok()?.checked_mul(*scale)?;
    Some((Duration::from_millis(microseconds.div_ceil(1_000)), rest))
}

/// Whether `timeouts` of a pool take it.
pub(super) fn is_taken(time: &Duration) -> bool {
    TIMEOUTS.contains(time)
}

/// Why a time is left out that they do not take.
pub(super) const NOT_TAKEN: &str =
    "times of Ringway are from 1ms to a day; this one stays at what Ringway has where nothing is said";

fn end_of(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_a_unit_or_that_of_the_program() {
        let units = [("", 1_000_000), ("ms", 1_000), ("us", 1), ("m", 60_000_000)];
        for (written, expected) in [
            ("250ms", Some((250, ""))),
            ("60", Some((60_000, ""))),
            ("1500us", Some((2, ""))),
            ("1m30s", Some((60_000, "30s"))),
            ("2m 1", Some((120_000, " 1"))),
            ("0", Some((0, ""))),
            ("1.5m", Some((1_000, ".5m"))),
            ("", None),
            ("m", None),
            ("5h", None),
            ("99999999999999999999", None),
            ("9999999999999999999m", None),
        ] {
            let found = first(written, &units).map(|(time, rest)| (time.as_millis(), rest));
            assert_eq!(found, expected, "{written}");
        }
    }
}
