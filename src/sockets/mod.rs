//! Listening sockets: bound here, or passed in by the service manager or by the process before this one.
//!
//! A socket that is passed in is the same to the kernel in both processes, with the connections that wait in its
//! backlog, so that none is lost when the one stops and the other begins to accept.

pub mod address;
pub mod unix;

use crate::sockets::address::ListenAddress;
use listenfd::ListenFd;
use rustix::net::sockopt;
use serde::Deserialize;
use serde::Serialize;
use socket2::Domain;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Connections that may wait to be accepted, per listening socket.
const LISTEN_BACKLOG: i32 = 4096;

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `listen`: clients.
    Http,
    /// `[admin] listen`: operators.
    Admin,
    /// `[metrics] listen`: Prometheus alone.
    Metrics,
}

impl Role {
    /// The name that a socket unit gives it with `FileDescriptorName=`; sockets for clients need none.
    fn name(self) -> Option<&'static str> {
        match self {
            Role::Http => None,
            Role::Admin => Some("admin"),
            Role::Metrics => Some("metrics"),
        }
    }
}

/// Who passed a socket in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Giver {
    /// The service manager, by the protocol of sd_listen_fds(3).
    Manager {
        /// `FileDescriptorName=`, or what systemd says instead.
        name: String,
    },
    /// The process that this one takes over from.
    Predecessor(Label),
}

/// What a process says of a socket that it hands over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Label {
    /// What it is for.
    pub role: Role,
    /// Its address as the config had it, such as `127.0.0.1:0`.
    pub configured: String,
    /// Whether the process that listens has to remove its file in the end.
    #[serde(default)]
    pub owns_file: bool,
}

/// A listening socket that was passed in.
#[derive(Debug)]
pub struct Passed {
    /// The socket.
    pub socket: OwnedFd,
    /// Where it listens.
    pub address: ListenAddress,
    /// Who passed it in.
    pub giver: Giver,
}

impl Passed {
    /// A socket with the address that it says it has.
    ///
    /// # Errors
    /// When it is no listening stream socket.
    pub fn new(socket: OwnedFd, giver: Giver) -> Result<Passed, SocketError> {
        match listening_address(&socket) {
            Some(address) => Ok(Passed { socket, address, giver }),
            None => Err(SocketError::NotListening { what: giver.to_string() }),
        }
    }

    /// Whether its file is to be removed by the process that listens.
    pub fn owns_file(&self) -> bool {
        matches!(&self.giver, Giver::Predecessor(label) if label.owns_file)
    }
}

impl fmt::Display for Giver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Giver::Manager { name } => write!(formatter, "`{name}` of the service manager"),
            Giver::Predecessor(label) => write!(formatter, "{} of the process before this one", label.configured),
        }
    }
}

/// What is wrong with a socket, for people.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address, as it was configured.
        address: SocketAddr,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// What was passed in cannot be used.
    #[error("the socket {what} is not one that listens for streams; pass sockets with `ListenStream=` only")]
    NotListening {
        /// Which one.
        what: String,
    },
    /// A socket of the service manager that the config has no use for.
    #[error(
        "the service manager passed the socket `{name}` on {address}, and nothing in the config listens there; add \
         the address to `listen`, name the socket `admin` or `metrics`, or take it out of the socket unit"
    )]
    Unclaimed {
        /// Its `FileDescriptorName=`.
        name: String,
        /// Where it listens.
        address: ListenAddress,
    },
}

/// All sockets that were passed in and not yet claimed.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Passed>);

