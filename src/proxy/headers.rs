//! What a proxy must change in a message head: RFC 9110 section 7.6 and the X-Forwarded-* conventions.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Version;
use http::header;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Response header: the node that answered.
pub(crate) const X_RINGWAY_NODE: HeaderName = HeaderName::from_static("x-ringway-node");
/// Response header: why that node.
pub(crate) const X_RINGWAY_DECISION: HeaderName = HeaderName::from_static("x-ringway-decision");
/// Response header: the membership epoch that decided.
pub(crate) const X_RINGWAY_EPOCH: HeaderName = HeaderName::from_static("x-ringway-epoch");

/// Which of the fields a proxy must look at are in a head. One pass over it finds out, because most heads have few of
/// them, and asking for each costs more than the rest of the rewriting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survey {
    /// `Authorization` or `WWW-Authenticate`.
    pub authenticate: bool,
    /// `Connection`, plain if it is `keep-alive` or `close`: what nearly every message says, and names no field.
    pub connection: Presence,
    /// `Content-Length`, plain if it is a number as nearly everybody writes it.
    pub content_length: Presence,
    /// `Content-Type`.
    pub content_type: bool,
    /// `Cookie`.
    pub cookie: bool,
    /// `Expect`.
    pub expect: bool,
    /// `Host`.
    pub host: Presence,
    /// `Trailer`.
    pub trailer: bool,
    /// `Transfer-Encoding`.
    pub transfer_encoding: bool,
    /// `Upgrade`.
    pub upgrade: bool,
    /// `Via`.
    pub via: bool,
    te: bool,
    /// Any other field of [`HOP_BY_HOP`].
    hop_by_hop: bool,
    /// Anything that [`strip_impostors`] may have to remove.
    impostor: bool,
    /// Any field that `strip_underscored` would remove.
    pub underscored: bool,
    /// Bytes of all names and values.
    pub text_bytes: usize,
}

/// Whether a head has a field that it should have once, if at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It has not.
    #[default]
    Absent,
    /// Once, and written in the usual way.
    Plain,
    /// More than once, or in another way.
    Other,
}

impl Presence {
    /// Whether the field is there, however often.
    pub fn is_any(self) -> bool {
        self != Presence::Absent
    }

    /// With one more of it.
    fn and(self, is_plain: bool) -> Presence {
        if self == Presence::Absent && is_plain { Presence::Plain } else { Presence::Other }
    }
}

impl Survey {
    /// Looks at every field once.
    pub fn of(headers: &HeaderMap) -> Survey {
        let mut found = Survey::default();
        for (name, value) in headers {
            let (name, value) = (name.as_str(), value.as_bytes());
            found.text_bytes += name.len() + value.len();
            match name {
                "authorization" | "www-authenticate" => found.authenticate = true,
                "connection" => found.see_connection(value),
                "content-length" => found.see_content_length(value),
                "content-type" => found.content_type = true,
                "cookie" => found.cookie = true,
                "expect" => found.expect = true,
                "host" => found.host = found.host.and(true),
                "trailer" => found.trailer = true,
                "transfer-encoding" => found.transfer_encoding = true,
                "upgrade" => found.upgrade = true,
                "via" => found.via = true,
                "te" => found.te = true,
                "keep-alive" | "proxy-connection" | "http2-settings" => found.hop_by_hop = true,
                // Nearly every response has them.
                "date" | "server" => {}
                other => found.see_other(other),
            }
        }
        found
    }

    // What is done with a field is kept out of the loop, which otherwise compares names one by one.

    #[inline(never)]
    fn see_connection(&mut self, value: &[u8]) {
        self.connection = self.connection.and(matches!(value, b"keep-alive" | b"close"));
    }

    #[inline(never)]
    fn see_content_length(&mut self, value: &[u8]) {
        self.content_length = self.content_length.and(is_plain_number(value));
    }

    #[inline(never)]
    fn see_other(&mut self, name: &str) {
        let is_underscored = is_underscored(name);
        self.underscored |= is_underscored;
        self.impostor |= if is_underscored { is_impostor(name, false) } else { is_own_word(name, false) };
    }
}

