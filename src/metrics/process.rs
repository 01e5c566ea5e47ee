//! `process_*`: what Linux says about this process, read from `/proc/self` at scrape.

use std::fs;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// One sample of the process; a field is `None` where the system does not tell.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) open_fds: Option<f64>,
    pub(crate) max_fds: Option<f64>,
    pub(crate) resident_bytes: Option<f64>,
    pub(crate) virtual_bytes: Option<f64>,
    pub(crate) threads: Option<f64>,
    pub(crate) start_seconds: Option<f64>,
}

/// Linux counts process times in hundredths of a second on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    /// Reads `/proc/self` now.
    pub(crate) fn sample() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The command name may hold spaces, so fields are counted from the closing parenthesis: `state` is 0.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
        Process {
            cpu_seconds: field(11).zip(field(12)).map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64),
            max_fds: max_fds(),
            resident_bytes: kilobytes(&status, "VmRSS:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            threads: field(17),
            start_seconds: field(19).and_then(|ticks| start_seconds(ticks / TICKS_PER_SECOND)),
        }
    }
}

fn kilobytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Unix time of the start, from the seconds after boot at which it happened.
fn start_seconds(after_boot: f64) -> Option<f64> {
    let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - uptime + after_boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_files_and_a_past() {
        let sample = Process::sample();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(sample.resident_bytes.unwrap() > 100_000.0, "{sample:?}");
        assert!(sample.threads.unwrap() >= 1.0, "{sample:?}");
        assert!(sample.open_fds.unwrap() <= sample.max_fds.unwrap(), "{sample:?}");
        assert!((now - 3600.0..=now + 2.0).contains(&sample.start_seconds.unwrap()), "{sample:?}, now {now}");
    }
}
