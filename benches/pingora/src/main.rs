//! Pingora as a consistent-hashing proxy: what a careful user of the library would write, and nothing more.
//!
//! `pingora-peer --listen IP:PORT --threads N BACKEND...` hashes the header `x-room` onto a ketama ring of backends,
//! keeps connections to them, adds the forwarding fields that the other peers add, and speaks cleartext HTTP/2 to
//! clients.

use async_trait::async_trait;
use pingora::Error;
use pingora::ErrorType;
use pingora::Result;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::http::ResponseHeader;
use pingora::lb::LoadBalancer;
use pingora::lb::selection::Consistent;
use pingora::proxy::ProxyHttp;
use pingora::proxy::Session;
use pingora::proxy::http_proxy_service;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use std::convert::Infallible;
use std::env;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// What proxies write into each message (RFC 9110 section 7.6.3).
const VIA: &str = "1.1 pingora";

/// The header whose value is the key.
const KEY: &str = "x-room";

/// Points of the ring that may be looked at before a request is given up.
const POINTS_MAX: usize = 256;

/// Idle connections kept for all backends together, as in the other peers.
const IDLE_CONNECTIONS_MAX: usize = 3 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

const USAGE: &str = "usage: pingora-peer --listen IP:PORT --threads N BACKEND...";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match serve(&arguments) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until the process is ended; returns only when it cannot begin.
fn serve(arguments: &[String]) -> std::result::Result<Infallible, String> {
    let [listen_flag, listen, threads_flag, threads, backends @ ..] = arguments else {
        return Err(USAGE.to_owned());
    };
    if listen_flag != "--listen" || threads_flag != "--threads" || backends.is_empty() {
        return Err(USAGE.to_owned());
    }
    let threads = threads.parse().map_err(|error| format!("pingora-peer: {threads}: {error}\n{USAGE}"))?;
    let ring = ring(backends).map_err(|error| format!("pingora-peer: {backends:?}: {error}"))?;
    let settings = ServerConf { threads, upstream_keepalive_pool_size: IDLE_CONNECTIONS_MAX, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Proxy { ring });
    let logic = service.app_logic_mut().ok_or("pingora-peer: the new service has no application")?;
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    logic.server_options = Some(options);
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}

/// The ketama ring over all backends. Without a background service it never changes, so it is built once, here.
fn ring(backends: &[String]) -> io::Result<LoadBalancer<Consistent>> {
    LoadBalancer::try_from_iter(backends)
}

struct Proxy {
    ring: LoadBalancer<Consistent>,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let key = session.get_header_bytes(KEY);
        let backend = self.ring.select(key, POINTS_MAX).ok_or_else(|| Error::new(ErrorType::Custom("NoBackend")))?;
        let mut peer = Box::new(HttpPeer::new(backend, false, String::new()));
        peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.read_timeout = Some(SILENCE_TIMEOUT);
        peer.options.write_timeout = Some(SILENCE_TIMEOUT);
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        let Some(client) = session.client_addr().and_then(|address| address.as_inet()) else {
            return Ok(());
        };
        request.insert_header("x-forwarded-for", client.ip().to_string())?;
        request.insert_header("x-forwarded-proto", "http")?;
        if let Some(host) = request.headers.get("host").cloned() {
            request.insert_header("x-forwarded-host", host)?;
        }
        request.append_header("via", VIA).map(drop)
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, _: &mut ()) -> Result<()> {
        response.append_header("via", VIA).map(drop)
    }
}
