//! What Ringway does with requests, by the pools that an import came to.

use crate::import::Imported;
use crate::routing::pool_match::PoolMatch;
use crate::routing::pool_match::PoolMatcher;
use std::collections::BTreeSet;

/// The pools, as requests find them.
pub(super) struct Served {
    matcher: PoolMatcher,
    /// Of the pools.
    names: Vec<String>,
    /// All paths that pools are found by.
    pub(super) paths: BTreeSet<String>,
}

impl Served {
    /// By the pools so far.
    pub(super) fn of(imported: &Imported) -> Served {
        let rules: Vec<PoolMatch> = imported.pools.iter().filter_map(|pool| pool.matches.clone()).collect();
        let names = imported.pools.iter().map(|pool| pool.name.clone()).collect();
        let paths = rules.iter().filter_map(|rule| rule.path.clone()).chain(["/".to_owned()]).collect();
        Served { matcher: PoolMatcher::new(&rules), names, paths }
    }

    /// The index of the pool that a request goes to.
    pub(super) fn pool(&self, host: &str, path: &str) -> Option<usize> {
        self.matcher.find(host, path)
    }

    /// The same in words: `a.example/x goes to pool b`.
    pub(super) fn tells(&self, host: &str, path: &str) -> String {
        let request = shown(host, path);
        match self.pool(host, path) {
            Some(pool) => format!("{request} goes to pool {}", self.names[pool]),
            None => format!("{request} is answered with 404"),
        }
    }

    /// The name of a pool.
    pub(super) fn name(&self, pool: usize) -> &str {
        &self.names[pool]
    }
}

/// A request as people would write it.
pub(super) fn shown(host: &str, path: &str) -> String {
    let host = if host == UNKNOWN_HOST { "" } else { host };
    format!("{host}{path}")
}

/// Differences as one text: the first few, and how many more there are.
pub(super) fn few(told: &[String]) -> String {
    let (first, more) = told.split_at(told.len().min(TOLD_MAX));
    let first = first.join("; ");
    match more.len() {
        0 => first,
        more => format!("{first}; and {more} more like these"),
    }
}

/// Stands for all hosts that nothing names.
pub(super) const UNKNOWN_HOST: &str = "host.that.no.server.names";

/// How many differences are told of one place.
const TOLD_MAX: usize = 4;