impl Inherited {
    /// What the service manager passed, if anything: `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` of
    /// sd_listen_fds(3). May be called once in a process.
    ///
    /// # Errors
    /// When something else than listening sockets was passed.
    pub fn from_service_manager() -> Result<Inherited, SocketError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut given = ListenFd::from_env();
        let passed = (0..given.len()).map(|index| {
            let name = names.next().unwrap_or("unknown").to_owned();
            let tcp = given.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
            let socket = tcp.or_else(|| given.take_unix_listener(index).ok().flatten().map(OwnedFd::from));
            let giver = Giver::Manager { name };
            let socket = socket.ok_or_else(|| SocketError::NotListening { what: giver.to_string() })?;
            Passed::new(socket, giver)
        });
        passed.collect::<Result<_, _>>().map(Inherited)
    }

    /// Adds what the process before this one handed over.
    pub fn extend(&mut self, passed: impl IntoIterator<Item = Passed>) {
        self.0.extend(passed);
    }

    /// Takes out the socket that suits an address of the config best, if one does.
    pub fn claim(&mut self, role: Role, configured: &ListenAddress) -> Option<Passed> {
        let suits = |passed: &Passed| suits(&passed.giver, &passed.address, role, configured);
        let best = (0..self.0.len()).filter(|index| suits(&self.0[*index]).is_some());
        let best = best.max_by_key(|index| suits(&self.0[*index]))?;
        let claimed = self.0.swap_remove(best);
        if matches!(claimed.giver, Giver::Predecessor(_)) {
            // Were there the same socket from the service manager, this would be it once more.
            self.0.retain(|passed| matches!(passed.giver, Giver::Predecessor(_)) || suits(passed).is_none());
        }
        Some(claimed)
    }

    /// Closes what nothing has claimed.
    ///
    /// # Errors
    /// When one of them is of the service manager: it would take connections that nobody accepts.
    pub fn close_rest(self) -> Result<(), SocketError> {
        self.0.into_iter().try_for_each(|Passed { address, giver, .. }| match giver {
            Giver::Manager { name } => Err(SocketError::Unclaimed { name, address }),
            Giver::Predecessor(label) => {
                tracing::info!(address = %label.configured, "no longer configured, so no longer listened on");
                Ok(())
            }
        })
    }
}

/// Listens on `address` for clients, on the socket that was passed in for it or on a new one.
///
/// # Errors
/// When the operating system refuses.
pub fn bind(address: &SocketAddr, inherited: &mut Inherited) -> Result<TcpListener, SocketError> {
    let mut bound = || match inherited.claim(Role::Http, &ListenAddress::Tcp(*address)) {
        Some(passed) => {
            let listener = TcpListener::from(passed.socket);
            listener.set_nonblocking(true)?;
            Ok(listener)
        }
        None => bind_new(address),
    };
    bound().map_err(|source| SocketError::Bind { address: *address, source })
}

fn bind_new(address: &SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&(*address).into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// How well a socket suits an address of the config, more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Suits {
    /// It listens on every address of both families, and so on every one of IPv4, which is what is asked for.
    BothFamilies,
    Address,
    Name,
    /// It did the same in the process before this one.
    SameUse,
}

fn suits(giver: &Giver, address: &ListenAddress, role: Role, configured: &ListenAddress) -> Option<Suits> {
    let is_kind = role != Role::Http || matches!(address, ListenAddress::Tcp(_));
    let by_address = match is_kind {
        true if address == configured => Some(Suits::Address),
        true if covers(address, configured) => Some(Suits::BothFamilies),
        _ => None,
    };
    match giver {
        Giver::Predecessor(label) if label.role != role => None,
        Giver::Predecessor(label) if label.configured == configured.to_string() => Some(Suits::SameUse),
        Giver::Predecessor(_) => by_address,
        Giver::Manager { name } => match NAMED.into_iter().find(|named| named.name() == Some(name)) {
            Some(named) => (named == role).then_some(Suits::Name),
            None => by_address,
        },
    }
}

/// The roles that a name of a socket stands for.
const NAMED: [Role; 2] = [Role::Admin, Role::Metrics];

/// Whether `address` is every address of both families, as `ListenStream=8080` of systemd is, and `configured` every
/// one of IPv4 at the same port.
fn covers(address: &ListenAddress, configured: &ListenAddress) -> bool {
    match (address, configured) {
        (ListenAddress::Tcp(SocketAddr::V6(whole)), ListenAddress::Tcp(SocketAddr::V4(part))) => {
            whole.ip().is_unspecified() && part.ip().is_unspecified() && whole.port() == part.port()
        }
        _ => false,
    }
}

