//! A small client of the admin API: one request a connection, and every failure as a sentence with an exit code.

use crate::admin::model::PoolList;
use crate::admin::model::PoolSummary;
use crate::admin::model::Problem;
use crate::cli::failure::Failure;
use crate::cluster::node::NodeAddress;
use crate::tls::node::NodeTls;
use crate::tls::server::ALPN_HTTP1;
use crate::tls::settings::NodeTlsSettings;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Asks one proxy.
pub(super) struct Client {
    endpoint: Endpoint,
    /// How it is spoken to, where it speaks TLS.
    tls: Option<Arc<NodeTls>>,
    token: Option<String>,
    runtime: Runtime,
}

/// Where the API listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `host:port`
    Tcp(String),
    /// The same, where TLS is spoken.
    Tls(NodeAddress),
    Unix(PathBuf),
}

impl Client {
    /// `admin` is `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`. The token and the files of TLS are read now,
    /// the connection is made later.
    pub(super) fn new(admin: &str, token_file: Option<&Path>, tls: &NodeTlsSettings) -> Result<Client, Failure> {
        let endpoint = Endpoint::parse(admin).map_err(Failure::Usage)?;
        let token = token_file.map(read_token).transpose()?;
        let tls = match &endpoint {
            Endpoint::Tls(_) => Some(NodeTls::load(tls, ALPN_HTTP1, None)),
            Endpoint::Tcp(_) | Endpoint::Unix(_) => None,
        };
        let tls = tls.transpose().map_err(|error| Failure::Usage(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
        Ok(Client { endpoint, tls, token, runtime })
    }

    /// The answer to a GET.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.understand(&self.call(Method::GET, path, Bytes::new())?)
    }

    /// The answer to a POST of a JSON value.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body);
        let body = body.map_err(|error| Failure::Failed(format!("cannot write the request as JSON: {error}")))?;
        self.understand(&self.call(Method::POST, path, body.into())?)
    }

    /// Every pool of the proxy.
    pub(super) fn pools(&self) -> Result<Vec<PoolSummary>, Failure> {
        Ok(self.get::<PoolList>("/v1/pools")?.pools)
    }

    /// The bytes of the answer to a GET that asks for another type than JSON.
    pub(super) fn get_text(&self, path: &str, accept: &'static str) -> Result<String, Failure> {
        let mut request = self.request(Method::GET, path, Bytes::new())?;
        request.headers_mut().insert(header::ACCEPT, header::HeaderValue::from_static(accept));
        let body = self.send(request)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// A value out of the JSON that this proxy answered.
    pub(super) fn understand<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        let read = serde_json::from_slice(body);
        read.map_err(|error| {
            let endpoint = &self.endpoint;
            Failure::Failed(format!("what answers at {endpoint} is no Ringway of this version: {error}"))
        })
    }

