//! Text of strangers, made fit for terminals and logs.

/// Whether a character shows as itself wherever text is shown: no control character of any kind, no line or paragraph
/// separator, nothing that is invisible or turns the direction of what follows.
pub fn is_printable(character: char) -> bool {
    // The standard library decides by the Unicode data that Rust's own output of strings goes by.
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1
}

/// A text with everything escaped that does not show as itself, cut to `chars_max` of its characters.
pub fn printable(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(chars_max));
    for character in text.chars().take(chars_max) {
        match is_printable(character) {
            true => shown.push(character),
            false => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_terminals_and_readers_of_logs_would_act_on_is_escaped() {
        for (text, shown) in [
            ("plain text, 'quoted' \"twice\" \\", "plain text, 'quoted' \"twice\" \\"),
            ("Zürich 部屋 🦀", "Zürich 部屋 🦀"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("line\r\nbreak", "line\\r\\nbreak"),
            ("del\u{7f} c1\u{9b}31m", "del\\u{7f} c1\\u{9b}31m"),
            ("\u{2028}\u{2029}\u{85}", "\\u{2028}\\u{2029}\\u{85}"),
            ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
        ] {
            assert_eq!(printable(text, 100), shown, "{text:?}");
        }
    }

    #[test]
    fn long_text_is_cut_by_characters() {
        assert_eq!(printable("ääää", 3), "äää");
    }
}
