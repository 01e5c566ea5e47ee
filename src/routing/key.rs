//! Reads the key of a request from its head, or says what to look for in its body, and which part of it is hashed.

use crate::placement::dialect::POLICY_JOINT;
use crate::placement::seed::Seed;
use crate::routing::body_search::BodySearch;
use crate::routing::body_search::Candidate;
use crate::routing::body_search::Part;
use crate::routing::source::Source;
use std::borrow::Cow;
use std::net::IpAddr;
use std::net::SocketAddr;

/// What a key rule may look at. Borrowed from the request; nothing is copied unless decoding needs it.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The request's method.
    pub method: &'a http::Method,
    /// The path as on the wire, before `?`.
    pub path: &'a str,
    /// What follows `?`, as on the wire.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a http::HeaderMap,
    /// As [`normal_host`] gives it (lower case, no port); empty when the request has none.
    pub host: &'a str,
    /// The client after `trusted-proxies` was applied ([`client_ip`]).
    pub client_ip: IpAddr,
}

/// `key = [...]` of a pool, with its hash tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRule {
    alternatives: Vec<Alternative>,
    hash_tag: Option<HashTag>,
    /// What keys are hashed with.
    seed: Option<Seed>,
    reads_body: bool,
    /// Bytes of a body that may be looked at.
    body_bytes_max: usize,
}

/// One entry of the list: a source, or several whose values are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternative {
    parts: Vec<Source>,
    join: Join,
    name: String,
}

/// How the values of several sources become one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    /// All of them, each set apart from the next; without one of them there is no key.
    Apart,
    /// Those that are present, one right after another: nginx's variables in a text.
    Concatenated,
    /// Those that are present, for Envoy's placements to hash one by one: its hash policies.
    EnvoyPolicies,
}

/// The characters between which a key is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HashTag {
    open: u8,
    close: u8,
}

/// A key found in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Never empty.
    pub bytes: Cow<'a, [u8]>,
    /// Index of the alternative that was present; [`KeyRule::source_name`] tells its name.
    pub source: usize,
}

/// What the head of a request says about its key.
#[derive(Clone, Debug)]
pub enum Extracted<'a> {
    /// There is no key.
    Absent,
    /// It depends on the body.
    InBody(BodySearch),
    /// This is the key, whatever the body is.
    Key(Key<'a>),
}

impl KeyRule {
    /// `alternatives`: each entry one source, or several for a composite. `hash_tag`: two ASCII characters
    /// such as `{}`.
    pub fn parse(alternatives: &[Vec<String>], hash_tag: Option<&str>) -> Result<KeyRule, Vec<KeyRuleError>> {
        let whole_rule = |message: String| KeyRuleError { alternative: None, part: 0, message };
        let mut errors = Vec::new();
        if alternatives.is_empty() {
            errors.push(whole_rule("a key needs at least one source, such as `header:x-room`".to_owned()));
        }
        let hash_tag = hash_tag.map(HashTag::parse).transpose();
        let hash_tag = hash_tag.map_err(|message| errors.push(whole_rule(message))).unwrap_or_default();
        let mut parsed = Vec::with_capacity(alternatives.len());
        for (index, parts) in alternatives.iter().enumerate() {
            let error = |(part, message)| KeyRuleError { alternative: Some(index), part, message };
            match Alternative::parse(parts) {
                Ok(alternative) => parsed.push(alternative),
                Err(wrong) => errors.extend(wrong.into_iter().map(error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let reads_body = parsed.iter().any(Alternative::reads_body);
        Ok(KeyRule { alternatives: parsed, hash_tag, seed: None, reads_body, body_bytes_max: BODY_BYTES_MAX })
    }

    /// The same rule, whose keys are hashed with a secret seed.
    pub fn seeded(self, seed: Option<Seed>) -> KeyRule {
        KeyRule { seed, ..self }
    }

    /// The secret seed that keys are hashed with, if any.
    pub fn seed(&self) -> Option<Seed> {
        self.seed
    }

    /// The same rule, which looks at `body_bytes_max` bytes of a body at most rather than at [`BODY_BYTES_MAX`].
    ///
    /// # Errors
    /// When a source asks for more than that.
    pub fn within(mut self, body_bytes_max: usize) -> Result<KeyRule, KeyRuleError> {
        for (index, alternative) in self.alternatives.iter().enumerate() {
            if let Some(part) = alternative.parts.iter().position(|part| part.body_bytes_min() > body_bytes_max) {
                let message = format!(
                    "`{}` asks for more than the {body_bytes_max} bytes that `max-key-body` allows; raise that, or ask \
                     for less",
                    alternative.parts[part]
                );
                return Err(KeyRuleError { alternative: Some(index), part, message });
            }
        }
        self.body_bytes_max = body_bytes_max;
        Ok(self)
    }

    /// The first alternative present decides. An empty value counts as absent, and so does a composite with an absent
    /// part. The body is asked for only when that depends on it.
    pub fn extract<'a>(&self, head: &RequestHead<'a>) -> Extracted<'a> {
        if self.reads_body {
            return self.extract_or_search(head);
        }
        let mut keys = self.alternatives.iter().map(|alternative| alternative.read(head)).enumerate();
        let key = keys.find_map(|(source, bytes)| Some(Key { bytes: bytes?, source }));
        key.map_or(Extracted::Absent, Extracted::Key)
    }

    fn extract_or_search<'a>(&self, head: &RequestHead<'a>) -> Extracted<'a> {
        let mut candidates = Vec::new();
        for (source, alternative) in self.alternatives.iter().enumerate() {
            if alternative.reads_body() {
                candidates.extend(alternative.candidate(source, head));
                continue;
            }
            let Some(bytes) = alternative.read(head) else { continue };
            if candidates.is_empty() {
                return Extracted::Key(Key { bytes, source });
            }
            // What comes after one that is present never decides.
            candidates.push(Candidate { source, parts: vec![Part::Known(bytes.into_owned())] });
            break;
        }
        if candidates.is_empty() {
            return Extracted::Absent;
        }
        Extracted::InBody(BodySearch::new(candidates, self.body_bytes_max))
    }

