//! The part of a request's body that is held: what no node has had yet, and what may have to be sent again.

use bytes::Bytes;
use bytes::BytesMut;

/// What was taken of a body from its client, for as long as it is needed.
///
/// It is a copy, because a piece would keep the whole buffer that it was read into: a client that sends its body byte
/// by byte could make that a thousand times as large.
#[derive(Debug)]
pub(crate) struct HeldBody {
    bytes: BytesMut,
    /// How many of them went on their way in the attempt of the moment.
    passed: usize,
    /// A body of at most so many bytes is held until it need not be sent again.
    replay_max: usize,
    /// Whether `bytes` begins where the body does.
    is_whole: bool,
}

impl HeldBody {
    /// Nothing was taken yet. With a `replay_max` of 0 nothing is held that went on its way.
    pub(crate) fn new(replay_max: usize) -> HeldBody {
        HeldBody { bytes: BytesMut::new(), passed: 0, replay_max, is_whole: true }
    }

    /// Whether the body is to be sent again if need be.
    pub(crate) fn is_replayable(&self) -> bool {
        self.replay_max > 0
    }

    /// Whether nothing is lost of what was taken.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// What went on its way is not needed again.
    pub(crate) fn forget(&mut self) {
        self.replay_max = 0;
        if self.passed > 0 {
            // A copy, because the rest of a buffer keeps all of it.
            let waiting = BytesMut::from(&self.bytes[self.passed..]);
            (self.bytes, self.passed, self.is_whole) = (waiting, 0, false);
        }
    }

    /// Holds the next piece, which waits for being sent.
    pub(crate) fn keep(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Holds the next piece, which goes on its way at once, as does all before it; or gives up holding what has become
    /// too much, or has no more room.
    pub(crate) fn pass(&mut self, piece: &[u8], has_room: impl FnOnce() -> bool) {
        if self.is_whole && self.bytes.len() + piece.len() <= self.replay_max && has_room() {
            self.bytes.extend_from_slice(piece);
            self.passed = self.bytes.len();
        } else {
            (self.bytes, self.passed, self.is_whole) = (BytesMut::new(), 0, false);
        }
    }

    /// How much memory that takes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many bytes wait for being sent.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.passed
    }

    /// Takes what waits for being sent; `None` when nothing does.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if self.waiting() == 0 {
            return None;
        }
        if self.is_whole && self.bytes.len() <= self.replay_max {
            let next = Bytes::copy_from_slice(&self.bytes[self.passed..]);
            self.passed = self.bytes.len();
            return Some(next);
        }
        self.is_whole = false;
        let next = std::mem::take(&mut self.bytes).split_off(self.passed);
        self.passed = 0;
        Some(next.freeze())
    }

    /// Makes all that was taken wait again; whether it still begins where the body does.
    pub(crate) fn rewind(&mut self) -> bool {
        self.passed = 0;
        self.is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that waits.
    fn rest(held: &mut HeldBody) -> Vec<u8> {
        let mut rest = Vec::new();
        while let Some(piece) = held.next() {
            rest.extend_from_slice(&piece);
        }
        assert_eq!(held.waiting(), 0);
        rest
    }

    #[test]
    fn what_was_taken_ahead_goes_first_and_is_forgotten_when_it_is_too_much() {
        for (replay_max, is_held) in [(0, false), (3, false), (4, true)] {
            let mut held = HeldBody::new(replay_max);
            held.keep(b"ab");
            held.keep(b"cd");
            assert!(held.rewind(), "nothing is lost before it was sent");
            assert_eq!(rest(&mut held), b"abcd", "{replay_max}");
            assert_eq!(held.rewind(), is_held, "{replay_max}");
            assert_eq!(rest(&mut held), if is_held { &b"abcd"[..] } else { b"" }, "{replay_max}");
        }
    }

    #[test]
    fn a_body_is_whole_again_until_it_has_become_too_large() {
        let mut held = HeldBody::new(4);
        held.pass(b"a", || true);
        held.pass(b"bc", || true);
        assert!(held.rewind());
        assert_eq!(rest(&mut held), b"abc");
        held.pass(b"d", || true);
        assert!(held.rewind());
        assert_eq!(rest(&mut held), b"abcd");
        held.pass(b"e", || true);
        assert!(!held.rewind());
        assert_eq!(rest(&mut held), b"");
        held.pass(b"f", || true);
        assert!(!held.rewind(), "what is lost stays lost");
    }

    #[test]
    fn a_body_that_is_never_sent_again_or_has_no_room_is_not_held() {
        for (replay_max, has_room) in [(0, true), (4, false)] {
            let mut held = HeldBody::new(replay_max);
            assert_eq!(held.is_replayable(), replay_max > 0);
            held.pass(b"abc", || has_room);
            assert_eq!((held.size(), held.rewind()), (0, false), "{replay_max}");
        }
    }
}
