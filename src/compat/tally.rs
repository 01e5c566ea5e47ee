//! Compares a log with a pool line by line: what is alike, what is not, and what cannot be compared.

use crate::cluster::node::Node;
use crate::compat::sample::Sample;
use crate::compat::sample::Sighting;
use crate::compat::upstreams::Upstream;
use crate::compat::upstreams::Upstreams;
use crate::compat::upstreams::is_address;
use crate::compat::upstreams::is_bare_name;
use crate::compat::written_rule::Logged;
use crate::compat::written_rule::WrittenRule;
use crate::compat::written_rule::is_absent;
use crate::placement::Placement;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;

/// A pool, and how its keys are found in a log.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'p> {
    /// All nodes of the pool, in its order; others name them by their place here.
    pub nodes: &'p [Node],
    /// Where the pool puts keys.
    pub placement: &'p Placement,
    /// How the pool reads keys.
    pub rule: &'p WrittenRule,
    /// What the log has of a request.
    pub logged: Logged,
}

/// What came of the lines so far. It remembers a bounded part of the keys ([`Sample`]), whatever the length of the log.
#[derive(Debug)]
pub struct Tally<'p> {
    compared: Compared<'p>,
    upstreams: Upstreams,
    members: Vec<usize>,
    disagreements_max: usize,
    has_addresses: bool,
    /// How many lines there were.
    pub lines: u64,
    /// How many of them the pool puts where the log has them.
    pub alike: u64,
    /// How many went to the node that would be next after the owner, as after a failure.
    pub second: u64,
    /// The first lines that the pool puts elsewhere, each key once.
    pub disagreements: Vec<Disagreement>,
    /// The lines of servers that are no nodes of the pool, which disagree too: keys of theirs would move.
    pub elsewhere: Option<Lines>,
    /// The lines that cannot be compared.
    pub unused: BTreeMap<Unusable, Lines>,
    /// The keys.
    pub sample: Sample,
}

/// A line whose key the pool puts elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The number of the line, from 1.
    pub line: u64,
    /// The key.
    pub key: Vec<u8>,
    /// The upstream in the log, as it stands there.
    pub upstream: Vec<u8>,
    /// The node that it is; `None` where it is no node of the pool.
    pub logged: Option<usize>,
    /// The node by the pool; `None` in a pool without placed nodes.
    pub placed: Option<usize>,
    /// Whether the log has the node that is next after the owner.
    pub is_second: bool,
}

/// Lines of which the same is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// How many there are.
    pub lines: u64,
    /// The number of the first, from 1.
    pub first_line: u64,
    /// What stands there.
    pub example: Vec<u8>,
}

/// What is known of the remembered keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCounts {
    /// How many there are.
    pub all: usize,
    /// How many of them the pool puts where most of their lines have them.
    pub alike: usize,
    /// How many of them the log has at several nodes.
    pub at_several_nodes: usize,
}

/// Why a line cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unusable {
    /// It does not have one of the columns.
    NoColumn,
    /// Nothing stands in the column of the key.
    NoKey,
    /// The request has no key, or one that depends on what was not logged.
    NoKeyInRequest,
    /// What stands in the column of the request is none.
    NoRequest,
    /// Nothing stands in the column of the upstream, or that there was no server to send the request to.
    NoUpstream,
    /// Several nodes have the address of the upstream.
    SharedAddress,
    /// It is no object in JSON, as it has to be for columns with names.
    NotJson,
    /// It is too long to be read.
    TooLong,
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Unusable::NoColumn => "has no such column",
            Unusable::NoKey => "no key is logged",
            Unusable::NoKeyInRequest => "the key rule finds no key in the request",
            Unusable::NoRequest => "no request is logged",
            Unusable::NoUpstream => "no upstream is logged",
            Unusable::SharedAddress => "several nodes have the address of the upstream",
            Unusable::NotJson => "not in JSON, whose columns have names (nginx writes it with escape=json)",
            Unusable::TooLong => "is too long",
        })
    }
}

