//! The same requests through real nginx, HAProxy and Envoy and through Ringway: each goes to the same node, whatever
//! the weights and the keys.

use crate::harness::client::Client;
use crate::harness::nginx::Nginx;
use crate::harness::originals;
use crate::harness::process::Process;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::story::free_ports;
use fastrand::Rng;
use serde_json::Value;
use serde_json::json;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

/// One way to place keys, as the original has it and as Ringway has it.
struct Case {
    /// In the configuration of the original, in its own words.
    original: String,
    placement: &'static str,
    key: &'static str,
    /// What the original hashes for each node, where it is not the address.
    ids: Vec<String>,
}

impl Case {
    fn new(original: &str, placement: &'static str, key: &'static str) -> Case {
        Case { original: original.to_owned(), placement, key, ids: Vec::new() }
    }

    fn ids(self, ids: &[String]) -> Case {
        Case { ids: ids.to_vec(), ..self }
    }
}

/// The backends, which say their names, with the weights that all programs give them.
struct Backends {
    nginx: Nginx,
    weights: Vec<u32>,
}

impl Backends {
    fn start(story: &Story, random: &mut Rng) -> Backends {
        let weights = NAMES.map(|_| random.u32(1..=20)).to_vec();
        Backends { nginx: Nginx::start(story, &NAMES), weights }
    }

    /// Number, name, address and weight of each.
    fn each(&self) -> impl Iterator<Item = (usize, &'static str, SocketAddr, u32)> {
        let nodes = NAMES.into_iter().zip(&self.weights).enumerate();
        nodes.map(|(number, (name, weight))| (number, name, self.nginx.address(name), *weight))
    }
}

/// A Ringway with a pool for each case, at `/0/`, `/1/` and so on.
fn ringway(story: &Story, cases: &[Case], backends: &Backends) -> Ringway {
    let mut text =
        "listen = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\nkind = \"memory\"\n".to_owned();
    for (number, case) in cases.iter().enumerate() {
        let (placement, key) = (case.placement, case.key);
        write!(text, "[[pool]]\nname = \"p{number}\"\nmatch = {{ path = \"/{number}/\" }}\nkey = {key}\n").unwrap();
        write!(text, "placement = \"{placement}\"\nnodes = [\n").unwrap();
        for (node, name, address, weight) in backends.each() {
            let id = case.ids.get(node).map(|id| format!(", placement-id = \"{id}\"")).unwrap_or_default();
            writeln!(text, "  {{ name = \"{name}\", address = \"{address}\", weight = {weight}{id} }},").unwrap();
        }
        text.push_str("]\n");
    }
    Ringway::serve(story, &story.write("ringway.toml", &text))
}

/// A request that has a key of every kind, with what separates keys in other places.
struct Asked {
    path: String,
    header: String,
}

impl Asked {
    fn at_random(case: usize, random: &mut Rng) -> Asked {
        let mut word = |length| -> String { (0..length).map(|_| random.alphanumeric()).collect() };
        let path = format!("/{case}/{}/{}?k={}%2C{}&l={}", word(3), word(4), word(2), word(5), word(1));
        let length = random.usize(0..40);
        let middle = (0..length).map(|_| char::from(*random.choice(HEADER_CHARACTERS).unwrap())).collect::<String>();
        let header = format!("{}{middle}{}", random.alphanumeric(), random.alphanumeric());
        Asked { path, header }
    }

    /// The name of the node that answers.
    fn through(&self, client: &mut Client) -> String {
        let answer = client.get(&self.path, &[("x-key", &self.header)]).unwrap();
        assert_eq!(answer.status, 200, "{} {}: {}", self.path, self.header, answer.text());
        answer.text()
    }
}

