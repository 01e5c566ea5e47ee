//! Nodes that do as the story says, and remember what they were asked.

use crate::harness::wire::Message;
use crate::harness::wire::Wire;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

/// A node; it ends with its value.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    /// As the config names it.
    pub(crate) address: String,
    seen: Arc<Seen>,
    task: Option<JoinHandle<()>>,
    /// What keeps the port taken and the backlog full.
    held: Vec<Box<dyn Send>>,
}

/// What a node has seen.
#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    ended: AtomicUsize,
    requests: Mutex<Vec<Message>>,
}

impl Node {
    /// Follows `script` on every connection.
    pub(crate) async fn script<F>(name: &'static str, script: impl Fn(Wire) -> F + Send + Sync + 'static) -> Node
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        Node::serve(name, address, Either::Left(listener), |_| script)
    }

    /// Answers every request with 200, its own name in `x-node` and the request's body.
    pub(crate) async fn echo(name: &'static str) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        Node::serve(name, address, Either::Left(listener), |seen| move |wire| echo(name, wire, Arc::clone(&seen)))
    }

    /// As [`Node::echo`], in TLS.
    pub(crate) async fn echo_in(name: &'static str, tls: TlsAcceptor) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        Node::serve(name, address, Either::Left(listener), |seen| {
            move |wire| echo_encrypted(name, wire, tls.clone(), Arc::clone(&seen))
        })
    }

    /// As [`Node::echo`], on a Unix socket.
    pub(crate) fn echo_on(name: &'static str, path: &Path) -> Node {
        let listener = UnixListener::bind(path).expect("a free path");
        let address = format!("unix:{}", path.display());
        Node::serve(name, address, Either::Right(listener), |seen| move |wire| echo(name, wire, Arc::clone(&seen)))
    }

    /// A node that is served by somebody else.
    #[allow(dead_code, reason = "the nodes of tests/wire are its own")]
    pub(crate) fn elsewhere(name: &'static str, address: SocketAddr) -> Node {
        Node { name, address: address.to_string(), seen: Arc::default(), task: None, held: Vec::new() }
    }

    /// Refuses every connection until it is made to [`Node::rise`].
    pub(crate) fn refusing(name: &'static str) -> Node {
        Node::unheard(name, None)
    }

    /// Another node at the address of one that refused so far, which answers as [`Node::echo`] does.
    pub(crate) async fn rise(self) -> Node {
        let address: SocketAddr = self.address.parse().expect("an address");
        let name = self.name;
        drop(self);
        let listener = TcpListener::bind(address).await.expect("a port that was just given up");
        Node::serve(name, address.to_string(), Either::Left(listener), |seen| {
            move |wire| echo(name, wire, Arc::clone(&seen))
        })
    }

    /// Neither accepts nor refuses: its backlog is full, so the system drops what asks to connect.
    pub(crate) async fn deaf(name: &'static str) -> Node {
        let mut node = Node::unheard(name, Some(0));
        let address: SocketAddr = node.address.parse().expect("an address");
        while let Ok(filler) = tokio::time::timeout(PROBE, TcpStream::connect(address)).await {
            node.held.push(Box::new(filler.expect("a listening socket")));
        }
        node
    }

    fn unheard(name: &'static str, backlog: Option<i32>) -> Node {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a free port");
        if let Some(backlog) = backlog {
            socket.listen(backlog).expect("a bound socket");
        }
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket");
        Node { name, address: address.to_string(), seen: Arc::default(), task: None, held: vec![Box::new(socket)] }
    }

    fn serve<S, F>(
        name: &'static str,
        address: String,
        listener: Either<TcpListener, UnixListener>,
        script: impl FnOnce(Arc<Seen>) -> S,
    ) -> Node
    where
        S: Fn(Wire) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let seen = Arc::new(Seen::default());
        let script = script(Arc::clone(&seen));
        let counts = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let stream = match &listener {
                    Either::Left(tcp) => tcp.accept().await.map(|(stream, _)| Either::Left(stream)),
                    Either::Right(unix) => unix.accept().await.map(|(stream, _)| Either::Right(stream)),
                };
                counts.accepted.fetch_add(1, SeqCst);
                let run = script(Wire::new(stream.expect("a listening socket accepts")));
                let counts = Arc::clone(&counts);
                tokio::spawn(async move {
                    run.await;
                    counts.ended.fetch_add(1, SeqCst);
                });
            }
        });
        Node { name, address, seen, task: Some(task), held: Vec::new() }
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.seen.accepted.load(SeqCst)
    }

    /// Connections whose script has ended.
    pub(crate) fn ended(&self) -> usize {
        self.seen.ended.load(SeqCst)
    }

    /// The requests an echo node has answered.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.seen.requests.lock().expect("no test panics in here").clone()
    }

    /// The only request an echo node was asked.
    pub(crate) fn request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Longer than connecting on one machine takes, shorter than the second after which a SYN is sent again.
const PROBE: Duration = Duration::from_millis(100);

async fn echo_encrypted(name: &'static str, wire: Wire, tls: TlsAcceptor, seen: Arc<Seen>) {
    if let Ok(stream) = tls.accept(wire.into_tcp()).await {
        echo(name, Wire::encrypted(stream), seen).await;
    }
}

async fn echo(name: &'static str, mut wire: Wire, seen: Arc<Seen>) {
    while let Some(request) = wire.try_request().await {
        let head = format!("HTTP/1.1 200 OK\r\nX-Node: {name}\r\nContent-Length: {}\r\n\r\n", request.body.len());
        let has_body = request.head.method() != "HEAD";
        let body = if has_body { request.body.clone() } else { Vec::new() };
        seen.requests.lock().expect("no test panics in here").push(request);
        wire.write([head.as_bytes(), &body].concat()).await;
    }
}
