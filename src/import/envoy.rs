//! Envoy's configuration: a bootstrap in JSON, or what a running Envoy answers to `/config_dump`.

mod answers;
mod cluster;
mod endpoints;
mod hash_policy;
mod json;
mod known;
mod listener;
mod message;
mod route_match;
mod routes;

use crate::import::Imported;
use crate::import::Place;
use crate::import::Unreadable;
use crate::import::envoy::cluster::Assignments;
use crate::import::envoy::cluster::Cluster;
use crate::import::envoy::listener::Manager;
use crate::import::envoy::listener::NamedRoutes;
use crate::import::envoy::message::Message;
use crate::import::envoy::message::Reading;
use crate::import::envoy::message::Stop;
use crate::import::envoy::routes::Pools;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What a file holds, before it is known what leads where.
#[derive(Default)]
struct Resources<'a> {
    clusters: Vec<Message<'a>>,
    listeners: Vec<Message<'a>>,
    /// Those that listeners name.
    named_routes: Vec<Message<'a>>,
    /// Those that stand in listeners, too.
    inline_routes: Vec<Message<'a>>,
    assignments: Vec<Message<'a>>,
}

/// Reads a bootstrap or a dump.
pub fn read(text: &str) -> Result<Imported, Unreadable> {
    check_json(text)?;
    let json = json::parse(text)?;
    let reading = Reading { text, imported: RefCell::default() };
    reading.imported.borrow_mut().pass_underscores();
    match read_root(&reading, &json) {
        Ok(()) => {}
        Err(Stop::LeftOut(left_out)) => {
            reading.imported.borrow_mut().leave_out(left_out.place, left_out.what, left_out.why);
        }
        Err(Stop::Unreadable(unreadable)) => return Err(unreadable),
    }
    Ok(reading.imported.into_inner())
}

/// Says what else the text is, where it cannot be an object in JSON.
fn check_json(text: &str) -> Result<(), Unreadable> {
    let blank = text.len() - text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).len();
    let (before, rest) = text.split_at(blank);
    let is_yaml = || rest.starts_with(['#', '%', '-']) || rest.lines().any(|line| line.trim_end().ends_with(':'));
    let why = match rest.chars().next() {
        Some('{') => return Ok(()),
        None => "the file is empty".to_owned(),
        Some(_) if rest.contains('\0') => "this is neither JSON nor text".to_owned(),
        Some(_) if is_yaml() || rest.contains(": ") => format!(
            "this looks like YAML, and only JSON is read; a running Envoy writes what it has as JSON, with the port of \
             its `admin`: {DUMP}"
        ),
        Some(_) => format!("this is no JSON object; a bootstrap is one, and what this writes: {DUMP}"),
    };
    Err(Unreadable { place: Place::line(before.matches('\n').count() + 1), why })
}

fn read_root<'a>(reading: &'a Reading<'a>, json: &'a json::Json) -> Result<(), Stop> {
    let root = reading.root(json)?;
    let mut resources = Resources::default();
    match root.clone().field("configs")? {
        Some(_) => resources.read_dump(root)?,
        None => resources.read_bootstrap(root)?,
    }
    let clusters = read_clusters(&mut resources)?;
    let mut pools = Pools::new(reading, &clusters);
    read_routes(resources, &mut pools)?;
    answers::compare(&pools.doors, &pools.targets, &mut reading.imported.borrow_mut());
    for (name, place) in clusters.iter().filter_map(|(name, cluster)| Some((name, &cluster.as_ref()?.place))) {
        if !pools.is_routed(name) {
            let why = "no route of HTTP leads to this cluster, so that there is no key";
            reading.imported.borrow_mut().leave_out(place.clone(), *name, why);
        }
    }
    Ok(())
}

/// Every cluster by its name; `None` for those that are left out.
fn read_clusters<'a>(resources: &mut Resources<'a>) -> Result<BTreeMap<&'a str, Option<Cluster>>, Stop> {
    let mut assignments = Assignments::new();
    for mut assignment in std::mem::take(&mut resources.assignments) {
        let name = assignment.text("cluster_name")?.unwrap_or_default();
        assignments.insert(name, assignment);
    }
    let mut clusters = BTreeMap::new();
    for mut message in std::mem::take(&mut resources.clusters) {
        let name = message.text("name")?.unwrap_or_default();
        let imported = message.imported();
        let read = match cluster::read(message, &assignments) {
            Ok(cluster) => Some(cluster),
            Err(Stop::LeftOut(left_out)) => {
                let why = format!("{} (cluster {name})", left_out.why);
                imported.borrow_mut().leave_out(left_out.place, left_out.what, why);
                None
            }
            Err(unreadable) => return Err(unreadable),
        };
        clusters.insert(name, read);
    }
    Ok(clusters)
}

fn read_routes<'a>(resources: Resources<'a>, pools: &mut Pools<'a>) -> Result<(), Stop> {
    let mut named = NamedRoutes::default();
    for mut config in resources.named_routes {
        named.by_name.insert(config.text("name")?.unwrap_or_default(), config);
    }
    let has_listeners = !resources.listeners.is_empty();
    for listener in resources.listeners {
        listener::read(listener, &mut named, pools)?;
    }
    for config in named.unnamed() {
        routes::read(config, Manager::default(), pools)?;
    }
    for config in resources.inline_routes.into_iter().filter(|_| !has_listeners) {
        routes::read(config, Manager::default(), pools)?;
    }
    Ok(())
}

