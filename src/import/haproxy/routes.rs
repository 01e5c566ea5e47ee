//! Which requests go to which backend: the `use_backend` and `default_backend` lines of all that take clients.
//!
//! HAProxy goes by the first line that is true, Ringway by the most specific match. Where they disagree about some
//! request, that is on the list.

use crate::import::Unreadable;
use crate::import::haproxy::List;
use crate::import::haproxy::bind::Binds;
use crate::import::haproxy::condition;
use crate::import::haproxy::condition::Acls;
use crate::import::haproxy::condition::Said;
use crate::import::haproxy::condition::Unsaid;
use crate::import::haproxy::proxy::Proxy;
use crate::import::haproxy::words::Line;
use crate::routing::pool_match::PoolMatch;
use std::collections::HashMap;

/// A frontend that speaks HTTP, or the half of a `listen` that is one.
#[derive(Debug)]
pub(super) struct Front<'a> {
    pub(super) proxy: &'a Proxy<'a>,
    pub(super) binds: Binds,
    /// In the order in which they are tried.
    routes: Vec<Route<'a>>,
}

/// A line that sends requests to a backend.
#[derive(Debug)]
struct Route<'a> {
    line: &'a Line,
    /// Its index among the proxies; none where it is computed for each request.
    backend: Option<usize>,
    said: Result<Said, Unsaid>,
}

impl<'a> Front<'a> {
    /// Reads one; `backends` has the indexes of those with servers.
    pub(super) fn read(
        proxy: &'a Proxy<'a>,
        index: usize,
        backends: &HashMap<&str, usize>,
    ) -> Result<Front<'a>, Unreadable> {
        let section = proxy.section;
        let acls = Acls::of(&section.lines);
        let backend = |line: &Line| match line.word(1) {
            name if name.contains("%[") => Ok(None),
            name => match backends.get(name) {
                Some(index) => Ok(Some(*index)),
                None => Err(line.unreadable(format!("there is no backend `{name}`"))),
            },
        };
        let mut routes = Vec::new();
        for line in section.lines.iter().filter(|line| line.word(0) == "use_backend") {
            routes.push(Route { line, backend: backend(line)?, said: acls.condition(line, 2)? });
        }
        let everything = || Ok(Said { matches: vec![PoolMatch::default()], difference: None });
        match proxy.settings.default_backend {
            Some(line) => routes.push(Route { line, backend: backend(line)?, said: everything() }),
            None if section.has_servers() => {
                routes.push(Route { line: &section.head, backend: Some(index), said: everything() });
            }
            None => {}
        }
        Ok(Front { proxy, binds: Binds::of(&section.lines)?, routes })
    }

    /// Whether some of its requests go to this backend, or may.
    pub(super) fn leads_to(&self, backend: usize) -> bool {
        self.routes.iter().any(|route| route.backend.is_none_or(|index| index == backend))
    }
}

/// The matches of all backends that are pools, each with the index of its backend, in the order of the original.
pub(super) fn matches(
    fronts: &[&Front<'_>],
    is_pool: impl Fn(usize) -> bool,
    list: &mut List,
) -> Vec<(usize, PoolMatch)> {
    let mut table = Table { entries: Vec::new() };
    for (front, of_front) in fronts.iter().enumerate() {
        for route in &of_front.routes {
            let mut report = |why: String| list.add(route.line.number, route.line.text(), why);
            match (route.backend, &route.said) {
                (None, _) => report(COMPUTED.to_owned()),
                (Some(backend), _) if !is_pool(backend) => report(NOT_CARRIED.to_owned()),
                (_, Err(why)) => report(format!(
                    "which requests go there cannot be said by host and path: {why}; here they go to what else matches"
                )),
                (Some(backend), Ok(said)) => {
                    said.difference.iter().for_each(|difference| report((*difference).to_owned()));
                    let line = route.line.number;
                    for matches in &said.matches {
                        table.add(Entry { front, line, backend, matches: matches.clone() }).map(&mut report);
                    }
                }
            }
        }
    }
    table.entries.into_iter().map(|entry| (entry.backend, entry.matches)).collect()
}

/// What Ringway decides by.
struct Table {
    entries: Vec<Entry>,
}

struct Entry {
    front: usize,
    line: usize,
    backend: usize,
    matches: PoolMatch,
}

impl Table {
    /// Adds an entry, unless another has the same match. Returns where HAProxy decides otherwise, if it does.
    fn add(&mut self, entry: Entry) -> Option<String> {
        if self.entries.len() >= ENTRIES_MAX {
            return Some(format!("the file comes to more than {ENTRIES_MAX} pools; from here on they are left out"));
        }
        let same = self.entries.iter().find(|other| other.matches == entry.matches);
        if same.is_some_and(|same| same.backend == entry.backend) {
            return None;
        }
        let disagreement = self.entries.iter().find_map(|other| other.disagreement(&entry));
        if same.is_none() {
            self.entries.push(entry);
        }
        disagreement
    }
}

impl Entry {
    /// What some request shows that falls under both, `later` being that which HAProxy comes to later.
    fn disagreement(&self, later: &Entry) -> Option<String> {
        if self.backend == later.backend {
            return None;
        }
        condition::intersection(&self.matches, &later.matches)?;
        let line = self.line;
        if self.front != later.front {
            return Some(format!(
                "only the address that a client connects to tells some of these requests from those of line {line}; \
                 Ringway does not look at that, and goes by the most specific match"
            ));
        }
        if self.matches == later.matches {
            return Some(format!("no request comes here, since line {line} takes the same ones"));
        }
        (specificity(&self.matches) < specificity(&later.matches)).then(|| {
            format!(
                "requests that line {line} takes too go there in HAProxy, which comes to it first, and here to the \
                     more specific match, which is this one"
            )
        })
    }
}

/// How Ringway ranks what matches: a host before a pattern of hosts before none, and then the longer path.
fn specificity(matches: &PoolMatch) -> (u8, usize, usize) {
    let path = matches.path.as_ref().map_or(0, String::len);
    match matches.host.as_deref() {
        None => (0, 0, path),
        Some(host) if host.starts_with('*') => (1, host.len(), path),
        Some(_) => (2, 0, path),
    }
}

const COMPUTED: &str = "the name of the backend is computed for each request, which Ringway does not do";

const NOT_CARRIED: &str =
    "that backend is not carried over, so that its requests go to what else matches here, or are answered with 404";

/// Every entry is compared with every other.
const ENTRIES_MAX: usize = 2_000;
