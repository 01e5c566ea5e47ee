//! What a run shows: pure counting over what the client, the backends and the watch have seen.

use crate::fault::Fault;
use crate::fault::Window;
use crate::load::Outcome;
use crate::load::Sent;
use crate::watch::Flip;
use http::Method;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;
use std::time::Instant;

/// Everything that was seen in one run.
pub(crate) struct Seen {
    pub(crate) fault: Fault,
    pub(crate) window: Window,
    pub(crate) sent: Vec<Sent>,
    /// Method and number of every request at every node.
    pub(crate) journals: Vec<(String, usize)>,
    /// Names of the nodes, the struck ones first.
    pub(crate) nodes: Vec<String>,
    /// Of Ringway only.
    pub(crate) flips: Vec<Flip>,
}

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: usize,
    /// GETs without a whole response, though none had begun.
    pub(crate) failed_gets: usize,
    /// POSTs without a response that a node has received, or may have.
    pub(crate) failed_posts_sent: usize,
    /// POSTs without a response that no node can have received.
    pub(crate) failed_posts_unsent: usize,
    /// Responses that had begun and broke off.
    pub(crate) cut: usize,
    /// Responses that claimed to be whole and were not.
    pub(crate) wrong: usize,
    /// Requests that the proxy let go without any answer.
    pub(crate) unanswered: usize,
    /// Failures by kind.
    pub(crate) kinds: BTreeMap<String, usize>,
    /// POSTs that nodes have received more than once in all.
    pub(crate) duplicated: usize,
    /// POSTs with a good answer that no node has received.
    pub(crate) lost: usize,
    /// Requests for keys of nodes that were never struck, served by another node.
    pub(crate) moved: usize,
    /// Requests served by another node than the key's owner that Ringway did not call a failover, or with another
    /// node's name than it told.
    pub(crate) unexplained: usize,
    /// How late the client was at worst, which is the machine's doing.
    pub(crate) late: Duration,
    pub(crate) steady: Latency,
    pub(crate) struck: Latency,
    /// From the beginning of the fault to the last of the requests that it delayed or failed without a pause; `None`
    /// when there was none.
    pub(crate) ejected_after: Option<Duration>,
    /// From the end of the fault to the first request that a struck node served again, over all struck nodes; `None`
    /// when one never did.
    pub(crate) readmitted_after: Option<Duration>,
    /// The same two as Ringway's metrics tell them.
    pub(crate) marked_down_after: Option<Duration>,
    pub(crate) marked_up_after: Option<Duration>,
}

