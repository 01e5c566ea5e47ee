//! `balance` and `hash-type`: how a backend places keys, and what its keys are.

use crate::import::Unreadable;
use crate::import::haproxy::words::Line;
use crate::placement::PlacementSettings;
use crate::placement::dialect::settings::Haproxy;
use crate::placement::dialect::settings::HaproxyHash;
use crate::placement::dialect::settings::HaproxyMap;
use crate::placement::dialect::settings::HashKey;

/// A `balance` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) algorithm: Algorithm,
}

/// How servers are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// By a key that Ringway has too.
    Hash(Key),
    /// By a key that Ringway has not; why.
    HashOfOther(String),
    /// Not by a key.
    NoHash,
}

/// What is hashed of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// As in Ringway's `key`: the parts of one alternative.
    pub(super) sources: Vec<String>,
    pub(super) origin: Origin,
    /// Where Ringway reads it otherwise; a sentence for the list.
    pub(super) difference: Option<&'static str>,
}

/// The part of a request that a key is from, which other rules may change before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Address,
    /// In lower case.
    Header(String),
    Method,
    /// Path and query, with the host or without.
    Uri,
}

/// A `hash-type` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashType {
    is_consistent: bool,
    hash: HaproxyHash,
    avalanche: bool,
}

impl Default for HashType {
    /// What HAProxy does without such a line.
    fn default() -> HashType {
        HashType { is_consistent: false, hash: HaproxyHash::Sdbm, avalanche: false }
    }
}

impl HashType {
    /// Reads `hash-type METHOD [FUNCTION [avalanche]]`.
    pub(super) fn parse(line: &Line) -> Result<HashType, Unreadable> {
        let is_consistent = match line.word(1) {
            "consistent" => true,
            "map-based" => false,
            other => {
                let why = format!("`hash-type {other}` does not exist; HAProxy has `consistent` and `map-based`");
                return Err(line.unreadable(why));
            }
        };
        let hash = match line.word(2) {
            // Without a function, keys are hashed once more on a ring.
            "" => return Ok(HashType { is_consistent, hash: HaproxyHash::Sdbm, avalanche: is_consistent }),
            "crc32" => HaproxyHash::Crc32,
            "djb2" => HaproxyHash::Djb2,
            "none" => HaproxyHash::None,
            "sdbm" => HaproxyHash::Sdbm,
            "wt6" => HaproxyHash::Wt6,
            other => {
                let why = format!("`{other}` is no hash function; HAProxy has `sdbm`, `djb2`, `wt6`, `crc32`, `none`");
                return Err(line.unreadable(why));
            }
        };
        match line.after(3) {
            [] => Ok(HashType { is_consistent, hash, avalanche: false }),
            [modifier] if modifier == "avalanche" => Ok(HashType { is_consistent, hash, avalanche: true }),
            [other, ..] => Err(line.unreadable(format!("`{other}` cannot stand behind a hash function"))),
        }
    }

    /// The placement of a backend with this key, whose servers are hashed by `hash_key`.
    pub(super) fn placement(self, key: &Key, hash_key: HashKey) -> PlacementSettings {
        let HashType { is_consistent, avalanche, .. } = self;
        let hash = if key.origin == Origin::Address { HaproxyHash::Source } else { self.hash };
        match is_consistent {
            true => PlacementSettings::Haproxy(Haproxy { hash, avalanche, hash_key }),
            false => PlacementSettings::HaproxyMap(HaproxyMap { hash, avalanche }),
        }
    }

    /// Whether servers are hashed too.
    pub(super) fn is_consistent(self) -> bool {
        self.is_consistent
    }
}

