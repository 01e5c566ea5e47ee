//! The data plane's part of the config file.

use crate::cluster::health::settings::EjectionSettings;
use crate::cluster::health::settings::HealthSettings;
use crate::cluster::health::settings::OnDown;
use crate::cluster::health::settings::StatusRange;
use crate::cluster::health::settings::print_statuses;
use crate::cluster::health::settings::read_statuses;
use crate::cluster::networks::Network;
use crate::cluster::networks::parse_network;
use crate::proxy::key_settings;
use crate::proxy::key_settings::WrittenKey;
use crate::proxy::limits::Limits;
use crate::proxy::listen::Listen;
use crate::proxy::seed_file::SeedFile;
use crate::proxy::timeouts::Timeouts;
use crate::routing::attempts::BudgetSettings;
use crate::routing::bound::LoadSettings;
use crate::routing::key;
use crate::routing::key::KeyRule;
use crate::routing::pool_match::PoolMatch;
use crate::section::Printer;
use crate::section::Section;
use crate::section::parse_path;
use crate::tls::server::ALPN_HTTP1;
use crate::tls::server::ALPN_HTTP2;
use crate::tls::settings::NodeTlsSettings;
use crate::tls::settings::TlsSettings;
use ipnet::IpNet;
use std::thread;
use std::time::Duration;

/// The top level of the file as far as the data plane is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// `listen`: where clients connect. Required.
    pub listen: Vec<Listen>,
    /// `workers`: data-plane threads; 0 (the default) is one per core.
    pub workers: usize,
    /// `trusted-proxies`: networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `underscore-headers`: what becomes of request fields with `_` in their names. Default drop.
    pub underscore_headers: UnderscoreHeaders,
    /// `allowed-node-networks`: where nodes may be. Default: anywhere but at link-local addresses.
    pub node_networks: Option<Vec<Network>>,
    /// `drain-delay`: how long to go on accepting after SIGTERM while `/readyz` says to go away. Default 0s.
    pub drain_delay: Duration,
    /// `grace`: how long open requests may then take. Default 30s.
    pub grace: Duration,
    /// `[limits]`
    pub limits: Limits,
    /// `[tls]`
    pub tls: TlsSettings,
}

impl ServerSettings {
    /// The number of data-plane threads.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }

    /// Reads the top level of the file.
    pub fn read(section: &mut Section<'_>) -> Option<ServerSettings> {
        let listen = Listen::read_all(section);
        let workers = section.integer("workers", 0, 0..=1_024);
        let networks = section.value("trusted-proxies").and_then(|list| list.list()).unwrap_or_default();
        let trusted_proxies = networks.iter().filter_map(|network| network.parse(parse_network)).collect();
        let underscore_headers = section.parse("underscore-headers", UnderscoreHeaders::parse);
        let underscore_headers = underscore_headers.unwrap_or(UnderscoreHeaders::Drop);
        let allowed = section.value("allowed-node-networks").and_then(|list| list.list());
        let node_networks = allowed.map(|list| list.iter().filter_map(|network| network.parse(str::parse)).collect());
        let drain_delay = section.duration("drain-delay", Duration::ZERO, Duration::ZERO..=DAY);
        let grace = section.duration("grace", Duration::from_secs(30), Duration::ZERO..=DAY);
        let limits = section.section("limits", Limits::read);
        let needs_certificate = listen.iter().flatten().any(|listen| listen.is_tls);
        let tls = TlsSettings::read(section, needs_certificate.then(|| section.place_of("listen")));
        Some(ServerSettings {
            listen: listen?,
            workers,
            trusted_proxies,
            underscore_headers,
            node_networks,
            drain_delay,
            grace,
            limits,
            tls,
        })
    }

    /// Writes the settings of the top level.
    pub fn print(&self, printer: &mut Printer) {
        printer.set("listen", self.listen.iter().map(Listen::print).collect::<Vec<_>>());
        printer.set_count("workers", self.workers);
        printer.set("trusted-proxies", strings(&self.trusted_proxies));
        printer.set("underscore-headers", self.underscore_headers.name());
        printer.set_some("allowed-node-networks", self.node_networks.as_deref().map(strings));
        printer.set_duration("drain-delay", self.drain_delay);
        printer.set_duration("grace", self.grace);
    }
}

