//! Events as JSON lines in one append-only file, `events.jsonl`, in a directory that one process at a time may write.
//!
//! What may stand in the file after a crash: whole lines, and behind them one torn line without its newline, which was
//! never acknowledged. Anything else is damage, and is refused instead of repaired.

use crate::cluster::log;
use crate::cluster::log::Event;
use crate::cluster::log::History;
use crate::cluster::log::Record;
use crate::store::StoreError;
use crate::store::is_compaction_due;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// The store in a directory, opened for writing.
#[derive(Debug)]
pub struct FileStore {
    directory: PathBuf,
    /// Opened for appending, so that a write lands at the end wherever a truncation put it.
    log: File,
    /// Up to where the log holds acknowledged events.
    good_bytes: u64,
    /// A write failed in a way that leaves open what is on the disk.
    needs_reopen: bool,
    keep_events: usize,
    /// `None` while the store is lent to another process.
    lock: Option<Lock>,
    /// What the log looked like when it was last followed.
    followed: Option<Stamp>,
    #[cfg(test)]
    fault: Option<tests::Fault>,
}

impl FileStore {
    /// Opens or creates the store in `directory` and returns what it holds.
    ///
    /// A torn last line is cut off; damage anywhere else is [`StoreError::Corrupt`] and changes nothing.
    pub fn open(directory: &Path, keep_events: usize) -> Result<(FileStore, Vec<History>), StoreError> {
        create_directory(directory)?;
        let lock = lock(directory)?;
        let path = directory.join(LOG_NAME);
        let log = log_options().create(true).mode(0o600).open(&path);
        let log = log.map_err(|error| StoreError::io(&path, "open", error))?;
        let contents = read_log(&path)?;
        let store = FileStore {
            directory: directory.to_owned(),
            log,
            good_bytes: contents.good_bytes,
            needs_reopen: false,
            keep_events,
            lock: Some(lock),
            followed: None,
            #[cfg(test)]
            fault: None,
        };
        if contents.torn_bytes > 0 {
            tracing::warn!(
                file = %path.display(),
                offset = contents.good_bytes,
                bytes = contents.torn_bytes,
                "cut off an event that a crash left half written; it was never acknowledged"
            );
        }
        // An earlier process may have ended between a write and its sync, so what was read may not be durable yet.
        store.truncate_to_good().map_err(|error| StoreError::io(&path, "sync", error))?;
        sync_directory(directory)?;
        remove_if_present(&directory.join(COMPACTED_NAME))?;
        Ok((store, contents.histories))
    }

