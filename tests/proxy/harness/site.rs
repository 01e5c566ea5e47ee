//! A proxy that speaks TLS to its clients.

use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::tls;
use crate::harness::tls::Ca;
use crate::harness::tls::Files;
use crate::harness::tls::Identity;
use crate::harness::tls_client;
use crate::harness::wire::Wire;
use crate::harness::within;
use rustls::ClientConfig;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

const LISTEN: &str = "listen = [{ address = \"127.0.0.1:0\", tls = true }]";
pub(crate) const FAILURES: &str = "ringway_tls_handshake_failures_total";

/// A listener with TLS, `[tls]` being followed by `settings`.
pub(crate) fn setup(nodes: &[&Node], settings: &str) -> Setup {
    Setup::of(nodes).server(LISTEN).server("[tls]").server(settings)
}

/// The settings of certificates.
pub(crate) fn certificates(all: &[&str]) -> String {
    all.iter().map(|settings| format!("[[tls.certificate]]\n{settings}\n")).collect()
}

/// A proxy with a certificate for `a.test`, and a client that trusts it.
pub(crate) struct Site {
    pub(crate) node: Node,
    pub(crate) proxy: Proxy,
    pub(crate) files: Files,
    pub(crate) ca: Ca,
    /// The settings of `[tls]`.
    pub(crate) settings: String,
}

impl Site {
    /// With these settings in `[tls]`.
    pub(crate) async fn new(tls: &str) -> Site {
        let (node, files, ca) = (Node::echo("a").await, Files::new(), Ca::new());
        let certificate = files.identity("site", &ca.issue(&["a.test"]));
        let settings = format!("{tls}\n{}", certificates(&[&certificate]));
        let proxy = setup(&[&node], &settings).start();
        Site { node, proxy, files, ca, settings }
    }

    /// The same for a reload.
    pub(crate) fn setup(&self) -> Setup {
        setup(&[&self.node], &self.settings)
    }

    /// One that shows this certificate.
    pub(crate) fn client(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        tls_client::client(&self.ca, identity, &["http/1.1"])
    }

    /// A client in TLS that speaks bytes.
    pub(crate) async fn connect(&self) -> Wire {
        Wire::encrypted(tls::connect(self.proxy.address, &self.client(None), "a.test").await.unwrap())
    }

    /// One request as this client, over a connection of its own; the status, or why there is none. A server of TLS 1.3
    /// turns a client away only after the handshake.
    pub(crate) async fn ask_as(&self, client: &Arc<ClientConfig>) -> Result<u16, String> {
        let mut stream = tls::connect(self.proxy.address, client, "a.test").await.map_err(|error| error.to_string())?;
        stream.write_all(get("/", "Connection: close\r\n").as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        within("an answer", stream.read_to_string(&mut answer)).await.map_err(|error| error.to_string())?;
        Ok(answer[9..12].parse().unwrap())
    }

    /// Waits until a handshake has failed for this reason.
    pub(crate) async fn is_failed(&self, reason: &str) {
        self.proxy.metric_is(FAILURES, &[&format!("reason=\"{reason}\"")], 1.0).await;
    }
}
