//! What blocks presuppose: each function makes it, as a reader of the page would have it.

use crate::authority::Ca;
use crate::harness::client::Client;
use crate::harness::originals;
use crate::harness::ringway;
use crate::harness::wait::until_holds;
use crate::harness::wait::until_true;
use crate::readme::document::recipe;
use crate::readme::stage::Stage;
use crate::readme::stage::WORK;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;

/// Two nodes, after six changes.
pub(crate) fn at_epoch_7(stage: &mut Stage) {
    let mut operator = stage.serve(ROOMS);
    for weight in [2, 3, 4, 5, 6, 1] {
        operator.must_apply(&json!([{"weight": {"name": "a", "weight": weight}}]));
    }
}

/// Three nodes after one change; one has four requests and eight WebSockets, which go when a drain waits for them.
pub(crate) fn busy_node(stage: &mut Stage) {
    let mut operator = stage.serve(ROOMS);
    operator.must_apply(&json!([{"add": {"name": "c", "address": "10.0.0.12:3000"}}]));
    let lives_at_a = |key: &String| ringway::run(&["locate", key.as_str()], "").stdout.contains("->  a ");
    let key = (0..).map(|number| number.to_string()).find(lives_at_a).unwrap();
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let requests: Vec<TcpStream> = (0..12)
        .map(|number| {
            let (path, fields) = if number < 8 { ("ws/", upgrade) } else { ("wait", "") };
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).unwrap();
            write!(stream, "GET /{path}?room={key} HTTP/1.1\r\nHost: chat.example.com\r\n{fields}\r\n").unwrap();
            stream
        })
        .collect();
    let seen = || {
        let nodes = operator.get("/v1/pools/rooms/nodes");
        let node = &nodes["nodes"][0];
        [&node["inflight"], &node["tunnels"]].map(serde_json::Value::as_u64)
    };
    until_holds("all requests are at the node", seen, |seen| *seen == [Some(12), Some(8)]);
    stage.when("in flight", move || drop(requests));
}

/// An nginx with what Ringway does not carry over. Its user is root, the only one that there surely is in namespaces.
pub(crate) fn nginx_to_leave(stage: &mut Stage) {
    stage.write(
        "/etc/nginx/nginx.conf",
        "user root;\n\nevents {\n    worker_connections 1024;\n}\n\nhttp {\n    \
         access_log /var/log/nginx/access.log;\n    gzip on;\n    include /etc/nginx/conf.d/*.conf;\n}\n",
    );
    stage.write(
        "/etc/nginx/conf.d/app.conf",
        "upstream images {\n    hash $request_uri consistent;\n    server 10.0.2.10;\n    \
         server 10.0.2.11:8080 weight=2;\n    server 10.0.2.12:8080;\n}\n\nserver {\n    listen 8080;\n\n    \
         location / {\n        proxy_pass http://images;\n    }\n    location /static/ { root /srv; }\n}\n",
    );
}

/// A log that nginx has written of 20,000 requests, of which every 97th was not for a server.
pub(crate) fn log_of_nginx(stage: &mut Stage) {
    stage.write("ringway.toml", &recipe(&stage.page, "placement = \"nginx\""));
    let log = stage.story.path(WORK).join("access.log");
    let http = format!(
        "log_format placed '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
         \"$http_referer\" \"$http_user_agent\" $upstream_addr';\n\
         upstream images {{ hash $request_uri consistent;\n\
         server 10.0.2.10; server 10.0.2.11:8080 weight=2; server 10.0.2.12:8080; }}\n\
         server {{ listen 127.0.0.1:{OLD_PORT}; access_log {} placed;\n\
         location / {{ proxy_pass http://images; }} location /static/ {{ return 200; }} }}\n",
        log.display()
    );
    stage.keep(originals::nginx(&stage.story, &http, &[OLD_PORT]));
    let mut client = old_client();
    for number in 0..20_000 {
        let image = format!("/images/{}.jpg?width=300", number % 604);
        let path = if number % 97 == 0 { "/static/x.css" } else { &image };
        assert_eq!(client.get(path, &[]).unwrap().status, 200, "{path}");
    }
    wait_for_lines(&log, " \"GET ", 20_000);
}

