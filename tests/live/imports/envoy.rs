//! Envoy's configurations, in `envoy/`.

use crate::harness::imported;
use crate::harness::imported::Case;
use crate::harness::imported::Original;
use crate::harness::imported::Place;
use crate::harness::originals;
use crate::harness::story::Story;
use serde_json::Value;
use std::net::SocketAddr;

const ENVOY: Original = Original { name: "envoy", start: originals::envoy_on, rewrite };

#[test]
fn what_is_imported_from_envoy_serves_as_envoy_does() {
    let story = Story::begin("import-envoy");
    let cases = [
        conversations(),
        sessions(),
        image_cache(),
        tenants(),
        stateful_set(),
        zones(),
        gateway(),
        two_doors(),
        compose(),
        fleet(),
    ];
    imported::check(&story, &ENVOY, &cases);
}

/// A session header over replicas that are checked, ejected and retried.
fn conversations() -> Case {
    Case::new("conversations.json", "127.0.0.1:8081").ask("/v1/chat/{}", &[("x-session-id", "{}")]).left_out(&[
        "circuit_breakers`: a node's limits",
        "health_checks`: the like of it",
        "outlier_detection`: the like of it",
        "direct_response`: Ringway only forwards",
        TIMEOUT,
        "retry_policy`: the like of it",
        "stream_idle_timeout: 300s`: silence is bounded",
    ])
}

/// Names in lowerCamelCase, weights as text, a cookie that Envoy would set, WebSocket.
fn sessions() -> Case {
    Case::new("sessions.json", "127.0.0.1:8082")
        .ask("/ws/{}", &[("host", "chat.example.com"), ("cookie", "a=b; sid={}")])
        .ask("/{}", &[("host", "eu.chat.example.com"), ("cookie", "sid={}")])
        .left_out(&[
            PORTS,
            "routes[0].route.hashPolicy[0].cookie.ttl: `ttl: 86400s`: Ringway sets no cookies",
            TIMEOUT,
            "routes[1].route.hashPolicy[0].cookie.ttl: `ttl: 86400s`: Ringway sets no cookies",
            "redirect`: Ringway only forwards",
        ])
}

/// Several clusters, of which one does not hash, behind paths; a route that no request reaches.
fn image_cache() -> Case {
    Case::new("image-cache.json", "127.0.0.1:8083")
        .ask("/thumbs/{}.jpg?w={}", &[("host", "img.example.com")])
        .ask("/img/{}/{}.jpg", &[("host", "img.example.com")])
        .ask("/{}?id={}%2F{}", &[("host", "img.example.com")])
        .left_out(&[
            "LEAST_REQUEST places no keys (cluster uploads)",
            PORTS,
            TIMEOUT,
            "routes[1].match: `match`: a route before it takes all",
            "routes[2].route.cluster: `cluster: uploads`: this cluster is left out",
            "routes[4].route.cluster: `cluster: uploads`: this cluster is left out",
            "envoy.filters.http.cors`: Ringway has no filters",
        ])
}

/// A typed policy, several hash policies, terminal ones, and a load bound.
fn tenants() -> Case {
    Case::new("tenants.json", "127.0.0.1:8084")
        .ask("/tenants/{}?shard={}", &[("host", "api.example.com"), ("x-tenant", "{}")])
        .ask("/tenants/{}", &[("host", "api.example.com:443"), ("x-tenant", "{}")])
        .ask("/users/{}", &[("host", "api.example.com"), ("x-user", "{}"), ("cookie", "uid={}")])
        .ask("/users/{}", &[("host", "api.example.com"), ("cookie", "uid={}")])
        .ask("/users/{}", &[("host", "api.example.com")])
        .left_out(&[
            "healthy_panic_threshold`: below which share",
            "hash_balance_factor: 150`: bounded load is `load-bound",
            "typed_extension_protocol_options`: Ringway speaks HTTP/1.1",
            TIMEOUT,
            "safe_regex`: a pool's `match` is a host",
            "its `match` is shards-3.invalid",
        ])
}

/// Names and metadata that are hashed in place of addresses, and a host that drains.
fn stateful_set() -> Case {
    Case::new("stateful-set.json", "127.0.0.1:8085")
        .ask("/room/?room={}", &[])
        .ask("/doc/{}", &[("x-doc", "{}")])
        .left_out(&["clusters[0]: `health_status: DRAINING`: Envoy gives", TIMEOUT])
}

