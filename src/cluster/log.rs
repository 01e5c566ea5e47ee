//! Events and their fold: the history of a pool, and the bytes of one record.
//!
//! A record is one line of JSON, `{"sum":"SUM","event":EVENT}` or `{"sum":"SUM","snapshot":SNAPSHOT}`, without any
//! white space outside strings. SUM is XXH3-64 (seed 0) of the exact bytes of the value text, as 16 lower-case hex
//! digits. The format is stable: a later version reads the lines of an earlier one.

use crate::cluster::membership::Change;
use crate::cluster::membership::Membership;
use crate::placement::PlacementSettings;
use serde::Deserialize;
use serde::Serialize;
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_64;

/// One durable step of a pool's membership. Epochs count from 1 without gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// The pool it belongs to.
    pub pool: String,
    /// Its number in that pool.
    pub epoch: u64,
    /// Milliseconds since the Unix epoch, for people only: nothing is decided by it.
    pub at_ms: u64,
    /// Who made the change, such as `config` or `admin`.
    pub actor: String,
    /// Why, in the words of whoever made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was changed.
    #[serde(flatten)]
    pub action: Action,
}

/// What an event does to the membership.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Several changes in one step.
    Changes(Vec<Change>),
    /// A return to an earlier epoch.
    Rollback {
        /// The epoch returned to.
        to_epoch: u64,
        /// The whole membership of that epoch, so that the node order is restored too.
        membership: Membership,
    },
}

/// The membership of one pool at `epoch`: where a compacted log begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The pool it belongs to.
    pub pool: String,
    /// The last event it holds.
    pub epoch: u64,
    /// What the events up to `epoch` amount to.
    pub membership: Membership,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A step.
    Event(Event),
    /// A base for the steps that follow.
    Snapshot(Snapshot),
}

