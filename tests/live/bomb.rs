//! The bomb of HTTP/2: heads that are a byte a field as they come and a hundred as they are held, on streams whose
//! answers are never taken.

use crate::frames;
use crate::harness::echo;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_holds;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

const CONNECTIONS: usize = 10;

const STREAMS: u32 = 200;

/// More than a head may have.
const FIELDS: usize = 480;

/// As many as a head may have, with the others of it.
const FIELDS_ALLOWED: usize = 90;

/// Memory for each byte that was sent.
const GROWTH_MAX: u64 = 20;

/// Memory for a stream of which nothing is refused.
const STREAM_MAX: u64 = 40 << 10;

#[test]
fn memory_grows_little_under_a_bomb_and_returns() {
    for field in [("a", "b"), ("cookie", "a")] {
        let (growth, sent) = explode(field, FIELDS);
        assert!(growth <= GROWTH_MAX * sent, "{field:?}: {growth} bytes more for {sent} sent");
    }
}

#[test]
fn a_bomb_that_no_limit_keeps_out_takes_so_much_for_each_stream() {
    // Streams beyond `max-streams` are refused.
    let streams = 100 * CONNECTIONS as u64;
    for field in [("a", "b"), ("cookie", "a")] {
        let (growth, sent) = explode(field, FIELDS_ALLOWED);
        assert!(growth <= STREAM_MAX * streams, "{field:?}: {growth} bytes more for {sent} sent");
    }
}

/// By how many bytes the memory grows, and how many were sent for that, until all is given up and has returned.
fn explode(field: (&str, &str), fields: usize) -> (u64, u64) {
    let story = Story::begin("bomb");
    // Connections to nodes are kept by design: here for a second, lest their buffers hide what is not given back.
    let pool =
        format!("initial-nodes = {}\ntimeouts = {{ idle-connection = \"1s\" }}", echo::nodes_toml(&echo::start(1)));
    let top = "workers = 2\n[limits]\nwrite-timeout = \"2s\"";
    let config = story.write("ringway.toml", &ringway::config(top, &story.path("store"), &pool));
    let proxy = Ringway::serve(&story, &config);
    warm_up(&proxy);
    let before = proxy.resident_bytes();
    let mut bombs: Vec<Bomb> = (0..CONNECTIONS).map(|_| Bomb::throw(&proxy, field, fields)).collect();
    let mut most = proxy.resident_bytes();
    // A byte at a time, for longer than anybody may take for a piece.
    for _ in 0..30 {
        thread::sleep(Duration::from_millis(100));
        bombs.iter_mut().for_each(Bomb::drip);
        most = most.max(proxy.resident_bytes());
    }
    let sent = bombs.iter().map(|bomb| bomb.sent).sum();
    let growth = most.saturating_sub(before);
    story.figure(&format!("{fields} times {field:?}: {growth} bytes more for {sent} sent"));
    let held = || proxy.operator().metric("ringway_inflight_requests", "");
    until_holds("all streams are given up", held, |held| *held < 0.5);
    assert_eq!(proxy.client().get("/?k=after", &[]).unwrap().status, 200);
    drop(bombs);
    until_holds("memory returns", || proxy.resident_bytes(), |now| *now < before + growth / 2 + (4 << 20));
    (growth, sent)
}

/// What any load brings along, such as buffers of the allocator.
fn warm_up(proxy: &Ringway) {
    let mut client = proxy.client();
    for number in 0..200 {
        assert_eq!(client.get(&format!("/?k={number}"), &[]).unwrap().status, 200);
    }
}

/// A connection with all its streams; what comes back is thrown away.
struct Bomb {
    stream: TcpStream,
    /// Bytes written so far.
    sent: u64,
}

/// `GET http /` by numbers of the static table (RFC 7541 appendix A).
const GET: [u8; 3] = [0x82, 0x86, 0x84];

/// The field that was remembered last, and the one before, by their numbers.
const LAST: u8 = 0x80 | 62;
const BEFORE: u8 = 0x80 | 63;

impl Bomb {
    fn throw(proxy: &Ringway, (name, value): (&str, &str), fields: usize) -> Bomb {
        let stream = TcpStream::connect(proxy.http).unwrap();
        let mut reader = stream.try_clone().unwrap();
        thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {});
        let mut bomb = Bomb { stream, sent: 0 };
        bomb.write(&frames::preface(&[(frames::INITIAL_WINDOW_SIZE, 0)]));
        bomb.ask(1, &[&GET[..], &frames::remembered(":authority", "a"), &frames::remembered(name, value)].concat());
        let block = [&GET[..], &[BEFORE], &vec![LAST; fields]].concat();
        (1..STREAMS).for_each(|number| bomb.ask(2 * number + 1, &block));
        bomb
    }

    /// Lets a byte more come on each stream.
    fn drip(&mut self) {
        (0..STREAMS).for_each(|number| self.write(&frames::window_update(2 * number + 1, 1)));
    }

    fn ask(&mut self, stream: u32, block: &[u8]) {
        self.write(&frames::frame(frames::HEADERS, frames::END_STREAM | frames::END_HEADERS, stream, block));
    }

    /// Writes all of it, unless the connection is closed.
    fn write(&mut self, bytes: &[u8]) {
        self.sent += bytes.len() as u64;
        self.stream.write_all(bytes).unwrap_or_default();
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        // The reader has a duplicate of the socket.
        self.stream.shutdown(Shutdown::Both).unwrap_or_default();
    }
}
