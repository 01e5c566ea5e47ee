//! A key that is looked for in the body of a request while that arrives.

use crate::routing::json_reader::Finding;
use crate::routing::json_reader::JsonReader;
use crate::routing::key::Key;
use crate::routing::key::join;
use crate::routing::source::BodySource;
use std::borrow::Cow;
use std::collections::VecDeque;

/// The alternatives of a key rule that the head of a request left open.
#[derive(Clone, Debug)]
pub struct BodySearch {
    /// In their order; the first that is present decides.
    candidates: VecDeque<Candidate>,
    /// How many more bytes may be looked at.
    left: usize,
}

/// What a body has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// It has no key.
    Absent,
    /// It has one.
    Found(Key<'static>),
    /// What came so far does not say.
    NeedMore,
    /// What may be looked at does not say, and there is more.
    TooLarge,
}

/// An alternative that may be present.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Its index in the key rule.
    pub(super) source: usize,
    pub(super) parts: Vec<Part>,
}

/// One part of a composite, or the only one.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Json(JsonReader),
    Known(Vec<u8>),
    Prefix { bytes: Vec<u8>, length: usize },
}

impl BodySearch {
    /// A search that looks at `bytes_max` bytes at most.
    pub(super) fn new(candidates: Vec<Candidate>, bytes_max: usize) -> BodySearch {
        BodySearch { candidates: candidates.into(), left: bytes_max }
    }

    /// Looks at the next piece of the body. Once the answer is another than [`Sought::NeedMore`], or
    /// [`Sought::TooLarge`], the search is of no more use.
    pub fn feed(&mut self, piece: &[u8]) -> Sought {
        let looked_at = &piece[..piece.len().min(self.left)];
        self.left -= looked_at.len();
        self.candidates.retain_mut(|candidate| candidate.feed(looked_at));
        match self.sought() {
            Sought::NeedMore if looked_at.len() < piece.len() => Sought::TooLarge,
            sought => sought,
        }
    }

    /// The key of a body that ends here.
    pub fn end(&mut self) -> Option<Key<'static>> {
        self.candidates.retain_mut(Candidate::end);
        self.first()
    }

    /// The key when no more of a body is looked at: what is still open counts as absent.
    pub fn give_up(&mut self) -> Option<Key<'static>> {
        self.candidates.retain(Candidate::is_present);
        self.first()
    }

    fn sought(&mut self) -> Sought {
        match self.candidates.front() {
            None => Sought::Absent,
            Some(first) if !first.is_present() => Sought::NeedMore,
            Some(_) => self.first().map_or(Sought::Absent, Sought::Found),
        }
    }

    fn first(&mut self) -> Option<Key<'static>> {
        self.candidates.pop_front().and_then(Candidate::into_key)
    }
}

impl Candidate {
    /// Looks at the next bytes; whether it may still be present.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        self.parts.iter_mut().all(|part| part.feed(bytes))
    }

    /// The body ends here; whether it is present.
    fn end(&mut self) -> bool {
        self.parts.iter_mut().all(Part::end)
    }

    fn is_present(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Known(_)))
    }

    fn into_key(self) -> Option<Key<'static>> {
        let is_single = self.parts.len() == 1;
        let mut values = self.parts.into_iter().map(Part::into_value);
        let bytes = if is_single { values.next().flatten() } else { join(values) };
        Some(Key { bytes: Cow::Owned(bytes?), source: self.source })
    }
}

impl Part {
    pub(super) fn new(source: &BodySource) -> Part {
        match source {
            BodySource::Json(pointer) => Part::Json(JsonReader::new(pointer.clone())),
            BodySource::Prefix(length) => Part::Prefix { bytes: Vec::new(), length: length.get() },
        }
    }

    /// Looks at the next bytes; whether it may still be present.
    fn feed(&mut self, more: &[u8]) -> bool {
        match self {
            Part::Known(_) => true,
            Part::Json(reader) => {
                let finding = reader.feed(more);
                self.settle(finding)
            }
            Part::Prefix { bytes, length } => {
                bytes.extend_from_slice(&more[..more.len().min(*length - bytes.len())]);
                if bytes.len() == *length {
                    *self = Part::Known(std::mem::take(bytes));
                }
                true
            }
        }
    }

    /// The body ends here; whether it is present.
    fn end(&mut self) -> bool {
        match self {
            Part::Known(_) => true,
            Part::Json(reader) => {
                let finding = reader.end();
                self.settle(finding)
            }
            Part::Prefix { bytes, .. } => {
                let finding = Finding::Found(std::mem::take(bytes));
                self.settle(finding)
            }
        }
    }

    /// An empty value counts as absent.
    fn settle(&mut self, finding: Finding) -> bool {
        match finding {
            Finding::Found(value) if !value.is_empty() => *self = Part::Known(value),
            Finding::Found(_) | Finding::Absent => return false,
            Finding::NeedMore => {}
        }
        true
    }

