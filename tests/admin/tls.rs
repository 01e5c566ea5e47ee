//! Stories of operators who speak TLS: who is let in by a certificate, what they may do and what they are called.

use crate::ONE_POOL;
use crate::audit::Log;
use crate::authority::Ca;
use crate::authority::Identity;
use crate::client::Call;
use crate::client::Client;
use crate::client::Directory;
use crate::client::Proxy;
use crate::tls_client;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const TLS: &str =
    "tls = { certificate = \"DIR/admin.pem\", key = \"DIR/admin.key\", client-ca = \"DIR/operators.pem\" }";

/// Two authorities: that of the proxy, and that of its operators.
struct Authorities {
    proxy: Ca,
    operators: Ca,
}

impl Authorities {
    fn new() -> Authorities {
        Authorities { proxy: Ca::new(), operators: Ca::new() }
    }

    /// A directory with all files that [`TLS`] names.
    fn directory(&self) -> Directory {
        let directory = Directory::new();
        self.certify(&directory);
        directory.write("operators.pem", &self.operators.certificate.pem());
        directory
    }

    /// Gives the proxy another certificate.
    fn certify(&self, directory: &Directory) {
        let identity = self.proxy.issue(&["admin.test"]);
        directory.write("admin.pem", &identity.certificate);
        directory.write("admin.key", &identity.key);
    }

    /// The client as somebody with this certificate.
    fn client(&self, client: &Client, identity: Option<&Identity>) -> Client {
        client.with_tls(tls_client::client(&self.proxy, identity, &[]))
    }

    /// The client as an operator.
    fn operator(&self, client: &Client) -> Client {
        self.client(client, Some(&self.operators.issue(&[])))
    }
}

/// The config of a pool whose admin listener has these lines besides `listen`.
fn with_admin(lines: &str) -> String {
    ONE_POOL.replace("listen = \"127.0.0.1:0\"\n    [store]", &format!("listen = \"127.0.0.1:0\"\n{lines}\n[store]"))
}

fn write(client: &Client) -> Call<'_> {
    client.call("PATCH", "/v1/pools/rooms/nodes/a").json(&json!({ "weight": 2 }))
}

