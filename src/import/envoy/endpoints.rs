//! The hosts of a cluster: which of them Envoy's placement has, with what it hashes for them.

use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::import::envoy::known;
use crate::import::envoy::message::Message;
use crate::import::envoy::message::Stop;
use crate::import::node_names;
use crate::placement::WEIGHT_MAX;
use std::collections::BTreeMap;

/// What a cluster says about how its hosts are to be taken.
#[derive(Clone, Copy)]
pub(super) struct Taking {
    /// `use_hostname_for_hashing`.
    pub(super) by_hostname: bool,
    /// `locality_weighted_lb_config`.
    pub(super) weighted_localities: bool,
    /// `healthy_panic_threshold`, in percent.
    pub(super) panic_below: f64,
}

/// One host.
pub(super) struct Host {
    pub(super) address: NodeAddress,
    /// `hostname`; empty where there is none.
    pub(super) hostname: String,
    /// `hash_key` in the metadata.
    hash_key: Option<String>,
    weight: u32,
    zone: Option<String>,
    health: &'static str,
    /// What Envoy hashes for the address, where that is another one.
    pub(super) hashed_address: Option<String>,
}

/// Reads an assignment: all its hosts, in their order.
pub(super) fn hosts(assignment: &mut Message<'_>, taking: Taking) -> Result<Vec<Host>, Stop> {
    let mut localities = assignment.messages("endpoints")?;
    let many = localities.len() > 1;
    let mut hosts = Vec::new();
    for locality in &mut localities {
        if locality.integer("priority", 0..=128)?.is_some_and(|priority| priority > 0) {
            return Err(locality.refuse("priority", "Ringway has no priorities: which hosts count depends on health"));
        }
        let weight = locality.integer("load_balancing_weight", 0..=u32::MAX)?;
        if taking.weighted_localities && (many || weight.is_none_or(|weight| weight == 0)) {
            return Err(locality.refuse(
                "load_balancing_weight",
                "with `locality_weighted_lb_config` a host's weight depends on those of the localities, which Ringway \
                 has no like of",
            ));
        }
        let zone = zone(locality)?;
        for mut host in locality.messages("lb_endpoints")? {
            hosts.push(read_host(&mut host, zone.clone())?);
            host.finish(&known::HOST);
        }
    }
    localities.into_iter().for_each(|locality| locality.finish(&known::LOCALITY));
    Ok(hosts)
}

/// The nodes that these hosts are.
pub(super) fn nodes(cluster: &Message<'_>, mut hosts: Vec<Host>, taking: Taking) -> Result<Vec<Node>, Stop> {
    if hosts.is_empty() {
        return Err(cluster.refuse("load_assignment", "the cluster has no endpoints"));
    }
    reduce_weights(cluster, &mut hosts)?;
    leave_ill_ones_out(cluster, &mut hosts, taking)?;
    let addresses: Vec<String> = hosts.iter().map(|host| host.address.to_string()).collect();
    let shown = hosts.iter().zip(&addresses).map(|(host, address)| match host.hostname.as_str() {
        "" => address.as_str(),
        hostname => hostname,
    });
    let names = node_names(shown);
    let nodes = hosts.iter().zip(names).map(|(host, name)| {
        let placement_id = host.placement_id(taking).map_err(|why| cluster.refuse("load_assignment", why))?;
        let (address, weight, zone) = (host.address.clone(), host.weight, host.zone.clone());
        Ok(Node { name, address, weight, zone, placement_id, draining: false })
    });
    nodes.collect()
}

