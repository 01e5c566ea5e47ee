//! Clusters: how they balance, over which hosts.

use crate::cluster::membership::Membership;
use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::import::Place;
use crate::import::envoy::endpoints;
use crate::import::envoy::endpoints::Host;
use crate::import::envoy::endpoints::Taking;
use crate::import::envoy::hash_policy;
use crate::import::envoy::hash_policy::HashPolicies;
use crate::import::envoy::known;
use crate::import::envoy::message::Message;
use crate::import::envoy::message::Stop;
use crate::placement::PlacementSettings;
use crate::placement::dialect::settings::EnvoyHash;
use crate::placement::dialect::settings::EnvoyMaglev;
use crate::placement::dialect::settings::EnvoyRingHash;
use crate::placement::dialect::settings::RING_SIZE_MAX;
use crate::placement::dialect::settings::TABLE_SIZE_MAX;
use std::collections::BTreeMap;
use std::time::Duration;

/// A cluster that hashes.
pub(super) struct Cluster {
    pub(super) place: Place,
    pub(super) placement: PlacementSettings,
    pub(super) nodes: Vec<Node>,
    pub(super) connect_timeout: Duration,
    /// Those of the cluster, which count in place of the routes'.
    pub(super) policies: Option<HashPolicies>,
}

/// What a balancing policy says.
struct Balancing {
    placement: PlacementSettings,
    taking: Taking,
    policies: Option<HashPolicies>,
}

/// Assignments by the name of their cluster, or of its service.
pub(super) type Assignments<'a> = BTreeMap<&'a str, Message<'a>>;

/// Reads a cluster, with what a dump says about its endpoints; what is no placement, or cannot be had exactly, is left
/// out.
pub(super) fn read<'a>(mut cluster: Message<'a>, dumped: &Assignments<'a>) -> Result<Cluster, Stop> {
    let balancing = read_balancing(&mut cluster)?;
    if let Some(mut subsets) = cluster.message("lb_subset_config")?
        && !subsets.list("subset_selectors")?.is_empty()
    {
        return Err(cluster.refuse(
            "lb_subset_config",
            "every subset has a ring of its own, chosen by the route; make each a cluster",
        ));
    }
    let hosts = read_hosts(&mut cluster, dumped, balancing.taking)?;
    let nodes = endpoints::nodes(&cluster, hosts, balancing.taking)?;
    if let Err(refused) = Membership::with_nodes(balancing.placement, nodes.clone()) {
        return Err(cluster.refuse("load_assignment", refused.to_string()));
    }
    let connect_timeout = cluster.duration("connect_timeout")?.unwrap_or(CONNECT_TIMEOUT_DEFAULT);
    let place = cluster.place();
    cluster.finish(&known::CLUSTER);
    Ok(Cluster { place, placement: balancing.placement, nodes, connect_timeout, policies: balancing.policies })
}

fn read_balancing(cluster: &mut Message<'_>) -> Result<Balancing, Stop> {
    let common = cluster.message("common_lb_config")?;
    if let Some(policy) = cluster.message("load_balancing_policy")? {
        if let Some(common) = common {
            common.finish(&known::COMMON_BALANCING);
        }
        return read_typed(cluster, policy);
    }
    let mut balancing = Balancing::of(match cluster.choice("lb_policy", &LB_POLICIES)? {
        "MAGLEV" => {
            let mut config = cluster.message("maglev_lb_config")?;
            maglev(config.as_mut())?
        }
        "RING_HASH" => {
            let mut config = cluster.message("ring_hash_lb_config")?;
            ring_hash(config.as_mut(), &HASH_FUNCTIONS)?
        }
        other => return Err(cluster.refuse("lb_policy", format!("{other} places no keys"))),
    });
    if let Some(mut common) = common {
        if let Some(mut threshold) = common.message("healthy_panic_threshold")? {
            balancing.taking.panic_below = threshold.field("value")?.map_or(Ok(0.0), |value| value.number())?;
            common.leave_out("healthy_panic_threshold", known::PANIC);
        }
        balancing.read_common(&mut common)?;
        common.finish(&known::COMMON_BALANCING);
    }
    Ok(balancing)
}

