//! Counts what a client of HTTP/2 sends without asking for anything, which hyper answers for as long as it comes.

use std::time::Duration;
use tokio::time::Instant;

/// Follows the frames of one connection (RFC 9113 section 4.1) from its first byte.
#[derive(Debug)]
pub(crate) struct FrameMeter {
    /// Bytes until the next frame begins.
    left: usize,
    head: [u8; HEAD_BYTES],
    /// How much of it has come.
    head_length: usize,
    count: u32,
    max: u32,
    /// Since when frames are counted.
    since: Option<Instant>,
}

/// How long frames are counted together.
const WINDOW: Duration = Duration::from_secs(10);

const HEAD_BYTES: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;

/// A frame of padding alone is no longer.
const PADDING_BYTES_MAX: usize = 256;

impl FrameMeter {
    /// One for a connection that begins with so many other bytes, and may send `max` such frames in ten seconds.
    pub(crate) fn new(before: usize, max: u32) -> FrameMeter {
        FrameMeter { left: before, head: [0; HEAD_BYTES], head_length: 0, count: 0, max, since: None }
    }

    /// Looks at the bytes that came next, and says whether they are still bearable.
    pub(crate) fn allows(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD_BYTES - self.head_length).min(bytes.len());
            self.head[self.head_length..][..taken].copy_from_slice(&bytes[..taken]);
            self.head_length += taken;
            bytes = &bytes[taken..];
            if self.head_length == HEAD_BYTES && !self.begin_frame() {
                return false;
            }
        }
        true
    }

    /// The head of a frame is complete.
    fn begin_frame(&mut self) -> bool {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.left = length;
        self.head_length = 0;
        !asks_nothing(kind, flags, length) || self.count()
    }

    fn count(&mut self) -> bool {
        if self.count == self.max && self.since.is_some_and(|since| since.elapsed() >= WINDOW) {
            self.count = 0;
        }
        if self.count == 0 {
            self.since = Some(Instant::now());
        }
        self.count += 1;
        self.count <= self.max
    }
}

/// Whether a frame takes an answer, or at least a look, and moves no request forward. Heads, resets and what windows
/// are opened for have limits of their own.
fn asks_nothing(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        DATA => {
            let is_empty = length == 0 || (flags & PADDED != 0 && length <= PADDING_BYTES_MAX);
            is_empty && flags & END_STREAM == 0
        }
        HEADERS | RST_STREAM | WINDOW_UPDATE | CONTINUATION => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: u8 = 0x4;
    const PING: u8 = 0x6;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![PING; usize::from(length)]].concat()
    }

    /// How many of the same frame are bearable, in pieces of `size` bytes.
    fn bearable(bytes: &[u8], size: usize, max: u32) -> usize {
        let mut meter = FrameMeter::new(0, max);
        (0..100).take_while(|_| bytes.chunks(size).all(|piece| meter.allows(piece))).count()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_ask_nothing_are_counted_and_others_are_not() {
        for (kind, flags, length, expected) in [
            (SETTINGS, 0, 6, 5),
            (PING, 0, 8, 5),
            (0x2, 0, 5, 5),
            (0xfa, 0, 0, 5),
            (DATA, 0, 0, 5),
            (DATA, PADDED, 100, 5),
            (DATA, END_STREAM, 0, 100),
            (DATA, 0, 1, 100),
            (HEADERS, 0, 20, 100),
            (RST_STREAM, 0, 4, 100),
            (WINDOW_UPDATE, 0, 4, 100),
            (CONTINUATION, 0, 200, 100),
        ] {
            let bytes = frame(kind, flags, length);
            for size in [1, 7, bytes.len()] {
                assert_eq!(bearable(&bytes, size, 5), expected, "kind {kind}, flags {flags}, {length} B by {size}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_before_the_first_frame_is_none() {
        let mut meter = FrameMeter::new(24, 1);
        assert!(meter.allows(&[PING; 24]));
        assert!(meter.allows(&frame(PING, 0, 8)));
        assert!(!meter.allows(&frame(PING, 0, 8)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pings_now_and_then_may_do_so_for_ever() {
        let mut meter = FrameMeter::new(0, 5);
        for turn in 0..100 {
            assert!(meter.allows(&frame(PING, 0, 8)), "ping {turn}");
            tokio::time::advance(WINDOW / 5).await;
        }
    }
}