/// What becomes of fields of a request whose names have `_`, which some programs take for `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderscoreHeaders {
    /// They go no further, as with nginx.
    Drop,
    /// They are passed on, but for those that would pass for one that Ringway vouches for.
    Pass,
    /// The request is answered with 400.
    Reject,
}

impl UnderscoreHeaders {
    fn parse(word: &str) -> Result<UnderscoreHeaders, String> {
        match word {
            "drop" => Ok(UnderscoreHeaders::Drop),
            "pass" => Ok(UnderscoreHeaders::Pass),
            "reject" => Ok(UnderscoreHeaders::Reject),
            _ => Err(format!("unknown `underscore-headers` policy `{word}`; write \"drop\", \"pass\" or \"reject\"")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            UnderscoreHeaders::Drop => "drop",
            UnderscoreHeaders::Pass => "pass",
            UnderscoreHeaders::Reject => "reject",
        }
    }
}

/// What nodes speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2: of TLS by ALPN, else with prior knowledge (RFC 9113 section 3).
    H2,
}

impl Protocol {
    fn parse(word: &str) -> Result<Protocol, String> {
        match word {
            "h1" => Ok(Protocol::H1),
            "h2" => Ok(Protocol::H2),
            _ => Err(format!("unknown `protocol` `{word}`; write \"h1\" or \"h2\"")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Protocol::H1 => "h1",
            Protocol::H2 => "h2",
        }
    }

    /// What it is called in a handshake of TLS.
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Protocol::H1 => ALPN_HTTP1,
            Protocol::H2 => ALPN_HTTP2,
        }
    }
}

/// What one pool does with its requests (not who its nodes are).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// `name`: letters, digits, `.`, `-` and `_`, at most 64.
    pub name: String,
    /// `match = { host, path }`
    pub matches: PoolMatch,
    /// `key` and `hash-tag`: where the key of a request comes from.
    pub key: KeyRule,
    /// `key` as written: each entry one source, or several that are joined.
    pub key_sources: Vec<Vec<String>>,
    /// `hash-tag` as written.
    pub hash_tag: Option<String>,
    /// `seed-file`: holds the secret that keys are hashed with. Default: they are hashed as anybody can.
    pub seed_file: Option<SeedFile>,
    /// `max-key-body` 64KiB, from 1KiB to 1MiB: the beginning of a body that a key is looked for in.
    pub max_key_body: usize,
    /// `key-body-over`: what happens to a request whose key is not in there, but may be in the rest. Default absent.
    pub key_body_over: KeyBodyOver,
    /// `no-key`: what happens to a request without a key. Default spread.
    pub no_key: NoKey,
    /// `host`: sent to nodes in place of the client's Host.
    pub host: Option<String>,
    /// `decision-headers`: `x-ringway-node`, `-decision` and `-epoch` on responses. Default false.
    pub decision_headers: bool,
    /// `timeouts = { connect, head, idle, idle-connection, total }`
    pub timeouts: Timeouts,
    /// `max-idle-connections` 1,024: kept open per node and worker.
    pub max_idle_connections: usize,
    /// `max-attempts` 3 (1 to 16): distinct nodes tried per request.
    pub max_attempts: usize,
    /// `retry-on`: statuses of a node after which a request is sent to the next one, if it may be sent again.
    pub retry_on: Vec<StatusRange>,
    /// `retry-budget = { percent, min-per-second }`: how many requests that may have reached a node are sent again.
    pub retry_budget: BudgetSettings,
    /// `on-down`: what becomes of the keys of a node that is ill. Default spill.
    pub on_down: OnDown,
    /// `max-waiting` 1,024: requests that may wait for a node.
    pub max_waiting: usize,
    /// `load-bound`, `max-inflight`, `max-connections` and `queue-timeout`: how much a node may have to do.
    pub load: LoadSettings,
    /// `health = { ... }`: how nodes are checked.
    pub health: HealthSettings,
    /// `ejection = { ... }`: which failures take a node out.
    pub ejection: EjectionSettings,
    /// `max-replay-body` 64KiB, up to 16MiB: idempotent requests with a body of at most this size may be sent again.
    pub max_replay_body: usize,
    /// `drain-deadline` 10m: how long what is open at a node may take once that is drained or removed.
    pub drain_deadline: Duration,
    /// `protocol`: what nodes speak. Default h1.
    pub protocol: Protocol,
    /// `tls = { ca, name, certificate, key }`: whether nodes are spoken to in TLS. Default: no.
    pub tls: Option<NodeTlsSettings>,
    /// `resolve = { every }` 30s: how often the host names of nodes are looked up.
    pub resolve_every: Duration,
}