impl Balance {
    /// Reads `balance ALGORITHM ...`.
    pub(super) fn parse(line: &Line) -> Result<Balance, Unreadable> {
        let (name, argument) = call(line.word(1));
        let algorithm = match (name, argument) {
            ("first" | "leastconn" | "log-hash" | "none" | "random" | "roundrobin" | "static-rr" | "sticky", _) => {
                Algorithm::NoHash
            }
            ("hash", None) => of_expression(line)?,
            ("hdr", Some(name)) if is_token(name) => of_header(line, name)?,
            ("hdr", _) => return Err(line.unreadable("`balance hdr` needs the name of a header, as `hdr(x-room)`")),
            ("rdp-cookie", _) => Algorithm::HashOfOther("RDP is not HTTP".to_owned()),
            ("source", None) => Algorithm::Hash(key("client-ip", Origin::Address)),
            ("uri", None) => of_uri(line)?,
            ("url_param", None) => of_parameter(line)?,
            _ => {
                let why = format!(
                    "`balance {}` does not exist; those that hash are `hash`, `hdr(NAME)`, `source`, `uri` and \
                     `url_param`",
                    line.word(1)
                );
                return Err(line.unreadable(why));
            }
        };
        Ok(Balance { line: line.number, text: line.text(), algorithm })
    }
}

fn key(source: impl Into<String>, origin: Origin) -> Key {
    Key { sources: vec![source.into()], origin, difference: None }
}

fn header(source: &str, name: &str) -> Key {
    let difference = name.eq_ignore_ascii_case("host").then_some(HOST_OVER_HTTP2);
    Key { difference, ..key(format!("{source}:{name}"), Origin::Header(name.to_ascii_lowercase())) }
}

fn of_header(line: &Line, name: &str) -> Result<Algorithm, Unreadable> {
    match line.after(2) {
        [] => Ok(Algorithm::Hash(header("haproxy-hdr", name))),
        [word] if word == "use_domain_only" => {
            Ok(Algorithm::HashOfOther("Ringway hashes a header whole, not the domain in it alone".to_owned()))
        }
        [word, ..] => Err(line.unreadable(format!("`{word}` cannot stand behind `{}`", line.word(1)))),
    }
}

fn of_uri(line: &Line) -> Result<Algorithm, Unreadable> {
    let (mut depth, mut has_length, mut is_whole, mut is_path_only) = (0, false, false, false);
    let mut words = line.after(2).iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let next = words.next().map_or("", String::as_str);
            let read = next.parse::<u32>().ok().filter(|number| *number > 0);
            read.ok_or_else(|| line.unreadable(format!("`{word}` needs a number from 1, not `{next}`")))
        };
        match word.as_str() {
            "depth" => depth = number()?,
            "len" => has_length = number()? > 0,
            "path-only" => is_path_only = true,
            "whole" => is_whole = true,
            other => return Err(line.unreadable(format!("`{other}` cannot stand behind `balance uri`"))),
        }
    }
    let source = match (has_length, is_whole, depth) {
        (true, _, _) => {
            return Ok(Algorithm::HashOfOther("Ringway does not cut a path after so many bytes".to_owned()));
        }
        (_, true, 0) => "path-and-query".to_owned(),
        (_, true, _) => {
            return Ok(Algorithm::HashOfOther("Ringway counts no slashes in a query".to_owned()));
        }
        (_, false, 0) => "path".to_owned(),
        (_, false, depth) => format!("path-prefix:{depth}"),
    };
    let difference = (!is_path_only).then_some(URI_OVER_HTTP2);
    Ok(Algorithm::Hash(Key { difference, ..key(source, Origin::Uri) }))
}

fn of_parameter(line: &Line) -> Result<Algorithm, Unreadable> {
    match (line.word(2), line.word(3)) {
        ("", _) => Err(line.unreadable("`balance url_param` needs the name of a parameter")),
        (name, "") => Ok(Algorithm::Hash(key(format!("query-raw:{name}"), Origin::Uri))),
        _ => Ok(Algorithm::HashOfOther(
            "Ringway finds no parameters in the body of a form; without `check_post` it is `query-raw:NAME`".to_owned(),
        )),
    }
}

