//! Follows the frames that a client of HTTP/2 sends: how many come at a time and how many of them ask for nothing,
//! because hyper goes on for as long as they come, and whether one is under way that may never be whole. Heads and
//! trailers are shown to [`FieldWalk`].

use crate::proxy::field_walk::FieldWalk;
use crate::proxy::field_walk::PADDED;
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
    is_data: bool,
    /// Bytes of a body in the frame under way, without its padding.
    body: usize,
    /// Whether it begins with the length of that padding.
    is_padded: bool,
    /// Whether the head of a request goes on in the next frame (RFC 9113 section 4.3).
    goes_on: bool,
    /// What follows the fields of requests, once one has come.
    fields: Option<Box<FieldWalk>>,
    allowance: Allowance,
    /// How much work may still be handed on in this turn, in frames.
    turn: u32,
}

/// What was seen in the bytes that came next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// How many of them are handed on in this turn. The others have to be shown again in another one.
    pub(crate) taken: usize,
    /// Whether the head of a request, or another frame, came to its end among those.
    pub(crate) has_ended: bool,
    /// Frames of bodies that came to their end and are not empty.
    pub(crate) body_frames: usize,
    /// What those hold, without padding.
    pub(crate) body_bytes: usize,
}

/// A client has sent too much for nothing.
#[derive(Debug)]
pub(crate) struct Flood;

/// Frames that are handed on before others of the worker have their turn: more than requests and bodies come in at a
/// time. A frame that only opens a window takes hyper a fifth of a microsecond.
const TURN: u32 = 256;

/// As how many of them one for nothing counts: it takes hyper up to two microseconds, and their answers a write.
const FOR_NOTHING: u32 = 16;

const HEAD_BYTES: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// A frame of padding alone is no longer.
const PADDING_BYTES_MAX: usize = 256;

impl FrameMeter {
    /// One for a connection that begins with so many other bytes, and may send `max` such frames in ten seconds.
    pub(crate) fn new(before: usize, max: u32) -> FrameMeter {
        FrameMeter {
            left: before,
            head: [0; HEAD_BYTES],
            head_length: 0,
            is_data: false,
            body: 0,
            is_padded: false,
            goes_on: false,
            fields: None,
            allowance: Allowance::new(max),
            turn: TURN,
        }
    }

    /// Looks at the bytes that came next, until the turn is over; see [`FieldWalk`] for what it spoils.
    ///
    /// # Errors
    /// When more of them ask for nothing than is bearable.
    pub(crate) fn look(&mut self, bytes: &mut [u8]) -> Result<Look, Flood> {
        let mut look = Look { taken: 0, has_ended: false, body_frames: 0, body_bytes: 0 };
        while look.taken < bytes.len() && self.has_turn() {
            let rest = &mut bytes[look.taken..];
            look.taken += if self.left > 0 { self.payload(rest) } else { self.head(rest)? };
            look.has_ended |= self.left == 0 && self.head_length == 0 && !self.goes_on;
            if self.left == 0 && self.body > 0 {
                look.body_frames += 1;
                look.body_bytes += std::mem::take(&mut self.body);
            }
        }
        Ok(look)
    }

    /// Whether more may be handed on before others have their turn.
    pub(crate) fn has_turn(&self) -> bool {
        self.turn > 0
    }

    /// Others have had their turn, or nothing more has come.
    pub(crate) fn begin_turn(&mut self) {
        self.turn = TURN;
    }

    /// Whether the head of a request has begun and is not whole, or another frame than one of a body, which has limits
    /// of its own.
    pub(crate) fn is_within_head(&self) -> bool {
        self.goes_on || self.head_length > 0 || (self.left > 0 && !self.is_data)
    }

    /// So many bytes were written to the client.
    pub(crate) fn wrote(&mut self, length: usize) {
        self.allowance.wrote(length);
    }

    /// Takes the payload of a frame, or a part of it.
    fn payload(&mut self, bytes: &mut [u8]) -> usize {
        if std::mem::take(&mut self.is_padded) {
            self.body = self.body.saturating_sub(1 + usize::from(bytes[0]));
        }
        let taken = self.left.min(bytes.len());
        self.left -= taken;
        if let [_, _, _, HEADERS | CONTINUATION, ..] = self.head
            && let Some(fields) = &mut self.fields
        {
            fields.walk(&mut bytes[..taken]);
        }
        taken
    }

