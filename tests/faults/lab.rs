//! The place of the faults: namespaces of its own, with a network for each node, all gone when this program is.
//!
//! Names, addresses and ports are fixed, because nothing else lives there: two labs do not see each other. However this
//! program ends, the kernel ends the backends and proxies with it and takes the networks down.

use crate::namespaces;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

/// The first argument of this program once it is inside.
pub(crate) const INSIDE: &str = "--inside-the-lab";

/// The port that every node listens on, each in its own network.
pub(crate) const NODE_PORT: u16 = 8080;

/// Nodes that there are networks for.
pub(crate) const NODES_MAX: usize = 5;

/// Turns this process into one that is inside; returns only why that failed.
pub(crate) fn enter(arguments: impl Iterator<Item = String>) -> std::io::Error {
    let this = std::env::current_exe().expect("a running program has a file");
    namespaces::command().arg(this).arg(INSIDE).args(arguments).exec()
}

/// Makes the networks of all nodes; to be called once, inside.
pub(crate) fn set_up() {
    end_when_interrupted();
    // `ip netns` keeps its names in /run, which belongs to the lab alone from here on.
    shell("mount -t tmpfs tmpfs /run && ip link set lo up");
    for index in 0..NODES_MAX {
        let (name, ours, theirs) = (node_name(index), format!("10.0.{index}.1"), node_host(index));
        shell(&format!(
            "ip netns add {name} && ip link add to-{name} type veth peer name eth0 netns {name} \
             && ip address add {ours}/24 dev to-{name} && ip link set to-{name} up \
             && ip -n {name} address add {theirs}/24 dev eth0 && ip -n {name} link set eth0 up \
             && ip -n {name} link set lo up"
        ));
    }
}

/// The name of a node and of its network: `a` to `e`.
pub(crate) fn node_name(index: usize) -> String {
    char::from(b"abcde"[index]).to_string()
}

/// The host address of a node.
pub(crate) fn node_host(index: usize) -> String {
    format!("10.0.{index}.2")
}

/// A command that runs `program` in the network of a node.
pub(crate) fn in_network(name: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{name}")).arg(program);
    command
}

/// Runs a line of shell that must succeed.
pub(crate) fn shell(line: &str) {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new("sh").args(["-c", line]).env("PATH", path).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{why}tests/run installs what the faults need, which is root here too");
}

/// The first process of a process namespace has no default for signals: without this, ctrl-c would do nothing.
fn end_when_interrupted() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tokio::signal::ctrl_c()).unwrap();
        std::process::exit(130);
    });
}
