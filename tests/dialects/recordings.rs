//! The placements that were recorded from real programs: which servers they had, what was sent to them, and where it
//! went; see `golden/dialects/README.md`.

use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use ringway::routing::key::Extracted;
use ringway::routing::key::KeyRule;
use ringway::routing::key::RequestHead;
use std::fmt::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;

/// A recorded placement: how it is built here, and how its keys are read.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) placement: &'static str,
    /// What is hashed for each node, and its weight.
    pub(crate) nodes: Vec<(String, u32)>,
    key: Vec<&'static str>,
    /// Numbers of the recording for the nodes here; others were there but took no part.
    numbers: Vec<usize>,
    /// The node that was placed but could not be reached.
    pub(crate) unreachable: Option<usize>,
}

impl Vector {
    fn new(name: &'static str, placement: &'static str, nodes: Vec<(String, u32)>) -> Vector {
        let numbers = (0..nodes.len()).collect();
        Vector { name, placement, nodes, key: vec!["header:x-key"], numbers, unreachable: None }
    }

    fn key(self, parts: &[&'static str]) -> Vector {
        Vector { key: parts.to_vec(), ..self }
    }

    fn unreachable(self, node: usize) -> Vector {
        Vector { unreachable: Some(node), ..self }
    }

    /// Leaves out a node that the original had switched off.
    fn without(mut self, node: usize) -> Vector {
        self.nodes.remove(node);
        self.numbers.remove(node);
        self
    }

    /// How its keys are read.
    pub(crate) fn rule(&self) -> KeyRule {
        let parts = self.key.iter().map(ToString::to_string).collect();
        KeyRule::parse(&[parts], None).expect("a key rule")
    }

    /// What was sent, with the node that it went to.
    pub(crate) fn recorded(&self) -> Vec<(Request, usize)> {
        let recording = recordings().find(|fields| fields[0] == self.name).expect(self.name);
        let requests = requests(recording[1]);
        assert_eq!(requests.len(), recording[2].len(), "{}", self.name);
        let numbers = recording[2].chars().map(|digit| DIGITS.find(digit).expect("a digit"));
        let node = |number| self.numbers.iter().position(|known| *known == number).expect("a node that took part");
        requests.into_iter().zip(numbers.map(node)).collect()
    }
}

/// What was sent, as far as a key may come from it.
#[derive(Debug)]
pub(crate) struct Request {
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    client_ip: IpAddr,
}

impl Request {
    fn new() -> Request {
        let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("x"))]);
        Request { path: "/".to_owned(), query: None, headers, client_ip: Ipv4Addr::LOCALHOST.into() }
    }

    fn with_header(key: &str) -> Request {
        let mut request = Request::new();
        request.headers.insert("x-key", HeaderValue::from_bytes(key.as_bytes()).expect("a header's value"));
        request
    }

    pub(crate) fn key(&self, rule: &KeyRule) -> Vec<u8> {
        let head = RequestHead {
            method: &Method::GET,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            host: "x",
            client_ip: self.client_ip,
        };
        match rule.extract(&head) {
            Extracted::Key(key) => key.bytes.into_owned(),
            other => panic!("{self:?} has no key: {other:?}"),
        }
    }
}

/// All of them.
pub(crate) fn vectors() -> Vec<Vector> {
    [nginx_vectors(), haproxy_26_vectors(), haproxy_3_vectors(), envoy_vectors(), ketama_vectors()]
        .into_iter()
        .flatten()
        .collect()
}

/// Name, list of keys, and places of each recording.
pub(crate) fn recordings() -> impl Iterator<Item = Vec<&'static str>> {
    include_str!("../golden/dialects/placements.tsv").lines().map(|line| line.split('\t').collect())
}

/// Nodes of one weight.
pub(crate) fn equal<T: ToString>(ids: impl IntoIterator<Item = T>, weight: u32) -> Vec<(String, u32)> {
    ids.into_iter().map(|id| (id.to_string(), weight)).collect()
}

fn weighted<T: ToString>(ids: impl IntoIterator<Item = T>, weights: [u32; 5]) -> Vec<(String, u32)> {
    ids.into_iter().map(|id| id.to_string()).zip(weights).collect()
}

pub(crate) fn addresses() -> Vec<String> {
    (1..=5).map(|number| format!("127.0.0.1:1810{number}")).collect()
}

