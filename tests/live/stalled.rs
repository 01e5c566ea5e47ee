//! Clients that begin and never go on: how much memory they take, and that they give it back.

use crate::harness::originals;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::story::free_ports;
use crate::harness::wait::until_holds;
use crate::tls;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

const CLIENTS: u64 = 1_000;

/// Memory for each byte that was sent.
const GROWTH_MAX: u64 = 20;

#[test]
fn handshakes_that_stall_in_the_first_message_take_little_memory_and_return_it() {
    let story = Story::begin("half-hellos");
    let proxy = tls::serve(&story, "handshake-timeout = \"1h\"");
    // What any load brings along, such as buffers of the allocator.
    drop((0..CLIENTS).map(|_| stalled(&proxy, b"GET / HTTP/1.1\r\n")).collect::<Vec<_>>());
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 100]].concat();
    assert_stalling_takes_little(&story, &proxy, hello.len(), || stalled(&proxy, &hello));
}

#[test]
fn heads_that_stall_take_little_memory_and_return_it() {
    let story = Story::begin("half-heads");
    let nodes = r#"initial-nodes = [{ name = "a", address = "127.0.0.1:9" }]"#;
    let top = "workers = 2\n[limits]\nhead-timeout = \"1h\"";
    let config = story.write("ringway.toml", &ringway::config(top, &story.path("store"), nodes));
    let proxy = Ringway::serve(&story, &config);
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
    let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: {agent}\r\nAccept: */*\r\n");
    assert_stalling_takes_little(&story, &proxy, head.len(), || stalled(&proxy, head.as_bytes()));
}

#[test]
fn bodies_that_stall_take_little_memory_and_return_it() {
    let story = Story::begin("slow-bodies");
    let port = free_ports(1)[0];
    let http = format!("server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ return 200; }} }}");
    let _node = originals::nginx(&story, &http, &[port]);
    let nodes = format!(r#"initial-nodes = [{{ name = "a", address = "127.0.0.1:{port}" }}]"#);
    let config = story.write("ringway.toml", &ringway::config("workers = 2", &story.path("store"), &nodes));
    let proxy = Ringway::serve(&story, &config);
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
    let referer = "http://a.test/a/page/with/a/form/such/as/many/have";
    let fields =
        format!("Host: a.test\r\nUser-Agent: {agent}\r\nReferer: {referer}\r\nAccept: text/html;q=0.9,*/*;q=0.8");
    let begun = format!("POST /form HTTP/1.1\r\n{fields}\r\nContent-Length: 8192\r\n\r\nfoo=bar");
    // What those bring along that are waited for by their node, and the first few.
    drop((0..100).map(|_| stalled(&proxy, begun.as_bytes())).collect::<Vec<_>>());
    assert_stalling_takes_little(&story, &proxy, begun.len(), || stalled(&proxy, begun.as_bytes()));
}

#[test]
fn long_responses_that_nobody_reads_take_little_memory_and_return_it() {
    let story = Story::begin("slow-reads");
    let (port, root) = (free_ports(1)[0], story.path(""));
    story.write("long", &"x".repeat(LONG_BYTES));
    let http = format!("server {{ listen 127.0.0.1:{port} backlog=2048; root {}; }}", root.display());
    let _node = originals::nginx(&story, &http, &[port]);
    let nodes = format!(r#"initial-nodes = [{{ name = "a", address = "127.0.0.1:{port}" }}]"#);
    let config = story.write("ringway.toml", &ringway::config("workers = 2", &story.path("store"), &nodes));
    let proxy = Ringway::serve(&story, &config);
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
    let request = format!("GET /long HTTP/1.1\r\nHost: a.test\r\nUser-Agent: {agent}\r\nAccept: {accept}\r\n\r\n");
    // A request that waits for its node takes more, so that each waits for the beginning of its answer.
    let client = || {
        let mut stream = little_taking(proxy.http);
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        stream
    };
    // What the first few bring along, such as pages of the program, is for all; what they take is hardly any of it.
    drop((0..10).map(|_| client()).collect::<Vec<_>>());
    assert_stalling_takes_little(&story, &proxy, request.len(), client);
}

/// More than the sockets between a node and a client that reads nothing take.
const LONG_BYTES: usize = 8 << 20;

/// That so many clients that stop once they have sent so many bytes hold no more than so much for each of them.
fn assert_stalling_takes_little(story: &Story, proxy: &Ringway, length: usize, client: impl Fn() -> TcpStream) {
    let before = proxy.resident_bytes();
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| client()).collect();
    let growth = most_resident_bytes(proxy).saturating_sub(before);
    let sent = CLIENTS * length as u64;
    story.figure(&format!("{CLIENTS} clients that sent {length} bytes: {growth} bytes more for {sent} sent"));
    assert!(growth <= GROWTH_MAX * sent, "{growth} bytes more for {sent} sent");
    drop(clients);
    until_holds("memory returns", || proxy.resident_bytes(), |now| *now < before + growth / 2 + (1 << 20));
}

/// A client that has sent so much and waits.
fn stalled(proxy: &Ringway, begun: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.http).unwrap();
    stream.write_all(begun).unwrap();
    stream
}

/// A connection over which little comes that nobody reads.
fn little_taking(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// The most that it takes for a while.
fn most_resident_bytes(proxy: &Ringway) -> u64 {
    let look = |_| {
        thread::sleep(Duration::from_millis(100));
        proxy.resident_bytes()
    };
    (0..20).map(look).max().unwrap_or_default()
}
