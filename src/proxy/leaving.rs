//! A node on its way out: since when, and until when what is still open at it may go on.

use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Whether a node is on its way out. `control` writes it, workers look at it every second.
#[derive(Debug, Default)]
pub struct Leaving(ArcSwapOption<Leave>);

/// A node's way out, as this process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// When it began.
    pub since: Instant,
    /// The same in milliseconds since 1970, for people.
    pub since_ms: u64,
    /// How long what is open may take from then on (`drain-deadline`).
    pub patience: Duration,
}

impl Leave {
    /// Whether what is still open is to be closed.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.patience
    }

    /// When that is, in milliseconds since 1970, for people.
    pub fn deadline_ms(&self) -> u64 {
        self.since_ms.saturating_add(u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Leaving {
    /// It leaves from `now` on, or from when it began to if that was before; `patience` counts from then.
    pub fn begin(&self, now: Instant, now_ms: u64, patience: Duration) {
        let begun = self.get().unwrap_or(Leave { since: now, since_ms: now_ms, patience });
        self.0.store(Some(Arc::new(Leave { patience, ..begun })));
    }

    /// It stays after all.
    pub fn cancel(&self) {
        self.0.store(None);
    }

    /// Its way out, if it is on it.
    pub fn get(&self) -> Option<Leave> {
        self.0.load().as_deref().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_deadline_counts_from_when_the_node_began_to_leave() {
        let (leaving, began) = (Leaving::default(), Instant::now());
        leaving.begin(began, 1_000, seconds(10));
        // Another table, with the same drain in it, and then another setting.
        leaving.begin(began + seconds(4), 5_000, seconds(10));
        leaving.begin(began + seconds(5), 6_000, seconds(8));
        let leave = leaving.get().unwrap();
        assert_eq!(leave, Leave { since: began, since_ms: 1_000, patience: seconds(8) });
        assert_eq!(leave.deadline_ms(), 9_000);
        assert_eq!([7, 8, 9].map(|after| leave.is_over(began + seconds(after))), [false, true, true]);
    }

    #[test]
    fn a_node_that_stays_after_all_begins_anew_the_next_time() {
        let (leaving, began) = (Leaving::default(), Instant::now());
        leaving.begin(began, 0, seconds(10));
        leaving.cancel();
        assert_eq!(leaving.get(), None);
        leaving.begin(began + seconds(60), 60_000, seconds(10));
        assert!(!leaving.get().unwrap().is_over(began + seconds(61)));
    }

    #[test]
    fn no_patience_is_over_at_once() {
        let (leaving, now) = (Leaving::default(), Instant::now());
        leaving.begin(now, 0, Duration::ZERO);
        assert!(leaving.get().unwrap().is_over(now));
    }
}
