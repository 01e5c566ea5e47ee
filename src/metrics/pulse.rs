//! The signs of life that workers give, from which others see that one is stuck.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// When each worker was last seen alive. They count for themselves; whoever asks compares with the clock, so that no
/// other thread has to be well for a stuck worker to be seen.
#[derive(Debug)]
pub struct Pulses {
    start: Instant,
    beats: Box<[Beat]>,
}

/// Of one worker, in milliseconds since the start and 1; 0 before it has begun, [`OVER`] once it has ended.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Beat(AtomicU64);

/// A worker that has ended as it should.
const OVER: u64 = u64::MAX;

/// How often a worker says that it is alive.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);

/// A worker that said nothing for so long is stuck: it has missed two beats, and half a second is left to a machine
/// with too much to do. With what it may take to ask, that is within 2 seconds.
pub const STUCK_AFTER: Duration = Duration::from_millis(1_500);

impl Pulses {
    /// Of `workers` threads, none of which has begun.
    pub fn new(workers: usize) -> Pulses {
        Pulses { start: Instant::now(), beats: (0..workers).map(|_| Beat::default()).collect() }
    }

    /// Worker `worker` is alive.
    pub fn beat(&self, worker: usize) {
        self.set(worker, self.now());
    }

    /// Worker `worker` ends as it should, so that nothing more is heard of it.
    pub fn end(&self, worker: usize) {
        self.set(worker, OVER);
    }

    /// Whether worker `worker` is stuck, or has died.
    pub fn is_stuck(&self, worker: usize) -> bool {
        self.beats.get(worker).is_some_and(|beat| is_stuck(beat.0.load(Relaxed), self.now()))
    }

    /// The workers that are stuck.
    pub fn stuck(&self) -> impl Iterator<Item = usize> {
        (0..self.beats.len()).filter(|worker| self.is_stuck(*worker))
    }

    fn set(&self, worker: usize, beat: u64) {
        if let Some(last) = self.beats.get(worker) {
            last.0.store(beat, Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(OVER).saturating_add(1)
    }
}

fn is_stuck(beat: u64, now: u64) -> bool {
    beat != 0 && beat != OVER && u128::from(now.saturating_sub(beat)) >= STUCK_AFTER.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_falls_silent_is_stuck_within_two_seconds_until_it_is_heard_again() {
        let pulses = Pulses::new(3);
        for _ in 0..10 {
            (0..3).for_each(|worker| pulses.beat(worker));
            tokio::time::advance(BEAT_EVERY).await;
            assert_eq!(pulses.stuck().count(), 0, "{pulses:?}");
        }
        // Worker 1 says no more.
        for _ in 0..3 {
            [0, 2].into_iter().for_each(|worker| pulses.beat(worker));
            tokio::time::advance(BEAT_EVERY).await;
        }
        assert_eq!(pulses.stuck().collect::<Vec<_>>(), [1], "{pulses:?}");
        pulses.beat(1);
        assert_eq!(pulses.stuck().count(), 0, "{pulses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_begun_or_has_ended_is_not_stuck() {
        let pulses = Pulses::new(2);
        pulses.beat(1);
        pulses.end(1);
        tokio::time::advance(STUCK_AFTER * 10).await;
        assert_eq!(pulses.stuck().count(), 0, "{pulses:?}");
        assert!(!pulses.is_stuck(7), "there is no such worker");
    }
}