impl<'a> Resources<'a> {
    fn read_bootstrap(&mut self, mut bootstrap: Message<'a>) -> Result<(), Stop> {
        let Some(mut resources) = bootstrap.message("static_resources")? else {
            let why = format!("there are no `static_resources`; what a running Envoy has is written by {DUMP}");
            bootstrap.leave_out("static_resources", why);
            bootstrap.finish(&known::BOOTSTRAP);
            return Ok(());
        };
        self.clusters.extend(resources.messages("clusters")?);
        self.listeners.extend(resources.messages("listeners")?);
        resources.finish(&known::STATIC_RESOURCES);
        bootstrap.finish(&known::BOOTSTRAP);
        Ok(())
    }

    /// Reads a dump, in which the bootstrap's resources stand a second time with all others.
    fn read_dump(&mut self, mut dump: Message<'a>) -> Result<(), Stop> {
        let mut configs = Vec::new();
        for mut config in dump.messages("configs")? {
            configs.push((config.type_name()?, config));
        }
        let is_whole = configs.iter().any(|(name, _)| matches!(*name, "ClustersConfigDump" | "ListenersConfigDump"));
        for (type_name, mut config) in configs {
            match type_name {
                "BootstrapConfigDump" => self.read_dumped_bootstrap(&mut config, is_whole)?,
                "ClustersConfigDump" => {
                    self.clusters.extend(dumped(
                        &mut config,
                        &["static_clusters", "dynamic_active_clusters"],
                        "cluster",
                    )?);
                }
                "EndpointsConfigDump" => {
                    let lists = ["static_endpoint_configs", "dynamic_endpoint_configs"];
                    self.assignments.extend(dumped(&mut config, &lists, "endpoint_config")?);
                }
                "ListenersConfigDump" => {
                    self.listeners.extend(dumped(&mut config, &["static_listeners"], "listener")?);
                    for mut dynamic in config.messages("dynamic_listeners")? {
                        let mut state = dynamic.message("active_state")?;
                        self.listeners
                            .extend(state.as_mut().map(|state| state.message("listener")).transpose()?.flatten());
                        dynamic.finish(&known::DUMP);
                    }
                }
                "RoutesConfigDump" => {
                    self.named_routes.extend(dumped(&mut config, &["dynamic_route_configs"], "route_config")?);
                    self.inline_routes.extend(dumped(&mut config, &["static_route_configs"], "route_config")?);
                }
                "ScopedRoutesConfigDump" | "SecretsConfigDump" | "EcdsConfigDump" => continue,
                _ => config.leave_out("@type", "this import does not know such a part of a dump"),
            }
            config.finish(&known::DUMP);
        }
        dump.finish(&known::DUMP);
        Ok(())
    }

    fn read_dumped_bootstrap(&mut self, config: &mut Message<'a>, is_whole: bool) -> Result<(), Stop> {
        let Some(mut bootstrap) = config.message("bootstrap")? else {
            return Ok(());
        };
        if !is_whole {
            return self.read_bootstrap(bootstrap);
        }
        // What came from there is in the dump.
        bootstrap.field("dynamic_resources")?;
        bootstrap.field("static_resources")?;
        bootstrap.finish(&known::BOOTSTRAP);
        Ok(())
    }
}

/// The resources in lists of a dump, in each of whose elements one stands under that name.
fn dumped<'a>(config: &mut Message<'a>, lists: &[&str], name: &str) -> Result<Vec<Message<'a>>, Stop> {
    let mut found = Vec::new();
    for list in lists {
        for mut element in config.messages(list)? {
            found.extend(element.message(name)?);
            element.finish(&known::DUMP);
        }
    }
    Ok(found)
}

