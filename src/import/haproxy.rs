//! HAProxy's configuration, up to version 3.4.

mod balance;
mod bind;
mod condition;
mod lines;
mod parameters;
mod pool;
mod proxy;
mod routes;
mod section;
mod server;
mod words;

use crate::import::Imported;
use crate::import::Place;
use crate::import::Pool;
use crate::import::Unreadable;
use crate::import::haproxy::pool::Surroundings;
use crate::import::haproxy::proxy::Proxy;
use crate::import::haproxy::routes::Front;
use crate::import::haproxy::section::Kind;
use crate::import::haproxy::words::Line;
use crate::placement::PlacementSettings;
use crate::placement::dialect::settings::HashKey;
use crate::routing::pool_match::PoolMatch;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

pub use crate::import::haproxy::words::Environment;

/// Reads a configuration file; `environment` looks up the variables that it takes from there.
pub fn read(text: &str, environment: &Environment<'_>) -> Result<Imported, Unreadable> {
    let lines = words::read(text, environment)?;
    let mut list = List::default();
    for (line, name) in lines.unset {
        list.add(line, format!("${name}"), UNSET);
    }
    let sections = section::split(lines.lines)?;
    let proxies = proxy::read(&sections)?;
    let file = File::new(&proxies)?;
    let pools = file.pools(&mut list);
    let matches = file.report(&pools, &mut list);
    let mut imported = Imported::default();
    imported.pass_underscores();
    list.report(&mut imported);
    for front in file.fronts.iter().filter(|front| leads_to_one(front, &pools)) {
        front.binds.addresses.iter().for_each(|address| imported.listen(*address));
    }
    add_pools(&proxies, pools, matches, &mut imported);
    Ok(imported)
}

/// What is not carried over, by line. Of each line the same is said only once, though several may inherit it.
#[derive(Debug, Default)]
struct List(BTreeMap<usize, Vec<(String, String)>>);

impl List {
    fn add(&mut self, line: usize, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        let said = self.0.entry(line).or_default();
        if !said.iter().any(|(_, other)| *other == why) {
            said.push((what, why));
        }
    }

    fn report(self, imported: &mut Imported) {
        for (line, said) in self.0 {
            said.into_iter().for_each(|(what, why)| imported.leave_out(Place::line(line), what, why));
        }
    }
}

/// A file as a whole.
struct File<'a> {
    proxies: &'a [Proxy<'a>],
    /// Those that take HTTP from clients.
    fronts: Vec<Front<'a>>,
}

/// Pools by the index of their backends among the proxies.
type Pools = BTreeMap<usize, Pool>;

