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

/// The status in a head of a response, whose first field it has to be; `None` where it cannot be read.
pub(crate) fn status(mut block: &[u8]) -> Option<u16> {
    // A change of the size of the table may come before it.
    while let [0x20..0x40, rest @ ..] = block {
        block = rest;
    }
    let (first, rest) = block.split_first()?;
    match first {
        0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)]),
        0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e => number(rest),
        _ => None,
    }
}

/// A string of digits.
fn number(string: &[u8]) -> Option<u16> {
    let (length, rest) = string.split_first()?;
    let digits = rest.get(..usize::from(length & 0x7f))?;
    let text = if length & 0x80 == 0 { String::from_utf8_lossy(digits).into_owned() } else { huffman_digits(digits)? };
    text.parse().ok()
}

/// Three digits in Huffman's code (RFC 7541 appendix B): 0 to 2 take five bits, 3 to 9 take six.
fn huffman_digits(bytes: &[u8]) -> Option<String> {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let value = |bits: &[u8]| bits.iter().fold(0, |value, bit| value << 1 | bit);
    let (mut text, mut at) = (String::new(), 0);
    while text.len() < 3 {
        let short = value(bits.get(at..at + 5)?);
        let (digit, length) = match short {
            0..=2 => (short, 5),
            _ => (value(bits.get(at..at + 6)?).checked_sub(0x19)? + 3, 6),
        };
        text.push(char::from_digit(u32::from(digit), 10)?);
        at += length;
    }
    Some(text)
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
