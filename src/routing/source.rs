//! The places of a request that a key can come from: a closed set, with how people write it and how it is
//! read.

use crate::routing::json_pointer::JsonPointer;
use crate::routing::key::RequestHead;
use crate::section::nearest;
use http::HeaderName;
use http::header::COOKIE;
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// One place of a request, parsed once so that reading it costs no more than finding the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the body, which comes after the head.
    Body(BodySource),
    /// `client-ip`: the client's address as text.
    ClientIp,
    /// `cookie:NAME`: the value as on the wire.
    Cookie(String),
    /// `haproxy-hash-hdr:NAME`: the last element of the list in the last field of that name, which is what HAProxy's
    /// `balance hash req.hdr(NAME)` takes.
    HaproxyHashHdr(HeaderName),
    /// `haproxy-hdr:NAME`: the first element of the list in the first field, as HAProxy's `balance hdr(NAME)`.
    HaproxyHdr(HeaderName),
    /// `header:NAME`: the first value.
    Header(HeaderName),
    /// `host`: lower case, without port.
    Host,
    /// `method`: such as `GET`.
    Method,
    /// `nginx-arg:NAME`: the first parameter of that name in any case that has a value, as on the wire: `$arg_NAME` of
    /// nginx.
    NginxArg(String),
    /// `nginx-cookie:NAME`: the first cookie of that name in any case, up to `;`: nginx's `$cookie_NAME`.
    NginxCookie(String),
    /// `path`: as on the wire, before `?`.
    Path,
    /// `path-and-query`: both as on the wire, with the `?` between them. nginx has it as `$request_uri`, HAProxy as
    /// `balance uri whole`, Envoy as the header `:path`.
    PathAndQuery,
    /// `path-prefix:N`: the path up to its slash N+1, which is left out; the whole path where it is shorter.
    /// This is how HAProxy's `balance uri depth` counts.
    PathPrefix(NonZeroUsize),
    /// `path:N`: what follows slash N, up to the next.
    PathSegment(NonZeroUsize),
    /// `query:NAME`: the first parameter of that name, decoded.
    Query(String),
    /// `query-raw:NAME`: the first parameter of that name as on the wire, which is what nginx, HAProxy and Envoy take.
    QueryRaw(String),
    /// `text:TEXT`: that text itself, for what stands between the others in a list of parts.
    Text(String),
}

/// One place of a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodySource {
    /// `json:/POINTER`: a string, number or boolean of a JSON document.
    Json(JsonPointer),
    /// `body-prefix:N`: the first bytes; all of a shorter body.
    Prefix(NonZeroUsize),
}

