//! `upstream` blocks of nginx: their servers, and how they are chosen among.

use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::import::Imported;
use crate::import::Place;
use crate::import::Unreadable;
use crate::import::nginx::known;
use crate::import::nginx::tree::Directive;
use crate::import::nginx::variables::Variables;
use crate::import::node_names;
use crate::placement::PlacementSettings;
use std::collections::BTreeSet;

/// One block.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) place: Place,
    pub(super) name: String,
    /// `None` where it does not hash, or not in a way that can be had; the list says why.
    pub(super) hashed: Option<Hashed>,
}

/// An upstream that hashes, such as Ringway can.
#[derive(Clone, Debug)]
pub(super) struct Hashed {
    pub(super) key: Vec<Vec<String>>,
    pub(super) placement: PlacementSettings,
    pub(super) nodes: Vec<Node>,
}

/// One `server`.
struct Server {
    /// As it is written, which is what nginx hashes.
    text: String,
    weight: u32,
    is_down: bool,
    place: Place,
}

/// Reads a block; what is not carried over of one that hashes is noted.
///
/// # Errors
/// When nginx would not take it.
pub(super) fn read(
    directive: &Directive,
    variables: &Variables<'_>,
    imported: &mut Imported,
) -> Result<Upstream, Unreadable> {
    let [name] = directive.args.as_slice() else {
        return Err(directive.refuse("`upstream` takes one name"));
    };
    let upstream = |hashed| Upstream { place: directive.place.clone(), name: name.clone(), hashed };
    let what = format!("upstream {name}");
    let mut methods = directive.children().iter().filter(|child| METHODS.contains(&child.name.as_str()));
    let sticky = methods.clone().find(|method| method.name == "sticky");
    let Some(method) = sticky.or(methods.next_back()) else {
        let why = "it goes round-robin, which does not hash; a pool needs a `key`";
        imported.leave_out(directive.place.clone(), what, why);
        return Ok(upstream(None));
    };
    if method.name != "hash" {
        imported.leave_out(method.place.clone(), format!("{what}: {}", method.shown()), method_reason(&method.name));
        return Ok(upstream(None));
    }
    let is_consistent = match (method.args.len(), method.arg(1)) {
        (1, _) => false,
        (2, "consistent") => true,
        _ => return Err(method.refuse("`hash` takes a key, and `consistent` behind it or nothing")),
    };
    let key = variables.key(method.arg(0), name);
    if key.iter().flatten().flatten().any(|source| source == "header:host") {
        let why = "a client of HTTP/2 need not send a Host field, and then Ringway's `header:host` is absent, where \
                   nginx takes `:authority`; `host` has both, without the port";
        imported.leave_out(method.place.clone(), format!("{what}: {}", method.shown()), why);
    }
    let servers = read_servers(directive, imported)?;
    let hashed = key.and_then(|key| {
        let placement = if is_consistent { "nginx" } else { "nginx-modulo" }.parse::<PlacementSettings>()?;
        let nodes = nodes(servers, is_consistent, imported)?;
        Ok(Hashed { key, placement, nodes })
    });
    let hashed =
        hashed.map_err(|why| imported.leave_out(method.place.clone(), format!("{what}: {}", method.shown()), why));
    Ok(upstream(hashed.ok()))
}

fn method_reason(method: &str) -> &'static str {
    match method {
        "ip_hash" => {
            "it hashes the first three bytes of an IPv4 address over a list, which Ringway has no like of; `key = \
             \"client-ip\"` with a placement of Ringway's own keeps clients together too, and moves them once"
        }
        "sticky" => "sessions stick to the server that a cookie or a route names, whatever a hash says",
        _ => "it does not hash a key; a pool needs a `key`",
    }
}

/// The servers in their order; other directives of the block are judged.
fn read_servers(directive: &Directive, imported: &mut Imported) -> Result<Vec<Server>, Unreadable> {
    let mut servers = Vec::new();
    let mut noted = BTreeSet::new();
    for child in directive.children() {
        match child.name.as_str() {
            "server" => servers.extend(read_server(child, imported, &mut noted)?),
            method if METHODS.contains(&method) => {}
            _ => known::judge(child, imported),
        }
    }
    Ok(servers)
}

