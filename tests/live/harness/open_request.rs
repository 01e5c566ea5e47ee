//! A request that stays open for as long as a story wants it to.

use crate::harness::client::Answer;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::thread;
use std::thread::JoinHandle;

/// A request that its node has received and not answered.
pub(crate) struct OpenRequest {
    pub(crate) proxy: Ringway,
    /// The client's thread, which ends with what it was answered.
    pub(crate) client: JoinHandle<Result<Answer, String>>,
    /// The node's end of its connection.
    node: TcpStream,
}

impl OpenRequest {
    /// Starts a proxy with one node, and sends one request through it.
    pub(crate) fn start(story: &Story, top: &str) -> OpenRequest {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let pool = format!(r#"initial-nodes = [{{ name = "slow", address = "{address}" }}]"#);
        let config = story.write("ringway.toml", &ringway::config(top, &story.path("store"), &pool));
        let proxy = Ringway::serve(story, &config);
        let mut client = proxy.client();
        let client = thread::spawn(move || client.get("/?k=1", &[]));
        let mut node = listener.accept().unwrap().0;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 1024];
            let count = node.read(&mut bytes).unwrap();
            assert!(count > 0, "the connection ended within the request head");
            head.extend_from_slice(&bytes[..count]);
        }
        OpenRequest { proxy, client, node }
    }

    /// Lets the node answer; returns what the client got.
    pub(crate) fn answer(mut self) -> (Ringway, Answer) {
        self.node.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").unwrap();
        (self.proxy, self.client.join().unwrap().unwrap())
    }
}
