//! Stories of the audit: every write, and every one that was not made, leaves one line that says who, what, why and
//! what came of it.

use crate::ONE_POOL;
use crate::client::Call;
use crate::client::Directory;
use crate::client::Proxy;
use ringway::section::is_printable;
use serde_json::Value;
use serde_json::json;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

/// What is logged on this thread, which is that of the API, until it is dropped.
pub(crate) struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    _log: DefaultGuard,
    /// With one log alone, threads without any would decide which lines are written at all.
    _other: Dispatch,
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn begin(is_json: bool) -> Log {
        let _other = Dispatch::new(tracing_subscriber::registry());
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Sink(Arc::clone(&written));
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone());
        let guard = match is_json {
            true => tracing::subscriber::set_default(log.json().finish()),
            false => tracing::subscriber::set_default(log.finish()),
        };
        Log { written, _log: guard, _other }
    }

    fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }

    /// The fields of the lines of the audit so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["fields"].clone()).filter(|fields| fields["message"] == "admin write").collect()
    }
}

async fn guarded() -> Proxy {
    let directory = Directory::new();
    directory.write("operate", "operate-secret");
    directory.write("read", "read-secret");
    let tokens = "listen = \"127.0.0.1:0\"\ntoken-file = \"DIR/operate\"\nread-token-file = \"DIR/read\"";
    Proxy::start_in(directory, &ONE_POOL.replace("listen = \"127.0.0.1:0\"", tokens)).await.unwrap()
}

#[tokio::test]
async fn every_write_and_every_refusal_leaves_one_line() {
    let log = Log::begin(true);
    let proxy = guarded().await;
    let operator = proxy.client().with_token("operate-secret");
    let (reader, nobody) = (proxy.client().with_token("read-secret"), proxy.client());
    let stranger = proxy.client().with_token("wrong-secret");
    const NODE: &str = "/v1/pools/rooms/nodes/a";
    let weight = json!({ "weight": 2 });
    let patch = |query: &str| operator.call("PATCH", &format!("{NODE}{query}")).header("x-ringway-actor", "alice");
    let apply = |query: &str, body: &Value| operator.call("POST", &format!("/v1/pools/rooms/apply{query}")).json(body);
    let ghost = json!({ "changes": [{ "remove": { "name": "ghost" } }], "reason": "tidy up" });
    let all = json!({ "changes": [{ "remove": { "name": "a" } }, { "remove": { "name": "c" } }], "reason": "why not" });
    let cases: Vec<(Call<'_>, u16, &str, &str)> = vec![
        (patch("?reason=because").json(&weight), 200, "operate", ""),
        (patch("?dry-run&reason=because").json(&weight), 200, "operate", ""),
        (apply("", &ghost), 422, "operate", "refused: "),
        (apply("?dry-run", &ghost), 422, "operate", "refused: "),
        (apply("", &all), 422, "operate", "unsafe: "),
        (apply("", &json!({ "changes": [], "if_epoch": 1 })), 412, "operate", "stale: "),
        (
            operator.call("POST", "/v1/pools/rooms/rollback").json(&json!({ "to_epoch": 9 })),
            422,
            "operate",
            "refused: ",
        ),
        (operator.call("DELETE", "/v1/pools/rooms/nodes/ghost"), 404, "operate", "unknown-node: "),
        (operator.call("PATCH", "/v1/pools/nowhere/nodes/a").json(&weight), 404, "operate", "unknown-pool: "),
        (patch("").json(&weight).header("content-type", "text/plain"), 415, "operate", "media-type: "),
        (patch("").text("{"), 400, "operate", "bad-request: "),
        (patch("?force=perhaps").json(&weight), 400, "operate", "bad-request: "),
        (patch("").json(&weight).header("origin", "http://evil.example"), 403, "operate", "foreign-origin: "),
        (reader.call("PATCH", NODE).json(&weight), 403, "read", "forbidden: "),
        (nobody.call("PATCH", NODE).json(&weight), 401, "none", "unauthorized: "),
        (stranger.call("PATCH", NODE).json(&weight), 401, "none", "unauthorized: "),
    ];
    for (number, (call, status, role, why)) in cases.into_iter().enumerate() {
        let (method, path) = (call.method.clone(), call.target.split('?').next().unwrap().to_owned());
        let shown = format!("{method} {} {:?}", call.target, call.headers);
        assert_eq!(call.send_unchecked().await.status, status, "{shown}");
        let lines = log.lines();
        assert_eq!(lines.len(), number + 1, "{shown}: {lines:#?}");
        let line = &lines[number];
        assert_eq!((&line["status"], &line["role"]), (&json!(status), &json!(role)), "{shown}: {line}");
        assert_eq!((&line["method"], &line["path"]), (&json!(method), &json!(path)), "{line}");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        let said = line["why"].as_str().unwrap_or_default();
        assert!(said.starts_with(why) && said.is_empty() == why.is_empty(), "{shown}: {line}");
    }
    let lines = log.lines();
    assert_eq!((&lines[0]["actor"], &lines[0]["reason"]), (&json!("admin:alice"), &json!("because")), "{}", lines[0]);
    assert_eq!((&lines[0]["epoch_before"], &lines[0]["epoch"]), (&json!(1), &json!(2)), "{}", lines[0]);
    assert_eq!((&lines[1]["dry_run"], &lines[1].get("epoch")), (&json!(true), &None), "{}", lines[1]);
    assert!(lines[2..5].iter().all(|line| line["pool"] == "rooms" && line["reason"].is_string()), "{lines:#?}");
    assert!(!log.text().contains("-secret"), "{}", log.text());
}

