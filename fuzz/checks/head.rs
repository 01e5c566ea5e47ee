//! Any bytes from a client: whatever a node gets of them is one request after another to a second reader of HTTP, which
//! shares no code with hyper or httparse, and reads the very method, host and target by which the node was chosen, and
//! a body of nothing but the client's bytes.

use ringway::config::Config;
use ringway::control::Controller;
use ringway::control::Start;
use ringway::control::pool_at::PoolAt;
use ringway::metrics::Metrics;
use ringway::metrics::stats::ServerStats;
use ringway::proxy::health_report;
use ringway::proxy::worker::Phase;
use ringway::proxy::worker::Shared;
use ringway::proxy::worker::Workers;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// What a client sends on one connection, to its end.
pub(crate) fn check(data: &[u8]) {
    // One at a time, so that what nodes get is known to be of these bytes.
    let lab = LAB.lock().expect("no check panics while it holds the lab");
    let client = next_client();
    let answered = lab.send(client, data);
    // What is left of an earlier client may still arrive; the proxy says who each one was.
    let is_of = |got: &Got| got.request.as_ref().map_or(true, |request| request.client() == Some(client));
    let got: Vec<Got> = std::mem::take(&mut *lab.got()).into_iter().filter(is_of).collect();
    let shown = || format!("{:?}\nfrom {:?}", got, String::from_utf8_lossy(data));
    assert!(got.iter().all(|got| got.request.is_ok()), "a node cannot read {}", shown());
    // As many as the client's bytes can hold at most, and as many as were answered, each once.
    let asked = data.windows(b"HTTP/1.".len()).filter(|window| *window == b"HTTP/1.").count();
    assert!(got.len() <= asked && answered <= got.len(), "{asked} asked, {answered} answered: {}", shown());
    for (node, request) in got.iter().filter_map(|got| Some((&got.node, got.request.as_ref().ok()?))) {
        assert!(is_subsequence(&request.body, data), "a body is not of these bytes: {}", shown());
        if let Some(key) = request.key() {
            let owner = lab.pool.locate(&key).owner;
            assert_eq!(owner.as_ref(), Some(node), "{:?}: {}", String::from_utf8_lossy(&key), shown());
        }
    }
}

/// Whether the bytes of `part` are in `whole`, in this order: what frames a body is left out, and nothing comes in.
fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|byte| rest.any(|other| other == byte))
}

/// An address of the loopback network that no client had lately.
fn next_client() -> Ipv4Addr {
    static CLIENTS: AtomicU32 = AtomicU32::new(0);
    let number = CLIENTS.fetch_add(1, Relaxed) % (1 << 16);
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
}

/// A proxy with nodes that answer what they can read.
struct Lab {
    proxy: SocketAddr,
    pool: PoolAt,
    got: Arc<Mutex<Vec<Got>>>,
    _running: (Controller, watch::Sender<Phase>, Workers),
}

/// What a node has got.
#[derive(Debug)]
struct Got {
    node: String,
    request: Result<Request, String>,
}

static LAB: LazyLock<Mutex<Lab>> = LazyLock::new(|| Mutex::new(Lab::new()));

const NODES: usize = 8;

impl Lab {
    fn new() -> Lab {
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let nodes = (0..NODES).map(|number| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let (name, address) = (format!("node-{number}"), listener.local_addr().expect("a bound socket"));
            let (node, got) = (name.clone(), Arc::clone(&got));
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (node, got) = (node.clone(), Arc::clone(&got));
                    thread::spawn(move || serve(&node, stream, &got));
                }
            });
            format!("{{ name = \"{name}\", address = \"{address}\" }}")
        });
        let nodes = nodes.collect::<Vec<_>>().join(", ");
        let config = format!(
            "listen = \"127.0.0.1:0\"\nworkers = 1\n[store]\nkind = \"memory\"\n[[pool]]\nname = \"p\"\n\
             key = [[\"method\", \"host\", \"path-and-query\"]]\nmax-attempts = 1\ninitial-nodes = [{nodes}]"
        );
        let config = Config::parse("lab.toml", &config).unwrap_or_else(|errors| panic!("{errors}"));
        let stats = Arc::new(ServerStats::new(1));
        let metrics = Arc::new(Metrics::new(Arc::clone(&stats)));
        let (server, pools, store) = (config.server, config.pools, &config.store);
        let start = Start { server, pools, store, workers: 1, metrics, histories: Vec::new(), own: Vec::new() };
        let (controller, _thread, _warnings) = Controller::start(start).expect("a control plane in memory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a bound socket");
        let proxy = listener.local_addr().expect("a bound socket");
        let (phase, phases) = watch::channel(Phase::Running);
        let (tables, reports) = (Arc::clone(controller.tables()), health_report::channel().0);
        let shared = Shared { tables, stats, access_log: None, phase: phases, reports, instance: 7 };
        let workers = Workers::start(1, &[listener], &Arc::new(shared)).expect("a thread");
        let pool = PoolAt::of(&controller.pool("p").expect("the only pool"));
        Lab { proxy, pool, got, _running: (controller, phase, workers) }
    }

    fn got(&self) -> MutexGuard<'_, Vec<Got>> {
        self.got.lock().expect("nodes do not panic while they hold it")
    }

    /// Sends bytes and their end from an address; returns how many answers of nodes came back.
    fn send(&self, from: Ipv4Addr, data: &[u8]) -> usize {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("the whole network is of this machine");
        socket.connect(&self.proxy.into()).expect("the proxy accepts");
        let mut client = TcpStream::from(socket);
        client.set_read_timeout(Some(PATIENCE)).expect("an open socket");
        // A proxy that refuses closes before it has read everything.
        drop(client.write_all(data).and_then(|()| client.shutdown(Shutdown::Write)));
        let mut answers = Vec::new();
        drop(client.read_to_end(&mut answers));
        answers.windows(MARK.len()).filter(|window| *window == MARK.as_bytes()).count()
    }
}

