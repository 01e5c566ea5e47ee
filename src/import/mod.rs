//! Configurations of other proxies, read as one of Ringway's and a list of what could not be carried over.

pub mod envoy;
pub mod haproxy;
pub mod nginx;

mod served;
mod time;

use crate::cluster::membership::Membership;
use crate::cluster::networks::Machine;
use crate::cluster::networks::Networks;
use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::cluster::node::NodeName;
use crate::control::settings::Owner;
use crate::control::settings::print_node;
use crate::control::settings::print_placement;
use crate::placement::PlacementSettings;
use crate::proxy::listen::parse_listen;
use crate::proxy::settings::parse_host_header;
use crate::proxy::settings::parse_match_host;
use crate::proxy::settings::parse_match_path;
use crate::routing::key::KeyRule;
use crate::routing::pool_match::PoolMatch;
use crate::section::Printer;
use crate::sockets::address::ListenAddress;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// What a configuration says, as far as Ringway has a like of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Where the original listens, each once.
    listen: Vec<SocketAddr>,
    /// Whether nodes get fields whose names have `_`.
    passes_underscores: bool,
    pools: Vec<Pool>,
    /// Of the pools.
    names: BTreeSet<String>,
    /// How many all pools have together.
    nodes: usize,
    /// Whether a pool came that was one too many.
    is_full: bool,
    left_out: Vec<LeftOut>,
}

/// What the original hashes over, with who is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The original's name of it; [`Imported::add`] makes it one that Ringway takes.
    pub name: String,
    /// Which requests the original sends there; `None` where that cannot be said by host and path.
    pub matches: Option<PoolMatch>,
    /// As in `key`: alternatives, each one source or several that are joined.
    pub key: Vec<Vec<String>>,
    /// The dialect.
    pub placement: PlacementSettings,
    /// In the order of the original, which dialects may depend on.
    pub nodes: Vec<Node>,
    /// What the original sends as Host, where that is not what the client sent.
    pub host: Option<String>,
    /// How long connecting to a node may take, where the original says so.
    pub connect_timeout: Option<Duration>,
    /// How long a node may take until its response begins, where the original says so.
    pub head_timeout: Option<Duration>,
}

/// Something of the original that Ringway does not do, or does in another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it stands.
    pub place: Place,
    /// The setting as the original has it, such as `least_conn`.
    pub what: String,
    /// A sentence without a capital and a full stop: why, and what to do instead.
    pub why: String,
}

/// Where something stands in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A character of a JSON document, counted from 1.
    Column {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A line, counted from 1, of the file that was given or of one that it includes.
    Line {
        /// The included file.
        file: Option<String>,
        /// From 1.
        line: usize,
    },
    /// A member of a JSON document, such as `static_resources.clusters[0].lb_policy`.
    Member(String),
}

/// Why a configuration cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Unreadable {
    /// Where reading ended.
    pub place: Place,
    /// What is wrong there.
    pub why: String,
}

impl Imported {
    /// One more address that the original listens on, unless a node is there: then it only seems to.
    pub fn listen(&mut self, address: SocketAddr) {
        let rules = Networks::new(None, vec![NodeAddress::Ip(address)]);
        let mut nodes = self.pools.iter().flat_map(|pool| &pool.nodes);
        let is_free = nodes.all(|node| is_allowed(&rules, node).is_ok());
        if is_free && !self.listen.contains(&address) {
            self.listen.push(address);
        }
    }

    /// Nodes get fields whose names have `_`, unless somebody wants it otherwise: only nginx drops them.
    pub fn pass_underscores(&mut self) {
        self.passes_underscores = true;
    }

    /// Notes what is not carried over.
    pub fn leave_out(&mut self, place: Place, what: impl Into<String>, why: impl Into<String>) {
        self.left_out.push(LeftOut { place, what: what.into(), why: why.into() });
    }

