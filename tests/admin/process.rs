//! Stories of the process: status, readiness, reloads, file-owned pools, and requests that fit no operation.

use crate::ONE_POOL;
use crate::client::Proxy;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn the_status_shows_pools_and_their_nodes() {
    let proxy = Proxy::start(ONE_POOL).await;
    let status = proxy.client().get("/v1/status").await;
    assert_eq!(
        (&status["phase"], &status["workers"], &status["store"]),
        (&json!("running"), &json!(1), &json!("memory"))
    );
    assert_eq!(status["reload"]["successful"], true);
    let pool = &status["pools"][0];
    assert_eq!((&pool["pool"], &pool["owner"], &pool["epoch"]), (&json!("rooms"), &json!("store"), &json!(1)));
    assert_eq!(pool["last_change"]["actor"], "config");
    assert!(pool["imbalance_ratio"].as_f64().unwrap() >= 1.0, "{pool}");
    assert_eq!(pool["nodes"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_pool_of_the_file_is_changed_there_and_reloaded() {
    let file_owned = ONE_POOL.replace("initial-nodes", "nodes");
    let proxy = Proxy::start(&file_owned).await.run();
    let client = proxy.client.clone();
    let refused = client.call("DELETE", "/v1/pools/rooms/nodes/a").send().await;
    assert_eq!(refused.problem(), "owned-by-file");
    assert!(refused.text.contains("edit the file and reload"), "{}", refused.text);
    let stale = "\"9-0000000000000000\"";
    let refused = client.call("DELETE", "/v1/pools/rooms/nodes/a").header("if-match", stale).send().await;
    assert_eq!(refused.problem(), "owned-by-file", "a fresh ETag would not help either");
    let edited = file_owned.replace("{ name = \"a\", address = \"10.0.0.1:80\" },", "");
    proxy.directory.write("ringway.toml", &edited);
    assert_eq!(client.post("/v1/reload", json!({})).await, json!({ "warnings": [] }));
    let pool = client.get("/v1/pools/rooms").await;
    assert_eq!((&pool["epoch"], pool["nodes"].as_array().unwrap().len()), (&json!(2), 2));
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing_and_shows_them() {
    let proxy = Proxy::start(ONE_POOL).await.run();
    let client = proxy.client.clone();
    proxy.directory.write("ringway.toml", &ONE_POOL.replace("workers", "wrokers"));
    let refused = client.call("POST", "/v1/reload").json(&json!({})).send().await;
    assert_eq!((refused.status, refused.problem().as_str()), (422, "config"));
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("wrokers") && detail.contains("workers"), "{detail}");
    assert_eq!(client.get("/v1/status").await["reload"]["successful"], false);
}

#[tokio::test]
async fn a_file_that_differs_from_its_store_is_warned_about() {
    let proxy = Proxy::start(ONE_POOL).await.run();
    let client = proxy.client.clone();
    proxy.directory.write("ringway.toml", &ONE_POOL.replace("weight = 2", "weight = 3"));
    let reloaded = client.post("/v1/reload", json!({})).await;
    let drift = client.get("/v1/status").await["pools"][0]["drift"].clone();
    assert!(drift.as_str().unwrap_or_default().contains("differ from the store"), "{drift}");
    assert_eq!(reloaded["warnings"], json!([drift]));
}

#[tokio::test]
async fn a_proxy_is_ready_while_it_runs_and_every_pool_has_a_node() {
    let config = ONE_POOL.replace("workers = 1", "workers = 1\ndrain-delay = \"10m\"");
    let proxy = Proxy::start(&config).await;
    let client = proxy.client();
    let ready = client.call("GET", "/readyz?verbose").send().await;
    assert_eq!((ready.status, ready.text.as_str()), (200, "[+] running ok\n[+] pool rooms ok\nready\n"));
    assert_eq!(client.call("GET", "/readyz").send().await.text, "ready\n");
    let drains = ["a", "b", "c"].map(|node| json!({ "drain": { "name": node } }));
    client.post("/v1/pools/rooms/apply", json!({ "changes": drains, "force": true })).await;
    let empty = client.call("GET", "/readyz").send().await;
    assert_eq!((empty.status, empty.text.lines().count()), (503, 2), "{}", empty.text);
    client.post("/v1/pools/rooms/rollback", json!({ "to_epoch": 1 })).await;
    assert_eq!(client.call("GET", "/readyz").send().await.status, 200);

    let (hurry, stopped) = proxy.begin_to_stop();
    while client.get("/v1/status").await["phase"] == "running" {
        tokio::task::yield_now().await;
    }
    let stopping = client.call("GET", "/readyz").send().await;
    assert_eq!(stopping.status, 503);
    assert!(stopping.text.starts_with("[-] running failed"), "{}", stopping.text);
    assert_eq!(client.call("GET", "/healthz").send().await.status, 200);
    let refused = client.call("DELETE", "/v1/pools/rooms/nodes/a").send().await;
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("stopping", "1"));
    hurry.send(()).unwrap();
    stopped.await.unwrap();
}

#[tokio::test]
async fn an_open_connection_does_not_hold_up_the_end() {
    let proxy = Proxy::start(ONE_POOL).await;
    let mut connection = TcpStream::connect(&proxy.client().address).await.unwrap();
    // Half a request: it never becomes one.
    connection.write_all(b"GET /v1/status HTTP/1.1\r\nhost: local").await.unwrap();
    let begun = std::time::Instant::now();
    proxy.app.stop(std::future::ready(())).await;
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let mut rest = Vec::new();
    // The answer of the server, if any, ends; an error ends it as well.
    drop(connection.read_to_end(&mut rest).await);
}

#[tokio::test]
async fn what_fits_no_operation_is_a_problem_too() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let nowhere = client.call("GET", "/v2/pools").send().await;
    assert_eq!((nowhere.status, nowhere.problem().as_str()), (404, "not-found"));
    let wrong = client.call("POST", "/v1/pools/rooms/nodes/a").send().await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (405, "method-not-allowed"));
    let mut allowed: Vec<_> = wrong.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH", "PUT"]);
    for (body, detail) in
        [("{", "EOF"), ("[]", "not a JSON object"), ("{\"changes\":[]} x", "trailing"), ("", "missing field")]
    {
        let bad = client.call("POST", "/v1/pools/rooms/apply").text(body).send().await;
        assert_eq!(bad.problem(), "bad-request", "{body}");
        assert!(bad.text.contains(detail), "{body}: {}", bad.text);
    }
    let unknown = client.call("GET", "/v1/pools/rooms/locate?key=k&epcoh=3").send().await;
    assert!(unknown.text.contains("epcoh"), "{}", unknown.text);
}
