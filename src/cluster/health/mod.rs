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
}

/// How a check failed, by the node's own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    /// The node closed the connection before it had answered.
    Closed,
    /// Its name does not resolve.
    Name,
    /// What it answered is not HTTP.
    NotHttp,
    /// It refused the connection.
    Refused,
    /// It answered with a status that is not expected.
    Status(u16),
    /// It did not answer in time.
    TimedOut,
    /// There is no way to its network.
    Unreachable,
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckFailure::Closed => write!(out, "check: connection closed"),
            CheckFailure::Name => write!(out, "check: name does not resolve"),
            CheckFailure::NotHttp => write!(out, "check: answer is not HTTP"),
            CheckFailure::Refused => write!(out, "check: connection refused"),
            CheckFailure::Status(status) => write!(out, "check: status {status}"),
            CheckFailure::TimedOut => write!(out, "check: timed out"),
            CheckFailure::Unreachable => write!(out, "check: network unreachable"),
        }
    }
}

/// How a live request failed, by the node's own fault: never a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveFailure {
    /// It closed or reset the connection before it had answered.
    Closed,
    /// No connection came about.
    Connect,
    /// What it answered may not be passed on.
    Protocol,
    /// It answered with one of [`EjectionSettings::statuses`].
    Status(u16),
    /// It did not begin its answer in time.
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
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Check(failure) => write!(out, "{failure}"),
            Cause::InARow(failure) => write!(out, "ejected: requests in a row failed, {failure}"),
            Cause::Share(percent) => write!(out, "ejected: {percent} % of requests failed"),
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
        ids.into_iter().filter_map(|id| self.change(now, id, |node, _| node.check = CheckState::Unknown)).collect()
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
            Note::CheckPassed => self.change(now, id, |node, pool| node.check_passed(pool.0)),
            Note::CheckFailed(failure) => self.change(now, id, |node, pool| node.check_failed(pool.0, failure)),
            Note::FailedInARow(failure) => self.eject(now, id, Cause::InARow(failure)),
            Note::TrialPassed => self.change(now, id, |node, _| node.readmit(now)),
            Note::TrialFailed(failure) => self.change(now, id, |node, pool| {
                if node.ejection.is_some() {
                    node.eject(now, pool.1, Cause::Trial(failure));
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
        self.change(now, id, |node, pool| node.eject(now, pool.1, cause))
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
        let is_other_ejection = before.ejection != node.ejection;
        (mark != before.mark() || is_other_ejection).then_some(Change { id, mark, flip })
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
    /// When it is over, or the trial offered again.
    next: Duration,
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

    fn check_passed(&mut self, settings: &HealthSettings) {
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
    fn eject(&mut self, now: Duration, settings: &EjectionSettings, cause: Cause) {
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
        self.ejection = Some(Ejection { next: now + time(self.ejections), offers: 0, cause });
        self.ejections += 1;
    }

    fn offer(&mut self, now: Duration, settings: &EjectionSettings) {
        if let Some(ejection) = &mut self.ejection {
            ejection.offers = ejection.offers.saturating_add(1);
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
