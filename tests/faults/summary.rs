//! Several runs of one fault as one line of a table.

use crate::figures::Figures;
use std::collections::BTreeMap;
use std::time::Duration;

/// What several runs show together: counts are sums, and of times there is the median and the worst.
pub(crate) struct Summary<'a> {
    runs: &'a [Figures],
}

impl<'a> Summary<'a> {
    /// Of at least one run.
    pub(crate) fn of(runs: &'a [Figures]) -> Summary<'a> {
        assert!(!runs.is_empty(), "there is nothing to sum up");
        Summary { runs }
    }

    /// The sum of a count.
    pub(crate) fn sum(&self, count: impl Fn(&Figures) -> usize) -> usize {
        self.runs.iter().map(count).sum()
    }

    /// The median of a time in milliseconds, with the worst in parentheses where there are several runs.
    pub(crate) fn ms(&self, time: impl Fn(&Figures) -> Duration) -> String {
        let mut times: Vec<Duration> = self.runs.iter().map(time).collect();
        times.sort();
        let (median, worst) = (times[times.len() / 2].as_millis(), times[times.len() - 1].as_millis());
        if times.len() == 1 { median.to_string() } else { format!("{median} ({worst})") }
    }

    /// The worst of a time that there may be none of, in seconds; `none` stands for no time in any run.
    pub(crate) fn worst_seconds(&self, none: &str, time: impl Fn(&Figures) -> Option<Duration>) -> String {
        let times: Vec<Duration> = self.runs.iter().filter_map(time).collect();
        let worst = times.iter().max().map_or(none.to_owned(), |worst| format!("{:.2}", worst.as_secs_f64()));
        let missing = self.runs.len() - times.len();
        if times.is_empty() || missing == 0 { worst } else { format!("{worst}, {missing}x {none}") }
    }

    /// Failures in all, of any kind.
    pub(crate) fn failures(&self) -> usize {
        self.sum(|figures| figures.kinds.values().sum())
    }

    /// Such as `68x 504, 1x cut`.
    pub(crate) fn kinds(&self) -> String {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for (kind, count) in self.runs.iter().flat_map(|figures| &figures.kinds) {
            *kinds.entry(kind).or_default() += count;
        }
        kinds.iter().map(|(kind, count)| format!("{count}x {kind}")).collect::<Vec<_>>().join(", ")
    }
}
