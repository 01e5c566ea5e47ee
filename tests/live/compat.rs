//! The access logs that real nginx and real HAProxy write, held against pools by `ringway compat verify`: every line is
//! alike under the right config, and under another one the right dialect is named.

use crate::harness::client::Client;
use crate::harness::nginx::Nginx;
use crate::harness::originals;
use crate::harness::ringway;
use crate::harness::story::Story;
use crate::harness::story::free_ports;
use crate::harness::story::refusing_port;
use crate::harness::wait::until_true;
use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;

/// A pool without a running proxy.
fn config(story: &Story, key: &str, placement: &str, nodes: &str) -> String {
    let text = format!(
        "listen = \":0\"\n[store]\nkind = \"memory\"\n[[pool]]\nname = \"app\"\nkey = {key}\n\
         placement = \"{placement}\"\nnodes = [{nodes}]\n"
    );
    story.write("compat.toml", &text).to_str().unwrap().to_owned()
}

fn entry(name: &str, address: SocketAddr, weight: u32) -> String {
    format!("{{ name = \"{name}\", address = \"{address}\", weight = {weight} }}, ")
}

/// What `ringway compat verify` says in JSON, and its exit code.
fn verify(config: &str, log: &Path, more: &[&str]) -> (Value, i32) {
    let arguments = ["compat", "verify", "--json", "-c", config, "--log", log.to_str().unwrap()];
    let printed = ringway::run(&[&arguments[..], more].concat(), "");
    let found = serde_json::from_str(&printed.stdout).unwrap_or_else(|error| panic!("{error}: {printed:?}"));
    (found, printed.code)
}

/// Sends requests with keys of many forms in the query and in a header.
fn send_requests(port: u16) {
    let mut client = Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    for number in 0..REQUESTS {
        let target = format!("/ws/{number}?x=%20&room=r%2C{}&y=2", number % KEYS);
        let header = format!("k {{|}}#\\x22 \"{}\"", number % KEYS);
        let answer = client.get(&target, &[("x-key", &header)]).unwrap();
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
}

/// Waits until a log has a line for every request.
fn wait_for_lines(log: &Path) {
    until_true("every request is logged", || {
        fs::read_to_string(log).unwrap_or_default().lines().filter(|line| line.contains("/ws/")).count() >= REQUESTS
    });
}

#[test]
fn a_log_that_nginx_writes_is_alike_line_by_line() {
    let story = Story::begin("compat-nginx");
    let backends = Nginx::start(&story, &["a", "b", "c"]);
    let ports = free_ports(3);
    let (_held, dead) = refusing_port();
    // Nobody listens there: its requests are sent on, and the log lists both servers.
    let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, dead));
    let addresses = ["a", "b", "c"].map(|name| (name, backends.address(name)));
    let addresses: Vec<_> = addresses.into_iter().chain([("dead", dead)]).collect();
    let servers: String =
        (1..).zip(&addresses).map(|(weight, (_, at))| format!("server {at} weight={weight} max_fails=0; ")).collect();
    let nodes: String = (1..).zip(&addresses).map(|(weight, (name, at))| entry(name, *at, weight)).collect();
    let logs = ["query", "header", "uri"].map(|name| story.path(&format!("{name}.log")));
    let keys = ["$arg_room", "$http_x_key", "$request_uri"];
    let mut http = "log_format placed '$remote_addr - $remote_user [$time_local] \"$request\" $status \"$http_x_key\" \
                    \"$http_user_agent\" $upstream_addr $upstream_status $request_time';\n"
        .to_owned();
    for ((key, log), port) in keys.iter().zip(&logs).zip(&ports) {
        http += &format!(
            "upstream u{port} {{ hash {key} consistent; {servers} }}\n\
             server {{ listen 127.0.0.1:{port}; access_log {} placed; location / {{ proxy_pass http://u{port}; }} }}\n",
            log.display()
        );
    }
    let _original = originals::nginx(&story, &http, &ports[..3]);
    for (log, port) in logs.iter().zip(&ports) {
        send_requests(*port);
        wait_for_lines(log);
    }
    let cases: [(&str, &[&str]); 3] =
        [("\"query-raw:room\"", &[]), ("\"header:x-key\"", &["--key-column", "7"]), ("\"path-and-query\"", &[])];
    for ((key, more), log) in cases.into_iter().zip(&logs) {
        let (found, code) = verify(&config(&story, key, "nginx", &nodes), log, more);
        assert_eq!((code, &found["alike_lines"]), (0, &REQUESTS.into()), "{key}: {found}");
        assert!(fs::read_to_string(log).unwrap().contains(&format!("{dead}, ")), "{key}: nobody went to the dead one");
        let (found, code) = verify(&config(&story, key, "table", &nodes), log, more);
        assert_eq!((code, &found["best_fit"]["written"]), (1, &"nginx".into()), "{key}: {found}");
        assert_eq!(found["best_fit"]["alike_ratio"], 1.0, "{key}: {found}");
        story.figure(&format!("{REQUESTS} lines alike: {key}, of {} keys", found["keys"]));
    }
    let (found, code) = verify(&config(&story, "\"path\"", "nginx", &nodes), &logs[2], &[]);
    assert_eq!((code, &found["best_fit"]["key"]), (1, &"key = \"path-and-query\"".into()), "{found}");
}

#[test]
fn a_log_that_haproxy_writes_is_alike_line_by_line() {
    let story = Story::begin("compat-haproxy");
    let backends = Nginx::start(&story, &["a", "b", "c"]);
    let ports = free_ports(1);
    let addresses = ["a", "b", "c"].map(|name| (name, backends.address(name)));
    let servers: String = addresses.iter().map(|(name, at)| format!("  server {name} {at} weight 10\n")).collect();
    let nodes: String = addresses.iter().map(|(name, at)| entry(name, *at, 10)).collect();
    let sections = format!(
        "listen app\n  bind 127.0.0.1:{}\n  log stderr format raw local0\n  option httplog\n  \
         http-request capture req.fhdr(x-key) len 200\n  balance hash req.fhdr(x-key)\n  hash-type consistent crc32\n\
         {servers}",
        ports[0]
    );
    let _original = originals::haproxy(&story, &sections, &ports);
    send_requests(ports[0]);
    let log = story.path("original.log");
    wait_for_lines(&log);
    let (found, code) = verify(&config(&story, "\"header:x-key\"", "nginx", &nodes), &log, &["--key-column", "-2"]);
    let best = &found["best_fit"];
    assert_eq!(
        (code, &best["written"], &best["alike_ratio"]),
        (1, &"haproxy hash=crc32".into(), &1.0.into()),
        "{found}"
    );
    let ids: Vec<&str> =
        best["placement_ids"].as_array().unwrap().iter().map(|id| id["placement_id"].as_str().unwrap()).collect();
    assert_eq!((ids, &found["keys"]), (vec!["1", "2", "3"], &KEYS.into()), "{found}");
    let nodes: String = (1..).zip(nodes.split_inclusive("}, ")).fold(String::new(), |nodes, (id, node)| {
        nodes + &node.replace(" },", &format!(", placement-id = \"{id}\" }},"))
    });
    let right = config(&story, "\"header:x-key\"", "haproxy hash=crc32", &nodes);
    let (found, code) = verify(&right, &log, &["--key-column", "-2"]);
    assert_eq!((code, &found["alike_lines"]), (0, &REQUESTS.into()), "{found}");
    story.figure(&format!("{} lines name haproxy hash=crc32 and the ids", found["compared_lines"]));
}

const REQUESTS: usize = 1_500;

const KEYS: usize = 500;