impl<'a> File<'a> {
    fn new(proxies: &'a [Proxy<'a>]) -> Result<File<'a>, Unreadable> {
        let each = || proxies.iter().enumerate();
        let with_servers = each().filter(|(_, proxy)| proxy.section.has_servers());
        let backends: HashMap<&str, usize> = with_servers.map(|(index, proxy)| (proxy.section.name(), index)).collect();
        let fronts = each().filter(|(_, proxy)| {
            proxy.section.takes_clients() && proxy.settings.is_http && !proxy.settings.is_disabled
        });
        let fronts = fronts.map(|(index, proxy)| Front::read(proxy, index, &backends)).collect::<Result<_, _>>()?;
        Ok(File { proxies, fronts })
    }

    /// The backends that hash, as pools; the others go on the list.
    fn pools(&self, list: &mut List) -> Pools {
        let ports: BTreeSet<u16> = self.fronts.iter().flat_map(|front| front.binds.ports.iter().copied()).collect();
        let client_port = ports.first().copied().filter(|_| ports.len() == 1);
        let mut pools = Pools::new();
        for (index, proxy) in self.proxies.iter().enumerate().filter(|(_, proxy)| proxy.section.has_servers()) {
            let fronts = self.fronts.iter().filter(|front| front.leads_to(index)).map(|front| front.proxy);
            let before = std::iter::once(proxy).chain(fronts).flat_map(|proxy| self.with_defaults(proxy)).collect();
            match pool::build(proxy, &Surroundings { before, client_port }, list) {
                Ok(pool) => drop(pools.insert(index, pool)),
                Err(refusal) => refusal.report(list),
            }
        }
        let is_of_id = |(_, pool): &(&usize, &Pool)| match pool.placement {
            PlacementSettings::Haproxy(settings) => settings.hash_key == HashKey::Id,
            _ => false,
        };
        if let Some((index, _)) = pools.iter().find(is_of_id) {
            let head = &self.proxies[*index].section.head;
            list.add(head.number, head.text(), OF_3_0);
        }
        pools
    }

    /// A proxy and the defaults that it inherits.
    fn with_defaults(&self, proxy: &'a Proxy<'a>) -> impl Iterator<Item = &'a Proxy<'a>> {
        let proxies = self.proxies;
        std::iter::successors(Some(proxy), move |proxy| proxies.get(proxy.section.parent?))
    }

    /// Says of every line that concerns a pool what becomes of it, and returns which requests are whose.
    fn report(&self, pools: &Pools, list: &mut List) -> Vec<(usize, PoolMatch)> {
        let (leading, others): (Vec<_>, Vec<_>) = self.fronts.iter().partition(|front| leads_to_one(front, pools));
        for front in others.iter().filter(|front| !front.proxy.section.has_servers()) {
            let head = &front.proxy.section.head;
            list.add(head.number, head.text(), "it leads to no backend that is carried over");
        }
        for proxy in self.proxies.iter().filter(|proxy| proxy.section.kind == Kind::Frontend) {
            let head = &proxy.section.head;
            match (proxy.settings.is_disabled, proxy.settings.is_http) {
                (true, _) => list.add(head.number, head.text(), "it is disabled"),
                (false, false) => list.add(head.number, head.text(), "it passes on TCP; Ringway passes on HTTP only"),
                (false, true) => {}
            }
        }
        let used = pools.keys().filter_map(|index| self.proxies.get(*index));
        let used = used.chain(leading.iter().map(|front| front.proxy));
        let mut said = BTreeSet::new();
        for proxy in used.flat_map(|proxy| self.with_defaults(proxy)) {
            if said.insert(proxy.section.head.number) {
                report_lines(proxy, list);
            }
        }
        report_surroundings(self.proxies, list);
        for (line, what, why) in leading.iter().flat_map(|front| &front.binds.left_out) {
            list.add(*line, what, why);
        }
        routes::matches(&leading, |index| pools.contains_key(&index), list)
    }
}

fn leads_to_one(front: &Front<'_>, pools: &Pools) -> bool {
    pools.keys().any(|index| front.leads_to(*index))
}

/// The lines of a section that are not carried over.
fn report_lines(proxy: &Proxy<'_>, list: &mut List) {
    let section = proxy.section;
    let is_carried = |line: &&Line| section.has_servers() && pool::host(line).is_some();
    for line in section.lines.iter().filter(|line| !is_carried(line)) {
        if let Some(why) = lines::of_proxy(line) {
            list.add(line.number, line.text(), why);
        }
    }
    // Of the parameters of servers one line for each reason, where it comes first.
    let mut reasons: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for (line, ignored) in &proxy.ignored {
        let (_, words) = reasons.entry(ignored.why).or_insert((*line, Vec::new()));
        if !words.contains(&ignored.word.as_str()) {
            words.push(&ignored.word);
        }
    }
    for (why, (line, words)) in reasons {
        list.add(line, words.join(" "), why);
    }
}

