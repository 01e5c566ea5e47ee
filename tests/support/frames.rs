//! Frames of HTTP/2 written by hand, as no library would: RFC 9113 sections 4 and 6, RFC 7541 section 6.

#![allow(dead_code, reason = "each suite writes other frames")]

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const HEADER_TABLE_SIZE: u8 = 1;
pub(crate) const INITIAL_WINDOW_SIZE: u8 = 4;

/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 1;
/// Of HEADERS and DATA.
pub(crate) const END_STREAM: u8 = 1;
/// Of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 4;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of a few kB").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The beginning of a connection, with settings by their numbers.
pub(crate) fn preface(settings: &[(u8, u32)]) -> Vec<u8> {
    let pairs: Vec<u8> =
        settings.iter().flat_map(|(name, value)| [&[0, *name][..], &value.to_be_bytes()].concat()).collect();
    [PREFACE, &frame(SETTINGS, 0, 0, &pairs)].concat()
}

/// A head in one frame.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

/// A whole request of host `a` without a body.
pub(crate) fn request(stream: u32, method: &[u8], target: &[u8]) -> Vec<u8> {
    let fields: [(&[u8], &[u8]); 4] =
        [(b":method", method), (b":scheme", b"http"), (b":path", target), (b":authority", b"a")];
    headers(stream, END_STREAM | END_HEADERS, &fields)
}

/// Lets a stream send so many bytes more.
pub(crate) fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// Fields as literals that no table remembers, without Huffman's code.
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(0, name, value)).collect()
}

/// A field that is written out, and becomes number 62 of the table.
pub(crate) fn remembered(name: &str, value: &str) -> Vec<u8> {
    literal(0x40, name.as_bytes(), value.as_bytes())
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

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

fn literal(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut literal = vec![kind];
    for text in [name, value] {
        push_length(&mut literal, text.len());
        literal.extend_from_slice(text);
    }
    literal
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
