//! What strangers try at the admin door, as bytes: each is answered with the status that is due, and changes nothing.

use crate::ONE_POOL;
use crate::client::Directory;
use crate::client::Proxy;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const NODE: &str = "/v1/pools/rooms/nodes/a";
const APPLY: &str = "/v1/pools/rooms/apply";
const JSON: &str = "Content-Type: application/json\r\n";
const WEIGHT: &str = r#"{"weight":7}"#;
const REMOVE: &str = r#"{"changes":[{"remove":{"name":"a"}}],"force":true}"#;

/// A request and the status that is due.
struct Case {
    request: String,
    status: u16,
}

/// A request of these lines: `METHOD TARGET`, then further fields, each ended by CRLF.
fn case(status: u16, line: &str, fields: &str, body: &str) -> Case {
    let length = body.len();
    let request = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}");
    Case { request, status }
}

/// A write of a node's weight with these fields.
fn patch(status: u16, fields: &str) -> Case {
    case(status, &format!("PATCH {NODE}"), &format!("{JSON}{fields}"), WEIGHT)
}

/// The same by somebody who names the API properly.
fn local(status: u16, line: &str, fields: &str, body: &str) -> Case {
    case(status, line, &format!("Host: localhost\r\n{fields}"), body)
}

fn apply(status: u16, body: &str) -> Case {
    local(status, &format!("POST {APPLY}"), JSON, body)
}

#[tokio::test]
async fn without_the_token_nothing_is_changed() {
    let shown = |status, token: &str| patch(status, &format!("Host: localhost\r\nAuthorization: {token}\r\n"));
    let mut cases = vec![
        patch(401, "Host: localhost\r\n"),
        shown(401, "Bearer wrong"),
        shown(401, "Bearer operate-secre"),
        shown(401, "Bearer operate-secret2"),
        shown(401, "Bearer OPERATE-SECRET"),
        shown(401, "Bearer operate-secret operate-secret"),
        shown(401, "Bearer operate-secret,Bearer wrong"),
        shown(401, "Bearer"),
        shown(401, "Bearer "),
        shown(401, "operate-secret"),
        shown(401, "Basic b3BlcmF0ZS1zZWNyZXQ="),
        shown(401, "Bearer wrong\r\nAuthorization: Bearer operate-secret"),
        shown(401, "Bearer operate-secret\r\nAuthorization: Bearer wrong"),
        shown(403, "Bearer read-secret"),
        patch(401, "Host: localhost\r\nX-Api-Key: operate-secret\r\nCookie: token=operate-secret\r\n"),
        shown(403, "Bearer operate-secret\r\nOrigin: http://evil.example"),
        shown(403, "Bearer operate-secret\r\nSec-Fetch-Site: cross-site"),
    ];
    let query = format!("PATCH {NODE}?token=operate-secret&access_token=operate-secret");
    cases.push(local(401, &query, JSON, WEIGHT));
    let read = format!("{JSON}Authorization: Bearer read-secret\r\n");
    for line in [format!("POST {APPLY}"), format!("POST {APPLY}?dry-run"), format!("DELETE {NODE}?force")] {
        cases.push(local(403, &line, &read, REMOVE));
    }
    cases.push(local(403, "POST /v1/reload", &read, "{}"));
    cases.push(local(401, "GET /v1/pools", "", ""));
    cases.push(local(401, "GET /metrics", "", ""));
    let directory = Directory::new();
    directory.write("operate", "operate-secret");
    directory.write("read", "read-secret");
    hold(directory, "token-file = \"DIR/operate\"\nread-token-file = \"DIR/read\"", &cases).await;
}

#[tokio::test]
async fn pages_of_other_sites_neither_read_nor_write() {
    let mut cases = Vec::new();
    let hosts = [
        "evil.example",
        "evil.example:9080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
        "notlocalhost",
        "10.0.0.1:9080",
        "[2001:db8::1]:9080",
        "0.0.0.0:9080",
        "",
        "localhost\r\nHost: evil.example",
    ];
    for host in hosts {
        let field = format!("Host: {host}\r\n");
        cases.push(patch(403, &field));
        for line in ["GET /v1/pools", "GET /metrics", "GET /v1/events", "GET /nowhere"] {
            cases.push(case(403, line, &field, ""));
        }
    }
    for field in [
        "Origin: null\r\n",
        "Origin: http://evil.example\r\n",
        "Origin: http://localhost:3000\r\n",
        "Origin: \r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
    ] {
        cases.push(patch(403, &format!("Host: localhost\r\n{field}")));
        cases.push(local(403, "GET /v1/status", field, ""));
        cases.push(local(403, "POST /v1/pools/rooms/plan", &format!("{JSON}{field}"), "{\"changes\":[]}"));
    }
    cases.push(local(403, "GET http://evil.example/v1/pools", "", ""));
    cases.push(Case { request: "GET /v1/pools HTTP/1.0\r\n\r\n".into(), status: 403 });
    // What operators, probes and scrapers do goes on working.
    for fields in ["Sec-Fetch-Site: none\r\n", "Sec-Fetch-Site: same-origin\r\n", "Origin: http://localhost\r\n", ""] {
        cases.push(local(200, "GET /v1/status", fields, ""));
    }
    for host in ["127.0.0.1:9080", "127.9.9.9", "[::1]:80", "LOCALHOST:1", "ops.example:9080"] {
        cases.push(case(200, "GET /metrics", &format!("Host: {host}\r\n"), ""));
    }
    cases.push(case(200, "GET /healthz", "Host: anything.example\r\n", ""));
    hold(Directory::new(), "hosts = [\"ops.example\"]", &cases).await;
}

