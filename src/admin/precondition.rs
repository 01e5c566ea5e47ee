//! `If-Match` and `If-None-Match` (RFC 9110 section 13.1): a write is made only on the state it was decided on.

use crate::admin::api::Api;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::control::write::Guard;
use crate::proxy::table::PoolTable;
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::HeaderName;
use http::header;
use http::request::Parts;
use std::sync::Arc;

/// What must be true of the pool or the node for a write to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing.
    None,
    /// `If-Match: *`
    NodeExists,
    /// `If-None-Match: *`
    NodeIsNew,
    /// `If-Match: "EPOCH-FINGERPRINT"`, or several of them.
    PoolIs(Vec<Guard>),
}

impl Precondition {
    fn of(headers: &HeaderMap) -> Result<Precondition, Fault> {
        match (text(headers, &header::IF_MATCH)?, text(headers, &header::IF_NONE_MATCH)?) {
            (None, None) => Ok(Precondition::None),
            (Some(_), Some(_)) => {
                Err(Fault::new(Kind::BadRequest, "`If-Match` and `If-None-Match` contradict each other"))
            }
            (Some("*"), None) => Ok(Precondition::NodeExists),
            (Some(tags), None) => tags.split(',').map(guard).collect::<Result<_, _>>().map(Precondition::PoolIs),
            (None, Some("*")) => Ok(Precondition::NodeIsNew),
            (None, Some(_)) => Err(Fault::new(Kind::BadRequest, "only `If-None-Match: *` has a meaning here")),
        }
    }

    /// Refuses when it is not true of the pool, and of the node by whether that exists.
    pub(crate) fn check(&self, pool: &PoolTable, exists: bool) -> Result<(), Fault> {
        let stale = |detail: String| Err(Fault::new(Kind::Stale, detail).with_state(pool.epoch, pool.fingerprint));
        match self {
            Precondition::NodeExists if !exists => {
                stale("the node does not exist, as `If-Match: *` asks for".to_owned())
            }
            Precondition::NodeIsNew if exists => {
                Err(Fault::new(Kind::Exists, "the node exists; leave `If-None-Match` out to replace it"))
            }
            Precondition::PoolIs(states) if !states.contains(&state(pool)) => {
                let name = &pool.settings.name;
                stale(format!("pool {name} is at \"{}-{}\" now", pool.epoch, pool.fingerprint))
            }
            Precondition::None | Precondition::NodeExists | Precondition::NodeIsNew | Precondition::PoolIs(_) => Ok(()),
        }
    }

    /// Whether a write must not follow the pool to another state.
    pub(crate) fn names_a_state(&self) -> bool {
        matches!(self, Precondition::PoolIs(_))
    }
}

impl FromRequestParts<Arc<Api>> for Precondition {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Precondition, Fault> {
        Precondition::of(&parts.headers)
    }
}

/// The state of a pool, for a write that is right for this state only.
pub(crate) fn state(pool: &PoolTable) -> Guard {
    Guard { epoch: pool.epoch, fingerprint: Some(pool.fingerprint) }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let mut values = headers.get_all(name).into_iter();
    let (value, second) = (values.next(), values.next());
    let readable = |value: &'a http::HeaderValue| value.to_str().map(str::trim).ok();
    match (value.map(readable), second) {
        (None, _) => Ok(None),
        (Some(Some(value)), None) => Ok(Some(value)),
        _ => Err(Fault::new(Kind::BadRequest, format!("`{name}` must be given once, in ASCII"))),
    }
}

/// The state that one entity tag names.
fn guard(tag: &str) -> Result<Guard, Fault> {
    let parsed = || {
        let (epoch, fingerprint) = tag.trim().strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
        let digits_only = epoch.bytes().all(|byte| byte.is_ascii_digit());
        let epoch = epoch.parse().ok().filter(|_| digits_only)?;
        Some(Guard { epoch, fingerprint: Some(fingerprint.parse().ok()?) })
    };
    parsed().ok_or_else(|| {
        let shown = tag.escape_debug();
        Fault::new(
            Kind::BadRequest,
            format!("`{shown}` is not an ETag of a pool, \"EPOCH-FINGERPRINT\" with its quotes"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Fingerprint;
    use http::HeaderValue;

    fn of(fields: &[(HeaderName, &str)]) -> Option<Precondition> {
        let field = |(name, value): &(HeaderName, &str)| (name.clone(), HeaderValue::from_str(value).unwrap());
        Precondition::of(&fields.iter().map(field).collect()).ok()
    }

    fn at(epoch: u64) -> Guard {
        Guard { epoch, fingerprint: Some(Fingerprint(10)) }
    }

    #[test]
    fn tags_and_stars_are_told_apart() {
        assert_eq!(of(&[]), Some(Precondition::None));
        assert_eq!(of(&[(header::IF_MATCH, "*")]), Some(Precondition::NodeExists));
        assert_eq!(of(&[(header::IF_NONE_MATCH, "*")]), Some(Precondition::NodeIsNew));
        assert_eq!(
            of(&[(header::IF_MATCH, "\"7-000000000000000a\", \"8-000000000000000a\"")]),
            Some(Precondition::PoolIs(vec![at(7), at(8)]))
        );
    }

    #[test]
    fn what_is_no_tag_of_a_pool_is_refused() {
        for tag in ["7-000000000000000a", "\"7\"", "\"+7-000000000000000a\"", "W/\"7-000000000000000a\"", "\"7-A\"", ""]
        {
            assert_eq!(of(&[(header::IF_MATCH, tag)]), None, "{tag}");
        }
        assert_eq!(of(&[(header::IF_NONE_MATCH, "\"7-000000000000000a\"")]), None);
        assert_eq!(of(&[(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")]), None);
    }
}
