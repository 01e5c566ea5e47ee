//! A backend as a pool of Ringway.

use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::import::Pool;
use crate::import::haproxy::List;
use crate::import::haproxy::balance::Algorithm;
use crate::import::haproxy::balance::Key;
use crate::import::haproxy::balance::Origin;
use crate::import::haproxy::proxy::Proxy;
use crate::import::haproxy::server::Server;
use crate::import::haproxy::words::Line;
use crate::import::is_host;
use crate::import::node_names;
use crate::placement::dialect::settings::HashKey;

/// Why a backend is not carried over.
#[derive(Debug)]
pub(super) struct Refusal {
    line: usize,
    what: String,
    why: String,
}

/// What else than the backend itself decides about it.
pub(super) struct Surroundings<'a> {
    /// Defaults and frontends, whose rules requests go through before.
    pub(super) before: Vec<&'a Proxy<'a>>,
    /// The port that clients connect to, where there is only one.
    pub(super) client_port: Option<u16>,
}

impl Refusal {
    /// Puts it on the list.
    pub(super) fn report(self, list: &mut List) {
        list.add(self.line, self.what, self.why);
    }
}

/// The pool, without who its requests are; notes of what is otherwise there go on the list.
pub(super) fn build(proxy: &Proxy<'_>, around: &Surroundings<'_>, list: &mut List) -> Result<Pool, Refusal> {
    let head = &proxy.section.head;
    let refuse = |why: &str| Refusal { line: head.number, what: head.text(), why: why.to_owned() };
    let settings = &proxy.settings;
    if proxy.servers.is_empty() {
        return Err(refuse("it has no servers"));
    }
    if settings.is_disabled {
        return Err(refuse("it is disabled"));
    }
    if !settings.is_http {
        return Err(refuse("it passes on TCP; Ringway passes on HTTP only"));
    }
    let (line, what, key) = match settings.balance.as_deref() {
        None => return Err(refuse("without `balance` servers take turns, and no key decides")),
        Some(balance) => {
            let refuse =
                |why: String| Refusal { line: head.number, what: format!("{}: {}", head.text(), balance.text), why };
            match &balance.algorithm {
                Algorithm::NoHash => return Err(refuse("it hashes nothing, so that no key decides".to_owned())),
                Algorithm::HashOfOther(why) => return Err(refuse(why.clone())),
                Algorithm::Hash(key) => (balance.line, &balance.text, key),
            }
        }
    };
    if let Some(line) = around.before.iter().chain([&proxy]).find_map(|proxy| proxy.rewrite(&key.origin)) {
        let why = format!("line {} changes what `{what}` hashes before it is hashed: `{}`", line.number, line.text());
        return Err(refuse(&why));
    }
    let hash_key = check_servers(proxy).map_err(|why| refuse(&why))?;
    let nodes = nodes(proxy, hash_key, around.client_port)?;
    let placement = settings.hash_type.placement(key, hash_key.unwrap_or(HashKey::Id));
    let pool = Pool {
        name: proxy.section.name().to_owned(),
        matches: None,
        key: vec![key.sources.clone()],
        placement,
        nodes,
        host: proxy.section.lines.iter().rev().find_map(host).map(str::to_owned),
        connect_timeout: settings.connect_timeout,
        head_timeout: settings.server_timeout,
    };
    if let Some(difference) = key.difference {
        list.add(line, what, difference);
    }
    report(proxy, key, list);
    Ok(pool)
}

/// The literal that a line makes the `Host` of all requests.
pub(super) fn host(line: &Line) -> Option<&str> {
    match line.words.as_slice() {
        [keyword, action, name, value] if keyword == "http-request" && action == "set-header" => {
            let is_literal = !value.contains('%');
            (name.eq_ignore_ascii_case("host") && is_literal && is_host(value)).then_some(value)
        }
        _ => None,
    }
}

/// What all servers hash of themselves; nothing where they are not hashed.
fn check_servers(proxy: &Proxy<'_>) -> Result<Option<HashKey>, String> {
    if !proxy.servers.iter().any(Server::is_placed) {
        return Err("all its servers are `backup`, `disabled` or of weight 0, so that no key decides".to_owned());
    }
    if !proxy.settings.hash_type.is_consistent() {
        return Ok(None);
    }
    let mut hash_keys = proxy.servers.iter().map(|server| server.settings.hash_key);
    let first = hash_keys.next();
    match hash_keys.all(|hash_key| Some(hash_key) == first) {
        true => Ok(first),
        false => Err("its servers have not the same `hash-key`, as nodes of one pool must".to_owned()),
    }
}

fn nodes(proxy: &Proxy<'_>, hash_key: Option<HashKey>, client_port: Option<u16>) -> Result<Vec<Node>, Refusal> {
    let names = node_names(proxy.servers.iter().map(|server| server.name.as_str()));
    let nodes = proxy.servers.iter().zip(names).map(|(server, name)| {
        let refuse = |why| Refusal {
            line: server.line,
            what: format!("server {} {}", server.name, server.address),
            why: format!("{why}, so that the pool is not carried over"),
        };
        let address = server.node_address(client_port).map_err(refuse)?;
        let placement_id = hash_key.map(|hash_key| placement_id(server, hash_key, &address)).transpose();
        Ok(Node {
            name,
            placement_id: placement_id.map_err(refuse)?.flatten(),
            address,
            weight: if server.is_placed() { server.settings.weight } else { 0 },
            zone: None,
            draining: false,
        })
    });
    nodes.collect()
}

/// What HAProxy hashes for a server; none where that is the address of its node.
fn placement_id(server: &Server, hash_key: HashKey, address: &NodeAddress) -> Result<Option<String>, String> {
    match (hash_key, address) {
        (HashKey::Id | HashKey::Id32, _) => Ok(Some(server.id.to_string())),
        (HashKey::Guid, _) => match &server.settings.guid {
            Some(guid) => Ok(Some(guid.clone())),
            None => Err("it has no `guid` to be hashed".to_owned()),
        },
        (HashKey::Addr | HashKey::AddrPort, NodeAddress::Ip(_)) => Ok(None),
        (HashKey::Addr | HashKey::AddrPort, _) => {
            Err("HAProxy hashes the IP address that it finds for it, which this file does not say".to_owned())
        }
    }
}

/// What is the same in name, and not in all that it does.
fn report(proxy: &Proxy<'_>, key: &Key, list: &mut List) {
    let head = &proxy.section.head;
    if key.origin == Origin::Address {
        list.add(head.number, head.text(), CLIENT_ADDRESS);
    }
    for server in &proxy.servers {
        let off = match &server.settings {
            settings if settings.is_backup => BACKUP,
            settings if settings.is_disabled => DISABLED,
            settings if settings.weight == 0 => WEIGHTLESS,
            _ => continue,
        };
        list.add(server.line, format!("server {}", server.name), off);
    }
}

const CLIENT_ADDRESS: &str =
    "where clients come through another proxy, name that in `trusted-proxies`: its X-Forwarded-For is the client then";

const BACKUP: &str = "it gets requests only when all others are down, and none here: it has weight 0";

const DISABLED: &str =
    "it is disabled, and has weight 0 here; give it its own with `ringway node weight` when it is to serve";

const WEIGHTLESS: &str = "its weight is 0: it gets no keys, here too";
