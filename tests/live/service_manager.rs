//! What systemd passes to a service, and what it hears of it.

use crate::harness::client::Client;
use crate::harness::echo;
use crate::harness::process::Process;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::PATIENCE;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::thread;

/// Starts the binary as systemd does that has `socket` under `name`.
fn activate(story: &Story, config: &Path, socket: OwnedFd, name: &str) -> Process {
    // A shell moves the socket to where the protocol wants it, and keeps its process id.
    let script = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(ringway::binary()).args(["serve", "-c"]).arg(config).env("LISTEN_FDNAMES", name);
    Process::start_with(&mut command, Stdio::from(socket), story.path(&format!("{name}.log")))
}

#[test]
fn a_socket_that_is_passed_is_used_with_the_clients_that_wait_in_it() {
    let story = Story::begin("socket-activation");
    let nodes = format!("initial-nodes = {}", echo::nodes_toml(&echo::start(1)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = listener.local_addr().unwrap();
    let text = ringway::config("", &story.path("store"), &nodes);
    let config = story.write("ringway.toml", &text.replacen("127.0.0.1:0", &http.to_string(), 1));
    let waiting = thread::spawn(move || Client::new(http).get("/?k=1", &[(echo::ID, "early")]).unwrap());
    let proxy = Ringway::serving(activate(&story, &config, listener.into(), "ringway.socket"));
    assert_eq!(proxy.http, http);
    assert_eq!(waiting.join().unwrap().text(), "early 0");
}

#[test]
fn a_socket_by_the_name_of_admin_is_the_admin_listener() {
    let story = Story::begin("socket-by-name");
    let nodes = format!("initial-nodes = {}", echo::nodes_toml(&echo::start(1)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap();
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), &nodes));
    let proxy = Ringway::serving(activate(&story, &config, listener.into(), "admin"));
    assert_eq!(proxy.admin, admin);
    assert_eq!(proxy.operator().pool()["epoch"], 1);
}

#[test]
fn a_socket_that_nothing_asks_for_is_an_error_that_names_it() {
    let story = Story::begin("socket-unclaimed");
    let nodes = r#"initial-nodes = [{ name = "a", address = "127.0.0.1:9" }]"#;
    let config = story.write("ringway.toml", &ringway::config("", &story.path("store"), nodes));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut process = activate(&story, &config, listener.into(), "web");
    assert_eq!(process.wait().0.code(), Some(1));
    let log = process.log();
    assert!(log.contains("`web`") && log.contains(&address), "{log}");
}

/// The other end of NOTIFY_SOCKET.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(story: &Story) -> Manager {
        let socket = UnixDatagram::bind(story.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager(socket)
    }

    /// The next message that holds `assignment`.
    fn hear(&self, assignment: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("{assignment} does not come: {error}"));
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.lines().any(|line| line.starts_with(assignment)) {
                return text;
            }
        }
    }
}

#[test]
fn the_service_manager_hears_of_every_turn_of_its_life() {
    let story = Story::begin("notify");
    let manager = Manager::listen(&story);
    let nodes = r#"initial-nodes = [{ name = "a", address = "127.0.0.1:9" }]"#;
    let top = format!("take-over-socket = \"{}\"", story.path("door").display());
    let config = story.write("ringway.toml", &ringway::config(&top, &story.path("store"), nodes));
    let start = |more: &[&str]| {
        let mut command = Command::new(ringway::binary());
        command.env("NOTIFY_SOCKET", story.path("notify")).env("WATCHDOG_USEC", "400000");
        Ringway::spawn_with(&story, &config, more, &mut command)
    };
    let mut first = start(&[]);
    manager.hear("READY=1");
    manager.hear("WATCHDOG=1");
    first.signal("HUP");
    assert!(manager.hear("RELOADING=1").contains("MONOTONIC_USEC="), "systemd needs it to tell reloads apart");
    manager.hear("READY=1");

    let second = start(&["--take-over"]);
    let ready = manager.hear("MAINPID=");
    assert!(ready.contains(&format!("MAINPID={}\n", second.id())) && ready.contains("READY=1"), "{ready}");
    assert!(first.wait().0.success());
    second.signal("TERM");
    manager.hear("STOPPING=1");
}
