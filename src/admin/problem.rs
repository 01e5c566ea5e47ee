//! Every way in which the API says no: the kinds of problems, their status, and their documents (RFC 9457).

use crate::admin::audit::Why;
use crate::admin::model::Problem;
use crate::cluster::log::UnknownEpoch;
use crate::cluster::membership::Change;
use crate::cluster::membership::Reason;
use crate::cluster::membership::Refused;
use crate::control::write::WriteError;
use crate::placement::Fingerprint;
use crate::section::nearest;
use crate::store::StoreError;
use axum::response::IntoResponse;
use axum::response::Response;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use std::fmt;

/// What kind of problem it is: the closed set of what the member `type` of a problem document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A header, query or body that cannot be read.
    BadRequest,
    /// The config file holds mistakes, or cannot be put in force.
    Config,
    /// So many watch already that one more is not served.
    Crowded,
    /// `If-None-Match: *` for a node that exists.
    Exists,
    /// The control plane has met a bug of its own.
    Failed,
    /// The token may only read.
    Forbidden,
    /// A request without a token that names a host which is not this API.
    ForeignHost,
    /// A request from a page of another site.
    ForeignOrigin,
    /// Another process takes over from this one, or has.
    HandedOver,
    /// A body that is not JSON by its `Content-Type`.
    MediaType,
    /// A method that the route does not have.
    MethodNotAllowed,
    /// A path that is no route.
    NotFound,
    /// The file owns the pool's membership.
    OwnedByFile,
    /// The membership refuses the change.
    Refused,
    /// A body that did not arrive in time.
    SlowBody,
    /// The pool is not at the state that the write was decided on.
    Stale,
    /// The process is ending.
    Stopping,
    /// The store cannot be written.
    Store,
    /// The store has no space left.
    StoreFull,
    /// More than a request may hold.
    TooLarge,
    /// No token, or an unknown one.
    Unauthorized,
    /// An epoch that is yet to come, or compacted away.
    UnknownEpoch,
    /// A node that is not in the pool.
    UnknownNode,
    /// A pool that the config does not name.
    UnknownPool,
    /// A change that is refused until it is forced.
    Unsafe,
}

impl Kind {
    /// The member `type` of the problem document.
    pub(crate) fn urn(self) -> String {
        format!("urn:ringway:problem:{}", self.facts().0)
    }

    /// The status of the response.
    pub(crate) fn status(self) -> StatusCode {
        self.facts().1
    }

    /// The member `title` of the problem document.
    pub(crate) fn title(self) -> &'static str {
        self.facts().2
    }

    /// The name after `urn:ringway:problem:`, the status, and the title.
    fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Kind::BadRequest => ("bad-request", StatusCode::BAD_REQUEST, "The request cannot be read"),
            Kind::Config => ("config", StatusCode::UNPROCESSABLE_ENTITY, "The config was not put in force"),
            Kind::Crowded => ("crowded", StatusCode::TOO_MANY_REQUESTS, "Too many watch"),
            Kind::Exists => ("exists", StatusCode::PRECONDITION_FAILED, "The node exists"),
            Kind::Failed => ("failed", StatusCode::SERVICE_UNAVAILABLE, "This proxy failed, and goes on"),
            Kind::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "This token may only read"),
            Kind::ForeignHost => ("foreign-host", StatusCode::FORBIDDEN, "The request is for another host"),
            Kind::ForeignOrigin => ("foreign-origin", StatusCode::FORBIDDEN, "The request is from another site"),
            Kind::HandedOver => ("handed-over", StatusCode::SERVICE_UNAVAILABLE, "Another process is taking over"),
            Kind::MediaType => ("media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON"),
            Kind::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed here")
            }
            Kind::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such route"),
            Kind::OwnedByFile => ("owned-by-file", StatusCode::CONFLICT, "The config file owns this pool"),
            Kind::Refused => ("refused", StatusCode::UNPROCESSABLE_ENTITY, "The membership refuses the change"),
            Kind::SlowBody => ("slow-body", StatusCode::REQUEST_TIMEOUT, "The body took too long"),
            Kind::Stale => ("stale", StatusCode::PRECONDITION_FAILED, "The pool has moved on"),
            Kind::Stopping => ("stopping", StatusCode::SERVICE_UNAVAILABLE, "This proxy is shutting down"),
            Kind::Store => ("store", StatusCode::SERVICE_UNAVAILABLE, "The store cannot be written"),
            Kind::StoreFull => ("store-full", StatusCode::INSUFFICIENT_STORAGE, "The store has no space left"),
            Kind::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Kind::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "A bearer token is needed"),
            Kind::UnknownEpoch => ("unknown-epoch", StatusCode::NOT_FOUND, "The epoch is not known"),
            Kind::UnknownNode => ("unknown-node", StatusCode::NOT_FOUND, "There is no such node"),
            Kind::UnknownPool => ("unknown-pool", StatusCode::NOT_FOUND, "There is no such pool"),
            Kind::Unsafe => ("unsafe", StatusCode::UNPROCESSABLE_ENTITY, "The change is unsafe without force"),
        }
    }
}

/// A request that is not answered as asked.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: Kind,
    detail: String,
    field: Option<String>,
    /// Where the pool really is.
    state: Option<(u64, Fingerprint)>,
}

