//! `ringway demo`: the production proxy before small backends, with traffic, a node that dies and returns, and a change
//! that is planned, made, counted and taken back.

mod backends;
mod script;
mod sightings;
mod stage;
mod traffic;

use crate::app::App;
use crate::cli::demo::backends::Backend;
use crate::cli::demo::script::Script;
use crate::cli::demo::sightings::Sightings;
use crate::cli::demo::stage::Stage;
use crate::cli::demo::traffic::KEYLESS_ONE_IN;
use crate::cli::demo::traffic::REQUESTS_PER_SECOND;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::config::Config;
use clap::Args;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::LocalSet;

/// Keys of the demo, the hottest first: `room-0` to `room-9999`.
const KEYS: usize = 10_000;

/// Holds the number of the key that a request is to find the backend of.
const SURVEY_HEADER: &str = "x-demo-survey";

/// What health checks ask for.
const CHECK_PATH: &str = "/healthz";

/// The backends, by number. The last one is no node until the change adds it.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The only pool.
const POOL: &str = "rooms";

/// See it work: backends, the proxy, traffic, a node that dies and returns, a planned change
///
/// Needs nothing else: open the page that it names and watch. A round takes a minute and begins anew until Ctrl-C. The
/// keys that a change moves are counted from what the backends received, beside what the plan said and the least that
/// had to move. Change the nodes yourself whenever you like: from then on the demo leaves them to you.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway demo               until Ctrl-C
  ringway demo --for 10s     the same in quick motion
")]
pub(super) struct DemoArgs {
    /// Last this long, such as 10s, with a whole round pressed into it; without it, run until Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

/// Plays the demo on this thread; the proxy has threads of its own.
pub(super) fn run(args: &DemoArgs, out: &mut Output) -> Result<(), Failure> {
    // That a node is down is no warning here.
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(io::stderr);
    log.with_target(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    LocalSet::new().block_on(&runtime, play(args, out))
}

async fn play(args: &DemoArgs, out: &mut Output) -> Result<(), Failure> {
    let script = Script::new(args.duration);
    let sightings = Rc::new(Sightings::new());
    let backends: io::Result<Vec<Backend>> =
        (0..NAMES.len()).map(|number| Backend::start(number, &sightings)).collect();
    let backends = backends.map_err(|error| Failure::Failed(format!("cannot start a backend: {error}")))?;
    let app = App::start(config(&backends)?, None).await.map_err(|error| Failure::Failed(error.to_string()))?;
    let [proxy] = app.addresses().http[..] else { return Err(Failure::Failed("the demo has one listener".into())) };
    introduce(out, proxy, &app.addresses().admin, &backends)?;

    let mut stage = Stage::new(app.controller().clone(), proxy, backends, sightings);
    let told = tokio::select! {
        told = stage.play(script, out) => told,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::from),
    };
    let told = match told {
        Ok(()) => stage.sum_up(out).await,
        failed => failed,
    };
    drop(stage);
    app.stop(pending()).await;
    told
}

/// A proxy with all backends but the last one as nodes, on the usual ports where they are free.
fn config(backends: &[Backend]) -> Result<Config, Failure> {
    let nodes = backends[..NAMES.len() - 1].iter().filter_map(|backend| backend.node.split_once('='));
    let nodes: Vec<String> =
        nodes.map(|(name, address)| format!("{{ name = '{name}', address = '{address}' }}")).collect();
    let text = format!(
        "listen = '{}'\n\
         grace = '1s'\n\
         [admin]\n\
         listen = '{}'\n\
         [store]\n\
         kind = 'memory'\n\
         [[pool]]\n\
         name = '{POOL}'\n\
         key = 'header:x-room'\n\
         decision-headers = true\n\
         health = {{ path = '{CHECK_PATH}' }}\n\
         initial-nodes = [{}]\n",
        free_or_any(8080),
        free_or_any(9080),
        nodes.join(", ")
    );
    Ok(Config::parse("the demo", &text)?)
}

/// The loopback address with `port`, or with any port when something listens there already.
fn free_or_any(port: u16) -> String {
    let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok();
    format!("127.0.0.1:{}", if is_free { port } else { 0 })
}

fn introduce(out: &mut Output, proxy: SocketAddr, admin: &str, backends: &[Backend]) -> Result<(), Failure> {
    let nodes: Vec<&str> = backends[..NAMES.len() - 1].iter().map(|backend| backend.node.as_str()).collect();
    let keyless = 100 / KEYLESS_ONE_IN;
    out.bold(format_args!("open http://{admin}/ in a browser: nodes, keys and changes, live"))?;
    out.line("")?;
    out.line(format_args!("  proxy      http://{proxy}/   key from header:x-room"))?;
    out.line(format_args!("  backends   {}", nodes.join("  ")))?;
    out.line(format_args!(
        "  traffic    {REQUESTS_PER_SECOND} requests a second for {KEYS} keys, by Zipf's law; {keyless} % have no key"
    ))?;
    out.line(format_args!("  try it     curl -i -H 'x-room: room-42' http://{proxy}/"))?;
    out.line(format_args!("             ringway locate --admin http://{admin} room-42"))?;
    out.line(format_args!("             ringway plan --admin http://{admin} drain b"))?;
    out.line("")?;
    out.flush()
}