impl PoolSettings {
    /// Reads one `[[pool]]`, its nodes and placement aside.
    pub fn read(section: &mut Section<'_>) -> Option<PoolSettings> {
        let name = section.required("name", "name = \"rooms\"");
        let name = name.and_then(|name| name.parse(parse_pool_name));
        let matches = section.section("match", read_match);
        let max_key_body = section.size("max-key-body", key::BODY_BYTES_MAX, (1 << 10)..=(1 << 20));
        let key = WrittenKey::read(section, max_key_body);
        let key_body_over = section.parse("key-body-over", KeyBodyOver::parse).unwrap_or(KeyBodyOver::Absent);
        let no_key = section.parse("no-key", NoKey::parse).unwrap_or(NoKey::Spread);
        let host = section.parse("host", parse_host_header);
        let decision_headers = section.boolean("decision-headers", false);
        let timeouts = section.section("timeouts", Timeouts::read);
        let max_idle_connections = section.integer("max-idle-connections", 1024, 0..=100_000);
        let max_attempts = section.integer("max-attempts", 3, 1..=16);
        let retry_on = read_statuses(section, "retry-on").unwrap_or_default();
        let retry_budget = section.section("retry-budget", BudgetSettings::read);
        let on_down = section.parse("on-down", OnDown::parse).unwrap_or(OnDown::Spill);
        let max_waiting = section.integer("max-waiting", 1024, 0..=1_000_000);
        let load = LoadSettings::read(section);
        let health = section.section("health", HealthSettings::read);
        let ejection = section.section("ejection", EjectionSettings::read);
        let max_replay_body = section.size("max-replay-body", 64 << 10, 0..=(16 << 20));
        let drain_deadline = section.duration("drain-deadline", Duration::from_secs(600), Duration::ZERO..=DAY);
        let protocol = section.parse("protocol", Protocol::parse).unwrap_or(Protocol::H1);
        let tls = section.value("tls").and_then(|tls| tls.section(NodeTlsSettings::read)?);
        let resolve_every = section.section("resolve", read_resolve_every);
        let WrittenKey { rule, sources, hash_tag, seed_file } = key?;
        Some(PoolSettings {
            name: name?,
            matches: matches?,
            key: rule,
            key_sources: sources,
            hash_tag,
            seed_file,
            max_key_body,
            key_body_over,
            no_key,
            host,
            decision_headers,
            timeouts,
            max_idle_connections,
            max_attempts,
            retry_on,
            retry_budget,
            on_down,
            max_waiting,
            load,
            health,
            ejection,
            max_replay_body,
            drain_deadline,
            protocol,
            tls,
            resolve_every,
        })
    }

    /// What the operator should know about the files that it names.
    pub fn warning(&self) -> Option<String> {
        self.seed_file.as_ref()?.warning(&self.name)
    }

    /// Writes `[[pool]]` up to its nodes.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[[pool]]");
        printer.set("name", self.name.as_str());
        printer.set("key", self.key_sources.iter().map(|parts| key_settings::print_source(parts)).collect::<Vec<_>>());
        printer.set_some("hash-tag", self.hash_tag.as_deref());
        printer.set_some("seed-file", self.seed_file.as_ref().map(|file| file.path.as_str()));
        printer.set_size("max-key-body", self.max_key_body);
        printer.set("key-body-over", self.key_body_over.name());
        printer.set("no-key", self.no_key.name());
        printer.set_some("host", self.host.as_deref());
        printer.set("decision-headers", self.decision_headers);
        printer.set_count("max-idle-connections", self.max_idle_connections);
        printer.set_count("max-attempts", self.max_attempts);
        printer.set("retry-on", print_statuses(&self.retry_on));
        printer.set("on-down", self.on_down.to_string());
        printer.set_count("max-waiting", self.max_waiting);
        self.load.print(printer);
        printer.set_size("max-replay-body", self.max_replay_body);
        printer.set_duration("drain-deadline", self.drain_deadline);
        printer.set("protocol", self.protocol.name());
        if let Some(tls) = &self.tls {
            printer.set_inline("tls", tls.print());
        }
    }

    /// Writes the sub-tables of a pool, which TOML wants after its other settings.
    pub fn print_tables(&self, printer: &mut Printer) {
        printer.table("[pool.match]");
        printer.set_some("host", self.matches.host.as_deref());
        printer.set_some("path", self.matches.path.as_deref());
        self.timeouts.print(printer);
        self.retry_budget.print(printer);
        self.load.print_table(printer);
        self.health.print(printer);
        self.ejection.print(printer);
        printer.table("[pool.resolve]");
        printer.set_duration("every", self.resolve_every);
    }
}

