//! What a connection goes through before it speaks HTTP, where its listener asks for that: what a load balancer says of
//! the client (PROXY protocol), then the handshake of TLS.

use crate::metrics::stats::HandshakeCounts;
use crate::metrics::stats::IntroductionCounts;
use crate::proxy::addresses::Counted;
use crate::proxy::client::ClientState;
use crate::proxy::client::Order;
use crate::proxy::client_hello;
use crate::proxy::client_hello::NoHello;
use crate::proxy::proxy_protocol;
use crate::proxy::proxy_protocol::NoHeader;
use crate::proxy::proxy_protocol::Source;
use crate::proxy::server::Arrival;
use crate::proxy::transport::Transport;
use crate::proxy::worker::Worker;
use ipnet::IpNet;
use rustls::Error;
use rustls::ServerConnection;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A connection that may speak HTTP.
pub(crate) struct Admitted {
    pub(crate) transport: Transport,
    /// Where it comes from.
    pub(crate) peer: IpAddr,
    /// Counts it for that address, where only a load balancer could say that.
    pub(crate) counted: Option<Counted>,
}

/// Lets a connection in; or says in the log and the counters why not. While a client is silent this takes no more than
/// an idle connection: what is large is in boxes, and made when it is needed.
pub(crate) async fn admit(
    worker: &Worker,
    mut arrival: Box<Arrival<TcpStream>>,
    state: &Rc<ClientState>,
) -> Option<Admitted> {
    // All of it goes by one table, like a request.
    let table = worker.table();
    let listen = &table.table.server.listen[arrival.listener];
    let mut counted = None;
    if let Some(balancers) = &listen.proxy_protocol {
        let patience = table.table.server.limits.head_timeout;
        match Box::pin(introduce(&mut arrival.stream, arrival.peer, balancers, patience)).await {
            Ok(Source::Client(address)) => (arrival.peer, counted) = (address, worker.count_client(address)?),
            Ok(Source::Balancer) => {}
            Err(stranger) => {
                let peer = arrival.peer;
                tracing::debug!(%peer, ?stranger, "a connection was closed for want of a PROXY protocol header");
                stranger.count(&worker.stats().introductions);
                return None;
            }
        }
    }
    if !listen.is_tls {
        return Some(Admitted { transport: Transport::Plain(arrival.stream), peer: arrival.peer, counted });
    }
    let (settings, tls) = (&table.table.server.tls, table.table.tls.as_ref()?);
    let counts = &worker.stats().handshakes;
    let _under_way = worker.handshakes.begin(state, settings.max_handshakes, counts);
    let deadline = Instant::now() + settings.handshake_timeout;
    let shaken = match in_time(deadline, client_hello::gather(&arrival.stream)).await {
        Ok(gathered) => {
            let accept = tls.acceptor().accept_with(arrival.stream, |session| feed(session, &gathered));
            drop(gathered);
            in_time(deadline, Box::pin(accept)).await
        }
        Err(failure) => Err(failure),
    };
    match shaken {
        Ok(stream) => {
            counts.completed.increment();
            state.encrypted();
            Some(Admitted { transport: Transport::Tls(Box::new(stream)), peer: arrival.peer, counted })
        }
        Err(failure) => {
            failure.count(counts);
            None
        }
    }
}

/// Why nobody knows who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stranger {
    /// The connection ended before that was said.
    Closed,
    /// What came is no header of the PROXY protocol.
    Malformed,
    /// Nothing came, or not all of it, for `head-timeout`.
    Timeout,
    /// It is not one of the load balancers that connect.
    Untrusted,
}

impl Stranger {
    fn count(self, counts: &IntroductionCounts) {
        let counter = match self {
            Stranger::Closed => &counts.closed,
            Stranger::Malformed => &counts.malformed,
            Stranger::Timeout => &counts.timeout,
            Stranger::Untrusted => &counts.untrusted,
        };
        counter.increment();
    }
}

/// Hears from a load balancer who the client is.
async fn introduce(
    stream: &mut TcpStream,
    peer: IpAddr,
    balancers: &[IpNet],
    patience: Duration,
) -> Result<Source, Stranger> {
    if !balancers.iter().any(|network| network.contains(&peer.to_canonical())) {
        return Err(Stranger::Untrusted);
    }
    match tokio::time::timeout(patience, proxy_protocol::read(stream)).await {
        Ok(read) => read.map_err(|error| match error {
            NoHeader::Malformed => Stranger::Malformed,
            NoHeader::Io(_) => Stranger::Closed,
        }),
        Err(_) => Err(Stranger::Timeout),
    }
}

