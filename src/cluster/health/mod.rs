//! Whether the nodes of a pool are well: an account of what checks and live requests say, without a clock of its own.
//!
//! Checks take a node down and bring it back. Live requests eject it for a time, each time for longer; after that one
//! request is sent to it on trial. Neither ever changes the placement: a node's [`Mark`] only says who is skipped.

pub mod settings;

use crate::cluster::health::settings::EjectionSettings;
use crate::cluster::health::settings::HealthSettings;
use crate::routing::window::Window;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a request may do with a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// Use it.
    #[default]
    Well,
    /// One request, which can be sent again elsewhere, may find out whether it is well again.
    Trial,
    /// As [`Mark::Trial`], but any request may, because none that can be sent again came.
    OpenTrial,
    /// Skip it.
    Ill,
}

/// What is learned about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It passed a check.
    CheckPassed,
    /// It failed one.
    CheckFailed(CheckFailure),
    /// As many requests in a row failed as [`EjectionSettings::failures`], the last one like this.
    FailedInARow(LiveFailure),
    /// The request on trial was answered.
    TrialPassed,
    /// The request on trial failed.
    TrialFailed(LiveFailure),
    /// It was ill in the process before this one.
    WasIll,
}

/// How a check failed, by the node's own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    /// Its certificate is not valid for it.
    Certificate,
    /// The node closed the connection before it had answered.
    Closed,
    /// No node may be where it is.
    Forbidden,
    /// What it answered is not HTTP.
    NotHttp,
    /// It refused the connection.
    Refused,
    /// It answered with a status that is not expected.
    Status(u16),
    /// It did not answer in time.
    TimedOut,
    /// It does not speak TLS as it should.
    Tls,
    /// There is no way to its network.
    Unreachable,
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckFailure::Certificate => write!(out, "check: certificate not valid for it"),
            CheckFailure::Closed => write!(out, "check: connection closed"),
            CheckFailure::Forbidden => write!(out, "check: address not allowed"),
            CheckFailure::NotHttp => write!(out, "check: answer is not HTTP"),
            CheckFailure::Refused => write!(out, "check: connection refused"),
            CheckFailure::Status(status) => write!(out, "check: status {status}"),
            CheckFailure::TimedOut => write!(out, "check: timed out"),
            CheckFailure::Tls => write!(out, "check: TLS handshake failed"),
            CheckFailure::Unreachable => write!(out, "check: network unreachable"),
        }
    }
}

/// How a live request failed, by the node's own fault: never a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveFailure {
    /// It closed or reset the connection before it had answered to the end.
    Closed,
    /// No connection came about.
    Connect,
    /// What it answered may not be passed on.
    Protocol,
    /// It answered with one of [`EjectionSettings::statuses`].
    Status(u16),
    /// It did not begin its answer in time, or fell silent in the middle.
    TimedOut,
}

impl fmt::Display for LiveFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LiveFailure::Closed => write!(out, "connection closed"),
            LiveFailure::Connect => write!(out, "no connection"),
            LiveFailure::Protocol => write!(out, "invalid response"),
            LiveFailure::Status(status) => write!(out, "status {status}"),
            LiveFailure::TimedOut => write!(out, "timed out"),
        }
    }
}

/// Why a node is ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its checks fail.
    Check(CheckFailure),
    /// Requests in a row failed, the last one like this.
    InARow(LiveFailure),
    /// This share of its requests failed, in percent.
    Share(u64),
    /// The request on trial failed.
    Trial(LiveFailure),
    /// The process before this one found so.
    Before,
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Check(failure) => write!(out, "{failure}"),
            Cause::InARow(failure) => write!(out, "ejected: requests in a row failed, {failure}"),
            Cause::Share(percent) => write!(out, "ejected: {percent} % of requests failed"),
            Cause::Before => write!(out, "ill when this process took over"),
            Cause::Trial(failure) => write!(out, "ejected again: the request on trial failed, {failure}"),
        }
    }
}

