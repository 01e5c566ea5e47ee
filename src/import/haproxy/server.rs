//! `server`, `server-template` and `default-server`: who the servers of a backend are, and what HAProxy numbers them.

use crate::cluster::node::NodeAddress;
use crate::import::Unreadable;
use crate::import::haproxy::parameters;
use crate::import::haproxy::parameters::Ignored;
use crate::import::haproxy::parameters::SERVER;
use crate::import::haproxy::section::forbidden;
use crate::import::haproxy::words::Line;
use crate::placement::MAX_NODES;
use crate::placement::dialect::settings::HashKey;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// What is said of a server that concerns its place, inherited from `default-server` where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerSettings {
    pub(super) weight: u32,
    pub(super) is_backup: bool,
    pub(super) is_disabled: bool,
    pub(super) hash_key: HashKey,
    pub(super) guid: Option<String>,
    id: Option<u32>,
}

/// A server, or each of those of a template.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Its line.
    pub(super) line: usize,
    pub(super) name: String,
    /// As written.
    pub(super) address: String,
    /// The number that HAProxy hashes; [`number`] gives those that the file does not.
    pub(super) id: u32,
    pub(super) settings: ServerSettings,
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        ServerSettings { weight: 1, is_backup: false, is_disabled: false, hash_key: HashKey::Id, guid: None, id: None }
    }
}

impl ServerSettings {
    /// Takes the parameters behind so many words of a line, and returns those that nobody takes.
    pub(super) fn read(&mut self, line: &Line, behind: usize) -> Result<Vec<Ignored>, Unreadable> {
        let mut ignored = Vec::new();
        let mut words = line.after(behind).iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "backup" => self.is_backup = true,
                "no-backup" => self.is_backup = false,
                "disabled" => self.is_disabled = true,
                "enabled" => self.is_disabled = false,
                "guid" => self.guid = words.next().map(str::to_owned),
                "hash-key" => self.hash_key = hash_key(line, words.next().unwrap_or_default())?,
                "id" => self.id = Some(id(line, words.next().unwrap_or_default())?),
                "weight" => self.weight = weight(line, words.next().unwrap_or_default())?,
                _ => ignored.extend(parameters::take(line, word, &mut words, SERVER)?),
            }
        }
        Ok(ignored)
    }

    /// Refuses, in `default-server`, what can only be said of one server.
    pub(super) fn refuse_own(&self, line: &Line) -> Result<(), Unreadable> {
        match self.id.is_none() && self.guid.is_none() {
            true => Ok(()),
            false => Err(line.unreadable("`default-server` cannot give all servers one `id` or `guid`")),
        }
    }
}

impl Server {
    /// Whether keys are placed on it.
    pub(super) fn is_placed(&self) -> bool {
        self.settings.weight > 0 && !self.settings.is_backup && !self.settings.is_disabled
    }

    /// Where it listens. Without a port of its own it listens on that which the client connected to, which is known
    /// where there is only one.
    pub(super) fn node_address(&self, client_port: Option<u16>) -> Result<NodeAddress, String> {
        node_address(&self.address, client_port)
    }
}

/// Reads `server NAME ADDRESS ...` or `server-template PREFIX COUNT ADDRESS ...`, with what is ignored of it.
pub(super) fn read(line: &Line, default: &ServerSettings) -> Result<(Vec<Server>, Vec<Ignored>), Unreadable> {
    let is_template = line.word(0) == "server-template";
    let (name, address) = (line.word(1), line.word(if is_template { 3 } else { 2 }));
    if address.is_empty() {
        let form = if is_template { "server-template PREFIX COUNT ADDRESS" } else { "server NAME ADDRESS" };
        return Err(line.unreadable(format!("a word is missing; write `{form}`")));
    }
    if let Some(c) = forbidden(name) {
        return Err(line.unreadable(format!("the name holds {c:?}; HAProxy takes letters, digits and `.:_-`")));
    }
    let mut settings = default.clone();
    let ignored = settings.read(line, if is_template { 4 } else { 3 })?;
    let server = |name: String| Server {
        line: line.number,
        name,
        address: address.to_owned(),
        id: 0,
        settings: settings.clone(),
    };
    if !is_template {
        return Ok((vec![Server { id: settings.id.unwrap_or_default(), ..server(name.to_owned()) }], ignored));
    }
    let (first, last) = range(line)?;
    let mut servers: Vec<Server> = (first..=last).map(|number| server(format!("{name}{number}"))).collect();
    // Only the first can have the id that is given.
    servers.iter_mut().take(1).for_each(|server| server.id = settings.id.unwrap_or_default());
    Ok((servers, ignored))
}