/// How long whole responses took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Seen {
    /// Counts everything.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = Figures { requests: self.sent.len(), ..Figures::default() };
        self.count_failures(&mut figures);
        self.count_posts(&mut figures);
        self.count_moves(&mut figures);
        figures.late = self.sent.iter().map(|sent| sent.begun - sent.due).max().unwrap_or_default();
        let Window { begin, end } = self.window;
        figures.steady = Latency::of(self.sent.iter().filter(|sent| sent.done < begin));
        figures.struck = Latency::of(self.sent.iter().filter(|sent| sent.done >= begin && sent.due <= end));
        figures.marked_down_after = self.marked_after(false, begin);
        figures.marked_up_after = self.marked_after(true, end);
        if self.fault.takes_nodes_away() && self.fault.spares_nodes() {
            figures.ejected_after = self.last_disturbed().map(|due| due.saturating_duration_since(begin));
        }
        if self.fault.takes_nodes_away() {
            let served_again = self.struck_nodes().iter().map(|node| self.served_again(node));
            figures.readmitted_after = served_again.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
        }
        figures
    }

    fn struck_nodes(&self) -> &[String] {
        &self.nodes[..self.fault.struck()]
    }

    fn count_failures(&self, figures: &mut Figures) {
        let received: BTreeSet<usize> = self.journals.iter().map(|(_, number)| *number).collect();
        for sent in &self.sent {
            let Some(kind) = kind(&sent.outcome) else { continue };
            *figures.kinds.entry(kind).or_default() += 1;
            let is_unanswered = matches!(sent.outcome, Outcome::Closed | Outcome::TimedOut | Outcome::Unconnected);
            figures.unanswered += usize::from(is_unanswered);
            let was_received = received.contains(&sent.number) || may_have_been_received(&sent.outcome);
            *match &sent.outcome {
                Outcome::Cut => &mut figures.cut,
                Outcome::Wrong => &mut figures.wrong,
                _ if sent.method == Method::GET => &mut figures.failed_gets,
                _ if was_received => &mut figures.failed_posts_sent,
                _ => &mut figures.failed_posts_unsent,
            } += 1;
        }
    }

    fn count_posts(&self, figures: &mut Figures) {
        let mut received = BTreeMap::<usize, usize>::new();
        for (_, number) in self.journals.iter().filter(|(method, _)| method == "POST") {
            *received.entry(*number).or_default() += 1;
        }
        figures.duplicated = received.values().filter(|times| **times > 1).count();
        let acknowledged = self.sent.iter().filter(|sent| sent.method == Method::POST && sent.answer().is_some());
        figures.lost = acknowledged.filter(|sent| !received.contains_key(&sent.number)).count();
    }

    fn count_moves(&self, figures: &mut Figures) {
        let owners = owners(&self.sent, self.window.begin);
        for sent in &self.sent {
            let Some(answer) = sent.answer() else { continue };
            // On a busy machine a key may be asked for in the fault alone: nobody knows where it belongs.
            let Some(owner) = owners.get(&sent.key) else { continue };
            let is_elsewhere = answer.node != *owner;
            figures.moved += usize::from(is_elsewhere && !self.struck_nodes().contains(owner));
            let decision = if is_elsewhere { "failover" } else { "owner" };
            let is_as_told = answer.told.as_ref().is_none_or(|(node, told)| *node == answer.node && told == decision);
            figures.unexplained += usize::from(!is_as_told);
        }
    }

    /// When the last request was due of those that failed or were far too slow, one after the other from the beginning
    /// of the fault. A proxy that tries the node again later may lose that one request, which is not counted.
    fn last_disturbed(&self) -> Option<Instant> {
        let Window { begin, end } = self.window;
        let in_window = self.sent.iter().filter(|sent| sent.done >= begin && sent.due <= end);
        let disturbed = in_window.filter(|sent| sent.answer().is_none() || sent.took() >= DISTURBED);
        let dues: Vec<Instant> = disturbed.map(|sent| sent.due).collect();
        let pause = dues.windows(2).position(|pair| pair[1] - pair[0] >= CALM);
        pause.map_or(dues.last(), |last| dues.get(last)).copied()
    }

    /// From the end of the fault to the first response of a node to a request that was due after it.
    fn served_again(&self, node: &str) -> Option<Duration> {
        let end = self.window.end;
        let after = self.sent.iter().filter(|sent| sent.due > end);
        let served = after.filter(|sent| sent.answer().is_some_and(|answer| answer.node == node));
        served.map(|sent| sent.done.saturating_duration_since(end)).min()
    }

    /// From `since` until every struck node has been seen to be up, or down; `None` when one never was.
    fn marked_after(&self, is_up: bool, since: Instant) -> Option<Duration> {
        let first = |node: &String| {
            let (before, after): (Vec<&Flip>, Vec<&Flip>) =
                self.flips.iter().filter(|flip| flip.node == *node).partition(|flip| flip.at < since);
            if before.last()?.is_up == is_up {
                return Some(Duration::ZERO);
            }
            after.iter().find(|flip| flip.is_up == is_up).map(|flip| flip.at - since)
        };
        let firsts: Option<Vec<_>> = self.struck_nodes().iter().map(first).collect();
        firsts?.into_iter().max()
    }
}

impl Latency {
    fn of<'a>(sent: impl Iterator<Item = &'a Sent>) -> Latency {
        let mut took: Vec<Duration> = sent.map(Sent::took).collect();
        took.sort();
        let share = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1)));
        let of = |percent| share(percent).copied().unwrap_or_default();
        Latency { p50: of(50), p99: of(99), max: of(100) }
    }
}

/// Who serves each key while all is well, which is until `end`.
pub(crate) fn owners(sent: &[Sent], end: Instant) -> BTreeMap<usize, String> {
    let mut owners = BTreeMap::new();
    for sent in sent.iter().filter(|sent| sent.done < end) {
        if let Some(answer) = sent.answer() {
            owners.entry(sent.key).or_insert_with(|| answer.node.clone());
        }
    }
    owners
}

/// The word for a failure; `None` when there was none.
fn kind(outcome: &Outcome) -> Option<String> {
    Some(match outcome {
        Outcome::Answered(_) => return None,
        Outcome::Closed => "closed".to_owned(),
        Outcome::Cut => "cut".to_owned(),
        Outcome::Refused(status, None) => status.to_string(),
        Outcome::Refused(status, Some(reason)) => format!("{status} {reason}"),
        Outcome::TimedOut => "timeout".to_owned(),
        Outcome::Unconnected => "refused".to_owned(),
        Outcome::Wrong => "wrong".to_owned(),
    })
}

/// Whether the proxy says that it had sent the request, though no node has received it. The words are those of RFC 9209
/// section 2.3; a proxy that does not say anything is taken to have sent only what was received.
fn may_have_been_received(outcome: &Outcome) -> bool {
    let sent = ["connection_terminated", "http_protocol_error", "http_response_incomplete", "http_response_timeout"];
    matches!(outcome, Outcome::Refused(_, Some(reason)) if sent.contains(&reason.as_str()))
}

/// Without a disturbed request for this long, in which each node has some twenty, the disturbance is over.
const CALM: Duration = Duration::from_millis(250);

/// Ten times what the slowest ordinary request takes, and less than any proxy's timeout.
const DISTURBED: Duration = Duration::from_millis(250);
