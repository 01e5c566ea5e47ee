//! Why a request goes where it goes: pool, key, hash, owner and the order of the other nodes, as one answer.

use crate::control::pool_at::PoolAt;
use crate::placement::Fingerprint;
use crate::proxy::settings::PoolSettings;
use serde::Deserialize;
use serde::Serialize;
use std::net::IpAddr;

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
    /// It has no key and goes to a random node, by weight.
    NoKey,
    /// It has no key and is answered with 400.
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
/// what matches.
///
/// # Errors
/// When the question is no request.
pub fn explain(pools: &[&PoolSettings], at: &PoolAt, question: &Question) -> Result<Explanation, BadQuestion> {
    todo!("{pools:?} {at:?} {question:?}")
}