    /// Makes all events durable with one write and one sync, or none.
    pub fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let path = self.log_path();
        if self.lock.is_none() {
            return Err(StoreError::Lent);
        }
        if self.needs_reopen {
            return Err(StoreError::NeedsReopen { path });
        }
        let lines = events.iter().map(|event| log::encode(&Record::Event(event.clone())) + "\n");
        let bytes = lines.collect::<String>().into_bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.log.write_all(&bytes) {
            self.needs_reopen = self.truncate_to_good().is_err();
            return Err(StoreError::io(&path, "append", error));
        }
        if let Err(error) = self.sync() {
            // After a failed sync the kernel may count the lost pages as clean, so a second sync would prove nothing
            // (PostgreSQL's "fsyncgate" of 2018): the log must be read again from a new file handle.
            self.needs_reopen = true;
            return Err(StoreError::io(&path, "sync", error));
        }
        self.good_bytes += length(&bytes);
        Ok(())
    }

    /// Rewrites the log without the events beyond retention once the longest history holds twice as many. The log is
    /// its own source, so pools that no config names are compacted and kept as well.
    ///
    /// A crash at any point leaves the old log or the new one.
    pub fn compact_if_due(&mut self, longest: usize) -> Result<Option<usize>, StoreError> {
        if self.lock.is_none() {
            return Err(StoreError::Lent);
        }
        if self.needs_reopen {
            return Err(StoreError::NeedsReopen { path: self.log_path() });
        }
        if !is_compaction_due(longest, self.keep_events) {
            return Ok(None);
        }
        let path = self.log_path();
        let compacted_path = self.directory.join(COMPACTED_NAME);
        let bytes = self.compacted_bytes()?;
        write_whole(&compacted_path, &bytes)
            .inspect_err(|_| drop(fs::remove_file(&compacted_path)))
            .map_err(|error| StoreError::io(&compacted_path, "write the compacted log", error))?;
        let compacted = open_log(&compacted_path)?;
        fs::rename(&compacted_path, &path).map_err(|error| StoreError::io(&path, "replace", error))?;
        self.log = compacted;
        self.good_bytes = length(&bytes);
        // Until the directory is durable, a crash could bring the old log back without the events appended from now on.
        sync_directory(&self.directory).inspect_err(|_| self.needs_reopen = true)?;
        Ok(Some(self.keep_events))
    }

    /// Goes back to the last acknowledged event on a new file handle, and accepts writes again once that is durable
    /// and the log reads well.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        let path = self.log_path();
        self.log = open_log(&path)?;
        let found = self.log.metadata().map_err(|error| StoreError::io(&path, "read", error))?.len();
        if found < self.good_bytes {
            let why = format!("the log ends at byte {found}, but was written up to {}", self.good_bytes);
            return Err(StoreError::Io { path, doing: "reopen", source: io::Error::other(why) });
        }
        self.truncate_to_good().map_err(|error| StoreError::io(&path, "truncate and sync", error))?;
        sync_directory(&self.directory)?;
        read_log(&path)?;
        self.needs_reopen = false;
        Ok(())
    }

    /// Lets another process write: from here on this one only reads, see [`FileStore::follow`]. What a failed write
    /// left open is settled first, so that the other one reads nothing that was never acknowledged.
    pub fn lend(&mut self) -> Result<(), StoreError> {
        if self.needs_reopen {
            self.reopen()?;
        }
        self.sync().map_err(|error| StoreError::io(&self.log_path(), "sync", error))?;
        self.lock = None;
        Ok(())
    }

    /// Takes the store back once the other process has let go of it, or opens it anew, and returns what it holds now.
    pub fn reclaim(&mut self) -> Result<Vec<History>, StoreError> {
        // Otherwise its own lock would be in the way.
        self.lock = None;
        let (store, histories) = FileStore::open(&self.directory, self.keep_events)?;
        *self = store;
        Ok(histories)
    }

    /// What the store holds, when that may have changed since it was last asked for; needs no lock.
    pub fn follow(&mut self) -> Result<Option<Vec<History>>, StoreError> {
        let path = self.log_path();
        let stamp = Stamp::of(&path).map_err(|error| StoreError::io(&path, "read", error))?;
        if self.followed == Some(stamp) {
            return Ok(None);
        }
        let histories = read_only(&self.directory)?;
        self.followed = Some(stamp);
        Ok(Some(histories))
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join(LOG_NAME)
    }

    /// What the log would hold with only the events to keep.
    fn compacted_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        for mut history in read_log(&self.log_path())?.histories {
            history.compact(self.keep_events);
            for record in history.records() {
                bytes.extend_from_slice(log::encode(&record).as_bytes());
                bytes.push(b'\n');
            }
        }
        Ok(bytes)
    }

    /// Takes back what was written beyond the last acknowledged event, durably.
    fn truncate_to_good(&self) -> io::Result<()> {
        self.log.set_len(self.good_bytes)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.fault == Some(tests::Fault::Sync) {
            return Err(io::Error::other("injected"));
        }
        self.log.sync_data()
    }
}

