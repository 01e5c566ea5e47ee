//! Stories of changing a pool: single nodes, several changes at once, plans, preconditions, and the way back.

use crate::ONE_POOL;
use crate::client::Client;
use crate::client::Directory;
use crate::client::Proxy;
use crate::client::Reply;
use serde_json::Value;
use serde_json::json;

const NODES: &str = "/v1/pools/rooms/nodes";
const APPLY: &str = "/v1/pools/rooms/apply";

async fn epoch(client: &Client) -> u64 {
    client.get("/v1/pools/rooms").await["epoch"].as_u64().unwrap()
}

async fn put(client: &Client, node: &str, body: &Value) -> Reply {
    client.call("PUT", &format!("{NODES}/{node}")).json(body).send().await
}

async fn names(client: &Client) -> Vec<String> {
    let nodes = client.get(NODES).await;
    let nodes = nodes["nodes"].as_array().unwrap().iter();
    nodes.map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_node_is_created_once_and_then_replaced() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let spec = json!({ "address": "10.0.0.4:80", "weight": 2, "zone": "z2" });
    let created = put(&client, "d", &spec).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let created = created.json();
    assert_eq!((&created["epoch"], &created["changed"]), (&json!(2), &json!(true)));
    assert_eq!(created["node"]["zone"], "z2");
    assert!(created["node"]["share"].as_f64().unwrap() > 0.1, "{created}");

    let again = put(&client, "d", &spec).await;
    assert_eq!((again.status, &again.json()["changed"]), (200, &json!(false)), "{}", again.text);
    assert_eq!(epoch(&client).await, 2);

    let replaced = put(&client, "d", &json!({ "address": "10.0.0.5:80" })).await.json();
    assert_eq!(replaced["node"]["address"], "10.0.0.5:80");
    assert_eq!((&replaced["node"]["weight"], &replaced["node"]["zone"]), (&json!(1), &Value::Null));
    assert_eq!(epoch(&client).await, 3);
}

#[tokio::test]
async fn a_replacement_keeps_the_drain_and_the_placement_id() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    put(&client, "d", &json!({ "address": "10.0.0.4:80", "placement_id": "old-d" })).await;
    client.post(APPLY, json!({ "changes": [{ "drain": { "name": "d" } }] })).await;
    let node = put(&client, "d", &json!({ "address": "10.0.0.5:80" })).await.json()["node"].clone();
    assert_eq!((&node["placement_id"], &node["state"]), (&json!("old-d"), &json!("draining")));
    let refused = put(&client, "d", &json!({ "address": "10.0.0.5:80", "placement_id": "d" })).await;
    assert_eq!((refused.problem().as_str(), &refused.json()["field"]), ("refused", &json!("/placement_id")));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_forgets_a_zone() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let patch =
        async |body: Value| client.call("PATCH", &format!("{NODES}/b")).json(&body).send().await.json()["node"].clone();
    let node = patch(json!({ "weight": 3 })).await;
    assert_eq!((&node["weight"], &node["zone"], &node["address"]), (&json!(3), &json!("z1"), &json!("10.0.0.2:80")));
    let node = patch(json!({ "zone": null, "address": "backend:81" })).await;
    assert_eq!((&node["weight"], &node["zone"], &node["address"]), (&json!(3), &Value::Null, &json!("backend:81")));
    let node = patch(json!({ "weight": 0 })).await;
    assert_eq!((&node["state"], &node["share"]), (&json!("draining"), &json!(0.0)));
}

#[tokio::test]
async fn a_changed_address_moves_no_key_and_changes_the_routes() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let before = client.get("/v1/pools/rooms").await;
    put(&client, "a", &json!({ "address": "10.9.9.9:80" })).await;
    let after = client.get("/v1/pools/rooms").await;
    assert_eq!(before["fingerprint"], after["fingerprint"]);
    assert_ne!(before["routes"], after["routes"]);
}

#[tokio::test]
async fn a_removed_node_is_gone_and_an_unknown_one_is_named() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let removed = client.call("DELETE", &format!("{NODES}/b")).send().await;
    assert_eq!((removed.status, removed.json().get("node")), (200, None), "{}", removed.text);
    assert_eq!(names(&client).await, ["a", "c"]);
    put(&client, "chat-10", &json!({ "address": "10.0.0.4:80" })).await;
    for method in ["GET", "DELETE"] {
        let unknown = client.call(method, &format!("{NODES}/chat-01")).send().await;
        assert_eq!(unknown.problem(), "unknown-node");
        assert!(unknown.text.contains("did you mean `chat-10`"), "{}", unknown.text);
    }
}