/// A request that never ends is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// A field that only nodes send.
const MARK: &str = "x-answer: of-a-node";

/// Answers requests for as long as they can be read.
fn serve(node: &str, stream: TcpStream, got: &Mutex<Vec<Got>>) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut stream = BufReader::new(stream);
    loop {
        let request = match read(&mut stream) {
            Ok(Some(request)) => Ok(request),
            Ok(None) => return,
            Err(why) => Err(why),
        };
        let is_broken = request.is_err();
        got.lock().expect("nobody panics while he holds it").push(Got { node: node.to_owned(), request });
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{MARK}\r\n\r\n");
        if is_broken || answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A request as the second reader understands it.
#[derive(Debug)]
struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// Who sent it, as the proxy says.
    fn client(&self) -> Option<Ipv4Addr> {
        self.fields.iter().find(|(name, _)| name == "x-forwarded-for")?.1.parse().ok()
    }

    /// The key by which Ringway should have chosen the node; `None` without a host.
    fn key(&self) -> Option<Vec<u8>> {
        let host = self.fields.iter().find(|(name, _)| name == "host").map(|(_, value)| value.to_ascii_lowercase())?;
        let name = match (host.starts_with('['), host.rfind(':'), host.rfind(']')) {
            (false, Some(colon), _) => &host[..colon],
            (true, _, Some(end)) => &host[..=end],
            _ => &host,
        };
        let escaped = |part: &str| part.replace('\\', "\\\\").replace('|', "\\|");
        let parts = [&self.method, name, &self.target].map(escaped);
        // Each letter stands for a byte here.
        (!name.is_empty()).then(|| parts.join("|").chars().filter_map(|letter| u8::try_from(letter).ok()).collect())
    }
}

/// Reads one request by the grammar of RFC 9112 and nothing else; `None` where the connection ends before it is whole.
fn read(stream: &mut impl BufRead) -> Result<Option<Request>, String> {
    let Some(first) = line(stream)? else { return Ok(None) };
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words.as_slice() else { return Err(format!("request line {first:?}")) };
    let is_visible = |byte: u8| byte > b' ' && byte != 0x7f;
    if !is_token(method) || target.is_empty() || !target.bytes().all(is_visible) || target.contains('#') {
        return Err(format!("request line {first:?}"));
    }
    if !target.starts_with('/') && (*target, *method) != ("*", "OPTIONS") {
        return Err(format!("target {target:?}"));
    }
    let Some(fields) = fields(stream)? else { return Ok(None) };
    let all = |wanted: &str| -> Vec<&str> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
    };
    if all("host").len() != 1 {
        return Err(format!("hosts {:?}", all("host")));
    }
    let body = match (all("content-length").as_slice(), all("transfer-encoding").as_slice()) {
        ([], []) => Some(Vec::new()),
        ([length], []) if is_decimal(length) => exactly(stream, length.parse().map_err(|_| length.to_string())?),
        ([], ["chunked"]) => chunks(stream)?,
        lengths => return Err(format!("lengths {lengths:?}")),
    };
    let (method, target) = ((*method).to_owned(), (*target).to_owned());
    Ok(body.map(|body| Request { method, target, fields, body }))
}

/// A line without its end, which is CRLF; `None` where there is no whole one.
fn line(stream: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    if stream.read_until(b'\n', &mut bytes).is_err() || bytes.last() != Some(&b'\n') {
        return Ok(None);
    }
    let bytes = bytes.strip_suffix(b"\r\n").ok_or_else(|| format!("line end of {bytes:?}"))?;
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    match bytes.iter().all(is_text) {
        // Each byte is a character of its own, as RFC 9110 section 5.5 has it.
        true => Ok(Some(bytes.iter().map(|byte| char::from(*byte)).collect())),
        false => Err(format!("bytes of {bytes:?}")),
    }
}

fn fields(stream: &mut impl BufRead) -> Result<Option<Vec<(String, String)>>, String> {
    let mut fields = Vec::new();
    loop {
        let Some(line) = line(stream)? else { return Ok(None) };
        if line.is_empty() {
            return Ok(Some(fields));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| format!("field {line:?}"))?;
        if !is_token(name) {
            return Err(format!("field name {name:?}"));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

fn chunks(stream: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(size) = line(stream)? else { return Ok(None) };
        let is_size = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size =
            usize::from_str_radix(&size, 16).ok().filter(|_| is_size).ok_or_else(|| format!("chunk {size:?}"))?;
        if size == 0 {
            // Trailers, which only some requests may have.
            return Ok(fields(stream)?.map(|_| body));
        }
        let Some(piece) = exactly(stream, size) else { return Ok(None) };
        body.extend(piece);
        match line(stream)? {
            None => return Ok(None),
            Some(end) if end.is_empty() => {}
            Some(end) => return Err(format!("end of a chunk {end:?}")),
        }
    }
}

fn exactly(stream: &mut impl BufRead, length: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    stream.take(length as u64).read_to_end(&mut body).ok()?;
    (body.len() == length).then_some(body)
}

fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
