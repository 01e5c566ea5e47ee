//! Which addresses nodes may have: those of `allowed-node-networks`, and never Ringway's own or one that is no node's.
//!
//! Who may write memberships could otherwise make Ringway send requests to places that only its machine can reach, such
//! as the metadata of a cloud at 169.254.169.254 (server-side request forgery, CWE-918), or back to itself.

use crate::cluster::membership::Change;
use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::cluster::refusal::Reason;
use crate::cluster::refusal::Refused;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

/// One entry of `allowed-node-networks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Addresses of IPv4 or IPv6; IPv6-mapped IPv4 counts as the IPv4 that it is.
    Ip(IpNet),
    /// Every Unix socket.
    Unix,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(written: &str) -> Result<Network, String> {
        match written {
            "unix" => Ok(Network::Unix),
            written => parse_network(written).map(Network::Ip).map_err(|error| format!("{error}, or \"unix\"")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Network::Ip(network) => network.fmt(out),
            Network::Unix => out.write_str("unix"),
        }
    }
}

/// Reads `10.0.0.0/8`, or one address alone. The error says what to write.
pub fn parse_network(written: &str) -> Result<IpNet, String> {
    let network = written.parse::<IpNet>().ok();
    network
        .or_else(|| written.parse::<IpAddr>().ok().map(IpNet::from))
        .ok_or_else(|| format!("`{written}` is not a network; write it such as \"10.0.0.0/8\" or \"10.0.0.1\""))
}

/// What only a machine knows of addresses.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Whether an address is one of this machine.
    pub has: fn(IpAddr) -> bool,
    /// Whether two absolute paths lead to one socket.
    pub is_one_socket: fn(&Path, &Path) -> bool,
}

impl Machine {
    /// One that is not known, such as the one that will serve a file that is checked here: loopback addresses are its
    /// own, and a socket has one path.
    pub const UNKNOWN: Machine = Machine { has: |ip| ip.is_loopback(), is_one_socket: |one, other| one == other };
}

/// Decides which addresses nodes may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// `None`: all but those that are link-local.
    allowed: Option<Vec<Network>>,
    /// Where this process listens.
    own: Vec<NodeAddress>,
}

impl Networks {
    /// The rules of `allowed-node-networks`, where it is set, for a process that listens on `own` addresses; those with
    /// port 0, which are not bound yet, are nobody's.
    pub fn new(allowed: Option<Vec<Network>>, own: Vec<NodeAddress>) -> Networks {
        Networks { allowed, own }
    }

    /// Whether a node may have this address. A host name may be any: where it leads is judged when that is known.
    ///
    /// # Errors
    /// The rule against it, and what to write instead.
    pub fn check(&self, address: &NodeAddress, machine: Machine) -> Result<(), Forbidden> {
        let rule = match address {
            NodeAddress::Host { .. } => None,
            NodeAddress::Ip(ip) => self.rule_against(*ip, machine),
            NodeAddress::Unix(path) if self.is_own_socket(path, machine) => Some(Rule::Own),
            NodeAddress::Unix(_) => match &self.allowed {
                Some(allowed) if !allowed.contains(&Network::Unix) => Some(Rule::NoUnix),
                _ => None,
            },
        };
        rule.map_or(Ok(()), |rule| Err(Forbidden { address: address.to_string(), rule }))
    }

    /// Whether nodes may have the addresses that changes give them.
    ///
    /// # Errors
    /// The first that may not be.
    pub fn check_changes(&self, changes: &[Change], machine: Machine) -> Result<(), Refused> {
        for (index, change) in changes.iter().enumerate() {
            let (name, address) = match change {
                Change::Add(Node { name, address, .. }) | Change::Address { name, address } => (name, address),
                _ => continue,
            };
            self.check(address, machine).map_err(|why| {
                let reason = Reason::ForbiddenAddress { name: name.clone(), why };
                Refused { index: Some(index), reason }
            })?;
        }
        Ok(())
    }

    /// Whether a path leads to a socket of this process, whose operator would then be whoever sends a request.
    fn is_own_socket(&self, path: &Path, machine: Machine) -> bool {
        let is = |own: &NodeAddress| matches!(own, NodeAddress::Unix(own) if (machine.is_one_socket)(own, path));
        self.own.iter().any(is)
    }

    fn rule_against(&self, address: SocketAddr, machine: Machine) -> Option<Rule> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let ip = address.ip();
        if let Some(rule) = rule_against_any(ip) {
            return Some(rule);
        }
        if self.own.iter().any(|own| is_own(own, address, machine)) {
            return Some(Rule::Own);
        }
        match &self.allowed {
            None => is_link_local(ip).then_some(Rule::LinkLocal),
            Some(allowed) => {
                let holds = |network: &Network| matches!(network, Network::Ip(network) if network.contains(&ip));
                (!allowed.iter().any(holds)).then_some(Rule::Outside)
            }
        }
    }
}