    /// Takes the head of a frame, or a part of it.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Flood> {
        let taken = (HEAD_BYTES - self.head_length).min(bytes.len());
        self.head[self.head_length..][..taken].copy_from_slice(&bytes[..taken]);
        self.head_length += taken;
        if self.head_length == HEAD_BYTES {
            self.begin_frame()?;
        }
        Ok(taken)
    }

    /// The head of a frame is complete.
    fn begin_frame(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.left = length;
        self.head_length = 0;
        self.is_data = kind == DATA;
        self.body = if self.is_data { length } else { 0 };
        self.is_padded = self.body > 0 && flags & PADDED != 0;
        self.turn = self.turn.saturating_sub(1);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.goes_on = flags & END_HEADERS == 0;
            let fields = self.fields.get_or_insert_default();
            if kind == HEADERS {
                fields.begin(u32::from_be_bytes(stream), flags, length);
            } else {
                fields.go_on(length);
            }
        }
        if !asks_nothing(kind, flags, length) {
            return Ok(());
        }
        self.turn = self.turn.saturating_sub(FOR_NOTHING - 1);
        self.allowance.spend(answer_bytes(kind, flags))
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

/// How long the answer is that a frame is owed (RFC 9113 sections 6.5.3 and 6.7).
fn answer_bytes(kind: u8, flags: u8) -> usize {
    match kind {
        SETTINGS if flags & ACK == 0 => HEAD_BYTES,
        PING if flags & ACK == 0 => HEAD_BYTES + 8,
        _ => 0,
    }
}

/// How many frames for nothing are bearable: so many within [`WINDOW`] on average, those of [`AT_ONCE`] at once, so
/// that a client that comes again whenever it is cut gains little; and one more for each write to the client of other
/// things than answers to these. Clients of gRPC measure their line with a PING whenever they have received something.
#[derive(Debug)]
struct Allowance {
    /// How long each frame counts.
    each: Duration,
    /// Until when those that came count together.
    until: Option<Instant>,
    /// Bytes of answers that are not written yet.
    owed: usize,
}

const WINDOW: Duration = Duration::from_secs(10);

const AT_ONCE: Duration = Duration::from_secs(2);

impl Allowance {
    fn new(max: u32) -> Allowance {
        Allowance { each: WINDOW / max, until: None, owed: 0 }
    }

    /// Takes one frame that is owed an answer of so many bytes.
    fn spend(&mut self, answer: usize) -> Result<(), Flood> {
        let now = Instant::now();
        let until = self.until.map_or(now, |until| until.max(now)) + self.each;
        self.until = Some(until);
        self.owed += answer;
        if until - now <= AT_ONCE { Ok(()) } else { Err(Flood) }
    }

    fn wrote(&mut self, length: usize) {
        if length > self.owed {
            self.until = self.until.and_then(|until| until.checked_sub(self.each));
        }
        self.owed = self.owed.saturating_sub(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![PING; usize::from(length)]].concat()
    }

    /// Shows a meter all of these, in as many turns as that takes, of which it gives the number.
    fn show(meter: &mut FrameMeter, bytes: &[u8]) -> Result<usize, Flood> {
        let mut bytes = bytes.to_vec();
        for turn in 1.. {
            let look = meter.look(&mut bytes)?;
            bytes.drain(..look.taken);
            if bytes.is_empty() {
                return Ok(turn);
            }
            assert!(!meter.has_turn() && look.taken > 0, "{look:?}");
            meter.begin_turn();
        }
        unreachable!("turns have no end")
    }