/// Why a client gets no answer.
async fn refusal(client: &Client) -> String {
    match client.call("GET", "/healthz").try_send().await {
        Ok(reply) => panic!("it is answered: {reply:?}"),
        Err(error) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{error}: {cause}")
        }
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_certificate_of_the_ca() {
    let all = Authorities::new();
    let proxy = Proxy::start_in(all.directory(), &with_admin(TLS)).await.unwrap();
    let client = proxy.client();
    let nobody = refusal(&all.client(&client, None)).await;
    assert!(nobody.contains("CertificateRequired"), "{nobody}");
    let stranger = refusal(&all.client(&client, Some(&Ca::new().issue(&[])))).await;
    assert!(stranger.contains("UnknownCA") || stranger.contains("DecryptError"), "{stranger}");
    let own_ca = refusal(&all.client(&client, Some(&all.proxy.issue(&[])))).await;
    assert!(own_ca.contains("UnknownCA") || own_ca.contains("DecryptError"), "{own_ca}");
    let mut plain = TcpStream::connect(&client.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(all.operator(&client).get("/v1/pools/rooms").await["epoch"], 1);
}

#[tokio::test]
async fn who_has_a_certificate_operates_without_a_token_and_is_named() {
    let log = Log::begin(true);
    let all = Authorities::new();
    let proxy = Proxy::start_in(all.directory(), &with_admin(TLS)).await.unwrap();
    let operator = all.operator(&proxy.client());
    let anywhere = write(&operator).header("host", "admin.test:9443").send().await;
    assert_eq!(anywhere.status, 200, "the handshake has said which proxy this is: {}", anywhere.text);
    assert_eq!(write(&operator).header("x-ringway-actor", "ci job 7").send().await.status, 200);
    assert_eq!(write(&operator).header("origin", "http://evil.example").send().await.problem(), "foreign-origin");
    assert_eq!(write(&operator).header("sec-fetch-site", "cross-site").send().await.problem(), "foreign-origin");
    let history = operator.get("/v1/pools/rooms/events").await;
    assert_eq!(history["events"][1]["actor"], "admin-cert:CN=story", "{history}");
    let told: Vec<Value> = log.lines();
    let fields = |line: &Value| ["certificate", "role", "actor"].map(|field| line[field].clone());
    assert_eq!(fields(&told[0]), [json!("CN=story"), json!("operate by certificate"), json!("admin-cert:CN=story")]);
    assert_eq!(told[1]["actor"], "admin-cert:CN=story (ci job 7)");
    assert!(told.iter().all(|line| line["peer"].as_str().unwrap().starts_with("127.0.0.1:")), "{told:#?}");
    assert_eq!(told.len(), 4, "{told:#?}");
}

#[tokio::test]
async fn where_tokens_are_set_they_decide_what_a_certificate_may_do() {
    let all = Authorities::new();
    let directory = all.directory();
    directory.write("operate", "operate-secret");
    directory.write("read", "read-secret");
    let lines = format!("{TLS}\ntoken-file = \"DIR/operate\"\nread-token-file = \"DIR/read\"");
    let proxy = Proxy::start_in(directory, &with_admin(&lines)).await.unwrap();
    let client = proxy.client();
    let certified = all.operator(&client);
    assert_eq!(write(&certified).send().await.problem(), "unauthorized");
    assert_eq!(write(&certified.with_token("wrong-secret")).send().await.problem(), "unauthorized");
    let reader = certified.with_token("read-secret");
    assert_eq!(reader.call("GET", "/metrics").send().await.status, 200);
    assert_eq!(write(&reader).send().await.problem(), "forbidden");
    assert_eq!(write(&certified.with_token("operate-secret")).send().await.status, 200);
    let uncertified = refusal(&all.client(&client, None).with_token("operate-secret")).await;
    assert!(uncertified.contains("CertificateRequired"), "{uncertified}");
}

#[tokio::test]
async fn without_a_client_ca_tls_lets_in_who_has_a_token() {
    let all = Authorities::new();
    let directory = all.directory();
    directory.write("operate", "operate-secret");
    let lines = "tls = { certificate = \"DIR/admin.pem\", key = \"DIR/admin.key\" }\ntoken-file = \"DIR/operate\"";
    let proxy = Proxy::start_in(directory, &with_admin(lines)).await.unwrap();
    let anybody = all.client(&proxy.client(), None);
    assert_eq!(write(&anybody).send().await.problem(), "unauthorized");
    assert_eq!(write(&anybody.with_token("operate-secret")).send().await.status, 200);
    let elsewhere = proxy.client().with_tls(tls_client::client(&Ca::new(), None, &[]));
    let untrusted = refusal(&elsewhere).await;
    assert!(untrusted.contains("invalid peer certificate"), "{untrusted}");
}

#[tokio::test]
async fn other_machines_need_a_token_or_a_certificate() {
    let all = Authorities::new();
    let everywhere = |lines: &str| {
        with_admin(lines).replacen("[admin]\n    listen = \"127.0.0.1:0\"", "[admin]\nlisten = \"0.0.0.0:0\"", 1)
    };
    let tls_alone = "tls = { certificate = \"DIR/admin.pem\", key = \"DIR/admin.key\" }";
    for lines in ["", tls_alone] {
        let error = Proxy::start_in(all.directory(), &everywhere(lines)).await.err().unwrap_or_default();
        assert!(error.contains("neither a token nor a client certificate is asked for"), "{lines:?}: {error}");
    }
    let proxy = Proxy::start_in(all.directory(), &everywhere(TLS)).await.unwrap();
    let client = proxy.client();
    assert!(client.address.starts_with("0.0.0.0:"), "{}", client.address);
    assert_eq!(all.operator(&client).get("/v1/pools/rooms").await["epoch"], 1);
}

#[tokio::test]
async fn a_reload_renews_certificates_whole_or_not_at_all() {
    let all = Authorities::new();
    let running = Proxy::start_in(all.directory(), &with_admin(TLS)).await.unwrap().run();
    let (client, directory) = (&running.client, &running.directory);
    let operator = all.operator(client);
    let reload = async |by: &Client| by.call("POST", "/v1/reload").json(&json!({})).send().await;
    let renewed = Authorities::new();
    directory.write("admin.pem", &renewed.proxy.issue(&["admin.test"]).certificate);
    let refused = reload(&operator).await;
    assert_eq!(refused.problem(), "config");
    assert!(refused.text.contains("admin.key` is not that of the certificate"), "{}", refused.text);
    renewed.certify(directory);
    directory.write("operators.pem", "");
    assert!(reload(&operator).await.text.contains("operators.pem` has no certificate"));
    assert_eq!(operator.get("/v1/pools/rooms").await["epoch"], 1, "what was in force goes on");
    directory.write("operators.pem", &renewed.operators.certificate.pem());
    assert_eq!(reload(&operator).await.status, 200);
    let untrusted = refusal(&operator).await;
    assert!(untrusted.contains("invalid peer certificate"), "the proxy has another certificate: {untrusted}");
    let of_before = renewed.client(client, Some(&all.operators.issue(&[])));
    assert!(refusal(&of_before).await.contains("alert"), "the CA is another one");
    assert_eq!(renewed.operator(client).get("/v1/pools/rooms").await["epoch"], 1);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_an_error_at_start_and_are_named() {
    let all = Authorities::new();
    for (file, text, why) in [
        ("admin.pem", "", "admin.pem` has no certificate"),
        ("admin.key", "", "admin.key` has no private key"),
        ("operators.pem", "", "operators.pem` has no certificate"),
    ] {
        let directory = all.directory();
        directory.write(file, text);
        let error = Proxy::start_in(directory, &with_admin(TLS)).await.err().unwrap_or_default();
        assert!(error.starts_with("[admin]: the ") && error.contains(why), "{file}: {error}");
    }
}
