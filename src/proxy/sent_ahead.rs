//! What a client has sent of its bodies and no node has taken yet: in HTTP/2 it waits in hyper until it is asked for,
//! and then, of both versions, on the connection to the node.

use crate::metrics::stats::Gauge;
use crate::metrics::stats::ServerStats;
use crate::proxy::memory::Held;
use crate::proxy::memory::PIECE_BYTES;
use bytes::Bytes;
use http_body::Frame;
use std::cell::Cell;
use std::sync::Arc;

/// What one client has sent ahead, charged to its worker like all that requests hold.
///
/// Bodies of HTTP/2 are counted by connection, because hyper says of no body which stream it is: what came in frames,
/// less what was read. What came for bodies that nobody reads any more, hyper throws away unseen, so that too much may
/// be counted, but never more than the windows of those bodies of which something may be unread. Where all are read up,
/// it is nothing.
#[derive(Debug)]
pub(crate) struct SentAhead {
    stats: Arc<ServerStats>,
    worker: usize,
    windows: Windows,
    /// Bytes that wait to be read, and how many frames they came in.
    unread: Gauge,
    frames: Gauge,
    /// Bodies that may still be read.
    bodies: Gauge,
    /// Those of them of which something may be unread.
    behind: Gauge,
    /// Bytes on their way to nodes, with what they take besides.
    on_their_way: Gauge,
    /// Those that were taken since that was last looked at.
    taken: Gauge,
    /// What is charged for all this.
    charged: Gauge,
}

/// What a client of HTTP/2 may send ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    /// On one stream.
    pub(crate) stream: u32,
    /// On all of them.
    pub(crate) connection: u32,
}

impl SentAhead {
    /// Nothing yet, from a client of this worker.
    pub(crate) fn new(stats: &Arc<ServerStats>, worker: usize, windows: Windows) -> Arc<SentAhead> {
        Arc::new(SentAhead {
            stats: Arc::clone(stats),
            worker,
            windows,
            unread: Gauge::default(),
            frames: Gauge::default(),
            bodies: Gauge::default(),
            behind: Gauge::default(),
            on_their_way: Gauge::default(),
            taken: Gauge::default(),
            charged: Gauge::default(),
        })
    }

    /// How many bytes that takes.
    pub(crate) fn size(&self) -> usize {
        usize::try_from(self.charged.get()).unwrap_or(0)
    }

    /// Whether nodes have taken less than what is held, and that much, since this was last asked.
    pub(crate) fn is_stuck(&self) -> bool {
        let taken = self.taken.get();
        self.taken.add(-taken);
        self.charged.get() > taken.max(STUCK_BYTES)
    }

    /// So many frames of bodies came, with so many bytes in all.
    pub(crate) fn came(&self, frames: usize, bytes: usize) {
        self.frames.add(signed(frames));
        self.unread.add(signed(bytes));
        self.charge();
    }

    /// More is about to come, and whoever was woken for what came before has had its turn: those bodies that wait for
    /// more have nothing unread.
    pub(crate) fn begin_turn(&self) {
        if self.unread.get() > 0 {
            let Windows { stream, connection } = self.windows;
            self.keep((self.behind.get() * i64::from(stream)).min(connection.into()));
        }
    }

    /// Nothing is unread where there is no body. Not to be asked while hyper handles what came, of which it may be
    /// about to make one.
    pub(crate) fn settle(&self) {
        if self.bodies.get() == 0 {
            self.keep(0);
        }
    }

    /// A body of HTTP/2, of which something may have come.
    pub(crate) fn body(self: &Arc<Self>) -> BodyAhead {
        self.bodies.add(1);
        self.behind.add(1);
        let (reading, may_stall) = (Cell::new(Reading::Behind), Cell::new(false));
        BodyAhead { sent: Arc::clone(self), reading, may_stall }
    }

    /// A piece of a body on its way to a node.
    pub(crate) fn parcel(self: &Arc<Self>, bytes: Bytes) -> Parcel {
        let held = signed(bytes.len() + PIECE_BYTES);
        self.on_their_way.add(held);
        self.charge();
        Held::new(bytes, OnItsWay { held, sent: Arc::clone(self) })
    }

