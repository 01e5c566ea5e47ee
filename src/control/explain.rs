//! Why a request goes where it goes: pool, key, hash, owner and the order of the other nodes, as one answer.

use crate::cluster::health::Mark;
use crate::cluster::health::settings::OnDown;
use crate::cluster::node::Node;
use crate::control::pool_at::PoolAt;
use crate::placement::Fingerprint;
use crate::placement::ratio;
use crate::proxy::settings::KeyBodyOver;
use crate::proxy::settings::NoKey;
use crate::proxy::settings::PoolSettings;
use crate::proxy::table::PoolTable;
use crate::routing::body_search::BodySearch;
use crate::routing::body_search::Sought;
use crate::routing::key::Extracted;
use crate::routing::key::Key;
use crate::routing::key::RequestHead;
use crate::routing::key::normal_host;
use crate::routing::pool_match::PoolMatch;
use crate::routing::pool_match::PoolMatcher;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::uri::PathAndQuery;
use serde::Deserialize;
use serde::Serialize;
use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;

/// What is asked: a key as it is, or a request whose key is to be found. With `key` nothing else may be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Default GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The host, with or without port; without it, that of a `path` that is a whole URL, else of a `host` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path with its query as a client would send it, or a whole URL. Default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Header fields, each as `name: value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The address of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_ip: Option<IpAddr>,
    /// The body, or as much of it as the key rule may look at; empty for a request without one. Needed only where the
    /// key depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// A question that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadQuestion {
    /// The field of the question it is about, as a JSON pointer.
    pub field: String,
    /// What is wrong and what to do instead.
    pub message: String,
}

/// Why a key or a request goes where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanation {
    /// The pool asked.
    pub pool: String,
    /// The epoch that this is true for.
    pub epoch: u64,
    /// The fingerprint of that epoch.
    pub fingerprint: Fingerprint,
    /// Which pool takes the request; absent when a key was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<Matched>,
    /// The rule by which the pool finds keys, such as `query:room, header:x-room`.
    pub key_rule: String,
    /// The key, as UTF-8 (bytes that are not are replaced).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where the key was found, such as `query:room`; absent when a key was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_source: Option<String>,
    /// The key's position: 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// What becomes of it.
    pub decision: Verdict,
    /// The decision as a sentence.
    pub why: String,
    /// The node that the key belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The node that the health of the moment sends it to; absent offline and where nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
    /// All placed nodes in the order in which they would be tried; empty without a key.
    pub candidates: Vec<Candidate>,
    /// Nodes that are in the pool and never tried.
    pub skipped: Vec<Skipped>,
}

/// Which pool takes a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Matched {
    /// The pool; absent when none matches, which a client gets 404 for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The host that was looked up: lower case, without port.
    pub host: String,
    /// The path that was looked up.
    pub path: String,
    /// The rule that decided, as a sentence.
    pub why: String,
}

/// What becomes of a request or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It goes to the owner of its key, and on to the next candidates if that cannot be reached.
    Owner,
    /// The owner of its key is ill, so it goes to the next candidate that is well.
    Failover,
    /// The owner is ill, and it waits for that (`on-down = "hold"`) before it goes to the next candidate.
    Held,
    /// The owner is ill, or all nodes are, and nobody else is asked: 503.
    Down,
    /// It has no key and goes to a random node, by weight.
    NoKey,
    /// It is answered with 400 because it has no key, or with 413 because that would be too far into its body.
    Rejected,
    /// The pool has no node that takes keys: 503.
    NoNode,
    /// No pool matches: 404.
    NoPool,
    /// Another pool takes it; the rest says what this one would do with it.
    OtherPool,
}

/// A node that would be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Candidate {
    /// The node.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The part of all keys that it owns, 0 to 1.
    pub share: f64,
    /// `active`.
    pub state: String,
    /// Why the node is skipped for the moment, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ill: Option<String>,
}

/// A node that is never tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Skipped {
    /// The node.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Why, such as `draining` or `weight 0`.
    pub why: String,
}

