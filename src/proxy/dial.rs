//! How a connection to a node is opened: where its address or its name leads, if it may be there, and in TLS where its
//! pool says so.

use crate::cluster::node::NodeAddress;
use crate::proxy::error::ConnectFailure;
use crate::proxy::table::Upstream;
use socket2::SockRef;
use socket2::TcpKeepalive;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// A socket that leads to a node.
type NodeSocket = Either<TcpStream, UnixStream>;

/// A stream to a node, in TLS where its pool says so.
pub(crate) type NodeStream = Either<NodeSocket, Box<TlsStream<NodeSocket>>>;

/// The socket of a stream over TCP, where nothing is between it and HTTP.
pub(crate) fn as_tcp(stream: &NodeStream) -> Option<&TcpStream> {
    match stream {
        Either::Left(Either::Left(socket)) => Some(socket),
        Either::Left(Either::Right(_)) | Either::Right(_) => None,
    }
}

/// Whether a stream is in TLS.
pub(crate) fn is_encrypted(stream: &NodeStream) -> bool {
    matches!(stream, Either::Right(_))
}

/// The same as [`open`], within `patience`.
pub(crate) async fn open_within(node: &Upstream, patience: Duration) -> Result<NodeStream, ConnectFailure> {
    tokio::time::timeout(patience, open(node)).await.unwrap_or(Err(ConnectFailure::TimedOut))
}

/// Connects to a node, and shakes hands where it is spoken to in TLS.
pub(crate) async fn open(node: &Upstream) -> Result<NodeStream, ConnectFailure> {
    let tls = node.tls();
    let socket = open_socket(node).await?;
    match tls {
        None => Ok(Either::Left(socket)),
        // In a box, because few pools have it.
        Some(tls) => Ok(Either::Right(Box::new(Box::pin(tls.connect(&node.address, socket)).await?))),
    }
}

/// Connects to a node, if it may be where its address or its name leads. Looking a host name up is for the resolver,
/// whose first answer is waited for.
async fn open_socket(node: &Upstream) -> Result<NodeSocket, ConnectFailure> {
    let tcp = match &node.address {
        NodeAddress::Ip(address) => {
            node.gate.check(&node.address)?;
            TcpStream::connect(address).await
        }
        NodeAddress::Host { .. } => match tokio::time::timeout(FIRST_ANSWER, node.resolved.first()).await {
            Ok(addresses) => connect_to_any(&node.gate.admit(&addresses)?).await,
            Err(_) => return Err(ConnectFailure::Name),
        },
        NodeAddress::Unix(path) => {
            node.gate.check(&node.address)?;
            let stream = UnixStream::connect(path).await;
            return Ok(Either::Right(stream?));
        }
    };
    let stream = tcp?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&keepalive())?;
    Ok(Either::Left(stream))
}

/// Asks the resolver of the system; there is at least one address. The error says why there is none.
pub(crate) async fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((name, port)).await.map_err(|error| error.to_string())?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() { Err("there is no address".to_owned()) } else { Ok(addresses) }
}

/// How long a connection waits for the first answer of the resolver.
const FIRST_ANSWER: Duration = Duration::from_millis(500);

/// How soon a peer that vanished without a word is noticed on a connection where nothing need be said, such as a
/// tunnel: after a minute of silence it is probed, and what answers none of the system's 9 probes is gone.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10))
}

async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
