//! A data plane with its control plane, started in this process on a free port.

use crate::harness::eventually;
use crate::harness::h2::H2;
use crate::harness::node::Node;
use crate::harness::wire::Message;
use crate::harness::wire::Wire;
use ringway::cluster::membership::Change;
use ringway::config::Config;
use ringway::control::Controller;
use ringway::control::Start;
use ringway::control::pool_at::PoolAt;
use ringway::control::write::Write;
use ringway::control::write::WriteAction;
use ringway::metrics::Metrics;
use ringway::metrics::stats::ServerStats;
use ringway::proxy::access_log::AccessLog;
use ringway::proxy::health_report;
use ringway::proxy::health_report::HealthReport;
use ringway::proxy::worker::Phase;
use ringway::proxy::worker::Shared;
use ringway::proxy::worker::Workers;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::watch;

/// A config in the making: one pool `p` whose key is `header:x-key`, unless the story says otherwise.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    nodes: String,
    /// Lines of the top level.
    server: String,
    limits: String,
    pool: String,
    /// Further pools, whole.
    pools: String,
    workers: usize,
    access_log: Option<String>,
    instance: u64,
    reports: Option<mpsc::Sender<HealthReport>>,
}

/// A running proxy; it ends with its value.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) controller: Controller,
    pub(crate) stats: Arc<ServerStats>,
    pub(crate) access_log: Option<AccessLog>,
    metrics: Arc<Metrics>,
    phase: watch::Sender<Phase>,
    workers: Option<Workers>,
}

impl Setup {
    /// A pool of these nodes, served by one worker.
    pub(crate) fn of(nodes: &[&Node]) -> Setup {
        Setup { nodes: node_list(nodes), workers: 1, ..Setup::default() }
    }

    /// Adds lines to the pool.
    pub(crate) fn pool(mut self, lines: &str) -> Setup {
        writeln!(self.pool, "{lines}").expect("writing to a string");
        self
    }

    /// Adds lines to the top level.
    pub(crate) fn server(mut self, lines: &str) -> Setup {
        writeln!(self.server, "{lines}").expect("writing to a string");
        self
    }

    /// Adds lines to `[limits]`.
    pub(crate) fn limits(mut self, lines: &str) -> Setup {
        writeln!(self.limits, "{lines}").expect("writing to a string");
        self
    }

    /// Adds another pool.
    pub(crate) fn another_pool(mut self, lines: &str, nodes: &[&Node]) -> Setup {
        let nodes = node_list(nodes);
        writeln!(self.pools, "[[pool]]\n{lines}\ninitial-nodes = [{nodes}]").expect("writing to a string");
        self
    }

    pub(crate) fn workers(mut self, count: usize) -> Setup {
        self.workers = count;
        self
    }

    /// Gives the process another name in `Via`.
    pub(crate) fn instance(mut self, number: u64) -> Setup {
        self.instance = number;
        self
    }

    /// Tells what is learned about nodes to the story instead of the health thread.
    pub(crate) fn reports(mut self, reports: mpsc::Sender<HealthReport>) -> Setup {
        self.reports = Some(reports);
        self
    }

    pub(crate) fn access_log(mut self, path: &Path) -> Setup {
        self.access_log = Some(path.display().to_string());
        self
    }

    fn toml(&self) -> String {
        let key = if self.pool.lines().any(|line| line.starts_with("key = ")) { "" } else { "key = \"header:x-key\"" };
        let Setup { nodes, server, limits, pool, pools, .. } = self;
        let listen = if server.starts_with("listen = ") { "" } else { "listen = \"127.0.0.1:0\"" };
        format!(
            "{listen}\n{server}\n[store]\nkind = \"memory\"\n[limits]\n{limits}\n[[pool]]\nname = \
             \"p\"\n{key}\n{pool}\ninitial-nodes = [{nodes}]\n{pools}"
        )
    }

