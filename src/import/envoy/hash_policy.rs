//! Hash policies: what of a request Envoy hashes.

use crate::import::envoy::known;
use crate::import::envoy::message::Message;
use crate::import::envoy::message::Stop;
use crate::routing::source::Source;
use std::collections::BTreeSet;

/// The policies of a route or a cluster, as key sources of Ringway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HashPolicies {
    /// As in `key` of a pool.
    pub(super) key: Vec<Vec<String>>,
    /// The headers that are hashed, in lower case.
    headers: BTreeSet<String>,
}

/// What happens to a request before it is hashed.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewrites {
    /// The path that nodes get is another one.
    pub(super) path: bool,
    /// So is the Host.
    pub(super) host: bool,
    /// Headers that are added or removed, in lower case.
    pub(super) headers: BTreeSet<String>,
}

impl HashPolicies {
    /// Whether the client's address is hashed.
    pub(super) fn takes_client_ip(&self) -> bool {
        self.key.iter().flatten().any(|source| source == "client-ip")
    }

    /// What of the hashed is changed by Envoy before, if anything; Ringway hashes what the client sent.
    pub(super) fn changed_by(&self, rewrites: &Rewrites) -> Option<&str> {
        let is_changed = |header: &&String| match header.as_str() {
            ":path" => rewrites.path,
            ":authority" => rewrites.host,
            name => rewrites.headers.contains(name),
        };
        self.headers.iter().find(is_changed).map(String::as_str)
    }
}

/// Reads a list of policies that is not empty. One that Ringway has no source for leaves the whole out: what it finds
/// changes the hash.
pub(super) fn read(policies: Vec<Message<'_>>) -> Result<HashPolicies, Stop> {
    let mut read = HashPolicies { key: Vec::new(), headers: BTreeSet::new() };
    let mut sources = Vec::new();
    for mut policy in policies {
        sources.push(read_policy(&mut policy, &mut read.headers)?);
        // From here on, what comes behind counts only where nothing was found so far.
        if policy.flag("terminal")? {
            read.key.push(alternative(std::mem::take(&mut sources)));
        }
        policy.finish(&known::NOTHING);
    }
    if !sources.is_empty() {
        read.key.push(alternative(sources));
    }
    Ok(read)
}

fn alternative(mut sources: Vec<String>) -> Vec<String> {
    if sources.len() > 1 {
        sources.insert(0, "envoy-policies".to_owned());
    }
    sources
}

fn read_policy(policy: &mut Message<'_>, headers: &mut BTreeSet<String>) -> Result<String, Stop> {
    if let Some(header) = policy.message("header")? {
        return read_header(header, headers);
    }
    if let Some(cookie) = policy.message("cookie")? {
        return read_cookie(cookie);
    }
    if let Some(mut connection) = policy.message("connection_properties")? {
        return match connection.flag("source_ip")? {
            true => Ok("client-ip".to_owned()),
            false => Err(policy.refuse("connection_properties", "it hashes nothing")),
        };
    }
    if let Some(mut parameter) = policy.message("query_parameter")? {
        let name = parameter.text("name")?.unwrap_or_default();
        let source = checked(&parameter, format!("query-raw:{name}"))?;
        parameter.finish(&known::NOTHING);
        return Ok(source);
    }
    if policy.field("filter_state")?.is_some() {
        return Err(policy.refuse("filter_state", "what Envoy's filters leave there is no part of a request"));
    }
    Err(policy.refuse("policy_specifier", "which hash policy it is, is not known here"))
}

fn read_header(mut header: Message<'_>, headers: &mut BTreeSet<String>) -> Result<String, Stop> {
    if header.message("regex_rewrite")?.is_some() {
        return Err(
            header.refuse("regex_rewrite", "Ringway hashes headers as they came; have clients send the key itself")
        );
    }
    let name = header.text("header_name")?.unwrap_or_default().to_ascii_lowercase();
    let source = match name.as_str() {
        ":path" => "path-and-query".to_owned(),
        ":authority" | "host" => "header:host".to_owned(),
        ":method" => "method".to_owned(),
        name => format!("header:{name}"),
    };
    let source = checked(&header, source)?;
    if source == "header:host" {
        header.leave_out("header_name", "clients of HTTP/2 send no Host, so that Ringway spreads their requests");
    }
    headers.insert(if name == "host" { ":authority".to_owned() } else { name });
    header.finish(&known::NOTHING);
    Ok(source)
}

fn read_cookie(mut cookie: Message<'_>) -> Result<String, Stop> {
    let name = cookie.text("name")?.unwrap_or_default();
    let source = checked(&cookie, format!("cookie:{name}"))?;
    if cookie.field("ttl")?.is_some() {
        let why = format!("Ringway sets no cookies: clients without `{name}` are spread until somebody gives them one");
        cookie.leave_out("ttl", why);
    }
    cookie.finish(&known::COOKIE);
    Ok(source)
}

/// A source that Ringway takes.
fn checked(policy: &Message<'_>, source: String) -> Result<String, Stop> {
    match source.parse::<Source>() {
        Ok(_) => Ok(source),
        Err(why) => Err(policy.refuse("name", why)),
    }
}
