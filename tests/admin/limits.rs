//! What one client of the admin API may take.

use crate::ONE_POOL;
use crate::authority::Ca;
use crate::client::Directory;
use crate::client::Proxy;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A proxy with these lines in `[admin]`.
async fn start(directory: Directory, lines: &str) -> Proxy {
    let config = ONE_POOL.replace("listen = \"127.0.0.1:0\"\n", &format!("listen = \"127.0.0.1:0\"\n{lines}\n"));
    Proxy::start_in(directory, &config).await.unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(&proxy.app.addresses().admin).await.unwrap()
}

/// The answer to one more request on a connection.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut piece = vec![0; 4096];
    let length = stream.read(&mut piece).await.unwrap();
    String::from_utf8(piece[..length].to_vec()).unwrap()
}

/// All that comes until the end.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap_or_default();
    rest
}

#[tokio::test]
async fn clients_beyond_max_connections_wait_their_turn() {
    let proxy = start(Directory::new(), "max-connections = 2").await;
    let (mut first, mut second) = (connect(&proxy).await, connect(&proxy).await);
    for client in [&mut first, &mut second] {
        assert!(ask(client).await.starts_with("HTTP/1.1 200"));
    }
    let mut third = connect(&proxy).await;
    third.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    for _ in 0..10 {
        assert!(ask(&mut first).await.starts_with("HTTP/1.1 200"));
    }
    assert!(third.try_read(&mut [0; 1]).is_err(), "it is answered although there are two");
    drop(second);
    assert!(answer(&mut third).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn heads_and_bodies_that_never_end_are_waited_for_as_long_as_the_config_says() {
    let limits = "head-timeout = \"50ms\"\nbody-timeout = \"60ms\"";
    let proxy = start(Directory::new(), limits).await;
    for begun in ["", "GET /healthz HTTP/1.1\r\nHost: loc"] {
        let mut client = connect(&proxy).await;
        client.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut client).await, "", "{begun:?}");
    }
    let head = "POST /v1/pools/rooms/apply HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let mut client = connect(&proxy).await;
    client.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("within 60ms"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_waited_for_as_long_as_the_config_says() {
    let directory = Directory::new();
    let identity = Ca::new().issue(&["admin.test"]);
    directory.write("admin.pem", &identity.certificate);
    directory.write("admin.key", &identity.key);
    let tls = "tls = { certificate = \"DIR/admin.pem\", key = \"DIR/admin.key\" }\nhandshake-timeout = \"50ms\"";
    let proxy = start(directory, tls).await;
    let mut client = connect(&proxy).await;
    client.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(rest(&mut client).await, "");
}
