//! The binary under test, as a server and as a command.

use crate::harness::client::Answer;
use crate::harness::client::Client;
use crate::harness::process::Process;
use crate::harness::story::Story;
use http::Method;
use serde_json::Value;
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::thread;

/// The pool of every config here.
pub(crate) const POOL: &str = "rooms";

/// A running proxy.
pub(crate) struct Ringway {
    pub(crate) process: Process,
    /// Where clients connect.
    pub(crate) http: SocketAddr,
    /// Where operators connect.
    pub(crate) admin: SocketAddr,
}

impl Ringway {
    /// Starts it and waits until it serves.
    pub(crate) fn serve(story: &Story, config: &Path) -> Ringway {
        Ringway::serving(Ringway::spawn(story, config))
    }

    /// Starts one that takes over from the one that serves, and waits until it does.
    pub(crate) fn take_over(story: &Story, config: &Path) -> Ringway {
        let mut process = Ringway::spawn_with(story, config, &["--take-over"], &mut Command::new(binary()));
        process.wait_for_log("took over");
        Ringway::serving(process)
    }

    /// As [`Ringway::serve`], by a command that runs it.
    pub(crate) fn serve_by(story: &Story, command: &mut Command) -> Ringway {
        Ringway::serving(Process::start(command, log(story)))
    }

    /// Waits until a process serves.
    pub(crate) fn serving(mut process: Process) -> Ringway {
        let mut address = |what| process.wait_for_log(&format!("{what} address=")).parse().unwrap();
        let (http, admin) = (address("serving HTTP"), address("serving the admin API"));
        Ringway { process, http, admin }
    }

    /// Starts it without expecting that it will serve.
    pub(crate) fn spawn(story: &Story, config: &Path) -> Process {
        Ringway::spawn_with(story, config, &[], &mut Command::new(binary()))
    }

    /// As [`Ringway::spawn`], with more arguments, by a command that runs the binary.
    pub(crate) fn spawn_with(story: &Story, config: &Path, more: &[&str], command: &mut Command) -> Process {
        Process::start(command.args(["serve", "-c"]).arg(config).args(more), log(story))
    }

    /// A client of the data plane.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// A client of the admin API.
    pub(crate) fn operator(&self) -> Operator {
        Operator(Client::new(self.admin))
    }

    /// What it takes of the memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

/// Speaks to the admin API.
pub(crate) struct Operator(Client);

impl Operator {
    /// Makes changes, unsafe ones too.
    pub(crate) fn apply(&mut self, changes: &Value) -> Result<Answer, String> {
        let body = json!({ "changes": changes, "force": true });
        self.0.json(Method::POST, &format!("/v1/pools/{POOL}/apply"), &body)
    }

    /// Makes changes, unsafe ones too, and notes why.
    pub(crate) fn apply_because(&mut self, reason: &str, changes: &Value) -> Result<Answer, String> {
        let body = json!({ "changes": changes, "force": true, "reason": reason });
        self.0.json(Method::POST, &format!("/v1/pools/{POOL}/apply"), &body)
    }

    /// Makes changes if the pool is still at `epoch`.
    pub(crate) fn apply_at(&mut self, epoch: u64, changes: &Value) -> Answer {
        let body = json!({ "changes": changes, "if_epoch": epoch });
        self.0.json(Method::POST, &format!("/v1/pools/{POOL}/apply"), &body).unwrap()
    }

    /// Makes changes that must succeed; returns their epoch.
    pub(crate) fn must_apply(&mut self, changes: &Value) -> u64 {
        let answer = self.apply(changes).unwrap();
        assert_eq!(answer.status, 200, "{changes}: {}", answer.text());
        answer.value()["epoch"].as_u64().unwrap()
    }

    /// A document that must be there.
    pub(crate) fn get(&mut self, path: &str) -> Value {
        let answer = self.try_get(path).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.value()
    }

    /// Whatever is answered.
    pub(crate) fn try_get(&mut self, path: &str) -> Result<Answer, String> {
        self.0.get(path, &[])
    }

    /// The pool's membership.
    pub(crate) fn pool(&mut self) -> Value {
        self.get(&format!("/v1/pools/{POOL}"))
    }

    /// The sum of a metric over all its series that hold `labels`.
    pub(crate) fn metric(&mut self, name: &str, labels: &str) -> f64 {
        let answer = self.try_get("/metrics").unwrap();
        let text = answer.text();
        let series =
            text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
        series
            .filter(|rest| rest.contains(labels))
            .map(|rest| rest.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum()
    }
}

/// Where one process logs.
fn log(story: &Story) -> PathBuf {
    story.path(&format!("ringway-{}.log", fastrand::u32(..)))
}

/// A config file of one pool; `top` are settings of the top level, `pool` those of the pool with its nodes.
pub(crate) fn config(top: &str, store: &Path, pool: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n{top}\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [store]\npath = \"{}\"\n\n\
         [[pool]]\nname = \"{POOL}\"\nkey = \"query:k\"\ndecision-headers = true\n{pool}\n",
        store.display()
    )
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a verb to its end, with `input` on standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Printed {
    run_binary(&binary(), arguments, input)
}

/// As [`run`], with another build of the binary.
pub(crate) fn run_binary(binary: &Path, arguments: &[&str], input: &str) -> Printed {
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // From a thread of its own: a pipe that is full in both directions would block both ends.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A command that does not read its input may have ended before it was written.
    drop(writer.join().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Printed { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The release build where there is one: `RINGWAY_BIN`, or where cargo puts it.
pub(crate) fn binary() -> PathBuf {
    let debug = debug_binary();
    let release = debug.parent().and_then(Path::parent).unwrap().join("release/ringway");
    match std::env::var_os("RINGWAY_BIN") {
        Some(path) => PathBuf::from(path),
        None if release.exists() => release,
        None => debug,
    }
}

/// The build that belongs to the tests.
pub(crate) fn debug_binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ringway"))
}