/// Whether it is a number as nearly everybody writes it, and surely fits.
fn is_plain_number(value: &[u8]) -> bool {
    match value {
        b"0" => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether a field names a scheme that authenticates a connection rather than a request, such as NTLM (RFC 4559 section
/// 6): whoever uses that connection next would be taken for the same user.
pub fn binds_connection(headers: &HeaderMap, field: &HeaderName) -> bool {
    let is_scheme = |word: &str| CONNECTION_SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
    let words = |value: &str| value.split([' ', '\t', ',']).any(is_scheme);
    headers.get_all(field).iter().any(|value| value.to_str().is_ok_and(words))
}

/// Schemes of authentication that are bound to a connection.
const CONNECTION_SCHEMES: [&str; 2] = ["Negotiate", "NTLM"];

/// Fields that belong to one connection and go no further (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
];

/// Fields that `Connection` must not be able to take away: framing, routing and what this proxy vouches for.
/// (RFC 9110 section 7.6.1 forbids naming fields meant for all recipients; attackers do it all the same.)
const NOT_NOMINABLE: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::AUTHORIZATION,
    header::VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
];

/// The protocol a request wants to switch to, when it asks properly: `Upgrade` present and nominated by `Connection`.
/// HTTP/2 by upgrade (`h2c`) is never passed on: it would be a tunnel past every rule of this proxy.
pub(crate) fn upgrade_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let is_h2c = tokens(protocol).any(|token| token.eq_ignore_ascii_case("h2c"));
    let nominated = headers.get_all(header::CONNECTION).iter().flat_map(tokens);
    let asked = nominated.into_iter().any(|token| token.eq_ignore_ascii_case("upgrade"));
    (asked && !is_h2c).then(|| protocol.clone())
}

/// Whether `Connection` holds nothing but text in ASCII, as names of fields are. What it nominates after other bytes
/// would be overlooked here and not elsewhere.
pub(crate) fn is_connection_readable(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().all(|value| value.to_str().is_ok())
}

/// Whether all protocols of an `Upgrade` are among those that were `asked` for; versions count (RFC 9110 section 7.8).
pub(crate) fn is_among(protocols: &HeaderValue, asked: &HeaderValue) -> bool {
    let is_asked = |protocol: &str| tokens(asked).any(|asked| asked.eq_ignore_ascii_case(protocol));
    tokens(protocols).next().is_some() && tokens(protocols).all(is_asked)
}

/// Whether no other message may follow on the connection, in either direction (RFC 9112 section 9.3).
pub(crate) fn forbids_another(headers: &HeaderMap, found: Survey, version: Version) -> bool {
    match version {
        Version::HTTP_10 => !found.connection.is_any(),
        Version::HTTP_11 => found.connection.is_any() && asks_to_close(headers),
        _ => false,
    }
}

/// Whether the sender closes the connection after this message, or wants the recipient to.
fn asks_to_close(headers: &HeaderMap) -> bool {
    let says_close = |value: &HeaderValue| tokens(value).any(|token| token.eq_ignore_ascii_case("close"));
    headers.get_all(header::CONNECTION).iter().any(|value| value == "close" || says_close(value))
}

/// Removes the hop-by-hop fields that were `found`, and those that `Connection` nominates. `TE: trailers` survives,
/// because trailers are passed on and gRPC servers insist on seeing it.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, found: Survey) {
    if found.connection == Presence::Other {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    if found.connection.is_any() {
        headers.remove(header::CONNECTION);
    }
    if found.transfer_encoding {
        headers.remove(header::TRANSFER_ENCODING);
    }
    if !(found.te || found.upgrade || found.hop_by_hop) {
        return;
    }
    let wants_trailers =
        headers.get_all(header::TE).iter().flat_map(tokens).any(|token| token.eq_ignore_ascii_case("trailers"));
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// The fields that `Connection` names and may name.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(tokens).filter_map(|token| HeaderName::try_from(token).ok());
    names.filter(|name| !NOT_NOMINABLE.contains(name) && *name != header::TE).collect()
}

/// The comma-separated elements of a list field. Bytes outside ASCII end the list: no token may hold them.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|token| !token.is_empty())
}

