//! Stories of asking where keys live, and why.

use crate::ONE_POOL;
use crate::client::Proxy;
use serde_json::Value;
use serde_json::json;
use std::net::TcpListener;

#[tokio::test]
async fn a_key_is_located_the_same_alone_and_among_many() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let keys = ["room-1", "a b/ü&", ""];
    let many = client.post("/v1/pools/rooms/locate", json!({ "keys": keys })).await;
    for (key, located) in ["room-1", "a%20b%2F%C3%BC%26", ""].iter().zip(many["located"].as_array().unwrap()) {
        let alone = client.get(&format!("/v1/pools/rooms/locate?key={key}")).await;
        assert_eq!(&alone, located);
        assert_eq!(alone["candidates"].as_array().unwrap().len(), 3);
        assert_eq!(alone["owner"], alone["candidates"][0]);
    }
    assert_eq!(many["located"][1]["key"], "a b/ü&");
}

#[tokio::test]
async fn a_key_is_located_in_the_past() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let locate = async |epoch: &str| client.get(&format!("/v1/pools/rooms/locate?key=k{epoch}")).await;
    let before = locate("").await;
    let owner = before["owner"].as_str().unwrap();
    let changes = json!([{ "remove": { "name": owner } }]);
    client.post("/v1/pools/rooms/apply", json!({ "changes": changes, "force": true })).await;
    assert_ne!(locate("").await["owner"], owner);
    assert_eq!(locate("&epoch=1").await, before);
    let many = client.post("/v1/pools/rooms/locate", json!({ "keys": ["k"], "epoch": 1 })).await;
    assert_eq!(many["located"][0], before);
    for epoch in ["3", "99999999999999"] {
        let unknown = client.call("GET", &format!("/v1/pools/rooms/locate?key=k&epoch={epoch}")).send().await;
        assert_eq!(unknown.problem(), "unknown-epoch", "{epoch}");
    }
}

#[tokio::test]
async fn a_question_of_too_many_answers_is_refused() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let nodes: Vec<Value> = (0..200).map(|n| json!({ "add": { "name": format!("n{n}"), "address": "x:1" } })).collect();
    client.post("/v1/pools/rooms/apply", json!({ "changes": nodes })).await;
    let ask = |keys: usize| client.call("POST", "/v1/pools/rooms/locate").json(&json!({ "keys": vec!["k"; keys] }));
    let refused = ask(5_000).send().await;
    assert_eq!((refused.problem().as_str(), &refused.json()["field"]), ("refused", &json!("/keys")));
    assert!(refused.text.contains("at most 4926 keys"), "{}", refused.text);
    assert_eq!(ask(100).send().await.status, 200);
}

#[tokio::test]
async fn an_explanation_agrees_with_locate_and_shows_what_is_skipped() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    client.post("/v1/pools/rooms/apply", json!({ "changes": [{ "drain": { "name": "a" } }] })).await;
    let located = client.get("/v1/pools/rooms/locate?key=room%207").await;
    let explain = async |question: Value| client.post("/v1/pools/rooms/explain", question).await;
    let by_request = explain(json!({ "path": "/ws?room=room+7", "host": "chat", "headers": ["x-room: other"] })).await;
    for answer in [&by_request, &explain(json!({ "key": "room 7" })).await] {
        assert_eq!((&answer["owner"], &answer["hash"]), (&located["owner"], &located["hash"]), "{answer}");
        assert_eq!(answer["decision"], "owner");
        assert_eq!((&answer["skipped"][0]["name"], &answer["skipped"][0]["why"]), (&json!("a"), &json!("draining")));
    }
    assert_eq!(by_request["key_source"], "query:room");
    let keyless = explain(json!({ "path": "/" })).await;
    assert_eq!((&keyless["decision"], keyless.get("owner")), (&json!("no-key"), None));
    let bad = client.call("POST", "/v1/pools/rooms/explain").json(&json!({ "headers": ["no colon"] })).send().await;
    assert_eq!((bad.problem().as_str(), &bad.json()["field"]), ("bad-request", &json!("/headers/0")));
}