    /// Begins to listen to a stream of server-sent events, which fails when nothing is said for `patience`.
    pub(super) async fn listen(&self, path: &str, patience: Duration) -> Result<EventStream<'_>, Failure> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        let response = timeout(patience, self.respond(request)).await.map_err(|_| self.silent(patience))??;
        let (status, body) = (response.status(), response.into_body());
        if status.is_success() {
            return Ok(EventStream { client: self, body, text: Vec::new(), name: String::new(), patience });
        }
        let body = timeout(patience, Limited::new(body, ANSWER_BYTES_MAX).collect()).await;
        let body = body.map_err(|_| self.silent(patience))?.map_err(|error| self.broken(&causes(&*error)))?;
        Err(refusal(status, &body.to_bytes()))
    }

    /// Runs something that asks this proxy to its end.
    pub(super) fn wait<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        self.send(self.request(method, path, body)?)
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.endpoint.host());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body));
        request.map_err(|error| Failure::Usage(format!("this cannot be asked over HTTP: {error}")))
    }

    /// Sends a request on a connection of its own and returns the body of a 2xx.
    fn send(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Failure> {
        self.wait(async {
            let exchanged = timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
            let (status, body) = exchanged.unwrap_or_else(|_| {
                let endpoint = &self.endpoint;
                Err(Failure::Failed(format!("{endpoint} did not answer within {ANSWER_TIMEOUT:?}")))
            })?;
            match status.is_success() {
                true => Ok(body),
                false => Err(refusal(status, &body)),
            }
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure> {
        let response = self.respond(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| self.broken(&causes(&*error)))?.to_bytes()))
    }

    async fn respond(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        match &self.endpoint {
            Endpoint::Tcp(address) => {
                let stream = self.connected(TcpStream::connect(address)).await?;
                self.respond_on(stream, request).await
            }
            Endpoint::Tls(address) => {
                let stream = self.connected(TcpStream::connect(address.to_string())).await?;
                let tls = self.tls.as_ref().expect("there is one for an endpoint that speaks TLS");
                let secured = timeout(CONNECT_TIMEOUT, tls.shake_hands(address, stream)).await;
                let stream = secured.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                self.respond_on(stream.map_err(|error| self.unproven(&error))?, request).await
            }
            Endpoint::Unix(path) => {
                let stream = self.connected(UnixStream::connect(path)).await?;
                self.respond_on(stream, request).await
            }
        }
    }

    async fn connected<S>(&self, connect: impl Future<Output = io::Result<S>>) -> Result<S, Failure> {
        let connected = timeout(CONNECT_TIMEOUT, connect).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|error| {
            let endpoint = &self.endpoint;
            Failure::Failed(format!(
                "no proxy answers at {endpoint} ({error}); start one with `ringway serve`, or name another with \
                 --admin (locate, explain, plan and ring also work offline, with -c FILE)"
            ))
        })
    }

    async fn respond_on<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.broken(&causes(&error)))?;
        // The connection's own error shows up in the exchange below.
        tokio::spawn(async { drop(connection.await) });
        sender.send_request(request).await.map_err(|error| self.broken(&causes(&error)))
    }

    /// There was no handshake: what answers is not trusted, or trusts nobody who shows no other certificate.
    fn unproven(&self, error: &io::Error) -> Failure {
        let Endpoint::Tls(address) = &self.endpoint else { return self.broken(&error.to_string()) };
        let way_out = match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(_)) => "; name the file of its CA with --ca",
            Some(rustls::Error::InvalidMessage(_)) => "; where it speaks plain HTTP, write http://",
            _ => "",
        };
        Failure::Failed(format!("there is no TLS with {address}: {}{way_out}", causes(error)))
    }

    fn silent(&self, patience: Duration) -> Failure {
        Failure::Failed(format!("{} said nothing for {patience:?}", self.endpoint))
    }

    fn broken(&self, why: &str) -> Failure {
        Failure::Failed(format!("the connection to {} broke: {why}", self.endpoint))
    }
}

/// A stream of server-sent events (the HTML standard, section 9.2).
pub(super) struct EventStream<'a> {
    client: &'a Client,
    body: Incoming,
    /// What has come of lines that are not over.
    text: Vec<u8>,
    /// What the event is called whose lines are being read.
    name: String,
    patience: Duration,
}

/// A server-sent event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// What kind of event it is.
    pub(super) name: String,
    /// What it says; this API never breaks that over lines.
    pub(super) data: Vec<u8>,
}

impl EventStream<'_> {
    /// The next event. The end of the stream is a failure: it is meant to have none.
    pub(super) async fn next(&mut self) -> Result<Told, Failure> {
        loop {
            if let Some(told) = self.take_event() {
                return Ok(told);
            }
            if self.text.len() > ANSWER_BYTES_MAX {
                return Err(self.client.broken("an event is too long"));
            }
            let frame = timeout(self.patience, self.body.frame()).await;
            let frame = frame.map_err(|_| self.client.silent(self.patience))?;
            let ended = || Failure::Failed(format!("{} ended the stream", self.client.endpoint));
            let frame = frame.ok_or_else(ended)?.map_err(|error| self.client.broken(&causes(&error)))?;
            self.text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    }

    /// Takes the lines of the next event off what has come, if they have all come.
    fn take_event(&mut self) -> Option<Told> {
        while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            let line = line.trim_ascii_end();
            if let Some(name) = line.strip_prefix(b"event: ") {
                self.name = String::from_utf8_lossy(name).into_owned();
            } else if let Some(data) = line.strip_prefix(b"data: ") {
                return Some(Told { name: std::mem::take(&mut self.name), data: data.to_vec() });
            }
        }
        None
    }
}

impl Endpoint {
    /// Reads `http://HOST:PORT`, `https://HOST:PORT`, `HOST:PORT` or `unix:/PATH`; the error is a text for people.
    pub(super) fn parse(admin: &str) -> Result<Endpoint, String> {
        if let Some(path) = admin.strip_prefix("unix:") {
            return Ok(Endpoint::Unix(PathBuf::from(path)));
        }
        let secured = admin.strip_prefix("https://");
        let authority = secured.or(admin.strip_prefix("http://")).unwrap_or(admin);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let parsed = authority.parse::<hyper::http::uri::Authority>().ok();
        let is_fine = parsed.is_some_and(|parsed| parsed.port_u16().is_some() && !authority.contains('@'));
        let endpoint = match secured {
            _ if !is_fine => None,
            Some(_) => authority.parse().map(Endpoint::Tls).ok(),
            None => Some(Endpoint::Tcp(authority.to_owned())),
        };
        endpoint.ok_or_else(|| {
            format!(
                "`{admin}` is not the address of an admin API; write http://HOST:PORT, https://HOST:PORT or unix:/PATH"
            )
        })
    }

