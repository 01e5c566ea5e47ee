//! Stories of who may do what: tokens, roles, pages of other sites, and sockets.

use crate::ONE_POOL;
use crate::client::Call;
use crate::client::Client;
use crate::client::Directory;
use crate::client::Proxy;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

fn with_admin(lines: &str) -> String {
    ONE_POOL.replace("listen = \"127.0.0.1:0\"", lines)
}

fn write(client: &Client) -> Call<'_> {
    client.call("PATCH", "/v1/pools/rooms/nodes/a").json(&json!({ "weight": 2 }))
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_set() {
    let directory = Directory::new();
    directory.write("operate", "\n operate-secret \n");
    directory.write("read", "read-secret");
    let config = "listen = \"127.0.0.1:0\"\ntoken-file = \"DIR/operate\"\nread-token-file = \"DIR/read\"";
    let proxy = Proxy::start_in(directory, &with_admin(config)).await.unwrap();
    let (nobody, reader) = (proxy.client(), proxy.client().with_token("read-secret"));
    let operator = proxy.client().with_token("operate-secret");
    for path in ["/v1/pools", "/v1/status", "/metrics", "/openapi.json", "/nowhere"] {
        let refused = nobody.call("GET", path).send().await;
        assert_eq!(
            (refused.problem().as_str(), refused.header("www-authenticate")),
            ("unauthorized", "Bearer"),
            "{path}"
        );
        assert!(!refused.text.contains("secret"), "{}", refused.text);
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(nobody.call("GET", path).send().await.status, 200, "{path}");
    }
    reader.get("/v1/pools").await;
    reader.post("/v1/pools/rooms/plan", json!({ "changes": [] })).await;
    assert_eq!(reader.call("GET", "/metrics").send().await.status, 200);
    assert_eq!(write(&reader).send().await.problem(), "forbidden");
    assert_eq!(write(&operator.with_token("operate-secre")).send().await.problem(), "unauthorized");
    let anywhere = write(&operator).header("host", "proxy.example.com").send().await;
    assert_eq!(anywhere.status, 200, "a token proves that no page sent it: {}", anywhere.text);
}

#[tokio::test]
async fn a_token_file_without_a_token_is_an_error_at_start() {
    for (text, mistake) in
        [(Some(" \n"), "is empty"), (Some("two words"), "holds white space"), (None, "cannot read the token file")]
    {
        let directory = Directory::new();
        text.into_iter().for_each(|text| drop(directory.write("token", text)));
        let config = with_admin("listen = \"127.0.0.1:0\"\ntoken-file = \"DIR/token\"");
        let error = Proxy::start_in(directory, &config).await.err().unwrap_or_default();
        assert!(error.contains(mistake), "{text:?}: {error}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_cannot_write() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    for (host, origin, kind) in [
        ("evil.example.com", None, "foreign-host"),
        ("localhost.evil.example.com:9080", None, "foreign-host"),
        ("localhost", Some("http://evil.example.com"), "foreign-origin"),
        ("localhost", Some("null"), "foreign-origin"),
    ] {
        let mut call = write(&client).header("host", host);
        if let Some(origin) = origin {
            call = call.header("origin", origin);
        }
        assert_eq!(call.send().await.problem(), kind, "{host} {origin:?}");
    }
    let no_json = write(&client).header("content-type", "text/plain").send().await;
    assert_eq!(no_json.problem(), "media-type");
    assert_eq!(client.get("/v1/pools/rooms").await["epoch"], 1);
    let own_page =
        write(&client).header("host", &client.address).header("origin", &format!("http://{}", client.address));
    assert_eq!(own_page.send().await.status, 200);
}

#[tokio::test]
async fn an_actor_must_be_printable() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let refused = write(&client).header("x-ringway-actor", &"x".repeat(129)).send().await;
    assert_eq!(refused.problem(), "bad-request");
    assert_eq!(write(&client).header("x-ringway-actor", "ci job 7").send().await.status, 200);
    let status = client.get("/v1/status").await;
    assert_eq!(status["pools"][0]["last_change"]["actor"], "admin:ci job 7");
}

#[tokio::test]
async fn a_reason_must_fit_a_line() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    for reason in ["x".repeat(501), "two\nlines".to_owned()] {
        let body = json!({ "changes": [], "reason": reason });
        let refused = client.call("POST", "/v1/pools/rooms/apply").json(&body).send().await;
        assert_eq!((refused.problem().as_str(), &refused.json()["field"]), ("bad-request", &json!("/reason")));
    }
}

