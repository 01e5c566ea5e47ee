//! The access log: one JSON line a request, written by a thread of its own so that the data plane never waits.

use crate::section;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TrySendError;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// Lines that may wait to be written; beyond it lines are dropped and counted.
const QUEUE_LINES: usize = 8192;

/// How long to wait for room in a full queue before looking again.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// One line. The key is there as its hash only: keys are often session cookies.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Entry {
    pub(crate) ts: String,
    pub(crate) pool: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) decision: Option<&'static str>,
    /// Why a key was served elsewhere than at its owner: `ill`, `failed` or `full`.
    pub(crate) owner_was: Option<&'static str>,
    pub(crate) key_source: Option<String>,
    pub(crate) key_hash: Option<String>,
    pub(crate) attempts: u32,
    pub(crate) method: String,
    pub(crate) host: String,
    /// Without the query, which may hold secrets.
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration_s: f64,
    pub(crate) upstream_s: Option<f64>,
    pub(crate) client: String,
    pub(crate) trace_id: Option<String>,
}

impl Entry {
    /// An entry of this moment about the client at this address, of whose request nothing is known yet.
    pub(crate) fn now(peer: IpAddr) -> Entry {
        Entry {
            ts: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            client: peer.to_canonical().to_string(),
            ..Entry::default()
        }
    }
}

/// Where lines are handed over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<Command>,
}

#[derive(Debug)]
enum Command {
    Flush(SyncSender<()>),
    Line(Vec<u8>),
    Reopen,
}

impl AccessLog {
    /// Opens the log at `path` (`-` is standard output) and starts its thread.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: &str) -> io::Result<AccessLog> {
        let sink = Sink::open(path)?;
        let (queue, commands) = sync_channel(QUEUE_LINES);
        thread::Builder::new().name("access-log".into()).spawn(move || write_lines(sink, &commands))?;
        Ok(AccessLog { queue })
    }

    /// Hands a line over; `false` when the queue was full and it is lost.
    pub(crate) fn write(&self, entry: &Entry) -> bool {
        line_of(entry).is_some_and(|line| self.queue.try_send(Command::Line(line)).is_ok())
    }

    /// Opens the file anew, after log rotation moved it.
    pub fn reopen(&self) {
        if self.queue.try_send(Command::Reopen).is_err() {
            tracing::warn!("the access log is too busy to be reopened");
        }
    }

    /// Waits until every line handed over so far is written, for `patience` at most; blocks the thread.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (done, written) = sync_channel(1);
        let mut command = Command::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(command)
            && Instant::now() < deadline
        {
            command = back;
            thread::sleep(FULL_PAUSE);
        }
        if written.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
            tracing::warn!("the last lines of the access log are not written");
        }
    }
}

fn line_of(entry: &Entry) -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(LINE_BYTES);
    entry.serialize(&mut Serializer::with_formatter(&mut line, Printable)).ok()?;
    line.push(b'\n');
    Some(line)
}

/// As much as most lines take.
const LINE_BYTES: usize = 512;

/// Compact JSON in which everything that does not show as itself is an escape: what JSON must escape, and what it need
/// not, such as DEL, C1, and what separates lines or turns their direction.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if section::is_printable(character) {
                write!(writer, "{character}")?;
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

enum Sink {
    Stdout,
    File { path: PathBuf, writer: BufWriter<File> },
}

impl Sink {
    fn open(path: &str) -> io::Result<Sink> {
        if path == "-" {
            return Ok(Sink::Stdout);
        }
        let path = PathBuf::from(path);
        let writer = BufWriter::new(append_to(&path)?);
        Ok(Sink::File { path, writer })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stdout => io::stdout().write_all(line),
            Sink::File { writer, .. } => writer.write_all(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Stdout => io::stdout().flush(),
            Sink::File { writer, .. } => writer.flush(),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File { path, writer } = self {
            writer.flush()?;
            *writer = BufWriter::new(append_to(path)?);
        }
        Ok(())
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes until every handle is gone, flushing whenever nothing waits.
fn write_lines(mut sink: Sink, commands: &Receiver<Command>) {
    while let Ok(first) = commands.recv() {
        let mut next = Some(first);
        while let Some(command) = next {
            let result = match command {
                // An error says that nobody waits any longer.
                Command::Flush(done) => sink.flush().inspect(|()| done.send(()).unwrap_or_default()),
                Command::Line(line) => sink.write(&line),
                Command::Reopen => sink.reopen(),
            };
            if let Err(error) = result {
                tracing::error!(%error, "the access log cannot be written");
            }
            next = commands.try_recv().ok();
        }
        if let Err(error) = sink.flush() {
            tracing::error!(%error, "the access log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// What is logged of this as method, host and path, as text and as it reads.
    fn logged(text: &str) -> (String, Value) {
        let fields = [text; 3].map(str::to_owned);
        let [method, host, path] = fields;
        let line = line_of(&Entry { method, host, path, ..Entry::default() }).unwrap();
        let line = String::from_utf8(line).unwrap();
        let read = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        (line, read)
    }

    #[test]
    fn nothing_that_terminals_act_on_comes_out_as_it_came_in_and_all_reads_back() {
        for text in [
            "\u{1b}[31mred\u{1b}[0m",
            "two\r\nlines\n",
            "\u{7f}\u{80}\u{85}\u{9b}31m\u{9f}",
            "\u{2028}{\"status\":200}\u{2029}",
            "\u{202e}gpj\u{202c}\u{2066}x\u{2069}\u{200f}\u{61c}",
            "\u{feff}\u{200b}\u{ad}\u{e0041}\0\u{7}\u{8}",
            "\"quoted\" \\ and plain: Z\u{fc}rich \u{90e8}\u{5c4b}",
        ] {
            let (line, read) = logged(text);
            let inside = line.strip_suffix('\n').unwrap();
            assert!(inside.chars().all(section::is_printable), "{text:?}: {line}");
            for field in ["method", "host", "path"] {
                assert_eq!(read[field], text, "{field}: {line}");
            }
        }
    }

    #[test]
    fn ordinary_text_stays_readable() {
        let (line, _) = logged("/rooms/Z\u{fc}rich?");
        assert!(line.contains("\"path\":\"/rooms/Z\u{fc}rich?\""), "{line}");
    }
}