impl Fault {
    /// A problem with a sentence of what is wrong and what to do instead.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Fault {
        Fault { kind, detail: detail.into(), field: None, state: None }
    }

    /// The field of the body that it is about.
    #[cfg(test)]
    pub(crate) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Names the field of the body that it is about, as a JSON pointer.
    pub(crate) fn at(mut self, field: impl Into<String>) -> Fault {
        self.field = Some(field.into());
        self
    }

    /// Says where the pool is now.
    pub(crate) fn with_state(mut self, epoch: u64, fingerprint: Fingerprint) -> Fault {
        self.state = Some((epoch, fingerprint));
        self
    }

    /// There is no pool `name`; `pools` are the ones there are.
    pub(crate) fn unknown_pool<'a>(name: &str, pools: impl Iterator<Item = &'a str>) -> Fault {
        Fault::new(Kind::UnknownPool, unknown("pool", name, pools))
    }

    /// There is no node `name`; `nodes` are the ones there are.
    pub(crate) fn unknown_node<'a>(name: &str, nodes: impl Iterator<Item = &'a str>) -> Fault {
        Fault::new(Kind::UnknownNode, unknown("node", name, nodes))
    }

    /// A write of one node that was not made: a field that is refused is one of the body.
    pub(crate) fn of_node_write(error: WriteError) -> Fault {
        let refused = match error {
            WriteError::Refused(refused) => refused,
            error => return Fault::of_write(error),
        };
        let kind = match refused.reason {
            Reason::UnknownNode { .. } => return Fault::new(Kind::UnknownNode, refused.to_string()),
            _ => refusal_kind(&refused),
        };
        let fault = Fault::new(kind, refused.to_string());
        // The name and the placement's settings are not in the body.
        match refused.field().filter(|field| !matches!(*field, "name" | "slots" | "vnodes")) {
            Some(field) => fault.at(format!("/{field}")),
            None => fault,
        }
    }

    /// A write that was not made, apart from what `changes` can be blamed for.
    pub(crate) fn of_write(error: WriteError) -> Fault {
        let detail = error.to_string();
        match error {
            WriteError::OwnedByFile { .. } => Fault::new(Kind::OwnedByFile, detail),
            WriteError::Refused(refused) => Fault::of_refusal(&refused, &[]),
            WriteError::Stale { epoch, fingerprint, .. } => {
                Fault::new(Kind::Stale, detail).with_state(epoch, fingerprint)
            }
            WriteError::Panicked => Fault::new(Kind::Failed, detail),
            WriteError::Stopping => Fault::new(Kind::Stopping, detail),
            WriteError::Store(error) => Fault::new(store_kind(&error), detail),
            WriteError::UnknownEpoch(_) => Fault::new(Kind::Refused, detail).at("/to_epoch"),
            WriteError::UnknownPool { .. } => Fault::new(Kind::UnknownPool, detail),
        }
    }

    /// Changes that the membership refuses, with a pointer to the one that is to blame.
    pub(crate) fn of_refusal(refused: &Refused, changes: &[Change]) -> Fault {
        let fault = Fault::new(refusal_kind(refused), refused.to_string());
        match pointer_into(changes, refused) {
            Some(field) => fault.at(field),
            None => fault,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.detail)
    }
}

impl From<UnknownEpoch> for Fault {
    fn from(error: UnknownEpoch) -> Fault {
        Fault::new(Kind::UnknownEpoch, error.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let why = Why(format!("{}: {}", self.kind.facts().0, self.detail));
        let problem = Problem {
            kind: self.kind.urn(),
            title: self.kind.title().to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            field: self.field,
            epoch: self.state.map(|(epoch, _)| epoch),
            fingerprint: self.state.map(|(_, fingerprint)| fingerprint),
        };
        let mut response = (status, axum::Json(problem)).into_response();
        response.extensions_mut().insert(why);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let shown = name.escape_debug();
    match nearest(name, known) {
        Some(nearest) => format!("there is no {what} `{shown}`; did you mean `{nearest}`?"),
        None => format!("there is no {what} `{shown}`"),
    }
}

fn refusal_kind(refused: &Refused) -> Kind {
    if refused.is_unsafe() { Kind::Unsafe } else { Kind::Refused }
}

fn store_kind(error: &StoreError) -> Kind {
    match error {
        StoreError::Full { .. } => Kind::StoreFull,
        StoreError::Lent => Kind::HandedOver,
        StoreError::Corrupt { .. }
        | StoreError::Io { .. }
        | StoreError::Locked { .. }
        | StoreError::NeedsReopen { .. } => Kind::Store,
    }
}

/// The JSON pointer to what a refusal is about, in a body that holds `changes`.
fn pointer_into(changes: &[Change], refused: &Refused) -> Option<String> {
    let index = refused.index?;
    let verb = match changes.get(index)? {
        Change::Add(_) => "add",
        Change::Address { .. } => "address",
        Change::Drain { .. } => "drain",
        Change::Placement(_) => "placement",
        Change::Remove { .. } => "remove",
        Change::Undrain { .. } => "undrain",
        Change::Weight { .. } => "weight",
        Change::Zone { .. } => "zone",
    };
    Some(match refused.field() {
        Some(field) => format!("/changes/{index}/{verb}/{field}"),
        None => format!("/changes/{index}/{verb}"),
    })
}

/// The media type of a problem document (RFC 9457 section 6.1).
pub(crate) const PROBLEM_TYPE: &str = "application/problem+json";

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_full_store_is_told_from_a_broken_one() {
        let path = || PathBuf::from("/var/lib/ringway/events.log");
        for (error, status, kind) in [
            (StoreError::Full { path: path() }, 507, "store-full"),
            (StoreError::NeedsReopen { path: path() }, 503, "store"),
            (StoreError::Lent, 503, "handed-over"),
            (StoreError::Io { path: path(), doing: "write", source: std::io::Error::other("broken") }, 503, "store"),
        ] {
            let shown = error.to_string();
            let fault = Fault::of_write(WriteError::Store(std::sync::Arc::new(error)));
            assert_eq!(fault.kind.urn(), format!("urn:ringway:problem:{kind}"));
            assert_eq!(fault.to_string(), shown);
            assert_eq!(fault.into_response().status(), status);
        }
    }
}