/// A `load_balancing_policy`, of which Envoy takes the first that it has.
fn read_typed(cluster: &Message<'_>, mut policy: Message<'_>) -> Result<Balancing, Stop> {
    let mut policies = policy.messages("policies")?.into_iter();
    let nothing = || cluster.refuse("load_balancing_policy", "it has no policy that places keys");
    let extension = policies.next().map(|mut first| first.message("typed_extension_config"));
    let mut extension = extension.transpose()?.flatten().ok_or_else(nothing)?;
    let mut config = extension.message("typed_config")?.ok_or_else(nothing)?;
    let placement = match config.type_name()? {
        "Maglev" => maglev(Some(&mut config))?,
        "RingHash" => ring_hash(Some(&mut config), &TYPED_HASH_FUNCTIONS)?,
        other => return Err(config.refuse("@type", format!("{other} places no keys"))),
    };
    let mut balancing = Balancing::of(placement);
    balancing.read_consistent(&mut config)?;
    balancing.read_common(&mut config)?;
    config.finish(&known::CONSISTENT);
    for other in policies {
        let why = "Envoy takes the first policy, and those behind it where it does not know that one";
        other.leave_out("typed_extension_config", why);
    }
    Ok(balancing)
}

fn ring_hash(config: Option<&mut Message<'_>>, functions: &[&'static str]) -> Result<PlacementSettings, Stop> {
    let mut settings = EnvoyRingHash::default();
    if let Some(config) = config {
        let sizes = 0..=RING_SIZE_MAX;
        settings.minimum_size = config.integer("minimum_ring_size", sizes.clone())?.unwrap_or(settings.minimum_size);
        settings.maximum_size = config.integer("maximum_ring_size", sizes)?.unwrap_or(settings.maximum_size);
        if config.choice("hash_function", functions)? == "MURMUR_HASH_2" {
            settings.hash = EnvoyHash::Murmur2;
        }
    }
    Ok(PlacementSettings::EnvoyRingHash(settings))
}

fn maglev(config: Option<&mut Message<'_>>) -> Result<PlacementSettings, Stop> {
    let mut settings = EnvoyMaglev::default();
    if let Some(config) = config {
        settings.table_size = config.integer("table_size", 1..=TABLE_SIZE_MAX)?.unwrap_or(settings.table_size);
    }
    Ok(PlacementSettings::EnvoyMaglev(settings))
}

impl Balancing {
    fn of(placement: PlacementSettings) -> Balancing {
        let taking = Taking { by_hostname: false, weighted_localities: false, panic_below: PANIC_BELOW_DEFAULT };
        Balancing { placement, taking, policies: None }
    }

    /// What `common_lb_config` and typed policies have both.
    fn read_common(&mut self, config: &mut Message<'_>) -> Result<(), Stop> {
        self.taking.weighted_localities = config.message("locality_weighted_lb_config")?.is_some();
        if let Some(mut consistent) = config.message("consistent_hashing_lb_config")? {
            self.read_consistent(&mut consistent)?;
            let policies = consistent.messages("hash_policy")?;
            if !policies.is_empty() {
                self.policies = Some(hash_policy::read(policies)?);
            }
            consistent.finish(&known::CONSISTENT);
        }
        Ok(())
    }

    fn read_consistent(&mut self, config: &mut Message<'_>) -> Result<(), Stop> {
        self.taking.by_hostname |= config.flag("use_hostname_for_hashing")?;
        Ok(())
    }
}

/// The hosts that Envoy knows, by the way it finds them.
fn read_hosts<'a>(cluster: &mut Message<'a>, dumped: &Assignments<'a>, taking: Taking) -> Result<Vec<Host>, Stop> {
    if cluster.message("cluster_type")?.is_some() {
        return Err(cluster.refuse("cluster_type", "how such a cluster finds its hosts is not known here"));
    }
    let discovery = cluster.choice("type", &DISCOVERY_TYPES)?;
    if discovery == "ORIGINAL_DST" {
        return Err(cluster.refuse("type", "a host that the client chose is not placed"));
    }
    let mut dumped = of_cluster(cluster, dumped)?;
    let mut written = cluster.message("load_assignment")?;
    let mut assigned = match (discovery, &mut written) {
        ("EDS", _) => {
            let unknown =
                || cluster.refuse("type", format!("its endpoints come by EDS and are not here; {DUMP_HAS_THEM}"));
            return dumped_hosts(&mut dumped.ok_or_else(unknown)?, taking);
        }
        (_, None) => return Err(cluster.refuse("load_assignment", "the cluster has no endpoints")),
        (_, Some(assignment)) => endpoints::hosts(assignment, taking)?,
    };
    if let Some(assignment) = written {
        assignment.finish(&known::LOAD_ASSIGNMENT);
    }
    let names = assigned.iter().any(|host| matches!(host.address, NodeAddress::Host { .. }));
    match discovery {
        "STATIC" if names => {
            Err(cluster.refuse("load_assignment", "a host of a static cluster has an address that is a name"))
        }
        "STRICT_DNS" if names => match &mut dumped {
            Some(dumped) => Ok(resolved(cluster, &assigned, dumped_hosts(dumped, taking)?)),
            None if taking.by_hostname => {
                let why = "each name is taken for one address; Envoy knows as many hosts as it has addresses, of which \
                           only one gets keys";
                cluster.leave_out("type", why);
                assigned.iter_mut().for_each(Host::name_by_address);
                Ok(assigned)
            }
            None => Err(cluster
                .refuse("type", format!("Envoy hashes what names resolve to, which is not here; {DUMP_HAS_THEM}"))),
        },
        _ => Ok(assigned),
    }
}