    /// What the hash tag leaves of a key, which decides its position.
    pub fn hashed<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        self.hash_tag.map_or(key, |tag| tag.select(key))
    }

    /// How many alternatives, from the first on, need no more of a request than its first line.
    pub fn alternatives_in_request_line(&self) -> usize {
        let is_readable = |alternative: &&Alternative| alternative.parts.iter().all(Source::is_in_request_line);
        self.alternatives.iter().take_while(is_readable).count()
    }

    /// The name of an alternative by its index, e.g. `header:x-room` or `header:x-tenant+path:2`.
    pub fn source_name(&self, source: usize) -> &str {
        &self.alternatives[source].name
    }

    /// The names of all alternatives, in their order.
    pub fn source_names(&self) -> impl Iterator<Item = &str> {
        self.alternatives.iter().map(|alternative| alternative.name.as_str())
    }

    /// Canonical text of the whole rule with hash tag, for the fingerprint and for people, e.g.
    /// `query:room, header:x-tenant+path:2 hash-tag={}`. No two different rules have the same.
    pub fn describe(&self) -> String {
        let names = self.source_names().collect::<Vec<_>>().join(", ");
        match self.hash_tag {
            Some(tag) => format!("{names} hash-tag={}{}", char::from(tag.open), char::from(tag.close)),
            None => names,
        }
    }
}

impl Alternative {
    /// Each error comes with the index of the part that is wrong.
    fn parse(parts: &[String]) -> Result<Alternative, Vec<(usize, String)>> {
        let (join, first) = match parts.first().and_then(|word| Join::of_word(word)) {
            Some(join) => (join, 1),
            None => (Join::Apart, 0),
        };
        if parts.len() == first {
            return Err(vec![(0, "this list joins nothing; name the sources to join".to_owned())]);
        }
        let (mut sources, mut wrong) = (Vec::with_capacity(parts.len()), Vec::new());
        for (index, part) in parts.iter().enumerate().skip(first) {
            match part.parse::<Source>() {
                Ok(source) if join.takes(&source) => sources.push(source),
                Ok(source) => {
                    wrong.push((index, format!("`{}` joins no parts of bodies, such as `{source}`", parts[0])));
                }
                Err(message) => wrong.push((index, message)),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let names = sources.iter().map(Source::to_string);
        let names: Vec<String> = join.word().map(str::to_owned).into_iter().chain(names).collect();
        Ok(Alternative { parts: sources, join, name: names.join("+") })
    }

    fn read<'a>(&self, head: &RequestHead<'a>) -> Option<Cow<'a, [u8]>> {
        if let [source] = self.parts.as_slice() {
            return source.read(head);
        }
        let parts = self.parts.iter().map(|part| part.read(head));
        match self.join {
            Join::Apart => join(parts).map(Cow::Owned),
            Join::Concatenated => present(parts, &[]),
            Join::EnvoyPolicies => present(parts, &[POLICY_JOINT]),
        }
    }