#[tokio::test]
async fn a_write_is_bound_to_the_state_it_was_decided_on() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let write = |method: &str, tag: &str| {
        let call = client.call(method, &format!("{NODES}/c")).header("if-match", tag);
        if method == "DELETE" { call } else { call.json(&json!({ "address": "10.0.0.9:80" })) }
    };
    let old = client.call("GET", "/v1/pools/rooms").send().await.header("etag").to_owned();
    assert_eq!(client.call("GET", NODES).send().await.header("etag"), old);
    let patched = write("PATCH", &old).send().await;
    let new = patched.header("etag").to_owned();
    assert_eq!(patched.status, 200, "{}", patched.text);
    assert_ne!(new, old);
    for method in ["PUT", "PATCH", "DELETE"] {
        let stale = write(method, &old).send().await;
        assert_eq!(stale.problem(), "stale", "{method}");
        let (epoch, fingerprint) = new.trim_matches('"').split_once('-').unwrap();
        assert_eq!(stale.json()["epoch"].to_string(), epoch);
        assert_eq!(stale.json()["fingerprint"], fingerprint);
        assert_eq!(write(method, "7").send().await.problem(), "bad-request", "{method}");
    }
    let put = write("PUT", &format!("{old}, {new}")).send().await;
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!(write("DELETE", put.header("etag")).send().await.status, 200);
}

#[tokio::test]
async fn existence_can_be_asked_for() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let put = |node: &str, header: &str| {
        let call = client.call("PUT", &format!("{NODES}/{node}"));
        call.json(&json!({ "address": "10.0.0.9:80" })).header(header, "*")
    };
    assert_eq!(put("a", "if-none-match").send().await.problem(), "exists");
    assert_eq!(put("d", "if-match").send().await.problem(), "stale");
    assert_eq!(epoch(&client).await, 1);
    assert_eq!(put("d", "if-none-match").send().await.status, 201);
    assert_eq!(put("d", "if-match").send().await.status, 200);
}

#[tokio::test]
async fn writers_that_race_for_a_name_create_it_once() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let target = format!("{NODES}/d");
    let put = |port: u16| {
        let call = client.call("PUT", &target).json(&json!({ "address": format!("10.0.0.4:{port}") }));
        call.header("if-none-match", "*").send()
    };
    let (a, b, c) = tokio::join!(put(1), put(2), put(3));
    let mut statuses = [a.status, b.status, c.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 412, 412]);
}

#[tokio::test]
async fn writers_of_different_nodes_are_not_in_each_others_way() {
    let proxy = Proxy::start(ONE_POOL).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..12 {
        let client = proxy.client();
        writers.spawn(async move {
            for weight in 1..=30 {
                let reply = put(&client, &format!("w{writer}"), &json!({ "address": "w:1", "weight": weight })).await;
                assert!([200, 201].contains(&reply.status), "writer {writer}, weight {weight}: {reply:?}");
            }
        });
    }
    writers.join_all().await;
    assert_eq!(epoch(&proxy.client()).await, 1 + 12 * 30);
}

#[tokio::test]
async fn of_writers_that_race_for_a_node_one_is_last_as_a_whole() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    for turn in 0..20 {
        let specs = [1, 2, 3].map(|writer| json!({ "address": format!("10.0.{turn}.{writer}:80"), "weight": writer }));
        let writes = [0, 1, 2].map(|writer| put(&client, "a", &specs[writer]));
        let [one, two, three] = writes;
        tokio::join!(one, two, three);
        let node = client.get(&format!("{NODES}/a")).await;
        let is_left = |spec: &Value| node["address"] == spec["address"] && node["weight"] == spec["weight"];
        assert!(specs.iter().any(is_left), "none of {specs:?} is left whole in {node}");
    }
}