/// What a dump says about the endpoints of a cluster.
fn of_cluster<'a>(cluster: &mut Message<'a>, dumped: &Assignments<'a>) -> Result<Option<Message<'a>>, Stop> {
    let service = match cluster.message("eds_cluster_config")? {
        Some(mut config) => config.text("service_name")?,
        None => None,
    };
    let names = [service, cluster.text("name")?];
    Ok(names.into_iter().flatten().find_map(|name| dumped.get(name)).cloned())
}

fn dumped_hosts(assignment: &mut Message<'_>, taking: Taking) -> Result<Vec<Host>, Stop> {
    let hosts = endpoints::hosts(assignment, taking)?;
    assignment.clone().finish(&known::DUMPED_ASSIGNMENT);
    Ok(hosts)
}

/// The hosts that names resolved to when a dump was made. A name that led to one address is kept, so that Ringway
/// follows it, with that address to hash.
fn resolved(cluster: &Message<'_>, written: &[Host], mut resolved: Vec<Host>) -> Vec<Host> {
    let place = |host: &Host| match &host.address {
        NodeAddress::Ip(address) => Some((host.hostname.clone(), address.port())),
        _ => None,
    };
    let mut found = BTreeMap::<(String, u16), usize>::new();
    resolved.iter().filter_map(place).for_each(|place| *found.entry(place).or_default() += 1);
    let mut is_fixed = false;
    for host in &mut resolved {
        let Some((hostname, port)) = place(host) else { continue };
        let named = |written: &&Host| match &written.address {
            NodeAddress::Host { name, port: written_port } => {
                let shown = if written.hostname.is_empty() { name } else { &written.hostname };
                (shown.as_str(), *written_port) == (hostname.as_str(), port)
            }
            _ => false,
        };
        let mut names = written.iter().filter(named);
        match (names.next(), names.next()) {
            (Some(only), None) if found.get(&(hostname.clone(), port)) == Some(&1) => {
                let address = std::mem::replace(&mut host.address, only.address.clone());
                host.hashed_address = Some(address.to_string());
            }
            (None, _) => {}
            _ => is_fixed = true,
        }
    }
    if is_fixed {
        let why = "names that led to several addresses are written as those; Ringway does not follow such a name: \
                   `ringway apply address` gives a node another address, which moves no key";
        cluster.leave_out("type", why);
    }
    resolved
}

/// What Envoy has where nothing is said.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// As numbered by `envoy.config.cluster.v3.Cluster.DiscoveryType`.
const DISCOVERY_TYPES: [&str; 5] = ["STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"];

const DUMP_HAS_THEM: &str =
    "`curl -s 'localhost:9901/config_dump?include_eds'`, with the port of Envoy's `admin`, has them";

/// As numbered by `envoy.config.cluster.v3.Cluster.RingHashLbConfig.HashFunction`.
const HASH_FUNCTIONS: [&str; 2] = ["XX_HASH", "MURMUR_HASH_2"];

/// As numbered by `envoy.config.cluster.v3.Cluster.LbPolicy`; 4 was one that is gone.
const LB_POLICIES: [&str; 8] = [
    "ROUND_ROBIN",
    "LEAST_REQUEST",
    "RING_HASH",
    "RANDOM",
    "",
    "MAGLEV",
    "CLUSTER_PROVIDED",
    "LOAD_BALANCING_POLICY_CONFIG",
];

/// `healthy_panic_threshold` where nothing is said, in percent.
const PANIC_BELOW_DEFAULT: f64 = 50.0;

/// As numbered by `envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash.HashFunction`.
const TYPED_HASH_FUNCTIONS: [&str; 3] = ["DEFAULT_HASH", "XX_HASH", "MURMUR_HASH_2"];
