//! Route configurations: which requests go to which cluster, and with which key.

use crate::import::Pool;
use crate::import::envoy::answers::Action;
use crate::import::envoy::answers::Door;
use crate::import::envoy::answers::Route;
use crate::import::envoy::answers::Routing;
use crate::import::envoy::answers::VirtualHost;
use crate::import::envoy::cluster::Cluster;
use crate::import::envoy::hash_policy;
use crate::import::envoy::hash_policy::HashPolicies;
use crate::import::envoy::hash_policy::Rewrites;
use crate::import::envoy::known;
use crate::import::envoy::listener::Manager;
use crate::import::envoy::message::Message;
use crate::import::envoy::message::Reading;
use crate::import::envoy::message::Stop;
use crate::import::envoy::route_match;
use crate::import::envoy::route_match::Taken;
use crate::import::is_host;
use crate::proxy::timeouts::TIMEOUTS;
use crate::routing::pool_match::PoolMatch;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// The clusters, and the pools that routes make of them.
pub(super) struct Pools<'a> {
    reading: &'a Reading<'a>,
    /// By name; `None` for one that is left out.
    clusters: &'a BTreeMap<&'a str, Option<Cluster>>,
    routed: BTreeSet<String>,
    /// Of the pools.
    pub(super) targets: Vec<Rc<Target>>,
    /// Routes that lead to pools, with their listeners.
    pub(super) doors: Vec<Door<'a>>,
    timeout_is_told: bool,
}

/// What holds for the routes of a virtual host.
struct Scope<'a> {
    manager: Manager,
    domains: &'a BTreeSet<Option<String>>,
    /// Headers that are added or removed around it.
    headers: &'a BTreeSet<String>,
}

/// A route's pool, but for whom it is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) cluster: String,
    policies: HashPolicies,
    host: Option<String>,
    head_timeout: Duration,
}

/// Reads a route configuration.
pub(super) fn read(mut config: Message<'_>, manager: Manager, pools: &mut Pools<'_>) -> Result<Routing, Stop> {
    let headers = changed_headers(&mut config)?;
    let mut hosts = config.messages("virtual_hosts")?;
    let many = hosts.len() > 1;
    let mut tells_ports = !manager.strips_ports;
    let mut routing = Routing::default();
    for host in &mut hosts {
        let domains = route_match::read_domains(host, &mut tells_ports)?;
        let headers = changed_headers(host)?.union(&headers).cloned().collect();
        let scope = Scope { manager, domains: &domains, headers: &headers };
        let routes = read_routes(host, &scope, pools)?;
        let takes_all = routes.iter().any(|route| route.paths.is_all());
        if many && !domains.contains(&None) && !takes_all {
            let why = "Envoy answers 404 to what none of these routes takes; Ringway looks for pools of less specific \
                       hosts then";
            host.leave_out("routes", why);
        }
        routing.hosts.push(VirtualHost { domains, routes });
    }
    hosts.into_iter().for_each(|host| host.finish(&known::VIRTUAL_HOST));
    config.finish(&known::ROUTE_CONFIG);
    Ok(routing)
}

impl<'a> Pools<'a> {
    /// No pools yet.
    pub(super) fn new(reading: &'a Reading<'a>, clusters: &'a BTreeMap<&'a str, Option<Cluster>>) -> Pools<'a> {
        let (routed, targets, doors) = (BTreeSet::new(), Vec::new(), Vec::new());
        Pools { reading, clusters, routed, targets, doors, timeout_is_told: false }
    }

    /// Whether a route leads to a cluster.
    pub(super) fn is_routed(&self, cluster: &str) -> bool {
        self.routed.contains(cluster)
    }

    /// Adds a pool for each host, unless there is the same one already, of another listener.
    fn add(&mut self, route: &Message<'_>, matches: Vec<Option<PoolMatch>>, target: &Rc<Target>) {
        let Some(Some(cluster)) = self.clusters.get(target.cluster.as_str()) else {
            return;
        };
        let mut imported = self.reading.imported.borrow_mut();
        for matches in matches {
            if imported.is_full() {
                return;
            }
            let mut others = imported.pools().iter().zip(&self.targets);
            if matches.is_some() && others.any(|(pool, other)| pool.matches == matches && other == target) {
                continue;
            }
            let pool = Pool {
                name: target.cluster.chars().take(NAME_CHARS_MAX).collect(),
                matches,
                key: target.policies.key.clone(),
                placement: cluster.placement,
                nodes: cluster.nodes.clone(),
                host: target.host.clone(),
                connect_timeout: bounded(cluster.connect_timeout),
                head_timeout: bounded(target.head_timeout),
            };
            imported.add(&route.place(), pool);
            self.targets.resize(imported.pools().len(), Rc::clone(target));
        }
    }
}