/// Where a socket listens; `None` when it is not a listening stream socket with an address.
fn listening_address(socket: &OwnedFd) -> Option<ListenAddress> {
    let is_listening = sockopt::socket_acceptconn(socket).unwrap_or(false);
    let is_stream = SockRef::from(socket).r#type().is_ok_and(|found| found == Type::STREAM);
    if !is_listening || !is_stream {
        return None;
    }
    let address = SockRef::from(socket).local_addr().ok()?;
    let path = || address.as_pathname().map(|path| ListenAddress::Unix(PathBuf::from(path)));
    address.as_socket().map(ListenAddress::Tcp).or_else(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(written: &str) -> ListenAddress {
        written.parse().unwrap()
    }

    fn manager(name: &str) -> Giver {
        Giver::Manager { name: name.to_owned() }
    }

    fn predecessor(role: Role, configured: &str) -> Giver {
        Giver::Predecessor(Label { role, configured: configured.to_owned(), owns_file: false })
    }

    fn passed(giver: Giver) -> Passed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Passed::new(listener.into(), giver).unwrap()
    }

    #[test]
    fn a_socket_suits_by_address_by_name_or_by_what_it_did_before() {
        let any = "unknown";
        for (giver, at, role, configured, expected) in [
            (manager(any), "10.0.0.1:80", Role::Http, "10.0.0.1:80", Some(Suits::Address)),
            (manager(any), "10.0.0.1:80", Role::Http, "10.0.0.1:81", None),
            (manager(any), "[::]:80", Role::Http, "0.0.0.0:80", Some(Suits::BothFamilies)),
            (manager(any), "[::]:80", Role::Http, "10.0.0.1:80", None),
            (manager(any), "0.0.0.0:80", Role::Http, "10.0.0.1:80", None),
            (manager(any), "127.0.0.1:9080", Role::Admin, "127.0.0.1:9080", Some(Suits::Address)),
            (manager(any), "unix:/run/a", Role::Admin, "unix:/run/a", Some(Suits::Address)),
            (manager("admin"), "unix:/run/a", Role::Admin, "127.0.0.1:9080", Some(Suits::Name)),
            (manager("admin"), "10.0.0.1:80", Role::Http, "10.0.0.1:80", None),
            (manager("metrics"), "10.0.0.1:80", Role::Admin, "10.0.0.1:80", None),
            (manager("metrics"), "10.0.0.1:80", Role::Metrics, "10.0.0.1:90", Some(Suits::Name)),
            (predecessor(Role::Http, "127.0.0.1:0"), "127.0.0.1:4711", Role::Http, "127.0.0.1:0", Some(Suits::SameUse)),
            (predecessor(Role::Http, "127.0.0.1:0"), "127.0.0.1:4711", Role::Admin, "127.0.0.1:0", None),
            (predecessor(Role::Http, "127.0.0.1:0"), "10.0.0.1:80", Role::Http, "10.0.0.1:80", Some(Suits::Address)),
        ] {
            let found = suits(&giver, &address(at), role, &address(configured));
            assert_eq!(found, expected, "{giver} at {at} for {role:?} {configured}");
        }
    }

    #[test]
    fn two_sockets_of_any_port_go_to_the_two_that_ask_for_one() {
        let both = [Role::Http, Role::Http].map(|role| passed(predecessor(role, "127.0.0.1:0")));
        let mut inherited = Inherited(both.into());
        let any = address("127.0.0.1:0");
        assert_ne!(
            inherited.claim(Role::Http, &any).unwrap().address,
            inherited.claim(Role::Http, &any).unwrap().address
        );
        assert!(inherited.claim(Role::Http, &any).is_none());
    }

    #[test]
    fn a_socket_of_the_manager_that_nothing_claims_is_an_error_that_names_it() {
        let inherited = Inherited(vec![passed(manager("web"))]);
        let at = inherited.0[0].address.to_string();
        let why = inherited.close_rest().unwrap_err().to_string();
        assert!(why.contains("`web`") && why.contains(&at), "{why}");
    }

    #[test]
    fn a_socket_that_came_from_both_is_claimed_once() {
        let from_manager = passed(manager("unknown"));
        let at = from_manager.address.clone();
        let label = Label { role: Role::Http, configured: at.to_string(), owns_file: false };
        let socket = from_manager.socket.try_clone().unwrap();
        let from_predecessor = Passed::new(socket, Giver::Predecessor(label)).unwrap();
        let mut inherited = Inherited(vec![from_manager, from_predecessor]);
        let claimed = inherited.claim(Role::Http, &at).unwrap();
        assert!(matches!(claimed.giver, Giver::Predecessor(_)), "{claimed:?}");
        inherited.close_rest().unwrap();
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let why = Passed::new(datagrams.into(), manager("dns")).unwrap_err().to_string();
        assert!(why.contains("`dns`"), "{why}");
    }
}
