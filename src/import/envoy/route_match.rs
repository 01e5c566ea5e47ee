//! Which requests a route takes, as far as a host and a path can say it.

use crate::import::envoy::known;
use crate::import::envoy::message::Message;
use crate::import::envoy::message::Stop;
use crate::routing::pool_match::PoolMatch;
use std::collections::BTreeSet;
use std::ops::Bound;

/// The paths that a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Paths {
    /// This one.
    Exact(String),
    /// All that begin so.
    Prefix(String),
    /// This one, and those below it.
    Segments(String),
    /// Something else, or only with other conditions.
    Unsayable,
}

/// The paths that routes before one take, whatever else a request is.
#[derive(Default)]
pub(super) struct Taken {
    /// None of them begins with another, so that only the one just before a path can be what it begins with.
    prefixes: BTreeSet<String>,
    exact: BTreeSet<String>,
    /// Those that are taken with what is below them.
    segments: BTreeSet<String>,
}

/// Reads `domains`: those that can be said, each once; `None` is any. That ports count in Envoy is told once, where
/// they do.
pub(super) fn read_domains(host: &mut Message<'_>, tells_ports: &mut bool) -> Result<BTreeSet<Option<String>>, Stop> {
    let mut hosts = BTreeSet::new();
    let (mut names, mut unsayable) = (BTreeSet::new(), Vec::new());
    for domain in host.list("domains")? {
        let domain = domain.text()?.to_ascii_lowercase();
        if domain == "*" {
            hosts.insert(None);
            continue;
        }
        // `x` and `x:8080` are one host to Ringway.
        match without_port(&domain) {
            name if is_sayable(name) => drop(names.insert(name.to_owned())),
            _ => unsayable.push(domain),
        }
    }
    if !unsayable.is_empty() {
        let why = format!("a `match` has no host like {}", unsayable.join(", "));
        host.leave_out("domains", why);
    }
    if *tells_ports && !names.is_empty() {
        let why = "Envoy matches Host with its port; Ringway's `host` takes all ports, here and in what follows";
        host.leave_out("domains", why);
        *tells_ports = false;
    }
    hosts.extend(names.into_iter().map(Some));
    Ok(hosts)
}

/// Reads the `match` of a route.
pub(super) fn read_paths(matches: &mut Message<'_>) -> Result<Paths, Stop> {
    let paths = if let Some(prefix) = matches.field("prefix")? {
        let prefix = prefix.text()?;
        Paths::Prefix(if prefix.is_empty() { "/" } else { prefix }.to_owned())
    } else if let Some(path) = matches.text("path")? {
        Paths::Exact(path.to_owned())
    } else if let Some(prefix) = matches.text("path_separated_prefix")? {
        Paths::Segments(prefix.to_owned())
    } else {
        return Ok(Paths::Unsayable);
    };
    let mut others = matches.clone();
    let mut is_conditional = false;
    for (name, _) in known::MATCH.told.iter().filter(|(name, _)| *name != "case_sensitive") {
        is_conditional |= others.field(name)?.is_some();
    }
    let is_case_sensitive = others.field("case_sensitive")?.is_none() || others.flag("case_sensitive")?;
    if is_case_sensitive || !paths.has_letters() {
        // Nothing is left to tell about it.
        matches.field("case_sensitive")?;
    } else {
        is_conditional = true;
    }
    Ok(if is_conditional || !paths.is_sayable() { Paths::Unsayable } else { paths })
}

/// Tells how Ringway's match differs from a route's.
pub(super) fn tell(matches: Message<'_>, paths: &Paths) {
    match paths {
        Paths::Exact(path) => {
            let below = format!("{}/", path.trim_end_matches('/'));
            matches.leave_out("path", format!("Ringway's `path` takes what is below {below} too"));
        }
        Paths::Prefix(path) if !path.ends_with('/') => {
            let why = format!("Envoy's takes {path}x too; Ringway's `path` takes {path} and what is below {path}/");
            matches.leave_out("prefix", why);
        }
        Paths::Prefix(_) | Paths::Segments(_) | Paths::Unsayable => {}
    }
    matches.finish(&known::MATCH);
}

impl Paths {
    /// Whether they are all paths.
    pub(super) fn is_all(&self) -> bool {
        *self == Paths::Prefix("/".to_owned())
    }

