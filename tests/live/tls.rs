//! TLS from outside: no protocol and no cipher that is weak, as `sslscan` sees it, and the memory of clients that begin
//! and never go on.

use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_holds;
use rcgen::CertifiedKey;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

const CLIENTS: u64 = 1_000;

/// Memory for each byte that was sent.
const GROWTH_MAX: u64 = 20;

#[test]
fn handshakes_that_stall_in_the_first_message_take_little_memory_and_return_it() {
    let story = Story::begin("half-hellos");
    let proxy = serve(&story, "handshake-timeout = \"1h\"");
    // What any load brings along, such as buffers of the allocator.
    drop(stalled(&proxy, b"GET / HTTP/1.1\r\n"));
    let before = proxy.resident_bytes();
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 100]].concat();
    let clients = stalled(&proxy, &hello);
    let growth = most_resident_bytes(&proxy).saturating_sub(before);
    let sent = CLIENTS * hello.len() as u64;
    story.figure(&format!("{CLIENTS} halves of a hello: {growth} bytes more for {sent} sent"));
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

/// A proxy that speaks TLS, with these settings of it.
fn serve(story: &Story, tls: &str) -> Ringway {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let certificate = story.write("site.pem", &cert.pem());
    let key = story.write("site.key", &signing_key.serialize_pem());
    let (certificate, key) = (certificate.display(), key.display());
    let top =
        format!("workers = 2\n[tls]\n{tls}\n[[tls.certificate]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"");
    let text = ringway::config(&top, &story.path("store"), "nodes = [{ name = \"a\", address = \"127.0.0.1:9\" }]");
    let listen = "listen = { address = \"127.0.0.1:0\", tls = true }";
    let config = story.write("ringway.toml", &text.replacen("listen = \"127.0.0.1:0\"", listen, 1));
    Ringway::serve(story, &config)
}

#[test]
fn no_protocol_and_no_cipher_is_weak() {
    let story = Story::begin("tls");
    let proxy = serve(&story, "");
    let scanned = Command::new("sslscan").args(["--no-colour", &proxy.http.to_string()]).output().unwrap();
    let report = String::from_utf8(scanned.stdout).unwrap();
    for (protocol, expected) in [
        ("SSLv2", "disabled"),
        ("SSLv3", "disabled"),
        ("TLSv1.0", "disabled"),
        ("TLSv1.1", "disabled"),
        ("TLSv1.2", "enabled"),
        ("TLSv1.3", "enabled"),
    ] {
        let is_of = |line: &&str| line.split_whitespace().next() == Some(protocol);
        let line = report.lines().find(is_of).unwrap_or_else(|| panic!("nothing on {protocol}: {report}"));
        assert!(line.ends_with(expected), "{line}: {report}");
    }
    let is_cipher = |line: &&str| line.starts_with("Preferred") || line.starts_with("Accepted");
    let ciphers: Vec<&str> = report.lines().filter(is_cipher).collect();
    assert!(ciphers.len() >= 5, "{report}");
    for cipher in &ciphers {
        let name = cipher.split_whitespace().find(|word| word.starts_with("TLS_") || word.contains("-"));
        let name = name.unwrap_or_else(|| panic!("{cipher:?} names none"));
        let has_forward_secrecy = name.starts_with("TLS_") || name.starts_with("ECDHE-");
        let is_authenticated = name.contains("GCM") || name.contains("CHACHA20");
        assert!(has_forward_secrecy && is_authenticated, "{cipher}");
    }
    story.figure(&format!("{} ciphers of TLS 1.2 and 1.3, none weak", ciphers.len()));
}
