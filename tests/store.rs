//! Breaks the file store in every way a machine can, and checks that it keeps what it acknowledged or refuses loudly.
//!
//! The tests of a full disk mount small tmpfs file systems, so they run as root.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use ringway::cluster::log::Action;
use ringway::cluster::log::Event;
use ringway::cluster::log::History;
use ringway::cluster::log::Record;
use ringway::cluster::log::encode;
use ringway::cluster::membership::Membership;
use ringway::placement::PlacementSettings;
use ringway::store::Store;
use ringway::store::StoreError;
use ringway::store::read_only;
use ringway::store::settings::StoreKind;
use ringway::store::settings::StoreSettings;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// A directory of its own for each test, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ringway-store-{test}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn settings(&self) -> StoreSettings {
        settings(&self.0.join("store"))
    }

    fn log(&self) -> PathBuf {
        self.0.join("store/events.jsonl")
    }

    /// A store whose log holds exactly these bytes.
    fn with_log(&self, bytes: &[u8]) -> StoreSettings {
        fs::create_dir_all(self.0.join("store")).unwrap();
        fs::write(self.log(), bytes).unwrap();
        self.settings()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A small file system that is full soon, gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> SmallDisk {
        fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at).output();
        let mount = mount.expect("the program `mount` runs");
        let why = String::from_utf8_lossy(&mount.stderr);
        assert!(mount.status.success(), "this test needs a small tmpfs (as root): mount says: {why}");
        SmallDisk(at.to_owned())
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(status.success(), "mount -o {options}: {status}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn settings(path: &Path) -> StoreSettings {
    StoreSettings { kind: StoreKind::File, path: path.to_owned(), keep_events: 10 }
}

/// The first event founds a pool with one node, every later one gives it another weight.
fn event(pool: &str, epoch: u64) -> Event {
    let node = r#"{"name":"a","address":"a:80"}"#;
    let changes = match epoch {
        1 => format!(r#"[{{"placement":{{"kind":"ring","vnodes":16}}}},{{"add":{node}}}]"#),
        _ => format!(r#"[{{"weight":{{"name":"a","weight":{}}}}}]"#, epoch % 1_000),
    };
    let action = Action::Changes(serde_json::from_str(&changes).unwrap());
    let (pool, actor) = (pool.to_owned(), "test".to_owned());
    Event { pool, epoch, at_ms: 1_700_000_000_000 + epoch, actor, reason: None, action }
}

fn events(pool: &str, epochs: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    epochs.map(|epoch| event(pool, epoch)).collect()
}

fn log_of(events: &[Event]) -> Vec<u8> {
    events.iter().flat_map(|event| (encode(&Record::Event(event.clone())) + "\n").into_bytes()).collect()
}

/// Pools and their epochs, as the log holds them.
fn found(histories: &[History]) -> Vec<(&str, u64)> {
    histories.iter().map(|history| (history.pool(), history.epoch())).collect()
}

/// What a restart finds.
fn reopened(settings: &StoreSettings) -> Vec<(String, u64)> {
    let (_store, histories) = Store::open(settings).unwrap_or_else(|error| panic!("{error}"));
    histories.iter().map(|history| (history.pool().to_owned(), history.epoch())).collect()
}

fn refusal(settings: &StoreSettings) -> StoreError {
    match Store::open(settings) {
        Ok((_store, histories)) => panic!("the store was opened and holds {:?}", found(&histories)),
        Err(error) => error,
    }
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let scratch = Scratch::new("restart");
    let (mut store, histories) = Store::open(&scratch.settings()).unwrap();
    assert!(histories.is_empty());
    store.append(&events("rooms", 1..=3)).unwrap();
    store.append(&events("docs", 1..=1)).unwrap();
    store.append(&[]).unwrap();
    store.append(&events("rooms", 4..=4)).unwrap();
    drop(store);
    let (_store, histories) = Store::open(&scratch.settings()).unwrap();
    assert_eq!(found(&histories), [("rooms", 4), ("docs", 1)]);
    assert_eq!(histories[0].membership().nodes()[0].weight, 4);
    assert_eq!(histories[0].events().cloned().collect::<Vec<_>>(), events("rooms", 1..=4));
}

#[test]
fn only_the_owner_may_read_the_store() {
    let scratch = Scratch::new("modes");
    let _store = Store::open(&scratch.settings()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scratch.settings().path), 0o700);
    assert_eq!(mode(&scratch.log()), 0o600);
    assert_eq!(mode(&scratch.0.join("store/lock")), 0o600);
}

#[test]
fn a_thousand_appends_in_batches_keep_their_order() {
    let scratch = Scratch::new("thousand");
    let (mut store, _) = Store::open(&scratch.settings()).unwrap();
    let all = events("rooms", 1..=1_000);
    let mut rest = all.as_slice();
    for size in (1..=7).cycle() {
        let (batch, later) = rest.split_at(size.min(rest.len()));
        store.append(batch).unwrap();
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(fs::read(scratch.log()).unwrap(), log_of(&all));
    drop(store);
    assert_eq!(reopened(&scratch.settings()), [("rooms".to_owned(), 1_000)]);
}

#[test]
fn a_log_cut_anywhere_in_its_last_record_loses_that_record_only() {
    let scratch = Scratch::new("cut");
    let whole = log_of(&events("rooms", 1..=3));
    let good = log_of(&events("rooms", 1..=2)).len();
    for end in good..whole.len() {
        let settings = scratch.with_log(&whole[..end]);
        assert_eq!(found(&read_only(&settings).unwrap()), [("rooms", 2)], "cut at {end}");
        assert_eq!(fs::read(scratch.log()).unwrap().len(), end, "a reader changed the log");
        let (mut store, histories) = Store::open(&settings).unwrap();
        assert_eq!(found(&histories), [("rooms", 2)], "cut at {end}");
        store.append(&events("rooms", 3..=3)).unwrap();
        assert_eq!(fs::read(scratch.log()).unwrap(), whole, "cut at {end}");
    }
}

#[test]
fn every_prefix_of_a_log_gives_the_whole_records_in_it() {
    let scratch = Scratch::new("prefix");
    let whole = log_of(&events("rooms", 1..=4));
    for end in 0..=whole.len() {
        let lines = whole[..end].iter().filter(|byte| **byte == b'\n').count();
        let settings = scratch.with_log(&whole[..end]);
        let histories = read_only(&settings).unwrap();
        let epoch = histories.first().map_or(0, History::epoch);
        assert_eq!(epoch, u64::try_from(lines).unwrap(), "cut at {end}");
    }
}

#[test]
fn a_flipped_bit_refuses_the_start_and_changes_nothing() {
    let scratch = Scratch::new("flip");
    let whole = log_of(&events("rooms", 1..=3));
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let settings = scratch.with_log(&damaged);
        assert!(read_only(&settings).is_err(), "a reader took bit {bit} as it was");
        let refused = refusal(&settings);
        let line = whole[..bit / 8].iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!(matches!(refused, StoreError::Corrupt { line: named, .. } if named == line), "bit {bit}: {refused}");
        assert_eq!(fs::read(scratch.log()).unwrap(), damaged, "bit {bit}: the damaged log was touched");
    }
}

#[test]
fn damage_is_named_by_file_and_line() {
    let scratch = Scratch::new("damage");
    let sound = log_of(&events("rooms", 1..=2));
    let snapshot = |epoch| {
        let membership = Membership::new(PlacementSettings::Ring { vnodes: 16 });
        let snapshot = ringway::cluster::log::Snapshot { pool: "rooms".to_owned(), epoch, membership };
        (encode(&Record::Snapshot(snapshot)) + "\n").into_bytes()
    };
    for (line, why) in [
        (log_of(&events("rooms", 4..=4)), "epoch 4 of pool `rooms` where 3 is due"),
        (log_of(&events("rooms", 2..=2)), "epoch 2 of pool `rooms` where 3 is due"),
        (log_of(&events("docs", 2..=2)), "does not begin with its placement"),
        (snapshot(2), "a second beginning of pool `rooms`"),
        (b"\n".to_vec(), "not of the form"),
        (b"{}\n".to_vec(), "not of the form"),
        (vec![0, 0, b'\n'], "not of the form"),
    ] {
        let refused = refusal(&scratch.with_log(&[sound.as_slice(), &line].concat())).to_string();
        let place = format!("{}: line 3 is damaged", scratch.log().display());
        assert!(refused.starts_with(&place) && refused.contains(why), "{refused}");
    }
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let scratch = Scratch::new("lock");
    let first = Store::open(&scratch.settings()).unwrap();
    let refused = refusal(&scratch.settings());
    let pid = std::process::id();
    assert!(matches!(&refused, StoreError::Locked { pid: Some(named), .. } if *named == pid), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("store/lock") && text.contains(&format!("pid {pid}")), "{text}");
    drop(first);
    Store::open(&scratch.settings()).unwrap();
}

#[test]
fn where_there_is_no_store_a_reader_finds_and_leaves_nothing() {
    let scratch = Scratch::new("absent");
    assert!(read_only(&scratch.settings()).unwrap().is_empty());
    assert!(!scratch.settings().path.exists());
}

#[test]
fn a_reader_beside_a_writer_sees_whole_prefixes_only() {
    let scratch = Scratch::new("beside");
    let settings = scratch.settings();
    let (mut store, _) = Store::open(&settings).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut last, mut looks) = (0, 0);
            while !done.load(Ordering::Acquire) {
                let histories = read_only(&settings).unwrap_or_else(|error| panic!("{error}"));
                let epoch = histories.first().map_or(0, History::epoch);
                assert!(epoch >= last, "epoch {epoch} was read after {last}");
                (last, looks) = (epoch, looks + 1);
            }
            looks
        });
        let mut history = History::founded_by(event("rooms", 1)).unwrap();
        store.append(&[event("rooms", 1)]).unwrap();
        for epoch in 2..=500 {
            store.append(&[event("rooms", epoch)]).unwrap();
            history.push(event("rooms", epoch)).unwrap();
            compact_if_due(&mut store, &mut history);
        }
        done.store(true, Ordering::Release);
        let looks = reader.join().unwrap();
        assert!(looks > 0, "the reader never looked");
    });
    assert_eq!(found(&read_only(&settings).unwrap()), [("rooms", 500)]);
}