    /// No more than so many bytes are unread, and so in no more frames: no empty one is counted.
    fn keep(&self, most: i64) {
        let unread = self.unread.get().min(most);
        self.unread.add(unread - self.unread.get());
        self.frames.add(self.frames.get().min(unread) - self.frames.get());
        self.charge();
    }

    fn charge(&self) {
        let size = self.unread.get() + self.frames.get() * FRAME_BYTES + self.on_their_way.get();
        let change = size - self.charged.get();
        self.charged.add(change);
        self.stats.stripes.of(self.worker).request_bytes.add(change);
    }
}

impl Drop for SentAhead {
    fn drop(&mut self) {
        self.stats.stripes.of(self.worker).request_bytes.add(-self.charged.get());
    }
}

/// How far one body of HTTP/2 is read.
#[derive(Debug)]
pub(crate) struct BodyAhead {
    sent: Arc<SentAhead>,
    reading: Cell<Reading>,
    /// Whether nobody may ask for more although some has come.
    may_stall: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Something may be unread.
    Behind,
    /// Nothing was, and whoever reads is woken when more comes.
    CaughtUp,
    /// Nobody reads any more.
    Over,
}

impl BodyAhead {
    /// A frame was read, or trailers.
    pub(crate) fn took(&self, frame: &Frame<Bytes>) {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.enter(Reading::Behind);
        let sent = &self.sent;
        sent.frames.add(-sent.frames.get().min(i64::from(bytes > 0)));
        sent.keep((sent.unread.get() - signed(bytes)).max(0));
    }

    /// Nothing more has come yet.
    pub(crate) fn caught_up(&self) {
        if !self.may_stall.get() {
            self.enter(Reading::CaughtUp);
        }
    }

    /// Whether nobody reads it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.reading.get() == Reading::Over
    }

    /// From now on whoever is woken for more may leave it, such as while the client takes nothing of the response on
    /// which the connection of the node depends.
    pub(crate) fn may_stall(&self) {
        self.may_stall.set(true);
        self.fall_behind();
    }

    /// Nobody reads for the moment.
    pub(crate) fn fall_behind(&self) {
        self.enter(Reading::Behind);
    }

    /// Nobody reads it any more, because all of it was read or given up.
    pub(crate) fn end(&self) {
        self.enter(Reading::Over);
    }

    /// Goes over to `next`, from which it never comes back if it is over.
    fn enter(&self, next: Reading) {
        let before = self.reading.get();
        if before == next || before == Reading::Over {
            return;
        }
        self.reading.set(next);
        self.sent.behind.add(i64::from(next == Reading::Behind) - i64::from(before == Reading::Behind));
        self.sent.bodies.add(-i64::from(next == Reading::Over));
    }
}

/// Bytes of a body on their way to a node.
pub(crate) type Parcel = Held<OnItsWay>;

/// Counts them.
#[derive(Debug)]
pub(crate) struct OnItsWay {
    held: i64,
    sent: Arc<SentAhead>,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.sent.on_their_way.add(-self.held);
        self.sent.taken.add(self.held);
        self.sent.charge();
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What a frame of a body takes besides its bytes while it waits, as h2 0.4.20 reckons
/// (`DEFAULT_DATA_FRAME_OVERHEAD_THRESHOLD`).
const FRAME_BYTES: i64 = 256;

/// Less than this is not stuck: held of as many clients as there may be by default, it is half of the memory that there
/// is by default.
const STUCK_BYTES: i64 = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    /// As long as a frame is by default.
    const LENGTH: usize = 16 << 10;
    /// What is charged for one that waits.
    const WAITS: i64 = (16 << 10) + FRAME_BYTES;
    /// What is charged for one that is on its way.
    const TRAVELS: i64 = WAITS - FRAME_BYTES + 256;

    fn sent_ahead() -> (Arc<SentAhead>, Arc<ServerStats>) {
        let stats = Arc::new(ServerStats::new(1));
        (SentAhead::new(&stats, 0, Windows { stream: 64 << 10, connection: 1 << 20 }), stats)
    }

    fn charged(stats: &ServerStats) -> i64 {
        stats.stripes.of(0).request_bytes.get()
    }