/// Answers `question` for the pool `at`. `pools` are the settings of all pools in the order of the config, which decide
/// what matches; a pool that is not among them spreads requests without a key.
///
/// # Errors
/// When the question is not one, such as a path that no client can send.
pub fn explain(pools: &[&PoolSettings], at: &PoolAt, question: &Question) -> Result<Explanation, BadQuestion> {
    if let Some(key) = &question.key {
        question.check_key_alone()?;
        let answer = Explanation::of_pool(at).with_key(at, key.as_bytes(), None);
        return Ok(answer.decide(None));
    }
    let request = Request::of(question)?;
    let matched = request.matched(pools);
    let taken_by = matched.pool.clone();
    let head = request.head(question.client_ip);
    let mut answer = Explanation::of_pool(at);
    answer.matched = Some(matched);
    let settings = pools.iter().find(|settings| settings.name == at.pool);
    let key = match at.key.extract(&head) {
        Extracted::Absent => None,
        Extracted::Key(key) => Some(key),
        Extracted::InBody(search) => {
            let over = settings.map_or(KeyBodyOver::Absent, |settings| settings.key_body_over);
            match key_in_body(search, question.body.as_deref(), over) {
                Ok(key) => key,
                Err(NoKeyInBody::TooLarge) => return Ok(answer.too_large().decide(Some(taken_by.as_deref()))),
                Err(NoKeyInBody::Untold) => {
                    let message = "the key of this request may be in its body; give that, empty if there is none";
                    return Err(bad("/body", message));
                }
            }
        }
    };
    let answer = match key {
        Some(key) => {
            let source = at.key.source_name(key.source);
            if question.client_ip.is_none() && source.split('+').any(|part| part == "client-ip") {
                return Err(bad("/client_ip", "the key of this pool is the client's address; say which it is"));
            }
            answer.with_key(at, &key.bytes, Some(source))
        }
        None => answer.without_key(settings.map_or(NoKey::Spread, |settings| settings.no_key)),
    };
    Ok(answer.decide(Some(taken_by.as_deref())))
}

/// Why it cannot be told what key is in a body.
enum NoKeyInBody {
    /// It may come after the part that is looked at.
    TooLarge,
    /// The question does not say what the body is.
    Untold,
}

fn key_in_body(
    mut search: BodySearch,
    body: Option<&str>,
    over: KeyBodyOver,
) -> Result<Option<Key<'static>>, NoKeyInBody> {
    match (search.feed(body.ok_or(NoKeyInBody::Untold)?.as_bytes()), over) {
        (Sought::Absent, _) => Ok(None),
        (Sought::Found(key), _) => Ok(Some(key)),
        (Sought::NeedMore, _) => Ok(search.end()),
        (Sought::TooLarge, KeyBodyOver::Absent) => Ok(search.give_up()),
        (Sought::TooLarge, KeyBodyOver::Reject) => Err(NoKeyInBody::TooLarge),
    }
}

impl Question {
    /// Refuses a key beside the parts of a request, since only one of them can be meant.
    fn check_key_alone(&self) -> Result<(), BadQuestion> {
        let given = [
            ("/method", self.method.is_some()),
            ("/host", self.host.is_some()),
            ("/path", self.path.is_some()),
            ("/headers", !self.headers.is_empty()),
            ("/client_ip", self.client_ip.is_some()),
            ("/body", self.body.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(bad(field, "give either `key` or the parts of a request, not both")),
            None => Ok(()),
        }
    }
}

impl Explanation {
    fn of_pool(at: &PoolAt) -> Explanation {
        let skipped = at.membership.nodes().iter().filter(|node| !node.is_placed());
        Explanation {
            pool: at.pool.clone(),
            epoch: at.epoch,
            fingerprint: at.fingerprint,
            matched: None,
            key_rule: at.key.describe(),
            key: None,
            key_source: None,
            hash: None,
            decision: Verdict::NoNode,
            why: format!("pool {} has no node that takes keys; clients get 503", at.pool),
            owner: None,
            served_by: None,
            candidates: Vec::new(),
            skipped: skipped.map(Skipped::of).collect(),
        }
    }