/// Sends requests through the original of each case, which listens on these ports, and through Ringway.
fn compare(story: &Story, cases: &[Case], ports: &[u16], proxy: &Ringway, random: &mut Rng) {
    let mut through_ringway = proxy.client();
    for (number, (case, port)) in cases.iter().zip(ports).enumerate() {
        let mut through_original = Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)));
        for _ in 0..REQUESTS {
            let asked = Asked::at_random(number, random);
            let (expected, found) = (asked.through(&mut through_original), asked.through(&mut through_ringway));
            assert_eq!(found, expected, "`{}`: {} with {}", case.original, asked.path, asked.header);
        }
        story.figure(&format!("{REQUESTS} of {REQUESTS} requests alike: {} as {}", case.original, case.placement));
    }
}

#[test]
fn every_request_goes_where_nginx_sends_it() {
    let story = Story::begin("dialect-nginx");
    let mut random = story.random();
    let backends = Backends::start(&story, &mut random);
    let cases = [
        Case::new("hash $http_x_key consistent", "nginx", r#""header:x-key""#),
        Case::new("hash $request_uri consistent", "nginx", r#""path-and-query""#),
        Case::new("hash $http_x_key$arg_k consistent", "nginx", r#"[["concatenated", "header:x-key", "query-raw:k"]]"#),
        Case::new("hash $http_x_key", "nginx-modulo", r#""header:x-key""#),
    ];
    let ports = free_ports(cases.len());
    let servers = backends
        .each()
        .fold(String::new(), |servers, (_, _, address, weight)| format!("{servers} server {address} weight={weight};"));
    let http = cases.iter().zip(&ports).enumerate().fold(String::new(), |http, (number, (case, port))| {
        format!(
            "{http}upstream u{number} {{ {};{servers} }}\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://u{number}; }} }}\n",
            case.original
        )
    });
    let _original = originals::nginx(&story, &http, &ports);
    compare(&story, &cases, &ports, &ringway(&story, &cases, &backends), &mut random);
}

#[test]
fn every_request_goes_where_haproxy_sends_it() {
    let story = Story::begin("dialect-haproxy");
    let mut random = story.random();
    let backends = Backends::start(&story, &mut random);
    let mut ids: Vec<u32> = (1..5_000).collect();
    random.shuffle(&mut ids);
    let ids: Vec<String> = ids[..NAMES.len()].iter().map(u32::to_string).collect();
    let (uri, whole, param) = (r#""path-prefix:2""#, r#""path-and-query""#, r#""query-raw:k""#);
    let cases = [
        ("balance hdr(x-key)", "consistent", "haproxy", r#""haproxy-hdr:x-key""#),
        ("balance hash req.hdr(x-key)", "consistent", "haproxy", r#""haproxy-hash-hdr:x-key""#),
        ("balance hash req.fhdr(x-key)", "consistent crc32", "haproxy hash=crc32", r#""header:x-key""#),
        ("balance uri depth 2", "consistent wt6 avalanche", "haproxy hash=wt6 avalanche=true", uri),
        ("balance uri whole", "consistent djb2 avalanche", "haproxy hash=djb2 avalanche=true", whole),
        ("balance url_param k", "consistent sdbm", "haproxy hash=sdbm", param),
        ("balance url_param k", "map-based", "haproxy-map", param),
        ("balance uri whole", "map-based wt6 avalanche", "haproxy-map hash=wt6 avalanche=true", whole),
    ];
    let cases = cases.map(|(balance, hash_type, placement, key)| {
        Case::new(&format!("{balance}, hash-type {hash_type}"), placement, key).ids(&ids)
    });
    let ports = free_ports(cases.len());
    let sections = cases.iter().zip(&ports).fold(String::new(), |sections, (case, port)| {
        let settings = case.original.replace(", ", "\n  ");
        let servers = backends.each().fold(String::new(), |servers, (number, name, address, weight)| {
            format!("{servers}  server {name} {address} id {} weight {weight}\n", ids[number])
        });
        format!("{sections}listen l{port}\n  bind 127.0.0.1:{port}\n  {settings}\n{servers}\n")
    });
    let _original = originals::haproxy(&story, &sections, &ports);
    compare(&story, &cases, &ports, &ringway(&story, &cases, &backends), &mut random);
}

#[test]
fn every_request_goes_where_envoy_sends_it() {
    let story = Story::begin("dialect-envoy");
    let mut random = story.random();
    let backends = Backends::start(&story, &mut random);
    let (header, query) = (r#"{"header":{"header_name":"x-key"}}"#, r#"{"query_parameter":{"name":"k"}}"#);
    let (ring, murmur) = (r#""lb_policy":"RING_HASH""#, r#""ring_hash_lb_config":{"hash_function":"MURMUR_HASH_2"}"#);
    let small = r#""ring_hash_lb_config":{"minimum_ring_size":50,"maximum_ring_size":77}"#;
    let cases = [
        (format!("{{{ring}}} [{header}]"), "envoy-ring-hash", r#""header:x-key""#),
        (
            format!("{{{ring},{murmur}}} [{header},{query}]"),
            "envoy-ring-hash hash=murmur2",
            r#"[["envoy-policies", "header:x-key", "query-raw:k"]]"#,
        ),
        (
            format!("{{{ring},{small}}} [{query}]"),
            "envoy-ring-hash minimum-size=50 maximum-size=77",
            r#""query-raw:k""#,
        ),
        (
            r#"{"lb_policy":"MAGLEV"} [{"header":{"header_name":":path"}}]"#.to_owned(),
            "envoy-maglev",
            r#""path-and-query""#,
        ),
        (
            format!(r#"{{"lb_policy":"MAGLEV","maglev_lb_config":{{"table_size":503}}}} [{header}]"#),
            "envoy-maglev table-size=503",
            r#""header:x-key""#,
        ),
    ];
    let cases = cases.map(|(original, placement, key)| Case::new(&original, placement, key));
    let ports = free_ports(cases.len());
    let _original = envoy(&story, &cases, &ports, &backends);
    compare(&story, &cases, &ports, &ringway(&story, &cases, &backends), &mut random);
}

/// An Envoy with a listener and a cluster for each case: what is particular about the cluster, and the hash policies.
fn envoy(story: &Story, cases: &[Case], ports: &[u16], backends: &Backends) -> Process {
    let endpoint = |(_, _, address, weight): (usize, &str, SocketAddr, u32)| {
        let socket = json!({ "address": address.ip().to_string(), "port_value": address.port() });
        json!({ "endpoint": { "address": { "socket_address": socket } }, "load_balancing_weight": weight })
    };
    let endpoints: Vec<Value> = backends.each().map(endpoint).collect();
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for (case, port) in cases.iter().zip(ports) {
        let (particular, policies) = case.original.split_once(' ').unwrap();
        let name = format!("c{port}");
        let mut cluster: Value = serde_json::from_str(particular).unwrap();
        cluster["name"] = name.clone().into();
        cluster["connect_timeout"] = "5s".into();
        cluster["load_assignment"] = json!({ "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] });
        clusters.push(cluster);
        let policies: Value = serde_json::from_str(policies).unwrap();
        listeners.push(listener(*port, &json!({ "cluster": name, "hash_policy": policies })));
    }
    originals::envoy(story, &json!({ "listeners": listeners, "clusters": clusters }), ports)
}

fn listener(port: u16, route: &Value) -> Value {
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let manager =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let routes = json!([{ "match": { "prefix": "/" }, "route": route }]);
    let config = json!({
        "@type": manager,
        "stat_prefix": "x",
        "route_config": { "virtual_hosts": [{ "name": "v", "domains": ["*"], "routes": routes }] },
        "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": { "@type": router } }],
    });
    let filter = json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": config });
    let address = json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    json!({ "address": address, "filter_chains": [{ "filters": [filter] }] })
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

const REQUESTS: usize = 2_000;

/// What may stand in a header, with much of what separates something somewhere.
const HEADER_CHARACTERS: &[u8] = b"abcXYZ019 ,,;=|&%/:\"\\{}()?#'~";