/// Gives every server without an id the one that HAProxy gives it. Its counter starts at 1, goes on by one for every
/// server, with or without an id of its own, and passes over the ids that are taken.
pub(super) fn number(servers: &mut [Server]) -> Result<(), Unreadable> {
    let mut taken = BTreeMap::new();
    let mut names = BTreeMap::new();
    for server in servers.iter() {
        let refuse = |why| Err(Unreadable { place: crate::import::Place::line(server.line), why });
        if let Some(line) = names.insert(&server.name, server.line) {
            return refuse(format!("there is another server `{}` at line {line}; HAProxy refuses that", server.name));
        }
        if server.id > 0
            && let Some(line) = taken.insert(server.id, server.line)
        {
            return refuse(format!("id {} is that of the server at line {line}; HAProxy refuses that", server.id));
        }
    }
    let mut taken: BTreeSet<u32> = taken.into_keys().collect();
    let mut next = 1;
    for server in servers {
        if server.id == 0 {
            next = (next..).find(|id| !taken.contains(id)).unwrap_or(next);
            server.id = next;
            taken.insert(next);
        }
        next += 1;
    }
    Ok(())
}

fn node_address(written: &str, client_port: Option<u16>) -> Result<NodeAddress, String> {
    let (family, address) = written.split_once('@').unwrap_or(("", written));
    let text = match (family, address) {
        ("" | "unix", path) if path.starts_with('/') => format!("unix:{path}"),
        ("" | "ipv4" | "ipv6", address) => with_port(address, client_port)?,
        (family, _) => return Err(format!("nodes of Ringway have no addresses of the family `{family}@`")),
    };
    text.parse()
}

fn with_port(address: &str, client_port: Option<u16>) -> Result<String, String> {
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (address, ""),
    };
    if matches!(host, "" | "*" | "0.0.0.0" | "::" | "[::]") {
        return Err(format!("`{address}` sends requests where their clients wanted to go, which Ringway does not"));
    }
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    if !matches!(port.bytes().next(), None | Some(b'+' | b'-')) {
        return Ok(format!("{host}:{port}"));
    }
    let client_port = client_port.ok_or_else(|| {
        format!(
            "the port behind `{address}` is that which a client connected to, and there are several; give it its own"
        )
    })?;
    let offset: i32 = if port.is_empty() { 0 } else { port.parse().map_err(|_| format!("`{port}` is no port"))? };
    Ok(format!("{host}:{}", i64::from(client_port) + i64::from(offset)))
}

fn hash_key(line: &Line, written: &str) -> Result<HashKey, Unreadable> {
    let hash_key = serde_json::from_value(written.into());
    hash_key.map_err(|_| line.unreadable(format!("`hash-key {written}` does not exist")))
}

fn id(line: &Line, written: &str) -> Result<u32, Unreadable> {
    let id = written.parse().ok().filter(|id| (1..=ID_MAX).contains(id));
    id.ok_or_else(|| line.unreadable(format!("`id {written}` is not a number from 1 to {ID_MAX}")))
}

fn weight(line: &Line, written: &str) -> Result<u32, Unreadable> {
    let weight = written.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
    weight.ok_or_else(|| line.unreadable(format!("`weight {written}` is not a number from 0 to {WEIGHT_MAX}")))
}

/// `COUNT` or `FIRST-LAST` of a template.
fn range(line: &Line) -> Result<(u32, u32), Unreadable> {
    let written = line.word(2);
    let (first, last) = written.split_once('-').unwrap_or(("1", written));
    let range = first.parse().ok().zip(last.parse().ok());
    let (first, last) = range.filter(|(first, last)| first <= last && *last > 0).ok_or_else(|| {
        line.unreadable(format!("`{written}` is neither a number of servers nor a range such as `1-5`"))
    })?;
    if (last - first) as usize >= MAX_NODES {
        return Err(line.unreadable(format!("`{written}` is more than the {MAX_NODES} nodes of a pool")));
    }
    Ok((first, last))
}

const WEIGHT_MAX: u32 = 256;

