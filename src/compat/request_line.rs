//! The first line of a request, as access logs have it.

use http::Method;

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: Method,
    /// The path as on the wire, before `?`; `/` where the target names a host only.
    pub path: &'a str,
    /// What follows `?`, as on the wire.
    pub query: Option<&'a str>,
}

impl<'a> RequestLine<'a> {
    /// Reads `METHOD TARGET VERSION`, or a target alone, which is taken for that of a GET. `None` where there is no
    /// path, as for what no request was made of: `<BADREQ>` of HAProxy, or bytes of TLS.
    pub fn parse(text: &'a [u8]) -> Option<RequestLine<'a>> {
        let (method, target, _) = parts(std::str::from_utf8(text).ok()?.trim());
        let method = method.map_or(Some(Method::GET), |method| method.parse().ok())?;
        let (target, has_host) = without_host(target);
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let path = if has_host && path.is_empty() { "/" } else { path };
        path.starts_with('/').then_some(RequestLine { method, path, query })
    }

    /// A request of which nothing is known.
    pub(super) fn of_nothing() -> RequestLine<'static> {
        RequestLine { method: Method::GET, path: "", query: None }
    }

    /// Whether it has all three parts, so that it can hardly be anything else.
    pub fn is_whole(text: &[u8]) -> bool {
        let parts = std::str::from_utf8(text).ok().map(|text| parts(text.trim()));
        matches!(parts, Some((Some(_), _, Some(_)))) && RequestLine::parse(text).is_some()
    }
}

/// Method, target and version, the first and the last where they are there.
fn parts(text: &str) -> (Option<&str>, &str, Option<&str>) {
    let is_method = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let (method, rest) = match text.split_once(' ') {
        Some((method, rest)) if is_method(method) => (Some(method), rest.trim_start()),
        _ => (None, text),
    };
    match rest.rsplit_once(' ') {
        Some((target, version)) if version.starts_with("HTTP/") => (method, target.trim_end(), Some(version)),
        _ => (method, rest, None),
    }
}

/// What follows `https://host`, and whether a target had that in front, as HAProxy logs those of HTTP/2.
fn without_host(target: &str) -> (&str, bool) {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            (rest.find(['/', '?']).map_or("", |end| &rest[end..]), true)
        }
        _ => (target, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_have_whole_lines_targets_and_urls() {
        for (text, method, path, query) in [
            ("GET /ws/?room=42 HTTP/1.1", "GET", "/ws/", Some("room=42")),
            ("M-SEARCH /a HTTP/1.1", "M-SEARCH", "/a", None),
            ("POST /a", "POST", "/a", None),
            ("/a?b=c?d", "GET", "/a", Some("b=c?d")),
            ("/a?", "GET", "/a", Some("")),
            ("GET /a b HTTP/1.0", "GET", "/a b", None),
            ("GET https://example.com/a?b HTTP/2.0", "GET", "/a", Some("b")),
            ("GET https://example.com HTTP/2.0", "GET", "/", None),
            ("GET https://example.com?b HTTP/2.0", "GET", "/", Some("b")),
            ("/go?to=http://example.com/", "GET", "/go", Some("to=http://example.com/")),
        ] {
            let method = method.parse().unwrap();
            assert_eq!(RequestLine::parse(text.as_bytes()), Some(RequestLine { method, path, query }), "{text}");
        }
    }

    #[test]
    fn what_has_no_path_is_no_request() {
        for text in ["", "-", "<BADREQ>", "CONNECT example.com:443 HTTP/1.1", "room-42", "OPTIONS * HTTP/1.1"] {
            assert_eq!(RequestLine::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(RequestLine::parse(b"\x16\x03\x01"), None);
    }

    #[test]
    fn a_whole_line_has_method_and_version() {
        for (text, expected) in
            [("GET /a HTTP/1.1", true), ("GET /a", false), ("/a HTTP/1.1", false), ("Mozilla/5.0 (X11)", false)]
        {
            assert_eq!(RequestLine::is_whole(text.as_bytes()), expected, "{text}");
        }
    }
}