/// What comes of a part of the handshake, unless that takes longer than until `deadline`.
async fn in_time<T, E>(deadline: Instant, part: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
where
    E: Display,
    Failure: From<E>,
{
    let done = tokio::time::timeout_at(deadline, part).await.map_err(|_| Failure::Timeout)?;
    done.map_err(|error| {
        tracing::debug!(%error, "a TLS handshake failed");
        Failure::from(error)
    })
}

/// Tells a session what has come so far. What it refuses of that, it refuses again when it has read more.
fn feed(session: &mut ServerConnection, mut gathered: &[u8]) {
    while !gathered.is_empty() && matches!(session.read_tls(&mut gathered), Ok(1..)) {
        if session.process_new_packets().is_err() {
            return;
        }
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The client broke it off with an alert, such as for want of trust in the certificate.
    Alert,
    /// The client has shown no certificate, or one that is not accepted.
    Certificate,
    /// The client left.
    Closed,
    /// What the client sent is no TLS, or none that is spoken here.
    Protocol,
    /// It took longer than `handshake-timeout`.
    Timeout,
}

impl From<NoHello> for Failure {
    fn from(none: NoHello) -> Failure {
        match none {
            NoHello::Alert => Failure::Alert,
            NoHello::Io(_) => Failure::Closed,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.get_ref().and_then(<dyn error::Error + Send + Sync>::downcast_ref::<Error>) {
            Some(Error::AlertReceived(_)) => Failure::Alert,
            Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => Failure::Certificate,
            Some(_) => Failure::Protocol,
            None if error.kind() == ErrorKind::InvalidData => Failure::Protocol,
            None => Failure::Closed,
        }
    }
}

impl Failure {
    fn count(self, counts: &HandshakeCounts) {
        let counter = match self {
            Failure::Alert => &counts.alert,
            Failure::Certificate => &counts.certificate,
            Failure::Closed => &counts.closed,
            Failure::Protocol => &counts.protocol,
            Failure::Timeout => &counts.timeout,
        };
        counter.increment();
    }
}

/// The handshakes under way at one worker. When there are as many as may be, the oldest makes room: those of honest
/// clients last milliseconds, so that it is one that somebody stalls.
#[derive(Default)]
pub(crate) struct Handshakes {
    begun: Cell<u64>,
    under_way: RefCell<BTreeMap<u64, Rc<ClientState>>>,
}

impl Handshakes {
    fn begin(&self, client: &Rc<ClientState>, max: usize, counts: &HandshakeCounts) -> UnderWay<'_> {
        let number = self.begun.get();
        self.begun.set(number + 1);
        let mut under_way = self.under_way.borrow_mut();
        while under_way.len() >= max
            && let Some((_, oldest)) = under_way.pop_first()
        {
            counts.crowded.increment();
            oldest.order(Order::Abort);
        }
        under_way.insert(number, Rc::clone(client));
        UnderWay { handshakes: self, number }
    }
}

/// One of them, until it is dropped.
struct UnderWay<'a> {
    handshakes: &'a Handshakes,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.handshakes.under_way.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_handshake_makes_room_and_those_that_ended_are_not_in_the_way() {
        let (handshakes, counts) = (Handshakes::default(), HandshakeCounts::default());
        let clients: Vec<_> = (0..4).map(|_| ClientState::new()).collect();
        let oldest = handshakes.begin(&clients[0], 2, &counts);
        drop(handshakes.begin(&clients[1], 2, &counts));
        let _second = handshakes.begin(&clients[2], 2, &counts);
        assert_eq!(counts.crowded.get(), 0);
        let _third = handshakes.begin(&clients[3], 2, &counts);
        drop(oldest);
        assert_eq!(counts.crowded.get(), 1);
        assert_eq!(handshakes.under_way.borrow().len(), 2);
    }

    #[test]
    fn a_failure_is_told_by_what_the_client_did() {
        let told = |error| Failure::from(io::Error::new(ErrorKind::InvalidData, error));
        assert_eq!(told(Error::NoCertificatesPresented), Failure::Certificate);
        assert_eq!(told(Error::AlertReceived(rustls::AlertDescription::UnknownCA)), Failure::Alert);
        assert_eq!(told(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)), Failure::Protocol);
        assert_eq!(Failure::from(io::Error::from(ErrorKind::UnexpectedEof)), Failure::Closed);
    }
}
