//! What handlers take from a request, with every refusal as a problem document.

use crate::admin::api::Api;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::proxy::table::PoolTable;
use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::FromRequestParts;
use axum::extract::Path;
use axum::extract::Request;
use http::HeaderMap;
use http::StatusCode;
use http::header;
use http::request::Parts;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use std::collections::HashMap;
use std::sync::Arc;

/// The pool that the path names, as it is served now.
pub(crate) struct PoolOf(pub(crate) Arc<PoolTable>);

impl FromRequestParts<Arc<Api>> for PoolOf {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<PoolOf, Fault> {
        let name = path_part(parts, "pool").await?;
        let table = api.controller.table();
        let pool = table.pool(&name).cloned();
        let names = || table.pools().iter().map(|pool| pool.settings.name.as_str());
        pool.map(PoolOf).ok_or_else(|| Fault::unknown_pool(&name, names()))
    }
}

/// The node name of the path, as it was written.
pub(crate) struct NodeOf(pub(crate) String);

impl FromRequestParts<Arc<Api>> for NodeOf {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<NodeOf, Fault> {
        path_part(parts, "node").await.map(NodeOf)
    }
}

async fn path_part(parts: &mut Parts, name: &str) -> Result<String, Fault> {
    let path = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await;
    let Path(mut path) = path.map_err(|error| Fault::new(Kind::BadRequest, error.body_text()))?;
    Ok(path.remove(name).unwrap_or_default())
}

/// The query, of which every parameter must be known.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Query<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Query<T>, Fault> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        let query = query.map_err(|error| Fault::new(Kind::BadRequest, error.body_text()))?;
        Ok(Query(query.0))
    }
}

/// A JSON body; an empty one counts as `{}`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Json<T>, Fault> {
        if !is_json(request.headers()) {
            let detail = "send the body as JSON, with `Content-Type: application/json`";
            return Err(Fault::new(Kind::MediaType, detail));
        }
        let patience = api.body_timeout;
        let body = tokio::time::timeout(patience, Bytes::from_request(request, api)).await;
        let body =
            body.map_err(|_| Fault::new(Kind::SlowBody, format!("the body did not arrive within {patience:?}")))?;
        let body = body.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Fault::new(Kind::TooLarge, format!("the body is over {BODY_BYTES_MAX} bytes; send it in parts"))
            }
            _ => Fault::new(Kind::BadRequest, error.body_text()),
        })?;
        parse(&body).map(Json)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = if body.is_empty() { b"{}" } else { body };
    // Serde would take a list of the members' values for the object as well.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Fault::new(Kind::BadRequest, "the body is not a JSON object").at(""));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = pointer(error.path());
        Fault::new(Kind::BadRequest, detail(error.inner())).at(field)
    })?;
    json.end().map_err(|error| Fault::new(Kind::BadRequest, error.to_string()))?;
    Ok(value)
}

/// What is wrong, without its line and column where the field says it better.
fn detail(error: &serde_json::Error) -> String {
    let detail = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    match detail.strip_suffix(&position).filter(|_| error.is_data()) {
        Some(sentence) => sentence.to_owned(),
        None => detail,
    }
}

/// A path of serde as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.replace('~', "~0").replace('/', "~1"),
            // Where a value broke off there is no name: what is known up to here is what can be said.
            Segment::Unknown => break,
        };
        pointer.push('/');
        pointer.push_str(&name);
    }
    pointer
}

/// Reads a parameter that may stand alone: `?dry-run`, `?dry-run=true`, `?dry-run=false`.
pub(crate) fn flag<'de, D: Deserializer<'de>>(parameter: D) -> Result<bool, D::Error> {
    match String::deserialize(parameter)?.as_str() {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("`{other}` is neither `true` nor `false`"))),
    }
}

/// The largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::ApplyRequest;

    fn field_of(body: &str) -> (Option<String>, String) {
        let fault = parse::<ApplyRequest>(body.as_bytes()).unwrap_err();
        (fault.field().map(str::to_owned), fault.to_string())
    }

    #[test]
    fn a_mistake_is_blamed_on_its_field() {
        for (body, field) in [
            ("{\"changes\":[],\"if_epoch\":\"7\"}", "/if_epoch"),
            ("{\"changes\":[],\"if-epoch\":7}", "/if-epoch"),
            (
                "{\"changes\":[{\"remove\":{\"name\":\"a\"}},{\"weight\":{\"name\":\"a\",\"weight\":-1}}]}",
                "/changes/1/weight/weight",
            ),
            ("{\"changes\":[{\"add\":{\"name\":\"a b\",\"address\":\"x:1\"}}]}", "/changes/0/add/name"),
            ("{\"changes\":[{\"remove\":{\"nam~/e\":\"a\"}}]}", "/changes/0/remove/nam~0~1e"),
            ("{\"changes\":[{\"explode\":{}}]}", "/changes/0"),
            ("[]", ""),
            ("", ""),
        ] {
            let (found, detail) = field_of(body);
            assert_eq!(found.as_deref(), Some(field), "{body}: {detail}");
        }
    }

    #[test]
    fn only_a_body_that_is_not_json_is_pointed_into_by_line_and_column() {
        let (_, detail) = field_of("{\"changes\":[],\"if_epoch\":-7}");
        assert_eq!(detail, "invalid value: integer `-7`, expected u64");
        let (_, detail) = field_of("{\"changes\":[}");
        assert_eq!(detail, "expected value at line 1 column 13");
    }

    #[test]
    fn what_follows_the_document_is_refused() {
        let (_, detail) = field_of("{\"changes\":[]} {}");
        assert!(detail.contains("trailing characters"), "{detail}");
    }
}