fn nginx_vectors() -> Vec<Vector> {
    let names = ["127.0.0.1:18101", "[::1]:18106", "unix:/run/app/web.sock", "localhost:18108", "127.0.0.77"];
    let pods = (1..=5).map(|number| format!("10.0.1.{number}:8080"));
    vec![
        Vector::new("nginx_equal", "nginx", equal(addresses(), 1)),
        Vector::new("nginx_equal_b3_down", "nginx", equal(addresses(), 1)).unreachable(2),
        Vector::new("nginx_name_forms", "nginx", equal(names, 1)),
        Vector::new("nginx_collide_w200", "nginx", equal(addresses(), 200)),
        Vector::new("nginx_modulo_weighted", "nginx-modulo", weighted(addresses(), SMALL_WEIGHTS)),
        Vector::new("lua-resty-chash_equal", "ingress-nginx", equal(pods, 1)),
    ]
}

fn haproxy_26_vectors() -> Vec<Vector> {
    let vector = |name, placement, nodes| Vector::new(name, placement, nodes).key(&["haproxy-hdr:x-key"]);
    let w10 = || equal(1..=5, 10);
    let ids = [7, 1_000, 42, 99_999, 1_048_577];
    let by_weight = || weighted(1..=5, LARGE_WEIGHTS);
    vec![
        vector("haproxy26_hdr_default_w1", "haproxy", equal(1..=5, 1)),
        vector("haproxy26_hdr_default_w100", "haproxy", equal(1..=5, 100)),
        vector("haproxy26_hdr_default_ids", "haproxy", equal(ids, 10)),
        vector("haproxy26_hdr_default_b3_disabled", "haproxy", w10()).without(2),
        vector("haproxy26_redispatch_b3_dead", "haproxy", w10()).unreachable(2),
        vector("haproxy26_hdr_sdbm_w1", "haproxy hash=sdbm", equal(1..=5, 1)),
        vector("haproxy26_hdr_sdbm_avalanche_weighted", "haproxy hash=sdbm avalanche=true", by_weight()),
        vector("haproxy26_hdr_djb2_w1", "haproxy hash=djb2", equal(1..=5, 1)),
        vector("haproxy26_hdr_wt6_w1", "haproxy hash=wt6", equal(1..=5, 1)),
        vector("haproxy26_hdr_crc32_w1", "haproxy hash=crc32", equal(1..=5, 1)),
        vector("haproxy26_hdr_crc32_avalanche_weighted", "haproxy hash=crc32 avalanche=true", by_weight()),
        vector("haproxy26_hdr_mapbased_weighted", "haproxy-map", by_weight()),
        Vector::new("haproxy26_hash_fhdr_default_w10", "haproxy", w10()),
        Vector::new("haproxy26_uri_default_w10", "haproxy", w10()).key(&["path"]),
        Vector::new("haproxy26_uri_depth2_w10", "haproxy", w10()).key(&["path-prefix:2"]),
        Vector::new("haproxy26_source_default_w10", "haproxy hash=source", w10()).key(&["client-ip"]),
        Vector::new("haproxy26_source_crc32_w10", "haproxy hash=source avalanche=false", w10()).key(&["client-ip"]),
    ]
}

fn haproxy_3_vectors() -> Vec<Vector> {
    let vector = |name, placement, nodes| Vector::new(name, placement, nodes).key(&["haproxy-hdr:x-key"]);
    let own_addresses = || equal((1..=5).map(|number| format!("127.0.0.1{number}:1810{number}")), 10);
    let of_ipv6 = (1..=5).map(|number| format!("[::1]:1810{number}"));
    let guids = (1..=5).map(|number| format!("site-a-node-{number}"));
    let by_both = "haproxy hash-key=addr-port";
    vec![
        vector("haproxy30_id_default", "haproxy-3.0", equal(1..=5, 10)),
        vector("haproxy30_addr", "haproxy hash-key=addr", own_addresses()),
        vector("haproxy30_addrport", by_both, own_addresses()),
        vector("haproxy30_addrport_v6", by_both, equal(of_ipv6, 10)),
        vector("haproxy34_id_default", "haproxy", equal(1..=5, 10)),
        vector("haproxy34_addrport", by_both, own_addresses()),
        vector("haproxy34_addr_all_same", "haproxy hash-key=addr", equal(addresses(), 10)),
        vector("haproxy34_guid", "haproxy hash-key=guid", equal(guids, 10)),
    ]
}