/// Does what `control` does after each append.
fn compact_if_due(store: &mut Store, history: &mut History) {
    let longest = history.events().len();
    if let Some(keep) = store.compact_if_due(longest).unwrap() {
        history.compact(keep);
    }
}

/// Fills a store until a compaction is due, and returns the log before and after it.
fn compacted(scratch: &Scratch) -> (Vec<u8>, Vec<u8>) {
    let (mut store, _) = Store::open(&scratch.settings()).unwrap();
    store.append(&events("retired", 1..=12)).unwrap();
    let mut history = History::founded_by(event("rooms", 1)).unwrap();
    store.append(&[event("rooms", 1)]).unwrap();
    for epoch in 2..=21 {
        store.append(&[event("rooms", epoch)]).unwrap();
        history.push(event("rooms", epoch)).unwrap();
        if epoch <= 20 {
            compact_if_due(&mut store, &mut history);
        }
    }
    let before = fs::read(scratch.log()).unwrap();
    compact_if_due(&mut store, &mut history);
    assert_eq!((history.oldest_epoch(), history.epoch(), history.events().len()), (11, 21, 10));
    let after = fs::read(scratch.log()).unwrap();
    store.append(&[event("rooms", 22)]).unwrap();
    assert_eq!(fs::read(scratch.log()).unwrap(), [after.as_slice(), &log_of(&[event("rooms", 22)])].concat());
    (before, after)
}

