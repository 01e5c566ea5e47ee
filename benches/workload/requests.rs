//! Message heads as a browser and a node send them, and what is done with them on the way.

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Version;
use ringway::proxy::headers;
use ringway::proxy::headers::Forwarded;
use ringway::proxy::headers::Survey;
use ringway::proxy::via::Via;
use ringway::routing::key::Extracted;
use ringway::routing::key::KeyRule;
use ringway::routing::key::RequestHead;
use ringway::routing::pool_match::PoolMatch;
use ringway::routing::pool_match::PoolMatcher;
use std::net::IpAddr;
use std::net::Ipv4Addr;

const TARGET: &str = "/rooms/4f1d9a02c7e65b38-eu1/messages?after=1029384756&limit=50&room=4f1d9a02c7e65b38-eu1";

const REQUEST: &str = "\
Host: chat.example.com
Connection: keep-alive
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36
Accept: application/json, text/plain, */*
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
Cookie: theme=dark; consent=2024-11-02; room=4f1d9a02c7e65b38-eu1; session=b7c1f0e29d8a4635a1c08e7f5b2d9346
Referer: https://chat.example.com/rooms/4f1d9a02c7e65b38-eu1
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin
X-Room: 4f1d9a02c7e65b38-eu1";

const RESPONSE: &str = "\
Date: Tue, 05 Nov 2024 09:14:07 GMT
Content-Type: application/json; charset=utf-8
Content-Length: 1311
Connection: keep-alive
Keep-Alive: timeout=65
Cache-Control: private, max-age=0
ETag: \"1d-6f0b4e2a\"
Vary: Accept-Encoding";

/// A GET with the twelve fields of a browser.
pub(crate) fn request() -> Request<()> {
    let mut request = Request::get(TARGET).body(()).expect("a valid target");
    *request.headers_mut() = fields(REQUEST);
    request
}

/// The fields of [`request`], so many times.
pub(crate) fn request_heads(count: usize) -> Vec<HeaderMap> {
    (0..count).map(|_| fields(REQUEST)).collect()
}

/// The eight fields of a node's response, so many times.
pub(crate) fn response_heads(count: usize) -> Vec<HeaderMap> {
    (0..count).map(|_| fields(RESPONSE)).collect()
}

/// As hyper parses them: all values share the buffer that they were read into.
fn fields(text: &str) -> HeaderMap {
    let buffer = Bytes::from(text.to_owned());
    let mut fields = HeaderMap::with_capacity(text.lines().count());
    for line in text.lines() {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
        let start = value.as_ptr().addr() - text.as_ptr().addr();
        let value = buffer.slice(start..start + value.len());
        fields.append(name, HeaderValue::from_maybe_shared(value).expect("a field value"));
    }
    fields
}

/// Places of [`request`] that a key can come from; `+` joins two.
pub(crate) const KEY_SOURCES: [&str; 5] = ["header:x-room", "cookie:room", "query:room", "path:2", "host+path:2"];

/// The rule for one of [`KEY_SOURCES`].
pub(crate) fn key_rule(source: &str) -> KeyRule {
    let parts = source.split('+').map(str::to_owned).collect();
    KeyRule::parse(&[parts], None).expect("a key source")
}

/// Reads a key, and says how long it is.
pub(crate) fn key_length(rule: &KeyRule, request: &Request<()>) -> usize {
    let head = RequestHead {
        method: request.method(),
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
        host: "chat.example.com",
        client_ip: CLIENT,
    };
    match rule.extract(&head) {
        Extracted::Key(key) => key.bytes.len(),
        Extracted::Absent | Extracted::InBody(_) => 0,
    }
}

/// Eight pools, told apart by host and path.
pub(crate) fn pools() -> PoolMatcher {
    let pool = |host: Option<&str>, path: Option<&str>| PoolMatch {
        host: host.map(str::to_owned),
        path: path.map(str::to_owned),
    };
    PoolMatcher::new(&[
        pool(Some("chat.example.com"), Some("/rooms")),
        pool(Some("chat.example.com"), Some("/rooms/archive")),
        pool(Some("chat.example.com"), None),
        pool(Some("files.example.com"), None),
        pool(Some("*.tenants.example.com"), Some("/api")),
        pool(Some("*.tenants.example.com"), None),
        pool(None, Some("/health")),
        pool(None, None),
    ])
}

/// A host and a path that [`pools`] matches by each way of matching: exact host, wildcard, neither.
pub(crate) const POOL_MATCHES: [(&str, &str); 3] = [
    ("chat.example.com", "/rooms/4f1d9a02c7e65b38-eu1/messages"),
    ("acme.tenants.example.com", "/api/v1/items"),
    ("other.example.org", "/rooms/4f1d9a02c7e65b38-eu1/messages"),
];

/// What a request's fields go through on their way to a node.
pub(crate) fn rewrite_request(fields: &mut HeaderMap) {
    let found = Survey::of(fields);
    let (peer, host) = (HeaderValue::from_static("192.0.2.7"), HeaderValue::from_static("chat.example.com"));
    headers::strip_hop_by_hop(fields, found);
    headers::strip_impostors(fields, found, false);
    headers::join_cookies(fields);
    headers::add_forwarded(fields, &Forwarded { peer: &peer, host: &host, is_encrypted: false }, false);
    VIA.with(|via| via.add(fields, Version::HTTP_11));
}

/// What a response's fields go through on their way to the client.
pub(crate) fn rewrite_response(fields: &mut HeaderMap) {
    headers::strip_hop_by_hop(fields, Survey::of(fields));
    VIA.with(|via| via.add(fields, Version::HTTP_11));
}

thread_local! {
    static VIA: Via = Via::new(7);
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
