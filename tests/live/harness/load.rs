//! Load of every kind at once, from clients of our own that try nothing twice: what was sent and not answered is lost.

use crate::harness::echo::ID;
use crate::harness::wait::PATIENCE;
use crate::harness::wait::until_true;
use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;

/// What a client does, each with one request in the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP/1.1 on a connection that is kept for as long as the proxy likes.
    Kept,
    /// HTTP/1.1 on a new connection each.
    Fresh,
    /// Four streams at a time on an HTTP/2 connection.
    Http2,
    /// A body that takes a third of a second to send.
    Upload,
    /// A WebSocket that stays open for a second and a half; each message is echoed.
    Tunnel,
}

/// Every kind of client, in the order of [`Report::answered`].
pub(crate) const KINDS: [Kind; 5] = [Kind::Kept, Kind::Fresh, Kind::Http2, Kind::Upload, Kind::Tunnel];

/// Clients of each kind.
const CLIENTS: usize = 3;

/// Requests between two events of a story, so that a hundred events come in a hundred thousand of them.
const MORE: u64 = 1_000;

/// The most that a client rests between two requests.
const REST_MS_MAX: u64 = 4;

/// Running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    /// Where a new connection goes.
    target: Mutex<SocketAddr>,
    stop: AtomicBool,
    ids: AtomicU64,
    answered: [AtomicU64; KINDS.len()],
    lost: Mutex<Vec<String>>,
}

/// What became of all requests.
#[derive(Debug)]
pub(crate) struct Report {
    /// Requests that were answered as they should be.
    pub(crate) answered: [u64; KINDS.len()],
    /// What happened to the others.
    pub(crate) lost: Vec<String>,
}

impl Load {
    /// Starts clients of every kind, and waits until each kind has been answered.
    pub(crate) fn start(target: SocketAddr) -> Load {
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            stop: AtomicBool::new(false),
            ids: AtomicU64::new(0),
            answered: Default::default(),
            lost: Mutex::default(),
        });
        let clients = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let clients = (0..CLIENTS).flat_map(|_| KINDS.map(|kind| play(kind, Arc::clone(&clients))));
                clients.collect::<JoinSet<()>>().join_all().await;
            });
        });
        let load = Load { shared, thread };
        load.wait_for_more();
        load
    }

    /// New connections go there from now on.
    pub(crate) fn turn_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Waits until every kind of client has been answered again, and [`MORE`] requests in all.
    pub(crate) fn wait_for_more(&self) {
        let before = self.shared.count();
        until_true("clients of each kind are answered, or one is not", || {
            let now = self.shared.count();
            let each = now.iter().zip(before).all(|(now, before)| *now > before);
            let enough = now.iter().sum::<u64>() >= before.iter().sum::<u64>() + MORE;
            (each && enough) || !self.shared.lost.lock().unwrap().is_empty()
        });
    }

    /// Lets every client finish what it has begun.
    pub(crate) fn stop(self) -> Report {
        self.shared.stop.store(true, Relaxed);
        self.thread.join().unwrap();
        let lost = std::mem::take(&mut *self.shared.lost.lock().unwrap());
        Report { answered: self.shared.count(), lost }
    }
}

impl Report {
    /// All requests that were answered.
    pub(crate) fn total(&self) -> u64 {
        self.answered.iter().sum()
    }
}

impl Shared {
    fn count(&self) -> [u64; KINDS.len()] {
        std::array::from_fn(|kind| self.answered[kind].load(Relaxed))
    }

