//! Whether an address may be connected to, asked again whenever that is about to happen: a name that was harmless when
//! its node was added may lead elsewhere now.

use crate::cluster::membership::Change;
use crate::cluster::membership::Refused;
use crate::cluster::networks::Forbidden;
use crate::cluster::networks::Machine;
use crate::cluster::networks::Network;
use crate::cluster::networks::Networks;
use crate::cluster::node::NodeAddress;
use arc_swap::ArcSwap;
use std::fs;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// The rules of the moment; a reload may change them.
#[derive(Debug, Default)]
pub struct NodeGate {
    /// Where this process listens.
    own: Vec<NodeAddress>,
    rules: ArcSwap<Networks>,
}

impl NodeGate {
    /// The gate of a process that listens on `own` addresses, without `allowed-node-networks` so far.
    pub fn new(own: Vec<NodeAddress>) -> NodeGate {
        NodeGate { rules: ArcSwap::from_pointee(Networks::new(None, own.clone())), own }
    }

    /// The rules of `allowed-node-networks`, which are not in force yet.
    pub fn rules_of(&self, allowed: Option<&[Network]>) -> Networks {
        Networks::new(allowed.map(<[Network]>::to_vec), self.own.clone())
    }

    /// Puts other rules in force.
    pub fn set(&self, rules: Networks) {
        self.rules.store(Arc::new(rules));
    }

    /// Whether a node may have this address.
    ///
    /// # Errors
    /// The rule against it.
    pub fn check(&self, address: &NodeAddress) -> Result<(), Forbidden> {
        check(&self.rules.load(), address)
    }

    /// Whether nodes may have the addresses that changes give them.
    ///
    /// # Errors
    /// The first that may not be.
    pub fn check_changes(&self, changes: &[Change]) -> Result<(), Refused> {
        self.rules.load().check_changes(changes, MACHINE)
    }

    /// Those of the addresses a name leads to that may be connected to, in their order.
    ///
    /// # Errors
    /// There is none; why not the last.
    pub fn admit(&self, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, Forbidden> {
        let (mut admitted, mut last) = (Vec::with_capacity(addresses.len()), None);
        for address in addresses {
            match self.check(&NodeAddress::Ip(*address)) {
                Ok(()) => admitted.push(*address),
                Err(forbidden) => last = Some(forbidden),
            }
        }
        match last.filter(|_| admitted.is_empty()) {
            Some(forbidden) => Err(forbidden),
            None => Ok(admitted),
        }
    }
}

/// As [`NodeGate::check`], by rules that need not be in force.
///
/// # Errors
/// The rule against the address.
pub fn check(rules: &Networks, address: &NodeAddress) -> Result<(), Forbidden> {
    rules.check(address, MACHINE)
}

/// This machine.
const MACHINE: Machine = Machine { has: is_here, is_one_socket };

/// Whether an address is one of this machine: then the system would give a connection to it that address at both ends.
/// Connecting a UDP socket only looks for the way and sends nothing.
fn is_here(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, DISCARD))?;
        socket.local_addr()
    };
    ip.is_loopback() || source().is_ok_and(|source| source.ip() == ip)
}

/// Whether two paths lead to one socket, by whatever links; or will, where nothing is there yet.
fn is_one_socket(path: &Path, other: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let place = |path: &Path| Some((fs::canonicalize(path.parent()?).ok()?, path.file_name()?.to_owned()));
    match (file(path), file(other)) {
        (Ok(file), Ok(other)) => file == other,
        _ => path == other || place(path).is_some_and(|here| place(other) == Some(here)),
    }
}

/// A port that is only looked up; 0 is refused by some systems.
const DISCARD: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn this_machine_knows_its_own_addresses() {
        assert!(is_here(Ipv4Addr::LOCALHOST.into()));
        assert!(is_here(Ipv4Addr::new(127, 9, 9, 9).into()));
        // TEST-NET-3 (RFC 5737), which is for documentation only.
        assert!(!is_here(Ipv4Addr::new(203, 0, 113, 1).into()));
    }

    #[test]
    fn a_link_to_a_socket_of_this_process_is_no_node() {
        let folder = std::env::temp_dir().join(format!("ringway-gate-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [own, link, other] = ["own.sock", "link.sock", "other.sock"].map(|name| folder.join(name));
        let sockets = [&own, &other].map(|path| UnixListener::bind(path).unwrap());
        symlink(&own, &link).unwrap();
        let gate = NodeGate::new(vec![NodeAddress::Unix(own.clone())]);
        for path in [&own, &link, &folder.join("../").join(folder.file_name().unwrap()).join("own.sock")] {
            let refused = gate.check(&NodeAddress::Unix(path.clone())).map_err(|why| why.to_string());
            assert!(refused.as_ref().is_err_and(|why| why.contains("itself listens")), "{path:?}: {refused:?}");
        }
        assert_eq!(gate.check(&NodeAddress::Unix(other)), Ok(()));
        drop(sockets);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn one_socket_has_many_paths() {
        let folder = std::env::temp_dir().join(format!("ringway-socket-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner")).unwrap();
        let [socket, other] = ["a.sock", "b.sock"].map(|name| folder.join(name));
        let sockets = [&socket, &other].map(|path| UnixListener::bind(path).unwrap());
        symlink(&socket, folder.join("link")).unwrap();
        symlink(&folder, folder.join("inner/folder")).unwrap();
        fs::hard_link(&socket, folder.join("inner/hard")).unwrap();
        for path in ["a.sock", "./a.sock", "inner/../a.sock", "link", "inner/folder/a.sock", "inner/hard"] {
            assert!(is_one_socket(&socket, &folder.join(path)), "{path}");
            assert!(!is_one_socket(&other, &folder.join(path)), "{path}");
        }
        drop(sockets);
        fs::remove_file(&socket).unwrap();
        assert!(is_one_socket(&socket, &folder.join("inner/folder/a.sock")), "where one will be");
        assert!(!is_one_socket(&socket, &folder.join("c.sock")));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn of_the_addresses_of_a_name_the_harmless_ones_are_left() {
        let gate = NodeGate::new(vec!["0.0.0.0:80".parse().unwrap()]);
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = addresses(&["169.254.169.254:80", "203.0.113.1:80", "127.0.0.1:80", "203.0.113.2:80"]);
        assert_eq!(gate.admit(&mixed), Ok(addresses(&["203.0.113.1:80", "203.0.113.2:80"])));
        let refused = gate.admit(&addresses(&["169.254.169.254:80", "127.0.0.1:80"])).unwrap_err();
        assert!(refused.to_string().starts_with("127.0.0.1:80 is where Ringway itself listens"), "{refused}");
    }
}