/// Those of `global`, and sections that are about no proxy.
fn report_surroundings(proxies: &[Proxy<'_>], list: &mut List) {
    for section in proxies.iter().map(|proxy| proxy.section) {
        let head = &section.head;
        let lines = section.lines.iter().filter(|_| section.kind == Kind::Global);
        let of_lines = lines.filter_map(|line| Some((line, lines::of_global(line)?)));
        let of_head = lines::of_section(section.kind, head.word(0)).map(|why| (head, why));
        of_lines.chain(of_head).for_each(|(line, why)| list.add(line.number, line.text(), why));
    }
}

/// A pool for each match, and one for those that have none.
fn add_pools(proxies: &[Proxy<'_>], pools: Pools, matches: Vec<(usize, PoolMatch)>, imported: &mut Imported) {
    let mut by_pool: BTreeMap<usize, Vec<PoolMatch>> = BTreeMap::new();
    for (index, matches) in matches {
        by_pool.entry(index).or_default().push(matches);
    }
    for (index, pool) in pools {
        let place = Place::line(proxies[index].section.head.number);
        let matches = by_pool.remove(&index).map(|matches| matches.into_iter().map(Some).collect());
        for matches in matches.unwrap_or_else(|| vec![None]) {
            if imported.is_full() {
                return;
            }
            imported.add(&place, Pool { matches, ..pool.clone() });
        }
    }
}

const OF_3_0: &str = "if this HAProxy is 3.0, 3.1 or 3.2 without the fix of October 2025, write `haproxy-3.0` as the \
    kind of this placement and of others that hash ids; `ringway compat verify` finds out from a log";

const UNSET: &str =
    "this variable is not set here, and so was read as empty; set it as HAProxy has it, and import again";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use proptest::prelude::*;

    fn environment(name: &str) -> Option<String> {
        (name == "CACHE").then(|| "10.0.0.9".to_owned())
    }

    fn imported(text: &str) -> Imported {
        read(text, &environment).unwrap_or_else(|error| panic!("{error} in\n{text}"))
    }

    /// The list, a line each.
    fn list(text: &str) -> String {
        imported(text).left_out().iter().map(|left_out| format!("{left_out}\n")).collect()
    }

    /// Each pool as `name host path`, with `-` for what it does not ask for.
    fn matches(text: &str) -> Vec<String> {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
        let shown = |pool: &Pool| {
            let matches = pool.matches.clone().unwrap_or_default();
            format!("{} {} {}", pool.name, part(&matches.host), part(&matches.path))
        };
        imported(text).pools().iter().map(shown).collect()
    }

    /// The config that is written, which Ringway takes.
    fn written(text: &str) -> String {
        let written = imported(text).to_toml("Written by a test.");
        Config::parse("written", &written).unwrap_or_else(|errors| panic!("{errors}\nin\n{written}"));
        written
    }

    /// A `listen` section with these lines, which hashes paths.
    fn listen(lines: &str) -> String {
        format!("listen l\n mode http\n bind 127.0.0.1:80\n balance uri path-only\n hash-type consistent\n{lines}")
    }

    const SERVERS: &str = " server a 10.0.0.1:80\n server b 10.0.0.2:80\n";

    /// A frontend with these lines, and three backends that hash.
    fn frontend(lines: &str) -> String {
        let backends = ["api", "web", "rooms"].map(|name| format!("backend {name}\n balance uri path-only\n{SERVERS}"));
        format!("defaults\n mode http\nfrontend f\n bind :80\n{lines}{}", backends.concat())
    }

    #[test]
    fn a_backend_becomes_a_pool_with_all_that_it_has() {
        let text = "defaults\n mode http\n timeout connect 5s\n timeout server 1m\n\
                    frontend web\n bind 10.0.0.1:80\n default_backend cache\n\
                    backend cache\n balance hdr(X-Room)\n hash-type consistent crc32\n\
                    http-request set-header Host cache.internal\n\
                    server a 10.0.0.11:8080 weight 10\n server b cache.example:8080 id 7\n server c \"$CACHE:80\"\n";
        let written = written(text);
        for expected in [
            "listen = [\"10.0.0.1:80\"]",
            "name = \"cache\"",
            "key = [\"haproxy-hdr:X-Room\"]",
            "host = \"cache.internal\"",
            "connect = \"5s\", head = \"1m\"",
            "kind = \"haproxy\", hash = \"crc32\", avalanche = false, hash-key = \"id\"",
            "{ name = \"a\", address = \"10.0.0.11:8080\", weight = 10, placement-id = \"1\" }",
            "{ name = \"b\", address = \"cache.example:8080\", weight = 1, placement-id = \"7\" }",
            "{ name = \"c\", address = \"10.0.0.9:80\", weight = 1, placement-id = \"3\" }",
        ] {
            assert!(written.contains(expected), "{expected} is not in\n{written}");
        }
    }

    #[test]
    fn without_a_hash_type_keys_are_put_on_a_map() {
        let written = written("listen l\n mode http\n balance url_param id\n server a 10.0.0.1:80 weight 3\n");
        assert!(written.contains("kind = \"haproxy-map\", hash = \"sdbm\", avalanche = false"), "{written}");
        assert!(!written.contains("placement-id"), "{written}");
    }

    #[test]
    fn servers_that_are_off_the_ring_have_no_weight_and_keep_the_numbers_of_the_others() {
        let text = listen(" server a 10.0.0.1:80 disabled\n server b 10.0.0.2:80 backup\n server c 10.0.0.3:80\n");
        let written = written(&text);
        for expected in ["weight = 0, placement-id = \"1\"", "weight = 0, placement-id = \"2\"", "placement-id = \"3\""]
        {
            assert!(written.contains(expected), "{expected} is not in\n{written}");
        }
        let list = list(&text);
        assert!(list.contains("line 6: `server a`: it is disabled"), "{list}");
        assert!(list.contains("line 7: `server b`: it gets requests only when all others are down"), "{list}");
    }

    #[test]
    fn what_hash_key_names_is_hashed() {
        for (hash_key, expected) in [
            ("addr", "weight = 1 }"),
            ("addr-port", "weight = 1 }"),
            ("guid", "placement-id = \"g\" }"),
            ("id32", "placement-id = \"1\" }"),
        ] {
            let written = written(&listen(&format!(" server a 10.0.0.1:80 hash-key {hash_key} guid g\n")));
            assert!(written.contains(&format!("hash-key = \"{hash_key}\"")) && written.contains(expected), "{written}");
        }
    }

    #[test]
    fn a_backend_that_cannot_be_placed_as_haproxy_does_is_left_out_with_the_reason() {
        for (lines, expected) in [
            (" balance roundrobin\n", "it hashes nothing"),
            (" balance uri len 9\n", "after so many bytes"),
            (" balance hash var(txn.k)\n", "no key source"),
            (" mode tcp\n", "passes on TCP"),
            (" disabled\n", "it is disabled"),
            (" http-request set-path /x\n", "line 6 changes what `balance uri path-only` hashes"),
            (" reqrep ^a b\n", "line 6 changes"),
            (" server c 10.0.0.3:80 hash-key addr\n", "have not the same `hash-key`"),
            (" server c :80\n", "where their clients wanted to go"),
            (" server c abns@x\n", "the family `abns@`"),
            (" default-server hash-key addr\n server c cache.example:80\n", "which this file does not say"),
        ] {
            let list = list(&listen(&format!("{lines}{SERVERS}")));
            assert!(list.contains(expected), "{lines}: {list}");
            assert!(imported(&listen(&format!("{lines}{SERVERS}"))).pools().is_empty(), "{lines}");
        }
        for (servers, expected) in [
            ("", "it has no servers"),
            (" server a 10.0.0.1:80 backup\n", "all its servers are `backup`"),
            (" server a cache.example:80 hash-key addr\n", "which this file does not say"),
            (" server a 10.0.0.1:80 hash-key guid\n", "it has no `guid`"),
        ] {
            let list = list(&listen(servers));
            assert!(list.contains(expected), "{servers}: {list}");
        }
    }

    #[test]
    fn rules_before_a_backend_may_change_its_key_too() {
        for rule in [" http-request set-path /x\n", " http-request set-uri /x if { path /y }\n"] {
            let text = frontend(&format!("{rule} default_backend web\n"));
            assert_eq!(matches(&text).len(), 2, "{text}");
            assert!(list(&text).contains("line 5 changes what `balance uri path-only` hashes"), "{}", list(&text));
        }
        let in_defaults =
            frontend(" default_backend web\n").replace(" mode http\n", " mode http\n http-request set-path /\n");
        assert!(matches(&in_defaults).is_empty());
    }

    #[test]
    fn requests_are_matched_by_host_and_path() {
        let lines = " acl is_api path_beg /api/\n acl is_b hdr(host) -i b.example.com\n\
                     use_backend api if is_b is_api\n\
                     use_backend rooms if { hdr(host) -i c.example.com d.example.com }\n\
                     default_backend web\n";
        let expected = ["api b.example.com /api/", "web - -", "rooms c.example.com -", "rooms-2 d.example.com -"];
        assert_eq!(matches(&frontend(lines)), expected);
        written(&frontend(lines));
    }

    #[test]
    fn a_listen_without_a_default_backend_is_its_own() {
        assert_eq!(matches(&listen(SERVERS)), ["l - -"]);
    }

    #[test]
    fn requests_that_cannot_be_told_here_are_on_the_list() {
        for (lines, expected) in [
            (" use_backend api if { path /x }\n", "cannot be said by host and path: `path` is not a test"),
            (" use_backend api unless { path_beg /x }\n", "cannot be said by host and path: `unless`"),
            (" use_backend %[req.hdr(x)]\n", "computed for each request"),
            (" use_backend api if { path_beg /api }\n", "whole segments"),
            (" use_backend api if { hdr(host) -i a }\n", "whatever its case and port"),
        ] {
            let text = frontend(&format!("{lines} default_backend web\n"));
            assert!(list(&text).contains(&format!("line 5: `{}`", lines.trim())), "{lines}: {}", list(&text));
            assert!(list(&text).contains(expected), "{lines}: {}", list(&text));
        }
    }

    #[test]
    fn a_later_rule_that_is_more_specific_here_is_on_the_list() {
        let lines = " use_backend api if { path_beg /api/ }\n use_backend web if { hdr(host),host_only -i a }\n";
        let list_of = list(&frontend(lines));
        assert!(list_of.contains("line 6: `use_backend web"), "{list_of}");
        assert!(list_of.contains("requests that line 5 takes too go there in HAProxy"), "{list_of}");
        let lines = " use_backend api if { path_beg /api/v1/ }\n use_backend web if { path_beg /api/ }\n";
        assert!(!list(&frontend(lines)).contains("takes too"), "{}", list(&frontend(lines)));
    }

    #[test]
    fn frontends_that_only_their_ports_tell_apart_are_on_the_list() {
        let text = frontend(" default_backend web\nfrontend g\n bind :81\n default_backend api\n");
        assert!(list(&text).contains("only the address that a client connects to"), "{}", list(&text));
        let same = frontend(" default_backend web\nfrontend g\n bind :81\n default_backend web\n");
        assert!(!list(&same).contains("only the address"), "{}", list(&same));
        assert!(written(&same).contains("listen = [\"0.0.0.0:80\", \"0.0.0.0:81\"]"), "{}", written(&same));
    }

    #[test]
    fn what_is_not_carried_over_is_named_with_its_line() {
        let text = "global\n maxconn 100\n log /dev/log local0\n lua-load /etc/x.lua\n\
                    defaults\n mode http\n option redispatch\n option httplog\n timeout client 5s\n\
                    peers p\n peer a 10.0.0.1:1024\n\
                    frontend f\n bind :80\n bind :443 ssl crt /etc/x.pem\n http-request deny if { src 10.0.0.0/8 }\n\
                    default_backend b\n\
                    backend b\n balance uri path-only\n hash-type consistent\n\
                    hash-balance-factor 150\n cookie S insert\n\
                    server x 10.0.0.1:80 check inter 2s cookie x ssl verify none\n server y 10.0.0.2:80 check\n";
        let list = list(text);
        for expected in [
            "line 2: `maxconn 100`: limits",
            "line 4: `lua-load /etc/x.lua`",
            "line 7: `option redispatch`",
            "line 9: `timeout client 5s`",
            "line 10: `peers p`",
            "line 14: `:443`: clients speak TLS",
            "line 15: `http-request deny if { src 10.0.0.0/8 }`",
            "line 17: `backend b`: if this HAProxy is 3.0",
            "line 20: `hash-balance-factor 150`: bounded load is `load-bound`",
            "line 21: `cookie S insert`: it binds clients to servers",
            "line 22: `check inter`: checks are the pool's `health`",
            "line 22: `ssl`: Ringway speaks no TLS to nodes",
        ] {
            assert!(list.contains(expected), "{expected} is not in\n{list}");
        }
        assert_eq!(list.lines().count(), 12, "{list}");
    }

    #[test]
    fn a_missing_variable_is_on_the_list() {
        let list = list(&listen(" server a \"10.0.0.1${NONE}:80\"\n"));
        assert!(list.contains("line 6: `$NONE`: this variable is not set here"), "{list}");
    }

    #[test]
    fn what_leads_nowhere_is_named_as_a_whole() {
        let list = list(
            "defaults\n mode http\nfrontend f\n bind :80\n default_backend b\nbackend b\n balance leastconn\n\
                         server a 10.0.0.1:80\nfrontend t\n mode tcp\n bind :82\n",
        );
        for expected in ["line 3: `frontend f`: it leads to no backend", "line 9: `frontend t`: it passes on TCP"] {
            assert!(list.contains(expected), "{expected} is not in\n{list}");
        }
        assert!(list.contains("line 6: `backend b: balance leastconn`: it hashes nothing"), "{list}");
    }

    #[test]
    fn a_server_without_a_port_listens_where_clients_connect() {
        let text =
            "listen l\n mode http\n bind :8080\n balance uri path-only\n server a 10.0.0.1\n server b 10.0.0.2:+1\n";
        let written = written(text);
        assert!(written.contains("10.0.0.1:8080") && written.contains("10.0.0.2:8081"), "{written}");
        assert!(list(&text.replace(":8080", ":8080,:8081")).contains("and there are several"));
    }

    #[test]
    fn a_template_is_as_many_nodes() {
        let written = written(&listen(" server-template s 3 cache.example:80\n server b 10.0.0.1:80\n"));
        for expected in ["name = \"s3\"", "placement-id = \"4\""] {
            assert!(written.contains(expected), "{expected} is not in\n{written}");
        }
    }

    #[test]
    fn references_to_nothing_are_refused_with_their_line() {
        for (line, expected) in [
            (" default_backend nobody\n", "line 5: there is no backend `nobody`"),
            (" use_backend nobody if { path_beg / }\n", "line 5: there is no backend `nobody`"),
            (" use_backend web if nobody\n", "line 5: there is no `acl nobody`"),
            (" bind :0\n", "line 5: `0` is neither a port"),
        ] {
            let refusal = read(&frontend(line), &environment).expect_err(line).to_string();
            assert!(refusal.contains(expected), "{line}: {refusal}");
        }
    }

    /// Words that configurations are made of, in any order.
    fn any_line() -> impl Strategy<Value = String> {
        let word = prop::sample::select(WORDS.split_ascii_whitespace().collect::<Vec<_>>());
        prop::collection::vec(word, 1..7).prop_map(|words| words.join(" ") + "\n")
    }

    /// A configuration such as people run, with some of its characters, or one of its lines, gone or elsewhere.
    fn broken() -> impl Strategy<Value = String> {
        let places = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
        (prop::sample::select(REAL.to_vec()), 0..4, places).prop_map(|(text, how, (one, other))| {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let mut characters: Vec<char> = text.chars().collect();
            match how {
                0 => drop(lines.remove(one.index(lines.len()))),
                1 => lines.swap(one.index(text.lines().count()), other.index(text.lines().count())),
                2 => {
                    let start = one.index(characters.len());
                    let end = characters.len().min(start + 1 + other.index(9));
                    characters.drain(start..end);
                    return characters.into_iter().collect();
                }
                _ => {
                    characters.swap(one.index(text.chars().count()), other.index(text.chars().count()));
                    return characters.into_iter().collect();
                }
            }
            lines.concat()
        })
    }

    #[test]
    fn configurations_such_as_people_run_are_written() {
        REAL.iter().for_each(|text| drop(written(text)));
    }

    proptest! {
        #[test]
        fn a_configuration_that_is_broken_makes_no_broken_one(text in broken()) {
            if let Ok(imported) = read(&text, &environment)
                && !imported.pools().is_empty()
            {
                let written = imported.to_toml("test");
                prop_assert!(Config::parse("written", &written).is_ok(), "{}\nof\n{}", written, text);
            }
        }

        #[test]
        fn whatever_is_read_is_written_as_a_config_that_ringway_takes(
            lines in prop::collection::vec(any_line(), 0..12),
            end in "(\\PC{0,20}\n)?",
        ) {
            let text = format!("{}{}{end}", listen(SERVERS), lines.concat());
            if let Ok(imported) = read(&text, &environment)
                && !imported.pools().is_empty()
            {
                let written = imported.to_toml("test");
                prop_assert!(Config::parse("written", &written).is_ok(), "{}\nof\n{}", written, text);
            }
        }
    }

    const REAL: [&str; 10] = [
        include_str!("../../tests/live/imports/haproxy/bounded-load.cfg"),
        include_str!("../../tests/live/imports/haproxy/chat-rooms.cfg"),
        include_str!("../../tests/live/imports/haproxy/debian-cache.cfg"),
        include_str!("../../tests/live/imports/haproxy/health-and-stickiness.cfg"),
        include_str!("../../tests/live/imports/haproxy/hosts-and-paths.cfg"),
        include_str!("../../tests/live/imports/haproxy/maintenance.cfg"),
        include_str!("../../tests/live/imports/haproxy/map-based.cfg"),
        include_str!("../../tests/live/imports/haproxy/named-defaults.cfg"),
        include_str!("../../tests/live/imports/haproxy/rewrites.cfg"),
        include_str!("../../tests/live/imports/haproxy/templates.cfg"),
    ];

    const WORDS: &str = "listen frontend backend defaults global from a b c d mode http tcp bind :80 \
        10.0.0.1:80 [::1]:81 balance uri hdr(x) source url_param hash req.hdr(host) \
        path-only whole depth 2 hash-type consistent map-based crc32 avalanche server s1 s2 \
        s3 10.0.0.3:80 host.example:80 unix@/x weight 0 3 id 1 7 disabled backup check \
        server-template t 1-3 default-server hash-key addr guid use_backend default_backend \
        if unless or ! { } acl hdr(host) -i a.example.com path_beg /api/ /x path \
        http-request set-header Host set-path timeout connect 5s 0 option httpchk cookie no \
        retries 3 use-server \"$CACHE\" 'x y' # \\x41";
}