#[tokio::test]
async fn questions_leave_no_line() {
    let log = Log::begin(true);
    let proxy = guarded().await;
    let reader = proxy.client().with_token("read-secret");
    reader.post("/v1/pools/rooms/plan", json!({ "changes": [] })).await;
    reader.get("/v1/pools/rooms/locate?key=k").await;
    assert_eq!(proxy.client().call("GET", "/v1/pools").send().await.status, 401);
    assert_eq!(log.lines(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_reload_leaves_a_line_whatever_came_of_it() {
    let log = Log::begin(true);
    let proxy = Proxy::start(ONE_POOL).await.run();
    let reload = || proxy.client.call("POST", "/v1/reload").json(&json!({})).send();
    assert_eq!(reload().await.status, 200);
    proxy.directory.write("ringway.toml", "listen = 7");
    assert_eq!(reload().await.problem(), "config");
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!((&lines[0]["status"], &lines[0]["role"]), (&json!(200), &json!("operate without a token")));
    assert_eq!(lines[1]["status"], 422);
    assert!(lines[1]["why"].as_str().unwrap().starts_with("config: "), "{}", lines[1]);
}

#[tokio::test]
async fn on_a_unix_socket_the_user_is_named() {
    let log = Log::begin(true);
    let directory = Directory::new();
    let uid = fs::metadata(directory.path()).unwrap().uid();
    let config = ONE_POOL.replace("listen = \"127.0.0.1:0\"", "listen = \"unix:DIR/admin.sock\"");
    let proxy = Proxy::start_in(directory, &config).await.unwrap();
    let client = proxy.client();
    client.call("PATCH", "/v1/pools/rooms/nodes/a").json(&json!({ "weight": 2 })).send().await;
    assert_eq!(log.lines()[0]["peer"], format!("uid {uid}"), "{}", log.text());
}

/// Sends bytes, and returns what comes until the end.
async fn send(proxy: &Proxy, request: &str) -> String {
    let mut stream = TcpStream::connect(&proxy.client().address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end may be a reset, when not everything was read.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn nothing_that_terminals_act_on_gets_into_the_log() {
    let nasty = ["\u{1b}[31m", "\u{7f}", "\u{80}\u{9b}31m", "\u{2028}\u{2029}", "\u{202e}\u{2066}", "\u{200b}\u{feff}"];
    for is_json in [true, false] {
        let log = Log::begin(is_json);
        let proxy = Proxy::start(ONE_POOL).await;
        for text in nasty {
            let escaped: String = text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
            let bodies = [
                format!("{{\"changes\":[],\"reason\":\"{escaped}\"}}"),
                format!("{{\"{escaped}\":1}}"),
                format!("{{\"changes\":[{{\"remove\":{{\"name\":\"{escaped}\"}}}}]}}"),
            ];
            let head = |target: &str, fields: &str, length: usize| {
                format!(
                    "POST {target} HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
                     Content-Length: {length}\r\n{fields}\r\n"
                )
            };
            for body in &bodies {
                let request = head("/v1/pools/rooms/apply", "Host: localhost\r\n", body.len()) + body;
                assert!(send(&proxy, &request).await.starts_with("HTTP/1.1 4"), "{request:?}");
            }
            for (target, fields) in [
                (format!("/v1/pools/{text}/apply"), "Host: localhost\r\n".to_owned()),
                ("/v1/pools/rooms/apply".to_owned(), format!("Host: localhost\r\nX-Ringway-Actor: {text}\r\n")),
                ("/v1/pools/rooms/apply".to_owned(), format!("Host: {text}\r\n")),
                ("/v1/pools/rooms/apply".to_owned(), format!("Host: localhost\r\nOrigin: http://{text}\r\n")),
            ] {
                let answer = send(&proxy, &head(&target, &fields, 0)).await;
                assert!(answer.starts_with("HTTP/1.1 4"), "{target:?} {fields:?}: {answer}");
            }
        }
        let written = log.text();
        assert!(written.matches("admin write").count() >= nasty.len() * 3, "{written}");
        let unprintable: Vec<&str> = written.lines().filter(|line| !line.chars().all(is_printable)).collect();
        assert!(unprintable.is_empty(), "{unprintable:#?}");
    }
}
