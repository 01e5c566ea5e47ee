//! The node of the suite: it answers as the row says, and remembers every byte that it got.

use crate::suite::client::PATIENCE;
use crate::suite::message::Message;
use crate::suite::row::Replies;
use crate::suite::row::Reply;
use crate::suite::row::Then;
use crate::suite::row::When;
use crate::suite::row::bytes;
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::Read;
use std::io::Write;
use std::mem;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// A node that any proxy can be put before.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the node has got in one row.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Each request, whole or not, in the order in which they began.
    pub(crate) requests: Vec<Message>,
    /// Bytes that are no request, from connections that brought some.
    pub(crate) rest: Vec<Vec<u8>>,
    /// Whether a connection was left open in the middle of a request.
    pub(crate) is_hanging: bool,
}

/// The targets of the requests that the suite adds to each row.
pub(crate) const AFTER: &str = "/after";
pub(crate) const NEXT: &str = "/next";

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    replies: Replies,
    first: VecDeque<Reply>,
    /// Whether the client of the row has had its response.
    is_released: bool,
    /// Connections that still have something to write.
    owing: usize,
    connections: Vec<Connection>,
    requests: Vec<Message>,
}

/// One connection, and where it is.
#[derive(Default)]
struct Connection {
    peer: Option<SocketAddr>,
    /// Until it is over.
    stream: Option<TcpStream>,
    /// What came of the request of the moment.
    bytes: Vec<u8>,
    /// Where that is among all requests, once it has a head.
    request: Option<usize>,
    is_answered: bool,
    is_over: bool,
}

impl Node {
    /// Listens on this port, or on any for 0.
    pub(crate) fn start(port: u16) -> Node {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                let shared = Arc::clone(&all);
                let number = shared.open(&stream, peer);
                thread::spawn(move || shared.serve(number, stream));
            }
        });
        Node { address, shared }
    }

    /// Begins a row, and forgets the one before.
    pub(crate) fn begin(&self, replies: &Replies) {
        let mut state = self.shared.state();
        state.first = replies.first.clone().into();
        state.replies = replies.clone();
        state.is_released = false;
        state.requests.clear();
        for connection in &mut state.connections {
            connection.bytes.clear();
            (connection.request, connection.is_answered) = (None, false);
        }
    }

    /// Lets connections go on that wait for the client to have its response; returns once they have written the rest.
    pub(crate) fn release(&self) {
        let mut state = self.shared.state();
        state.is_released = true;
        self.shared.changed.notify_all();
        drop(self.shared.changed.wait_timeout_while(state, PATIENCE, |state| state.owing > 0).expect(UNPOISONED));
    }

    /// What the node has got, once no connection is in the middle of a request any more.
    pub(crate) fn seen(&self) -> Seen {
        // Connections are accepted in order: once this one has been, those before it have been too.
        let last = TcpStream::connect(self.address).and_then(|stream| stream.local_addr()).expect("the node listens");
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.state();
        while !state.is_settled(last) && Instant::now() < deadline {
            state = self.shared.changed.wait_timeout(state, LOOK_EVERY).expect(UNPOISONED).0;
        }
        let is_hanging = !state.is_settled(last);
        let rest = state.connections.iter().filter(|connection| connection.request.is_none());
        let rest = rest.map(|connection| connection.bytes.clone()).filter(|bytes| !bytes.is_empty()).collect();
        Seen { requests: mem::take(&mut state.requests), rest, is_hanging }
    }
}

impl Connection {
    /// Whether it is over, or between requests with nothing to be read.
    fn is_settled(&self) -> bool {
        let Some(stream) = &self.stream else { return true };
        let look = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let is_quiet = || SockRef::from(stream).recv_with_flags(&mut [MaybeUninit::uninit()], look).is_err();
        self.bytes.is_empty() && is_quiet()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }

    /// Remembers a connection; returns its number.
    fn open(&self, stream: &TcpStream, peer: SocketAddr) -> usize {
        stream.set_nodelay(true).expect("a fresh socket takes options");
        let mut state = self.state();
        let stream = Some(stream.try_clone().expect("a file descriptor"));
        state.connections.push(Connection { peer: Some(peer), stream, ..Connection::default() });
        state.connections.len() - 1
    }

    fn serve(&self, number: usize, mut stream: TcpStream) {
        while let Ok(1..) = stream.peek(&mut [0])
            && self.take(number, &mut stream)
        {
            self.changed.notify_all();
        }
        let mut state = self.state();
        drop(stream);
        let connection = &mut state.connections[number];
        (connection.stream, connection.is_over) = (None, true);
        self.changed.notify_all();
    }