/// A proxy whose node `a` refuses connections and whose node `b` does not, with their listeners.
async fn with_an_ill_node(pool: &str) -> (Proxy, TcpListener) {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (a, b) = (listen(), listen());
    let config = format!(
        "listen = '127.0.0.1:0'\nworkers = 1\nadmin.listen = '127.0.0.1:0'\nstore.kind = 'memory'\n[[pool]]\nname = \
         'p'\nkey = 'query:k'\nhealth = {{ tcp = true, every = '10ms' }}\n{pool}\ninitial-nodes = [{{ name = 'a', \
         address = '{}' }}, {{ name = 'b', address = '{}' }}]",
        a.local_addr().unwrap(),
        b.local_addr().unwrap()
    );
    drop(a);
    (Proxy::start(&config).await, b)
}

#[tokio::test]
async fn an_explanation_says_that_the_owner_is_ill_and_what_becomes_of_its_keys() {
    for (pool, decision, served_by) in [
        ("on-down = 'spill'", "failover", Some("b")),
        ("on-down = 'hold 5s'", "held", Some("b")),
        ("on-down = 'fail'", "down", None),
    ] {
        let (proxy, _b) = with_an_ill_node(pool).await;
        let client = proxy.client();
        let mut owned = (0..).map(|number| json!({ "key": format!("key-{number}") }));
        // A new node counts as well until its first check.
        let answer = loop {
            let question = owned.next().unwrap();
            let answer = client.post("/v1/pools/p/explain", question).await;
            if answer["owner"] == "a" && answer["decision"] != "owner" {
                break answer;
            }
            assert!(answer["served_by"].is_string(), "{answer}");
        };
        assert_eq!(
            (answer["decision"].as_str(), answer["served_by"].as_str()),
            (Some(decision), served_by),
            "{answer}"
        );
        assert_eq!(answer["candidates"][0]["ill"], "check: connection refused", "{answer}");
        assert!(answer["why"].as_str().unwrap().starts_with("node a owns the key and is down"), "{answer}");
    }
}

#[tokio::test]
async fn the_ring_is_numbers_or_a_picture() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let ring = client.get("/v1/pools/rooms/ring").await;
    assert_eq!(ring["points"], 512 * 4);
    let sum =
        |field: &str| ring["nodes"].as_array().unwrap().iter().map(|node| node[field].as_f64().unwrap()).sum::<f64>();
    assert!((sum("share") - 1.0).abs() < 1e-9 && (sum("entitlement") - 1.0).abs() < 1e-9, "{ring}");
    let arcs = ring["arcs"].as_array().unwrap();
    assert!((100..=1024).contains(&arcs.len()), "{}", arcs.len());
    assert!(arcs.is_sorted_by_key(|arc| arc["start"].as_str().unwrap()));
    let picture = client.call("GET", "/v1/pools/rooms/ring").header("accept", "image/svg+xml").send().await;
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/svg+xml"));
    assert!(
        picture.text.contains("<title id=\"title\">Ownership of pool rooms at epoch 1</title>"),
        "{}",
        picture.text
    );
    let pieces = ["<path d=\"M", "<path class=\"gap\""].map(|piece| picture.text.matches(piece).count());
    assert_eq!(pieces, [6, 3], "a sector, a part of the key space and a gap for each node: {}", picture.text);
}

#[tokio::test]
async fn a_pool_that_does_not_exist_is_guessed() {
    let proxy = Proxy::start(ONE_POOL).await;
    let unknown = proxy.client().call("GET", "/v1/pools/romms").send().await;
    assert_eq!(unknown.problem(), "unknown-pool");
    assert!(unknown.text.contains("did you mean `rooms`?"), "{}", unknown.text);
}
