//! Every operation of the description with every status that it documents: a status that nobody here knows how to
//! provoke is a failure, and so is a response that the description does not foresee.

use crate::client::Call;
use crate::client::Client;
use crate::client::Directory;
use crate::client::Proxy;
use crate::document::Document;
use crate::document::Operation;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Told in stories of their own: ten seconds of silence below, too many watchers in `news`, a full disk beside the real
/// binary (`tests/live`).
const NOT_PROVOKED: [u16; 3] = [408, 429, 507];

/// Tokens, a pool of the store, a pool of the file, and time to ask while the process ends.
const TOUR: &str = r#"
    listen = ["127.0.0.1:0"]
    workers = 1
    drain-delay = "10m"
    [admin]
    listen = "127.0.0.1:0"
    token-file = "DIR/operate"
    read-token-file = "DIR/read"
    [store]
    path = "DIR/store"
    [[pool]]
    name = "rooms"
    key = ["query:room", "header:x-room"]
    initial-nodes = [
      { name = "a", address = "10.0.0.1:80" },
      { name = "b", address = "10.0.0.2:80", weight = 10 },
      { name = "c", address = "10.0.0.3:80" },
    ]
    [[pool]]
    name = "pages"
    match = { path = "/pages/" }
    key = ["path"]
    nodes = [{ name = "a", address = "10.0.0.1:80" }, { name = "b", address = "10.0.0.2:80" }]
"#;

#[tokio::test]
async fn every_documented_status_is_answered_and_no_other() {
    let (running, stopping) = (start().await, start().await);
    let stopping_client = stopping.client().with_token("operate-secret");
    let (hurry, stopped) = stopping.begin_to_stop();
    wait_until_draining(&stopping_client).await;
    let running = running.run();
    let client = running.client.with_token("operate-secret");
    for operation in Document::of_the_api().await.operations() {
        for status in operation.statuses().into_iter().filter(|status| !NOT_PROVOKED.contains(status)) {
            let client = if status == 503 { &stopping_client } else { &client };
            let call = provoke(&running.directory, client, &operation.name, status).await;
            let (method, target) = (call.method.clone(), call.target.clone());
            let reply = call.send().await;
            assert_eq!(reply.status, status, "{method} {target} should get {status}: {}", reply.text);
            if status >= 400 && status != 503 {
                reply.problem();
            }
        }
    }
    hurry.send(()).unwrap();
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up_by_every_operation() {
    let proxy = start().await;
    let address = proxy.app.addresses().admin.clone();
    let mut silent = JoinSet::new();
    for operation in Document::of_the_api().await.operations() {
        if operation.statuses().contains(&408) {
            silent.spawn(promise_a_body(address.clone(), operation));
        }
    }
    assert!(!silent.is_empty(), "no operation documents 408");
    silent.join_all().await;
}

/// Announces a body, sends none and checks the answer.
async fn promise_a_body(address: String, operation: Operation<'static>) {
    let (method, template) = operation.name.split_once(' ').unwrap();
    let path = template.replace("{pool}", "rooms").replace("{node}", "b");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer operate-secret\r\n\
         Content-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{}: {reply:?}", operation.name));
    assert!(head.starts_with("HTTP/1.1 408 "), "{}: {reply}", operation.name);
    operation.check(408, "application/problem+json", body).unwrap_or_else(|why| panic!("{}: {why}", operation.name));
}

async fn start() -> Proxy {
    let directory = Directory::new();
    directory.write("operate", "  operate-secret\n");
    directory.write("read", "read-secret\n");
    Proxy::start_in(directory, TOUR).await.unwrap()
}

async fn wait_until_draining(client: &Client) {
    while client.call("GET", "/readyz").send().await.status != 503 {
        tokio::task::yield_now().await;
    }
}

/// A call of `operation` that should get `status`.
async fn provoke<'a>(directory: &Directory, client: &'a Client, operation: &str, status: u16) -> Call<'a> {
    let good = good(client, operation);
    let to = |pool: &str| {
        let target = good.target.replace("/rooms", pool).replace("=rooms", &pool.replace('/', "="));
        Call { target, ..good.clone() }
    };
    match status {
        200 | 503 => good,
        201 => Call { target: good.target.replace("/b", "/new"), ..good },
        400 => bad(good),
        401 => good.header("authorization", "Bearer wrong"),
        403 => good.header("origin", "http://evil.example"),
        404 => to("/romms"),
        409 => in_earnest(to("/pages")),
        412 if good.target.contains("/nodes/") => good.header("if-match", "\"1-0000000000000000\""),
        412 => with(good, "if_epoch", json!(4711)),
        413 => Call { body: vec![b' '; (1 << 20) + 1].into(), ..good },
        415 => good.header("content-type", "text/plain"),
        422 => refused(directory, good),
        _ => panic!("nobody knows how to make {operation} answer {status}"),
    }
}