#[tokio::test]
async fn a_unix_socket_serves_its_group_and_goes_with_the_proxy() {
    let directory = Directory::new();
    let path = directory.path().join("admin.sock");
    // What a killed proxy leaves behind: a socket that nobody listens on.
    drop(UnixListener::bind(&path).unwrap());
    let proxy = Proxy::start_in(directory, &with_admin("listen = \"unix:DIR/admin.sock\"")).await.unwrap();
    let client = proxy.client();
    assert_eq!(client.address, format!("unix:{}", path.display()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let written = write(&client).header("host", "whatever").send().await;
    assert_eq!(written.status, 200, "{}", written.text);
    assert_eq!(client.get("/v1/status").await["pools"][0]["last_change"]["actor"], "admin-socket");
    let Proxy { app, directory } = proxy;
    app.stop(std::future::ready(())).await;
    assert!(!path.exists());
    drop(directory);
}

#[tokio::test]
async fn a_socket_in_use_is_left_alone() {
    let directory = Directory::new();
    let path = directory.path().join("admin.sock");
    let _other = UnixListener::bind(&path).unwrap();
    let error = Proxy::start_in(directory, &with_admin("listen = \"unix:DIR/admin.sock\"")).await.err();
    assert!(error.as_deref().unwrap_or_default().contains("another process listens on it"), "{error:?}");
}

#[tokio::test]
async fn the_metrics_listener_serves_metrics_and_nothing_else() {
    let directory = Directory::new();
    directory.write("token", "secret");
    let config = "listen = \"127.0.0.1:0\"\ntoken-file = \"DIR/token\"\n[metrics]\nlisten = \"127.0.0.1:0\"";
    let proxy = Proxy::start_in(directory, &with_admin(config)).await.unwrap();
    let address = proxy.app.addresses().metrics.clone().unwrap();
    let metrics = Client { address, ..proxy.client() };
    let reply = metrics.call("GET", "/metrics").send().await;
    assert!(reply.text.contains("ringway_ring_epoch{pool=\"rooms\"} 1"), "{}", reply.text);
    for path in ["/v1/pools", "/healthz", "/"] {
        assert_eq!(metrics.call("GET", path).send_unchecked().await.problem(), "not-found", "{path}");
    }
    assert_eq!(metrics.call("POST", "/metrics").send().await.problem(), "method-not-allowed");
}

#[tokio::test]
async fn no_write_puts_a_node_where_none_may_be() {
    let proxy = Proxy::start(ONE_POOL).await;
    let client = proxy.client();
    let own = proxy.app.addresses().http[0].to_string();
    for (address, word) in [
        ("169.254.169.254:80", "link-local"),
        ("[::ffff:169.254.169.254]:80", "link-local"),
        ("0.0.0.0:80", "unspecified"),
        ("224.0.0.1:80", "multicast"),
        (own.as_str(), "where Ringway itself listens"),
        (client.address.as_str(), "where Ringway itself listens"),
    ] {
        let node = json!({ "name": "x", "address": address });
        let add = json!({ "changes": [{ "remove": { "name": "a" } }, { "add": node }], "force": true });
        let plan = json!({ "changes": [{ "add": node }] });
        for (method, target, body, field) in [
            ("POST", "/v1/pools/rooms/apply", &add, "/changes/1/add/address"),
            ("POST", "/v1/pools/rooms/apply?dry-run", &add, "/changes/1/add/address"),
            ("POST", "/v1/pools/rooms/plan", &plan, "/changes/0/add/address"),
            ("PUT", "/v1/pools/rooms/nodes/x", &json!({ "address": address }), "/address"),
            ("PUT", "/v1/pools/rooms/nodes/x?dry-run", &json!({ "address": address }), "/address"),
            ("PATCH", "/v1/pools/rooms/nodes/a?force", &json!({ "address": address }), "/address"),
        ] {
            let refused = client.call(method, target).json(body).send().await;
            assert_eq!(refused.problem(), "refused", "{method} {target} {address}");
            let problem = refused.json();
            assert_eq!(problem["field"], field, "{method} {target} {address}");
            assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
        }
    }
    assert_eq!(client.get("/v1/pools/rooms").await["epoch"], 1);
}

#[tokio::test]
async fn a_list_of_networks_narrows_where_nodes_may_be_from_a_reload_on() {
    let proxy = Proxy::start(ONE_POOL).await.run();
    let client = &proxy.client;
    client
        .post(
            "/v1/pools/rooms/apply",
            json!({ "changes": [
        { "address": { "name": "a", "address": "192.0.2.1:80" } }
    ] }),
        )
        .await;
    client
        .post(
            "/v1/pools/rooms/apply",
            json!({ "changes": [
        { "address": { "name": "a", "address": "10.0.0.1:80" } }
    ] }),
        )
        .await;
    let narrow = format!("allowed-node-networks = [\"10.0.0.0/8\"]\n{ONE_POOL}");
    proxy.directory.write("ringway.toml", &narrow);
    client.post("/v1/reload", json!({})).await;
    for target in ["/v1/pools/rooms/rollback", "/v1/pools/rooms/rollback?dry-run"] {
        let refused = client.call("POST", target).json(&json!({ "to_epoch": 2 })).send().await;
        assert_eq!(refused.problem(), "refused", "{target}");
        assert!(refused.text.contains("192.0.2.1:80 is in none of"), "{}", refused.text);
    }
    client.post("/v1/pools/rooms/rollback", json!({ "to_epoch": 1 })).await;
    proxy.directory.write("ringway.toml", &narrow.replace("10.0.0.0/8", "10.0.0.0/31"));
    let refused = client.call("POST", "/v1/reload").json(&json!({})).send().await;
    assert_eq!(refused.problem(), "config");
    assert!(refused.text.contains("node `b` may not be there: 10.0.0.2:80 is in none of"), "{}", refused.text);
}