impl<'p> Tally<'p> {
    /// Nothing yet. So many disagreements are kept.
    pub fn new(compared: Compared<'p>, disagreements_max: usize) -> Tally<'p> {
        Tally {
            compared,
            upstreams: Upstreams::of(compared.nodes),
            members: members(compared.placement, compared.nodes),
            disagreements_max,
            has_addresses: false,
            lines: 0,
            alike: 0,
            second: 0,
            disagreements: Vec::new(),
            elsewhere: None,
            unused: BTreeMap::new(),
            sample: Sample::default(),
        }
    }

    /// Takes in a line with what stands in its columns of the request or key and of the upstream.
    pub fn add(&mut self, line: u64, request: &[u8], upstream: &[u8]) {
        if is_absent(upstream) {
            return self.leave_out(line, Unusable::NoUpstream, request);
        }
        let key = match self.compared.rule.key(self.compared.logged, request) {
            Ok(key) => key,
            Err(why) => return self.leave_out(line, why, request),
        };
        self.has_addresses |= is_address(upstream);
        let node = match self.upstreams.find(upstream) {
            Upstream::Node(node) => Some(node),
            Upstream::Nobody => return self.leave_out(line, Unusable::NoUpstream, upstream),
            Upstream::Shared => return self.leave_out(line, Unusable::SharedAddress, upstream),
            Upstream::Unknown if self.has_addresses && is_bare_name(upstream) => {
                return self.leave_out(line, Unusable::NoUpstream, upstream);
            }
            Upstream::Unknown => {
                self.elsewhere.get_or_insert_with(|| Lines::none(line, upstream)).lines += 1;
                None
            }
        };
        self.compare((line, upstream), key, request, node);
    }

    /// Counts a line that cannot be compared.
    pub fn leave_out(&mut self, line: u64, why: Unusable, example: &[u8]) {
        self.lines += 1;
        self.unused.entry(why).or_insert_with(|| Lines::none(line, example)).lines += 1;
    }

    /// How many lines were compared.
    pub fn compared(&self) -> u64 {
        self.lines - self.unused.values().map(|unused| unused.lines).sum::<u64>()
    }

    /// How many lines are those of nodes of the pool.
    pub fn at_nodes(&self) -> u64 {
        self.compared() - self.elsewhere.as_ref().map_or(0, |elsewhere| elsewhere.lines)
    }

    /// What is known of the remembered keys.
    pub fn key_counts(&self) -> KeyCounts {
        let Compared { placement, rule, .. } = self.compared;
        let is_alike = |sighting: &&Sighting| {
            let owner = placement.owner(placement.position(rule.rule.hashed(&sighting.key)));
            owner.is_some_and(|owner| Some(self.members[owner]) == sighting.node())
        };
        KeyCounts {
            all: self.sample.len(),
            alike: self.sample.sightings().filter(is_alike).count(),
            at_several_nodes: self.sample.sightings().filter(|sighting| sighting.lines.len() > 1).count(),
        }
    }

    fn compare(&mut self, (line, upstream): (u64, &[u8]), key: Vec<u8>, request: &[u8], logged: Option<usize>) {
        self.lines += 1;
        let Compared { placement, rule, .. } = self.compared;
        let mut candidates = placement.candidates(placement.position(rule.rule.hashed(&key)));
        let placed = candidates.next().map(|node| self.members[node]);
        self.sample.add(&key, request, logged);
        if placed.is_some() && placed == logged {
            self.alike += 1;
            return;
        }
        let is_second = candidates.next().is_some_and(|node| Some(self.members[node]) == logged);
        self.second += u64::from(is_second);
        if self.disagreements.len() < self.disagreements_max && self.disagreements.iter().all(|known| known.key != key)
        {
            let upstream = upstream.to_vec();
            self.disagreements.push(Disagreement { line, key, upstream, logged, placed, is_second });
        }
    }
}

impl Lines {
    fn none(first_line: u64, example: &[u8]) -> Lines {
        Lines { lines: 0, first_line, example: example.to_vec() }
    }
}

/// For each node of a placement its place in `nodes`.
pub(super) fn members(placement: &Placement, nodes: &[Node]) -> Vec<usize> {
    let by_name: HashMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect();
    let placed = placement.nodes().iter();
    placed.map(|node| by_name.get(node.name.as_str()).copied().expect("a placement is of nodes of its pool")).collect()
}