/// What happens to a request whose key is not in the first `max-key-body` bytes of its body, but may be in the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyBodyOver {
    /// The body counts as one without a key.
    Absent,
    /// It is answered with 413.
    Reject,
}

impl KeyBodyOver {
    fn parse(word: &str) -> Result<KeyBodyOver, String> {
        match word {
            "absent" => Ok(KeyBodyOver::Absent),
            "reject" => Ok(KeyBodyOver::Reject),
            _ => Err(format!("unknown `key-body-over` policy `{word}`; write \"absent\" or \"reject\"")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            KeyBodyOver::Absent => "absent",
            KeyBodyOver::Reject => "reject",
        }
    }
}

fn read_resolve_every(section: &mut Section<'_>) -> Duration {
    section.duration("every", Duration::from_secs(30), Duration::from_millis(100)..=DAY)
}

/// What happens to a request without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// It is answered with 400.
    Reject,
    /// It goes to a random usable node, by weight; never all to one.
    Spread,
}

impl NoKey {
    fn parse(word: &str) -> Result<NoKey, String> {
        match word {
            "reject" => Ok(NoKey::Reject),
            "spread" => Ok(NoKey::Spread),
            _ => Err(format!("unknown `no-key` policy `{word}`; write \"spread\" or \"reject\"")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            NoKey::Reject => "reject",
            NoKey::Spread => "spread",
        }
    }
}

/// `[access-log]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// `path`: a file, or `-` for standard output; without it nothing is logged.
    pub path: Option<String>,
}

impl AccessLogSettings {
    /// Reads `[access-log]`.
    pub fn read(section: &mut Section<'_>) -> AccessLogSettings {
        section.section("access-log", |section| AccessLogSettings { path: section.parse("path", parse_path) })
    }

    /// Writes `[access-log]`.
    pub fn print(&self, printer: &mut Printer) {
        printer.table("[access-log]");
        printer.set_some("path", self.path.as_deref());
    }
}

/// `None` when a part is given and wrong: without it the rule would match more than was meant.
fn read_match(section: &mut Section<'_>) -> Option<PoolMatch> {
    let host = section.parse("host", parse_match_host);
    let path = section.parse("path", parse_match_path);
    let is_whole = section.gives("host") == host.is_some() && section.gives("path") == path.is_some();
    is_whole.then_some(PoolMatch { host, path })
}

fn parse_pool_name(name: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if name.is_empty() || name.len() > POOL_NAME_MAX || !name.chars().all(is_allowed) {
        return Err(format!("`{name}` cannot name a pool; use 1 to {POOL_NAME_MAX} letters, digits, `.`, `-` and `_`"));
    }
    Ok(name.to_owned())
}

/// `match.host`, in lower case.
pub fn parse_match_host(written: &str) -> Result<String, String> {
    let host = written.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let is_address = name.starts_with('[') && name.ends_with(']');
    if name.is_empty() || name.contains(['/', '*', ' ']) {
        return Err(format!(
            "`{written}` is not a host to match; write it such as \"chat.example.com\" or \"*.example.com\""
        ));
    }
    if name.contains(':') && !is_address {
        return Err(format!("`{written}` has a port, and hosts are matched without theirs; remove the port"));
    }
    Ok(host)
}

/// `match.path`.
pub fn parse_match_path(written: &str) -> Result<String, String> {
    if !written.starts_with('/') || written.contains(['?', '#']) {
        return Err(format!("`{written}` is not a path prefix; begin it with `/` and leave out `?` and `#`"));
    }
    Ok(written.to_owned())
}

/// `host`: what nodes may get as Host.
pub fn parse_host_header(written: &str) -> Result<String, String> {
    match written.parse::<http::uri::Authority>() {
        Ok(authority) if !written.contains('@') => Ok(authority.to_string()),
        _ => Err(format!("`{written}` is not a host; write it such as \"app.internal\" or \"app.internal:8080\"")),
    }
}

fn strings(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

const POOL_NAME_MAX: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);
