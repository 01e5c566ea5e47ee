//! Values as text: environment variables inside strings, durations, sizes and decimal numbers.

use std::time::Duration;

/// Fills in `${VAR}` and `${VAR:-default}`; `$$` stands for `$`. As in a shell, an empty variable takes the
/// default.
pub(super) fn expand(written: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (reference, after) = after.split_once('}').ok_or("`${` without `}`; write `$$` for a dollar sign")?;
            expanded.push_str(&look_up(reference, environment)?);
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Parses `500ms`, `2s`, `1m 30s`.
pub(super) fn parse_duration(written: &str) -> Result<Duration, String> {
    humantime::parse_duration(written).map_err(|_| {
        format!("`{written}` is not a duration; write a number with a unit, such as \"500ms\", \"2s\" or \"5m\"")
    })
}

/// Parses `64KiB`, `1MB` or plain bytes.
pub(super) fn parse_size(written: &str) -> Result<usize, String> {
    let digits = written.find(|c: char| !c.is_ascii_digit()).unwrap_or(written.len());
    let (number, unit) = written.split_at(digits);
    let unit = unit.trim_start();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| {
        format!(
            "`{written}` is not a size; write a number with KiB, MiB, GiB, KB, MB or GB, such as \
             \"64KiB\""
        )
    })
}

/// Parses `1.25` or `2` as thousandths; without floating point, so that what is written is what counts.
pub(crate) fn parse_decimal(written: &str) -> Result<u64, String> {
    let digits = written.strip_prefix('+').unwrap_or(written).replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    let way_out = "write it such as 1.25, with at most three digits after the point";
    if whole.is_empty() || fraction.len() > 3 || !is_number(whole) || !is_number(fraction) {
        return Err(format!("{written} is not a decimal number that can be taken; {way_out}"));
    }
    let thousandths = format!("{whole}{fraction:0<3}").parse();
    thousandths.map_err(|_| format!("{written} is too large; {way_out}"))
}

/// Thousandths as a decimal number, without zeros that say nothing.
pub(crate) fn format_decimal(thousandths: u64) -> String {
    let (whole, fraction) = (thousandths / 1000, format!("{:03}", thousandths % 1000));
    match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// A size in the largest unit that needs no fraction.
pub(super) fn format_size(bytes: usize) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// A path that is not empty.
pub fn parse_path(written: &str) -> Result<String, String> {
    if written.is_empty() {
        return Err("the path is empty; leave the setting out, or name a file".to_owned());
    }
    Ok(written.to_owned())
}

fn look_up(reference: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("`{name}` is not the name of an environment variable; write `$$` for a dollar sign"));
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            Err(format!("environment variable `{name}` is not set; set it, or give a default: `${{{name}:-default}}`"))
        }
    }
}

/// What a size may end in, and the bytes it stands for.
const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("chat.example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in_as_a_shell_would() {
        for (written, expected) in [
            ("plain", "plain"),
            ("${HOST}:80", "chat.example.com:80"),
            ("${HOST:-x}", "chat.example.com"),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${EMPTY:-fallback}", "fallback"),
            ("${EMPTY}", ""),
            ("$${HOST}", "${HOST}"),
            ("a$b$", "a$b$"),
        ] {
            assert_eq!(expand(written, &environment).as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_filled_in_is_an_error() {
        for (written, expected) in
            [("${UNSET}", "`UNSET` is not set"), ("${HOST", "without `}`"), ("${a b}", "not the name")]
        {
            let error = expand(written, &environment).unwrap_err();
            assert!(error.contains(expected), "{written}: {error}");
        }
    }

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        for (written, bytes) in
            [("512", 512), ("64KiB", 65_536), ("64 KiB", 65_536), ("1MB", 1_000_000), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse_size(written), Ok(bytes), "{written}");
        }
        for written in ["", "KiB", "-1", "1.5MiB", "64k", "99999999999GiB"] {
            assert!(parse_size(written).is_err(), "{written}");
        }
    }

    #[test]
    fn a_formatted_size_reads_back() {
        for bytes in [0, 1, 1_023, 1_024, 65_536, 1 << 20, (1 << 20) + 1, 3 << 30] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn a_decimal_number_is_taken_as_it_is_written() {
        for (written, thousandths, printed) in [
            ("1.25", 1250, "1.25"),
            ("2", 2000, "2"),
            ("+0.001", 1, "0.001"),
            ("1_000.500", 1_000_500, "1000.5"),
            ("18014398509481.985", 18_014_398_509_481_985, "18014398509481.985"),
        ] {
            assert_eq!(parse_decimal(written), Ok(thousandths), "{written}");
            assert_eq!(format_decimal(thousandths), printed);
        }
        for written in ["", ".5", "-1", "1.0005", "1e3", "inf", "nan", "1.2.3", "99999999999999999999"] {
            let error = parse_decimal(written).unwrap_err();
            assert!(error.contains("; write it such as 1.25"), "{written}: {error}");
        }
    }
}