const ID_MAX: u32 = 2_147_483_647;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::haproxy::words;

    fn lines(text: &str) -> Vec<Line> {
        words::read(text, &|_| None).unwrap().lines
    }

    fn servers(text: &str) -> Result<Vec<Server>, Unreadable> {
        let mut servers = Vec::new();
        for line in lines(text) {
            servers.extend(read(&line, &ServerSettings::default())?.0);
        }
        number(&mut servers)?;
        Ok(servers)
    }

    fn ids(text: &str) -> Vec<(String, u32)> {
        servers(text).unwrap().into_iter().map(|server| (server.name, server.id)).collect()
    }

    #[test]
    fn servers_are_numbered_as_haproxy_numbers_them() {
        // The answer of `show servers state` of HAProxy 2.6.12 for these lines.
        let text = "server a 127.0.0.1:1 id 10\nserver b 127.0.0.1:1 disabled\nserver c 127.0.0.1:1 backup\n\
                    server-template t 1-3 127.0.0.1:1\nserver d 127.0.0.1:1 id 4\nserver e 127.0.0.1:1\n\
                    server-template u 2 127.0.0.1:1 id 20\nserver f 127.0.0.1:1\n";
        let expected = [
            ("a", 10),
            ("b", 2),
            ("c", 3),
            ("t1", 5),
            ("t2", 6),
            ("t3", 7),
            ("d", 4),
            ("e", 9),
            ("u1", 20),
            ("u2", 11),
            ("f", 12),
        ];
        assert_eq!(ids(text), expected.map(|(name, id)| (name.to_owned(), id)));
    }

    #[test]
    fn a_server_keeps_what_default_server_says_unless_it_says_otherwise() {
        let mut default = ServerSettings::default();
        default.read(&lines("default-server weight 5 backup disabled\n")[0], 1).unwrap();
        let (servers, _) = read(&lines("server a 10.0.0.1:80 no-backup weight 7\n")[0], &default).unwrap();
        let settings = &servers[0].settings;
        assert_eq!((settings.weight, settings.is_backup, settings.is_disabled), (7, false, true));
    }

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (written, expected) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("ipv4@10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("2001:db8::1:80", "[2001:db8::1]:80"),
            ("ipv6@::1:80", "[::1]:80"),
            ("Cache.example:80", "cache.example:80"),
            ("/run/a.sock", "unix:/run/a.sock"),
            ("unix@/run/a.sock", "unix:/run/a.sock"),
            ("10.0.0.1", "10.0.0.1:8080"),
            ("10.0.0.1:+1", "10.0.0.1:8081"),
            ("[::1]:-80", "[::1]:8000"),
        ] {
            let found = node_address(written, Some(8080)).map(|address| address.to_string());
            assert_eq!(found.as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn addresses_that_nodes_cannot_have_say_why() {
        for (written, expected) in [
            ("10.0.0.1", "and there are several"),
            (":80", "where their clients wanted to go"),
            ("*:80", "where their clients wanted to go"),
            ("abns@x", "the family `abns@`"),
            ("unix@x", "the family `unix@`"),
            ("10.0.0.1:x", "port `x`"),
            ("10.0.0.1:99999", "port `99999`"),
        ] {
            let refusal = node_address(written, None).expect_err(written);
            assert!(refusal.contains(expected), "{written}: {refusal}");
        }
        assert!(node_address("10.0.0.1:+9999999999", Some(80)).is_err());
        assert!(node_address("10.0.0.1:-99", Some(80)).is_err());
    }

    #[test]
    fn parameters_are_told_from_their_values() {
        let line = &lines("server a 10.0.0.1:80 check inter disabled fall 2 foo ssl verify none weight 3\n")[0];
        let (servers, ignored) = read(line, &ServerSettings::default()).unwrap();
        assert_eq!((servers[0].settings.weight, servers[0].settings.is_disabled), (3, false));
        let words: Vec<&str> = ignored.iter().map(|ignored| ignored.word.as_str()).collect();
        assert_eq!(words, ["check", "inter", "fall", "foo", "ssl"]);
    }

    #[test]
    fn what_haproxy_refuses_is_refused_with_its_line() {
        for (text, expected) in [
            ("server a\n", "write `server NAME ADDRESS`"),
            ("server-template a 3\n", "write `server-template PREFIX COUNT ADDRESS`"),
            ("server 'a b' 10.0.0.1:80\n", "the name holds ' '"),
            ("server a 10.0.0.1:80 weight 257\n", "not a number from 0 to 256"),
            ("server a 10.0.0.1:80 id 0\n", "not a number from 1"),
            ("server a 10.0.0.1:80 cookie\n", "`cookie` has no value"),
            ("server a 10.0.0.1:80 hash-key name\n", "`hash-key name` does not exist"),
            ("server a 10.0.0.1:80\nserver a 10.0.0.2:80\n", "line 2: there is another server `a` at line 1"),
            ("server a 10.0.0.1:80 id 3\nserver b 10.0.0.2:80 id 3\n", "line 2: id 3 is that of the server at line 1"),
            ("server-template a 3-1 10.0.0.1:80\n", "neither a number"),
            ("server-template a 0 10.0.0.1:80\n", "neither a number"),
            ("server-template a 1-10001 10.0.0.1:80\n", "more than the 10000 nodes"),
        ] {
            let refusal = servers(text).expect_err(text).to_string();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
    }
}