/// The address of a listener or a host; the error is a sentence.
pub(super) fn address(address: &mut Message<'_>) -> Result<Result<String, String>, Stop> {
    if let Some(mut pipe) = address.message("pipe")? {
        return Ok(Ok(format!("unix:{}", pipe.text("path")?.unwrap_or_default())));
    }
    let Some(mut socket) = address.message("socket_address")? else {
        return Ok(Err("only `socket_address` and `pipe` have a like in Ringway".to_owned()));
    };
    let host = socket.text("address")?.unwrap_or_default();
    let Some(port) = socket.integer("port_value", 0..=65_535)? else {
        return Ok(Err("an address needs a `port_value`".to_owned()));
    };
    socket.finish(&known::SOCKET_ADDRESS);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Ok(if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{host}:{port}") }))
}

impl Host {
    /// Takes the name in the address for the hostname, where there is none.
    pub(super) fn name_by_address(&mut self) {
        if let (NodeAddress::Host { name, .. }, true) = (&self.address, self.hostname.is_empty()) {
            self.hostname.clone_from(name);
        }
    }

    /// What Envoy hashes, where that is not the address; the error is a sentence.
    fn placement_id(&self, taking: Taking) -> Result<Option<String>, String> {
        if self.hash_key.is_some() {
            return Ok(self.hash_key.clone());
        }
        match taking.by_hostname {
            true if self.hostname.is_empty() => Err(format!(
                "the host {} has no `hostname` to hash, so that Envoy takes it for the same as all others without one",
                self.address
            )),
            true => Ok(Some(self.hostname.clone())),
            false => Ok(self.hashed_address.clone()),
        }
    }

    /// Whether Envoy has it on the ring while enough others are.
    fn is_well(&self) -> bool {
        matches!(self.health, "UNKNOWN" | "HEALTHY")
    }
}

fn read_host(host: &mut Message<'_>, zone: Option<String>) -> Result<Host, Stop> {
    let health = host.choice("health_status", &HEALTH)?;
    let weight = host.integer("load_balancing_weight", 1..=u32::MAX)?.unwrap_or(1);
    let hash_key = hash_key(host)?;
    let Some(mut endpoint) = host.message("endpoint")? else {
        return Err(host.refuse("endpoint", "a host that is not an `endpoint` has no like in Ringway"));
    };
    let hostname = endpoint.text("hostname")?.unwrap_or_default().to_owned();
    let Some(mut place) = endpoint.message("address")? else {
        return Err(endpoint.refuse("address", "the host has no address"));
    };
    let address = address(&mut place)?.and_then(|address| address.parse::<NodeAddress>());
    let address = address.map_err(|why| endpoint.refuse("address", why))?;
    place.finish(&known::NOTHING);
    endpoint.finish(&known::ENDPOINT);
    Ok(Host { address, hostname, hash_key, weight, zone, health, hashed_address: None })
}

/// `hash_key` of `envoy.lb`; one that is no text does not count in Envoy either.
fn hash_key(host: &mut Message<'_>) -> Result<Option<String>, Stop> {
    let Some(mut metadata) = host.message("metadata")? else {
        return Ok(None);
    };
    let Some(mut filters) = metadata.message("filter_metadata")? else {
        return Ok(None);
    };
    let Some(balancing) = filters.entry("envoy.lb") else {
        return Ok(None);
    };
    let key = balancing.message()?.entry("hash_key").and_then(|key| key.text().ok());
    Ok(key.filter(|key| !key.is_empty()).map(str::to_owned))
}

fn zone(locality: &mut Message<'_>) -> Result<Option<String>, Stop> {
    let Some(mut of) = locality.message("locality")? else {
        return Ok(None);
    };
    let parts = [of.text("zone")?, of.text("region")?];
    Ok(parts.into_iter().flatten().next().map(str::to_owned))
}

/// Only ratios count, in Envoy as in Ringway, and a fraction of whole numbers rounds as its lowest terms do.
fn reduce_weights(cluster: &Message<'_>, hosts: &mut [Host]) -> Result<(), Stop> {
    let divisor = hosts.iter().map(|host| host.weight).fold(0, greatest_common_divisor);
    if hosts.iter().all(|host| host.weight <= WEIGHT_MAX) {
        return Ok(());
    }
    hosts.iter_mut().for_each(|host| host.weight /= divisor);
    match hosts.iter().map(|host| host.weight).max() {
        Some(weight) if weight > WEIGHT_MAX => {
            let why = format!("the weights come to {weight} to one and the like, and Ringway's go up to {WEIGHT_MAX}");
            Err(cluster.refuse("load_assignment", why))
        }
        _ => Ok(()),
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Hosts that are not well are off Envoy's ring, unless there are so few others that it panics and has all.
/// (`LoadBalancerBase::recalculatePerPriorityPanic` and `isHostSetInPanic` of 1.40.)
fn leave_ill_ones_out(cluster: &Message<'_>, hosts: &mut [Host], taking: Taking) -> Result<(), Stop> {
    let of = |is: &dyn Fn(&Host) -> bool| u32::try_from(hosts.iter().filter(|host| is(host)).count());
    let count = |is: &dyn Fn(&Host) -> bool| f64::from(of(is).unwrap_or(u32::MAX));
    let (all, well, degraded) = (count(&|_| true), count(&Host::is_well), count(&|host| host.health == "DEGRADED"));
    if well == all {
        return Ok(());
    }
    if well == 0.0 && degraded > 0.0 {
        return Err(
            cluster.refuse("health_status", "no host is well and some are degraded, which Ringway has no like of")
        );
    }
    if 100.0 * (well + degraded) / all < taking.panic_below.min(PANIC_NEVER_FROM) {
        let why = "so few hosts are well that Envoy takes all of them, and so they are written";
        cluster.leave_out("health_status", why);
        return Ok(());
    }
    let mut ill = BTreeMap::<&str, Vec<String>>::new();
    for host in hosts.iter_mut().filter(|host| !host.is_well()) {
        ill.entry(host.health).or_default().push(host.address.to_string());
        host.weight = 0;
    }
    for (health, addresses) in ill {
        let why = format!(
            "Envoy gives {} no keys, so the weight is 0; `ringway node weight` gives them their share again",
            addresses.join(", ")
        );
        cluster.leave_out(&format!("health_status: {health}"), why);
    }
    Ok(())
}

/// As numbered by `envoy.config.core.v3.HealthStatus`.
const HEALTH: [&str; 6] = ["UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED"];

/// With so many percent of the hosts well there is no panic: Envoy multiplies by its overprovisioning factor, 1.4.
const PANIC_NEVER_FROM: f64 = 100.0 / 1.4;
