//! What happened at a node lately: samples of its counters, and what has come since the oldest of them.

use crate::metrics::stats::HistogramSum;
use std::collections::VecDeque;
use std::time::Duration;

/// How far back the rate of requests looks.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// How far back the durations look, and how often they are sampled.
const DURATIONS_WINDOW: Duration = Duration::from_secs(60);
const DURATIONS_EVERY: Duration = Duration::from_secs(10);

/// The samples of one node. Times are counted from any fixed moment.
#[derive(Debug, Default)]
pub struct Recent {
    requests: VecDeque<(Duration, u64)>,
    durations: VecDeque<(Duration, HistogramSum)>,
}

impl Recent {
    /// Takes a sample of the counters: requests and durations since the node joined. `durations` is asked for only
    /// where they are due. Called about every second.
    pub fn sample(&mut self, now: Duration, requests: u64, durations: impl FnOnce() -> HistogramSum) {
        forget(&mut self.requests, now, RATE_WINDOW);
        self.requests.push_back((now, requests));
        if self.durations.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= DURATIONS_EVERY) {
            forget(&mut self.durations, now, DURATIONS_WINDOW);
            self.durations.push_back((now, durations()));
        }
    }

    /// Requests a second over the last ten; 0 before the first sample.
    pub fn rate(&self, now: Duration, requests: u64) -> f64 {
        let Some((since, before)) = oldest(&self.requests, now, RATE_WINDOW) else { return 0.0 };
        let seconds = now.saturating_sub(*since).as_secs_f64();
        if seconds > 0.0 { requests.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }

    /// The duration in seconds that 99 of 100 requests of the last minute did not exceed; `None` without requests.
    pub fn p99(&self, now: Duration, durations: &HistogramSum) -> Option<f64> {
        let (_, before) = oldest(&self.durations, now, DURATIONS_WINDOW)?;
        durations.since(before).quantile(0.99)
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
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let mut recent = Recent::default();
        assert_eq!(recent.rate(seconds(0), 5), 0.0, "nothing is known yet");
        recent.sample(seconds(0), 1000, HistogramSum::default);
        assert_eq!(recent.rate(seconds(0), 1000), 0.0);
        assert_eq!(recent.rate(seconds(2), 1010), 5.0, "what was before the first sample does not count");
        // 100 a second for a minute, and then 10 a second.
        (1..=60).for_each(|second| recent.sample(seconds(second), 1000 + 100 * second, HistogramSum::default));
        assert_eq!(recent.rate(seconds(60), 7000), 100.0);
        (61..=70).for_each(|second| recent.sample(seconds(second), 7000 + 10 * (second - 60), HistogramSum::default));
        assert_eq!(recent.rate(seconds(70), 7100), 10.0);
        assert_eq!(recent.rate(seconds(75), 7100), 50.0 / 10.0);
        assert_eq!(recent.rate(seconds(100), 7100), 0.0);
        assert!(recent.requests.len() <= 12, "{} samples", recent.requests.len());
    }

    #[test]
    fn the_p99_is_that_of_the_last_minute() {
        let mut recent = Recent::default();
        assert_eq!(recent.p99(seconds(0), &durations(&[(100, 4)])), None, "nothing is known yet");
        let slow = durations(&[(1000, 900)]);
        recent.sample(seconds(0), 0, || slow.clone());
        assert_eq!(recent.p99(seconds(1), &slow), None, "no request has come since");
        let then = durations(&[(1000, 900), (100, 4)]);
        let p99 = recent.p99(seconds(1), &then).unwrap();
        assert!((0.0049..0.005).contains(&p99), "between 2.5 and 5 ms, near the upper end: {p99}");
        for second in 1..=75 {
            recent.sample(seconds(second), 0, || then.clone());
        }
        assert_eq!(recent.p99(seconds(75), &then), None, "that was more than a minute ago");
        assert!(recent.durations.len() <= 8, "{} samples", recent.durations.len());
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
