//! Frames of HTTP/2 written by hand, and read as far as the suite needs it: RFC 9113 section 4, RFC 7541 sections 5
//! and 6.

/// What a client says first, with a header table of no size, so that no response refers to another one.
pub(crate) fn preface() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])].concat()
}

/// The answer to the settings of the server.
pub(crate) fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, 1, 0, &[])
}

/// A head in one frame; `flags` are [`END_STREAM`] and [`END_HEADERS`].
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

/// More of a head.
pub(crate) fn continuation(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(CONTINUATION, flags, stream, block)
}

pub(crate) fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

/// Gives a stream up, as one that is no longer wanted.
pub(crate) fn cancel(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

/// Fields as literals that no table remembers, without Huffman's code.
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// The whole frames in what came.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, id @ ..] = bytes
        && let Some((id, rest)) = id.split_first_chunk::<4>()
        && let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c)
        && let Some((payload, rest)) = rest.split_at_checked(length)
    {
        frames.push(Frame { kind: *kind, flags: *flags, stream: u32::from_be_bytes(*id), payload });
        bytes = rest;
    }
    frames
}

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

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of a few kB").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// An integer with a prefix of seven bits.
fn push_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(0x7f) else {
        return block.push(length.to_le_bytes()[0]);
    };
    block.push(0x7f);
    while rest >= 0x80 {
        block.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    block.push(rest.to_le_bytes()[0]);
}