    fn piece(length: usize) -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![b'x'; length]))
    }

    #[test]
    fn what_came_counts_until_it_is_read_and_written() {
        let (sent, stats) = sent_ahead();
        let body = sent.body();
        sent.came(2, 2 * LENGTH);
        assert_eq!(charged(&stats), 2 * WAITS);
        body.took(&piece(LENGTH));
        let mut parcel = sent.parcel(Bytes::from(vec![b'x'; LENGTH]));
        assert_eq!(charged(&stats), WAITS + TRAVELS);
        parcel.advance(LENGTH);
        assert_eq!(charged(&stats), WAITS + TRAVELS, "its buffer is still there");
        drop(parcel);
        body.took(&piece(LENGTH));
        assert_eq!(charged(&stats), 0);
    }

    #[test]
    fn small_frames_count_for_what_they_take() {
        let (sent, stats) = sent_ahead();
        let _body = sent.body();
        sent.came(1_000, 1_000);
        sent.begin_turn();
        assert_eq!(charged(&stats), 1_000 + 1_000 * FRAME_BYTES);
    }

    #[test]
    fn what_is_thrown_away_counts_no_more_than_the_windows_of_those_that_are_behind() {
        let (sent, stats) = sent_ahead();
        let bodies = [sent.body(), sent.body(), sent.body()];
        sent.came(1_000, 1_000 * LENGTH);
        let most = |windows: i64| windows * (64 << 10) + 1_000 * FRAME_BYTES;
        for (bodies_behind, body) in [(3, None), (2, Some(&bodies[0])), (1, Some(&bodies[1])), (0, Some(&bodies[2]))] {
            body.iter().for_each(|body| body.caught_up());
            assert!(charged(&stats) >= most(bodies_behind), "before more comes, something may have woken them");
            sent.begin_turn();
            let expected = if bodies_behind > 0 { most(bodies_behind) } else { 0 };
            assert_eq!(charged(&stats), expected, "{bodies_behind} bodies are behind");
        }
        bodies[0].took(&piece(LENGTH));
        assert_eq!(charged(&stats), 0, "and never less than nothing");
    }

    #[test]
    fn no_more_counts_than_the_window_of_the_connection() {
        let (sent, stats) = sent_ahead();
        let _bodies: Vec<BodyAhead> = (0..100).map(|_| sent.body()).collect();
        sent.came(1, 64 << 20);
        sent.begin_turn();
        assert_eq!(charged(&stats), (1 << 20) + FRAME_BYTES);
    }

    #[test]
    fn nothing_is_unread_where_no_body_is() {
        let (sent, stats) = sent_ahead();
        let body = sent.body();
        sent.came(1, LENGTH);
        sent.settle();
        assert_eq!(charged(&stats), WAITS);
        for _ in 0..2 {
            body.end();
            sent.settle();
            assert_eq!(charged(&stats), 0);
        }
        body.took(&piece(1));
        assert!(body.is_over(), "for good");
    }

    #[test]
    fn a_body_that_may_stall_is_never_read_up() {
        for is_caught_up_before in [true, false] {
            let (sent, stats) = sent_ahead();
            let body = sent.body();
            if is_caught_up_before {
                body.caught_up();
            }
            body.may_stall();
            sent.came(1, LENGTH);
            body.caught_up();
            sent.begin_turn();
            assert_eq!(charged(&stats), WAITS, "caught up before: {is_caught_up_before}");
            body.end();
            sent.begin_turn();
            assert_eq!(charged(&stats), 0, "caught up before: {is_caught_up_before}");
        }
    }

    #[test]
    fn stuck_is_who_holds_much_of_which_little_is_taken() {
        let (sent, _stats) = sent_ahead();
        let _body = sent.body();
        sent.came(1, 32 << 10);
        assert!(sent.is_stuck());
        drop(sent.parcel(Bytes::from(vec![b'x'; 48 << 10])));
        assert!(!sent.is_stuck(), "more was taken since");
        assert!(sent.is_stuck(), "and then no more");
    }

    #[test]
    fn little_is_never_stuck() {
        let (sent, _stats) = sent_ahead();
        let _body = sent.body();
        sent.came(1, 31 << 10);
        assert!(!sent.is_stuck());
    }

    #[test]
    fn what_is_left_at_the_end_of_all_is_given_back() {
        let (sent, stats) = sent_ahead();
        sent.came(3, LENGTH);
        let parcel = sent.parcel(Bytes::from_static(b"x"));
        drop(sent);
        assert!(charged(&stats) > 0);
        drop(parcel);
        assert_eq!(charged(&stats), 0);
    }
}