#[test]
fn a_compaction_keeps_the_newest_events_of_every_pool() {
    let scratch = Scratch::new("compact");
    let (before, after) = compacted(&scratch);
    assert!(before.iter().filter(|byte| **byte == b'\n').count() == 33, "compacted too early");
    assert_eq!(after.iter().filter(|byte| **byte == b'\n').count(), 22, "two snapshots and twice ten events");
    assert!(!scratch.0.join("store/events.jsonl.new").exists());
    let (_store, histories) = Store::open(&scratch.settings()).unwrap();
    assert_eq!(found(&histories), [("retired", 12), ("rooms", 22)]);
    assert_eq!(histories[0].oldest_epoch(), 2);
    assert_eq!(histories[1].at(15).unwrap().nodes()[0].weight, 15);
    let mode = fs::metadata(scratch.log()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn a_crash_at_any_point_of_a_compaction_leaves_a_valid_store() {
    let scratch = Scratch::new("compact-crash");
    let (before, after) = compacted(&scratch);
    let both = [("retired".to_owned(), 12), ("rooms".to_owned(), 21)];
    let unfinished = scratch.0.join("store/events.jsonl.new");
    for end in (0..=after.len()).step_by(97).chain([after.len()]) {
        let settings = scratch.with_log(&before);
        fs::write(&unfinished, &after[..end]).unwrap();
        assert_eq!(reopened(&settings), both, "crashed with {end} bytes written");
        assert!(!unfinished.exists(), "the unfinished file was left behind");
        assert_eq!(fs::read(scratch.log()).unwrap(), before);
    }
    assert_eq!(reopened(&scratch.with_log(&after)), both, "crashed after the rename");
}

#[test]
fn a_compaction_does_not_rewrite_a_log_that_was_damaged_meanwhile() {
    let scratch = Scratch::new("compact-damage");
    let (mut store, _) = Store::open(&scratch.settings()).unwrap();
    store.append(&events("rooms", 1..=21)).unwrap();
    let mut damaged = fs::read(scratch.log()).unwrap();
    damaged[30] ^= 1;
    fs::write(scratch.log(), &damaged).unwrap();
    let error = store.compact_if_due(21).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { line: 1, .. }), "{error}");
    assert_eq!(fs::read(scratch.log()).unwrap(), damaged);
}