    fn reads_body(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Source::Body(_)))
    }

    /// What the body has to be looked at for; `None` when a part of the head is absent.
    fn candidate(&self, source: usize, head: &RequestHead<'_>) -> Option<Candidate> {
        let parts = self.parts.iter().map(|part| match part {
            Source::Body(place) => Some(Part::new(place)),
            _ => part.read(head).map(|bytes| Part::Known(bytes.into_owned())),
        });
        Some(Candidate { source, parts: parts.collect::<Option<_>>()? })
    }
}

impl Join {
    /// What stands at the beginning of a list that is joined so.
    fn word(self) -> Option<&'static str> {
        match self {
            Join::Apart => None,
            Join::Concatenated => Some("concatenated"),
            Join::EnvoyPolicies => Some("envoy-policies"),
        }
    }

    fn of_word(word: &str) -> Option<Join> {
        [Join::Concatenated, Join::EnvoyPolicies].into_iter().find(|join| join.word() == Some(word))
    }

    /// Parts of bodies come late, and no other program joins them.
    fn takes(self, source: &Source) -> bool {
        self == Join::Apart || !matches!(source, Source::Body(_))
    }
}

/// The parts that are present with `joint` between them; `None` when none is.
fn present<'a>(parts: impl Iterator<Item = Option<Cow<'a, [u8]>>>, joint: &[u8]) -> Option<Cow<'a, [u8]>> {
    let parts: Vec<Cow<'_, [u8]>> = parts.flatten().collect();
    (!parts.is_empty()).then(|| Cow::Owned(parts.join(joint)))
}

/// The key that these parts make; `None` when one is absent.
pub(super) fn join(parts: impl Iterator<Item = Option<impl AsRef<[u8]>>>) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    for (index, part) in parts.enumerate() {
        if index > 0 {
            joined.push(JOINT);
        }
        push_escaped(&mut joined, part?.as_ref());
    }
    Some(joined)
}

/// Keeps the joint apart from the same character inside a part, in a way that people can type.
fn push_escaped(joined: &mut Vec<u8>, part: &[u8]) {
    for byte in part {
        if matches!(*byte, JOINT | b'\\') {
            joined.push(b'\\');
        }
        joined.push(*byte);
    }
}

impl HashTag {
    fn parse(text: &str) -> Result<HashTag, String> {
        match text.as_bytes() {
            [open, close] if open.is_ascii_graphic() && close.is_ascii_graphic() => {
                Ok(HashTag { open: *open, close: *close })
            }
            _ => Err(format!("hash tag `{text}` is not two ASCII characters, such as `{{}}`")),
        }
    }

    /// What stands between the first `open` and the next `close`; the whole key when there is no such thing
    /// or it is empty. This is the rule of Redis Cluster.
    fn select(self, key: &[u8]) -> &[u8] {
        let between = || {
            let start = key.iter().position(|byte| *byte == self.open)? + 1;
            let length = key[start..].iter().position(|byte| *byte == self.close)?;
            Some(&key[start..start + length])
        };
        between().filter(|between| !between.is_empty()).unwrap_or(key)
    }
}

/// Which alternative is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KeyRuleError {
    /// Index into `alternatives`; `None`: the hash tag or the list itself.
    pub alternative: Option<usize>,
    /// Index of the part within that alternative.
    pub part: usize,
    /// What is wrong and what to write instead, as a sentence.
    pub message: String,
}