    fn into_value(self) -> Option<Vec<u8>> {
        match self {
            Part::Known(value) => Some(value),
            Part::Json(_) | Part::Prefix { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::key::Extracted;
    use crate::routing::key::KeyRule;
    use crate::routing::key::RequestHead;
    use http::HeaderMap;
    use http::HeaderValue;
    use http::Method;
    use std::net::IpAddr;

    /// Room for every body here.
    const PLENTY: usize = 1 << 10;

    /// What a rule finds in a request with this `x-a` and body, which comes in pieces: the key with the index of its
    /// source, or a word on what became of it, and how many pieces were looked at.
    fn find(rule: &[&[&str]], bytes_max: usize, x_a: &str, pieces: &[&str]) -> (String, usize) {
        let sources: Vec<Vec<String>> =
            rule.iter().map(|parts| parts.iter().map(ToString::to_string).collect()).collect();
        let rule = KeyRule::parse(&sources, None).unwrap().within(bytes_max).unwrap();
        let headers = HeaderMap::from_iter([("x-a".parse().unwrap(), HeaderValue::from_str(x_a).unwrap())]);
        let client_ip = IpAddr::from([192, 0, 2, 1]);
        let head =
            RequestHead { method: &Method::POST, path: "/p", query: None, headers: &headers, host: "h", client_ip };
        let shown = |key: Option<Key<'_>>| match key {
            Some(key) => format!("{} from {}", String::from_utf8_lossy(&key.bytes), rule.source_name(key.source)),
            None => "absent".to_owned(),
        };
        let mut search = match rule.extract(&head) {
            Extracted::Absent => return ("absent".to_owned(), 0),
            Extracted::Key(key) => return (shown(Some(key)), 0),
            Extracted::InBody(search) => search,
        };
        for (index, piece) in pieces.iter().enumerate() {
            match search.feed(piece.as_bytes()) {
                Sought::NeedMore => {}
                Sought::Absent => return ("absent".to_owned(), index + 1),
                Sought::Found(key) => return (shown(Some(key)), index + 1),
                Sought::TooLarge => return (format!("too large, else {}", shown(search.give_up())), index + 1),
            }
        }
        (shown(search.end()), pieces.len())
    }

    fn check(rule: &[&[&str]], x_a: &str, pieces: &[&str], expected: (&str, usize)) {
        let (found, looked_at) = find(rule, PLENTY, x_a, pieces);
        assert_eq!((found.as_str(), looked_at), expected, "{rule:?} x-a: {x_a:?} {pieces:?}");
    }

    #[test]
    fn the_body_is_not_looked_at_when_an_earlier_source_is_present() {
        check(&[&["header:x-a"], &["json:/k"]], "h", &["{"], ("h from header:x-a", 0));
        check(&[&["header:x-a"], &["json:/k"]], "", &["{\"k\"", ":\"v\"", "}"], ("v from json:/k", 2));
        check(&[&["json:/k"], &["header:x-a"]], "h", &["{\"k\":\"v\"}"], ("v from json:/k", 1));
    }

    #[test]
    fn a_later_source_decides_as_soon_as_the_body_is_known_to_have_none() {
        check(&[&["json:/k"], &["header:x-a"], &["path"]], "h", &["[", "1]"], ("h from header:x-a", 2));
        check(&[&["json:/k"], &["header:x-a"], &["path"]], "", &["x", "y"], ("/p from path", 1));
        check(&[&["json:/k"], &["json:/l"]], "", &["{\"l\":1,", "\"k\":\"\"", "}"], ("1 from json:/l", 2));
        check(&[&["json:/k"], &["body-prefix:2"]], "", &["no json", "at all"], ("no from body-prefix:2", 1));
        check(&[&["json:/k"]], "", &["{", "}", "more"], ("absent", 2));
        check(&[&["json:/k"], &["header:x-a"]], "h", &[], ("h from header:x-a", 0));
    }

    #[test]
    fn a_prefix_is_the_whole_of_a_shorter_body_and_absent_from_an_empty_one() {
        check(&[&["body-prefix:4"]], "", &["ab", "cd", "ef"], ("abcd from body-prefix:4", 2));
        check(&[&["body-prefix:4"]], "", &["ab", "c"], ("abc from body-prefix:4", 2));
        check(&[&["body-prefix:4"]], "", &["abcdef"], ("abcd from body-prefix:4", 1));
        check(&[&["body-prefix:4"]], "", &[], ("absent", 0));
        check(&[&["body-prefix:4"]], "", &["", ""], ("absent", 2));
    }

    #[test]
    fn a_composite_joins_what_head_and_body_have() {
        let rule: &[&[&str]] = &[&["header:x-a", "json:/k", "body-prefix:2"], &["path"]];
        check(rule, "h", &["{\"k\":\"a|b\"}"], (r#"h|a\|b|{" from header:x-a+json:/k+body-prefix:2"#, 1));
        check(rule, "", &["{\"k\":\"v\"}"], ("/p from path", 0));
        check(rule, "h", &["{\"k\":nu", "ll}"], ("/p from path", 1));
    }

    #[test]
    fn no_more_is_looked_at_than_may_be() {
        let rule: &[&[&str]] = &[&["json:/k"], &["header:x-a"]];
        let document = "{\"a\":1,\"k\":\"v\"}";
        for (bytes_max, pieces, expected) in [
            (document.len() - 1, vec![document], "v from json:/k"),
            (document.len() - 2, vec![document], "too large, else h from header:x-a"),
            (7, vec!["{\"a\":1,", "\"k\":\"v\"}"], "too large, else h from header:x-a"),
            (7, vec!["{\"a\":1,"], "h from header:x-a"),
        ] {
            assert_eq!(find(rule, bytes_max, "h", &pieces).0, expected, "{bytes_max} bytes of {pieces:?}");
        }
    }
}
