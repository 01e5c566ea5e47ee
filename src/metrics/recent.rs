//! What happened lately: samples of counters, and what has come since the oldest of them.

use crate::metrics::stats::HistogramSum;
use std::collections::VecDeque;
use std::time::Duration;

/// How far back rates look.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// How far back the durations look, and how often they are sampled.
const DURATIONS_WINDOW: Duration = Duration::from_secs(60);
const DURATIONS_EVERY: Duration = Duration::from_secs(10);

/// Samples of `N` counters. Times are counted from any fixed moment.
#[derive(Debug)]
pub struct Rates<const N: usize>(VecDeque<(Duration, [u64; N])>);

impl<const N: usize> Default for Rates<N> {
    fn default() -> Rates<N> {
        Rates(VecDeque::new())
    }
}

impl<const N: usize> Rates<N> {
    /// Takes a sample of the counters. Called about every second.
    pub fn sample(&mut self, now: Duration, counts: [u64; N]) {
        forget(&mut self.0, now, RATE_WINDOW);
        self.0.push_back((now, counts));
    }

    /// What each counter, now at `counts`, gained a second over the last ten; 0 before the first sample.
    pub fn per_second(&self, now: Duration, counts: [u64; N]) -> [f64; N] {
        let Some((since, before)) = oldest(&self.0, now, RATE_WINDOW) else { return [0.0; N] };
        let seconds = now.saturating_sub(*since).as_secs_f64();
        std::array::from_fn(|index| match seconds > 0.0 {
            true => counts[index].saturating_sub(before[index]) as f64 / seconds,
            false => 0.0,
        })
    }
}

/// Samples of the histogram of a node. Times are counted from any fixed moment.
#[derive(Debug, Default)]
pub struct RecentDurations(VecDeque<(Duration, HistogramSum)>);

impl RecentDurations {
    /// Takes a sample where one is due; `durations`, all since the node joined, is asked for only then. Called about
    /// every second.
    pub fn sample(&mut self, now: Duration, durations: impl FnOnce() -> HistogramSum) {
        if self.0.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= DURATIONS_EVERY) {
            forget(&mut self.0, now, DURATIONS_WINDOW);
            self.0.push_back((now, durations()));
        }
    }

    /// The durations of the last minute, of `durations` in all; none before the first sample.
    pub fn last_minute(&self, now: Duration, durations: &HistogramSum) -> HistogramSum {
        let oldest = oldest(&self.0, now, DURATIONS_WINDOW);
        oldest.map_or_else(HistogramSum::default, |(_, before)| durations.since(before))
    }
}

/// Drops all samples that are older than the window but the last of them, which the window begins with.
fn forget<T>(samples: &mut VecDeque<(Duration, T)>, now: Duration, window: Duration) {
    while samples.get(1).is_some_and(|(second, _)| now.saturating_sub(*second) >= window) {
        samples.pop_front();
    }
}

/// The sample that the window begins with: the last one before it, else the first one in it.
fn oldest<T>(samples: &VecDeque<(Duration, T)>, now: Duration, window: Duration) -> Option<&(Duration, T)> {
    let before = samples.iter().rev().find(|(at, _)| now.saturating_sub(*at) >= window);
    before.or_else(|| samples.front())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::stats::Histogram;
    use crate::metrics::stats::Striped;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// What so many requests of so many milliseconds come to.
    fn durations(observed: &[(u64, u64)]) -> HistogramSum {
        let histogram = Striped::<Histogram>::new(1);
        for (count, millis) in observed {
            (0..*count).for_each(|_| histogram.of(0).observe(Duration::from_millis(*millis)));
        }
        histogram.histogram(|histogram| histogram)
    }

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut rates = Rates::<2>::default();
        assert_eq!(rates.per_second(seconds(0), [5, 5]), [0.0; 2], "nothing is known yet");
        rates.sample(seconds(0), [1000, 7]);
        assert_eq!(rates.per_second(seconds(0), [1000, 7]), [0.0; 2]);
        assert_eq!(rates.per_second(seconds(2), [1010, 9]), [5.0, 1.0], "what was before the first sample is no news");
        // 100 a second for a minute, and then 10 a second.
        (1..=60).for_each(|second| rates.sample(seconds(second), [1000 + 100 * second, 7]));
        assert_eq!(rates.per_second(seconds(60), [7000, 7]), [100.0, 0.0]);
        (61..=70).for_each(|second| rates.sample(seconds(second), [7000 + 10 * (second - 60), 7]));
        assert_eq!(rates.per_second(seconds(70), [7100, 7]), [10.0, 0.0]);
        assert_eq!(rates.per_second(seconds(75), [7100, 7]), [50.0 / 10.0, 0.0]);
        assert_eq!(rates.per_second(seconds(100), [7100, 7]), [0.0; 2]);
        assert!(rates.0.len() <= 12, "{} samples", rates.0.len());
    }

    #[test]
    fn durations_are_those_of_the_last_minute() {
        let mut recent = RecentDurations::default();
        fn p99(recent: &RecentDurations, now: Duration, durations: &HistogramSum) -> Option<f64> {
            recent.last_minute(now, durations).quantile(0.99)
        }
        assert_eq!(p99(&recent, seconds(0), &durations(&[(100, 4)])), None, "nothing is known yet");
        let slow = durations(&[(1000, 900)]);
        recent.sample(seconds(0), || slow.clone());
        assert_eq!(p99(&recent, seconds(1), &slow), None, "no request has come since");
        let then = durations(&[(1000, 900), (100, 4)]);
        let found = p99(&recent, seconds(1), &then).unwrap();
        assert!((0.0049..0.005).contains(&found), "between 2.5 and 5 ms, near the upper end: {found}");
        for second in 1..=75 {
            recent.sample(seconds(second), || then.clone());
        }
        assert_eq!(p99(&recent, seconds(75), &then), None, "that was more than a minute ago");
        assert!(recent.0.len() <= 8, "{} samples", recent.0.len());
    }

    #[test]
    fn a_quantile_lies_in_its_bucket_by_its_rank() {
        for (observed, quantile, expected) in [
            (&[][..], 0.99, None),
            // Up to 1 ms: the 50th of 100 is in the middle of 0 to 1 ms.
            (&[(100, 1)], 0.5, Some(0.0005)),
            // 90 up to 1 ms, 10 of 25 to 50 ms: the 95th is in the middle of those.
            (&[(90, 1), (10, 40)], 0.95, Some(0.0375)),
            (&[(90, 1), (10, 40)], 0.9, Some(0.001)),
            // Beyond the last bound nothing better is known.
            (&[(1, 60_000)], 0.99, Some(10.0)),
        ] {
            let found = durations(observed).quantile(quantile);
            let is_close = found.zip(expected).is_none_or(|(found, expected)| (found - expected).abs() < 1e-9);
            assert!(found.is_some() == expected.is_some() && is_close, "{observed:?}: {found:?}, not {expected:?}");
        }
    }
}