/// The host of an authority or a Host field: lower case, without its port and the dot of the root of DNS (RFC 3986
/// section 3.2.2), IPv6 brackets kept. Borrowed when already normal.
pub fn normal_host(authority: &str) -> Cow<'_, str> {
    let bracketed = authority.starts_with('[').then(|| authority.find(']')).flatten();
    let host = match (bracketed, authority.split_once(':')) {
        (Some(end), _) => &authority[..=end],
        // More colons without brackets are no port: the text is left as it is.
        (None, Some((host, port))) if !port.contains(':') => host,
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The client's address: the peer, or, while the peer is a trusted proxy, the right-most X-Forwarded-For
/// entry that is not itself trusted. An entry that is no address ends the walk at the last good one: what
/// stands left of it was written by nobody known. An IPv4 address mapped into IPv6 counts as IPv4.
pub fn client_ip(peer: IpAddr, headers: &http::HeaderMap, trusted: &[ipnet::IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let fields = headers.get_all(FORWARDED_FOR).into_iter().rev();
    let entries = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = forwarded_address(entry) else {
            break;
        };
        client = address;
    }
    client
}

/// An address, with or without brackets and port.
fn forwarded_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let unbracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().ok().or_else(unbracketed);
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

/// Bytes of a body that a rule looks at unless told otherwise: most of what clients send in one go, and little enough
/// for each of many requests at once.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// Stands between the parts of a composite key.
const JOINT: u8 = b'|';

/// The field in which proxies append the address they accepted a connection from.
const FORWARDED_FOR: &str = "x-forwarded-for";

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http::HeaderName;
    use http::HeaderValue;
    use http::Method;
    use proptest::prelude::*;

    fn rule(alternatives: &[&[&str]], hash_tag: Option<&str>) -> Result<KeyRule, Vec<KeyRuleError>> {
        let owned: Vec<Vec<String>> =
            alternatives.iter().map(|parts| parts.iter().map(ToString::to_string).collect()).collect();
        KeyRule::parse(&owned, hash_tag)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            headers.append(name, value);
        }
        headers
    }

    fn head<'a>(path: &'a str, query: Option<&'a str>, headers: &'a HeaderMap) -> RequestHead<'a> {
        let client_ip = IpAddr::from([192, 0, 2, 1]);
        RequestHead { method: &Method::GET, path, query, headers, host: "h", client_ip }
    }

    /// The key of a rule that looks at no body.
    fn key_of<'a>(rule: &KeyRule, head: &RequestHead<'a>) -> Option<Key<'a>> {
        match rule.extract(head) {
            Extracted::Absent => None,
            Extracted::InBody(search) => panic!("{search:?}"),
            Extracted::Key(key) => Some(key),
        }
    }

    #[test]
    fn the_first_alternative_present_decides() {
        let rule = rule(&[&["query:room"], &["header:x-room"], &["path:1"]], None).unwrap();
        let headers = headers(&[("x-room", "from-header")]);
        let key = key_of(&rule, &head("/p", Some("room="), &headers)).unwrap();
        assert_eq!((&*key.bytes, key.source), (&b"from-header"[..], 1));
        assert_eq!(rule.source_name(1), "header:x-room");
        assert!(matches!(key.bytes, Cow::Borrowed(_)));
        let without = HeaderMap::new();
        assert_eq!(key_of(&rule, &head("/p", None, &without)).map(|key| key.source), Some(2));
        assert_eq!(key_of(&rule, &head("/", None, &without)), None);
    }

    #[test]
    fn a_composite_joins_its_parts_unambiguously() {
        let rule = rule(&[&["query:a", "query:b"]], None).unwrap();
        let headers = HeaderMap::new();
        let key = |query: &str| {
            key_of(&rule, &head("/", Some(query), &headers)).map(|key| String::from_utf8_lossy(&key.bytes).into_owned())
        };
        assert_eq!(key("a=x&b=y").as_deref(), Some("x|y"));
        assert_eq!(key("a=x|y&b=z").as_deref(), Some(r"x\|y|z"));
        assert_eq!(key("a=x&b=y|z").as_deref(), Some(r"x|y\|z"));
        assert_eq!(key(r"a=x\&b=y").as_deref(), Some(r"x\\|y"));
        assert_eq!(key("a=x&b="), None);
        assert_eq!(key("b=x"), None);
    }

    #[test]
    fn parts_that_are_absent_leave_no_trace_where_the_original_leaves_none() {
        let headers = headers(&[("x-user", "ann")]);
        let sources = ["header:x-user", "query-raw:k", "path"];
        for (word, query, expected) in [
            ("concatenated", "k=a|b", Some("anna|b/p")),
            ("concatenated", "", Some("ann/p")),
            ("envoy-policies", "k=a|b", Some("ann\u{1f}a|b\u{1f}/p")),
            ("envoy-policies", "", Some("ann\u{1f}/p")),
        ] {
            let rule = rule(&[&[&[word], &sources[..]].concat()], None).unwrap();
            let key = key_of(&rule, &head("/p", Some(query), &headers));
            assert_eq!(key.map(|key| key.bytes.into_owned()).as_deref(), expected.map(str::as_bytes), "{word} {query}");
            assert_eq!(rule.describe(), format!("{word}+header:x-user+query-raw:k+path"));
        }
        let absent = rule(&[&["envoy-policies", "query:a", "query:b"]], None).unwrap();
        assert_eq!(key_of(&absent, &head("/p", None, &headers)), None);
    }

    #[test]
    fn a_hash_tag_selects_what_is_hashed() {
        let rule = rule(&[&["path"]], Some("{}")).unwrap();
        for (key, hashed) in [
            ("user{42}a", "42"),
            ("{42}", "42"),
            ("a{x}{y}", "x"),
            ("a{{x}}", "{x"),
            ("}a{x}", "x"),
            ("a{}{x}", "a{}{x}"),
            ("a{x", "a{x"),
            ("plain", "plain"),
        ] {
            assert_eq!(rule.hashed(key.as_bytes()), hashed.as_bytes(), "{key}");
        }
    }

    #[test]
    fn the_name_of_the_source_moves_no_key() {
        let by_header = rule(&[&["header:x-room"]], None).unwrap();
        let by_query = rule(&[&["query:room"]], None).unwrap();
        assert_eq!(by_header.hashed(b"42"), by_query.hashed(b"42"));
    }

    #[test]
    fn rules_describe_themselves() {
        let composite = rule(&[&["query:room"], &["header:X-Tenant", "path:2"]], Some("{}")).unwrap();
        assert_eq!(composite.describe(), "query:room, header:x-tenant+path:2 hash-tag={}");
        assert_eq!(composite.source_name(1), "header:x-tenant+path:2");
        for (source, described) in [
            ("query:a, b+c", r"query:a\,\ b\+c"),
            ("json:/a+b/~0~1 c", r"json:/a\+b/~0~1\ c"),
            ("body-prefix:064", "body-prefix:64"),
        ] {
            assert_eq!(rule(&[&[source]], None).unwrap().describe(), described);
        }
    }

    #[test]
    fn refusals_name_the_alternative_and_the_part() {
        let place = |alternatives: &[&[&str]], hash_tag| {
            let error = rule(alternatives, hash_tag).unwrap_err().remove(0);
            (error.alternative, error.part)
        };
        assert_eq!(place(&[&["path"], &["host", "heder:x"]], None), (Some(1), 1));
        assert_eq!(place(&[&["path"], &[]], None), (Some(1), 0));
        assert_eq!(place(&[&["path"], &["envoy-policies"]], None), (Some(1), 0));
        assert_eq!(place(&[&["concatenated", "path", "json:/a"]], None), (Some(0), 2));
        assert_eq!(place(&[], None), (None, 0));
        for hash_tag in ["{", "{}}", "é", "", "{ ", "\n}"] {
            assert_eq!(place(&[&["path"]], Some(hash_tag)), (None, 0), "{hash_tag}");
        }
    }

    #[test]
    fn a_source_that_asks_for_more_of_a_body_than_it_may_is_named() {
        let sources: &[&[&str]] = &[&["json:/a"], &["host", "body-prefix:1025"]];
        let error = rule(sources, None).unwrap().within(1024).unwrap_err();
        assert_eq!((error.alternative, error.part), (Some(1), 1), "{error}");
        assert!(rule(sources, None).unwrap().within(1025).is_ok());
    }

    /// Rules of names that look like what stands between names.
    fn written_rules() -> impl Strategy<Value = (Vec<Vec<String>>, Option<String>)> {
        let parts = prop::collection::vec(r"((query:|json:/)[ab,+ \\]{1,4}|path|host)", 1..3);
        (prop::collection::vec(parts, 1..3), prop::option::of("[,{+]{2}"))
    }

    proptest! {
        #[test]
        fn different_rules_describe_themselves_differently(
            first in written_rules(),
            second in written_rules(),
        ) {
            let first = KeyRule::parse(&first.0, first.1.as_deref()).unwrap();
            let second = KeyRule::parse(&second.0, second.1.as_deref()).unwrap();
            prop_assert_eq!(first == second, first.describe() == second.describe());
        }
    }

    #[test]
    fn hosts_lose_their_port_case_and_last_dot() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com"),
            ("example.com:", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:8080", "example.com"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("2001:db8::1", "2001:db8::1"),
            ("", ""),
        ] {
            assert_eq!(normal_host(authority), host, "{authority}");
        }
        assert!(matches!(normal_host("example.com:80"), Cow::Borrowed("example.com")));
    }

    #[test]
    fn the_client_is_the_right_most_entry_that_is_not_trusted() {
        let trusted: Vec<ipnet::IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec();
        for (peer, fields, client) in [
            ("198.51.100.9", vec!["192.0.2.1"], "198.51.100.9"),
            ("10.0.0.1", vec!["192.0.2.1"], "192.0.2.1"),
            ("::ffff:10.0.0.1", vec!["::ffff:192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", vec!["203.0.113.5, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", vec!["203.0.113.5", "192.0.2.1", "10.0.0.2 ,"], "192.0.2.1"),
            ("10.0.0.1", vec!["192.0.2.1:1234, [fd00::2]:80,[fd00::3]"], "192.0.2.1"),
            ("10.0.0.1", vec!["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", vec![], "10.0.0.1"),
        ] {
            let fields: Vec<_> = fields.into_iter().map(|value| ("x-forwarded-for", value)).collect();
            let found = client_ip(peer.parse().unwrap(), &headers(&fields), &trusted);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {fields:?}");
        }
    }
}