impl Source {
    /// The bytes in this place of the head; `None` when it is absent, empty, or in the body. Allocates only where text
    /// must be decoded or formatted.
    pub fn read<'a>(&self, head: &RequestHead<'a>) -> Option<Cow<'a, [u8]>> {
        let borrowed = |bytes: &'a [u8]| Some(Cow::Borrowed(bytes));
        let bytes = match self {
            Source::Body(_) => None,
            Source::ClientIp => Some(Cow::Owned(head.client_ip.to_canonical().to_string().into_bytes())),
            Source::Cookie(name) => cookie(head, name.as_bytes()).and_then(borrowed),
            Source::HaproxyHashHdr(name) => {
                let last = head.headers.get_all(name).into_iter().next_back();
                last.and_then(|value| list_elements(value.as_bytes()).last()).and_then(borrowed)
            }
            Source::HaproxyHdr(name) => {
                let first = head.headers.get(name);
                first.and_then(|value| list_elements(value.as_bytes()).next()).and_then(borrowed)
            }
            Source::Header(name) => head.headers.get(name).and_then(|value| borrowed(value.as_bytes())),
            Source::Host => borrowed(head.host.as_bytes()),
            Source::Method => borrowed(head.method.as_str().as_bytes()),
            Source::NginxArg(name) => nginx_argument(head.query?, name.as_bytes()).and_then(borrowed),
            Source::NginxCookie(name) => {
                let mut fields = head.headers.get_all(COOKIE).into_iter();
                fields.find_map(|field| nginx_cookie(field.as_bytes(), name.as_bytes())).and_then(borrowed)
            }
            Source::Path => borrowed(head.path.as_bytes()),
            Source::PathAndQuery => Some(match head.query {
                Some(query) => Cow::Owned(format!("{}?{query}", head.path).into_bytes()),
                None => Cow::Borrowed(head.path.as_bytes()),
            }),
            Source::PathPrefix(segments) => borrowed(path_prefix(head.path, *segments).as_bytes()),
            Source::PathSegment(number) => {
                head.path.split('/').nth(number.get()).and_then(|segment| borrowed(segment.as_bytes()))
            }
            Source::Query(name) => parameter(head.query?, name.as_bytes()),
            Source::QueryRaw(name) => raw_parameter(head.query?, name.as_bytes()).and_then(borrowed),
            Source::Text(text) => Some(Cow::Owned(text.clone().into_bytes())),
        };
        bytes.filter(|bytes| !bytes.is_empty())
    }

    /// Whether the first line of a request holds it.
    pub fn is_in_request_line(&self) -> bool {
        match self {
            Source::Method
            | Source::NginxArg(_)
            | Source::Path
            | Source::PathAndQuery
            | Source::PathPrefix(_)
            | Source::PathSegment(_)
            | Source::Query(_)
            | Source::QueryRaw(_)
            | Source::Text(_) => true,
            Source::Body(_)
            | Source::ClientIp
            | Source::Cookie(_)
            | Source::HaproxyHashHdr(_)
            | Source::HaproxyHdr(_)
            | Source::Header(_)
            | Source::Host
            | Source::NginxCookie(_) => false,
        }
    }

    /// How many bytes of a body have to be looked at for it to be of any use.
    pub fn body_bytes_min(&self) -> usize {
        match self {
            Source::Body(BodySource::Prefix(length)) => length.get(),
            _ => 0,
        }
    }
}

/// The value of the first cookie of that name, over all Cookie fields in their order (RFC 6265, section
/// 4.2.1; RFC 9113, section 8.2.3, lets clients split them).
fn cookie<'a>(head: &RequestHead<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let fields = head.headers.get_all(COOKIE).into_iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs
        .map(|pair| split_pair(pair, b'='))
        .find(|pair| pair.0.trim_ascii() == name)
        .and_then(|pair| pair.1)
        .map(<[u8]>::trim_ascii)
}

fn path_prefix(path: &str, segments: NonZeroUsize) -> &str {
    let end = path.match_indices('/').nth(segments.get());
    end.map_or(path, |(slash, _)| &path[..slash])
}

/// The decoded value of the first query parameter with that decoded name.
fn parameter<'a>(query: &'a str, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let mut pairs = query.as_bytes().split(|byte| *byte == b'&').map(|pair| split_pair(pair, b'='));
    let (_, value) = pairs.find(|pair| decoded(pair.0).eq(name.iter().copied()))?;
    let value = value?;
    let is_plain = !value.iter().any(|byte| matches!(byte, b'%' | b'+'));
    Some(if is_plain { Cow::Borrowed(value) } else { Cow::Owned(decoded(value).collect()) })
}

/// The value of the first query parameter with that name, nothing decoded.
fn raw_parameter<'a>(query: &'a str, name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = query.as_bytes().split(|byte| *byte == b'&').map(|pair| split_pair(pair, b'='));
    pairs.find(|pair| pair.0 == name).and_then(|pair| pair.1)
}

/// As `ngx_http_arg` finds it: the name in any case, and a name without `=` is none.
fn nginx_argument<'a>(query: &'a str, name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = query.as_bytes().split(|byte| *byte == b'&').map(|pair| split_pair(pair, b'='));
    pairs.find_map(|(found, value)| value.filter(|_| found.eq_ignore_ascii_case(name)))
}

/// As `ngx_http_parse_multi_header_lines` finds it in one field: names begin after `;` or `,`, values end before `;`.
fn nginx_cookie<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let without_spaces = |text: &'a [u8]| {
        let spaces = text.iter().take_while(|byte| **byte == b' ').count();
        &text[spaces..]
    };
    let mut rest = field;
    while !rest.is_empty() {
        if rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            rest = match without_spaces(&rest[name.len()..]) {
                [b'=', value @ ..] => return without_spaces(value).split(|byte| *byte == b';').next(),
                // nginx has read this byte by then, even where it sets cookies apart.
                [_, after @ ..] => after,
                [] => return None,
            };
        }
        let end = rest.iter().position(|byte| matches!(byte, b';' | b','))?;
        rest = without_spaces(&rest[end + 1..]);
    }
    None
}