/// The address of a node that it may not have, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} {rule}")]
pub struct Forbidden {
    address: String,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Rule {
    #[error("is the broadcast address and no node's; give the address of the node")]
    Broadcast,
    #[error(
        "is link-local, where clouds keep their metadata; if nodes are there, name their network in \
             `allowed-node-networks`"
    )]
    LinkLocal,
    #[error("is the address of a multicast group and no node's; give the address of the node")]
    Multicast,
    #[error("is a Unix socket, which `allowed-node-networks` does not name; add \"unix\" there")]
    NoUnix,
    #[error("is in none of `allowed-node-networks`; add its network there, or give another address")]
    Outside,
    #[error("is where Ringway itself listens, so that requests would go in circles; give the address of the node")]
    Own,
    #[error("is unspecified and no node's; give the address of the node")]
    Unspecified,
}

/// What no list allows, because nothing that could be a node is there.
fn rule_against_any(ip: IpAddr) -> Option<Rule> {
    match ip {
        // All of 0.0.0.0/8 is "this host on this network" (RFC 1122 section 3.2.1.3).
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some(Rule::Unspecified),
        IpAddr::V4(v4) if v4.is_broadcast() => Some(Rule::Broadcast),
        ip if ip.is_unspecified() => Some(Rule::Unspecified),
        ip if ip.is_multicast() => Some(Rule::Multicast),
        _ => None,
    }
}

