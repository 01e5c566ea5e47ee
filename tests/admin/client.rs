//! A running proxy, and a client of its admin API that holds every response against the API's own description.

use crate::document::Document;
use crate::document::Operation;
use http::Method;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ringway::app::App;
use ringway::config::Config;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// A proxy in this process, with a directory of its own that goes with it.
pub(crate) struct Proxy {
    pub(crate) app: App,
    pub(crate) directory: Directory,
}

impl Proxy {
    /// Starts a proxy from `config`, in which `DIR` stands for its directory. The file is there to be edited.
    pub(crate) async fn start(config: &str) -> Proxy {
        let directory = Directory::new();
        Proxy::start_in(directory, config).await.unwrap_or_else(|error| panic!("{error}\n{config}"))
    }

    /// As [`Proxy::start`], in a directory that exists.
    pub(crate) async fn start_in(directory: Directory, config: &str) -> Result<Proxy, String> {
        let file = directory.write("ringway.toml", &directory.fill(config));
        let config = Config::load(&file).map_err(|error| error.to_string())?;
        let app = App::start(config, Some(file)).await.map_err(|error| error.to_string())?;
        Ok(Proxy { app, directory })
    }

    /// A client of its admin listener, without a token.
    pub(crate) fn client(&self) -> Client {
        Client { address: self.app.addresses().admin.clone(), token: None, tls: None }
    }

    /// Serves as the binary does, so that reloads are answered.
    pub(crate) fn run(self) -> Running {
        let client = self.client();
        let Proxy { app, directory } = self;
        let serving = tokio::spawn(async move { app.run().await.unwrap() });
        Running { client, directory, serving }
    }

    /// Begins to stop, which lasts until the sender is used; the client goes on working until then.
    pub(crate) fn begin_to_stop(self) -> (oneshot::Sender<()>, JoinHandle<()>) {
        let (hurry, hurried) = oneshot::channel();
        let stopped = tokio::spawn(async move {
            self.app.stop(async { drop(hurried.await) }).await;
            drop(self.directory);
        });
        (hurry, stopped)
    }
}

/// A proxy that also answers to reloads; ends when dropped.
pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) directory: Directory,
    serving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A directory below the system's own for temporary files; removed when dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-admin-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// `text` with the path of this directory in the place of `DIR`.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("DIR", self.0.to_str().unwrap())
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The way to one listener.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) token: Option<String>,
    /// How it speaks TLS, if it does.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// The same, showing a token.
    pub(crate) fn with_token(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same in TLS.
    pub(crate) fn with_tls(&self, config: Arc<ClientConfig>) -> Client {
        Client { tls: Some(config), ..self.clone() }
    }

    /// Prepares a call; [`Call::send`] makes it.
    pub(crate) fn call(&self, method: &str, target: &str) -> Call<'_> {
        let mut headers = vec![("host".to_owned(), "localhost".to_owned())];
        headers.extend(self.token.iter().map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
        Call { client: self, method: method.to_owned(), target: target.to_owned(), headers, body: Bytes::new() }
    }

    /// A GET that must succeed with JSON.
    pub(crate) async fn get(&self, target: &str) -> Value {
        let reply = self.call("GET", target).send().await;
        assert_eq!(reply.status, 200, "GET {target}: {}", reply.text);
        reply.json()
    }

    /// A POST that must succeed with JSON.
    pub(crate) async fn post(&self, target: &str, body: Value) -> Value {
        let reply = self.call("POST", target).json(&body).send().await;
        assert_eq!(reply.status, 200, "POST {target} {body}: {}", reply.text);
        reply.json()
    }
}

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    pub(crate) client: &'a Client,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Call<'_> {
    /// Sets a header field, in the place of one that is set.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header field away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(&body.to_string())
    }

    /// A body that says of itself that it is JSON.
    pub(crate) fn text(self, body: &str) -> Self {
        let mut call = self.header("content-type", "application/json");
        call.body = Bytes::copy_from_slice(body.as_bytes());
        call
    }

    /// Makes the call over a connection of its own, and checks the response against the description of the API.
    pub(crate) async fn send(self) -> Reply {
        let reply = self.send_unchecked().await;
        let path = self.target.split('?').next().unwrap_or_default();
        if let Some(operation) = Document::of_the_api().await.operation(&self.method, path) {
            reply.check(&operation).unwrap_or_else(|why| {
                panic!(
                    "{} {} answered {} in a way it does not document: {why}\n{}",
                    self.method, self.target, reply.status, reply.text
                )
            });
        }
        reply
    }

    pub(crate) async fn send_unchecked(&self) -> Reply {
        self.try_send().await.unwrap()
    }

    /// As [`Call::send_unchecked`], where there may be no answer.
    pub(crate) async fn try_send(&self) -> Result<Reply, Box<dyn Error>> {
        let mut request =
            Request::builder().method(Method::from_bytes(self.method.as_bytes()).unwrap()).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body.clone())).unwrap();
        let response = match (self.client.address.strip_prefix("unix:"), &self.client.tls) {
            (Some(path), _) => exchange(UnixStream::connect(path).await?, request).await?,
            (None, None) => exchange(TcpStream::connect(&self.client.address).await?, request).await?,
            (None, Some(tls)) => {
                let stream = TcpStream::connect(&self.client.address).await?;
                let name = ServerName::try_from("admin.test")?;
                exchange(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?, request).await?
            }
        };
        Ok(Reply::read(response).await)
    }
}

async fn exchange(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Box<dyn Error>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // A server that refuses a body closes before it has read it; the response is there all the same.
    let ended = tokio::spawn(connection);
    match sender.send_request(request).await {
        Ok(response) => Ok(response),
        // Why there is none, the connection knows better.
        Err(error) => Err(ended.await?.err().unwrap_or(error).into()),
    }
}

/// A response that has arrived whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Reply {
        let (head, mut body) = response.into_parts();
        let is_stream = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = match is_stream {
            // It has no end: its first piece stands for it.
            true => body.frame().await.unwrap().unwrap().into_data().unwrap(),
            false => body.collect().await.unwrap().to_bytes(),
        };
        let text = String::from_utf8(body.to_vec()).unwrap();
        Reply { status: head.status.as_u16(), headers: head.headers, text }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What follows `urn:ringway:problem:` in the type of a problem document.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        let kind = problem["type"].as_str().unwrap();
        kind.strip_prefix("urn:ringway:problem:").unwrap_or_else(|| panic!("{kind}")).to_owned()
    }

    fn check(&self, operation: &Operation<'_>) -> Result<(), String> {
        let media_type = self.header("content-type").split(';').next().unwrap_or_default();
        operation.check(self.status, media_type, &self.text)
    }
}