/// Reads the log without the lock. A torn last line is ignored, since the writer may be writing it right now.
pub fn read_only(directory: &Path) -> Result<Vec<History>, StoreError> {
    let path = directory.join(LOG_NAME);
    // A writer that takes back a failed append and writes another between two of our reads shows us a mixture of both,
    // which a second look does not.
    let contents = match read_log(&path) {
        Err(StoreError::Corrupt { .. }) => read_log(&path),
        first_look => first_look,
    };
    match contents {
        Ok(contents) => Ok(contents.histories),
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What tells one state of the log from another: a compaction puts another file there, an append makes it longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Stamp> {
        let found = fs::metadata(path)?;
        Ok(Stamp { inode: found.ino(), bytes: found.len() })
    }
}

/// What a log holds.
struct Contents {
    histories: Vec<History>,
    good_bytes: u64,
    /// Length of an unterminated last line.
    torn_bytes: u64,
}

fn read_log(path: &Path) -> Result<Contents, StoreError> {
    let bytes = fs::read(path).map_err(|error| StoreError::io(path, "read", error))?;
    let mut histories: Vec<History> = Vec::new();
    let mut good = 0;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let corrupt = |why| StoreError::Corrupt { path: path.to_owned(), line: index + 1, why };
        let Some(line) = line.strip_suffix(b"\n") else {
            check_torn(line).map_err(corrupt)?;
            break;
        };
        let record = log::decode(line).map_err(corrupt)?;
        log::collect(&mut histories, record).map_err(corrupt)?;
        good += line.len() + 1;
    }
    let (good_bytes, torn_bytes) = (length(&bytes[..good]), length(&bytes[good..]));
    Ok(Contents { histories, good_bytes, torn_bytes })
}

/// A whole record and one byte more is not what a crash leaves: it is a line whose newline was damaged.
fn check_torn(line: &[u8]) -> Result<(), String> {
    match line.split_last() {
        Some((last, record)) if log::decode(record).is_ok() => {
            Err(format!("the byte 0x{last:02x} stands where a newline is due"))
        }
        _ => Ok(()),
    }
}

/// Creates the directory and those above it for their owner alone, and makes the name of each durable in its parent.
fn create_directory(directory: &Path) -> Result<(), StoreError> {
    let named = directory.ancestors().filter(|ancestor| *ancestor != Path::new(""));
    let missing: Vec<&Path> = named.take_while(|ancestor| !ancestor.is_dir()).collect();
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    created.map_err(|error| StoreError::io(directory, "create the directory", error))?;
    missing.into_iter().try_for_each(|created| match created.parent() {
        Some(parent) if parent != Path::new("") => sync_directory(parent),
        _ => sync_directory(Path::new(".")),
    })
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreError::io(directory, "sync the directory", error))
}

/// The exclusive lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing the file alone would leave the lock to a child process that is just being started.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "could not release the lock of the store; it ends with this process");
        }
    }
}

/// Takes the exclusive lock, and leaves the process id in it for whoever comes second.
fn lock(directory: &Path) -> Result<Lock, StoreError> {
    let path = directory.join(LOCK_NAME);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.map_err(|error| StoreError::io(&path, "open the lock", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(StoreError::Locked { path, pid });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io(&path, "lock", error)),
    }
    // The id is for people only: a full disk must not keep the proxy from starting.
    if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
        tracing::warn!(file = %path.display(), %error, "could not note the process id in the lock");
    }
    Ok(Lock(file))
}

fn log_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true);
    options
}

/// Opens a log that must be there: were it gone, an empty one in its place would hide the loss.
fn open_log(path: &Path) -> Result<File, StoreError> {
    log_options().open(path).map_err(|error| StoreError::io(path, "open", error))
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove_if_present(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, "remove", error)),
        _ => Ok(()),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a slice is shorter than 2^64 bytes")
}

const LOG_NAME: &str = "events.jsonl";

const LOCK_NAME: &str = "lock";

