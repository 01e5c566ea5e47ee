//! The page at `/`: what it is made of, how browsers are to treat it, and its routes.

mod html;

use crate::admin::api::Api;
use crate::admin::auth::Role;
use crate::admin::figures;
use crate::admin::page::html::View;
use crate::admin::view;
use axum::Extension;
use axum::Router;
use axum::extract::Query;
use axum::extract::State;
use axum::response::AppendHeaders;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::Uri;
use http::header;
use serde::Deserialize;
use std::io::Write;
use std::sync::Arc;
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64;

/// Where the page is.
pub(crate) const PATH: &str = "/";

/// Where its script is. Like the style it holds no data, and is given to anybody.
pub(crate) const SCRIPT_PATH: &str = "/page.js";

/// Where its style is.
pub(crate) const STYLE_PATH: &str = "/page.css";

/// The routes of the page.
pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route(PATH, get(page))
        .route(SCRIPT_PATH, get(async |headers: HeaderMap| SCRIPT.answer(&headers)))
        .route(STYLE_PATH, get(async |headers: HeaderMap| STYLE.answer(&headers)))
}

/// What of it is to be seen where there is no script.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    /// The pool; absent: the first one.
    pool: Option<String>,
    /// The number of the first node.
    #[serde(default)]
    from: usize,
}

/// The page with the data of this moment; without any where a token is needed and none was shown.
async fn page(State(api): State<Arc<Api>>, role: Option<Extension<Role>>, uri: Uri) -> Response {
    let Some(Extension(role)) = role else { return answer(StatusCode::OK, html::ask_for_token()) };
    // A link with a mistake leads to the page all the same.
    let Wanted { pool: wanted, from } = Query::try_from_uri(&uri).map_or_else(|_| Wanted::default(), |query| query.0);
    let table = api.controller.table();
    let pool = match &wanted {
        Some(name) => table.pool(name),
        None => table.pools().first(),
    };
    let name = pool.map(|pool| pool.settings.name.clone());
    let status = figures::status(&api, role.into(), Some(name.as_deref().unwrap_or_default()));
    let detail = pool.map(|pool| view::detail(pool, api.owner(pool)));
    let is_found = pool.is_some() || wanted.is_none();
    let text = html::render(&View { status: &status, detail: detail.as_ref(), wanted: wanted.as_deref(), from });
    answer(if is_found { StatusCode::OK } else { StatusCode::NOT_FOUND }, text)
}

fn answer(status: StatusCode, text: String) -> Response {
    let fields = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, PROTECTION, fields, text).into_response()
}

/// A part of the page that is the same until another version of Ringway is installed.
struct Asset {
    content_type: &'static str,
    plain: Bytes,
    /// The same for those who take it so, which all browsers do.
    gzip: Bytes,
    tag: HeaderValue,
}

impl Asset {
    fn new(content_type: &'static str, text: &'static str) -> Asset {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()).expect("a Vec takes any bytes");
        // Weak, as it stands for both forms.
        let tag = format!("W/\"{:016x}\"", xxh3_64(text.as_bytes()));
        Asset {
            content_type,
            plain: Bytes::from_static(text.as_bytes()),
            gzip: Bytes::from(gzip),
            tag: HeaderValue::try_from(tag).expect("hex digits and quotes are a header value"),
        }
    }

    /// The part, or 304 for a browser that has it.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let fields = AppendHeaders([
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::ETAG, self.tag.clone()),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
        ]);
        if headers.get_all(header::IF_NONE_MATCH).iter().any(|known| *known == self.tag) {
            return (StatusCode::NOT_MODIFIED, PROTECTION, fields).into_response();
        }
        let is_short = takes_gzip(headers);
        let body = if is_short { self.gzip.clone() } else { self.plain.clone() };
        let mut answer = (PROTECTION, fields, [(header::CONTENT_TYPE, self.content_type)], body).into_response();
        if is_short {
            answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// Whether a client takes a body that is compressed (RFC 9110 section 12.5.3); one that only might is not asked.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| coding.trim() == "gzip")
}

/// The page takes nothing from elsewhere, runs nothing that stands in it, and is in no frame; what its links lead to
/// hears nothing of it.
const PROTECTION: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// One module in several files by idea, so that a browser needs one request for it.
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = concat!(
        include_str!("dom.js"),
        include_str!("api.js"),
        include_str!("words.js"),
        include_str!("nodes.js"),
        include_str!("ring.js"),
        include_str!("explain.js"),
        include_str!("flows.js"),
        include_str!("change.js"),
        include_str!("timeline.js"),
        include_str!("main.js"),
    );
    Asset::new("text/javascript; charset=utf-8", text)
});

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset::new("text/css; charset=utf-8", include_str!("page.css")));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_light() {
        let sizes = [html::ask_for_token().len(), SCRIPT.gzip.len(), STYLE.gzip.len()];
        assert!(sizes.iter().sum::<usize>() < 40_000, "{sizes:?}");
    }

    #[test]
    fn a_browser_is_sent_the_short_form_and_others_the_plain_one() {
        for (accepted, short) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, gzip", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            let answer = SCRIPT.answer(&headers);
            assert_eq!(answer.headers().contains_key(header::CONTENT_ENCODING), short, "{accepted}");
        }
    }
}
