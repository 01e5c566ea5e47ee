//! A request as it came in: checked against RFC 9110 and the limits, then rewritten for a node.

use crate::proxy::access_log::Entry;
use crate::proxy::error::ProxyError;
use crate::proxy::framing;
use crate::proxy::framing::Unclear;
use crate::proxy::headers;
use crate::proxy::headers::Forwarded;
use crate::proxy::headers::Presence;
use crate::proxy::headers::Survey;
use crate::proxy::limits::Limits;
use crate::proxy::memory::Charge;
use crate::proxy::request_body::BodyTerms;
use crate::proxy::request_body::RequestBody;
use crate::proxy::request_body::Upload;
use crate::proxy::server::Client;
use crate::proxy::settings::PoolSettings;
use crate::proxy::settings::ServerSettings;
use crate::proxy::settings::UnderscoreHeaders;
use crate::proxy::trailers::TrailerTerms;
use crate::routing::key;
use crate::routing::key::RequestHead;
use http::Extensions;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Uri;
use http::Version;
use http::header;
use http::request::Parts;
use http::uri::Authority;
use http::uri::Scheme;
use http_body::Body;
use hyper::body::Incoming;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// What was found out about an acceptable request before it is bound for any node.
pub(crate) struct Inbound {
    host: Rc<Host>,
    client_ip: IpAddr,
    is_peer_trusted: bool,
    passes_underscores: bool,
    found: Survey,
    /// The protocol that the client asks to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Whether it logs its client in to the connection that it comes over.
    pub(crate) logs_in: bool,
    /// Whether no other request follows on the connection and all of this one has come, so that hyper shuts the
    /// connection down right after the response.
    pub(crate) is_last: bool,
}

/// A host that requests are for. A connection remembers its last one, because most requests name it again.
#[derive(Debug)]
pub(crate) struct Host {
    /// As it came; empty for HTTP/1.0 without one.
    written: Box<[u8]>,
    /// In its normal form, with the port if it has one.
    field: HeaderValue,
    /// The same without the port, for matching and as a key.
    name: Box<str>,
    /// Whether it came in another form.
    is_rewritten: bool,
}

impl Host {
    /// Checks a host; `None` when it is none. An empty one is valid (RFC 9110 section 7.2).
    fn read(written: &[u8]) -> Option<Host> {
        let text = std::str::from_utf8(written).ok().filter(|text| text.is_empty() || is_host(text))?;
        let name = key::normal_host(text);
        // Zeros in front of a port mean nothing, and neither does a colon without one.
        let port = text.strip_prefix('[').map_or(text, |rest| rest.split_once(']').map_or("", |(_, port)| port));
        let port = port.split_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let field = port.map_or_else(|| name.to_string(), |port| format!("{name}:{port}"));
        let field = HeaderValue::try_from(field).ok()?;
        let is_rewritten = field.as_bytes() != written;
        Some(Host { written: written.into(), field, name: name.into(), is_rewritten })
    }
}