    /// One more pool, which stands at this place of the original. It gets a name and a match of its own; one that
    /// cannot be built is left out, with the reason; so are all as soon as there are too many, with the reason once.
    pub fn add(&mut self, place: &Place, mut pool: Pool) {
        let what = pool.name.clone();
        if self.is_full {
            return;
        }
        if self.pools.len() == POOLS_MAX || self.nodes + pool.nodes.len() > NODES_MAX {
            self.is_full = true;
            let why = format!(
                "with it there would be over {POOLS_MAX} pools or {NODES_MAX} nodes in them; it and what follows are \
                 left out"
            );
            return self.leave_out(place.clone(), what, why);
        }
        if let Err(errors) = KeyRule::parse(&pool.key, None) {
            return self.leave_out(place.clone(), what, format!("its key cannot be had: {}", errors[0].message));
        }
        if let Err(refused) = Membership::with_nodes(pool.placement, pool.nodes.clone()) {
            return self.leave_out(place.clone(), what, refused.to_string());
        }
        let rules = self.rules();
        if let Some(why) = pool.nodes.iter().find_map(|node| is_allowed(&rules, node).err()) {
            return self.leave_out(place.clone(), what, why);
        }
        if let Some(Err(why)) = pool.matches.as_ref().map(check) {
            self.leave_out(place.clone(), what.clone(), why);
            pool.matches = None;
        }
        pool.name = unused(&acceptable(&what, POOL_NAME_PUNCTUATION, POOL_NAME_BYTES_MAX), &self.names);
        let is_taken = |matches: &PoolMatch| self.pools.iter().any(|other| other.matches.as_ref() == Some(matches));
        if pool.matches.as_ref().is_none_or(is_taken) {
            // Names that differ in case alone are one host.
            let hosts = self.pools.iter().filter_map(|other| other.matches.as_ref()?.host.as_deref());
            let taken = hosts.filter_map(|host| Some(host.strip_suffix(".invalid")?.to_owned())).collect();
            let label = pool.name.replace('_', "-").to_ascii_lowercase();
            let host = format!("{}.invalid", unused(&label, &taken));
            let why = format!(
                "which requests go there cannot be said by host and path alone, so its `match` is {host}, which no \
                 request has; give it the one you want"
            );
            self.leave_out(place.clone(), what, why);
            pool.matches = Some(PoolMatch { host: Some(host), path: None });
        }
        self.names.insert(pool.name.clone());
        self.nodes += pool.nodes.len();
        self.pools.push(pool);
    }

    /// Where nodes may be in the config that is written.
    fn rules(&self) -> Networks {
        let listen = match self.listen.as_slice() {
            [] => parse_listen(LISTEN_DEFAULT).into_iter().collect(),
            listen => listen.to_vec(),
        };
        let api = match ListenAddress::DEFAULT {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        };
        Networks::new(None, listen.into_iter().chain(api).map(NodeAddress::Ip).collect())
    }

    /// Whether pools are no longer taken, as there are too many.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// What was not carried over, in the order of the original.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The pools, which have names and matches of their own.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// A config file that [`crate::config::Config::parse`] takes, as long as there is a pool; `origin` says in a
    /// comment where it is from.
    pub fn to_toml(&self, origin: &str) -> String {
        let mut printer = Printer::default();
        let listen = self.listen.iter().map(ToString::to_string).collect::<Vec<_>>();
        printer.set("listen", if listen.is_empty() { vec![LISTEN_DEFAULT.to_owned()] } else { listen });
        if self.passes_underscores {
            printer.set("underscore-headers", "pass");
        }
        self.pools.iter().for_each(|pool| pool.print(&mut printer));
        let comments = self.left_out.iter().map(|left_out| format!("#   {left_out}\n")).collect::<String>();
        let comments = match comments.is_empty() {
            true => "# Nothing was left out.\n".to_owned(),
            false => format!("# Not carried over:\n{comments}"),
        };
        format!("# {}\n{comments}\n{}", one_line(origin), printer.finish())
    }
}