    fn next_id(&self) -> String {
        self.ids.fetch_add(1, Relaxed).to_string()
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let target = *self.target.lock().unwrap();
        let stream = TcpStream::connect(target).await.map_err(|error| format!("connect to {target}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// Notes the answer to request `id`, which must be `expected`.
    fn note(&self, kind: Kind, id: &str, answer: Result<String, String>, expected: &str) {
        match answer {
            Ok(text) if text == expected => drop(self.answered[kind as usize].fetch_add(1, Relaxed)),
            other => self.lost.lock().unwrap().push(format!("{kind:?} {id}: {other:?}")),
        }
    }
}

async fn play(kind: Kind, shared: Arc<Shared>) {
    let (mut kept, mut http2) = (None, None);
    while !shared.stop.load(Relaxed) {
        match kind {
            Kind::Kept => kept = timely(get_http1(&shared, kind, kept.take())).await,
            Kind::Fresh => drop(timely(get_http1(&shared, kind, None)).await),
            Kind::Http2 => http2 = timely(get_http2(&shared, http2.take())).await,
            Kind::Upload => timely(upload(&shared)).await,
            Kind::Tunnel => timely(tunnel(&shared)).await,
        }
        sleep(Duration::from_millis(fastrand::u64(0..=REST_MS_MAX))).await;
    }
}

async fn timely<T>(played: impl Future<Output = T>) -> T {
    timeout(PATIENCE, played).await.unwrap_or_else(|_| panic!("a request was not answered within {PATIENCE:?}"))
}

type Http1 = http1::SendRequest<Full<Bytes>>;

/// One request, on the connection kept from the last one where there is one; returns a connection to keep.
async fn get_http1(shared: &Shared, kind: Kind, kept: Option<Http1>) -> Option<Http1> {
    let id = shared.next_id();
    let request = Request::get(format!("/?k={id}")).header(ID, &id).header("host", "live.test");
    let request = match kind {
        Kind::Fresh => request.header("connection", "close"),
        _ => request,
    };
    let mut request = request.body(Full::default()).unwrap();
    let mut kept = kept;
    let (mut sender, response) = loop {
        let mut sender = match kept.take() {
            Some(sender) => sender,
            None => match connect_http1(shared).await {
                Ok(sender) => sender,
                Err(error) => {
                    shared.note(kind, &id, Err(error), "");
                    return None;
                }
            },
        };
        match sender.try_send_request(request).await {
            Ok(response) => break (sender, read(response).await),
            // What was closed before anything was sent has lost nothing.
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => break (sender, Err(format!("{:?}", error.into_error()))),
            },
        }
    };
    shared.note(kind, &id, response, &format!("{id} 0"));
    (kind == Kind::Kept && sender.ready().await.is_ok()).then_some(sender)
}

async fn connect_http1(shared: &Shared) -> Result<Http1, String> {
    let stream = TokioIo::new(shared.connect().await?);
    let (sender, connection) = http1::handshake(stream).await.map_err(|error| format!("{error:?}"))?;
    // What goes wrong with the connection is what goes wrong with its request.
    drop(tokio::spawn(connection));
    Ok(sender)
}

type Http2 = http2::SendRequest<Full<Bytes>>;

/// Four requests at a time on a connection that lasts for as long as the proxy likes.
async fn get_http2(shared: &Arc<Shared>, kept: Option<Http2>) -> Option<Http2> {
    let sender = match kept {
        Some(sender) => sender,
        None => match connect_http2(shared).await {
            Ok(sender) => sender,
            Err(error) => {
                shared.note(Kind::Http2, "connection", Err(error), "");
                return None;
            }
        },
    };
    let streams = (0..4).map(|_| get_on_stream(Arc::clone(shared), sender.clone()));
    let are_sent = streams.collect::<JoinSet<bool>>().join_all().await;
    are_sent.into_iter().all(|is_sent| is_sent).then_some(sender)
}

/// Whether the connection still takes requests. One that it did not take is not lost: another connection gets others.
async fn get_on_stream(shared: Arc<Shared>, mut sender: Http2) -> bool {
    let id = shared.next_id();
    let request = Request::get(format!("http://live.test/?k={id}")).header(ID, &id).body(Full::default()).unwrap();
    let response = match sender.try_send_request(request).await {
        Ok(response) => read(response).await,
        Err(mut error) => match error.take_message() {
            Some(_unsent) => return false,
            None => Err(format!("{:?}", error.into_error())),
        },
    };
    shared.note(Kind::Http2, &id, response, &format!("{id} 0"));
    true
}

async fn connect_http2(shared: &Shared) -> Result<Http2, String> {
    let stream = TokioIo::new(shared.connect().await?);
    let handshake = http2::handshake(TokioExecutor::new(), stream).await;
    let (sender, connection) = handshake.map_err(|error| format!("{error:?}"))?;
    drop(tokio::spawn(connection));
    Ok(sender)
}

/// The body of a response; the error says what came instead of one.
async fn read(response: Response<Incoming>) -> Result<String, String> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if head.status.is_success() { Ok(text) } else { Err(format!("{}: {text}", head.status)) }
}

/// Pieces of an upload, and what each holds.
const PIECES: usize = 20;
const PIECE: [u8; 4096] = [b'x'; 4096];

async fn upload(shared: &Shared) {
    let id = shared.next_id();
    let answered = async {
        let text = |error: std::io::Error| error.to_string();
        let mut stream = shared.connect().await?;
        let length = PIECES * PIECE.len();
        let head = format!(
            "POST /?k={id} HTTP/1.1\r\nhost: live.test\r\n{ID}: {id}\r\ncontent-length: {length}\r\nconnection: \
             close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.map_err(text)?;
        for _ in 0..PIECES {
            stream.write_all(&PIECE).await.map_err(text)?;
            sleep(Duration::from_millis(15)).await;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(text)?;
        answer.rsplit_once("\r\n").map(|(_, body)| body.to_owned()).ok_or(answer)
    };
    shared.note(Kind::Upload, &id, answered.await, &format!("{id} {}", PIECES * PIECE.len()));
}

/// Messages of a tunnel, and how long each waits for the next.
const MESSAGES: usize = 75;
const MESSAGE_EVERY: Duration = Duration::from_millis(20);

async fn tunnel(shared: &Shared) {
    let id = shared.next_id();
    let mut stream = match open_tunnel(shared, &id).await {
        Ok(stream) => stream,
        Err(error) => return shared.note(Kind::Tunnel, &id, Err(error), ""),
    };
    for number in 0..MESSAGES {
        let message = format!("{id}:{number:08}");
        let mut echo = vec![0; message.len()];
        let answered = async {
            stream.write_all(message.as_bytes()).await?;
            stream.read_exact(&mut echo).await
        };
        let answered = answered.await.map_err(|error| format!("message {number}: {error}"));
        let is_over = answered.is_err();
        shared.note(Kind::Tunnel, &id, answered.map(|_| String::from_utf8_lossy(&echo).into_owned()), &message);
        if is_over {
            return;
        }
        sleep(MESSAGE_EVERY).await;
    }
}

async fn open_tunnel(shared: &Shared, id: &str) -> Result<TcpStream, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = shared.connect().await?;
    let head = format!(
        "GET /?k={id} HTTP/1.1\r\nhost: live.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.map_err(text)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.map_err(text)?);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.starts_with("HTTP/1.1 101 ") { Ok(stream) } else { Err(answer) }
}
