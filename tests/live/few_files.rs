//! A proxy that may have few files open, and more clients than files, idle or busy.

use crate::harness::client::Client;
use crate::harness::echo;
use crate::harness::ringway;
use crate::harness::ringway::Ringway;
use crate::harness::story::Story;
use crate::harness::wait::until_true;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;
use tokio::net::TcpListener;

const FILES: usize = 256;

const CLIENTS: usize = 400;

/// Of each busy client, one after the other.
const REQUESTS: usize = 2;

/// `USER_HZ` of Linux.
const CPU_TICKS_PER_SECOND: f64 = 100.0;

const NODES: usize = 300;

/// More than are half of the files for the data plane.
const IDLE: usize = 115;

/// More than nodes have left then.
const TOGETHER: usize = 90;

#[test]
fn a_proxy_with_fewer_files_than_clients_serves_all_of_them_one_after_the_other() {
    let story = Story::begin("few-files");
    let proxy = serve(&story);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = Client::new(proxy.http);
        let answer = client.get(&format!("/?k={number}"), &[]).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
        // It stays connected, for all that it knows.
        clients.push(client);
    }
    let mut operator = proxy.operator();
    let struck = operator.metric("ringway_limit_hits_total", "limit=\"files\"");
    assert!(struck > 0.0, "files were not short");
    let open = operator.metric("process_open_fds", "");
    let complaints = proxy.process.log().lines().filter(|line| line.contains("cannot accept")).count();
    story.figure(&format!("{CLIENTS} clients with {FILES} files: {open} open at last, {complaints} complaints"));
    assert!(open < FILES as f64 && complaints < 20, "{open} files open, {complaints} complaints");
    drop(clients);
    until_true("they are gone", || operator.metric("ringway_connections", "") < 0.5);
    assert_eq!(proxy.client().get("/?k=after", &[]).unwrap().status, 200);
}

#[test]
fn a_proxy_with_fewer_files_than_busy_clients_answers_each_of_their_requests() {
    let story = Story::begin("few-files-busy");
    let proxy = serve(&story);
    let mut operator = proxy.operator();
    let (cpu_before, begun, all_at_once) = (cpu_ticks(&proxy), Instant::now(), Barrier::new(CLIENTS));
    let busy = &|number: usize| {
        let mut client = Client::new(proxy.http);
        all_at_once.wait();
        let mut ask = |request: usize| client.get(&format!("/?k={number}-{request}"), &[]);
        let answers: Vec<_> = (0..REQUESTS).map(&mut ask).collect();
        (client, answers)
    };
    let busy = thread::scope(|scope| {
        let busy: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || busy(number))).collect();
        let mut asked = 0;
        while busy.iter().any(|client| !client.is_finished()) {
            operator.get("/v1/status");
            asked += 1;
        }
        story.figure(&format!("an operator was answered {asked} times meanwhile"));
        busy.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let (took, cpu) = (begun.elapsed(), cpu_ticks(&proxy) - cpu_before);
    for (number, (_, answers)) in busy.iter().enumerate() {
        let answered = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)).count();
        assert_eq!(answered, REQUESTS, "client {number}: {answers:?}");
    }
    let struck = operator.metric("ringway_limit_hits_total", "limit=\"files\"");
    let per_request = cpu as f64 / CPU_TICKS_PER_SECOND / (CLIENTS * REQUESTS) as f64 * 1e6;
    story.figure(&format!(
        "{CLIENTS} busy clients with {FILES} files: all {REQUESTS} of each answered in {took:?}, {per_request:.0} us \
         of CPU time for each, short of files {struck} times"
    ));
    assert!(struck > 0.0, "files were not short");
    // The clients were connected until now, for all that they know.
    drop(busy);
    assert_eq!(proxy.client().get("/?k=after", &[]).unwrap().status, 200);
}