    /// Whether a path is one of them, after Envoy's documentation; of those that cannot be said nobody knows.
    pub(super) fn take(&self, path: &str) -> bool {
        match self {
            Paths::Exact(own) => path == own,
            Paths::Prefix(own) => path.starts_with(own),
            Paths::Segments(own) => {
                path.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Paths::Unsayable => false,
        }
    }

    /// What they are, or begin with.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Paths::Exact(path) | Paths::Prefix(path) | Paths::Segments(path) => Some(path),
            Paths::Unsayable => None,
        }
    }

    fn has_letters(&self) -> bool {
        self.path().is_some_and(|path| path.contains(|letter: char| letter.is_ascii_alphabetic()))
    }

    /// Whether `path` of a match takes it.
    fn is_sayable(&self) -> bool {
        self.path().is_some_and(|path| path.starts_with('/') && !path.contains(['?', '#']))
    }

    /// The matches of the pools for these hosts; one that cannot be said is `None`.
    pub(super) fn matches(&self, domains: &BTreeSet<Option<String>>) -> Vec<Option<PoolMatch>> {
        let Some(path) = self.path().filter(|_| !domains.is_empty()) else {
            return vec![None];
        };
        let path = Some(path.to_owned()).filter(|_| !self.is_all());
        let matches = domains.iter().map(|host| Some(PoolMatch { host: host.clone(), path: path.clone() }));
        matches.collect()
    }
}

impl Taken {
    /// One more route takes these.
    pub(super) fn add(&mut self, paths: Paths) {
        match paths {
            Paths::Exact(path) => drop(self.exact.insert(path)),
            Paths::Prefix(prefix) => self.add_prefix(prefix),
            Paths::Segments(path) => {
                self.add_prefix(format!("{path}/"));
                self.segments.insert(path);
            }
            Paths::Unsayable => {}
        }
    }

    /// Whether nothing is left of these paths.
    pub(super) fn have(&self, paths: &Paths) -> bool {
        match paths {
            Paths::Exact(path) => self.exact.contains(path) || self.segments.contains(path) || self.begin(path),
            Paths::Prefix(path) => self.begin(path),
            Paths::Segments(path) => self.segments.contains(path) || self.begin(path),
            Paths::Unsayable => self.have_all(),
        }
    }

    /// Whether nothing is left of all paths.
    fn have_all(&self) -> bool {
        self.prefixes.contains("/")
    }

    /// Whether a path begins with one of the prefixes.
    fn begin(&self, path: &str) -> bool {
        let before = self.prefixes.range::<str, _>((Bound::Unbounded, Bound::Included(path))).next_back();
        before.is_some_and(|prefix| path.starts_with(prefix))
    }

    fn add_prefix(&mut self, prefix: String) {
        if self.begin(&prefix) {
            return;
        }
        let longer = self.prefixes.range(prefix.clone()..).take_while(|longer| longer.starts_with(&prefix));
        for longer in longer.cloned().collect::<Vec<_>>() {
            self.prefixes.remove(&longer);
        }
        self.prefixes.insert(prefix);
    }
}

fn without_port(domain: &str) -> &str {
    match domain.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => domain,
    }
}

/// Whether `host` of a match says the same.
fn is_sayable(name: &str) -> bool {
    let inside = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = inside {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let name = name.strip_prefix("*.").unwrap_or(name);
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_paths() -> impl Strategy<Value = Paths> {
        let path = || "/[ab]{0,2}(/[ab]{0,2}){0,2}";
        prop_oneof![
            path().prop_map(Paths::Exact),
            path().prop_map(Paths::Prefix),
            "/[ab]{1,2}(/[ab]{1,2}){0,2}".prop_map(Paths::Segments),
        ]
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_one_of_the_routes_takes(
            routes in prop::collection::vec(any_paths(), 0..6), later in any_paths(), below in "(/|[ab]|/[ab]){0,3}",
        ) {
            let mut taken = Taken::default();
            routes.iter().cloned().for_each(|paths| taken.add(paths));
            let path = format!("{}{below}", later.path().unwrap_or_default());
            if taken.have(&later) && later.take(&path) {
                prop_assert!(routes.iter().any(|route| route.take(&path)), "{routes:?}, {later:?}: {path}");
            }
            if routes.contains(&later) {
                prop_assert!(taken.have(&later), "{routes:?}, {later:?}");
            }
        }
    }
}