/// Appends single events until the store refuses one; returns the last epoch acknowledged and the refusal.
fn append_until_refused(store: &mut Store, from: u64) -> (u64, StoreError) {
    for epoch in from..=100_000 {
        if let Err(error) = store.append(&[event("rooms", epoch)]) {
            return (epoch - 1, error);
        }
    }
    panic!("100,000 events fitted on the small disk");
}

#[test]
fn a_full_disk_refuses_writes_until_it_is_freed_and_loses_nothing() {
    let scratch = Scratch::new("full");
    let disk = SmallDisk::mount(&scratch.0.join("disk"));
    let settings = settings(&disk.0.join("store"));
    let (mut store, _) = Store::open(&settings).unwrap();
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![0; 24 * 1024]).unwrap();

    let (acknowledged, error) = append_until_refused(&mut store, 1);
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    for _ in 0..3 {
        let again = store.append(&events("rooms", acknowledged + 1..=acknowledged + 30)).unwrap_err();
        assert!(matches!(again, StoreError::Full { .. }), "{again}");
        assert_eq!(found(&read_only(&settings).unwrap()), [("rooms", acknowledged)]);
    }
    let longest = read_only(&settings).unwrap()[0].events().len();
    let compaction = store.compact_if_due(longest).unwrap_err();
    assert!(matches!(compaction, StoreError::Full { .. }), "{compaction}");
    assert!(!settings.path.join("events.jsonl.new").exists(), "the half-written file still fills the disk");

    fs::remove_file(&ballast).unwrap();
    store.append(&[event("rooms", acknowledged + 1)]).unwrap();
    drop(store);
    assert_eq!(reopened(&settings), [("rooms".to_owned(), acknowledged + 1)]);
}

#[test]
fn a_store_on_a_full_disk_can_still_be_opened() {
    let scratch = Scratch::new("full-open");
    let disk = SmallDisk::mount(&scratch.0.join("disk"));
    let settings = settings(&disk.0.join("store"));
    let (mut store, _) = Store::open(&settings).unwrap();
    let (acknowledged, _) = append_until_refused(&mut store, 1);
    drop(store);
    assert_eq!(reopened(&settings), [("rooms".to_owned(), acknowledged)]);
}

