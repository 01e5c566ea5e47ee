//! `ringway demo`: the production proxy before four small backends, with traffic, and two planned changes counted.

mod backends;
mod traffic;

use crate::app::App;
use crate::cli::change_words;
use crate::cli::demo::backends::Sightings;
use crate::cli::demo::traffic::Tally;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::output::percent;
use crate::cluster::membership::Change;
use crate::cluster::node::Node;
use crate::config::Config;
use crate::config::Flags;
use crate::control::Controller;
use crate::control::pool_at::Plan;
use crate::control::pool_at::PoolAt;
use crate::control::settings::parse_node_argument;
use crate::control::write::Guard;
use crate::control::write::Write;
use crate::control::write::WriteAction;
use clap::Args;
use std::future::pending;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::Instant;

/// Keys of the demo: `room-0` to `room-9999`.
const KEYS: usize = 10_000;

/// Marks the requests that backends count as sightings.
const LAP_HEADER: &str = "x-demo-lap";

/// The backends, by number. The last one joins while traffic flows.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The pool that `Config::from_flags` makes.
const POOL: &str = "default";

/// Sampling noise of 10,000 keys stays below this (four standard deviations at a quarter of the keys).
const NOISE_MAX: f64 = 0.02;

/// Show it all at once: four backends, the proxy, traffic and two planned changes
///
/// Adds and removes a node while traffic flows, and counts the keys that moved from what the backends received, beside
/// what the plan said and the least that had to move. Needs nothing else.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  ringway demo               until Ctrl-C, with traffic to look at
  ringway demo --for 10s
