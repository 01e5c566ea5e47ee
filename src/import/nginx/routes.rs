//! Which requests go to which pool, by host and path, and where Ringway's answer to that is not nginx's.

use crate::import::Imported;
use crate::import::Pool;
use crate::import::nginx::known;
use crate::import::nginx::servers::Location;
use crate::import::nginx::servers::Passed;
use crate::import::nginx::servers::Server;
use crate::import::nginx::servers::Target;
use crate::import::nginx::upstream::Upstream;
use crate::import::served;
use crate::import::served::Served;
use crate::import::served::UNKNOWN_HOST;
use crate::routing::pool_match::PoolMatch;
use std::collections::BTreeSet;

/// All servers of a configuration, and the upstreams behind them.
#[derive(Clone, Copy)]
pub(super) struct Routes<'a> {
    pub(super) servers: &'a [Server<'a>],
    pub(super) upstreams: &'a [Upstream],
}

/// What Ringway does with requests.
struct Ringway {
    served: Served,
    /// Where the requests of each pool go in nginx.
    passed: Vec<Passed>,
}

/// A path at the border of a location, and what Ringway lacks if it goes elsewhere here.
struct Border {
    path: String,
    lack: &'static str,
}

impl<'a> Routes<'a> {
    /// Adds the pools, and notes requests that do not go where nginx sends them.
    pub(super) fn add_to(self, imported: &mut Imported) {
        let passed = self.add_pools(imported);
        let ringway = Ringway { served: Served::of(imported), passed };
        if self.is_too_much() {
            let why = "it has too many names and locations to look for requests that go elsewhere in Ringway";
            imported.leave_out(self.servers[0].directive.place.clone(), "server", why);
            return;
        }
        for (server, taken) in self.servers.iter().zip(self.taken()) {
            match server.is_carried() {
                true => self.compare(server, &taken, &ringway, imported),
                false => note_other(server, &taken, &ringway, imported),
            }
        }
    }

    /// Whether comparing would take long: each name is looked for among all, and each location asked for each name.
    fn is_too_much(self) -> bool {
        let names: usize = self.servers.iter().map(|server| server.names.len() + 1).sum();
        let locations = || self.servers.iter().map(|server| server.locations.len());
        let of_names = self.listens().len().saturating_mul(names * (names + locations().max().unwrap_or_default()));
        of_names.saturating_add(locations().map(|count| count * count).sum()) > QUESTIONS_MAX
    }

    /// Adds a pool for each host and path that leads to an upstream, and one for each upstream that none leads to;
    /// returns where the requests of each go in nginx.
    fn add_pools(self, imported: &mut Imported) -> Vec<Passed> {
        let mut added = Vec::new();
        let carried = self.servers.iter().filter(|server| server.is_carried());
        for (location, passed, matches) in carried.flat_map(|server| self.wanted(server)) {
            if imported.is_full() {
                return added;
            }
            if matches.as_ref().is_some_and(|matches| matches.path.is_some()) {
                imported.leave_out(location.directive.place.clone(), location.directive.shown(), known::PATHS);
            }
            if let Some(pool) = pool(&self.upstreams[passed.upstream], passed, matches) {
                imported.add(&location.directive.place, pool);
                added.resize(imported.pools.len(), passed.clone());
            }
        }
        for (upstream, read) in self.upstreams.iter().enumerate() {
            let passed = Passed { upstream, host: None, connect_timeout: None, head_timeout: None };
            let is_used = added.iter().any(|other| other.upstream == upstream);
            if let Some(pool) = pool(read, &passed, None).filter(|_| !is_used) {
                imported.add(&read.place, pool);
                added.resize(imported.pools.len(), passed);
            }
        }
        added
    }