/// The elements of a list in a field, without the space around them. A comma in quotes separates nothing (RFC 9110,
/// section 5.6.1 and 5.6.4).
fn list_elements(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let elements = field.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match *byte {
            _ if was_escaped => {}
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' => return !is_quoted,
            _ => {}
        }
        false
    });
    elements.map(<[u8]>::trim_ascii)
}

/// What stands before and after the first `separator`.
fn split_pair(pair: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match pair.iter().position(|byte| *byte == separator) {
        Some(at) => (&pair[..at], Some(&pair[at + 1..])),
        None => (pair, None),
    }
}

/// Decodes `application/x-www-form-urlencoded` text: `+` is a space and `%XX` a byte. A malformed escape
/// stands for itself (URL Standard, "percent-decode").
fn decoded(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        rest = tail;
        match (*first, tail) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, after @ ..]) => {
                let Some((high, low)) = digit(*high).zip(digit(*low)) else {
                    return Some(b'%');
                };
                rest = after;
                Some(high << 4 | low)
            }
            (byte, _) => Some(byte),
        }
    })
}

/// Reads the form of the config file. The error is a sentence for the user.
impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        let (kind, argument) = match text.split_once(':') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (text, None),
        };
        match (kind, argument) {
            ("body-prefix", Some(length)) => prefix_length(text, length).map(BodySource::Prefix).map(Source::Body),
            ("client-ip", None) => Ok(Source::ClientIp),
            ("cookie", Some(name)) => cookie_name(name).map(Source::Cookie),
            ("haproxy-hash-hdr", Some(name)) => header_name(name).map(Source::HaproxyHashHdr),
            ("haproxy-hdr", Some(name)) => header_name(name).map(Source::HaproxyHdr),
            ("header", Some(name)) => header_name(name).map(Source::Header),
            ("host", None) => Ok(Source::Host),
            ("json", Some(pointer)) if !pointer.is_empty() => {
                pointer.parse().map(|pointer| Source::Body(BodySource::Json(pointer)))
            }
            ("method", None) => Ok(Source::Method),
            ("nginx-arg", Some(name)) if !name.is_empty() => Ok(Source::NginxArg(name.to_owned())),
            ("nginx-cookie", Some(name)) => cookie_name(name).map(Source::NginxCookie),
            ("path", None) => Ok(Source::Path),
            ("path", Some(number)) => segment_number(text, number).map(Source::PathSegment),
            ("path-and-query", None) => Ok(Source::PathAndQuery),
            ("path-prefix", Some(number)) => segment_number(text, number).map(Source::PathPrefix),
            ("query", Some(name)) if !name.is_empty() => Ok(Source::Query(name.to_owned())),
            ("query-raw", Some(name)) if !name.is_empty() => Ok(Source::QueryRaw(name.to_owned())),
            ("text", Some(constant)) if !constant.is_empty() => Ok(Source::Text(constant.to_owned())),
            ("client-ip" | "host" | "method" | "path-and-query", Some(_)) => {
                Err(format!("key source `{kind}` takes nothing after it; write `{kind}` instead of `{text}`"))
            }
            (
                "body-prefix" | "cookie" | "haproxy-hash-hdr" | "haproxy-hdr" | "header" | "json" | "nginx-arg"
                | "nginx-cookie" | "path-prefix" | "query" | "query-raw" | "text",
                _,
            ) => Err(format!("key source `{kind}` needs more than that; write `{}`", form(kind))),
            _ => Err(unknown(text, kind, argument)),
        }
    }
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("`{name}` is not a header name; write one such as `header:x-room`"))
}

/// Cookie names are tokens like header names, but keep their case (RFC 6265, section 4.1.1).
fn cookie_name(name: &str) -> Result<String, String> {
    match HeaderName::from_str(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(format!("`{name}` is not a cookie name; write one such as `cookie:sid`")),
    }
}

fn segment_number(text: &str, number: &str) -> Result<NonZeroUsize, String> {
    number.parse().map_err(|_| format!("`{number}` in `{text}` is not a number of path segments, from 1"))
}

