//! A raw TCP relay: one thread, one epoll, no knowledge of HTTP. What it costs is the floor beneath every proxy.
//!
//! `relay --listen 127.0.0.1:8080 --backend 127.0.0.1:3000`

mod pair;

use mio::Events;
use mio::Interest;
use mio::Poll;
use mio::Token;
use mio::event::Event;
use mio::net::TcpListener;
use mio::net::TcpStream;
use pair::End;
use pair::Pair;
use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Bytes read at once. Every connection uses the same buffer, one after the other.
const BUFFER_BYTES: usize = 64 * 1024;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;

const LISTENER: Token = Token(usize::MAX);

const USAGE: &str = "usage: relay --listen IP:PORT --backend IP:PORT";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = parse(&arguments).and_then(|(listen, backend)| {
        let relay = Relay::bind(listen, backend).map_err(|error| format!("relay: {listen}: {error}"))?;
        relay.run().map_err(|error| format!("relay: {error}"))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The two addresses of the command line: where clients connect, and where their bytes go.
fn parse(arguments: &[String]) -> Result<(SocketAddr, SocketAddr), String> {
    let [listen_flag, listen, backend_flag, backend] = arguments else {
        return Err(USAGE.to_owned());
    };
    if listen_flag != "--listen" || backend_flag != "--backend" {
        return Err(USAGE.to_owned());
    }
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|error| format!("relay: {text}: {error}\n{USAGE}"));
    Ok((address(listen)?, address(backend)?))
}

/// The listener and all connections. The two ends of pair `i` have the tokens `2 i` and `2 i + 1`.
struct Relay {
    backend: SocketAddr,
    buffer: Box<[u8]>,
    free: Vec<usize>,
    listener: TcpListener,
    pairs: Vec<Option<Pair>>,
    poll: Poll,
}

impl Relay {
    fn bind(listen: SocketAddr, backend: SocketAddr) -> io::Result<Relay> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(listen)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Ok(Relay { backend, buffer, free: Vec::new(), listener, pairs: Vec::new(), poll })
    }

    /// Relays until the process is killed; returns only when the kernel refuses to report events.
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_all(),
                    token => self.serve(token.0, event),
                }
            }
        }
    }

    /// Accepts until nobody waits any more, for the listener reports only news.
    fn accept_all(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((client, _)) => self.open(client).unwrap_or_else(|error| eprintln!("relay: {error}")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return eprintln!("relay: accept: {error}"),
            }
        }
    }

    /// Connects to the backend for a new client.
    fn open(&mut self, client: TcpStream) -> io::Result<()> {
        let backend = TcpStream::connect(self.backend)?;
        client.set_nodelay(true)?;
        backend.set_nodelay(true)?;
        let mut pair = Pair::new(client, backend);
        let index = self.free.pop().unwrap_or(self.pairs.len());
        pair.register(self.poll.registry(), Token(2 * index), Token(2 * index + 1))?;
        if index == self.pairs.len() {
            self.pairs.push(None);
        }
        self.pairs[index] = Some(pair);
        Ok(())
    }

    /// Moves the bytes that an event announces. An event of a pair that has just ended is of no interest.
    fn serve(&mut self, token: usize, event: &Event) {
        let index = token / 2;
        let end = if token.is_multiple_of(2) { End::Client } else { End::Backend };
        let Some(pair) = self.pairs.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if pair.serve(end, event, &mut self.buffer).is_err() || pair.is_over() {
            self.pairs[index] = None;
            self.free.push(index);
        }
    }
}
