//! The head of a response in HTTP/2, read as far as the suite needs it: RFC 7541 sections 5 and 6.

/// The status in a head of a response, and the length that it says; `None` for what is not there or cannot be read.
pub(crate) fn status_and_length(block: &[u8]) -> (Option<u16>, Option<usize>) {
    let fields = fields(block).unwrap_or_default();
    let value = |field: &Field<'_>| field.value.as_ref().and_then(Text::number);
    let status = fields.first().and_then(|field| match (field.name, &field.value) {
        (8..=14, None) => Some([200, 204, 206, 304, 400, 404, 500][field.name - 8]),
        (8..=14, Some(_)) => value(field).and_then(|status| u16::try_from(status).ok()),
        _ => None,
    });
    (status, fields.iter().find(|field| field.name == CONTENT_LENGTH).and_then(value))
}

/// The place of its name in the static table.
const CONTENT_LENGTH: usize = 28;

/// A field of a head.
struct Field<'a> {
    /// The place of its name in the static table, or 0.
    name: usize,
    /// Its value, unless that is in the table too.
    value: Option<Text<'a>>,
}

struct Text<'a> {
    is_huffman: bool,
    bytes: &'a [u8],
}

fn fields(mut block: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while let Some(first) = block.first().copied() {
        match first {
            0x80.. => fields.push(Field { name: integer(&mut block, 7)?, value: None }),
            // Another size of the table.
            0x20..0x40 => drop(integer(&mut block, 5)?),
            _ => {
                let name = integer(&mut block, if first < 0x40 { 4 } else { 6 })?;
                if name == 0 {
                    Text::take(&mut block)?;
                }
                fields.push(Field { name, value: Some(Text::take(&mut block)?) });
            }
        }
    }
    Some(fields)
}

impl<'a> Text<'a> {
    fn take(block: &mut &'a [u8]) -> Option<Text<'a>> {
        let is_huffman = block.first()? & 0x80 != 0;
        let length = integer(block, 7)?;
        let (bytes, rest) = block.split_at_checked(length)?;
        *block = rest;
        Some(Text { is_huffman, bytes })
    }

    /// The number that it is.
    fn number(&self) -> Option<usize> {
        if self.is_huffman {
            huffman_digits(self.bytes).parse().ok()
        } else {
            std::str::from_utf8(self.bytes).ok()?.parse().ok()
        }
    }
}

/// Digits in Huffman's code (RFC 7541 appendix B): 0 to 2 take five bits, 3 to 9 take six. Bits of 1 fill the last
/// byte.
fn huffman_digits(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let value = |bits: &[u8]| bits.iter().fold(0, |value, bit| value << 1 | u32::from(*bit));
    let (mut text, mut at) = (String::new(), 0);
    while let Some(short) = bits.get(at..at + 5).map(value) {
        let long = bits.get(at..at + 6).map(value);
        let (digit, length) = match (short, long) {
            (0..=2, _) => (short, 5),
            (_, Some(long @ 0x19..=0x1f)) => (long - 0x16, 6),
            _ => break,
        };
        text.extend(char::from_digit(digit, 10));
        at += length;
    }
    text
}

/// An integer behind the other bits of its first byte.
fn integer(block: &mut &[u8], bits: u32) -> Option<usize> {
    let mut next = || {
        let (first, rest) = block.split_first()?;
        *block = rest;
        Some(usize::from(*first))
    };
    let most = (1 << bits) - 1;
    let mut value = next()? & most;
    if value < most {
        return Some(value);
    }
    for shift in (0..28).step_by(7) {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
