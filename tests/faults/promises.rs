//! What Ringway promises its users in each fault, as checks of a run's figures.

use crate::fault::Fault;
use crate::figures::Figures;
use crate::proxy::PER_TRY_TIMEOUT;
use std::fmt::Debug;
use std::time::Duration;

/// The promises that a run has broken, a line each.
pub(crate) fn broken(fault: Fault, figures: &Figures) -> Vec<String> {
    let mut check = Check { fault, broken: Vec::new() };
    check.none("POSTs were received more than once", figures.duplicated);
    check.none("acknowledged POSTs were received by no node", figures.lost);
    check.none("requests got no answer at all", figures.unanswered);
    check.none("broken responses looked whole", figures.wrong);
    check.none("requests for keys of healthy nodes were served elsewhere", figures.moved);
    check.none("requests served elsewhere did not say so", figures.unexplained);
    if fault.spares_nodes() {
        check.none("GETs failed that had no response begun", figures.failed_gets);
        check.none("POSTs failed that had not been sent", figures.failed_posts_unsent);
    }
    if !fault.breaks_responses() {
        check.none("responses broke off", figures.cut);
    }
    if fault == Fault::Truncate && figures.cut == 0 {
        check.broken("no response broke off, so that nothing was tested");
    }
    if fault == Fault::Slow {
        check.none("POSTs failed", figures.failed_posts_sent);
        check.absent("a slow node was marked down", figures.marked_down_after);
    }
    check.at_most("the p99 of the fault", figures.struck.p99, PER_TRY_TIMEOUT + figures.steady.p99.max(STEADY_P99_MIN));
    if fault.takes_nodes_away() {
        check.in_time("nodes that are gone serve again", figures.readmitted_after, READMITTED_WITHIN);
    }
    if fault.takes_nodes_away() && fault.spares_nodes() {
        check.at_most("the last request that it disturbed", figures.ejected_after.unwrap_or_default(), EJECTED_WITHIN);
        check.in_time("nodes that are gone are marked down", figures.marked_down_after, EJECTED_WITHIN);
        check.in_time("nodes that are back are marked up", figures.marked_up_after, READMITTED_WITHIN);
    }
    if !check.broken.is_empty() {
        check.broken(&format!("its failures were {:?}", figures.kinds));
    }
    check.broken
}

struct Check {
    fault: Fault,
    broken: Vec<String>,
}

impl Check {
    fn none(&mut self, what: &str, count: usize) {
        if count > 0 {
            self.broken(&format!("{count} {what}"));
        }
    }

    fn absent(&mut self, what: &str, found: Option<impl Debug>) {
        if let Some(found) = found {
            self.broken(&format!("{what} ({found:?})"));
        }
    }

    fn at_most(&mut self, what: &str, time: Duration, limit: Duration) {
        if time > limit {
            self.broken(&format!("{what} was {time:?}; the limit is {limit:?}"));
        }
    }

    fn in_time(&mut self, what: &str, time: Option<Duration>, limit: Duration) {
        match time {
            None => self.broken(&format!("{what}: that was never seen")),
            Some(time) => self.at_most(what, time, limit),
        }
    }

    fn broken(&mut self, what: &str) {
        self.broken.push(format!("{}: {what}", self.fault.name()));
    }
}

const EJECTED_WITHIN: Duration = Duration::from_millis(1_500);

const READMITTED_WITHIN: Duration = Duration::from_secs(2);

/// A steady phase is too short to have seen every hiccup of a busy machine: its p99 counts as this at least.
const STEADY_P99_MIN: Duration = Duration::from_millis(30);