/// A sample expression that is one fetch.
fn of_expression(line: &Line) -> Result<Algorithm, Unreadable> {
    let text = line.after(2).join(" ");
    if text.is_empty() {
        return Err(line.unreadable("`balance hash` needs an expression, such as `req.hdr(x-room)`"));
    }
    let (fetch, argument) = call(&text);
    let named = argument.filter(|name| is_token(name));
    let differing = |key: Key, difference| Key { difference: Some(key.difference.unwrap_or(difference)), ..key };
    Ok(Algorithm::Hash(match (fetch, named) {
        ("hdr" | "req.hdr", Some(name)) => header("haproxy-hash-hdr", name),
        ("req.fhdr", Some(name)) => differing(header("header", name), LAST_FIELD),
        ("cook" | "req.cook", Some(name)) => {
            let cookie = key(format!("cookie:{name}"), Origin::Header("cookie".to_owned()));
            differing(cookie, LAST_COOKIE)
        }
        ("url_param" | "urlp", Some(name)) => differing(key(format!("query-raw:{name}"), Origin::Uri), SEMICOLONS),
        _ => match text.as_str() {
            "method" => key("method", Origin::Method),
            "path" => key("path", Origin::Uri),
            "pathq" => key("path-and-query", Origin::Uri),
            "url" => differing(key("path-and-query", Origin::Uri), URI_OVER_HTTP2),
            "src" => {
                let why =
                    "it hashes the bytes of the address and not its text; with `balance source` it can be carried";
                return Ok(Algorithm::HashOfOther(why.to_owned()));
            }
            _ => {
                let why = format!("Ringway has no key source for the expression `{text}`; docs/dialects.md has those");
                return Ok(Algorithm::HashOfOther(why));
            }
        },
    }))
}

/// `name(argument)`, or a name alone.
pub(super) fn call(text: &str) -> (&str, Option<&str>) {
    match text.split_once('(') {
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(argument) => (name, Some(argument)),
            None => (name, Some("")),
        },
        None => (text, None),
    }
}

/// Whether it can be the name of a field or a parameter that needs no quotes here.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

const HOST_OVER_HTTP2: &str = "clients that speak HTTP/2 send no Host field, so that Ringway has no such key of \
    theirs, while HAProxy makes one of what they send instead";

const URI_OVER_HTTP2: &str = "for clients that speak HTTP/2 HAProxy hashes scheme and host with the path, Ringway the \
    path alone, as HAProxy does with `path-only`";

const LAST_FIELD: &str = "where a request has several fields of that name HAProxy takes the last, Ringway the first";

/// Seen with 2.6.12. `balance url_param` knows `&` alone.
const SEMICOLONS: &str =
    "parameters begin and end at `;` and at a further `?` too in HAProxy, and only at `&` in Ringway";