    /// What leads to a pool of its own, one after another: there may be as many as hosts times locations.
    fn wanted(
        self,
        server: &'a Server<'a>,
    ) -> impl Iterator<Item = (&'a Location<'a>, &'a Passed, Option<PoolMatch>)> + use<'a> {
        let hosts = self.hosts(server);
        let hosts = if hosts.is_empty() { vec![None] } else { hosts.into_iter().map(Some).collect() };
        let passed = move |location: &'a Location<'a>| match &location.target {
            Target::Pool(passed) => {
                let is_alike = server.around(location).is_some_and(|around| around.target == location.target);
                (!is_alike).then_some((location, passed))
            }
            Target::Other(_) => None,
        };
        server.locations.iter().filter_map(passed).flat_map(move |(location, passed)| {
            let matches =
                |host: Option<Option<String>>| Some(PoolMatch { host: host?, path: path_match(&location.path)? });
            hosts.clone().into_iter().map(move |host| (location, passed, matches(host)))
        })
    }

    /// The hosts by which Ringway knows the requests of a server: none at all where it is the only one that nginx takes
    /// for hosts that no server names, else its names.
    fn hosts(self, server: &Server<'_>) -> Vec<Option<String>> {
        let carried = || self.servers.iter().filter(|server| server.is_carried());
        let defaults: Vec<_> = carried().filter(|server| self.is_default(server)).collect();
        let is_default = defaults.iter().any(|default| std::ptr::eq(*default, server));
        let names = || server.names.iter().cloned();
        if !is_default || (defaults.len() > 1 && !server.names.is_empty()) {
            return names().map(Some).collect();
        }
        // A wildcard of another server would come before a match without a host, but not before a name.
        let patterns = || carried().filter(|other| !std::ptr::eq(*other, server)).flat_map(|other| &other.names);
        let is_below_another = |name: &String| patterns().any(|pattern| is_below(name, pattern));
        std::iter::once(None).chain(names().filter(is_below_another).map(Some)).collect()
    }

    fn is_default(self, server: &Server<'_>) -> bool {
        let is_of = |listen: &str| self.default_of(listen).is_some_and(|default| std::ptr::eq(default, server));
        server.listens.iter().any(|listen| is_of(&listen.text))
    }

    /// The server that nginx takes for hosts that no server of this listener names.
    fn default_of(self, listen: &str) -> Option<&'a Server<'a>> {
        let says_so = |server: &&Server<'_>| server.listens.iter().any(|on| on.text == listen && on.is_default);
        self.on(listen).find(says_so).or_else(|| self.on(listen).next())
    }

    fn on(self, listen: &str) -> impl Iterator<Item = &'a Server<'a>> {
        self.servers.iter().filter(move |server| server.listens.iter().any(|on| on.text == listen))
    }

    /// The server that nginx takes for a host: by its name, else by the longest wildcard, else the default one.
    fn server_of(self, listen: &str, host: &str) -> Option<&'a Server<'a>> {
        let exact = self.on(listen).find(|server| server.names.iter().any(|name| name == host));
        let below = |server: &&Server<'_>| {
            let wildcards = server.names.iter().filter(|name| is_below(host, name));
            wildcards.map(String::len).max()
        };
        let wildcard = || self.on(listen).filter(|server| below(server).is_some()).max_by_key(below);
        exact.or_else(wildcard).or_else(|| self.default_of(listen))
    }

    /// The requests, by listener and host, that nginx takes for each server: hosts that any of them names, and one that
    /// none does.
    fn taken(self) -> Vec<Vec<(&'a str, String)>> {
        let names = self.servers.iter().flat_map(|server| &server.names).map(|name| name.replacen('*', "any", 1));
        let hosts: BTreeSet<String> = names.chain([UNKNOWN_HOST.to_owned()]).collect();
        let mut taken = vec![Vec::new(); self.servers.len()];
        for listen in self.listens() {
            for host in &hosts {
                let found = self.server_of(listen, host);
                let index = found.and_then(|found| self.servers.iter().position(|server| std::ptr::eq(server, found)));
                if let Some(index) = index {
                    taken[index].push((listen, host.clone()));
                }
            }
        }
        taken
    }

    fn listens(self) -> BTreeSet<&'a str> {
        self.servers.iter().flat_map(|server| &server.listens).map(|listen| listen.text.as_str()).collect()
    }

    /// Asks nginx and Ringway for requests at every border between locations, and notes where they differ.
    fn compare(self, server: &Server<'_>, taken: &[(&str, String)], ringway: &Ringway, imported: &mut Imported) {
        let (unknown, named): (Vec<_>, Vec<_>) = taken.iter().partition(|(_, host)| host == UNKNOWN_HOST);
        let has_no_host = self.hosts(server).contains(&None);
        if let Some((listen, host)) = unknown.first().filter(|_| !has_no_host) {
            let why = format!(
                "on {listen} nginx takes requests for hosts that no server names for this server; in Ringway {}",
                ringway.served.tells(host, "/")
            );
            imported.leave_out(server.directive.place.clone(), "server", why);
        }
        let hosts = named.iter().chain(unknown.iter().filter(|_| has_no_host)).map(|(_, host)| host.as_str());
        let hosts: BTreeSet<&str> = hosts.collect();
        self.compare_rest(server, &hosts, ringway, imported);
        for location in &server.locations {
            let told = self.differences(server, location, &hosts, ringway);
            if !told.is_empty() {
                let why = match &location.target {
                    Target::Other(why) => format!("{why}; in Ringway {}", served::few(&told)),
                    Target::Pool(_) => served::few(&told),
                };
                imported.leave_out(location.directive.place.clone(), location.directive.shown(), why);
            }
        }
    }

    /// The requests at the borders of a location that go elsewhere in Ringway: the first of each way from somewhere in
    /// nginx to somewhere here.
    fn differences(
        self,
        server: &Server<'_>,
        location: &Location<'_>,
        hosts: &BTreeSet<&str>,
        ringway: &Ringway,
    ) -> Vec<String> {
        let mut told = Vec::new();
        let mut ways = BTreeSet::new();
        for (border, host) in borders(location).iter().flat_map(|border| hosts.iter().map(move |host| (border, *host)))
        {
            let Border { path, lack } = border;
            let target = server.target(path);
            if ringway.is_alike(target, host, path) {
                continue;
            }
            // What nginx answers itself is told with the location.
            let there = matches!(location.target, Target::Pool(_)).then(|| (*lack, self.shown(target)));
            if ways.insert((there.clone(), ringway.served.pool(host, path))) {
                let there = there.map(|(lack, there)| format!("{lack}: nginx sends {path} {there}; in Ringway "));
                told.push(format!("{}{}", there.unwrap_or_default(), ringway.served.tells(host, path)));
            }
        }
        told
    }

    /// Asks for the paths of all pools where no location's border is, and notes the first that differs.
    fn compare_rest(self, server: &Server<'_>, hosts: &BTreeSet<&str>, ringway: &Ringway, imported: &mut Imported) {
        let is_border = |path: &&String| server.locations.iter().any(|location| location.path == **path);
        for path in ringway.served.paths.iter().filter(|path| !is_border(path)) {
            let target = server.target(path);
            // What nginx answers itself is told with its location.
            let is_told = matches!(target, Some(Target::Other(_)));
            let differing = hosts.iter().find(|host| !is_told && !ringway.is_alike(target, host, path));
            if let Some(host) = differing {
                let (there, here) = (self.shown(target), ringway.served.tells(host, path));
                let why = format!("nginx sends {path} {there}; in Ringway {here}");
                return imported.leave_out(server.directive.place.clone(), shown(server), why);
            }
        }
    }

    /// Where nginx sends something.
    fn shown(self, target: Option<&Target>) -> String {
        match target {
            Some(Target::Pool(passed)) => format!("to upstream {}", self.upstreams[passed.upstream].name),
            Some(Target::Other(_)) => "elsewhere".to_owned(),
            None => "nowhere".to_owned(),
        }
    }
}