const DUMP: &str = "`curl -s 'localhost:9901/config_dump?include_eds'`";

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is handed on")]

    use super::*;
    use crate::config::Config;
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::json;

    /// Members put in the place of those of the same name, or beside them.
    fn with(mut object: Value, members: Value) -> Value {
        if let (Value::Object(object), Value::Object(members)) = (&mut object, members) {
            object.extend(members);
        }
        object
    }

    fn endpoint(address: &str, port: u16) -> Value {
        json!({ "endpoint": { "address": { "socket_address": { "address": address, "port_value": port } } } })
    }

    fn assignment(hosts: Value) -> Value {
        json!({ "endpoints": [{ "lb_endpoints": hosts }] })
    }

    /// A cluster `c` of two hosts that hashes.
    fn cluster() -> Value {
        let hosts = json!([endpoint("10.0.0.1", 80), endpoint("10.0.0.2", 80)]);
        json!({ "name": "c", "lb_policy": "RING_HASH", "load_assignment": assignment(hosts) })
    }

    /// A route of everything to `c`.
    fn route() -> Value {
        json!({ "match": { "prefix": "/" }, "route": to_c() })
    }

    fn to_c() -> Value {
        json!({ "cluster": "c", "timeout": "1s", "hash_policy": [{ "header": { "header_name": "x" } }] })
    }

    fn manager(routes: Value) -> Value {
        let kind =
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        let config = json!({ "@type": kind, "strip_any_host_port": true });
        with(config, routes)
    }

    fn listener(manager: Value) -> Value {
        let address = json!({ "socket_address": { "address": "0.0.0.0", "port_value": 8080 } });
        json!({ "address": address, "filter_chains": [{ "filters": [{ "typed_config": manager }] }] })
    }

    fn any_host(routes: Value) -> Value {
        json!({ "route_config": { "virtual_hosts": [{ "domains": ["*"], "routes": routes }] } })
    }

    fn bootstrap(manager: Value, clusters: Value) -> Value {
        json!({ "static_resources": { "listeners": [listener(manager)], "clusters": clusters } })
    }

    fn import(file: &Value) -> Imported {
        let text = serde_json::to_string_pretty(file).unwrap();
        read(&text).unwrap_or_else(|unreadable| panic!("{unreadable} in\n{text}"))
    }

    /// With this cluster in the place of `c`.
    fn import_cluster(cluster: Value) -> Imported {
        import(&bootstrap(manager(any_host(json!([route()]))), json!([cluster])))
    }

    /// With these routes for any host.
    fn import_routes(routes: Value) -> Imported {
        import(&bootstrap(manager(any_host(routes)), json!([cluster()])))
    }

    /// What was left out, without the places.
    fn left_out(imported: &Imported) -> Vec<String> {
        let lines = imported.left_out().iter();
        lines.map(|left_out| format!("{}: {}", left_out.what, left_out.why)).collect()
    }

    /// That nothing but the note on timeouts, which every file with a pool gets, and one more were left out.
    fn assert_left_out(imported: &Imported, expected: &str, about: &Value) {
        let told = left_out(imported);
        assert!(told.iter().any(|line| line.contains(expected)), "{about} leaves out {told:#?}");
    }

    /// Host and path of each pool, and its key.
    fn pools(imported: &Imported) -> Vec<String> {
        let pools = imported.pools().iter();
        pools
            .map(|pool| {
                let matches = pool.matches.clone().unwrap_or_default();
                let part = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
                format!("{} {} {:?}", part(matches.host), part(matches.path), pool.key)
            })
            .collect()
    }

    fn nodes(imported: &Imported) -> Vec<String> {
        let nodes = imported.pools().iter().flat_map(|pool| &pool.nodes);
        nodes
            .map(|node| {
                let id = node.placement_id.as_ref().map(|id| format!(" as {id}")).unwrap_or_default();
                let zone = node.zone.as_ref().map(|zone| format!(" in {zone}")).unwrap_or_default();
                format!("{} {} {}{id}{zone}", node.name, node.address, node.weight)
            })
            .collect()
    }

    #[test]
    fn a_cluster_that_hashes_becomes_a_pool() {
        let imported = import(&bootstrap(manager(any_host(json!([route()]))), json!([cluster()])));
        let written = imported.to_toml("From a test.");
        let expected = r#"
listen = ["0.0.0.0:8080"]
underscore-headers = "pass"

[[pool]]
name = "c"
key = ["header:x"]
timeouts = { connect = "5s", head = "1s" }
placement = { kind = "envoy-ring-hash", hash = "xxhash", minimum-size = 1024, maximum-size = 8388608 }
initial-nodes = [
  { name = "10.0.0.1:80", address = "10.0.0.1:80", weight = 1 },
  { name = "10.0.0.2:80", address = "10.0.0.2:80", weight = 1 },
]
"#;
        assert!(written.ends_with(expected), "{written}");
        assert_eq!(imported.left_out().len(), 1, "{written}");
    }

    /// A listener of this name with these routes for a domain.
    fn door(name: &str, domain: &str, routes: Value) -> Value {
        let config = json!({ "virtual_hosts": [{ "domains": [domain], "routes": routes }] });
        with(listener(manager(json!({ "route_config": config }))), json!({ "name": name }))
    }

    /// What the list says of listeners.
    fn told_of_doors(doors: Value) -> Vec<String> {
        let other = with(cluster(), json!({ "name": "d" }));
        let file = json!({ "static_resources": { "listeners": doors, "clusters": [cluster(), other] } });
        let told = import(&file).left_out().iter().map(ToString::to_string).collect::<Vec<_>>();
        told.into_iter().filter(|line| line.contains("listeners for one set")).collect()
    }

    #[test]
    fn requests_that_only_their_listener_tells_from_others_are_on_the_list() {
        let to_d =
            |prefix: &str| json!({ "match": { "prefix": prefix }, "route": with(to_c(), json!({ "cluster": "d" })) });
        let redirect = json!({ "match": { "prefix": "/" }, "redirect": {} });
        let of = |one: Value, other: Value| told_of_doors(json!([one, other]));
        for (doors, expected) in [
            (told_of_doors(json!([door("a", "*", json!([route()]))])), vec![]),
            (of(door("a", "*", json!([route()])), door("b", "*", json!([route()]))), vec![]),
            (
                of(door("a", "*", json!([route()])), door("b", "*", json!([to_d("/")]))),
                vec!["[1]: `listener b`: | Envoy sends / to cluster d (pool d), in Ringway / goes to pool c"],
            ),
            (
                of(door("a", "*", json!([route()])), door("b", "x.com", json!([to_d("/d/")]))),
                vec![
                    "[0]: `listener a`: | Envoy sends x.com/d/ to cluster c (pool c), in Ringway | goes to pool d",
                    "[1]: `listener b`: | Envoy sends / nowhere, in Ringway / goes to pool c",
                ],
            ),
            (
                of(door("a", "*", json!([to_d("/d/"), redirect])), door("b", "y.com", json!([route()]))),
                vec![
                    "[0]: `listener a`: | Envoy sends y.com/ by a route that is left out (`redirect`), in Ringway",
                    "[1]: `listener b`: | Envoy sends /d/ nowhere, in Ringway /d/ goes to pool d",
                ],
            ),
        ] {
            let fits = |(line, part): (&String, &&str)| part.split('|').all(|part| line.contains(part.trim()));
            let alike = doors.len() == expected.len() && doors.iter().zip(&expected).all(fits);
            assert!(alike, "{doors:#?}, not {expected:#?}");
        }
    }

    #[test]
    fn of_many_differences_between_listeners_a_few_are_told() {
        let doors = (0..9).map(|number| {
            let domain = format!("{number}.com");
            let action = with(to_c(), json!({ "timeout": format!("{}s", number + 1) }));
            door(&domain, &domain, json!([{ "match": { "prefix": "/" }, "route": action }]))
        });
        let told = told_of_doors(doors.collect());
        assert_eq!(told.len(), 9, "{told:#?}");
        assert!(told.iter().all(|line| line.ends_with("; and 4 more like these")), "{told:#?}");
    }

    #[test]
    fn both_ways_to_say_a_policy_mean_the_same() {
        let typed = |name: &str, settings: Value| {
            let kind = format!("type.googleapis.com/envoy.extensions.load_balancing_policies.x.v3.{name}");
            let config = with(json!({ "@type": kind }), settings);
            let extension = json!({ "typed_extension_config": { "typed_config": config } });
            json!({ "load_balancing_policy": { "policies": [extension] } })
        };
        let maglev = json!({ "lb_policy": "MAGLEV", "maglev_lb_config": { "table_size": "503" } });
        let ring = json!({ "hash_function": "MURMUR_HASH_2", "minimum_ring_size": 7, "maximum_ring_size": "70" });
        for (policy, expected) in [
            (maglev, "envoy-maglev table-size=503"),
            (json!({ "lb_policy": 5 }), "envoy-maglev"),
            (typed("Maglev", json!({ "tableSize": 503 })), "envoy-maglev table-size=503"),
            (json!({ "ring_hash_lb_config": ring }), "envoy-ring-hash hash=murmur2 minimum-size=7 maximum-size=70"),
            (typed("RingHash", ring), "envoy-ring-hash hash=murmur2 minimum-size=7 maximum-size=70"),
            (typed("RingHash", json!({ "hash_function": 2 })), "envoy-ring-hash hash=murmur2"),
            (json!({ "ring_hash_lb_config": { "hash_function": 1 } }), "envoy-ring-hash hash=murmur2"),
        ] {
            let imported = import_cluster(with(cluster(), policy.clone()));
            assert_eq!(imported.pools()[0].placement.to_string(), expected, "{policy}");
        }
    }

    #[test]
    fn what_envoy_hashes_for_a_host_is_its_placement_id() {
        let named = |host: Value, name: &str| {
            let named = with(host["endpoint"].clone(), json!({ "hostname": name }));
            with(host, json!({ "endpoint": named }))
        };
        let metadata = json!({ "metadata": { "filter_metadata": { "envoy.lb": { "hash_key": "k" } } } });
        let no_text = json!({ "metadata": { "filter_metadata": { "envoy.lb": { "hash_key": 7 } } } });
        let pipe = json!({ "endpoint": { "address": { "pipe": { "path": "/run/a.sock" } } } });
        let hosts = json!([
            with(named(endpoint("10.0.0.1", 80), "one"), json!({ "load_balancing_weight": 3 })),
            with(endpoint("::1", 80), metadata),
            with(endpoint("10.0.0.3", 80), no_text),
            pipe
        ]);
        let mut cluster = with(cluster(), json!({ "load_assignment": assignment(hosts) }));
        assert_eq!(
            nodes(&import_cluster(cluster.clone())),
            [
                "one 10.0.0.1:80 3",
                "::1-:80 [::1]:80 1 as k",
                "10.0.0.3:80 10.0.0.3:80 1",
                "unix:-run-a.sock unix:/run/a.sock 1"
            ]
        );
        let by_name = json!({ "consistent_hashing_lb_config": { "use_hostname_for_hashing": true } });
        cluster = with(cluster, json!({ "common_lb_config": by_name, "type": "STRICT_DNS" }));
        assert_left_out(&import_cluster(cluster.clone()), "the host 10.0.0.3:80 has no `hostname`", &cluster);
        let hosts = json!([named(endpoint("10.0.0.1", 80), "one"), named(endpoint("10.0.0.2", 80), "two")]);
        cluster = with(cluster, json!({ "load_assignment": assignment(hosts) }));
        assert_eq!(nodes(&import_cluster(cluster)), ["one 10.0.0.1:80 1 as one", "two 10.0.0.2:80 1 as two"]);
    }

    #[test]
    fn a_cluster_that_cannot_be_had_exactly_is_left_out_with_the_reason() {
        let locality = |more: Value| with(json!({ "lb_endpoints": [endpoint("10.0.0.1", 80)] }), more);
        let twice = assignment(json!([endpoint("10.0.0.1", 80), endpoint("10.0.0.1", 80)]));
        let heavy = json!([
            with(endpoint("10.0.0.1", 80), json!({ "load_balancing_weight": 1 })),
            with(endpoint("10.0.0.2", 80), json!({ "load_balancing_weight": 1001 }))
        ]);
        let degraded = json!([with(endpoint("10.0.0.1", 80), json!({ "health_status": "DEGRADED" }))]);
        let priorities = json!({ "endpoints": [locality(json!({})), locality(json!({ "priority": 1 }))] });
        let weighted = json!({ "endpoints": [
            locality(json!({ "load_balancing_weight": 1 })), locality(json!({ "load_balancing_weight": 2 }))
        ] });
        let subsets = json!({ "subset_selectors": [{ "keys": ["v"] }] });
        for (particular, expected) in [
            (json!({ "lb_policy": "LEAST_REQUEST" }), "LEAST_REQUEST places no keys (cluster c)"),
            (json!({ "lb_policy": null }), "ROUND_ROBIN places no keys (cluster c)"),
            (json!({ "load_balancing_policy": { "policies": [] } }), "it has no policy that places keys"),
            (json!({ "lb_subset_config": subsets }), "every subset has a ring of its own"),
            (json!({ "load_assignment": twice }), "10.0.0.1:80"),
            (json!({ "load_assignment": priorities }), "Ringway has no priorities"),
            (json!({ "load_assignment": assignment(heavy) }), "Ringway's go up to 1000"),
            (json!({ "load_assignment": assignment(degraded) }), "some are degraded"),
            (json!({ "load_assignment": assignment(json!([])) }), "the cluster has no endpoints"),
            (json!({ "load_assignment": null }), "the cluster has no endpoints"),
            (json!({ "load_assignment": assignment(json!([endpoint("a.example", 80)])) }), "an address that is a name"),
            (json!({ "load_assignment": assignment(json!([endpoint("10.0.0.1", 0)])) }), "port `0`"),
            (json!({ "type": "EDS" }), "config_dump?include_eds"),
            (json!({ "type": "ORIGINAL_DST" }), "a host that the client chose is not placed"),
            (json!({ "cluster_type": { "name": "envoy.clusters.aggregate" } }), "how such a cluster finds its hosts"),
            (
                json!({ "type": "STRICT_DNS", "load_assignment": assignment(json!([endpoint("a.example", 80)])) }),
                "Envoy hashes what names resolve to",
            ),
            (
                json!({ "load_assignment": weighted, "common_lb_config": { "locality_weighted_lb_config": {} } }),
                "with `locality_weighted_lb_config` a host's weight depends",
            ),
            (json!({ "lb_policy": "MAGLEV", "maglev_lb_config": { "table_size": 4 } }), "prime"),
        ] {
            let imported = import_cluster(with(cluster(), particular.clone()));
            assert_eq!(imported.pools().len(), 0, "{particular}");
            assert_left_out(&imported, expected, &particular);
            assert_left_out(&imported, "cluster: c: this cluster is left out, see there", &particular);
        }
    }

    #[test]
    fn hosts_that_are_not_well_get_no_keys_unless_envoy_panics() {
        let host = |number: u8, health: &str| {
            with(
                endpoint(&format!("10.0.0.{number}"), 80),
                json!({ "health_status": health, "load_balancing_weight": 7 }),
            )
        };
        let weights = |hosts: Value| {
            let imported = import_cluster(with(cluster(), json!({ "load_assignment": assignment(hosts) })));
            imported.pools()[0].nodes.iter().map(|node| node.weight).collect::<Vec<_>>()
        };
        assert_eq!(
            weights(json!([host(1, "HEALTHY"), host(2, "UNHEALTHY"), host(3, "UNKNOWN"), host(4, "DRAINING")])),
            [7, 0, 7, 0]
        );
        assert_eq!(weights(json!([host(1, "HEALTHY"), host(2, "UNHEALTHY"), host(3, "TIMEOUT")])), [7, 7, 7]);
        assert_eq!(weights(json!([host(1, "UNHEALTHY")])), [7]);
    }

    #[test]
    fn only_ratios_of_weights_count() {
        let weighted = |number: u8, weight: u32| {
            with(endpoint(&format!("10.0.0.{number}"), 80), json!({ "load_balancing_weight": weight }))
        };
        let hosts = json!([weighted(1, 4_000), weighted(2, 6_000)]);
        let imported = import_cluster(with(cluster(), json!({ "load_assignment": assignment(hosts) })));
        assert_eq!(nodes(&imported), ["10.0.0.1:80 10.0.0.1:80 2", "10.0.0.2:80 10.0.0.2:80 3"]);
    }

    #[test]
    fn localities_without_weights_of_their_own_are_zones() {
        let locality = |zone: &str, address: &str| {
            let place = json!({ "region": "r", "zone": zone });
            json!({ "locality": place, "lb_endpoints": [endpoint(address, 80)] })
        };
        let localities = json!({ "endpoints": [locality("a", "10.0.0.1"), locality("", "10.0.0.2")] });
        let imported = import_cluster(with(cluster(), json!({ "load_assignment": localities })));
        assert_eq!(nodes(&imported), ["10.0.0.1:80 10.0.0.1:80 1 in a", "10.0.0.2:80 10.0.0.2:80 1 in r"]);
    }

    #[test]
    fn hash_policies_become_a_key() {
        let header = |name: &str| json!({ "header": { "header_name": name } });
        let terminal = |policy: Value| with(policy, json!({ "terminal": true }));
        let query = json!({ "query_parameter": { "name": "k" } });
        let cookie = json!({ "cookie": { "name": "sid" } });
        let address = json!({ "connectionProperties": { "sourceIp": true } });
        for (policies, expected) in [
            (json!([header("X-Room")]), r#"[["header:x-room"]]"#),
            (json!([header(":path")]), r#"[["path-and-query"]]"#),
            (json!([header(":authority")]), r#"[["header:host"]]"#),
            (json!([header(":method")]), r#"[["method"]]"#),
            (json!([query]), r#"[["query-raw:k"]]"#),
            (json!([cookie, address]), r#"[["envoy-policies", "cookie:sid", "client-ip"]]"#),
            (json!([terminal(header("a")), header("b")]), r#"[["header:a"], ["header:b"]]"#),
            (
                json!([header("a"), terminal(cookie), query]),
                r#"[["envoy-policies", "header:a", "cookie:sid"], ["query-raw:k"]]"#,
            ),
        ] {
            let action = with(to_c(), json!({ "hash_policy": policies }));
            let imported = import_routes(json!([{ "match": { "prefix": "/" }, "route": action }]));
            assert_eq!(pools(&imported), [format!("- - {expected}")], "{policies}");
        }
    }

    #[test]
    fn a_route_that_cannot_be_had_exactly_is_left_out_with_the_reason() {
        let rewritten = json!({ "header_name": "x", "regex_rewrite": { "substitution": "" } });
        let path = json!([{ "header": { "header_name": ":path" } }]);
        let host = json!([{ "header": { "header_name": "host" } }]);
        let weighted = json!({ "weighted_clusters": { "clusters": [] } });
        let added = json!([{ "header": { "key": "X", "value": "1" } }]);
        for (route, expected) in [
            (json!({ "redirect": {} }), "redirect: Ringway only forwards"),
            (json!({ "direct_response": { "status": 404 } }), "direct_response: Ringway only forwards"),
            (json!({ "route": weighted }), "Ringway divides no requests between pools"),
            (json!({ "route": { "cluster_header": "x" } }), "the pool follows from host and path alone"),
            (json!({ "route": { "cluster": "d" } }), "there is no such cluster in the file"),
            (json!({ "route": { "cluster": "c" } }), "there is nothing to place"),
            (json!({ "route": with(to_c(), json!({ "hash_policy": [{ "header": rewritten }] })) }), "as they came"),
            (
                json!({ "route": with(to_c(), json!({ "hash_policy": [{ "filter_state": { "key": "k" } }] })) }),
                "filters leave",
            ),
            (
                json!({ "route": with(to_c(), json!({ "hash_policy": [{ "cookie": { "name": "a b" } }] })) }),
                "not a cookie name",
            ),
            (
                json!({ "route": with(to_c(), json!({ "hash_policy": path, "prefix_rewrite": "/b" })) }),
                "Envoy hashes :path as it sends",
            ),
            (
                json!({ "route": with(to_c(), json!({ "hash_policy": host, "host_rewrite_literal": "b" })) }),
                "Envoy hashes :authority as it",
            ),
            (json!({ "route": to_c(), "request_headers_to_add": added }), "Envoy hashes x as it sends"),
            (json!({ "route": to_c(), "request_headers_to_remove": ["x"] }), "Envoy hashes x as it sends"),
        ] {
            let imported = import_routes(json!([with(json!({ "match": { "prefix": "/" } }), route.clone())]));
            assert_eq!(imported.pools().len(), 0, "{route}");
            assert_left_out(&imported, expected, &route);
            assert_left_out(&imported, "; Ringway sends these requests where else they match", &route);
        }
    }

    #[test]
    fn a_match_is_carried_over_as_far_as_it_can_be_said() {
        for (matches, expected, told) in [
            (json!({ "prefix": "/" }), "- -", None),
            (json!({ "prefix": "" }), "- -", None),
            (json!({ "prefix": "/api/" }), "- /api/", None),
            (json!({ "prefix": "/api" }), "- /api", Some("Envoy's takes /apix too")),
            (json!({ "path": "/api" }), "- /api", Some("Ringway's `path` takes what is below /api/ too")),
            (json!({ "pathSeparatedPrefix": "/api" }), "- /api", None),
            (json!({ "prefix": "/1/", "case_sensitive": false }), "- /1/", None),
            (json!({ "prefix": "/a/", "case_sensitive": true }), "- /a/", None),
            (json!({ "prefix": "/a/", "case_sensitive": false }), "c.invalid -", Some("tells capital letters")),
            (
                json!({ "prefix": "/a/", "headers": [{ "name": "x" }] }),
                "c.invalid -",
                Some("headers: a pool's `match` is"),
            ),
            (json!({ "safe_regex": { "regex": ".*" } }), "c.invalid -", Some("safe_regex: a pool's `match` is")),
            (json!({ "prefix": "/a?b" }), "c.invalid -", Some("cannot be said by host and path")),
        ] {
            let imported = import_routes(json!([{ "match": matches, "route": to_c() }]));
            assert_eq!(pools(&imported), [format!(r#"{expected} [["header:x"]]"#)], "{matches}");
            match told {
                Some(told) => assert_left_out(&imported, told, &matches),
                None => assert_eq!(imported.left_out().len(), 1, "{matches}: {:?}", left_out(&imported)),
            }
        }
    }

    #[test]
    fn a_route_behind_one_that_takes_all_of_its_requests_is_left_out() {
        for (first, second, is_reached) in [
            (json!({ "prefix": "/a" }), json!({ "prefix": "/ab/" }), false),
            (json!({ "prefix": "/ab/" }), json!({ "prefix": "/a" }), true),
            (json!({ "path_separated_prefix": "/a" }), json!({ "prefix": "/ab" }), true),
            (json!({ "path_separated_prefix": "/a" }), json!({ "path": "/a/b" }), false),
            (json!({ "path": "/a" }), json!({ "prefix": "/a" }), true),
            (json!({ "prefix": "/" }), json!({ "safe_regex": { "regex": "a" } }), false),
            (json!({ "prefix": "/", "grpc": {} }), json!({ "prefix": "/b/" }), true),
        ] {
            let imported =
                import_routes(json!([{ "match": first, "redirect": {} }, { "match": second, "route": to_c() }]));
            assert_eq!(imported.pools().len() == 1, is_reached, "{first}, then {second}");
            if !is_reached {
                assert_left_out(&imported, "match: a route before it takes all of these requests", &second);
            }
        }
    }

    #[test]
    fn each_domain_is_a_host_without_its_port() {
        let hosts = json!([
            { "domains": ["A.example", "a.example:80", "*.b.example", "[::1]:80"], "routes": [route()] },
            { "domains": ["*-c.example", "d.*"], "routes": [route()] },
            { "domains": ["*"], "routes": [route()] }
        ]);
        let routes = json!({ "route_config": { "virtual_hosts": hosts }, "strip_any_host_port": false });
        let imported = import(&bootstrap(manager(routes), json!([cluster()])));
        let expected = ["*.b.example", "[::1]", "a.example", "c-4.invalid", "-"];
        let hosts: Vec<String> =
            pools(&imported).iter().map(|pool| pool.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(hosts, expected);
        assert_left_out(&imported, "Ringway's `host` takes all ports", &Value::Null);
        assert_left_out(&imported, "a `match` has no host like *-c.example, d.*", &Value::Null);
    }

    #[test]
    fn pools_of_one_cluster_differ_where_its_routes_do() {
        let other = json!({
            "cluster": "c",
            "timeout": "0s",
            "host_rewrite_literal": "b.internal",
            "hash_policy": [{ "query_parameter": { "name": "k" } }]
        });
        let imported = import_routes(json!([{ "match": { "prefix": "/b/" }, "route": other }, route()]));
        assert_eq!(pools(&imported), [r#"- /b/ [["query-raw:k"]]"#, r#"- - [["header:x"]]"#]);
        let [b, rest] = imported.pools() else { panic!("two pools") };
        assert_eq!((b.name.as_str(), rest.name.as_str()), ("c", "c-2"));
        assert_eq!((b.host.as_deref(), rest.host.as_deref()), (Some("b.internal"), None));
        assert_eq!(b.head_timeout.unwrap().as_secs(), 24 * 60 * 60);
    }

    #[test]
    fn settings_that_concern_traffic_are_told_and_others_are_not() {
        let cluster = with(
            cluster(),
            json!({ "health_checks": [{}], "alt_stat_name": "x", "transport_socket": { "name": "tls" }, "odd": 1 }),
        );
        let told = left_out(&import_cluster(cluster));
        let named: Vec<&str> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(named, ["health_checks", "odd", "transport_socket", "timeout"], "{told:#?}");
    }

    #[test]
    fn a_dump_says_what_a_bootstrap_does_not() {
        let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}");
        let dynamic =
            json!({ "name": "c", "type": "EDS", "lb_policy": "MAGLEV", "eds_cluster_config": { "service_name": "s" } });
        let names = json!([endpoint("a.example", 80), endpoint("b.example", 80)]);
        let named = with(
            json!({ "name": "d", "type": "STRICT_DNS", "lb_policy": "MAGLEV" }),
            json!({ "load_assignment": assignment(names) }),
        );
        let resolved = |address: &str, name: &str| {
            let host = endpoint(address, 80);
            let endpoint = with(host["endpoint"].clone(), json!({ "hostname": name }));
            with(host, json!({ "endpoint": endpoint }))
        };
        let of_names = json!([
            resolved("10.0.1.1", "a.example"),
            resolved("10.0.1.2", "b.example"),
            resolved("10.0.1.3", "b.example")
        ]);
        let found = json!([
            { "endpoint_config": with(assignment(json!([endpoint("10.0.0.1", 80)])), json!({ "cluster_name": "s" })) },
            { "endpoint_config": with(assignment(of_names), json!({ "cluster_name": "d" })) }
        ]);
        let to_d = json!({ "match": { "prefix": "/d/" }, "route": with(to_c(), json!({ "cluster": "d" })) });
        let routes = with(any_host(json!([to_d, route()]))["route_config"].clone(), json!({ "name": "r" }));
        let listener = listener(manager(json!({ "rds": { "route_config_name": "r" } })));
        let dump = json!({ "configs": [
            { "@type": kind("BootstrapConfigDump"), "bootstrap": { "static_resources": {}, "dynamic_resources": {} } },
            {
                "@type": kind("ClustersConfigDump"),
                "static_clusters": [{ "cluster": named }],
                "dynamic_active_clusters": [{ "cluster": dynamic }]
            },
            { "@type": kind("EndpointsConfigDump"), "dynamic_endpoint_configs": found },
            {
                "@type": kind("ListenersConfigDump"),
                "dynamic_listeners": [{ "active_state": { "listener": listener } }]
            },
            { "@type": kind("RoutesConfigDump"), "dynamic_route_configs": [{ "route_config": routes }] },
            { "@type": kind("SecretsConfigDump") }
        ] });
        let imported = import(&dump);
        assert_eq!(
            nodes(&imported),
            [
                "a.example a.example:80 1 as 10.0.1.1:80",
                "b.example 10.0.1.2:80 1",
                "b.example-2 10.0.1.3:80 1",
                "10.0.0.1:80 10.0.0.1:80 1"
            ]
        );
        assert_left_out(&imported, "names that led to several addresses", &dump);
        assert_eq!(imported.left_out().len(), 2, "{:#?}", left_out(&imported));
    }

    #[test]
    fn listeners_that_share_routes_are_all_listened_on() {
        let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}");
        let on = |port: u16| {
            let address = json!({ "socket_address": { "address": "0.0.0.0", "port_value": port } });
            let listener = listener(manager(json!({ "rds": { "route_config_name": "r" } })));
            json!({ "listener": with(listener, json!({ "address": address })) })
        };
        let routes = with(any_host(json!([route()]))["route_config"].clone(), json!({ "name": "r" }));
        let dump = json!({ "configs": [
            { "@type": kind("ClustersConfigDump"), "static_clusters": [{ "cluster": cluster() }] },
            { "@type": kind("ListenersConfigDump"), "static_listeners": [on(8080), on(8081)] },
            { "@type": kind("RoutesConfigDump"), "dynamic_route_configs": [{ "route_config": routes }] }
        ] });
        let imported = import(&dump);
        let written = imported.to_toml("From a test.");
        assert!(written.contains(r#"listen = ["0.0.0.0:8080", "0.0.0.0:8081"]"#), "{written}");
        assert_eq!(imported.pools().len(), 1, "{written}");
        assert_eq!(imported.left_out().len(), 1, "{:#?}", left_out(&imported));
    }

    #[test]
    fn another_text_is_answered_with_what_to_give_instead() {
        let yaml = "# Envoy\n\nstatic_resources:\n  clusters: []\n";
        for (text, expected) in [
            (yaml, "line 1: this looks like YAML, and only JSON is read"),
            ("\n\nadmin: {}", "line 3: this looks like YAML"),
            ("---\n", "line 1: this looks like YAML"),
            (yaml, "curl -s 'localhost:9901/config_dump?include_eds'"),
            ("", "line 1: the file is empty"),
            ("[]", "line 1: this is no JSON object"),
            ("\u{1}\0\u{2}", "line 1: this is neither JSON nor text"),
            ("{\"static_resources\": ", "the text ends in the middle of a value"),
            ("{\"static_resources\": {}} }", "line 1 column 26: this is not JSON: trailing characters"),
        ] {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{text:?}: {refused}");
        }
    }

    #[test]
    fn a_wrong_value_is_answered_with_its_place() {
        for (particular, expected) in [
            (
                json!({ "lb_policy": "RING" }),
                "lb_policy` is RING; it must be one of ROUND_ROBIN, LEAST_REQUEST, RING_HASH",
            ),
            (json!({ "lb_policy": 4 }), "must be one of"),
            (json!({ "connect_timeout": "5" }), "connect_timeout` is 5; it must be a duration"),
            (
                json!({ "ring_hash_lb_config": { "minimum_ring_size": 8_388_609 } }),
                "must be a whole number from 0 to 8388608",
            ),
            (json!({ "load_assignment": [] }), "load_assignment` must be an object"),
            (json!({ "load_assignment": { "endpoints": {} } }), "endpoints` must be a list"),
            (
                json!({ "load_assignment": assignment(json!([endpoint("10.0.0.1", 80), 7])) }),
                "lb_endpoints[1]` is 7; it must be",
            ),
            (json!({ "name": ["c"] }), "name` must be a text"),
        ] {
            let file = bootstrap(manager(any_host(json!([route()]))), json!([with(cluster(), particular.clone())]));
            let text = serde_json::to_string_pretty(&file).unwrap();
            let refused = read(&text).unwrap_err().to_string();
            assert!(refused.starts_with("line ") && refused.contains(" column "), "{particular}: {refused}");
            assert!(refused.contains(expected), "{particular}: {refused}");
        }
    }

    #[test]
    fn few_lines_do_not_become_any_number_of_pools() {
        let domains: Vec<String> = (0..300).map(|number| format!("{number}.example")).collect();
        let paths = (0..300).map(|number| json!({ "match": { "prefix": format!("/{number}/") }, "route": to_c() }));
        let host = json!({ "domains": domains, "routes": paths.collect::<Vec<_>>() });
        let routes = json!({ "route_config": { "virtual_hosts": [host] } });
        let imported = import(&bootstrap(manager(routes), json!([cluster()])));
        assert_eq!(imported.pools().len(), 1_000);
        assert_left_out(&imported, "with it there would be over 1000 pools", &Value::Null);
    }

    /// Configurations that the live tests give to Envoy.
    const REAL: [&str; 10] = [
        include_str!("../../tests/live/imports/envoy/compose.json"),
        include_str!("../../tests/live/imports/envoy/conversations.json"),
        include_str!("../../tests/live/imports/envoy/fleet.json"),
        include_str!("../../tests/live/imports/envoy/gateway.json"),
        include_str!("../../tests/live/imports/envoy/image-cache.json"),
        include_str!("../../tests/live/imports/envoy/sessions.json"),
        include_str!("../../tests/live/imports/envoy/stateful-set.json"),
        include_str!("../../tests/live/imports/envoy/tenants.json"),
        include_str!("../../tests/live/imports/envoy/two-doors.json"),
        include_str!("../../tests/live/imports/envoy/zones.json"),
    ];

    /// That the text is read or refused, and that what is written is a config.
    fn check_robust(text: &str) -> Result<(), TestCaseError> {
        if let Ok(imported) = read(text)
            && !imported.pools().is_empty()
        {
            let written = imported.to_toml("From a test.");
            let parsed = Config::parse("written", &written);
            prop_assert!(parsed.is_ok(), "{:?}\n{written}", parsed.err().map(|error| error.to_string()));
        }
        Ok(())
    }

    /// The values in a document, counted as they stand; each is replaced by `with` when its number comes.
    fn replace(json: &mut Value, countdown: &mut usize, with: &Value) {
        if *countdown == 0 {
            *json = with.clone();
        }
        *countdown = countdown.wrapping_sub(1);
        match json {
            Value::Array(elements) => elements.iter_mut().for_each(|element| replace(element, countdown, with)),
            Value::Object(members) => members.values_mut().for_each(|member| replace(member, countdown, with)),
            _ => {}
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (0..10_000_u32).prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            prop::sample::select(vec![
                "*",
                "/",
                "RING_HASH",
                "MAGLEV",
                "1s",
                "::1",
                "$",
                "${A}",
                ":path",
                "\n",
                "a.b:1"
            ])
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            let name = prop::sample::select(vec!["value", "name", "address", "endpoints", "cluster", "header", "x"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..3).prop_map(|members| members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<Value>()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}|[{}\\[\\]\",:a-z0-9 \n\\\\]{0,200}") {
            check_robust(&text)?;
        }

        #[test]
        fn a_broken_configuration_is_read_or_refused(
            real in 0..REAL.len(),
            at in any::<prop::sample::Index>(),
            length in 0..40_usize,
            put in "[{}\\[\\]\",:a-z0-9]{0,4}",
        ) {
            let real = REAL[real];
            let (start, end) = (at.index(real.len()), (at.index(real.len()) + length).min(real.len()));
            prop_assume!(real.is_char_boundary(start) && real.is_char_boundary(end));
            check_robust(&format!("{}{put}{}", &real[..start], &real[end..]))?;
        }

        #[test]
        fn a_configuration_with_other_values_is_read_or_refused(
            real in 0..REAL.len(), changes in prop::collection::vec((0..400_usize, any_value()), 1..4),
        ) {
            let mut json: Value = serde_json::from_str(REAL[real]).unwrap();
            for (number, value) in &changes {
                replace(&mut json, &mut number.clone(), value);
            }
            check_robust(&json.to_string())?;
        }
    }
}
