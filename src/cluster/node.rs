//! A node and the parts of its identity, parsed once at the edge.

use crate::placement::PlacementSettings;
use crate::placement::dialect::DefaultId;
use serde::Deserialize;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV6;
use std::path::PathBuf;
use std::str::FromStr;

/// A node's identity: 1 to 128 letters, digits and `.-_:` (ASCII, case counts).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = String;

    /// Takes the text as it is; the error is a sentence that names the offending part.
    fn try_from(text: String) -> Result<NodeName, String> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            let length = text.len();
            return Err(format!("a node name has 1 to {NAME_BYTES_MAX} characters, this one has {length}"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        match text.chars().find(|&c| !allowed(c)) {
            Some(c) => Err(format!("`{}` holds {c:?}; a node name is letters, digits and `.-_:`", text.escape_debug())),
            None => Ok(NodeName(text)),
        }
    }
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<NodeName, String> {
        NodeName::try_from(text.to_owned())
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> String {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a node listens: `IP:port`, `[IPv6]:port`, `host:port` or `unix:/absolute/path`.
///
/// The canonical text (host names in lower case, IPv6 compressed) is what is shown and stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NodeAddress {
    /// A host name that is resolved while serving.
    Host {
        /// Lower case, RFC 1123 labels (and `_`, which container networks use).
        name: String,
        /// 1 to 65,535.
        port: u16,
    },
    /// An IPv4 or IPv6 address with a port over 0.
    Ip(SocketAddr),
    /// The absolute path of a Unix domain socket.
    Unix(PathBuf),
}

impl FromStr for NodeAddress {
    type Err = String;

    /// The error says what is wrong and what is accepted.
    fn from_str(text: &str) -> Result<NodeAddress, String> {
        let parsed = match text.strip_prefix("unix:") {
            Some(path) => parse_unix(path),
            None => parse_host_and_port(text),
        };
        parsed.map_err(|why| {
            let shown = text.escape_debug();
            format!("the address `{shown}` {why}; accepted are `IP:port`, `[IPv6]:port`, `host:port` and `unix:/path`")
        })
    }
}

impl TryFrom<String> for NodeAddress {
    type Error = String;

    fn try_from(text: String) -> Result<NodeAddress, String> {
        text.parse()
    }
}

impl From<NodeAddress> for String {
    fn from(address: NodeAddress) -> String {
        address.to_string()
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeAddress::Host { name, port } => write!(f, "{name}:{port}"),
            NodeAddress::Ip(address) => write!(f, "{address}"),
            NodeAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One backend server of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The node's identity.
    pub name: NodeName,
    /// Where it listens; may change without moving a key.
    #[schema(value_type = String)]
    pub address: NodeAddress,
    /// Its share relative to the other nodes: 1 to 1,000, or 0 to keep it out of the placement.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Where it stands, such as a rack or an availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What the placement hashes for it instead of its name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement_id: Option<String>,
    /// Left the placement while its open requests finish; the weight is kept for an undrain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

impl Node {
    /// The word for operators: `active` when it takes keys, else `draining`.
    pub fn state(&self) -> &'static str {
        if self.is_placed() { "active" } else { "draining" }
    }

    /// Whether the placement may give it keys: not draining and of a weight over 0.
    pub fn is_placed(&self) -> bool {
        !self.draining && self.weight > 0
    }

    /// What `placement` hashes for this node: its `placement_id`, else its name or, where another program's placement
    /// does, its address. Empty where the operator has to give one and did not.
    pub fn placement_id(&self, placement: PlacementSettings) -> Cow<'_, str> {
        if let Some(id) = &self.placement_id {
            return Cow::Borrowed(id);
        }
        match self.default_id(placement) {
            DefaultId::Address(address) => Cow::Owned(address),
            DefaultId::Missing => Cow::Borrowed(""),
            DefaultId::Name => Cow::Borrowed(self.name.as_str()),
        }
    }

    /// Whether `placement` hashes the address of this node, so that another one would be another node to it.
    pub fn is_placed_by_address(&self, placement: PlacementSettings) -> bool {
        self.placement_id.is_none() && matches!(self.default_id(placement), DefaultId::Address(_))
    }

    fn default_id(&self, placement: PlacementSettings) -> DefaultId {
        match placement.dialect() {
            Some(kind) => kind.default_id(&self.address.to_string()),
            None => DefaultId::Name,
        }
    }
}

fn default_weight() -> u32 {
    1
}

fn parse_unix(path: &str) -> Result<NodeAddress, String> {
    if !path.starts_with('/') {
        return Err("names a socket by a relative path, write `unix:/absolute/path`".to_owned());
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!("has a socket path over {UNIX_PATH_BYTES_MAX} bytes, the system's limit"));
    }
    if path.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(NodeAddress::Unix(PathBuf::from(path)))
}

fn parse_host_and_port(text: &str) -> Result<NodeAddress, String> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("begins with the scheme `{}://`, which is not part of it", scheme.escape_debug()));
    }
    if text.contains('@') {
        return Err("names a user before `@`, which a node address cannot".to_owned());
    }
    if text.contains(['/', '?', '#']) {
        return Err("goes on with a path or a query, which are not part of it".to_owned());
    }
    let (host, port) = split_port(text)?;
    let port = parse_port(port)?;
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(NodeAddress::Ip(SocketAddr::from((ip, port))));
    }
    if host.contains(['[', ']']) {
        let with_port = text.parse::<SocketAddrV6>().map(SocketAddr::V6);
        return with_port.map(NodeAddress::Ip).map_err(|_| "holds a malformed IPv6 address".to_owned());
    }
    check_host_name(host)?;
    Ok(NodeAddress::Host { name: host.to_ascii_lowercase(), port })
}