#[tokio::test]
async fn a_dry_run_plans_and_changes_nothing() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    for (method, node, body) in [
        ("PUT", "d", json!({ "address": "10.0.0.4:80" })),
        ("PATCH", "a", json!({ "weight": 2 })),
        ("DELETE", "a", Value::Null),
    ] {
        let call = client.call(method, &format!("{NODES}/{node}?dry-run"));
        let reply = if body.is_null() { call.send().await } else { call.json(&body).send().await };
        let plan = reply.json();
        assert_eq!(reply.status, 200, "{plan}");
        assert!(plan["moved_ratio"].as_f64().unwrap() > 0.05, "{method}: {plan}");
        assert_eq!(plan["collateral_ratio"], 0.0, "{method}: {plan}");
    }
    assert_eq!(epoch(&client).await, 1);
}

#[tokio::test]
async fn an_apply_does_what_its_plan_said() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let changes = json!([
        { "add": { "name": "d", "address": "10.0.0.4:80" } },
        { "drain": { "name": "a" } },
        { "weight": { "name": "b", "weight": 3 } },
    ]);
    let plan = client.post("/v1/pools/rooms/plan", json!({ "changes": changes })).await;
    let body = json!({ "if_epoch": plan["epoch"], "changes": changes, "reason": "more room" });
    let applied = client.post(APPLY, body.clone()).await;
    assert_eq!(applied["fingerprint"], plan["fingerprint_after"]);
    assert_eq!(applied["moved_ratio"], plan["moved_ratio"]);
    let again = client.post(APPLY, json!({ "changes": [] })).await;
    assert_eq!((&again["changed"], &again["moved_ratio"]), (&json!(false), &json!(0.0)));
    assert_eq!((&applied["epoch"], &applied["served_epoch"]), (&json!(2), &json!(2)));

    let stale = client.call("POST", APPLY).json(&body).send().await;
    assert_eq!((stale.problem().as_str(), &stale.json()["epoch"]), ("stale", &json!(2)));
    let stale = client.call("POST", &format!("{APPLY}?dry-run")).json(&body).send().await;
    assert_eq!(stale.problem(), "stale");
}

#[tokio::test]
async fn a_refused_change_is_pointed_at_and_nothing_is_done() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let fine = json!({ "drain": { "name": "a" } });
    for (bad, kind, field) in [
        (json!({ "weight": { "name": "b", "weight": 1001 } }), "refused", "/changes/1/weight/weight"),
        (json!({ "remove": { "name": "bb" } }), "refused", "/changes/1/remove/name"),
        (json!({ "add": { "name": "a", "address": "x:1" } }), "refused", "/changes/1/add/name"),
        (json!({ "add": { "name": "d", "address": "x" } }), "bad-request", "/changes/1/add/address"),
        (json!({ "add": { "name": "d", "adress": "x:1" } }), "bad-request", "/changes/1/add/adress"),
        (json!({ "placement": { "kind": "ring", "vnodes": 0 } }), "refused", "/changes/1/placement/vnodes"),
        (json!({ "placement": { "kind": "table", "slots": 60000 } }), "bad-request", "/changes/1/placement"),
        (json!({ "placement": { "kind": "table", "cap": 1.0205 } }), "bad-request", "/changes/1/placement"),
    ] {
        for verb in ["plan", "apply", "apply?dry-run"] {
            let body = json!({ "changes": [fine, bad] });
            let refused = client.call("POST", &format!("/v1/pools/rooms/{verb}")).json(&body).send().await;
            assert_eq!(refused.problem(), kind, "{verb} {bad}: {}", refused.text);
            let found = &refused.json()["field"];
            // What is refused for the result of several changes names none of them.
            assert!(found == field || (found.is_null() && field.ends_with("vnodes")), "{bad}: {found}");
        }
    }
    assert_eq!(epoch(&client).await, 1);
}

