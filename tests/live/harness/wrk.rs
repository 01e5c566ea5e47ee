//! Load: the real wrk, sending many keys round and round until it is told to stop.

use crate::harness::process::Process;
use crate::harness::story::Story;
use serde::Deserialize;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// A running wrk.
pub(crate) struct Wrk {
    process: Process,
}

/// What wrk counted.
#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    /// Connections refused.
    pub(crate) connect: u64,
    /// Connections that broke while reading.
    pub(crate) read: u64,
    /// Connections that broke while writing.
    pub(crate) write: u64,
    /// Responses that were not 2xx or 3xx.
    pub(crate) status: u64,
    /// Requests without an answer for two seconds.
    pub(crate) timeout: u64,
    /// Duration of the run, in microseconds.
    pub(crate) duration_us: u64,
    /// The time that 99 of 100 requests stay below, in microseconds.
    pub(crate) p99_us: f64,
}

impl Wrk {
    /// Starts `connections` that send `/?k=key-0` to `/?k=key-9999` in turn, each with `x-began`.
    pub(crate) fn start(story: &Story, to: SocketAddr, connections: usize) -> Wrk {
        let script = story.write("keys.lua", include_str!("keys.lua"));
        let mut command = Command::new("wrk");
        command.args(["-t", "1", "-d", "1h", "-c", &connections.to_string(), "-s"]);
        command.arg(script).arg(format!("http://{to}/"));
        Wrk { process: Process::start(&mut command, story.path("wrk.log")) }
    }

    /// Stops it and returns its figures. Requests that are under way count neither as sent nor as failed.
    pub(crate) fn stop(mut self) -> Load {
        self.process.signal("INT");
        self.process.wait();
        let output = self.process.output();
        let result = output.lines().find_map(|line| line.strip_prefix("result: "));
        let result = result.unwrap_or_else(|| panic!("wrk printed no result:\n{output}"));
        serde_json::from_str(result).unwrap_or_else(|error| panic!("{error}: {result}"))
    }
}

impl Load {
    /// Requests that failed in any way.
    pub(crate) fn failed(&self) -> u64 {
        self.connect + self.read + self.write + self.status + self.timeout
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / Duration::from_micros(self.duration_us).as_secs_f64()
    }
}