fn envoy_vectors() -> Vec<Vector> {
    let host_names = || equal((1..=5).map(|number| format!("node-{number}.example")), 1);
    let shards = (1..=5).map(|number| format!("shard{number}"));
    let same = || equal(addresses(), 1);
    vec![
        Vector::new("envoy140_ring_equal_default", "envoy-ring-hash", same()),
        Vector::new("envoy140_ring_weighted_default", "envoy-ring-hash", weighted(addresses(), SMALL_WEIGHTS)),
        Vector::new("envoy140_ring_equal_max333", "envoy-ring-hash minimum-size=100 maximum-size=333", same()),
        Vector::new("envoy140_ring_equal_max3_lt_hosts", "envoy-ring-hash minimum-size=1 maximum-size=3", same()),
        Vector::new("envoy140_ring_equal_murmur2", "envoy-ring-hash hash=murmur2", same()),
        Vector::new("envoy140_ring_hostname", "envoy-ring-hash", host_names()),
        Vector::new("envoy140_ring_hashkey_metadata", "envoy-ring-hash", equal(shards, 1)),
        Vector::new("envoy140_ring_query_param", "envoy-ring-hash", same()).key(&["query-raw:k"]),
        Vector::new("envoy140_ring_two_policies", "envoy-ring-hash", same()).key(&[
            "envoy-policies",
            "header:x-key",
            "header:host",
        ]),
        Vector::new("envoy140_maglev_equal_default", "envoy-maglev", same()),
        Vector::new("envoy140_maglev_weighted_default", "envoy-maglev", weighted(addresses(), SMALL_WEIGHTS)),
        Vector::new("envoy140_maglev_hostname", "envoy-maglev", host_names()),
    ]
}

fn ketama_vectors() -> Vec<Vector> {
    let servers = (1..=5).map(|number| format!("10.0.1.{number}:11211"));
    let named = || equal((0..5).map(|number| format!("cache{number}")), 1);
    let unnamed = weighted((0..5).map(|number| format!("127.0.0.1:2320{number}")), SMALL_WEIGHTS);
    let default_port = equal((2..7).map(|number| format!("127.0.0.{number}")), 1);
    let many = equal((0..61).map(|number| format!("n{number}")), 1);
    vec![
        Vector::new("libketama_equal", "ketama", equal(servers, 100)),
        Vector::new("twemproxy_crc16", "twemproxy hash=crc16", named()),
        Vector::new("twemproxy_crc32", "twemproxy hash=crc32", named()),
        Vector::new("twemproxy_crc32a", "twemproxy hash=crc32a", named()),
        Vector::new("twemproxy_fnv1_32", "twemproxy hash=fnv1_32", named()),
        Vector::new("twemproxy_fnv1_64", "twemproxy hash=fnv1_64", named()),
        Vector::new("twemproxy_fnv1a_32", "twemproxy hash=fnv1a_32", named()),
        Vector::new("twemproxy_fnv1a_64", "twemproxy hash=fnv1a_64", named()),
        Vector::new("twemproxy_hsieh", "twemproxy hash=hsieh", named()),
        Vector::new("twemproxy_jenkins", "twemproxy hash=jenkins", named()),
        Vector::new("twemproxy_md5", "twemproxy hash=md5", named()),
        Vector::new("twemproxy_murmur", "twemproxy hash=murmur", named()),
        Vector::new("twemproxy_one_at_a_time", "twemproxy hash=one_at_a_time", named()),
        Vector::new("twemproxy_weighted_without_names", "twemproxy", unnamed),
        Vector::new("twemproxy_default_port", "twemproxy", default_port),
        Vector::new("twemproxy_61_servers", "twemproxy hash=md5", many),
    ]
}

/// The requests that were sent for a list of keys.
fn requests(list: &str) -> Vec<Request> {
    let keys = || include_str!("../golden/dialects/keys.txt").lines();
    let encoded = |key: &str| Request { query: Some(format!("k={}", percent_encoded(key, "_.-~"))), ..Request::new() };
    let path = |key: &str| {
        let path = percent_encoded(&format!("/{}", key.trim_start_matches('/')), "_.-/");
        Request { path, ..Request::new() }
    };
    match list {
        "keys" => keys().map(Request::with_header).collect(),
        "memcached" => keys().map(|key| Request::with_header(&key.replace(' ', "_"))).collect(),
        "percent-encoded" => keys().map(encoded).collect(),
        "paths" => keys().map(path).collect(),
        "addresses" => {
            (0..2_000).map(|number| Request { client_ip: client_address(number), ..Request::new() }).collect()
        }
        "collisions" => include_str!("../golden/dialects/collisions.txt").lines().map(Request::with_header).collect(),
        _ => panic!("no list of keys is named {list}"),
    }
}

fn percent_encoded(text: &str, plain: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let character = char::from(byte);
        match character.is_ascii_alphanumeric() || plain.contains(character) {
            true => encoded.push(character),
            false => write!(encoded, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    encoded
}

/// The loopback address that a connection of the recording came from.
fn client_address(number: u32) -> IpAddr {
    let octets = [127, 1 + number % 200, 7 * number % 251, 1 + 13 * number % 250];
    Ipv4Addr::from(octets.map(|octet| u8::try_from(octet).expect("an octet"))).into()
}

const DIGITS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

const SMALL_WEIGHTS: [u32; 5] = [1, 2, 3, 5, 10];

const LARGE_WEIGHTS: [u32; 5] = [10, 20, 30, 50, 100];