#[tokio::test]
async fn a_pool_switches_to_a_table_and_back() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let before = client.get("/v1/pools/rooms").await;
    let changes = json!([{ "placement": { "kind": "table", "cap": 1.05 } }]);
    let plan = client.post("/v1/pools/rooms/plan", json!({ "changes": changes })).await;
    let applied = client.post(APPLY, json!({ "changes": changes, "force": true })).await;
    assert_eq!(applied["moved_ratio"], plan["moved_ratio"]);
    let settings = json!({ "kind": "table", "slots": 65_536, "cap": 1.05 });
    let pool = client.get("/v1/pools/rooms").await;
    assert_eq!((&pool["placement"], &pool["fingerprint"]), (&settings, &plan["fingerprint_after"]));
    let ring = client.get("/v1/pools/rooms/ring").await;
    assert_eq!((&ring["placement"], &ring["points"]), (&settings, &json!(65_536)));
    assert!(ring["imbalance_ratio"].as_f64().is_some_and(|ratio| (1.0..1.051).contains(&ratio)), "{ring}");
    let located = client.get("/v1/pools/rooms/locate?key=42").await;
    let explained = client.post("/v1/pools/rooms/explain", json!({ "key": "42" })).await;
    assert_eq!(located["owner"], explained["owner"]);

    client.post(APPLY, json!({ "changes": [{ "placement": { "kind": "ring" } }], "force": true })).await;
    assert_eq!(client.get("/v1/pools/rooms").await["fingerprint"], before["fingerprint"]);
}

#[tokio::test]
async fn a_pool_takes_over_the_placement_of_another_program() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let changes = json!([{ "placement": { "kind": "nginx" } }]);
    client.post(APPLY, json!({ "changes": changes, "force": true })).await;
    let ring = client.get("/v1/pools/rooms/ring").await;
    assert_eq!((&ring["placement"], &ring["points"]), (&json!({ "kind": "nginx" }), &json!(640)));
    let before = client.get("/v1/pools/rooms/locate?key=42").await;

    // Another address moves no key: what nginx hashes is kept as the placement-id.
    let readdressed = json!([{ "address": { "name": "a", "address": "10.0.0.9:80" } }]);
    let applied = client.post(APPLY, json!({ "changes": readdressed })).await;
    assert_eq!(applied["moved_ratio"], 0.0);
    let nodes = client.get("/v1/pools/rooms/nodes").await;
    assert_eq!(nodes["nodes"][0]["placement_id"], "10.0.0.1:80", "{nodes}");
    assert_eq!(client.get("/v1/pools/rooms/locate?key=42").await["candidates"], before["candidates"]);

    let haproxy = json!({ "changes": [{ "placement": { "kind": "haproxy", "hash": "crc32" } }], "force": true });
    let refused = client.call("POST", APPLY).json(&haproxy).send().await;
    assert_eq!(refused.problem(), "refused");
    assert!(refused.json()["detail"].as_str().is_some_and(|detail| detail.contains("`placement-id = \"1\"`")));
}

