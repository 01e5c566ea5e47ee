//! Panics of this process, counted by the thread they happen on, whoever catches them.

use std::panic;
use std::panic::Location;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

/// The values of the label `thread`. Threads of one kind are named alike, with a number behind; all that have no name
/// here are `other`.
pub const THREADS: [&str; 5] = ["main", "worker", "control", "health", "other"];

static COUNTS: [AtomicU64; THREADS.len()] = [const { AtomicU64::new(0) }; THREADS.len()];

/// Counts and logs every panic from now on, however often this is called; what was told of them before, is told still.
pub(crate) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            COUNTS[kind_of(thread::current().name())].fetch_add(1, Relaxed);
            before(panic);
        }));
    });
}

/// Lets panics be told by the log rather than as Rust does: in the format of the log, and without what a panic says
/// about the values at hand, which may be keys.
pub fn log_only() {
    panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let place = panic.location().map(Location::to_string).unwrap_or_default();
    // What was put together for this panic is no `&str`; only what stands in the program is.
    let said = panic.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(thread = thread.name(), place, said, "a panic, which is a bug of this program");
}

/// How many there were, by thread.
pub(crate) fn counts() -> impl Iterator<Item = (&'static str, u64)> {
    THREADS.into_iter().zip(COUNTS.iter().map(|count| count.load(Relaxed)))
}

fn kind_of(name: Option<&str>) -> usize {
    let name = name.unwrap_or_default();
    let kind =
        name.split_once('-').filter(|(_, number)| number.parse::<usize>().is_ok()).map_or(name, |(kind, _)| kind);
    THREADS.iter().position(|known| *known == kind).unwrap_or(THREADS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_of_few_kinds_whatever_they_are_called() {
        for (name, kind) in [
            (Some("worker-0"), "worker"),
            (Some("worker-17"), "worker"),
            (Some("control"), "control"),
            (Some("main"), "main"),
            (Some("worker-x"), "other"),
            (Some("tokio-rt-worker"), "other"),
            (Some(""), "other"),
            (None, "other"),
        ] {
            assert_eq!(THREADS[kind_of(name)], kind, "{name:?}");
        }
    }
}