impl Pool {
    fn print(&self, printer: &mut Printer) {
        printer.table("[[pool]]");
        printer.set("name", self.name.as_str());
        if let Some(matches) = &self.matches {
            let part = |name, part: &Option<String>| part.as_deref().map(|part| (name, part.into()));
            let parts: Vec<_> =
                [part("host", &matches.host), part("path", &matches.path)].into_iter().flatten().collect();
            if !parts.is_empty() {
                printer.set_inline("match", parts);
            }
        }
        let alternative = |parts: &Vec<String>| match parts.as_slice() {
            [source] => toml::Value::from(source.as_str()),
            parts => parts.to_vec().into(),
        };
        printer.set("key", self.key.iter().map(alternative).collect::<Vec<toml::Value>>());
        printer.set_some("host", self.host.as_deref());
        let seconds = |name, timeout: Option<Duration>| {
            timeout.map(|timeout| (name, humantime::format_duration(timeout).to_string().into()))
        };
        let timeouts = [seconds("connect", self.connect_timeout), seconds("head", self.head_timeout)];
        let timeouts: Vec<_> = timeouts.into_iter().flatten().collect();
        if !timeouts.is_empty() {
            printer.set_inline("timeouts", timeouts);
        }
        printer.set_inline("placement", print_placement(self.placement));
        printer.set_tables(Owner::Store.setting(), self.nodes.iter().map(print_node));
    }
}

impl Place {
    /// A line of the file that was given.
    pub fn line(line: usize) -> Place {
        Place::Line { file: None, line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Column { line, column } => write!(f, "line {line} column {column}"),
            Place::Line { file: None, line } => write!(f, "line {line}"),
            Place::Line { file: Some(file), line } => write!(f, "{} line {line}", one_line(file)),
            Place::Member(member) => f.write_str(&one_line(member)),
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`: {}", self.place, one_line(&self.what), one_line(&self.why))
    }
}

/// Whether a config may have this node, of which only loopback addresses are known to be the machine's own; the error
/// is that of the config.
fn is_allowed(rules: &Networks, node: &Node) -> Result<(), String> {
    let name = &node.name;
    let checked = rules.check(&node.address, Machine::UNKNOWN);
    checked.map_err(|why| format!("node `{name}` may not be there: {why}"))
}

/// Whether a config may have this `match`; the error is that of the config.
fn check(matches: &PoolMatch) -> Result<(), String> {
    matches.host.as_deref().map(parse_match_host).transpose()?;
    matches.path.as_deref().map(parse_match_path).transpose()?;
    Ok(())
}

/// Whether nodes can get this as Host.
fn is_host(written: &str) -> bool {
    parse_host_header(written).is_ok()
}

/// Names for nodes, each once and such as Ringway takes, after what the original calls them.
pub fn node_names<'a>(written: impl Iterator<Item = &'a str>) -> Vec<NodeName> {
    let mut taken = BTreeSet::new();
    let mut names = Vec::new();
    for name in written {
        let name = unused(&acceptable(name, NODE_NAME_PUNCTUATION, NODE_NAME_BYTES_MAX), &taken);
        taken.insert(name.clone());
        names.extend(NodeName::try_from(name));
    }
    names
}

/// The text with what a name must not hold replaced, cut so that a number fits behind it.
fn acceptable(written: &str, punctuation: &str, bytes_max: usize) -> String {
    let replaced = written.chars().map(|c| if c.is_ascii_alphanumeric() || punctuation.contains(c) { c } else { '-' });
    let name: String = replaced.take(bytes_max - NUMBER_BYTES_MAX).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

/// The name itself, or with the first number behind it that makes it a new one.
fn unused(name: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number: usize| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}

/// Files come from strangers: what is shown of them stays on its line.
fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Where the written config listens when the original says nothing that can be used.
const LISTEN_DEFAULT: &str = ":8080";

/// How many pools are written: a file of hosts and paths stands for as many as their product.
const POOLS_MAX: usize = 1_000;

/// How many nodes all pools have together.
const NODES_MAX: usize = 100_000;

const POOL_NAME_PUNCTUATION: &str = ".-_";

const POOL_NAME_BYTES_MAX: usize = 64;

const NODE_NAME_PUNCTUATION: &str = ".-_:";

const NODE_NAME_BYTES_MAX: usize = 128;

const NUMBER_BYTES_MAX: usize = 8;