/// 169.254.0.0/16 (RFC 3927) and fe80::/10 (RFC 4291 section 2.5.6).
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether a connection to `address` would arrive at the listener `own`. One on `0.0.0.0` takes those to every IPv4
/// address of the machine, one on `::` those to every address.
fn is_own(own: &NodeAddress, address: SocketAddr, machine: Machine) -> bool {
    let NodeAddress::Ip(own) = own else { return false };
    let listens = own.ip().to_canonical();
    let takes_family = listens.is_ipv6() || address.is_ipv4();
    own.port() == address.port()
        && (listens == address.ip() || (listens.is_unspecified() && takes_family && (machine.has)(address.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use std::net::Ipv6Addr;

    /// It has the addresses 10.0.0.5 and 2001:db8::5, and its /var/run is /run.
    const MACHINE: Machine = Machine {
        has: |ip| ip.is_loopback() || ip == Ipv4Addr::new(10, 0, 0, 5) || ip.to_string() == "2001:db8::5",
        is_one_socket: |one, other| one == other || other.strip_prefix("/var").is_ok_and(|rest| one.ends_with(rest)),
    };

    fn networks(allowed: Option<&[&str]>, own: &[&str]) -> Networks {
        let allowed = allowed.map(|list| list.iter().map(|network| network.parse().unwrap()).collect());
        Networks::new(allowed, own.iter().map(|own| own.parse().unwrap()).collect())
    }

    fn verdict(networks: &Networks, address: &str) -> Result<(), String> {
        let address = address.parse().unwrap_or_else(|why| panic!("{why}"));
        networks.check(&address, MACHINE).map_err(|forbidden| forbidden.to_string())
    }

    /// Holds verdicts against the word that each refusal must have; an empty one is none.
    fn check(networks: &Networks, verdicts: &[(&str, &str)]) {
        for (address, word) in verdicts {
            let found = verdict(networks, address);
            match word.is_empty() {
                true => assert_eq!(found, Ok(()), "{address}"),
                false => assert!(found.as_ref().is_err_and(|why| why.contains(word)), "{address}: {found:?}"),
            }
        }
    }

    #[test]
    fn without_a_list_all_is_allowed_but_what_is_link_local_or_no_node() {
        check(
            &networks(None, &[]),
            &[
                ("10.0.0.1:80", ""),
                ("127.0.0.1:3000", ""),
                ("[::1]:3000", ""),
                ("[2001:db8::1]:80", ""),
                ("8.8.8.8:80", ""),
                ("app.internal:80", ""),
                ("unix:/run/app.sock", ""),
                ("169.254.169.254:80", "link-local"),
                ("169.254.0.1:8080", "link-local"),
                ("[fe80::1]:80", "link-local"),
                ("[febf::1]:80", "link-local"),
                ("0.0.0.0:80", "unspecified"),
                ("0.1.2.3:80", "unspecified"),
                ("[::]:80", "unspecified"),
                ("224.0.0.1:80", "multicast"),
                ("239.255.255.255:80", "multicast"),
                ("[ff02::1]:80", "multicast"),
                ("255.255.255.255:80", "broadcast"),
                ("[::ffff:169.254.169.254]:80", "link-local"),
                ("[::ffff:a9fe:a9fe]:80", "link-local"),
                ("[::ffff:0.0.0.0]:80", "unspecified"),
                ("[::ffff:224.0.0.1]:80", "multicast"),
                ("[::ffff:255.255.255.255]:80", "broadcast"),
                ("[::ffff:10.0.0.1]:80", ""),
            ],
        );
    }

    #[test]
    fn a_list_allows_what_it_names_and_nothing_else() {
        check(
            &networks(Some(&["10.1.0.0/16", "169.254.7.0/24", "2001:db8::/32", "192.0.2.1"]), &[]),
            &[
                ("10.1.2.3:80", ""),
                ("[::ffff:10.1.2.3]:80", ""),
                ("169.254.7.1:80", ""),
                ("[2001:db8::9]:80", ""),
                ("192.0.2.1:80", ""),
                ("anywhere.example:80", ""),
                ("10.2.0.1:80", "none of `allowed-node-networks`"),
                ("192.0.2.2:80", "none of `allowed-node-networks`"),
                ("127.0.0.1:80", "none of `allowed-node-networks`"),
                ("169.254.169.254:80", "none of `allowed-node-networks`"),
                ("unix:/run/app.sock", "add \"unix\""),
            ],
        );
        check(&networks(Some(&["unix"]), &[]), &[("unix:/run/app.sock", ""), ("10.0.0.1:80", "none of")]);
        let everything = networks(Some(&["0.0.0.0/0", "::/0"]), &["127.0.0.1:9080"]);
        check(
            &everything,
            &[
                ("169.254.169.254:80", ""),
                ("0.0.0.0:80", "unspecified"),
                ("255.255.255.255:80", "broadcast"),
                ("[ff02::1]:80", "multicast"),
                ("127.0.0.1:9080", "itself listens"),
            ],
        );
    }

    #[test]
    fn nodes_are_never_where_ringway_listens() {
        check(
            &networks(None, &["127.0.0.1:9080", "[::1]:7000", "unix:/run/ringway.sock"]),
            &[
                ("127.0.0.1:9080", "itself listens"),
                ("[::ffff:127.0.0.1]:9080", "itself listens"),
                ("127.0.0.1:9081", ""),
                ("127.0.0.2:9080", ""),
                ("10.0.0.5:9080", ""),
                ("[::1]:7000", "itself listens"),
                ("unix:/run/ringway.sock", "itself listens"),
                ("unix:/run/ringway.sock2", ""),
                ("unix:/var/run/ringway.sock", "itself listens"),
            ],
        );
        check(
            &networks(None, &["0.0.0.0:8080"]),
            &[
                ("10.0.0.5:8080", "itself listens"),
                ("127.0.0.1:8080", "itself listens"),
                ("[::ffff:10.0.0.5]:8080", "itself listens"),
                ("10.0.0.6:8080", ""),
                ("10.0.0.5:8081", ""),
                ("[::1]:8080", ""),
                ("[2001:db8::5]:8080", ""),
            ],
        );
        check(
            &networks(None, &["[::]:8080"]),
            &[
                ("10.0.0.5:8080", "itself listens"),
                ("[2001:db8::5]:8080", "itself listens"),
                ("[2001:db8::6]:8080", ""),
            ],
        );
    }

    #[test]
    fn a_refused_change_is_pointed_at() {
        let changes = [
            r#"{"add":{"name":"a","address":"10.0.0.1:80"}}"#,
            r#"{"weight":{"name":"a","weight":2}}"#,
            r#"{"address":{"name":"a","address":"169.254.169.254:80"}}"#,
        ];
        let changes = changes.map(|change| serde_json::from_str::<Change>(change).unwrap());
        let refused = networks(None, &[]).check_changes(&changes, MACHINE).unwrap_err();
        assert_eq!((refused.index, refused.field(), refused.is_unsafe()), (Some(2), Some("address"), false));
        assert!(refused.to_string().starts_with("node `a` may not be there: 169.254.169.254:80 is link-local"));
    }

    #[test]
    fn a_network_has_one_text_and_what_is_none_is_explained() {
        for text in ["10.0.0.0/8", "2001:db8::/32", "unix"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for text in ["10.0.0.0/33", "example.com", "", "unix:/run/a"] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.contains("is not a network") && error.contains("\"unix\""), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn mapped_addresses_are_judged_as_what_they_map(
            bits: u32, port in 1u16.., allowed: Option<(u32, u8)>, own_port in 1u16..,
        ) {
            let list = allowed.map(|(bits, length)| {
                vec![Network::Ip(IpNet::new(Ipv4Addr::from(bits).into(), length % 33).unwrap())]
            });
            let own = NodeAddress::Ip(SocketAddr::from((Ipv4Addr::UNSPECIFIED, own_port)));
            let networks = Networks::new(list, vec![own]);
            let plain = Ipv4Addr::from(bits);
            let rule = |ip: IpAddr| networks.rule_against(SocketAddr::new(ip, port), MACHINE);
            prop_assert_eq!(rule(plain.into()), rule(plain.to_ipv6_mapped().into()));
        }

        #[test]
        fn a_list_never_allows_what_it_does_not_hold(bits: u128, length in 0u8..=128, other: u128) {
            let network = IpNet::new(Ipv6Addr::from(bits).into(), length).unwrap();
            let ip = IpAddr::from(Ipv6Addr::from(other)).to_canonical();
            let networks = Networks::new(Some(vec![Network::Ip(network)]), Vec::new());
            let rule = networks.rule_against(SocketAddr::new(ip, 80), MACHINE);
            prop_assert!(rule.is_some() || network.contains(&ip), "{} of {}", ip, network);
        }
    }
}
