//! The verbs that ask a running proxy, against one that `ringway serve` started.

use crate::authority::Ca;
use crate::authority::Identity;
use crate::program;
use crate::program::Directory;
use crate::program::Ran;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Child;
use std::process::ChildStderr;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;

/// `ringway serve`, with the addresses it logged.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) http: String,
    pub(crate) admin: String,
    /// Reads what it logs after its start, so that it never waits for somebody to read it.
    log: Option<JoinHandle<String>>,
}

impl Proxy {
    /// Starts it and waits until it says that it serves.
    pub(crate) fn start(arguments: &[&str]) -> Proxy {
        let mut child =
            program::command(["serve"].iter().chain(arguments).copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let http = address_after(&mut log, "serving HTTP", &mut seen);
        let admin = address_after(&mut log, "serving the admin API", &mut seen);
        let admin = if admin.starts_with("unix:") { admin } else { format!("http://{admin}") };
        let log = thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).unwrap();
            rest
        });
        Proxy { child, http, admin, log: Some(log) }
    }

    /// Starts one with nodes that nobody listens for.
    pub(crate) fn with_three_nodes() -> Proxy {
        Proxy::with_nodes(&["a=127.0.0.1:1", "b=127.0.0.1:2", "c=127.0.0.1:3,zone=z"])
    }

    /// Starts one with these nodes.
    pub(crate) fn with_nodes(nodes: &[&str]) -> Proxy {
        Proxy::start(&[&LISTEN[..], &["--key", "header:x-room"], nodes].concat())
    }

    /// Runs a verb against it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        program::ringway(arguments.iter().copied().chain(["--admin", &self.admin]))
    }

    /// Stops it as an init system does, and returns what it logged.
    pub(crate) fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It has ended already when the test has stopped it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn address_after(log: &mut BufReader<ChildStderr>, message: &str, seen: &mut String) -> String {
    loop {
        let mut line = String::new();
        let bytes = log.read_line(&mut line).unwrap();
        assert!(bytes > 0, "it ended before {message:?}:\n{seen}");
        seen.push_str(&line);
        if line.contains(message) {
            let address = line.split("address=").nth(1).unwrap_or_else(|| panic!("{line}"));
            return address.split_whitespace().next().unwrap().to_owned();
        }
    }
}

/// A node that answers a request when it is told to.
struct Backend {
    address: String,
    requests: mpsc::Receiver<TcpStream>,
}

impl Backend {
    fn start() -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (arrived, requests) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                read_head(&mut stream);
                if arrived.send(stream).is_err() {
                    return;
                }
            }
        });
        Backend { address, requests }
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the connection ended within a head: {head:?}");
    }
    head
}

#[test]
fn plan_and_apply_are_bound_by_the_epoch() {
    let proxy = Proxy::with_three_nodes();
    let plan = proxy.run(&["plan", "add", "d=127.0.0.1:4,weight=2"]).ok();
    let line = plan.lines().last().unwrap();
    let expected = format!("apply it:  ringway apply --admin {} --if-epoch 1 add d=127.0.0.1:4,weight=2", proxy.admin);
    assert_eq!(line, expected, "{plan}");
    let apply: Vec<&str> = line.split(" ").collect();
    let apply = apply.into_iter().skip_while(|word| *word != "ringway").skip(1);
    let applied = program::ringway(apply.clone()).ok();
    assert!(applied.starts_with("pool default is at epoch 2; "), "{applied}");
    let again = program::ringway(apply);
    assert_eq!((again.code, again.stdout.as_str()), (Some(3), ""), "{again:?}");
    assert!(again.stderr.contains("epoch 2"), "{again:?}");
    let same = proxy.run(&["apply", "weight", "d=2"]).ok();
    assert_eq!(same, "pool default: nothing to change, still at epoch 2\n");
    proxy.stop();
}

