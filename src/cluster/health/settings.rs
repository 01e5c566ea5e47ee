//! How a pool finds out that a node is ill: the settings of its checks, of ejection, and of what follows.

use crate::section::Printer;
use crate::section::Section;
use crate::section::Value;
use std::ops::RangeInclusive;
use std::time::Duration;

/// `health` of a pool: what is asked of its nodes, and when so few are well that all are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// What is asked of a node; `None` when nothing is.
    pub check: Option<Check>,
    /// `every` 2s: between two checks of a node.
    pub every: Duration,
    /// `doubtful-every` 500ms: the same while the last answers contradict the state of the node.
    pub doubtful_every: Duration,
    /// `timeout` 1s: for a check to connect and be answered.
    pub timeout: Duration,
    /// `jitter-percent` 10: each wait is longer or shorter by up to so much, so that proxies do not check in step.
    pub jitter_percent: u32,
    /// `up-after` 2: passed checks in a row that bring a node back.
    pub up_after: u32,
    /// `down-after` 3: failed checks in a row that take a node out.
    pub down_after: u32,
    /// `panic-below-percent` 25: with less weight than this share of the placed nodes well, all are used.
    pub panic_below_percent: u32,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// An HTTP/1.1 request.
    Http(HttpCheck),
    /// A connection, nothing more.
    Tcp,
}

/// An HTTP check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// `path`, with a query if it needs one.
    pub path: String,
    /// `method` GET.
    pub method: String,
    /// `host`: the `Host` field. Default: the node's address.
    pub host: Option<String>,
    /// `expect` "2xx": the statuses that pass.
    pub expect: Vec<StatusRange>,
}

/// Statuses from the first to the last, both included; people write `200`, `"2xx"` or `"200-399"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

/// `ejection` of a pool: which failures of live requests take a node out, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjectionSettings {
    /// `failures` 5: failed requests in a row; 0 is never.
    pub failures: u32,
    /// `failure-percent` 50: share of failed requests in the window; 0 is never.
    pub failure_percent: u32,
    /// `min-requests` 20: fewer than these in the window say nothing.
    pub min_requests: u32,
    /// `window` 10s: how far back requests count.
    pub window: Duration,
    /// `statuses`: responses that count as failures. Default none: an application's errors may be its clients' fault.
    pub statuses: Vec<StatusRange>,
    /// `time` 1s: the first ejection; each one that follows takes twice as long.
    pub time: Duration,
    /// `max-time` 1m: the longest.
    pub max_time: Duration,
    /// `max-percent` 50: share of the weight that may be ejected at once; one node of several always may.
    pub max_percent: u32,
}

/// `on-down`: what becomes of the keys of a node that is ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDown {
    /// They go to the next candidate until it is well again.
    Spill,
    /// They wait so long for it, and then go to the next candidate.
    Hold(Duration),
    /// They are answered with 503.
    Fail,
}

impl HealthSettings {
    /// Reads the table `health`.
    pub fn read(section: &mut Section<'_>) -> HealthSettings {
        HealthSettings {
            check: read_check(section),
            every: section.duration("every", Duration::from_secs(2), TIMES),
            doubtful_every: section.duration("doubtful-every", Duration::from_millis(500), TIMES),
            timeout: section.duration("timeout", Duration::from_secs(1), TIMES),
            jitter_percent: section.integer("jitter-percent", 10, 0..=50),
            up_after: section.integer("up-after", 2, 1..=1000),
            down_after: section.integer("down-after", 3, 1..=1000),
            panic_below_percent: section.integer("panic-below-percent", 25, 0..=100),
        }
    }

    /// Writes `[pool.health]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[pool.health]");
        match &self.check {
            None => {}
            Some(Check::Tcp) => printer.set("tcp", true),
            Some(Check::Http(check)) => {
                printer.set("path", check.path.as_str());
                printer.set("method", check.method.as_str());
                printer.set_some("host", check.host.as_deref());
                printer.set("expect", print_statuses(&check.expect));
            }
        }
        printer.set_duration("every", self.every);
        printer.set_duration("doubtful-every", self.doubtful_every);
        printer.set_duration("timeout", self.timeout);
        printer.set("jitter-percent", self.jitter_percent);
        printer.set("up-after", self.up_after);
        printer.set("down-after", self.down_after);
        printer.set("panic-below-percent", self.panic_below_percent);
    }
}

impl EjectionSettings {
    /// Reads the table `ejection`.
    pub fn read(section: &mut Section<'_>) -> EjectionSettings {
        EjectionSettings {
            failures: section.integer("failures", 5, 0..=1_000_000),
            failure_percent: section.integer("failure-percent", 50, 0..=100),
            min_requests: section.integer("min-requests", 20, 1..=1_000_000_000),
            window: section.duration("window", Duration::from_secs(10), Duration::from_secs(1)..=HOUR),
            statuses: read_statuses(section, "statuses").unwrap_or_default(),
            time: section.duration("time", Duration::from_secs(1), TIMES),
            max_time: section.duration("max-time", Duration::from_secs(60), TIMES),
            max_percent: section.integer("max-percent", 50, 0..=100),
        }
    }