")]
pub(super) struct DemoArgs {
    /// End after this long, such as 10s; without it, run until Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

/// Plays the demo on this thread; the proxy has threads of its own.
pub(super) fn run(args: &DemoArgs, out: &mut Output) -> Result<(), Failure> {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr);
    log.with_target(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    LocalSet::new().block_on(&runtime, play(args, out))
}

async fn play(args: &DemoArgs, out: &mut Output) -> Result<(), Failure> {
    let end = args.duration.map(|duration| Instant::now() + duration);
    let sightings = Sightings::new();
    let mut nodes = Vec::new();
    for (number, name) in NAMES.into_iter().enumerate() {
        let address = backends::start(number, name, &sightings).await;
        let address = address.map_err(|error| Failure::Failed(format!("cannot start a backend: {error}")))?;
        nodes.push(format!("{name}={address}"));
    }
    let joining = node(nodes.pop().unwrap_or_default().as_str())?;
    let app = App::start(config(&nodes)?, None).await.map_err(|error| Failure::Failed(error.to_string()))?;
    let [proxy] = app.addresses().http[..] else { return Err(Failure::Failed("the demo has one listener".into())) };
    introduce(out, proxy, &app.addresses().admin, &nodes)?;

    let tally = Rc::new(Tally::default());
    traffic::background(proxy, &tally);
    let mut story = Story { controller: app.controller().clone(), proxy, sightings, tally };
    traffic::lap(proxy, &story.tally).await;
    let leaving = Change::Remove { name: node("a=127.0.0.1:1")?.name };
    let told = match story.change(Change::Add(joining), out).await {
        Ok(()) => story.change(leaving, out).await,
        failed => failed,
    };
    let told = match told {
        Ok(()) => linger(end, app.addresses().admin.clone(), proxy, out).await.and_then(|()| story.sum_up(out)),
        failed => failed,
    };
    drop(story);
    app.stop(pending()).await;
    told
}

/// A proxy with the first three backends as nodes, on the usual ports where they are free.
fn config(nodes: &[String]) -> Result<Config, Failure> {
    let flags = Flags {
        listen: &[free_or_any(8080)],
        admin_listen: Some(&free_or_any(9080)),
        key: &["header:x-room".to_owned()],
        nodes,
    };
    let mut config = Config::from_flags(&flags).map_err(Failure::Failed)?;
    config.server.grace = Duration::from_secs(1);
    for pool in &mut config.pools {
        pool.settings.decision_headers = true;
    }
    Ok(config)
}

/// The loopback address with `port`, or with any port when something listens there already.
fn free_or_any(port: u16) -> String {
    let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok();
    format!("127.0.0.1:{}", if is_free { port } else { 0 })
}

fn node(text: &str) -> Result<Node, Failure> {
    parse_node_argument(text).map_err(Failure::Failed)
}

fn introduce(out: &mut Output, proxy: SocketAddr, admin: &str, nodes: &[String]) -> Result<(), Failure> {
    out.bold(format_args!("ringway {}: the same key on the same server", env!("CARGO_PKG_VERSION")))?;
    out.line(format_args!("  proxy      http://{proxy}        key from header:x-room"))?;
    out.line(format_args!("  page       http://{admin}        open it in a browser; also the API, /metrics"))?;
    out.line(format_args!("  backends   {}", nodes.join("  ")))?;
    out.line(format_args!("  traffic    {KEYS} keys, room-0 to room-{}, without pause", KEYS - 1))?;
    out.line("")?;
    out.flush()
}

/// Runs on until the end, with something to try meanwhile.
async fn linger(end: Option<Instant>, admin: String, proxy: SocketAddr, out: &mut Output) -> Result<(), Failure> {
    out.bold("try it:")?;
    out.line(format_args!("  curl -i -H 'x-room: room-42' http://{proxy}/"))?;
    out.line(format_args!("  ringway locate --admin http://{admin} room-42"))?;
    out.line(format_args!("  ringway plan --admin http://{admin} remove b"))?;
    out.line("")?;
    out.flush()?;
    let over = async {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = over => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// The running demo.
struct Story {
    controller: Controller,
    proxy: SocketAddr,
    sightings: Rc<Sightings>,
    tally: Rc<Tally>,
}

impl Story {
    /// Plans a change, makes exactly that, sends every key once more and compares.
    async fn change(&mut self, change: Change, out: &mut Output) -> Result<(), Failure> {
        let words = change_words::print(std::slice::from_ref(&change));
        let plan = self.pool()?.plan(std::slice::from_ref(&change))?;
        out.bold(format_args!("plan {words}"))?;
        let (moved, optimum) = (percent(plan.moved_ratio), percent(plan.optimal_ratio));
        let collateral = percent(plan.collateral_ratio);
        out.line(format_args!("  moves {moved} of the keys; optimum {optimum}; between unchanged nodes {collateral}"))?;
        out.flush()?;
        let before = self.sightings.snapshot();
        self.apply(change, &plan).await?;
        traffic::lap(self.proxy, &self.tally).await;
        let after = self.sightings.snapshot();
        self.compare(&plan, &before, &after, out)
    }

    async fn apply(&self, change: Change, plan: &Plan) -> Result<(), Failure> {
        let write = Write {
            pool: POOL.to_owned(),
            action: WriteAction::Changes(vec![change]),
            guard: Some(Guard { epoch: plan.epoch, fingerprint: Some(plan.fingerprint_before) }),
            force: false,
            actor: "demo".to_owned(),
            reason: Some("shown by ringway demo".to_owned()),
        };
        self.controller.write(write).await.map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(())
    }

    fn compare(
        &self,
        plan: &Plan,
        before: &[Option<usize>],
        after: &[Option<usize>],
        out: &mut Output,
    ) -> Result<(), Failure> {
        let moved = before.iter().zip(after).filter(|(before, after)| before != after).count();
        let ratio = moved as f64 / KEYS as f64;
        let pool = self.pool()?;
        let is_astray = |(key, seen): (usize, &Option<usize>)| {
            let owner = pool.locate(format!("room-{key}").as_bytes()).owner;
            owner.as_deref() != seen.map(|number| NAMES[number])
        };
        let astray = after.iter().enumerate().filter(|(key, seen)| is_astray((*key, seen))).count();
        out.line(format_args!(
            "  moved {moved} of {KEYS} keys ({}) as the backends saw it; optimum {}; epoch {}; {astray} keys astray",
            percent(ratio),
            percent(plan.optimal_ratio),
            pool.epoch
        ))?;
        out.line("")?;
        out.flush()?;
        match astray {
            0 if (ratio - plan.moved_ratio).abs() <= NOISE_MAX => Ok(()),
            0 => Err(Failure::Failed(format!("the plan said {}, but {ratio} moved", plan.moved_ratio))),
            _ => Err(Failure::Failed(format!("{astray} keys were served by another node than their owner"))),
        }
    }

    fn pool(&self) -> Result<PoolAt, Failure> {
        let pool = self.controller.pool(POOL);
        pool.map(|pool| PoolAt::of(&pool)).ok_or_else(|| Failure::Failed(format!("there is no pool {POOL}")))
    }

    fn sum_up(&self, out: &mut Output) -> Result<(), Failure> {
        let (answered, failed) = (self.tally.answered.get(), self.tally.failed.get());
        out.line(format_args!(
            "{answered} requests answered, {failed} failed; the backends received {}",
            self.sightings.requests()
        ))?;
        match failed {
            0 => Ok(()),
            _ => Err(Failure::Failed(format!("{failed} requests failed"))),
        }
    }
}