/// Notes a server without a pool.
fn note_other(server: &Server<'_>, taken: &[(&str, String)], ringway: &Ringway, imported: &mut Imported) {
    let mut why = match server.answer {
        Some(answer) => format!("`{}` answers there, which does not hash", answer.shown()),
        None => "none of its locations that Ringway can match leads to an upstream that hashes".to_owned(),
    };
    let hosts: BTreeSet<&str> = taken.iter().map(|(_, host)| host.as_str()).collect();
    let mut requests = ringway.served.paths.iter().flat_map(|path| hosts.iter().map(move |host| (host, path)));
    if let Some((host, path)) = requests.find(|(host, path)| ringway.served.pool(host, path).is_some()) {
        why = format!("{why}; in Ringway {}", ringway.served.tells(host, path));
    }
    imported.leave_out(server.directive.place.clone(), shown(server), why);
}

fn shown(server: &Server<'_>) -> String {
    match server.names.as_slice() {
        [] => "server".to_owned(),
        names => format!("server {}", names.join(" ")),
    }
}

impl Ringway {
    /// Whether a request goes where nginx sends it; what nginx answers itself never does.
    fn is_alike(&self, target: Option<&Target>, host: &str, path: &str) -> bool {
        match (target, self.served.pool(host, path)) {
            (Some(Target::Pool(passed)), Some(pool)) => self.passed[pool] == *passed,
            (None, found) => found.is_none(),
            (Some(_), _) => false,
        }
    }
}

/// The path itself, the next segment below it, and a text that goes on with it.
fn borders(location: &Location<'_>) -> Vec<Border> {
    let path = &location.path;
    let border = |path: String, lack| Border { path, lack };
    let mut borders = vec![border(path.clone(), ELSEWHERE)];
    let below = format!("{}/x", path.trim_end_matches('/'));
    borders.push(border(below, if location.is_exact { "Ringway matches no path alone" } else { ELSEWHERE }));
    if !location.is_exact && !path.ends_with('/') {
        borders.push(border(format!("{path}x"), "Ringway matches whole segments of paths"));
    }
    borders
}

/// The pool for an upstream, if that hashes.
fn pool(upstream: &Upstream, passed: &Passed, matches: Option<PoolMatch>) -> Option<Pool> {
    let hashed = upstream.hashed.clone()?;
    Some(Pool {
        name: upstream.name.clone(),
        matches,
        key: hashed.key,
        placement: hashed.placement,
        nodes: hashed.nodes,
        host: passed.host.clone(),
        connect_timeout: passed.connect_timeout,
        head_timeout: passed.head_timeout,
    })
}

/// A location as part of `match`: nothing for every path. `None` where it is no path as requests have it: nginx
/// compares what is decoded, and Ringway what came.
fn path_match(path: &str) -> Option<Option<String>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~!&'()*+,;=:@".contains(c);
    match path {
        "/" => Some(None),
        _ if path.starts_with('/') && path.chars().all(is_plain) => Some(Some(path.to_owned())),
        _ => None,
    }
}

/// Whether a wildcard such as `*.example.com` stands for a host.
fn is_below(host: &str, pattern: &str) -> bool {
    let suffix = pattern.strip_prefix('*');
    suffix.is_some_and(|suffix| host.len() > suffix.len() && host.ends_with(suffix))
}

/// Of a request that nothing but the pools at hand can be the reason for.
const ELSEWHERE: &str = "Ringway has another pool for it, or none";

/// How much is compared: thousands of names with tens of locations each.
const QUESTIONS_MAX: usize = 20_000_000;