/// One node as the membership has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Identifies the node at its address: at another one it begins anew.
    pub id: u64,
    /// Its weight; 0 while it drains.
    pub weight: u64,
}

/// What became of a node, to be made known. The mark is to be written even where it is as before: a request on trial
/// takes a [`Mark::Trial`] with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node.
    pub id: u64,
    /// Its mark from now on.
    pub mark: Mark,
    /// Set when the node went from well to ill or back.
    pub flip: Option<Flip>,
}

/// A node went from well to ill or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// It is well, after so long.
    Up(Duration),
    /// It is ill.
    Down(Cause),
}

/// The health of one pool's nodes. Times are counted from any fixed moment.
#[derive(Debug)]
pub struct PoolHealth {
    health: HealthSettings,
    ejection: EjectionSettings,
    nodes: BTreeMap<u64, NodeHealth>,
}

impl PoolHealth {
    /// No nodes yet.
    pub fn new(health: HealthSettings, ejection: EjectionSettings) -> PoolHealth {
        PoolHealth { health, ejection, nodes: BTreeMap::new() }
    }

    /// Takes on other settings; what is known of the nodes stays. Without checks, nothing keeps a node down.
    pub fn set(&mut self, now: Duration, health: HealthSettings, ejection: EjectionSettings) -> Vec<Change> {
        let lost_checks = health.check.is_none() && self.health.check.is_some();
        (self.health, self.ejection) = (health, ejection);
        if !lost_checks {
            return Vec::new();
        }
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let forget = |node: &mut NodeHealth| {
            node.check = CheckState::Unknown;
            node.ejection.iter_mut().for_each(|ejection| ejection.awaits_check = false);
        };
        ids.into_iter().filter_map(|id| self.change(now, id, |node, _| forget(node))).collect()
    }

    /// Follows the membership: forgets nodes that left, and takes new ones for well.
    pub fn follow(&mut self, now: Duration, subjects: &[Subject]) {
        let mut before = std::mem::take(&mut self.nodes);
        self.nodes.extend(subjects.iter().map(|subject| {
            let mut node = before.remove(&subject.id).unwrap_or_else(|| NodeHealth::new(now));
            node.weight = subject.weight;
            (subject.id, node)
        }));
    }

    /// Takes a note about a node; nothing for one that left.
    pub fn note(&mut self, now: Duration, id: u64, note: Note) -> Option<Change> {
        match note {
            Note::CheckPassed => self.change(now, id, |node, pool| node.check_passed(now, pool.0)),
            Note::CheckFailed(failure) => self.change(now, id, |node, pool| node.check_failed(pool.0, failure)),
            Note::FailedInARow(failure) => self.eject(now, id, Cause::InARow(failure)),
            // Whether so many may be ejected was for the other process to say.
            Note::WasIll => self.change(now, id, |node, pool| node.eject(now, pool, Cause::Before)),
            Note::TrialPassed => self.change(now, id, |node, _| node.readmit(now)),
            Note::TrialFailed(failure) => self.change(now, id, |node, pool| {
                if node.ejection.is_some() {
                    node.eject(now, pool, Cause::Trial(failure));
                }
            }),
        }
    }

    /// Takes a sample of a node's counters: requests and how many of them failed, both since it began.
    pub fn sample(&mut self, now: Duration, id: u64, requests: u64, failures: u64) -> Option<Change> {
        let (least, limit) = (u64::from(self.ejection.min_requests), u64::from(self.ejection.failure_percent));
        let node = self.nodes.get_mut(&id)?;
        let (requests, failures) = node.window.sample(now, self.ejection.window, requests, failures);
        if limit == 0 || requests < least || failures * 100 < limit * requests {
            return None;
        }
        node.window = Window::default();
        self.eject(now, id, Cause::Share(failures * 100 / requests))
    }

