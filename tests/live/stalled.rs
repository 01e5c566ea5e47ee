//! Clients that begin and never go on: how much memory they take, and that they give it back.

use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_holds;
use crate::tls;
use std::io::Write;
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
    drop(stalled(&proxy, b"GET / HTTP/1.1\r\n"));
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 100]].concat();
    assert_stalling_takes_little(&story, &proxy, &hello);
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
    assert_stalling_takes_little(&story, &proxy, head.as_bytes());
}

/// That so many clients that stop after this beginning hold no more than so much for each byte of it.
fn assert_stalling_takes_little(story: &Story, proxy: &Ringway, begun: &[u8]) {
    let before = proxy.resident_bytes();
    let clients = stalled(proxy, begun);
    let growth = most_resident_bytes(proxy).saturating_sub(before);
    let sent = CLIENTS * begun.len() as u64;
    story.figure(&format!("{CLIENTS} beginnings of {} bytes: {growth} bytes more for {sent} sent", begun.len()));
    assert!(growth <= GROWTH_MAX * sent, "{growth} bytes more for {sent} sent");
    drop(clients);
    until_holds("memory returns", || proxy.resident_bytes(), |now| *now < before + growth / 2 + (1 << 20));
}

/// Clients that have sent so much and wait.
fn stalled(proxy: &Ringway, begun: &[u8]) -> Vec<TcpStream> {
    let client = |_| {
        let mut stream = TcpStream::connect(proxy.http).unwrap();
        stream.write_all(begun).unwrap();
        stream
    };
    (0..CLIENTS).map(client).collect()
}

/// The most that it takes for a while.
fn most_resident_bytes(proxy: &Ringway) -> u64 {
    let look = |_| {
        thread::sleep(Duration::from_millis(100));
        proxy.resident_bytes()
    };
    (0..20).map(look).max().unwrap_or_default()
}