    /// Takes what came on a connection, and answers what it completes; whether the connection goes on.
    fn take(&self, number: usize, stream: &mut TcpStream) -> bool {
        let mut piece = vec![0; 64 << 10];
        {
            // Read under the lock, so that nobody finds it neither here nor still on its way.
            let mut state = self.state();
            let Ok(length @ 1..) = stream.read(&mut piece) else { return false };
            state.connections[number].bytes.extend_from_slice(&piece[..length]);
        }
        loop {
            let (reply, is_broken) = {
                let mut state = self.state();
                let Some(message) = state.note(number) else { return true };
                let is_due = message.is_whole || message.is_broken;
                let reply = state.reply_to(number, &message);
                if is_due {
                    state.finish(number, message.length);
                }
                if reply.is_none() && !is_due {
                    return true;
                }
                (reply, message.is_broken)
            };
            let goes_on = reply.is_none_or(|reply| self.answer(&reply, stream));
            if is_broken || !goes_on {
                return false;
            }
        }
    }

    /// Writes an answer; whether the connection goes on.
    fn answer(&self, reply: &Reply, stream: &mut TcpStream) -> bool {
        let owes = !reply.late.is_empty() || reply.then == Then::Stop;
        // Before the client can have it, and so before it can be waited for.
        self.state().owing += usize::from(owes);
        let is_gone = stream.write_all(&reply.bytes).is_err();
        if owes {
            let waited = self.changed.wait_timeout_while(self.state(), PATIENCE, |state| !state.is_released);
            drop(waited.expect(UNPOISONED));
            // Where the proxy has closed the connection by now, there is nobody to read it.
            stream.write_all(&reply.late).unwrap_or_default();
            self.state().owing -= 1;
            self.changed.notify_all();
        }
        if reply.then == Then::Finish {
            stream.shutdown(Shutdown::Write).unwrap_or_default();
        }
        if reply.then == Then::Reset {
            SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).expect("an open socket");
        }
        !is_gone && matches!(reply.then, Then::Finish | Then::Keep | Then::Stop)
    }
}

impl State {
    /// Whether all connections are settled, and the one from `last` is over.
    fn is_settled(&self, last: SocketAddr) -> bool {
        let is_last_over =
            self.connections.iter().any(|connection| connection.peer == Some(last) && connection.is_over);
        is_last_over && self.connections.iter().all(Connection::is_settled)
    }

    /// Parses what came on a connection and remembers it; `None` before it has a head.
    fn note(&mut self, number: usize) -> Option<Message> {
        let connection = &mut self.connections[number];
        let message = Message::request(&connection.bytes)?;
        match connection.request {
            Some(index) => self.requests[index] = message.clone(),
            None => {
                connection.request = Some(self.requests.len());
                self.requests.push(message.clone());
            }
        }
        Some(message)
    }

    /// The answer to a request, if it is due and was not given.
    fn reply_to(&mut self, number: usize, message: &Message) -> Option<Reply> {
        if self.connections[number].is_answered {
            return None;
        }
        let is_due = message.is_whole || message.is_broken;
        let is_own = [AFTER, NEXT].contains(&message.target());
        let planned = if is_own { None } else { self.first.front().or(self.replies.always.as_ref()) };
        if !is_due && planned.is_none_or(|reply| reply.when == When::Whole) {
            return None;
        }
        let reply = planned.cloned().unwrap_or_else(|| honest(message));
        if !is_own {
            self.first.pop_front();
        }
        self.connections[number].is_answered = true;
        Some(reply)
    }

    /// The request of the moment is over.
    fn finish(&mut self, number: usize, length: usize) {
        let connection = &mut self.connections[number];
        let length = length.min(connection.bytes.len());
        connection.bytes.drain(..length);
        (connection.request, connection.is_answered) = (None, false);
    }
}

/// What a request is answered that nothing is wrong with: 200, and a body that names its target. There are no tunnels.
fn honest(request: &Message) -> Reply {
    let body = body_for(request.target());
    let status = if request.method() == "CONNECT" { "405 Method Not Allowed" } else { "200 OK" };
    let head = format!("HTTP/1.1 {status}^Content-Length: {}^^", body.len());
    let body = if request.method() == "HEAD" { "" } else { &body };
    Reply { when: When::Whole, bytes: [&bytes(head), body.as_bytes()].concat(), then: Then::Keep, late: Vec::new() }
}

/// The body of the answer to a request with this target.
pub(crate) fn body_for(target: &str) -> String {
    format!("for {target}")
}

/// What comes on a connection is told to nobody before it is read.
const LOOK_EVERY: Duration = Duration::from_millis(1);

const UNPOISONED: &str = "no thread of the node panics while it has the lock";
