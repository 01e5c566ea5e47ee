//! The config file as one value: a table of contents of sections that the modules own.

use crate::admin::settings::AdminSettings;
use crate::cluster::networks::Machine;
use crate::cluster::networks::Networks;
use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::cluster::refusal::Reason;
use crate::control::settings::MembershipSource;
use crate::control::settings::Owner;
use crate::control::settings::PoolConfig;
use crate::control::settings::parse_node_argument;
use crate::control::settings::print_node;
use crate::handover::settings::HandoverSettings;
use crate::placement::BuildError;
use crate::proxy::listen::parse_listen;
use crate::proxy::settings::AccessLogSettings;
use crate::proxy::settings::PoolSettings;
use crate::proxy::settings::ServerSettings;
use crate::routing::key::KeyRule;
use crate::routing::pool_match::PoolMatch;
use crate::section;
use crate::section::Mistake;
use crate::section::Mistakes;
use crate::section::Printer;
use crate::section::Section;
use crate::sockets::address::ListenAddress;
use crate::store::settings::StoreSettings;
use std::collections::BTreeSet;
use std::path::Path;

/// The whole file, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The top level and `[limits]`.
    pub server: ServerSettings,
    /// `take-over-socket`
    pub handover: HandoverSettings,
    /// `[admin]` and `[metrics]`.
    pub admin: AdminSettings,
    /// `[access-log]`
    pub access_log: AccessLogSettings,
    /// `[store]`
    pub store: StoreSettings,
    /// Each `[[pool]]`, in the order of the file; at least one.
    pub pools: Vec<PoolConfig>,
}

/// Why there is no config, ready to print.
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrors {
    /// The file can be read but holds mistakes.
    #[error(transparent)]
    Mistakes(Mistakes),
    /// The file cannot be read.
    #[error("error: cannot read the config file `{file}`: {source}")]
    Unreadable {
        /// The path as given.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Config {
    /// Reads and checks a file. `${VAR}` is looked up in the environment of this process.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(&file, &text),
            Err(source) => Err(ConfigErrors::Unreadable { file, source }),
        }
    }

    /// As [`Config::load`], for text already read; `file` is only shown.
    pub fn parse(file: &str, text: &str) -> Result<Config, ConfigErrors> {
        Config::parse_with(file, text, &|name| std::env::var(name).ok())
    }

    /// As [`Config::parse`], with `environment` answering for `${VAR}`.
    pub fn parse_with(
        file: &str,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigErrors> {
        let outcome = section::read(text, environment, read);
        match outcome.value {
            Some(config) if outcome.mistakes.is_empty() => Ok(config),
            _ => {
                let mistakes = Mistakes::new(file, text, outcome.mistakes);
                Err(ConfigErrors::Mistakes(mistakes))
            }
        }
    }

    /// The config of `ringway serve` without a file: one pool `default`, owned by a store in memory. The
    /// error has a line for each mistake.
    pub fn from_flags(flags: &Flags<'_>) -> Result<Config, String> {
        let outcome = section::read(&flags.to_toml()?, &|_| None, read);
        let mistakes: Vec<String> = outcome.mistakes.iter().map(ToString::to_string).collect();
        match outcome.value {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes.join("\n")),
        }
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&PoolConfig> {
        self.pools.iter().find(|pool| pool.settings.name == name)
    }

    /// The settings in which `new` differs and which count from the start of the process only, as the file
    /// names them; SIGHUP refuses such a file.
    pub fn differences_that_need_restart(&self, new: &Config) -> Vec<&'static str> {
        let without_metrics = |admin: &AdminSettings| AdminSettings { metrics_listen: None, ..admin.clone() };
        let addresses = |config: &Config| config.server.listen.iter().map(|listen| listen.address).collect::<Vec<_>>();
        let differences = [
            ("the addresses of listen", addresses(self) != addresses(new)),
            ("take-over-socket", self.handover != new.handover),
            ("workers", self.server.workers != new.server.workers),
            ("[admin]", without_metrics(&self.admin) != without_metrics(&new.admin)),
            ("[metrics]", self.admin.metrics_listen != new.admin.metrics_listen),
            ("[access-log]", self.access_log != new.access_log),
            ("[store]", self.store != new.store),
        ];
        differences.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    /// Every setting with its effective value, as a file that reads back to this config. Secrets are not in
    /// it: a config names the files of its tokens only.
    pub fn to_toml(&self) -> String {
        let mut printer = Printer::default();
        self.server.print(&mut printer);
        self.handover.print(&mut printer);
        self.server.limits.print(&mut printer);
        self.server.tls.print(&mut printer);
        self.admin.print(&mut printer);
        self.access_log.print(&mut printer);
        self.store.print(&mut printer);
        for pool in &self.pools {
            pool.settings.print(&mut printer);
            pool.source.print(&mut printer);
            pool.settings.print_tables(&mut printer);
        }
        printer.finish()
    }
}

/// `ringway serve` without a file, flag by flag.
#[derive(Clone, Copy, Debug)]
pub struct Flags<'a> {
    /// `--listen`, each as in the file.
    pub listen: &'a [String],
    /// `--admin-listen`; the default is that of the file.
    pub admin_listen: Option<&'a str>,
    /// `--key`, each one key source; the first one present decides.
    pub key: &'a [String],
    /// `NAME=ADDRESS[,weight=W][,zone=Z][,placement-id=I]`
    pub nodes: &'a [String],
}

/// The full name of every setting of the file, such as `pool.timeouts.connect`, as asked for while reading.
pub fn setting_names() -> BTreeSet<String> {
    section::read(EVERY_LIST_AND_TABLE, &|_| None, read).settings
}