impl Inbound {
    /// Checks a request, and writes what can be written in several ways in the one that its node gets, so that pools,
    /// keys and the log go by that too.
    pub(crate) fn accept(
        client: &Client,
        request: &mut Request<Incoming>,
        server: &ServerSettings,
    ) -> Result<Inbound, ProxyError> {
        check_size(request, server)?;
        let mut found = Survey::of(request.headers());
        framing::settle_request(request.headers_mut(), found)?;
        if found.via && client.via().is_in(request.headers()) {
            return Err(ProxyError::Loop);
        }
        if request.method() == Method::CONNECT {
            return Err(ProxyError::ConnectMethod);
        }
        let path = request.uri().path();
        let is_server_wide = path == "*" && request.method() == Method::OPTIONS;
        if !path.starts_with('/') && !is_server_wide {
            return Err(ProxyError::BadRequest("the request target is neither a path nor an absolute URI"));
        }
        check_fields(request, found, server)?;
        let host = host_of(client, request, found)?;
        if found.host == Presence::Absent {
            request.headers_mut().append(header::HOST, host.field.clone());
            found.text_bytes += header::HOST.as_str().len() + host.field.len();
        } else if request.uri().authority().is_some() || host.is_rewritten {
            request.headers_mut().insert(header::HOST, host.field.clone());
        }
        if found.cookie {
            headers::join_cookies(request.headers_mut());
        }
        // A server need not switch (RFC 9110 section 7.8), and what follows a switch must not be taken for a body.
        let may_upgrade = found.upgrade && found.connection.is_any() && request.version() == Version::HTTP_11;
        let may_upgrade = may_upgrade && request.body().is_end_stream();
        let upgrade = may_upgrade.then(|| headers::upgrade_protocol(request.headers())).flatten();
        let trusted = &server.trusted_proxies;
        let peer = client.peer.to_canonical();
        let is_peer_trusted = trusted.iter().any(|network| network.contains(&peer));
        let client_ip = if is_peer_trusted { key::client_ip(peer, request.headers(), trusted) } else { peer };
        let is_last =
            request.body().is_end_stream() && headers::forbids_another(request.headers(), found, request.version());
        let passes_underscores = server.underscore_headers == UnderscoreHeaders::Pass;
        let logs_in = found.authenticate && headers::binds_connection(request.headers(), &header::AUTHORIZATION);
        Ok(Inbound { host, client_ip, is_peer_trusted, passes_underscores, found, upgrade, logs_in, is_last })
    }

    /// The host as the node gets it, unless its pool has one of its own.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host.field
    }

    /// Which trailers of the request go further.
    pub(crate) fn trailers(&self, request: &mut Request<Incoming>, limits: &Limits, may_be_call: bool) -> TrailerTerms {
        TrailerTerms::settle(request.headers_mut(), self.found, limits, may_be_call)
    }

    /// Bytes of the names and values of all fields.
    pub(crate) fn text_bytes(&self) -> usize {
        self.found.text_bytes
    }

    /// What the pool's key rule may look at.
    pub(crate) fn head<'a>(&'a self, request: &'a Request<Incoming>) -> RequestHead<'a> {
        RequestHead {
            method: request.method(),
            path: request.uri().path(),
            query: request.uri().query(),
            headers: request.headers(),
            host: &self.host.name,
            client_ip: self.client_ip,
        }
    }

    /// Rewrites the head of the request for a node of `pool`; what becomes of its body shows in the [`Upload`], if it
    /// has one.
    pub(crate) fn outbound(
        &self,
        client: &Rc<Client>,
        request: Request<Incoming>,
        pool: &PoolSettings,
        terms: BodyTerms,
    ) -> (Request<RequestBody>, Option<Rc<Upload>>) {
        let (mut parts, incoming) = request.into_parts();
        // Who reads ahead has told the client to go on.
        let is_held_back = self.found.expect && expects_continue(&parts) && !terms.reads_ahead;
        let go_ahead = is_held_back.then(|| Arc::new(Notify::new()));
        let (body, upload) = RequestBody::new(incoming, terms, || Charge::new(client), go_ahead.clone());
        self.rewrite(client, &mut parts, pool);
        if self.found.expect && !is_held_back {
            // Met already, or of HTTP/1.0, where it is to be ignored (RFC 9110 section 10.1.1); there is no other.
            parts.headers.remove(header::EXPECT);
        }
        // Unless it is told so, hyper takes a GET without a length for one without a body.
        if body.size_hint().exact().is_none() {
            parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let mut request = Request::from_parts(parts, body);
        if let Some(notify) = go_ahead {
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == http::StatusCode::CONTINUE {
                    notify.notify_one();
                }
            });
        }
        (request, upload)
    }

    fn rewrite(&self, client: &Client, parts: &mut Parts, pool: &PoolSettings) {
        let fields = &mut parts.headers;
        headers::strip_hop_by_hop(fields, self.found);
        headers::strip_impostors(fields, self.found, self.is_peer_trusted);
        if self.found.underscored && !self.passes_underscores {
            headers::strip_underscored(fields);
        }
        let is_encrypted = client.state.is_encrypted();
        let forwarded = Forwarded { peer: &client.forwarded_for, host: &self.host.field, is_encrypted };
        headers::add_forwarded(fields, &forwarded, self.is_peer_trusted);
        client.via().add(fields, parts.version);
        if let Some(host) = &pool.host {
            let host = HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static(""));
            fields.insert(header::HOST, host);
        }
        if let Some(protocol) = &self.upgrade {
            fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            fields.insert(header::UPGRADE, protocol.clone());
        }
        parts.version = Version::HTTP_11;
        parts.extensions = Extensions::new();
        to_origin_form(&mut parts.uri);
    }
}