    /// Starts it.
    pub(crate) fn start(self) -> Proxy {
        let config = Config::parse("story.toml", &self.toml()).unwrap_or_else(|errors| panic!("{errors}"));
        let stats = Arc::new(ServerStats::new(self.workers));
        let metrics = Arc::new(Metrics::new(Arc::clone(&stats)));
        let start = Start {
            server: config.server,
            pools: config.pools,
            store: &config.store,
            workers: self.workers,
            metrics: Arc::clone(&metrics),
            histories: Vec::new(),
            own: Vec::new(),
        };
        let (controller, _thread, _warnings) = Controller::start(start).expect("a control plane in memory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a bound socket");
        let (phase, phases) = watch::channel(Phase::Running);
        let access_log = self.access_log.map(|path| AccessLog::open(&path).expect("a file to write"));
        let (reports, reported) = health_report::channel();
        controller.watch_health(reported, Vec::new()).expect("a thread");
        let shared = Arc::new(Shared {
            tables: Arc::clone(controller.tables()),
            stats: Arc::clone(&stats),
            access_log: access_log.clone(),
            phase: phases,
            reports: self.reports.unwrap_or(reports),
            instance: self.instance,
        });
        let address = listener.local_addr().expect("a bound socket");
        let workers = Workers::start(self.workers, &[listener], &shared).expect("threads");
        Proxy { address, controller, stats, access_log, metrics, phase, workers: Some(workers) }
    }
}

impl Proxy {
    /// A client that speaks bytes.
    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// A client that speaks HTTP/2.
    pub(crate) async fn connect_h2(&self) -> H2 {
        H2::connect(self.address).await
    }

    /// A client that speaks HTTP/2, whose streams may bring so many bytes before it has read any.
    pub(crate) async fn connect_h2_with_window(&self, bytes: u32) -> H2 {
        H2::connect_with_window(self.address, Some(bytes)).await
    }

    /// One request over a connection of its own.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        self.connect().await.ask(request).await
    }

    /// Changes the membership of pool `p`; returns once it is served.
    pub(crate) async fn change(&self, change: Change) {
        let write = Write {
            pool: "p".into(),
            action: WriteAction::Changes(vec![change]),
            guard: None,
            force: true,
            actor: "story".into(),
            reason: None,
        };
        self.controller.write(write).await.expect("an acceptable change");
    }

    /// Applies another config, as SIGHUP does.
    pub(crate) async fn reload(&self, setup: Setup) {
        self.try_reload(setup).await.expect("an acceptable config");
    }

    /// As [`Proxy::reload`], for a config that may not be acceptable; the error is what the log says.
    pub(crate) async fn try_reload(&self, setup: Setup) -> Result<(), String> {
        let config = Config::parse("story.toml", &setup.toml()).unwrap_or_else(|errors| panic!("{errors}"));
        let reloaded = self.controller.reload(config.server, config.pools).await;
        reloaded.map(drop).map_err(|error| error.to_string())
    }

    /// Removes a node of pool `p`.
    pub(crate) async fn remove(&self, node: &Node) {
        self.change(Change::Remove { name: node.name.to_owned().try_into().expect("a name") }).await;
    }

    /// Moves on to a phase of the process's life.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until all workers have ended.
    pub(crate) async fn ended(&mut self) {
        let workers = self.workers.take().expect("it is waited for once");
        let joined = tokio::task::spawn_blocking(|| workers.join());
        crate::harness::within("the workers end", joined).await.expect("joining does not panic");
    }

    /// The sum of all series of a metric that carry these labels, each as `name="value"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (text, _) = self.metrics.render();
        let is_of = |line: &&str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
            rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(label)))
        };
        text.lines().filter(is_of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Every series, by its name and labels.
    pub(crate) fn series(&self) -> Vec<String> {
        let (text, _) = self.metrics.render();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn metric_is(&self, name: &str, labels: &[&str], value: f64) {
        let what = format!("{name}{labels:?} becomes {value}");
        eventually(&what, || (self.metric(name, labels) - value).abs() < 0.5).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Ended);
    }
}

/// Nodes as the config lists them.
fn node_list(nodes: &[&Node]) -> String {
    let nodes = nodes.iter().map(|node| format!("{{ name = \"{}\", address = \"{}\" }}", node.name, node.address));
    nodes.collect::<Vec<_>>().join(", ")
}

/// A GET with these further fields, each ended by CRLF.
pub(crate) fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

/// A POST of a body of known length.
pub(crate) fn post(target: &str, fields: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

/// A key that these nodes own in this order, as far as they are named.
pub(crate) fn key_of(proxy: &Proxy, order: &[&str]) -> String {
    let pool = PoolAt::of(&proxy.controller.pool("p").unwrap());
    let mut keys = (0..10_000).map(|number| format!("key-{number}"));
    let is_in_order = |key: &String| pool.locate(key.as_bytes()).candidates.iter().zip(order).all(|(a, b)| a == b);
    keys.find(is_in_order).expect("one of so many keys")
}

/// A GET whose key this is.
pub(crate) fn keyed(key: &str) -> String {
    get("/", &format!("X-Key: {key}\r\n"))
}
