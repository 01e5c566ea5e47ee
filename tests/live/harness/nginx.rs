//! Backends: one real nginx with a server on a port of its own for each node, which answers with the node's name.

use crate::harness::process::Process;
use crate::harness::story::Story;
use crate::harness::story::free_ports;
use crate::harness::wait::until;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

/// A running nginx.
pub(crate) struct Nginx {
    process: Process,
    addresses: BTreeMap<String, SocketAddr>,
    directory: PathBuf,
}

/// A request as a backend has seen it.
pub(crate) struct Served {
    /// When its client began it, in microseconds since 1970, from its field `x-began`.
    pub(crate) began_us: u64,
    /// By when it had arrived here, in milliseconds since 1970, rounded up.
    pub(crate) arrived_ms: u64,
}

impl Served {
    /// Reads `BEGAN SECONDS.MILLISECONDS`. nginx takes the time once for all that epoll reports together, after it has
    /// arrived, and rounds it down.
    fn parse(line: &str) -> Served {
        let (began, time) = line.split_once(' ').unwrap();
        let arrived_ms = time.replace('.', "").parse::<u64>().unwrap() + 1;
        Served { began_us: began.parse().unwrap(), arrived_ms }
    }
}

impl Nginx {
    /// Starts a server for each of `names` and waits until all of them answer.
    pub(crate) fn start(story: &Story, names: &[&str]) -> Nginx {
        let directory = story.path("nginx");
        fs::create_dir_all(&directory).unwrap();
        // Another program may take a port between its choice and its use; then nginx ends, and others are chosen.
        until("nginx has all its ports", || Nginx::try_start(&directory, names))
    }

    fn try_start(directory: &PathBuf, names: &[&str]) -> Option<Nginx> {
        let ports = free_ports(names.len()).into_iter();
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let addresses: BTreeMap<_, _> = names.iter().map(|name| (*name).to_owned()).zip(ports.map(address)).collect();
        let config = directory.join("nginx.conf");
        fs::write(&config, config_text(directory, &addresses)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut command = Command::new("nginx");
        command.env("PATH", path).arg("-p").arg(directory).arg("-e").arg("stderr").arg("-c").arg(&config);
        let mut process = Process::start(&mut command, directory.join("stderr.log"));
        let is_up = until("nginx answers or ends", || match process.ended() {
            Some(_) => Some(false),
            None => addresses.values().all(|address| TcpStream::connect(address).is_ok()).then_some(true),
        });
        let log = process.log();
        assert!(is_up || log.contains("Address already in use"), "nginx does not start:\n{log}");
        is_up.then(|| Nginx { process, addresses, directory: directory.clone() })
    }

    /// Where the server of a node listens.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.addresses[name]
    }

    /// All nodes as entries of `nodes` or `initial-nodes`.
    pub(crate) fn nodes_toml(&self) -> String {
        let entries = self.addresses.iter().map(|(name, at)| format!(r#"{{ name = "{name}", address = "{at}" }}, "#));
        format!("[{}]", entries.collect::<String>())
    }

    /// Ends it, which writes out what its logs hold back, and returns what each node has served; every request must
    /// have had `x-began`.
    pub(crate) fn stop(mut self) -> BTreeMap<String, Vec<Served>> {
        self.process.signal("QUIT");
        self.process.wait();
        let served = |name: &String| {
            let log = fs::read_to_string(self.directory.join(format!("{name}.log"))).unwrap();
            (name.clone(), log.lines().map(Served::parse).collect())
        };
        self.addresses.keys().map(served).collect()
    }
}

fn config_text(directory: &std::path::Path, addresses: &BTreeMap<String, SocketAddr>) -> String {
    let directory = directory.display();
    let mut text = format!(
        "user root; daemon off; master_process off; pid {directory}/pid; error_log stderr warn;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         log_format began '$http_x_began $msec';\n\
         keepalive_requests 1000000000; keepalive_timeout 1h;\n\
         client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;\n\
         fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;\n"
    );
    for (name, address) in addresses {
        writeln!(
            text,
            "server {{ listen {address}; access_log {directory}/{name}.log began buffer=64k flush=1s;\n\
             location / {{ return 200 {name}; }} }}"
        )
        .unwrap();
    }
    text + "}\n"
}
