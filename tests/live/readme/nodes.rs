//! The nodes that the pages name, each at the address that they give it.

use crate::harness::process::Process;
use crate::harness::story::Story;
use crate::readme;
use crate::readme::document;
use crate::readme::stage;
use std::env;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Command;
use std::thread;

/// What the process is that plays the nodes.
pub(crate) const PART: &str = "nodes";

/// Starts them in the network of the nodes, and waits until they listen.
pub(crate) fn start(story: &Story) -> Process {
    let mut command = Command::new("nsenter");
    command.arg("--net=/run/netns/nodes").arg(env::current_exe().unwrap()).args(stage::ITSELF);
    let mut process = Process::start(command.env(readme::PART, PART), story.path("nodes.log"));
    process.wait_for_log(READY);
    process
}

/// Listens at every address of a node in any page, until it is killed.
pub(crate) fn serve() {
    let text: String = document::pages().into_iter().map(|page| page.text).collect();
    let listeners: Vec<TcpListener> = document::node_addresses(&text)
        .iter()
        .map(|address| TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}")))
        .collect();
    eprintln!("{READY}");
    let accept = |listener: TcpListener| thread::spawn(move || listener.incoming().flatten().for_each(answer));
    let threads: Vec<_> = listeners.into_iter().map(accept).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A connection has a thread.
fn answer(stream: TcpStream) {
    // Whoever is there closes connections as they like.
    thread::spawn(move || drop(answer_all(&stream)));
}

/// Answers request after request: an upgrade with a tunnel that takes whatever comes, `/wait` not at all.
fn answer_all(mut stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let mut head = Vec::new();
        loop {
            match lines.next() {
                None => return Ok(()),
                Some(Ok(line)) if line.is_empty() => break,
                Some(line) => head.push(line?.to_ascii_lowercase()),
            }
        }
        if head.iter().any(|line| line.starts_with("upgrade:")) {
            stream.write_all(b"HTTP/1.1 101 Upgraded\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")?;
        } else if !head.iter().any(|line| line.starts_with("get /wait")) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")?;
            continue;
        }
        return stream.read_to_end(&mut Vec::new()).map(drop);
    }
}

const READY: &str = "the nodes listen";