/// Removes what only this proxy may say: `x-ringway-*`, underscore aliases of the forwarding fields, which many
/// frameworks read as the real ones, and unless the sender is `trusted` the forwarding fields themselves.
pub fn strip_impostors(headers: &mut HeaderMap, found: Survey, trusted: bool) {
    if !found.impostor {
        return;
    }
    let impostors: Vec<HeaderName> =
        headers.keys().filter(|name| is_impostor(name.as_str(), trusted)).cloned().collect();
    for name in impostors {
        headers.remove(name);
    }
}

/// Whether a name has `_`. CGI and its heirs make `_` of `-` too, so that `X_User` would pass for `X-User` there.
fn is_underscored(name: &str) -> bool {
    name.as_bytes().contains(&b'_')
}

/// Removes all fields whose names have `_`.
pub(crate) fn strip_underscored(headers: &mut HeaderMap) {
    let underscored: Vec<HeaderName> = headers.keys().filter(|name| is_underscored(name.as_str())).cloned().collect();
    for name in underscored {
        headers.remove(name);
    }
}

fn is_impostor(name: &str, is_sender_trusted: bool) -> bool {
    is_own_word(name, is_sender_trusted) || (is_underscored(name) && is_own_word(&name.replace('_', "-"), false))
}

/// Whether a field of this very name is for this proxy alone to write.
fn is_own_word(name: &str, is_sender_trusted: bool) -> bool {
    // All of them begin so, and most fields do not.
    name.starts_with(['x', 'f']) && (name.starts_with("x-ringway-") || (!is_sender_trusted && is_forwarding(name)))
}

/// Whether a field tells who a request came from, by RFC 7239 or by convention: nodes believe it of their proxy.
fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
}

/// What is known of the client when forwarding fields are written.
pub struct Forwarded<'a> {
    /// The address of the connection, as text.
    pub peer: &'a HeaderValue,
    /// The Host of the request as it came; empty for none.
    pub host: &'a HeaderValue,
    /// Whether the client speaks TLS.
    pub is_encrypted: bool,
}

/// Writes `X-Forwarded-For`, `-Proto` and `-Host`: appended to or kept from a `trusted` proxy, new for anyone else,
/// whose own [`strip_impostors`] has removed.
pub fn add_forwarded(headers: &mut HeaderMap, forwarded: &Forwarded<'_>, trusted: bool) {
    let scheme = HeaderValue::from_static(if forwarded.is_encrypted { "https" } else { "http" });
    if !trusted {
        // Nothing is left to replace.
        headers.append(X_FORWARDED_FOR, forwarded.peer.clone());
        headers.append(X_FORWARDED_PROTO, scheme);
        if !forwarded.host.is_empty() {
            headers.append(X_FORWARDED_HOST, forwarded.host.clone());
        }
        return;
    }
    let chain = chain_of(headers, forwarded.peer);
    headers.insert(X_FORWARDED_FOR, chain.unwrap_or_else(|| forwarded.peer.clone()));
    headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
    if !forwarded.host.is_empty() {
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| forwarded.host.clone());
    }
}

/// The addresses that `X-Forwarded-For` lists, and `peer` behind them.
fn chain_of(headers: &HeaderMap, peer: &HeaderValue) -> Option<HeaderValue> {
    let listed = headers.get_all(X_FORWARDED_FOR).iter().chain([peer]);
    let listed: Vec<&str> = listed.map(|value| value.to_str().unwrap_or_default()).collect();
    HeaderValue::try_from(listed.join(", ")).ok()
}

/// Joins the cookie fields that HTTP/2 may split (RFC 9113 section 8.2.3) into the one that HTTP/1.1 allows.
pub fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Puts copies in the place of all values. Those of a node's response are pieces of the buffer that it was read into,
/// which they would keep for as long as an HPACK table remembers them: until the client leaves. Most values are those
/// that stood there in the response before, of which the copies are `known`.
pub(crate) fn detach(headers: &mut HeaderMap, known: &mut Vec<HeaderValue>) {
    for (index, value) in headers.values_mut().enumerate() {
        match known.get(index) {
            Some(copy) if copy == value => replace(value, copy.clone()),
            _ => {
                let copy = HeaderValue::from_bytes(value.as_bytes()).expect("the bytes of a value are a value");
                if index < KNOWN_VALUES_MAX && copy.len() <= KNOWN_BYTES_MAX {
                    known.resize(known.len().max(index + 1), HeaderValue::from_static(""));
                    known[index] = copy.clone();
                }
                replace(value, copy);
            }
        }
    }
}

