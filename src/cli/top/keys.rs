//! What whoever looks wants: keys as they are typed, and signals.

use std::io;
use std::thread;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::Sender;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Leave,
    /// Not to run for a while (Ctrl-Z).
    Stop,
    /// It runs again.
    GoOn,
    /// Another order.
    Sort,
    Scroll(Scroll),
    /// The terminal has another size.
    Resize,
    Other,
}

/// Where to in a long table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scroll {
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
}

impl Scroll {
    /// The first row that is shown then, which may be too far.
    pub(super) fn of(self, row: usize, page: usize) -> usize {
        match self {
            Scroll::Up => row.saturating_sub(1),
            Scroll::Down => row + 1,
            Scroll::PageUp => row.saturating_sub(page / 2),
            Scroll::PageDown => row + page / 2,
            Scroll::Top => 0,
            Scroll::Bottom => usize::MAX,
        }
    }
}

/// Where it comes from.
pub(super) struct Input {
    keys: Receiver<Key>,
    end: [Signal; 4],
    stop: Signal,
    go_on: Signal,
    resize: Signal,
}

impl Input {
    /// Hears signals from now on, and keys where there are any.
    ///
    /// # Errors
    /// When the system has no room for that.
    pub(super) fn new(has_keys: bool) -> io::Result<Input> {
        let (typed, keys) = mpsc::channel(KEYS_WAITING_MAX);
        if has_keys {
            // It ends with the process, which nobody else reads for.
            thread::Builder::new().name("keys".to_owned()).spawn(move || read(&typed))?;
        }
        Ok(Input {
            keys,
            end: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::quit())?,
            ],
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            go_on: signal(SignalKind::from_raw(libc::SIGCONT))?,
            resize: signal(SignalKind::window_change())?,
        })
    }

    /// The next thing that is wanted. Nothing is lost when this is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Key {
        let Input { keys, end: [interrupt, terminate, hangup, quit], stop, go_on, resize } = self;
        tokio::select! {
            Some(key) = keys.recv() => key,
            _ = interrupt.recv() => Key::Leave,
            _ = terminate.recv() => Key::Leave,
            _ = hangup.recv() => Key::Leave,
            _ = quit.recv() => Key::Leave,
            _ = stop.recv() => Key::Stop,
            _ = go_on.recv() => Key::GoOn,
            _ = resize.recv() => Key::Resize,
        }
    }
}

/// Hands on what is typed, as long as anybody wants it. Whose terminal is gone wants to leave.
fn read(typed: &Sender<Key>) {
    let mut bytes = [0; 64];
    loop {
        let keys = match rustix::io::read(io::stdin(), &mut bytes) {
            Ok(count @ 1..) => parse(&bytes[..count]),
            Err(rustix::io::Errno::INTR) => continue,
            Ok(_) | Err(_) => vec![Key::Leave],
        };
        for key in keys {
            if typed.blocking_send(key).is_err() {
                return;
            }
        }
    }
}

/// What was typed: letters, and the sequences that keys without a letter send (xterm, ECMA-48).
fn parse(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        let known = KEYS.iter().find(|(sent, _)| bytes.starts_with(sent));
        let (length, key) = known.map_or((1, Key::Other), |(sent, key)| (sent.len(), *key));
        keys.push(key);
        bytes = &bytes[length..];
    }
    keys
}

/// Keys that wait to be acted on; who types faster waits with the terminal.
const KEYS_WAITING_MAX: usize = 16;

/// What each key sends.
const KEYS: [(&[u8], Key); 21] = [
    (b"q", Key::Leave),
    (b"Q", Key::Leave),
    // Where the terminal makes no signal of Ctrl-C.
    (b"\x03", Key::Leave),
    (b"s", Key::Sort),
    (b"k", Key::Scroll(Scroll::Up)),
    (b"\x1b[A", Key::Scroll(Scroll::Up)),
    (b"\x1bOA", Key::Scroll(Scroll::Up)),
    (b"j", Key::Scroll(Scroll::Down)),
    (b"\x1b[B", Key::Scroll(Scroll::Down)),
    (b"\x1bOB", Key::Scroll(Scroll::Down)),
    (b"\x1b[5~", Key::Scroll(Scroll::PageUp)),
    (b"b", Key::Scroll(Scroll::PageUp)),
    (b"\x1b[6~", Key::Scroll(Scroll::PageDown)),
    (b" ", Key::Scroll(Scroll::PageDown)),
    (b"g", Key::Scroll(Scroll::Top)),
    (b"\x1b[H", Key::Scroll(Scroll::Top)),
    (b"\x1bOH", Key::Scroll(Scroll::Top)),
    (b"G", Key::Scroll(Scroll::Bottom)),
    (b"\x1b[F", Key::Scroll(Scroll::Bottom)),
    (b"\x1bOF", Key::Scroll(Scroll::Bottom)),
    (b"\x0c", Key::Resize),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_however_they_come() {
        for (typed, keys) in [
            (&b"q"[..], &[Key::Leave][..]),
            (b"\x1b[B\x1b[Bs", &[Key::Scroll(Scroll::Down), Key::Scroll(Scroll::Down), Key::Sort]),
            (b"\x1b[6~", &[Key::Scroll(Scroll::PageDown)]),
            ("ä".as_bytes(), &[Key::Other, Key::Other]),
            (b"", &[]),
        ] {
            assert_eq!(parse(typed), keys, "{typed:?}");
        }
    }

    #[test]
    fn a_table_is_moved_in_by_rows_and_half_pages() {
        for (scroll, from, to) in [
            (Scroll::Up, 0, 0),
            (Scroll::Up, 3, 2),
            (Scroll::Down, 3, 4),
            (Scroll::PageDown, 3, 15),
            (Scroll::PageUp, 15, 3),
            (Scroll::Top, 15, 0),
        ] {
            assert_eq!(scroll.of(from, 24), to, "{scroll:?}");
        }
    }
}
