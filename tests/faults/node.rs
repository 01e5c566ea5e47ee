//! One node: a process in a network of its own, and everything that can happen to it.

use crate::backend;
use crate::backend::Behaviour;
use crate::backend::Idle;
use crate::harness::process::Process;
use crate::harness::wait::until_true;
use crate::lab;
use crate::lab::NODE_PORT;
use crate::lab::in_network;
use crate::lab::shell;
use std::fs;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// The program of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Real nginx with two workers, which answers at once.
    Nginx,
    /// The backend of this suite.
    Own(Idle),
}

/// A node, running or not.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    directory: PathBuf,
    program: Program,
    process: Option<Process>,
}

impl Node {
    /// Starts the nodes of one run; `directory` is theirs alone.
    pub(crate) fn start_all(count: usize, program: Program, directory: &Path) -> Vec<Node> {
        let node = |index| {
            let (name, host) = (lab::node_name(index), lab::node_host(index));
            let address = SocketAddr::new(host.parse().unwrap(), NODE_PORT);
            let mut node = Node { name, address, directory: directory.to_owned(), program, process: None };
            node.start();
            node
        };
        (0..count).map(node).collect()
    }

    /// Starts it, and waits until it accepts connections.
    pub(crate) fn start(&mut self) {
        let log = self.directory.join(format!("{}-{}.stderr", self.name, fastrand::u32(..)));
        // A process group, because what happens to a node happens to all of its processes.
        self.process = Some(Process::start(self.command().process_group(0), log));
        until_true(&format!("{} accepts", self.name), || TcpStream::connect(self.address).is_ok());
    }

    fn command(&self) -> Command {
        match self.program {
            Program::Nginx => {
                let config = self.directory.join(format!("{}.conf", self.name));
                fs::write(&config, self.nginx_config()).unwrap();
                let mut command = in_network(&self.name, "nginx");
                let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
                command.env("PATH", path).args(["-e", "stderr", "-p"]).arg(&self.directory).arg("-c").arg(config);
                command
            }
            Program::Own(idle) => {
                let this = std::env::current_exe().unwrap();
                let mut command = in_network(&self.name, this);
                command.args([backend::ROLE, &self.name, &self.address.to_string()]).arg(&self.directory);
                command.arg(idle.to_string());
                command
            }
        }
    }

    fn nginx_config(&self) -> String {
        let Node { name, address, directory, .. } = self;
        let (journal, directory) = (backend::journal(directory, name), directory.display());
        let (number, served_by) = (backend::NUMBER.replace('-', "_"), backend::SERVED_BY);
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {directory}/{name}-{what};\n"))
            .concat();
        format!(
            "user root; daemon off; worker_processes 2; pid {directory}/{name}.pid; error_log stderr warn;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n{temporary}log_format number '$request_method $http_{number}';\n\
             server {{ listen {address}; access_log {journal} number; add_header {served_by} {name};\n\
             location / {{ return 200 {body}; }} }} }}\n",
            journal = journal.display(),
            body = ".".repeat(backend::BODY_BYTES),
        )
    }

    /// Sends SIGKILL to all its processes, and waits until they are gone.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        let mut process = self.process.take().expect("a node is killed while it runs");
        process.wait();
        until_true(&format!("{} is gone", self.name), || TcpStream::connect(self.address).is_err());
    }

    /// Sends SIGTERM, and waits until it has finished what was open and is gone.
    pub(crate) fn terminate(&mut self) {
        self.signal("TERM");
        let mut process = self.process.take().expect("a node is terminated while it runs");
        process.wait();
    }

    /// Its processes stand still, and the system goes on to accept for them.
    pub(crate) fn hang(&self) {
        self.signal("STOP");
    }

    /// The opposite of [`Node::hang`].
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// nginx reads its config again, and replaces its workers.
    pub(crate) fn reload(&self) {
        let process = self.process.as_ref().expect("a node is reloaded while it runs");
        process.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("signals go to nodes that run");
        shell(&format!("kill -s {name} -- -{}", process.id()));
    }

    /// Every packet from and to it vanishes, of open connections and new ones.
    pub(crate) fn swallow_packets(&self) {
        let chain =
            |hook| format!("add chain inet hole {hook} {{ type filter hook {hook} priority 0; policy drop; }};");
        self.nft(&format!("add table inet hole; {} {}", chain("input"), chain("output")));
    }

    /// The opposite of [`Node::swallow_packets`].
    pub(crate) fn let_packets_pass(&self) {
        self.nft("delete table inet hole");
    }

    fn nft(&self, commands: &str) {
        shell(&format!("nsenter --net=/run/netns/{} nft '{commands}'", self.name));
    }

    /// Aborts all its connections: whoever has one gets a RST.
    pub(crate) fn reset_connections(&self) {
        // `ss` lists what it kills; what it finds gone already, and what was never connected, it complains about.
        shell(&format!("nsenter --net=/run/netns/{} ss -K state connected sport = {NODE_PORT} >&2", self.name));
    }

    /// Tells our own backend how to behave from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        behaviour.tell(&self.directory, &self.name);
    }

    /// The method and number of every request that it has received whole, as often as it has.
    pub(crate) fn journal(&self) -> Vec<(String, usize)> {
        let journal = fs::read_to_string(backend::journal(&self.directory, &self.name)).unwrap_or_default();
        let entry = |line: &str| {
            line.split_once(' ').and_then(|(method, number)| Some((method.to_owned(), number.parse().ok()?)))
        };
        journal.lines().filter_map(entry).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            // It may be hung, or gone by itself.
            drop(Command::new("sh").args(["-c", &format!("kill -s KILL -- -{}", process.id())]).status());
        }
    }
}