/// Reads routes in their order, of which the first that fits counts, without those that none comes to.
fn read_routes(host: &mut Message<'_>, scope: &Scope<'_>, pools: &mut Pools<'_>) -> Result<Vec<Route>, Stop> {
    if host.choice("require_tls", &TLS_REQUIREMENTS)? != "NONE" {
        host.leave_out("require_tls", "Ringway speaks no TLS and redirects nobody to it");
    }
    let mut taken = Taken::default();
    let mut routes = Vec::new();
    for mut route in host.messages("routes")? {
        let Some(mut matches) = route.message("match")? else {
            return Err(route.refuse("match", "the route matches nothing"));
        };
        let paths = route_match::read_paths(&mut matches)?;
        if taken.have(&paths) {
            route.leave_out("match", "a route before it takes all of these requests");
            continue;
        }
        let action = match read_route(&mut route, scope, pools) {
            Ok(target) => {
                let target = Rc::new(target);
                route_match::tell(matches, &paths);
                pools.add(&route, paths.matches(scope.domains), &target);
                route.finish(&known::ROUTE);
                Action::Pool(target)
            }
            Err(Stop::LeftOut(left_out)) => {
                let why = format!("{}; {ELSEWHERE}", left_out.why);
                pools.reading.imported.borrow_mut().leave_out(left_out.place, left_out.what.clone(), why);
                Action::LeftOut(left_out.what)
            }
            Err(unreadable) => return Err(unreadable),
        };
        taken.add(paths.clone());
        routes.push(Route { paths, action });
    }
    Ok(routes)
}

/// The cluster that a route leads to, and how.
fn read_route(route: &mut Message<'_>, scope: &Scope<'_>, pools: &mut Pools<'_>) -> Result<Target, Stop> {
    let mut headers = changed_headers(route)?;
    headers.extend(scope.headers.iter().cloned());
    let Some(mut action) = route.message("route")? else {
        let answers = ["redirect", "direct_response", "filter_action", "non_forwarding_action"];
        let answer = answers.into_iter().find(|name| route.field(name).is_ok_and(|field| field.is_some()));
        return Err(route.refuse(answer.unwrap_or("route"), "Ringway only forwards"));
    };
    let Some(name) = action.text("cluster")? else {
        return Err(refuse_choice(&action));
    };
    let cluster = match pools.clusters.get(name) {
        Some(Some(cluster)) => cluster,
        Some(None) => return Err(action.refuse("cluster", "this cluster is left out, see there")),
        None => return Err(action.refuse("cluster", "there is no such cluster in the file")),
    };
    pools.routed.insert(name.to_owned());
    let policies = action.messages("hash_policy")?;
    let policies = match &cluster.policies {
        Some(policies) => policies.clone(),
        None if policies.is_empty() => {
            let why = "without a `hash_policy` Envoy picks any host, so that there is nothing to place";
            return Err(action.refuse("hash_policy", why));
        }
        None => hash_policy::read(policies)?,
    };
    let host = action.text("host_rewrite_literal")?.map(str::to_owned);
    let rewrites = rewrites(&mut action, host.is_some(), headers)?;
    if let Some(header) = policies.changed_by(&rewrites) {
        let why = format!("Envoy hashes {header} as it sends it to hosts, and Ringway as it came");
        return Err(action.refuse("hash_policy", why));
    }
    if policies.takes_client_ip() && scope.manager.believes_forwarded_for {
        let why = "this Envoy takes the client's address from `X-Forwarded-For`, whoever sends it; Ringway only from \
                   proxies that `trusted-proxies` names";
        action.leave_out("hash_policy", why);
    }
    let head_timeout = head_timeout(&mut action, &mut pools.timeout_is_told)?;
    let target = Target { cluster: name.to_owned(), policies, host: checked_host(&action, host), head_timeout };
    action.finish(&known::ACTION);
    Ok(target)
}