/// Where a compaction writes; of no meaning until it is renamed.
const COMPACTED_NAME: &str = "events.jsonl.new";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::log::Action;
    use crate::cluster::membership::Change;
    use crate::placement::PlacementSettings;

    /// What a test lets fail, since no file system here fails on demand.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Fault {
        Sync,
    }

    impl FileStore {
        /// From now on no sync succeeds.
        pub(crate) fn break_syncs(&mut self) {
            self.fault = Some(Fault::Sync);
        }
    }

    /// A directory of its own for each test, gone with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("ringway-file-{test}-{}", std::process::id()));
            drop(fs::remove_dir_all(&path));
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn event(epoch: u64) -> Event {
        Event {
            pool: "rooms".to_owned(),
            epoch,
            at_ms: epoch,
            actor: "test".to_owned(),
            reason: None,
            action: Action::Changes(vec![Change::Placement(PlacementSettings::Ring { vnodes: 16 })]),
        }
    }

    fn epochs(histories: &[History]) -> Vec<u64> {
        histories.iter().map(History::epoch).collect()
    }

    #[test]
    fn after_a_failed_sync_only_a_reopen_lets_writes_through() {
        let scratch = Scratch::new("sync");
        let (mut store, _) = FileStore::open(&scratch.0, 10).unwrap();
        store.append(&[event(1)]).unwrap();
        store.break_syncs();
        let failed = store.append(&[event(2)]).unwrap_err();
        assert!(failed.to_string().ends_with("events.jsonl: cannot sync: injected"), "{failed}");
        assert!(store.reopen().is_err(), "a reopen that cannot sync must fail");
        store.fault = None;
        for _ in 0..2 {
            assert!(matches!(store.append(&[event(2)]), Err(StoreError::NeedsReopen { .. })));
        }
        store.reopen().unwrap();
        assert_eq!(epochs(&read_only(&scratch.0).unwrap()), [1]);
        store.append(&[event(2)]).unwrap();
        assert_eq!(epochs(&read_only(&scratch.0).unwrap()), [2]);
    }

    #[test]
    fn a_lent_store_is_followed_and_comes_back_with_what_the_other_wrote() {
        let scratch = Scratch::new("lend");
        let (mut store, _) = FileStore::open(&scratch.0, 10).unwrap();
        store.append(&[event(1)]).unwrap();
        store.lend().unwrap();
        assert!(matches!(store.append(&[event(2)]), Err(StoreError::Lent)));
        assert_eq!(epochs(&store.follow().unwrap().unwrap()), [1]);
        assert!(store.follow().unwrap().is_none(), "nothing was written since");

        let (mut other, _) = FileStore::open(&scratch.0, 10).unwrap();
        other.append(&[event(2)]).unwrap();
        assert_eq!(epochs(&store.follow().unwrap().unwrap()), [2]);
        assert!(matches!(store.reclaim(), Err(StoreError::Locked { .. })), "the other one still writes");
        drop(other);
        assert_eq!(epochs(&store.reclaim().unwrap()), [2]);
        store.append(&[event(3)]).unwrap();
        assert_eq!(epochs(&read_only(&scratch.0).unwrap()), [3]);
    }

    #[test]
    fn a_store_is_lent_without_what_was_never_acknowledged() {
        let scratch = Scratch::new("lend-doubtful");
        let (mut store, _) = FileStore::open(&scratch.0, 10).unwrap();
        store.append(&[event(1)]).unwrap();
        store.break_syncs();
        assert!(store.append(&[event(2)]).is_err());
        assert!(store.lend().is_err(), "what is on the disk is open as long as nothing can be synced");
        store.fault = None;
        store.lend().unwrap();
        assert_eq!(epochs(&read_only(&scratch.0).unwrap()), [1]);
    }

    #[test]
    fn a_reopen_finds_damage_and_a_lost_log() {
        let scratch = Scratch::new("reopen");
        let (mut store, _) = FileStore::open(&scratch.0, 10).unwrap();
        store.append(&[event(1)]).unwrap();
        store.break_syncs();
        assert!(store.append(&[event(2)]).is_err());
        store.fault = None;

        let path = store.log_path();
        let good = fs::read(&path).unwrap();
        fs::write(&path, &good[..10]).unwrap();
        assert!(store.reopen().unwrap_err().to_string().contains("ends at byte 10"));
        fs::remove_file(&path).unwrap();
        assert!(store.reopen().is_err());
        assert!(!path.exists(), "an empty log in place of a lost one would hide the loss");
        fs::write(&path, vec![b'x'; good.len()]).unwrap();
        assert!(matches!(store.append(&[event(2)]), Err(StoreError::NeedsReopen { .. })));
        fs::write(&path, &good).unwrap();
        store.reopen().unwrap();
        store.append(&[event(2)]).unwrap();
    }
}