/// A call that is answered with 200.
fn good<'a>(client: &'a Client, operation: &str) -> Call<'a> {
    let (method, template) = operation.split_once(' ').unwrap();
    let path = template.replace("{pool}", "rooms").replace("{node}", "b");
    let call = client.call(method, &path);
    let zone = |zone: &str| json!({ "changes": [{ "zone": { "name": "a", "zone": zone } }] });
    match operation {
        "PUT /v1/pools/{pool}/nodes/{node}" => call.json(&json!({ "address": "10.0.0.2:80", "weight": 10 })),
        "PATCH /v1/pools/{pool}/nodes/{node}" => call.json(&json!({ "zone": null })),
        "DELETE /v1/pools/{pool}/nodes/{node}" => client.call(method, &format!("{path}?dry-run")),
        "GET /v1/pools/{pool}/locate" => client.call(method, &format!("{path}?key=k")),
        "POST /v1/pools/{pool}/locate" => call.json(&json!({ "keys": ["k"] })),
        "GET /v1/events" => client.call(method, "/v1/events?pool=rooms&status=1s"),
        "POST /v1/pools/{pool}/explain" => call.json(&json!({ "path": "/?room=1" })),
        "POST /v1/pools/{pool}/plan" => call.json(&zone("p")),
        "POST /v1/pools/{pool}/apply" => call.json(&zone("q")),
        "POST /v1/pools/{pool}/rollback" => call.json(&json!({ "to_epoch": 1 })),
        "POST /v1/reload" => call.json(&json!({})),
        _ if method == "GET" => call,
        _ => panic!("nobody knows how to call {operation}"),
    }
}

fn in_earnest(call: Call<'_>) -> Call<'_> {
    Call { target: call.target.replace("?dry-run", ""), ..call }
}

/// The same call with a mistake in its body, else in its query.
fn bad(call: Call<'_>) -> Call<'_> {
    if call.body.is_empty() {
        let joint = if call.target.contains('?') { '&' } else { '?' };
        Call { target: format!("{}{joint}surprise=1", call.target), ..call }
    } else {
        with(call, "surprise", json!(1))
    }
}

/// The same call with one more member in its body.
fn with<'a>(call: Call<'a>, name: &str, value: Value) -> Call<'a> {
    let mut body: Value = serde_json::from_slice(&call.body).unwrap();
    body[name] = value;
    call.json(&body)
}

/// The same call with something in it that can be read but not done.
fn refused<'a>(directory: &Directory, call: Call<'a>) -> Call<'a> {
    let last = call.target.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    match (call.method.as_str(), last.as_str()) {
        ("PUT" | "PATCH", _) => with(call, "weight", json!(1001)),
        // Node b has most of the weight, so that taking it out is unsafe.
        ("DELETE", _) => in_earnest(call),
        (_, "locate") => with(call, "keys", json!(vec!["k"; 10_001])),
        (_, "plan" | "apply") => with(call, "changes", json!([{ "remove": { "name": "nobody" } }])),
        (_, "rollback") => with(call, "to_epoch", json!(4711)),
        (_, "reload") => {
            directory.write("ringway.toml", "listne = 1");
            call
        }
        _ => panic!("nobody knows how {} is refused", call.target),
    }
}