/// Seen with 2.6.12, over several fields too.
const LAST_COOKIE: &str = "where a request has several cookies of that name HAProxy takes the last, Ringway the first";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::haproxy::words;

    fn line(text: &str) -> Line {
        words::read(&format!("{text}\n"), &|_| None).unwrap().lines.remove(0)
    }

    fn algorithm(text: &str) -> Algorithm {
        Balance::parse(&line(text)).unwrap_or_else(|error| panic!("{text}: {error}")).algorithm
    }

    fn placement(hash_type: &str, balance: &str) -> String {
        let Algorithm::Hash(key) = algorithm(balance) else { panic!("{balance}") };
        HashType::parse(&line(hash_type)).unwrap().placement(&key, HashKey::Id).to_string()
    }

    #[test]
    fn keys_are_those_of_the_table_in_the_documents() {
        for (balance, expected) in [
            ("balance hdr(X-Room)", "haproxy-hdr:X-Room"),
            ("balance hash req.hdr(x)", "haproxy-hash-hdr:x"),
            ("balance hash hdr(x)", "haproxy-hash-hdr:x"),
            ("balance hash req.fhdr(x)", "header:x"),
            ("balance hash req.cook(sid)", "cookie:sid"),
            ("balance hash url_param(k)", "query-raw:k"),
            ("balance hash path", "path"),
            ("balance hash pathq", "path-and-query"),
            ("balance uri", "path"),
            ("balance uri whole", "path-and-query"),
            ("balance uri depth 3 path-only", "path-prefix:3"),
            ("balance url_param k", "query-raw:k"),
            ("balance source", "client-ip"),
        ] {
            let Algorithm::Hash(key) = algorithm(balance) else { panic!("{balance}") };
            assert_eq!(key.sources, [expected], "{balance}");
        }
    }

    #[test]
    fn what_ends_a_parameter_is_told_where_it_differs() {
        for (balance, expected) in [
            ("balance hash url_param(k)", Some(SEMICOLONS)),
            ("balance hash urlp(k)", Some(SEMICOLONS)),
            ("balance url_param k", None),
        ] {
            let Algorithm::Hash(key) = algorithm(balance) else { panic!("{balance}") };
            assert_eq!(key.difference, expected, "{balance}");
        }
    }

    #[test]
    fn what_ringway_does_not_hash_says_why() {
        for (balance, expected) in [
            ("balance uri len 10", "after so many bytes"),
            ("balance uri depth 2 whole", "no slashes in a query"),
            ("balance url_param k check_post", "in the body of a form"),
            ("balance hdr(host) use_domain_only", "the domain"),
            ("balance hash src", "`balance source`"),
            ("balance hash path,lower", "`path,lower`"),
            ("balance hash var(txn.key)", "`var(txn.key)`"),
            ("balance rdp-cookie(mstshash)", "not HTTP"),
        ] {
            let Algorithm::HashOfOther(why) = algorithm(balance) else { panic!("{balance}") };
            assert!(why.contains(expected), "{balance}: {why}");
        }
        for balance in ["balance roundrobin", "balance random(2)", "balance leastconn"] {
            assert_eq!(algorithm(balance), Algorithm::NoHash, "{balance}");
        }
    }

    #[test]
    fn a_function_that_is_named_turns_the_avalanche_off() {
        for (hash_type, expected) in [
            ("hash-type consistent", "haproxy"),
            ("hash-type consistent sdbm", "haproxy hash=sdbm"),
            ("hash-type consistent wt6 avalanche", "haproxy hash=wt6 avalanche=true"),
            ("hash-type map-based", "haproxy-map"),
            ("hash-type map-based crc32 avalanche", "haproxy-map hash=crc32 avalanche=true"),
        ] {
            let expected: PlacementSettings = expected.parse().unwrap();
            assert_eq!(placement(hash_type, "balance uri"), expected.to_string(), "{hash_type}");
        }
    }

    #[test]
    fn a_source_address_is_hashed_in_its_own_way() {
        let expected: PlacementSettings = "haproxy hash=source avalanche=false".parse().unwrap();
        assert_eq!(placement("hash-type consistent crc32", "balance source"), expected.to_string());
    }

    #[test]
    fn what_haproxy_refuses_is_refused() {
        for (text, expected) in [
            ("balance foo", "`balance foo` does not exist"),
            ("balance hdr(x", "needs the name of a header"),
            ("balance hdr()", "needs the name of a header"),
            ("balance hdr(x) foo", "`foo` cannot stand behind `hdr(x)`"),
            ("balance uri depth", "`depth` needs a number from 1, not ``"),
            ("balance uri depth 0", "not `0`"),
            ("balance uri foo", "`foo` cannot stand"),
            ("balance url_param", "needs the name of a parameter"),
            ("balance hash", "needs an expression"),
        ] {
            let refusal = Balance::parse(&line(text)).expect_err(text).to_string();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
        for (text, expected) in [
            ("hash-type", "`hash-type ` does not exist"),
            ("hash-type consistent avalanche", "`avalanche` is no hash function"),
            ("hash-type consistent sdbm fast", "`fast` cannot stand"),
        ] {
            let refusal = HashType::parse(&line(text)).expect_err(text).to_string();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
    }
}
