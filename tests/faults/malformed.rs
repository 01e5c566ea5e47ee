//! Ten thousand clients whose bodies are malformed or end early: not one of them is a node's fault.

use crate::backend::Idle;
use crate::backend::NUMBER;
use crate::harness::client::Client;
use crate::harness::story::Story;
use crate::load::PATIENCE;
use crate::node::Node;
use crate::node::Program;
use crate::proxy::Proxy;
use crate::run::fresh_directory;
use crate::watch::by_node;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Its name on the command line.
pub(crate) const NAME: &str = "malformed-bodies";

/// Sends them all; returns a line to show, or the promises broken.
pub(crate) fn run(story: &Story) -> Result<String, Vec<String>> {
    let directory = fresh_directory(story, NAME);
    let nodes = Node::start_all(3, Program::Own(Idle::Kept), &directory);
    let running = Proxy::Ringway.start(story, &directory, &nodes, "on-down = \"spill\"");
    let senders: Vec<_> = (0..SENDERS).map(|first| thread::spawn(move || send_all(first, running.http))).collect();
    let mut answers = BTreeMap::<String, usize>::new();
    for answer in senders.into_iter().flat_map(|sender| sender.join().unwrap()) {
        *answers.entry(answer).or_default() += 1;
    }

    let mut broken = Vec::new();
    let mut operator = Client::new(running.admin.expect("Ringway has an admin API"));
    for metric in ["ringway_node_falls_total", "ringway_node_failures_total"] {
        for (node, count) in by_node(&mut operator, metric).into_iter().filter(|(_, count)| *count != 0.0) {
            broken.push(format!("{NAME}: {metric} of node {node} is {count}"));
        }
    }
    let received: usize = nodes.iter().map(|node| node.journal().len()).sum();
    if received > 0 {
        broken.push(format!("{NAME}: {received} broken bodies looked whole to nodes"));
    }
    let counts: Vec<String> = answers.iter().map(|(answer, count)| format!("{count}x {answer}")).collect();
    let counts = counts.join(", ");
    if answers.keys().any(|answer| !answer.starts_with("400") && answer != NO_ANSWER) {
        broken.push(format!("{NAME}: answers were {counts}"));
    }
    if broken.is_empty() { Ok(format!("{BODIES} malformed bodies, 0 falls; answers: {counts}")) } else { Err(broken) }
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    /// A chunk whose size is no number.
    ChunkSize,
    /// A chunk that is longer than its size.
    ChunkEnd,
    /// The client ends the stream inside a chunk.
    EndInChunk,
    /// The client ends the stream before the length it has declared.
    EndInLength,
    /// The client resets the connection before that length.
    Reset,
}

impl Flaw {
    const ALL: [Flaw; 5] = [Flaw::ChunkSize, Flaw::ChunkEnd, Flaw::EndInChunk, Flaw::EndInLength, Flaw::Reset];

    fn field_and_body(self) -> (&'static str, &'static str) {
        match self {
            Flaw::ChunkSize => ("transfer-encoding: chunked", "5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n"),
            Flaw::ChunkEnd => ("transfer-encoding: chunked", "5\r\nhelloAB\r\n0\r\n\r\n"),
            Flaw::EndInChunk => ("transfer-encoding: chunked", "5\r\nhello\r\n20\r\nhal"),
            Flaw::EndInLength | Flaw::Reset => ("content-length: 100", "hello"),
        }
    }
}

/// Sends every `SENDERS`th body from `first` on; returns what each was answered.
fn send_all(first: usize, to: SocketAddr) -> Vec<String> {
    let answer = |number: usize| {
        let flaw = Flaw::ALL[number % Flaw::ALL.len()];
        send(number, flaw, to).unwrap_or_else(|error| panic!("request {number}, {flaw:?}: {error}"))
    };
    (first..BODIES).step_by(SENDERS).map(answer).collect()
}

/// Sends one; returns the status and the error type of `Proxy-Status`.
fn send(number: usize, flaw: Flaw, to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (field, body) = flaw.field_and_body();
    write!(stream, "POST /k/key-{number} HTTP/1.1\r\nhost: lab\r\n{NUMBER}: {number}\r\n{field}\r\n\r\n{body}")?;
    match flaw {
        Flaw::ChunkSize | Flaw::ChunkEnd => (),
        Flaw::EndInChunk | Flaw::EndInLength => stream.shutdown(Shutdown::Write)?,
        Flaw::Reset => {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            return Ok(NO_ANSWER.to_owned());
        }
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // The proxy closes without reading the rest, which the system tells as a reset.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (),
        read => drop(read?),
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or(NO_ANSWER);
    let reason = answer.split("error=").nth(1).and_then(|rest| rest.split([';', '\r']).next());
    Ok([Some(status), reason].into_iter().flatten().collect::<Vec<_>>().join(" "))
}

const NO_ANSWER: &str = "none";

const BODIES: usize = 10_000;

const SENDERS: usize = 8;
