//! Watches the workers from the main thread: says which is stuck, and lets the service manager know that all are well.

use crate::metrics::pulse::BEAT_EVERY;
use crate::metrics::stats::ServerStats;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

/// Watches for as long as the runtime lives, within which it must be called. The service manager takes the process for
/// dead once nobody has told it `alive` for its `patience`, if it has one.
pub(super) fn watch(stats: Arc<ServerStats>, patience: Option<Duration>, alive: impl Fn() + Send + 'static) {
    let feeding = patience.map(|patience| Feeding { every: patience / 2, due: Instant::now() });
    tokio::spawn(async move {
        let mut watchdog = Watchdog { feeding, stuck: BTreeSet::new() };
        let every = watchdog.feeding.as_ref().map_or(BEAT_EVERY, |feeding| BEAT_EVERY.min(feeding.every));
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if watchdog.look(stats.pulses.stuck().collect(), Instant::now()) {
                alive();
            }
        }
    });
}

struct Watchdog {
    feeding: Option<Feeding>,
    /// The workers that were stuck at the last look.
    stuck: BTreeSet<usize>,
}

/// When the service manager wants to hear that this process is alive.
struct Feeding {
    every: Duration,
    due: Instant,
}

impl Watchdog {
    /// Tells what has changed since the last look; returns whether the service manager is to hear that all are well.
    fn look(&mut self, stuck: BTreeSet<usize>, now: Instant) -> bool {
        for worker in stuck.difference(&self.stuck) {
            tracing::error!(worker = %format!("worker-{worker}"), "a worker is stuck; the others go on");
        }
        for worker in self.stuck.difference(&stuck) {
            tracing::info!(worker = %format!("worker-{worker}"), "the worker that was stuck goes on");
        }
        self.stuck = stuck;
        match &mut self.feeding {
            // Late rather than not at all: as soon as nobody is stuck any more.
            Some(feeding) if self.stuck.is_empty() && now >= feeding.due => {
                feeding.due = now + feeding.every;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    const SECOND: Duration = Duration::from_secs(1);

    /// At which seconds the service manager hears something, when these workers are stuck in each.
    fn heard(stuck_in_each_second: &[&[usize]]) -> Vec<usize> {
        let begun = Instant::now();
        let mut watchdog =
            Watchdog { feeding: Some(Feeding { every: 5 * SECOND, due: begun }), stuck: BTreeSet::new() };
        let seconds = stuck_in_each_second.iter().enumerate();
        let heard = seconds.filter(|(second, stuck)| {
            let now = begun + SECOND * u32::try_from(*second).unwrap();
            watchdog.look(stuck.iter().copied().collect(), now)
        });
        heard.map(|(second, _)| second).collect()
    }

    #[test]
    fn the_service_manager_hears_every_now_and_then_that_all_are_well() {
        assert_eq!(heard(&[&[] as &[usize]; 12]), [0, 5, 10]);
    }

    #[test]
    fn it_hears_nothing_while_a_worker_is_stuck_and_at_once_when_it_goes_on() {
        let mut seconds: Vec<&[usize]> = vec![&[]; 16];
        seconds[4..8].fill(&[1]);
        assert_eq!(heard(&seconds), [0, 8, 13]);
    }

    #[test]
    fn one_worker_that_goes_on_does_not_hide_another_that_is_stuck() {
        assert_eq!(heard(&[&[], &[0], &[0, 1], &[1], &[1], &[1], &[1]]), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_falls_silent_silences_the_process() {
        let (stats, told) = (Arc::new(ServerStats::new(2)), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&told);
        watch(Arc::clone(&stats), Some(4 * BEAT_EVERY), move || {
            count.fetch_add(1, Relaxed);
        });
        /// How often the service manager is told something while these workers live for 20 beats.
        async fn told_while(living: &[usize], stats: &ServerStats, told: &AtomicUsize) -> usize {
            let before = told.load(Relaxed);
            for _ in 0..20 {
                living.iter().for_each(|worker| stats.pulses.beat(*worker));
                tokio::time::sleep(BEAT_EVERY).await;
            }
            told.load(Relaxed) - before
        }
        assert_eq!(told_while(&[0, 1], &stats, &told).await, 10);
        let silent = told_while(&[0], &stats, &told).await;
        assert!(silent <= 1, "worker 1 is stuck, and the service manager heard {silent} times that all is well");
        assert_eq!(told_while(&[0, 1], &stats, &told).await, 10);
    }

    #[test]
    fn nobody_hears_anything_who_does_not_ask() {
        let mut watchdog = Watchdog { feeding: None, stuck: BTreeSet::new() };
        assert!(!watchdog.look(BTreeSet::new(), Instant::now()));
    }
}