    /// Offers nodes whose ejection is over for a trial, and again when nobody tried.
    pub fn tick(&mut self, now: Duration) -> Vec<Change> {
        let due = |node: &NodeHealth| node.ejection.is_some_and(|ejection| now >= ejection.next);
        let ids: Vec<u64> = self.nodes.iter().filter(|(_, node)| due(node)).map(|(id, _)| *id).collect();
        let offered = ids.into_iter().filter_map(|id| self.change(now, id, |node, pool| node.offer(now, pool.1)));
        offered.collect()
    }

    /// When [`PoolHealth::tick`] has something to do.
    pub fn next_tick(&self) -> Option<Duration> {
        self.nodes.values().filter_map(|node| node.ejection.map(|ejection| ejection.next)).min()
    }

    /// How long to wait before the next check of a node: not as long while its last answers contradict its state.
    pub fn next_check_after(&self, id: u64) -> Duration {
        let is_doubtful = self.nodes.get(&id).is_some_and(NodeHealth::is_doubtful);
        if is_doubtful { self.health.doubtful_every.min(self.health.every) } else { self.health.every }
    }

    /// The mark of a node, and why it is ill, if it is.
    pub fn state(&self, id: u64) -> Option<(Mark, Option<Cause>)> {
        self.nodes.get(&id).map(|node| (node.mark(), node.cause()))
    }

    /// Weight of the placed nodes that are well.
    pub fn well_weight(&self) -> u64 {
        self.nodes.values().filter(|node| node.mark() == Mark::Well).map(|node| node.weight).sum()
    }

    /// Weight of all placed nodes.
    pub fn weight(&self) -> u64 {
        self.nodes.values().map(|node| node.weight).sum()
    }

    /// Whether so few nodes are well that all are to be used: the few would drown, and more likely than all nodes being
    /// ill is that what says so is wrong.
    pub fn is_panicking(&self) -> bool {
        self.well_weight() * 100 < self.weight() * u64::from(self.health.panic_below_percent)
    }

    fn eject(&mut self, now: Duration, id: u64, cause: Cause) -> Option<Change> {
        let node = self.nodes.get(&id)?;
        if node.ejection.is_some() || !self.may_eject(node.weight) {
            return None;
        }
        self.change(now, id, |node, pool| node.eject(now, pool, cause))
    }

    /// Whether so much weight more may be ejected.
    fn may_eject(&self, weight: u64) -> bool {
        let ejected = |node: &&NodeHealth| node.ejection.is_some();
        let out: u64 = self.nodes.values().filter(ejected).map(|node| node.weight).sum();
        let is_first = out == 0 && self.weight() > weight;
        is_first || (out + weight) * 100 <= self.weight() * u64::from(self.ejection.max_percent)
    }

    /// Does something to a node and says what it came to, if anything.
    fn change(
        &mut self,
        now: Duration,
        id: u64,
        act: impl FnOnce(&mut NodeHealth, (&HealthSettings, &EjectionSettings)),
    ) -> Option<Change> {
        let node = self.nodes.get_mut(&id)?;
        let before = *node;
        act(node, (&self.health, &self.ejection));
        let mark = node.mark();
        let flip = match (before.mark() == Mark::Well, mark == Mark::Well) {
            (true, false) => node.cause().map(Flip::Down),
            (false, true) => Some(Flip::Up(now.saturating_sub(before.since))),
            _ => None,
        };
        if flip.is_some() {
            node.since = now;
        }
        let offers = |node: &NodeHealth| node.ejection.map_or(0, |ejection| ejection.offers);
        let is_offered = mark != Mark::Ill && offers(node) > offers(&before);
        (mark != before.mark() || is_offered).then_some(Change { id, mark, flip })
    }
}

