//! How keys are read from a log, and which other ways to read them are the usual mistakes.

use crate::compat::request_line::RequestLine;
use crate::compat::tally::Unusable;
use crate::routing::key::Extracted;
use crate::routing::key::KeyRule;
use crate::routing::key::RequestHead;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use std::net::IpAddr;
use std::net::Ipv4Addr;

/// What of a request a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// The key itself.
    Key,
    /// The first line, or only the target: [`RequestLine`].
    Request,
}

/// A key rule as the config file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRule {
    /// What it means.
    pub rule: KeyRule,
    /// `key`: each entry one source, or several that are joined.
    pub sources: Vec<Vec<String>>,
    /// `hash-tag`.
    pub hash_tag: Option<String>,
}

impl WrittenRule {
    /// Whether the first line of a request can have a key.
    ///
    /// # Errors
    /// Names the source that needs more.
    pub fn check_request_line(&self) -> Result<(), &str> {
        match self.rule.alternatives_in_request_line() {
            0 => Err(self.rule.source_name(0)),
            _ => Ok(()),
        }
    }

    /// The key in what was logged. Of a key that HAProxy takes from the list in a header field the whole list may be
    /// logged, which is what its captures are.
    ///
    /// # Errors
    /// When there is none, or when it depends on what was not logged.
    pub fn key(&self, logged: Logged, text: &[u8]) -> Result<Vec<u8>, Unusable> {
        match logged {
            Logged::Key if is_absent(text) => Err(Unusable::NoKey),
            Logged::Key => match self.field(text) {
                Some(field) => self.extract(&RequestLine::of_nothing(), &field).ok_or(Unusable::NoKey),
                None => Ok(text.to_vec()),
            },
            Logged::Request => {
                let line = RequestLine::parse(text).ok_or(Unusable::NoRequest)?;
                self.extract(&line, &HeaderMap::new()).ok_or(Unusable::NoKeyInRequest)
            }
        }
    }