#[test]
fn a_read_only_disk_refuses_to_open_for_writing_and_is_still_read() {
    let scratch = Scratch::new("read-only");
    let disk = SmallDisk::mount(&scratch.0.join("disk"));
    let settings = settings(&disk.0.join("store"));
    let (mut store, _) = Store::open(&settings).unwrap();
    store.append(&events("rooms", 1..=2)).unwrap();
    drop(store);
    disk.remount("ro");
    let refused = refusal(&settings);
    assert!(refused.to_string().contains("Read-only file system"), "{refused}");
    assert_eq!(found(&read_only(&settings).unwrap()), [("rooms", 2)]);
    disk.remount("rw");
    assert_eq!(reopened(&settings), [("rooms".to_owned(), 2)]);
}

#[test]
fn a_memory_store_answers_the_same_verbs_and_bounds_the_history() {
    let settings = StoreSettings { kind: StoreKind::Memory, ..settings(Path::new("/nowhere")) };
    let (mut store, histories) = Store::open(&settings).unwrap();
    assert!(histories.is_empty() && read_only(&settings).unwrap().is_empty());
    let mut history = History::founded_by(event("rooms", 1)).unwrap();
    for epoch in 2..=100 {
        store.append(&[event("rooms", epoch)]).unwrap();
        history.push(event("rooms", epoch)).unwrap();
        compact_if_due(&mut store, &mut history);
        assert!(history.events().len() <= 20, "epoch {epoch}: {} events", history.events().len());
    }
    store.reopen().unwrap();
    assert_eq!(history.at(95).unwrap().nodes()[0].weight, 95);
}

/// Names the directory in which a re-executed test binary plays the writer that is going to be killed.
const VICTIM: &str = "RINGWAY_TEST_STORE_VICTIM";

/// Appends for ever in batches of 1 to 5 events, and tells of every acknowledged batch.
fn play_victim(directory: &Path) -> ! {
    let (mut store, mut histories) = Store::open(&settings(directory)).unwrap();
    let mut history = match histories.pop() {
        Some(history) => history,
        None => History::empty("rooms", PlacementSettings::default()),
    };
    for size in (1..=5).cycle() {
        let next = history.epoch() + 1;
        let batch = events("rooms", next..=next + size - 1);
        store.append(&batch).unwrap();
        println!("\nacknowledged {}", next + size - 1);
        batch.into_iter().for_each(|event| history.push(event).unwrap());
        compact_if_due(&mut store, &mut history);
    }
    unreachable!("the batches never end");
}

/// Lets a child append until it has acknowledged `batches` batches, kills it, and returns the last epoch it told of.
fn kill_after(directory: &Path, batches: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_kill_loses_an_acknowledged_event", "--nocapture"])
        .env(VICTIM, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut last, mut count) = (0, 0);
    for line in told.map_while(Result::ok) {
        if let Some(epoch) = line.strip_prefix("acknowledged ").and_then(|epoch| epoch.parse().ok()) {
            (last, count) = (epoch, count + 1);
            if count == batches {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(count >= batches, "the child ended by itself after {count} batches");
    last
}

#[test]
fn no_kill_loses_an_acknowledged_event() {
    if let Some(directory) = std::env::var_os(VICTIM) {
        play_victim(Path::new(&directory));
    }
    let scratch = Scratch::new("kill");
    let settings = scratch.settings();
    for round in 0..20 {
        let acknowledged = kill_after(&settings.path, 3 + round * 7 % 40);
        let histories = read_only(&settings).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let (_store, restarted) = Store::open(&settings).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(found(&histories), found(&restarted), "round {round}");
        let epoch = restarted[0].epoch();
        let last_batch = acknowledged..=acknowledged + 5;
        assert!(last_batch.contains(&epoch), "round {round}: {acknowledged} was acknowledged, {epoch} is there");
        let weight = restarted[0].membership().nodes()[0].weight;
        assert_eq!(u64::from(weight), epoch % 1_000, "round {round}: half an event was applied");
    }
}
