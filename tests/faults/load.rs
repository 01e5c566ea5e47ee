//! The load: an open loop of numbered requests, and what became of each.

use crate::backend::BODY_BYTES;
use crate::backend::LARGE;
use crate::backend::LARGE_BODY_BYTES;
use crate::backend::NUMBER;
use crate::backend::SERVED_BY;
use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Requests a second.
pub(crate) const RATE: usize = 250;

/// Keys in turn: few enough for all to be seen before a fault, and prime, so that each key has requests of every kind.
pub(crate) const KEYS: usize = 149;

/// When requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// All of a second within 50 ms of its beginning.
    Bursts,
    /// At equal distances.
    Even,
}

impl Arrival {
    /// When a request comes, since the first.
    fn of(self, number: usize) -> Duration {
        let (second, rest) = (number / RATE, u32::try_from(number % RATE).expect("fewer than the rate"));
        let gap = match self {
            Arrival::Bursts => Duration::from_micros(200),
            Arrival::Even => Duration::from_secs(1).div_f64(RATE as f64),
        };
        Duration::from_secs(second as u64) + gap * rest
    }
}

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) to: SocketAddr,
    pub(crate) requests: usize,
    pub(crate) arrival: Arrival,
    pub(crate) has_large_bodies: bool,
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) number: usize,
    pub(crate) key: usize,
    pub(crate) method: Method,
    /// When it was due, which is before it was sent when this machine is busy.
    pub(crate) due: Instant,
    pub(crate) begun: Instant,
    pub(crate) done: Instant,
    pub(crate) outcome: Outcome,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A whole response of a node.
    Answered(Answer),
    /// The response broke off, visibly.
    Cut,
    /// The connection ended without a response.
    Closed,
    /// A status of the proxy's own; the word is the error type of `Proxy-Status` (RFC 9209), where there is one.
    Refused(u16, Option<String>),
    /// The proxy accepted no connection.
    Unconnected,
    /// Nothing within [`PATIENCE`].
    TimedOut,
    /// A response that claims to be whole and is not.
    Wrong,
}

/// Who gave a response, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The node, as it says itself.
    pub(crate) node: String,
    /// The node and the decision as Ringway tells them.
    pub(crate) told: Option<(String, String)>,
}

impl Sent {
    pub(crate) fn took(&self) -> Duration {
        self.done.saturating_duration_since(self.due)
    }

    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer),
            _ => None,
        }
    }
}

/// A load that is under way.
pub(crate) struct Load {
    pub(crate) begun: Instant,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sent>>,
}

impl Load {
    /// Begins at once, in a thread of its own.
    pub(crate) fn begin(plan: Plan) -> Load {
        let (begun, stopped) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(send_all(plan, begun, &told))
        });
        Load { begun, stopped, thread }
    }

    /// Waits until all is sent and answered, in the order of their numbers.
    pub(crate) fn finish(self) -> Vec<Sent> {
        self.thread.join().unwrap()
    }

    /// Sends no more; what is under way is still answered.
    pub(crate) fn stop(self) -> Vec<Sent> {
        self.stopped.store(true, Relaxed);
        self.finish()
    }
}

async fn send_all(plan: Plan, begun: Instant, stopped: &AtomicBool) -> Vec<Sent> {
    let client = Arc::new(Client { to: plan.to, kept: Mutex::default() });
    let mut open = JoinSet::new();
    for number in 0..plan.requests {
        let due = begun + plan.arrival.of(number);
        tokio::time::sleep_until(due.into()).await;
        if stopped.load(Relaxed) {
            break;
        }
        let client = Arc::clone(&client);
        open.spawn(async move { client.send(number, due, plan.has_large_bodies).await });
    }
    let mut sent = open.join_all().await;
    sent.sort_by_key(|sent| sent.number);
    sent
}

/// Connections to one proxy, kept alive.
struct Client {
    to: SocketAddr,
    kept: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Client {
    async fn send(&self, number: usize, due: Instant, has_large_bodies: bool) -> Sent {
        let (key, begun) = (number % KEYS, Instant::now());
        // A POST's id is its number.
        let (method, query) = match number % 10 {
            3 => (Method::POST, ""),
            7 if has_large_bodies => (Method::GET, LARGE),
            _ => (Method::GET, ""),
        };
        let body = if method == Method::POST { Full::from(format!("id={number}")) } else { Full::default() };
        let request = Request::builder().method(method.clone()).uri(format!("/k/key-{key}?{query}"));
        let request = request.header(header::HOST, self.to.to_string()).header(NUMBER, number);
        let size = if query == LARGE { LARGE_BODY_BYTES } else { BODY_BYTES };
        let outcome = self.exchange(request.body(body).unwrap(), size);
        let outcome = tokio::time::timeout(PATIENCE, outcome).await.unwrap_or(Outcome::TimedOut);
        Sent { number, key, method, due, begun, done: Instant::now(), outcome }
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>, size: usize) -> Outcome {
        loop {
            let Ok(mut sender) = self.connection().await else { return Outcome::Unconnected };
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    // The kept connection had been closed, and nothing was sent.
                    Some(unsent) => {
                        request = unsent;
                        continue;
                    }
                    None => return Outcome::Closed,
                },
            };
            let (head, body) = response.into_parts();
            let Ok(body) = body.collect().await else { return Outcome::Cut };
            if sender.ready().await.is_ok() {
                self.kept.lock().unwrap().push(sender);
            }
            return judge(head.status.as_u16(), &head.headers, body.to_bytes().len() == size);
        }
    }

    async fn connection(&self) -> std::io::Result<SendRequest<Full<Bytes>>> {
        let kept = std::iter::from_fn(|| self.kept.lock().unwrap().pop());
        if let Some(sender) = { kept }.find(SendRequest::is_ready) {
            return Ok(sender);
        }
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(std::io::Error::other)?;
        // What goes wrong with the connection is what goes wrong with its requests.
        drop(tokio::spawn(connection));
        Ok(sender)
    }
}

fn judge(status: u16, headers: &HeaderMap, is_whole: bool) -> Outcome {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default().to_owned());
    let Some(node) = text(SERVED_BY).filter(|_| status == 200) else {
        let status_of_proxy = text("proxy-status").unwrap_or_default();
        let reason = status_of_proxy.split("error=").nth(1).and_then(|rest| rest.split(';').next());
        return Outcome::Refused(status, reason.map(str::to_owned));
    };
    let told = text("x-ringway-node").zip(text("x-ringway-decision"));
    if is_whole { Outcome::Answered(Answer { node, told }) } else { Outcome::Wrong }
}

/// Longer than any proxy's own deadlines here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
