//! The key of `hash`: texts with variables, as Ringway's key sources.

use crate::import::nginx::tree::Directive;
use std::collections::BTreeMap;

/// What the configuration says about variables.
#[derive(Debug, Default)]
pub(super) struct Variables<'a> {
    /// `map`s by the name of what they set, without `$` and in lower case.
    maps: BTreeMap<String, &'a Directive>,
    /// `$scheme`, where it is the same for all requests.
    scheme: Option<&'static str>,
}

/// A text taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A name in lower case.
    Variable(String),
}

impl<'a> Variables<'a> {
    pub(super) fn new(http: &[&'a Directive], scheme: Option<&'static str>) -> Variables<'a> {
        let maps = http.iter().filter(|directive| directive.name == "map" && directive.block.is_some());
        let named = |map: &&'a Directive| Some((map.arg(1).strip_prefix('$')?.to_ascii_lowercase(), *map));
        Variables { maps: maps.filter_map(named).collect(), scheme }
    }

    /// The `key` that takes what nginx hashes for this text, in an upstream of that name.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn key(&self, text: &str, upstream: &str) -> Result<Vec<Vec<String>>, String> {
        let parts = parse(text)?;
        if let [Part::Variable(name)] = parts.as_slice() {
            return self.alternatives(name, upstream, 0);
        }
        let sources = parts.iter().map(|part| match part {
            Part::Text(text) => Ok(format!("text:{text}")),
            Part::Variable(name) => self.source(name, upstream),
        });
        let mut sources = sources.collect::<Result<Vec<String>, String>>()?;
        if sources.len() > 1 {
            sources.insert(0, "concatenated".to_owned());
        }
        Ok(vec![sources])
    }

    /// A variable alone: a `map` that takes one variable and another where that is empty is a list of alternatives.
    fn alternatives(&self, name: &str, upstream: &str, depth: usize) -> Result<Vec<Vec<String>>, String> {
        let Some(map) = self.maps.get(name) else {
            return Ok(vec![vec![self.source(name, upstream)?]]);
        };
        let (first, otherwise) = first_or_otherwise(map).filter(|_| depth < MAPS_MAX).ok_or_else(|| {
            format!(
                "`${name}` comes from the `map` of {}, and Ringway has none; of maps it can take those of one variable \
                 which have it as their default and another variable for \"\"",
                map.place
            )
        })?;
        let mut alternatives = self.alternatives(&first, upstream, depth + 1)?;
        alternatives.extend(self.alternatives(&otherwise, upstream, depth + 1)?);
        Ok(alternatives)
    }

    /// Whether a map is one that a key can be made of.
    pub(super) fn takes(&self, map: &Directive) -> bool {
        first_or_otherwise(map).is_some()
    }

    fn source(&self, name: &str, upstream: &str) -> Result<String, String> {
        let why = match name {
            "request_uri" => return Ok("path-and-query".to_owned()),
            "host" => return Ok("host".to_owned()),
            "remote_addr" => return Ok("client-ip".to_owned()),
            "request_method" => return Ok("method".to_owned()),
            "proxy_host" => return Ok(format!("text:{upstream}")),
            "scheme" => match self.scheme {
                Some(scheme) => return Ok(format!("text:{scheme}")),
                None => "some requests come with TLS and some without, and Ringway does not know which",
            },
            "uri" | "document_uri" => {
                "it is the path decoded and normalised, and Ringway's `path` is the path as it came, so that other \
                 keys would move"
            }
            "binary_remote_addr" => "it is the bytes of an address, and Ringway's `client-ip` is its text",
            "args" | "query_string" => "Ringway has no source for the whole query without the path",
            _ if self.maps.contains_key(name) => "it comes from a `map`, which Ringway takes only as the whole key",
            _ => return prefixed(name),
        };
        Err(format!("`${name}` is no key source: {why}"))
    }
}

/// `$arg_x` and the like.
fn prefixed(name: &str) -> Result<String, String> {
    let after = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
    if let Some(argument) = after("arg_") {
        return Ok(format!("nginx-arg:{argument}"));
    }
    if let Some(cookie) = after("cookie_") {
        return Ok(format!("nginx-cookie:{cookie}"));
    }
    match after("http_") {
        Some(header) => Ok(format!("header:{}", header.replace('_', "-"))),
        None => Err(format!("`${name}` is no key source: Ringway has nothing like it")),
    }
}

/// What a map takes, and what it takes where that is empty: `map $a $key { default $a; "" $b; }`.
fn first_or_otherwise(map: &Directive) -> Option<(String, String)> {
    let variable = |text: &str| match parse(text).ok()?.as_slice() {
        [Part::Variable(name)] => Some(name.clone()),
        _ => None,
    };
    let first = variable(map.arg(0))?;
    let entries = map.children();
    let value = |name: &str| variable(entries.iter().find(|entry| entry.name == name)?.arg(0));
    let is_first_by_default = entries.len() == 2 && value("default").as_ref() == Some(&first);
    is_first_by_default.then(|| value(""))?.map(|otherwise| (first, otherwise))
}

/// Takes a text apart; texts and variables take turns, or variables follow each other.
fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        let (before, after) = (&rest[..start], &rest[start + 1..]);
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let (after, is_braced) = after.strip_prefix('{').map_or((after, false), |after| (after, true));
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        rest = match (is_braced, after.strip_prefix('}')) {
            (false, _) => after,
            (true, Some(after)) => after,
            (true, None) => return Err(format!("the closing brace of `${{{name}` is missing")),
        };
        if name.is_empty() {
            return Err(format!("`{text}` has a `$` without the name of a variable"));
        }
        parts.push(Part::Variable(name.to_ascii_lowercase()));
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    match parts.is_empty() {
        true => Err("the key is empty, so that nothing is hashed".to_owned()),
        false => Ok(parts),
    }
}

/// One `map` within another.
const MAPS_MAX: usize = 8;