impl From<Unclear> for ProxyError {
    fn from(unclear: Unclear) -> ProxyError {
        match unclear {
            Unclear::Coding => ProxyError::TransferCoding,
            Unclear::Length => ProxyError::BadRequest("the Content-Length of the request is not one number"),
        }
    }
}

fn expects_continue(parts: &Parts) -> bool {
    let expect = parts.headers.get(header::EXPECT);
    parts.version == Version::HTTP_11
        && expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn check_size(request: &Request<Incoming>, server: &ServerSettings) -> Result<(), ProxyError> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > server.limits.max_target_bytes {
        return Err(ProxyError::TargetTooLong);
    }
    if request.headers().len() > server.limits.max_headers {
        return Err(ProxyError::HeadersTooMany);
    }
    Ok(())
}

/// Refuses what others would read in another way, or not as the one request that it is here.
fn check_fields(request: &Request<Incoming>, found: Survey, server: &ServerSettings) -> Result<(), ProxyError> {
    let fields = request.headers();
    if request.uri().scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(ProxyError::BadRequest("the scheme of the request target is neither http nor https"));
    }
    // RFC 3986 section 2 knows no others, and what programs make of them differs.
    if request.uri().path_and_query().is_some_and(|target| !target.as_str().is_ascii()) {
        return Err(ProxyError::BadRequest(
            "the request target has bytes beyond ASCII, which are to be percent-encoded",
        ));
    }
    if found.connection == Presence::Other && !headers::is_connection_readable(fields) {
        return Err(ProxyError::BadRequest("a Connection field holds more than names of fields"));
    }
    // HTTP/1 trims values as it reads them; in HTTP/2 such a message is malformed (RFC 9113 section 8.2.1).
    if request.version() == Version::HTTP_2 && fields.values().any(|value| is_padded(value.as_bytes())) {
        return Err(ProxyError::BadRequest("a field value begins or ends with white space"));
    }
    if found.underscored && server.underscore_headers == UnderscoreHeaders::Reject {
        return Err(ProxyError::BadRequest("the name of a field has an underscore"));
    }
    Ok(())
}