    fn with_key(mut self, at: &PoolAt, key: &[u8], source: Option<&str>) -> Explanation {
        let position = at.placement.position(at.key.hashed(key));
        self.key = Some(String::from_utf8_lossy(key).into_owned());
        self.key_source = source.map(str::to_owned);
        self.hash = Some(format!("{position:016x}"));
        self.candidates = candidates(at, position);
        if let Some(owner) = self.candidates.first() {
            self.decision = Verdict::Owner;
            self.why = format!("node {} owns the key", owner.name);
            self.owner = Some(owner.name.clone());
        }
        self
    }

    /// Adds what the health of the moment makes of it, as the requests of `pool` find it.
    pub fn with_health(mut self, pool: &PoolTable) -> Explanation {
        for candidate in &mut self.candidates {
            let vital = pool.upstreams().get(&candidate.name).map(|upstream| &upstream.vital);
            let vital = vital.filter(|vital| vital.mark() != Mark::Well);
            candidate.ill = vital.map(|vital| vital.cause().map_or("ill".to_owned(), |cause| cause.to_string()));
        }
        let Some(owner) = self.candidates.first().filter(|_| self.decision == Verdict::Owner) else { return self };
        let well = self.candidates.iter().find(|candidate| candidate.ill.is_none());
        let next = well.map(|candidate| candidate.name.clone());
        let Some(ill) = &owner.ill else {
            self.served_by = next;
            return self;
        };
        let owned = format!("node {} owns the key and is down ({ill})", owner.name);
        let vital = pool.upstreams().get(&owner.name).map(|upstream| &upstream.vital);
        let since = vital.and_then(|vital| vital.ill_since());
        let is_over = |time| since.is_some_and(|since| since.elapsed() >= time);
        (self.decision, self.why, self.served_by) = match (pool.settings.on_down, next) {
            _ if pool.vital.is_panicking() => {
                let why = format!("{owned}, but so few nodes are well that all are used");
                (Verdict::Owner, why, self.owner.clone())
            }
            (OnDown::Fail, _) => {
                (Verdict::Down, format!("{owned}; its keys go nowhere else, so clients get 503"), None)
            }
            (_, None) => (Verdict::Down, format!("{owned}, as are all others, so clients get 503"), None),
            (OnDown::Hold(time), Some(next)) if is_over(time) => {
                let time = humantime::format_duration(time);
                (Verdict::Failover, format!("{owned} for longer than {time}, so it goes to node {next}"), Some(next))
            }
            (OnDown::Spill, Some(next)) => {
                (Verdict::Failover, format!("{owned}, so it goes to node {next}"), Some(next))
            }
            (OnDown::Hold(time), Some(next)) => {
                let time = humantime::format_duration(time);
                (Verdict::Held, format!("{owned}; it waits up to {time} for it, then goes to node {next}"), Some(next))
            }
        };
        self
    }

    fn without_key(mut self, no_key: NoKey) -> Explanation {
        let rule = &self.key_rule;
        (self.decision, self.why) = match no_key {
            NoKey::Reject => (
                Verdict::Rejected,
                format!("the request has none of {rule}, and `no-key = \"reject\"` answers it with 400"),
            ),
            NoKey::Spread => {
                (Verdict::NoKey, format!("the request has none of {rule}, so it goes to a random node, by weight"))
            }
        };
        self
    }

    fn too_large(mut self) -> Explanation {
        self.decision = Verdict::Rejected;
        self.why = "the key is not in the first `max-key-body` bytes of the body, and `key-body-over = \"reject\"` \
                    answers it with 413"
            .to_owned();
        self
    }