    /// How many of the same frame are bearable, in pieces of `size` bytes.
    fn bearable(bytes: &[u8], size: usize, max: u32) -> usize {
        let mut meter = FrameMeter::new(0, max);
        (0..100).take_while(|_| bytes.chunks(size).all(|piece| show(&mut meter, piece).is_ok())).count()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_ask_nothing_are_counted_and_others_are_not() {
        for (kind, flags, length, expected) in [
            (SETTINGS, 0, 6, 5),
            (SETTINGS, ACK, 0, 5),
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
                assert_eq!(bearable(&bytes, size, 25), expected, "kind {kind}, flags {flags}, {length} B by {size}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_before_the_first_frame_is_none() {
        let mut meter = FrameMeter::new(24, 5);
        assert!(show(&mut meter, &[PING; 23]).is_ok());
        assert!(meter.is_within_head());
        assert!(show(&mut meter, &[PING; 1]).is_ok());
        assert!(!meter.is_within_head());
        assert!(show(&mut meter, &frame(PING, 0, 8)).is_ok());
        assert!(show(&mut meter, &frame(PING, 0, 8)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pings_now_and_then_may_do_so_for_ever() {
        let mut meter = FrameMeter::new(0, 5);
        for turn in 0..100 {
            assert!(show(&mut meter, &frame(PING, 0, 8)).is_ok(), "ping {turn}");
            tokio::time::advance(WINDOW / 5).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_sent_something_may_ping_each_time() {
        let answer = answer_bytes(PING, 0);
        for (others, is_bearable) in [(0, false), (1, true), (50, true)] {
            let mut meter = FrameMeter::new(0, 5);
            let pings = (0..100).take_while(|_| {
                let is_bearable = show(&mut meter, &frame(PING, 0, 8)).is_ok();
                meter.wrote(answer + others);
                is_bearable
            });
            assert_eq!(pings.count() == 100, is_bearable, "{others} other bytes are sent each time");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn floods_are_handed_on_by_turns_and_requests_all_at_once() {
        for (kind, length, count, turns) in [
            (PING, 8, 100, 7),
            (SETTINGS, 0, 100, 7),
            (DATA, 0, 100, 7),
            (WINDOW_UPDATE, 4, 1_000, 4),
            (HEADERS, 30, 100, 1),
        ] {
            let bytes = frame(kind, 0, length).repeat(count);
            let mut meter = FrameMeter::new(0, 1_000);
            assert_eq!(show(&mut meter, &bytes).ok(), Some(turns), "kind {kind}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_under_way_from_its_first_byte_to_the_last_of_its_frames() {
        let fragments =
            [frame(HEADERS, 0, 20), frame(CONTINUATION, 0, 0), frame(CONTINUATION, END_HEADERS, 5)].concat();
        for bytes in [fragments, frame(HEADERS, END_HEADERS, 20), frame(PING, 0, 8), frame(SETTINGS, 0, 0)] {
            let mut meter = FrameMeter::new(0, 100);
            let (last, others) = bytes.split_last().unwrap();
            for (at, byte) in others.iter().enumerate() {
                let look = meter.look(&mut [*byte]).unwrap();
                assert!(!look.has_ended && meter.is_within_head(), "byte {at} of {bytes:?}");
            }
            assert!(meter.look(&mut [*last]).unwrap().has_ended && !meter.is_within_head(), "{bytes:?}");
            // Another one that begins with the same bytes is not the one before.
            let mut begun = [&bytes[..], &bytes[..1]].concat();
            assert!(meter.look(&mut begun).unwrap().has_ended && meter.is_within_head(), "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_measured_frame_by_frame_without_padding() {
        let padded = |length: u8, padding: u8| {
            let mut bytes = frame(DATA, PADDED | END_STREAM, length);
            bytes[HEAD_BYTES] = padding;
            bytes
        };
        for (mut bytes, frames, payload) in [
            (frame(DATA, 0, 200), 1, 200),
            (frame(DATA, END_STREAM, 1), 1, 1),
            (frame(DATA, END_STREAM, 0), 0, 0),
            (frame(HEADERS, END_HEADERS, 200), 0, 0),
            (padded(200, 0), 1, 199),
            (padded(200, 99), 1, 100),
            (padded(200, 199), 0, 0),
            (padded(10, 255), 0, 0),
            ([frame(DATA, 0, 20), frame(PING, 0, 8), padded(30, 9)].concat(), 2, 40),
        ] {
            for size in [1, 7, 10, bytes.len()] {
                let mut meter = FrameMeter::new(0, 100);
                let looks: Vec<Look> = bytes.chunks_mut(size).map(|piece| meter.look(piece).unwrap()).collect();
                let seen = looks
                    .iter()
                    .fold((0, 0), |(frames, payload), look| (frames + look.body_frames, payload + look.body_bytes));
                assert_eq!(seen, (frames, payload), "{bytes:?} by {size}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_to_come_of_a_frame_is_not_measured() {
        let mut meter = FrameMeter::new(0, 100);
        assert_eq!(meter.look(&mut frame(DATA, 0, 20)[..28]).unwrap().body_frames, 0);
        assert_eq!(meter.look(&mut [0]).unwrap().body_bytes, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_no_head() {
        let mut meter = FrameMeter::new(0, 100);
        meter.look(&mut frame(DATA, 0, 20)[..15]).unwrap();
        assert!(!meter.is_within_head());
    }
}