#[test]
fn what_is_unsafe_needs_force() {
    let proxy = Proxy::with_three_nodes();
    let refused = proxy.run(&["apply", "remove", "a", "b"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(4), ""), "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    let forced = proxy.run(&["apply", "--force", "--json", "remove", "a", "b"]).ok();
    let forced: serde_json::Value = serde_json::from_str(&forced).unwrap();
    assert_eq!((&forced["epoch"], &forced["changed"]), (&2.into(), &true.into()), "{forced}");
    let unknown = proxy.run(&["node", "remove", "b"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("no node `b`"), "{unknown:?}");
    proxy.stop();
}

#[test]
fn status_and_nodes_are_tables_or_json() {
    let proxy = Proxy::with_three_nodes();
    let status = proxy.run(&["status"]).ok();
    for part in ["pool default   epoch 1", "127.0.0.1:3", "in flight", "ringway plan --admin"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let json: serde_json::Value = serde_json::from_str(&proxy.run(&["status", "--json"]).ok()).unwrap();
    assert_eq!(json["pools"][0]["nodes"][2]["zone"], "z", "{json}");
    assert!(proxy.run(&["node", "add", "d=127.0.0.1:4"]).ok().contains("epoch 2"));
    assert!(proxy.run(&["node", "weight", "a=3", "d=2"]).ok().contains("epoch 3"));
    let nodes = proxy.run(&["node", "list"]).ok();
    let columns: Vec<Vec<&str>> = nodes.lines().map(|line| line.split_whitespace().take(6).collect()).collect();
    assert_eq!(columns[1], ["a", "127.0.0.1:1", "-", "active", "well", "3"], "{nodes}");
    assert_eq!(columns[4], ["d", "127.0.0.1:4", "-", "active", "well", "2"], "{nodes}");
    let ring = proxy.run(&["ring"]).ok();
    assert!(ring.contains("pool default   epoch 3") && ring.contains("###"), "{ring}");
    assert!(proxy.run(&["ring", "--svg"]).ok().starts_with("<svg "));
    proxy.stop();
}

#[test]
fn history_is_shown_and_gone_back_in() {
    let proxy = Proxy::with_three_nodes();
    let before = proxy.run(&["locate", "--json", "room-42"]).ok();
    proxy.run(&["apply", "--reason", "more room", "add", "d=127.0.0.1:4", "weight", "d=2"]).ok();
    proxy.run(&["rollback", "--to-epoch", "1"]).ok();
    let events = proxy.run(&["events"]).ok();
    for part in ["add d=127.0.0.1:4 weight d=2", "more room", "rollback to epoch 1", "config"] {
        assert!(events.contains(part), "{part}: {events}");
    }
    let second = proxy.run(&["events", "--after", "1", "--limit", "1", "--json"]).ok();
    let second: serde_json::Value = serde_json::from_str(&second).unwrap();
    assert_eq!(second["epoch"], 2, "{second}");
    let after = proxy.run(&["locate", "--json", "room-42"]).ok();
    assert_eq!(after.replace("\"epoch\":3", "\"epoch\":1"), before);
    assert_eq!(proxy.run(&["locate", "--json", "--epoch", "1", "room-42"]).ok(), before);
    let unknown = proxy.run(&["rollback", "--to-epoch", "9"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    proxy.stop();
}

#[test]
fn events_are_followed_as_they_happen() {
    let proxy = Proxy::with_three_nodes();
    let follow = |flags: &[&str]| {
        let command = ["events", "--follow", "--admin", &proxy.admin];
        let mut command = program::command(command.iter().chain(flags).copied());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let (mut people, mut lines) = follow(&["--pool", "default", "-n", "0"]);
    let (mut program, mut json) = follow(&["--json", "-n", "0"]);
    // It is not known when they are heard; the first change that they see is as good as any.
    let changing = thread::scope(|scope| {
        let heard = scope.spawn(|| (lines.next().unwrap().unwrap(), json.next().unwrap().unwrap()));
        let mut weight = 1;
        while !heard.is_finished() {
            weight = weight % 1000 + 1;
            proxy.run(&["apply", "--reason", "again", "weight", &format!("a={weight}")]).ok();
        }
        heard.join().unwrap()
    });
    let (line, json) = changing;
    assert!(line.contains("  default  epoch ") && line.contains(": again  weight a="), "{line}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["event"], &json["reason"]), (&"membership".into(), &"again".into()), "{json}");
    for child in [&mut people, &mut program] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    proxy.stop();
}

/// As `tail -f` and `journalctl -f` do: the last lines first, then what comes, each once, and over restarts.
#[test]
fn who_follows_events_sees_the_latest_ones_first_and_misses_none() {
    let directory = Directory::new("follow");
    let admin = format!("unix:{}", directory.path("admin.sock"));
    let text = config("initial-nodes", &format!("listen = \"{admin}\""), &directory.path("store"));
    let file = directory.file("ringway.toml", &text);
    let change = |proxy: &Proxy, weight: u32| proxy.run(&["node", "weight", &format!("a={weight}")]).ok();
    let proxy = Proxy::start(&["-c", &file]);
    (2..5).for_each(|weight| drop(change(&proxy, weight)));
    let mut child = program::command(["events", "-f", "-n", "2", "--json", "--admin", &admin])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let event: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        (event["event"].as_str().unwrap().to_owned(), event["epoch"].as_u64().unwrap())
    };
    let membership = |epoch: u64| ("membership".to_owned(), epoch);
    assert_eq!([next(), next()], [membership(3), membership(4)]);
    change(&proxy, 5);
    assert_eq!(next(), membership(5));
    proxy.stop();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = errors.next().unwrap().unwrap();
    assert!(said.contains("trying again"), "{said}");
    let proxy = Proxy::start(&["-c", &file]);
    change(&proxy, 6);
    assert_eq!(next(), membership(6));
    change(&proxy, 7);
    assert_eq!(next(), membership(7));
    child.kill().unwrap();
    child.wait().unwrap();
    let after = program::command(["events", "-f", "--after", "5", "--admin", &admin]).stdout(Stdio::piped()).spawn();
    let mut after = after.unwrap();
    let mut lines = BufReader::new(after.stdout.take().unwrap()).lines();
    let shown = [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()];
    assert!(shown[0].contains("epoch 6") && shown[1].contains("epoch 7"), "{shown:?}");
    after.kill().unwrap();
    after.wait().unwrap();
    proxy.stop();
}

#[test]
fn a_running_proxy_locates_as_many_keys_as_come() {
    let proxy = Proxy::with_three_nodes();
    let keys: Vec<String> = (0..3_500).map(|number| format!("room-{number}")).collect();
    let input = keys.join("\n");
    let located = program::with_input(["locate", "--admin", &proxy.admin, "-"], input.as_bytes()).ok();
    let shown: Vec<&str> = located.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(shown, keys);
    // More than one request to the API may hold.
    let long: Vec<String> = (0..800).map(|i| format!("{i:04}-{}", "\u{1}".repeat(2_000))).collect();
    let located = program::with_input(["locate", "--admin", &proxy.admin, "-"], long.join("\n").as_bytes()).ok();
    assert_eq!(located.lines().count(), long.len());
    let not_text = program::with_input(["locate", "--admin", &proxy.admin, "-"], b"\xff\n");
    assert_eq!(not_text.code, Some(2), "{not_text:?}");
    assert!(not_text.stderr.contains(r"\xff is not UTF-8"), "{not_text:?}");
    let explained = proxy.run(&["explain", "GET /", "-H", "x-room: room-42"]).ok();
    assert!(explained.contains("room-42, from header:x-room"), "{explained}");
    proxy.stop();
}

#[test]
fn a_drain_waits_for_the_last_request() {
    let backend = Backend::start();
    let nodes = [format!("a={}", backend.address), format!("b={}", backend.address), "c=127.0.0.1:1".to_owned()];
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let proxy = Proxy::start(&[&LISTEN[..], &["--key", "path"], &nodes].concat());
    let keys: Vec<String> = (0..64).map(|number| format!("/{number}")).collect();
    let located = program::with_input(["locate", "--admin", &proxy.admin, "-"], keys.join("\n").as_bytes()).ok();
    let path = located.lines().find(|line| line.contains("->  a ")).unwrap().split(' ').next().unwrap();
    let mut client = TcpStream::connect(&proxy.http).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut request = backend.requests.recv().unwrap();

    let too_short = proxy.run(&["node", "drain", "--timeout", "0s", "a"]);
    assert_eq!(too_short.code, Some(1), "{too_short:?}");
    assert!(
        too_short.stderr.contains("still 1 request in flight, 1 connection, 0 tunnels at a after 0s"),
        "{too_short:?}"
    );
    assert!(proxy.run(&["node", "drain", "--no-wait", "a"]).ok().contains("nothing to change"));

    let mut drain = program::command(["node", "drain", "--admin", &proxy.admin, "a"]);
    let mut drain = drain.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(drain.stdout.take().unwrap());
    let mut progress = BufReader::new(drain.stderr.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert_eq!(first, "pool default: nothing to change, still at epoch 2\n");
    let mut left = String::new();
    progress.read_line(&mut left).unwrap();
    assert!(left.starts_with("1 request in flight, 1 connection, 0 tunnels at a; closed in 9m"), "{left}");
    let nodes = proxy.run(&["node", "list"]).ok();
    assert!(nodes.contains("draining"), "{nodes}");
    assert!(drain.try_wait().unwrap().is_none(), "it returned while a request was in flight");

    request.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let answer = read_head(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "a: no request left\n");
    let mut more = String::new();
    progress.read_to_string(&mut more).unwrap();
    assert_eq!(more, "", "a line is shown when something has changed");
    assert!(drain.wait().unwrap().success());
    assert!(proxy.run(&["node", "undrain", "a"]).ok().contains("epoch 3"));
    drop(client);
    proxy.stop();
}

#[test]
fn a_socket_and_a_token_guard_the_api() {
    let directory = Directory::new("token");
    let token = directory.file("token", "open-sesame-0123456789\n");
    let socket = directory.path("admin.sock");
    let admin = format!("listen = \"unix:{socket}\"\ntoken-file = \"{token}\"");
    let config = directory.file("ringway.toml", &config("nodes", &admin, &directory.path("store")));
    let proxy = Proxy::start(&["-c", &config]);
    let without = proxy.run(&["status"]);
    assert_eq!(without.code, Some(1), "{without:?}");
    assert!(without.stderr.contains("--token-file"), "{without:?}");
    let status = proxy.run(&["status", "--token-file", &token]).ok();
    assert!(status.contains("pool rooms   epoch 1"), "{status}");
    let owned = proxy.run(&["node", "drain", "a", "--token-file", &token]);
    assert_eq!(owned.code, Some(1), "{owned:?}");
    assert!(owned.stderr.contains("edit the file"), "{owned:?}");
    proxy.stop();
}

#[test]
fn a_certificate_opens_the_api_in_tls() {
    let directory = Directory::new("tls");
    let (ca, operators) = (Ca::new(), Ca::new());
    let file = |name: &str, identity: &Identity| {
        let key = directory.file(&format!("{name}.key"), &identity.key);
        (directory.file(&format!("{name}.pem"), &identity.certificate), key)
    };
    let (certificate, key) = file("admin", &ca.issue(&["127.0.0.1"]));
    let (mine, my_key) = file("me", &operators.issue(&[]));
    let ca = directory.file("ca.pem", &ca.certificate.pem());
    let client_ca = directory.file("operators.pem", &operators.certificate.pem());
    let tls = format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\", client-ca = \"{client_ca}\" }}");
    let admin = format!("listen = \"127.0.0.1:0\"\n{tls}");
    let config = directory.file("ringway.toml", &config("initial-nodes", &admin, &directory.path("store")));
    let mut proxy = Proxy::start(&["-c", &config]);
    let plain = proxy.run(&["status"]);
    assert_eq!(plain.code, Some(1), "{plain:?}");
    proxy.admin = proxy.admin.replace("http://", "https://");
    let identity = ["--cert", &mine, "--cert-key", &my_key];
    let flags = [&["--ca", &ca][..], &identity].concat();
    for (arguments, code, why) in [
        (&[][..], 1, "name the file of its CA with --ca"),
        (&["--ca", &ca][..], 1, "see --cert and --cert-key"),
        (&["--ca", &ca, "--cert", &mine][..], 2, "give both --cert and --cert-key"),
        (&["--ca", &mine, "--cert", &mine, "--cert-key", &my_key][..], 1, "name the file of its CA with --ca"),
        (&["--ca", &my_key][..], 2, "me.key` has no certificate"),
        (&["--ca", &ca, "--cert", &certificate, "--cert-key", &key][..], 1, "see --cert and --cert-key"),
    ] {
        let refused = proxy.run(&[&["status"][..], arguments].concat());
        assert!(refused.code == Some(code) && refused.stderr.contains(why), "{refused:#?}");
    }
    let status = proxy.run(&[&["status"][..], &flags].concat()).ok();
    assert!(status.contains("pool rooms   epoch 1"), "{status}");
    proxy.run(&[&["node", "drain", "a"][..], &flags].concat()).ok();
    let plan = proxy.run(&[&["plan", "add", "c=127.0.0.1:3"][..], &flags].concat());
    assert!(plan.stdout.contains(&format!("--cert {mine} --cert-key {my_key}")), "{plan:#?}");
    let by_environment = program::command(["events"])
        .envs([("RINGWAY_ADMIN", &proxy.admin), ("RINGWAY_CA", &ca)])
        .envs([("RINGWAY_CERT", &mine), ("RINGWAY_CERT_KEY", &my_key)])
        .output()
        .unwrap();
    let events = String::from_utf8(by_environment.stdout).unwrap();
    assert!(events.contains("admin-cert:CN=story"), "{events}");
    let for_nothing = program::ringway(["status", "--admin", "http://127.0.0.1:1", "--ca", &ca]);
    assert!(for_nothing.code == Some(2) && for_nothing.stderr.contains("no such address"), "{for_nothing:#?}");
    proxy.stop();
    directory.file("admin.key", "");
    let checked = program::ringway(["check", "-c", &config]);
    assert!(checked.code == Some(2) && checked.stderr.contains("[admin]: the key `"), "{checked:#?}");
}

#[test]
fn the_store_of_a_stopped_proxy_answers_offline() {
    let directory = Directory::new("offline");
    let config =
        directory.file("ringway.toml", &config("initial-nodes", "listen = \"127.0.0.1:0\"", &directory.path("store")));
    let before = program::ringway(["locate", "-c", &config, "--json", "room-42"]).ok();
    let proxy = Proxy::start(&["-c", &config]);
    assert_eq!(proxy.run(&["locate", "--json", "room-42"]).ok(), before);
    proxy.run(&["node", "add", "z=127.0.0.1:9,weight=5"]).ok();
    let live = proxy.run(&["locate", "--json", "room-42"]).ok();
    let edited = proxy.run(&["plan", "-c", &config, "--against", "running"]).ok();
    assert!(edited.contains("--pool rooms --if-epoch 2 remove z"), "{edited}");
    proxy.stop();
    assert_eq!(program::ringway(["locate", "-c", &config, "--json", "room-42"]).ok(), live);
    assert_eq!(program::ringway(["locate", "-c", &config, "--json", "--epoch", "1", "room-42"]).ok(), before);
    let checked = program::ringway(["check", "-c", &config]);
    let drift = "from the file to the store: add z=127.0.0.1:9,weight=5";
    assert!(checked.code == Some(0) && checked.stderr.contains(drift), "{checked:?}");
}

/// A proxy with one pool whose nodes are given under `setting`.
fn config(setting: &str, admin: &str, store: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n[admin]\n{admin}\n[store]\npath = \"{store}\"\n[[pool]]\nname = \"rooms\"\n\
         key = \"header:x-room\"\n{setting} = [{{ name = \"a\", address = \"127.0.0.1:1\" }}, \
         {{ name = \"b\", address = \"127.0.0.1:2\" }}]\n"
    )
}

const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