/// What is known of one node.
#[derive(Clone, Copy, Debug)]
struct NodeHealth {
    weight: u64,
    check: CheckState,
    ejection: Option<Ejection>,
    /// How many ejections in close succession there were.
    ejections: u32,
    /// When the last ejection ended.
    readmitted: Duration,
    /// When the node last went from well to ill or back.
    since: Duration,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
enum CheckState {
    /// No check has ended yet: the first one decides.
    Unknown,
    /// So many checks in a row failed since the last that passed.
    Up { failed: u32 },
    /// So many passed since the last that failed.
    Down { passed: u32, failure: CheckFailure },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ejection {
    /// When it is over.
    over: Duration,
    /// When to look at it again: when it is over, and then to offer the trial once more.
    next: Duration,
    /// Whether no check has passed since, in a pool that has checks: live requests need not find out what checks do.
    awaits_check: bool,
    /// How often the trial was offered.
    offers: u32,
    cause: Cause,
}

impl NodeHealth {
    fn new(now: Duration) -> NodeHealth {
        NodeHealth {
            weight: 0,
            check: CheckState::Unknown,
            ejection: None,
            ejections: 0,
            readmitted: now,
            since: now,
            window: Window::default(),
        }
    }

    fn mark(&self) -> Mark {
        match (self.check, self.ejection) {
            (CheckState::Down { .. }, _) => Mark::Ill,
            (_, Some(ejection)) => match ejection.offers {
                0 => Mark::Ill,
                1 => Mark::Trial,
                _ => Mark::OpenTrial,
            },
            (_, None) => Mark::Well,
        }
    }

    fn cause(&self) -> Option<Cause> {
        match self.check {
            CheckState::Down { failure, .. } => Some(Cause::Check(failure)),
            _ => self.ejection.map(|ejection| ejection.cause),
        }
    }

    fn is_doubtful(&self) -> bool {
        match self.check {
            CheckState::Unknown => true,
            CheckState::Up { failed } => failed > 0 || self.ejection.is_some(),
            CheckState::Down { passed, .. } => passed > 0,
        }
    }

    fn check_passed(&mut self, now: Duration, settings: &HealthSettings) {
        if let Some(ejection) = &mut self.ejection
            && std::mem::replace(&mut ejection.awaits_check, false)
            && now >= ejection.over
        {
            ejection.offers = 1;
        }
        self.check = match self.check {
            CheckState::Down { passed, failure } if passed + 1 < settings.up_after => {
                CheckState::Down { passed: passed + 1, failure }
            }
            CheckState::Down { .. } => {
                // Checks have seen it recover, so that there is nothing to wait for.
                if let Some(ejection) = &mut self.ejection {
                    ejection.offers = ejection.offers.max(1);
                }
                CheckState::Up { failed: 0 }
            }
            CheckState::Unknown | CheckState::Up { .. } => CheckState::Up { failed: 0 },
        };
    }

    fn check_failed(&mut self, settings: &HealthSettings, failure: CheckFailure) {
        self.check = match self.check {
            CheckState::Up { failed } if failed + 1 < settings.down_after => CheckState::Up { failed: failed + 1 },
            _ => CheckState::Down { passed: 0, failure },
        };
    }

    /// Takes it out for the time of its first ejection, doubled for each further one. Having been well for as long as
    /// that time would be makes up for one.
    fn eject(&mut self, now: Duration, (health, settings): (&HealthSettings, &EjectionSettings), cause: Cause) {
        let time = |ejections: u32| {
            let factor = 1_u32.checked_shl(ejections).unwrap_or(u32::MAX);
            settings.time.saturating_mul(factor).min(settings.max_time.max(settings.time))
        };
        let is_trial = self.ejection.is_some();
        let mut well = now.saturating_sub(self.readmitted);
        while !is_trial && self.ejections > 0 && well >= time(self.ejections) {
            well -= time(self.ejections);
            self.ejections -= 1;
        }
        let lasts = time(self.ejections);
        let (over, awaits_check) = (now + lasts, health.check.is_some());
        self.ejection = Some(Ejection { over, next: over, awaits_check, offers: 0, cause });
        self.ejections += u32::from(lasts < settings.max_time);
    }

