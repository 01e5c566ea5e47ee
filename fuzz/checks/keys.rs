//! Any request, by any key rule: the key is the same however its body comes in pieces, and of JSON it is what another
//! reader of JSON finds.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use ringway::routing::body_search::Sought;
use ringway::routing::key::Extracted;
use ringway::routing::key::KeyRule;
use ringway::routing::key::RequestHead;
use serde_json::Value;
use std::net::IpAddr;

/// The first line is a key rule, its sources set apart by blanks; the second the target; then fields up to an empty line;
/// the rest is the body.
pub(crate) fn check(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
    let (rule, target) = (text(parts.next()), text(parts.next()));
    let rest = parts.next().unwrap_or_default();
    let sources: Vec<Vec<String>> = rule.split_whitespace().map(|source| vec![source.to_owned()]).collect();
    let Ok(rule) = KeyRule::parse(&sources, None) else { return };
    let (fields, body) = fields_and_body(rest);
    let (path, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let head = RequestHead {
        method: &Method::POST,
        path,
        query,
        headers: &fields,
        host: "a.test",
        client_ip: IpAddr::from([192, 0, 2, 1]),
    };
    let whole = key(&rule, &head, [body]);
    for length in [1, 2, 7] {
        let pieces = key(&rule, &head, body.chunks(length));
        assert_eq!(pieces, whole, "in pieces of {length}: {rule:?} in {:?}", String::from_utf8_lossy(body));
    }
    if let [only] = sources.as_slice()
        && let Some(pointer) = only[0].strip_prefix("json:")
        && let Some(expected) = as_serde_reads(body, pointer)
    {
        assert_eq!(whole.as_deref(), Some(expected.as_bytes()), "{pointer} in {:?}", String::from_utf8_lossy(body));
    }
}

fn fields_and_body(rest: &[u8]) -> (HeaderMap, &[u8]) {
    let (mut fields, mut rest) = (HeaderMap::new(), rest);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    (fields, rest)
}

fn key<'a>(rule: &KeyRule, head: &RequestHead<'_>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut search = match rule.extract(head) {
        Extracted::Absent => return None,
        Extracted::Key(key) => return Some(key.bytes.into_owned()),
        Extracted::InBody(search) => search,
    };
    for piece in pieces {
        match search.feed(piece) {
            Sought::Absent => return None,
            Sought::Found(key) => return Some(key.bytes.into_owned()),
            Sought::NeedMore => {}
            Sought::TooLarge => return search.give_up().map(|key| key.bytes.into_owned()),
        }
    }
    search.end().map(|key| key.bytes.into_owned())
}

/// What serde_json finds there, where the two cannot differ for a reason: documents without an escape, in which no name
/// comes twice.
fn as_serde_reads(body: &[u8], pointer: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let document: Value = serde_json::from_str(text).ok()?;
    if text.contains('\\') || names_in(text) != count_names(&document) {
        return None;
    }
    match document.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// How many names the text of a document without escapes has: of the texts between quotes those that a colon follows.
fn names_in(text: &str) -> usize {
    let after_strings = text.split('"').skip(2).step_by(2);
    after_strings.filter(|after| after.trim_start().starts_with(':')).count()
}

fn count_names(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(count_names).sum::<usize>(),
        Value::Array(items) => items.iter().map(count_names).sum(),
        _ => 0,
    }
}