impl Flags<'_> {
    /// The flags as a config file, so that they have the defaults and checks of one.
    fn to_toml(self) -> Result<String, String> {
        for listen in self.listen {
            parse_listen(listen).map_err(|error| format!("--listen: {error}"))?;
        }
        for source in self.key {
            let rule = KeyRule::parse(&[vec![source.clone()]], None);
            rule.map_err(|errors| format!("--key: {}", errors[0].message))?;
        }
        let nodes: Result<Vec<Node>, String> = self.nodes.iter().map(|node| parse_node_argument(node)).collect();
        let mut printer = Printer::default();
        printer.set("listen", self.listen.to_vec());
        printer.table("[admin]");
        if let Some(listen) = self.admin_listen {
            listen.parse::<ListenAddress>().map_err(|error| format!("--admin-listen: {error}"))?;
            printer.set("listen", listen);
        }
        printer.table("[store]");
        printer.set("kind", "memory");
        printer.table("[[pool]]");
        printer.set("name", "default");
        printer.set("key", self.key.to_vec());
        printer.set_tables(Owner::Store.setting(), nodes?.iter().map(print_node));
        Ok(printer.finish())
    }
}

fn read(section: &mut Section<'_>) -> Option<Config> {
    section.refuse(&TOP_LATER, NOT_YET);
    let server = ServerSettings::read(section);
    let handover = HandoverSettings::read(section);
    let admin = AdminSettings::read(section);
    let access_log = AccessLogSettings::read(section);
    let store = StoreSettings::read(section);
    let own = own_addresses(server.as_ref(), &admin, &handover);
    let rules = Networks::new(server.as_ref().and_then(|server| server.node_networks.clone()), own);
    let pools = read_pools(section, &rules);
    Some(Config { server: server?, handover, admin, access_log, store, pools })
}

/// Where a process with these settings listens, as far as that is known before it does.
fn own_addresses(
    server: Option<&ServerSettings>,
    admin: &AdminSettings,
    handover: &HandoverSettings,
) -> Vec<NodeAddress> {
    let clients = server.into_iter().flat_map(|server| server.listen.iter().map(|listen| listen.address));
    let tcp = clients.chain(admin.metrics_listen).map(NodeAddress::Ip);
    let api = match &admin.listen {
        ListenAddress::Tcp(address) => NodeAddress::Ip(*address),
        ListenAddress::Unix(path) => NodeAddress::Unix(path.clone()),
    };
    tcp.chain([api]).chain(handover.socket.clone().map(NodeAddress::Unix)).collect()
}

/// Reports the nodes of a pool that may not be where they are. Another machine may serve the file, so only loopback
/// addresses are known to be its own.
fn report_forbidden(section: &Section<'_>, source: &MembershipSource, rules: &Networks) {
    for node in source.membership.nodes() {
        if let Err(why) = rules.check(&node.address, Machine::UNKNOWN) {
            let reason = Reason::ForbiddenAddress { name: node.name.clone(), why };
            section.report(Mistake::new(section.place_of(source.owner.setting()), reason.to_string()));
        }
    }
}

/// Reports a seed for a placement that takes none.
fn report_seed(section: &Section<'_>, source: &MembershipSource) {
    let placement = source.membership.placement;
    if placement.dialect().is_some() {
        let error = BuildError::Seeded { kind: placement.kind() };
        section.report(Mistake::new(section.place_of_key("seed-file"), error.to_string()));
    }
}

fn read_pools(section: &mut Section<'_>, rules: &Networks) -> Vec<PoolConfig> {
    let mut given = 0;
    let mut names = Vec::new();
    let mut matches = Vec::new();
    let pools = section.tables("pool", |section| {
        given += 1;
        section.refuse(&POOL_LATER, NOT_YET);
        let settings = PoolSettings::read(section);
        let source = MembershipSource::read(section);
        source.iter().for_each(|source| report_forbidden(section, source, rules));
        let settings = settings?;
        if let Some(source) = source.as_ref().filter(|_| settings.seed_file.is_some()) {
            report_seed(section, source);
        }
        names.push((settings.name.clone(), section.place_of("name")));
        let PoolMatch { host, path } = settings.matches.clone();
        matches.push(((host, path), section.place_of("match")));
        Some(PoolConfig { settings, source: source? })
    });
    if given == 0 {
        let message = "the file has no pool; add one that begins with `[[pool]]`";
        section.report(Mistake::new(section.place_of("pool"), message));
    }
    section.report_repeated(&names, |name| format!("there is already a pool `{name}`; give one of them another name"));
    section.report_repeated(&matches, |(host, path)| {
        let matched = describe(host.as_deref(), path.as_deref());
        format!("another pool already matches {matched}; give each pool a `match` of its own")
    });
    pools
}

fn describe(host: Option<&str>, path: Option<&str>) -> String {
    match (host, path) {
        (None, None) => "every request".to_owned(),
        (Some(host), None) => format!("host `{host}`"),
        (None, Some(path)) => format!("path `{path}`"),
        (Some(host), Some(path)) => format!("host `{host}` and path `{path}`"),
    }
}

/// Has one of each list and optional table, so that reading it asks for every setting there is.
const EVERY_LIST_AND_TABLE: &str = r"
listen = [{}]
[[tls.certificate]]
[admin]
tls = {}
[[pool]]
tls = {}
placement = {}
nodes = [{}]
initial-nodes = [{}]
";

const NOT_YET: &str = "is not available yet; remove it";

/// Settings that have a name already and come later: refused as such rather than as unknown.
const TOP_LATER: [&str; 3] = ["fleet", "forwarded", "tracing"];

const POOL_LATER: [&str; 7] =
    ["fallback", "linger", "min-epoch", "moved-connections", "replicas", "transition", "warm-up"];