/// Localities without weights of their own, with them, and priorities.
fn zones() -> Case {
    Case::new("zones.json", "127.0.0.1:8086")
        .ask("/cart/{}", &[("host", "shop.example.com"), ("x-cart", "{}")])
        .left_out(&[
            "with `locality_weighted_lb_config` a host's weight depends",
            "priority: 1`: Ringway has no priorities",
            PORTS,
            TIMEOUT,
            "prefix: /cart`: Envoy's takes /cartx too",
            "cluster: stock`: this cluster is left out",
            "cluster: search`: this cluster is left out",
            "weighted_clusters`: Ringway divides no requests",
        ])
}

/// TLS to hosts, rewritten paths and Hosts, the client's address, enums by number.
fn gateway() -> Case {
    Case::new("gateway.json", "127.0.0.1:8087")
        .ask("/old/{}", &[("host", "gw.example.com"), ("x-account", "{}")])
        .ask("/app/{}", &[("host", "gw.example.com"), ("x-account", "{}")])
        .ask("/who/{}", &[("host", "gw.example.com")])
        .ask("/{}", &[("host", "{}.example.org"), ("x-account", "{}")])
        .left_out(&[
            "clusters[1].transport_socket: `transport_socket`: Ringway speaks clear text",
            PORTS,
            TIMEOUT,
            "routes[1].route.hash_policy: `hash_policy`: Envoy hashes :path as it sends",
            "prefix_rewrite: /new/`: Ringway sends the path as it came",
            "routes[2].request_headers_to_add: `request_headers_to_add`",
            "routes[5].route: `hash_policy`: without a `hash_policy`",
            "virtual_hosts[0].routes: `routes`: Envoy answers 404",
            "rate_limits`: Ringway has no filters",
            "normalize_path: true`: Ringway matches, hashes and sends",
        ])
}

/// Two listeners with routes of their own, and a third that speaks no HTTP.
fn two_doors() -> Case {
    Case::new("two-doors.json", "127.0.0.1:8088")
        .ask("/p/{}", &[("x-key", "{}")])
        .at("127.0.0.1:8089")
        .ask("/{}?key={}", &[("host", "partners.example.com")])
        .left_out(&[
            TIMEOUT,
            PORTS,
            "tcp_proxy`: of network filters, only",
            "listener public`: Ringway does not look at the address that a client connects to",
            "listener partners`: Ringway does not look at the address that a client connects to",
            "clusters[1]: `redis`: no route of HTTP leads",
        ])
}

/// Hosts that are names, of which only a running Envoy knows what it hashes.
fn compose() -> Case {
    Case::new("compose.json", "127.0.0.1:8090")
        .dumped_from("127.0.0.1:9901", "/config_dump?include_eds")
        .ask("/{}", &[("x-user", "{}")])
        .left_out(&[TIMEOUT])
}

/// Nothing in the file: clusters, endpoints, listeners and routes come from elsewhere.
fn fleet() -> Case {
    Case::new("fleet.json", "127.0.0.1:8091")
        .dumped_from("127.0.0.1:9902", "/config_dump?include_eds")
        .ask("/{}", &[("host", "carts:8080"), ("x-user", "{}")])
        .ask("/{}", &[("host", "docs"), ("x-doc", "{}"), ("cookie", "doc={}")])
        .left_out(&["health_status: UNHEALTHY`: Envoy gives", PORTS, TIMEOUT])
}

/// Addresses stand in two members; of names only the port is replaced.
fn rewrite(text: &str, place: &mut Place<'_>) -> String {
    let mut json: Value = serde_json::from_str(text).unwrap();
    rewrite_in(&mut json, place);
    json.to_string()
}

fn rewrite_in(json: &mut Value, place: &mut Place<'_>) {
    match json {
        Value::Array(elements) => elements.iter_mut().for_each(|element| rewrite_in(element, place)),
        Value::Object(members) => {
            let port = ["port_value", "portValue"].into_iter().find(|name| members.contains_key(*name));
            if let Some(port) = port {
                let host = members["address"].as_str().unwrap();
                let is_name = host == "localhost";
                let address = if is_name { "10.255.0.1" } else { host };
                let found: SocketAddr = place(&format!("{address}:{}", members[port]));
                members.insert(port.to_owned(), found.port().into());
                if !is_name {
                    members.insert("address".to_owned(), found.ip().to_string().into());
                }
            }
            members.values_mut().for_each(|member| rewrite_in(member, place));
        }
        _ => {}
    }
}

/// That Envoy tells ports apart in Host is said once.
const PORTS: &str = "domains`: Envoy matches Host with its port";

/// What becomes of timeouts is said once.
const TIMEOUT: &str = "s`: Envoy bounds a response as a whole";