    /// The key of a request of which no more is known than this.
    fn extract(&self, line: &RequestLine<'_>, headers: &HeaderMap) -> Option<Vec<u8>> {
        let head = RequestHead {
            method: &line.method,
            path: line.path,
            query: line.query,
            headers,
            host: "",
            client_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        // Where a field is known, it is that of the only source.
        let known = if headers.is_empty() { self.rule.alternatives_in_request_line() } else { self.sources.len() };
        match self.rule.extract(&head) {
            Extracted::Key(key) if key.source < known => Some(key.bytes.into_owned()),
            Extracted::Absent | Extracted::InBody(_) | Extracted::Key(_) => None,
        }
    }

    /// The field that the key is taken from, with what was logged; `None` where the key is no part of a field.
    fn field(&self, text: &[u8]) -> Option<HeaderMap> {
        let (_, name) = self.header().filter(|(kind, _)| *kind != HEADER)?;
        Some(HeaderMap::from_iter([(name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(text).ok()?)]))
    }

    /// The kind and the name of the only source, where that is a header field.
    fn header(&self) -> Option<(&str, &str)> {
        let [parts] = self.sources.as_slice() else { return None };
        let [source] = parts.as_slice() else { return None };
        source.split_once(':').filter(|(kind, _)| HEADER_KINDS.contains(kind))
    }

    /// The rules that are easily taken for this one: decoded where it is raw or the other way round, with the query
    /// where it is without, and with another element of a header field.
    pub fn others(&self, logged: Logged) -> Vec<WrittenRule> {
        let rewritten: Vec<Vec<Vec<String>>> = match (logged, self.header()) {
            (Logged::Key, None) => Vec::new(),
            (Logged::Key, Some((_, name))) => {
                HEADER_KINDS.iter().map(|kind| vec![vec![format!("{kind}:{name}")]]).collect()
            }
            (Logged::Request, _) => vec![
                self.rewritten(other_coding),
                self.rewritten(other_extent),
                self.rewritten(|source| other_coding(source).or_else(|| other_extent(source))),
            ],
        };
        let mut others: Vec<WrittenRule> = Vec::new();
        for sources in rewritten {
            let is_new = sources != self.sources && others.iter().all(|other| other.sources != sources);
            let rule = KeyRule::parse(&sources, self.hash_tag.as_deref());
            if let (true, Ok(rule)) = (is_new, rule) {
                others.push(WrittenRule { rule, sources, hash_tag: self.hash_tag.clone() });
            }
        }
        others
    }

    /// The sources with others in the place of some.
    fn rewritten(&self, other: impl Fn(&str) -> Option<String>) -> Vec<Vec<String>> {
        let changed = |source: &String| other(source).unwrap_or_else(|| source.clone());
        self.sources.iter().map(|parts| parts.iter().map(changed).collect()).collect()
    }

    /// The setting `key` for the config file.
    pub fn setting(&self) -> String {
        let quoted = |source: &String| format!("\"{source}\"");
        let entry = |parts: &Vec<String>| match parts.as_slice() {
            [source] => quoted(source),
            parts => format!("[{}]", parts.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        };
        let entries: Vec<String> = self.sources.iter().map(entry).collect();
        match (entries.as_slice(), self.sources.as_slice()) {
            ([only], [parts]) if parts.len() == 1 => format!("key = {only}"),
            _ => format!("key = [{}]", entries.join(", ")),
        }
    }
}

/// Whether a column stands for nothing, which nginx and others write as a dash.
pub fn is_absent(text: &[u8]) -> bool {
    matches!(text, b"" | b"-")
}

fn other_coding(source: &str) -> Option<String> {
    let raw = source.strip_prefix("query-raw:").map(|name| format!("query:{name}"));
    raw.or_else(|| source.strip_prefix("query:").map(|name| format!("query-raw:{name}")))
}

fn other_extent(source: &str) -> Option<String> {
    let other = match source {
        "path" => "path-and-query",
        "path-and-query" => "path",
        _ => return None,
    };
    Some(other.to_owned())
}

/// The source that takes a whole header field.
const HEADER: &str = "header";

/// The sources that take a header field, or an element of the list in it.
const HEADER_KINDS: [&str; 3] = [HEADER, "haproxy-hdr", "haproxy-hash-hdr"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(alternatives: &[&[&str]]) -> WrittenRule {
        let owned = |parts: &&[&str]| parts.iter().map(ToString::to_string).collect();
        let sources: Vec<Vec<String>> = alternatives.iter().map(owned).collect();
        WrittenRule { rule: KeyRule::parse(&sources, None).unwrap(), sources, hash_tag: None }
    }

    fn key(alternatives: &[&[&str]], logged: Logged, text: &str) -> Result<String, Unusable> {
        rule(alternatives).key(logged, text.as_bytes()).map(|key| String::from_utf8(key).unwrap())
    }

    #[test]
    fn the_key_rule_of_the_pool_reads_request_lines() {
        let request = "GET /ws/?room=4%202&x=1 HTTP/1.1";
        for (alternatives, expected) in [
            (&[&["query:room"][..]][..], Ok("4 2")),
            (&[&["query-raw:room"]], Ok("4%202")),
            (&[&["path"]], Ok("/ws/")),
            (&[&["path-and-query"]], Ok("/ws/?room=4%202&x=1")),
            (&[&["path-prefix:1"]], Ok("/ws")),
            (&[&["query:doc"], &["method", "path:1"]], Ok("GET|ws")),
            (&[&["query:doc"]], Err(Unusable::NoKeyInRequest)),
        ] {
            assert_eq!(key(alternatives, Logged::Request, request), expected.map(str::to_owned), "{alternatives:?}");
        }
    }

    #[test]
    fn what_depends_on_the_rest_of_the_request_is_no_key() {
        for alternatives in [
            &[&["query:room"][..], &["header:x-room"]][..],
            &[&["query:room"], &["client-ip"]],
            &[&["query:room"], &["json:/room"]],
            &[&["query:room"], &["header:x-room"], &["path"]],
        ] {
            assert_eq!(key(alternatives, Logged::Request, "GET /a?room=1 HTTP/1.1"), Ok("1".to_owned()));
            assert_eq!(key(alternatives, Logged::Request, "GET /a HTTP/1.1"), Err(Unusable::NoKeyInRequest));
            assert_eq!(rule(alternatives).check_request_line(), Ok(()));
        }
        assert_eq!(rule(&[&["host", "path"], &["query:room"]]).check_request_line(), Err("host+path"));
    }

    #[test]
    fn a_logged_key_is_taken_as_it_is() {
        let alternatives: &[&[&str]] = &[&["header:x-room"]];
        assert_eq!(key(alternatives, Logged::Key, "4%202"), Ok("4%202".to_owned()));
        for absent in ["", "-"] {
            assert_eq!(key(alternatives, Logged::Key, absent), Err(Unusable::NoKey), "{absent:?}");
        }
        assert_eq!(key(&[&["path"]], Logged::Request, "-"), Err(Unusable::NoRequest));
    }

    #[test]
    fn usual_mistakes_are_other_rules() {
        let settings = |alternatives: &[&[&str]]| -> Vec<String> {
            rule(alternatives).others(Logged::Request).iter().map(WrittenRule::setting).collect()
        };
        assert_eq!(settings(&[&["path"]]), [r#"key = "path-and-query""#]);
        assert_eq!(settings(&[&["query:room"]]), [r#"key = "query-raw:room""#]);
        assert_eq!(
            settings(&[&["query-raw:room"], &["method", "path-and-query"]]),
            [
                r#"key = ["query:room", ["method", "path-and-query"]]"#,
                r#"key = ["query-raw:room", ["method", "path"]]"#,
                r#"key = ["query:room", ["method", "path"]]"#,
            ]
        );
        assert_eq!(settings(&[&["header:x-room"]]), Vec::<String>::new());
        let of_field = rule(&[&["header:x-room"]]).others(Logged::Key);
        let of_field: Vec<String> = of_field.iter().map(WrittenRule::setting).collect();
        assert_eq!(of_field, [r#"key = "haproxy-hdr:x-room""#, r#"key = "haproxy-hash-hdr:x-room""#]);
        assert_eq!(rule(&[&["header:x-room", "path"]]).others(Logged::Key), []);
    }

    #[test]
    fn of_a_logged_list_haproxy_takes_an_element() {
        for (source, text, expected) in [
            ("haproxy-hdr:x-room", "a, b", Ok("a")),
            ("haproxy-hash-hdr:x-room", "a, b", Ok("b")),
            ("haproxy-hdr:x-room", "a", Ok("a")),
            ("haproxy-hdr:x-room", ",b", Err(Unusable::NoKey)),
            ("header:x-room", "a, b", Ok("a, b")),
        ] {
            assert_eq!(key(&[&[source]], Logged::Key, text), expected.map(str::to_owned), "{source} of {text}");
        }
    }
}