#[tokio::test]
async fn nothing_but_a_write_as_json_at_its_own_path_is_a_write() {
    let mut cases = Vec::new();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", "*/*"] {
        let field = format!("Content-Type: {kind}\r\n");
        cases.push(local(415, &format!("POST {APPLY}"), &field, REMOVE));
        cases.push(local(415, &format!("PATCH {NODE}"), &field, WEIGHT));
        cases.push(local(415, "POST /v1/reload", &field, "{}"));
    }
    cases.push(local(415, &format!("POST {APPLY}"), "", REMOVE));
    for (status, line) in [
        (405, "GET /v1/pools/rooms/apply"),
        (405, "HEAD /v1/pools/rooms/apply"),
        (405, "PUT /v1/pools/rooms/apply"),
        (405, "GET /v1/pools/rooms/rollback"),
        (405, "GET /v1/reload"),
        (405, "POST /v1/pools/rooms/nodes/a"),
        (405, "OPTIONS /v1/pools/rooms/nodes/a"),
        (405, "apply /v1/pools/rooms/apply"),
        (404, "POST /v1/pools/rooms/apply/"),
        (404, "POST /v1/pools/rooms/apply%2f"),
        (404, "POST /v1/pools/rooms//apply"),
        (404, "POST //v1/pools/rooms/apply"),
        (404, "POST /V1/pools/rooms/apply"),
        (404, "POST /v1/poolsx/rooms/apply"),
        (404, "POST /v1/./pools/rooms/apply"),
        (404, "POST /v1/x/../pools/rooms/apply"),
        (404, "POST /v1/%2e%2e/v1/pools/rooms/apply"),
        (404, "POST /healthz/../v1/pools/rooms/apply"),
        (404, "POST /v1/pools/rooms%00/apply"),
        (405, "PATCH /v1/pools/rooms%2fnodes%2fa"),
        (400, "PUT /v1/pools/rooms/nodes/..%2fa"),
        (400, "PUT /v1/pools/rooms/nodes/x%00"),
        (400, "PATCH /v1/pools/rooms/nodes/a?fource"),
    ] {
        cases.push(local(status, line, JSON, REMOVE));
    }
    for field in ["X-HTTP-Method-Override: DELETE\r\n", "X-HTTP-Method: DELETE\r\n", "X-Method-Override: DELETE\r\n"] {
        cases.push(local(200, &format!("GET {NODE}"), field, ""));
        cases.push(local(405, &format!("POST {NODE}"), field, ""));
    }
    hold(Directory::new(), "", &cases).await;
}

#[tokio::test]
async fn bodies_that_two_could_read_differently_or_nobody_in_time_are_refused() {
    let changes = r#""changes":[{"remove":{"name":"a"}}]"#;
    let huge = format!("{{{changes},\"reason\":\"{}\"}}", "x".repeat(2 << 20));
    let deep = format!("{{\"changes\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let mut cases = vec![
        apply(413, &huge),
        apply(400, &deep),
        apply(400, &format!("{{{changes},\"changes\":[]}}")),
        apply(400, &format!("{{{changes},\"force\":false,\"force\":true}}")),
        apply(400, r#"{"changes":[{"weight":{"name":"a","weight":1,"weight":9}}]}"#),
        apply(400, r#"{"changes":[{"remove":{"name":"a"},"drain":{"name":"b"}}]}"#),
        apply(400, r#"{"changes":[{"remove":{"name":"a\u0000"}}]}"#),
        apply(400, "{\"changes\":[{\"remove\":{\"name\":\"a\0\"}}]}"),
        apply(400, &format!("{{{changes},\"reason\":\"a\\u0000b\"}}")),
        apply(400, &format!("{{{changes},\"reason\":\"a\\u001b[31mb\"}}")),
        apply(400, &format!("\u{feff}{{{changes}}}")),
        apply(400, &format!("{{{changes}}}{{}}")),
        apply(400, &format!("[{{{changes}}}]")),
        apply(400, &format!("{{{changes}")),
        apply(400, &format!("{{{changes},\"Force\":true}}")),
        local(400, &format!("PATCH {NODE}"), JSON, r#"{"weight":2,"weight":3}"#),
        local(400, &format!("PATCH {NODE}"), &format!("{JSON}X-Ringway-Actor: {}\r\n", "x".repeat(129)), WEIGHT),
    ];
    let header = format!("X-Big: {}\r\n", "x".repeat(1 << 20));
    cases.push(local(431, "GET /v1/pools", &header, ""));
    hold(Directory::new(), "", &cases).await;
}

#[tokio::test]
async fn no_spelling_of_an_address_leads_where_no_node_may_be() {
    let mut cases = Vec::new();
    for (status, address) in [
        (422, "169.254.169.254:80"),
        (422, "[::ffff:169.254.169.254]:80"),
        (422, "[::ffff:a9fe:a9fe]:80"),
        (422, "[0:0:0:0:0:ffff:a9fe:a9fe]:80"),
        (422, "[fe80::1]:80"),
        (422, "[fe80::1%2]:80"),
        (422, "0.0.0.0:80"),
        (422, "0.0.0.1:80"),
        (422, "[::]:80"),
        (422, "[::ffff:0.0.0.0]:80"),
        (422, "255.255.255.255:80"),
        (422, "224.0.0.1:80"),
        (422, "[ff02::1]:80"),
        (422, "OWN-HTTP"),
        (422, "OWN-ADMIN"),
        (422, "[::ffff:127.0.0.1]:OWN-PORT"),
        (400, "2852039166:80"),
        (400, "0xa9fea9fe:80"),
        (400, "0251.0376.0251.0376:80"),
        (400, "169.254.43518:80"),
        (400, "0xA9.0xFE.0xA9.0xFE:80"),
        (400, "169.254.169.254:0"),
        (400, "10.0.0.9:0"),
        (400, "10.0.0.9"),
        (400, "10.0.0.9:80@169.254.169.254:80"),
        (400, "user@169.254.169.254:80"),
        (400, "http://169.254.169.254:80"),
        (400, "http://user@host:80"),
        (400, "169.254.169.254:80/latest"),
        (400, "169.254.169.254:80#"),
        (400, "169。254。169。254:80"),
        (400, "unix:../docker.sock"),
        (400, "file:///etc/passwd"),
    ] {
        let body = format!("{{\"address\":\"{address}\"}}");
        cases.push(local(status, "PUT /v1/pools/rooms/nodes/x", JSON, &body));
        cases.push(local(status, &format!("PATCH {NODE}?force"), JSON, &body));
        let add = format!("{{\"changes\":[{{\"add\":{{\"name\":\"x\",\"address\":\"{address}\"}}}}],\"force\":true}}");
        cases.push(apply(status, &add));
    }
    hold(Directory::new(), "", &cases).await;
}

/// Sends every case to a proxy with these lines in `[admin]`; all of them are judged before the verdict.
async fn hold(directory: Directory, lines: &str, cases: &[Case]) {
    let config = ONE_POOL.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:0\"\n{lines}"));
    let config = config.replace("kind = \"memory\"", "path = \"DIR/store\"");
    let proxy = Proxy::start_in(directory, &config).await.unwrap();
    let addresses = proxy.app.addresses().clone();
    let own_port = addresses.http[0].port().to_string();
    let before = state(&proxy);
    let mut wrong = Vec::new();
    for case in cases {
        let request = case.request.replace("OWN-HTTP", &addresses.http[0].to_string());
        let request = request.replace("OWN-ADMIN", &addresses.admin).replace("OWN-PORT", &own_port);
        let request = fix_length(&request);
        let status = ask(&addresses.admin, &request).await;
        let shown: String = request.chars().take(400).collect();
        if status != case.status {
            wrong.push(format!("{status} in place of {} for {shown:?}", case.status));
        }
        assert!(state(&proxy) == before, "something has changed by {shown:?}");
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Says how long the body is, now that the names in it are filled in.
fn fix_length(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let length = format!("Content-Length: {}", body.len());
    let lines = head.split("\r\n").map(|line| if line.starts_with("Content-Length") { &length } else { line });
    format!("{}\r\n\r\n{body}", lines.collect::<Vec<_>>().join("\r\n"))
}

/// All that a write could change: the pool as it is served, and every file.
fn state(proxy: &Proxy) -> (u64, String, BTreeMap<String, Vec<u8>>) {
    let pool = proxy.app.controller().pool("rooms").unwrap();
    let mut files = BTreeMap::new();
    read_files(proxy.directory.path(), &mut files);
    (pool.epoch, format!("{:?}", pool.membership), files)
}

fn read_files(directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => read_files(&path, files),
            false => drop(files.insert(path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
}

/// The status of the answer. A server that refuses early may reset the connection while it is still written to.
async fn ask(address: &str, request: &str) -> u16 {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let request = request.as_bytes().to_vec();
    // The half that writes stays open until the answer is there, as the server would take the client for gone.
    let writing = tokio::spawn(async move {
        drop(to.write_all(&request).await);
        to
    });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n") {
        match from.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    writing.abort();
    let head = String::from_utf8_lossy(&head).into_owned();
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}
