//! Output as a page shows it beside output as it came.

use crate::readme::document::Shown;
use crate::readme::tables::VARIABLE;

/// Why output is not as it is shown, for people; `None` when it is.
pub(crate) fn difference(shown: &[Shown], printed: &str) -> Option<String> {
    let got: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let lines: Vec<Line<'_>> = shown.iter().map(Line::of).collect();
    let reached = reach(&lines, &got).err()?;
    let (place, expected) =
        shown.get(reached.shown).map_or(("", "(the end)"), |line| (line.place.as_str(), line.text.as_str()));
    let came = got.get(reached.got).copied().unwrap_or("(the end)");
    Some(format!("  expected: {expected}   ({place})\n  got:      {came}\n  all that came:\n{}", indent(printed)))
}

/// Whether output has these lines somewhere in it.
pub(crate) fn holds(shown: &[Shown], printed: &str) -> bool {
    let got: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let lines: Vec<Line<'_>> = shown.iter().map(Line::of).collect();
    let lines = [&[Line::LeftOut][..], &lines, &[Line::LeftOut]].concat();
    reach(&lines, &got).is_ok()
}

/// Text as part of a message.
pub(crate) fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    | {line}\n")).collect()
}

/// Whether `text` is `pattern` with something in the place of each `*`.
pub(crate) fn is_like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(behind) = text.strip_prefix(start) else {
        return false;
    };
    let mut ends = behind.char_indices().map(|(at, character)| at + character.len_utf8());
    ends.any(|end| is_like(rest, &behind[end..]))
}

/// What a shown line stands for.
#[derive(Clone, Copy)]
enum Line<'a> {
    Exactly(&'a str),
    /// One or more lines like a pattern of [`VARIABLE`].
    Like(&'a str),
    /// `...`: lines that the page leaves out, if any.
    LeftOut,
}

impl<'a> Line<'a> {
    fn of(shown: &'a Shown) -> Line<'a> {
        let pattern = VARIABLE.iter().find(|(pattern, _)| is_like(pattern, &shown.text));
        match (shown.text.trim(), pattern) {
            ("...", _) => Line::LeftOut,
            (_, Some((pattern, _))) => Line::Like(pattern),
            _ => Line::Exactly(&shown.text),
        }
    }
}

/// How far two lists of lines agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    got: usize,
    shown: usize,
}

/// Holds all lines against all that came; tells the farthest place where that failed.
fn reach(lines: &[Line<'_>], got: &[&str]) -> Result<(), Reached> {
    let next = |more_lines: usize, more_got: usize| {
        let rest = reach(&lines[more_lines..], &got[more_got..]);
        rest.map_err(|at| Reached { got: at.got + more_got, shown: at.shown + more_lines })
    };
    let either = |one: Result<(), Reached>, other: &dyn Fn() -> Result<(), Reached>| {
        one.or_else(|reached| other().map_err(|also| also.max(reached)))
    };
    let here = Err(Reached { got: 0, shown: 0 });
    match (lines.first(), got.first()) {
        (None, None) => Ok(()),
        (Some(Line::LeftOut), None) => next(1, 0),
        (Some(Line::LeftOut), Some(_)) => either(next(1, 0), &|| next(0, 1)),
        (Some(Line::Exactly(text)), Some(came)) if text == came => next(1, 1),
        (Some(Line::Like(pattern)), Some(came)) if is_like(pattern, came) => either(next(1, 1), &|| next(0, 1)),
        _ => here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<Shown> {
        (1..).zip(text.lines()).map(|(at, line)| Shown { place: format!("P:{at}"), text: line.to_owned() }).collect()
    }

    #[test]
    fn output_is_compared_line_by_line() {
        for (expected, printed) in [
            ("a\nb", "a\nb\n"),
            ("a\n  ...\nc", "a\nb\nb\nc\n"),
            (
                "1 request in flight, 1 at a; closed in 5s",
                "2 in flight, 3 at a; closed in 4s\n1 in flight, 1 at a; closed in 3s",
            ),
        ] {
            assert_eq!(difference(&shown(expected), printed), None, "{expected}");
        }
        for (expected, printed, told) in [
            ("a\nb", "a\nc\n", "  expected: b   (P:2)\n  got:      c\n"),
            ("a\nb", "a\n", "  expected: b   (P:2)\n  got:      (the end)\n"),
            ("a", "a\nb\n", "  expected: (the end)   ()\n  got:      b\n"),
            ("a\n...\nc", "a\nb\n", "  expected: c   (P:3)\n  got:      (the end)\n"),
        ] {
            let difference = difference(&shown(expected), printed).unwrap();
            assert!(difference.starts_with(told), "{difference}");
        }
    }

    #[test]
    fn a_part_of_output_is_found_in_it() {
        assert!(holds(&shown("b\nc"), "a\nb\nc\nd\n"));
        assert!(!holds(&shown("b\nd"), "a\nb\nc\nd\n"));
    }

    #[test]
    fn a_star_stands_for_something() {
        assert!(is_like("a*c*", "abbcd") && is_like("*ä", "öä"));
        assert!(!is_like("a*c", "ac") && !is_like("a*c", "abcd") && !is_like("a", "ab"));
    }
}