    /// Writes `[pool.ejection]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[pool.ejection]");
        printer.set("failures", self.failures);
        printer.set("failure-percent", self.failure_percent);
        printer.set("min-requests", self.min_requests);
        printer.set_duration("window", self.window);
        printer.set("statuses", print_statuses(&self.statuses));
        printer.set_duration("time", self.time);
        printer.set_duration("max-time", self.max_time);
        printer.set("max-percent", self.max_percent);
    }
}

impl OnDown {
    /// Reads `"spill"`, `"fail"` or `"hold 5s"`. The error is a sentence for the user.
    pub fn parse(written: &str) -> Result<OnDown, String> {
        let hold = |time: &str| {
            let time = humantime::parse_duration(time.trim()).ok().filter(|time| TIMES.contains(time));
            time.map(OnDown::Hold).ok_or("`hold` takes a time from 1ms to 1h, such as \"hold 5s\"".to_owned())
        };
        match written.split_once(' ') {
            None if written == "spill" => Ok(OnDown::Spill),
            None if written == "fail" => Ok(OnDown::Fail),
            None if written == "hold" => hold(""),
            Some(("hold", time)) => hold(time),
            _ => Err(format!("unknown `on-down` policy `{written}`; write \"spill\", \"hold 5s\" or \"fail\"")),
        }
    }
}

/// As it is read.
impl std::fmt::Display for OnDown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OnDown::Spill => write!(out, "spill"),
            OnDown::Hold(time) => write!(out, "hold {}", humantime::format_duration(*time)),
            OnDown::Fail => write!(out, "fail"),
        }
    }
}

impl StatusRange {
    /// Whether it holds `status`.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    /// Reads `200`, `2xx` or `200-399`. The error is a sentence for the user.
    pub fn parse(written: &str) -> Result<StatusRange, String> {
        let number = |text: &str| text.parse().ok().filter(|status| (100..=599).contains(status));
        let range = match (written.strip_suffix("xx"), written.split_once('-')) {
            (Some(class), _) => number(&format!("{class}00")).map(|first| (first, first + 99)),
            (None, Some((first, last))) => number(first).zip(number(last)),
            (None, None) => number(written).map(|status| (status, status)),
        };
        let range = range.filter(|(first, last)| first <= last);
        range.map(|(first, last)| StatusRange { first, last }).ok_or_else(|| {
            format!("`{written}` is not a status; write 200, \"2xx\" or \"200-399\", with statuses from 100 to 599")
        })
    }
}

/// As it is read.
impl std::fmt::Display for StatusRange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(out, "{first}"),
            (first, last) if first % 100 == 0 && last == first + 99 => write!(out, "{}xx", first / 100),
            (first, last) => write!(out, "{first}-{last}"),
        }
    }
}

/// The statuses of a setting: one or a list, numbers or strings. `None` without the setting.
pub fn read_statuses(section: &mut Section<'_>, name: &'static str) -> Option<Vec<StatusRange>> {
    let read = |value: Value<'_>| match value.is_string() {
        true => value.parse(StatusRange::parse),
        false => value.integer(100..=599).map(|status| StatusRange { first: status, last: status }),
    };
    Some(section.value(name)?.one_or_more().into_iter().filter_map(read).collect())
}

/// Statuses as strings of a list.
pub fn print_statuses(statuses: &[StatusRange]) -> Vec<String> {
    statuses.iter().map(ToString::to_string).collect()
}

fn read_check(section: &mut Section<'_>) -> Option<Check> {
    let path = section.parse("path", parse_check_path);
    let method = section.parse("method", parse_method);
    let host = section.parse("host", parse_host);
    let expect = read_statuses(section, "expect");
    let tcp = section.boolean("tcp", false);
    if !section.gives("path") {
        for name in ["method", "host", "expect"].into_iter().filter(|name| section.gives(name)) {
            let place = section.place_of(name);
            let message = format!("`{name}` is of an HTTP check, which needs a `path`; add path = \"/healthz\"");
            section.report(crate::section::Mistake::new(place, message));
        }
        return tcp.then_some(Check::Tcp);
    }
    if tcp {
        let place = section.place_of("tcp");
        let message = "a check is either HTTP or TCP; remove `tcp` or `path`";
        section.report(crate::section::Mistake::new(place, message));
    }
    let method = method.unwrap_or_else(|| "GET".to_owned());
    let expect = expect.unwrap_or_else(|| vec![StatusRange { first: 200, last: 299 }]);
    Some(Check::Http(HttpCheck { path: path?, method, host, expect }))
}

fn parse_check_path(written: &str) -> Result<String, String> {
    match written.starts_with('/') && written.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(written.to_owned()),
        false => Err(format!("`{written}` is not a path to check; begin it with `/`, without spaces")),
    }
}

fn parse_method(written: &str) -> Result<String, String> {
    match ["GET", "HEAD", "OPTIONS"].contains(&written) {
        true => Ok(written.to_owned()),
        false => Err(format!("`{written}` is not a method to check with; use \"GET\", \"HEAD\" or \"OPTIONS\"")),
    }
}

fn parse_host(written: &str) -> Result<String, String> {
    match !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(written.to_owned()),
        false => Err(format!("`{written}` is not a host; write it such as \"app.internal\"")),
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=HOUR;
