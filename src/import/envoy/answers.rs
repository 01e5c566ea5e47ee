//! What Envoy does with the requests of each listener, and which of them Ringway sends elsewhere, since it takes the
//! pools of all listeners for one set.

use crate::import::Imported;
use crate::import::envoy::message::Message;
use crate::import::envoy::route_match::Paths;
use crate::import::envoy::routes::Target;
use crate::import::served;
use crate::import::served::Served;
use crate::import::served::UNKNOWN_HOST;
use crate::routing::pool_match::PoolMatch;
use crate::routing::pool_match::PoolMatcher;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A route configuration.
#[derive(Debug, Default)]
pub(super) struct Routing {
    pub(super) hosts: Vec<VirtualHost>,
}

/// Of a route configuration, the routes for some domains.
#[derive(Debug)]
pub(super) struct VirtualHost {
    /// As in a match; `None` is any.
    pub(super) domains: BTreeSet<Option<String>>,
    /// In their order, of which the first that fits counts.
    pub(super) routes: Vec<Route>,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) paths: Paths,
    pub(super) action: Action,
}

/// Where a route leads.
#[derive(Debug)]
pub(super) enum Action {
    /// Nowhere that is carried over, because of this setting.
    LeftOut(String),
    /// To a cluster that is a pool.
    Pool(Rc<Target>),
}

/// Routes behind a listener.
pub(super) struct Door<'a> {
    pub(super) listener: Message<'a>,
    pub(super) routing: Rc<Routing>,
}

/// Requests, and what Ringway does with them.
struct Questions<'a> {
    hosts: BTreeSet<String>,
    paths: BTreeSet<String>,
    served: &'a Served,
    /// Where the requests of each pool go in Envoy.
    targets: &'a [Rc<Target>],
}

/// Notes for each listener which of its requests go elsewhere in Ringway, because of the pools of other listeners;
/// `targets` are those of the pools so far.
pub(super) fn compare(doors: &[Door<'_>], targets: &[Rc<Target>], imported: &mut Imported) {
    if doors.len() < 2 || imported.is_full() {
        return;
    }
    let served = Served::of(imported);
    let all_hosts = || doors.iter().flat_map(|door| &door.routing.hosts);
    let domains = all_hosts().flat_map(|host| &host.domains).flatten().map(|domain| domain.replacen('*', "any", 1));
    let hosts = domains.chain([UNKNOWN_HOST.to_owned()]).collect();
    let paths = all_hosts().flat_map(|host| &host.routes).filter_map(|route| route.paths.path());
    let paths = paths.map(str::to_owned).chain(served.paths.iter().cloned()).collect();
    let questions = Questions { hosts, paths, served: &served, targets };
    if doors.len().saturating_mul(questions.hosts.len()).saturating_mul(questions.paths.len()) > QUESTIONS_MAX {
        let why = "the listeners have too many hosts and paths to look for requests that go elsewhere in Ringway, \
                   which does not look at the address that a client connects to";
        return imported.leave_out(doors[0].listener.place(), "listeners", why);
    }
    for door in doors {
        let told = questions.differences(&door.routing);
        if !told.is_empty() {
            let name = door.listener.clone().text("name").ok().flatten();
            let what = name.map_or("listener".to_owned(), |name| format!("listener {name}"));
            let why = format!("{ONE_SET}: {}", served::few(&told));
            imported.leave_out(door.listener.place(), what, why);
        }
    }
}

impl Questions<'_> {
    /// The requests of a listener that other listeners' pools take here: one for each way in which that shows.
    fn differences(&self, routing: &Routing) -> Vec<String> {
        let (rules, own): (Vec<_>, Vec<_>) = routing.rules().unzip();
        let alone = PoolMatcher::new(&rules);
        let by_host = routing.by_host();
        let mut told = Vec::new();
        let mut ways = BTreeSet::new();
        for (host, path) in self.hosts.iter().flat_map(|host| self.paths.iter().map(move |path| (host, path))) {
            let here = self.served.pool(host, path);
            let target = here.map(|pool| &self.targets[pool]);
            if alone.find(host, path).map(|rule| own[rule]) == target {
                continue;
            }
            // What differs even without the other listeners is told with the routes.
            let action = by_host.find(host, "/").and_then(|rule| routing.host(rule)).and_then(|host| host.action(path));
            let there = match action {
                Some(Action::Pool(own)) if Some(own) == target => continue,
                Some(Action::Pool(own)) => self.cluster(own),
                Some(Action::LeftOut(what)) => format!("by a route that is left out (`{what}`)"),
                None => "nowhere".to_owned(),
            };
            if ways.insert((there.clone(), here)) {
                let request = served::shown(host, path);
                told.push(format!("Envoy sends {request} {there}, in Ringway {}", self.served.tells(host, path)));
            }
        }
        told
    }

    /// A cluster, and which pool stands for it.
    fn cluster(&self, target: &Rc<Target>) -> String {
        let pool = self.targets.iter().position(|other| other == target);
        let pool = pool.map(|pool| format!(" (pool {})", self.served.name(pool))).unwrap_or_default();
        format!("to cluster {}{pool}", target.cluster)
    }
}

impl Routing {
    /// Whether any of it leads to a pool.
    pub(super) fn leads_to_pool(&self) -> bool {
        self.rules().next().is_some()
    }

    /// What Ringway would decide by, if there were no other listeners.
    fn rules(&self) -> impl Iterator<Item = (PoolMatch, &Rc<Target>)> {
        let routes = self.hosts.iter().flat_map(|host| host.routes.iter().map(move |route| (host, route)));
        routes.flat_map(|(host, route)| {
            let target = match &route.action {
                Action::LeftOut(_) => None,
                Action::Pool(target) => Some(target),
            };
            let matches = target.map(|_| route.paths.matches(&host.domains)).unwrap_or_default();
            matches.into_iter().flatten().zip(target.into_iter().cycle())
        })
    }

    /// Finds the place of a domain among all: Envoy prefers a name to a longer wildcard, and that to a shorter one.
    fn by_host(&self) -> PoolMatcher {
        let domains = self.hosts.iter().flat_map(|host| &host.domains);
        let matches = domains.map(|domain| PoolMatch { host: domain.clone(), path: None });
        PoolMatcher::new(&matches.collect::<Vec<_>>())
    }

    /// The virtual host that the domain at this place is of.
    fn host(&self, domain: usize) -> Option<&VirtualHost> {
        self.hosts.iter().flat_map(|host| host.domains.iter().map(move |_| host)).nth(domain)
    }
}

impl VirtualHost {
    /// Where it sends a path; by a route with conditions of other kinds only where no other one takes it.
    fn action(&self, path: &str) -> Option<&Action> {
        let found = self.routes.iter().find(|route| route.paths.take(path));
        let found = found.or_else(|| self.routes.iter().find(|route| route.paths == Paths::Unsayable));
        found.map(|route| &route.action)
    }
}

const ONE_SET: &str = "Ringway does not look at the address that a client connects to, and takes the pools of all \
                       listeners for one set";

/// How many requests are asked for; each is looked up among the paths of a host.
const QUESTIONS_MAX: usize = 100_000;