/// A route whose cluster is not simply named.
fn refuse_choice(action: &Message<'_>) -> Stop {
    let choices = [
        ("weighted_clusters", "Ringway divides no requests between pools at random; make it one pool with weights"),
        ("cluster_header", "in Ringway the pool follows from host and path alone"),
        ("cluster_specifier_plugin", "in Ringway the pool follows from host and path alone"),
        ("inline_cluster_specifier_plugin", "in Ringway the pool follows from host and path alone"),
    ];
    let has = |name: &str| action.clone().field(name).is_ok_and(|field| field.is_some());
    match choices.into_iter().find(|(name, _)| has(name)) {
        Some((name, why)) => action.refuse(name, why),
        None => action.refuse("cluster", "the route names no cluster"),
    }
}

/// What Envoy changes before it hashes. The settings stay to be told.
fn rewrites(action: &mut Message<'_>, host: bool, headers: BTreeSet<String>) -> Result<Rewrites, Stop> {
    let mut peeked = action.clone();
    let mut has = |names: &[&str]| -> Result<bool, Stop> {
        names.iter().try_fold(false, |found, name| Ok(found | peeked.field(name)?.is_some()))
    };
    let path = has(&["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"])?;
    let host = host | has(&["host_rewrite_header", "host_rewrite_path_regex", "host_rewrite"])?;
    Ok(Rewrites { path, host, headers })
}

/// The names of the headers that requests get or lose. The settings stay to be told.
fn changed_headers(of: &mut Message<'_>) -> Result<BTreeSet<String>, Stop> {
    let mut peeked = of.clone();
    let mut names = BTreeSet::new();
    for mut added in peeked.messages("request_headers_to_add")? {
        if let Some(mut header) = added.message("header")? {
            names.extend(header.text("key")?.map(str::to_ascii_lowercase));
        }
    }
    for removed in peeked.list("request_headers_to_remove")? {
        names.insert(removed.text()?.to_ascii_lowercase());
    }
    Ok(names)
}

/// How long a response may take to begin; that Envoy's bounds its end, too, is told once.
fn head_timeout(action: &mut Message<'_>, is_told: &mut bool) -> Result<Duration, Stop> {
    let timeout = action.duration("timeout")?;
    if !std::mem::replace(is_told, true) {
        let why = "Envoy bounds a response as a whole, to 15 s where nothing is said; here and in what follows that is \
                   `timeouts.head`, which bounds its beginning, and a day where Envoy has none or a longer one";
        action.leave_out("timeout", why);
    }
    Ok(match timeout {
        Some(timeout) if timeout.is_zero() => *TIMEOUTS.end(),
        timeout => timeout.unwrap_or(TIMEOUT_DEFAULT),
    })
}

/// The Host that nodes get, if Ringway takes it.
fn checked_host(action: &Message<'_>, host: Option<String>) -> Option<String> {
    if host.as_deref().is_some_and(|host| !is_host(host)) {
        action.leave_out("host_rewrite_literal", "this is not a host to Ringway, which passes Host on as it came");
    }
    host.filter(|host| is_host(host))
}

/// A timeout as Ringway takes them.
fn bounded(timeout: Duration) -> Option<Duration> {
    Some(
        Duration::from_millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
            .clamp(*TIMEOUTS.start(), *TIMEOUTS.end()),
    )
}

const ELSEWHERE: &str = "Ringway sends these requests where else they match, or answers 404";

const NAME_CHARS_MAX: usize = 64;

/// What Envoy has where nothing is said.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

/// As numbered by `envoy.config.route.v3.VirtualHost.TlsRequirementType`.
const TLS_REQUIREMENTS: [&str; 3] = ["NONE", "EXTERNAL_ONLY", "ALL"];