fn prefix_length(text: &str, length: &str) -> Result<NonZeroUsize, String> {
    length.parse().map_err(|_| format!("`{length}` in `{text}` is not a number of bytes, from 1"))
}

fn unknown(text: &str, kind: &str, argument: Option<&str>) -> String {
    let Some(kind) = nearest(kind, FORMS.iter().map(|form| kind_of(form))) else {
        return format!("unknown key source `{text}`; use one of {}", FORMS.join(", "));
    };
    let takes_argument = form(kind).contains(':') || kind == "path";
    match argument {
        Some(argument) if takes_argument => {
            format!("unknown key source `{text}`; did you mean `{kind}:{argument}`?")
        }
        _ => format!("unknown key source `{text}`; did you mean `{}`?", form(kind)),
    }
}

/// How a kind of source is written; `kind` is one of [`FORMS`].
fn form(kind: &str) -> &str {
    FORMS.iter().find(|form| kind_of(form) == kind).copied().unwrap_or(kind)
}

fn kind_of(form: &'static str) -> &'static str {
    form.split_once(':').map_or(form, |(kind, _)| kind)
}

/// Writes the form of the config file, with a backslash before the characters that set sources apart in a key
/// rule, so that no two lists of sources read alike.
impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Body(BodySource::Json(pointer)) => write!(out, "json:{}", escaped(&pointer.to_string())),
            Source::Body(BodySource::Prefix(length)) => write!(out, "body-prefix:{length}"),
            Source::ClientIp => write!(out, "client-ip"),
            Source::Cookie(name) => write!(out, "cookie:{}", escaped(name)),
            Source::HaproxyHashHdr(name) => write!(out, "haproxy-hash-hdr:{}", escaped(name.as_str())),
            Source::HaproxyHdr(name) => write!(out, "haproxy-hdr:{}", escaped(name.as_str())),
            Source::Header(name) => write!(out, "header:{}", escaped(name.as_str())),
            Source::Host => write!(out, "host"),
            Source::Method => write!(out, "method"),
            Source::NginxArg(name) => write!(out, "nginx-arg:{}", escaped(name)),
            Source::NginxCookie(name) => write!(out, "nginx-cookie:{}", escaped(name)),
            Source::Path => write!(out, "path"),
            Source::PathAndQuery => write!(out, "path-and-query"),
            Source::PathPrefix(segments) => write!(out, "path-prefix:{segments}"),
            Source::PathSegment(number) => write!(out, "path:{number}"),
            Source::Query(name) => write!(out, "query:{}", escaped(name)),
            Source::QueryRaw(name) => write!(out, "query-raw:{}", escaped(name)),
            Source::Text(text) => write!(out, "text:{}", escaped(text)),
        }
    }
}

fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '\\' | '+' | ',' | ' ') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// The sources that are supported, as people write them. `path` stands before `path:N`, so that it is what a
/// mistyped `path` is taken for.
const FORMS: [&str; 18] = [
    "header:NAME",
    "cookie:NAME",
    "query:NAME",
    "query-raw:NAME",
    "path",
    "path:N",
    "path-prefix:N",
    "path-and-query",
    "host",
    "method",
    "client-ip",
    "json:/POINTER",
    "body-prefix:N",
    "haproxy-hdr:NAME",
    "haproxy-hash-hdr:NAME",
    "nginx-arg:NAME",
    "nginx-cookie:NAME",
    "text:TEXT",
];

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http::HeaderValue;
    use http::Method;
    use std::net::IpAddr;

    /// What `source` finds in a request for `target` with these header fields.
    fn read(source: &str, target: &str, fields: &[(&str, &[u8])]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_str(name).unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let head = RequestHead {
            method: &Method::PUT,
            path,
            query,
            headers: &headers,
            host: "chat.example.com",
            client_ip: "::ffff:192.0.2.7".parse::<IpAddr>().unwrap(),
        };
        let found = source.parse::<Source>().unwrap().read(&head);
        found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn check(cases: &[(&str, &str, Option<&str>)]) {
        for (source, target, expected) in cases {
            assert_eq!(read(source, target, &[]).as_deref(), *expected, "{source} of {target}");
        }
    }

    #[test]
    fn the_whole_head_can_be_a_key() {
        check(&[
            ("path", "/a%20b/?x=1", Some("/a%20b/")),
            ("host", "/", Some("chat.example.com")),
            ("method", "/", Some("PUT")),
            ("client-ip", "/", Some("192.0.2.7")),
        ]);
    }

    #[test]
    fn path_and_query_are_as_on_the_wire() {
        check(&[
            ("path-and-query", "/a%20b/?x=1&y=%20", Some("/a%20b/?x=1&y=%20")),
            ("path-and-query", "/a?", Some("/a?")),
            ("path-and-query", "/a", Some("/a")),
            ("query-raw:room", "/?a=1&room=4%202+x&room=7", Some("4%202+x")),
            ("query-raw:room", "/?r%6fom=1", None),
            ("query-raw:room", "/?room=&room=2", None),
        ]);
    }

    #[test]
    fn nginx_takes_arguments_of_a_name_in_any_case() {
        check(&[
            ("nginx-arg:room", "/?a=1&ROOM=4%202+x&room=7", Some("4%202+x")),
            ("nginx-arg:room", "/?room&room=7", Some("7")),
            ("nginx-arg:room", "/?room=&room=7", None),
            ("nginx-arg:room", "/?xroom=7", None),
            ("nginx-arg:room", "/?room=a=b", Some("a=b")),
        ]);
    }

    #[test]
    fn nginx_takes_cookies_of_a_name_in_any_case() {
        for (field, expected) in [
            ("a=1; SID=x", Some("x")),
            ("a=1,sid = x y ;b", Some("x y ")),
            ("sid", None),
            ("sid; sid=x", None),
            ("sidx=1; sid=x", Some("x")),
            ("sid=; sid=x", None),
            ("xsid=1", None),
        ] {
            assert_eq!(read("nginx-cookie:sid", "/", &[("cookie", field.as_bytes())]).as_deref(), expected, "{field}");
        }
    }

    #[test]
    fn a_text_is_the_same_for_every_request() {
        check(&[("text:a:b ", "/", Some("a:b "))]);
    }

    #[test]
    fn haproxy_takes_the_first_or_the_last_element_of_a_list() {
        for (fields, first, last) in [
            (vec!["a"], Some("a"), Some("a")),
            (vec![" a , b,c\t"], Some("a"), Some("c")),
            (vec!["a,b", "c, d"], Some("a"), Some("d")),
            (vec![r#""a,b", c"#], Some(r#""a,b""#), Some("c")),
            (vec![r#"c,"a\",b""#], Some("c"), Some(r#""a\",b""#)),
            (vec![r#"a\",b",c"#], Some(r#"a\",b""#), Some("c")),
            (vec![",a,"], None, None),
            (vec![], None, None),
        ] {
            let fields: Vec<_> = fields.into_iter().map(|field| ("x-key", field.as_bytes())).collect();
            assert_eq!(read("haproxy-hdr:x-key", "/", &fields).as_deref(), first, "{fields:?}");
            assert_eq!(read("haproxy-hash-hdr:X-Key", "/", &fields).as_deref(), last, "{fields:?}");
        }
    }

    #[test]
    fn path_segments_count_from_one_and_empty_ones_are_absent() {
        check(&[
            ("path:1", "/a/b", Some("a")),
            ("path:2", "/a/b", Some("b")),
            ("path:3", "/a/b", None),
            ("path:2", "/a//c", None),
            ("path:1", "/", None),
            ("path:1", "*", None),
        ]);
    }

    #[test]
    fn path_prefixes_stop_before_the_next_slash() {
        check(&[
            ("path-prefix:1", "/a/b/c", Some("/a")),
            ("path-prefix:2", "/a/b/c", Some("/a/b")),
            ("path-prefix:2", "/a/b/", Some("/a/b")),
            ("path-prefix:2", "/a/b", Some("/a/b")),
            ("path-prefix:9", "/a/b", Some("/a/b")),
            ("path-prefix:1", "/", Some("/")),
        ]);
    }

    #[test]
    fn query_names_and_values_are_decoded() {
        check(&[
            ("query:room", "/?room=42", Some("42")),
            ("query:room", "/?a=1&r%6fom=4%202+x", Some("4 2 x")),
            ("query:a b", "/?a+b=c", Some("c")),
            ("query:room", "/?room=a=b", Some("a=b")),
            ("query:room", "/?room=%C3%A9", Some("é")),
            ("query:room", "/?Room=1&rooms=2", None),
            ("query:room", "/", None),
        ]);
    }

    #[test]
    fn malformed_escapes_stand_for_themselves() {
        check(&[
            ("query:r", "/?r=100%", Some("100%")),
            ("query:r", "/?r=%4", Some("%4")),
            ("query:r", "/?r=%zz%41", Some("%zzA")),
            ("query:r", "/?r=%%41", Some("%A")),
        ]);
    }

    #[test]
    fn the_first_of_repeated_values_counts_even_when_empty() {
        check(&[("query:r", "/?r=1&r=2", Some("1")), ("query:r", "/?r=&r=2", None), ("query:r", "/?r&r=2", None)]);
        let fields: [(&str, &[u8]); 2] = [("x-room", b"1"), ("x-room", b"2")];
        assert_eq!(read("header:X-Room", "/", &fields).as_deref(), Some("1"));
        let fields: [(&str, &[u8]); 2] = [("x-room", b""), ("x-room", b"2")];
        assert_eq!(read("header:x-room", "/", &fields), None);
    }

    #[test]
    fn cookies_are_read_across_fields_as_they_are_on_the_wire() {
        let fields: [(&str, &[u8]); 3] =
            [("cookie", b"a=1; SID=no;sid"), ("cookie", b"b=2;  sid=\"x%20=y\" ;c=3"), ("cookie", b"sid=late")];
        assert_eq!(read("cookie:SID", "/", &fields).as_deref(), Some("no"));
        assert_eq!(read("cookie:b", "/", &fields).as_deref(), Some("2"));
        assert_eq!(read("cookie:sid", "/", &fields[1..]).as_deref(), Some("\"x%20=y\""));
        assert_eq!(read("cookie:absent", "/", &fields), None);
    }

    #[test]
    fn decoding_is_paid_for_only_where_needed() {
        assert!(matches!(parameter("room=42&a=%20", b"room"), Some(Cow::Borrowed(b"42"))));
    }

    #[test]
    fn refusals_say_what_to_write() {
        for (text, answer) in [
            ("heder:x-room", "unknown key source `heder:x-room`; did you mean `header:x-room`?"),
            ("Header:x-room", "unknown key source `Header:x-room`; did you mean `header:x-room`?"),
            ("hosts", "unknown key source `hosts`; did you mean `host`?"),
            ("hots:x", "unknown key source `hots:x`; did you mean `host`?"),
            ("qury", "unknown key source `qury`; did you mean `query:NAME`?"),
            ("paht", "unknown key source `paht`; did you mean `path`?"),
            ("paht:2", "unknown key source `paht:2`; did you mean `path:2`?"),
            ("header", "key source `header` needs more than that; write `header:NAME`"),
            ("query:", "key source `query` needs more than that; write `query:NAME`"),
            ("host:x", "key source `host` takes nothing after it; write `host` instead of `host:x`"),
            ("header:x room", "`x room` is not a header name; write one such as `header:x-room`"),
            ("cookie:a;b", "`a;b` is not a cookie name; write one such as `cookie:sid`"),
            ("path:0", "`0` in `path:0` is not a number of path segments, from 1"),
            ("path-prefix:x", "`x` in `path-prefix:x` is not a number of path segments, from 1"),
            ("json", "key source `json` needs more than that; write `json:/POINTER`"),
            ("json:", "key source `json` needs more than that; write `json:/POINTER`"),
            ("json:user", "`user` is not a JSON pointer; write `/user`"),
            ("jsn:/user", "unknown key source `jsn:/user`; did you mean `json:/user`?"),
            ("body-prefix", "key source `body-prefix` needs more than that; write `body-prefix:N`"),
            ("body-prefix:0", "`0` in `body-prefix:0` is not a number of bytes, from 1"),
            (
                "room",
                "unknown key source `room`; use one of header:NAME, cookie:NAME, query:NAME, query-raw:NAME, path, \
                 path:N, path-prefix:N, path-and-query, host, method, client-ip, json:/POINTER, body-prefix:N, \
                 haproxy-hdr:NAME, haproxy-hash-hdr:NAME, nginx-arg:NAME, nginx-cookie:NAME, text:TEXT",
            ),
        ] {
            assert_eq!(text.parse::<Source>(), Err(answer.to_owned()), "{text}");
        }
    }
}