    /// The verdict of the match, which goes before that of the key. `taken_by` is the pool that the request matches, if
    /// it is a request and matches one.
    fn decide(mut self, taken_by: Option<Option<&str>>) -> Explanation {
        match taken_by {
            Some(None) => {
                self.decision = Verdict::NoPool;
                self.why = "no pool matches the request; the client gets 404".to_owned();
            }
            Some(Some(pool)) if pool != self.pool => {
                self.why = format!("pool {pool} takes the request; in pool {}, {}", self.pool, self.why);
                self.decision = Verdict::OtherPool;
            }
            Some(Some(_)) | None => {}
        }
        self
    }
}

impl Skipped {
    fn of(node: &Node) -> Skipped {
        Skipped {
            name: node.name.to_string(),
            address: node.address.to_string(),
            zone: node.zone.clone(),
            why: if node.draining { "draining".to_owned() } else { "weight 0".to_owned() },
        }
    }
}

fn candidates(at: &PoolAt, position: u64) -> Vec<Candidate> {
    let nodes: HashMap<&str, &Node> = at.membership.nodes().iter().map(|node| (node.name.as_str(), node)).collect();
    let shares = at.placement.shares();
    let candidate = |index: usize| {
        // A placement is built from the nodes of its membership, so each of its names is one of theirs.
        let node = nodes.get(at.placement.nodes()[index].name.as_str())?;
        Some(Candidate {
            name: node.name.to_string(),
            address: node.address.to_string(),
            zone: node.zone.clone(),
            share: ratio(shares[index]),
            state: node.state().to_owned(),
            ill: None,
        })
    };
    at.placement.candidates(position).filter_map(candidate).collect()
}

/// A request as it would reach the proxy.
struct Request {
    method: Method,
    /// Lower case, without port.
    host: String,
    target: PathAndQuery,
    headers: HeaderMap,
}

impl Request {
    fn of(question: &Question) -> Result<Request, BadQuestion> {
        let method = question.method.as_deref().unwrap_or("GET");
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| bad("/method", format!("`{}` is not a method", method.escape_debug())))?;
        let headers = headers(&question.headers)?;
        let (site, target) = split_url(question.path.as_deref().unwrap_or("/"));
        let of_headers = || headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let host = question.host.as_deref().or(site).or_else(of_headers).unwrap_or_default();
        let host = normal_host(host.trim()).into_owned();
        let refused = || bad("/path", format!("`{}` is not a path that a client can send", target.escape_debug()));
        if !target.starts_with('/') && target != "*" {
            return Err(bad("/path", format!("`{}` must begin with `/`", target.escape_debug())));
        }
        let target = PathAndQuery::try_from(target).map_err(|_| refused())?;
        Ok(Request { method, host, target, headers })
    }

    fn head(&self, client_ip: Option<IpAddr>) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            path: self.target.path(),
            query: self.target.query(),
            headers: &self.headers,
            host: &self.host,
            client_ip: client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical(),
        }
    }

    fn matched(&self, pools: &[&PoolSettings]) -> Matched {
        let rules: Vec<PoolMatch> = pools.iter().map(|settings| settings.matches.clone()).collect();
        let path = self.target.path();
        let found = PoolMatcher::new(&rules).find(&self.host, path).map(|index| pools[index]);
        Matched {
            pool: found.map(|settings| settings.name.clone()),
            host: self.host.clone(),
            path: path.to_owned(),
            why: match found.map(|settings| (&settings.matches.host, &settings.matches.path)) {
                None => "no pool has a match for this host and path".to_owned(),
                Some((None, None)) => "it takes what no other pool matches".to_owned(),
                Some((Some(host), None)) => format!("it matches host {host}"),
                Some((None, Some(path))) => format!("it matches path {path}"),
                Some((Some(host), Some(path))) => format!("it matches host {host} and path {path}"),
            },
        }
    }
}

fn headers(fields: &[String]) -> Result<HeaderMap, BadQuestion> {
    let mut headers = HeaderMap::new();
    for (index, field) in fields.iter().enumerate() {
        let parsed = || {
            let (name, value) = field.split_once(':')?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
        };
        let refused = || bad(format!("/headers/{index}"), format!("`{}` is not `name: value`", field.escape_debug()));
        let (name, value) = parsed().ok_or_else(refused)?;
        headers.try_append(name, value).map_err(|_| bad("/headers", "these are too many header fields"))?;
    }
    Ok(headers)
}

/// The authority of a URL, if it is a whole one, and what follows it, without the fragment that clients keep to
/// themselves.
fn split_url(url: &str) -> (Option<&str>, &str) {
    let url = url.split('#').next().unwrap_or_default();
    let after_scheme = ["http://", "https://", "ws://", "wss://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let Some(rest) = after_scheme else { return (None, url) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (site, target) = rest.split_at(end);
    (Some(site), if target.is_empty() { "/" } else { target })
}

fn bad(field: impl Into<String>, message: impl Into<String>) -> BadQuestion {
    BadQuestion { field: field.into(), message: message.into() }
}
