//! A request as it came in: checked against RFC 9110 and the limits, then rewritten for a node.

use crate::proxy::access_log::Entry;
use crate::proxy::body::RequestBody;
use crate::proxy::body::Upload;
use crate::proxy::error::ProxyError;
use crate::proxy::headers;
use crate::proxy::headers::Forwarded;
use crate::proxy::server::Client;
use crate::proxy::settings::PoolSettings;
use crate::proxy::settings::ServerSettings;
use crate::routing::key;
use crate::routing::key::RequestHead;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Uri;
use http::Version;
use http::header;
use http::request::Parts;
use http::uri::Authority;
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use tokio::sync::Notify;

/// An acceptable request, not yet bound for any node.
pub(crate) struct Inbound {
    parts: Parts,
    body: Option<Incoming>,
    /// Host as it came; empty for HTTP/1.0 without one.
    authority: HeaderValue,
    /// Host in its normal form, for matching and as a key.
    host: String,
    peer: IpAddr,
    client_ip: IpAddr,
    is_peer_trusted: bool,
    /// The protocol the client asks to switch to, and its side of the tunnel.
    pub(crate) upgrade: Option<(HeaderValue, OnUpgrade)>,
}

impl Inbound {
    /// Checks a request.
    pub(crate) fn accept(
        client: &Client,
        mut request: Request<Incoming>,
        server: &ServerSettings,
    ) -> Result<Inbound, ProxyError> {
        check_size(&request, server)?;
        if !headers::is_plainly_framed(request.headers()) {
            return Err(ProxyError::TransferCoding);
        }
        if request.method() == Method::CONNECT {
            return Err(ProxyError::ConnectMethod);
        }
        let path = request.uri().path();
        let is_server_wide = path == "*" && request.method() == Method::OPTIONS;
        if !path.starts_with('/') && !is_server_wide {
            return Err(ProxyError::BadRequest("the request target is neither a path nor an absolute URI"));
        }
        let authority = authority_of(&request)?;
        let host = key::normal_host(authority.to_str().unwrap_or_default()).into_owned();
        let upgrade =
            headers::upgrade_protocol(request.headers()).map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
        let trusted = &server.trusted_proxies;
        let is_peer_trusted = trusted.iter().any(|network| network.contains(&client.peer.to_canonical()));
        let client_ip = key::client_ip(client.peer, request.headers(), trusted);
        let (parts, body) = request.into_parts();
        let (peer, body) = (client.peer, Some(body));
        Ok(Inbound { parts, body, authority, host, peer, client_ip, is_peer_trusted, upgrade })
    }

    /// What the pool's key rule may look at.
    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.parts.method,
            path: self.parts.uri.path(),
            query: self.parts.uri.query(),
            headers: &self.parts.headers,
            host: &self.host,
            client_ip: self.client_ip,
        }
    }

    /// Rewrites the head for a node of `pool` and takes the body along. To be called once.
    pub(crate) fn outbound(
        &mut self,
        pool: &PoolSettings,
        upload: &Rc<Upload>,
        patience: Duration,
    ) -> Request<RequestBody> {
        let is_held_back = self.expects_continue();
        let go_ahead = is_held_back.then(|| Arc::new(Notify::new()));
        let body = match self.body.take() {
            Some(incoming) => RequestBody::new(incoming, upload, patience, go_ahead.clone()),
            None => RequestBody::Empty,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = origin_form(&self.parts.uri);
        *request.headers_mut() = std::mem::take(&mut self.parts.headers);
        if let Some(notify) = go_ahead {
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == http::StatusCode::CONTINUE {
                    notify.notify_one();
                }
            });
        }
        self.rewrite(request.headers_mut(), pool);
        if !is_held_back {
            // An expectation of HTTP/1.0 is to be ignored (RFC 9110 section 10.1.1), and there is no other.
            request.headers_mut().remove(header::EXPECT);
        }
        // Unless it is told so, hyper takes a GET without a length for one without a body.
        if request.body().size_hint().exact().is_none() {
            request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        request
    }

    fn rewrite(&self, fields: &mut http::HeaderMap, pool: &PoolSettings) {
        headers::strip_hop_by_hop(fields);
        headers::strip_impostors(fields, self.is_peer_trusted);
        headers::join_cookies(fields);
        let forwarded = Forwarded { peer: self.peer, host: self.authority.as_bytes() };
        headers::add_forwarded(fields, &forwarded);
        headers::add_via(fields, self.parts.version);
        let host = match &pool.host {
            Some(host) => HeaderValue::from_str(host).ok(),
            None => Some(self.authority.clone()),
        };
        fields.insert(header::HOST, host.unwrap_or_else(|| HeaderValue::from_static("")));
        if let Some((protocol, _)) = &self.upgrade {
            fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            fields.insert(header::UPGRADE, protocol.clone());
        }
    }

    fn expects_continue(&self) -> bool {
        let expect = self.parts.headers.get(header::EXPECT);
        self.parts.version == Version::HTTP_11
            && expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }
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

/// The host a request is for: that of an absolute target, which overrides Host (RFC 9112 section 3.2.2), else Host,
/// of which HTTP/1.1 demands exactly one (RFC 9112 section 3.2).
fn authority_of(request: &Request<Incoming>) -> Result<HeaderValue, ProxyError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ProxyError::BadRequest("the request has more than one Host"));
    }
    if let Some(host) = host {
        let is_valid = host.is_empty() || host.to_str().is_ok_and(is_host);
        if !is_valid {
            return Err(ProxyError::BadRequest("the Host of the request is not a host"));
        }
    }
    if let Some(authority) = request.uri().authority() {
        if request.version() == Version::HTTP_2 && host.is_some_and(|host| host != authority.as_str()) {
            return Err(ProxyError::BadRequest(":authority and Host differ"));
        }
        if !is_host(authority.as_str()) {
            return Err(ProxyError::BadRequest("the authority of the request is not a host"));
        }
        return HeaderValue::from_str(authority.as_str())
            .map_err(|_| ProxyError::BadRequest("the authority of the request is not a host"));
    }
    match host {
        Some(host) => Ok(host.clone()),
        None if request.version() == Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        None => Err(ProxyError::BadRequest("the request has no Host")),
    }
}

/// Whether a text is `host` or `host:port` without anything that could be read differently elsewhere.
fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte);
    // The colons of an IPv6 literal stand before its bracket.
    let port = text.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit());
    is_port && text.bytes().all(allowed) && text.parse::<Authority>().is_ok()
}

/// The target for a node: path and query only (RFC 9112 section 3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    if uri.authority().is_none() {
        return uri.clone();
    }
    let target = uri.path_and_query().cloned();
    target.map_or_else(|| Uri::from_static("/"), Uri::from)
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
        ts: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        attempts: 1,
        method: request.method().to_string(),
        host: host.chars().take(LOGGED_CHARS_MAX).collect(),
        path: request.uri().path().chars().take(LOGGED_CHARS_MAX).collect(),
        client: client.peer.to_canonical().to_string(),
        trace_id,
        ..Entry::default()
    }
}