/// The recipe for the placement of nginx, served.
pub(crate) fn serving_as_nginx_did(stage: &mut Stage) {
    let recipe = recipe(&stage.page, "placement = \"nginx\"");
    stage.serve(&recipe);
}

/// One that serves, with the setting of which the page says that it is needed.
pub(crate) fn one_to_take_over_from(stage: &mut Stage) {
    let setting = "take-over-socket = \"/run/ringway/take-over.sock\"";
    assert!(stage.page.text.contains(setting), "the page has another setting than {setting}");
    stage.serve(&format!("{setting}\n{ROOMS}"));
}

/// The recipe for operators with certificates, served, and such certificates.
pub(crate) fn operators_by_certificate(stage: &mut Stage) {
    let (servers, operators) = (Ca::new(), Ca::new());
    let (admin, me) = (servers.issue(&["proxy.internal"]), operators.issue(&["me"]));
    stage.write("/etc/ringway/admin.pem", &admin.certificate);
    stage.write("/etc/ringway/admin.key", &admin.key);
    stage.write("/etc/ringway/operators.pem", &operators.certificate.pem());
    stage.write("ca.pem", &servers.certificate.pem());
    stage.write("me.pem", &me.certificate);
    stage.write("me.key", &me.key);
    let recipe = recipe(&stage.page, "/etc/ringway/operators.pem");
    stage.serve(&recipe);
}

/// A log that HAProxy has written of 2,000 requests, and a config of its servers with another placement.
pub(crate) fn log_of_haproxy(stage: &mut Stage) {
    let servers: Vec<(String, &str)> = (1..).map(|number| format!("b{number}")).zip(HAPROXY_SERVERS).collect();
    let nodes = servers.iter().map(|(name, address)| format!("{{ name = \"{name}\", address = \"{address}\" }}, "));
    let nodes: String = nodes.collect();
    stage.write(
        "ringway.toml",
        &format!(
            "listen = \":8080\"\n[[pool]]\nname = \"app\"\nkey = \"header:x-key\"\nplacement = \"nginx\"\n\
             initial-nodes = [{nodes}]\n"
        ),
    );
    let servers: String = servers.iter().map(|(name, address)| format!("  server {name} {address}\n")).collect();
    let sections = format!(
        "listen app\n  bind 127.0.0.1:{OLD_PORT}\n  log stderr format raw local0\n  option httplog\n  \
         http-request capture req.fhdr(x-key) len 200\n  balance hdr(x-key)\n  hash-type consistent crc32\n{servers}"
    );
    stage.keep(originals::haproxy(&stage.story, &sections, &[OLD_PORT]));
    let mut client = old_client();
    for number in 0..2_000 {
        let answer = client.get("/", &[("x-key", &format!("user:{number}"))]).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let log = stage.story.path("original.log");
    wait_for_lines(&log, "user:", 2_000);
    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("user:")).collect();
    stage.write("haproxy.log", &(lines.join("\n") + "\n"));
}

fn old_client() -> Client {
    Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, OLD_PORT)))
}

/// Waits until as many lines of a log have `mark`.
fn wait_for_lines(log: &Path, mark: &str, count: usize) {
    let lines = || fs::read_to_string(log).unwrap_or_default().lines().filter(|line| line.contains(mark)).count();
    until_true("every request is logged", || lines() >= count);
}

/// Two nodes that the pages speak of, by the name that most of them have.
const ROOMS: &str = r#"
listen = ":8080"

[[pool]]
name = "rooms"
key = ["query:room", "header:x-room"]
initial-nodes = [
  { name = "a", address = "10.0.0.10:3000" },
  { name = "b", address = "10.0.0.11:3000" },
]
"#;

/// Addresses that the pages give to nodes.
const HAPROXY_SERVERS: [&str; 5] =
    ["10.0.0.10:3000", "10.0.0.11:3000", "10.0.0.12:3000", "10.0.2.10:80", "10.0.2.11:80"];

/// Where the program listens that Ringway is to replace.
const OLD_PORT: u16 = 8081;
