//! The proxies: each is told to do the same, as far as it can be.
//!
//! All hash the path consistently, try another node when one cannot be connected to within a second, and keep
//! connections to nodes. They differ in how long a node may take to answer, and in what is tried again after that.

use crate::harness::process::Process;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use crate::node::Node;
use std::fs;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A proxy with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// HAProxy with redispatch and active checks.
    Haproxy,
    /// HAProxy that also tries again what is no POST, and watches live traffic.
    HaproxyRetrying,
    /// nginx with its passive checks.
    Nginx,
    /// The binary under test.
    Ringway,
}

/// How long a node may take to begin its response, in the settings for Ringway.
pub(crate) const PER_TRY_TIMEOUT: Duration = Duration::from_secs(1);

/// A proxy that runs.
pub(crate) struct Running {
    pub(crate) http: SocketAddr,
    /// Where Ringway's operators connect.
    pub(crate) admin: Option<SocketAddr>,
    process: Process,
}

impl Proxy {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Proxy; 4] = [Proxy::Ringway, Proxy::Haproxy, Proxy::HaproxyRetrying, Proxy::Nginx];

    /// Its name in tables and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Proxy::Haproxy => "haproxy",
            Proxy::HaproxyRetrying => "haproxy-retrying",
            Proxy::Nginx => "nginx",
            Proxy::Ringway => "ringway",
        }
    }

    /// How it is set up, for the reader of a table.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Proxy::Haproxy => "redispatch, checks every 500 ms, server timeout 3 s",
            Proxy::HaproxyRetrying => {
                "and retry-on all-retryable-errors but for POST, server timeout 1 s, observe layer7"
            }
            Proxy::Nginx => "hash consistent, proxy_next_upstream and max_fails as they come, read timeout 3 s",
            Proxy::Ringway => "checks every 500 ms, ejection after 3 failures, head timeout 1 s",
        }
    }

    /// What it says of its version.
    pub(crate) fn version(self) -> String {
        let (program, argument) = match self {
            Proxy::Haproxy | Proxy::HaproxyRetrying => ("haproxy".into(), "-v"),
            Proxy::Nginx => ("nginx".into(), "-v"),
            Proxy::Ringway => (ringway::binary(), "--version"),
        };
        let output = Command::new(program).arg(argument).env("PATH", path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let version = said.split([' ', '/', '\n']).find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        version.unwrap_or_default().to_owned()
    }

    /// Starts it in front of `nodes`, and waits until it accepts; `settings` are more of a Ringway pool.
    pub(crate) fn start(self, story: &Story, directory: &Path, nodes: &[Node], settings: &str) -> Running {
        let http = SocketAddr::from(([127, 0, 0, 1], HTTP_PORT));
        let mut command = match self {
            Proxy::Haproxy => haproxy(directory, nodes, "  timeout server 3s\n"),
            Proxy::HaproxyRetrying => haproxy(directory, nodes, HAPROXY_RETRYING),
            Proxy::Nginx => nginx(directory, nodes),
            Proxy::Ringway => {
                let config = directory.join("ringway.toml");
                fs::write(&config, ringway_config(directory, nodes, settings)).unwrap();
                let Ringway { process, http, admin } = Ringway::serve(story, &config);
                return Running { http, admin: Some(admin), process };
            }
        };
        let log = directory.join(format!("{}.stderr", self.name()));
        let mut process = Process::start(command.env("PATH", path()).process_group(0), log);
        until_true(&format!("{} accepts", self.name()), || {
            assert!(process.ended().is_none(), "{} ended:\n{}", self.name(), process.log());
            TcpStream::connect(http).is_ok()
        });
        Running { http, admin: None, process }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx has workers of its own, which must let go of the port.
        if self.admin.is_none() {
            let group = self.process.id();
            drop(Command::new("sh").args(["-c", &format!("kill -s KILL -- -{group}")]).status());
        }
    }
}

fn path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin"
}

fn haproxy(directory: &Path, nodes: &[Node], more: &str) -> Command {
    let servers: String = nodes.iter().map(|node| format!("  server {} {} check\n", node.name, node.address)).collect();
    let text = format!(
        "global\n  nbthread 2\n\
         defaults\n  mode http\n  timeout connect 1s\n  timeout client 30s\n  retries 3\n  option redispatch 1\n\
         frontend clients\n  bind 127.0.0.1:{HTTP_PORT}\n  default_backend nodes\n\
         backend nodes\n  balance uri\n  hash-type consistent\n  option httpchk GET {HEALTH_PATH}\n\
         {more}  default-server inter 500ms fall 2 rise 2\n{servers}"
    );
    let config = directory.join("haproxy.cfg");
    fs::write(&config, text).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(config);
    command
}

fn nginx(directory: &Path, nodes: &[Node]) -> Command {
    let servers: String = nodes.iter().map(|node| format!("server {};\n", node.address)).collect();
    let at = directory.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {at}/{what};\n"))
        .concat();
    let text = format!(
        "user root; daemon off; worker_processes 2; pid {at}/nginx.pid; error_log stderr warn;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\naccess_log off; {temporary}\
         upstream nodes {{ zone nodes 64k; hash $uri consistent;\n{servers}keepalive 64; }}\n\
         server {{ listen 127.0.0.1:{HTTP_PORT}; keepalive_requests 1000000;\n\
         location / {{ proxy_pass http://nodes; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_connect_timeout 1s; proxy_read_timeout 3s; proxy_send_timeout 3s; }} }} }}\n"
    );
    let config = directory.join("nginx.conf");
    fs::write(&config, text).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(directory).arg("-c").arg(config);
    command
}

fn ringway_config(directory: &Path, nodes: &[Node], settings: &str) -> String {
    let node = |node: &Node| format!("  {{ name = \"{}\", address = \"{}\" }},\n", node.name, node.address);
    let nodes: String = nodes.iter().map(node).collect();
    let store = directory.join("store");
    format!(
        "listen = \"127.0.0.1:0\"\nworkers = 2\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [store]\npath = \"{}\"\n\n\
         [[pool]]\nname = \"{}\"\nkey = \"path\"\ndecision-headers = true\n\
         timeouts = {{ connect = \"1s\", head = \"{}s\", total = \"5s\" }}\n\
         health = {{ path = \"{HEALTH_PATH}\", every = \"500ms\", doubtful-every = \"200ms\", timeout = \"500ms\", \
         up-after = 2, down-after = 2 }}\n\
         ejection = {{ failures = 3, time = \"500ms\", max-time = \"2s\", max-percent = 50 }}\n\
         {settings}\ninitial-nodes = [\n{nodes}]\n",
        store.display(),
        ringway::POOL,
        PER_TRY_TIMEOUT.as_secs(),
    )
}

/// The namespaces are this program's own, so that the port is free.
const HTTP_PORT: u16 = 8000;

const HEALTH_PATH: &str = "/healthz";

const HAPROXY_RETRYING: &str = "  timeout server 1s\n  retry-on all-retryable-errors\n\
                                \x20 http-request disable-l7-retry if METH_POST\n\
                                \x20 default-server observe layer7 error-limit 3 on-error mark-down\n";