    /// `HOST:PORT`, or what stands for it on a Unix socket.
    pub(super) fn host(&self) -> String {
        match self {
            Endpoint::Tcp(address) => address.clone(),
            Endpoint::Tls(address) => address.to_string(),
            Endpoint::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(out, "http://{address}"),
            Endpoint::Tls(address) => write!(out, "https://{address}"),
            Endpoint::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// An error and what led to it, and what to do where that is for the user of TLS.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors say what led to them, too.
        let text = error.to_string();
        if !told.ends_with(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    let way_out = match tls_error(error) {
        Some(rustls::Error::AlertReceived(_)) => "; it may ask for another certificate, see --cert and --cert-key",
        _ => "",
    };
    told + way_out
}

/// The error of TLS that lies behind another one.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let inner = inner.and_then(|inner| inner.downcast_ref());
    inner.or_else(|| error.downcast_ref()).or_else(|| tls_error(error.source()?))
}

fn read_token(file: &Path) -> Result<String, Failure> {
    let read = std::fs::read_to_string(file);
    let token =
        read.map_err(|error| Failure::Usage(format!("cannot read the token file `{}`: {error}", file.display())))?;
    Ok(token.trim().to_owned())
}

/// What an answer other than 2xx means here.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let Ok(Problem { kind, detail, .. }) = serde_json::from_slice(body) else {
        return Failure::Failed(format!("the proxy answered {status}"));
    };
    match (kind.as_str(), status) {
        ("urn:ringway:problem:unsafe", _) => Failure::Unsafe(format!("{detail} (--force overrules this)")),
        ("urn:ringway:problem:stale", _) => Failure::Stale(format!("{detail}; plan it again")),
        (_, StatusCode::UNAUTHORIZED) => {
            Failure::Failed(format!("{detail}; name the file that holds it with --token-file or RINGWAY_TOKEN_FILE"))
        }
        (_, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY) => {
            Failure::Usage(detail)
        }
        _ => Failure::Failed(detail),
    }
}

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connection, request and answer may take together. A write answers when it is on the disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer that is read: pools of 10,000 nodes fit many times over.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_or_a_socket() {
        for (admin, endpoint) in [
            ("http://127.0.0.1:9080", "http://127.0.0.1:9080"),
            ("http://proxy.internal:9080/", "http://proxy.internal:9080"),
            ("127.0.0.1:9080", "http://127.0.0.1:9080"),
            ("http://[::1]:9080", "http://[::1]:9080"),
            ("https://proxy.internal:9443/", "https://proxy.internal:9443"),
            ("https://[::1]:9443", "https://[::1]:9443"),
            ("unix:/run/ringway.sock", "unix:/run/ringway.sock"),
        ] {
            let parsed = Endpoint::parse(admin).map(|endpoint| endpoint.to_string());
            assert_eq!(parsed.as_deref(), Ok(endpoint), "{admin}");
        }
        for admin in [
            "https://127.0.0.1",
            "https://-:9080",
            "http://127.0.0.1",
            "http://u@h:1",
            "ftp://h:1",
            "http://h:1/v1",
            "",
        ] {
            let error = Endpoint::parse(admin).expect_err(admin);
            assert!(error.contains("unix:/PATH"), "{admin}: {error}");
        }
    }

    #[test]
    fn problems_become_exit_codes() {
        let problem = |kind: &str| {
            let kind = format!("urn:ringway:problem:{kind}");
            format!(r#"{{"type":"{kind}","title":"T","status":0,"detail":"because"}}"#)
        };
        for (status, body, code, text) in [
            (412, problem("stale"), 3, "because; plan it again"),
            (422, problem("unsafe"), 4, "because (--force"),
            (422, problem("refused"), 2, "because"),
            (404, problem("unknown-epoch"), 2, "because"),
            (401, problem("unauthorized"), 1, "--token-file"),
            (409, problem("owned-by-file"), 1, "because"),
            (503, "<html>".to_owned(), 1, "503"),
        ] {
            let failure = refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            let message = failure.message().unwrap();
            assert!(failure.exit_code() == code && message.contains(text), "{status} {body}: {message}");
        }
    }
}