/// Of 256 files 64 are for all else, 96 for clients, and 96 for nodes, which lend 24 while they have plenty. Those
/// clients that have been idle for longest leave first, so that it is the others that ask.
#[test]
fn idle_clients_have_files_of_nodes_until_requests_need_those() {
    let story = Story::begin("few-files-lent");
    let proxy = serve_nodes(&story, &[start_together()]);
    let mut clients: Vec<Client> = (0..IDLE).map(|_| Client::new(proxy.http)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.get("/", &[]).unwrap().status, 200, "{number}");
    }
    let mut operator = proxy.operator();
    let connected = operator.metric("ringway_connections", "");
    let struck = operator.metric("ringway_limit_hits_total", "limit=\"files\"");
    assert_eq!((connected, struck), (IDLE as f64, 0.0), "all stay");

    let ask = |client: &mut Client| client.get("/together", &[]).map(|answer| answer.status);
    let answers: Vec<_> = thread::scope(|scope| {
        let busy = clients.iter_mut().rev().take(TOGETHER);
        let asking: Vec<_> = busy.map(|client| scope.spawn(move || ask(client))).collect();
        asking.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|status| *status == Ok(200)), "{answers:?}");
    let left = operator.metric("ringway_connections", "");
    story.figure(&format!("{FILES} files: {IDLE} idle clients, {left} after {TOGETHER} requests at once"));
    assert!(left < IDLE as f64, "{left} of {IDLE}");
    assert!(operator.metric("ringway_limit_hits_total", "limit=\"files\"") > 0.0, "files were not short");
}

/// A node that answers requests for `/together` once there are so many of them.
fn start_together() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            let together = Arc::new(tokio::sync::Barrier::new(TOGETHER));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let together = Arc::clone(&together);
                let answer = service_fn(move |request| answer_together(request, Arc::clone(&together)));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                // The proxy closes connections as it likes.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
    });
    address
}

async fn answer_together(
    request: Request<Incoming>,
    together: Arc<tokio::sync::Barrier>,
) -> Result<Response<String>, Infallible> {
    if request.uri().path() == "/together" {
        together.wait().await;
    }
    Ok(Response::new(String::from("ok")))
}

/// Serves two nodes, with few files.
fn serve(story: &Story) -> Ringway {
    serve_nodes(story, &echo::start(2))
}

fn serve_nodes(story: &Story, nodes: &[SocketAddr]) -> Ringway {
    let pool = format!("initial-nodes = {}", echo::nodes_toml(nodes));
    let config = story.write("ringway.toml", &ringway::config("workers = 2", &story.path("store"), &pool));
    let shell = format!("ulimit -n {FILES} && exec \"$0\" serve -c \"$1\"");
    Ringway::serve_by(story, Command::new("sh").args(["-c", &shell]).arg(ringway::binary()).arg(&config))
}

/// The CPU time that the proxy has taken: `utime` and `stime` of proc(5), the 14th and 15th word. The second may hold
/// blanks.
fn cpu_ticks(proxy: &Ringway) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", proxy.process.id())).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn idle_connections_of_http_2_make_room_for_those_to_other_nodes() {
    let story = Story::begin("few-files-h2");
    let port = start_http2();
    // Each has an address of its own, and all of them one listener.
    let node = |at| format!("{{ name = \"n{at}\", address = \"127.0.{}.{}:{port}\" }}", at / 250, at % 250 + 1);
    let nodes = (0..NODES).map(node).collect::<Vec<_>>().join(", ");
    let pool = format!("protocol = \"h2\"\ninitial-nodes = [{nodes}]");
    let config = story.write("ringway.toml", &ringway::config("workers = 1", &story.path("store"), &pool));
    let shell = format!("ulimit -n {FILES} && exec \"$0\" serve -c \"$1\"");
    let proxy = Ringway::serve_by(&story, Command::new("sh").args(["-c", &shell]).arg(ringway::binary()).arg(&config));
    let mut client = proxy.client();
    for number in 0..2 * NODES {
        let answer = client.get(&format!("/?k={number}"), &[]).unwrap();
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
    let idle = proxy.operator().metric("ringway_upstream_connections", "state=\"idle\"");
    story.figure(&format!("{NODES} nodes of HTTP/2 with {FILES} files: {idle} idle connections at last"));
    assert!(idle > 0.0 && idle <= FILES as f64 / 2.0, "{idle} idle");
}

/// A node of HTTP/2 on every address of this machine; returns its port.
fn start_http2() -> u16 {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = service_fn(|_| std::future::ready(Ok::<_, Infallible>(Response::new(String::from("ok")))));
                let http2 = http2::Builder::new(TokioExecutor::new());
                // The proxy closes connections as it likes.
                tokio::spawn(async move { drop(http2.serve_connection(TokioIo::new(stream), answer).await) });
            }
        });
    });
    port
}