fn replace(value: &mut HeaderValue, mut copy: HeaderValue) {
    copy.set_sensitive(value.is_sensitive());
    *value = copy;
}

/// How many values of one response are remembered.
const KNOWN_VALUES_MAX: usize = 16;

/// How long they may be.
const KNOWN_BYTES_MAX: usize = 128;

/// Removes from trailers what must not arrive there (RFC 9110 section 6.5.1): framing, routing and what this proxy
/// strips or vouches for in a head.
pub(crate) fn filter_trailers(trailers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        trailers.remove(name);
    }
    for name in &NOT_NOMINABLE {
        trailers.remove(name);
    }
    for name in [header::TRAILER, header::SET_COOKIE, header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        trailers.remove(name);
    }
    strip_impostors(trailers, Survey::of(trailers), false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn strip(headers: &mut HeaderMap) {
        strip_hop_by_hop(headers, Survey::of(headers));
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_field_is_plain_that_is_there_once_as_nearly_everybody_writes_it() {
        let presence_of = |name: &str, found: Survey| match name {
            "connection" => found.connection,
            "content-length" => found.content_length,
            _ => found.host,
        };
        for name in ["connection", "content-length", "host"] {
            for (values, expected) in [
                (&[][..], Presence::Absent),
                (&["close"], if name == "content-length" { Presence::Other } else { Presence::Plain }),
                (&["0"], if name == "connection" { Presence::Other } else { Presence::Plain }),
                (&["00"], if name == "host" { Presence::Plain } else { Presence::Other }),
                (&["close", "close"], Presence::Other),
                (&["0", "0"], Presence::Other),
            ] {
                let fields: Vec<(&'static str, &str)> = values.iter().map(|value| (name, *value)).collect();
                assert_eq!(presence_of(name, Survey::of(&map(&fields))), expected, "{name}: {values:?}");
            }
        }
    }

    #[test]
    fn a_survey_counts_the_bytes_of_names_and_values() {
        let headers = map(&[("host", "a"), ("x_app", ""), ("x_app", "bc")]);
        let found = Survey::of(&headers);
        assert_eq!((found.text_bytes, found.underscored), (17, true), "{headers:?}");
    }

    #[test]
    fn fields_of_one_connection_and_those_it_names_go_no_further() {
        let mut headers = map(&[
            ("connection", "close, X-Hop"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("x-hop", "1"),
            ("x-end", "2"),
        ]);
        strip(&mut headers);
        assert_eq!(names(&headers), ["x-end"]);
    }

    #[test]
    fn connection_cannot_take_away_framing_or_the_forwarding_fields() {
        let mut headers = map(&[
            ("connection", "Host, Content-Length, x-forwarded-for, Cookie"),
            ("host", "a"),
            ("content-length", "3"),
            ("x-forwarded-for", "10.0.0.1"),
            ("cookie", "a=1"),
        ]);
        strip(&mut headers);
        assert_eq!(names(&headers), ["content-length", "cookie", "host", "x-forwarded-for"]);
    }

    #[test]
    fn te_trailers_survives_alone() {
        let mut headers = map(&[("te", "gzip, trailers"), ("connection", "te")]);
        strip(&mut headers);
        assert_eq!(headers.get("te").unwrap(), "trailers");
    }

    #[test]
    fn an_upgrade_must_be_asked_for_twice_and_never_be_h2c() {
        for (connection, upgrade, wanted) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "websocket", true),
            ("keep-alive", "websocket", false),
            ("upgrade, http2-settings", "h2c", false),
            ("upgrade", "websocket, h2c", false),
        ] {
            let headers = map(&[("connection", connection), ("upgrade", upgrade)]);
            assert_eq!(upgrade_protocol(&headers).is_some(), wanted, "{connection} / {upgrade}");
        }
    }

    #[test]
    fn a_node_switches_to_what_was_asked_for() {
        for (protocol, asked, is_among_them) in [
            ("websocket", "WebSocket", true),
            ("b", "a, b", true),
            ("a, b", "b, a", true),
            ("h2c", "websocket", false),
            ("websocket, h2c", "websocket", false),
            ("a/2", "a/1", false),
            ("", "websocket", false),
        ] {
            let [protocols, asked] = [protocol, asked].map(|text| HeaderValue::from_str(text).unwrap());
            assert_eq!(is_among(&protocols, &asked), is_among_them, "{protocols:?} of {asked:?}");
        }
    }

    #[test]
    fn a_stranger_cannot_claim_an_address_and_a_trusted_proxy_is_continued() {
        let (peer, host) = (HeaderValue::from_static("192.0.2.7"), HeaderValue::from_static("shop.example"));
        for (trusted, is_encrypted, chain, proto) in [
            (false, false, "192.0.2.7", "http"),
            (false, true, "192.0.2.7", "https"),
            (true, false, "10.9.9.9, 192.0.2.7", "https"),
        ] {
            let mut headers = map(&[("x-forwarded-for", "10.9.9.9"), ("x-forwarded-proto", "https")]);
            let found = Survey::of(&headers);
            strip_impostors(&mut headers, found, trusted);
            add_forwarded(&mut headers, &Forwarded { peer: &peer, host: &host, is_encrypted }, trusted);
            assert_eq!(headers.get("x-forwarded-for").unwrap(), chain, "trusted: {trusted}");
            assert_eq!(headers.get("x-forwarded-proto").unwrap(), proto, "trusted: {trusted}");
            assert_eq!(headers.get("x-forwarded-host").unwrap(), "shop.example");
        }
    }

    #[test]
    fn only_ringway_says_what_ringway_says() {
        let mut headers = map(&[
            ("x-ringway-node", "b"),
            ("x_ringway_node", "b"),
            ("x_forwarded_for", "1.1.1.1"),
            ("x-forwarded_host", "b"),
            ("x_app", "ok"),
        ]);
        let found = Survey::of(&headers);
        strip_impostors(&mut headers, found, true);
        assert_eq!(names(&headers), ["x_app"]);
        strip_underscored(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn trailers_carry_results_but_neither_framing_nor_identity() {
        let mut trailers = map(&[("grpc-status", "0"), ("content-length", "3"), ("x-forwarded-for", "1.1.1.1")]);
        filter_trailers(&mut trailers);
        assert_eq!(names(&trailers), ["grpc-status"]);
    }

    #[test]
    fn detached_values_are_the_same_and_let_go_of_the_buffer_they_came_in() {
        let buffer = Bytes::from((b'a'..=b'z').collect::<Vec<u8>>());
        let mut headers = HeaderMap::new();
        for (name, range) in [("x-one", 0..3), ("x-two", 3..3), ("x-one", 9..20)] {
            headers.append(name, HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap());
        }
        headers.get_mut("x-two").unwrap().set_sensitive(true);
        let before = format!("{headers:?}");
        detach(&mut headers, &mut Vec::new());
        assert_eq!(format!("{headers:?}"), before);
        assert!(buffer.is_unique(), "{headers:?} still holds it");
    }

    #[test]
    fn responses_have_detached_values_whatever_was_in_those_before() {
        let mut known = Vec::new();
        let long = "a".repeat(KNOWN_BYTES_MAX + 1);
        let long = long.as_str();
        for values in [&[long, "b"][..], &["a", "b"], &["a", "b"], &["b", "", "d"], &[long, "b"], &["a"], &[""; 40]] {
            let buffer = Bytes::from(values.concat().into_bytes());
            let mut rest = buffer.clone();
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-any", HeaderValue::from_maybe_shared(rest.split_to(value.len())).unwrap());
            }
            drop(rest);
            detach(&mut headers, &mut known);
            assert_eq!(headers.get_all("x-any").iter().collect::<Vec<_>>(), values);
            assert!(buffer.is_empty() || buffer.is_unique(), "{headers:?} still holds it");
            let is_known_too_long = known.iter().any(|value| value.len() > KNOWN_BYTES_MAX);
            assert!(known.len() <= KNOWN_VALUES_MAX && !is_known_too_long, "{known:?}");
        }
    }
}