/// One server, unless it is one that a hash never chooses. What is noted of one server holds for all of its upstream.
fn read_server(
    directive: &Directive,
    imported: &mut Imported,
    noted: &mut BTreeSet<String>,
) -> Result<Option<Server>, Unreadable> {
    let Some((text, parameters)) = directive.args.split_first() else {
        return Err(directive.refuse("`server` takes an address"));
    };
    let mut server = Server { text: text.clone(), weight: 1, is_down: false, place: directive.place.clone() };
    let mut is_backup = false;
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let why = match name {
            "weight" => {
                server.weight = weight(value).map_err(|why| directive.refuse(why))?;
                continue;
            }
            "down" => {
                server.is_down = true;
                continue;
            }
            "backup" => {
                is_backup = true;
                continue;
            }
            // Names are looked up again and again here too.
            "resolve" => continue,
            _ => parameter_reason(name).ok_or_else(|| directive.refuse(format!("invalid parameter `{parameter}`")))?,
        };
        if noted.insert(name.to_owned()) {
            imported.leave_out(directive.place.clone(), format!("server {text} {parameter}"), why);
        }
    }
    if is_backup {
        let why =
            "a hash never chooses a backup; in Ringway a key whose node is ill goes to the next one of its own order";
        imported.leave_out(directive.place.clone(), format!("server {text} backup"), why);
        return Ok(None);
    }
    if let Ok(NodeAddress::Host { .. }) = address(text) {
        let why = "nginx looks the name up when it starts, and takes turns where it has several addresses; Ringway \
                   looks it up every 30 seconds (`resolve`), and it stays one node";
        imported.leave_out(directive.place.clone(), format!("server {text}"), why);
    }
    Ok(Some(server))
}

fn parameter_reason(name: &str) -> Option<&'static str> {
    Some(match name {
        "fail_timeout" | "max_fails" => {
            "which failures take a node out, and for how long, is `[pool.ejection]` in Ringway, with rules of its own"
        }
        "max_conns" => "a limit for each node is `max-connections` or `max-inflight` of its pool in Ringway",
        "drain" | "route" | "service" | "slow_start" => "Ringway has nothing like it",
        _ => return None,
    })
}

fn weight(written: &str) -> Result<u32, String> {
    let weight = written.parse().ok().filter(|weight| *weight > 0 && !written.starts_with('+'));
    weight.ok_or_else(|| format!("`weight={written}` is not a number from 1"))
}

/// Where a server of this text is: on port 80 unless it says another.
fn address(text: &str) -> Result<NodeAddress, String> {
    let is_unix = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("unix:"));
    if is_unix {
        return format!("unix:{}", &text[5..]).parse();
    }
    let has_port =
        text.rsplit_once(':').is_some_and(|(host, _)| !host.is_empty() && (!host.contains(':') || host.ends_with(']')));
    if has_port { text.parse() } else { format!("{text}:80").parse() }
}

fn nodes(servers: Vec<Server>, is_consistent: bool, imported: &mut Imported) -> Result<Vec<Node>, String> {
    if servers.is_empty() {
        return Err("it has no servers".to_owned());
    }
    let names = node_names(servers.iter().map(|server| server.text.as_str()));
    let mut nodes = Vec::new();
    for (server, name) in servers.into_iter().zip(names) {
        let text = server.text;
        if server.is_down && !is_consistent {
            return Err(format!(
                "nginx keeps the places of {text}, which is down, and hashes its keys again; Ringway would give its \
                 places to others and move their keys; take it out of the configuration or bring it up, and import then"
            ));
        }
        if server.is_down {
            let why = format!(
                "it is written with a weight of 0, so that its keys go to the next point, as in nginx (but where two \
                 servers have a point in common); `ringway node weight {name} {}` brings it up",
                server.weight
            );
            imported.leave_out(server.place, format!("server {text} down"), why);
        }
        let address = address(&text)?;
        let is_as_written = !is_consistent || address.to_string() == text;
        nodes.push(Node {
            name,
            address,
            weight: if server.is_down { 0 } else { server.weight },
            zone: None,
            placement_id: (!is_as_written).then_some(text),
            draining: false,
        });
    }
    Ok(nodes)
}

/// How an upstream may choose; the last one in its block counts.
const METHODS: [&str; 12] = [
    "balancer_by_lua",
    "balancer_by_lua_block",
    "balancer_by_lua_file",
    "consistent_hash",
    "fair",
    "hash",
    "ip_hash",
    "least_conn",
    "least_time",
    "random",
    "sticky",
    "upstream_fair",
];