    fn offer(&mut self, now: Duration, settings: &EjectionSettings) {
        if let Some(ejection) = &mut self.ejection {
            ejection.offers = ejection.offers.saturating_add(u32::from(!ejection.awaits_check));
            ejection.next = now + settings.time;
        }
    }

    fn readmit(&mut self, now: Duration) {
        if self.ejection.take().is_some() {
            self.readmitted = now;
            self.window = Window::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section;
    use proptest::prelude::*;

    const REFUSED: Note = Note::CheckFailed(CheckFailure::Refused);
    const FAILED: Note = Note::FailedInARow(LiveFailure::Connect);

    /// A pool of nodes 0, 1, 2... with these weights, and settings as by default.
    fn pool(weights: &[u64]) -> PoolHealth {
        pool_with("", weights)
    }

    fn pool_with(health: &str, weights: &[u64]) -> PoolHealth {
        let health = section::read(health, &|_| None, |section| Some(HealthSettings::read(section)));
        let ejection = section::read("", &|_| None, |section| Some(EjectionSettings::read(section)));
        let mut pool = PoolHealth::new(health.value.unwrap(), ejection.value.unwrap());
        let subjects: Vec<Subject> = (0..).zip(weights).map(|(id, weight)| Subject { id, weight: *weight }).collect();
        pool.follow(Duration::ZERO, &subjects);
        pool
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn mark(pool: &PoolHealth, id: u64) -> Mark {
        pool.state(id).unwrap().0
    }

    #[test]
    fn the_first_check_decides_and_later_ones_must_agree() {
        let mut pool = pool(&[1, 1]);
        let found =
            [(1, REFUSED), (2, Note::CheckPassed), (3, REFUSED), (4, Note::CheckPassed), (5, Note::CheckPassed)].map(
                |(second, note)| {
                    pool.note(seconds(second), 0, note);
                    mark(&pool, 0)
                },
            );
        assert_eq!(found, [Mark::Ill, Mark::Ill, Mark::Ill, Mark::Ill, Mark::Well]);
        let found = [REFUSED, REFUSED, Note::CheckPassed, REFUSED, REFUSED, REFUSED].map(|note| {
            pool.note(seconds(9), 0, note);
            mark(&pool, 0)
        });
        assert_eq!(found, [Mark::Well, Mark::Well, Mark::Well, Mark::Well, Mark::Well, Mark::Ill]);
    }

    #[test]
    fn every_flip_is_told_once_with_its_cause_and_how_long_it_took() {
        let mut pool = pool(&[1, 1]);
        let down = pool.note(seconds(3), 0, REFUSED).unwrap();
        assert_eq!(down.flip, Some(Flip::Down(Cause::Check(CheckFailure::Refused))));
        assert_eq!(pool.note(seconds(4), 0, REFUSED), None, "it is down already");
        assert_eq!(pool.note(seconds(5), 0, Note::CheckPassed), None, "one of two");
        let up = pool.note(seconds(7), 0, Note::CheckPassed).unwrap();
        assert_eq!((up.mark, up.flip), (Mark::Well, Some(Flip::Up(seconds(4)))));
    }

    #[test]
    fn checks_are_faster_while_the_answers_contradict_the_state() {
        let mut pool = pool(&[1, 1]);
        let (every, doubtful) = (seconds(2), Duration::from_millis(500));
        assert_eq!(pool.next_check_after(0), doubtful, "nothing is known yet");
        let found = [Note::CheckPassed, REFUSED, REFUSED, REFUSED, Note::CheckPassed, Note::CheckPassed].map(|note| {
            pool.note(seconds(1), 0, note);
            pool.next_check_after(0)
        });
        assert_eq!(found, [every, doubtful, doubtful, every, doubtful, every]);
    }

    #[test]
    fn an_ejected_node_is_tried_by_one_request_before_it_is_used_again() {
        let mut pool = pool(&[1, 1, 1]);
        assert_eq!(pool.note(seconds(10), 0, FAILED).unwrap().mark, Mark::Ill);
        assert_eq!(pool.next_tick(), Some(seconds(11)), "the first ejection takes a second");
        assert!(pool.tick(Duration::from_millis(10_999)).is_empty());
        let offered = pool.tick(seconds(11));
        assert_eq!(offered, [Change { id: 0, mark: Mark::Trial, flip: None }]);
        let up = pool.note(seconds(12), 0, Note::TrialPassed).unwrap();
        assert_eq!((up.mark, up.flip), (Mark::Well, Some(Flip::Up(seconds(2)))));
        assert_eq!(pool.next_tick(), None);
    }

    #[test]
    fn with_checks_an_ejected_node_is_tried_only_after_one_has_passed() {
        let mut pool = pool_with("path = '/healthz'", &[1, 1, 1]);
        pool.note(seconds(10), 0, FAILED);
        assert!(pool.tick(seconds(11)).is_empty(), "its time is over, and nobody knows whether it is well");
        assert_eq!(pool.note(seconds(12), 0, Note::CheckPassed).unwrap().mark, Mark::Trial);
        pool.note(seconds(13), 0, Note::TrialFailed(LiveFailure::TimedOut));
        assert_eq!(pool.note(seconds(14), 0, Note::CheckPassed), None, "two seconds are not over");
        assert_eq!(pool.tick(seconds(15))[0].mark, Mark::Trial);
    }

    #[test]
    fn a_trial_that_nobody_took_is_offered_again_to_any_request() {
        let mut pool = pool(&[1, 1, 1]);
        pool.note(seconds(10), 0, FAILED);
        let offers: Vec<Mark> =
            (11..14).flat_map(|second| pool.tick(seconds(second))).map(|change| change.mark).collect();
        assert_eq!(offers, [Mark::Trial, Mark::OpenTrial, Mark::OpenTrial]);
    }

    #[test]
    fn each_ejection_takes_twice_as_long_until_the_node_has_been_well_for_that_time() {
        let mut pool = pool(&[1, 1, 1]);
        let (mut now, mut lasted) = (seconds(100), Vec::new());
        pool.note(now, 0, FAILED);
        for _ in 0..8 {
            let over = pool.next_tick().unwrap();
            lasted.push((over - now).as_secs());
            now = over;
            pool.tick(now);
            pool.note(now, 0, Note::TrialFailed(LiveFailure::TimedOut));
        }
        assert_eq!(lasted, [1, 2, 4, 8, 16, 32, 60, 60]);
        pool.tick(pool.next_tick().unwrap());
        pool.note(seconds(1000), 0, Note::TrialPassed);
        for (later, expected) in [(1010, 60), (1150, 32)] {
            pool.note(seconds(later), 0, FAILED);
            assert_eq!(pool.next_tick(), Some(seconds(later + expected)), "at {later} s");
            pool.note(seconds(later + expected), 0, Note::TrialPassed);
        }
    }

    #[test]
    fn checks_that_bring_a_node_back_end_its_ejection_too() {
        let mut pool = pool(&[1, 1, 1]);
        pool.note(seconds(1), 0, Note::CheckPassed);
        pool.note(seconds(2), 0, FAILED);
        (0..3).for_each(|_| assert_eq!(pool.note(seconds(2), 0, REFUSED), None, "it is out already"));
        pool.note(Duration::from_millis(2100), 0, Note::CheckPassed);
        let back = pool.note(Duration::from_millis(2200), 0, Note::CheckPassed).unwrap();
        assert_eq!(back.mark, Mark::Trial, "long before its second is over");
    }

    #[test]
    fn a_node_that_was_ill_before_a_take_over_stays_so_until_it_is_tried() {
        let mut pool = pool(&[1, 1]);
        assert_eq!(pool.note(seconds(0), 1, Note::WasIll).unwrap().flip, Some(Flip::Down(Cause::Before)));
        assert_eq!(pool.tick(seconds(1))[0].mark, Mark::Trial);
    }

    #[test]
    fn no_more_weight_is_ejected_at_once_than_allowed_but_one_node_of_several_always_is() {
        let mut heavy = pool(&[5, 1, 1]);
        assert!(heavy.note(seconds(1), 0, FAILED).is_some(), "the first may be of any weight");
        assert_eq!(heavy.note(seconds(1), 1, FAILED), None, "6 of 7 are more than a half");
        let mut equal = pool(&[1, 1, 1, 1]);
        let ejected = (0..4).filter(|id| equal.note(seconds(1), *id, FAILED).is_some()).count();
        assert_eq!(ejected, 2);
        let mut lonely = pool(&[1]);
        assert_eq!(lonely.note(seconds(1), 0, FAILED), None, "there would be nobody left");
    }

    #[test]
    fn with_too_few_nodes_well_all_are_used() {
        let mut pool = pool(&[1, 1, 1, 1]);
        let found = [0, 1, 2, 3].map(|id| {
            pool.note(seconds(1), id, REFUSED);
            (pool.well_weight(), pool.is_panicking())
        });
        assert_eq!(found, [(3, false), (2, false), (1, false), (0, true)]);
        pool.note(seconds(2), 0, Note::CheckPassed);
        pool.note(seconds(2), 0, Note::CheckPassed);
        assert!(!pool.is_panicking(), "a quarter is well again");
    }

    #[test]
    fn a_share_of_failed_requests_ejects_only_when_there_were_enough() {
        let mut pool = pool(&[1, 1, 1]);
        assert_eq!(pool.sample(seconds(1), 0, 0, 0), None);
        assert_eq!(pool.sample(seconds(2), 0, 19, 19), None, "19 requests say nothing");
        let ejected = pool.sample(seconds(3), 0, 40, 20).unwrap();
        assert_eq!(ejected.flip, Some(Flip::Down(Cause::Share(50))));
    }

    #[test]
    fn a_node_that_leaves_is_forgotten_and_one_that_drains_counts_for_nothing() {
        let mut pool = pool(&[1, 1]);
        pool.note(seconds(1), 0, REFUSED);
        pool.follow(seconds(2), &[Subject { id: 0, weight: 0 }, Subject { id: 7, weight: 3 }]);
        assert_eq!((pool.well_weight(), pool.weight()), (3, 3));
        assert_eq!(pool.state(1), None);
        assert_eq!(pool.note(seconds(3), 1, REFUSED), None);
        assert_eq!(mark(&pool, 0), Mark::Ill, "draining or not");
    }

    fn notes() -> impl Strategy<Value = Note> {
        prop_oneof![
            Just(Note::CheckPassed),
            Just(REFUSED),
            Just(FAILED),
            Just(Note::TrialPassed),
            Just(Note::TrialFailed(LiveFailure::Closed)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_flips_alternate_and_the_ceiling_holds(
            steps in proptest::collection::vec((0_u64..4, notes(), 0_u64..3000), 1..200),
        ) {
            let mut pool = pool(&[1, 1, 1, 1]);
            let (mut now, mut is_up) = (Duration::ZERO, [true; 4]);
            for (id, note, wait_ms) in steps {
                now += Duration::from_millis(wait_ms);
                let changes: Vec<Change> = pool.tick(now).into_iter().chain(pool.note(now, id, note)).collect();
                for change in changes {
                    let was_up = &mut is_up[usize::try_from(change.id).unwrap()];
                    match change.flip {
                        Some(Flip::Up(_)) => prop_assert!(!std::mem::replace(was_up, true)),
                        Some(Flip::Down(_)) => prop_assert!(std::mem::replace(was_up, false)),
                        None => {}
                    }
                    prop_assert_eq!(*was_up, change.mark == Mark::Well);
                }
                let ejected = pool.nodes.values().filter(|node| node.ejection.is_some()).count();
                prop_assert!(ejected <= 2, "{} of 4 ejected", ejected);
                prop_assert!(pool.next_tick().is_none_or(|next| next > now));
            }
        }
    }
}
