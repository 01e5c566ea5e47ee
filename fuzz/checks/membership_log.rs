//! Any lines as the log of a store: replaying them ends, and what is replayed is written as a log that replays to the same.

use ringway::cluster::log;
use ringway::cluster::log::History;
use xxhash_rust::xxh3::xxh3_64;

/// Line by line, as a store reads its file. A line is one of a log, or the value of one: nobody comes upon a checksum by
/// chance.
pub(crate) fn check(data: &[u8]) {
    let mut histories: Vec<History> = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        let readings = [line.to_vec(), framed("event", line), framed("snapshot", line)];
        let Some(record) = readings.iter().find_map(|line| log::decode(line).ok()) else { continue };
        let written = log::encode(&record);
        assert_eq!(log::decode(written.trim_end().as_bytes()).as_ref(), Ok(&record), "{written}");
        // What does not follow on what is there is refused, and changes nothing.
        drop(log::collect(&mut histories, record));
    }
    let mut again: Vec<History> = Vec::new();
    for record in histories.iter().flat_map(History::records) {
        log::collect(&mut again, record).unwrap_or_else(|why| panic!("{why}: {histories:?}"));
    }
    for (before, after) in histories.iter().zip(&again) {
        assert_eq!((before.pool(), before.epoch()), (after.pool(), after.epoch()));
        assert_eq!(before.membership(), after.membership(), "{}", before.pool());
    }
    assert_eq!(histories.len(), again.len());
}

fn framed(kind: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("{{\"sum\":\"{:016x}\",\"{kind}\":", xxh3_64(value));
    [head.as_bytes(), value, b"}"].concat()
}