#[tokio::test]
async fn what_is_unsafe_is_planned_with_the_reason_and_done_by_force() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let changes = json!([{ "remove": { "name": "b" } }, { "remove": { "name": "c" } }]);
    let plan = client.post("/v1/pools/rooms/plan", json!({ "changes": changes })).await;
    assert!(plan["unsafe_reason"].as_str().unwrap().contains("75.0 %"), "{plan}");
    let refused = client.call("POST", APPLY).json(&json!({ "changes": changes })).send().await;
    assert_eq!((refused.status, refused.problem().as_str()), (422, "unsafe"));
    client.post(APPLY, json!({ "changes": changes, "force": true })).await;
    let last = format!("{NODES}/a");
    assert_eq!(client.call("DELETE", &last).send().await.problem(), "unsafe");
    assert_eq!(client.call("PATCH", &last).json(&json!({ "weight": 0 })).send().await.problem(), "unsafe");
    assert_eq!(client.call("DELETE", &format!("{last}?force")).send().await.status, 200);
    assert_eq!(names(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_rollback_brings_every_key_home_as_a_new_event() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let home = client.get("/v1/pools/rooms").await;
    client.post(APPLY, json!({ "changes": [{ "remove": { "name": "a" } }] })).await;
    let rollback = "/v1/pools/rooms/rollback";
    let plan = client.post(&format!("{rollback}?dry-run"), json!({ "to_epoch": 1 })).await;
    assert_eq!(plan["fingerprint_after"], home["fingerprint"]);
    let back = client.post(rollback, json!({ "to_epoch": 1, "if_epoch": 2, "reason": "too slow" })).await;
    assert_eq!((&back["epoch"], &back["fingerprint"]), (&json!(3), &home["fingerprint"]));
    assert_eq!(client.get("/v1/pools/rooms").await["nodes"], home["nodes"]);
    let unknown = client.call("POST", rollback).json(&json!({ "to_epoch": 9 })).send().await;
    assert_eq!((unknown.problem().as_str(), &unknown.json()["field"]), ("refused", &json!("/to_epoch")));
    assert!(unknown.text.contains("epochs 0 to 3"), "{}", unknown.text);
}

#[tokio::test]
async fn the_history_is_read_in_pages() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    for weight in 2..=6 {
        let call = client.call("PATCH", &format!("{NODES}/a?reason=step%20{weight}"));
        let call = call.json(&json!({ "weight": weight })).header("x-ringway-actor", "ada");
        assert_eq!(call.send().await.status, 200);
    }
    let (mut after, mut seen) = (Some(0), Vec::new());
    while let Some(from) = after {
        let page = client.get(&format!("/v1/pools/rooms/events?after={from}&limit=4")).await;
        assert_eq!((&page["oldest_epoch"], &page["newest_epoch"]), (&json!(0), &json!(6)));
        seen.extend(page["events"].as_array().unwrap().iter().cloned());
        after = page["next_after"].as_u64();
    }
    let epochs: Vec<_> = seen.iter().map(|event| event["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6]);
    assert_eq!((&seen[0]["actor"], &seen[1]["actor"]), (&json!("config"), &json!("admin:ada")));
    assert_eq!(seen[5]["reason"], "step 6");
    assert_eq!(seen[5]["changes"], json!([{ "weight": { "name": "a", "weight": 6 } }]));
    for limit in ["0", "1001", "x"] {
        let bad = client.call("GET", &format!("/v1/pools/rooms/events?limit={limit}")).send().await;
        assert_eq!(bad.problem(), "bad-request", "{limit}");
    }
}

#[tokio::test]
async fn a_draining_node_says_since_when_and_until_when() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let fingerprint = client.get(NODES).await["fingerprint"].clone();
    client.post(APPLY, json!({ "changes": [{ "drain": { "name": "a" } }] })).await;
    let node = client.get(&format!("{NODES}/a")).await;
    let drain = &node["drain"];
    let [since, deadline] = ["since_ms", "deadline_ms"].map(|field| drain[field].as_u64().unwrap());
    assert_eq!((deadline - since, &drain["inflight"]), (600_000, &json!(0)), "{node}");
    client.post(APPLY, json!({ "changes": [{ "weight": { "name": "b", "weight": 2 } }] })).await;
    assert_eq!(client.get(&format!("{NODES}/a")).await["drain"], *drain, "another change begins no other drain");
    let back = json!([{ "weight": { "name": "b", "weight": 1 } }, { "undrain": { "name": "a" } }]);
    client.post(APPLY, json!({ "changes": back })).await;
    let nodes = client.get(NODES).await;
    assert_eq!((&nodes["fingerprint"], &nodes["nodes"][0]["drain"]), (&fingerprint, &Value::Null), "{nodes}");
}

#[tokio::test]
async fn a_pool_with_a_secret_seed_shows_its_digest_and_keeps_to_placements_that_take_one() {
    let directory = Directory::new();
    directory.write("seed", SEED);
    let config = ONE_POOL.replace("name = \"rooms\"", "name = \"rooms\"\nseed-file = \"DIR/seed\"");
    let proxy = Proxy::start_in(directory, &config).await.unwrap();
    let client = proxy.client();
    let pool = client.get("/v1/pools/rooms").await;
    assert_eq!(pool["seed_digest"].as_str().map(str::len), Some(16), "{pool}");
    let to = |placement: &str| json!({ "changes": [{ "placement": { "kind": placement } }] });
    for target in [APPLY, "/v1/pools/rooms/plan"] {
        let refused = client.call("POST", target).json(&to("nginx-modulo")).send().await;
        assert_eq!(refused.problem(), "refused", "{target}");
        assert!(refused.text.contains("`seed-file`") && !refused.text.contains(SEED), "{}", refused.text);
    }
    client.post(APPLY, json!({ "changes": to("table")["changes"], "force": true })).await;
    let located = client.get("/v1/pools/rooms/locate?key=k").await;
    let without = Proxy::start(ONE_POOL).await;
    let unseeded = without.client().get("/v1/pools/rooms/locate?key=k").await;
    assert_ne!(located["hash"], unseeded["hash"]);
    assert_eq!(without.client().get("/v1/pools/rooms").await.get("seed_digest"), None);
}

const SEED: &str = "9f3c01d2a4b5e6770f1e2d3c4b5a6978";