/// Splits at the last colon, except where that colon belongs to an IPv6 address.
fn split_port(text: &str) -> Result<(&str, &str), String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("is an IPv6 address without a port, write `[{text}]:PORT`"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Err("has no port".to_owned()),
    };
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err("has more than one colon, an IPv6 address stands in brackets".to_owned());
    }
    Ok((host, port))
}

fn parse_port(port: &str) -> Result<u16, String> {
    let digits_only = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits_only && port > 0 => Ok(port),
        _ => Err(format!("has the port `{}`, which is not a number from 1 to 65535", port.escape_debug())),
    }
}

/// RFC 1123 section 2.1, with `_` allowed and one trailing dot; a name that ends in a number would be an IPv4
/// address to some resolvers (URL Standard, "ends in a number"), so it is refused as a misspelt one.
fn check_host_name(host: &str) -> Result<(), String> {
    let labels: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > HOST_BYTES_MAX || !labels.iter().all(|label| is_label(label)) {
        return Err("has a host that is neither an IP address nor a host name".to_owned());
    }
    if labels.last().is_some_and(|label| is_number(label)) {
        return Err("has a malformed IPv4 address".to_owned());
    }
    Ok(())
}

/// Whether a label is a number to resolvers that read one as a part of an IPv4 address: decimal, octal or hexadecimal.
fn is_number(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// Longest node name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Longest placement-id, in bytes.
pub const PLACEMENT_ID_BYTES_MAX: usize = 256;

/// Longest zone, in characters.
pub const ZONE_CHARS_MAX: usize = 128;

/// Longest host name in its text form, in bytes (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Longest label of a host name, in bytes (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Longest socket path on Linux, in bytes: `sun_path` of unix(7) less its terminator.
const UNIX_PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(text: &str) -> String {
        match text.parse::<NodeAddress>() {
            Ok(address) => panic!("{text:?} was accepted as {address:?}"),
            Err(why) => why,
        }
    }

    #[test]
    fn addresses_have_one_canonical_text() {
        for (text, canonical) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("10.0.0.1:080", "10.0.0.1:80"),
            ("[::1]:3000", "[::1]:3000"),
            ("[2001:DB8:0:0::1]:3000", "[2001:db8::1]:3000"),
            ("Chat-0.Example.com:3000", "chat-0.example.com:3000"),
            ("example.com.:3000", "example.com.:3000"),
            ("redis_1:6379", "redis_1:6379"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            let address: NodeAddress = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(address.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse(), Ok(address), "{canonical} does not round-trip");
        }
    }

    #[test]
    fn a_refused_address_says_what_is_wrong_and_what_is_accepted() {
        for (text, why) in [
            ("", "no port"),
            ("10.0.0.1", "no port"),
            ("[::1]", "no port"),
            (":3000", "no host"),
            ("10.0.0.1:", "port ``"),
            ("10.0.0.1:0", "port `0`"),
            ("10.0.0.1:65536", "port `65536`"),
            ("10.0.0.1:+80", "port `+80`"),
            ("10.0.0.1:http", "port `http`"),
            ("http://10.0.0.1:80", "scheme `http://`"),
            ("user@host:80", "user before `@`"),
            ("host:80/path", "path or a query"),
            ("::1", "write `[::1]:PORT`"),
            ("::1:x", "in brackets"),
            ("[::1", "malformed IPv6"),
            ("[::g]:80", "malformed IPv6"),
            ("10.0.0.256:80", "malformed IPv4"),
            ("10.0.1:80", "malformed IPv4"),
            ("2852039166:80", "malformed IPv4"),
            ("0251.0376.0251.0376:80", "malformed IPv4"),
            ("0xa9fea9fe:80", "malformed IPv4"),
            ("0xA9.0xFE.0xA9.0xFE:80", "malformed IPv4"),
            ("169.254.0xa9fe:80", "malformed IPv4"),
            ("0x:80", "malformed IPv4"),
            ("-host:80", "nor a host name"),
            ("ho st:80", "nor a host name"),
            ("hö.example:80", "nor a host name"),
            ("unix:run/app.sock", "relative path"),
            ("unix:/run/\nx", "control character"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(why), "{text:?}: {refusal}");
            assert!(refusal.contains("accepted are `IP:port`"), "{text:?}: {refusal}");
        }
        assert!(refusal(&format!("unix:/{}", "a".repeat(107))).contains("over 107 bytes"));
    }

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        for name in ["a", "chat-0", "10.0.0.1:3000", "A_b.c", &"n".repeat(128)] {
            assert_eq!(name.parse::<NodeName>().as_ref().map(NodeName::as_str), Ok(name));
        }
        for (name, why) in
            [("", "1 to 128"), (&*"n".repeat(129), "has 129"), ("a b", "' '"), ("a/b", "'/'"), ("ä", "'ä'")]
        {
            let refusal = name.parse::<NodeName>().expect_err(name);
            assert!(refusal.contains(why), "{name:?}: {refusal}");
        }
    }

    #[test]
    fn a_node_in_json_needs_a_name_and_an_address_only() {
        let node: Node = serde_json::from_str(r#"{"name":"a","address":"A.example:80"}"#).unwrap();
        assert_eq!((node.weight, node.is_placed()), (1, true));
        assert_eq!(serde_json::to_string(&node).unwrap(), r#"{"name":"a","address":"a.example:80","weight":1}"#);
        let wrong = serde_json::from_str::<Node>(r#"{"name":"a","address":"a:80","wieght":2}"#).unwrap_err();
        assert!(wrong.to_string().contains("unknown field `wieght`"), "{wrong}");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_round_trips(text in "(unix:/)?[\\[\\]a-zA-Z0-9.:_-]{1,24}(:[0-9]{1,5})?") {
            if let Ok(address) = text.parse::<NodeAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC*") {
            prop_assert!(text.parse::<NodeAddress>().map_or(true, |address| !address.to_string().is_empty()));
            prop_assert!(text.parse::<NodeName>().map_or(true, |name| name.as_str() == text));
        }
    }
}