/// The line of a record, without its newline.
pub fn encode(record: &Record) -> String {
    let (kind, value) = match record {
        Record::Event(event) => ("event", serde_json::to_string(event)),
        Record::Snapshot(snapshot) => ("snapshot", serde_json::to_string(snapshot)),
    };
    let value = value.expect("events and snapshots hold strings, integers and named fields only");
    format!(r#"{{"sum":"{:016x}","{kind}":{value}}}"#, xxh3_64(value.as_bytes()))
}

/// The record of a line, given without its newline. The error says what is wrong with it.
///
/// The frame is compared byte by byte instead of parsed: of several texts with one JSON meaning only the one that
/// [`encode`] writes is accepted, so that no damaged bit goes unnoticed.
pub fn decode(line: &[u8]) -> Result<Record, String> {
    let frame = || "it is not of the form {\"sum\":\"16 hex digits\",\"event\" or \"snapshot\":{...}}".to_owned();
    let rest = line.strip_prefix(br#"{"sum":""#).ok_or_else(frame)?;
    let (sum, rest) = rest.split_at_checked(16).ok_or_else(frame)?;
    let rest = rest.strip_prefix(br#"",""#).and_then(|rest| rest.strip_suffix(b"}")).ok_or_else(frame)?;
    let is_event = rest.starts_with(EVENT_KEY);
    let value = rest.strip_prefix(EVENT_KEY).or_else(|| rest.strip_prefix(SNAPSHOT_KEY)).ok_or_else(frame)?;
    let expected = format!("{:016x}", xxh3_64(value));
    if expected.as_bytes() != sum {
        let found = String::from_utf8_lossy(sum);
        return Err(format!("its checksum says {found}, its bytes give {expected}"));
    }
    let record = match is_event {
        true => serde_json::from_slice(value).map(Record::Event),
        false => serde_json::from_slice(value).map(Record::Snapshot),
    };
    record.map_err(|error| format!("its checksum is right, but this version cannot read it: {error}"))
}

/// The known past of one pool: a base and the events after it, without gaps.
#[derive(Clone, Debug)]
pub struct History {
    base: Snapshot,
    events: VecDeque<Event>,
    /// The fold of both.
    membership: Membership,
}

/// An epoch that is yet to come, or compacted away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {asked} is not known; this store knows epochs {oldest} to {newest}")]
pub struct UnknownEpoch {
    /// The epoch asked for.
    pub asked: u64,
    /// The first epoch known.
    pub oldest: u64,
    /// The last epoch known.
    pub newest: u64,
}

impl History {
    /// A history that begins with a snapshot.
    pub fn new(base: Snapshot) -> History {
        let membership = base.membership.clone();
        History { base, events: VecDeque::new(), membership }
    }

    /// A pool without nodes at epoch 0.
    pub fn empty(pool: &str, placement: PlacementSettings) -> History {
        History::new(Snapshot { pool: pool.to_owned(), epoch: 0, membership: Membership::new(placement) })
    }

    /// A history that begins with the first event of its pool, for readers of a log.
    pub fn founded_by(event: Event) -> Result<History, String> {
        let placement = founding_placement(&event)?;
        let mut history = History::empty(&event.pool, placement);
        history.push(event)?;
        Ok(history)
    }

    /// The pool's name.
    pub fn pool(&self) -> &str {
        &self.base.pool
    }

    /// The number of the last event, 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.events.back().map_or(self.base.epoch, |event| event.epoch)
    }

    /// The first epoch that [`History::at`] can answer for.
    pub fn oldest_epoch(&self) -> u64 {
        self.base.epoch
    }

    /// The membership after the last event.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Folds one more event; refuses one of another pool, a gap in the epochs, a change that the membership refuses,
    /// and a first event without a placement, since equal prefixes must give equal memberships everywhere. After a
    /// refusal the history is what it was.
    pub fn push(&mut self, event: Event) -> Result<(), String> {
        let next = self.epoch() + 1;
        if event.pool != self.base.pool {
            return Err(format!("it belongs to pool `{}`, not to `{}`", event.pool, self.base.pool));
        }
        if event.epoch != next {
            return Err(format!("it has epoch {} of pool `{}` where {next} is due", event.epoch, event.pool));
        }
        if next == 1 {
            founding_placement(&event)?;
        }
        if let Err(why) = fold(&mut self.membership, &event) {
            self.membership = self.fold_from_base(self.events.len());
            return Err(why);
        }
        self.events.push_back(event);
        Ok(())
    }

    /// The membership as it was after `epoch`; the error says which epochs are known.
    pub fn at(&self, epoch: u64) -> Result<Membership, UnknownEpoch> {
        let (oldest, newest) = (self.oldest_epoch(), self.epoch());
        let count = epoch.checked_sub(oldest).and_then(|count| usize::try_from(count).ok());
        match count.filter(|count| *count <= self.events.len()) {
            Some(count) => Ok(self.fold_from_base(count)),
            None => Err(UnknownEpoch { asked: epoch, oldest, newest }),
        }
    }

    /// The events after the base, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }

    /// Drops events beyond the newest `keep`, moving the base up.
    pub fn compact(&mut self, keep: usize) {
        let dropped = self.events.len().saturating_sub(keep);
        if dropped > 0 {
            self.base.membership = self.fold_from_base(dropped);
            self.base.epoch = self.events[dropped - 1].epoch;
            self.events.drain(..dropped);
        }
    }

    /// Where the known past begins.
    pub fn base(&self) -> &Snapshot {
        &self.base
    }

    /// The base and the events after it, as a log holds them; [`collect`] makes the same history of them.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let events = self.events.iter().cloned().map(Record::Event);
        std::iter::once(Record::Snapshot(self.base.clone())).chain(events)
    }

    fn fold_from_base(&self, count: usize) -> Membership {
        let mut membership = self.base.membership.clone();
        for event in self.events.iter().take(count) {
            fold(&mut membership, event).expect("every kept event was folded once when it was pushed");
        }
        membership
    }
}

/// Adds one more record of a log to the histories of those before it. The error says why it cannot stand there.
pub fn collect(histories: &mut Vec<History>, record: Record) -> Result<(), String> {
    let pool = match &record {
        Record::Event(event) => &event.pool,
        Record::Snapshot(snapshot) => &snapshot.pool,
    };
    let known = histories.iter_mut().find(|history| history.pool() == pool);
    match (record, known) {
        (Record::Event(event), Some(history)) => history.push(event)?,
        (Record::Event(event), None) => histories.push(History::founded_by(event)?),
        (Record::Snapshot(snapshot), Some(_)) => {
            return Err(format!("a second beginning of pool `{}`", snapshot.pool));
        }
        (Record::Snapshot(snapshot), None) => histories.push(History::new(snapshot)),
    }
    Ok(())
}

fn fold(membership: &mut Membership, event: &Event) -> Result<(), String> {
    match &event.action {
        Action::Changes(changes) => membership.replay(changes).map_err(|refused| refused.to_string()),
        Action::Rollback { membership: earlier, .. } => {
            *membership = earlier.clone();
            Ok(())
        }
    }
}

fn founding_placement(event: &Event) -> Result<PlacementSettings, String> {
    match &event.action {
        Action::Changes(changes) => match changes.first() {
            Some(Change::Placement(settings)) => Ok(*settings),
            _ => Err(format!("the first event of pool `{}` does not begin with its placement", event.pool)),
        },
        Action::Rollback { .. } => Err(format!("the first event of pool `{}` is a rollback, to nowhere", event.pool)),
    }
}

const EVENT_KEY: &[u8] = br#"event":"#;
const SNAPSHOT_KEY: &[u8] = br#"snapshot":"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(epoch: u64, json: &str) -> Event {
        let changes = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        Event {
            pool: "rooms".to_owned(),
            epoch,
            at_ms: 1_700_000_000_000 + epoch,
            actor: "admin".to_owned(),
            reason: None,
            action: Action::Changes(changes),
        }
    }

    fn founding() -> Event {
        event(
            1,
            r#"[{"placement":{"kind":"ring","vnodes":16}},{"add":{"name":"a","address":"a:80"}},
                {"add":{"name":"b","address":"b:80"}}]"#,
        )
    }

    /// Epoch 1 founds the pool, every later epoch N gives node `a` the weight N.
    fn history(epochs: u64) -> History {
        let mut history = History::founded_by(founding()).unwrap();
        for epoch in 2..=epochs {
            let change = format!(r#"[{{"weight":{{"name":"a","weight":{epoch}}}}}]"#);
            history.push(event(epoch, &change)).unwrap();
        }
        history
    }

    fn weight_at(history: &History, epoch: u64) -> u32 {
        history.at(epoch).unwrap().nodes()[0].weight
    }

    /// The lines as the first version wrote them. They may never change: stores in the field hold them. The sums were
    /// checked with `xxhsum -H3` of xxHash 0.8.1.
    const GOLDEN: [&str; 3] = [
        concat!(
            r#"{"sum":"6a71ff100a0d8938","snapshot":{"pool":"rooms","epoch":1,"membership":{"placement":{"kind"#,
            r#"":"ring","vnodes":16},"nodes":[{"name":"a","address":"a:80","weight":1},{"name":"b","address":""#,
            r#"b:80","weight":1}]}}}"#,
        ),
        concat!(
            r#"{"sum":"1712caf1fddc0762","event":{"pool":"rooms","epoch":2,"at_ms":1700000000002,"actor":"admi"#,
            r#"n","reason":"say \"why\"","changes":[{"drain":{"name":"a"}},{"zone":{"name":"b","zone":"ö"}}]}}"#,
        ),
        concat!(
            r#"{"sum":"c97a0d9b338b7556","event":{"pool":"rooms","epoch":3,"at_ms":1700000000003,"actor":"admi"#,
            r#"n","rollback":{"to_epoch":1,"membership":{"placement":{"kind":"ring","vnodes":16},"nodes":[{"na"#,
            r#"me":"a","address":"a:80","weight":1},{"name":"b","address":"b:80","weight":1}]}}}}"#,
        ),
    ];

    fn golden_records() -> [Record; 3] {
        let mut second = event(2, r#"[{"drain":{"name":"a"}},{"zone":{"name":"b","zone":"ö"}}]"#);
        second.reason = Some("say \"why\"".to_owned());
        let history = History::founded_by(founding()).unwrap();
        let membership = history.membership().clone();
        let third = Event { action: Action::Rollback { to_epoch: 1, membership }, ..event(3, "[]") };
        [Record::Snapshot(history_at_1(&history)), Record::Event(second), Record::Event(third)]
    }

    fn history_at_1(history: &History) -> Snapshot {
        Snapshot { pool: "rooms".to_owned(), epoch: 1, membership: history.membership().clone() }
    }

    #[test]
    fn the_bytes_of_a_record_are_frozen() {
        for (record, line) in golden_records().iter().zip(GOLDEN) {
            assert_eq!(encode(record), line);
            assert_eq!(decode(line.as_bytes()).as_ref(), Ok(record));
        }
    }

    #[test]
    fn no_flipped_bit_is_accepted() {
        for line in golden_records().iter().map(encode) {
            for bit in 0..line.len() * 8 {
                let mut damaged = line.clone().into_bytes();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&damaged).is_err(), "bit {bit} of {line}");
            }
        }
    }

    #[test]
    fn no_shorter_or_longer_line_is_accepted() {
        let line = encode(&golden_records()[1]);
        for end in 0..line.len() {
            assert!(decode(&line.as_bytes()[..end]).is_err(), "the first {end} bytes of {line}");
        }
        assert!(decode(format!("{line} ").as_bytes()).is_err());
        assert!(decode(format!(" {line}").as_bytes()).is_err());
    }

    #[test]
    fn a_record_of_a_later_version_is_told_from_a_damaged_one() {
        let value = r#"{"pool":"rooms","epoch":1,"at_ms":1,"actor":"admin","merge":{}}"#;
        let line = format!(r#"{{"sum":"{:016x}","event":{value}}}"#, xxh3_64(value.as_bytes()));
        let why = decode(line.as_bytes()).unwrap_err();
        assert!(why.contains("this version cannot read it"), "{why}");
    }

    #[test]
    fn the_first_event_says_the_placement() {
        let without = event(1, r#"[{"add":{"name":"a","address":"a:80"}}]"#);
        let why = History::founded_by(without.clone()).unwrap_err();
        assert!(why.contains("does not begin with its placement"), "{why}");
        let mut empty = History::empty("rooms", PlacementSettings::Ring { vnodes: 16 });
        assert_eq!(empty.push(without), Err(why));
        assert_eq!((empty.epoch(), empty.membership().nodes().len()), (0, 0));
    }

    #[test]
    fn the_past_is_known_back_to_the_base() {
        let history = history(9);
        assert_eq!((history.oldest_epoch(), history.epoch(), history.events().len()), (0, 9, 9));
        assert!(history.at(0).unwrap().nodes().is_empty());
        assert_eq!(weight_at(&history, 1), 1);
        assert_eq!(weight_at(&history, 5), 5);
        assert_eq!(history.at(9).as_ref(), Ok(history.membership()));
        let unknown = history.at(10).unwrap_err().to_string();
        assert_eq!(unknown, "epoch 10 is not known; this store knows epochs 0 to 9");
    }

    #[test]
    fn a_gap_a_repetition_and_a_foreign_pool_are_refused() {
        let mut history = history(3);
        for (epoch, why) in [(3, "epoch 3 of pool `rooms` where 4 is due"), (5, "epoch 5")] {
            let refusal = history.push(event(epoch, "[]")).unwrap_err();
            assert!(refusal.contains(why), "{refusal}");
        }
        let foreign = Event { pool: "docs".to_owned(), ..event(4, "[]") };
        assert!(history.push(foreign).unwrap_err().contains("belongs to pool `docs`"));
        assert_eq!(history.epoch(), 3);
    }

    #[test]
    fn a_refused_event_leaves_no_trace() {
        let mut history = history(3);
        let before = history.membership().clone();
        let half_good = event(4, r#"[{"drain":{"name":"b"}},{"remove":{"name":"nobody"}}]"#);
        assert!(history.push(half_good).unwrap_err().contains("no node `nobody`"));
        assert_eq!((history.epoch(), history.membership()), (3, &before));
    }

    #[test]
    fn a_compaction_moves_the_base_and_changes_no_answer() {
        let whole = history(9);
        for keep in 0..=10 {
            let mut compacted = whole.clone();
            compacted.compact(keep);
            assert_eq!(compacted.events().len(), keep.min(9), "keep {keep}");
            assert_eq!(compacted.membership(), whole.membership(), "keep {keep}");
            for epoch in compacted.oldest_epoch()..=9 {
                assert_eq!(compacted.at(epoch), whole.at(epoch), "keep {keep}, epoch {epoch}");
            }
            assert!(keep >= 9 || compacted.at(0).is_err(), "keep {keep}");
        }
    }
}
