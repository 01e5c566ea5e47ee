//! The programs whose placements Ringway reproduces, each with a configuration of its own.

use crate::harness::process::Process;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// nginx with `http` in its block of that name.
pub(crate) fn nginx(story: &Story, http: &str, ports: &[u16]) -> Process {
    let directory = story.path("front");
    std::fs::create_dir_all(&directory).unwrap();
    let at = directory.display();
    let text = format!(
        "user root; daemon off; master_process off; pid {at}/pid; error_log stderr warn;\n\
         worker_rlimit_nofile 4096; events {{ worker_connections 4096; }}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000;\n\
         client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
         fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
         {http}\n}}\n"
    );
    let config = story.write("front.conf", &text);
    let mut command = installed("nginx");
    command.arg("-p").arg(&directory).arg("-e").arg("stderr").arg("-c").arg(config);
    start(story, &mut command, ports)
}

/// nginx on a file that says neither `daemon` nor `master_process`; what it writes goes into `logs`.
pub(crate) fn nginx_on(story: &Story, file: &Path, ports: &[u16]) -> Process {
    std::fs::create_dir_all(story.path("logs")).unwrap();
    let mut command = installed("nginx");
    command.arg("-p").arg(story.path("")).args(["-e", "stderr", "-g", "daemon off; master_process off;"]);
    start(story, command.arg("-c").arg(file), ports)
}

/// HAProxy with these sections.
pub(crate) fn haproxy(story: &Story, sections: &str, ports: &[u16]) -> Process {
    let defaults = "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n";
    let config = story.write("haproxy.cfg", &format!("{defaults}\n{sections}\n"));
    haproxy_on(story, &config, ports)
}

/// HAProxy on a file.
pub(crate) fn haproxy_on(story: &Story, file: &Path, ports: &[u16]) -> Process {
    let mut command = installed("haproxy");
    start(story, command.arg("-db").arg("-f").arg(file), ports)
}

/// Envoy with these resources, in JSON.
pub(crate) fn envoy(story: &Story, resources: &serde_json::Value, ports: &[u16]) -> Process {
    let config = story.write("envoy.json", &serde_json::json!({ "static_resources": resources }).to_string());
    envoy_on(story, &config, ports)
}

/// Envoy on a file, in the folder of which other files may be named.
pub(crate) fn envoy_on(story: &Story, file: &Path, ports: &[u16]) -> Process {
    let mut command = Command::new(envoy_binary());
    command.args(["--concurrency", "1", "--log-level", "warn", "--disable-hot-restart", "--config-path"]);
    start(story, command.arg(file).current_dir(file.parent().unwrap()), ports)
}

/// Where `tests/run` puts Envoy, which no Debian package has.
fn envoy_binary() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_ringway")).ancestors().nth(2).unwrap();
    let kept = std::fs::read_dir(target.join("side-by-side")).into_iter().flatten().map(Result::unwrap);
    let mut envoys = kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("envoy-"));
    envoys.next().expect("Envoy is not there; `tests/run` downloads it").path().join("envoy")
}

fn installed(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin");
    command
}

/// Starts it and waits until it listens everywhere.
fn start(story: &Story, command: &mut Command, ports: &[u16]) -> Process {
    let mut process = Process::start(command, story.path("original.log"));
    let is_open = |port: &u16| TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok();
    until_true("the original listens", || {
        assert!(process.ended().is_none(), "it ended:\n{}", process.log());
        ports.iter().all(is_open)
    });
    process
}