fn is_padded(value: &[u8]) -> bool {
    matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// The host a request is for: that of an absolute target, which overrides Host (RFC 9112 section 3.2.2), else Host,
/// of which HTTP/1.1 demands exactly one, whatever the target (RFC 9112 section 3.2).
fn host_of(client: &Client, request: &Request<Incoming>, found: Survey) -> Result<Rc<Host>, ProxyError> {
    let field = match found.host {
        Presence::Absent => None,
        Presence::Plain => request.headers().get(header::HOST).map(HeaderValue::as_bytes),
        Presence::Other => return Err(ProxyError::BadRequest("the request has more than one Host")),
    };
    if field.is_none() && request.version() == Version::HTTP_11 {
        return Err(ProxyError::BadRequest("the request has no Host"));
    }
    let Some(authority) = request.uri().authority().map(|authority| authority.as_str().as_bytes()) else {
        return match field {
            Some(field) => known_host(client, field, "the Host of the request is not a host"),
            None if request.version() == Version::HTTP_10 => known_host(client, b"", ""),
            None => Err(ProxyError::BadRequest("the request has no :authority and no Host")),
        };
    };
    if request.version() == Version::HTTP_2 && field.is_some_and(|field| field != authority) {
        return Err(ProxyError::BadRequest(":authority and Host differ"));
    }
    if let Some(field) = field {
        known_host(client, field, "the Host of the request is not a host")?;
    }
    known_host(client, authority, "the authority of the request is not a host")
}

/// The last host of the connection if it is `written` again, else this one, checked and remembered.
fn known_host(client: &Client, written: &[u8], otherwise: &'static str) -> Result<Rc<Host>, ProxyError> {
    let mut last = client.last_host.borrow_mut();
    if let Some(host) = last.as_ref().filter(|host| *host.written == *written) {
        return Ok(Rc::clone(host));
    }
    let host = Rc::new(Host::read(written).ok_or(ProxyError::BadRequest(otherwise))?);
    *last = Some(Rc::clone(&host));
    Ok(host)
}

/// Whether a text is `host` or `host:port` (RFC 3986 section 3.2.2) without anything that could be read differently
/// elsewhere, such as what is percent-encoded: no name of DNS needs that, and http takes it for no authority.
fn is_host(text: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte);
    let (is_host, rest) = match text.strip_prefix('[').map(|literal| literal.split_once(']')) {
        Some(Some((address, rest))) => (address.parse::<Ipv6Addr>().is_ok(), rest),
        Some(None) => return false,
        None => {
            let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            // The root of DNS may end a name; no other label is empty.
            let labels = name.strip_suffix('.').unwrap_or(name);
            (labels.split('.').all(|label| !label.is_empty()) && name.bytes().all(is_name_byte), rest)
        }
    };
    let is_port = |port: &str| port.is_empty() || (!port.starts_with('+') && port.parse::<u16>().is_ok());
    is_host && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

/// Makes it the target for a node: path and query only (RFC 9112 section 3.2.1).
fn to_origin_form(uri: &mut Uri) {
    if uri.authority().is_some() {
        let target = std::mem::take(uri).into_parts().path_and_query;
        *uri = target.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
}

/// The trace id of a `traceparent`: its second field, 32 hex digits (W3C Trace Context section 3.2.2.3).
fn trace_id(traceparent: &HeaderValue) -> Option<String> {
    let id = traceparent.to_str().ok()?.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// The access log cuts what clients make up, so that its queue is bounded in bytes as well as in lines.
const LOGGED_CHARS_MAX: usize = 2048;

/// What the access log shows of a request before anything was decided.
pub(crate) fn log_entry(client: &Client, request: &Request<Incoming>) -> Entry {
    let host = request.uri().authority().map(Authority::as_str);
    let host = host.or_else(|| request.headers().get(header::HOST)?.to_str().ok()).unwrap_or_default();
    let trace_id = request.headers().get("traceparent").and_then(trace_id);
    Entry {
        attempts: 1,
        method: cut(request.method().as_str()),
        host: cut(host),
        path: cut(request.uri().path()),
        trace_id,
        ..Entry::now(client.peer)
    }
}

/// As much of a text as the access log shows.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(LOGGED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_has_one_form() {
        for (written, field, name) in [
            ("a.test", "a.test", "a.test"),
            ("A.Test:8080", "a.test:8080", "a.test"),
            ("a.test.", "a.test", "a.test"),
            ("a.test.:80", "a.test:80", "a.test"),
            ("a.test:00080", "a.test:80", "a.test"),
            ("a.test:", "a.test", "a.test"),
            ("[2001:DB8::1]:080", "[2001:db8::1]:80", "[2001:db8::1]"),
            ("[::1]", "[::1]", "[::1]"),
            ("", "", ""),
        ] {
            let host = Host::read(written.as_bytes()).unwrap_or_else(|| panic!("{written:?} is one"));
            assert_eq!((host.field.to_str().unwrap(), &*host.name), (field, name), "{written:?}");
            assert_eq!(host.is_rewritten, written != field, "{written:?}");
        }
        for written in [".", "..", "a..b", ".a", "a..", "a b", "a@b", "a:x", "a:65536", "[::1", "[::1].", "\u{e9}"] {
            assert!(Host::read(written.as_bytes()).is_none(), "{written:?} is none");
        }
    }

    proptest! {
        #[test]
        fn every_host_that_is_let_in_is_an_authority(
            text in r"(\[[0-9a-f:.]{2,20}\]|[ -~]{1,8}|[a-z.%-]{1,8})(:[0-9]{0,5})?"
        ) {
            let authority = Authority::try_from(text.as_bytes()).map(|authority| authority.to_string());
            prop_assert!(!is_host(&text) || authority.as_deref().ok() == Some(&text[..]), "{text:?}: {authority:?}");
        }
    }
}
